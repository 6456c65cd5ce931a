//! All integration tests, as one program: it links once.

mod oracle;
mod program;
mod properties;
mod reference;
mod simulated;
mod support;
mod tick;
