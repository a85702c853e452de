//! What a server may decide, said naively: one list, looked through from the beginning every
//! time.

use core::time::Duration;

use simple_ipc::lifecycle::{Action, Admission, Closing, Limits, Load, Place, Reason, Ticket};

pub(crate) struct Model {
    limits: Limits,
    phase: Phase,
    running: usize,
    queued: usize,
    /// In order of the last byte heard.
    pub(crate) waiting: Vec<Waiting>,
    backlog: bool,
    reading_since: Duration,
    idle_since: Duration,
    checked: Duration,
}

#[derive(Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) ticket: Ticket,
    begun: bool,
    heard: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Serving,
    Stopping(Reason),
    Draining { reason: Reason, until: Duration, aborted: Option<usize> },
    Ended,
}

impl Model {
    pub(crate) fn new(limits: Limits, now: Duration) -> Self {
        Self {
            limits,
            phase: Phase::Serving,
            running: 0,
            queued: 0,
            waiting: Vec::new(),
            backlog: true,
            reading_since: now,
            idle_since: now,
            checked: now,
        }
    }

    pub(crate) fn load(&self) -> Load {
        let mut load = Load::default();
        (load.running, load.queued, load.waiting) = (self.running, self.queued, self.waiting.len());
        load
    }

    fn is_idle(&self) -> bool {
        self.load() == Load::default()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.phase != Phase::Serving
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whom to let go when there is no room: who has not been heard of for the longest time, and
    /// of several the one that never spoke.
    pub(crate) fn victim(&self) -> Option<Ticket> {
        let waiting = self.waiting.iter().min_by_key(|waiting| (waiting.heard, waiting.begun));
        waiting.map(|waiting| waiting.ticket)
    }

    fn first(&self, begun: bool) -> Option<Waiting> {
        self.waiting.iter().copied().find(|waiting| waiting.begun == begun)
    }

    pub(crate) fn wait(&mut self, ticket: Ticket, begun: bool, heard: Duration) {
        self.waiting.push(Waiting { ticket, begun, heard });
    }

    pub(crate) fn hear(&mut self, ticket: Ticket, now: Duration) {
        let at = self.position(ticket);
        self.waiting.remove(at);
        self.wait(ticket, true, now);
    }

    pub(crate) fn leave(&mut self, ticket: Ticket, now: Duration) {
        let at = self.position(ticket);
        self.waiting.remove(at);
        self.note_idle(now);
    }

    fn position(&self, ticket: Ticket) -> usize {
        self.waiting.iter().position(|waiting| waiting.ticket == ticket).expect("it waits")
    }

    pub(crate) fn request(&mut self) -> Admission {
        if let Phase::Draining { aborted: Some(_), .. } | Phase::Ended = self.phase {
            return Admission::Refuse;
        }
        if self.running == self.limits.exchanges.get() {
            self.queued += 1;
            return Admission::Queue;
        }
        self.running += 1;
        Admission::Run
    }

    pub(crate) fn end(&mut self, now: Duration) -> Place {
        if self.queued > 0 {
            self.dequeue(now);
            return Place::HandOver;
        }
        self.running -= 1;
        self.note_idle(now);
        Place::Free
    }

    pub(crate) fn unqueue(&mut self, now: Duration) {
        self.dequeue(now);
        self.note_idle(now);
    }

    fn may_read(&self) -> bool {
        self.queued < self.limits.exchanges.get()
    }

    fn dequeue(&mut self, now: Duration) {
        let could_read = self.may_read();
        self.queued -= 1;
        if !could_read && self.may_read() {
            self.reading_since = now;
        }
    }

    /// When one that waits is late, if nothing else happens: it is not while nobody is read from.
    fn late_at(&self, waiting: &Waiting) -> Option<Duration> {
        let limit = if waiting.begun { self.limits.receive } else { self.limits.silence };
        let since = waiting.heard.max(self.reading_since);
        limit.filter(|_| self.may_read()).map(|limit| since.saturating_add(limit))
    }

    fn note_idle(&mut self, now: Duration) {
        if self.is_idle() {
            self.idle_since = now;
        }
    }

    pub(crate) fn stop(&mut self, reason: Reason) {
        if self.phase == Phase::Serving {
            self.phase = Phase::Stopping(reason);
        }
    }

    pub(crate) fn abort(&mut self, reason: Reason, now: Duration) {
        self.stop(reason);
        self.limits.drain = Duration::ZERO;
        if let Phase::Draining { until, .. } = &mut self.phase {
            *until = now;
        }
    }

    pub(crate) fn backlog_drained(&mut self) {
        self.backlog = false;
    }

    /// Every action that is right at `now`; none, if nothing is due.
    pub(crate) fn due(&self, now: Duration) -> Vec<Due> {
        let mut due = Vec::new();
        let is_past = |begin: Duration, limit: Option<Duration>| {
            limit.is_some_and(|limit| now >= begin.saturating_add(limit))
        };
        let overdue = [false, true]
            .into_iter()
            .filter_map(|begun| self.first(begun))
            .filter(|first| self.late_at(first).is_some_and(|late| now >= late))
            .map(|first| Due::Close(first.ticket, Closing::Late));
        match self.phase {
            Phase::Serving => {
                due.extend(overdue);
                if is_past(self.checked, self.limits.check_path) {
                    due.push(Due::CheckPath);
                }
                if self.is_idle() && is_past(self.idle_since, self.limits.idle_exit) {
                    due.push(Due::Stop(Reason::Idle));
                }
            }
            Phase::Stopping(reason) => due.push(Due::Stop(reason)),
            Phase::Draining { reason, until, aborted } => {
                due.extend(overdue);
                due.extend(
                    self.first(false).map(|first| Due::Close(first.ticket, Closing::Ending)),
                );
                if now >= until {
                    due.extend(
                        self.first(true).map(|first| Due::Close(first.ticket, Closing::Ending)),
                    );
                }
                let left = self.running + self.queued;
                if !due.is_empty() {
                } else if left > 0 && aborted.is_none() {
                    due.extend((now >= until).then_some(Due::Abort));
                } else if self.waiting.is_empty()
                    && (!self.backlog || now >= until || aborted.is_some())
                {
                    due.push(Due::End(reason, aborted.unwrap_or(0)));
                }
            }
            Phase::Ended => {}
        }
        due
    }

    /// When anything is due next, if nothing is at `now`.
    pub(crate) fn next_due(&self, now: Duration) -> Option<Duration> {
        let paused = self.waiting.iter().filter_map(|waiting| self.late_at(waiting));
        let others = [
            self.limits.check_path.map(|every| self.checked.saturating_add(every)),
            self.limits.idle_exit.map(|limit| self.idle_since.saturating_add(limit)),
            match self.phase {
                Phase::Draining { until, .. } => Some(until),
                _ => None,
            },
        ];
        let mut times: Vec<_> = paused.chain(others.into_iter().flatten()).collect();
        times.sort();
        times.into_iter().find(|&time| time > now && !self.due(time).is_empty())
    }

    /// `action` has been decided at `now`.
    pub(crate) fn apply(&mut self, action: Due, now: Duration) {
        match (action, self.phase) {
            (Due::Close(ticket, _), _) => self.leave(ticket, now),
            (Due::CheckPath, _) => self.checked = now,
            (Due::Stop(reason), _) => {
                let until = now.saturating_add(self.limits.drain);
                self.phase = Phase::Draining { reason, until, aborted: None };
            }
            (Due::Abort, Phase::Draining { reason, until, .. }) => {
                let aborted = Some(self.running + self.queued);
                self.phase = Phase::Draining { reason, until, aborted };
            }
            (Due::End(..), _) => self.phase = Phase::Ended,
            (Due::Abort, _) => unreachable!(),
        }
    }
}

/// An [`Action`], so that it can be written down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Due {
    Close(Ticket, Closing),
    CheckPath,
    Stop(Reason),
    Abort,
    End(Reason, usize),
}

impl From<Action> for Due {
    fn from(action: Action) -> Self {
        match action {
            Action::Close(ticket, closing) => Self::Close(ticket, closing),
            Action::CheckPath => Self::CheckPath,
            Action::Stop(reason) => Self::Stop(reason),
            Action::Abort => Self::Abort,
            Action::End(ending) => Self::End(ending.reason, ending.aborted),
            other => panic!("the model does not know {other:?}"),
        }
    }
}
