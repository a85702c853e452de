//! Named pipes: connecting, taking a place at a path, and moving bytes.
//!
//! A pipe is no file: its name is made from the path, as git makes it, and it is there as long as
//! one of its server's instances is. So there is no dead socket, nothing to lock, nothing to
//! replace and nothing to remove.

pub(super) mod launch;
mod listener;
pub(super) mod private_folder;
#[cfg(feature = "blocking")]
pub(crate) mod readiness;
#[cfg(any(feature = "smol", feature = "tokio"))]
mod source;
mod stream;
mod system;

pub(crate) use listener::Listener;
pub(super) use security::Sid as UserId;
#[cfg(any(feature = "smol", feature = "tokio"))]
pub(crate) use source::{Direction, Source};
pub(crate) use stream::Stream;
pub(super) use system::current_user;

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::vec::Vec;

use super::security;
use crate::connect::{Refusal, State};
use crate::pipe_name::PipeName;

/// The name of the pipe for an absolute path, or what is wrong with the path.
fn pipe_name(path: &Path) -> Result<PipeName, (State, io::Error)> {
    let real = real_path(path).map_err(|error| (State::Invalid, error))?;
    let units: Vec<u16> = OsString::from(real).encode_wide().collect();
    PipeName::of(&units)
        .map_err(|why| (State::Invalid, io::Error::new(io::ErrorKind::InvalidInput, why)))
}

/// `path` without symbolic links. Its last part need not be there.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(folder), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(folder.canonicalize()?.join(name))
        }
        (real, ..) => real,
    }
}

/// What a failed connect means.
fn refusal(error: &io::Error) -> Refusal {
    match stream::state_of(error) {
        State::Listening => Refusal::Busy,
        state => Refusal::Not(state),
    }
}

fn state_of_pipe(name: &PipeName) -> State {
    match system::look(name) {
        Ok(()) => State::Listening,
        Err(error) => stream::state_of(&error),
    }
}

/// What is found at `path`. A server that is there sees nothing of it.
pub(crate) fn state(path: &Path) -> State {
    match pipe_name(path) {
        Ok(name) => state_of_pipe(&name),
        Err((state, _)) => state,
    }
}

/// Whether this process may run on more than one processor: only then can a peer be at work
/// while this thread is.
pub(crate) fn has_more_processors() -> bool {
    std::thread::available_parallelism().is_ok_and(|count| count.get() > 1)
}
