//! The lifecycle beside its model, step by step.

use core::time::Duration;
use std::collections::BTreeSet;

use simple_ipc::lifecycle::{Lifecycle, Limits, Reason, Shortage, Ticket};

use super::model::{Due, Model};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Pass(Duration),
    /// Until the next thing is due.
    Sleep,
    Wait {
        begun: bool,
    },
    Heard(usize),
    Leave(usize),
    /// With a ticket that is no longer valid.
    Stale(usize),
    Request,
    End,
    Unqueue,
    Shortage,
    Stop(Reason),
    Abort(Reason),
    PathLost,
    BacklogDrained,
    Poll,
}

/// The lifecycle beside its model.
pub(crate) struct Both {
    now: Duration,
    limits: Limits,
    lifecycle: Lifecycle,
    model: Model,
    /// Tickets that were given out and taken back.
    stale: BTreeSet<Ticket>,
}

impl Both {
    pub(crate) fn new(limits: Limits) -> Self {
        // The clock need not begin at zero.
        let now = Duration::from_secs(5);
        let (lifecycle, model) = (Lifecycle::new(limits, now), Model::new(limits, now));
        Self { now, limits, lifecycle, model, stale: BTreeSet::new() }
    }

    pub(crate) fn handle(&mut self, event: Event) {
        let waiting: Vec<Ticket> =
            self.model.waiting.iter().map(|waiting| waiting.ticket).collect();
        let chosen = |at: usize| (!waiting.is_empty()).then(|| waiting[at % waiting.len()]);
        match event {
            Event::Pass(time) => self.now += time,
            Event::Sleep => {
                self.settle();
                let rest = self.lifecycle.wake_after(self.now).unwrap_or_default();
                // Sleeping to the end of time ends every test.
                self.now += rest.min(Duration::from_secs(1));
            }
            Event::Wait { begun } => self.wait(begun),
            Event::Heard(at) => {
                if let Some(ticket) = chosen(at) {
                    self.lifecycle.handle_heard(ticket, self.now);
                    self.model.hear(ticket, self.now);
                }
            }
            Event::Leave(at) => {
                if let Some(ticket) = chosen(at) {
                    assert!(self.lifecycle.handle_leave(ticket, self.now));
                    assert!(!self.lifecycle.handle_leave(ticket, self.now), "valid once");
                    self.model.leave(ticket, self.now);
                    self.stale.insert(ticket);
                }
            }
            Event::Stale(at) => {
                let Some(&ticket) = self.stale.iter().nth(at % self.stale.len().max(1)) else {
                    return;
                };
                assert!(!self.lifecycle.handle_leave(ticket, self.now));
                self.lifecycle.handle_heard(ticket, self.now);
                assert!(!self.lifecycle.handle_leave(ticket, self.now));
            }
            Event::Request => {
                assert_eq!(self.lifecycle.handle_request(), self.model.request());
            }
            Event::End if self.model.load().running > 0 => {
                assert_eq!(self.lifecycle.handle_end(self.now), self.model.end(self.now));
            }
            Event::Unqueue if self.model.load().queued > 0 => {
                self.lifecycle.handle_unqueue(self.now);
                self.model.unqueue(self.now);
            }
            Event::End | Event::Unqueue => {}
            Event::Shortage => {
                match (self.lifecycle.handle_shortage(self.now), self.model.victim()) {
                    (Shortage::Evict(ticket), victim) => {
                        assert_eq!(Some(ticket), victim, "the longest silent first");
                        self.model.leave(ticket, self.now);
                        self.stale.insert(ticket);
                    }
                    (Shortage::Pause(pause), victim) => {
                        assert_eq!(victim, None);
                        assert!(!pause.is_zero(), "no busy loop");
                    }
                }
            }
            Event::Stop(reason) => {
                self.lifecycle.handle_stop(reason);
                self.model.stop(reason);
            }
            Event::Abort(reason) => {
                self.lifecycle.handle_abort(reason);
                self.model.abort(reason, self.now);
                self.limits.drain = Duration::ZERO;
            }
            Event::PathLost => {
                self.lifecycle.handle_path_lost();
                self.model.stop(Reason::PathLost);
            }
            Event::BacklogDrained => {
                self.lifecycle.handle_backlog_drained();
                self.model.backlog_drained();
            }
            Event::Poll => self.settle(),
        }
        self.check();
    }

    fn wait(&mut self, begun: bool) {
        let full = self.model.waiting.len() == self.limits.waiting.get();
        let victim = if full { self.model.victim() } else { None };
        let (ticket, evicted) = self.lifecycle.handle_wait(begun, self.now);
        assert_eq!(evicted, victim, "room is made only when there is none, by the longest silent");
        if let Some(victim) = victim {
            assert_ne!(victim, ticket, "else whoever closes the old one closes the new one");
            self.model.leave(victim, self.now);
            self.stale.insert(victim);
        }
        assert!(
            self.model.waiting.iter().all(|waiting| waiting.ticket != ticket),
            "given out twice"
        );
        assert!(ticket.index() <= self.limits.waiting.get(), "small enough for a table");
        assert_eq!(Ticket::from_index(ticket.index()), ticket);
        self.stale.remove(&ticket);
        self.model.wait(ticket, begun, self.now);
    }

    fn check(&self) {
        let load = self.model.load();
        assert_eq!(self.lifecycle.load(), load);
        assert!(load.running <= self.limits.exchanges.get());
        assert!(load.waiting <= self.limits.waiting.get());
        assert!(load.queued == 0 || load.running == self.limits.exchanges.get(), "no idle place");
        assert_eq!(
            self.lifecycle.may_accept(),
            load.running + load.queued < self.limits.exchanges.get()
        );
        assert_eq!(self.lifecycle.may_read(), load.queued < self.limits.exchanges.get());
        assert_eq!(self.lifecycle.is_stopping(), self.model.is_stopping());
        assert_eq!(self.lifecycle.ending().is_some(), self.model.has_ended());
        assert_eq!(self.lifecycle.limits(), &self.limits);
    }

    /// Polls until nothing is due, and sees to it that it wakes for the next thing, not before
    /// and not after.
    fn settle(&mut self) {
        loop {
            let due = self.model.due(self.now);
            assert_eq!(
                self.lifecycle.wake_after(self.now) == Some(Duration::ZERO),
                !due.is_empty()
            );
            let Some(action) = self.lifecycle.poll(self.now) else {
                assert_eq!(due, [], "missed");
                break;
            };
            let action = Due::from(action);
            assert!(due.contains(&action), "{action:?} where {due:?}");
            self.model.apply(action, self.now);
            if let Due::Close(ticket, _) = action {
                self.stale.insert(ticket);
            }
            self.check();
        }
        let wake = self.lifecycle.wake_after(self.now);
        let next = self.model.next_due(self.now);
        assert_eq!(wake.map(|wake| self.now + wake), next);
        if let Some(wake) = wake {
            assert!(!wake.is_zero(), "a busy loop");
            let before = self.now + wake - Duration::from_nanos(1);
            assert_eq!(self.lifecycle.clone().poll(before), None);
            assert!(self.lifecycle.clone().poll(self.now + wake).is_some());
        } else {
            assert_eq!(self.lifecycle.clone().poll(self.now + Duration::from_secs(1 << 40)), None);
        }
    }

    /// Whatever the state: once stopped and left alone, it ends, at the deadline at the latest.
    pub(crate) fn finish(mut self) {
        self.handle(Event::Stop(Reason::Asked));
        self.settle();
        let deadline = self.now + self.limits.drain;
        while !self.model.has_ended() {
            self.now += self.lifecycle.wake_after(self.now).expect("it wakes until it has ended");
            assert!(self.now <= deadline);
            self.settle();
        }
        // Afterwards late events do no harm.
        let ending = self.lifecycle.ending();
        self.lifecycle.handle_stop(Reason::Failed);
        self.lifecycle.handle_end(self.now);
        assert_eq!(self.lifecycle.poll(self.now + Duration::from_secs(1000)), None);
        assert_eq!(self.lifecycle.wake_after(self.now), None);
        assert_eq!(self.lifecycle.ending(), ending);
    }
}
