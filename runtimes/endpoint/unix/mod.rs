//! Unix domain sockets: connecting, taking a place at a path, and moving bytes.

mod address;
mod bind;
mod folder;
mod interlock;
pub(super) mod launch;
mod life;
mod listener;
pub(super) mod private_folder;
#[cfg(feature = "blocking")]
pub(crate) mod readiness;
mod stream;
pub(super) mod system;

pub(crate) use listener::Listener;
pub(crate) use stream::Stream;

/// What tells users apart.
pub(super) type UserId = u32;

#[allow(clippy::unnecessary_wraps, reason = "other systems may not say")]
pub(super) fn current_user() -> std::io::Result<UserId> {
    Ok(rustix::process::geteuid().as_raw())
}

use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use self::life::{Life, REFUSES_WHEN_FULL};
use crate::connect::{Refusal, State};

/// What an endpoint's state is when the system answers a look at it, or a connect, with `errno`.
fn state_of(errno: Errno) -> State {
    match errno {
        Errno::NOENT => State::NotFound,
        Errno::ACCESS | Errno::PERM => State::Denied,
        Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::INVAL | Errno::PROTOTYPE => {
            State::Invalid
        }
        _ => State::Other,
    }
}

/// What a failed connect to `path` means. `ECONNREFUSED` may come from a dead socket as well as
/// from a file that is no socket, so that needs a look.
fn refusal(path: &Path, errno: Errno) -> Refusal {
    match errno {
        // A full backlog: the server is alive.
        Errno::AGAIN => Refusal::Busy,
        Errno::CONNREFUSED => Refusal::Not(match kind_of(path) {
            // A full backlog too, where that refuses.
            Ok(FileType::Socket) if REFUSES_WHEN_FULL && Life::is_held(path) => {
                return Refusal::Busy;
            }
            Ok(FileType::Socket) => State::NotListening,
            Ok(_) => State::Invalid,
            Err(errno) => state_of(errno),
        }),
        errno => Refusal::Not(state_of(errno)),
    }
}

/// The type of what is at `path`, symbolic links followed, as connecting follows them.
fn kind_of(path: &Path) -> Result<FileType, Errno> {
    rustix::fs::stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode as _))
}

pub(crate) fn state(path: &Path) -> State {
    match Stream::connect(path) {
        Ok(_) => State::Listening,
        Err((Refusal::Busy, _)) => State::Listening,
        Err((Refusal::Not(state), _)) => state,
    }
}

/// Whether this process may run on more than one processor: only then can a peer be at work
/// while this thread is.
pub(crate) fn has_more_processors() -> bool {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    return rustix::thread::sched_getaffinity(None).is_ok_and(|set| set.count() > 1);
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    std::thread::available_parallelism().is_ok_and(|count| count.get() > 1)
}
