//! Which CPUs are measured and which do everything else.

use std::path::Path;

use kernel::affinity;
use model::manifest::CoreType;

use super::Topology;
use crate::error::Refusal;

/// The host's CPUs, divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus {
    /// Those on which everything is measured, at least one, in the order of the suite.
    pub measured: Vec<u32>,
    /// Those of this program and what it starts; one of the measured ones where no other is left.
    pub housekeeping: Vec<u32>,
    /// SMT siblings of the measured CPUs, left idle because they would slow them down.
    pub idle: Vec<u32>,
    /// Why those are measured, in one sentence.
    pub reason: String,
    online: Vec<u32>,
}

impl Cpus {
    /// Divides the CPUs that are online below `sys` (`/sys`): `wanted` are measured, or the best one.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where one of `wanted` is not online, or is the only one; [`Refusal::Lacking`]
    /// where the host has but one.
    pub fn divide(sys: &Path, wanted: &[u32]) -> Result<Self, Refusal> {
        let topology = Topology::at(sys);
        let allowed = affinity::get(affinity::SELF).map_or_else(|_| topology.online(), Ok)?;
        choose(&topology, &allowed, wanted)
    }

    /// The first measured CPU, where everything is that names none.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.measured[0]
    }

    /// A CPU as a suite names it, or does not.
    #[must_use]
    pub fn of(&self, wanted: Option<u32>) -> u32 {
        wanted.unwrap_or_else(|| self.first())
    }

    /// The measured CPU that does everything else as well, where no other is left for that.
    #[must_use]
    pub fn shared(&self) -> Option<u32> {
        self.measured.iter().copied().find(|cpu| self.housekeeping.contains(cpu))
    }

    /// The measured CPUs on which nothing else is done.
    #[must_use]
    pub fn apart(&self) -> Vec<u32> {
        let alone = |cpu: &u32| !self.housekeeping.contains(cpu);
        self.measured.iter().copied().filter(alone).collect()
    }

    /// `CPU 1`, or `CPUs 1,2`.
    #[must_use]
    pub fn names(&self) -> String {
        let plural = if self.measured.len() > 1 { "s" } else { "" };
        format!("CPU{plural} {}", affinity::format_list(&self.measured))
    }

    /// All CPUs online, ascending.
    #[must_use]
    pub fn all(&self) -> Vec<u32> {
        self.online.clone()
    }

    /// All CPUs online but those that are left idle.
    #[must_use]
    pub fn in_use(&self) -> Vec<u32> {
        self.online.iter().copied().filter(|cpu| !self.idle.contains(cpu)).collect()
    }

    /// Two sets of CPUs, divided already.
    #[cfg(test)]
    pub(crate) fn made_up(measured: &[u32], housekeeping: &[u32]) -> Self {
        let mut online = [housekeeping, measured].concat();
        online.sort_unstable();
        online.dedup();
        let (measured, housekeeping) = (measured.to_vec(), housekeeping.to_vec());
        Self { measured, housekeeping, idle: Vec::new(), reason: "made up".to_owned(), online }
    }
}

/// The share of each measured CPU that reservations and the host's real-time tasks may take where no
/// CPU is left for everything else: the rest keeps the host, QEMU and the bench going.
pub const SHARED_LIMIT: f64 = 0.6;

/// What decides between two CPUs, the most important first.
type Merit = (bool, bool, bool, bool, u32);

fn choose(topology: &Topology, allowed: &[u32], wanted: &[u32]) -> Result<Cpus, Refusal> {
    let online = topology.online()?;
    // `isolcpus` takes the isolated CPUs from the affinity of every process, this one included.
    let isolated = topology.isolated().unwrap_or_default();
    let may = |cpu: &u32| allowed.contains(cpu) || isolated.contains(cpu);
    let mine: Vec<u32> = online.iter().copied().filter(may).collect();
    // A process that may use one CPU only, or none of these, says nothing about which to measure.
    let (candidates, confined) =
        if mine.len() < 2 { (&online, true) } else { (&mine, mine.len() < online.len()) };
    let best = || candidates.iter().copied().max_by_key(|&cpu| merit(topology, cpu)).unwrap_or(0);
    let measured = if wanted.is_empty() { vec![best()] } else { wanted.to_vec() };
    if let Some(cpu) = measured.iter().find(|cpu| !online.contains(cpu)) {
        return Err(Refusal::Usage(format!(
            "CPU {cpu} is to be measured, but the CPUs online are {}",
            affinity::format_list(&online)
        )));
    }
    if let [only] = online[..] {
        let text = format!(
            "CPU {only} is the only one of this host; measuring needs one, and everything \
             else another"
        );
        let refuse = if wanted.is_empty() { Refusal::Lacking } else { Refusal::Usage };
        return Err(refuse(text));
    }
    let mut siblings: Vec<u32> = measured.iter().flat_map(|&cpu| siblings(topology, cpu)).collect();
    siblings.retain(|cpu| !measured.contains(cpu));
    siblings.sort_unstable();
    siblings.dedup();
    let without = |taken: &[u32]| -> Vec<u32> {
        let free = |cpu: &u32| !measured.contains(cpu) && !taken.contains(cpu);
        online.iter().copied().filter(free).collect()
    };
    let idle = if without(&siblings).is_empty() { Vec::new() } else { siblings.clone() };
    let mut housekeeping = housekeeping(topology, &without(&idle), &mine);
    if housekeeping.is_empty() {
        // The kernel's own work is on the lowest anyway.
        housekeeping.extend(measured.iter().min());
    }
    let whence = if !wanted.is_empty() {
        Whence::Wanted
    } else if confined {
        Whence::Allowed(mine)
    } else {
        Whence::Online
    };
    let mut cpus = Cpus { measured, housekeeping, idle, reason: String::new(), online };
    cpus.reason = reason(topology, &cpus, &whence, &siblings);
    Ok(cpus)
}

/// What the measured CPU was chosen from.
enum Whence {
    Wanted,
    Online,
    /// What this process may use, which is not all.
    Allowed(Vec<u32>),
}

fn reason(topology: &Topology, cpus: &Cpus, whence: &Whence, siblings: &[u32]) -> String {
    let several = cpus.measured.len() > 1;
    let mut parts = vec![match whence {
        Whence::Wanted if several => "they were asked for".to_owned(),
        Whence::Wanted => "it was asked for".to_owned(),
        Whence::Online => "the last of the best CPUs online".to_owned(),
        Whence::Allowed(mine) => {
            let mine = affinity::format_list(mine);
            format!("the last of the best CPUs; this process was started on CPUs {mine}")
        }
    }];
    for &cpu in &cpus.measured {
        let own = traits(topology, cpu);
        match several {
            true if !own.is_empty() => parts.push(format!("CPU {cpu} is {}", own.join(", "))),
            true => {}
            false => parts.extend(own),
        }
    }
    if !cpus.idle.is_empty() {
        let (whose, idle) =
            (if several { "their" } else { "its" }, affinity::format_list(&cpus.idle));
        parts.push(format!("{whose} SMT sibling (CPU {idle}) is left idle"));
    } else if !siblings.is_empty() {
        let text = match several {
            true => "their SMT siblings do the housekeeping, as no other CPU is left",
            false => "its SMT sibling does the housekeeping, as this host has one core",
        };
        parts.push(text.to_owned());
    }
    if let Some(cpu) = cpus.shared() {
        parts.push(format!(
            "none is left for everything else, which runs on CPU {cpu} as well, so at most \
             {SHARED_LIMIT} of each may be taken"
        ));
    }
    let are = if several { "are" } else { "is" };
    format!("{} {are} measured: {}", cpus.names(), parts.join("; "))
}

/// A performance core that can have a root domain of its own (CPUs isolated at boot share one),
/// isolated at boot, not on the core of CPU 0, which the kernel prefers for its own work; the last of
/// those.
fn merit(topology: &Topology, cpu: u32) -> Merit {
    let isolated = topology.isolated().unwrap_or_default();
    (
        topology.core_type(cpu) != Some(CoreType::Efficiency),
        isolated.len() < 2 || !isolated.contains(&cpu),
        is_in(topology.isolated(), cpu) || is_in(topology.nohz_full(), cpu),
        cpu != 0 && !siblings(topology, cpu).contains(&0),
        cpu,
    )
}

/// The other CPUs of its core that are online.
fn siblings(topology: &Topology, cpu: u32) -> Vec<u32> {
    let online = topology.online().unwrap_or_default();
    let other = |sibling: &u32| *sibling != cpu && online.contains(sibling);
    topology.siblings(cpu).unwrap_or_default().into_iter().filter(other).collect()
}

fn is_in(list: Option<Vec<u32>>, cpu: u32) -> bool {
    list.is_some_and(|cpus| cpus.contains(&cpu))
}

/// Those of `rest` that this process may use and that are not isolated, as far as there are any.
fn housekeeping(topology: &Topology, rest: &[u32], mine: &[u32]) -> Vec<u32> {
    let isolated = topology.isolated().unwrap_or_default();
    let keep = |good: &dyn Fn(&u32) -> bool| -> Vec<u32> {
        rest.iter().copied().filter(|cpu| good(cpu)).collect()
    };
    let choices = [
        keep(&|cpu| mine.contains(cpu) && !isolated.contains(cpu)),
        keep(&|cpu| !isolated.contains(cpu)),
        rest.to_vec(),
    ];
    choices.into_iter().find(|cpus| !cpus.is_empty()).unwrap_or_default()
}

/// What is to be said of a CPU.
fn traits(topology: &Topology, cpu: u32) -> Vec<String> {
    let mut parts = Vec::new();
    match topology.core_type(cpu) {
        Some(CoreType::Performance) => parts.push("a performance core".to_owned()),
        Some(CoreType::Efficiency) => parts.push("an efficiency core".to_owned()),
        None => {}
    }
    if is_in(topology.isolated(), cpu) {
        parts.push("isolated".to_owned());
    }
    if is_in(topology.nohz_full(), cpu) {
        parts.push("without a tick (nohz_full)".to_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::topology::tests::tree;

    const ONLINE: &str = "devices/system/cpu/online";

    /// Divides made-up CPUs, of which this process may use `allowed`.
    fn divided(files: &[(&str, &str)], allowed: &[u32], wanted: Option<u32>) -> Cpus {
        choose(&Topology::at(tree(files).path()), allowed, wanted.as_slice()).unwrap()
    }

    /// Files that make cores of these CPUs.
    fn cores(siblings: &[&'static str]) -> Vec<(String, &'static str)> {
        siblings
            .iter()
            .flat_map(|list| {
                affinity::parse_list(list).unwrap().into_iter().map(move |c| (c, *list))
            })
            .map(|(cpu, list)| {
                (format!("devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), list)
            })
            .collect()
    }

    fn with<'a>(
        files: &'a [(String, &'static str)],
        more: &[(&'a str, &'a str)],
    ) -> Vec<(&'a str, &'a str)> {
        files.iter().map(|(path, text)| (&**path, *text)).chain(more.iter().copied()).collect()
    }

    #[test]
    fn the_last_of_equal_cpus_is_measured_unless_another_is_wanted() {
        let cpus = divided(&[(ONLINE, "0-3\n")], &[0, 1, 2, 3], None);
        assert_eq!((cpus.first(), &*cpus.housekeeping, &*cpus.idle), (3, &[0, 1, 2][..], &[][..]));
        let cpus = divided(&[(ONLINE, "0-3\n")], &[0, 1, 2, 3], Some(1));
        assert_eq!(cpus.housekeeping, [0, 2, 3]);
        assert_eq!(cpus.reason, "CPU 1 is measured: it was asked for");
    }

    #[test]
    fn the_cpus_of_this_process_are_kept_to() {
        let cpus = divided(&[(ONLINE, "0-7\n")], &[2, 3, 4], None);
        assert_eq!((cpus.first(), &*cpus.housekeeping), (4, &[2, 3][..]));
        assert!(cpus.reason.contains("started on CPUs 2,3,4"), "{}", cpus.reason);
        // One alone says nothing: a shell that a kept reservation confines is such a process.
        let cpus = divided(&[(ONLINE, "0-1\n")], &[0], None);
        assert_eq!((cpus.first(), &*cpus.housekeeping), (1, &[0][..]));
    }

    #[test]
    fn the_sibling_of_the_measured_cpu_is_left_idle() {
        for (pairs, idle, rest) in [(["0,2", "1,3"], 1, [0, 2]), (["0-1", "2-3"], 2, [0, 1])] {
            let cores = cores(&pairs);
            let cpus = divided(&with(&cores, &[(ONLINE, "0-3\n")]), &[0, 1, 2, 3], None);
            assert_eq!(
                (cpus.first(), &*cpus.idle, &*cpus.housekeeping),
                (3, &[idle][..], &rest[..])
            );
            assert_eq!(cpus.in_use(), [&rest[..], &[3]].concat());
            assert!(cpus.reason.contains(&format!("(CPU {idle}) is left idle")), "{}", cpus.reason);
        }
    }

    #[test]
    fn the_core_of_cpu_0_is_not_measured_where_there_is_another() {
        let cores = cores(&["0,3", "1,2"]);
        let cpus = divided(&with(&cores, &[(ONLINE, "0-3\n")]), &[0, 1, 2, 3], None);
        assert_eq!((cpus.first(), &*cpus.idle, &*cpus.housekeeping), (2, &[1][..], &[0, 3][..]));
    }

    #[test]
    fn one_core_has_to_do() {
        let cores = cores(&["0-1"]);
        let cpus = divided(&with(&cores, &[(ONLINE, "0-1\n")]), &[0, 1], None);
        assert_eq!((cpus.first(), &*cpus.idle, &*cpus.housekeeping), (1, &[][..], &[0][..]));
        assert!(cpus.reason.contains("this host has one core"), "{}", cpus.reason);
    }

    #[test]
    fn a_performance_core_is_measured_and_of_those_the_one_that_is_isolated() {
        let hybrid = [
            (ONLINE, "0-7\n"),
            ("devices/cpu_core/cpus", "0-3\n"),
            ("devices/cpu_atom/cpus", "4-7\n"),
        ];
        let all: Vec<u32> = (0..8).collect();
        let cpus = divided(&hybrid, &all, None);
        assert_eq!(cpus.measured, [3]);
        assert!(cpus.reason.contains("a performance core"), "{}", cpus.reason);
        let isolated = ("devices/system/cpu/isolated", "2\n");
        let cpus = divided(&[&hybrid[..], &[isolated]].concat(), &all, None);
        assert_eq!((cpus.first(), &*cpus.housekeeping), (2, &[0, 1, 3, 4, 5, 6, 7][..]));
        assert!(cpus.reason.contains("isolated"), "{}", cpus.reason);
        let quiet = ("devices/system/cpu/nohz_full", "1\n");
        assert_eq!(divided(&[&hybrid[..], &[quiet]].concat(), &all, None).measured, [1]);
    }

    #[test]
    fn a_boot_that_isolates_takes_the_isolated_cpus_out_of_this_programs_affinity() {
        // What `isolcpus=2,3` leaves to every process.
        let files = [(ONLINE, "0-3\n"), ("devices/system/cpu/isolated", "2-3\n")];
        // Those are one root domain, in which none can be reserved alone: another is measured.
        let cpus = divided(&files, &[0, 1], None);
        assert_eq!((cpus.first(), &*cpus.housekeeping), (1, &[0][..]));
        let one = [(ONLINE, "0-3\n"), ("devices/system/cpu/isolated", "2\n")];
        let cpus = divided(&one, &[0, 1, 3], None);
        assert_eq!((cpus.first(), &*cpus.housekeeping), (2, &[0, 1, 3][..]));
    }

    #[test]
    fn several_cpus_are_measured_and_the_rest_does_the_housekeeping() {
        let of = |files: &[(&str, &str)], wanted: &[u32]| {
            choose(&Topology::at(tree(files).path()), &[0, 1, 2, 3], wanted)
        };
        let four = (ONLINE, "0-3\n");
        let cpus = of(&[four], &[3, 1]).unwrap();
        assert_eq!((&*cpus.measured, &*cpus.housekeeping), (&[3, 1][..], &[0, 2][..]));
        assert_eq!((cpus.first(), cpus.of(Some(1)), cpus.of(None), cpus.shared()), (3, 1, 3, None));
        assert_eq!(cpus.reason, "CPUs 3,1 are measured: they were asked for");
        let pairs = cores(&["0-1", "2-3"]);
        // One of the measured CPUs is the other's sibling; CPU 0 and its sibling remain.
        let cpus = of(&with(&pairs, &[four]), &[2, 3]).unwrap();
        assert_eq!((&*cpus.idle, &*cpus.housekeeping), (&[][..], &[0, 1][..]));
        let cpus = of(&with(&pairs, &[four]), &[1, 2]).unwrap();
        assert_eq!((&*cpus.idle, &*cpus.housekeeping), (&[][..], &[0, 3][..]), "no other is left");
        let isolated = ("devices/system/cpu/isolated", "2\n");
        let cpus = of(&[four, isolated], &[1, 2]).unwrap();
        assert!(cpus.reason.contains("CPU 2 is isolated"), "{}", cpus.reason);
        let error = of(&[four], &[1, 4]).unwrap_err();
        assert!(matches!(&error, Refusal::Usage(text) if text.contains("CPU 4 is to be measured")));
    }

    #[test]
    fn where_all_are_measured_the_lowest_does_everything_else() {
        let sys = tree(&[(ONLINE, "0-1\n")]);
        let cpus = choose(&Topology::at(sys.path()), &[0, 1], &[1, 0]).unwrap();
        assert_eq!((&*cpus.measured, &*cpus.housekeeping), (&[1, 0][..], &[0][..]));
        assert_eq!((cpus.shared(), cpus.apart()), (Some(0), vec![1]));
        assert!(cpus.reason.contains("runs on CPU 0 as well, so at most 0.6"), "{}", cpus.reason);
    }

    #[test]
    fn a_cpu_that_is_not_there_and_the_only_one_are_refused() {
        let refused = |online, wanted: Option<u32>| {
            let sys = tree(&[(ONLINE, online)]);
            choose(&Topology::at(sys.path()), &[0, 1], wanted.as_slice()).unwrap_err()
        };
        let error = refused("0-1\n", Some(7));
        assert!(matches!(&error, Refusal::Usage(text) if text.contains("online are 0,1")));
        assert!(matches!(refused("0\n", Some(0)), Refusal::Usage(_)));
        assert!(matches!(refused("0\n", None), Refusal::Lacking(_)));
    }
}
