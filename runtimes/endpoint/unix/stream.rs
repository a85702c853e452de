//! A connected socket: never blocking, closed on exec, and without SIGPIPE.

use core::sync::atomic::{AtomicBool, Ordering};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::vec::Vec;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use crate::connect::Refusal;
use crate::endpoint::Credentials;

/// A connection. It never blocks: what cannot be done at once is `WouldBlock`.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: OwnedFd,
    /// More has been sent than the system's usual buffer holds, so it has been given a larger one.
    is_wide: AtomicBool,
}

/// Slices handed to one vectored write: the gain levels off before this (32 packets).
const MAX_SLICES: usize = 64;

/// The buffer for long messages, so that each end finds work while the other is at work. (Linux
/// doubles it, and grants no more than `net.core.wmem_max`.) One of some MiB is slower again.
const WIDE: usize = 512 * 1024;

/// A peer that is gone is an error, never a signal.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty(); // SO_NOSIGPIPE is set on each socket.

impl Stream {
    /// Whether a server learns who its client is before that has sent anything.
    pub(crate) const CLIENT_IS_KNOWN_AT_ONCE: bool = true;

    /// One attempt to connect, which never waits.
    pub(crate) fn connect(path: &Path) -> Result<Self, (Refusal, io::Error)> {
        let failed = |errno| (super::refusal(path, errno), io::Error::from(errno));
        let socket =
            socket(true).map_err(|errno| (Refusal::Not(super::State::Other), errno.into()))?;
        super::address::with_address(path, |address| rustix::net::connect(&socket, address))
            .map_err(failed)?;
        Ok(Self { socket, is_wide: AtomicBool::new(false) })
    }

    /// A socket that was just accepted, not blocking and closed on exec already.
    pub(super) fn from_accepted(socket: OwnedFd) -> io::Result<Self> {
        no_sigpipe(&socket)?;
        Ok(Self { socket, is_wide: AtomicBool::new(false) })
    }

    /// Sends as much of `slices` as the peer's buffer takes, in one call.
    pub(crate) fn send<'s>(&self, slices: impl Iterator<Item = &'s [u8]>) -> io::Result<usize> {
        let mut vector = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (place, slice) in vector.iter_mut().zip(slices) {
            *place = IoSlice::new(slice);
            count += 1;
        }
        loop {
            let mut no_control = SendAncillaryBuffer::default();
            let slices = &vector[..count];
            match rustix::net::sendmsg(&self.socket, slices, &mut no_control, SEND_FLAGS) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !self.is_wide.swap(true, Ordering::Relaxed) => {
                    // Without it everything is as it was, only slower.
                    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&self.socket, WIDE);
                }
                result => return Ok(result?),
            }
        }
    }

    /// Receives into `buffer` what has come. 0 is the end of the stream, if `buffer` has room.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        end_if_reset(|| {
            rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()).map(|(n, _)| n)
        })
    }

    /// Receives into the spare capacity of `buffer` what has come. 0 is the end of the stream,
    /// if there is spare capacity.
    pub(crate) fn receive_into(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        end_if_reset(|| {
            let spare = rustix::buffer::spare_capacity(buffer);
            rustix::net::recv(&self.socket, spare, RecvFlags::empty()).map(|(n, _)| n)
        })
    }

    /// Tells the peer that nothing more will be read, which its next send reports. What came
    /// before can still be received.
    pub(crate) fn shut_down_reading(&self) {
        // It can fail only where the peer is gone already.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Read);
    }

    /// Gives up what is on its way: never anything, for the system takes it at once or not at all.
    pub(crate) fn give_up_sending(&self) -> bool {
        false
    }

    /// Tells the peer that nothing more will be sent.
    pub(crate) fn shut_down_writing(&self) {
        // As above.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Ends both directions at once, whoever else holds this connection.
    pub(crate) fn shut_down(&self) {
        // As above.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Who the peer is.
    pub(crate) fn peer(&self) -> io::Result<Credentials> {
        super::system::peer_credentials(self.socket.as_fd())
    }

    /// Whether the peer has closed its end. Half-closing is not leaving.
    pub(crate) fn peer_has_left(&self) -> bool {
        let mut fd = [PollFd::new(&self.socket, PollFlags::empty())];
        poll(&mut fd, Some(&Timespec::default())).is_ok()
            && fd[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Blocks until there is something to receive, for `timeout` at the most.
    #[cfg(feature = "blocking")]
    pub(crate) fn wait_readable(&self, timeout: Option<core::time::Duration>) -> io::Result<bool> {
        wait(self.socket.as_fd(), PollFlags::IN, timeout)
    }

    /// Blocks until there is room to send, for `timeout` at the most.
    #[cfg(feature = "blocking")]
    pub(crate) fn wait_writable(&self, timeout: Option<core::time::Duration>) -> io::Result<bool> {
        wait(self.socket.as_fd(), PollFlags::OUT, timeout)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Receives again when a signal came in between. A connection that the peer reset has ended:
/// on Unix sockets that is what a peer leaves that closes without having read everything.
fn end_if_reset(mut receive: impl FnMut() -> Result<usize, Errno>) -> io::Result<usize> {
    loop {
        match receive() {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(0),
            result => return Ok(result?),
        }
    }
}

/// Waits for `flags`; `false` when the time is up.
#[cfg(feature = "blocking")]
fn wait(
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    timeout: Option<core::time::Duration>,
) -> io::Result<bool> {
    // A time that does not fit is as good as for ever.
    let mut rest = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    loop {
        match super::system::poll_on(fd, flags, rest.as_mut()) {
            // A signal, which gives nobody more time.
            Err(Errno::INTR) => {}
            ready => return Ok(ready?),
        }
    }
}

/// A Unix stream socket, closed on exec.
pub(super) fn socket(nonblocking: bool) -> Result<OwnedFd, Errno> {
    use rustix::net::{AddressFamily, SocketType};

    #[cfg(not(target_vendor = "apple"))]
    let socket = {
        use rustix::net::SocketFlags;

        let mut flags = SocketFlags::CLOEXEC;
        flags.set(SocketFlags::NONBLOCK, nonblocking);
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?
    };
    #[cfg(target_vendor = "apple")]
    let socket = {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::ioctl_fioclex(&socket)?;
        rustix::io::ioctl_fionbio(&socket, nonblocking)?;
        socket
    };
    no_sigpipe(&socket)?;
    Ok(socket)
}

/// Where a send cannot be told to raise no SIGPIPE, the socket is told.
fn no_sigpipe(_socket: &OwnedFd) -> Result<(), Errno> {
    #[cfg(target_vendor = "apple")]
    rustix::net::sockopt::set_socket_nosigpipe(_socket, true)?;
    Ok(())
}
