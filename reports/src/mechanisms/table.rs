//! `reports mechanisms`: the ranking as tables.

use std::iter;

use model::{TaskSet, duration, suite::Workload};

use super::{
    Group,
    member::{Figures, Member},
};
use crate::{
    folder::Results,
    grid::{Format, Grid},
    series::{SERVICE, Selection},
    units::{UNKNOWN, ms, ms_or_unknown, percent, short},
};

/// What the group's members have in common, as a heading.
#[must_use]
pub fn title(group: &Group) -> String {
    let list =
        |tasks: &TaskSet| tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let own = group.members[0].1.case.workload();
    let workload = match own.web() {
        Some(web) => web.requests.map_or_else(
            || format!("{} clients", web.clients),
            |requests| format!("{} × {requests} requests", web.clients),
        ),
        None => list(own.tasks()),
    };
    let load = own.load();
    let load = load.map_or_else(String::new, |own| format!(" beside {}", list(&own.tasks)));
    format!("{} for {workload}{load}", group.reservation)
}

/// A group for people; times in milliseconds.
#[must_use]
pub fn grid(group: &Group) -> Grid {
    let own = group.members[0].1.case.workload();
    let (tasks, load) = (names(own), load_names(own));
    let mut header = vec!["rank".to_owned(), "mechanism".to_owned(), "experiment".to_owned()];
    for task in &tasks {
        if task == SERVICE {
            header.extend(["avg", "p99", "failed"].map(str::to_owned));
        } else {
            header.extend(["p99", "missed"].map(|what| format!("{task} {what}")));
        }
    }
    header.extend(["delivered", "least in 2P − Q", "beyond Q/P"].map(str::to_owned));
    for task in &load {
        header.extend(["p99", "missed"].map(|what| format!("host {task} {what}")));
    }
    let row = |(rank, member): &(Option<usize>, Member)| {
        let mut row = vec![
            rank.map_or_else(|| UNKNOWN.to_owned(), |rank| rank.to_string()),
            member.mechanism.to_string(),
            member.case.name().to_owned(),
        ];
        row.extend(tasks.iter().flat_map(|task| cells(task, &member.tasks)));
        row.push(member.delivered.map_or_else(|| UNKNOWN.to_owned(), percent));
        row.push(ms_or_unknown(member.least_ns.map(|ns| ns as f64)));
        row.push(spare(member, ["yes", "no", UNKNOWN]));
        row.extend(load.iter().flat_map(|task| cells(task, &member.load)));
        row
    };
    let rows = group.members.iter().map(row).collect();
    Grid { header, rows, texts: 3, notes: notes(group) }
}

fn names(own: Workload) -> Vec<String> {
    match own.web() {
        Some(_) => vec![SERVICE.to_owned()],
        None => (0..own.tasks().len()).map(TaskSet::name).collect(),
    }
}

/// The host's tasks are numbered on from the VM's, as in the paper.
fn load_names(own: Workload) -> Vec<String> {
    let first = own.tasks().len();
    let load = own.load().map_or(0, |load| load.tasks.len());
    (first..first + load).map(TaskSet::name).collect()
}

fn cells(task: &str, side: &[Figures]) -> Vec<String> {
    let own = side.iter().find(|own| own.task == task);
    let p99 = ms_or_unknown(own.and_then(|own| own.p99_ns).map(|ns| ns as f64));
    let missed =
        own.map_or_else(|| UNKNOWN.to_owned(), |own| format!("{} of {}", own.misses, own.jobs));
    if task == SERVICE {
        let mean = ms_or_unknown(own.and_then(|own| own.mean_ns));
        return vec![mean, p99, missed];
    }
    vec![p99, missed]
}

fn spare(member: &Member, [yes, no, unknown]: [&str; 3]) -> String {
    match member.spare {
        Some(true) => yes,
        Some(false) => no,
        None => unknown,
    }
    .to_owned()
}

fn notes(group: &Group) -> Vec<String> {
    let (q, p) = (group.reservation.budget(), group.reservation.period());
    let mut notes = vec![
        "Ranked by the share of the VM's jobs that missed (or requests that failed); then by the \
         99th percentile of the task nearest to its deadline, in tenths of the deadline (of a \
         service: of the least p99 here); then by the share of the host's jobs that missed."
            .to_owned(),
        format!(
            "Times in milliseconds. Delivered: the vCPU's share of the CPU, promised are {} to one \
             that asks. Least: in any window of {} in which the vCPU asked and no stall fell; \
             two-gap supply is {} there. Beyond Q/P: whether a busy vCPU got more than a cap of \
             Q in P lets through.",
            percent(group.reservation.bandwidth()),
            short((p * 2 - q).as_nanos() as f64),
            ms(q.as_nanos() as f64),
        ),
    ];
    for (_, member) in &group.members {
        let name = member.case.name();
        if let Some(reason) = member.impossible {
            notes.push(format!("{name}: not possible on this host: {reason}."));
        } else if member.is_measured() && member.selection == Selection::All {
            notes.push(format!(
                "{name}: all its jobs: no bound is promised, or fewer than half are undisturbed."
            ));
        }
    }
    notes
}

const MACHINE_COLUMNS: [&str; 16] = [
    "budget_ns",
    "period_ns",
    "rank",
    "mechanism",
    "experiment",
    "side",
    "task",
    "jobs",
    "misses",
    "mean_ns",
    "p99_ns",
    "deadline_ns",
    "delivered_share",
    "least_ns",
    "beyond",
    "selection",
];

/// All groups for scripts: a row for each experiment and task of either side, as CSV.
#[must_use]
pub fn csv(groups: &[Group]) -> String {
    let header = MACHINE_COLUMNS.map(str::to_owned).into();
    let rows = groups.iter().flat_map(machine_rows).collect();
    Grid { header, rows, texts: 5, notes: Vec::new() }.write(Format::Csv)
}

fn machine_rows(group: &Group) -> Vec<Vec<String>> {
    let number = |ns: Option<u64>| ns.map_or_else(|| UNKNOWN.to_owned(), |ns| ns.to_string());
    let reservation = [group.reservation.budget(), group.reservation.period()];
    let reservation = reservation.map(|length| duration::as_ns(length).to_string());
    let mut rows = Vec::new();
    for (rank, member) in &group.members {
        let mut head = reservation.to_vec();
        head.push(number(rank.map(|rank| rank as u64)));
        head.extend([member.mechanism.to_string(), member.case.name().to_owned()]);
        let tail = [
            member.delivered.map_or_else(|| UNKNOWN.to_owned(), |share| format!("{share:.6}")),
            number(member.least_ns),
            spare(member, ["1", "0", UNKNOWN]),
        ];
        let sides = member.tasks.iter().map(|own| ("vm", own));
        let sides = sides.chain(member.load.iter().map(|own| ("host", own)));
        let row = |(side, own): (&str, &Figures)| {
            let mut row = head.clone();
            row.extend([side.to_owned(), own.task.clone()]);
            row.extend([own.jobs, own.misses].map(|n| n.to_string()));
            row.push(own.mean_ns.map_or_else(|| UNKNOWN.to_owned(), |ns| format!("{ns:.0}")));
            row.extend([number(own.p99_ns), number(own.deadline_ns)]);
            row.extend(tail.clone());
            let judged = if side == "vm" { member.selection } else { Selection::All };
            row.push(judged.name().to_owned());
            row
        };
        if member.is_measured() {
            rows.extend(sides.map(row));
        } else {
            let empty = iter::repeat_n(UNKNOWN.to_owned(), MACHINE_COLUMNS.len() - head.len());
            rows.push(head.iter().cloned().chain(empty).collect());
        }
    }
    rows
}

/// Every group under its heading, as text or in a document's table format.
#[must_use]
pub fn write(results: &Results, format: Format) -> Option<String> {
    let groups = super::groups(results);
    if groups.is_empty() {
        return None;
    }
    if format == Format::Csv {
        return Some(csv(&groups));
    }
    let one = |group| format!("{}\n\n{}", title(group), grid(group).write(format));
    Some(groups.iter().map(one).collect::<Vec<_>>().join("\n"))
}
