//! Thousands of clients of every kind and a server that does what it is told, in virtual time.

use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use simple_ipc::lifecycle::{
    Action, Admission, Lifecycle, Limits, Place, Reason, Shortage, Ticket,
};

use crate::random::Random;

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Served,
    /// Closed before its request was whole.
    TurnedAway,
    /// The same, because the server stops.
    Parted,
    /// It hung up.
    Gone,
    /// It came when the path was gone.
    Refused,
    Aborted,
}

#[derive(Clone, Debug)]
struct Client {
    /// The pauses before each of its bytes; the last makes its request whole, if it `ends`.
    pauses: VecDeque<Duration>,
    ends: bool,
    /// It hangs up so long after its last byte.
    hangs_up: Option<Duration>,
    /// How long its exchange takes.
    work: Duration,
    /// What it has sent that was not read.
    unread: usize,
    whole: bool,
    place: At,
    heard: Duration,
    begun: bool,
    fate: Option<Fate>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Home,
    Backlog,
    Waiting(Ticket),
    Queue,
    Running,
    Away,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Arrives(usize),
    Sends(usize),
    HangsUp(usize),
    Ends(usize),
    BacklogDrained,
    StopAsked,
    Retry,
}

struct World {
    now: Duration,
    events: BTreeSet<(Duration, u64, Event)>,
    count: u64,
    clients: Vec<Client>,
    backlog: VecDeque<usize>,
    path: bool,
    limits: Limits,
    lifecycle: Lifecycle,
    waiting: BTreeMap<Ticket, usize>,
    queue: VecDeque<usize>,
    running: BTreeSet<usize>,
    /// When the queue was last full.
    full_until: Duration,
    /// How many connections the system allows.
    descriptors: usize,
    paused: bool,
    stopped: Option<Duration>,
    quit: Option<usize>,
    random: Random,
}

fn ms(millis: usize) -> Duration {
    Duration::from_millis(millis as u64)
}

impl Client {
    fn random(random: &mut Random) -> Self {
        let pause = |random: &mut Random, most| ms(random.below(most));
        let mut client = Self {
            pauses: VecDeque::from([pause(random, 3)]),
            ends: true,
            hangs_up: None,
            work: pause(random, 60),
            unread: 0,
            whole: false,
            place: At::Home,
            heard: Duration::ZERO,
            begun: false,
            fate: None,
        };
        match random.below(10) {
            // Silent for ever, or a probe.
            0 => (client.pauses, client.ends) = (VecDeque::new(), false),
            1 => {
                (client.pauses, client.ends) = (VecDeque::new(), false);
                client.hangs_up = Some(pause(random, 400));
            }
            // Half a request, and then nothing.
            2 => (client.pauses, client.ends) = ([pause(random, 100)].into(), false),
            // Half a request, and gone.
            3 => (client.ends, client.hangs_up) = (false, Some(pause(random, 50))),
            // Byte by byte.
            4 | 5 => client.pauses = (0..random.below(12)).map(|_| pause(random, 90)).collect(),
            _ => {}
        }
        client.ends &= !client.pauses.is_empty();
        client
    }
}

impl World {
    fn new(seed: u64, count: usize) -> Self {
        let mut random = Random(seed);
        let mut limits = Limits::default();
        limits.exchanges = NonZeroUsize::new(1 + random.below(8)).unwrap();
        limits.waiting = NonZeroUsize::new(1 + random.below(60)).unwrap();
        let mut some = |most| (random.below(3) > 0).then(|| ms(1 + random.below(most)));
        (limits.receive, limits.silence) = (some(200), some(300));
        (limits.idle_exit, limits.check_path) = (some(500), some(100));
        limits.drain = ms(random.below(300));
        let mut world = Self {
            now: Duration::ZERO,
            events: BTreeSet::new(),
            count: 0,
            clients: (0..count).map(|_| Client::random(&mut random)).collect(),
            backlog: VecDeque::new(),
            path: true,
            limits,
            lifecycle: Lifecycle::new(limits, Duration::ZERO),
            waiting: BTreeMap::new(),
            queue: VecDeque::new(),
            running: BTreeSet::new(),
            full_until: Duration::ZERO,
            descriptors: 2 + random.below(80),
            paused: false,
            stopped: None,
            quit: (random.below(4) == 0).then(|| random.below(count)),
            random,
        };
        let mut at = Duration::ZERO;
        for client in 0..count {
            // Sometimes a crowd, sometimes a quiet while.
            at += ms(if world.random.below(50) == 0 {
                world.random.below(200)
            } else {
                world.random.below(4)
            });
            world.schedule(at, Event::Arrives(client));
        }
        let stop = at + ms(world.random.below(300));
        world.schedule(stop, Event::StopAsked);
        world
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count, event));
    }

    /// Runs to the server's end and says what became of everyone.
    fn run(mut self) -> Vec<Fate> {
        loop {
            if self.settle() {
                break;
            }
            let wake = self.lifecycle.wake_after(self.now).map(|wake| self.now + wake);
            let event = self.events.first().copied();
            match (event, wake) {
                (Some((at, _, event)), wake) if wake.is_none_or(|wake| at <= wake) => {
                    self.events.pop_first();
                    self.now = at;
                    self.handle(event);
                }
                (_, Some(wake)) => {
                    self.now = wake;
                    let due = self.lifecycle.clone().poll(wake);
                    assert!(due.is_some(), "it woke for nothing");
                }
                (_, None) => panic!("nothing would ever happen again"),
            }
        }
        self.clients.iter().map(|client| client.fate.unwrap_or(Fate::Refused)).collect()
    }

    /// What happens outside.
    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrives(client) => {
                if !self.path {
                    self.clients[client].fate = Some(Fate::Refused);
                    return;
                }
                self.clients[client].place = At::Backlog;
                self.backlog.push_back(client);
                self.schedule_next(client);
            }
            Event::Sends(index) => {
                let client = &mut self.clients[index];
                if client.fate.is_some() {
                    return;
                }
                client.pauses.pop_front();
                client.unread += 1;
                client.whole = client.pauses.is_empty() && client.ends;
                self.schedule_next(index);
            }
            Event::HangsUp(index) => {
                let client = &mut self.clients[index];
                if client.fate.is_some() {
                    return;
                }
                client.fate = Some(Fate::Gone);
                if let At::Waiting(ticket) = client.place {
                    assert!(self.lifecycle.handle_leave(ticket, self.now));
                    self.waiting.remove(&ticket);
                }
                self.clients[index].place = At::Away;
                self.backlog.retain(|other| *other != index);
            }
            Event::Ends(client) => {
                if self.running.remove(&client) {
                    self.end(client);
                }
            }
            Event::BacklogDrained => {
                while let Some(client) = self.backlog.pop_front() {
                    self.take(client);
                }
                self.lifecycle.handle_backlog_drained();
            }
            Event::StopAsked => self.stop(Reason::Asked),
            Event::Retry => self.paused = false,
        }
    }

    fn schedule_next(&mut self, index: usize) {
        let client = &self.clients[index];
        if let Some(pause) = client.pauses.front() {
            self.schedule(self.now + *pause, Event::Sends(index));
        } else if let Some(pause) = client.hangs_up {
            self.schedule(self.now + pause, Event::HangsUp(index));
        }
    }

    fn stop(&mut self, reason: Reason) {
        self.lifecycle.handle_stop(reason);
    }

    fn open(&self) -> usize {
        self.waiting.len() + self.queue.len() + self.running.len()
    }

    /// The server's loop: does everything it may, until it must wait. Says whether it has ended.
    fn settle(&mut self) -> bool {
        loop {
            self.accept();
            self.read();
            let load = self.lifecycle.load();
            assert_eq!(load.running, self.running.len());
            assert_eq!((load.queued, load.waiting), (self.queue.len(), self.waiting.len()));
            assert!(load.running <= self.limits.exchanges.get(), "over the limit");
            match self.lifecycle.poll(self.now) {
                None => return false,
                Some(Action::Close(ticket, _)) => self.close_overdue(ticket),
                Some(Action::CheckPath) => {
                    if self.random.below(200) == 0 {
                        self.lifecycle.handle_path_lost();
                    }
                }
                Some(Action::Stop(reason)) => {
                    assert!(self.stopped.is_none(), "it stops once");
                    if reason == Reason::Idle {
                        assert_eq!(self.open(), 0);
                    }
                    self.stopped = Some(self.now);
                    self.path = false;
                    self.schedule(self.now + ms(self.count as usize % 20), Event::BacklogDrained);
                }
                Some(Action::Abort) => {
                    assert_eq!(self.now, self.stopped.unwrap() + self.limits.drain);
                    for client in self.running.iter().chain(&self.queue) {
                        self.clients[*client].fate = Some(Fate::Aborted);
                    }
                }
                Some(Action::End(ending)) => {
                    let deadline = self.stopped.unwrap() + self.limits.drain;
                    assert!(self.now <= deadline);
                    assert!(self.waiting.is_empty());
                    let left = self.running.len() + self.queue.len();
                    assert_eq!(ending.aborted, left);
                    assert!(self.now == deadline || left == 0 && self.backlog.is_empty());
                    return true;
                }
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    fn accept(&mut self) {
        while self.path && !self.paused && self.lifecycle.may_accept() && !self.backlog.is_empty() {
            if self.open() < self.descriptors {
                let client = self.backlog.pop_front().unwrap();
                self.take(client);
                continue;
            }
            match self.lifecycle.handle_shortage(self.now) {
                Shortage::Evict(ticket) => self.evict(ticket),
                Shortage::Pause(pause) => {
                    assert!(self.waiting.is_empty());
                    self.paused = true;
                    self.schedule(self.now + pause, Event::Retry);
                }
            }
        }
    }

    /// A connection has been accepted.
    fn take(&mut self, index: usize) {
        let client = &mut self.clients[index];
        (client.heard, client.begun) = (self.now, client.unread > 0);
        client.unread = 0;
        if client.whole {
            return self.request(index);
        }
        let begun = client.begun;
        let (ticket, evicted) = self.lifecycle.handle_wait(begun, self.now);
        if let Some(evicted) = evicted {
            assert_eq!(self.waiting.len(), self.limits.waiting.get(), "room is left");
            self.evict(evicted);
        }
        assert_eq!(self.waiting.insert(ticket, index), None, "a ticket of two");
        self.clients[index].place = At::Waiting(ticket);
    }

    /// Reads from those who wait and have sent something.
    fn read(&mut self) {
        let sent: Vec<_> = self.waiting.iter().map(|(ticket, client)| (*ticket, *client)).collect();
        for (ticket, index) in sent {
            let client = &mut self.clients[index];
            // Whoever was read before may have filled the queue.
            if client.unread == 0 || !self.lifecycle.may_read() {
                continue;
            }
            (client.unread, client.heard, client.begun) = (0, self.now, true);
            if client.whole {
                assert!(self.lifecycle.handle_leave(ticket, self.now), "valid until now");
                self.waiting.remove(&ticket);
                self.request(index);
            } else {
                self.lifecycle.handle_heard(ticket, self.now);
            }
        }
    }

    fn request(&mut self, client: usize) {
        match self.lifecycle.handle_request() {
            Admission::Run => {
                assert!(self.queue.is_empty(), "it overtakes the queue");
                self.begin(client);
            }
            Admission::Queue => {
                assert_eq!(self.running.len(), self.limits.exchanges.get(), "a place is free");
                self.clients[client].place = At::Queue;
                self.queue.push_back(client);
            }
            Admission::Refuse => unreachable!("nothing is accepted when it has ended"),
        }
    }

    fn begin(&mut self, client: usize) {
        self.clients[client].place = At::Running;
        self.running.insert(client);
        self.schedule(self.now + self.clients[client].work, Event::Ends(client));
    }

    fn end(&mut self, client: usize) {
        self.clients[client].fate.get_or_insert(Fate::Served);
        self.clients[client].place = At::Away;
        if self.quit == Some(client) {
            self.stop(Reason::Quit);
        }
        if !self.lifecycle.may_read() {
            self.full_until = self.now;
        }
        match self.lifecycle.handle_end(self.now) {
            Place::HandOver => {
                let next = self.queue.pop_front().expect("somebody is queued");
                self.begin(next);
            }
            Place::Free => assert!(self.queue.is_empty(), "somebody is queued"),
        }
    }

    /// Whom to let go, by the server's own notes.
    fn longest_silent(&self) -> Option<Ticket> {
        let all = self.waiting.iter().map(|(ticket, client)| (&self.clients[*client], *ticket));
        all.min_by_key(|(client, _)| (client.heard, client.begun)).map(|(_, ticket)| ticket)
    }

    fn evict(&mut self, ticket: Ticket) {
        let (victim, other) =
            (&self.clients[self.waiting[&ticket]], self.longest_silent().unwrap());
        let other = &self.clients[self.waiting[&other]];
        // Many come in the same millisecond: any of them is the longest silent.
        assert_eq!((victim.begun, victim.heard), (other.begun, other.heard));
        self.let_go(ticket);
    }

    fn close_overdue(&mut self, ticket: Ticket) {
        let client = &self.clients[self.waiting[&ticket]];
        let limit = if client.begun { self.limits.receive } else { self.limits.silence };
        let since = client.heard.max(self.full_until);
        let on_time = limit.is_some_and(|limit| since + limit == self.now);
        let parting = self
            .stopped
            .is_some_and(|stopped| !client.begun || self.now == stopped + self.limits.drain);
        assert!(on_time || parting, "neither too early nor too late");
        assert!(parting || client.unread == 0, "it has spoken, and was not read");
        self.let_go(ticket);
    }

    /// Closes as the lifecycle asks for: what has come is read, and served if it is whole.
    fn let_go(&mut self, ticket: Ticket) {
        let index = self.waiting.remove(&ticket).expect("a ticket that was given out");
        assert!(!self.lifecycle.handle_leave(ticket, self.now), "no longer valid");
        let client = &mut self.clients[index];
        if client.whole {
            client.unread = 0;
            return self.request(index);
        }
        let parted = self.stopped.is_some();
        client.fate = Some(if parted { Fate::Parted } else { Fate::TurnedAway });
        client.place = At::Away;
    }
}

#[test]
fn every_client_is_served_or_learns_that_it_was_not() {
    let (mut served, mut fates) = (0, 0);
    for seed in 0..150 {
        let world = World::new(seed, 100);
        let good: Vec<bool> = world.clients.iter().map(|client| client.ends).collect();
        for (fate, good) in world.run().into_iter().zip(good) {
            assert!(good || fate != Fate::Served, "nobody is served who did not ask");
            served += usize::from(fate == Fate::Served);
            fates += 1;
        }
    }
    assert!(served * 4 > fates, "{served} of {fates}: the simulation simulates nothing");
}

#[test]
fn thousands_of_clients() {
    let fates = World::new(1, 5000).run();
    assert!(fates.contains(&Fate::Served));
}

/// Without limits that turn anyone away, whoever sends a whole request is served.
#[test]
fn nobody_who_asks_is_lost() {
    for seed in 0..50 {
        let mut world = World::new(seed, 300);
        let exchanges = world.limits.exchanges;
        world.limits = Limits::default();
        (world.limits.exchanges, world.limits.drain) = (exchanges, Duration::from_secs(1000));
        world.limits.check_path = None;
        world.lifecycle = Lifecycle::new(world.limits, Duration::ZERO);
        (world.descriptors, world.quit) = (usize::MAX, None);
        let good: Vec<bool> = world.clients.iter().map(|client| client.ends).collect();
        for (fate, good) in world.run().into_iter().zip(good) {
            // The last ones may come when the server has been asked to stop.
            assert!(!good || matches!(fate, Fate::Served | Fate::Refused | Fate::Parted));
        }
    }
}
