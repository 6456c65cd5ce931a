//! Tests against servers that live in the test itself.

mod common;
mod faults;
mod good;
mod program;
