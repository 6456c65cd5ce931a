//! How the budget of a vCPU adapted (`budget.csv`).

use std::path::Path;

use model::{
    manifest::RepetitionRecord,
    sample::{self, BudgetRow, Job},
    suite::Workload,
};

use crate::{error::Error, folder::place_of};

/// The rows of a workload's (first) vCPU in an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budgets {
    /// The first release of the workload on the clock of the rows; the first row without tasks.
    pub origin_ns: u64,
    /// In the order of time; at least one.
    pub rows: Vec<BudgetRow>,
}

impl Budgets {
    /// Each control interval: its begin and end from the first release, in ns; the budget granted in
    /// it; and what was consumed in it.
    pub fn intervals(&self) -> impl Iterator<Item = Interval> + '_ {
        let since = |ns: u64| ns as i64 - self.origin_ns as i64;
        let of = move |two: &[BudgetRow]| {
            Some(Interval {
                from_ns: since(two[0].time_ns),
                to_ns: since(two[1].time_ns),
                budget_ns: two[0].budget_ns,
                consumed_ns: two[1].consumed_ns?,
            })
        };
        self.rows.windows(2).filter_map(of)
    }
}

/// A control interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// From the first release.
    pub from_ns: i64,
    /// Likewise.
    pub to_ns: i64,
    /// Q meanwhile.
    pub budget_ns: u64,
    /// CPU time of the vCPU.
    pub consumed_ns: u64,
}

/// The rows in an attempt, whose record is that of the workload's VM; none where there are none.
///
/// # Errors
/// A malformed row.
pub fn read(
    folder: &Path,
    record: &RepetitionRecord,
    workload: Workload,
) -> Result<Option<Budgets>, Error> {
    let place = place_of(folder, record);
    let (file, jobs) = (place.join("budget.csv"), place.join("jobs.csv"));
    let Some(vm) = workload.vm.filter(|_| file.exists()) else { return Ok(None) };
    let mut rows: Vec<BudgetRow> = sample::read_csv(&file)?;
    rows.retain(|row| row.vm == vm.name && row.vcpu == 0);
    rows.sort_by_key(|row| row.time_ns);
    let Some(first) = rows.first().map(|row| row.time_ns) else { return Ok(None) };
    let jobs: Vec<Job> = if jobs.exists() { sample::read_csv(&jobs)? } else { Vec::new() };
    let released = first_release(&jobs, workload);
    let origin = |guest_ns| record.facts.jobs_clock(first).host_ns(guest_ns);
    Ok(Some(Budgets { origin_ns: released.map_or(first, origin), rows }))
}

/// Of this service alone: another one of the VM has tasks of the same names and other periods. The first
/// release need not have a row: it is counted back from those that have.
fn first_release(jobs: &[Job], workload: Workload) -> Option<u64> {
    let is = |named: &Option<String>, own: Option<&str>| named.is_none() || named.as_deref() == own;
    let (vm, service) = (workload.vm, workload.service);
    let own = jobs.iter().filter(|job| {
        is(&job.vm, vm.map(|vm| vm.name.as_str()))
            && is(&job.service, service.map(|service| service.name.as_str()))
    });
    own.filter_map(|job| job.release_ns.checked_sub(job.job * period_ns(workload, &job.task))).min()
}

fn period_ns(workload: Workload, task: &str) -> u64 {
    let named = |at: &usize| model::TaskSet::name(*at) == task;
    let tasks = workload.tasks();
    let at = (0..tasks.len()).find(named);
    at.map_or(0, |at| model::duration::as_ns(tasks[at].period()))
}

#[cfg(test)]
mod tests {
    use model::control::Why;

    use super::*;

    #[test]
    fn the_first_release_is_that_of_the_service() {
        let text = "name = \"s\"\n[[experiment]]\nname = \"e\"\nduration = \"9s\"\n\
                    [[experiment.vm]]\nname = \"vm\"\nvcpus = [{}]\nservice = [{ name = \"slow\", \
                    tasks = [\"1ms/200ms\"] }, { name = \"fast\", tasks = [\"1ms/5ms\"] }]";
        let suite = model::suite::parse(text, "s.toml").unwrap();
        let job = |service: &str, job, release_ns| Job {
            vm: Some("vm".to_owned()),
            service: Some(service.to_owned()),
            task: "tau1".to_owned(),
            job,
            release_ns,
            experiment: None,
            repetition: None,
            start_ns: release_ns,
            finish_ns: release_ns,
            response_ns: 0,
            cpu_ns: None,
            deadline_ns: 0,
            missed: false,
            stalled_ns: None,
        };
        let ms = 1_000_000;
        // The hundredth of the fast one would begin before the clock, by the other's period.
        let jobs = [job("slow", 1, 700 * ms), job("fast", 100, 1_010 * ms)];
        let of = |at: usize| first_release(&jobs, suite.experiments[0].workloads()[at]);
        assert_eq!([of(0), of(1)], [Some(500 * ms), Some(510 * ms)]);
    }

    #[test]
    fn an_interval_has_the_budget_of_its_begin_and_what_was_consumed_at_its_end() {
        let row = |time_ns, budget_ns, consumed_ns| BudgetRow {
            time_ns,
            vm: "vm".to_owned(),
            vcpu: 0,
            budget_ns,
            consumed_ns,
            waited_ns: None,
            why: Why::Demand,
            wish_ns: None,
        };
        let rows = vec![row(900, 35, None), row(1_900, 20, Some(7)), row(2_900, 20, Some(8))];
        let budgets = Budgets { origin_ns: 1_000, rows };
        let of = |from_ns, to_ns, budget_ns, consumed_ns| Interval {
            from_ns,
            to_ns,
            budget_ns,
            consumed_ns,
        };
        let intervals: Vec<_> = budgets.intervals().collect();
        assert_eq!(intervals, [of(-100, 900, 35, 7), of(900, 1_900, 20, 8)]);
    }
}
