//! Tests from a result folder to what a reader sees; one program, so that it is linked once.

mod browser;
mod clock;
mod commands;
mod comparing;
mod earlier;
mod joined;
mod latex;
mod made_up;
mod malformed;
mod mechanisms;
mod merge;
mod network;
mod one_room;
mod printing;
mod python;
mod rendering;
mod sabotage;
mod sameness;
mod scorecard;
mod service;
mod simulated;
mod sweep;
mod traced;
