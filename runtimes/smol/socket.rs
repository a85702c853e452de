//! Waiting for one connection.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::{Arc, OnceLock};

use ::smol::Timer;

use super::system::Async;
use crate::endpoint::Stream;
use crate::runtimes::link::{Looking, Momentum};

/// A connection that is registered with the reactor when it first has to wait. Most never have
/// to.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<Stream>,
    source: OnceLock<io::Result<Async<Arc<Stream>>>>,
}

/// What to wait for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    Readable,
    Writable,
}

/// Why a transfer went no further.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nothing moved for this long.
    Late(Duration),
    Io(io::Error),
}

/// One party's waiting for one direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// The reactor has been asked, and has not answered.
    asked: bool,
    /// There only while waiting.
    deadline: Option<(Timer, Duration)>,
    /// Looking before the reactor is asked.
    looking: Looking,
    momentum: Momentum,
}

impl Socket {
    pub(super) fn new(stream: Arc<Stream>) -> Self {
        #[cfg(windows)]
        stream.wake_tasks();
        Self { stream, source: OnceLock::new() }
    }

    pub(super) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    fn source(&self) -> io::Result<&Async<Arc<Stream>>> {
        let source = self.source.get_or_init(|| Async::new_nonblocking(self.stream.clone()));
        source.as_ref().map_err(|error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => error.kind().into(),
        })
    }

    /// Ready once what is to be waited for has come since this was first asked; so the answer to
    /// the first question is never yes.
    pub(super) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
    ) -> Poll<io::Result<()>> {
        let source = self.source()?;
        match direction {
            Direction::Readable => source.poll_readable(cx),
            Direction::Writable => source.poll_writable(cx),
        }
    }

    /// Waits until there is something to receive, beside whoever else may wait for that.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.source()?.readable().await
    }

    /// Does `transfer` at once if that is possible, or else when it is, unless nothing moves for
    /// `limit`.
    pub(super) fn poll_transfer(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        wait: &mut Wait,
        limit: impl Fn() -> Option<Duration>,
        mut transfer: impl FnMut(&Stream) -> io::Result<usize>,
    ) -> Poll<Result<usize, Trouble>> {
        loop {
            if !wait.asked {
                wait.looking.offer();
                match wait.momentum.carry(|| transfer(&self.stream)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => {
                        wait.looking = Looking::default();
                        return Poll::Ready(result.map_err(Trouble::Io));
                    }
                }
                if wait.looking.again() {
                    if wait.looking.left() % Wait::LOOKS_IN_A_ROW == 0 {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    continue;
                }
            }
            match self.poll_ready(cx, direction) {
                Poll::Ready(ready) => {
                    *wait = Wait::default();
                    ready.map_err(Trouble::Io)?;
                }
                Poll::Pending => {
                    wait.asked = true;
                    let late = wait.poll_deadline(cx, limit);
                    return late.map(|limit| {
                        *wait = Wait::default();
                        Err(Trouble::Late(limit))
                    });
                }
            }
        }
    }
}

impl Wait {
    /// Then the executor's other tasks have a turn.
    const LOOKS_IN_A_ROW: u8 = 4;

    /// One that looks before it asks the reactor the first time.
    pub(super) fn looking(looking: Looking) -> Self {
        Self { looking, ..Self::default() }
    }

    /// Ready when the time is up.
    fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        limit: impl Fn() -> Option<Duration>,
    ) -> Poll<Duration> {
        if self.deadline.is_none() {
            self.deadline = limit().map(|limit| (Timer::after(limit), limit));
        }
        match &mut self.deadline {
            Some((timer, limit)) => Pin::new(timer).poll(cx).map(|_| *limit),
            None => Poll::Pending,
        }
    }
}
