//! Progress of a transfer, on standard error.

use std::io::{IsTerminal as _, stderr, stdout};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};

/// What has been sent and received so far. It is shown when somebody watches, once the transfer
/// has taken long enough.
pub struct Progress {
    since: Instant,
    shown: bool,
    /// The length of the request, if it is known.
    total: Option<u64>,
    sent: AtomicU64,
    received: AtomicU64,
    bar: OnceLock<ProgressBar>,
}

impl Progress {
    const LONG: Duration = Duration::from_secs(1);

    pub fn new(total: Option<u64>) -> Self {
        Self {
            since: Instant::now(),
            // An answer on the same terminal is progress enough.
            shown: stderr().is_terminal() && !stdout().is_terminal(),
            total,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            bar: OnceLock::new(),
        }
    }

    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.show();
    }

    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.show();
    }

    fn show(&self) {
        let took = self.since.elapsed();
        if !self.shown || took < Self::LONG {
            return;
        }
        let (sent, received) =
            (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed));
        let of = self.total.map(|total| format!(" of {}", BinaryBytes(total))).unwrap_or_default();
        let rate = (sent.max(received) as f64 / took.as_secs_f64()) as u64;
        let (sent, received, rate) = (BinaryBytes(sent), BinaryBytes(received), BinaryBytes(rate));
        self.bar
            .get_or_init(spinner)
            .set_message(format!("sent {sent}{of}, received {received}, {rate}/s"));
    }

    /// Clears the line, so that other things can be said.
    pub fn end(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("it is well-formed");
    let spinner = ProgressBar::new_spinner().with_style(style);
    // It turns when nothing moves, too.
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
