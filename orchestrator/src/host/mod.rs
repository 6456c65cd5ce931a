//! What is done to the host, and how it is undone.
//!
//! Every change goes through the [`Guard`], which writes into a journal what would undo it
//! before it makes it. Dropping the guard undoes everything: on success, error, panic and signal.
//! After `kill -9` the journal is still there, and [`restore`] undoes what it lists.

mod actions;
mod background;
mod clear;
mod controller;
mod cpus;
mod facts;
mod guard;
mod journal;
mod lock;
mod members;
mod output;
mod platform;
mod programs;
mod quiet;
mod quoted;
mod rehearsal;
mod restore;
mod settings;
mod shared;
mod signals;
mod stage;
mod state;
mod topology;
mod undo;
mod unrestored;
mod vhost;
mod watcher;

#[cfg(test)]
pub(crate) mod fake;

pub use actions::{Actions, Linux};
pub use background::Background;
pub use clear::Clearing;
pub use cpus::{Cpus, SHARED_LIMIT};
pub use facts::{Counters, Roots, line_of};
pub use guard::{Adjuster, Guard, Mark};
pub use journal::Journal;
pub use lock::Lock;
pub use output::{finish, output, output_given};
pub use platform::platform;
pub use programs::program;
pub use quiet::interrupts_on;
pub use quoted::quoted;
pub use rehearsal::Rehearsal;
pub use restore::{Restored, release, restore};
pub use settings::Adjusted;
pub use signals::{Stop, pause};
pub use stage::{COSTLY_IDLE, Stage, by_others, deadline_bandwidth_limit, isolated};
pub use state::state_dir;
pub use topology::Topology;
pub use undo::Undo;
pub use unrestored::{sentence, unrestored};
pub use vhost::{all_vhost_threads, vhost_threads};
pub use watcher::Listener;
