//! The rendezvous: how a client and a server find each other at a path, whatever the runtime.
//!
//! A server takes its place with a lock on the folder held, looks who is there, listens on a
//! private name and renames it to the path. So a live server is never displaced, two that start
//! at once cannot both win, a socket that a dead server left is replaced without a moment in
//! which the path is missing, and a file that is no socket is left alone. The lock is the
//! system's (`flock` on the folder): it ends with its process, however that ends, and leaves no
//! file behind.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

#[cfg(any(unix, windows))]
#[cfg(feature = "blocking")]
pub(crate) use system::readiness::{Events, Readiness, Watched};
#[cfg(any(unix, windows))]
pub(crate) use system::{Accepted, Listener, Stream, has_more_processors};

pub use crate::connect::State;

use std::borrow::ToOwned as _;
use std::io;
use std::path::{Path, PathBuf};

/// Makes a path absolute, so that a later change of the working folder means nothing.
///
/// # Errors
///
/// If `path` is empty, or the working folder is gone.
pub(crate) fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}

/// What is found at `path`. The server, if there is one, is not disturbed: it sees a client that
/// hangs up without a word.
#[cfg(any(unix, windows))]
pub fn state(path: impl AsRef<Path>) -> State {
    match absolute(path.as_ref()) {
        Ok(path) => system::state(&path),
        Err(_) => State::Invalid,
    }
}

/// An absolute path, or the path as it was given and why it cannot be made absolute.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: std::sync::Arc<Path>,
    pub(crate) is_absolute: bool,
}

impl Place {
    pub(crate) fn new(path: &Path) -> Self {
        match absolute(path) {
            Ok(path) => Self { path: path.into(), is_absolute: true },
            Err(_) => Self { path: path.to_owned().into(), is_absolute: false },
        }
    }
}
