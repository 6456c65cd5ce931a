//! The CPU time that a web service in a VM costs its host, by who used it and who pays for it.

use std::{collections::BTreeMap, ops::AddAssign};

use model::{
    busy::is_vcpu,
    sample::Softirq,
    suite::{Emulator, EmulatorPlace},
};
use results::network::Traffic;

use crate::{folder::Case, traced::Traced};

/// Who used CPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The virtual CPUs: the service itself, and the guest's kernel.
    Vcpu,
    /// QEMU's main loop: user-mode networking, virtio without vhost.
    MainLoop,
    /// QEMU's other threads.
    Others,
    /// The kernel's threads that carry a tap network (vhost-net).
    Vhost,
    /// Softirqs of the network in nobody's time of the above: the clients', or of an idle CPU.
    Softirq,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Vcpu, Self::MainLoop, Self::Others, Self::Vhost, Self::Softirq];

    /// In a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vcpu => "vCPUs",
            Self::MainLoop => "main loop",
            Self::Others => "other threads",
            Self::Vhost => "vhost",
            Self::Softirq => "softirq",
        }
    }

    fn of(thread: &str) -> Self {
        match thread {
            vcpu if is_vcpu(vcpu) => Self::Vcpu,
            "main-loop" => Self::MainLoop,
            vhost if vhost.starts_with("vhost-") => Self::Vhost,
            _ => Self::Others,
        }
    }
}

/// On whose budget it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payer {
    /// A reservation of the VM's: its vCPUs', or its main loop's.
    Reservation,
    /// The measured CPU, outside of any reservation.
    Measured,
    /// The other CPUs of the host.
    Elsewhere,
}

impl Payer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Reservation, Self::Measured, Self::Elsewhere];

    /// In a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reservation => "reserved",
            Self::Measured => "measured CPU",
            Self::Elsewhere => "other CPUs",
        }
    }
}

/// CPU time between the first request and the last answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Good answers.
    pub answered: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Between the first request and the last answer, in ns.
    pub window_ns: u64,
    /// In ns.
    used: BTreeMap<(Part, Payer), u64>,
    /// Softirqs in the time of the VM's own threads, part of theirs, in ns.
    within_ns: BTreeMap<Part, u64>,
    /// Whether softirqs were recorded.
    pub softirqs: bool,
}

impl Account {
    /// Of an attempt.
    pub(super) fn of(case: &Case, traffic: &Traffic, traced: &Traced, measured: u32) -> Self {
        let mut own = Self {
            answered: traffic.answered,
            bytes: traffic.bytes,
            window_ns: traffic.to_ns.saturating_sub(traffic.from_ns),
            softirqs: traffic.softirqs.is_some(),
            ..Self::default()
        };
        let inside = |start_ns: u64, end_ns: u64| {
            end_ns.min(traffic.to_ns).saturating_sub(start_ns.max(traffic.from_ns))
        };
        for row in &traced.rows {
            let part = Part::of(&row.thread);
            let there = row.cpu.is_some_and(|cpu| cpu == measured);
            own.add(part, payer(case, part, there), inside(row.start_ns, row.end_ns));
        }
        let vm = case.workload().vm.map(|vm| vm.name.as_str());
        for one in traffic.softirqs.iter().flatten() {
            let ns = inside(one.start_ns, one.end_ns);
            own.enter_softirq(one, vm, measured, ns);
        }
        own
    }

    fn add(&mut self, part: Part, payer: Payer, ns: u64) {
        *self.used.entry((part, payer)).or_default() += ns;
    }

    fn enter_softirq(&mut self, one: &Softirq, vm: Option<&str>, measured: u32, ns: u64) {
        match &one.thread {
            Some(thread) if one.vm.as_deref() == vm => {
                *self.within_ns.entry(Part::of(thread)).or_default() += ns;
            }
            // A neighbour's thread paid.
            Some(_) => (),
            None => {
                let there = one.cpu == measured;
                let payer = if there { Payer::Measured } else { Payer::Elsewhere };
                self.add(Part::Softirq, payer, ns);
            }
        }
    }

    /// CPU time of a part, in ns; none of softirqs that were not recorded.
    #[must_use]
    pub fn part_ns(&self, part: Part) -> Option<u64> {
        let known = part != Part::Softirq || self.softirqs;
        known.then(|| self.sum(|own, _| own == part))
    }

    /// CPU time on somebody's budget, in ns.
    #[must_use]
    pub fn payer_ns(&self, payer: Payer) -> u64 {
        self.sum(|_, own| own == payer)
    }

    /// CPU time of a part on somebody's budget, in ns.
    #[must_use]
    pub fn ns(&self, part: Part, payer: Payer) -> u64 {
        self.sum(|own, by| own == part && by == payer)
    }

    /// All CPU time, in ns.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.sum(|_, _| true)
    }

    fn sum(&self, which: impl Fn(Part, Payer) -> bool) -> u64 {
        let chosen = self.used.iter().filter(|((part, payer), _)| which(*part, *payer));
        chosen.map(|(_, ns)| ns).sum()
    }

    /// Softirqs in the time of the vCPUs, or of all the VM's threads, in ns; none where they were not
    /// recorded.
    #[must_use]
    pub fn within_ns(&self, part: Option<Part>) -> Option<u64> {
        let chosen = self.within_ns.iter().filter(|(own, _)| part.is_none_or(|part| part == **own));
        self.softirqs.then(|| chosen.map(|(_, ns)| ns).sum())
    }

    /// Good answers a second; none where there was no time.
    #[must_use]
    pub fn rate_per_s(&self) -> Option<f64> {
        (self.window_ns > 0).then(|| self.answered as f64 * 1e9 / self.window_ns as f64)
    }

    /// Mean bytes of a body; none where nothing was answered.
    #[must_use]
    pub fn reply_bytes(&self) -> Option<f64> {
        self.each(self.bytes)
    }

    /// A sum for each answer; none where nothing was answered.
    #[must_use]
    pub fn each(&self, sum: u64) -> Option<f64> {
        (self.answered > 0).then(|| sum as f64 / self.answered as f64)
    }
}

impl AddAssign<&Self> for Account {
    fn add_assign(&mut self, other: &Self) {
        self.softirqs = other.softirqs && (self.softirqs || self.answered == 0);
        self.answered += other.answered;
        self.bytes += other.bytes;
        self.window_ns += other.window_ns;
        for (&(part, payer), ns) in &other.used {
            self.add(part, payer, *ns);
        }
        for (part, ns) in &other.within_ns {
            *self.within_ns.entry(*part).or_default() += ns;
        }
    }
}

/// On whose budget a part's time on the measured CPU, or elsewhere, is.
fn payer(case: &Case, part: Part, measured: bool) -> Payer {
    let emulator = case.workload().emulator();
    let reserved = match part {
        Part::Vcpu => case.reservation().is_some(),
        Part::MainLoop => matches!(emulator, Emulator::Reserved(_)),
        Part::Others | Part::Vhost | Part::Softirq => false,
    };
    match measured {
        _ if reserved => Payer::Reservation,
        true => Payer::Measured,
        false => Payer::Elsewhere,
    }
}

/// Where QEMU's other threads run, as a suite says it.
pub(super) fn placement(emulator: Emulator) -> String {
    match emulator {
        Emulator::Place(EmulatorPlace::Housekeeping) => "housekeeping".to_owned(),
        Emulator::Place(EmulatorPlace::Shared) => "shared".to_owned(),
        Emulator::Reserved(own) => {
            let text = [own.budget, own.period].map(model::duration::format);
            text.join("/")
        }
    }
}
