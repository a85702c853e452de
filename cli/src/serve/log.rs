//! One line for each exchange.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use super::exchange::Cut;
use crate::exit;

/// Writes the lines.
pub struct Log {
    verbose: bool,
}

impl Log {
    pub fn new(verbose: bool) -> Self {
        Self { verbose }
    }

    /// An exchange is over.
    pub fn exchange(&self, tally: &Tally, result: Result<(), &Cut>) {
        if !self.verbose && result.is_ok() {
            return;
        }
        let mut line = String::from(if result.is_ok() { "ok" } else { "failed" });
        let _ = write!(
            line,
            "{} in={} out={} time={:.1?} request={}",
            tally.who,
            tally.taken.load(Ordering::Relaxed),
            tally.given.load(Ordering::Relaxed),
            tally.since.elapsed(),
            tally.beginning(),
        );
        if let Err(cut) = result {
            let _ = write!(line, " reason=\"{}\"", cut.to_string().escape_debug());
        }
        self.line(&line);
    }

    /// A connection came to nothing before there was an exchange.
    pub fn refused(&self, error: &simple_ipc::Error) {
        self.line(&format!("failed reason=\"{}\"", error.to_string().escape_debug()));
    }

    fn line(&self, line: &str) {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        exit::say(format_args!("{now} {line}"));
    }
}

/// What is to be said of an exchange.
pub struct Tally {
    since: Instant,
    /// As `key=value`s, each with a space before it.
    who: String,
    taken: AtomicU64,
    given: AtomicU64,
    beginning: Mutex<Vec<u8>>,
}

impl Tally {
    /// How much of a request is shown.
    const SHOWN: usize = 40;

    pub fn new(who: String) -> Self {
        Self {
            since: Instant::now(),
            who,
            taken: AtomicU64::new(0),
            given: AtomicU64::new(0),
            beginning: Mutex::new(Vec::new()),
        }
    }

    /// These bytes of the request have come. How many there are now.
    pub fn took(&self, bytes: &[u8]) -> u64 {
        let before = self.taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if before <= Self::SHOWN as u64 {
            let room = Self::SHOWN + 1 - before as usize;
            let mut beginning = self.beginning.lock().expect("nobody panics with it");
            beginning.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        before + bytes.len() as u64
    }

    /// So many bytes of the answer have been sent.
    pub fn gave(&self, bytes: usize) {
        self.given.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn beginning(&self) -> String {
        let beginning = self.beginning.lock().expect("nobody panics with it");
        let shown = &beginning[..beginning.len().min(Self::SHOWN)];
        let more = if shown.len() < beginning.len() { "…" } else { "" };
        format!("\"{}{more}\"", shown.escape_ascii())
    }
}
