//! What has changed since when.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

/// How long a change may take from the file system to here. Longer, and the answer is "look at
/// everything".
const PATIENCE: Duration = Duration::from_secs(2);

/// How many paths are remembered. What is older is "look at everything".
const MOST: usize = 100_000;

/// The changes seen so far.
///
/// A token is `builtin:ID:SEQ`. SEQ counts the answers, and each path is kept with the count at
/// which it changed last. ID changes whenever events may have been lost, so that no token from
/// before is understood any more.
pub struct Changes {
    cookies: PathBuf,
    state: Mutex<State>,
    /// A cookie has been seen.
    seen: Condvar,
}

struct State {
    generation: u64,
    seq: u64,
    changed: HashMap<Vec<u8>, u64>,
    /// Nothing that is known can be trusted until the watches are in place again.
    lost: bool,
    /// Cookies that have been laid out and not seen.
    pending: HashSet<PathBuf>,
    cookie: u64,
}

impl State {
    /// No token from before is understood any more.
    fn forget(&mut self) {
        self.generation += 1;
        self.changed.clear();
    }

    /// The count in a token that was given since.
    fn count(&self, token: &[u8]) -> Option<u64> {
        let token = std::str::from_utf8(token).ok()?.strip_prefix("builtin:")?;
        let (id, seq) = token.split_once(':')?;
        let is_ours = u64::from_str_radix(id, 16).ok()? == self.generation;
        is_ours.then(|| seq.parse().ok())?.filter(|seq| *seq < self.seq)
    }
}

impl Changes {
    pub fn new(git: &Path) -> io::Result<Self> {
        let cookies = git.join("fsmonitor--daemon").join("cookies");
        fs::create_dir_all(&cookies)?;
        let state = State {
            // Different for every monitor there ever was here.
            generation: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |now| now.as_nanos() as u64),
            seq: 0,
            changed: HashMap::new(),
            lost: false,
            pending: HashSet::new(),
            cookie: 0,
        };
        Ok(Self { cookies, state: Mutex::new(state), seen: Condvar::new() })
    }

    /// Where cookies appear.
    pub fn cookies(&self) -> &Path {
        &self.cookies
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `path`, relative to the work tree, has changed, and all that is in it if it is a folder.
    pub fn mark(&self, path: Vec<u8>) {
        let mut state = self.lock();
        if state.changed.len() == MOST {
            state.forget();
        }
        let seq = state.seq;
        state.changed.insert(path, seq);
    }

    /// A cookie has come through, and everything that happened before it.
    pub fn cookie_seen(&self, cookie: &Path) {
        if self.lock().pending.remove(cookie) {
            self.seen.notify_all();
        }
    }

    /// Whatever was known is no longer enough for any client.
    pub fn forget(&self) {
        self.lock().forget();
    }

    /// Events have been lost, and are being lost until [`found`](Self::found).
    pub fn lost(&self) {
        let mut state = self.lock();
        state.lost = true;
        // Nobody need wait for what may never come.
        state.pending.clear();
        self.seen.notify_all();
    }

    /// Everything is being watched again.
    pub fn found(&self) {
        let mut state = self.lock();
        state.forget();
        state.lost = false;
    }

    /// The answer to a client that has the answer with this token; `None` knows nothing yet.
    pub fn since(&self, token: Option<&[u8]>) -> Vec<u8> {
        let count = |state: &State| token.and_then(|token| state.count(token));
        let is_known = count(&self.lock()).is_some();
        // What happened before the question must have been seen before it is answered.
        let caught_up = is_known && self.catch_up();
        let mut state = self.lock();
        let mut answer = format!("builtin:{:x}:{}\0", state.generation, state.seq).into_bytes();
        match count(&state) {
            Some(since) if caught_up && !state.lost => {
                for (path, _) in state.changed.iter().filter(|(_, changed)| **changed > since) {
                    answer.extend_from_slice(path);
                    answer.push(0);
                }
            }
            _ => answer.extend_from_slice(b"/\0"),
        }
        // What changes from now on is not in this answer.
        state.seq += 1;
        answer
    }

    /// Lays out a cookie and waits until it comes by.
    fn catch_up(&self) -> bool {
        let cookie = {
            let mut state = self.lock();
            if state.lost {
                return false;
            }
            state.cookie += 1;
            let cookie = self.cookies.join(format!("{}-{}", std::process::id(), state.cookie));
            state.pending.insert(cookie.clone());
            cookie
        };
        let made = fs::write(&cookie, b"").is_ok();
        let waited = self.seen.wait_timeout_while(
            self.lock(),
            if made { PATIENCE } else { Duration::ZERO },
            |state| state.pending.contains(&cookie),
        );
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let seen = !state.pending.remove(&cookie);
        drop(state);
        // One that stays does no harm.
        let _ = fs::remove_file(&cookie);
        seen
    }
}
