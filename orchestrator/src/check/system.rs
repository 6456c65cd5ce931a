//! Kernel settings, processors and programs.

use model::suite::AcceleratorChoice;

use super::{Row, State};
use crate::{
    guests::Guests,
    host::{COSTLY_IDLE, Cpus, Roots, Stop, line_of},
    trace,
};

pub(super) fn privilege(roots: &Roots) -> Row {
    let (state, found) = match (nix::unistd::geteuid().is_root(), roots.may_schedule()) {
        (true, true) => (State::Good, "root"),
        (false, true) => (State::Limited, "CAP_SYS_NICE, not root"),
        (_, false) => (State::Missing, "no CAP_SYS_NICE"),
    };
    Row::new("privilege", state, found)
        .advise("run with sudo: policies, cpusets and KVM need it")
        .required()
}

pub(super) fn cpus(cpus: &Cpus) -> Row {
    let found = format!("{}; housekeeping: {:?}", cpus.reason, cpus.housekeeping);
    Row::new("CPUs", State::Good, found).required()
}

pub(super) fn idle(cost: Option<f64>) -> Row {
    const NAME: &str = "leaving idle";
    match cost {
        None => Row::new(NAME, State::Unknown, "could not be measured"),
        Some(cost) if cost > COSTLY_IDLE => {
            Row::new(NAME, State::Limited, format!("a burst takes {:.0} % longer", cost * 100.0))
                .advise("suites keep the measured CPU awake (keep_awake = true is chosen here)")
        }
        Some(cost) => Row::new(NAME, State::Good, format!("costs {:.1} %", cost * 100.0)),
    }
}

/// Everything that is read from files.
pub(super) fn kernel(roots: &Roots, cpus: &Cpus) -> Vec<Row> {
    vec![
        tick(roots),
        hrtick(roots),
        throttling(roots),
        fair_server(roots, cpus.first()),
        clock_source(roots),
        governor(roots, cpus.first()),
        tracefs(roots),
    ]
}

fn tick(roots: &Roots) -> Row {
    match roots.kernel_config("CONFIG_HZ") {
        Some(hz) => Row::new("tick", State::Good, format!("{hz} Hz")),
        None => Row::new("tick", State::Unknown, "the kernel's configuration is not readable"),
    }
}

fn hrtick(roots: &Roots) -> Row {
    let (state, found) = match roots.hrtick_dl() {
        Some(true) => (State::Good, "on: SCHED_DEADLINE budgets end when they should"),
        Some(false) => (State::Limited, "off: SCHED_DEADLINE budgets end at the next tick"),
        None => (State::Unknown, "debugfs does not say; off unless somebody switched it on"),
    };
    Row::new("HRTICK_DL", state, found)
        .advise("echo HRTICK_DL > /sys/kernel/debug/sched/features, where the kernel allows it")
}

fn throttling(roots: &Roots) -> Row {
    let read = |name: &str| line_of(&roots.proc.path(&format!("sys/kernel/{name}")));
    match (read("sched_rt_runtime_us"), read("sched_rt_period_us")) {
        (Some(runtime), Some(period)) if runtime == "-1" => {
            let found = format!("off (-1 / {period} us): admission control is off as well");
            Row::new("RT throttling", State::Limited, found)
                .advise("sysctl kernel.sched_rt_runtime_us=950000 brings the safety net back")
        }
        (Some(runtime), Some(period)) => {
            Row::new("RT throttling", State::Good, format!("{runtime} of {period} us"))
        }
        _ => Row::new("RT throttling", State::Unknown, "no sysctl"),
    }
}

fn fair_server(roots: &Roots, cpu: u32) -> Row {
    let folder = roots.sys.join(format!("kernel/debug/sched/fair_server/cpu{cpu}"));
    match (line_of(&folder.join("runtime")), line_of(&folder.join("period"))) {
        (Some(runtime), Some(period)) => {
            let found = format!("ordinary threads get {runtime} of every {period} ns");
            Row::new("fair server", State::Good, found)
        }
        _ => Row::new(
            "fair server",
            State::Unknown,
            "debugfs does not say; kernels from 6.12 on give ordinary threads 50 ms of each second",
        ),
    }
}

fn clock_source(roots: &Roots) -> Row {
    let path = roots.sys.join("devices/system/clocksource/clocksource0/current_clocksource");
    match line_of(&path) {
        Some(name) if name == "tsc" || name.contains("kvm") => {
            Row::new("clock source", State::Good, name)
        }
        Some(name) => Row::new("clock source", State::Limited, name)
            .advise("reading it is slow; use tsc where the processor's is stable"),
        None => Row::new("clock source", State::Unknown, "sysfs does not say"),
    }
}

fn governor(roots: &Roots, cpu: u32) -> Row {
    let path = format!("devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
    match line_of(&roots.sys.join(path)) {
        Some(name) if name == "performance" => Row::new("frequency governor", State::Good, name),
        Some(name) => Row::new("frequency governor", State::Limited, name)
            .advise("cpupower frequency-set -g performance"),
        None => Row::new("frequency governor", State::Unknown, "no cpufreq (a VM?)"),
    }
}

fn tracefs(roots: &Roots) -> Row {
    match trace::available(roots) {
        Ok(()) => Row::new("tracefs", State::Good, "there: runs prove what was supplied"),
        Err(why) => Row::new("tracefs", State::Missing, why)
            .advise("without it runs go on, but cannot show when the VM's threads ran"),
    }
}

/// QEMU, the guest's kernel, and the accelerator by booting.
pub(super) fn guests(stop: &Stop) -> Vec<Row> {
    const BOOTED: &str = "accelerator";
    match Guests::prepare(AcceleratorChoice::Auto, &[], stop) {
        Err(error) => {
            vec![Row::new("guests", State::Missing, format!("{error:#}")).required()]
        }
        Ok(guests) => {
            let chosen = guests.accelerator();
            let state = if chosen.name == "kvm" { State::Good } else { State::Limited };
            vec![
                Row::new("QEMU", State::Good, guests.qemu_version()).required(),
                Row::new("guest kernel", State::Good, guests.kernel_version()).required(),
                Row::new(BOOTED, state, format!("{}: {}", chosen.name, chosen.reason)).advise(
                    "results say that guests are emulated; for KVM use a host whose processor \
                     virtualises, with the kvm module loaded, or `make kvm` in a checkout, which \
                     runs the figures under real KVM in an emulated host",
                ),
            ]
        }
    }
}
