//! What each fuzz target does with its bytes. `tests/core_fuzz_bodies.rs` mounts this file too, so
//! that the bodies are run, on stable, with every other test.

pub mod band;
pub mod client;
pub mod decode;
pub mod encode;
pub mod lifecycle;
pub mod records;
pub mod server;

mod input;

// What is right is said once, for the tests and for these.
#[path = "../../tests/core/lifecycle/both.rs"]
mod both;
#[path = "../../tests/core/message.rs"]
mod message;
#[path = "../../tests/core/lifecycle/model.rs"]
mod model;
#[path = "../../tests/core/naive.rs"]
mod naive;
#[path = "../../tests/core/packets.rs"]
mod packets;
#[path = "../../tests/core/random.rs"]
pub(crate) mod random;
#[path = "../../tests/core/reading.rs"]
mod reading;
