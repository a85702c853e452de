//! A server's decisions: whom to accept, whom to keep waiting, whom to let go, when to end.
//!
//! One [`Lifecycle`] decides for one server, whatever its runtime. It has no clock, no I/O and
//! no threads: events and the time since a start of the caller's choice go in through
//! `handle_*`, decisions come back from them, and what time alone brings about comes out of
//! [`poll`](Lifecycle::poll). Runtimes keep it under a lock and do what it says.
//!
//! ```text
//!             accepted, nothing to read yet        bytes, but not all
//!  accept ──────────────▶ waiting: silent ─────────────▶ waiting: begun
//!    │                        │        ▲ evicted when descriptors run short,  │
//!    │ whole at once          │        │ longest wait first                   │ whole
//!    │                        ▼                                               ▼
//!    └──────────────────▶ running (up to the limit) ◀── queued (in order) ◀───┘
//!                             │
//!                             ▼ ended: its place goes to the first in the queue
//!
//!  serving ── stop, QUIT, idle, theft ──▶ draining ── all done, or deadline ──▶ ended
//! ```
//!
//! *Closing* a connection that waits must not lose a request that has just come: shut it down
//! for reading, so that its client can send no more and knows it, read what is there, and if
//! that is a whole request, serve it after all. So a client is served or learns that it was not.
//! One that is [late](Closing::Late) may have spoken while it was the server that did not come to
//! read, so look before that: if any of its bytes are there it is not late, and waits again.
//!
//! A connection *waits* while its client has not sent a whole request (or, for a streaming
//! handler, not one byte). Waiting costs a descriptor and a few dozen bytes, never a worker.

use alloc::vec::Vec;
use core::num::NonZeroUsize;
use core::time::Duration;

/// What a server allows itself and its clients.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Exchanges under way at once. Beyond it, clients wait in the backlog or in the queue.
    pub exchanges: NonZeroUsize,
    /// Connections that may wait at once; one more lets the longest waiting go.
    pub waiting: NonZeroUsize,
    /// The longest pause inside a request. `None`: any. Times in which the server does not
    /// [read](Lifecycle::may_read) are no pauses of the client's, here and in `silence`.
    pub receive: Option<Duration>,
    /// How long a client may stay connected without a byte. `None`: for ever, unless its
    /// descriptor is needed.
    pub silence: Option<Duration>,
    /// Stop after this long without a client. `None`: never.
    pub idle_exit: Option<Duration>,
    /// How long exchanges under way may take to end once the server stops.
    pub drain: Duration,
    /// How often to look whether the endpoint's path is still this server's. `None`: never.
    pub check_path: Option<Duration>,
}

impl Default for Limits {
    /// 8 exchanges, 65,536 waiting clients, a pause of 60 s inside a request, silence and
    /// idleness for ever, 10 s to drain, a look at the path every 2 s.
    fn default() -> Self {
        Self {
            exchanges: NonZeroUsize::new(8).unwrap(),
            waiting: NonZeroUsize::new(65_536).unwrap(),
            receive: Some(Duration::from_secs(60)),
            silence: None,
            idle_exit: None,
            drain: Duration::from_secs(10),
            check_path: Some(Duration::from_secs(2)),
        }
    }
}

/// A waiting connection's number, unique among those waiting and reused later.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(u32);

impl Ticket {
    /// The number as an index: small, so that it can index a table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The ticket of an [`index`](Self::index), as a table or a readiness event holds it.
    pub const fn from_index(index: usize) -> Self {
        Self(index as u32)
    }
}

/// Whether an exchange may begin.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Admission {
    /// Begin now; say [`handle_end`](Lifecycle::handle_end) afterwards.
    Run,
    /// Wait at the end of the queue until a place is handed over.
    Queue,
    /// Hang up: the server has ended, or has aborted what was under way.
    Refuse,
}

/// What becomes of the place of an exchange that has ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// Nobody needs it.
    Free,
    /// It belongs to the first in the queue, which begins now.
    HandOver,
}

/// What to do when the system has no descriptor for one more connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Shortage {
    /// Close this waiting connection, the longest silent, and accept again
    /// ([`Closing::Crowded`]). Its ticket is no longer valid.
    Evict(Ticket),
    /// Nobody waits: accept again when an exchange has ended, or after this long.
    Pause(Duration),
}

/// What time has brought about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Close this waiting connection. Its ticket is no longer valid.
    Close(Ticket, Closing),
    /// Look whether the path is still this server's, and say so with
    /// [`handle_path_lost`](Lifecycle::handle_path_lost) if it is not.
    CheckPath,
    /// Begin to stop: take the path away, then accept what the backlog holds, then no more, and
    /// say [`handle_backlog_drained`](Lifecycle::handle_backlog_drained).
    Stop(Reason),
    /// The time to drain is over: abort what is still under way or queued, without a flush, and
    /// do not wait for it.
    Abort,
    /// The server has ended.
    End(Ending),
}

/// Why a server closes a waiting connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Closing {
    /// It was silent, or paused inside its request, for too long, as far as was read. If there is
    /// something to read now, it has spoken in time: let it [wait](Lifecycle::handle_wait) again.
    Late,
    /// There are too many, and this one has not been heard of for the longest time.
    Crowded,
    /// The server ends.
    Ending,
}

/// Why a server stops.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// A handle's `stop`.
    Asked,
    /// A handler finished its reply and asked for it, as git's QUIT does.
    Quit,
    /// No client came for as long as [`Limits::idle_exit`].
    Idle,
    /// The endpoint's path is gone, or is no longer this server's.
    PathLost,
    /// The listener failed.
    Failed,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Ending {
    /// Why it stopped.
    pub reason: Reason,
    /// Exchanges that were aborted because the time to drain was over, or cut short.
    pub aborted: usize,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Serving,
    /// Asked to stop; `poll` has not said so yet.
    Stopping(Reason),
    Draining {
        reason: Reason,
        until: Duration,
        aborted: Option<usize>,
    },
    Ended(Ending),
}

/// Which list of waiting connections one is in, each in order of the last byte heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum List {
    Silent,
    Begun,
    Free,
}

const NONE: u32 = u32::MAX;

/// A place in the table of waiting connections, linked into its list.
#[derive(Clone, Debug)]
struct Slot {
    heard: Duration,
    previous: u32,
    next: u32,
    list: List,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

/// The decisions of one server. See the [module](self).
#[derive(Clone, Debug)]
pub struct Lifecycle {
    limits: Limits,
    phase: Phase,
    running: usize,
    queued: usize,
    slots: Vec<Slot>,
    lists: [Ends; 2],
    waiting: usize,
    free: u32,
    /// The backlog may hold connections that are still to be accepted.
    backlog: bool,
    /// When reading was allowed again after the queue had been full.
    reading_since: Duration,
    /// When the last client left, while there is none.
    idle_since: Duration,
    path_checked: Duration,
}

impl Lifecycle {
    /// How soon to try again when there is no descriptor and nobody to evict.
    const SHORTAGE_PAUSE: Duration = Duration::from_millis(20);

    /// How often the path is looked at, at most: were it always due, `poll` would never end.
    const SHORTEST_CHECK: Duration = Duration::from_millis(1);

    /// A server that begins to serve at `now`.
    pub const fn new(limits: Limits, now: Duration) -> Self {
        Self {
            limits,
            phase: Phase::Serving,
            running: 0,
            queued: 0,
            slots: Vec::new(),
            lists: [Ends { first: NONE, last: NONE }; 2],
            waiting: 0,
            free: NONE,
            backlog: true,
            reading_since: now,
            idle_since: now,
            path_checked: now,
        }
    }

    /// The limits it decides by.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether to accept one more connection now. When it says no, it says yes again after some
    /// [`handle_end`](Self::handle_end) or [`handle_unqueue`](Self::handle_unqueue).
    pub const fn may_accept(&self) -> bool {
        self.running + self.queued < self.limits.exchanges.get()
    }

    /// Whether to read from connections that wait. When it says no, whole requests are piling
    /// up, and it says yes again after some [`handle_end`](Self::handle_end) or
    /// [`handle_unqueue`](Self::handle_unqueue).
    pub const fn may_read(&self) -> bool {
        self.queued < self.limits.exchanges.get()
    }

    /// Exchanges under way, connections that wait for a place, and connections that have not
    /// sent a whole request.
    pub const fn load(&self) -> Load {
        Load { running: self.running, queued: self.queued, waiting: self.waiting }
    }

    /// Whether the server has been asked to stop.
    pub const fn is_stopping(&self) -> bool {
        !matches!(self.phase, Phase::Serving)
    }

    /// A connection that was just accepted must wait for its client: it has sent some of a
    /// request (`begun`) or nothing. Also says which connection to close for it, if there are
    /// too many.
    pub fn handle_wait(&mut self, begun: bool, now: Duration) -> (Ticket, Option<Ticket>) {
        let index = if self.free == NONE {
            self.slots.push(Slot { heard: now, previous: NONE, next: NONE, list: List::Free });
            self.slots.len() as u32 - 1
        } else {
            let index = self.free;
            self.free = self.slots[index as usize].next;
            index
        };
        self.waiting += 1;
        // Before the new one is in a list, so that it is never its own victim.
        let evicted = if self.waiting > self.limits.waiting.get() { self.evict(now) } else { None };
        self.slots[index as usize].heard = now;
        self.link(index, if begun { List::Begun } else { List::Silent });
        (Ticket(index), evicted)
    }

    /// A waiting connection has sent some more of its request, but not all.
    pub fn handle_heard(&mut self, ticket: Ticket, now: Duration) {
        if self.unlink(ticket.0) {
            self.slots[ticket.index()].heard = now;
            self.link(ticket.0, List::Begun);
        }
    }

    /// A waiting connection is gone, or no longer waits: its client hung up, its request is
    /// whole, or its bytes were no request. Its ticket is no longer valid. Says whether it was
    /// until now: if not, somebody else has been told to close it.
    pub fn handle_leave(&mut self, ticket: Ticket, now: Duration) -> bool {
        let valid = self.unlink(ticket.0);
        if valid {
            self.release(ticket.0, now);
        }
        valid
    }

    /// A request is whole (or, for a streaming handler, has begun): may its exchange begin?
    pub fn handle_request(&mut self) -> Admission {
        if matches!(self.phase, Phase::Draining { aborted: Some(_), .. } | Phase::Ended(_)) {
            Admission::Refuse
        } else if self.running < self.limits.exchanges.get() {
            self.running += 1;
            Admission::Run
        } else {
            self.queued += 1;
            Admission::Queue
        }
    }

    /// An exchange that had a place has ended, in whatever way.
    pub fn handle_end(&mut self, now: Duration) -> Place {
        if self.queued > 0 {
            self.shorten_queue(now);
            Place::HandOver
        } else {
            self.running = self.running.saturating_sub(1);
            self.note_idle(now);
            Place::Free
        }
    }

    /// One that was in the queue has left it without beginning.
    pub fn handle_unqueue(&mut self, now: Duration) {
        self.shorten_queue(now);
        self.note_idle(now);
    }

    /// The system has no descriptor for one more connection.
    pub fn handle_shortage(&mut self, now: Duration) -> Shortage {
        match self.evict(now) {
            Some(ticket) => Shortage::Evict(ticket),
            None => Shortage::Pause(Self::SHORTAGE_PAUSE),
        }
    }

    /// The server is to stop. The first reason counts.
    pub fn handle_stop(&mut self, reason: Reason) {
        if !self.is_stopping() {
            self.phase = Phase::Stopping(reason);
        }
    }

    /// The server is to stop, and there is no time to drain, or no more of it.
    pub fn handle_abort(&mut self, reason: Reason) {
        self.handle_stop(reason);
        self.limits.drain = Duration::ZERO;
        if let Phase::Draining { until, .. } = &mut self.phase {
            *until = Duration::ZERO;
        }
    }

    /// The endpoint's path is gone or somebody else's.
    pub fn handle_path_lost(&mut self) {
        self.handle_stop(Reason::PathLost);
    }

    /// After [`Action::Stop`]: everything in the backlog has been accepted, and nothing more
    /// can be.
    pub fn handle_backlog_drained(&mut self) {
        self.backlog = false;
    }

    /// The next thing that is due. Call until `None`, then again after
    /// [`wake_after`](Self::wake_after) or the next event.
    pub fn poll(&mut self, now: Duration) -> Option<Action> {
        match self.phase {
            Phase::Serving => {
                if let Some(ticket) = self.overdue(now) {
                    return Some(Action::Close(ticket, Closing::Late));
                }
                if self.next_check().is_some_and(|due| now >= due) {
                    self.path_checked = now;
                    return Some(Action::CheckPath);
                }
                if self.idle_end().is_some_and(|end| now >= end) {
                    self.phase = Phase::Stopping(Reason::Idle);
                    return self.poll(now);
                }
                None
            }
            Phase::Stopping(reason) => {
                let until = now.saturating_add(self.limits.drain);
                self.phase = Phase::Draining { reason, until, aborted: None };
                Some(Action::Stop(reason))
            }
            Phase::Draining { reason, until, aborted } => {
                // Nobody who has not spoken is waited for; who has begun may finish in time.
                let [silent, begun] = self.lists;
                let over = now >= until;
                let parting = if over && silent.first == NONE { begun.first } else { silent.first };
                if parting != NONE {
                    return Some(Action::Close(self.let_go(parting, now), Closing::Ending));
                }
                if let Some(ticket) = self.overdue(now) {
                    return Some(Action::Close(ticket, Closing::Late));
                }
                let left = self.running + self.queued;
                if over && aborted.is_none() && left > 0 {
                    self.phase = Phase::Draining { reason, until, aborted: Some(left) };
                    return Some(Action::Abort);
                }
                if aborted.is_none() && (left > 0 || self.waiting > 0 || (self.backlog && !over)) {
                    return None;
                }
                let ending = Ending { reason, aborted: aborted.unwrap_or(0) };
                self.phase = Phase::Ended(ending);
                Some(Action::End(ending))
            }
            Phase::Ended(_) => None,
        }
    }

    /// When [`poll`](Self::poll) has something to say again if nothing else happens; `None`:
    /// never.
    pub fn wake_after(&self, now: Duration) -> Option<Duration> {
        let overdue = [List::Silent, List::Begun].into_iter().filter_map(|list| self.late_at(list));
        let due = match self.phase {
            Phase::Serving => overdue.chain(self.next_check()).chain(self.idle_end()).min(),
            Phase::Stopping(_) => Some(now),
            Phase::Draining { until, .. } => {
                let silent = self.lists[List::Silent as usize].first != NONE;
                if silent || self.is_idle() && !self.backlog {
                    Some(now)
                } else {
                    overdue.chain([until]).min()
                }
            }
            Phase::Ended(_) => None,
        };
        due.map(|due| due.saturating_sub(now))
    }

    /// Whether something is due before `planned`, the time at which whoever polls wakes by itself
    /// (`None`: never), so that it must be woken to plan anew.
    pub fn is_due_before(&self, planned: Option<Duration>, now: Duration) -> bool {
        self.wake_after(now)
            .is_some_and(|after| planned.is_none_or(|planned| now.saturating_add(after) < planned))
    }

    /// How it ended, once [`Action::End`] has been said.
    pub const fn ending(&self) -> Option<Ending> {
        match self.phase {
            Phase::Ended(ending) => Some(ending),
            _ => None,
        }
    }

    fn next_check(&self) -> Option<Duration> {
        let every = self.limits.check_path?.max(Self::SHORTEST_CHECK);
        Some(self.path_checked.saturating_add(every))
    }

    fn idle_end(&self) -> Option<Duration> {
        let limit = self.limits.idle_exit?;
        self.is_idle().then(|| self.idle_since.saturating_add(limit))
    }

    const fn is_idle(&self) -> bool {
        self.running == 0 && self.queued == 0 && self.waiting == 0
    }

    fn note_idle(&mut self, now: Duration) {
        if self.is_idle() {
            self.idle_since = now;
        }
    }

    fn shorten_queue(&mut self, now: Duration) {
        if !self.may_read() {
            self.reading_since = now;
        }
        self.queued = self.queued.saturating_sub(1);
    }

    /// When the first of a list is late. Nobody is while nobody is listened to, and who was not is
    /// given all of the time again.
    fn late_at(&self, list: List) -> Option<Duration> {
        let limit = match list {
            List::Silent => self.limits.silence,
            List::Begun => self.limits.receive,
            List::Free => None,
        };
        let limit = limit.filter(|_| self.may_read())?;
        let first = self.slots.get(self.lists[list as usize].first as usize)?;
        Some(first.heard.max(self.reading_since).saturating_add(limit))
    }

    /// The waiting connection that has paused for too long, if any; it no longer waits.
    fn overdue(&mut self, now: Duration) -> Option<Ticket> {
        let is_late = |list: &List| self.late_at(*list).is_some_and(|late| now >= late);
        let list = [List::Silent, List::Begun].into_iter().find(is_late)?;
        Some(self.let_go(self.lists[list as usize].first, now))
    }

    /// The one to let go when there are too many: the one not heard of for the longest time,
    /// whether it has begun or not. Who has just come has hardly had the time to speak.
    fn evict(&mut self, now: Duration) -> Option<Ticket> {
        let [silent, begun] = self.lists.map(|list| list.first);
        let heard = |first: u32| self.slots.get(first as usize).map(|slot| slot.heard);
        let victim = match (heard(silent), heard(begun)) {
            (None, None) => return None,
            (Some(of_silent), Some(of_begun)) if of_silent <= of_begun => silent,
            (Some(_), None) => silent,
            (_, Some(_)) => begun,
        };
        Some(self.let_go(victim, now))
    }

    fn let_go(&mut self, index: u32, now: Duration) -> Ticket {
        self.unlink(index);
        self.release(index, now);
        Ticket(index)
    }

    fn link(&mut self, index: u32, list: List) {
        let ends = &mut self.lists[list as usize];
        let previous = core::mem::replace(&mut ends.last, index);
        if previous == NONE {
            ends.first = index;
        } else {
            self.slots[previous as usize].next = index;
        }
        let slot = &mut self.slots[index as usize];
        (slot.previous, slot.next, slot.list) = (previous, NONE, list);
    }

    /// Takes a slot out of its list; `false` if it was in none.
    fn unlink(&mut self, index: u32) -> bool {
        let Some(slot) = self.slots.get_mut(index as usize) else { return false };
        let (previous, next, list) = (slot.previous, slot.next, slot.list);
        if list == List::Free {
            return false;
        }
        slot.list = List::Free;
        let ends = &mut self.lists[list as usize];
        match self.slots.get_mut(previous as usize) {
            Some(slot) => slot.next = next,
            None => ends.first = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.previous = previous,
            None => ends.last = previous,
        }
        true
    }

    /// Puts a slot that is in no list among the free ones.
    fn release(&mut self, index: u32, now: Duration) {
        self.slots[index as usize].next = core::mem::replace(&mut self.free, index);
        self.waiting -= 1;
        self.note_idle(now);
    }
}

/// How much a server has to do.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Load {
    /// Exchanges under way.
    pub running: usize,
    /// Requests that wait for a place.
    pub queued: usize,
    /// Connections whose request has not come, or not whole.
    pub waiting: usize,
}
