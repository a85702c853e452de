//! Whatever happens in whatever order, the lifecycle decides what the model allows and wakes
//! exactly when something is due; and once it is stopped it ends, at its deadline at the latest.

use core::num::NonZeroUsize;
use core::time::Duration;

use simple_ipc::lifecycle::{Limits, Reason};

use super::both::{Both, Event};
use super::input::Input;

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let mut both = Both::new(limits(&mut input));
    while !input.is_empty() {
        both.handle(event(&mut input));
    }
    both.finish();
}

fn limits(input: &mut Input<'_>) -> Limits {
    let mut count = || NonZeroUsize::MIN.saturating_add(usize::from(input.byte() % 6));
    let mut limits = Limits::default();
    (limits.exchanges, limits.waiting) = (count(), count());
    let mut time = || match input.byte() {
        0 => None,
        255 => Some(Duration::MAX),
        ms => Some(Duration::from_millis(ms.into())),
    };
    (limits.receive, limits.silence) = (time(), time());
    (limits.idle_exit, limits.check_path) = (time(), time());
    limits.drain = time().unwrap_or_default().min(Duration::from_secs(9));
    limits
}

fn event(input: &mut Input<'_>) -> Event {
    let (kind, number) = (input.byte(), input.byte());
    let at = usize::from(number);
    match kind % 16 {
        0 | 1 => Event::Pass(Duration::from_millis(number.into())),
        2 => Event::Sleep,
        3 | 4 => Event::Wait { begun: number % 2 == 1 },
        5 => Event::Heard(at),
        6 => Event::Leave(at),
        7 => Event::Stale(at),
        8 | 9 => Event::Request,
        10 => Event::End,
        11 => Event::Unqueue,
        12 => Event::Shortage,
        13 if number >= 192 => Event::Abort(Reason::Asked),
        13 => Event::Stop([Reason::Asked, Reason::Quit, Reason::Failed][at % 3]),
        14 if number % 2 == 0 => Event::PathLost,
        14 => Event::BacklogDrained,
        _ => Event::Poll,
    }
}
