//! Reservations that outlive the program that made them.

use anyhow::Result;
use model::Exit;

use crate::{
    error::Refusal,
    host::{self, Linux, state_dir},
};

/// Undoes the reservations that `reserve --keep` left: that of process `pid`, or all.
///
/// # Errors
/// [`Refusal::Usage`] where none is kept for `pid`; the first change that could not be undone.
pub fn release(pid: Option<i32>) -> Result<Exit> {
    let released = host::release(&Linux::default(), &state_dir(), pid)?;
    match (released.runs, pid) {
        (0, Some(pid)) => {
            return Err(
                Refusal::Usage(format!("--pid: no reservation of process {pid} is kept")).into()
            );
        }
        (0, None) => model::answer!("no reservation is kept")?,
        (count, _) => {
            model::answer!("released: {count} reservations, {} changes", released.changes)?
        }
    };
    Ok(Exit::Done)
}
