//! System calls that have no safe wrapper.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

#[cfg(feature = "blocking")]
use rustix::event::{PollFlags, Timespec};
#[cfg(feature = "blocking")]
use rustix::io::Errno;

use crate::endpoint::Credentials;

/// Whether [`nobody_else_has_open`] can tell, as a rule.
pub(super) const TELLS_WHO_HAS_OPEN: bool = cfg!(any(target_os = "android", target_os = "linux"));

/// Whether no other descriptor, in any process, is open on this file; `None` where that cannot be
/// known. The file must be open for reading only.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(super) fn nobody_else_has_open(file: BorrowedFd<'_>) -> Option<bool> {
    use std::os::fd::AsRawFd as _;

    /// The signal that tells a holder that its lease is wanted back. (`libc` has it for some
    /// systems only; the number is the same on all that Rust runs on.)
    const F_SETSIG: libc::c_int = 10;

    // The lease is held for an instant, but somebody may open the file in that instant. The signal
    // for that would end the process, so another is asked for, which is ignored unless handled.
    // SAFETY: the descriptor is open for as long as it is borrowed, and these two commands of
    // `fcntl` take an integer and touch no memory of this process.
    let leased = unsafe {
        libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0
    };
    if leased {
        // SAFETY: as above. It cannot fail: the lease is there. Closing would end it as well.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(true);
    }
    match io::Error::last_os_error().raw_os_error() {
        // The file system knows no leases.
        Some(libc::EINVAL | libc::ENOLCK | libc::EOPNOTSUPP) => None,
        // Somebody has, or it is another user's, and then it is not for us to say.
        _ => Some(false),
    }
}

/// As above; nothing is known of it here.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(super) fn nobody_else_has_open(_file: BorrowedFd<'_>) -> Option<bool> {
    None
}

/// Waits for `flags`, for `rest` at the most, and leaves there what a signal
/// ([`Errno::INTR`]) has left of it; `false` when the time is up.
///
/// Linux itself says what is left, so that a wait, which is part of many an exchange, need not read
/// the clock. The usual wrappers keep that from their callers.
#[cfg(all(
    feature = "blocking",
    target_pointer_width = "64",
    any(target_os = "android", target_os = "linux")
))]
pub(super) fn poll_on(
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    rest: Option<&mut Timespec>,
) -> Result<bool, Errno> {
    use std::os::fd::AsRawFd as _;

    let mut fd =
        libc::pollfd { fd: fd.as_raw_fd(), events: flags.bits() as libc::c_short, revents: 0 };
    let rest = rest.map_or(core::ptr::null_mut(), core::ptr::from_mut);
    let no_signals = core::ptr::null::<libc::sigset_t>();
    // SAFETY: the descriptor is open for as long as it is borrowed. The system reads and writes one
    // `pollfd`, and the time if there is one, which has the layout that it expects wherever
    // pointers have 64 bits. Where there is no set of signals, its size means nothing.
    let ready =
        unsafe { libc::syscall(libc::SYS_ppoll, &raw mut fd, 1_usize, rest, no_signals, 0_usize) };
    match ready {
        0.. => Ok(ready > 0),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// As above, by the clock.
#[cfg(all(
    feature = "blocking",
    not(all(target_pointer_width = "64", any(target_os = "android", target_os = "linux")))
))]
pub(super) fn poll_on(
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    rest: Option<&mut Timespec>,
) -> Result<bool, Errno> {
    let since = rest.is_some().then(std::time::Instant::now);
    let mut looks = [rustix::event::PollFd::from_borrowed_fd(fd, flags)];
    let polled = rustix::event::poll(&mut looks, rest.as_deref());
    if let (Err(Errno::INTR), Some(rest), Some(since)) = (polled, rest, since) {
        // What takes longer than that has no end.
        let waited = Timespec::try_from(since.elapsed()).unwrap_or(*rest);
        *rest = rest.checked_sub(waited).filter(|rest| rest.tv_sec >= 0).unwrap_or_default();
    }
    polled.map(|ready| ready > 0)
}

/// Who is at the other end of a Unix socket.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(super) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    use std::os::fd::AsRawFd as _;

    // rustix has this call too, but takes the process's number for one that is not zero; it is
    // zero where the peer cannot be seen from this process's namespace.
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed; the system writes at most
    // `len` bytes to `peer`, which is as long and may hold any.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let pid = u32::try_from(peer.pid).ok().filter(|&pid| pid != 0);
    Ok(Credentials { uid: peer.uid, gid: peer.gid, pid })
}

/// As above.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(super) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    use std::os::fd::AsRawFd as _;

    let (mut uid, mut gid) = (0, 0);
    // SAFETY: the descriptor is open for as long as it is borrowed; the system writes a number
    // to each of the other two.
    let result = unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Credentials { uid, gid, pid: peer_process(socket) })
}

#[cfg(target_vendor = "apple")]
fn peer_process(socket: BorrowedFd<'_>) -> Option<u32> {
    use std::os::fd::AsRawFd as _;

    let mut pid: libc::pid_t = 0;
    let mut len = size_of::<libc::pid_t>() as libc::socklen_t;
    // SAFETY: as for `getsockopt` on Linux.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_LOCAL,
            libc::LOCAL_PEERPID,
            (&raw mut pid).cast(),
            &raw mut len,
        )
    };
    u32::try_from(pid).ok().filter(|&pid| result == 0 && pid != 0)
}

#[cfg(not(any(target_os = "android", target_os = "linux", target_vendor = "apple")))]
fn peer_process(_socket: BorrowedFd<'_>) -> Option<u32> {
    None
}

/// A descriptor of its own on one that this process inherited, if it is open.
pub(in crate::runtimes::endpoint) fn duplicate_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: whoever started this process says, addressing it by its number, that this
    // descriptor is for it to use, so nobody here has closed it; if it was never open, the calls
    // fail. What is given out is a duplicate, so each owner closes its own.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    let duplicate = rustix::io::fcntl_dupfd_cloexec(inherited, 3)?;
    // Nor is it for the children of this process.
    rustix::io::fcntl_setfd(inherited, rustix::io::FdFlags::CLOEXEC)?;
    Ok(duplicate)
}

/// A descriptor that is readable whenever one of two is.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(super) fn either_readable(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use rustix::event::epoll;

    let either = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, fd) in [one, other].into_iter().enumerate() {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&either, fd, data, epoll::EventFlags::IN)?;
    }
    Ok(either)
}

/// As above.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(super) fn either_readable(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use rustix::event::kqueue::{Event, EventFilter, EventFlags, kevent, kqueue};
    use std::os::fd::AsRawFd as _;

    let either = kqueue()?;
    rustix::io::fcntl_setfd(&either, rustix::io::FdFlags::CLOEXEC)?;
    let watched = [one, other].map(|fd| {
        Event::new(EventFilter::Read(fd.as_raw_fd()), EventFlags::ADD, core::ptr::null_mut())
    });
    let mut none: [Event; 0] = [];
    // SAFETY: the descriptors are open now, as the call demands; the system forgets each of them
    // when it is closed. No event carries a pointer.
    unsafe { kevent(&either, &watched, &mut none[..], None)? };
    Ok(either)
}

/// Has `command` start its process in a session of its own, with no descriptors but the standard
/// streams.
pub(in crate::runtimes::endpoint) fn detach(command: &mut Command) {
    let detach = || {
        // It fails only for a process that leads a group, as when this is asked for twice.
        let _ = rustix::process::setsid();
        close_on_exec_from(3);
        Ok(())
    };
    // SAFETY: between fork and exec only what is safe in a signal handler may be called: this
    // makes system calls, does not allocate and takes no lock.
    unsafe { command.pre_exec(detach) };
}

/// Marks all descriptors from `first` on to be closed when another program is executed. (Closing
/// them at once would close the one by which the standard library reports a failed `exec`.)
fn close_on_exec_from(first: RawFd) {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    {
        const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

        // SAFETY: it takes integers, touches no memory, and leaves every descriptor open. It is
        // newer than some C libraries, hence the bare call; an old kernel says that it has none.
        let result = unsafe {
            libc::syscall(
                libc::SYS_close_range,
                first as libc::c_uint,
                libc::c_uint::MAX,
                CLOSE_RANGE_CLOEXEC,
            )
        };
        if result == 0 {
            return;
        }
    }
    /// More than this are not looked through, whatever the limit.
    const MOST: u64 = 65_536;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let last = limit.unwrap_or(MOST).min(MOST) as RawFd;
    for number in first..last {
        // SAFETY: it takes integers and touches no memory; for a descriptor that is not open it
        // fails.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// The standard input, duplicated, if it is the socket of this inode.
pub(in crate::runtimes::endpoint) fn readiness_socket(inode: u64) -> Option<OwnedFd> {
    use rustix::fs::FileType;

    let input = rustix::stdio::stdin();
    let stat = rustix::fs::fstat(input).ok()?;
    #[allow(clippy::unnecessary_cast)] // The field's type differs between systems.
    let same = stat.st_ino as u64 == inode;
    if !same || FileType::from_raw_mode(stat.st_mode as _) != FileType::Socket {
        return None;
    }
    rustix::io::fcntl_dupfd_cloexec(input, 3).ok()
}
