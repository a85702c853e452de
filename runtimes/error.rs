//! What goes wrong, in every runtime alike.

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::path::{Path, PathBuf};

use crate::client::Delivery;
use crate::connect::State;
use crate::exchange::MessageError;

/// What was being done when something went wrong.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// A client was starting a server.
    Start,
    /// A server was taking its place at the path.
    Bind,
    /// A server was accepting connections.
    Accept,
    /// A client was connecting.
    Connect,
    /// A message was being sent.
    Send,
    /// A client was waiting for the first byte of the answer.
    Wait,
    /// A message was being received.
    Receive,
    /// A handler was at work.
    Handle,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start a server for",
            Self::Bind => "bind to",
            Self::Accept => "accept on",
            Self::Connect => "connect to",
            Self::Send => "send to",
            Self::Wait => "wait for the answer of",
            Self::Receive => "receive from",
            Self::Handle => "handle a request on",
        })
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The endpoint is in this state: nobody listens, nothing is there, and so on.
    Endpoint(State),
    /// The server is alive and had no room for the time allowed.
    Busy,
    /// A live server has the path already.
    InUse,
    /// Nothing moved for this long.
    Deadline(Duration),
    /// The whole exchange was not over within this long, whether or not something moved.
    TotalDeadline(Duration),
    /// What came is no message.
    Message(MessageError),
    /// The peer hung up inside its message. From a server it means that it gave the answer up.
    Truncated,
    /// The server hung up without an answer: it refused the request, gave it up, or ended.
    NoAnswer,
    /// The peer hung up before it had read the whole message.
    HungUp,
    /// The exchange was aborted on this side: by a failed or cancelled write before, by a
    /// handler's failure or panic, or by the end of the server.
    Aborted,
    /// The peer is not trusted: the server's user is not the one that the client
    /// requires, or the client is none that the server allows.
    Untrusted,
    /// The server that was to be started ended before it was ready, or could not be started;
    /// [`source`](core::error::Error::source) says why.
    NotStarted,
    /// An asynchronous call was made outside its runtime, or its runtime has ended.
    NoRuntime,
    /// The operating system said no; [`source`](core::error::Error::source) says why.
    Io,
}

/// What went wrong, where, and what is known of the request's fate.
///
/// Converts into [`std::io::Error`], so `?` works in functions that return that.
pub struct Error(Box<Inner>);

struct Inner {
    phase: Phase,
    path: PathBuf,
    kind: ErrorKind,
    delivery: Option<Delivery>,
    source: Option<Box<dyn core::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(phase: Phase, path: &Path, kind: ErrorKind) -> Self {
        Self(Box::new(Inner { phase, path: path.into(), kind, delivery: None, source: None }))
    }

    pub(crate) fn io(phase: Phase, path: &Path, source: io::Error) -> Self {
        Self::new(phase, path, ErrorKind::Io).because(source)
    }

    /// What the operating system's answer to a send or receive means, or that of a runtime which is
    /// not there to wait in.
    pub(crate) fn transfer(phase: Phase, path: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ErrorKind::HungUp,
            #[cfg(feature = "tokio")]
            _ if source
                .get_ref()
                .is_some_and(|why| why.is::<::tokio::runtime::TryCurrentError>()) =>
            {
                ErrorKind::NoRuntime
            }
            _ => ErrorKind::Io,
        };
        Self::new(phase, path, kind).because(source)
    }

    pub(crate) fn because(
        mut self,
        source: impl Into<Box<dyn core::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn delivery_is(mut self, delivery: Delivery) -> Self {
        self.0.delivery = Some(delivery);
        self
    }

    /// What was being done.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The endpoint.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// For a client: whether the request may have been handled, so whether it is safe to send
    /// it again. `None` on a server.
    pub fn delivery(&self) -> Option<Delivery> {
        self.0.delivery
    }

    /// The endpoint's state, if that is what went wrong.
    pub fn state(&self) -> Option<State> {
        match self.0.kind {
            ErrorKind::Endpoint(state) => Some(state),
            ErrorKind::Busy | ErrorKind::InUse => Some(State::Listening),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { phase, path, kind, delivery, source } = &*self.0;
        write!(f, "cannot {phase} {}: ", path.display())?;
        match kind {
            ErrorKind::Endpoint(State::NotListening) => {
                f.write_str("nobody is listening: the server is gone, start it again")
            }
            ErrorKind::Endpoint(State::NotFound) if matches!(phase, Phase::Bind | Phase::Start) => {
                f.write_str("path not found: the folder is missing, make it first")
            }
            ErrorKind::Endpoint(State::NotFound) => {
                f.write_str("path not found: no server has been started there")
            }
            ErrorKind::Endpoint(State::Invalid) => {
                f.write_str("invalid path: it is not, and cannot become, a server's socket")
            }
            ErrorKind::Endpoint(State::Denied) if *phase == Phase::Start => {
                f.write_str("denied: this user must be able to write to the folder")
            }
            ErrorKind::Endpoint(State::Denied) => f.write_str(
                "denied: this user has no right to it, which does not say whether a server is there",
            ),
            ErrorKind::Endpoint(state) => state.fmt(f),
            ErrorKind::Busy => f.write_str("the server has no room; try again later"),
            ErrorKind::InUse => f.write_str("a live server has this path already"),
            ErrorKind::Deadline(limit) => write!(f, "nothing moved within {limit:?}"),
            ErrorKind::TotalDeadline(limit) => write!(f, "it was not over within {limit:?}"),
            ErrorKind::Message(error) => error.fmt(f),
            ErrorKind::Truncated => f.write_str("the peer hung up inside its message"),
            ErrorKind::NoAnswer => f.write_str("the server hung up without an answer"),
            ErrorKind::HungUp => f.write_str("the peer hung up"),
            ErrorKind::Aborted => f.write_str("the exchange was aborted on this side"),
            ErrorKind::Untrusted => f.write_str("the peer is not one that is trusted"),
            ErrorKind::NotStarted => f.write_str("it did not start"),
            ErrorKind::NoRuntime => f.write_str("there is no runtime to wait in"),
            ErrorKind::Io => f.write_str("the operating system refused"),
        }?;
        if let (Some(source), false) = (source, matches!(kind, ErrorKind::Message(_))) {
            write!(f, " ({source})")?;
        }
        match delivery {
            Some(delivery) => write!(f, "; {delivery}"),
            None => Ok(()),
        }
    }
}

/// As [`Display`](fmt::Display), for this is what is seen of an error that `main` returns; `{:#?}`
/// lists the parts.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        let Inner { phase, path, kind, delivery, source } = &*self.0;
        f.debug_struct("Error")
            .field("phase", phase)
            .field("path", path)
            .field("kind", kind)
            .field("delivery", delivery)
            .field("source", source)
            .finish()
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.0.kind {
            ErrorKind::Message(error) => Some(error),
            _ => self.0.source.as_deref().map(|source| source as _),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Endpoint(State::NotFound) => io::ErrorKind::NotFound,
            ErrorKind::Endpoint(State::NotListening) => io::ErrorKind::ConnectionRefused,
            ErrorKind::Endpoint(State::Invalid) => io::ErrorKind::InvalidInput,
            ErrorKind::Endpoint(State::Denied) => io::ErrorKind::PermissionDenied,
            ErrorKind::Busy => io::ErrorKind::ResourceBusy,
            ErrorKind::InUse => io::ErrorKind::AddrInUse,
            ErrorKind::Deadline(_) | ErrorKind::TotalDeadline(_) => io::ErrorKind::TimedOut,
            ErrorKind::Message(_) => io::ErrorKind::InvalidData,
            ErrorKind::Truncated | ErrorKind::NoAnswer => io::ErrorKind::UnexpectedEof,
            ErrorKind::HungUp => io::ErrorKind::BrokenPipe,
            ErrorKind::Aborted => io::ErrorKind::ConnectionAborted,
            ErrorKind::Untrusted => io::ErrorKind::PermissionDenied,
            ErrorKind::Endpoint(_)
            | ErrorKind::NotStarted
            | ErrorKind::NoRuntime
            | ErrorKind::Io => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
