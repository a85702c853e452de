//! One question, one answer, over a local socket: git's Simple-IPC.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod client;
pub mod connect;
pub mod exchange;
#[cfg(feature = "alloc")]
pub mod lifecycle;
pub mod pkt_line;
pub mod server;

#[cfg(any(feature = "blocking", feature = "smol", feature = "tokio"))]
#[path = "../runtimes/mod.rs"]
mod runtimes;
#[cfg(any(feature = "blocking", feature = "smol", feature = "tokio"))]
pub use runtimes::*;
