//! The policy of connecting, in virtual time.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use simple_ipc::connect::{Connecting, Next, Patience, Refusal, State};

const MS: Duration = Duration::from_millis(1);
const GONE: Refusal = Refusal::Not(State::NotFound);

/// When each attempt of a client begins, if every one is refused after `cost`.
fn attempts(patience: Patience, seed: u64, refusal: Refusal, cost: Duration) -> Vec<Duration> {
    let mut connecting = Connecting::new(patience, seed);
    let mut begun = vec![Duration::ZERO];
    loop {
        assert!(begun.len() < 100_000, "it never gives up");
        let now = begun[begun.len() - 1] + cost;
        match connecting.refused(refusal, now) {
            Next::RetryAfter(pause) => begun.push(now + pause),
            Next::GiveUp => return begun,
        }
    }
}

fn patience(busy: Duration, not_found: Duration) -> Patience {
    Patience { busy, not_found }
}

#[test]
fn the_last_attempt_is_made_when_the_time_is_up() {
    for limit in [Duration::from_nanos(1), Duration::from_micros(70), MS, 50 * MS, 1000 * MS] {
        for seed in 0..100 {
            let begun =
                attempts(patience(limit, Duration::ZERO), seed, Refusal::Busy, Duration::ZERO);
            assert_eq!(begun.last(), Some(&limit));
            assert!(begun.is_sorted_by(|one, next| one < next), "every pause is one");
        }
    }
}

#[test]
fn the_defaults_are_those_of_git() {
    let limit = Duration::from_secs(if cfg!(windows) { 30 } else { 1 });
    assert_eq!(Patience::default(), patience(limit, Duration::ZERO));
    assert_eq!(Patience::GIT, limit);
    assert_eq!(Patience::NONE, patience(Duration::ZERO, Duration::ZERO));
}

#[test]
fn each_refusal_has_its_own_limit() {
    let (busy, gone) = (patience(10 * MS, Duration::ZERO), patience(Duration::ZERO, 10 * MS));
    for state in [State::NotFound, State::NotListening] {
        assert_eq!(attempts(busy, 1, Refusal::Not(state), Duration::ZERO).len(), 1);
        assert!(attempts(gone, 1, Refusal::Not(state), Duration::ZERO).len() > 3);
    }
    assert!(attempts(busy, 1, Refusal::Busy, Duration::ZERO).len() > 3);
    assert_eq!(attempts(gone, 1, Refusal::Busy, Duration::ZERO).len(), 1);
}

#[test]
fn what_time_does_not_mend_is_reported_at_once() {
    let endless = patience(Duration::MAX, Duration::MAX);
    for state in [State::Invalid, State::Denied, State::Other, State::Listening] {
        let refusal = Refusal::Not(state);
        assert_eq!(Connecting::new(endless, 1).refused(refusal, Duration::ZERO), Next::GiveUp);
    }
}

#[test]
fn no_patience_is_one_attempt() {
    for refusal in [Refusal::Busy, GONE] {
        assert_eq!(attempts(Patience::NONE, 7, refusal, Duration::ZERO), [Duration::ZERO]);
    }
}

/// A server that was busy and then goes away is judged by what it is now.
#[test]
fn the_latest_refusal_counts() {
    let mut connecting = Connecting::new(patience(1000 * MS, 100 * MS), 1);
    assert!(matches!(connecting.refused(Refusal::Busy, 90 * MS), Next::RetryAfter(_)));
    let Next::RetryAfter(pause) = connecting.refused(GONE, 99 * MS) else { panic!() };
    assert!(pause <= MS);
    assert_eq!(connecting.refused(GONE, 100 * MS), Next::GiveUp);
    assert!(matches!(connecting.refused(Refusal::Busy, 101 * MS), Next::RetryAfter(_)));
}

#[test]
fn the_first_pauses_are_short_and_the_later_ones_grow() {
    for seed in 0..200 {
        let begun = attempts(
            Patience { busy: 1000 * MS, ..Patience::NONE },
            seed,
            Refusal::Busy,
            Duration::ZERO,
        );
        let mut pauses: Vec<_> = begun.windows(2).map(|two| two[1] - two[0]).collect();
        pauses.pop(); // The last is cut to the limit.
        assert!(pauses[0] < MS / 5 && begun[3] < MS);
        let (growing, steady) = pauses.split_at(8);
        assert!(growing.is_sorted());
        assert!(steady.iter().all(|pause| (10 * MS..=20 * MS).contains(pause)));
        assert!((50..120).contains(&begun.len()), "{} attempts in a second", begun.len());
    }
}

/// Seeds may be process ids: neighbours must not come back together, not even once.
#[test]
fn clients_that_fail_together_come_back_apart() {
    let schedules = (0..1000).map(|seed| {
        attempts(patience(30 * MS, Duration::ZERO), seed, Refusal::Busy, Duration::ZERO)
    });
    let (mut firsts, mut all) = (HashSet::new(), HashSet::new());
    for schedule in schedules {
        firsts.insert(schedule[1]);
        all.insert(schedule);
    }
    assert_eq!(all.len(), 1000);
    assert!(firsts.len() > 900, "only {} first pauses differ", firsts.len());
}

#[test]
fn the_same_seed_gives_the_same_schedule() {
    let run = || attempts(Patience::default(), 42, Refusal::Busy, MS);
    assert_eq!(run(), run());
}

#[test]
fn patience_without_end_never_gives_up() {
    let mut connecting = Connecting::new(patience(Duration::MAX, Duration::ZERO), 1);
    for round in 0..100_000 {
        let next = connecting.refused(Refusal::Busy, Duration::from_secs(round));
        assert!(matches!(next, Next::RetryAfter(pause) if pause <= 20 * MS && !pause.is_zero()));
    }
    assert_eq!(connecting.refused(Refusal::Busy, Duration::MAX), Next::GiveUp);
}

proptest! {
    #[test]
    fn no_attempt_begins_past_the_limit(limit in 0..3_000_000_u64, cost in 0..200_000_u64, seed: u64) {
        let (limit, cost) = (Duration::from_micros(limit), Duration::from_micros(cost));
        for refusal in [Refusal::Busy, GONE] {
            let begun = attempts(patience(limit, limit), seed, refusal, cost);
            let last = begun[begun.len() - 1];
            prop_assert!(last <= limit);
            prop_assert!(last + cost >= limit, "it gives up only when the time is up");
        }
    }
}
