//! The server's side.
//!
//! As many *workers* as exchanges are allowed each block in `accept` on the shared listener, so a
//! client that speaks at once is served by the thread that accepted it, without a hand-off. A
//! connection that has not sent a whole request goes to the *keeper*, a thread that watches all
//! of those at once and sleeps otherwise; when a request is whole it goes to a *late worker*,
//! which is started only then. The keeper also does what time alone brings about.

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;
use std::vec::Vec;

use crate::endpoint::{Accepted, Events, Listener, Place, Readiness, Stream, Watched};
use crate::exchange::{self, Done, Incoming, Sending};
use crate::lifecycle::{Action, Admission, Closing, Ending, Lifecycle, Reason, Shortage, Ticket};
use crate::runtimes::link::{Arriving, Momentum, Parked, Progress, Serving, outcome};
use crate::runtimes::options::{ServerOptions, server_setters};
use crate::runtimes::request::Request;
use crate::runtimes::trace;
use crate::{Error, ErrorKind, Phase, lifecycle};

/// A server that has its place at a path and does not serve yet: clients that connect now wait
/// until it does.
///
/// Dropping it gives the place up.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    options: ServerOptions,
}

impl Server {
    /// Takes the place at `path`. A relative path is made absolute now. Only this user can
    /// connect. It waits only while another server starts or ends in the same folder, which takes
    /// a moment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InUse`] if a live server has it; [`ErrorKind::Endpoint`] if something other
    /// than a socket is in the way, which is left alone, or if the folder is missing or closed to
    /// this user.
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, Error> {
        let listener = Listener::bind(&Place::new(path.as_ref()))?;
        Ok(Self { listener, options: ServerOptions::new() })
    }

    server_setters!();

    /// Serves in the background: `handler` is given whole requests, in as many threads as
    /// exchanges are allowed.
    ///
    /// The handler owns its [`Reply`] and returns what [`Reply::finish`] gives. If it returns an
    /// error or panics, the exchange is aborted: the client gets an error, never a short answer.
    /// (Under `panic = "abort"` a panic ends the process.)
    ///
    /// # Errors
    ///
    /// If the system has no thread or descriptor to spare.
    pub fn serve<H, E>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(Request, Reply) -> Result<Finished, E> + Send + Sync + 'static,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        self.start(false, move |arriving, link| {
            let (request, reply) = arriving.into_whole();
            handler(request, Reply::new(link, reply)).map_err(Into::into)
        })
    }

    /// Serves in the background: `handler` reads each request as it arrives, and may answer
    /// meanwhile. While it waits for its client it holds one of the threads, until the receive
    /// or send deadline.
    ///
    /// `Client::call`, `Connection::send` and a `RequestWriter` that is not split read only once all of
    /// the request has been sent, as git's client does: if a handler answers a long request before it
    /// has read it, either waits for the other until a deadline. Such clients
    /// [`split`](super::RequestWriter::split) the request.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_streaming<H, E>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(RequestReader, Reply) -> Result<Finished, E> + Send + Sync + 'static,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        self.start(true, move |arriving, link| {
            let (begun, incoming, reply) = arriving.into_stream();
            let request = RequestReader { link: link.clone(), incoming, begun, at: 0 };
            handler(request, Reply::new(link, reply)).map_err(Into::into)
        })
    }

    /// Serves until it is stopped, by [`finish_and_stop`](Reply::finish_and_stop) for one:
    /// [`serve`](Self::serve) and [`join`](Running::join).
    ///
    /// # Errors
    ///
    /// As those two.
    pub fn run<H, E>(self, handler: H) -> Result<Ending, Error>
    where
        H: Fn(Request, Reply) -> Result<Finished, E> + Send + Sync + 'static,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        self.serve(handler)?.join()
    }

    fn start(
        self,
        streaming: bool,
        handle: impl Fn(Arriving, Arc<Link>) -> Result<Finished, BoxError> + Send + Sync + 'static,
    ) -> Result<Running, Error> {
        let Self { listener, options } = self;
        let path = listener.path().clone();
        let failed = |error| Error::io(Phase::Accept, &path, error);
        let workers = options.limits.exchanges.get();
        let serving =
            Serving { path: path.clone(), send: options.send, receive: options.limits.receive };
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(
                Lifecycle::new(options.limits, Duration::ZERO),
                Arc::new(listener),
            )),
            start: Instant::now(),
            readiness: Readiness::new().map_err(failed)?,
            handle: Box::new(handle),
            serving: Arc::new(serving),
            streaming,
            options,
            place_free: Condvar::new(),
            job_ready: Condvar::new(),
            reading_allowed: Condvar::new(),
            ended: Condvar::new(),
        });
        shared.spawn("simple-ipc keeper", Shared::keep).map_err(failed)?;
        // From here on dropping `running` ends those that were started.
        let running = Running { shared };
        running.shared.lock().workers = workers;
        for worker in 0..workers {
            if let Err(error) = running.shared.spawn("simple-ipc worker", Shared::work) {
                let mut state = running.shared.lock();
                state.workers -= workers - worker;
                if state.workers == 0 {
                    state.lifecycle.handle_backlog_drained();
                }
                drop(state);
                return Err(failed(error));
            }
        }
        crate::endpoint::announce(&running.shared.serving.path);
        Ok(running)
    }
}

type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// A server that serves.
///
/// Dropping it asks the server to stop, which it then does in the background; to wait for the
/// end, [`join`](Self::join) it.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct Running {
    shared: Arc<Shared>,
}

impl Running {
    /// Asks the server to stop: its path goes at once, what is in the backlog is still served,
    /// exchanges under way end or are aborted at the drain deadline.
    pub fn stop(&self) {
        self.shared.stop(Reason::Asked);
    }

    /// As [`stop`](Self::stop), but exchanges under way are aborted at once; also while the server
    /// drains.
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Something that can stop the server from elsewhere.
    pub fn handle(&self) -> StopHandle {
        StopHandle { shared: Arc::downgrade(&self.shared) }
    }

    /// Waits until the server has ended, by whatever reason, and tells how. By then its path can be
    /// taken again (unless others have kept the folder locked for 10 s), and clients that it had no
    /// time to accept are hung up on.
    ///
    /// Exchanges that were aborted at the drain deadline are not waited for: their handlers may
    /// still be at work, but their clients are hung up on.
    ///
    /// # Errors
    ///
    /// If the listener failed, which is told once.
    pub fn join(&self) -> Result<Ending, Error> {
        let mut state = self.shared.lock();
        loop {
            if let Some(ending) = state.lifecycle.ending() {
                if state.is_closed && (ending.aborted > 0 || state.threads == 0) {
                    return match state.failure.take() {
                        Some(error) => Err(error),
                        None => Ok(ending),
                    };
                }
            }
            state = wait(&self.shared.ended, state, None);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Stops a server from anywhere. Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct StopHandle {
    shared: Weak<Shared>,
}

impl StopHandle {
    /// As [`Running::stop`]. Does nothing if the server has ended.
    pub fn stop(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.stop(Reason::Asked);
        }
    }

    /// As [`Running::abort`]. Does nothing if the server has ended.
    pub fn abort(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.abort();
        }
    }
}

/// Proof that an answer has been sent to its end, which is what a handler must return.
#[derive(Debug)]
#[must_use = "a handler returns it"]
pub struct Finished {
    stop: bool,
}

/// The answer to one request, written by its handler.
///
/// Small writes are gathered into full packets; [`flush`](Self::flush) sends what was gathered.
/// An empty answer is an answer too: just [`finish`](Self::finish).
///
/// Dropping it aborts the exchange: no flush packet is sent, so the client gets an error.
#[derive(Debug)]
pub struct Reply {
    link: Arc<Link>,
    writer: exchange::Writer<Done>,
    finished: bool,
}

impl Reply {
    fn new(link: Arc<Link>, reply: crate::server::Reply) -> Self {
        Self { link, writer: exchange::Writer::new(reply), finished: false }
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.writer.keep(bytes) {
            return Ok(bytes.len());
        }
        loop {
            match self.writer.write(bytes).map_err(|why| self.link.serving.interrupted(why))? {
                exchange::Write::Kept(n) => return Ok(n),
                exchange::Write::Send(n, sending) => {
                    let (outgoing, chunk) = self.link.send(sending)?;
                    self.writer.sent(outgoing, chunk);
                    if n > 0 {
                        return Ok(n);
                    }
                }
            }
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// If the client has hung up, or takes nothing until the send deadline. The answer cannot be
    /// continued then. Inside it is an [`Error`]:
    /// `error.downcast::<simple_ipc::Error>()`.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = self.write_some(bytes)?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Sends what was gathered.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    pub fn flush(&mut self) -> io::Result<()> {
        let flush = self.writer.flush().map_err(|why| self.link.serving.interrupted(why))?;
        if let Some(sending) = flush {
            let (outgoing, chunk) = self.link.send(sending)?;
            self.writer.sent(outgoing, chunk);
        }
        Ok(())
    }

    /// Ends the answer.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    pub fn finish(self) -> io::Result<Finished> {
        self.finish_with(b"")
    }

    /// Ends the answer with `bytes`; an answer that is all there is goes out in one piece.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    pub fn finish_with(mut self, bytes: impl AsRef<[u8]>) -> io::Result<Finished> {
        let bytes = bytes.as_ref();
        if self.writer.is_better_flushed(bytes) {
            self.flush()?;
        }
        let last = self.writer.finish(bytes).map_err(|why| self.link.serving.interrupted(why))?;
        let (Done, _) = self.link.send(last)?;
        self.finished = true;
        Ok(Finished { stop: false })
    }

    /// Ends the answer, and stops the server once this exchange is over, as git's QUIT does.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    pub fn finish_and_stop(self) -> io::Result<Finished> {
        let Finished { .. } = self.finish()?;
        Ok(Finished { stop: true })
    }

    /// Who the client is, as of the moment when it connected. It is asked of the system only here,
    /// and may be asked for again.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn peer(&self) -> io::Result<crate::endpoint::Credentials> {
        self.link.stream.peer()
    }

    /// Whether the client has hung up, so that nobody wants the answer.
    pub fn client_has_left(&self) -> bool {
        self.link.stream.peer_has_left()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // The client need not wait for what its handler does without it.
        if !self.finished {
            self.link.stream.shut_down();
        }
    }
}

impl Write for Reply {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_some(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush()
    }
}

/// A request, read as it arrives. End of file means that it is whole; one that its client gave
/// up ends in an error.
#[derive(Debug)]
pub struct RequestReader {
    link: Arc<Link>,
    incoming: Incoming<Done>,
    /// What came before the handler began, and how much of it has been read.
    begun: Vec<u8>,
    at: usize,
}

impl RequestReader {
    /// Reads the rest of the request.
    ///
    /// # Errors
    ///
    /// As [`Read::read`], which fails when the client hangs up inside its request, sends what is
    /// none, or nothing until the receive deadline.
    pub fn read_all(mut self) -> io::Result<Vec<u8>> {
        let mut request = Vec::new();
        self.read_to_end(&mut request)?;
        Ok(request)
    }
}

impl Read for RequestReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.begun.len() {
            let n = (&self.begun[self.at..]).read(buffer)?;
            self.at += n;
            if self.at == self.begun.len() {
                (self.begun, self.at) = (Vec::new(), 0);
            }
            return Ok(n);
        }
        while !self.incoming.is_whole() && !buffer.is_empty() {
            let read = self.link.receive(buffer)?;
            if read == 0 {
                self.link.serving.ended(&self.incoming)?;
            }
            let kept = self.incoming.strip(&mut buffer[..read]).map_err(|error| {
                self.link.serving.error(Phase::Receive, ErrorKind::Message(error))
            })?;
            if kept > 0 {
                return Ok(kept);
            }
        }
        Ok(0)
    }
}

/// The connection of an exchange.
#[derive(Debug)]
struct Link {
    stream: Stream,
    serving: Arc<Serving>,
}

impl Link {
    /// Sends all of `sending`.
    fn send<B: AsRef<[u8]>, N: exchange::Phase>(
        &self,
        mut sending: Sending<B, N>,
    ) -> Result<(N, B), Error> {
        let failed = |error| self.serving.failed(Phase::Send, error);
        let mut momentum = Momentum::default();
        loop {
            sending = match sending.done() {
                Ok(done) => return Ok(done),
                Err(sending) => sending,
            };
            match momentum.carry(|| self.stream.send(sending.slices())) {
                Ok(n) => sending.wrote(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let limit = self.serving.send;
                    let in_time = self.stream.wait_writable(limit).map_err(failed)?;
                    if let (false, Some(limit)) = (in_time, limit) {
                        return Err(self.late(Phase::Send, limit));
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Receives what has come, or waits for it.
    fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let failed = |error| self.serving.failed(Phase::Receive, error);
        loop {
            match self.stream.receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result.map_err(failed),
            }
            let limit = self.serving.receive;
            let in_time = self.stream.wait_readable(limit).map_err(failed)?;
            if let (false, Some(limit)) = (in_time, limit) {
                return Err(self.late(Phase::Receive, limit));
            }
        }
    }

    fn late(&self, phase: Phase, limit: Duration) -> Error {
        self.serving.error(phase, ErrorKind::Deadline(limit))
    }
}

/// What the threads of a server share.
struct Shared {
    options: ServerOptions,
    serving: Arc<Serving>,
    streaming: bool,
    #[allow(clippy::type_complexity)]
    handle: Box<dyn Fn(Arriving, Arc<Link>) -> Result<Finished, BoxError> + Send + Sync>,
    readiness: Arc<Readiness>,
    start: Instant,
    state: Mutex<State>,
    /// Accepting is allowed again.
    place_free: Condvar,
    /// There is a job for a late worker.
    job_ready: Condvar,
    /// Reading from connections that wait is allowed again, for the keeper.
    reading_allowed: Condvar,
    /// The server has ended, its listener is closed, or one of its last threads has ended.
    ended: Condvar,
}

/// A request whose exchange can begin.
struct Ready {
    arriving: Arriving,
    link: Arc<Link>,
}

/// One whose exchange has begun: it is noted, at this index, so that it can be aborted.
struct Begun {
    ready: Ready,
    index: usize,
}

/// A connection whose request is not there yet.
struct Waiting {
    parked: Parked,
    stream: Watched,
}

struct State {
    lifecycle: Lifecycle,
    /// There until the server has ended. Whoever uses it [releases](Shared::release) it, so that
    /// it is closed then, whatever handlers and handles are left.
    listener: Option<Arc<Listener>>,
    is_closed: bool,
    /// By ticket.
    waiting: Vec<Option<Waiting>>,
    /// Requests without a place, in order.
    queue: VecDeque<Ready>,
    /// Requests with a place, for whichever thread is free first.
    jobs: VecDeque<Ready>,
    /// The connections of exchanges under way.
    running: Vec<Option<Arc<Link>>>,
    threads: usize,
    /// Threads that accept, or wait until they may.
    workers: usize,
    /// Of those, threads that wait until they may.
    workers_held: usize,
    /// The keeper waits until it may read. (Telling a condition costs a system call, whether or
    /// not anybody listens.)
    keeper_held: bool,
    late_workers: usize,
    /// Late workers without a job.
    late_idle: usize,
    /// When the keeper wakes by itself.
    keeper_wakes: Option<Duration>,
    failure: Option<Error>,
}

impl State {
    fn new(lifecycle: Lifecycle, listener: Arc<Listener>) -> Self {
        Self {
            lifecycle,
            listener: Some(listener),
            is_closed: false,
            waiting: Vec::new(),
            queue: VecDeque::new(),
            jobs: VecDeque::new(),
            running: Vec::new(),
            threads: 0,
            workers: 0,
            workers_held: 0,
            keeper_held: false,
            late_workers: 0,
            late_idle: 0,
            keeper_wakes: Some(Duration::ZERO),
            failure: None,
        }
    }

    fn take_waiting(&mut self, ticket: Ticket) -> Option<Waiting> {
        self.waiting.get_mut(ticket.index()).and_then(Option::take)
    }

    /// Begins an exchange that has been given its place, or has just been taken from those that
    /// have: no abort can come in between and miss it.
    fn begin(&mut self, ready: Ready) -> Begun {
        let link = Some(ready.link.clone());
        let index = match self.running.iter_mut().position(|place| place.is_none()) {
            Some(index) => {
                self.running[index] = link;
                index
            }
            None => {
                self.running.push(link);
                self.running.len() - 1
            }
        };
        Begun { ready, index }
    }

    /// Begins the first of those that have a place and no thread.
    fn begin_job(&mut self) -> Option<Begun> {
        let job = self.jobs.pop_front()?;
        Some(self.begin(job))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What panics is the user's code, and that runs without the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn spawn(self: &Arc<Self>, name: &str, run: fn(&Arc<Self>)) -> io::Result<()> {
        let shared = self.clone();
        self.lock().threads += 1;
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            run(&shared);
            shared.lock().threads -= 1;
            shared.ended.notify_all();
        });
        if thread.is_err() {
            self.lock().threads -= 1;
        }
        thread.map(drop)
    }

    fn stop(&self, reason: Reason) {
        self.lock().lifecycle.handle_stop(reason);
        self.wake_keeper();
    }

    fn abort(&self) {
        self.lock().lifecycle.handle_abort(Reason::Asked);
        self.wake_keeper();
    }

    fn wake_keeper(&self) {
        self.readiness.notify();
        self.reading_allowed.notify_one();
    }

    /// Wakes the keeper if something is due before it wakes by itself.
    fn settle(&self, state: &State) {
        if state.lifecycle.is_due_before(state.keeper_wakes, self.now()) {
            self.wake_keeper();
        }
    }

    fn ready(&self, arriving: Arriving, stream: Stream) -> Ready {
        Ready { arriving, link: Arc::new(Link { stream, serving: self.serving.clone() }) }
    }

    /// Whoever has used the listener no longer needs it. The last one closes it.
    fn release(&self, listener: Arc<Listener>) {
        if let Some(listener) = Arc::into_inner(listener) {
            // This may have to wait for the folder, so it is not done under the lock.
            drop(listener);
            self.lock().is_closed = true;
            self.ended.notify_all();
        }
    }

    /// What a worker does: accepts, and serves whoever speaks at once.
    fn work(self: &Arc<Self>) {
        while let Some(listener) = self.wait_for_place() {
            let accepted = listener.accept();
            self.release(listener);
            match accepted {
                Accepted::Stream(stream) => self.welcome(stream),
                Accepted::Nothing => {}
                Accepted::Shortage => self.relieve(),
                Accepted::Stopped => break,
                Accepted::Failed(error) => {
                    let error = Error::io(Phase::Accept, &self.serving.path, error);
                    self.lock().failure.get_or_insert(error);
                    self.stop(Reason::Failed);
                    break;
                }
            }
        }
        let mut state = self.lock();
        state.workers -= 1;
        if state.workers == 0 {
            state.lifecycle.handle_backlog_drained();
            self.settle(&state);
        }
    }

    /// Waits until accepting is allowed; `None` when the server has ended.
    fn wait_for_place(&self) -> Option<Arc<Listener>> {
        let mut state = self.lock();
        loop {
            let listener = state.listener.as_ref()?;
            if state.lifecycle.may_accept() {
                return Some(listener.clone());
            }
            state.workers_held += 1;
            state = wait(&self.place_free, state, None);
            state.workers_held -= 1;
        }
    }

    /// Makes room for a connection that the system has no descriptor for.
    fn relieve(self: &Arc<Self>) {
        let mut state = self.lock();
        match state.lifecycle.handle_shortage(self.now()) {
            Shortage::Evict(ticket) => self.part(state, Some(ticket), Closing::Crowded),
            Shortage::Pause(pause) => {
                state.workers_held += 1;
                wait(&self.place_free, state, Some(pause)).workers_held -= 1;
            }
        }
    }

    /// Closes a connection that waited, if there is one, unless its request has come at the last
    /// moment or it is heard after all. It takes the lock away from its caller, for what follows is
    /// the user's code.
    fn part(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        ticket: Option<Ticket>,
        closing: Closing,
    ) {
        let waiting = ticket.and_then(|ticket| state.take_waiting(ticket));
        drop(state);
        let Some(Waiting { parked, stream }) = waiting else { return };
        let mut arriving = parked.resume(&self.options, self.streaming);
        let stream = stream.release();
        match arriving.receive_last(&stream, &self.serving, closing) {
            Progress::Ready => self.hand_over(self.ready(arriving, stream)),
            Progress::Pending | Progress::More => self.keep_waiting(arriving, stream),
            Progress::Gone(Some(error)) => self.options.report(&error),
            Progress::Gone(None) => {}
        }
    }

    /// A client has connected.
    fn welcome(self: &Arc<Self>, stream: Stream) {
        let mut arriving = Arriving::new(&self.options, self.streaming);
        // Whoever else needs the processor has another worker.
        match arriving.greet(&stream, &self.serving, || true) {
            Progress::Ready => self.begin(self.ready(arriving, stream)),
            Progress::Pending | Progress::More => self.keep_waiting(arriving, stream),
            Progress::Gone(Some(error)) => self.options.report(&error),
            Progress::Gone(None) => {}
        }
    }

    /// Leaves a connection to the keeper.
    fn keep_waiting(self: &Arc<Self>, arriving: Arriving, stream: Stream) {
        let mut state = self.lock();
        if state.lifecycle.ending().is_some() {
            // There is no keeper any more.
            return;
        }
        let now = self.now();
        let (ticket, evicted) = state.lifecycle.handle_wait(arriving.has_begun(), now);
        let failed = match Watched::new(stream, &self.readiness, ticket.index()) {
            Ok(stream) => {
                if state.waiting.len() <= ticket.index() {
                    state.waiting.resize_with(ticket.index() + 1, || None);
                }
                state.waiting[ticket.index()] = Some(Waiting { parked: arriving.park(), stream });
                self.settle(&state);
                None
            }
            Err((_, error)) => {
                state.lifecycle.handle_leave(ticket, now);
                Some(error)
            }
        };
        self.part(state, evicted, Closing::Crowded);
        if let Some(error) = failed {
            self.options.report(&self.serving.failed(Phase::Receive, error));
        }
    }

    /// Begins an exchange in this thread, or puts it into the queue.
    fn begin(self: &Arc<Self>, ready: Ready) {
        let mut state = self.lock();
        match state.lifecycle.handle_request() {
            Admission::Run => {
                let begun = state.begin(ready);
                drop(state);
                self.exchange(begun);
            }
            Admission::Queue => state.queue.push_back(ready),
            Admission::Refuse => {}
        }
    }

    /// Begins an exchange in another thread, or puts it into the queue.
    fn hand_over(self: &Arc<Self>, ready: Ready) {
        let mut state = self.lock();
        match state.lifecycle.handle_request() {
            Admission::Run => state.jobs.push_back(ready),
            Admission::Queue => return state.queue.push_back(ready),
            Admission::Refuse => return,
        }
        if state.jobs.len() <= state.late_idle {
            self.job_ready.notify_one();
        } else if state.late_workers < self.options.limits.exchanges.get() {
            state.late_workers += 1;
            drop(state);
            if self.spawn("simple-ipc late worker", Self::work_late).is_err() {
                let mut state = self.lock();
                state.late_workers -= 1;
                // Without another thread, this one must do it.
                let job = state.begin_job();
                drop(state);
                job.into_iter().for_each(|job| self.exchange(job));
            }
        }
    }

    /// What a late worker does: serves those who did not speak at once.
    fn work_late(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.begin_job() {
                drop(state);
                self.exchange(job);
                state = self.lock();
            } else if state.lifecycle.ending().is_some() {
                return;
            } else {
                state.late_idle += 1;
                state = wait(&self.job_ready, state, None);
                state.late_idle -= 1;
            }
        }
    }

    /// Goes through an exchange that has begun, then through those that its place is handed to.
    fn exchange(self: &Arc<Self>, begun: Begun) {
        let mut next = Some(begun);
        while let Some(Begun { ready: Ready { arriving, link }, index }) = next {
            let finished = arriving.span(&self.serving).run(|| self.handle(arriving, &link));
            let mut state = self.lock();
            state.running[index] = None;
            if let Some(Finished { stop: true }) = finished {
                state.lifecycle.handle_stop(Reason::Quit);
            }
            let waited = match state.lifecycle.handle_end(self.now()) {
                lifecycle::Place::HandOver => state.queue.pop_front(),
                lifecycle::Place::Free => state.jobs.pop_front(),
            };
            next = waited.map(|ready| state.begin(ready));
            if state.workers_held > 0 {
                self.place_free.notify_one();
            }
            if state.keeper_held {
                self.reading_allowed.notify_one();
            }
            self.settle(&state);
        }
    }

    /// Runs the handler, and sees to it that nothing more is sent unless it finished.
    fn handle(&self, arriving: Arriving, link: &Arc<Link>) -> Option<Finished> {
        let handled = catch_unwind(AssertUnwindSafe(|| (self.handle)(arriving, link.clone())));
        let finished = outcome(handled, &self.serving, &self.options);
        if finished.is_none() {
            link.stream.shut_down();
        }
        finished
    }

    /// What the keeper does.
    fn keep(self: &Arc<Self>) {
        let mut events = Events::new();
        while self.do_what_is_due() {
            let mut state = self.lock();
            let now = self.now();
            let timeout = state.lifecycle.wake_after(now);
            state.keeper_wakes = timeout.map(|after| now + after);
            if !state.lifecycle.may_read() {
                state.keeper_held = true;
                wait(&self.reading_allowed, state, timeout).keeper_held = false;
                continue;
            }
            drop(state);
            if let Err(error) = self.readiness.wait(&mut events, timeout) {
                let error = Error::io(Phase::Accept, &self.serving.path, error);
                let mut state = self.lock();
                state.failure.get_or_insert(error);
                state.lifecycle.handle_stop(Reason::Failed);
                // It would fail again: only time matters from now on.
                drop(wait(&self.reading_allowed, state, Some(Duration::from_millis(100))));
            }
            for event in events.iter() {
                self.hear(Ticket::from_index(event.key));
            }
        }
        self.place_free.notify_all();
        self.job_ready.notify_all();
    }

    /// Does what the lifecycle says is due; `false` when the server has ended.
    fn do_what_is_due(self: &Arc<Self>) -> bool {
        loop {
            let mut state = self.lock();
            match state.lifecycle.poll(self.now()) {
                None => return true,
                Some(Action::Close(ticket, closing)) => self.part(state, Some(ticket), closing),
                Some(Action::CheckPath) => {
                    let Some(listener) = state.listener.clone() else { continue };
                    drop(state);
                    if !listener.is_in_place() {
                        self.lock().lifecycle.handle_path_lost();
                    }
                    self.release(listener);
                }
                Some(Action::Stop(reason)) => {
                    let Some(listener) = state.listener.clone() else { continue };
                    drop(state);
                    trace::stopping(&self.serving.path, reason);
                    self.unpublish(&listener);
                    listener.shut_down();
                    self.release(listener);
                }
                Some(Action::Abort) => {
                    state.running.iter().flatten().for_each(|link| link.stream.shut_down());
                    let unserved =
                        (core::mem::take(&mut state.queue), core::mem::take(&mut state.jobs));
                    drop(state);
                    drop(unserved);
                }
                Some(Action::End(ending)) => {
                    let listener = state.listener.take();
                    drop(state);
                    trace::ended(&self.serving.path, ending);
                    listener.into_iter().for_each(|listener| self.release(listener));
                    return false;
                }
            }
        }
    }

    /// Gives the path up. If others hold its folder, a thread waits for that: the server drains
    /// meanwhile.
    fn unpublish(self: &Arc<Self>, listener: &Arc<Listener>) {
        if listener.unpublish_at_once() {
            return;
        }
        let (shared, held) = (self.clone(), listener.clone());
        let unpublish = move || {
            held.unpublish();
            shared.release(held);
        };
        if thread::Builder::new().name("simple-ipc path".into()).spawn(unpublish).is_err() {
            listener.unpublish();
        }
    }

    /// A connection that waits can be read.
    fn hear(self: &Arc<Self>, ticket: Ticket) {
        let mut state = self.lock();
        // It may have been told to go meanwhile.
        let Some(Waiting { parked, stream }) = state.take_waiting(ticket) else { return };
        state.lifecycle.handle_leave(ticket, self.now());
        drop(state);
        let mut arriving = parked.resume(&self.options, self.streaming);
        match arriving.receive(stream.stream(), &self.serving) {
            Progress::Ready => self.hand_over(self.ready(arriving, stream.release())),
            Progress::Pending | Progress::More => {
                let mut state = self.lock();
                let begun = arriving.has_begun();
                let (ticket, evicted) = state.lifecycle.handle_wait(begun, self.now());
                let watched = stream.watch_again(ticket.index());
                if state.waiting.len() <= ticket.index() {
                    state.waiting.resize_with(ticket.index() + 1, || None);
                }
                state.waiting[ticket.index()] = Some(Waiting { parked: arriving.park(), stream });
                self.part(state, evicted, Closing::Crowded);
                if let Err(error) = watched {
                    self.options.report(&self.serving.failed(Phase::Receive, error));
                }
            }
            Progress::Gone(Some(error)) => self.options.report(&error),
            Progress::Gone(None) => {}
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.serving.path)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Waits on `condition`, for `timeout` at the most.
fn wait<'m>(
    condition: &Condvar,
    state: MutexGuard<'m, State>,
    timeout: Option<Duration>,
) -> MutexGuard<'m, State> {
    match timeout {
        Some(timeout) => {
            condition.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
        }
        None => condition.wait(state).unwrap_or_else(PoisonError::into_inner),
    }
}
