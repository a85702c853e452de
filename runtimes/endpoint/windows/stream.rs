//! A connected pipe, never blocking.

use core::task::{Poll, Waker};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_OPERATION_ABORTED, ERROR_PIPE_NOT_CONNECTED,
};

use super::system::{self, Event, Heard, Operation, Pipe, Reset};
use crate::connect::{Refusal, State};
use crate::endpoint::{Credentials, User};

/// A connection. It never blocks: what cannot be done at once is `WouldBlock`.
///
/// A pipe has no readiness, only operations that end later. So waiting for something to receive
/// is a read of no bytes; and what is sent is copied, and has been sent when the pipe has taken
/// all of it.
#[derive(Debug)]
pub(crate) struct Stream(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` once it was shut down.
    pipe: Option<Pipe>,
    is_servers: bool,
    /// Nothing more is received than what has come.
    reading_ended: bool,
    /// Whoever waits is a task, not a thread.
    wakes_tasks: bool,
    in_pool: bool,
    /// A wait for something to receive.
    reading: Option<Operation>,
    /// What is being sent.
    writing: Option<Operation>,
    /// For threads that wait.
    #[cfg(feature = "blocking")]
    readable: Option<Arc<Event>>,
    writable: Option<Arc<Event>>,
}

/// What is copied and sent at a time: it limits what a connection holds.
const CHUNK: usize = 2 * 65536;

impl Stream {
    /// Whether a server learns who its client is before that has sent anything. The system says
    /// only who has sent what was received.
    pub(crate) const CLIENT_IS_KNOWN_AT_ONCE: bool = false;

    /// One attempt to connect, which never waits.
    pub(crate) fn connect(path: &Path) -> Result<Self, (Refusal, io::Error)> {
        let name = super::pipe_name(path).map_err(|(state, why)| (Refusal::Not(state), why))?;
        match Pipe::open(&name) {
            Ok(pipe) => Ok(Self::new(pipe, false)),
            Err(error) => Err((super::refusal(&error), error)),
        }
    }

    fn new(pipe: Pipe, is_servers: bool) -> Self {
        Self(Mutex::new(Inner {
            pipe: Some(pipe),
            is_servers,
            reading_ended: false,
            wakes_tasks: false,
            in_pool: false,
            reading: None,
            writing: None,
            #[cfg(feature = "blocking")]
            readable: None,
            writable: None,
        }))
    }

    /// The server's end of a pipe, to which a client has connected. If `in_pool`, the pipe has
    /// joined the pool, and tasks wait.
    pub(super) fn accepted(pipe: Pipe, in_pool: bool) -> Self {
        let stream = Self::new(pipe, true);
        {
            let mut inner = stream.lock();
            (inner.in_pool, inner.wakes_tasks) = (in_pool, in_pool);
        }
        stream
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on tasks wait for this connection, not threads. To be called before anything is
    /// sent.
    #[cfg(any(feature = "smol", feature = "tokio"))]
    pub(crate) fn wake_tasks(&self) {
        self.lock().wakes_tasks = true;
    }

    /// Sends `slices`, or the beginning of them.
    ///
    /// What the pipe does not take at once is on its way, and nobody can tell how far, so it counts
    /// as sent but for its last byte. That counts when all of it has been taken; until then the
    /// same byte is `WouldBlock`.
    pub(crate) fn send<'s>(&self, slices: impl Iterator<Item = &'s [u8]>) -> io::Result<usize> {
        let mut inner = self.lock();
        if let Some(writing) = &inner.writing {
            let result = writing.result().ok_or(io::ErrorKind::WouldBlock)?;
            inner.writing = None;
            return result.map(|_| 1).map_err(broken_if_gone);
        }
        let Some(pipe) = inner.pipe.clone() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let heard = if inner.wakes_tasks {
            inner.join_pool()?;
            Heard::Wakers
        } else {
            Heard::Event(event(&mut inner.writable)?.clone())
        };
        let bytes = copy(slices);
        let len = bytes.len();
        if len == 0 {
            return Ok(0);
        }
        let writing = pipe.start_writing(heard, bytes).map_err(broken_if_gone)?;
        // If it has failed already, the peer may have read part of it all the same: that is on
        // its way, too, and the error is for the next attempt.
        if let Some(Ok(sent)) = writing.result() {
            return Ok(sent);
        }
        inner.writing = Some(writing);
        if len > 1 { Ok(len - 1) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Receives into `buffer` what has come. 0 is the end of the stream, if `buffer` has room.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lock().receive(|pipe| pipe.read(buffer))
    }

    /// Receives into the spare capacity of `buffer` what has come. 0 is the end of the stream,
    /// if there is spare capacity.
    pub(crate) fn receive_into(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.lock().receive(|pipe| pipe.read_into(buffer))
    }

    /// Nothing more is received than what has come, and whoever waits for more is told. (A pipe
    /// cannot tell its peer; the peer learns it when the connection is closed.)
    pub(crate) fn shut_down_reading(&self) {
        let mut inner = self.lock();
        inner.reading_ended = true;
        // Its end wakes those who wait for it.
        inner.reading = None;
    }

    /// Gives up what is on its way; whether all of it was taken after all.
    pub(crate) fn give_up_sending(&self) -> bool {
        let writing = self.lock().writing.take();
        writing.is_some_and(|writing| writing.cancel_and_wait().is_ok())
    }

    /// A pipe cannot say that nothing more will be sent; the peer learns it when the connection is
    /// closed.
    pub(crate) fn shut_down_writing(&self) {}

    /// Closes the connection, whoever else holds it. What was taken can still be read by the
    /// peer; what is on its way is given up.
    pub(crate) fn shut_down(&self) {
        let mut inner = self.lock();
        // Their ends wake those who wait for them.
        (inner.reading, inner.writing) = (None, None);
        inner.pipe = None;
    }

    /// Who the peer is. Of a client nothing is known before it has sent something that was
    /// received.
    pub(crate) fn peer(&self) -> io::Result<Credentials> {
        let (pipe, is_servers) = {
            let inner = self.lock();
            (inner.pipe.clone().ok_or(io::ErrorKind::NotConnected)?, inner.is_servers)
        };
        let (user, pid) = if is_servers {
            (pipe.client()?, pipe.client_process())
        } else {
            (pipe.owner()?, pipe.server_process())
        };
        Ok(Credentials { user: User(user), pid })
    }

    /// Whether the peer has closed its end. As long as something is left to receive, it counts as
    /// there.
    pub(crate) fn peer_has_left(&self) -> bool {
        self.lock().pipe.as_ref().is_none_or(|pipe| pipe.available().is_err())
    }

    /// Blocks until there is something to receive, for `timeout` at the most.
    #[cfg(feature = "blocking")]
    pub(crate) fn wait_readable(&self, timeout: Option<core::time::Duration>) -> io::Result<bool> {
        let event = {
            let mut inner = self.lock();
            let Some(pipe) = inner.pipe.clone() else { return Ok(true) };
            if inner.reading_ended {
                return Ok(true);
            }
            if inner.reading.as_ref().is_none_or(|reading| reading.event().is_none()) {
                let heard = Heard::Event(event(&mut inner.readable)?.clone());
                inner.reading = match pipe.start_reading(heard) {
                    Ok(reading) => Some(reading),
                    Err(error) if is_gone(&error) => return Ok(true),
                    Err(error) => return Err(error),
                };
            }
            event(&mut inner.readable)?.clone()
        };
        let ended = event.wait(timeout)?;
        if ended {
            let mut inner = self.lock();
            if inner.reading.as_ref().is_some_and(|reading| reading.result().is_some()) {
                inner.reading = None;
            }
        }
        Ok(ended)
    }

    /// Blocks until there is room to send, for `timeout` at the most.
    #[cfg(feature = "blocking")]
    pub(crate) fn wait_writable(&self, timeout: Option<core::time::Duration>) -> io::Result<bool> {
        let event = match &self.lock().writing {
            Some(writing) => writing.event().cloned(),
            None => None,
        };
        match event {
            Some(event) => event.wait(timeout),
            None => Ok(true),
        }
    }

    /// Ready when there is something to receive. All who asked before are woken then.
    #[cfg(any(feature = "smol", feature = "tokio"))]
    pub(super) fn poll_readable(&self, waker: &Waker) -> Poll<io::Result<()>> {
        self.lock().poll_readable(waker)
    }

    /// Ready when what was sent has been taken. All who asked before are woken then.
    #[cfg(any(feature = "smol", feature = "tokio"))]
    pub(super) fn poll_writable(&self, waker: &Waker) -> Poll<io::Result<()>> {
        match &self.lock().writing {
            Some(writing) if writing.result().is_none() && writing.wake_at_end(waker) => {
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Whether there is something to receive, or nothing will come any more.
    #[cfg(any(feature = "smol", feature = "tokio"))]
    pub(super) fn has_arrived(&self) -> bool {
        let inner = self.lock();
        inner.reading_ended
            || inner.pipe.as_ref().is_none_or(|pipe| pipe.available().ok() != Some(0))
    }

    /// Has `waker` woken when there is something to receive.
    #[cfg(feature = "blocking")]
    pub(super) fn wake_when_readable(&self, waker: &Waker) -> io::Result<()> {
        match self.lock().poll_readable(waker) {
            Poll::Ready(ready) => {
                waker.wake_by_ref();
                ready
            }
            Poll::Pending => Ok(()),
        }
    }

    /// Nobody is to be woken when there is something to receive.
    #[cfg(feature = "blocking")]
    pub(super) fn forget_wakers(&self) {
        let reading = self.lock().reading.take();
        if let Some(reading) = reading {
            reading.forget_wakers();
        }
    }
}

impl Inner {
    fn join_pool(&mut self) -> io::Result<()> {
        if let (false, Some(pipe)) = (self.in_pool, &self.pipe) {
            pipe.join_pool()?;
            self.in_pool = true;
        }
        Ok(())
    }

    fn receive(&mut self, receive: impl FnOnce(&Pipe) -> io::Result<usize>) -> io::Result<usize> {
        // What it has waited for is received now, if it was not before.
        if self.reading.as_ref().is_some_and(|reading| reading.result().is_some()) {
            self.reading = None;
        }
        let Some(pipe) = &self.pipe else { return Ok(0) };
        match receive(pipe) {
            Err(error) if is_gone(&error) => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.reading_ended => Ok(0),
            result => result,
        }
    }

    fn poll_readable(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        if self.reading_ended {
            return Poll::Ready(Ok(()));
        }
        self.join_pool()?;
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(())) };
        // One that a thread has waited for wakes nobody.
        if self.reading.as_ref().is_none_or(|reading| reading.event().is_some()) {
            self.reading = match pipe.start_reading(Heard::Wakers) {
                Ok(reading) => Some(reading),
                Err(error) if is_gone(&error) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            };
        }
        let under_way = self
            .reading
            .as_ref()
            .is_some_and(|reading| reading.result().is_none() && reading.wake_at_end(waker));
        if under_way {
            return Poll::Pending;
        }
        self.reading = None;
        Poll::Ready(Ok(()))
    }
}

/// The event, which is made when it is first needed.
fn event(event: &mut Option<Arc<Event>>) -> io::Result<&Arc<Event>> {
    match event {
        Some(event) => Ok(event),
        None => Ok(event.insert(Event::new(Reset::Manual)?)),
    }
}

fn copy<'s>(slices: impl Iterator<Item = &'s [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for slice in slices {
        let room = CHUNK - bytes.len();
        bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        if slice.len() >= room {
            break;
        }
    }
    bytes
}

/// Whether the peer is gone, or this end was shut down: the end of the stream for a reader.
fn is_gone(error: &io::Error) -> bool {
    matches!(system::code(error), ERROR_BROKEN_PIPE | ERROR_NO_DATA | ERROR_PIPE_NOT_CONNECTED)
}

/// A send that fails because the peer is gone has one kind of error, whatever the system calls it.
fn broken_if_gone(error: io::Error) -> io::Error {
    if is_gone(&error) || system::code(&error) == ERROR_OPERATION_ABORTED {
        return io::Error::new(io::ErrorKind::BrokenPipe, error);
    }
    error
}

/// What a failed look at a pipe, or a failed connect, says about the state.
pub(super) fn state_of(error: &io::Error) -> State {
    use windows_sys::Win32::Foundation::{
        ERROR_ACCESS_DENIED, ERROR_BAD_PATHNAME, ERROR_FILE_NOT_FOUND, ERROR_FILENAME_EXCED_RANGE,
        ERROR_INVALID_NAME, ERROR_PATH_NOT_FOUND, ERROR_PIPE_BUSY, ERROR_SEM_TIMEOUT,
    };

    match system::code(error) {
        ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND => State::NotFound,
        ERROR_PIPE_BUSY | ERROR_SEM_TIMEOUT => State::Listening,
        ERROR_ACCESS_DENIED => State::Denied,
        ERROR_BAD_PATHNAME | ERROR_FILENAME_EXCED_RANGE | ERROR_INVALID_NAME => State::Invalid,
        _ => State::Other,
    }
}
