//! The samples of one task (or service) of one experiment, run by run; read by [`results`].

pub use model::{judged::Selection, sample::DISTURBED_NS};
pub use results::{Run, SERVICE, Sample, Series};
