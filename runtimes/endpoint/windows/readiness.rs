//! Waiting for many connections at once.

use core::time::Duration;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::vec::Vec;

use super::Stream;

/// Wakes a thread when one of many connections has something to receive.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    heard: Mutex<Heard>,
    something: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    keys: Vec<usize>,
    notified: bool,
}

/// The connections that are ready.
#[derive(Debug, Default)]
pub(crate) struct Events(Vec<Event>);

/// A connection is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) key: usize,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Event> {
        self.0.iter().copied()
    }
}

impl Readiness {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::default())
    }

    /// Replaces `events` with the connections that are ready, each once until it is watched
    /// again. Comes back for them, for [`notify`](Self::notify), or when the time is up.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = |heard: &mut Heard| heard.keys.is_empty() && !heard.notified;
        let mut heard = match timeout {
            Some(timeout) => {
                self.something
                    .wait_timeout_while(heard, timeout, nothing)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => {
                self.something.wait_while(heard, nothing).unwrap_or_else(PoisonError::into_inner)
            }
        };
        heard.notified = false;
        events.0.clear();
        events.0.extend(heard.keys.drain(..).map(|key| Event { key }));
        Ok(())
    }

    /// Wakes the thread that waits, or the next one to.
    pub(crate) fn notify(&self) {
        self.hear(|heard| heard.notified = true);
    }

    fn hear(&self, hear: impl FnOnce(&mut Heard)) {
        hear(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        self.something.notify_one();
    }
}

/// Tells a [`Readiness`] about a connection.
struct Teller {
    readiness: Arc<Readiness>,
    key: usize,
}

impl Wake for Teller {
    fn wake(self: Arc<Self>) {
        self.readiness.hear(|heard| heard.keys.push(self.key));
    }
}

/// A connection that is being watched.
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
        let watched = Self { stream: Some(stream), readiness: readiness.clone() };
        match watched.watch_again(key) {
            Ok(()) => Ok(watched),
            Err(error) => Err((watched.release(), error)),
        }
    }

    /// Watches again, after an event.
    pub(crate) fn watch_again(&self, key: usize) -> io::Result<()> {
        let teller = Arc::new(Teller { readiness: self.readiness.clone(), key });
        self.stream().wake_when_readable(&Waker::from(teller))
    }

    pub(crate) fn stream(&self) -> &Stream {
        self.stream.as_ref().expect("held until dropped")
    }

    /// Gives the connection back, no longer watched.
    pub(crate) fn release(mut self) -> Stream {
        let stream = self.stream.take().expect("held until dropped");
        stream.forget_wakers();
        stream
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.forget_wakers();
        }
    }
}
