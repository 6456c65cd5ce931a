//! The workload of the macro benchmark: clients on the housekeeping CPU ask a service on the
//! measured CPU of the host, or in a guest whose vCPU runs there.

use std::{fs, time::Duration};

use anyhow::{Result, bail};
use model::{
    manifest::WebFacts,
    suite::{Experiment, Web},
};
use webload::{Config, Run, Summary, Target, output::write_histograms, run::WarmUp};

use super::names::Names;
use crate::host::Stage;

/// Requests a second that no service with a program of its own for each answers: room is kept for
/// so many where clients go on until a time has passed.
const FASTEST: u64 = 5_000;

/// When the clients of an experiment stop, where that is before their last request: with their
/// neighbours, beside which they are measured, or where no last request was named.
pub(super) fn limit(experiment: &Experiment) -> Option<Duration> {
    let counted = |own: model::suite::Workload| own.web().is_none_or(|web| web.requests.is_some());
    let alone = experiment.only().is_some_and(counted);
    (!alone).then_some(experiment.duration)
}

/// What webload is to do in one repetition.
pub(super) fn config(
    web: &Web,
    targets: Vec<Target>,
    experiment: &Experiment,
    attempt: u32,
    stage: &Stage,
) -> Config {
    let clients = u64::from(web.clients.max(1));
    let most = experiment.duration.as_secs().saturating_add(1).saturating_mul(FASTEST);
    let most = (most.min(Config::MOST_RECORDS) / clients).max(1);
    Config {
        clients: web.clients,
        requests: web.requests.unwrap_or(most),
        first_repetition: attempt,
        rate: web.rate,
        timeout: web.timeout,
        keep_alive: web.keep_alive,
        cpu: stage.cpus.housekeeping.first().copied(),
        experiment: Some(experiment.name.clone()),
        // A repetition's rows are all kept: everything is judged by them.
        most_records: u64::MAX,
        ..Config::new(targets)
    }
}

/// Writes what came back, but for the rows; returns the facts and warnings.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn keep(
    names: &Names,
    config: &Config,
    run: &Run,
    warm_up: WarmUp,
) -> Result<(WebFacts, Vec<String>)> {
    let summary = Summary::of(config, run);
    write_histograms(&names.file("response.hlog"), run)?;
    let text = serde_json::to_string_pretty(&summary)?;
    fs::write(names.file("webload.json"), text + "\n")?;
    let facts = WebFacts {
        warm_up_requests: warm_up.requests,
        warm_up_failures: warm_up.failures,
        connections: summary.connect_ns.as_ref().map_or(0, |connects| connects.count),
        slowest_connect_ns: summary.connect_ns.as_ref().map(|connects| connects.max),
        connects_of_1s_or_more: summary.connects_of_1s_or_more,
    };
    Ok((facts, summary.warnings))
}

/// Whether enough requests succeeded for the repetition to say something.
pub(super) fn enough(run: &Run, max_failures: f64) -> Result<()> {
    let failed = run.rows.iter().filter(|row| row.error.is_some());
    let share = failed.clone().count() as f64 / run.rows.len().max(1) as f64;
    if run.rows.is_empty() {
        bail!("no request was answered before the end; give a longer `duration`");
    }
    if share <= max_failures {
        return Ok(());
    }
    let first = failed.clone().find_map(|row| row.error.as_deref()).unwrap_or_default();
    bail!(
        "{} of {} requests failed, more than {:.1} %; the first: {first}",
        failed.count(),
        run.rows.len(),
        max_failures * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_stop_with_their_neighbours_or_with_their_last_request() {
        let limit_of = |rest: &str| {
            let text =
                format!("name = \"s\"\n[[experiment]]\nname = \"x\"\nduration = \"7s\"\n{rest}");
            limit(&model::suite::parse(&text, "s.toml").unwrap().experiments[0])
        };
        let vm = |service: &str| {
            format!("[[experiment.vm]]\nname = \"a\"\nvcpus = [{{}}]\nservice = [{service}]")
        };
        let seven = Some(Duration::from_secs(7));
        assert_eq!(limit_of("where = \"guest\"\nweb = {}"), None);
        assert_eq!(limit_of(&vm("{ web = { requests = 3 } }")), None);
        assert_eq!(limit_of(&vm("{ web = {} }")), seven);
        assert_eq!(limit_of(&vm("{ web = { requests = 3 } }, { tasks = [\"1ms/9ms\"] }")), seven);
    }
}
