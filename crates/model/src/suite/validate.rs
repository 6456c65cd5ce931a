//! The rules of a suite that its types cannot say; each is broken with one sentence.

use std::collections::HashSet;

use super::{Emulator, Experiment, Network, Place, Suite, Web};
use crate::{Mechanism, Placement, Reservation};

pub(super) fn suite(suite: &Suite) -> Result<(), String> {
    name("name", &suite.name)?;
    if suite.experiments.is_empty() {
        return Err("there is no [[experiment]]; a suite has at least one".to_owned());
    }
    if !(0.0..=1.0).contains(&suite.noise.max_stalled) {
        return Err(format!(
            "key `noise.max_stalled` is {}; it is a share between 0 and 1",
            suite.noise.max_stalled
        ));
    }
    if !(64..=1 << 20).contains(&suite.guest.memory_mib) {
        return Err(format!(
            "key `guest.memory_mib` is {}; a guest needs at least 64 MiB",
            suite.guest.memory_mib
        ));
    }
    if let Network::Tap(tap) = &suite.guest.network {
        tap.interface().map_err(|message| format!("key `guest.network`: {message}"))?;
    }
    let mut seen = HashSet::new();
    for one in &suite.experiments {
        if !seen.insert(&one.name) {
            return Err(format!("experiment `{}` is there twice; names are unique", one.name));
        }
        experiment(one).map_err(|message| format!("experiment `{}`: {message}", one.name))?;
    }
    Ok(())
}

/// Names become folders, so they hold nothing that a path could mistake.
fn name(key: &str, name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) || name.starts_with('-') {
        return Err(format!(
            "key `{key}` is `{name}`; use 1 to 64 letters, digits, `-` and `_`, not starting with `-`"
        ));
    }
    Ok(())
}

pub(super) fn experiment(experiment: &Experiment) -> Result<(), String> {
    name("name", &experiment.name)?;
    workload(experiment)?;
    if experiment.repetitions == 0 {
        return Err("key `repetitions` is 0; it is at least 1".to_owned());
    }
    if experiment.load.as_ref().is_some_and(|load| load.tasks.is_empty()) {
        return Err("key `load.tasks` is empty; leave `load` out for an unloaded host".to_owned());
    }
    if let Some(settings) = &experiment.reservation {
        Reservation::new(settings.budget, settings.period).map_err(|error| error.to_string())?;
        if settings.mechanism == Mechanism::None {
            return Err("key `reservation.mechanism` is `none`; leave `reservation` out".to_owned());
        }
        let has_quota =
            matches!(settings.mechanism, Mechanism::CfsQuota | Mechanism::CfsQuotaWeight);
        if !settings.burst.is_zero() && !has_quota {
            return Err(format!(
                "key `reservation.burst`: `{}` has no quota; it is for `cfs-quota` and \
                 `cfs-quota-weight`",
                settings.mechanism
            ));
        }
        if settings.placement == Some(Placement::Slice) {
            return Err("key `reservation.placement`: `slice` is for VMs that somebody else \
                        started (`orchestrator reserve`); a guest of a suite has no slice of its \
                        own, leave the key out"
                .to_owned());
        }
        if experiment.place == Place::Host {
            return Err(
                "key `reservation`: a reservation is for a VM; use `where = \"guest\"`".to_owned()
            );
        }
    }
    match experiment.emulator {
        Emulator::Place(_) => Ok(()),
        Emulator::Reserved(own) => Reservation::new(own.budget, own.period)
            .map(drop)
            .map_err(|error| format!("key `emulator`: {error}")),
    }
}

/// Periodic tasks, or a web service: one of the two.
fn workload(experiment: &Experiment) -> Result<(), String> {
    match (&experiment.web, experiment.tasks.is_empty()) {
        (Some(_), false) => {
            Err("keys `tasks` and `web`: an experiment measures one or the other".to_owned())
        }
        (Some(service), true) => web(service),
        (None, true) => {
            Err("key `tasks` is missing or empty; give at least one task, for example \
                             `tasks = [\"30ms/150ms\"]`, or a service, `web = {}`"
                .to_owned())
        }
        (None, false) => {
            let periods = experiment.tasks.iter().map(|task| task.period());
            let longest = periods.max().unwrap_or_default();
            if experiment.duration >= longest {
                return Ok(());
            }
            Err(format!(
                "key `duration` is {}, shorter than the longest period, {}",
                crate::duration::format(experiment.duration),
                crate::duration::format(longest)
            ))
        }
    }
}

fn web(web: &Web) -> Result<(), String> {
    let counts = [("clients", u64::from(web.clients)), ("requests", web.requests)];
    if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(format!("key `web.{key}` is 0; it is at least 1"));
    }
    if web.clients > Web::MOST_CLIENTS {
        return Err(format!(
            "key `web.clients` is {}; it is at most {}",
            web.clients,
            Web::MOST_CLIENTS
        ));
    }
    if web.timeout.is_zero() {
        return Err("key `web.timeout` is 0; every request would fail".to_owned());
    }
    if !(0.0..=1.0).contains(&web.max_failures) {
        return Err(format!(
            "key `web.max_failures` is {}; it is a share between 0 and 1",
            web.max_failures
        ));
    }
    let plain = |c: char| c.is_ascii_graphic() && c != '#';
    if !web.query.chars().all(plain) {
        return Err(format!(
            "key `web.query` is `{}`; write it as in a URL: no spaces, no `#`, others as %XX",
            web.query
        ));
    }
    if web.port == Some(0) || web.ports().is_some_and(|ports| ports.end > 0x1_0000) {
        return Err(format!(
            "key `web.port` is {}; ports are 1 to 65535, and each client of a guest has one",
            web.port.unwrap_or_default()
        ));
    }
    Ok(())
}
