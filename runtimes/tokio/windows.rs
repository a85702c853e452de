//! Waiting for pipes, under the names by which sockets are waited for on Unix.
//!
//! The runtime's own pipes are not used: they would be a second implementation of what the
//! blocking runtime needs anyway, and read 4 KiB at a time. Here the system's pool wakes the
//! tasks, and everything else is the runtime's.

use core::future::poll_fn;
use core::task::{Context, Poll};
use std::io;

use ::tokio::io::Interest;
use ::tokio::runtime::Handle;

use crate::endpoint::{Direction, Source};

/// Something that is waited for.
#[derive(Debug)]
pub(super) struct AsyncFd<T>(T);

/// It was ready, a moment ago at least.
#[derive(Debug)]
pub(super) struct Ready<'s, T>(&'s AsyncFd<T>);

/// It was not ready after all.
#[derive(Debug)]
pub(super) struct NotReady;

/// Has tasks of the runtime wait for `source`.
///
/// # Errors
///
/// If there is no runtime.
pub(super) fn watch<T: Source>(source: T, _: Interest) -> io::Result<AsyncFd<T>> {
    Handle::try_current().map_err(io::Error::other)?;
    Ok(AsyncFd(source))
}

/// Whether something can be received, or accepted.
pub(super) fn is_readable(source: &impl Source) -> bool {
    source.is_readable()
}

impl<T: Source> AsyncFd<T> {
    pub(super) fn get_ref(&self) -> &T {
        &self.0
    }

    pub(super) fn into_inner(self) -> T {
        self.0
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready<'_, T>>> {
        self.0.poll_ready(cx, Direction::Receive).map_ok(|()| Ready(self))
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready<'_, T>>> {
        self.0.poll_ready(cx, Direction::Send).map_ok(|()| Ready(self))
    }

    pub(super) async fn readable(&self) -> io::Result<Ready<'_, T>> {
        poll_fn(|cx| self.poll_read_ready(cx)).await
    }

    /// Waits for an event of the peer; that it takes what is sent is none.
    ///
    /// # Errors
    ///
    /// If there is something to receive: then no further event shows.
    pub(super) async fn ready(&self, _: Interest) -> io::Result<Ready<'_, T>> {
        if self.0.is_readable() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.readable().await
    }
}

impl<T> Ready<'_, T> {
    /// Nothing has to be cleared: each wait looks anew.
    pub(super) fn clear_ready(&mut self) {}

    pub(super) fn try_io<R>(
        &mut self,
        attempt: impl FnOnce(&AsyncFd<T>) -> io::Result<R>,
    ) -> Result<io::Result<R>, NotReady> {
        match attempt(self.0) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(NotReady),
            result => Ok(result),
        }
    }
}
