//! A connection, and waiting for it.

use core::future::Future as _;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::{Arc, OnceLock};

use ::tokio::io::Interest;
use ::tokio::runtime::{Handle, RuntimeFlavor};
use ::tokio::time::Sleep;

use super::system::{AsyncFd, watch};
use crate::endpoint::Stream;
use crate::runtimes::link::{Looking, Momentum};

/// A connection, which the runtime watches from the first time that it must wait.
#[derive(Debug)]
pub(super) struct Socket {
    /// The same stream; its own handle, so that it cannot be closed while it is watched.
    watched: OnceLock<AsyncFd<Arc<Stream>>>,
    stream: Arc<Stream>,
    /// What to watch for if the first wait is for something to receive.
    reading: Interest,
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    Receive,
    Send,
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum Trouble {
    Failed(io::Error),
    /// Nothing moved for this long.
    Late(Duration),
}

pub(super) const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl Socket {
    /// A connection on which, once it is read from, nothing more is written. (Watching for room
    /// that nobody needs would wake the runtime for nothing.)
    pub(super) fn reading_last(stream: Stream) -> Self {
        #[cfg(windows)]
        stream.wake_tasks();
        Self { watched: OnceLock::new(), stream: Arc::new(stream), reading: Interest::READABLE }
    }

    /// A connection that is read and written in any order.
    pub(super) fn reading_and_writing(stream: Stream) -> Self {
        Self { reading: BOTH, ..Self::reading_last(stream) }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The watched stream. `interest` counts only the first time.
    pub(super) fn watched(&self, interest: Interest) -> io::Result<&AsyncFd<Arc<Stream>>> {
        if let Some(watched) = self.watched.get() {
            return Ok(watched);
        }
        match watch(self.stream.clone(), interest) {
            Ok(watched) => Ok(self.watched.get_or_init(|| watched)),
            // Another thread may have been quicker, for one descriptor is watched only once.
            Err(error) => self.watched.get().ok_or(error),
        }
    }

    /// Does `attempt`, or waits until it does not block any more, for `limit` at the most.
    pub(super) fn poll_io(
        &self,
        cx: &mut Context<'_>,
        wait: &mut Wait,
        direction: Direction,
        limit: impl FnOnce() -> Option<Duration>,
        mut attempt: impl FnMut(&Stream) -> io::Result<usize>,
    ) -> Poll<Result<usize, Trouble>> {
        ready!(wait.poll_turn(cx));
        loop {
            ready!(wait.looks.poll_rest(cx));
            match wait.momentum.carry(|| attempt(&self.stream)) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(Trouble::Failed(error)));
                }
                Err(_) if wait.looks.are_left() => {}
                Err(_) => break,
                Ok(done) => {
                    wait.has_moved();
                    return Poll::Ready(Ok(done));
                }
            }
        }
        let watched = match direction {
            Direction::Receive => self.watched(self.reading),
            Direction::Send => self.watched(BOTH),
        };
        let watched = watched.map_err(Trouble::Failed)?;
        loop {
            let ready = match direction {
                Direction::Receive => watched.poll_read_ready(cx),
                Direction::Send => watched.poll_write_ready(cx),
            };
            let Poll::Ready(guard) = ready else {
                return wait.poll_late(cx, limit).map(|limit| Err(Trouble::Late(limit)));
            };
            // Not ready after all: that is noted, and waited for.
            if let Ok(result) = guard
                .map_err(Trouble::Failed)?
                .try_io(|watched| wait.momentum.carry(|| attempt(watched.get_ref())))
            {
                wait.has_moved();
                return Poll::Ready(result.map_err(Trouble::Failed));
            }
        }
    }

    /// Waits until the peer has closed its end.
    pub(super) async fn peer_left(&self) {
        while !self.stream.peer_has_left() {
            // The end of the peer is an event of both directions. That of sending is used here
            // for it has no other user meanwhile who could miss one.
            let ready = match self.watched(BOTH) {
                Ok(watched) => watched.ready(Interest::WRITABLE).await,
                Err(error) => Err(error),
            };
            match ready {
                Ok(_) if self.stream.peer_has_left() => return,
                Ok(mut guard) => guard.clear_ready(),
                // It cannot be watched, so it is looked at from time to time.
                Err(_) => ::tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// How far the wait of one side for one direction has come.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// Made when nothing else is left to do but wait.
    sleep: Option<(Duration, Pin<Box<Sleep>>)>,
    /// Comes before it.
    looks: Looks,
    /// How much was moved since others had a turn.
    moved: u8,
    momentum: Momentum,
}

impl Wait {
    /// So much is moved at a time without a break, however fast the peer is.
    const TURN: u8 = 64;

    /// A wait for something that may well come before anything could be put to sleep for it.
    pub(super) fn with_looks(looks: Looks) -> Self {
        Self { looks, ..Self::default() }
    }

    fn has_moved(&mut self) {
        self.sleep = None;
        self.looks = Looks::default();
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.moved == Self::TURN {
            self.moved = 0;
            return yield_now(cx);
        }
        self.moved += 1;
        Poll::Ready(())
    }

    fn poll_late(
        &mut self,
        cx: &mut Context<'_>,
        limit: impl FnOnce() -> Option<Duration>,
    ) -> Poll<Duration> {
        let (limit, sleep) = match &mut self.sleep {
            Some(sleep) => sleep,
            None => {
                let Some(limit) = limit() else { return Poll::Pending };
                self.sleep.insert((limit, Box::pin(::tokio::time::sleep(limit))))
            }
        };
        let limit = *limit;
        ready!(sleep.as_mut().poll(cx));
        self.sleep = None;
        Poll::Ready(limit)
    }
}

/// Looking again a few times before sleeping.
#[derive(Debug, Default)]
pub(super) struct Looks {
    looking: Looking,
    /// The peer may be a task of this very thread.
    one_thread: bool,
    rested: bool,
}

impl Looks {
    /// Then the runtime's other tasks have a turn.
    const IN_A_ROW: u8 = 4;

    pub(super) fn new(looking: Looking) -> Self {
        let is_one_thread =
            |runtime: Handle| matches!(runtime.runtime_flavor(), RuntimeFlavor::CurrentThread);
        let one_thread = Handle::try_current().is_ok_and(is_one_thread);
        Self { looking, one_thread, rested: false }
    }

    fn are_left(&self) -> bool {
        self.looking.left() > 0
    }

    /// Lets others have the processor before the next look.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.are_left() || core::mem::take(&mut self.rested) {
            return Poll::Ready(());
        }
        self.looking.offer();
        // Giving up the task's turn too is much dearer, so it is done where somebody surely needs
        // it, and now and then elsewhere; after the last look it comes with the wait.
        if self.looking.again() && (self.one_thread || self.looking.left() % Self::IN_A_ROW == 0) {
            self.rested = true;
            return yield_now(cx);
        }
        Poll::Ready(())
    }
}

/// Pending, until others have had a turn.
fn yield_now(cx: &mut Context<'_>) -> Poll<()> {
    // A future that is polled once.
    let _ = pin!(::tokio::task::yield_now()).poll(cx);
    Poll::Pending
}
