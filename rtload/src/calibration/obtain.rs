//! The calibration for a run: given, stored, or fresh.

use std::{path::PathBuf, time::Duration};

use super::{
    CHECK_LENGTH, Calibration, cache_path,
    check::{compare, doubts},
    load, measure, save,
};
use crate::{Error, warning::Warning};

/// Where a calibration comes from and goes to.
#[derive(Debug, Clone)]
pub struct Options {
    /// A stored one, taken as it is; none for the cache, or a fresh one.
    pub file: Option<PathBuf>,
    /// Also write the one that is used to this file.
    pub save: Option<PathBuf>,
    /// Look whether a stored one still holds.
    pub check: bool,
    /// How long a fresh one measures.
    pub length: Duration,
}

/// The calibration to use on `cpu`, and what speaks against it.
///
/// A file that was named is used whatever the check says, since the caller wants that very amount
/// of work. One from the cache that no longer holds is replaced.
///
/// # Errors
/// Those of [`load`], [`measure`] and [`save`].
pub fn obtain(
    cpu: u32,
    options: &Options,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Result<(Calibration, Vec<Warning>), Error> {
    let (calibration, warnings) = match &options.file {
        Some(file) => {
            let given = load(file)?;
            let warnings = if options.check { look(cpu, &given, keep_going)? } else { Vec::new() };
            (given, warnings)
        }
        None => cached_or_fresh(cpu, options, keep_going)?,
    };
    if let Some(file) = &options.save {
        save(file, &calibration)?;
    }
    Ok((calibration, warnings))
}

fn look(
    cpu: u32,
    stored: &Calibration,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Warning>, Error> {
    Ok(compare(stored, &measure(cpu, CHECK_LENGTH, keep_going)?))
}

fn cached_or_fresh(
    cpu: u32,
    options: &Options,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Result<(Calibration, Vec<Warning>), Error> {
    let path = cache_path(cpu);
    let mut warnings = Vec::new();
    if let Some(path) = path.as_deref().filter(|path| path.exists()) {
        match load(path) {
            Ok(cached) if !options.check || look(cpu, &cached, keep_going)?.is_empty() => {
                return Ok((cached, warnings));
            }
            Ok(_) => eprintln!("rtload: the stored calibration no longer holds; taking a new one"),
            Err(error) => warnings.push(Warning::Cache(error.to_string())),
        }
    }
    let (fresh, doubts) = renew(cpu, options.length, keep_going)?;
    warnings.extend(doubts);
    Ok((fresh, warnings))
}

/// A fresh calibration, which replaces the one in the cache, and what speaks against it.
///
/// # Errors
/// Those of [`measure`].
pub fn renew(
    cpu: u32,
    length: Duration,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Result<(Calibration, Vec<Warning>), Error> {
    let fresh = measure(cpu, length, keep_going)?;
    let mut warnings: Vec<Warning> = doubts(&fresh).into_iter().collect();
    if let Some(path) = cache_path(cpu)
        && let Err(error) = save(&path, &fresh)
    {
        warnings.push(Warning::Cache(error.to_string()));
    }
    Ok((fresh, warnings))
}
