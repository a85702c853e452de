//! Everything that touches the operating system. What is decided is in the protocol core; what
//! is done is here.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "every runtime needs the standard library; one crate's name reads better than three"
)]

#[cfg(any(unix, windows))]
#[cfg(feature = "blocking")]
pub mod blocking;
pub mod endpoint;
mod error;
#[cfg(any(unix, windows))]
mod link;
#[cfg(any(unix, windows))]
mod options;
#[cfg(any(unix, windows))]
mod request;
#[cfg(any(unix, windows))]
#[cfg(feature = "smol")]
pub mod smol;
#[cfg(any(unix, windows))]
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(any(unix, windows))]
mod trace;

pub use error::{Error, ErrorKind, Phase};
