//! Was the reservation delivered? Two claims for each experiment under a hard mechanism that was
//! traced: no more than Q in each P, and at least the two-gap supply bound function. A third where budgets
//! end on time and no neighbour goes first: Q in every P.

use std::borrow::Cow;

use super::{Claim, Finding, Judged, Statement, Values};
use crate::{
    folder::{Case, Results},
    supply::{
        self,
        bound::{Promise, TOLERANCE_NS, least, longest},
        table,
    },
    units::{count, short},
};

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    table::traced(results)
        .filter_map(|case| Some((case, supply::promise(&results.manifest, case)?)))
        .flat_map(|(case, promise)| {
            let on_time = promise.as_ref().is_ok_and(|own| own.tick_ns == 0 && own.neighbours == 0);
            let every_period = on_time.then(|| every_period(case, &promise));
            [capped(case, &promise), at_least(case, &promise)].into_iter().chain(every_period)
        })
        .collect()
}

type Promised = Result<Promise, String>;

fn claim(case: &Case, which: &str, says: &'static str, rule: String, finding: Finding) -> Claim {
    let paper = "hard constant bandwidth server";
    let claim = Statement { id: "supply", figure: "supply", says, paper, rule }.judged(finding);
    Claim { id: Cow::Owned(format!("supply-{}-{which}", case.name())), ..claim }
}

fn allowance(promise: &Promised) -> String {
    match promise {
        Ok(own) if own.tick_ns > 0 && own.budget_ns() <= own.tick_ns => {
            let (tick, spare) = (short(own.tick_ns as f64), short(TOLERANCE_NS as f64));
            format!("two ticks of {tick} and {spare}")
        }
        Ok(own) if own.tick_ns > 0 => {
            format!("a tick of {} and {}", short(own.tick_ns as f64), short(TOLERANCE_NS as f64))
        }
        _ => short(TOLERANCE_NS as f64),
    }
}

fn capped(case: &Case, promise: &Promised) -> Claim {
    let late = if promise.as_ref().is_ok_and(|own| own.neighbours > 0) {
        "k Q and min(Q, P − Q), since a neighbour may go first"
    } else {
        "k Q"
    };
    let rule = format!(
        "no window of k P, undisturbed and inside a busy interval but its first P, holds more than \
         {late}, 1 % of it for interrupts, and once {}; and no first part of a busy interval, of \
         length L, more than L Q/P + Q (1 − Q/P) and the same",
        allowance(promise)
    );
    let says = "The mechanism delivers no more than the reservation.";
    claim(case, "capped", says, rule, judge_most(case, promise))
}

fn judge_most(case: &Case, promise: &Promised) -> Finding {
    let promise = sound(case, promise)?;
    let (attempt, fullest) =
        table::fullest(&case.traced, promise).ok_or_else(|| never_steady(case))?;
    let window = fullest.window;
    Ok(Judged {
        holds: fullest.excess_ns() <= 0,
        measured: format!(
            "{} in {} (rep-{attempt:03}, at {} ns), allowed {}",
            short(window.supplied_ns as f64),
            short(window.length_ns as f64),
            window.start_ns,
            short(fullest.promised_ns as f64)
        ),
        values: Values::from([
            ("most_ns", window.supplied_ns as f64),
            ("length_ns", window.length_ns as f64),
            ("allowed_ns", fullest.promised_ns as f64),
            ("budget_ns", promise.budget_ns() as f64),
            ("tick_ns", promise.tick_ns as f64),
        ]),
    })
}

fn every_period(case: &Case, promise: &Promised) -> Claim {
    let rule = format!(
        "no window of length P, undisturbed and inside a busy interval but its first P, holds less \
         than Q less {}",
        allowance(promise)
    );
    let says = "The mechanism delivers Q in every P to a VM that stays busy.";
    claim(case, "every-period", says, rule, judge_every(case, promise))
}

fn judge_every(case: &Case, promise: &Promised) -> Finding {
    let promise = sound(case, promise)?;
    let (attempt, window) =
        table::least_in_period(&case.traced, promise).ok_or_else(|| never_steady(case))?;
    let promised_ns = promise.budget_ns().saturating_sub(TOLERANCE_NS);
    Ok(Judged {
        holds: window.supplied_ns >= promised_ns,
        measured: format!(
            "{} at least in any {} (rep-{attempt:03}, at {} ns), promised {}",
            short(window.supplied_ns as f64),
            short(promise.period_ns() as f64),
            window.start_ns,
            short(promised_ns as f64)
        ),
        values: Values::from([
            ("least_ns", window.supplied_ns as f64),
            ("promised_ns", promised_ns as f64),
        ]),
    })
}

fn never_steady(case: &Case) -> String {
    format!("`{}`: the vCPU was never busy, without a stall, for two periods in a row", case.name())
}

fn at_least(case: &Case, promise: &Promised) -> Claim {
    let rule = format!(
        "no undisturbed window inside a busy interval, of any length, holds less than the two-gap \
         supply bound function less {}",
        allowance(promise)
    );
    let says = "The mechanism delivers at least the supply bound function.";
    claim(case, "at-least", says, rule, judge_least(case, promise))
}

fn judge_least(case: &Case, promise: &Promised) -> Finding {
    let promise = sound(case, promise)?;
    let quiet: Vec<_> = case.traced.iter().flat_map(|one| one.quiet.clone()).collect();
    let corners = promise.corners(longest(&quiet)).count();
    let corner_ns = 2 * promise.period_ns() - promise.budget_ns();
    let shortest = least(&quiet, corner_ns).ok_or_else(|| {
        format!(
            "`{}`: the vCPU was never busy, without a stall, for {}",
            case.name(),
            short(corner_ns as f64)
        )
    })?;
    let broken = table::first_below(&case.traced, promise);
    let mut values = Values::from([
        ("least_in_2p_minus_q_ns", shortest.supplied_ns as f64),
        ("promised_in_2p_minus_q_ns", promise.least_ns(corner_ns) as f64),
        ("corners", corners as f64),
    ]);
    let measured = match broken {
        None => format!(
            "{} at least in any {}, promised {}; {} and busy intervals of up to {} looked at",
            short(shortest.supplied_ns as f64),
            short(corner_ns as f64),
            short(promise.least_ns(corner_ns) as f64),
            count(corners, "corner"),
            short(longest(&quiet) as f64)
        ),
        Some((attempt, broken)) => {
            values.insert("broken_length_ns", broken.window.length_ns as f64);
            values.insert("broken_start_ns", broken.window.start_ns as f64);
            values.insert("broken_promised_ns", broken.promised_ns as f64);
            values.insert("broken_delivered_ns", broken.window.supplied_ns as f64);
            format!("first broken by {}", table::describe(case, attempt, broken))
        }
    };
    Ok(Judged { holds: broken.is_none(), measured, values })
}

/// The promise, where it is known and every trace is to be trusted.
fn sound<'a>(case: &Case, promise: &'a Promised) -> Result<&'a Promise, String> {
    if let Some(flaw) = case.traced.iter().find_map(supply::Traced::flaw) {
        return Err(format!("`{}`: {flaw}", case.name()));
    }
    promise.as_ref().map_err(Clone::clone)
}
