//! The calibration for a run: given, stored, or fresh.

use std::{path::PathBuf, time::Duration};

use super::{
    Calibration, Look, cache_path,
    check::{compare, doubts},
    load, measure, save,
};
use model::say;

use crate::{Error, warning::Warning};

/// Where a calibration comes from and goes to.
#[derive(Debug, Clone)]
pub struct Options {
    /// A stored one, taken as it is; none for the cache, or a fresh one.
    pub file: Option<PathBuf>,
    /// How to see whether a stored one still holds; none trusts it.
    pub look: Option<Look>,
    /// How long a fresh one measures.
    pub length: Duration,
}

/// The calibration to use on `cpu`, and what speaks against it.
///
/// A file that was named is used whatever the check says, since the caller wants that very amount
/// of work. One from the cache that no longer holds is replaced.
///
/// # Errors
/// Those of [`load`] and [`measure`].
pub fn obtain(
    cpu: u32,
    options: &Options,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Result<(Calibration, Vec<Warning>), Error> {
    let Some(file) = &options.file else { return cached_or_fresh(cpu, options, keep_going) };
    let given = load(file)?;
    let warnings = doubts_about(cpu, &given, options.look, keep_going)?;
    Ok((given, warnings))
}

fn doubts_about(
    cpu: u32,
    stored: &Calibration,
    look: Option<Look>,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Warning>, Error> {
    let Some(look) = look else { return Ok(Vec::new()) };
    Ok(compare(stored, &measure(cpu, look.length, keep_going)?, look.tolerance))
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
            Ok(cached) if doubts_about(cpu, &cached, options.look, keep_going)?.is_empty() => {
                return Ok((cached, warnings));
            }
            Ok(_) => say!("rtload: the stored calibration no longer holds; taking a new one"),
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
