//! The command line.

use std::{io::Write, path::PathBuf};

use clap::{
    Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use manual::Manual;
use model::{
    Exit,
    exit::{EXIT_HELP, example},
    print::{self, Reader},
};

use crate::{
    claims, clock,
    compare::{self, tolerance::Tolerance},
    error::ReportError,
    export,
    folder::Results,
    grid::Format,
    history, mechanisms, merge, network, render,
    series::Selection,
    supply, sweep, table, table1,
};

/// Figures, tables and the scorecard, made from a result folder.
#[derive(Debug, Parser)]
#[command(name = "reports", version, after_help = EXIT_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draw the figures and write the page, into DIR/report
    #[command(after_help = example("reports render results/quick-20261123T150925Z"))]
    Render {
        /// A result folder, as `orchestrator run` writes it
        dir: PathBuf,
        /// Show beside it what `rtplan simulate --suite … --calibrate DIR` wrote into this folder
        #[arg(long, value_name = "SIMDIR")]
        simulated: Option<PathBuf>,
    },
    /// Print the statistics of every task of every experiment
    #[command(after_help = example("reports table results/quick-20261123T150925Z --format latex"))]
    Table {
        /// A result folder
        dir: PathBuf,
        /// How to write it: milliseconds for people, nanoseconds in CSV
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Which jobs: all, or only those that no stall of the machine disturbed
        #[arg(long, value_parser = selection(), default_value = "all", conflicts_with = "like")]
        jobs: Selection,
        /// Lay it out like a table of the paper: a column for each experiment, in seconds
        #[arg(long, value_enum)]
        like: Option<Like>,
        /// Show only these experiments, in this order
        #[arg(long, value_delimiter = ',', value_name = "NAMES", requires = "like")]
        only: Vec<String>,
        /// Show the paper's columns beside ours
        #[arg(long, requires = "like")]
        paper: bool,
    },
    /// Print whether each budget of a sweep holds, and the smallest one that does
    #[command(after_help = example("reports sweep results/quick-20261123T150925Z"))]
    Sweep {
        /// A result folder with a sweep
        dir: PathBuf,
        /// How to write it: milliseconds for people, nanoseconds in CSV
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Rank the mechanisms in experiments that differ in nothing else
    #[command(after_help = example("reports mechanisms results/mechanisms-20261123T150925Z"))]
    Mechanisms {
        /// A result folder
        dir: PathBuf,
        /// How to write it: milliseconds for people, nanoseconds in CSV
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Check the paper's claims against the results; exit code 4 if one fails
    #[command(after_help = example("reports claims results/quick-20261123T150925Z --summary json"))]
    Claims {
        /// A result folder
        dir: PathBuf,
        /// Print one JSON object instead of text
        #[arg(long, value_enum)]
        summary: Option<Summary>,
    },
    /// Show the CPU time that the VM was supplied with, from the kernel's trace
    #[command(after_help = example("reports supply results/quick-20261123T150925Z --experiment fig4-loaded"))]
    Supply {
        /// A result folder
        dir: PathBuf,
        /// Show only this experiment
        #[arg(long)]
        experiment: Option<String>,
        /// How to write it; CSV is the measured supply bound function, length by length
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show what time looked like inside of guests with a probe of the clock: gaps, steps, timers
    #[command(after_help = example("reports clock results/clock-20261126T150925Z"))]
    Clock {
        /// A result folder whose suite has a service `probe = "clock"`
        dir: PathBuf,
        /// Print one JSON object instead of text
        #[arg(long, value_enum)]
        summary: Option<Summary>,
    },
    /// Show the CPU time of the host that each request to a VM's web service took, and who pays
    #[command(after_help = example("reports network results/network-20261126T150925Z"))]
    Network {
        /// A result folder with a web service in a VM that was traced
        dir: PathBuf,
        /// How to write it: CSV has a row for each repetition, in nanoseconds
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Export the schedule of one repetition, for Perfetto or as a Gantt chart
    #[command(after_help = example("reports export results/quick-20261123T150925Z --experiment fig4-loaded --format perfetto"))]
    Export(export::Arguments),
    /// Compare two result folders: what differs in their circumstances, then each response time
    #[command(after_help = example("reports compare results/before results/after --tolerance 5%"))]
    Compare {
        /// The result folder to compare with, the baseline
        first: PathBuf,
        /// The result folder that is compared with it
        second: PathBuf,
        /// How to write it: milliseconds for people, nanoseconds in CSV and JSON
        #[arg(long, value_enum, default_value_t)]
        format: compare::write::Format,
        /// Which jobs: all, or only those that no stall of the machine disturbed
        #[arg(long, value_parser = selection(), default_value = "all")]
        jobs: Selection,
        /// Exit with 4 where a 99th percentile grew by more than this, or more deadlines were missed
        #[arg(long, value_name = "5%")]
        tolerance: Option<Tolerance>,
    },
    /// Show one experiment over many results, and the first change that matters
    #[command(after_help = example("reports history results/* --experiment fig4-loaded --chart history.svg"))]
    History(history::Arguments),
    /// Make one report of many hosts: each experiment and claim per host, outliers marked, and what
    /// differs between the hosts
    #[command(after_help = example("reports merge fleet-20261126T104841Z --out report"))]
    Merge(merge::Arguments),
    #[command(flatten)]
    Manual(Manual),
}

fn selection() -> impl TypedValueParser<Value = Selection> {
    PossibleValuesParser::new(Selection::EACH.map(Selection::name))
        .try_map(|name| name.parse::<Selection>())
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Like {
    /// The service's response times: min, avg, max, std. dev., confidence interval
    Table1,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Summary {
    Json,
}

/// Does what the command line says; results go to `out`, messages to standard error.
///
/// # Errors
/// [`ReportError`]; its [`ReportError::exit`] is the exit code.
pub fn run(cli: Cli, out: &mut dyn Write) -> Result<Exit, ReportError> {
    let (text, exit) = match cli.command {
        Command::Render { dir, simulated } => (rendered(&dir, simulated.as_deref())?, Exit::Done),
        Command::Table { dir, format, jobs, like, only, paper } => {
            let results = Results::read(&dir)?;
            let grid = match like {
                Some(Like::Table1) => table1::grid(&results, &only, paper, format)?,
                None => table::grid(&results, jobs, format),
            };
            (grid.write(format), Exit::Done)
        }
        Command::Sweep { dir, format } => (swept(&dir, format)?, Exit::Done),
        Command::Mechanisms { dir, format } => (ranked(&dir, format)?, Exit::Done),
        Command::Claims { dir, summary } => {
            let results = Results::read(&dir)?;
            let claims = claims::all(&results);
            let text = match summary {
                Some(Summary::Json) => claims::json(&results, &claims),
                None => claims::text(&results, &claims),
            };
            (text, claims::exit(&claims))
        }
        Command::Supply { dir, experiment, format } => {
            (supplied(&dir, experiment.as_deref(), format)?, Exit::Done)
        }
        Command::Clock { dir, summary } => {
            let results = Results::read(&dir)?;
            let seen = clock::all(&results);
            if seen.is_empty() {
                return Err(ReportError::Nothing(format!(
                    "{}: its suite has no probe of the clock; give a service `probe = \"clock\"`",
                    dir.display()
                )));
            }
            let text = match summary {
                Some(Summary::Json) => clock::table::json(&results, &seen),
                None => clock::table::text(&seen),
            };
            (text, Exit::Done)
        }
        Command::Network { dir, format } => (accounted(&dir, format)?, Exit::Done),
        Command::Export(arguments) => (export::run(&arguments)?, Exit::Done),
        Command::Compare { first, second, format, jobs, tolerance } => {
            let (first, second) = (Results::read(&first)?, Results::read(&second)?);
            let comparison = compare::compare(&first, &second, jobs);
            let worse = tolerance.map(|own| compare::tolerance::breaches(&comparison, own));
            let worse = worse.is_some_and(|own| !own.is_empty());
            let exit = if worse { Exit::NotHeld } else { Exit::Done };
            (compare::write::write(&comparison, format, tolerance), exit)
        }
        Command::Merge(arguments) => (merge::run(&arguments)?, Exit::Done),
        Command::History(arguments) => (history::run(&arguments)?, Exit::Done),
        Command::Manual(own) => (own.text::<Cli>().map_err(ReportError::Nothing)?, Exit::Done),
    };
    // A reader that closed the pipe has seen what it wanted.
    match print::heard(out.write_all(text.as_bytes()).and_then(|()| out.flush())) {
        Ok(Reader::Present | Reader::Gone) => Ok(exit),
        Err(error) => Err(ReportError::Write { path: "standard output".to_owned(), error }),
    }
}

fn swept(dir: &std::path::Path, format: Format) -> Result<String, ReportError> {
    let sweeps = Results::read(dir)?.sweeps;
    if sweeps.is_empty() {
        return Err(ReportError::Nothing(format!("{}: its suite has no sweep", dir.display())));
    }
    if format == Format::Csv {
        return Ok(sweep::csv(&sweeps));
    }
    let one = |own| sweep::grid(own).write(format);
    Ok(sweeps.iter().map(one).collect::<Vec<_>>().join("\n"))
}

fn ranked(dir: &std::path::Path, format: Format) -> Result<String, ReportError> {
    mechanisms::table::write(&Results::read(dir)?, format).ok_or_else(|| {
        ReportError::Nothing(format!(
            "{}: its suite has no two experiments that differ in nothing but the mechanism",
            dir.display()
        ))
    })
}

fn accounted(dir: &std::path::Path, format: Format) -> Result<String, ReportError> {
    network::table::write(&Results::read(dir)?, format).ok_or_else(|| {
        ReportError::Nothing(format!(
            "{}: no web service in a VM was traced; `orchestrator run` traces guests where tracefs \
             works",
            dir.display()
        ))
    })
}

fn supplied(
    dir: &std::path::Path,
    experiment: Option<&str>,
    format: Format,
) -> Result<String, ReportError> {
    let mut results = Results::read(dir)?;
    if let Some(name) = experiment {
        results.case(name)?;
        results.cases.retain(|case| case.name() == name);
    }
    if supply::table::traced(&results).next().is_none() {
        return Err(ReportError::Nothing(format!(
            "{}: nothing was traced; `orchestrator run` traces guests where tracefs works",
            dir.display()
        )));
    }
    if format == Format::Csv {
        return Ok(render::sbf(&render::curves(&results)).write(format));
    }
    let tables = [supply::table::supplied(&results), supply::table::threads(&results)];
    Ok(tables.map(|grid| grid.write(format)).join("\n"))
}

fn rendered(
    dir: &std::path::Path,
    simulated: Option<&std::path::Path>,
) -> Result<String, ReportError> {
    let mut results = Results::read(dir)?;
    if let Some(folder) = simulated {
        results.join(Results::read(folder)?)?;
    }
    for gap in &results.gaps {
        model::say!("reports: {gap}");
    }
    Ok(format!("{}\n", render::render(&results)?.index.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        assert_eq!(manual::without_example::<Cli>(), Vec::<String>::new());
    }
}
