//! What a task can wait for.

use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use super::{Listener, Stream};

/// What is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    /// Something to receive or to accept, or the end of the stream.
    Receive,
    /// Room to send.
    Send,
}

/// Something that a task can wait for. Its wakers are called in the system's pool, so any
/// executor will do.
pub(crate) trait Source {
    /// Ready when an attempt need not say `WouldBlock`, as far as can be told. All who ask before
    /// are woken then.
    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>>;

    /// Whether there is something to receive or to accept, without waiting.
    fn is_readable(&self) -> bool;
}

impl Source for Stream {
    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        match direction {
            Direction::Receive => self.poll_readable(cx.waker()),
            Direction::Send => self.poll_writable(cx.waker()),
        }
    }

    fn is_readable(&self) -> bool {
        self.has_arrived()
    }
}

impl Source for Listener {
    fn poll_ready(&self, cx: &mut Context<'_>, _: Direction) -> Poll<io::Result<()>> {
        self.poll_acceptable(cx.waker()).map(Ok)
    }

    fn is_readable(&self) -> bool {
        self.has_queued()
    }
}

impl<T: Source> Source for Arc<T> {
    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        (**self).poll_ready(cx, direction)
    }

    fn is_readable(&self) -> bool {
        (**self).is_readable()
    }
}
