//! `<path>.lock`, by which git's server keeps others out while it starts.
//!
//! git creates it as an empty file, keeps it open, and deletes it; if it is there already, git
//! does not start. So ours takes it too, from the last look at the path until its socket is
//! published, and no longer.
//!
//! Ours is a symbolic link: creating one is exclusive as well, and it says from its first instant
//! that it is ours. Servers of ours hold the folder's lock meanwhile, so a link that is found was
//! left by one that did not live to remove it. Of a file that is found it must be proven that
//! nobody has it open any more: on Linux the system grants a lease on it only then; elsewhere
//! its age must do.

use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::SystemTime;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::bind::Identity;
use super::folder::{Folder, retry_while_busy};
use super::system;

/// What our links say, before the process's number.
const MARK: &str = "simple-ipc ";

/// How old a lock must be that nothing else can be learned about; git holds it for milliseconds.
const STALE_AGE: Duration = Duration::from_secs(10);

/// The lock, held. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Interlock<'f> {
    folder: &'f Folder,
    name: OsString,
    identity: Identity,
}

impl<'f> Interlock<'f> {
    /// Takes the lock of `name`; [`Errno::BUSY`] if somebody holds it for as long as `patience`.
    pub(super) fn take(
        folder: &'f Folder,
        name: &OsStr,
        patience: Duration,
    ) -> Result<Self, Errno> {
        let mut lock = OsString::from(name);
        lock.push(".lock");
        let seed = folder.as_fd().as_raw_fd() as u64;
        let identity = retry_while_busy(patience, seed, || create(folder, &lock))?;
        Ok(Self { folder, name: lock, identity })
    }
}

impl Drop for Interlock<'_> {
    fn drop(&mut self) {
        let ours = self.folder.look(&self.name).is_ok_and(|stat| self.identity == (&stat).into());
        if ours {
            // One that stays is recognised by the next server.
            let _ = self.folder.remove(&self.name);
        }
    }
}

/// Creates the lock, in the place of one that was left behind.
fn create(folder: &Folder, lock: &OsStr) -> Result<Identity, Errno> {
    loop {
        let mark = std::format!("{MARK}{}", std::process::id());
        match rustix::fs::symlinkat(mark, folder, lock) {
            Ok(()) => return folder.look(lock).map(|stat| (&stat).into()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        match folder.look(lock) {
            Ok(found) if is_left_behind(folder, lock, &found)? => {
                // It may be another one by now.
                let now = folder.look(lock);
                if now.is_ok_and(|now| Identity::from(&now) == Identity::from(&found)) {
                    folder.remove_if_there(lock)?;
                }
            }
            Ok(_) => return Err(Errno::BUSY),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether nobody holds the lock that was `found`.
fn is_left_behind(folder: &Folder, lock: &OsStr, found: &Stat) -> Result<bool, Errno> {
    match FileType::from_raw_mode(found.st_mode as _) {
        FileType::Symlink => {
            let mark = rustix::fs::readlinkat(folder, lock, std::vec::Vec::new())?;
            Ok(mark.as_bytes().starts_with(MARK.as_bytes()))
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match rustix::fs::openat(folder, lock, flags, Mode::empty()) {
                Ok(file) => file,
                Err(Errno::NOENT) => return Ok(false),
                // It is another user's, and closed to this one.
                Err(_) => return Ok(!system::TELLS_WHO_HAS_OPEN && is_old(found)),
            };
            let same = Identity::from(&rustix::fs::fstat(&file)?) == found.into();
            let free = system::nobody_else_has_open(file.as_fd());
            Ok(same && free.unwrap_or_else(|| is_old(found)))
        }
        _ => Ok(false),
    }
}

#[allow(clippy::unnecessary_cast)] // The field's type differs between systems.
fn is_old(lock: &Stat) -> bool {
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(lock.st_mtime.max(0) as u64);
    match SystemTime::now().duration_since(changed) {
        Ok(age) => age >= STALE_AGE,
        // A clock that was set back must not make it last for ever.
        Err(ahead) => ahead.duration() >= STALE_AGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{AtFlags, Timespec, Timestamps};

    /// Where no lease can be had, age decides.
    #[test]
    fn a_lock_of_unknown_holder_is_broken_when_it_is_old() {
        let path = std::env::temp_dir().join(std::format!("simple-ipc-age.{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let look = || rustix::fs::stat(&path).unwrap();
        assert!(!is_old(&look()), "it is new");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        for (offset, old) in [(-11, true), (-5, false), (5, false), (20, true)] {
            let time = Timespec { tv_sec: now as i64 + offset, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(rustix::fs::CWD, &path, &times, AtFlags::empty()).unwrap();
            assert_eq!(is_old(&look()), old, "{offset} s");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
