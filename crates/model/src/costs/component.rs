//! The kinds of elementary operations.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of elementary operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// An iteration of rtload's loop.
    IntegerLatency,
    /// The same steps, four chains at a time.
    IntegerThroughput,
    /// A multiplication and an addition of doubles.
    FloatingPoint,
    /// An operation on a vector of 128 bits.
    Vector,
    /// A branch on a random bit.
    Branches,
    /// A branch that is predicted.
    BranchThroughput,
    /// A load that waits for none before it.
    LoadThroughput,
    /// A store.
    StoreThroughput,
    /// A dependent load in 16 KiB.
    MemoryL1,
    /// A dependent load in 256 KiB.
    MemoryL2,
    /// A dependent load in 4 MiB.
    MemoryL3,
    /// A dependent load in 64 MiB.
    MemoryDram,
    /// The cheapest system call.
    SystemCall,
    /// The first touch of a page.
    PageFault,
    /// A program that ends at once.
    ProcessStart,
    /// A switch between two threads.
    ContextSwitch,
    /// A sleep until an instant.
    Timer,
}

impl Component {
    /// All of them, in the order of files and tables.
    pub const ALL: [Self; 17] = [
        Self::IntegerLatency,
        Self::IntegerThroughput,
        Self::FloatingPoint,
        Self::Vector,
        Self::Branches,
        Self::BranchThroughput,
        Self::LoadThroughput,
        Self::StoreThroughput,
        Self::MemoryL1,
        Self::MemoryL2,
        Self::MemoryL3,
        Self::MemoryDram,
        Self::SystemCall,
        Self::PageFault,
        Self::ProcessStart,
        Self::ContextSwitch,
        Self::Timer,
    ];

    /// Its key in files and options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IntegerLatency => "integer_latency",
            Self::IntegerThroughput => "integer_throughput",
            Self::FloatingPoint => "floating_point",
            Self::Vector => "vector",
            Self::Branches => "branches",
            Self::BranchThroughput => "branch_throughput",
            Self::LoadThroughput => "load_throughput",
            Self::StoreThroughput => "store_throughput",
            Self::MemoryL1 => "memory_l1",
            Self::MemoryL2 => "memory_l2",
            Self::MemoryL3 => "memory_l3",
            Self::MemoryDram => "memory_dram",
            Self::SystemCall => "system_call",
            Self::PageFault => "page_fault",
            Self::ProcessStart => "process_start",
            Self::ContextSwitch => "context_switch",
            Self::Timer => "timer",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|component| component.name() == name)
    }

    /// What one operation is.
    #[must_use]
    pub fn operation(self) -> &'static str {
        match self {
            Self::IntegerLatency => "an iteration of rtload's loop: six dependent steps",
            Self::IntegerThroughput => "the same six steps, four chains at a time",
            Self::FloatingPoint => "a multiplication and an addition of doubles, dependent",
            Self::Vector => "a 128-bit vector operation (SSE2), loads and stores around it",
            Self::Branches => "a branch on a random bit: half are mispredicted",
            Self::BranchThroughput => "a comparison and a branch that is always predicted",
            Self::LoadThroughput => "a load in 16 KiB that waits for none before it",
            Self::StoreThroughput => "a store in 16 KiB",
            Self::MemoryL1 => "a dependent load in 16 KiB",
            Self::MemoryL2 => "a dependent load in 256 KiB",
            Self::MemoryL3 => "a dependent load in 4 MiB",
            Self::MemoryDram => "a dependent load in 64 MiB",
            Self::SystemCall => "a system call that does nothing (getppid)",
            Self::PageFault => "the first touch of a fresh page of 4 KiB, and giving it back",
            Self::ProcessStart => "a static program that ends at once: fork, exec, exit, wait",
            Self::ContextSwitch => "a switch between two threads, without the pipe's own cost",
            Self::Timer => "a sleep until an instant: the timer, the switch away and back",
        }
    }

    /// The bytes that a memory operation walks through; the same on every host, as a program's are.
    #[must_use]
    pub fn size_bytes(self) -> Option<u64> {
        match self {
            Self::MemoryL1 => Some(16 << 10),
            Self::MemoryL2 => Some(256 << 10),
            Self::MemoryL3 => Some(4 << 20),
            Self::MemoryDram => Some(64 << 20),
            _ => None,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files() {
        for component in Component::ALL {
            let name = serde_json::to_value(component).unwrap();
            assert_eq!(name, component.name());
            assert_eq!(Component::named(component.name()), Some(component));
        }
    }
}
