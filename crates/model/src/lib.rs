//! The vocabulary of the lab bench, as plain data.
//!
//! Nothing here touches the host. Every other crate speaks in these terms, which are those of the
//! real-time literature: a task has an execution time C, a period T and a deadline D; a reservation
//! is a budget Q in every period P.

pub mod analysis;
pub mod busy;
pub mod clock;
pub mod control;
pub mod costs;
pub mod demand;
pub mod duration;
pub mod exit;
pub mod fleet;
pub mod hist;
pub mod host;
pub mod judged;
pub mod load;
pub mod manifest;
pub mod mechanism;
pub mod outfile;
pub mod placement;
pub mod print;
pub mod rate;
pub mod reservation;
pub mod reservations;
pub mod rows;
pub mod sample;
pub mod segment;
pub mod spectrum;
pub mod stats;
pub mod suite;
pub mod surge;
pub mod sweep;
pub mod task;

pub use exit::Exit;
pub use manifest::Manifest;
pub use mechanism::Mechanism;
pub use placement::Placement;
pub use rate::Rate;
pub use reservation::Reservation;
pub use suite::Suite;
pub use surge::Surge;
pub use task::{Task, TaskSet};
