//! How a virtual machine gets its share of a measured CPU: one small file for each mechanism.
//!
//! [`attach`] is the way in. Whatever it changes is journalled by the stage's guard, which undoes it:
//! detaching is [`crate::host::Guard::undo_to`] a mark from before. `docs/mechanisms.md` says what
//! each mechanism enforces and what it cannot.

mod attached;
mod cfs;
mod deadline;
mod emulator;
mod fifo;
mod group;
mod hrtick;
mod in_place;
mod leak;
mod none;
pub mod placement;
pub mod room;
mod rt_group;
mod starved;
pub(crate) mod timer_server;

use std::time::Duration;

use anyhow::Result;
use kernel::affinity::Tid;
use model::{Mechanism, Placement, Reservation, suite::ReservationSettings};

pub use attached::Attached;
pub use deadline::explain;
pub use emulator::place_emulator;
pub(crate) use timer_server::READY;

use crate::{
    error::Refusal,
    host::{Roots, Stage},
};

/// The threads of a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// QEMU's process, whose first thread is the main loop.
    pub pid: i32,
    /// The threads that execute the guest.
    pub vcpus: Vec<Tid>,
}

/// What is asked of a mechanism.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// (Q, P) of each vCPU; none for mechanisms that have no budget.
    pub reservation: Option<Reservation>,
    /// How much of an unused quota may be saved up (`cfs-quota` and `cfs-quota-weight`).
    pub burst: Duration,
    /// Where the vCPU threads are meanwhile.
    pub placement: Placement,
    /// The measured CPU that it is on; the first where absent.
    pub cpu: Option<u32>,
}

impl From<Reservation> for Request {
    fn from(reservation: Reservation) -> Self {
        Self { reservation: Some(reservation), ..Self::default() }
    }
}

impl From<&ReservationSettings> for Request {
    fn from(settings: &ReservationSettings) -> Self {
        Self {
            reservation: Some(settings.reservation()),
            burst: settings.burst,
            placement: settings.placement.unwrap_or_default(),
            cpu: None,
        }
    }
}

impl Request {
    /// The reservation of a mechanism that needs one.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where there is none.
    fn reservation(&self) -> Result<Reservation, Refusal> {
        self.reservation.ok_or_else(|| {
            Refusal::Usage("the mechanism needs a reservation, for example 28ms/50ms".to_owned())
        })
    }
}

/// A way to enforce a reservation. What it changes is undone by the stage's guard.
pub trait Enforce {
    /// Refuses a request that it can fulfil on no host.
    ///
    /// # Errors
    /// [`Refusal::Usage`] with what would be right.
    fn check(&self, request: &Request) -> Result<(), Refusal>;

    /// Looks, without changing anything, whether this host has what it needs and takes the request.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] with the remedy; [`Refusal::Usage`] where its kernel takes no such
    /// parameters.
    fn probe(&self, request: &Request, roots: &Roots) -> Result<(), Refusal>;

    /// Puts the vCPU threads on their measured CPU, under the reservation. Half-way through it may
    /// leave changes: [`attach`] takes them back.
    ///
    /// # Errors
    /// What the kernel refused, and what to do about it.
    fn attach(&self, stage: &mut Stage, vm: &Vm, request: &Request) -> Result<Attached>;
}

/// The code behind a mechanism's name.
#[must_use]
pub fn of(mechanism: Mechanism) -> &'static dyn Enforce {
    match mechanism {
        Mechanism::None => &none::None,
        Mechanism::FifoAbove => &fifo::ABOVE,
        Mechanism::FifoBelow => &fifo::BELOW,
        Mechanism::Deadline => &deadline::Deadline { reclaim: false },
        Mechanism::DeadlineReclaim => &deadline::Deadline { reclaim: true },
        Mechanism::RtGroup => &rt_group::RtGroup,
        Mechanism::CfsQuota => &cfs::QUOTA,
        Mechanism::CfsWeight => &cfs::WEIGHT,
        Mechanism::CfsQuotaWeight => &cfs::QUOTA_WEIGHT,
        Mechanism::TimerServer => &timer_server::TimerServer,
    }
}

/// Whether `mechanism` can fulfil `request` on this host, as far as looking tells.
///
/// # Errors
/// [`Refusal::Usage`] or [`Refusal::Lacking`], with the mechanism's name.
pub fn admit(mechanism: Mechanism, request: &Request, roots: &Roots) -> Result<(), Refusal> {
    let enforce = of(mechanism);
    let placed = || {
        let text = format!("it does not work in placement `{}`", request.placement);
        placement::works(mechanism, request.placement).then_some(()).ok_or(Refusal::Usage(text))
    };
    let admitted = enforce.check(request).and_then(|()| placed());
    admitted.and_then(|()| enforce.probe(request, roots)).map_err(|refusal| {
        let named = |text| format!("mechanism `{mechanism}`: {text}");
        match refusal {
            Refusal::Usage(text) => Refusal::Usage(named(text)),
            Refusal::Lacking(text) => Refusal::Lacking(named(text)),
            Refusal::Interrupted => Refusal::Interrupted,
        }
    })
}

/// Puts a virtual machine under a mechanism. Where it is refused half-way, every thread is put back
/// to where it was.
///
/// # Errors
/// Those of [`admit`], and what the kernel refused.
pub fn attach(
    stage: &mut Stage,
    mechanism: Mechanism,
    vm: &Vm,
    request: &Request,
) -> Result<Attached> {
    admit(mechanism, request, &stage.roots)?;
    let mark = stage.guard.mark();
    let attached = match request.placement {
        Placement::AdmissionOff => placement::without_admission(stage),
        _ => Ok(()),
    };
    attached.and_then(|()| of(mechanism).attach(stage, vm, request)).map_err(|error| {
        // Where undoing fails as well, the journal still has it, and the first error says more.
        if let Err(also) = stage.guard.undo_to(mark) {
            model::say!("warning: {also:#}");
        }
        error.context(format!("mechanism `{mechanism}`"))
    })
}

/// Puts a thread where it is to be under a reservation: on its measured CPU, inside the partition of
/// that, unless its placement leaves it where it is.
///
/// # Errors
/// What the kernel refused.
pub fn place(stage: &mut Stage, request: &Request, pid: i32, tid: Tid) -> Result<()> {
    let cpu = stage.cpus.of(request.cpu);
    let Some(domain) = stage.domain.clone() else {
        return if stage.pins { stage.guard.set_affinity(tid, &[cpu]) } else { Ok(()) };
    };
    let hierarchy = stage.cpusets.hierarchy();
    match request.placement {
        Placement::Slice => Ok(()),
        // Of a run, whose guests are on measured CPUs: all but those.
        Placement::Global => {
            let (root, cpus) = (domain.root, stage.cpus.housekeeping.clone());
            stage.guard.join_group(&hierarchy, &root, pid, tid)?;
            stage.guard.set_affinity(tid, &cpus)
        }
        Placement::Partition | Placement::InPlace | Placement::AdmissionOff => {
            let Some(group) = domain.home(cpu) else { return Ok(()) };
            stage.guard.join_group(&hierarchy, group, pid, tid)?;
            stage.guard.set_affinity(tid, &[cpu])
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::{cgroup::Version, cpuset::Cpusets, procfs::Proc, sched::Policy};

    use super::*;
    use crate::host::{Cpus, Guard, fake::Fake};

    #[test]
    fn a_mechanism_with_a_budget_wants_a_reservation() {
        for mechanism in Mechanism::ALL {
            let refused = of(mechanism).check(&Request::default()).is_err();
            assert_eq!(refused, mechanism.has_budget(), "{mechanism}");
        }
    }

    #[test]
    fn what_a_host_lacks_is_said_with_a_remedy() {
        let empty = tempfile::tempdir().unwrap();
        std::fs::write(empty.path().join("mounts"), "").unwrap();
        let roots = Roots {
            proc: Proc::at(empty.path()),
            sys: empty.path().to_owned(),
            root: empty.path().to_owned(),
        };
        let request = Request::from("28ms/50ms".parse::<Reservation>().unwrap());
        for mechanism in [Mechanism::RtGroup, Mechanism::CfsQuota, Mechanism::TimerServer] {
            let error = admit(mechanism, &request, &roots).unwrap_err();
            assert!(matches!(&error, Refusal::Lacking(text) if text.contains(';')), "{error}");
            assert!(error.to_string().contains(mechanism.name()), "{error}");
        }
    }

    #[test]
    fn budgets_that_no_kernel_takes_are_refused_before_anything_is_touched() {
        let cases = [
            (Mechanism::CfsQuota, "500us/50ms", "at least 1ms"),
            (Mechanism::CfsQuotaWeight, "1s/2s", "at most 1s"),
            (Mechanism::RtGroup, "1500ns/50us", "whole microseconds"),
            (Mechanism::TimerServer, "100us/1ms", "at least 500us"),
            (Mechanism::CfsWeight, "50ms/50ms", "below the period"),
        ];
        for (mechanism, reservation, what) in cases {
            let request = Request::from(reservation.parse::<Reservation>().unwrap());
            let error = of(mechanism).check(&request).unwrap_err();
            assert!(matches!(&error, Refusal::Usage(text) if text.contains(what)), "{error}");
        }
    }

    /// A v1 host with thread 7, and a `/proc` that mounts both controllers.
    fn made_up(host: &Fake, dir: &std::path::Path) -> Stage {
        let proc = dir.join("proc");
        let cpu = dir.join("cpu");
        for folder in [&proc, &cpu] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(cpu.join("cpu.rt_runtime_us"), "950000").unwrap();
        let mounts = format!("cgroup {} cgroup rw,cpu 0 0\n", cpu.display());
        std::fs::write(proc.join("mounts"), mounts).unwrap();
        std::fs::create_dir_all(proc.join(std::process::id().to_string())).unwrap();
        std::fs::write(proc.join(format!("{}/sched", std::process::id())), "").unwrap();
        // The fake's files remember what was last written: who is in which group it does not know.
        let measured = "/c/rtvm-measured-1/tasks";
        for file in ["/c/tasks", measured, cpu.join("tasks").to_str().unwrap()] {
            host.state.borrow_mut().files.insert(file.into(), "7".into());
        }
        let guard = Guard::new(Box::new(host.clone()), &dir.join("state")).unwrap();
        let roots = Roots { proc: Proc::at(&proc), sys: dir.to_owned(), root: dir.to_owned() };
        Stage::made_up(guard, roots, Cpusets { version: Version::V1, root: "/c".into() })
    }

    #[test]
    fn each_vcpu_goes_to_its_own_cpu_under_its_own_reservation() {
        let (dir, host) = (tempfile::tempdir().unwrap(), Fake::with_thread());
        let mut stage = made_up(&host, dir.path());
        stage.cpus = Cpus::made_up(&[1, 2], &[0]);
        let second = stage.cpusets.measured(2);
        stage.domain.as_mut().unwrap().homes.insert(2, second.clone());
        let mut state = host.state.borrow_mut();
        let ordinary = state.policies[&7];
        state.policies.insert(8, ordinary);
        state.affinities.insert(8, vec![0, 1]);
        state.groups.insert(8, "/c".into());
        drop(state);
        let (before, mark) = (host.state.borrow().clone(), stage.guard.mark());
        for (tid, cpu, reservation) in [(7, None, "28ms/50ms"), (8, Some(2), "3ms/9ms")] {
            let vcpu = Vm { pid: 7, vcpus: vec![tid] };
            let reservation = reservation.parse::<Reservation>().unwrap();
            let request = Request { cpu, ..Request::from(reservation) };
            attach(&mut stage, Mechanism::Deadline, &vcpu, &request).unwrap();
        }
        let now = host.state.borrow().clone();
        let runtime = |tid| match now.policies[&tid].policy {
            Policy::Deadline { runtime, .. } => runtime.as_millis(),
            other => panic!("{other}"),
        };
        let of = |tid| (now.groups[&tid].clone(), now.affinities[&tid].clone(), runtime(tid));
        assert_eq!(of(7), ("/c/rtvm-measured-1".into(), vec![1], 28));
        assert_eq!(of(8), (second, vec![2], 3));
        stage.guard.undo_to(mark).unwrap();
        assert_eq!(*host.state.borrow(), before);
    }

    #[test]
    fn refused_half_way_every_thread_is_put_back() {
        for mechanism in Mechanism::ALL {
            let (dir, host) = (tempfile::tempdir().unwrap(), Fake::with_thread());
            let mut stage = made_up(&host, dir.path());
            let before = host.state.borrow().clone();
            // The second vCPU's thread is not there.
            let vm = Vm { pid: 7, vcpus: vec![7, 99] };
            let request = Request::from("28ms/50ms".parse::<Reservation>().unwrap());
            let error = attach(&mut stage, mechanism, &vm, &request).unwrap_err();
            assert!(format!("{error:#}").contains(mechanism.name()), "{error:#}");
            assert_eq!(*host.state.borrow(), before, "{mechanism}");
        }
    }
}
