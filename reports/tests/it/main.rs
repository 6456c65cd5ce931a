//! Tests from a result folder to what a reader sees; one program, so that it is linked once.

mod commands;
mod joined;
mod made_up;
mod mechanisms;
mod one_room;
mod printing;
mod rendering;
mod sabotage;
mod sameness;
mod scorecard;
mod service;
mod simulated;
mod sweep;
mod traced;
