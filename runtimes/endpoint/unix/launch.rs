//! What starting a server needs of the system: a lock among those who would, a process of its
//! own, and how that says that it is ready.
//!
//! Its standard input is a socket, on which it says so. That it has ended is seen by the socket's
//! end and by waiting for it.

use core::time::Duration;
use std::env;
use std::ffi::OsStr;
use std::format;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::string::ToString as _;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use super::folder::lock_now;
pub(in crate::runtimes::endpoint) use super::system::detach;
use super::system::readiness_socket;
use crate::endpoint::random;
use crate::endpoint::start::{READY, Word};

/// Opens the file whose lock is the right to start a server; it is made if it is not there.
pub(in crate::runtimes::endpoint) fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Locks it for this process; `false` if another holds the lock.
pub(in crate::runtimes::endpoint) fn try_lock(file: &File) -> io::Result<bool> {
    match lock_now(file) {
        Ok(()) => Ok(true),
        Err(Errno::BUSY) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives the lock back.
pub(in crate::runtimes::endpoint) fn unlock(file: &File) {
    // Closing alone would leave the lock to a child that was forked meanwhile.
    let _ = rustix::fs::flock(file, FlockOperation::Unlock);
}

/// Whether `file` is what is at `path`.
pub(in crate::runtimes::endpoint) fn is_at(file: &File, path: &Path) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
        _ => false,
    }
}

/// Takes the name from a file that others have open; whether that was done.
pub(in crate::runtimes::endpoint) fn take_away(path: &Path) -> bool {
    fs::remove_file(path).is_ok()
}

/// A server that was started.
pub(in crate::runtimes::endpoint) struct Launched {
    child: Child,
    /// The other end of its standard input.
    ready: UnixStream,
    input_ended: bool,
    messages: File,
}

impl Launched {
    pub(in crate::runtimes::endpoint) fn spawn(command: &mut Command) -> io::Result<Self> {
        let (ready, theirs) = UnixStream::pair()?;
        ready.set_nonblocking(true)?;
        // It is not for reading: whoever does finds the end.
        ready.shutdown(std::net::Shutdown::Write)?;
        let messages = unnamed_file()?;
        let inode = rustix::fs::fstat(&theirs)?.st_ino;
        command
            .env(READY, inode.to_string())
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(messages.try_clone()?);
        let child = command.spawn();
        // The command has kept what it was given.
        command.stdin(Stdio::null()).stderr(Stdio::null());
        Ok(Self { child: child?, ready, input_ended: false, messages })
    }

    /// What it says, within `pause`.
    pub(in crate::runtimes::endpoint) fn hear(&mut self, pause: Duration) -> Word {
        if self.input_ended {
            thread::sleep(pause);
            return Word::Ended;
        }
        let pause = Timespec::try_from(pause).unwrap_or_default();
        let mut look = [PollFd::from_borrowed_fd(self.ready.as_fd(), PollFlags::IN)];
        let _ = poll(&mut look, Some(&pause));
        match (&self.ready).read(&mut [0; 16]) {
            Ok(1..) => Word::Ready,
            Ok(0) => {
                self.input_ended = true;
                Word::Ended
            }
            Err(_) => Word::None,
        }
    }

    /// How it ended, if it has.
    pub(in crate::runtimes::endpoint) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub(in crate::runtimes::endpoint) fn kill(&mut self) {
        // One that has ended may have left others behind on purpose, and its number may be
        // another's.
        if let Ok(None) = self.child.try_wait() {
            // With what it has started: it leads a session, and so a group.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.kill();
        }
    }

    /// What it writes to its standard error.
    pub(in crate::runtimes::endpoint) fn messages(&self) -> &File {
        &self.messages
    }

    /// Sees to it that nothing is left of it when it ends.
    pub(in crate::runtimes::endpoint) fn reap(mut self) {
        // Somebody else may wait for all children.
        let _ = self.child.wait();
    }
}

/// Says that this process is ready, if its standard input is what `told` tells of, and lets go of
/// the standard streams.
pub(in crate::runtimes::endpoint) fn announce(told: &OsStr) -> io::Result<()> {
    // Children inherit the variable, but not the socket that it names.
    let socket = told.to_str().and_then(|told| told.parse().ok());
    let Some(Some(ready)) = socket.map(readiness_socket) else { return Ok(()) };
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    // A client that has given up need not know.
    let _ = UnixStream::from(ready).write_all(b"R");
    Ok(())
}

/// A file that nobody else can find, to be appended to.
fn unnamed_file() -> io::Result<File> {
    loop {
        let path = env::temp_dir().join(format!(".simple-ipc.{:016x}", random()));
        let mut options = File::options();
        match options.read(true).append(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}
