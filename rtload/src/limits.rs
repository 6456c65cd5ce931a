//! What cannot go as asked, told before the run.

use kernel::procfs::Proc;
use model::{TaskSet, duration::as_ns};

use crate::{
    policy::PolicyKind,
    warning::{Kept, Warning},
    work::WorkKind,
};

/// Below this execution time paced work is not within 1 %: reading the clock, and the last piece,
/// cost up to a microsecond more than was asked for.
const PACED_EXACT_NS: u64 = 100_000;

/// What ordinary tasks keep of a CPU where the kernel does not tell: the fair server's default.
const FAIR_SERVER_SHARE: f64 = 0.05;

/// The first kernel with a fair server in place of real-time throttling.
const FAIR_SERVER_SINCE: (u32, u32) = (6, 12);

/// What these tasks cannot get of `cpu`, or not exactly.
#[must_use]
pub fn doubts(set: &TaskSet, policy: PolicyKind, work: WorkKind, cpu: u32) -> Vec<Warning> {
    let mut doubts = Vec::new();
    let kept = kept_from_real_time(&Proc::default(), cpu);
    let utilisation = set.utilisation();
    if matches!(policy, PolicyKind::Fifo | PolicyKind::Rr)
        && (1.0 - kept.share + 1e-9..=1.0).contains(&utilisation)
    {
        doubts.push(Warning::LittleLeft { utilisation, kept });
    }
    if work == WorkKind::Paced {
        let short =
            set.iter().enumerate().filter(|(_, task)| as_ns(task.execution()) < PACED_EXACT_NS);
        doubts.extend(short.map(|(index, task)| Warning::ShortPaced {
            task: TaskSet::name(index),
            execution: task.execution(),
            exact_ns: PACED_EXACT_NS,
        }));
    }
    doubts
}

/// What the kernel keeps of `cpu` from SCHED_FIFO and SCHED_RR.
fn kept_from_real_time(proc: &Proc, cpu: u32) -> Kept {
    if release(proc).is_some_and(|release| release < FAIR_SERVER_SINCE) {
        let setting = |name: &str| proc.text(&format!("sys/kernel/{name}")).ok()?.parse().ok();
        let throttled = setting("sched_rt_runtime_us").zip(setting("sched_rt_period_us"));
        let share = throttled.map_or(FAIR_SERVER_SHARE, |(runtime, period): (f64, f64)| {
            if runtime < 0.0 { 0.0 } else { 1.0 - runtime / period }
        });
        return Kept { share, by: "real-time throttling" };
    }
    // Below /proc/1/root stands what is mounted for everybody; debugfs is closed on many hosts.
    let setting = |name: &str| -> Option<f64> {
        let path = format!("1/root/sys/kernel/debug/sched/fair_server/cpu{cpu}/{name}");
        proc.text(&path).ok()?.parse().ok()
    };
    let told = setting("runtime").zip(setting("period"));
    let share = told.map_or(FAIR_SERVER_SHARE, |(runtime, period)| runtime / period);
    Kept { share, by: "the kernel's fair server" }
}

/// Major and minor version of the kernel.
fn release(proc: &Proc) -> Option<(u32, u32)> {
    let text = proc.text("sys/kernel/osrelease").ok()?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(files: &[(&str, &str)]) -> Kept {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        kept_from_real_time(&Proc::at(root.path()), 1)
    }

    #[test]
    fn old_kernels_throttle_and_new_ones_have_a_fair_server() {
        let old = ("sys/kernel/osrelease", "6.1.0-44-amd64\n");
        let settings = [
            old,
            ("sys/kernel/sched_rt_runtime_us", "900000"),
            ("sys/kernel/sched_rt_period_us", "1000000"),
        ];
        let throttled = kept(&settings);
        assert!((throttled.share - 0.1).abs() < 1e-9 && throttled.by.contains("throttling"));
        assert_eq!(kept(&[old, ("sys/kernel/sched_rt_runtime_us", "-1"), settings[2]]).share, 0.0);
        let new = ("sys/kernel/osrelease", "6.18.5");
        let server = kept(&[new, ("sys/kernel/sched_rt_runtime_us", "-1"), settings[2]]);
        assert!(server.share == FAIR_SERVER_SHARE && server.by.contains("fair server"));
        let folder = "1/root/sys/kernel/debug/sched/fair_server/cpu1";
        let [runtime, period] = ["runtime", "period"].map(|name| format!("{folder}/{name}"));
        let told = kept(&[new, (&runtime, "20000000\n"), (&period, "1000000000\n")]);
        assert_eq!(told.share, 0.02);
    }

    #[test]
    fn what_fits_and_is_long_enough_raises_no_doubt() {
        let of = |tasks: &[&str], policy| {
            let set = tasks.iter().map(|task| task.parse().unwrap()).collect();
            doubts(&set, policy, WorkKind::Paced, 0)
        };
        assert_eq!(of(&["19ms/20ms"], PolicyKind::Fifo), []);
        assert_eq!(of(&["19.4ms/20ms"], PolicyKind::Other), []);
        let text = of(&["19.4ms/20ms"], PolicyKind::Fifo)[0].to_string();
        assert!(text.contains("97.0 %") && text.contains("95.0 %"), "{text}");
        let text = of(&["1ms/20ms", "5us/1ms"], PolicyKind::Other)[0].to_string();
        assert!(text.contains("tau2") && text.contains("5us"), "{text}");
    }
}
