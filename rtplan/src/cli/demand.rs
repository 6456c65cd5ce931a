//! `rtplan budget --demand`.

use model::{Exit, demand};

use super::{CliError, args::Budget, ask::usage, write};
use crate::{
    demand::{Wish, periods},
    output::{Curve, csv, demand as output, plot},
    supply::{Model, Supply},
};

pub(super) fn budget(args: &Budget) -> Result<Exit, CliError> {
    let (Some(path), Some(latency)) = (&args.demand, args.latency) else {
        return Err(usage("`--demand` needs a `--latency`, for example `20ms`"));
    };
    let model = args.platform.model().map_err(usage)?.unwrap_or(Model::TwoGap);
    let wish = Wish { latency, model, costs: args.platform.costs(), most: args.most };
    let mut periods: Vec<_> =
        args.period.map_or_else(|| periods().collect(), |period| vec![period]);
    if let Model::ExplicitDeadline(deadline) = model
        && args.period.is_none()
    {
        periods.retain(|period| *period >= deadline);
    }
    for &period in &periods {
        wish.check(period)?;
    }
    let some = "1ns/1ns".parse().expect("a valid reservation");
    if !matches!(model, Model::ExplicitDeadline(_)) {
        let supply = Supply::new(model, Some(some))?.with_costs(wish.costs);
        supply.beside(args.platform.neighbours())?;
    }
    let threads = demand::read(path)?;
    if threads.is_empty() {
        return Err(usage(format!("{}: no rows; nothing was observed", path.display())));
    }
    let files = write::reserve(&args.output)?;
    let answer = output::Answer::find(&wish, &threads, &periods)?;
    let (holds_if, cells) = (answer.holds_if().to_owned(), answer.cells().to_vec());
    let curves = [Curve { model, holds_if, cells }];
    write::table(files.table, |file| csv::gridded(file, &curves))?;
    write::picture(files.picture, || plot::trade_off(&curves))?;
    write::answer(&args.output, || &answer, || answer.text())?;
    Ok(if answer.is_some() { Exit::Done } else { Exit::NotHeld })
}
