//! The lock that a server holds for its life, where being refused does not prove that nobody
//! listens.
//!
//! macOS and the BSDs refuse a client also when a live server's backlog is full. There a server
//! keeps a file locked, `.<name>.life`, which says which socket is its own. A socket is dead only
//! if the file names it and nobody holds the lock. A crash leaves the file, unlocked, as the
//! proof that the next server needs.
//!
//! A client that is refused looks as well: while the lock is held the server is busy, not gone.
//!
//! The file has two records: the socket at the path, and the one that is about to take its place.
//! Whichever of them a crash leaves at the path, the file names it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use super::folder::{Folder, lock_now, retry_while_busy};

/// Whether a full backlog refuses like a dead socket.
pub(super) const REFUSES_WHEN_FULL: bool = !cfg!(any(target_os = "android", target_os = "linux"));

/// How long a client may hold the lock that looks whether a server does.
const PATIENCE: core::time::Duration = core::time::Duration::from_millis(200);

/// A socket's identity for all time, not only while it exists: inodes are used again.
const RECORD: usize = 32;
type Record = [u8; RECORD];

#[allow(clippy::unnecessary_cast)] // The fields' types differ between systems.
fn record(stat: &Stat) -> Record {
    let mut record = Record::default();
    let fields =
        [stat.st_dev as u64, stat.st_ino as u64, stat.st_mtime as u64, stat.st_mtime_nsec as u64];
    for (place, field) in record.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    record
}

fn name_for(name: &OsStr) -> OsString {
    let mut life = OsString::from(".");
    life.push(name);
    life.push(".life");
    life
}

/// What the file says of a socket that refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Evidence {
    /// The server whose socket may be at the path is alive.
    Alive,
    /// The socket's server is gone.
    Dead,
    /// The socket is none of ours, or of ours without such a lock.
    None,
}

/// The lock, held. Dropping it lets it go; the file stays.
#[derive(Debug)]
pub(super) struct Life {
    file: OwnedFd,
    name: OsString,
}

impl Drop for Life {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a child that was forked meanwhile.
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }
}

impl Life {
    /// What is known of the `socket` at `name`.
    pub(super) fn evidence(
        folder: &Folder,
        name: &OsStr,
        socket: &Stat,
    ) -> Result<Evidence, Errno> {
        match Self::open(folder, name, OFlags::empty()) {
            Ok(life) => life.evidence_of(socket),
            Err(Errno::NOENT) => Ok(Evidence::None),
            Err(Errno::BUSY) => Ok(Evidence::Alive),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a server holds the lock for the socket at `path`, as far as this user can tell.
    pub(super) fn is_held(path: &Path) -> bool {
        let Some(name) = path.file_name() else { return false };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path.with_file_name(name_for(name)), flags, Mode::empty())
            .is_ok_and(|file| lock_now(&file) == Err(Errno::BUSY))
    }

    /// What the file says of `socket`, while this process holds the lock.
    pub(super) fn evidence_of(&self, socket: &Stat) -> Result<Evidence, Errno> {
        let named = self.records()?.contains(&record(socket));
        Ok(if named { Evidence::Dead } else { Evidence::None })
    }

    /// Takes the lock for `socket`, which is about to be published as `name`.
    pub(super) fn take(folder: &Folder, name: &OsStr, socket: &Stat) -> Result<Self, Errno> {
        let life = Self::open(folder, name, OFlags::CREATE)?;
        if let Ok(there) = folder.look(name) {
            // Its server may not have lived to move it to the first place.
            if life.evidence_of(&there)? == Evidence::Dead {
                life.write(0, &record(&there))?;
            }
        }
        life.write(1, &record(socket))?;
        Ok(life)
    }

    /// The socket has been published.
    pub(super) fn published(&self, socket: &Stat) -> Result<(), Errno> {
        self.write(0, &record(socket))
    }

    /// The socket is no longer at the path, so nothing need be known of it.
    pub(super) fn remove(&self, folder: &Folder) {
        // One that stays names a socket that is gone.
        let _ = folder.remove(&self.name);
    }

    fn open(folder: &Folder, name: &OsStr, more: OFlags) -> Result<Self, Errno> {
        let name = name_for(name);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | more;
        let file = rustix::fs::openat(folder, &name, flags, Mode::RUSR | Mode::WUSR)?;
        let seed = folder.as_fd().as_raw_fd() as u64;
        retry_while_busy(PATIENCE, seed, || lock_now(&file))?;
        Ok(Self { file, name })
    }

    fn records(&self) -> Result<[Record; 2], Errno> {
        let mut records = [Record::default(); 2];
        for (index, record) in records.iter_mut().enumerate() {
            // What is missing, a record of zeroes, is no socket's.
            rustix::io::pread(&self.file, &mut record[..], (index * RECORD) as u64)?;
        }
        Ok(records)
    }

    fn write(&self, index: usize, record: &Record) -> Result<(), Errno> {
        match rustix::io::pwrite(&self.file, record, (index * RECORD) as u64)? {
            RECORD => Ok(()),
            _ => Err(Errno::NOSPC),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use std::string::ToString as _;

    /// What a client asks where a full backlog refuses, and what a crash at each step leaves.
    #[test]
    fn the_file_names_what_any_crash_leaves_at_the_path() {
        let path = std::env::temp_dir()
            .join("simple-ipc-life.".to_string() + &std::process::id().to_string());
        std::fs::create_dir(&path).unwrap();
        let folder = Folder::lock(&path, Duration::ZERO).unwrap();
        let name = OsStr::new("s");
        let look = |name: &str| folder.look(OsStr::new(name)).unwrap();
        let socket = |name: &str| std::fs::write(path.join(name), "").unwrap();
        let evidence = || Life::evidence(&folder, name, &look("s")).unwrap();

        socket("s");
        assert_eq!(evidence(), Evidence::None, "nothing is known of it");
        std::fs::remove_file(path.join("s")).unwrap();
        assert!(!Life::is_held(&path.join("s")));
        for _ in 0..3 {
            // Each dies before it has noted that it is published.
            socket("new");
            let life = Life::take(&folder, name, &look("new")).unwrap();
            assert!(Life::is_held(&path.join("s")));
            drop(life);
            if path.join("s").exists() {
                assert_eq!(evidence(), Evidence::Dead, "before the rename");
            }
            folder.move_over(OsStr::new("new"), name).unwrap();
            assert_eq!(evidence(), Evidence::Dead, "after it");
        }
        let life = Life::take(&folder, name, &look("s")).unwrap();
        assert_eq!(evidence(), Evidence::Alive);
        life.remove(&folder);
        assert_eq!(evidence(), Evidence::None);
        drop(folder);
        std::fs::remove_dir_all(path).unwrap();
    }
}
