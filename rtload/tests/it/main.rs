//! The program as scripts use it.

mod characterise;
mod common;
mod input;
mod load;
mod run;
mod streams;
