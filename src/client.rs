//! The client's side of an exchange.
//!
//! ```text
//!  request(message)                       stream()
//!        │                                   │
//!        │                                   ▼      piece
//!        │                     finish     Request ◀──────▶ Sending
//!        ▼              ┌────────────────────┘
//!     Sending ◀─────────┘
//!        │ all written
//!        ▼
//!     Answer ── flush read ──▶ Done
//!        │
//!        └── stream ended: missing (silent) or truncated
//! ```
//!
//! ```
//! use simple_ipc::client;
//!
//! // Everything that a loop would write to and read from a socket:
//! let mut sending = client::request(b"ping");
//! let wire: Vec<u8> = sending.slices().flatten().copied().collect();
//! assert_eq!(wire, b"0008ping0000");
//! sending.wrote(wire.len());
//!
//! let Ok((mut answer, _)) = sending.done() else { unreachable!() };
//! let mut read = *b"0008pong0000";
//! let len = answer.strip(&mut read)?;
//! assert!(answer.is_whole());
//! assert_eq!(&read[..len], b"pong");
//! # Ok::<_, simple_ipc::exchange::MessageError>(())
//! ```

use core::fmt;

use crate::exchange::{Done, Incoming, Outgoing, Sending};

/// A request of which the end has not been sent.
pub type Request = Outgoing<Answer>;

/// The answer, being received.
pub type Answer = Incoming<Done>;

/// An exchange that sends all of `message` as its request.
pub fn request<B: AsRef<[u8]>>(message: B) -> Sending<B, Answer> {
    stream().finish(message)
}

/// An exchange whose request is sent in pieces. Its answer may have any length.
pub const fn stream() -> Request {
    stream_limited(None)
}

/// As [`stream`], with an answer of at most `limit` payload bytes.
pub const fn stream_limited(limit: Option<u64>) -> Request {
    Outgoing::new(Incoming::new(limit, Done))
}

/// Whether a request that failed may have reached a handler.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Delivery {
    /// Not one byte of it was sent: trying again is safe.
    NotDelivered,
    /// Its end was not sent: a handler of whole requests has not seen it, a streaming handler
    /// may have acted on its beginning.
    Incomplete,
    /// All of it was sent: it may have been handled, or not. Trying again is safe only for
    /// requests that may be handled twice.
    Unknown,
}

impl Delivery {
    /// The delivery of a request that failed after `sent` wire bytes, before its end.
    pub const fn while_sending(sent: u64) -> Self {
        if sent == 0 { Self::NotDelivered } else { Self::Incomplete }
    }

    /// Whether the request can be sent again without the risk that it is handled twice, whatever
    /// kind of handler the server has.
    pub const fn is_retry_safe(self) -> bool {
        matches!(self, Self::NotDelivered)
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDelivered => "the request was not delivered; trying again is safe",
            Self::Incomplete => "the request was sent in part",
            Self::Unknown => "whether the request was handled is unknown",
        })
    }
}
