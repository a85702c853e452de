//! A server in one thread, on `polling` and the core's machines.
//!
//! - [`simple_ipc::server`] turns bytes into a request and an answer into bytes.
//! - [`simple_ipc::lifecycle`] says which client to let go when descriptors run short, and which
//!   has paused for too long.
//! - This file reads, writes and waits.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use polling::{Event, Events, Poller};
use simple_ipc::exchange::{Done, Part, Sending};
use simple_ipc::lifecycle::{Action, Lifecycle, Limits, Shortage, Ticket};
use simple_ipc::server::{self, DEFAULT_REQUEST_LIMIT};

/// What a handler makes of a request.
pub(crate) enum Answer {
    /// This, and a flush packet.
    Whole(Vec<u8>),
    /// The same, and no further clients.
    WholeThenStop(Vec<u8>),
    /// Nothing: hang up, so that the client gets an error.
    Abort,
}

/// A connection and how far its exchange has come. One that is silent has no buffer.
struct Connection {
    stream: UnixStream,
    phase: Phase,
    /// Held while its request has not come.
    ticket: Option<Ticket>,
}

enum Phase {
    Request(server::Request, Vec<u8>),
    Answer(Sending<Vec<u8>, Done>),
    Over,
}

/// What a read came to.
enum Received {
    Some(server::Request, Vec<u8>),
    Nothing(server::Request, Vec<u8>),
    Whole(server::Reply, Vec<u8>),
    Gone,
}

/// What a connection needs next.
enum Step {
    Readable,
    Writable,
    Close,
}

/// The server.
pub(crate) struct Server {
    poller: Poller,
    listener: UnixListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The connection that holds a ticket.
    by_ticket: Vec<usize>,
    lifecycle: Lifecycle,
    start: Instant,
    /// One buffer for all connections: what is read is used up at once.
    scratch: Box<[u8]>,
    stopping: bool,
}

const LISTENER: usize = usize::MAX - 1;

/// Connections accepted before those already there get their turn.
const ACCEPTS_IN_A_ROW: usize = 16;

impl Server {
    pub(crate) fn new(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let poller = Poller::new()?;
        // SAFETY: the listener stays open as long as the poller; `Drop` deletes it first.
        unsafe { poller.add(&listener, Event::readable(LISTENER))? };
        let mut limits = Limits::default();
        // Nothing here looks whose the path is.
        limits.check_path = None;
        Ok(Self {
            poller,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            by_ticket: Vec::new(),
            lifecycle: Lifecycle::new(limits, Duration::ZERO),
            start: Instant::now(),
            scratch: vec![0; 65536].into(),
            stopping: false,
        })
    }

    /// Serves until a handler says stop; answers under way are then sent to their end.
    pub(crate) fn run(&mut self, mut handle: impl FnMut(&[u8]) -> Answer) -> io::Result<()> {
        let mut events = Events::new();
        while !self.stopping || self.connections.iter().flatten().any(Connection::is_answering) {
            let timeout = self.lifecycle.wake_after(self.start.elapsed());
            events.clear();
            self.poller.wait(&mut events, timeout)?;
            for event in events.iter() {
                if event.key == LISTENER {
                    self.accept(&mut handle)?;
                } else {
                    self.proceed(event.key, &mut handle)?;
                }
            }
            while let Some(action) = self.lifecycle.poll(self.start.elapsed()) {
                if let Action::Close(ticket, _) = action {
                    self.close(self.by_ticket[ticket.index()])?;
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, handle: &mut impl FnMut(&[u8]) -> Answer) -> io::Result<()> {
        for _ in 0..ACCEPTS_IN_A_ROW {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream, handle)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // No descriptor: the client that has been silent longest makes room.
                Err(error) if matches!(error.raw_os_error(), Some(23 | 24)) => {
                    match self.lifecycle.handle_shortage(self.start.elapsed()) {
                        Shortage::Evict(ticket) => self.close(self.by_ticket[ticket.index()])?,
                        Shortage::Pause(pause) => {
                            std::thread::sleep(pause);
                            break;
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        if self.stopping {
            return self.poller.delete(&self.listener);
        }
        self.poller.modify(&self.listener, Event::readable(LISTENER))
    }

    fn welcome(
        &mut self,
        stream: UnixStream,
        handle: &mut impl FnMut(&[u8]) -> Answer,
    ) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let phase = Phase::Request(server::accept(Some(DEFAULT_REQUEST_LIMIT)), Vec::new());
        let mut connection = Connection { stream, phase, ticket: None };
        // Most clients have spoken already: they never see the poller.
        let interest = match connection.step(&mut self.scratch, handle, &mut self.stopping) {
            Step::Close => return Ok(()),
            Step::Readable => Event::readable,
            Step::Writable => Event::writable,
        };
        let key = self.free.pop().unwrap_or(self.connections.len());
        // SAFETY: `close` deletes the stream from the poller before it drops it, and so does
        // `Drop`; nothing else drops a connection.
        unsafe { self.poller.add(&connection.stream, interest(key))? };
        if key == self.connections.len() {
            self.connections.push(None);
        }
        self.connections[key] = Some(connection);
        self.note(key)
    }

    /// A connection is ready for what it waited for.
    fn proceed(&mut self, key: usize, handle: &mut impl FnMut(&[u8]) -> Answer) -> io::Result<()> {
        // It may have been closed by an event before this one.
        let Some(connection) = &mut self.connections[key] else { return Ok(()) };
        let interest = match connection.step(&mut self.scratch, handle, &mut self.stopping) {
            Step::Close => return self.close(key),
            Step::Readable => Event::readable(key),
            Step::Writable => Event::writable(key),
        };
        self.poller.modify(&connection.stream, interest)?;
        self.note(key)
    }

    /// Tells the lifecycle who waits for whom.
    fn note(&mut self, key: usize) -> io::Result<()> {
        let now = self.start.elapsed();
        let Some(connection) = &mut self.connections[key] else { return Ok(()) };
        match (&connection.phase, connection.ticket) {
            (Phase::Request(request, _), Some(ticket)) => {
                if request.has_begun() {
                    self.lifecycle.handle_heard(ticket, now);
                }
            }
            (Phase::Request(request, _), None) => {
                let (ticket, evicted) = self.lifecycle.handle_wait(request.has_begun(), now);
                connection.ticket = Some(ticket);
                if self.by_ticket.len() <= ticket.index() {
                    self.by_ticket.resize(ticket.index() + 1, usize::MAX);
                }
                self.by_ticket[ticket.index()] = key;
                if let Some(evicted) = evicted {
                    return self.close(self.by_ticket[evicted.index()]);
                }
            }
            (Phase::Answer(_) | Phase::Over, Some(ticket)) => {
                self.lifecycle.handle_leave(ticket, now);
                connection.ticket = None;
            }
            (Phase::Answer(_) | Phase::Over, None) => {}
        }
        Ok(())
    }

    fn close(&mut self, key: usize) -> io::Result<()> {
        let Some(connection) = self.connections[key].take() else { return Ok(()) };
        if let Some(ticket) = connection.ticket {
            self.lifecycle.handle_leave(ticket, self.start.elapsed());
        }
        self.free.push(key);
        self.poller.delete(&connection.stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Each is there, or has been deleted already; either way it is not there afterwards.
        let _ = self.poller.delete(&self.listener);
        for connection in self.connections.iter().flatten() {
            let _ = self.poller.delete(&connection.stream);
        }
    }
}

impl Connection {
    fn is_answering(&self) -> bool {
        matches!(self.phase, Phase::Answer(_))
    }

    /// Goes as far as it can without waiting.
    fn step(
        &mut self,
        scratch: &mut [u8],
        handle: &mut impl FnMut(&[u8]) -> Answer,
        stopping: &mut bool,
    ) -> Step {
        loop {
            let (phase, step) = match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Request(request, message) => match self.read(request, message, scratch) {
                    Received::Some(request, message) => (Phase::Request(request, message), None),
                    Received::Nothing(request, message) => {
                        (Phase::Request(request, message), Some(Step::Readable))
                    }
                    Received::Whole(reply, message) => match handle(&message) {
                        Answer::Whole(answer) => (Phase::Answer(reply.finish(answer)), None),
                        Answer::WholeThenStop(answer) => {
                            *stopping = true;
                            (Phase::Answer(reply.finish(answer)), None)
                        }
                        Answer::Abort => (Phase::Over, None),
                    },
                    Received::Gone => (Phase::Over, None),
                },
                Phase::Answer(mut sending) => match self.write(&mut sending) {
                    Ok(()) => match sending.done() {
                        Ok((Done, _)) => (Phase::Over, None),
                        Err(sending) => (Phase::Answer(sending), None),
                    },
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        (Phase::Answer(sending), Some(Step::Writable))
                    }
                    Err(_) => (Phase::Over, None),
                },
                Phase::Over => (Phase::Over, Some(Step::Close)),
            };
            self.phase = phase;
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn read(
        &mut self,
        mut request: server::Request,
        mut message: Vec<u8>,
        scratch: &mut [u8],
    ) -> Received {
        let mut input: &[u8] = match self.stream.read(scratch) {
            // A probe, or a client that gave up: either way nobody waits for an answer.
            Ok(0) => return Received::Gone,
            Ok(read) => &scratch[..read],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Received::Nothing(request, message);
            }
            Err(_) => return Received::Gone,
        };
        loop {
            match request.receive(&mut input) {
                Ok(Some(Part::Data(bytes))) => message.extend_from_slice(bytes),
                Ok(Some(Part::End) | None) => break,
                // What came is no message, or too long a one.
                Err(_) => return Received::Gone,
            }
        }
        match request.done() {
            Ok(reply) => Received::Whole(reply, message),
            Err(request) => Received::Some(request, message),
        }
    }

    fn write(&mut self, sending: &mut Sending<Vec<u8>, Done>) -> io::Result<()> {
        let slices: Vec<_> = sending.slices().take(64).map(IoSlice::new).collect();
        let written = self.stream.write_vectored(&slices)?;
        sending.wrote(written);
        Ok(())
    }
}
