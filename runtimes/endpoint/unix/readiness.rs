//! Waiting for many connections at once.
#![allow(unsafe_code)]

use core::time::Duration;
use std::io;
use std::sync::Arc;

pub(crate) use polling::Events;
use polling::{Event, Poller};

use super::Stream;

/// Wakes a thread when one of many connections has something to receive.
#[derive(Debug)]
pub(crate) struct Readiness(Poller);

impl Readiness {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(Poller::new()?)))
    }

    /// Adds to `events` the connections that are ready, each once until it is watched again.
    /// Comes back for them, for [`notify`](Self::notify), or when the time is up.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        match self.0.wait(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result.map(drop),
        }
    }

    /// Wakes the thread that waits, or the next one to.
    pub(crate) fn notify(&self) {
        // It fails only where the poller itself is broken, and then `wait` fails too.
        let _ = self.0.notify();
    }
}

/// A connection that is being watched; it is taken out of the poller before it can be closed.
#[derive(Debug)]
pub(crate) struct Watched {
    /// `None` only while being dropped.
    stream: Option<Stream>,
    readiness: Arc<Readiness>,
}

impl Watched {
    /// Watches `stream`; `key` is the event's when it is ready.
    pub(crate) fn new(
        stream: Stream,
        readiness: &Arc<Readiness>,
        key: usize,
    ) -> Result<Self, (Stream, io::Error)> {
        // SAFETY: the source must be deleted from the poller before it is closed. `Watched` owns
        // the stream, and every way out of it, `release` and `drop`, goes through `delete`.
        match unsafe { readiness.0.add(&stream, Event::readable(key)) } {
            Ok(()) => Ok(Self { stream: Some(stream), readiness: readiness.clone() }),
            Err(error) => Err((stream, error)),
        }
    }

    /// Watches again, after an event.
    pub(crate) fn watch_again(&self, key: usize) -> io::Result<()> {
        self.readiness.0.modify(self.stream(), Event::readable(key))
    }

    pub(crate) fn stream(&self) -> &Stream {
        self.stream.as_ref().expect("held until dropped")
    }

    /// Gives the connection back, no longer watched.
    pub(crate) fn release(mut self) -> Stream {
        let stream = self.stream.take().expect("held until dropped");
        self.delete(&stream);
        stream
    }

    fn delete(&self, stream: &Stream) {
        // The source is known to be there, so this cannot fail in a way that matters.
        let _ = self.readiness.0.delete(stream);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.delete(&stream);
        }
    }
}
