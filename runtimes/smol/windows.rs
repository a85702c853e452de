//! Waiting for pipes, under the names by which sockets are waited for on Unix.
//!
//! The reactor is used for time only. What it could wait for here is an event for each
//! operation, by way of the system's pool; the pool can as well wake the tasks itself.

use core::future::poll_fn;
use core::task::{Context, Poll};
use std::io;

use crate::endpoint::{Direction, Source};

/// Something that is waited for.
#[derive(Debug)]
pub(super) struct Async<T>(T);

/// Whether there is something to receive or to accept, without waiting.
pub(super) fn is_readable(source: &impl Source) -> bool {
    source.is_readable()
}

impl<T: Source> Async<T> {
    #[allow(clippy::unnecessary_wraps, reason = "it is as on Unix")]
    pub(super) fn new_nonblocking(source: T) -> io::Result<Self> {
        Ok(Self(source))
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.0
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx, Direction::Receive)
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx, Direction::Send)
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }
}
