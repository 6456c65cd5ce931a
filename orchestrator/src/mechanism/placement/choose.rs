//! Which placement it is: the one that was asked for, or the first that host and machine allow.

use std::path::{Path, PathBuf};

use kernel::{cgroup::Version, cpuset::Plan};
use model::{Mechanism, Placement};

use super::seats::{Held, Seats};
use crate::error::Refusal;

/// What the user says of it.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// The placement; none where it is to be chosen.
    pub placement: Option<Placement>,
    /// The CPU; none where it is to be chosen.
    pub cpu: Option<u32>,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The placement.
    pub placement: Placement,
    /// The CPU that the vCPU threads run on, where it is one.
    pub cpu: Option<u32>,
    /// Why, and what it means for the host, in one sentence.
    pub why: String,
    /// The partition of the machine's own groups.
    pub plan: Option<Plan>,
}

impl Chosen {
    fn new(placement: Placement, cpu: Option<u32>, why: String) -> Self {
        Self { placement, cpu, why, plan: None }
    }
}

/// Whether a mechanism works in a placement at all.
pub(in crate::mechanism) fn works(mechanism: Mechanism, placement: Placement) -> bool {
    use Placement::{AdmissionOff, Global, InPlace, Partition, Slice};
    match placement {
        Partition => true,
        Global | Slice | AdmissionOff => mechanism.is_deadline(),
        InPlace => !mechanism.is_deadline(),
    }
}

/// Those that are tried where none is asked for, the best first. `admission-off` is never among them.
fn candidates(asked: &Asked, version: Version) -> &'static [Placement] {
    use Placement::{Global, InPlace, Partition, Slice};
    match asked.mechanism {
        one if one.is_deadline() && asked.cpu.is_some() => &[Partition, Slice],
        one if one.is_deadline() => &[Global, Partition, Slice],
        // A limit needs no partition, unless it is to be had on one CPU.
        one if one.has_budget() && asked.cpu.is_none() && version == Version::V2 => &[InPlace],
        _ if asked.cpu.is_some() => &[Partition],
        _ => &[Partition, InPlace],
    }
}

/// Chooses; `measured` is the CPU that the bench takes where nothing says which.
///
/// # Errors
/// [`Refusal::Usage`] for what no host allows, [`Refusal::Lacking`] with the reason and the way out
/// for what this one does not.
pub fn choose(asked: &Asked, measured: u32, seats: &Seats) -> Result<Chosen, Refusal> {
    let Asked { mechanism, placement, .. } = *asked;
    if let Some(wanted) = placement.filter(|wanted| !works(mechanism, *wanted)) {
        let good = Placement::ALL.into_iter().filter(|one| works(mechanism, *one));
        let good: Vec<_> = good.map(|one| format!("`{one}`")).collect();
        return Err(Refusal::Usage(format!(
            "--placement: `{mechanism}` does not work in `{wanted}`; choose one of {}",
            good.join(", ")
        )));
    }
    let candidates = match &placement {
        Some(wanted) => std::slice::from_ref(wanted),
        None => candidates(asked, seats.cpusets.version),
    };
    let mut reasons = Vec::new();
    for &candidate in candidates {
        match attempt(candidate, asked, measured, seats) {
            Ok(chosen) => return Ok(chosen),
            Err(why) => reasons.push(format!("`{candidate}` is not possible: {why}")),
        }
    }
    Err(Refusal::Lacking(format!("{}; {}", reasons.join("; "), way_out(asked, seats))))
}

fn attempt(
    placement: Placement,
    asked: &Asked,
    measured: u32,
    seats: &Seats,
) -> Result<Chosen, String> {
    match placement {
        Placement::Global => global(asked, seats),
        Placement::Slice => slice(asked, measured, seats),
        Placement::Partition => partition(asked, measured, seats),
        Placement::InPlace => in_place(asked),
        Placement::AdmissionOff => admission_off(asked, seats),
    }
}

fn list(cpus: &[u32]) -> String {
    kernel::affinity::format_list(cpus)
}

fn global(asked: &Asked, seats: &Seats) -> Result<Chosen, String> {
    if asked.cpu.is_some() {
        return Err("--cpu names one CPU, and it reserves on all of a root domain".to_owned());
    }
    if let Some(narrow) = seats.vcpus.iter().find(|seat| !seat.spans()) {
        return Err(format!(
            "vCPU thread {} may run on CPUs {}, but its root domain is CPUs {}",
            narrow.tid,
            list(&narrow.affinity),
            list(&narrow.span)
        ));
    }
    let spans: Vec<&[u32]> = seats.vcpus.iter().map(|seat| &seat.span[..]).collect();
    let single = match spans.first().copied() {
        Some(&[cpu]) if spans.iter().all(|span| **span == [cpu]) => Some(cpu),
        _ => None,
    };
    if asked.mechanism == Mechanism::TimerServer && single.is_none() {
        return Err("`timer-server` ends budgets on one CPU, where its controlling thread is; \
                    `deadline` works"
            .to_owned());
    }
    let all = spans.first().map_or_else(String::new, |span| list(span));
    Ok(Chosen::new(
        Placement::Global,
        single,
        format!("the vCPU threads may use their whole root domain, CPUs {all}: nothing is moved"),
    ))
}

/// The CPU of a vCPU thread: the one asked for, else the bench's own choice among those that the
/// thread may use.
fn cpu_of(affinity: &[u32], asked: &Asked, measured: u32) -> Result<u32, String> {
    asked
        .cpu
        .or_else(|| affinity.contains(&measured).then_some(measured))
        .or_else(|| affinity.last().copied())
        .ok_or_else(|| "there is no CPU that all vCPU threads may use; give --cpu".to_owned())
}

fn partition(asked: &Asked, measured: u32, seats: &Seats) -> Result<Chosen, String> {
    match &seats.held {
        Some(Held::Threaded(domain)) => {
            return Err(format!(
                "the vCPU threads are in a threaded domain of their own, {}, which they cannot leave",
                below(seats, domain)
            ));
        }
        Some(Held::Alone(group)) => {
            return Err(format!(
                "the process would leave {} empty, which ends it as a scope or service",
                below(seats, group)
            ));
        }
        None => {}
    }
    let mut common = seats.online.clone();
    common.retain(|cpu| seats.vcpus.iter().all(|seat| seat.affinity.contains(cpu)));
    let cpu = cpu_of(&common, asked, measured)?;
    // Whether the kernel gives this CPU a root domain of its own.
    seats
        .cpusets
        .isolate(&[cpu], None, (&seats.online, &seats.isolated))
        .map_err(|error| error.to_string())?;
    let why = format!("the vCPU threads move into a partition of CPU {cpu}, and back in the end");
    Ok(Chosen::new(Placement::Partition, Some(cpu), why))
}

fn slice(asked: &Asked, measured: u32, seats: &Seats) -> Result<Chosen, String> {
    let Some(top) = &seats.top else {
        return Err(
            "the vCPU threads are in no group of cgroup v2 but the root; `partition` moves \
                    them"
                .to_owned(),
        );
    };
    let cpus = seats.vcpus.iter().map(|seat| cpu_of(&seat.affinity, asked, measured));
    let cpus = cpus.collect::<Result<Vec<u32>, _>>()?;
    let about = (&seats.online[..], &seats.isolated[..]);
    if seats.cpusets.has_remote() && asked.mechanism != Mechanism::TimerServer {
        let groups = own_groups(seats, &cpus)?;
        let plan = seats.cpusets.enclose_each(&groups, about).map_err(|error| error.to_string())?;
        let names =
            groups.iter().map(|(group, cpu)| format!("{} (CPU {cpu})", below(seats, group)));
        let names: Vec<_> = names.collect();
        let why = format!("the machine's own groups become partitions: {}", names.join(", "));
        let chosen = Chosen::new(Placement::Slice, one(&cpus), why);
        return Ok(Chosen { plan: Some(plan), ..chosen });
    }
    let name = below(seats, &top.group);
    let Some(cpu) = one(&cpus) else {
        return Err(format!("{name} would be a partition of one CPU, and the vCPUs have several"));
    };
    if top.others > 0 && asked.placement.is_none() {
        return Err(format!(
            "{name} would become a partition of CPU {cpu}, and {} processes of others are in it; \
             `--placement slice` says that they may run there meanwhile",
            top.others
        ));
    }
    let home = asked.mechanism == Mechanism::TimerServer;
    let plan = seats.cpusets.enclose(&top.group, cpu, about, home);
    let plan = plan.map_err(|error| error.to_string())?;
    let others = match top.others {
        0 => String::new(),
        others => format!(", {others} processes of others among it"),
    };
    let why = format!("{name} becomes a partition: all in it runs on CPU {cpu} meanwhile{others}");
    Ok(Chosen { plan: Some(plan), ..Chosen::new(Placement::Slice, Some(cpu), why) })
}

/// The CPU, where all have the same.
fn one(cpus: &[u32]) -> Option<u32> {
    let first = *cpus.first()?;
    cpus.iter().all(|cpu| *cpu == first).then_some(first)
}

/// The lowest groups that can be partitions of these CPUs: each vCPU's own, or the one around all
/// where they share a CPU.
fn own_groups(seats: &Seats, cpus: &[u32]) -> Result<Vec<(PathBuf, u32)>, String> {
    let mut each: Vec<(PathBuf, u32)> =
        seats.vcpus.iter().map(|seat| seat.group.clone()).zip(cpus.iter().copied()).collect();
    each.sort();
    each.dedup();
    let clash = |(at, (group, cpu)): (usize, &(PathBuf, u32))| {
        each[at + 1..]
            .iter()
            .any(|(other, its)| cpu == its || other.starts_with(group) || group.starts_with(other))
    };
    if !each.iter().enumerate().any(clash) {
        return Ok(each);
    }
    let around = |group: &&Path| seats.vcpus.iter().all(|seat| seat.group.starts_with(group));
    let hierarchy = seats.cpusets.hierarchy();
    let shared = seats
        .vcpus
        .first()
        .and_then(|seat| hierarchy.lineage(&seat.group).find(around).map(Path::to_owned));
    match (one(cpus), shared) {
        (Some(cpu), Some(group)) => Ok(vec![(group, cpu)]),
        _ => Err("the vCPU threads share groups, but not one CPU".to_owned()),
    }
}

fn in_place(asked: &Asked) -> Result<Chosen, String> {
    if asked.cpu.is_some() {
        return Err("--cpu names one CPU, and the threads stay where they are".to_owned());
    }
    let why = if asked.mechanism.has_budget() {
        "groups of the machine's own get the limit, on the CPUs that they have: nothing leaves them"
    } else {
        "the vCPU threads stay on the CPUs and in the groups that they have"
    };
    Ok(Chosen::new(Placement::InPlace, None, why.to_owned()))
}

fn admission_off(asked: &Asked, seats: &Seats) -> Result<Chosen, String> {
    if asked.cpu.is_some() {
        return Err("--cpu names one CPU, and the threads stay where they are".to_owned());
    }
    let pinned = seats.vcpus.iter().map(|seat| match seat.affinity[..] {
        [cpu] => Some(cpu),
        _ => None,
    });
    let cpu = pinned.collect::<Option<Vec<u32>>>().and_then(|cpus| one(&cpus));
    if asked.mechanism == Mechanism::TimerServer && cpu.is_none() {
        return Err(
            "`timer-server` ends budgets on one CPU, and the vCPU threads are not pinned to \
                    one; `deadline` works"
                .to_owned(),
        );
    }
    let why = "the threads stay as they are, and kernel.sched_rt_runtime_us is -1 meanwhile: this \
               host then has neither admission control nor RT throttling";
    Ok(Chosen::new(Placement::AdmissionOff, cpu, why.to_owned()))
}

fn way_out(asked: &Asked, seats: &Seats) -> String {
    if !asked.mechanism.is_deadline() {
        return "leave --cpu out, or use `--placement in-place`".to_owned();
    }
    let mut ways = Vec::new();
    if asked.cpu.is_none() && seats.vcpus.iter().any(|seat| !seat.spans()) {
        ways.push("unpin the vCPUs (`virsh vcpupin`, `taskset`) for `global`");
    }
    if asked.placement.is_none() && seats.top.as_ref().is_some_and(|top| top.others > 0) {
        ways.push("give `--placement slice`");
    }
    if asked.placement != Some(Placement::AdmissionOff) && asked.cpu.is_none() {
        ways.push("give `--placement admission-off`, which takes a safety net away");
    }
    ways.push("or cap without a guarantee: `--mechanism cfs-quota`");
    ways.join(", ")
}

/// A group as people name it.
fn below(seats: &Seats, group: &Path) -> String {
    match group.strip_prefix(&seats.cpusets.root) {
        Ok(name) if !name.as_os_str().is_empty() => name.display().to_string(),
        _ => "the root group".to_owned(),
    }
}

#[cfg(test)]
mod tests;
