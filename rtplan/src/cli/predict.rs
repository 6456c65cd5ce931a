//! `rtplan predict`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use model::{Exit, costs::CostVector, duration};

use super::{CliError, args::Summary, ask::usage, chosen, simulate::usual_fair_server, write};
use crate::{
    output::predicted::Report,
    predict::{Counts, Mix, PredictError, Transport, predict as predicted},
    sim::suite::Plan,
};

/// `rtplan predict`.
#[derive(Debug, Args)]
pub struct Predict {
    /// Scale, analyse and simulate the experiments of this suite; their work must be `fixed`
    #[arg(long, value_name = "FILE", required_unless_present = "execution")]
    suite: Option<PathBuf>,
    /// Of the suite only these experiments, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "suite")]
    only: Vec<String>,
    /// Instead of a suite: scale one execution time, for example `250ms`
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, conflicts_with = "suite")]
    execution: Option<Duration>,
    /// What operations cost where the execution times are known: a vector of `rtload characterise`
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// What they cost where the tasks will run; for tasks in a guest, a vector measured in a guest
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// What the work is made of, as shares of its execution time on the first host that add up to 1,
    /// for example `integer_latency=0.6,memory_l3=0.4`
    #[arg(long, value_name = "COMPONENT=WEIGHT,…", default_value = "integer_latency=1")]
    mix: Mix,
    /// Instead of a mix: how many operations of each kind were counted in the work, for example
    /// `integer_throughput=2e7,page_fault=2100`; they take the time that they cost on the first host
    #[arg(long, value_name = "COMPONENT=NUMBER,…", conflicts_with = "mix")]
    operations: Option<Counts>,
    /// Form of the answer on standard output
    #[arg(long, value_enum, default_value_t = Summary::Text)]
    summary: Summary,
}

/// Exit code 4 where, with the upper end of C, a deadline does not hold.
pub(super) fn predict(args: &Predict) -> Result<Exit, CliError> {
    let (from, to) = (vector("--from", &args.from)?, vector("--to", &args.to)?);
    let name = |path: &Path| path.display().to_string();
    let (from_name, to_name) = (name(&args.from), name(&args.to));
    if args.execution.is_some_and(|time| time.is_zero()) {
        return Err(usage("--execution 0: must be above zero, for example `250ms`"));
    }
    let counted = match &args.operations {
        Some(counts) => Some(counts.at((&from_name, &from), args.execution)?),
        None => None,
    };
    let mix = counted.as_ref().map_or(&args.mix, |counted| &counted.mix);
    let transport = Transport::between((&from_name, &from), (&to_name, &to), mix)?;
    let predictions = match &args.suite {
        Some(file) => of_suite(file, &args.only, &transport)?,
        None => Vec::new(),
    };
    let counted = counted.map(|counted| counted.work);
    let report = Report::new((&from, &to), &transport, counted, (args.execution, predictions));
    write::print(args.summary, || &report, || report.text())?;
    Ok(if report.holds() { Exit::Done } else { Exit::NotHeld })
}

fn vector(option: &str, path: &Path) -> Result<CostVector, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| CliError::File { path: path.to_owned(), source })?;
    CostVector::parse(&text).map_err(|why| usage(format!("{option} {}: {why}", path.display())))
}

fn of_suite(
    file: &Path,
    only: &[String],
    transport: &Transport,
) -> Result<Vec<crate::predict::Prediction>, CliError> {
    let (suite, text) = chosen::suite(file, only)?;
    let settings = suite.simulate.clone();
    let plan = Plan {
        // What was measured here does not hold there.
        measured: None,
        tick: settings.tick,
        switch_overhead: settings.switch_overhead,
        fair_server: usual_fair_server(),
        seed: settings.seed,
        suite,
        text,
    };
    let predictions = predicted(&plan, transport).map_err(|error| match error {
        PredictError::Paced { .. } => usage(format!("{}: {error}", file.display())),
        other => other.into(),
    })?;
    if predictions.is_empty() {
        return Err(usage(format!(
            "{}: no periodic tasks to predict; `--execution` scales one execution time",
            file.display()
        )));
    }
    Ok(predictions)
}
