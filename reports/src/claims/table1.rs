//! Table 1: the web service on the host, in a guest, under load and under reservation.

use model::{stats::Summary, suite::Place};

use super::{Claim, Finding, Judged, Statement, Values};
use crate::{
    folder::{Case, Results},
    series::{Run, SERVICE, Selection, Series},
    stats::interval::{self, Ratio},
    table1::{GUEST, HOST, LOADED, RESERVED},
    units::{percent, short, signed_percent},
};

/// Under KVM the guest may be slower than the host by this share.
const OVERHEAD: f64 = 0.15;
/// The load makes the unreserved guest at least this many times slower.
const LOADED_AT_LEAST: f64 = 5.0;
/// How far the reserved guest's slow-down may be from what its share of the CPU alone costs, P/Q.
const SHARE: f64 = 0.20;
/// Its standard deviation is at most this part of the unreserved one's.
const SPREAD: f64 = 1.0 / 3.0;
/// Where more requests failed than this share, the rest says nothing.
const FAILURES: f64 = 0.01;

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let claim = |id, says, paper, rule, finding| {
        Statement { id, figure: "table 1", says, paper, rule }.judged(finding)
    };
    let at_most = format!("at most {} above that on the host (KVM only)", percent(OVERHEAD));
    vec![
        claim(
            "table1-overhead-avg",
            "Virtualisation costs the service little on the average.",
            "7 %",
            format!("the average in the unloaded guest is {at_most}"),
            overhead(results, "average", |summary| summary.mean),
        ),
        claim(
            "table1-overhead-max",
            "Virtualisation costs the service little at worst.",
            "6.4 %",
            format!("the 99th percentile in the unloaded guest is {at_most}"),
            overhead(results, "p99", |summary| summary.p99 as f64),
        ),
        claim(
            "table1-loaded",
            "Load on the host makes the service in an ordinary guest many times slower.",
            "9.3 times",
            format!("the average is at least {LOADED_AT_LEAST} times that of the unloaded guest"),
            slow_down(results, LOADED, |times| times >= LOADED_AT_LEAST),
        ),
        claim(
            "table1-reserved-share",
            "Under a (3 ms, 5 ms) reservation it is slower by what its share of the CPU costs.",
            "1.7 times",
            format!(
                "the average is P/Q = 5/3 times that of the unloaded guest, to within {}",
                percent(SHARE)
            ),
            slow_down(results, RESERVED, |times| (times * 3.0 / 5.0 - 1.0).abs() <= SHARE),
        ),
        claim(
            "table1-spread-between",
            "Under the reservation response times scatter far less than without.",
            "1.275 s against 15.449 s",
            "the standard deviation is at most a third of that without the reservation, and at \
             least that of the unloaded guest, since every response takes longer (90 % confidence \
             intervals of the ratios, over repetitions)"
                .to_owned(),
            spread(results),
        ),
    ]
}

/// Statistics of the service in one of the paper's four cases.
fn summary(results: &Results, name: &str) -> Result<Summary, String> {
    Summary::of(&mut service(results, name)?.responses(Selection::All))
        .ok_or_else(|| "no requests".to_owned())
}

/// The service's requests in one of the paper's four cases.
fn service<'a>(results: &'a Results, name: &str) -> Result<&'a Series, String> {
    if results.manifest.suite.experiment(name).is_none() {
        return Err(format!("the suite has no experiment `{name}`"));
    }
    let case = results
        .measured(name)
        .ok_or_else(|| format!("`{name}` was not measured: no complete repetition"))?;
    if let Some(what) = difference(case) {
        return Err(format!("`{name}` was run with {what} than the paper's"));
    }
    let series = case.task(SERVICE).ok_or_else(|| format!("`{name}` has no requests"))?;
    let asked = series.len() as u64 + series.failures;
    if series.failures as f64 > FAILURES * asked as f64 {
        return Err(format!("{} of {asked} requests failed in `{name}`", series.failures));
    }
    Ok(series)
}

/// What differs from the paper's case; the load itself is the suite's choice.
fn difference(case: &Case) -> Option<&'static str> {
    let (place, loaded, reservation) = match case.name() {
        HOST => (Place::Host, false, None),
        GUEST => (Place::Guest, false, None),
        LOADED => (Place::Guest, true, None),
        _ => (Place::Guest, true, Some("3ms/5ms")),
    };
    let own = case.reservation().map(|own| own.reservation().to_string());
    if case.workload().place() != place {
        Some("another place")
    } else if case.workload().load().is_some() != loaded {
        Some("another load")
    } else if own.as_deref() != reservation {
        Some("another reservation")
    } else {
        None
    }
}

fn overhead(results: &Results, name: &str, of: fn(&Summary) -> f64) -> Finding {
    let (host, guest) = (summary(results, HOST)?, summary(results, GUEST)?);
    let (host, guest) = (of(&host), of(&guest));
    let share = guest / host - 1.0;
    let measured = format!(
        "{name} {} on the host, {} in the guest ({})",
        short(host),
        short(guest),
        signed_percent(share)
    );
    if results.accelerator() == Some("tcg") {
        return Err(format!("not comparable, the guest was emulated (TCG): {measured}"));
    }
    if results.unreal_speed().is_some() {
        return Err(format!("not comparable, the host was emulated (QEMU TCG): {measured}"));
    }
    Ok(Judged {
        holds: share <= OVERHEAD,
        measured,
        values: Values::from([("host_ns", host), ("guest_ns", guest), ("overhead_share", share)]),
    })
}

fn slow_down(results: &Results, name: &str, holds: fn(f64) -> bool) -> Finding {
    let (guest, other) = (summary(results, GUEST)?.mean, summary(results, name)?.mean);
    let times = other / guest;
    Ok(Judged {
        holds: holds(times),
        measured: format!("{times:.1} times, {} instead of {}", short(other), short(guest)),
        values: Values::from([("times", times), ("avg_ns", other), ("guest_avg_ns", guest)]),
    })
}

fn spread(results: &Results) -> Finding {
    let (guest, reserved, loaded) =
        (deviations(results, GUEST)?, deviations(results, RESERVED)?, deviations(results, LOADED)?);
    let against = |other: &[f64]| {
        interval::ratio(other, &reserved)
            .ok_or("a single repetition tells nothing of another; two of each case do")
    };
    let (without, unloaded) = (against(&loaded)?, against(&guest)?);
    let measured = format!(
        "{} of that without ({} to {}), {} of that unloaded ({} to {})",
        percent(without.ratio),
        percent(without.low),
        percent(without.high),
        percent(unloaded.ratio),
        percent(unloaded.low),
        percent(unloaded.high)
    );
    let holds = far_less(without, unloaded)
        .ok_or_else(|| format!("the repetitions differ too much to tell: {measured}"))?;
    Ok(Judged {
        holds,
        measured,
        values: Values::from([
            ("of_loaded", without.ratio),
            ("of_loaded_low", without.low),
            ("of_loaded_high", without.high),
            ("of_unloaded", unloaded.ratio),
            ("of_unloaded_low", unloaded.low),
            ("of_unloaded_high", unloaded.high),
        ]),
    })
}

/// Whether the spread is far less than `without` the reservation, and not less than `unloaded`; none
/// where an interval has both answers in it.
fn far_less(without: Ratio, unloaded: Ratio) -> Option<bool> {
    if without.low > SPREAD || unloaded.high < 1.0 {
        return Some(false);
    }
    (without.high <= SPREAD && unloaded.low >= 1.0).then_some(true)
}

/// The standard deviation of each repetition of one of the paper's four cases.
fn deviations(results: &Results, name: &str) -> Result<Vec<f64>, String> {
    let runs = &service(results, name)?.runs;
    let of = |run: &Run| {
        let mut responses: Vec<u64> =
            run.selected(Selection::All).map(|own| own.response_ns).collect();
        Summary::of(&mut responses)?.stddev.filter(|deviation| *deviation > 0.0)
    };
    runs.iter()
        .map(of)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("a repetition of `{name}` has a single request, or all alike"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_judged_where_both_intervals_lie_on_one_side() {
        let around = |ratio: f64| Ratio { ratio, low: ratio / 1.2, high: ratio * 1.2 };
        let cases = [
            (0.1, 1.7, Some(true)),
            (0.1, 0.5, Some(false)),
            (0.9, 1.7, Some(false)),
            (0.33, 1.7, None),
            (0.1, 1.0, None),
        ];
        for (without, unloaded, expected) in cases {
            let found = far_less(around(without), around(unloaded));
            assert_eq!(found, expected, "{without} of that without, {unloaded} of that unloaded");
        }
    }
}
