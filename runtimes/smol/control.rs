//! What the tasks of a server share: its lifecycle, and who waits for which decision.
//!
//! Every change goes through [`Control::change`], which afterwards wakes whoever may go on. So
//! no task needs to know who else depends on what it did.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::vec::Vec;

use super::system::is_readable;
use crate::Error;
use crate::endpoint::Stream;
use crate::lifecycle::{
    Action, Admission, Closing, Ending, Lifecycle, Limits, Place, Reason, Shortage, Ticket,
};
use crate::runtimes::link::Arriving;

#[derive(Debug)]
pub(super) struct Control {
    state: Mutex<State>,
    start: Instant,
    aborted: AtomicBool,
}

#[derive(Debug)]
struct State {
    lifecycle: Lifecycle,
    /// Connections that wait for their clients, by ticket.
    waiting: Vec<Option<Waiting>>,
    /// Those of them that have something to receive and must not yet, in order. Some may have
    /// gone meanwhile.
    stalled: VecDeque<Ticket>,
    /// Requests without a place, in order.
    queue: VecDeque<Number>,
    /// The connections of exchanges that are queued, or did not end at once.
    exchanges: BTreeMap<Number, Held>,
    next_number: Number,
    /// Why connections were told to close whose tasks have not had their last look yet, by the
    /// addresses of their streams. `None`: it was taken to be late, and has spoken after all.
    closing: BTreeMap<usize, Option<Closing>>,
    /// The conductor waits for one of those to give its descriptor back.
    short: bool,
    /// [`Action::Stop`] has been said.
    stopped: bool,
    conductor: Conductor,
    ended: Option<Ended>,
    failure: Option<Error>,
    joiners: Vec<Waker>,
    /// Those to wake once the state is unlocked.
    wake: Vec<Waker>,
}

/// The number of an exchange.
pub(super) type Number = u64;

#[derive(Debug)]
struct Waiting {
    stream: Arc<Stream>,
    stalled: Option<Waker>,
}

#[derive(Debug)]
struct Held {
    stream: Arc<Stream>,
    waker: Waker,
    /// It was in the queue and has been given a place.
    granted: bool,
}

/// What the conductor waits for.
#[derive(Debug, Default)]
struct Conductor {
    /// `None` while it is awake.
    waker: Option<Waker>,
    /// It wants to accept and may not.
    gated: bool,
    /// When it wakes by itself.
    wakes_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Ended {
    Regularly(Ending),
    /// The conductor was dropped.
    Dropped,
}

/// What the conductor is to do.
#[derive(Debug)]
pub(super) enum Due {
    Action(Action),
    /// Nothing but accepting, if it may. `alone`: no exchange is under way.
    Nothing {
        may_accept: bool,
        alone: bool,
    },
}

/// Whether the conductor may sleep.
#[derive(Debug)]
pub(super) enum Rest {
    /// No: something is due.
    Not,
    /// Until it is woken, or until then.
    Until(Option<Duration>),
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Turn {
    /// Its exchange begins.
    Run,
    /// It waits in the queue.
    Queue(Number),
    /// The server has ended.
    Refused,
}

impl State {
    fn may_accept(&self) -> bool {
        self.lifecycle.may_accept() && (!self.short || self.closing.is_empty())
    }

    /// When the lifecycle has something to say. A server does not end before those who were told
    /// to close have had their last look, for one of them may hold a whole request.
    fn due_after(&self, now: Duration) -> Option<Duration> {
        if self.is_held_back() { None } else { self.lifecycle.wake_after(now) }
    }

    fn is_held_back(&self) -> bool {
        self.stopped && !self.closing.is_empty()
    }

    /// Lets those go on who can after a change.
    fn settle(&mut self, now: Duration) {
        if self.lifecycle.may_read() {
            // One is enough: when it has read, there is a change again.
            while let Some(ticket) = self.stalled.pop_front() {
                let waiting = self.waiting[ticket.index()].as_mut();
                if let Some(waker) = waiting.and_then(|waiting| waiting.stalled.take()) {
                    self.wake.push(waker);
                    break;
                }
            }
        }
        if self.conductor.waker.is_some() {
            let gate_opened = self.conductor.gated && self.may_accept();
            let due = self.due_after(now).map(|after| now + after);
            let is_due = due.is_some_and(|due| self.conductor.wakes_at.is_none_or(|at| due < at));
            if gate_opened || is_due {
                self.wake.extend(self.conductor.waker.take());
            }
        }
    }

    /// The place in the table of a connection that still waits; `None` if it was told to close.
    fn waiting(&mut self, ticket: Ticket, stream: &Arc<Stream>) -> Option<&mut Option<Waiting>> {
        let place = self.waiting.get_mut(ticket.index())?;
        // The ticket may have been given to another one since.
        let is_its = place.as_ref().is_some_and(|waiting| Arc::ptr_eq(&waiting.stream, stream));
        is_its.then_some(place)
    }

    /// A connection waits for its client.
    fn wait(&mut self, stream: &Arc<Stream>, begun: bool, now: Duration) -> Ticket {
        let (ticket, evicted) = self.lifecycle.handle_wait(begun, now);
        if let Some(evicted) = evicted {
            self.close(evicted, Closing::Crowded);
        }
        if self.waiting.len() <= ticket.index() {
            self.waiting.resize_with(ticket.index() + 1, || None);
        }
        let waiting = Waiting { stream: stream.clone(), stalled: None };
        self.waiting[ticket.index()] = Some(waiting);
        ticket
    }

    /// Tells a connection that its ticket is no longer valid. Its task then has a last look.
    fn close(&mut self, ticket: Ticket, closing: Closing) {
        let Some(waiting) = self.waiting[ticket.index()].take() else { return };
        // Either way a task that waits for something to receive wakes.
        let has_spoken = closing == Closing::Late && is_readable(&waiting.stream);
        if !has_spoken {
            waiting.stream.shut_down_reading();
        }
        self.wake.extend(waiting.stalled);
        let closing = (!has_spoken).then_some(closing);
        self.closing.insert(Arc::as_ptr(&waiting.stream).addr(), closing);
    }

    /// A connection that waited does so no longer.
    fn leave(&mut self, ticket: Ticket, stream: &Arc<Stream>, now: Duration) {
        match self.waiting(ticket, stream) {
            Some(place) => {
                *place = None;
                self.lifecycle.handle_leave(ticket, now);
            }
            None => drop(self.closing.remove(&Arc::as_ptr(stream).addr())),
        }
    }

    fn end(&mut self, number: Option<Number>, now: Duration) {
        if let Some(number) = number {
            self.exchanges.remove(&number);
        }
        if self.lifecycle.handle_end(now) == Place::HandOver {
            if let Some(next) = self.queue.pop_front() {
                if let Some(held) = self.exchanges.get_mut(&next) {
                    held.granted = true;
                    self.wake.push(held.waker.clone());
                }
            }
        }
    }
}

impl Control {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State {
            lifecycle: Lifecycle::new(limits, Duration::ZERO),
            waiting: Vec::new(),
            stalled: VecDeque::new(),
            queue: VecDeque::new(),
            exchanges: BTreeMap::new(),
            next_number: 0,
            closing: BTreeMap::new(),
            short: false,
            stopped: false,
            conductor: Conductor::default(),
            ended: None,
            failure: None,
            joiners: Vec::new(),
            wake: Vec::new(),
        };
        Self { state: Mutex::new(state), start: Instant::now(), aborted: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Changes the state, and wakes whoever may go on because of it.
    fn change<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.lock();
        let now = self.now();
        let result = change(&mut state, now);
        state.settle(now);
        let wake = core::mem::take(&mut state.wake);
        drop(state);
        // Wakers are other people's code.
        wake.into_iter().for_each(Waker::wake);
        result
    }

    /// The server is to stop.
    pub(super) fn stop(&self, reason: Reason) {
        self.change(|state, _| state.lifecycle.handle_stop(reason));
    }

    /// It is to stop without waiting for what is under way.
    pub(super) fn abort(&self) {
        self.change(|state, _| state.lifecycle.handle_abort(Reason::Asked));
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }
}

/// For the conductor.
impl Control {
    /// What is to be done now.
    pub(super) fn due(&self) -> Due {
        self.change(|state, now| {
            loop {
                let action = if state.is_held_back() { None } else { state.lifecycle.poll(now) };
                match action {
                    None => {
                        let alone = state.lifecycle.load().running == 0;
                        return Due::Nothing { may_accept: state.may_accept(), alone };
                    }
                    Some(Action::Close(ticket, closing)) => state.close(ticket, closing),
                    Some(Action::Abort) => self.abort_exchanges(state),
                    Some(action) => {
                        state.stopped |= matches!(action, Action::Stop(_));
                        return Due::Action(action);
                    }
                }
            }
        })
    }

    fn abort_exchanges(&self, state: &mut State) {
        self.aborted.store(true, Ordering::Release);
        state.queue.clear();
        for held in state.exchanges.values() {
            held.stream.shut_down();
            state.wake.push(held.waker.clone());
        }
    }

    /// Sleeps, unless something is due. `gated`: it wants to accept and may not. `alarm` is when
    /// it wakes by itself in any case, `at_latest` when it wants to.
    pub(super) fn rest(
        &self,
        waker: &Waker,
        gated: bool,
        alarm: Option<Duration>,
        at_latest: Option<Duration>,
    ) -> Rest {
        let mut state = self.lock();
        let now = self.now();
        let due = state.due_after(now).map(|after| now + after).into_iter().chain(at_latest).min();
        if gated && state.may_accept() || due.is_some_and(|due| due <= now) {
            return Rest::Not;
        }
        // An alarm that is early is left alone: setting it anew is dear.
        let wakes_at = match alarm {
            Some(alarm) if due.is_none_or(|due| alarm <= due) => Some(alarm),
            _ => due,
        };
        state.conductor = Conductor { waker: Some(waker.clone()), gated, wakes_at };
        Rest::Until(wakes_at)
    }

    pub(super) fn path_lost(&self) {
        self.change(|state, _| state.lifecycle.handle_path_lost());
    }

    /// There is no descriptor for one more connection: how long to pause, unless somebody is let
    /// go for it.
    pub(super) fn shortage(&self) -> Option<Duration> {
        self.change(|state, now| match state.lifecycle.handle_shortage(now) {
            Shortage::Evict(ticket) => {
                state.short = true;
                state.close(ticket, Closing::Crowded);
                None
            }
            Shortage::Pause(pause) => Some(pause),
        })
    }

    /// Everything in the backlog has been accepted.
    pub(super) fn backlog_drained(&self) {
        self.change(|state, _| state.lifecycle.handle_backlog_drained());
    }

    /// Accepting does not work any more.
    pub(super) fn failed(&self, error: Error) {
        self.change(|state, _| {
            state.failure.get_or_insert(error);
            state.lifecycle.handle_stop(Reason::Failed);
            state.lifecycle.handle_backlog_drained();
        });
    }

    /// The conductor has done its part, or was dropped.
    pub(super) fn conducted(&self) {
        self.change(|state, now| {
            state.ended = Some(match state.lifecycle.ending() {
                Some(ending) => Ended::Regularly(ending),
                None => {
                    self.end_at_once(state, now);
                    Ended::Dropped
                }
            });
            state.wake.append(&mut state.joiners);
        });
    }

    /// Nobody is left to do what is due: connections whose tasks are elsewhere, and outlive the
    /// conductor, must not go on without it.
    fn end_at_once(&self, state: &mut State, now: Duration) {
        state.lifecycle.handle_abort(Reason::Failed);
        while let Some(action) = state.lifecycle.poll(now) {
            match action {
                Action::Close(ticket, closing) => state.close(ticket, closing),
                Action::Abort => self.abort_exchanges(state),
                _ => {}
            }
        }
    }
}

/// For connections.
impl Control {
    /// A connection waits for its client.
    pub(super) fn wait(&self, stream: &Arc<Stream>, begun: bool) -> Ticket {
        self.change(|state, now| {
            state.short = false;
            state.wait(stream, begun, now)
        })
    }

    /// Ready when a connection that waits may receive.
    pub(super) fn poll_may_read(
        &self,
        ticket: Ticket,
        stream: &Arc<Stream>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut state = self.lock();
        if state.lifecycle.may_read() {
            return Poll::Ready(());
        }
        // One that was told to close has its last look at once.
        let Some(Some(waiting)) = state.waiting(ticket, stream) else { return Poll::Ready(()) };
        if waiting.stalled.replace(cx.waker().clone()).is_none() {
            state.stalled.push_back(ticket);
        }
        Poll::Pending
    }

    /// A connection that waits has looked and must go on waiting. Gives the ticket that it has from
    /// now on.
    pub(super) fn heard(
        &self,
        ticket: Ticket,
        stream: &Arc<Stream>,
        arriving: &Arriving,
    ) -> Ticket {
        self.change(|state, now| {
            let address = Arc::as_ptr(stream).addr();
            if state.waiting(ticket, stream).is_some() {
                if arriving.was_heard() {
                    state.lifecycle.handle_heard(ticket, now);
                }
            } else if state.closing.get(&address) == Some(&None) {
                state.closing.remove(&address);
                return state.wait(stream, arriving.has_begun(), now);
            }
            ticket
        })
    }

    /// Why a connection that waited is to close, if it is.
    pub(super) fn closing(&self, stream: &Arc<Stream>) -> Option<Closing> {
        self.lock().closing.get(&Arc::as_ptr(stream).addr()).copied().flatten()
    }

    /// A connection no longer waits.
    pub(super) fn leave(&self, ticket: Ticket, stream: &Arc<Stream>) {
        self.change(|state, now| state.leave(ticket, stream, now));
    }

    /// A request can be handled; its connection may have waited until now.
    pub(super) fn request(
        &self,
        ticket: Option<Ticket>,
        stream: &Arc<Stream>,
        waker: &Waker,
    ) -> Turn {
        self.change(|state, now| {
            // In this order, so that the server is not idle in between.
            let turn = match state.lifecycle.handle_request() {
                Admission::Run => Turn::Run,
                Admission::Queue => {
                    let number = state.hold(stream, waker);
                    state.queue.push_back(number);
                    Turn::Queue(number)
                }
                Admission::Refuse => Turn::Refused,
            };
            if let Some(ticket) = ticket {
                state.leave(ticket, stream, now);
            }
            turn
        })
    }

    /// Ready when a request in the queue has been given a place.
    pub(super) fn poll_place(&self, number: Number, cx: &mut Context<'_>) -> Poll<()> {
        match self.lock().exchanges.get_mut(&number) {
            Some(held) if !held.granted => {
                held.waker.clone_from(cx.waker());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// A request leaves the queue, or the place it was given there.
    pub(super) fn unqueue(&self, number: Number) {
        self.change(|state, now| match state.exchanges.get(&number) {
            Some(held) if held.granted => state.end(Some(number), now),
            _ => {
                state.exchanges.remove(&number);
                state.queue.retain(|queued| *queued != number);
                state.lifecycle.handle_unqueue(now);
            }
        });
    }

    /// An exchange did not end at once: notes whom to wake if it is aborted.
    pub(super) fn hold(
        &self,
        number: Option<Number>,
        stream: &Arc<Stream>,
        waker: &Waker,
    ) -> Number {
        let mut state = self.lock();
        match number {
            Some(number) => {
                if let Some(held) = state.exchanges.get_mut(&number) {
                    held.waker.clone_from(waker);
                }
                number
            }
            None => state.hold(stream, waker),
        }
    }

    /// An exchange that had a place has ended.
    pub(super) fn end(&self, number: Option<Number>, quit: bool) {
        self.change(|state, now| {
            if quit {
                state.lifecycle.handle_stop(Reason::Quit);
            }
            state.end(number, now);
        });
    }
}

impl State {
    fn hold(&mut self, stream: &Arc<Stream>, waker: &Waker) -> Number {
        let number = self.next_number;
        self.next_number += 1;
        let held = Held { stream: stream.clone(), waker: waker.clone(), granted: false };
        self.exchanges.insert(number, held);
        number
    }
}

/// For whoever waits for the end.
impl Control {
    /// Ready when the server has ended: how, or `None` if its conductor was dropped.
    pub(super) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Ending>, Error>> {
        let mut state = self.lock();
        let Some(ended) = state.ended else {
            if !state.joiners.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.joiners.push(cx.waker().clone());
            }
            return Poll::Pending;
        };
        Poll::Ready(match (state.failure.take(), ended) {
            (Some(error), _) => Err(error),
            (None, Ended::Regularly(ending)) => Ok(Some(ending)),
            (None, Ended::Dropped) => Ok(None),
        })
    }
}
