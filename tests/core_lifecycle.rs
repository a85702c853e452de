//! The server's decisions, in virtual time.
#![cfg(feature = "alloc")]

#[path = "core/random.rs"]
mod random;

#[path = "core/lifecycle/both.rs"]
mod both;
#[path = "core/lifecycle/model.rs"]
mod model;
#[path = "core/lifecycle/rules.rs"]
mod rules;
#[path = "core/lifecycle/schedules.rs"]
mod schedules;
#[path = "core/lifecycle/simulation.rs"]
mod simulation;
