//! What `tracing` is told, if that feature is on; otherwise nothing is done here. All of it has the
//! target `simple_ipc`.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables, reason = "nobody is told"))]

use std::path::Path;

use crate::Error;
use crate::connect::{Next, Refusal};
use crate::lifecycle::{Ending, Reason};

/// An event of that level, with the endpoint's path and what else there is to say.
macro_rules! tell {
    ($level:ident, $path:expr, $($rest:tt)+) => {
        #[cfg(feature = "tracing")]
        ::tracing::$level!(target: "simple_ipc", path = %$path.display(), $($rest)+)
    };
}

/// A server serves.
pub(crate) fn serving(path: &Path) {
    tell!(info, path, "serving");
}

/// A server is to end.
pub(crate) fn stopping(path: &Path, reason: Reason) {
    tell!(info, path, ?reason, "stopping");
}

/// A server has ended.
pub(crate) fn ended(path: &Path, ending: Ending) {
    tell!(info, path, reason = ?ending.reason, aborted = ending.aborted, "ended");
}

/// A server could not serve a client.
pub(crate) fn failed(error: &Error) {
    tell!(warn, error.path(), %error, "not served");
}

/// A client's attempt has been refused.
pub(crate) fn refused(path: &Path, refusal: Refusal, next: &Next) {
    tell!(debug, path, ?refusal, ?next, "not connected");
}

/// A client is connected to its server.
pub(crate) fn connected(path: &Path) {
    tell!(debug, path, "connected");
}

/// The span in which a server's handler runs: `exchange`.
#[derive(Debug)]
pub(crate) struct Span {
    #[cfg(feature = "tracing")]
    span: ::tracing::Span,
}

impl Span {
    /// `request_bytes`: how much of the request has been received.
    pub(crate) fn new(path: &Path, request_bytes: usize) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: ::tracing::debug_span!(
                target: "simple_ipc", "exchange", path = %path.display(), request_bytes
            ),
        }
    }

    /// Runs `body` in it.
    pub(crate) fn run<T>(&self, body: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        body()
    }
}
