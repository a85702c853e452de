//! The signals that stop a server.

use std::thread;

use async_signal::Signal;
use futures_lite::StreamExt as _;

use crate::exit::Failure;

/// Signals that have come and will come.
pub struct Signals(async_signal::Signals);

impl Signals {
    #[cfg(unix)]
    const STOP: &'static [Signal] = &[Signal::Term, Signal::Int];
    #[cfg(not(unix))]
    const STOP: &'static [Signal] = &[Signal::Int];

    /// Hears of them from here on.
    pub fn new() -> Result<Self, Failure> {
        let signals = async_signal::Signals::new(Self::STOP);
        signals.map(Self).map_err(|error| Failure::io("listen to signals", &error))
    }

    /// The first signal makes the server stop, the second one aborts what is under way.
    pub fn on_signal(
        mut self,
        stop: impl FnOnce() + Send + 'static,
        abort: impl FnOnce() + Send + 'static,
    ) -> Result<(), Failure> {
        let wait = move || {
            futures_lite::future::block_on(async {
                self.0.next().await;
                stop();
                self.0.next().await;
                abort();
            });
        };
        let thread = thread::Builder::new().name("signals".into()).spawn(wait);
        thread.map(drop).map_err(|error| Failure::io("start a thread", &error))
    }
}
