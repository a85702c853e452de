//! What connections of every runtime have in common: the steps between two waits, and what an
//! outcome means. Only the waiting differs between runtimes.

use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::boxed::Box;
use std::format;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::string::String;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;
use std::vec::Vec;

use super::options::{Allow, ClientOptions, ServerOptions};
use super::request::Request;
use super::trace::{self, Span};
use crate::client::{Awaiting, Delivery};
use crate::connect::{Connecting, Next, Refusal, State};
use crate::endpoint::{self, Stream, User};
use crate::exchange::{Done, EndOfStream, Incoming, Interrupted, MessageError, Sending};
use crate::lifecycle::Closing;
use crate::{Error, ErrorKind, Phase, server};

/// The attempts of a client to connect.
pub(crate) struct Attempts<'o> {
    options: &'o ClientOptions,
    /// When the exchange began, and these attempts.
    since: Instant,
    began: Instant,
    /// Whether a server that is not there is waited for.
    waits: bool,
    /// Made at the first refusal.
    policy: Option<Connecting>,
}

/// What an attempt came to.
pub(crate) enum Attempt {
    Connected(Stream),
    RetryAfter(Duration),
    GiveUp(Error),
}

impl<'o> Attempts<'o> {
    pub(crate) fn new(options: &'o ClientOptions) -> Self {
        let now = Instant::now();
        Self { options, since: now, began: now, waits: true, policy: None }
    }

    /// Those of a client that does not wait for a server where there is none, but starts one. The
    /// first of them all began at `since`.
    pub(crate) fn or_start(options: &'o ClientOptions, since: Instant) -> Self {
        Self { options, since, began: Instant::now(), waits: false, policy: None }
    }

    /// When the first attempt began.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Tries once, without waiting.
    pub(crate) fn next(&mut self) -> Attempt {
        let options = self.options;
        let path = &*options.place.path;
        if !options.place.is_possible {
            return Attempt::GiveUp(refused(path, Refusal::Not(State::Invalid)));
        }
        let (refusal, source) = match Stream::connect(path) {
            Ok(stream) => {
                if let Some(Err(why)) = options.owner.map(|owner| is_owned_by(&stream, owner)) {
                    let error = Error::new(Phase::Connect, path, ErrorKind::Untrusted);
                    return Attempt::GiveUp(error.because(why).delivery_is(Delivery::NotDelivered));
                }
                trace::connected(path);
                return Attempt::Connected(stream);
            }
            Err(failure) => failure,
        };
        let spent = self.began.duration_since(self.since);
        let policy = self.policy.get_or_insert_with(|| options.connecting(self.waits, spent));
        let next = policy.refused(refusal, self.began.elapsed());
        trace::refused(path, refusal, &next);
        match next {
            Next::RetryAfter(pause) => Attempt::RetryAfter(pause),
            Next::GiveUp => Attempt::GiveUp(refused(path, refusal).because(source)),
        }
    }
}

/// Whether the server at the other end is `owner`'s.
fn is_owned_by(stream: &Stream, owner: User) -> io::Result<()> {
    match stream.peer()?.user() {
        user if user == owner => Ok(()),
        user => Err(io::Error::other(format!("it is user {user}'s, not user {owner}'s"))),
    }
}

fn refused(path: &Path, refusal: Refusal) -> Error {
    let kind = match refusal {
        Refusal::Busy => ErrorKind::Busy,
        Refusal::Not(State::Other) => ErrorKind::Io,
        Refusal::Not(state) => ErrorKind::Endpoint(state),
    };
    Error::new(Phase::Connect, path, kind).delivery_is(Delivery::NotDelivered)
}

/// What a client knows of the exchange it is in, apart from the connection itself.
#[derive(Debug)]
pub(crate) struct Exchange {
    options: ClientOptions,
    since: Instant,
    /// There if the answer is read while the request is still being written: when that ended.
    asking: OnceLock<Arc<OnceLock<Instant>>>,
}

/// A client's connection.
pub(crate) trait Sender {
    fn stream(&self) -> &Stream;
}

/// A request that is written while its answer is read. It is over when this is dropped: abandoned,
/// unless it is whole.
#[derive(Debug)]
pub(crate) struct Asking<L: Sender> {
    ended: Arc<OnceLock<Instant>>,
    /// Its connection, which the answer keeps open; there until it is whole.
    link: Option<Arc<L>>,
}

impl<L: Sender> Asking<L> {
    /// All of the request has been sent.
    pub(crate) fn whole(mut self) {
        self.link = None;
    }
}

impl<L: Sender> Drop for Asking<L> {
    fn drop(&mut self) {
        self.ended.get_or_init(Instant::now);
        if let Some(link) = &self.link {
            link.stream().shut_down_writing();
        }
    }
}

impl Exchange {
    /// One that began when the first attempt to connect did.
    pub(crate) fn new(options: &ClientOptions, since: Instant) -> Self {
        Self { options: options.clone(), since, asking: OnceLock::new() }
    }

    pub(crate) fn answer_limit(&self) -> Option<u64> {
        self.options.answer_limit
    }

    /// How long to wait now; `None`: for ever.
    pub(crate) fn limit(&self, what: Awaiting) -> Option<Duration> {
        let deadlines = &self.options.deadlines;
        // The clock is read only for those who need it.
        let elapsed = deadlines.total.map_or(Duration::ZERO, |_| self.since.elapsed());
        deadlines.limit(what, elapsed)
    }

    /// Whether it may go on: asked before every transfer, for what need not be waited for takes its
    /// time too. `sent` bytes of the request have been sent.
    pub(crate) fn in_time(&self, what: Awaiting, sent: u64) -> Result<(), Error> {
        let deadlines = &self.options.deadlines;
        // The clock is read only for those who need it.
        match deadlines.total.and_then(|_| deadlines.passed(self.since.elapsed())) {
            None => Ok(()),
            Some(total) => Err(self.late_in(what, ErrorKind::TotalDeadline(total), sent)),
        }
    }

    fn error(&self, phase: Phase, kind: ErrorKind, delivery: Delivery) -> Error {
        Error::new(phase, &self.options.place.path, kind).delivery_is(delivery)
    }

    /// From here on the answer is read while the request is still being written.
    pub(crate) fn asking<L: Sender>(&self, link: &Arc<L>) -> Asking<L> {
        let ended = self.asking.get_or_init(Arc::default).clone();
        Asking { ended, link: Some(link.clone()) }
    }

    /// Nothing of the answer has come for `limit`: how much longer to wait, if at all. No server
    /// needs to answer before the request is whole.
    pub(crate) fn wait_longer(&self, what: Awaiting, limit: Duration) -> Result<Duration, Error> {
        self.in_time(what, 0)?;
        let full = self.options.deadlines.limit(what, Duration::ZERO).unwrap_or(limit);
        let (waited, limit) = match self.asking.get().map(|ended| ended.get()) {
            Some(Some(ended)) => (ended.elapsed(), full),
            Some(None) => (Duration::ZERO, full),
            None => (full, limit),
        };
        match full.saturating_sub(waited) {
            Duration::ZERO => Err(self.late(what, limit, 0)),
            rest => Ok(self.limit(what).map_or(rest, |limit| limit.min(rest))),
        }
    }

    /// The time is up for `what`, after `limit`. `sent` bytes of the request had been sent.
    pub(crate) fn late(&self, what: Awaiting, limit: Duration, sent: u64) -> Error {
        let deadlines = &self.options.deadlines;
        let kind = match deadlines.total.filter(|_| deadlines.of(what).is_none_or(|of| limit < of))
        {
            Some(total) => ErrorKind::TotalDeadline(total),
            None => ErrorKind::Deadline(limit),
        };
        self.late_in(what, kind, sent)
    }

    fn late_in(&self, what: Awaiting, kind: ErrorKind, sent: u64) -> Error {
        let (phase, delivery) = match what {
            Awaiting::Room => (Phase::Send, Delivery::while_sending(sent)),
            Awaiting::Answer => (Phase::Wait, Delivery::Unknown),
            Awaiting::Rest => (Phase::Receive, Delivery::Unknown),
        };
        self.error(phase, kind, delivery)
    }

    /// Sending failed after `sent` bytes.
    pub(crate) fn send_failed(&self, source: io::Error, sent: u64) -> Error {
        Error::transfer(Phase::Send, &self.options.place.path, source)
            .delivery_is(Delivery::while_sending(sent))
    }

    /// A write came after one that failed.
    pub(crate) fn interrupted(&self, why: Interrupted) -> Error {
        self.error(Phase::Send, ErrorKind::Aborted, Delivery::Incomplete).because(why)
    }

    /// Receiving failed.
    pub(crate) fn receive_failed(&self, source: io::Error) -> Error {
        Error::transfer(Phase::Receive, &self.options.place.path, source)
            .delivery_is(Delivery::Unknown)
    }

    /// What came is no message.
    pub(crate) fn malformed(&self, error: MessageError) -> Error {
        self.error(Phase::Receive, ErrorKind::Message(error), Delivery::Unknown)
    }

    /// The stream has ended: all is well only if the answer is whole.
    pub(crate) fn ended<N>(&self, incoming: &Incoming<N>) -> Result<(), Error> {
        let (phase, kind) = match incoming.end_of_stream() {
            EndOfStream::Whole => return Ok(()),
            EndOfStream::Silent => (Phase::Wait, ErrorKind::NoAnswer),
            EndOfStream::Truncated => (Phase::Receive, ErrorKind::Truncated),
        };
        Err(self.error(phase, kind, Delivery::Unknown))
    }
}

/// The time for `sending` is over, and what is on its way is given up, so that nothing of it is
/// taken later; unless that was the end of it, and all has been taken after all.
pub(crate) fn is_sent_after_all<B: AsRef<[u8]>, N>(
    stream: &Stream,
    sending: &mut Sending<B, N>,
) -> bool {
    if stream.give_up_sending() {
        // Its last byte had not counted.
        sending.wrote(1);
    }
    sending.is_done()
}

/// What to wait for when nothing has come: the first byte of an answer, or more of it.
pub(crate) fn awaiting<N>(incoming: &Incoming<N>) -> Awaiting {
    if incoming.has_begun() { Awaiting::Rest } else { Awaiting::Answer }
}

/// What a server's side of an exchange needs to know, apart from the connection itself.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) path: Arc<Path>,
    pub(crate) send: Option<Duration>,
    pub(crate) receive: Option<Duration>,
}

impl Serving {
    pub(crate) fn error(&self, phase: Phase, kind: ErrorKind) -> Error {
        Error::new(phase, &self.path, kind)
    }

    pub(crate) fn failed(&self, phase: Phase, source: io::Error) -> Error {
        Error::transfer(phase, &self.path, source)
    }

    /// A write came after one that failed.
    pub(crate) fn interrupted(&self, why: Interrupted) -> Error {
        self.error(Phase::Send, ErrorKind::Aborted).because(why)
    }

    /// The stream has ended: all is well only if the request is whole.
    pub(crate) fn ended<N>(&self, incoming: &Incoming<N>) -> Result<(), Error> {
        match incoming.end_of_stream() {
            EndOfStream::Whole => Ok(()),
            EndOfStream::Silent | EndOfStream::Truncated => {
                Err(self.error(Phase::Receive, ErrorKind::Truncated))
            }
        }
    }
}

/// A request on its way in, on a server.
pub(crate) struct Arriving {
    incoming: server::Request,
    message: Vec<u8>,
    /// Its handler reads the request as it arrives, so the first byte is enough.
    streaming: bool,
    /// Something has come when it last received.
    heard: bool,
    /// Who says whether this client is served, until it is known.
    allow: Option<Allow>,
}

/// How far a request has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Its exchange can begin.
    Ready,
    /// More must come first.
    Pending,
    /// More has come than is received at a time: others have a turn first. Nothing announces what
    /// is there already, where only what is new is announced.
    More,
    /// It will never come: the client hung up without a word, or as the error says.
    Gone(Option<Error>),
}

impl Progress {
    /// What it means on a connection that this server was about to close: its client has not
    /// hung up inside the request.
    pub(crate) fn of_closing(self, closing: Closing, serving: &Serving) -> Self {
        let error = |kind| serving.error(Phase::Receive, kind);
        match self {
            Self::Gone(Some(gone)) if gone.kind() == ErrorKind::Truncated => {
                Self::Gone(Some(match (closing, serving.receive) {
                    (Closing::Late, Some(limit)) => error(ErrorKind::Deadline(limit)),
                    (Closing::Crowded, _) => {
                        error(ErrorKind::Aborted).because("too many clients wait")
                    }
                    _ => error(ErrorKind::Aborted).because("the server ends"),
                }))
            }
            progress => progress,
        }
    }
}

impl Arriving {
    /// So many bytes are received at a time, however fast the client is.
    const TURN: usize = 1 << 20;

    pub(crate) fn new(options: &ServerOptions, streaming: bool) -> Self {
        let limit = if streaming { None } else { options.request_limit };
        Self {
            incoming: server::accept(limit),
            message: Vec::new(),
            streaming,
            heard: false,
            allow: options.allow.clone(),
        }
    }

    /// Receives what a client that is let go had sent by now. It is not let go, but must go on
    /// waiting, if that is [`Progress::Pending`] or [`Progress::More`]: it was taken to be late, and
    /// has spoken while nobody came to listen.
    #[cfg(any(feature = "blocking", feature = "tokio"))]
    pub(crate) fn receive_last(
        &mut self,
        stream: &Stream,
        serving: &Serving,
        closing: Closing,
    ) -> Progress {
        if closing == Closing::Late {
            let progress = self.receive(stream, serving);
            if self.was_heard() || !matches!(progress, Progress::Pending) {
                return progress;
            }
        }
        stream.shut_down_reading();
        loop {
            match self.receive(stream, serving) {
                Progress::More => {}
                progress => return progress.of_closing(closing, serving),
            }
        }
    }

    /// Receives what a client that has just connected has sent. One on the same processor can
    /// speak only when it is offered that; so this is done, a few times, while `nobody_else`
    /// needs it.
    pub(crate) fn greet(
        &mut self,
        stream: &Stream,
        serving: &Serving,
        nobody_else: impl Fn() -> bool,
    ) -> Progress {
        /// Further looks, before the client is left to those that wait.
        const GRACE: usize = 2;

        let mut progress = self.receive(stream, serving);
        for _ in 0..GRACE {
            if !matches!(progress, Progress::Pending) || !nobody_else() {
                break;
            }
            thread::yield_now();
            progress = self.receive(stream, serving);
        }
        progress
    }

    /// Receives what has come, without waiting.
    pub(crate) fn receive(&mut self, stream: &Stream, serving: &Serving) -> Progress {
        if Stream::CLIENT_IS_KNOWN_AT_ONCE {
            if let Err(error) = self.admit(stream, serving) {
                return Progress::Gone(Some(error));
            }
        }
        self.heard = false;
        let turn = self.message.len().saturating_add(Self::TURN);
        while self.message.len() < turn {
            self.incoming.make_room(&mut self.message);
            let from = self.message.len();
            match stream.receive_into(&mut self.message) {
                Ok(0) if self.incoming.end_of_stream() == EndOfStream::Silent => {
                    return Progress::Gone(None);
                }
                Ok(0) => {
                    return Progress::Gone(Some(
                        serving.error(Phase::Receive, ErrorKind::Truncated),
                    ));
                }
                // Now it is known everywhere who it is, and nothing was looked at yet.
                Ok(_) => {
                    self.heard = true;
                    if let Err(error) = self.admit(stream, serving) {
                        return Progress::Gone(Some(error));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.incoming.has_begun() {
                        // A silent client costs no buffer.
                        self.message = Vec::new();
                    }
                    return Progress::Pending;
                }
                Err(error) => return Progress::Gone(Some(serving.failed(Phase::Receive, error))),
            }
            match self.incoming.absorb(&mut self.message, from) {
                Ok(whole) if whole || self.streaming => return Progress::Ready,
                Ok(_) => {}
                Err(error) => {
                    return Progress::Gone(Some(
                        serving.error(Phase::Receive, ErrorKind::Message(error)),
                    ));
                }
            }
        }
        Progress::More
    }

    /// Asks once whether the client is to be served.
    fn admit(&mut self, stream: &Stream, serving: &Serving) -> Result<(), Error> {
        match self.allow.take() {
            Some(allow) => is_allowed(stream, &allow)
                .map_err(|why| serving.error(Phase::Accept, ErrorKind::Untrusted).because(why)),
            None => Ok(()),
        }
    }

    /// Whether any byte has come when it last received.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard
    }

    /// Whether any byte has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.incoming.has_begun()
    }

    /// The span of its exchange.
    pub(crate) fn span(&self, serving: &Serving) -> Span {
        Span::new(&serving.path, self.message.len())
    }

    /// Puts it aside until more has come.
    pub(crate) fn park(self) -> Parked {
        let is_as_new = !self.has_begun() && self.allow.is_none();
        Parked(if is_as_new { None } else { Some(Box::new(self)) })
    }

    /// The request and the right to answer it.
    ///
    /// # Panics
    ///
    /// If the request is not whole.
    pub(crate) fn into_whole(self) -> (Request, server::Reply) {
        let reply = self.incoming.done().expect("only whole requests are handled");
        (Request::new(self.message), reply)
    }

    /// What has come of the request, the rest of it, and the right to answer it meanwhile.
    pub(crate) fn into_stream(self) -> (Vec<u8>, Incoming<Done>, server::Reply) {
        let (incoming, reply) = self.incoming.split();
        (self.message, incoming, reply)
    }
}

impl fmt::Debug for Arriving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving")
            .field("incoming", &self.incoming)
            .field("message", &self.message)
            .field("streaming", &self.streaming)
            .finish_non_exhaustive()
    }
}

/// A request that is put aside: small, for there may be many whose clients have said nothing.
#[derive(Debug, Default)]
pub(crate) struct Parked(Option<Box<Arriving>>);

impl Parked {
    pub(crate) fn resume(self, options: &ServerOptions, streaming: bool) -> Arriving {
        match self.0 {
            Some(arriving) => *arriving,
            // Whether its client is served has been asked.
            None => Arriving { allow: None, ..Arriving::new(options, streaming) },
        }
    }
}

/// Whether the client at the other end is to be served. One of whom nothing can be learned, or
/// at whom the policy panics, is not.
fn is_allowed(stream: &Stream, allow: &Allow) -> io::Result<()> {
    let peer = stream.peer()?;
    match contained(|| allow(&peer)) {
        Some(true) => Ok(()),
        Some(false) => Err(io::Error::other(format!("user {} is not allowed", peer.user()))),
        None => Err(io::Error::other("the policy panicked")),
    }
}

/// Whether something has been quick of late, so that doing it in place pays. Once it has not, it
/// is on probation for a while.
///
/// Handlers that come back soon are polled where connections are accepted, which saves a task;
/// those that do not would keep everybody else from being accepted. Clients look again for their
/// answer before they sleep, which saves being woken; where others need the processor, offering
/// it costs far more than that.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How often it must be quick before it is trusted again.
    probation: AtomicU32,
    /// The next probation: one disappointment may be chance, one after the other are not.
    next: AtomicU32,
    longest: u32,
    quick: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(Self::QUICK, 0, Self::PROBATION)
    }
}

impl Pace {
    /// As long as it takes to wake another thread, some times over.
    const QUICK: Duration = Duration::from_micros(200);
    const PROBATION: u32 = 64;

    /// Trusted only after so many times. Each probation is twice as long as the one before, but
    /// not over `longest`.
    const fn new(quick: Duration, first: u32, longest: u32) -> Self {
        let next = AtomicU32::new(Self::PROBATION);
        Self { probation: AtomicU32::new(first), next, longest, quick }
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.probation.load(Ordering::Relaxed) == 0
    }

    /// It took so long this time.
    pub(crate) fn note(&self, took: Duration) {
        // A note that another thread overwrites is no loss.
        match self.probation.load(Ordering::Relaxed) {
            _ if took > self.quick => {
                let next = self.next.load(Ordering::Relaxed);
                self.probation.store(next, Ordering::Relaxed);
                self.next.store((2 * next).min(self.longest), Ordering::Relaxed);
            }
            0 => {
                let next = self.next.load(Ordering::Relaxed);
                if next > Self::PROBATION {
                    self.next.store(next - 1, Ordering::Relaxed);
                }
            }
            left => self.probation.store(left - 1, Ordering::Relaxed),
        }
    }
}

/// How eagerly a client's exchanges look for their answers. Its clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Eagerness {
    looks: u8,
    pace: Arc<Pace>,
}

impl Eagerness {
    /// Until a server on another processor can have been woken and have answered.
    const LOOKS: u8 = 24;
    /// A server at work on another processor, or on this one with nobody else on it, has answered
    /// by then.
    const QUICK: Duration = Duration::from_micros(50);
    /// As many exchanges before it is tried again, where it is always in vain.
    const LONGEST: u32 = 8192;

    pub(crate) fn new() -> Self {
        // With one processor, one look lets the server have it.
        let looks = if endpoint::has_more_processors() { Self::LOOKS } else { 1 };
        // The first exchange may be the only one, and nothing is known yet of how busy the
        // processors are.
        Self { looks, pace: Arc::new(Pace::new(Self::QUICK, 1, Self::LONGEST)) }
    }

    /// The looks of one more exchange.
    pub(crate) fn look(&self) -> Looking {
        let is_quick = self.pace.is_quick();
        // It is, unless a look shows otherwise.
        self.pace.note(Duration::ZERO);
        if is_quick {
            return Looking { left: self.looks, pace: Some((self.pace.clone(), Instant::now())) };
        }
        Looking::default()
    }
}

/// The looks of one exchange, before it sleeps until the answer comes.
#[derive(Debug, Default)]
pub(crate) struct Looking {
    left: u8,
    pace: Option<(Arc<Pace>, Instant)>,
}

impl Looking {
    /// Offers the processor to the server, before a look.
    pub(crate) fn offer(&self) {
        if self.left > 0 {
            thread::yield_now();
        }
    }

    /// A look found nothing: whether to look again.
    pub(crate) fn again(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        if let Some((pace, since)) = &self.pace {
            let took = since.elapsed();
            if took > pace.quick {
                pace.note(took);
                *self = Self::default();
            }
        }
        self.left > 0
    }

    /// How many looks are left.
    pub(crate) fn left(&self) -> u8 {
        self.left
    }
}

/// What a task that accepts connections does after each.
#[cfg(any(feature = "smol", feature = "tokio"))]
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// Another client is there.
    Accept,
    /// Another client is there, but it is the executor's other tasks' turn first.
    GiveWay,
    /// Nobody is there.
    Wait,
}

/// How such a task divides its time.
#[cfg(any(feature = "smol", feature = "tokio"))]
#[derive(Debug, Default)]
pub(crate) struct Round {
    accepted: u32,
}

#[cfg(any(feature = "smol", feature = "tokio"))]
impl Round {
    /// So many connections are accepted before other tasks have a turn.
    const LEN: u32 = 32;

    /// A connection has been accepted, and seen to as far as it can be now. To look for the next
    /// is much cheaper than to have the system tell; and if nothing else is under way, one that
    /// is about to come on this processor is let.
    pub(crate) fn next(&mut self, alone: bool, is_queued: impl Fn() -> bool) -> Turn {
        self.accepted += 1;
        if !is_queued() {
            if alone {
                thread::yield_now();
            }
            if !alone || !is_queued() {
                self.accepted = 0;
                return Turn::Wait;
            }
        }
        if self.accepted < Self::LEN {
            return Turn::Accept;
        }
        self.accepted = 0;
        Turn::GiveWay
    }
}

/// Going on at once while a long message is under way: its other end is at work on it then, and to
/// wait, and be woken, costs far more than to try again.
#[derive(Debug, Default)]
pub(crate) struct Momentum {
    moved_much: bool,
}

impl Momentum {
    /// What moves as much at a time is a long message.
    const MUCH: usize = 16 * 1024;
    const TRIES: u32 = 4;

    /// Offers the processor, unless others need it for so long that being woken is better.
    fn offer() -> bool {
        static PACE: Pace = Pace::new(Pace::QUICK, 0, Pace::PROBATION);

        if !PACE.is_quick() {
            PACE.note(Duration::ZERO);
            return false;
        }
        let since = Instant::now();
        thread::yield_now();
        PACE.note(since.elapsed());
        true
    }

    /// Does `transfer`; if the one before moved much, again a few times while it would block.
    pub(crate) fn carry(
        &mut self,
        mut transfer: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut tries = if self.moved_much { Self::TRIES } else { 0 };
        let result = loop {
            match transfer() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries > 0 => {
                    tries = if Self::offer() { tries - 1 } else { 0 };
                }
                result => break result,
            }
        };
        self.moved_much = matches!(result, Ok(Self::MUCH..));
        result
    }
}

/// What a handler's failure is reported as: what went wrong with the connection as it was, and
/// anything else as the cause of an aborted exchange.
fn handler_failed(
    serving: &Serving,
    why: impl Into<Box<dyn core::error::Error + Send + Sync>>,
) -> Error {
    let why = match why.into().downcast::<Error>() {
        Ok(error) => return *error,
        Err(why) => why,
    };
    let why = match why.downcast::<io::Error>() {
        Ok(error) => match error.downcast::<Error>() {
            Ok(error) => return error,
            Err(error) => error.into(),
        },
        Err(why) => why,
    };
    serving.error(Phase::Handle, ErrorKind::Aborted).because(why)
}

/// What a handler's panic is reported as.
fn handler_panicked(serving: &Serving, panic: &(dyn Any + Send)) -> Error {
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message.as_str(),
        (None, None) => "a panic without a message",
    };
    handler_failed(serving, format!("the handler panicked: {message}"))
}

/// Runs what is the user's; `None` if it panics, which then ends nothing else.
pub(crate) fn contained<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(discard).ok()
}

/// Drops what a panic was about, which is the user's too, and may panic again.
fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // That could go on for ever.
        core::mem::forget(again);
    }
}

/// What the handler finished with; `None` if it failed or panicked, and then that has been
/// reported. What is the user's is done with by then, and no panic of it has come through: not of
/// an error as it is turned into ours, told of and dropped, nor of what a panic was about.
pub(crate) fn outcome<T, E>(
    handled: thread::Result<Result<T, E>>,
    serving: &Serving,
    options: &ServerOptions,
) -> Option<T>
where
    E: Into<Box<dyn core::error::Error + Send + Sync>>,
{
    let failed = |error| catch_unwind(AssertUnwindSafe(|| handler_failed(serving, error)));
    let error = match handled.map(|handled| handled.map_err(failed)) {
        Ok(Ok(finished)) => return Some(finished),
        Ok(Err(Ok(error))) => error,
        Ok(Err(Err(panic))) | Err(panic) => {
            let error = handler_panicked(serving, &*panic);
            discard(panic);
            error
        }
    };
    options.report(&error);
    let _ = contained(|| drop(error));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was spent before, on starting the server say, is not the patience of these attempts.
    #[cfg(target_os = "linux")]
    #[test]
    fn patience_begins_with_the_attempts() {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

        let name = format!("simple-ipc-patience-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let connect = || {
            let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = rustix::net::socket_with(family, kind, flags, None).unwrap();
            let address = SocketAddrUnix::new(&path).unwrap();
            rustix::net::connect(&socket, &address).ok().map(|()| socket)
        };
        let _waiting: Vec<_> = core::iter::from_fn(connect).collect();
        let mut options = ClientOptions::new(&path);
        options.patience.busy = Duration::from_secs(60);
        let earlier = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        let retries = |options: &ClientOptions| {
            matches!(Attempts::or_start(options, earlier).next(), Attempt::RetryAfter(_))
        };
        assert!(retries(&options));
        // But the limit on the whole is one.
        options.deadlines.total = Some(Duration::from_secs(3600));
        assert!(!retries(&options));
        std::fs::remove_file(path).unwrap();
    }

    /// Longer than any look takes.
    const LONG: Duration = Duration::from_secs(3600);

    /// Disappoints `pace`, and tells how long its probation is then.
    fn probation(pace: &Pace) -> u32 {
        pace.note(LONG);
        let mut times = 0;
        while !pace.is_quick() {
            pace.note(Duration::ZERO);
            times += 1;
        }
        times
    }

    #[test]
    fn who_disappoints_again_and_again_is_trusted_ever_more_seldom() {
        let pace = Pace::new(Pace::QUICK, 0, 256);
        assert!(pace.is_quick());
        assert_eq!([(); 4].map(|()| probation(&pace)), [64, 128, 256, 256]);
        // As often as it is quick, the next probation is shorter.
        (0..100).for_each(|_| pace.note(Pace::QUICK));
        assert_eq!([(); 2].map(|()| probation(&pace)), [156, 256]);
        (0..1000).for_each(|_| pace.note(Duration::ZERO));
        assert_eq!(probation(&pace), 64);
    }

    #[test]
    fn a_client_does_not_look_where_that_is_in_vain() {
        let eagerness = Eagerness { looks: 3, pace: Arc::new(Pace::new(LONG, 1, 64)) };
        assert_eq!(eagerness.look().left(), 0, "the first may be the only one");
        let mut looking = eagerness.look();
        assert_eq!(looking.left(), 3);
        assert!(looking.again() && looking.again() && !looking.again());
        eagerness.pace.note(2 * LONG);
        assert!((0..64).all(|_| eagerness.look().left() == 0));
        assert_eq!(eagerness.look().left(), 3);
    }
}
