//! The program as scripts use it.

mod common;
mod input;
mod load;
mod run;
mod streams;
