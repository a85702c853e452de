//! Waiting for sockets: the runtime watches descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use ::tokio::io::Interest;
pub(super) use ::tokio::io::unix::AsyncFd;
use ::tokio::runtime::Handle;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Has the runtime watch `source`.
///
/// # Errors
///
/// If there is no runtime, or the system cannot watch one more descriptor.
// tokio deprecates this constructor because it trusts a foreign `AsRawFd`; the successor is unsafe
// and too new to ask for. What is watched here owns its descriptor and never changes it.
#[allow(deprecated)]
pub(super) fn watch<T: AsRawFd>(source: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    Handle::try_current().map_err(io::Error::other)?;
    AsyncFd::with_interest(source, interest)
}

/// Whether something can be received, or accepted. Much cheaper to ask than an accept that finds
/// nothing.
pub(super) fn is_readable(source: &impl AsFd) -> bool {
    let mut fd = [PollFd::new(source, PollFlags::IN)];
    // If it cannot be told, trying tells.
    poll(&mut fd, Some(&Timespec::default())) != Ok(0)
}
