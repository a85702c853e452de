//! Random schedules of events: the lifecycle decides what the model allows, when it is due, and
//! wakes exactly then.

use core::num::NonZeroUsize;
use core::time::Duration;

use proptest::prelude::*;
use simple_ipc::lifecycle::{Admission, Lifecycle, Limits, Place, Reason};

use super::both::{Both, Event};

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
        1 => stop.clone().prop_map(Event::Stop),
        1 => stop.prop_map(Event::Abort),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]
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
