//! All integration tests, as one program: it links once.

mod counted;
mod counter_examples;
mod demand;
mod oracle;
mod predict;
mod printing;
mod program;
mod properties;
mod reference;
mod sim_adapt;
mod sim_analysis;
mod sim_figures;
mod sim_program;
mod sim_steps;
mod sim_suite;
mod simulated;
mod supply_models;
mod support;
mod tick;
