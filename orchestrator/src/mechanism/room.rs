//! What SCHED_DEADLINE takes, looked at before anything is touched: the kernel's limits of one
//! reservation, and of their sum on the CPUs of a root domain.

use std::time::Duration;

use kernel::affinity::{Tid, format_list};
use model::{Reservation, duration};

use super::leak::{neighbours, reserved};
use crate::{
    error::Refusal,
    host::{Roots, deadline_bandwidth_limit, line_of},
};

/// `1 << DL_SCALE` nanoseconds: what the kernel reckons in.
const LEAST_BUDGET: Duration = Duration::from_nanos(1024);

/// Refuses a budget below the kernel's least, or a period outside of its limits.
///
/// # Errors
/// [`Refusal::Usage`] with what would be right.
pub(super) fn parameters(reservation: Reservation, roots: &Roots) -> Result<(), Refusal> {
    if reservation.budget() < LEAST_BUDGET {
        return Err(Refusal::Usage(format!(
            "{reservation}: the kernel takes no budget below 1.024us; give a larger one"
        )));
    }
    let bound = |which: &str| {
        let path = roots.proc.path(&format!("sys/kernel/sched_deadline_period_{which}_us"));
        Some(Duration::from_micros(line_of(&path)?.parse().ok()?))
    };
    let period = reservation.period();
    let outside = |limit: &Duration, is_below: bool| {
        if is_below { period < *limit } else { period > *limit }
    };
    let wrong = |limit: Duration, what: &str| {
        Refusal::Usage(format!(
            "{reservation}: this kernel takes no period {what} {}; give another period, and the \
             budget that goes with it",
            duration::format(limit)
        ))
    };
    if let Some(least) = bound("min").filter(|limit| outside(limit, true)) {
        return Err(wrong(least, "below"));
    }
    match bound("max").filter(|limit| outside(limit, false)) {
        Some(most) => Err(wrong(most, "above")),
        None => Ok(()),
    }
}

/// Refuses reservations of `vcpus` that together do not fit on `cpus`, beside what is reserved there
/// already.
///
/// # Errors
/// [`Refusal::Lacking`] with both sums.
pub fn check(
    reservation: Reservation,
    vcpus: &[Tid],
    cpus: &[u32],
    roots: &Roots,
) -> Result<(), Refusal> {
    // One that may run elsewhere, too, will when these become a partition.
    let taken = reserved(roots, vcpus, |own| own.iter().all(|cpu| cpus.contains(cpu)));
    let limit = deadline_bandwidth_limit(roots) * cpus.len() as f64;
    fits(reservation, vcpus.len(), taken, limit).map_err(|text| {
        Refusal::Lacking(format!(
            "{text} on CPUs {}; lower the budget, or end others",
            format_list(cpus)
        ))
    })
}

/// What the kernel has left for each of `vcpus` on `cpus`: the most of a CPU that it can be given,
/// and how many other reservations there are beside it, the machine's other vCPUs included.
#[must_use]
pub fn left(vcpus: &[Tid], cpus: &[u32], roots: &Roots) -> (f64, u32) {
    let here = |own: &[u32]| own.iter().all(|cpu| cpus.contains(cpu));
    let (taken, limit) = (reserved(roots, vcpus, here), deadline_bandwidth_limit(roots));
    let each = (limit * cpus.len() as f64 - taken).max(0.0) / vcpus.len().max(1) as f64;
    let others = neighbours(roots, vcpus, here) + vcpus.len().saturating_sub(1);
    (each.min(limit), u32::try_from(others).unwrap_or(u32::MAX))
}

fn fits(reservation: Reservation, vcpus: usize, taken: f64, limit: f64) -> Result<(), String> {
    /// A sum of shares is a little off; the kernel counts in units of 2^-20.
    const ROUNDING: f64 = 1e-5;
    let asked = reservation.bandwidth() * vcpus as f64;
    if asked + taken <= limit + ROUNDING {
        return Ok(());
    }
    Err(format!(
        "{vcpus} x {reservation} asks for {asked:.3} CPUs, but {:.3} are left of the {limit:.3} that \
         can be reserved",
        (limit - taken).max(0.0)
    ))
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;

    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_refused_before() {
        let root = tempfile::tempdir().unwrap();
        let sysctl = root.path().join("sys/kernel");
        std::fs::create_dir_all(&sysctl).unwrap();
        std::fs::write(sysctl.join("sched_deadline_period_min_us"), "100\n").unwrap();
        std::fs::write(sysctl.join("sched_deadline_period_max_us"), "4194304\n").unwrap();
        let roots = Roots { proc: Proc::at(root.path()), ..Roots::default() };
        let said = |text: &str| {
            let refused = parameters(text.parse().unwrap(), &roots);
            refused.map_or_else(|refusal| refusal.to_string(), |()| "taken".to_owned())
        };
        assert!(said("1000ns/1ms").contains("1.024us"));
        assert!(said("1ms/5s").contains("above 4194.304ms"), "{}", said("1ms/5s"));
        assert!(said("20us/50us").contains("below 100us"));
        assert_eq!(said("1024ns/1ms"), "taken");
        assert_eq!(said("1ms/4s"), "taken");
    }

    #[test]
    fn sums_are_of_all_vcpus_and_of_what_is_there() {
        let reservation = "28ms/50ms".parse().unwrap();
        fits(reservation, 1, 0.0, 0.95).unwrap();
        let text = fits(reservation, 2, 0.0, 0.95).unwrap_err();
        assert!(text.contains("1.120 CPUs") && text.contains("0.950 are left"), "{text}");
        fits(reservation, 2, 0.0, 1.9).unwrap();
        let text = fits(reservation, 1, 0.5, 0.95).unwrap_err();
        assert!(text.contains("0.450 are left"), "{text}");
    }
}
