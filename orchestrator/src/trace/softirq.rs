//! From the begins and ends of the network's softirqs to rows of `softirq.csv`.

use std::collections::BTreeMap;

use model::sample::{Softirq, SoftirqName};

use super::Named;

/// Pairs begins and ends, CPU by CPU: one softirq of a name runs on a CPU at a time.
#[derive(Debug, Default)]
pub struct Softirqs {
    begun: BTreeMap<(u32, SoftirqName), u64>,
}

impl Softirqs {
    /// One began.
    pub fn begin(&mut self, at_ns: u64, cpu: u32, name: SoftirqName) {
        self.begun.insert((cpu, name), at_ns);
    }

    /// One ended, in the time of `thread` where that is a VM's. None where its begin was not recorded.
    pub fn end(
        &mut self,
        at_ns: u64,
        cpu: u32,
        name: SoftirqName,
        thread: Option<&Named>,
    ) -> Option<Softirq> {
        let start_ns = self.begun.remove(&(cpu, name))?;
        let (thread, vm) = thread.map(|own| (own.thread.clone(), own.vm.clone())).unzip();
        Some(Softirq { start_ns, end_ns: at_ns, cpu, name, thread, vm })
    }

    /// Events of this CPU were lost.
    pub fn lost(&mut self, cpu: u32) {
        self.begun.retain(|(own, _), _| *own != cpu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_and_ends_are_paired_on_each_cpu() {
        let (rx, tx) = (SoftirqName::NetRx, SoftirqName::NetTx);
        let main_loop = Named { vm: "shop".into(), thread: "main-loop".into() };
        let mut softirqs = Softirqs::default();
        assert_eq!(softirqs.end(5, 0, rx, None), None, "it began before recording did");
        softirqs.begin(10, 0, rx);
        softirqs.begin(12, 1, rx);
        let row = softirqs.end(15, 0, rx, Some(&main_loop)).unwrap();
        let vm = (row.thread.as_deref(), row.vm.as_deref());
        assert_eq!((row.start_ns, row.end_ns, row.cpu), (10, 15, 0));
        assert_eq!(vm, (Some("main-loop"), Some("shop")));
        assert_eq!(softirqs.end(16, 1, tx, None), None, "another one began");
        softirqs.lost(1);
        assert_eq!(softirqs.end(20, 1, rx, None), None, "its begin may be of an earlier one");
    }
}
