//! What is done to the host, and how it is undone.
//!
//! Every change goes through the [`Guard`], which writes into a [`journal`] what would undo it
//! before it makes it. Dropping the guard undoes everything: on success, error, panic and signal.
//! After `kill -9` the journal is still there, and [`restore`] undoes what it lists.

mod actions;
mod guard;
mod journal;
mod restore;
mod signals;
mod undo;

#[cfg(test)]
pub(crate) mod fake;

pub use actions::{Actions, Linux};
pub use guard::{Guard, Mark};
pub use journal::{Journal, state_dir};
pub use restore::{Restored, restore};
pub use signals::{Stop, pause};
pub use undo::Undo;
