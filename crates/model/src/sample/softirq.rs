//! When the kernel itself worked for the network: rows of `softirq.csv`.

use serde::{Deserialize, Serialize};

use super::Columns;

/// The softirqs of the network (`include/linux/interrupt.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SoftirqName {
    /// Sent packets are cleaned up, and queues go on.
    NetTx,
    /// Packets are received: the protocol stack.
    NetRx,
}

/// A softirq of the network on one of the host's CPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Softirq {
    /// It began, on the host's clock.
    pub start_ns: u64,
    /// It ended.
    pub end_ns: u64,
    /// Where.
    pub cpu: u32,
    /// Which.
    pub name: SoftirqName,
    /// The VM's thread in whose time it ran, as in `supply.csv`; none where that was another thread,
    /// or nobody's.
    pub thread: Option<String>,
    /// The VM of that thread.
    pub vm: Option<String>,
}

impl Columns for Softirq {
    const COLUMNS: &'static [&'static str] = &["start_ns", "end_ns", "cpu", "name", "thread", "vm"];
}
