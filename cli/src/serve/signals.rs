//! The signals that stop a server.

use std::thread;
use std::time::{Duration, Instant};

use async_signal::Signal;
use futures_lite::StreamExt as _;

use super::exchange::Ends;
use super::runtime::Handle;
use crate::exit::Failure;

/// Signals that have come and will come.
pub struct Signals(async_signal::Signals);

/// What comes so soon after the first is the same signal once more: `timeout` sends it to its
/// command, and then to the group that both are in.
const ECHO: Duration = Duration::from_millis(300);

impl Signals {
    /// Hears of them from here on.
    pub fn new() -> Result<Self, Failure> {
        let signals = async_signal::Signals::new(stopping());
        signals.map(Self).map_err(|error| Failure::io("listen to signals", &error))
    }

    /// The first signal makes the server stop, the second one aborts what is under way.
    pub fn on_signal(mut self, server: Box<dyn Handle>, exchanges: Ends) -> Result<(), Failure> {
        let wait = move || {
            futures_lite::future::block_on(async {
                self.0.next().await;
                exchanges.are_stopping();
                server.stop();
                let first = Instant::now();
                while self.0.next().await.is_some() && first.elapsed() < ECHO {}
                exchanges.are_aborted();
                server.abort();
                exchanges.abort();
            });
        };
        let thread = thread::Builder::new().name("signals".into()).spawn(wait);
        thread.map(drop).map_err(|error| Failure::io("start a thread", &error))
    }
}

#[cfg(not(unix))]
fn stopping() -> Vec<Signal> {
    vec![Signal::Int]
}

#[cfg(unix)]
fn stopping() -> Vec<Signal> {
    let mut signals = vec![Signal::Term, Signal::Int];
    // `nohup` has it ignored, which must stay so.
    if !is_ignored(rustix::process::Signal::HUP) {
        signals.push(Signal::Hup);
    }
    signals
}

/// Whether that signal is ignored, as far as the system says: where it does not, it may be.
#[cfg(unix)]
fn is_ignored(signal: rustix::process::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    match ignored.map(|mask| u64::from_str_radix(mask.trim(), 16)) {
        Some(Ok(mask)) => mask & 1 << (signal.as_raw() - 1) != 0,
        _ => true,
    }
}
