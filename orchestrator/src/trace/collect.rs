//! From switches and wake-ups to intervals.
//!
//! Kernels differ in what they record when a CPU leaves idle: Linux 6.18 leaves out the switch from
//! the idle thread to the next. When that one began is then told by the first time it was charged for;
//! else by its wake-up, but for the microseconds that leaving idle takes: there was nobody else. (A
//! thread that comes back from throttling, or from another CPU's queue, is not woken.) On a CPU that is
//! kept awake the gap does not arise. An interval whose begin nothing tells is left out, and counted.

use std::collections::{BTreeMap, HashMap};

use kernel::{
    affinity::Tid,
    tracefs::{Event, Name},
};
use model::sample::{Ended, Occupied, Softirq, Supply};

use super::{Named, softirq::Softirqs};

/// A row of one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Of `supply.csv`.
    Supply(Supply),
    /// Of `cpu.csv`.
    Occupied(Occupied),
    /// Of `softirq.csv`.
    Softirq(Softirq),
}

/// Who runs on a CPU, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// The same thread as when recording began.
    Unchanged,
    /// The idle thread, or one that is of no interest, since then.
    Away(u64),
    /// Nobody knows: events were lost.
    Lost,
    /// This one, since then.
    Thread(Tid, u64),
}

/// Time that a thread ran, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ran {
    /// On any CPU.
    pub all_ns: u64,
    /// On the measured ones.
    pub measured_ns: u64,
}

/// Puts intervals together; its memory is bounded by the number of threads there are.
#[derive(Debug)]
pub struct Collector {
    measured: Vec<u32>,
    from_ns: u64,
    names: BTreeMap<Tid, Named>,
    cpus: BTreeMap<u32, Now>,
    /// Threads that were woken, and have not been switched out since.
    woken: HashMap<Tid, u64>,
    /// Since when threads have run that have been charged and not been switched since.
    charged: HashMap<Tid, u64>,
    ran: BTreeMap<Tid, Ran>,
    softirqs: Softirqs,
    unpaired: u64,
}

impl Collector {
    /// For recording that began at `from_ns`; `names` are the VMs' threads.
    #[must_use]
    pub fn new(measured: &[u32], from_ns: u64, names: BTreeMap<Tid, Named>) -> Self {
        Self {
            measured: measured.to_vec(),
            from_ns,
            names,
            cpus: BTreeMap::new(),
            woken: HashMap::new(),
            charged: HashMap::new(),
            ran: BTreeMap::new(),
            softirqs: Softirqs::default(),
            unpaired: 0,
        }
    }

    /// Counts a thread that appeared later among the VM's.
    pub fn add(&mut self, tid: Tid, name: Named) {
        self.names.insert(tid, name);
    }

    /// What each of the VM's threads ran, by its rows.
    #[must_use]
    pub fn ran(&self, tid: Tid) -> Ran {
        self.ran.get(&tid).copied().unwrap_or_default()
    }

    /// Intervals left out because nothing tells when they began.
    #[must_use]
    pub fn unpaired(&self) -> u64 {
        self.unpaired
    }

    /// Takes an event of `cpu`; `None` where some were lost there. Events come in the order of time.
    pub fn take(&mut self, at_ns: u64, cpu: u32, event: Option<Event>) -> Option<Row> {
        match event {
            None => {
                self.cpus.insert(cpu, Now::Lost);
                // Whoever was charged may have been switched since.
                self.charged.clear();
                self.softirqs.lost(cpu);
                None
            }
            Some(Event::Charged { thread, ran_ns }) => {
                let since_ns = at_ns.saturating_sub(ran_ns).max(self.from_ns);
                self.charged.entry(thread).or_insert(since_ns);
                None
            }
            Some(Event::Wakeup { thread }) => {
                // A thread woken again before it ran has been runnable since the first time.
                self.woken.entry(thread).or_insert(at_ns);
                None
            }
            Some(Event::Softirq { name, begins: true, .. }) => {
                self.softirqs.begin(at_ns, cpu, name);
                None
            }
            Some(Event::Softirq { name, begins: false, thread }) => {
                let row = self.softirqs.end(at_ns, cpu, name, self.names.get(&thread));
                row.map(Row::Softirq)
            }
            Some(Event::Switch { prev, prev_name, prev_runnable, next }) => {
                let row = self.left(at_ns, cpu, (prev, prev_name), prev_runnable);
                self.charged.remove(&next);
                let now = if next != 0 && self.is_of_interest(cpu, next) {
                    Now::Thread(next, at_ns)
                } else {
                    Now::Away(at_ns)
                };
                self.cpus.insert(cpu, now);
                row
            }
        }
    }

    fn is_of_interest(&self, cpu: u32, tid: Tid) -> bool {
        self.measured.contains(&cpu) || self.names.contains_key(&tid)
    }

    /// A thread was switched out.
    fn left(&mut self, at_ns: u64, cpu: u32, (tid, name): (Tid, Name), on: bool) -> Option<Row> {
        if tid == 0 || !self.is_of_interest(cpu, tid) {
            return None;
        }
        let (woken_ns, charged_ns) = (self.woken.remove(&tid), self.charged.remove(&tid));
        let start_ns = match self.cpus.get(&cpu).copied().unwrap_or(Now::Unchanged) {
            Now::Thread(running, since_ns) if running == tid => Some(since_ns),
            Now::Unchanged => charged_ns.or(woken_ns).or(Some(self.from_ns)),
            // A thread may have been woken for this CPU and have run elsewhere first.
            Now::Away(since_ns) | Now::Thread(_, since_ns) => {
                charged_ns.or(woken_ns).map(|began_ns| began_ns.max(since_ns))
            }
            Now::Lost => charged_ns,
        };
        let Some(start_ns) = start_ns else {
            self.unpaired += 1;
            return None;
        };
        let ended = Some(if on { Ended::Runnable } else { Ended::Slept });
        let woken_ns = woken_ns.filter(|woken_ns| *woken_ns <= start_ns);
        Some(self.row((start_ns, at_ns), cpu, (tid, name), woken_ns, ended))
    }

    fn row(
        &mut self,
        (start_ns, end_ns): (u64, u64),
        cpu: u32,
        (tid, name): (Tid, Name),
        woken_ns: Option<u64>,
        ended: Option<Ended>,
    ) -> Row {
        let Some(Named { vm, thread }) = self.names.get(&tid).cloned() else {
            let cpu = Some(cpu);
            return Row::Occupied(Occupied { start_ns, end_ns, thread: name.text(), tid, cpu });
        };
        let length_ns = end_ns - start_ns;
        let ran = self.ran.entry(tid).or_default();
        ran.all_ns += length_ns;
        ran.measured_ns += if self.measured.contains(&cpu) { length_ns } else { 0 };
        let (cpu, vm) = (Some(cpu), Some(vm));
        Row::Supply(Supply { start_ns, end_ns, thread, cpu, woken_ns, ended, vm })
    }

    /// Ends the intervals that go on when recording ends. A thread that is none of the VM's has no
    /// name until it is switched out, so what it ran last is left out.
    pub fn finish(&mut self, to_ns: u64) -> Vec<Row> {
        let mut rows = Vec::new();
        for (cpu, now) in std::mem::take(&mut self.cpus) {
            if let Now::Thread(tid, start_ns) = now
                && self.names.contains_key(&tid)
            {
                let woken_ns = self.woken.remove(&tid).filter(|woken_ns| *woken_ns <= start_ns);
                let end_ns = to_ns.max(start_ns);
                let thread = (tid, Name::default());
                rows.push(self.row((start_ns, end_ns), cpu, thread, woken_ns, None));
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use model::sample::SoftirqName;

    use super::*;

    const VCPU: Tid = 7;

    fn collector() -> Collector {
        Collector::new(
            &[1],
            100,
            BTreeMap::from([(VCPU, Named { vm: "vm".into(), thread: "vcpu0".into() })]),
        )
    }

    fn switch(prev: Tid, runnable: bool, next: Tid) -> Option<Event> {
        let prev_name = Name::new("rtload");
        Some(Event::Switch { prev, prev_name, prev_runnable: runnable, next })
    }

    fn woken(thread: Tid) -> Option<Event> {
        Some(Event::Wakeup { thread })
    }

    /// `start-end` with the wake-up and the end of a row of the vCPU; a capital for others.
    fn text(row: &Row) -> String {
        match row {
            Row::Supply(Supply { start_ns, end_ns, woken_ns, ended, .. }) => {
                format!("{start_ns}-{end_ns} {woken_ns:?} {ended:?}")
            }
            Row::Occupied(Occupied { start_ns, end_ns, tid, .. }) => {
                format!("T{tid} {start_ns}-{end_ns}")
            }
            Row::Softirq(Softirq { start_ns, end_ns, thread, .. }) => {
                format!("softirq {start_ns}-{end_ns} {thread:?}")
            }
        }
    }

    fn rows(collector: &mut Collector, events: &[(u64, u32, Option<Event>)]) -> Vec<String> {
        let take = |&(at, cpu, event)| collector.take(at, cpu, event);
        events.iter().filter_map(take).map(|row| text(&row)).collect()
    }

    #[test]
    fn intervals_pair_switches_and_say_how_they_began_and_ended() {
        let mut collector = collector();
        let events = [
            (110, 1, switch(5, true, VCPU)),
            (130, 1, switch(VCPU, true, 5)),
            (150, 1, switch(5, false, VCPU)),
            (160, 1, switch(VCPU, false, 5)),
            (170, 0, woken(VCPU)),
            (190, 1, switch(5, true, VCPU)),
        ];
        assert_eq!(
            rows(&mut collector, &events),
            [
                "T5 100-110",
                "110-130 None Some(Runnable)",
                "T5 130-150",
                "150-160 None Some(Slept)",
                "T5 160-190"
            ]
        );
        let last: Vec<_> = collector.finish(200).iter().map(text).collect();
        assert_eq!(last, ["190-200 Some(170) None"]);
        assert_eq!(collector.ran(VCPU), Ran { all_ns: 40, measured_ns: 40 });
    }

    #[test]
    fn a_switch_out_of_idle_that_the_kernel_leaves_out_began_with_the_wake_up() {
        let mut collector = collector();
        let events = [
            (110, 0, switch(VCPU, false, 0)),
            (120, 0, woken(VCPU)),
            (135, 0, switch(VCPU, false, 0)),
            (140, 0, switch(VCPU, false, 0)),
        ];
        assert_eq!(
            rows(&mut collector, &events),
            ["100-110 None Some(Slept)", "120-135 Some(120) Some(Slept)"]
        );
        assert_eq!(collector.unpaired(), 1, "nothing tells when the last one began");
        assert_eq!(collector.ran(VCPU), Ran { all_ns: 25, measured_ns: 0 });
    }

    #[test]
    fn what_it_was_charged_for_tells_when_a_thread_began() {
        let mut collector = collector();
        let charged = |ran_ns| Some(Event::Charged { thread: VCPU, ran_ns });
        let events = [
            // Throttled, and back on an idle CPU without a wake-up; charged from elsewhere as well.
            (110, 0, switch(VCPU, true, 0)),
            (125, 1, charged(5)),
            (130, 0, charged(5)),
            (135, 0, charged(5)),
            (136, 0, switch(VCPU, false, 0)),
            // Woken while the CPU took its time to leave idle.
            (140, 0, woken(VCPU)),
            (150, 0, charged(7)),
            (151, 0, switch(VCPU, false, 0)),
            // A switch that was recorded says more than a charge.
            (160, 0, switch(5, true, VCPU)),
            (170, 0, charged(9)),
            (171, 0, switch(VCPU, false, 5)),
            // After a loss only what came after it counts.
            (180, 0, charged(4)),
            (185, 0, None),
            (190, 0, charged(3)),
            (191, 0, switch(VCPU, false, 5)),
        ];
        assert_eq!(
            rows(&mut collector, &events),
            [
                "100-110 None Some(Runnable)",
                "120-136 None Some(Slept)",
                "143-151 Some(140) Some(Slept)",
                "160-171 None Some(Slept)",
                "187-191 None Some(Slept)",
            ]
        );
        assert_eq!(collector.unpaired(), 0);
    }

    #[test]
    fn nobody_runs_on_a_cpu_before_the_one_ahead_has_left() {
        let mut collector = collector();
        let events = [
            (105, 1, woken(9)),
            (110, 1, switch(5, false, VCPU)),
            (120, 1, switch(VCPU, false, 0)),
            (140, 1, switch(9, false, 0)),
        ];
        let found = rows(&mut collector, &events);
        assert_eq!(found, ["T5 100-110", "110-120 None Some(Slept)", "T9 120-140"]);
    }

    #[test]
    fn no_interval_reaches_across_lost_events() {
        let mut collector = collector();
        let events = [
            (110, 1, switch(5, true, VCPU)),
            (150, 1, None),
            (160, 1, switch(VCPU, true, 5)),
            (170, 1, switch(5, true, 9)),
        ];
        assert_eq!(rows(&mut collector, &events), ["T5 100-110", "T5 160-170"]);
        assert_eq!(collector.unpaired(), 1);
    }

    #[test]
    fn a_softirq_names_the_vms_thread_in_whose_time_it_ran() {
        let mut collector = collector();
        let softirq =
            |begins, thread| Some(Event::Softirq { name: SoftirqName::NetRx, begins, thread });
        let events = [
            (112, 0, softirq(true, VCPU)),
            (113, 0, softirq(false, VCPU)),
            (121, 0, softirq(true, 5)),
            (124, 0, softirq(false, 5)),
        ];
        let found = rows(&mut collector, &events);
        assert_eq!(found, ["softirq 112-113 Some(\"vcpu0\")", "softirq 121-124 None"]);
    }

    #[test]
    fn whoever_runs_on_one_of_several_measured_cpus_is_told_with_the_cpu() {
        let mut collector = Collector { measured: vec![1, 2], ..collector() };
        let events = [
            (110, 2, switch(5, true, VCPU)),
            (120, 1, switch(9, true, 0)),
            (130, 2, switch(VCPU, true, 5)),
            (140, 0, switch(6, true, 0)),
        ];
        let take = |&(at, cpu, event): &(u64, u32, Option<Event>)| collector.take(at, cpu, event);
        let cpus: Vec<_> = events
            .iter()
            .filter_map(take)
            .map(|row| match row {
                Row::Supply(row) => ("vcpu0".to_owned(), row.cpu),
                Row::Occupied(row) => (format!("T{}", row.tid), row.cpu),
                Row::Softirq(row) => ("softirq".to_owned(), Some(row.cpu)),
            })
            .collect();
        let wanted = [("T5", 2), ("T9", 1), ("vcpu0", 2)];
        assert_eq!(cpus, wanted.map(|(name, cpu)| (name.to_owned(), Some(cpu))));
        assert_eq!(collector.ran(VCPU), Ran { all_ns: 20, measured_ns: 20 });
    }

    #[test]
    fn strangers_on_other_cpus_are_of_no_interest() {
        let mut collector = collector();
        let events = [(110, 0, switch(5, true, VCPU)), (120, 0, switch(VCPU, true, 6))];
        assert_eq!(rows(&mut collector, &events), ["110-120 None Some(Runnable)"]);
        assert!(collector.finish(200).is_empty());
    }
}
