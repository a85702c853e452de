//! Each rule by itself, as one would explain it.

use core::num::NonZeroUsize;
use core::time::Duration;

use simple_ipc::lifecycle::{
    Action, Admission, Closing, Lifecycle, Limits, Load, Reason, Shortage, Ticket,
};

const ZERO: Duration = Duration::ZERO;

const fn s(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// No limit in time, and no check of the path.
fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.receive, limits.check_path) = (None, None);
    limits
}

fn lifecycle(set: impl FnOnce(&mut Limits)) -> Lifecycle {
    let mut limits = limits();
    set(&mut limits);
    Lifecycle::new(limits, ZERO)
}

fn ended(lifecycle: &mut Lifecycle, now: Duration) -> (Reason, usize) {
    let Some(Action::End(ending)) = lifecycle.poll(now) else { panic!("it has not ended") };
    assert_eq!(lifecycle.ending(), Some(ending));
    (ending.reason, ending.aborted)
}

#[test]
fn a_server_without_limits_in_time_sleeps_for_ever() {
    let mut lifecycle = lifecycle(|_| {});
    lifecycle.handle_wait(false, ZERO);
    lifecycle.handle_wait(true, ZERO);
    assert_eq!(lifecycle.handle_request(), Admission::Run);
    assert_eq!((lifecycle.poll(s(1 << 40)), lifecycle.wake_after(s(1 << 40))), (None, None));
}

#[test]
fn silence_and_pauses_have_limits_of_their_own() {
    let mut lifecycle = lifecycle(|limits| {
        (limits.silence, limits.receive) = (Some(s(10)), Some(s(3)));
    });
    let (silent, _) = lifecycle.handle_wait(false, ZERO);
    let (begun, _) = lifecycle.handle_wait(true, ZERO);
    let (slow, _) = lifecycle.handle_wait(true, ZERO);
    lifecycle.handle_heard(slow, s(2));
    assert_eq!(lifecycle.wake_after(s(2)), Some(s(1)));
    assert_eq!(lifecycle.poll(s(3)), Some(Action::Close(begun, Closing::Late)));
    assert_eq!(lifecycle.poll(s(3)), None);
    lifecycle.handle_heard(slow, s(4));
    assert_eq!(lifecycle.poll(s(6)), None, "each byte begins the pause anew");
    assert_eq!(lifecycle.poll(s(7)), Some(Action::Close(slow, Closing::Late)));
    assert_eq!(lifecycle.wake_after(s(7)), Some(s(3)));
    assert_eq!(lifecycle.poll(s(10)), Some(Action::Close(silent, Closing::Late)));
    assert!(!lifecycle.handle_leave(silent, s(10)));
    assert_eq!(lifecycle.load(), Load::default());
}

#[test]
fn nobody_is_late_while_nobody_is_read_from() {
    let mut lifecycle = lifecycle(|limits| {
        (limits.silence, limits.receive) = (Some(s(10)), Some(s(3)));
        limits.exchanges = NonZeroUsize::MIN;
    });
    let (silent, _) = lifecycle.handle_wait(false, ZERO);
    let (begun, _) = lifecycle.handle_wait(true, ZERO);
    let admitted: [Admission; 3] = core::array::from_fn(|_| lifecycle.handle_request());
    assert_eq!(admitted, [Admission::Run, Admission::Queue, Admission::Queue]);
    assert!(!lifecycle.may_read());
    assert_eq!((lifecycle.poll(s(100)), lifecycle.wake_after(s(100))), (None, None));
    // One has left the queue, which is full all the same.
    lifecycle.handle_end(s(100));
    assert!(!lifecycle.may_read());
    assert_eq!((lifecycle.poll(s(200)), lifecycle.wake_after(s(200))), (None, None));
    lifecycle.handle_unqueue(s(200));
    assert!(lifecycle.may_read());
    assert_eq!((lifecycle.poll(s(200)), lifecycle.wake_after(s(200))), (None, Some(s(3))));
    // A queue that gets shorter still begins nothing anew.
    lifecycle.handle_end(s(201));
    assert_eq!((lifecycle.poll(s(202)), lifecycle.wake_after(s(202))), (None, Some(s(1))));
    assert_eq!(lifecycle.poll(s(203)), Some(Action::Close(begun, Closing::Late)));
    assert_eq!(lifecycle.wake_after(s(203)), Some(s(7)));
    assert_eq!(lifecycle.poll(s(210)), Some(Action::Close(silent, Closing::Late)));
}

/// It was the server that came to read too late.
#[test]
fn one_that_is_late_waits_again_if_it_has_spoken() {
    let mut lifecycle = lifecycle(|limits| {
        (limits.receive, limits.idle_exit) = (Some(s(3)), Some(s(3)));
    });
    let (late, _) = lifecycle.handle_wait(true, ZERO);
    assert_eq!(lifecycle.poll(s(8)), Some(Action::Close(late, Closing::Late)));
    let (again, _) = lifecycle.handle_wait(true, s(8));
    assert_eq!((lifecycle.poll(s(8)), lifecycle.wake_after(s(8))), (None, Some(s(3))));
    assert_eq!(lifecycle.poll(s(11)), Some(Action::Close(again, Closing::Late)));
}

#[test]
fn whoever_was_silent_longest_goes_first() {
    let mut lifecycle = lifecycle(|limits| limits.waiting = NonZeroUsize::new(4).unwrap());
    let [one, two, three, four]: [Ticket; 4] =
        core::array::from_fn(|at| lifecycle.handle_wait(at == 0, s(at as u64)).0);
    lifecycle.handle_heard(three, s(5));
    // It began and paused before the others came.
    let (five, evicted) = lifecycle.handle_wait(false, s(6));
    assert_eq!(evicted, Some(one));
    assert_eq!(lifecycle.handle_shortage(s(7)), Shortage::Evict(two));
    assert_eq!(lifecycle.handle_shortage(s(7)), Shortage::Evict(four));
    assert_eq!(lifecycle.handle_shortage(s(7)), Shortage::Evict(three));
    assert_eq!(lifecycle.handle_shortage(s(7)), Shortage::Evict(five));
    assert!(matches!(lifecycle.handle_shortage(s(7)), Shortage::Pause(pause) if !pause.is_zero()));
}

#[test]
fn the_path_is_checked_at_its_pace() {
    let mut lifecycle = lifecycle(|limits| limits.check_path = Some(s(2)));
    let mut checks = Vec::new();
    let mut now = ZERO;
    while now < s(20) {
        now += lifecycle.wake_after(now).unwrap();
        assert_eq!(lifecycle.poll(now), Some(Action::CheckPath));
        assert_eq!(lifecycle.poll(now), None);
        checks.push(now.as_secs());
    }
    assert_eq!(checks, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
    // A machine that slept is not asked for what it missed.
    assert_eq!(lifecycle.poll(s(1000)), Some(Action::CheckPath));
    assert_eq!(lifecycle.poll(s(1000)), None);
    lifecycle.handle_path_lost();
    assert_eq!(lifecycle.poll(s(1001)), Some(Action::Stop(Reason::PathLost)));
    assert_eq!(lifecycle.poll(s(1005)), None, "whoever stops has no path to check");
}

/// A pace of zero is a mistake, but no reason to hang.
#[test]
fn checking_the_path_all_the_time_leaves_time_for_the_rest() {
    let mut lifecycle = lifecycle(|limits| limits.check_path = Some(ZERO));
    let mut now = ZERO;
    for _ in 0..10 {
        let actions = core::iter::from_fn(|| lifecycle.poll(now)).take(100).count();
        assert!(actions <= 1, "`poll` comes to an end");
        let wake = lifecycle.wake_after(now).unwrap();
        assert!(!wake.is_zero());
        now += wake;
    }
}

#[test]
fn no_limit_is_too_long() {
    let mut lifecycle = lifecycle(|limits| {
        (limits.silence, limits.receive) = (Some(Duration::MAX), Some(Duration::MAX));
        (limits.idle_exit, limits.check_path) = (Some(Duration::MAX), Some(Duration::MAX));
        limits.drain = Duration::MAX;
    });
    lifecycle.handle_wait(false, s(1));
    lifecycle.handle_wait(true, s(1));
    assert_eq!(lifecycle.poll(s(1 << 40)), None);
    assert!(lifecycle.wake_after(s(2)) > Some(s(1 << 60)));
    lifecycle.handle_stop(Reason::Asked);
    assert!(lifecycle.poll(s(3)).is_some() && lifecycle.poll(s(3)).is_some());
    assert_eq!(lifecycle.poll(s(1 << 40)), None);
    assert!(lifecycle.wake_after(s(3)) > Some(s(1 << 60)));
}

#[test]
fn idleness_begins_when_the_last_client_is_gone() {
    let mut lifecycle = lifecycle(|limits| limits.idle_exit = Some(s(10)));
    assert_eq!(lifecycle.wake_after(ZERO), Some(s(10)));
    let (ticket, _) = lifecycle.handle_wait(false, s(9));
    assert_eq!((lifecycle.poll(s(30)), lifecycle.wake_after(s(30))), (None, None));
    assert_eq!(lifecycle.handle_request(), Admission::Run);
    assert!(lifecycle.handle_leave(ticket, s(30)));
    assert_eq!(lifecycle.poll(s(50)), None, "an exchange is under way");
    lifecycle.handle_end(s(60));
    assert_eq!(lifecycle.poll(s(69)), None);
    assert_eq!(lifecycle.poll(s(70)), Some(Action::Stop(Reason::Idle)));
    lifecycle.handle_backlog_drained();
    assert_eq!(ended(&mut lifecycle, s(70)), (Reason::Idle, 0));
}

/// Who comes between the decision and the closing of the door is served.
#[test]
fn the_last_client_of_an_idle_server_is_served() {
    let mut lifecycle = lifecycle(|limits| limits.idle_exit = Some(s(1)));
    assert_eq!(lifecycle.poll(s(1)), Some(Action::Stop(Reason::Idle)));
    assert_eq!(lifecycle.handle_request(), Admission::Run);
    lifecycle.handle_backlog_drained();
    assert_eq!(lifecycle.poll(s(2)), None);
    lifecycle.handle_end(s(3));
    assert_eq!(ended(&mut lifecycle, s(3)), (Reason::Idle, 0));
}

#[test]
fn the_first_reason_to_stop_counts() {
    let mut lifecycle = lifecycle(|_| {});
    assert!(!lifecycle.is_stopping());
    lifecycle.handle_stop(Reason::Quit);
    lifecycle.handle_stop(Reason::Asked);
    lifecycle.handle_path_lost();
    assert!(lifecycle.is_stopping());
    assert_eq!(lifecycle.wake_after(s(1)), Some(ZERO));
    assert_eq!(lifecycle.poll(s(1)), Some(Action::Stop(Reason::Quit)));
    lifecycle.handle_stop(Reason::Failed);
    assert_eq!(lifecycle.poll(s(1)), None);
    lifecycle.handle_backlog_drained();
    assert_eq!(ended(&mut lifecycle, s(1)), (Reason::Quit, 0));
    lifecycle.handle_stop(Reason::Asked);
    assert_eq!((lifecycle.poll(s(2)), lifecycle.wake_after(s(2))), (None, None));
}

#[test]
fn a_stopping_server_waits_for_those_who_have_begun_and_for_nobody_else() {
    let mut lifecycle = lifecycle(|limits| limits.drain = s(10));
    let (silent, _) = lifecycle.handle_wait(false, ZERO);
    let (begun, _) = lifecycle.handle_wait(true, ZERO);
    lifecycle.handle_stop(Reason::Asked);
    assert_eq!(lifecycle.poll(s(1)), Some(Action::Stop(Reason::Asked)));
    assert_eq!(lifecycle.poll(s(1)), Some(Action::Close(silent, Closing::Ending)));
    lifecycle.handle_backlog_drained();
    assert_eq!(lifecycle.poll(s(1)), None);
    // Its request becomes whole, and is served.
    assert!(lifecycle.handle_leave(begun, s(5)));
    assert_eq!(lifecycle.handle_request(), Admission::Run);
    assert_eq!(lifecycle.poll(s(5)), None);
    lifecycle.handle_end(s(9));
    assert_eq!(ended(&mut lifecycle, s(9)), (Reason::Asked, 0));
}

#[test]
fn the_time_to_drain_is_the_longest_a_server_takes_to_end() {
    let mut lifecycle = lifecycle(|limits| {
        limits.exchanges = NonZeroUsize::new(2).unwrap();
        limits.drain = s(10);
    });
    let (begun, _) = lifecycle.handle_wait(true, ZERO);
    for _ in 0..3 {
        lifecycle.handle_request();
    }
    lifecycle.handle_stop(Reason::Asked);
    assert_eq!(lifecycle.poll(s(1)), Some(Action::Stop(Reason::Asked)));
    assert_eq!(lifecycle.poll(s(10)), None);
    assert_eq!(lifecycle.wake_after(s(10)), Some(s(1)));
    // Two run, one is queued; the backlog was never drained.
    assert_eq!(lifecycle.poll(s(11)), Some(Action::Close(begun, Closing::Ending)));
    assert_eq!(lifecycle.poll(s(11)), Some(Action::Abort));
    assert_eq!(ended(&mut lifecycle, s(11)), (Reason::Asked, 3));
}

#[test]
fn no_time_to_drain_is_an_abort_at_once() {
    let mut lifecycle = lifecycle(|limits| limits.drain = ZERO);
    lifecycle.handle_request();
    lifecycle.handle_stop(Reason::Asked);
    assert_eq!(lifecycle.poll(s(1)), Some(Action::Stop(Reason::Asked)));
    assert_eq!(lifecycle.poll(s(1)), Some(Action::Abort));
    assert_eq!(ended(&mut lifecycle, s(1)), (Reason::Asked, 1));
}

#[test]
fn an_abort_cuts_the_time_to_drain_short() {
    for is_stopping in [false, true] {
        let mut lifecycle = lifecycle(|limits| limits.drain = s(10));
        lifecycle.handle_request();
        let (begun, _) = lifecycle.handle_wait(true, ZERO);
        if is_stopping {
            lifecycle.handle_stop(Reason::Idle);
            assert_eq!(lifecycle.poll(s(1)), Some(Action::Stop(Reason::Idle)));
            assert_eq!(lifecycle.poll(s(1)), None);
            lifecycle.handle_abort(Reason::Asked);
        } else {
            lifecycle.handle_abort(Reason::Asked);
            assert_eq!(lifecycle.poll(s(1)), Some(Action::Stop(Reason::Asked)));
        }
        assert_eq!(lifecycle.wake_after(s(1)), Some(ZERO));
        assert_eq!(lifecycle.poll(s(1)), Some(Action::Close(begun, Closing::Ending)));
        assert_eq!(lifecycle.poll(s(1)), Some(Action::Abort));
        // It was accepted before, and would be waited for by nobody.
        assert_eq!(lifecycle.handle_request(), Admission::Refuse);
        // The first reason counts, and nothing more comes of another one.
        lifecycle.handle_abort(Reason::Failed);
        let reason = if is_stopping { Reason::Idle } else { Reason::Asked };
        assert_eq!(ended(&mut lifecycle, s(1)), (reason, 1));
        assert_eq!(lifecycle.handle_request(), Admission::Refuse);
        lifecycle.handle_abort(Reason::Failed);
        assert_eq!((lifecycle.poll(s(2)), lifecycle.wake_after(s(2))), (None, None));
    }
}

#[test]
fn tickets_that_were_never_given_out_do_nothing() {
    let mut lifecycle = lifecycle(|limits| limits.silence = Some(s(1)));
    let (ticket, _) = lifecycle.handle_wait(false, ZERO);
    for index in [1, 1000, u32::MAX as usize] {
        lifecycle.handle_heard(Ticket::from_index(index), s(9));
        assert!(!lifecycle.handle_leave(Ticket::from_index(index), s(9)));
    }
    assert_eq!(lifecycle.load().waiting, 1);
    assert_eq!(lifecycle.poll(s(1)), Some(Action::Close(ticket, Closing::Late)));
}

#[test]
fn the_table_is_no_longer_than_there_were_clients_at_once() {
    let mut lifecycle = lifecycle(|_| {});
    for round in 0..1000 {
        let tickets: Vec<_> = (0..10).map(|_| lifecycle.handle_wait(false, s(round)).0).collect();
        for ticket in tickets {
            assert!(ticket.index() < 10);
            assert!(lifecycle.handle_leave(ticket, s(round)));
        }
    }
}

/// An end without a beginning is a caller's mistake, and makes no room that is not there.
#[test]
fn ends_without_a_beginning_are_ignored() {
    let mut lifecycle = lifecycle(|limits| limits.exchanges = NonZeroUsize::MIN);
    lifecycle.handle_end(ZERO);
    lifecycle.handle_unqueue(ZERO);
    assert_eq!(lifecycle.handle_request(), Admission::Run);
    assert_eq!(lifecycle.handle_request(), Admission::Queue);
}
