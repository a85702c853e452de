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
use core::time::Duration;

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

/// How long a client may have to wait in each phase of an exchange.
///
/// The limits are on inactivity: a message of any length may pass as long as it keeps moving.
/// Only `total` bounds the exchange as a whole.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Deadlines {
    /// The longest the server may take none of the request.
    pub send: Option<Duration>,
    /// The longest until the first byte of the answer.
    pub wait: Option<Duration>,
    /// The longest pause inside the answer.
    pub receive: Option<Duration>,
    /// The longest for everything, from the first attempt to connect.
    pub total: Option<Duration>,
}

impl Default for Deadlines {
    /// 30 s for a server that stops reading or stops inside its answer, for it is stuck then;
    /// 60 s for the first byte, for a handler may have real work to do; no limit on the whole.
    fn default() -> Self {
        Self {
            send: Some(Duration::from_secs(30)),
            wait: Some(Duration::from_secs(60)),
            receive: Some(Duration::from_secs(30)),
            total: None,
        }
    }
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Awaiting {
    /// Room for more of the request.
    Room,
    /// The first byte of the answer.
    Answer,
    /// More of the answer.
    Rest,
}

impl Deadlines {
    /// The longest that nothing may move while `what` is waited for; `None`: any time.
    pub fn of(&self, what: Awaiting) -> Option<Duration> {
        match what {
            Awaiting::Room => self.send,
            Awaiting::Answer => self.wait,
            Awaiting::Rest => self.receive,
        }
    }

    /// The limit on the whole exchange, if it has passed, `elapsed` after the exchange began. To be
    /// asked before every transfer: one that need not be waited for takes its time too.
    pub fn passed(&self, elapsed: Duration) -> Option<Duration> {
        self.total.filter(|total| elapsed >= *total)
    }

    /// How long to wait for `what`, `elapsed` after the exchange began; `None`: for ever. Zero
    /// says that the time is up.
    pub fn limit(&self, what: Awaiting, elapsed: Duration) -> Option<Duration> {
        let phase = self.of(what);
        let rest = self.total.map(|total| total.saturating_sub(elapsed));
        match (phase, rest) {
            (Some(phase), Some(rest)) => Some(phase.min(rest)),
            (limit, None) | (None, limit) => limit,
        }
    }
}
