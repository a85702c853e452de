//! Random schedules of events: the lifecycle decides what the model allows, when it is due, and
//! wakes exactly then.

use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::BTreeSet;

use proptest::prelude::*;
use simple_ipc::lifecycle::{Admission, Lifecycle, Limits, Place, Reason, Shortage, Ticket};

use super::model::{Due, Model};

#[derive(Clone, Copy, Debug)]
enum Event {
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
    PathLost,
    BacklogDrained,
    Poll,
}

fn event() -> impl Strategy<Value = Event> {
    let stop = prop::sample::select(vec![Reason::Asked, Reason::Quit, Reason::Failed]);
    prop_oneof![
        6 => (0..40_u64).prop_map(|ms| Event::Pass(Duration::from_millis(ms))),
        4 => Just(Event::Sleep),
        6 => any::<bool>().prop_map(|begun| Event::Wait { begun }),
        4 => any::<usize>().prop_map(Event::Heard),
        2 => any::<usize>().prop_map(Event::Leave),
        1 => any::<usize>().prop_map(Event::Stale),
        4 => Just(Event::Request),
        3 => Just(Event::End),
        1 => Just(Event::Unqueue),
        1 => Just(Event::Shortage),
        1 => stop.prop_map(Event::Stop),
        1 => Just(Event::PathLost),
        1 => Just(Event::BacklogDrained),
        4 => Just(Event::Poll),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let count = |most| (1..=most).prop_map(|count| NonZeroUsize::new(count).unwrap());
    let time = || {
        prop_oneof![
            2 => Just(None),
            6 => (1..100_u64).prop_map(|ms| Some(Duration::from_millis(ms))),
            1 => Just(Some(Duration::MAX)),
        ]
    };
    (count(4_usize), count(5), [time(), time(), time(), time()], 0..100_u64).prop_map(
        |(exchanges, waiting, [receive, silence, idle_exit, check_path], drain)| {
            let mut limits = Limits::default();
            (limits.exchanges, limits.waiting) = (exchanges, waiting);
            (limits.receive, limits.silence) = (receive, silence);
            (limits.idle_exit, limits.check_path) = (idle_exit, check_path);
            limits.drain = Duration::from_millis(drain);
            limits
        },
    )
}

/// The lifecycle beside its model.
struct Both {
    now: Duration,
    limits: Limits,
    lifecycle: Lifecycle,
    model: Model,
    /// Tickets that were given out and taken back.
    stale: BTreeSet<Ticket>,
}

impl Both {
    fn new(limits: Limits) -> Self {
        // The clock need not begin at zero.
        let now = Duration::from_secs(5);
        let (lifecycle, model) = (Lifecycle::new(limits, now), Model::new(limits, now));
        Self { now, limits, lifecycle, model, stale: BTreeSet::new() }
    }

    fn handle(&mut self, event: Event) {
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
            if let Due::Close(ticket) = action {
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
    fn finish(mut self) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn any_schedule(limits in limits(), events in prop::collection::vec(event(), 0..120)) {
        let mut both = Both::new(limits);
        for event in events {
            both.handle(event);
        }
        both.finish();
    }
}

/// Ends and hand-overs in any order keep exactly as many running as there are places.
#[test]
fn a_place_is_handed_over_as_long_as_somebody_waits_for_it() {
    let mut limits = Limits::default();
    limits.exchanges = NonZeroUsize::new(3).unwrap();
    let mut lifecycle = Lifecycle::new(limits, Duration::ZERO);
    let admitted: Vec<_> = (0..10).map(|_| lifecycle.handle_request()).collect();
    let runs = admitted.iter().take_while(|admission| **admission == Admission::Run).count();
    assert_eq!(runs, 3);
    assert!(admitted[3..].iter().all(|admission| *admission == Admission::Queue));
    for ended in 0..10 {
        let place = lifecycle.handle_end(Duration::ZERO);
        assert_eq!(place, if ended < 7 { Place::HandOver } else { Place::Free });
    }
    assert_eq!(lifecycle.load().running, 0);
}
