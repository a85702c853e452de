//! A socket that listens, made here or elsewhere.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketType};

use super::bind::{Publication, publish};
use super::stream::{Stream, socket};
use super::system;
use crate::endpoint::{Accepted, BindOptions, Place};
use crate::{Error, Phase};

/// A server's listener. Dropping it gives its path up, if it was published here.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Goes before the socket, so that its inode cannot be another's by then.
    origin: Origin,
    socket: OwnedFd,
    hold_path: bool,
    /// How waiting acceptors are woken where shutting down the socket does not do.
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Origin {
    Published(Publication),
    /// It is shared with whoever made it: it is never shut down, its file-status flags stay, and
    /// nothing is unlinked.
    Adopted(Arc<Path>),
}

/// Shutting down a listener wakes those who wait in accept, and refuses new clients.
const SHUTDOWN_WAKES: bool = cfg!(any(target_os = "android", target_os = "linux"));

impl Listener {
    /// Takes the place.
    pub(crate) fn bind(place: &Place) -> Result<Self, Error> {
        Self::bind_with(place, &BindOptions::new())
    }

    /// Takes the place as `options` say.
    pub(crate) fn bind_with(place: &Place, options: &BindOptions) -> Result<Self, Error> {
        let (socket, publication) = publish(place, options)?;
        let waker = (!SHUTDOWN_WAKES)
            .then(|| {
                rustix::io::ioctl_fionbio(&socket, true)?;
                Waker::new(&socket, false)
            })
            .transpose()
            .map_err(|error| Error::io(Phase::Bind, &place.path, error))?;
        let origin = Origin::Published(publication);
        Ok(Self { origin, socket, hold_path: options.hold_path, waker })
    }

    /// Takes over a listener that was made elsewhere.
    pub(crate) fn adopt(socket: OwnedFd) -> Result<Self, Error> {
        let path = path_of(&socket);
        let adopted = || {
            let is_unix =
                rustix::net::getsockname(&socket)?.address_family() == AddressFamily::UNIX;
            let is_stream = rustix::net::sockopt::socket_type(&socket)? == SocketType::STREAM;
            if !is_unix || !is_stream || !is_listening(&socket)? {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is not a Unix stream socket that listens",
                ));
            }
            // This flag is the descriptor's, not shared.
            rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
            let flags = rustix::fs::fcntl_getfl(&socket)?;
            Waker::new(&socket, !flags.contains(rustix::fs::OFlags::NONBLOCK))
        };
        match adopted() {
            Ok(waker) => Ok(Self {
                origin: Origin::Adopted(path),
                socket,
                hold_path: false,
                waker: Some(waker),
            }),
            Err(error) => Err(Error::io(Phase::Bind, &path, error)),
        }
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        match &self.origin {
            Origin::Published(publication) => publication.path(),
            Origin::Adopted(path) => path,
        }
    }

    /// Whether accepting blocks when there is nothing to accept. It does unless set otherwise.
    #[cfg(any(feature = "smol", feature = "tokio"))]
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match &self.waker {
            Some(waker) => waker.nonblocking.store(nonblocking, Ordering::Relaxed),
            None => rustix::io::ioctl_fionbio(&self.socket, nonblocking)?,
        }
        Ok(())
    }

    /// Accepts the next connection, or waits for one if accepting blocks.
    pub(crate) fn accept(&self) -> Accepted {
        match &self.waker {
            Some(waker) => waker.accept(&self.socket),
            None => accept_now(&self.socket),
        }
    }

    /// Stops listening, and wakes whoever waits in [`accept`](Self::accept). What is queued can
    /// still be accepted; after that it says [`Accepted::Stopped`].
    pub(crate) fn shut_down(&self) {
        if let Some(waker) = &self.waker {
            waker.stop(&self.socket);
        }
        if matches!(self.origin, Origin::Published(_)) {
            // It fails only for a socket that does not listen, and then there is nothing to stop.
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        }
    }

    /// Whether the path still leads to this server. One that was removed is published again if
    /// that was asked for.
    pub(crate) fn is_in_place(&self) -> bool {
        match &self.origin {
            Origin::Published(publication) => publication.is_in_place(),
            Origin::Adopted(_) => true,
        }
    }

    /// Gives the path up, unless it is to be held until the listener is dropped: removes it if it
    /// still leads to this server, and if it was this process that put it there.
    pub(crate) fn unpublish(&self) {
        if let (Origin::Published(publication), false) = (&self.origin, self.hold_path) {
            publication.give_up();
        }
    }

    /// As [`unpublish`](Self::unpublish), without waiting for others; `false` if they are in the
    /// way, so that it is still to be done.
    #[cfg(feature = "blocking")]
    pub(crate) fn unpublish_at_once(&self) -> bool {
        match &self.origin {
            Origin::Published(publication) if !self.hold_path => publication.give_up_at_once(),
            _ => true,
        }
    }
}

/// What to wait on: readable when there is something to accept, and when it was shut down.
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.waker {
            Some(waker) => waker.either.as_fd(),
            None => self.socket.as_fd(),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Accepts in turn, each after a look, so that whoever waits can be woken without the socket.
#[derive(Debug)]
struct Waker {
    /// Held by the one that waits and accepts.
    turn: Mutex<()>,
    /// At its end once `wake` has been shut down.
    awake: UnixStream,
    wake: UnixStream,
    /// Readable when the socket or `awake` is, for runtimes that wait themselves.
    either: OwnedFd,
    stopping: AtomicBool,
    nonblocking: AtomicBool,
    /// Accepting itself may block, if another process takes what the look has shown.
    accept_blocks: bool,
    accepting: AtomicBool,
}

impl Waker {
    fn new(socket: &OwnedFd, accept_blocks: bool) -> io::Result<Self> {
        let (awake, wake) = UnixStream::pair()?;
        Ok(Self {
            turn: Mutex::new(()),
            either: system::either_readable(socket.as_fd(), awake.as_fd())?,
            awake,
            wake,
            stopping: AtomicBool::new(false),
            nonblocking: AtomicBool::new(false),
            accept_blocks,
            accepting: AtomicBool::new(false),
        })
    }

    fn accept(&self, socket: &OwnedFd) -> Accepted {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let stopping = self.stopping.load(Ordering::SeqCst);
            let at_once = stopping || self.nonblocking.load(Ordering::Relaxed);
            let mut looks =
                [PollFd::new(socket, PollFlags::IN), PollFd::new(&self.awake, PollFlags::IN)];
            match poll(&mut looks, at_once.then_some(&Timespec::default())) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::NOMEM) => return Accepted::Shortage,
                Err(errno) => return Accepted::Failed(errno.into()),
            }
            if !looks[0].revents().is_empty() {
                self.accepting.store(true, Ordering::SeqCst);
                let accepted = accept_now(socket);
                self.accepting.store(false, Ordering::SeqCst);
                if !matches!(accepted, Accepted::Nothing) {
                    return accepted;
                }
                // Another process was faster.
            }
            match (stopping, at_once) {
                (true, _) => return Accepted::Stopped,
                (false, true) => return Accepted::Nothing,
                (false, false) => {}
            }
        }
    }

    /// Everybody who accepts is to stop when nothing is queued any more.
    fn stop(&self, socket: &OwnedFd) {
        /// How often to release one who is caught in accept.
        const KICKS: usize = 100;

        self.stopping.store(true, Ordering::SeqCst);
        let _ = self.wake.shutdown(std::net::Shutdown::Both);
        if !self.accept_blocks {
            return;
        }
        // Another process may have taken the connection that one of ours is about to accept, and
        // may take these too.
        for _ in 0..KICKS {
            if !self.accepting.load(Ordering::SeqCst) {
                return;
            }
            let address = rustix::net::getsockname(socket).map(SocketAddrUnix::try_from);
            if let (Ok(Ok(address)), Ok(client)) = (address, self::socket(true)) {
                let _ = rustix::net::connect(&client, &address);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn accept_now(socket: &OwnedFd) -> Accepted {
    loop {
        return match accept(socket) {
            Ok(socket) => match Stream::from_accepted(socket) {
                Ok(stream) => Accepted::Stream(stream),
                Err(_) => continue, // The client is gone already.
            },
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            Err(Errno::AGAIN) => Accepted::Nothing,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Accepted::Shortage,
            Err(Errno::INVAL) => Accepted::Stopped,
            Err(errno) => Accepted::Failed(errno.into()),
        };
    }
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

/// Where an adopted listener can be reached, as far as the system says.
fn path_of(socket: &OwnedFd) -> Arc<Path> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let address = rustix::net::getsockname(socket).map(SocketAddrUnix::try_from);
    let path = address.ok().and_then(Result::ok).and_then(|address| {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Some(name) = address.abstract_name() {
            let mut path = std::ffi::OsString::from("@");
            path.push(OsStr::from_bytes(name));
            return Some(PathBuf::from(path));
        }
        address.path_bytes().map(|path| PathBuf::from(OsStr::from_bytes(path)))
    });
    path.unwrap_or_default().into()
}

#[cfg(not(target_vendor = "apple"))]
fn is_listening(socket: &OwnedFd) -> Result<bool, Errno> {
    rustix::net::sockopt::socket_acceptconn(socket)
}

/// It shows when something is accepted.
#[cfg(target_vendor = "apple")]
fn is_listening(_socket: &OwnedFd) -> Result<bool, Errno> {
    Ok(true)
}
