//! An experiment in a line, for `--dry-run`.

use std::time::Duration;

use model::{
    duration,
    suite::{self, Experiment, Server, Service},
};

/// What runs where, under which load and reservation.
pub(super) fn describe(experiment: &Experiment) -> String {
    let list = |tasks: &model::TaskSet| {
        tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let apart = on_several_cpus(experiment);
    let on = |cpu: Option<u32>| {
        cpu.filter(|_| apart).map_or_else(String::new, |cpu| format!(" on CPU {cpu}"))
    };
    let load = |load: &suite::Load| {
        format!(" load{} {} ({} backlog)", on(load.cpu), list(&load.tasks), load.backlog.name())
    };
    let loads: String = experiment.loads.iter().map(load).collect();
    let service = |own: &Service| match own.web() {
        Some(web) => asking(web, experiment.duration),
        None => match (own.wild(), own.probe()) {
            (Some(wild), _) => format!("goes wild ({})", wild.name()),
            (_, Some(probe)) => format!(
                "probe of the {} for {}",
                probe.name(),
                duration::format(experiment.duration)
            ),
            (None, None) => {
                format!("{} for {}", list(own.tasks()), duration::format(experiment.duration))
            }
        },
    };
    let service = |own: &Service| service(own) + &on(own.cpu);
    let services = |own: &[Service]| own.iter().map(service).collect::<Vec<_>>().join(", ");
    let mut places = Vec::new();
    if !experiment.services.is_empty() {
        places.push(format!("host  {}", services(&experiment.services)));
    }
    let vcpu = |own: &suite::Vcpu| {
        let reserved = own.reservation.as_ref();
        let reserved = reserved.map(|own| format!(" {} {}", own.mechanism, own.text()));
        reserved.unwrap_or_default() + &on(own.cpu)
    };
    // Of several VMs each is named with what is its own; the load is everybody's.
    let several = experiment.workloads().len() > 1;
    for vm in &experiment.vms {
        let mut own: String = vm.vcpus.iter().map(vcpu).collect();
        if let Some(found) = &vm.found {
            let by = vm.way_in.as_ref().map(|way| format!(", entered by {}", way.name()));
            own += &format!(" ({found}, which runs already{})", by.unwrap_or_default());
        } else if let Some((key, file)) = vm.system.file() {
            own += &format!(" ({key} {})", file.display());
        }
        places.push(match several {
            true => format!("{}  {}{own}", vm.name, services(&vm.services)),
            false => format!("guest {}{loads}{own}", services(&vm.services)),
        });
    }
    let loads = if experiment.vms.is_empty() || several { loads } else { String::new() };
    places.join("; ") + &loads
}

/// Whether its vCPUs, services of the host and loads are not all on one CPU.
fn on_several_cpus(experiment: &Experiment) -> bool {
    let vcpus = experiment.vms.iter().flat_map(|vm| &vm.vcpus).map(|own| own.cpu);
    let services = experiment.services.iter().map(|own| own.cpu);
    let mut cpus = vcpus.chain(services).chain(experiment.loads.iter().map(|own| own.cpu));
    let first = cpus.next();
    cpus.any(|cpu| Some(cpu) != first)
}

/// Who asks how often; where it is not the paper's service, for what.
fn asking(web: &suite::Web, length: Duration) -> String {
    let often = match web.requests {
        Some(requests) => format!("{} clients x {requests} requests", web.clients),
        None => format!("{} clients for {}", web.clients, duration::format(length)),
    };
    match &web.server {
        Server::Cgi { .. } => often,
        own => format!("{often} to {}", own.asked()),
    }
}
