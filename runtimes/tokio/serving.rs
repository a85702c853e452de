//! What the tasks of a server share, and what each of them does.
//!
//! One task *accepts*, and goes through an exchange there and then if the request is whole at
//! once and its handler is quick. Every connection that has not sent a whole request has a small
//! task of its own that *waits* for it. The *keeper* does what time brings about. An exchange
//! that is not done at its handler's first poll becomes a task too.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker, ready};
use core::time::Duration;
use std::boxed::Box;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use std::vec::Vec;

use ::tokio::io::Interest;
use ::tokio::sync::{Notify, oneshot, watch};
use ::tokio::task::AbortHandle;
use ::tokio::time;

use super::exchange::{Finished, Link};
use super::system::{self, AsyncFd};
use crate::endpoint::{Accepted, Listener, Stream};
use crate::lifecycle::{
    Action, Admission, Closing, Ending, Lifecycle, Place, Reason, Shortage, Ticket,
};
use crate::runtimes::link::{
    Arriving, Pace, Parked, Progress, Round, Serving, Turn, contained, outcome,
};
use crate::runtimes::options::ServerOptions;
use crate::runtimes::trace::{self, Span};
use crate::{Error, Phase};

type BoxError = Box<dyn core::error::Error + Send + Sync>;

pub(super) type BoxFuture = Pin<Box<dyn Future<Output = Result<Finished, BoxError>> + Send>>;

/// The user's handler, whichever kind it is.
pub(super) trait Handler:
    Fn(Arriving, Arc<Link>) -> BoxFuture + Send + Sync + 'static
{
}

impl<H: Fn(Arriving, Arc<Link>) -> BoxFuture + Send + Sync + 'static> Handler for H {}

/// How a server ended.
#[derive(Debug)]
pub(super) struct End {
    ending: Ending,
    failure: Mutex<Option<Error>>,
}

impl End {
    pub(super) fn result(&self) -> Result<Ending, Error> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(self.ending), Err)
    }

    /// Whether exchanges were aborted, so that their tasks may still have to notice.
    pub(super) fn has_aborted(&self) -> bool {
        self.ending.aborted > 0
    }
}

/// What the tasks of a server share. It is gone when the last of them is.
pub(super) struct Shared {
    listener: Arc<Listener>,
    options: ServerOptions,
    serving: Arc<Serving>,
    streaming: bool,
    handler: Box<dyn Handler<Output = BoxFuture>>,
    pace: Pace,
    start: Instant,
    state: Mutex<State>,
    /// The listener has been shut down.
    is_shut: AtomicBool,
    /// Accepting is allowed again.
    place_free: Notify,
    /// Something may be due before the keeper wakes by itself.
    due: Notify,
    end: watch::Sender<Option<End>>,
}

struct State {
    lifecycle: Lifecycle,
    /// By ticket.
    waiting: Vec<Option<Waiting>>,
    /// The number of the last connection that had to wait.
    last_waiting: u64,
    /// Connections that were taken out of `waiting` to see what has come: not known to the
    /// lifecycle for the moment, but not to be forgotten.
    in_hand: usize,
    /// Tasks of connections that may not be read for the moment.
    held: Vec<Waker>,
    /// Requests without a place, in order.
    queue: VecDeque<Ready>,
    /// Exchanges under way, by place.
    running: Vec<Option<Running>>,
    free_places: Vec<usize>,
    /// The accepting task waits until it may accept.
    accepting_held: bool,
    /// When the keeper wakes by itself.
    keeper_wakes: Option<Duration>,
    /// Nothing may begin any more.
    aborted: bool,
    failure: Option<Error>,
}

/// A connection whose request is not there yet.
struct Waiting {
    stream: AsyncFd<Stream>,
    /// What has come of the request.
    parked: Parked,
    /// Tells it from others that have its ticket before or after it.
    number: u64,
    /// There is more to receive, which is not announced.
    more: bool,
    task: AbortHandle,
}

/// A request whose exchange can begin.
struct Ready {
    arriving: Arriving,
    stream: Stream,
}

/// An exchange under way.
struct Running {
    link: Arc<Link>,
    /// None while its handler is polled for the first time.
    task: Option<AbortHandle>,
}

impl State {
    fn new(lifecycle: Lifecycle) -> Self {
        Self {
            lifecycle,
            waiting: Vec::new(),
            last_waiting: 0,
            in_hand: 0,
            held: Vec::new(),
            queue: VecDeque::new(),
            running: Vec::new(),
            free_places: Vec::new(),
            accepting_held: false,
            keeper_wakes: None,
            aborted: false,
            failure: None,
        }
    }

    fn take_waiting(&mut self, ticket: Ticket) -> Option<Waiting> {
        self.waiting.get_mut(ticket.index()).and_then(Option::take)
    }

    fn put_waiting(&mut self, ticket: Ticket, waiting: Waiting) {
        if self.waiting.len() <= ticket.index() {
            self.waiting.resize_with(ticket.index() + 1, || None);
        }
        self.waiting[ticket.index()] = Some(waiting);
    }
}

impl Shared {
    /// Starts to serve.
    pub(super) fn start(
        listener: Listener,
        options: ServerOptions,
        streaming: bool,
        handler: Box<dyn Handler<Output = BoxFuture>>,
    ) -> io::Result<(Weak<Self>, watch::Receiver<Option<End>>)> {
        listener.set_nonblocking(true)?;
        let listener = Arc::new(listener);
        let watched = system::watch(listener.clone(), Interest::READABLE)?;
        let serving = Serving {
            path: listener.path().clone(),
            send: options.send,
            receive: options.limits.receive,
        };
        let (end, ended) = watch::channel(None);
        let shared = Arc::new(Self {
            listener,
            serving: Arc::new(serving),
            streaming,
            handler,
            pace: Pace::default(),
            start: Instant::now(),
            state: Mutex::new(State::new(Lifecycle::new(options.limits, Duration::ZERO))),
            options,
            is_shut: AtomicBool::new(false),
            place_free: Notify::new(),
            due: Notify::new(),
            end,
        });
        let weak = Arc::downgrade(&shared);
        ::tokio::spawn(shared.clone().accept(watched));
        ::tokio::spawn(shared.keep());
        Ok((weak, ended))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What panics is the user's code, and that runs without the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn stop(&self, reason: Reason) {
        let mut state = self.lock();
        state.lifecycle.handle_stop(reason);
        self.settle(&state);
    }

    pub(super) fn abort(&self) {
        let mut state = self.lock();
        state.lifecycle.handle_abort(Reason::Asked);
        self.settle(&state);
    }

    /// Wakes the keeper if something is due before it wakes by itself.
    fn settle(&self, state: &State) {
        if state.lifecycle.is_due_before(state.keeper_wakes, self.now()) {
            self.due.notify_one();
        }
    }
}

/// Accepting.
impl Shared {
    /// So many in a row are a crowd.
    const CROWD: usize = 4;

    /// How soon to look for newcomers who cannot be watched for.
    const UNWATCHED: Duration = Duration::from_millis(20);

    async fn accept(self: Arc<Self>, watched: AsyncFd<Arc<Listener>>) {
        let _accepting = Accepting(&self);
        let mut round = Round::default();
        let mut watched = Some(watched);
        loop {
            let listener = match watched.take() {
                Some(listener) => Ok(listener),
                None => system::watch(self.listener.clone(), Interest::READABLE),
            };
            match listener {
                Ok(listener) => {
                    // Ready at once if it has not been cleared since.
                    let mut ready = match listener.readable().await {
                        Ok(ready) => ready,
                        Err(error) => return self.fail(error),
                    };
                    let accepted = self.accept_until(&mut round, Self::CROWD).await;
                    let Some(accepted) = accepted else { return };
                    if accepted < Self::CROWD {
                        // An event that came since `ready` is not cleared by this.
                        ready.clear_ready();
                        drop(ready);
                        watched = Some(listener);
                        continue;
                    }
                    // As long as there is no need to wait, the runtime need not be woken by each
                    // newcomer.
                }
                // The system has no room for one more that is watched, for the moment.
                Err(_) => drop(time::timeout(Self::UNWATCHED, self.place_free.notified()).await),
            }
            if self.accept_until(&mut round, usize::MAX).await.is_none() {
                return;
            }
        }
    }

    /// Accepts until there is nobody left, or `most` times: tells how often. `None`: no more can
    /// be accepted.
    async fn accept_until(self: &Arc<Self>, round: &mut Round, most: usize) -> Option<usize> {
        for accepted in 0..most {
            let alone = self.wait_for_place().await?;
            match self.listener.accept() {
                Accepted::Stream(stream) => self.welcome(stream, alone),
                Accepted::Nothing if !self.is_shut.load(Ordering::SeqCst) => {}
                Accepted::Shortage => self.relieve().await,
                // What was queued has been accepted, and no more can be.
                Accepted::Nothing | Accepted::Stopped => {
                    self.backlog_is_drained(&mut self.lock());
                    return None;
                }
                Accepted::Failed(error) => {
                    self.fail(error);
                    return None;
                }
            }
            match round.next(alone, || system::is_readable(&*self.listener)) {
                Turn::Accept => {}
                Turn::GiveWay => ::tokio::task::yield_now().await,
                Turn::Wait => return Some(accepted),
            }
        }
        Some(most)
    }

    /// Waits until accepting is allowed; `None` when the server has ended. Tells whether nothing
    /// else is under way.
    async fn wait_for_place(&self) -> Option<bool> {
        loop {
            {
                let mut state = self.lock();
                if state.lifecycle.ending().is_some() {
                    return None;
                }
                state.accepting_held = !state.lifecycle.may_accept();
                if !state.accepting_held {
                    return Some(state.lifecycle.load().running == 0);
                }
            }
            self.place_free.notified().await;
        }
    }

    fn backlog_is_drained(&self, state: &mut State) {
        state.lifecycle.handle_backlog_drained();
        self.settle(state);
    }

    fn fail(&self, error: io::Error) {
        let mut state = self.lock();
        state.failure.get_or_insert(Error::io(Phase::Accept, &self.serving.path, error));
        state.lifecycle.handle_stop(Reason::Failed);
        self.backlog_is_drained(&mut state);
    }

    /// Makes room for a connection that the system has no descriptor for.
    async fn relieve(self: &Arc<Self>) {
        let pause = {
            let mut state = self.lock();
            match state.lifecycle.handle_shortage(self.now()) {
                Shortage::Evict(ticket) => {
                    self.let_go(state, ticket, Closing::Crowded);
                    return;
                }
                Shortage::Pause(pause) => {
                    state.accepting_held = true;
                    pause
                }
            }
        };
        let _ = time::timeout(pause, self.place_free.notified()).await;
    }

    /// A client has connected.
    fn welcome(self: &Arc<Self>, stream: Stream, alone: bool) {
        let mut arriving = Arriving::new(&self.options, self.streaming);
        let nobody_else = || alone && !system::is_readable(&*self.listener);
        match arriving.greet(&stream, &self.serving, nobody_else) {
            Progress::Ready => {
                self.begin(Ready { arriving, stream }, None, self.pace.is_quick());
            }
            Progress::Pending | Progress::More => self.keep_waiting(arriving, stream),
            Progress::Gone(Some(error)) => self.options.report(&error),
            Progress::Gone(None) => {}
        }
    }
}

/// The task that accepts. If it panics, which nobody else would hear of, the server ends.
struct Accepting<'s>(&'s Shared);

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(io::Error::other("what accepts connections has panicked"));
        }
    }
}

/// Waiting for requests.
impl Shared {
    /// Leaves a connection to a task of its own.
    fn keep_waiting(self: &Arc<Self>, arriving: Arriving, stream: Stream) {
        let stream = match system::watch(stream, Interest::READABLE) {
            Ok(stream) => stream,
            Err(error) => {
                return self.options.report(&self.serving.failed(Phase::Receive, error));
            }
        };
        let begun = arriving.has_begun();
        let mut state = self.lock();
        if state.lifecycle.ending().is_some() {
            return; // Nobody would ever let it go.
        }
        let (ticket, evicted) = state.lifecycle.handle_wait(begun, self.now());
        state.last_waiting += 1;
        let number = state.last_waiting;
        let task = ::tokio::spawn(self.clone().wait(ticket, number)).abort_handle();
        let parked = arriving.park();
        let evicted = evicted.and_then(|ticket| state.take_waiting(ticket));
        state.put_waiting(ticket, Waiting { stream, parked, number, more: false, task });
        self.settle(&state);
        self.part(state, evicted, Closing::Crowded);
    }

    /// What the task of a waiting connection does. There are many of them, so it holds little.
    async fn wait(self: Arc<Self>, mut ticket: Ticket, number: u64) {
        while let Some(waiting) = poll_fn(|cx| self.poll_waiting(cx, ticket, number)).await {
            match self.hear(waiting) {
                Some(again) => ticket = again,
                None => return,
            }
            // It may have more to say than others should wait for.
            ::tokio::task::yield_now().await;
        }
    }

    /// Ready when the connection has something to receive, and must see to it; with `None` if
    /// somebody else has taken it.
    fn poll_waiting(
        &self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        number: u64,
    ) -> Poll<Option<Waiting>> {
        let mut state = self.lock();
        let state = &mut *state;
        let place = state.waiting.get_mut(ticket.index());
        let Some(place) = place.filter(|w| w.as_ref().is_some_and(|w| w.number == number)) else {
            return Poll::Ready(None);
        };
        if !state.lifecycle.may_read() {
            state.held.push(cx.waker().clone());
            return Poll::Pending;
        }
        let waiting = place.as_ref().expect("it was there");
        // It may turn out not to be ready; then this is what is to be waited for anew. A failure
        // shows when it is received from.
        if !waiting.more {
            if let Ok(mut ready) = ready!(waiting.stream.poll_read_ready(cx)) {
                ready.clear_ready();
            }
        }
        state.lifecycle.handle_leave(ticket, self.now());
        state.in_hand += 1;
        Poll::Ready(place.take())
    }

    /// A waiting connection can be read. Gives its new ticket if it must go on waiting.
    fn hear(self: &Arc<Self>, waiting: Waiting) -> Option<Ticket> {
        let in_hand = InHand(self);
        let Waiting { stream, parked, number, task, .. } = waiting;
        let mut arriving = parked.resume(&self.options, self.streaming);
        let progress = arriving.receive(stream.get_ref(), &self.serving);
        let more = matches!(progress, Progress::More);
        match progress {
            Progress::Ready => {
                let stream = stream.into_inner();
                self.begin(Ready { arriving, stream }, Some(in_hand), true);
                None
            }
            Progress::Pending | Progress::More => {
                let (begun, parked) = (arriving.has_begun(), arriving.park());
                let mut state = self.lock();
                let (ticket, evicted) = state.lifecycle.handle_wait(begun, self.now());
                let evicted = evicted.and_then(|ticket| state.take_waiting(ticket));
                state.put_waiting(ticket, Waiting { stream, parked, number, more, task });
                self.settle(&state);
                self.part(state, evicted, Closing::Crowded);
                Some(ticket)
            }
            Progress::Gone(error) => {
                error.iter().for_each(|error| self.options.report(error));
                None
            }
        }
    }

    /// Closes the waiting connection of `ticket`, which is no longer valid.
    fn let_go(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        ticket: Ticket,
        closing: Closing,
    ) {
        let waiting = state.take_waiting(ticket);
        self.part(state, waiting, closing);
    }

    /// Closes a connection that waited, unless its request has come at the last moment or it is
    /// heard after all.
    fn part(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        waiting: Option<Waiting>,
        closing: Closing,
    ) {
        let Some(Waiting { stream, parked, task, .. }) = waiting else { return };
        let mut arriving = parked.resume(&self.options, self.streaming);
        state.in_hand += 1;
        drop(state);
        let in_hand = InHand(self);
        task.abort();
        let stream = stream.into_inner();
        match arriving.receive_last(&stream, &self.serving, closing) {
            Progress::Ready => self.begin(Ready { arriving, stream }, Some(in_hand), false),
            Progress::Pending | Progress::More => self.keep_waiting(arriving, stream),
            Progress::Gone(Some(error)) => self.options.report(&error),
            Progress::Gone(None) => {}
        }
    }
}

/// A connection that the lifecycle does not know of for the moment: the server must not end
/// before it is seen whether its request has come.
struct InHand<'s>(&'s Shared);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_hand -= 1;
        if state.lifecycle.is_stopping() {
            self.0.due.notify_one();
        }
    }
}

/// Exchanges.
impl Shared {
    /// Begins an exchange, or puts it into the queue. Its connection may have been in hand: no
    /// longer, once the lifecycle knows of it, for its handler may take its time.
    fn begin(self: &Arc<Self>, ready: Ready, in_hand: Option<InHand<'_>>, in_place: bool) {
        let mut state = self.lock();
        let exchange = match state.lifecycle.handle_request() {
            Admission::Run => Some(self.enter(&mut state, ready)),
            Admission::Queue => {
                state.queue.push_back(ready);
                None
            }
            Admission::Refuse => None,
        };
        drop(state);
        drop(in_hand);
        if let Some(exchange) = exchange {
            self.run(exchange, in_place);
        }
    }

    /// Notes an exchange as under way, so that it can be aborted.
    fn enter(self: &Arc<Self>, state: &mut State, Ready { arriving, stream }: Ready) -> Exchange {
        let span = arriving.span(&self.serving);
        let link = Arc::new(Link::new(stream, self.serving.clone()));
        let running = Some(Running { link: link.clone(), task: None });
        let place = match state.free_places.pop() {
            Some(place) => {
                state.running[place] = running;
                place
            }
            None => {
                state.running.push(running);
                state.running.len() - 1
            }
        };
        Exchange { shared: self.clone(), link, span, place, step: Step::Arrived(arriving) }
    }

    /// Goes through an exchange: here, if its handler is done at its first poll and `in_place`
    /// allows for that, otherwise in a task of its own. Then through those that it hands its
    /// place to.
    fn run(self: &Arc<Self>, mut exchange: Exchange, mut in_place: bool) {
        loop {
            if in_place {
                // Whoever takes it over polls it again at once, so nobody needs to be woken.
                if let Poll::Ready(finished) =
                    exchange.poll(&mut Context::from_waker(Waker::noop()))
                {
                    match self.leave(exchange, finished) {
                        Some(next) => exchange = next,
                        None => return,
                    }
                    in_place = self.pace.is_quick();
                    continue;
                }
            }
            let (place, link) = (exchange.place, exchange.link.clone());
            let shared = self.clone();
            // Without the lock: a runtime that is shut down drops the handler's future here.
            let task = ::tokio::spawn(async move {
                let finished = poll_fn(|cx| exchange.poll(cx)).await;
                if let Some(next) = shared.leave(exchange, finished) {
                    shared.run(next, true);
                }
            });
            let mut state = self.lock();
            if state.aborted {
                drop(state);
                return task.abort();
            }
            // It may be over, and its place another's.
            let running = state.running[place].as_mut();
            if let Some(running) = running.filter(|running| Arc::ptr_eq(&running.link, &link)) {
                running.task = Some(task.abort_handle());
            }
            return;
        }
    }

    /// An exchange has ended. Gives the one that has its place now.
    fn leave(self: &Arc<Self>, exchange: Exchange, finished: Option<Finished>) -> Option<Exchange> {
        let place = exchange.place;
        let mut state = self.lock();
        if state.aborted {
            return None;
        }
        state.running[place] = None;
        state.free_places.push(place);
        if let Some(Finished { stop: true }) = finished {
            state.lifecycle.handle_stop(Reason::Quit);
        }
        let next = match state.lifecycle.handle_end(self.now()) {
            Place::HandOver => state.queue.pop_front(),
            Place::Free => None,
        };
        let next = next.map(|ready| self.enter(&mut state, ready));
        if state.accepting_held {
            self.place_free.notify_one();
        }
        if state.lifecycle.may_read() {
            state.held.drain(..).for_each(Waker::wake);
        }
        self.settle(&state);
        next
    }
}

/// An exchange under way. Dropping it before its end aborts it.
struct Exchange {
    shared: Arc<Shared>,
    link: Arc<Link>,
    span: Span,
    place: usize,
    step: Step,
}

enum Step {
    Arrived(Arriving),
    Handled(BoxFuture),
    Over,
}

impl Exchange {
    /// Polls the handler. Ready with `None` if it failed, and then nothing more is sent.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Finished>> {
        let Self { shared, link, span, place: _, step } = self;
        let begun = Instant::now();
        let poll = || {
            if let Step::Arrived(_) = step {
                let Step::Arrived(arriving) = core::mem::replace(step, Step::Over) else {
                    unreachable!()
                };
                *step = Step::Handled((shared.handler)(arriving, link.clone()));
            }
            let Step::Handled(future) = step else { return Poll::Pending };
            let handled = ready!(future.as_mut().poll(cx));
            // Here, for dropping what is the user's may panic as well.
            *step = Step::Over;
            Poll::Ready(handled)
        };
        let polled = catch_unwind(AssertUnwindSafe(|| span.run(poll)));
        shared.pace.note(begun.elapsed());
        let failed = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(finished))) => return Poll::Ready(Some(finished)),
            Ok(Poll::Ready(Err(error))) => Ok(Err(error)),
            Err(panic) => {
                let future = core::mem::replace(step, Step::Over);
                let _ = contained(|| drop(future));
                Err(panic)
            }
        };
        link.socket.stream().shut_down();
        Poll::Ready(span.run(|| outcome(failed, &shared.serving, &shared.options)))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !matches!(self.step, Step::Over) {
            // Whoever else may hold the reply: nothing more is sent.
            self.link.socket.stream().shut_down();
        }
    }
}

/// What time brings about.
impl Shared {
    async fn keep(self: Arc<Self>) {
        let mut unpublishing = None;
        let ending = loop {
            match self.next_action() {
                Some(Action::Close(ticket, closing)) => self.let_go(self.lock(), ticket, closing),
                Some(Action::CheckPath) => {
                    if !self.listener.is_in_place() {
                        self.lock().lifecycle.handle_path_lost();
                    }
                }
                Some(Action::Stop(reason)) => {
                    trace::stopping(&self.serving.path, reason);
                    unpublishing = Some(Unpublishing::start(self.listener.clone()));
                }
                Some(Action::Abort) => self.abort_exchanges(),
                Some(Action::End(ending)) => break ending,
                None => self.rest(&mut unpublishing).await,
            }
        };
        // Nobody is served any more, even if the path is still there for the moment.
        self.shut_down();
        self.place_free.notify_one();
        if let Some(unpublishing) = unpublishing {
            unpublishing.await;
        }
        trace::ended(&self.serving.path, ending);
        let failure = Mutex::new(self.lock().failure.take());
        self.end.send_replace(Some(End { ending, failure }));
    }

    /// Sleeps until something may be due.
    async fn rest(&self, unpublishing: &mut Option<Unpublishing>) {
        let wait = {
            let mut state = self.lock();
            let now = self.now();
            let after = state.lifecycle.wake_after(now);
            // While a connection is in hand, nothing is decided about the end; whoever has it
            // in hand says when it no longer is.
            let after = after.filter(|_| !state.must_not_end());
            state.keeper_wakes = after.map(|after| now + after);
            after
        };
        let due = async {
            match wait {
                Some(after) => drop(time::timeout(after, self.due.notified()).await),
                None => self.due.notified().await,
            }
        };
        let mut due = pin!(due);
        poll_fn(|cx| {
            if unpublishing.as_mut().is_some_and(|path| Pin::new(path).poll(cx).is_ready()) {
                *unpublishing = None;
                self.shut_down();
            }
            due.as_mut().poll(cx)
        })
        .await;
    }

    /// Nobody can connect any more.
    fn shut_down(&self) {
        if !self.is_shut.load(Ordering::SeqCst) {
            self.listener.shut_down();
            self.is_shut.store(true, Ordering::SeqCst);
        }
    }

    fn next_action(&self) -> Option<Action> {
        let mut state = self.lock();
        if state.must_not_end() { None } else { state.lifecycle.poll(self.now()) }
    }

    fn abort_exchanges(&self) {
        let mut state = self.lock();
        state.aborted = true;
        let running = core::mem::take(&mut state.running);
        let queue = core::mem::take(&mut state.queue);
        drop(state);
        drop(queue);
        for Running { link, task } in running.into_iter().flatten() {
            link.socket.stream().shut_down();
            if let Some(task) = task {
                task.abort();
            }
        }
    }
}

/// The path is being given up. It may have to wait for another server that starts or ends, so it has a
/// thread of its own, which nothing can keep from running. If the runtime ends meanwhile, that waits.
struct Unpublishing {
    done: oneshot::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Unpublishing {
    fn start(listener: Arc<Listener>) -> Self {
        let (tell, done) = oneshot::channel();
        let also_here = listener.clone();
        let run = move || {
            listener.unpublish();
            // It is closed when the server's tasks are gone, and not later.
            drop(listener);
            // Nobody may be there any more.
            let _ = tell.send(());
        };
        let thread = thread::Builder::new().name("simple-ipc stop".into()).spawn(run).ok();
        if thread.is_none() {
            also_here.unpublish();
        }
        Self { done, thread }
    }
}

impl Future for Unpublishing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Without a thread there is nobody to tell, which is an error and ready as well.
        Pin::new(&mut self.done).poll(cx).map(drop)
    }
}

impl Drop for Unpublishing {
    fn drop(&mut self) {
        // Once it is done, this takes no time; it may still be waking a task, and thereby keep what is
        // the runtime's.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn must_not_end(&self) -> bool {
        self.in_hand > 0 && self.lifecycle.is_stopping()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("listener", &self.listener)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
