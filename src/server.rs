//! The server's side of an exchange.
//!
//! ```text
//!  accept(limit)
//!        │
//!        ▼
//!     Request ── flush read ──▶ Reply ◀── piece ──▶ Sending
//!        │                        │
//!        │                        └── finish ──▶ Sending ── all written ──▶ Done
//!        ├── stream ended before the first byte: a probe, nothing to do
//!        └── stream ended later: truncated, nothing to answer
//! ```
//!
//! A [`Reply`] that is dropped has sent no flush packet: closing the connection then tells the
//! client that the answer was aborted.
//!
//! ```
//! use simple_ipc::server;
//!
//! let mut request = server::accept(Some(server::DEFAULT_REQUEST_LIMIT));
//! let mut read = *b"0008ping0000";
//! let len = request.strip(&mut read)?;
//! assert_eq!(&read[..len], b"ping");
//!
//! let Ok(reply) = request.done() else { unreachable!() };
//! let mut sending = reply.finish(b"pong");
//! let wire: Vec<u8> = sending.slices().flatten().copied().collect();
//! assert_eq!(wire, b"0008pong0000");
//! sending.wrote(wire.len());
//! assert!(sending.done().is_ok());
//! # Ok::<_, simple_ipc::exchange::MessageError>(())
//! ```

use crate::exchange::{Done, Incoming, Outgoing};

/// The request, being received.
pub type Request = Incoming<Reply>;

/// The answer, of which the end has not been sent.
pub type Reply = Outgoing<Done>;

/// The longest request the runtimes gather for a handler of whole requests, unless set
/// otherwise: 64 MiB.
pub const DEFAULT_REQUEST_LIMIT: u64 = 64 * 1024 * 1024;

/// A connection has been accepted: its request may have `limit` payload bytes.
pub const fn accept(limit: Option<u64>) -> Request {
    Incoming::new(limit, Outgoing::new(Done))
}
