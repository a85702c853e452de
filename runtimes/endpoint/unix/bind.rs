//! Taking a place at a path, and giving it up.

use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

#[cfg(feature = "tokio")]
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::process::Pid;

use super::stream::{Stream, socket};
use super::{state, state_of, with_address};
use crate::connect::{Connecting, Next, Patience, Refusal, State};
use crate::endpoint::Place;
use crate::{Error, ErrorKind, Phase};

/// Connections that may wait to be accepted; the system may allow fewer (`somaxconn`).
const BACKLOG: i32 = 4096;

/// How long another server may hold the folder while it starts or ends.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// A server's place at a path. Dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    path: Arc<Path>,
    identity: Identity,
    /// Who bound: a forked child must not remove what its parent serves.
    process: Pid,
}

/// What tells one socket at a path from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    #[allow(clippy::unnecessary_cast)] // The fields' types differ between systems.
    fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

/// What an attempt to accept came to.
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

impl Listener {
    /// Takes the place.
    pub(crate) fn bind(place: &Place) -> Result<Self, Error> {
        let path = place.path.clone();
        let failed = |errno: Errno| {
            let kind = match state_of(errno) {
                State::Other => ErrorKind::Io,
                state => ErrorKind::Endpoint(state),
            };
            Error::new(Phase::Bind, &path, kind).because(io::Error::from(errno))
        };
        let (true, Some(folder), Some(name)) = (place.is_absolute, path.parent(), path.file_name())
        else {
            return Err(Error::new(Phase::Bind, &path, ErrorKind::Endpoint(State::Invalid)));
        };
        let folder = match lock(folder) {
            Err(Errno::BUSY) => {
                let why = "another server that starts or ends has held the folder's lock";
                let kind = ErrorKind::Deadline(LOCK_PATIENCE);
                return Err(Error::new(Phase::Bind, &path, kind).because(why));
            }
            folder => folder.map_err(failed)?,
        };
        let vacancy = examine(&path, folder.as_fd(), name)?;
        let private = private_name(name);
        match rustix::fs::unlinkat(&folder, &private, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let socket = listen_at(&path.with_file_name(&private)).map_err(failed)?;
        let publish = || {
            let stat = rustix::fs::statat(&folder, &private, AtFlags::SYMLINK_NOFOLLOW)?;
            vacancy.fill(folder.as_fd(), &private, name)?;
            Ok(Identity::of(&stat))
        };
        match publish() {
            Ok(identity) => Ok(Self { socket, path, identity, process: rustix::process::getpid() }),
            Err(errno) => {
                // Whether or not it can be removed, the cause is what matters.
                let _ = rustix::fs::unlinkat(&folder, &private, AtFlags::empty());
                Err(match errno {
                    Errno::EXIST => Error::new(Phase::Bind, &path, ErrorKind::InUse),
                    errno => failed(errno),
                })
            }
        }
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    #[cfg(any(feature = "smol", feature = "tokio"))]
    /// Whether accepting blocks when there is nothing to accept.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.socket, nonblocking)?)
    }

    /// Accepts the next connection, or waits for one if accepting blocks.
    pub(crate) fn accept(&self) -> Accepted {
        loop {
            return match accept(&self.socket) {
                Ok(socket) => match Stream::from_accepted(socket) {
                    Ok(stream) => Accepted::Stream(stream),
                    Err(_) => continue, // The client is gone already.
                },
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::AGAIN) => Accepted::Nothing,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    Accepted::Shortage
                }
                Err(Errno::INVAL) => Accepted::Stopped,
                Err(errno) => Accepted::Failed(errno.into()),
            };
        }
    }

    /// Whether a connection, or the listener's end, is there to accept. Much cheaper to ask than
    /// an accept that finds nothing.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_queued(&self) -> bool {
        let mut fd = [PollFd::new(&self.socket, PollFlags::IN)];
        // If it cannot be told, accepting tells.
        poll(&mut fd, Some(&Timespec::default())) != Ok(0)
    }

    /// Refuses connections from now on and wakes whoever waits in [`accept`](Self::accept).
    /// What is queued can still be accepted; after that it says [`Accepted::Stopped`].
    pub(crate) fn shut_down(&self) {
        // It fails only for a socket that does not listen, and then there is nothing to stop.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Whether the path still leads to this server.
    pub(crate) fn is_in_place(&self) -> bool {
        match rustix::fs::lstat(&*self.path) {
            Ok(stat) => Identity::of(&stat) == self.identity,
            // Not being let to look says nothing about what is there.
            Err(errno) => state_of(errno) == State::Denied,
        }
    }

    /// Removes the path if it still leads to this server, and if it was this process that put it
    /// there.
    pub(crate) fn unpublish(&self) {
        if rustix::process::getpid() != self.process || !self.is_in_place() {
            return;
        }
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return;
        };
        // Under the lock, so that no other server takes the place between look and removal. A
        // dead socket that stays because the lock cannot be had does no harm: the next server
        // replaces it.
        if let Ok(folder) = lock(folder) {
            if self.is_in_place() {
                let _ = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.unpublish();
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// What a server finds where it wants to be.
enum Vacancy {
    Nothing,
    /// A socket on which nobody listens.
    DeadSocket,
}

impl Vacancy {
    /// Puts the socket at `private` in the place of `name`.
    fn fill(&self, folder: BorrowedFd<'_>, private: &OsStr, name: &OsStr) -> Result<(), Errno> {
        match self {
            // Somebody who does not take the lock may have come in between; a link, unlike a
            // rename, replaces nothing.
            Self::Nothing => {
                rustix::fs::linkat(folder, private, folder, name, AtFlags::empty())?;
                rustix::fs::unlinkat(folder, private, AtFlags::empty())
            }
            Self::DeadSocket => rustix::fs::renameat(folder, private, folder, name),
        }
    }
}

/// Looks who is at `path`, which is `name` in `folder`.
fn examine(path: &Path, folder: BorrowedFd<'_>, name: &OsStr) -> Result<Vacancy, Error> {
    let error = |kind| Error::new(Phase::Bind, path, kind);
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(Vacancy::Nothing),
        Err(errno) => {
            Err(error(ErrorKind::Endpoint(state_of(errno))).because(io::Error::from(errno)))
        }
        Ok(stat) if FileType::from_raw_mode(stat.st_mode as _) != FileType::Socket => {
            Err(error(ErrorKind::Endpoint(State::Invalid)))
        }
        Ok(_) => match state(path) {
            State::NotFound => Ok(Vacancy::Nothing),
            State::NotListening => Ok(Vacancy::DeadSocket),
            State::Listening => Err(error(ErrorKind::InUse)),
            state => Err(error(ErrorKind::Endpoint(state))),
        },
    }
}

/// Where a server listens before it has the path. One name is enough, for it is used under the
/// folder's lock only: what is there already was left by a server that did not live to rename it.
fn private_name(name: &OsStr) -> OsString {
    let mut private = OsString::from(".");
    private.push(name);
    private.push(".new");
    private
}

/// A socket that listens at `path`, which only this user can reach.
fn listen_at(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket(false)?;
    let owner_only = Mode::RUSR | Mode::WUSR;
    // On Linux the mode of the socket is the mode of what bind creates, whatever the umask.
    // Elsewhere this has no effect or fails, and the mode is set before anybody can connect.
    let _ = rustix::fs::fchmod(&socket, owner_only);
    with_address(path, |address| rustix::net::bind(&socket, address))?;
    let ready =
        rustix::fs::chmod(path, owner_only).and_then(|()| rustix::net::listen(&socket, BACKLOG));
    if let Err(errno) = ready {
        let _ = rustix::fs::unlink(path);
        return Err(errno);
    }
    Ok(socket)
}

#[cfg(not(target_vendor = "apple"))]
fn accept(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    use rustix::net::SocketFlags;

    rustix::net::accept_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

#[cfg(target_vendor = "apple")]
fn accept(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    let accepted = rustix::net::accept(socket)?;
    rustix::io::ioctl_fioclex(&accepted)?;
    rustix::io::ioctl_fionbio(&accepted, true)?;
    Ok(accepted)
}

/// Opens `folder` and locks it against other servers that start or end in it.
fn lock(folder: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let patience = Patience { busy: LOCK_PATIENCE, not_found: Duration::ZERO };
    let mut attempts = Connecting::new(patience, folder.as_raw_fd() as u64);
    let since = Instant::now();
    loop {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match attempts.refused(Refusal::Busy, since.elapsed()) {
                Next::RetryAfter(pause) => thread::sleep(pause),
                Next::GiveUp => return Err(Errno::BUSY),
            },
            Err(errno) => return Err(errno),
        }
    }
}
