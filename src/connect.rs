//! Connecting: what an endpoint's state is, when to try again, and when to give up.
//!
//! No clock and no I/O: the caller says why an attempt failed and how long it has been trying,
//! and is told what to do.

use core::fmt;
use core::time::Duration;

/// What is found at an endpoint's path.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// A server is there. It may be busy.
    Listening,
    /// A socket is there and nobody listens on it: its server is gone.
    NotListening,
    /// Nothing is there.
    NotFound,
    /// What is there, or the path itself, can never be an endpoint: a plain file, a folder, a
    /// name too long. Trying again does not help.
    Invalid,
    /// The system does not let this user look or connect, which says nothing about whether a
    /// server is there.
    Denied,
    /// Something else is wrong.
    Other,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listening => "listening",
            Self::NotListening => "not listening",
            Self::NotFound => "path not found",
            Self::Invalid => "invalid path",
            Self::Denied => "denied",
            Self::Other => "other error",
        })
    }
}

/// Why an attempt to connect failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// The server is alive and has no room: a full backlog (EAGAIN on Linux), or no free
    /// instance of a pipe (ERROR_PIPE_BUSY on Windows).
    Busy,
    /// The endpoint is in this state, and that is not [`State::Listening`].
    Not(State),
}

/// How long to wait for a server that is busy, or not there yet.
///
/// The limits are git's (`ipc_client_connect_options`): 1 s for a busy server, and none for a
/// missing one unless asked for. git's fixed steps of 50 ms are not copied: the first further
/// attempt comes after a fraction of a millisecond, the later ones less and less often.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Patience {
    /// Wait this long for room at a server that is alive.
    pub busy: Duration,
    /// Wait this long for a server to appear where the path is missing or its server is gone.
    pub not_found: Duration,
}

impl Patience {
    /// git's limit on connecting: 1 s on Unix (`MY_CONNECTION_TIMEOUT_MS`), 30 s on Windows.
    pub const GIT: Duration = Duration::from_secs(if cfg!(windows) { 30 } else { 1 });

    /// Report every refusal at once.
    pub const NONE: Self = Self { busy: Duration::ZERO, not_found: Duration::ZERO };
}

impl Default for Patience {
    /// Waits for a busy server as long as git, and for a missing one not at all.
    fn default() -> Self {
        Self { busy: Self::GIT, not_found: Duration::ZERO }
    }
}

/// What to do after an attempt that failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Next {
    /// Try again after this long.
    RetryAfter(Duration),
    /// Report the refusal.
    GiveUp,
}

/// The attempts of one connect.
///
/// ```
/// use core::time::Duration;
/// use simple_ipc::connect::{Connecting, Next, Patience, Refusal, State};
///
/// let mut connecting = Connecting::new(Patience::default(), 1);
/// // The server has no room: try again soon.
/// assert!(matches!(connecting.refused(Refusal::Busy, Duration::ZERO), Next::RetryAfter(_)));
/// // The server is gone, and we were not asked to wait for one.
/// let gone = Refusal::Not(State::NotListening);
/// assert_eq!(connecting.refused(gone, Duration::from_millis(1)), Next::GiveUp);
/// ```
#[derive(Clone, Debug)]
pub struct Connecting {
    patience: Patience,
    attempts: u32,
    /// State of the generator of jitter.
    jitter: u64,
}

impl Connecting {
    const FIRST_STEP: Duration = Duration::from_micros(100);
    const LONGEST_STEP: Duration = Duration::from_millis(20);

    /// The first attempt is still to be made. `seed` is any number that differs between clients,
    /// so that many of them who find the server full do not come back all at once.
    pub const fn new(patience: Patience, seed: u64) -> Self {
        Self { patience, attempts: 0, jitter: seed }
    }

    /// An attempt failed, `elapsed` after the first one began.
    ///
    /// A last attempt is made when the time is up, never later.
    pub fn refused(&mut self, refusal: Refusal, elapsed: Duration) -> Next {
        let limit = match refusal {
            Refusal::Busy => self.patience.busy,
            Refusal::Not(State::NotFound | State::NotListening) => self.patience.not_found,
            Refusal::Not(_) => return Next::GiveUp,
        };
        if elapsed >= limit {
            return Next::GiveUp;
        }
        let step =
            Self::FIRST_STEP.saturating_mul(1 << self.attempts.min(16)).min(Self::LONGEST_STEP);
        self.attempts = self.attempts.saturating_add(1);
        // Half to all of the step, so that clients that failed together come back apart.
        let half = step / 2;
        let jittered = half + half.mul_f32(self.fraction());
        Next::RetryAfter(jittered.min(limit - elapsed))
    }

    /// A number in 0..1 (splitmix64: it tells neighbouring seeds, process ids say, apart from the
    /// first number on).
    fn fraction(&mut self) -> f32 {
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.jitter ^ self.jitter >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 48) as f32 / 65536.0
    }
}
