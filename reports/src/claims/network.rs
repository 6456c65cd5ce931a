//! Is network traffic within the reservations that are meant for it?
//!
//! The rule goes by what an experiment is, not by its name: a web service in a VM whose vCPUs and main
//! loop both have a reservation.

use std::borrow::Cow;

use model::{Mechanism, duration::as_ns, suite::Emulator};

use super::{Claim, Finding, Judged, Statement, case::values};
use crate::{
    folder::Results,
    network::{self, Part, Payer, Served},
    units::percent,
};

const FIGURE: &str = "network";
const PAPER: &str = "left open (section 5)";

/// The share of the measured CPU that the VM and its traffic may take there outside of reservations.
const SPARE: f64 = 0.01;

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let served = network::all(results);
    served.iter().filter_map(|own| within(results, own)).collect()
}

fn within(results: &Results, served: &Served) -> Option<Claim> {
    let case = served.case;
    let Emulator::Reserved(own) = case.workload().emulator() else { return None };
    case.reservation().filter(|own| own.mechanism.is_hard())?;
    // Budgets may end a tick late.
    let tick_ns = results.manifest.host.budget_tick_ns(Mechanism::Deadline)?;
    let most = (as_ns(own.budget) + tick_ns) as f64 / as_ns(own.period) as f64;
    let statement = Statement {
        id: "network",
        figure: FIGURE,
        says: "Network traffic of a VM is accounted for: it takes what is reserved for it, and nothing \
               else of the measured CPU.",
        paper: PAPER,
        rule: format!(
            "QEMU's main loop takes at most {} of a CPU (its budget and a tick in each period), and \
             the VM's other threads and the network's softirqs take at most {} of the measured CPU \
             outside of reservations",
            percent(most),
            percent(SPARE)
        ),
    };
    let id = Cow::Owned(format!("network-{}-accounted", case.name()));
    Some(Claim { id, ..statement.judged(judge(served, most)) })
}

fn judge(served: &Served, most: f64) -> Finding {
    let all = served.together();
    if !all.softirqs {
        return Err("softirqs were not recorded".to_owned());
    }
    if all.window_ns == 0 {
        return Err("nothing was answered".to_owned());
    }
    let share = |ns: u64| ns as f64 / all.window_ns as f64;
    let main_loop = share(all.part_ns(Part::MainLoop).unwrap_or(0));
    let outside = share(all.payer_ns(Payer::Measured));
    Ok(Judged {
        holds: main_loop <= most && outside <= SPARE,
        measured: format!(
            "main loop {} of a CPU, {} of the measured CPU outside of reservations",
            percent(main_loop),
            percent(outside)
        ),
        values: values([("main_loop_share", main_loop), ("outside_share", outside)]),
    })
}
