//! The rendezvous: how a client and a server find each other at a path, whatever the runtime.
//!
//! A server takes its place with a lock on the folder held, looks who is there, listens on a
//! private name and renames it to the path. So a live server is never displaced, two that start
//! at once cannot both win, a socket that a dead server left is replaced without a moment in
//! which the path is missing, and a file that is no socket is left alone. The lock is the
//! system's (`flock` on the folder): it ends with its process, however that ends, and leaves no
//! file behind. git's server, which knows nothing of it, is kept out by `<path>.lock`, held only
//! across the last look and the rename.
//!
//! Whoever can open a folder can lock it, and so keep servers from starting there for as long: a folder
//! of one's own, as [`runtime_folder`] makes it, is a better place than one that all share.
//!
//! What a user may find beside the path `app.ipc` on Unix, and what it is:
//!
//! | name | what it is | when it goes |
//! | --- | --- | --- |
//! | `.app.ipc.start` | whose lock is the right to start a server | when that is there, or has failed; a crash leaves it, which is in nobody's way |
//! | `.app.ipc.life` | whose lock says that the server lives, where a full backlog looks like a dead socket (macOS, the BSDs) | with the server, or the next one |
//! | `app.ipc.lock` | keeps git's servers out for a moment | after that moment, or with the next server |
//! | `.app.ipc.spare` | the socket's second name, from which it is published again (`BindOptions::republish`) | with the server, or the next one |
//! | `.simple-ipc.UID.new` | a listener on its way to its path | at once, or with the next server in that folder |
//!
//! On Windows nothing of this is there: the path is only what the pipe's name is made from (see
//! [`pipe_name`](crate::pipe_name)), the system lets one server have a name, and takes a dead one's
//! away with it.
//!
//! A symbolic link at a server's path is somebody's deliberate arrangement: a server neither
//! replaces nor follows it, and says "in use" if it leads to a live one, "invalid path" otherwise.
//! Clients follow it.

#[cfg(unix)]
mod activation;
#[cfg(any(unix, windows))]
#[cfg(any(feature = "smol", feature = "tokio"))]
mod background;
#[cfg(any(unix, windows))]
mod folder;
#[cfg(any(unix, windows))]
mod peer;
// Apart from the rest of its system, so that it is tested on every one.
#[cfg(any(windows, all(unix, test)))]
#[path = "windows/security.rs"]
mod security;
#[cfg(any(unix, windows))]
mod start;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use activation::{Activated, activated};
#[cfg(all(any(unix, windows), any(feature = "smol", feature = "tokio")))]
pub(crate) use background::start_and_connect_in_background;
#[cfg(any(unix, windows))]
pub use folder::runtime_folder;
#[cfg(any(unix, windows))]
pub use peer::{Credentials, User};
#[cfg(any(unix, windows))]
pub(crate) use start::is_called_for;
#[cfg(all(any(unix, windows), feature = "blocking"))]
pub(crate) use start::start_and_connect;
#[cfg(any(unix, windows))]
pub use start::{StartFailure, Starter, announce_ready};

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

#[cfg(any(unix, windows))]
#[cfg(feature = "blocking")]
pub(crate) use system::readiness::{Events, Readiness, Watched};
#[cfg(all(windows, any(feature = "smol", feature = "tokio")))]
pub(crate) use system::{Direction, Source};
#[cfg(any(unix, windows))]
pub(crate) use system::{Listener, Stream, has_more_processors};

pub use crate::connect::State;

#[cfg(any(unix, windows))]
use core::hash::{BuildHasher as _, Hasher as _};
use std::borrow::ToOwned as _;
#[cfg(any(unix, windows))]
use std::hash::RandomState;
use std::io;
use std::path::{Path, PathBuf};

/// A number that is different each time, in every process. It is no secret's.
#[cfg(any(unix, windows))]
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What an attempt to accept came to.
#[cfg(any(unix, windows))]
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A connection.
    Stream(Stream),
    /// Nothing is there to accept (only where accepting does not block).
    Nothing,
    /// The system has no descriptor, or no memory, for one more connection.
    Shortage,
    /// The listener was told to stop, and all that was queued has been accepted.
    Stopped,
    /// The listener does not work.
    Failed(io::Error),
}

/// Makes a path absolute, so that a later change of the working folder means nothing.
///
/// # Errors
///
/// If `path` is empty, or the working folder is gone; or if it ends with a slash, which names a
/// folder.
pub(crate) fn absolute(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match path.as_os_str().as_encoded_bytes().last() {
        Some(b'/') => Err(io::ErrorKind::IsADirectory.into()),
        Some(b'\\') if cfg!(windows) => Err(io::ErrorKind::IsADirectory.into()),
        _ => Ok(path),
    }
}

/// Who may connect to a server, besides the system's administrator. It holds from the first
/// instant that the socket can be reached.
///
/// On Windows it is the pipe's access list. Whatever it is, nobody but the server's user and the
/// system itself can serve under the pipe's name, and nobody can connect from another machine. A
/// server that is elevated can be reached by all programs of its user, those that are not elevated
/// too: its handlers must not do for a client what only an elevated one could do for itself.
/// Programs in a sandbox of low integrity cannot connect.
#[cfg(any(unix, windows))]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Access {
    /// The server's user.
    #[default]
    Owner,
    /// The members of the socket's group too, which is the server's, or the folder's if that is
    /// set-group-id. On Windows it is the primary group of the server's user, which as a rule has
    /// many members: all users of the domain, or nobody in particular.
    Group,
    /// Every user that can reach the folder; on Windows every user of this machine.
    Everyone,
}

/// How a server takes its place at a path.
///
/// On Windows only the access means anything. A pipe's name cannot be taken from a server that
/// lives and is gone when it is, so there is nothing to publish again and no lock to keep; and a
/// server that drains keeps its name anyway, as [`hold_path`](Self::hold_path) would have it.
///
/// ```
/// use simple_ipc::endpoint::{Access, BindOptions};
///
/// let options = BindOptions::new().access(Access::Group).republish(true);
/// ```
#[cfg(any(unix, windows))]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BindOptions {
    pub(crate) access: Access,
    pub(crate) republish: bool,
    pub(crate) hold_path: bool,
    pub(crate) life_lock: bool,
}

#[cfg(any(unix, windows))]
impl BindOptions {
    /// The defaults, which a server's `bind` uses.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who may connect. The owner only, unless set otherwise.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Publish the socket again when its path was removed and nothing else is there; a server
    /// whose path is lost otherwise stops. It keeps a second name for the socket in the folder,
    /// `.<name>.spare`, so it cannot help when the folder goes. Off unless set otherwise.
    #[must_use]
    pub fn republish(mut self, republish: bool) -> Self {
        self.republish = republish;
        self
    }

    /// Keep the path until the server has ended, so that no other server starts while this one
    /// still drains: one that tries is told "in use". Off unless set otherwise. It needs the
    /// [`life_lock`](Self::life_lock).
    #[must_use]
    pub fn hold_path(mut self, hold: bool) -> Self {
        self.hold_path = hold;
        self.life_lock |= hold;
        self
    }

    /// Keep a file in the folder, `.<name>.life`, locked for the server's life, and replace no
    /// socket that refuses unless such a file proves that its server is gone.
    ///
    /// macOS and the BSDs refuse clients of a server whose backlog is full just as those of one
    /// that is gone, so there it is always on. On Linux a refusal is proof enough, and it is off
    /// unless set otherwise.
    #[must_use]
    pub fn life_lock(mut self, lock: bool) -> Self {
        self.life_lock = lock;
        self
    }
}

/// Tells the client that has started this process, if one has, that the server at `path` serves.
#[cfg(any(unix, windows))]
pub(crate) fn announce(path: &Path) {
    crate::runtimes::trace::serving(path);
    // A client that does not learn of it looks for itself.
    let _ = announce_ready();
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

/// An absolute path; or the path as it was given, if no endpoint can be there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: std::sync::Arc<Path>,
    pub(crate) is_possible: bool,
}

impl Place {
    pub(crate) fn new(path: &Path) -> Self {
        match absolute(path) {
            Ok(path) => Self { path: path.into(), is_possible: true },
            Err(_) => Self { path: path.to_owned().into(), is_possible: false },
        }
    }
}
