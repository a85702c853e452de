//! Waiting for sockets: the reactor watches descriptors.

use std::os::fd::AsFd;

pub(super) use ::smol::Async;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether there is something to receive or to accept, without waiting.
pub(super) fn is_readable(source: &impl AsFd) -> bool {
    let mut fd = [PollFd::new(source, PollFlags::IN)];
    // If it cannot be told, trying tells.
    poll(&mut fd, Some(&Timespec::default())) != Ok(0)
}
