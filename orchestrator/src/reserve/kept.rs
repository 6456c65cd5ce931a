//! Reservations that outlive the program that made them.

use anyhow::Result;
use model::Exit;

use crate::{
    error::Refusal,
    host::{self, Linux, Restored, state_dir},
};

/// Undoes the reservations that `reserve --keep` left: that of process `pid`, or all.
///
/// # Errors
/// [`Refusal::Usage`] where none is kept for `pid`; a state folder that is not ours alone.
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
    Ok(tell(&released, "release"))
}

/// Tells what could not be undone, and which command tries again; the exit code.
pub(crate) fn tell(restored: &Restored, command: &str) -> Exit {
    for failure in &restored.left {
        model::say!("error: not undone: {failure}; `orchestrator {command}` tries again");
    }
    if restored.left.is_empty() { Exit::Done } else { Exit::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_decides_the_exit_code() {
        let mut restored = Restored::default();
        assert_eq!(tell(&restored, "restore"), Exit::Done);
        restored.left.push("removing /a: busy".to_owned());
        assert_eq!(tell(&restored, "restore"), Exit::Failed);
    }
}
