//! The lock on a folder, which servers hold while they start or end in it.

use core::time::Duration;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Instant;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::connect::{Connecting, Next, Patience, Refusal};

/// An open folder on which this process holds the lock.
///
/// The lock is the system's (`flock`): it ends with its process, however that ends, and leaves
/// no file behind.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// Opens `folder` and locks it; [`Errno::BUSY`] if others hold it for as long as `patience`.
    pub(super) fn lock(folder: &Path, patience: Duration) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty())?;
        retry_while_busy(patience, folder.as_raw_fd() as u64, || lock_now(&folder))?;
        Ok(Self(folder))
    }

    /// What is at `name`, which is not followed.
    pub(super) fn look(&self, name: &OsStr) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    pub(super) fn remove(&self, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.0, name, AtFlags::empty())
    }

    /// As [`remove`](Self::remove), if anything is there.
    pub(super) fn remove_if_there(&self, name: &OsStr) -> Result<(), Errno> {
        match self.remove(name) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
    }

    /// Gives what is at `from` the name `to`, at which nothing may be.
    pub(super) fn move_to_free(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        #[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple"))]
        {
            use rustix::fs::RenameFlags;

            match rustix::fs::renameat_with(&self.0, from, &self.0, to, RenameFlags::NOREPLACE) {
                // Not every file system can.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                result => return result,
            }
        }
        // A link, unlike a plain rename, replaces nothing.
        self.link(from, to)?;
        self.remove(from)
    }

    /// Gives what is at `from` the name `to` in the place of what is there.
    pub(super) fn move_over(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat(&self.0, from, &self.0, to)
    }

    /// Gives what is at `from` a second name, at which nothing may be.
    pub(super) fn link(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::linkat(&self.0, from, &self.0, to, AtFlags::empty())
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a child that was forked meanwhile.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Locks an open file for this process; [`Errno::BUSY`] if another holds the lock.
pub(super) fn lock_now(file: impl AsFd) -> Result<(), Errno> {
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(Errno::BUSY),
            result => return result,
        }
    }
}

/// Calls `attempt` again while it says [`Errno::BUSY`], until the time is up.
pub(super) fn retry_while_busy<T>(
    patience: Duration,
    seed: u64,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let patience = Patience { busy: patience, not_found: Duration::ZERO };
    let mut attempts = Connecting::new(patience, seed ^ u64::from(std::process::id()));
    let since = Instant::now();
    loop {
        match attempt() {
            Err(Errno::BUSY) => match attempts.refused(Refusal::Busy, since.elapsed()) {
                Next::RetryAfter(pause) => thread::sleep(pause),
                Next::GiveUp => return Err(Errno::BUSY),
            },
            result => return result,
        }
    }
}
