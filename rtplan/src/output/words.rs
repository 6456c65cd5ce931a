//! Verdicts as sentences that can be checked by hand.

use model::duration;

use crate::{
    analysis::TaskVerdict,
    ns::duration as of_ns,
    response::Response,
    supply::Supply,
    witness::{Point, Witness},
    workload::Scheduler,
};

/// Nanoseconds in the largest unit that shows them well, exactly.
pub(crate) fn time(ns: u128) -> String {
    let text = duration::format(of_ns(ns));
    // Rather 11.428572ms than 11428.572us.
    if ns < 1_000_000 || text.ends_with("ms") || !(text.ends_with("us") || text.ends_with("ns")) {
        return text;
    }
    let fraction = format!("{:06}", ns % 1_000_000);
    format!("{}.{}ms", ns / 1_000_000, fraction.trim_end_matches('0'))
}

/// The same for a duration.
pub(crate) fn span(duration: std::time::Duration) -> String {
    time(duration.as_nanos())
}

/// A scheduler in words.
#[must_use]
pub fn scheduler(scheduler: Scheduler) -> &'static str {
    match scheduler {
        Scheduler::RateMonotonic => "rate monotonic",
        Scheduler::DeadlineMonotonic => "deadline monotonic",
        Scheduler::Priorities => "the given priorities",
        Scheduler::Edf => "earliest deadline first",
    }
}

/// A supply in words: `two-gap (28ms in every 50ms)`.
#[must_use]
pub fn supply(supply: &Supply) -> String {
    let Some(reservation) = supply.reservation() else { return supply.model().to_string() };
    let [budget, period] = [reservation.budget(), reservation.period()].map(span);
    format!("{} ({budget} in every {period})", supply.model())
}

/// A worst-case response time, or why there is none.
#[must_use]
pub fn response(response: Response) -> String {
    match response {
        Response::Bounded(ns) => time(ns),
        Response::Unbounded => "unbounded".to_owned(),
        Response::TooHard(_) => "not found".to_owned(),
    }
}

/// Why the task's deadline holds or not.
#[must_use]
pub fn why(name: &str, verdict: &TaskVerdict) -> String {
    let Some(witness) = &verdict.witness else {
        return match (verdict.schedulable, verdict.response) {
            (true, _) => format!("{name}: meets its deadline."),
            (false, Response::Unbounded) => {
                format!("{name}: asks for more than is supplied, with what is more urgent.")
            }
            (false, _) => format!("{name}: misses its deadline."),
        };
    };
    match witness {
        Witness::Finishes { job: 0, point } => format!(
            "{name}: {} after its release {} is supplied, and it and all higher-priority tasks \
             demand {} by then.",
            time(point.at),
            time(point.supply),
            time(point.demand)
        ),
        Witness::Finishes { job, point } => format!(
            "{name}: its job {} of a busy window takes longest: {} after the window opens {} is \
             supplied, and its jobs so far and all higher-priority tasks demand {} by then.",
            job + 1,
            time(point.at),
            time(point.supply),
            time(point.demand)
        ),
        Witness::Starved { job, points, complete } => starved(name, *job, points, *complete),
        Witness::Tightest { point } => format!(
            "{name}: tightest at {}, where {} is due and {} is supplied.",
            time(point.at),
            time(point.demand),
            time(point.supply)
        ),
        Witness::Overrun { point } => {
            format!("{name}: can miss its deadline, since {}.", overrun(*point))
        }
    }
}

fn starved(name: &str, job: u128, points: &[Point], complete: bool) -> String {
    let listed: Vec<String> = points
        .iter()
        .map(|p| format!("{} of {} at {}", time(p.supply), time(p.demand), time(p.at)))
        .collect();
    let among = if complete { "" } else { " (the last ones are shown)" };
    let whose = if job == 0 { String::new() } else { format!("job {} of a busy window ", job + 1) };
    format!(
        "{name}: {whose}misses its deadline: supply is below demand at every scheduling \
         point{among}: {}.",
        listed.join(", ")
    )
}

/// A point where too little is supplied.
#[must_use]
pub fn overrun(point: Point) -> String {
    format!(
        "{} after a worst-case start {} of work is due and only {} is supplied",
        time(point.at),
        time(point.demand),
        time(point.supply)
    )
}
