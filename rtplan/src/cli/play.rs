//! From options to simulations.

use std::path::Path;

use model::{
    Exit, TaskSet,
    duration::as_ns,
    outfile::Filling,
    sample::{Job, Stall, read_csv},
};

use super::{
    CliError,
    ask::{scheduler, usage, workload},
    chosen,
    simulate::{ExecutionName, Simulate, usual_fair_server},
    write,
};
use crate::{
    output::simulated::{Played, Report},
    partition::partition,
    sim::{
        Cpu, JobWriter, Label, Listener, Recorder, Server, Stalls, Thread, Tick, Times,
        calibrate::Measured,
        experiment::LOAD_PRIORITY,
        simulate as run,
        suite::{Plan, refusal, run as run_suite},
    },
    supply::Supply,
    workload::{Scheduler, TaskSpec, Workload},
};

/// Statistics of more tasks are not kept.
const MOST_TASKS: usize = 10_000;

pub(super) fn simulate(args: &Simulate) -> Result<Exit, CliError> {
    match &args.suite {
        Some(file) => whole_suite(args, file),
        None => one_set(args),
    }
}

// ---- one set of tasks ----

fn one_set(args: &Simulate) -> Result<Exit, CliError> {
    let workload = workload(&args.tasks)?;
    let count = workload.tasks().len();
    if count > MOST_TASKS {
        return Err(usage(format!(
            "{count} tasks are too many for a simulation with statistics; at most {MOST_TASKS}"
        )));
    }
    let scheduler = scheduler(&args.tasks);
    let (name, server) = args.vm.server().map_err(usage)?;
    let vcpus = deal(args, &workload, server, scheduler)?;
    let mut cpus = Vec::new();
    for members in &vcpus {
        let cpu = cpu(args, &workload, members, server, scheduler)?;
        cpu.check()?;
        cpus.push(cpu);
    }
    let mut listener = Listener { recorder: Recorder::new(count), writer: writer(args, count)? };
    let seed = args.run.seed.unwrap_or(0);
    let mut outcomes = Vec::new();
    for (index, cpu) in cpus.iter().enumerate() {
        outcomes.push(run(cpu, seed.wrapping_add(index as u64), &mut listener)?);
    }
    if let Some(writer) = listener.writer.take() {
        finish(writer).map_err(|error| CliError::Write(error.to_string()))?;
    }
    let report = Report::new(&Played {
        workload: &workload,
        scheduler,
        server: name.name(),
        reservation: args.vm.reservation,
        load: &args.host.load,
        backlog: args.host.backlog.into(),
        tick_ns: cpus[0].tick.map(|tick| tick.period),
        duration_ns: as_ns(args.run.duration),
        seed,
        vcpus: &vcpus,
        outcomes: &outcomes,
        recorder: &listener.recorder,
    });
    for warning in &report.warnings {
        model::say!("warning: {warning}");
    }
    write::print(args.run.summary, || &report, || report.text())?;
    let late = report.late();
    Ok(if args.run.fail_on_miss && late > 0 { Exit::NotHeld } else { Exit::Done })
}

/// Which tasks each vCPU has. What the analysis finds no room for goes to the vCPU with the least
/// to do: a simulation shows what comes of it.
fn deal(
    args: &Simulate,
    workload: &Workload,
    server: Server,
    scheduler: Scheduler,
) -> Result<Vec<Vec<usize>>, CliError> {
    let count = usize::from(args.vm.vcpus);
    if count == 1 {
        return Ok(vec![(0..workload.tasks().len()).collect()]);
    }
    let supply = server.reservation().map_or_else(Supply::dedicated, Supply::one_gap);
    let mut dealt = partition(workload, &supply, scheduler, count, args.vm.fit.into())?;
    let share = |members: &Vec<usize>| -> f64 {
        members.iter().map(|&index| workload.tasks()[index].task.utilisation()).sum()
    };
    for index in std::mem::take(&mut dealt.left_over) {
        let emptiest = dealt.vcpus.iter_mut().min_by(|a, b| share(a).total_cmp(&share(b)));
        if let Some(members) = emptiest {
            members.push(index);
            members.sort_unstable();
        }
    }
    dealt.vcpus.retain(|members| !members.is_empty());
    Ok(dealt.vcpus)
}

fn cpu(
    args: &Simulate,
    workload: &Workload,
    members: &[usize],
    server: Server,
    scheduler: Scheduler,
) -> Result<Cpu, CliError> {
    let part = Workload::new(members.iter().map(|&index| workload.tasks()[index]).collect())?;
    let mut vm = Thread::new(server, &part, scheduler)?;
    vm.names.iter_mut().for_each(|name| *name = members[*name]);
    let names = vm.names.clone();
    for (task, name) in vm.tasks.iter_mut().zip(names) {
        task.execution = execution(&args.vm.execution, name, &workload.tasks()[name])?;
    }
    vm.slow_down(args.vm.slow_down);
    if let Some(tick) = args.vm.guest_tick {
        vm.add_guest_tick(as_ns(tick.budget()), as_ns(tick.period()));
    }
    let mut threads = vec![vm];
    if !args.host.load.is_empty() {
        let set = TaskSet(args.host.load.clone());
        threads.push(Thread::load(&set, args.host.backlog.into(), LOAD_PRIORITY)?);
    }
    threads.extend(args.host.neighbour.iter().map(|own| Thread::hog(Server::HardCbs(*own))));
    let rival = |&weight: &u32| Thread::hog(Server::Share { weight });
    threads.extend(args.host.rival.iter().map(rival));
    let mut cpu = Cpu::new(threads, args.run.duration);
    if let Some(drain) = args.run.drain {
        cpu.drain = as_ns(drain);
    }
    let tick = args.host.tick.map_or(0, as_ns);
    cpu.tick = (tick > 0).then_some(Tick { period: tick, phase: 0 });
    cpu.switch_overhead = args.host.switch_overhead.map_or(0, as_ns);
    cpu.fair_server = args.host.fair_server.and_then(|fair| fair.0);
    cpu.stalls = stalls(args)?;
    Ok(cpu)
}

fn execution(how: &ExecutionName, index: usize, spec: &TaskSpec) -> Result<Times, CliError> {
    let execution = as_ns(spec.task.execution());
    let part = |millionths: u64| {
        let share = u128::from(execution) * u128::from(millionths) / 1_000_000;
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    match how {
        ExecutionName::Constant => Ok(Times::Constant(execution)),
        ExecutionName::Shares(from, to) => Ok(Times::Uniform(part(*from), part(*to))),
        ExecutionName::File(path) => {
            let name = TaskSet::name(index);
            let jobs: Vec<Job> = read_csv(path)?;
            let own = jobs.iter().filter(|job| job.task == name);
            let times: Vec<u64> = own.filter_map(|job| job.cpu_ns).collect();
            if times.is_empty() {
                return Err(usage(format!("{}: no `cpu_ns` of {name}", path.display())));
            }
            Ok(Times::Samples(times.into()))
        }
    }
}

fn stalls(args: &Simulate) -> Result<Stalls, CliError> {
    if let Some(path) = &args.host.stalls {
        let mut stalls: Vec<Stall> = read_csv(path)?;
        stalls.sort_by_key(|stall| stall.start_ns);
        let end = |stall: &Stall| stall.start_ns.saturating_add(stall.length_ns);
        let gaps: Vec<u64> =
            stalls.windows(2).map(|pair| pair[1].start_ns.saturating_sub(end(&pair[0]))).collect();
        if gaps.is_empty() {
            return Err(usage(format!("{}: at least two stalls are needed", path.display())));
        }
        let lengths: Vec<u64> = stalls.iter().map(|stall| stall.length_ns).collect();
        let (gaps, lengths) = (Times::Samples(gaps.into()), Times::Samples(lengths.into()));
        return Ok(Stalls::Drawn { gaps, lengths });
    }
    let list: Vec<(u64, u64)> =
        args.host.stall.iter().map(|stall| (as_ns(stall.0), as_ns(stall.1))).collect();
    let apart = |pair: &[(u64, u64)]| pair[0].0.saturating_add(pair[0].1) <= pair[1].0;
    if !list.windows(2).all(apart) {
        return Err(usage("`--stall`s must come in ascending order and not overlap"));
    }
    Ok(if list.is_empty() { Stalls::None } else { Stalls::At(list.into()) })
}

fn writer(args: &Simulate, tasks: usize) -> Result<Option<JobWriter<Filling>>, CliError> {
    let Some(file) = write::open("--out", args.run.out.as_deref())? else { return Ok(None) };
    let writer = file
        .begin()
        .map_err(csv::Error::from)
        .and_then(|out| JobWriter::new(out, vec![Label { tasks, ..Label::default() }]));
    writer.map(Some).map_err(|error| CliError::Write(error.to_string()))
}

fn finish(writer: JobWriter<Filling>) -> csv::Result<()> {
    Ok(writer.finish()?.finish()?)
}

// ---- a suite ----

fn whole_suite(args: &Simulate, file: &Path) -> Result<Exit, CliError> {
    let (mut suite, text) = chosen::suite(file, &args.only)?;
    suite.experiments.retain(|experiment| {
        let refusal = refusal(experiment);
        if let Some(reason) = &refusal {
            model::say!("skipped {}: {reason}", experiment.name);
        }
        refusal.is_none()
    });
    if suite.experiments.is_empty() {
        return Err(usage(format!("{}: nothing to simulate", file.display())));
    }
    if let Some(repetitions) = args.repetitions {
        suite.experiments.iter_mut().for_each(|one| one.repetitions = repetitions);
    }
    let settings = suite.simulate.clone();
    let folder = args.calibrate.as_ref().or(settings.calibrate.as_ref());
    let measured = folder.map(|folder| Measured::read(folder)).transpose();
    let plan = Plan {
        measured: measured.map_err(crate::sim::suite::SuiteRunError::from)?,
        tick: args.host.tick.or(settings.tick),
        switch_overhead: args.host.switch_overhead.unwrap_or(settings.switch_overhead),
        fair_server: args.host.fair_server.map_or_else(usual_fair_server, |fair| fair.0),
        seed: args.run.seed.unwrap_or(settings.seed),
        suite,
        text,
    };
    let out = args.run.out.clone().unwrap_or_else(|| "results".into());
    let folder = run_suite(&plan, &out)?;
    write::answer_text(&format!("{}\n", folder.display()))?;
    Ok(Exit::Done)
}
