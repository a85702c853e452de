//! Taking a place at a path, and giving it up.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;
use rustix::process::Pid;

use super::address::with_address_in;
use super::folder::Folder;
use super::interlock::Interlock;
use super::life::{Evidence, Life, REFUSES_WHEN_FULL};
use super::stream::socket;
use super::{state, state_of};
use crate::connect::State;
use crate::endpoint::{Access, BindOptions, Place};
use crate::{Error, ErrorKind, Phase};

/// Connections that may wait to be accepted; the system may allow fewer (`somaxconn`).
const BACKLOG: i32 = 4096;

/// How long other servers may hold the folder while they start or end.
const FOLDER_PATIENCE: Duration = Duration::from_secs(10);

/// How long another program may hold `<path>.lock`: git's server, as it starts, for milliseconds.
const INTERLOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Where a server listens before it has the path. One name for each user is enough, for it is used
/// under the folder's lock only: what is there already was left by a server that did not live to
/// rename it. (In a folder as `/tmp` is, another user's could not be removed.) It is short, so
/// that an address holds it.
fn private_name() -> OsString {
    std::format!(".simple-ipc.{}.new", rustix::process::geteuid().as_raw()).into()
}

/// What tells one file from another that exists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl From<&Stat> for Identity {
    #[allow(clippy::unnecessary_cast)] // The fields' types differ between systems.
    fn from(stat: &Stat) -> Self {
        Self { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

/// A path at which this process has put its socket.
#[derive(Debug)]
pub(super) struct Publication {
    path: Arc<Path>,
    identity: Identity,
    /// Who published: a forked child must not remove what its parent serves.
    process: Pid,
    republish: bool,
    /// Where there is one, until the path is given up.
    life: Mutex<Option<Life>>,
    given_up: AtomicBool,
}

/// Takes the place: a socket that listens, and its publication.
pub(super) fn publish(
    place: &Place,
    options: &BindOptions,
) -> Result<(OwnedFd, Publication), Error> {
    let path = &place.path;
    let error = |kind| Error::new(Phase::Bind, path, kind);
    let failed = |errno| failed(path, errno);
    let (true, Some(parent), Some(name)) = (place.is_possible, path.parent(), path.file_name())
    else {
        return Err(error(ErrorKind::Endpoint(State::Invalid)));
    };
    if options.republish && spare_name(name).len() > LONGEST_NAME {
        let why = "the name is too long for the second one that republishing needs";
        return Err(error(ErrorKind::Endpoint(State::Invalid)).because(why));
    }
    let folder = Folder::lock(parent, FOLDER_PATIENCE).map_err(|errno| match errno {
        Errno::BUSY => error(ErrorKind::Deadline(FOLDER_PATIENCE))
            .because("another server that starts or ends has held the folder's lock"),
        Errno::ACCESS if rustix::fs::stat(parent).is_ok() => {
            error(ErrorKind::Endpoint(State::Denied))
                .because("the folder must be readable, for servers lock it while they start")
        }
        errno => failed(errno),
    })?;
    // Who cannot have the place is told so before anything is touched.
    examine(path, &folder, name, options, None)?;
    let (socket, mut private) = Private::listen(parent, &folder, options.access).map_err(failed)?;
    let stat = private.stat;
    let life = (REFUSES_WHEN_FULL || options.life_lock)
        .then(|| Life::take(&folder, name, &stat))
        .transpose()
        .map_err(|errno| match errno {
            Errno::BUSY => error(ErrorKind::InUse),
            errno => failed(errno),
        })?;
    let interlock =
        Interlock::take(&folder, name, INTERLOCK_PATIENCE).map_err(|errno| match errno {
            Errno::BUSY => error(ErrorKind::InUse)
                .because("another program has held the path's .lock, as git does when it starts"),
            errno => failed(errno),
        })?;
    let in_place = match examine(path, &folder, name, options, life.as_ref())? {
        Vacancy::Nothing => folder.move_to_free(&private.name, name),
        Vacancy::DeadSocket => folder.move_over(&private.name, name),
    };
    match in_place {
        // Somebody who takes no lock has come in between.
        Err(Errno::EXIST) => return Err(error(ErrorKind::InUse)),
        in_place => in_place.map_err(failed)?,
    }
    private.published = true;
    drop(interlock);
    // What is left to do helps only later: that it cannot be done is no reason not to serve.
    if let Some(life) = &life {
        let _ = life.published(&stat);
    }
    let spare = spare_name(name);
    // What an earlier server has left; anything else is not ours.
    if folder.look(&spare).is_ok_and(|stat| is_socket(&stat)) {
        let _ = folder.remove(&spare);
    }
    if options.republish {
        // Where sockets cannot have two names, a path that is lost stays lost.
        let _ = folder.link(name, &spare);
    }
    let publication = Publication {
        path: path.clone(),
        identity: (&stat).into(),
        process: rustix::process::getpid(),
        republish: options.republish,
        life: Mutex::new(life),
        given_up: AtomicBool::new(false),
    };
    Ok((socket, publication))
}

impl Publication {
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Whether the path still leads to this server. One that leads nowhere is published again if
    /// that was asked for.
    pub(super) fn is_in_place(&self) -> bool {
        match rustix::fs::lstat(&*self.path) {
            Ok(stat) => Identity::from(&stat) == self.identity,
            Err(Errno::NOENT) => {
                self.republish && !self.given_up.load(Ordering::Relaxed) && self.publish_again()
            }
            // Not being let to look says nothing about what is there.
            Err(errno) => state_of(errno) == State::Denied,
        }
    }

    /// Whether the path leads to this server again, or may soon.
    fn publish_again(&self) -> bool {
        let Some((folder, name)) = self.parts() else { return false };
        let again = || {
            let folder = Folder::lock(folder, Duration::ZERO)?;
            let _interlock = Interlock::take(&folder, name, Duration::ZERO)?;
            let spare = spare_name(name);
            if self.identity != (&folder.look(&spare)?).into() {
                return Err(Errno::STALE);
            }
            folder.link(&spare, name)
        };
        match again() {
            Ok(()) => true,
            // Another server is about to start or end here: the next look decides.
            Err(Errno::BUSY | Errno::EXIST) => true,
            Err(_) => false,
        }
    }

    /// Removes the path if it still leads to this server, and if it was this process that put it
    /// there.
    pub(super) fn give_up(&self) {
        if !self.give_up_within(FOLDER_PATIENCE) {
            // What stays is at least known to be dead.
            *self.life.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// As [`give_up`](Self::give_up), without waiting for others; `false` if they are in the way,
    /// and it is still to be done.
    #[cfg(feature = "blocking")]
    pub(super) fn give_up_at_once(&self) -> bool {
        self.give_up_within(Duration::ZERO)
    }

    /// `false` if others have held the folder for as long as `patience`.
    fn give_up_within(&self, patience: Duration) -> bool {
        if rustix::process::getpid() != self.process {
            return true;
        }
        self.given_up.store(true, Ordering::Relaxed);
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((folder, name)) = self.parts() else { return true };
        let leads_here = || {
            let stat = rustix::fs::lstat(&*self.path);
            stat.is_ok_and(|stat| Identity::from(&stat) == self.identity)
        };
        if !leads_here() && life.is_none() && !self.republish {
            return true;
        }
        // Under the lock, so that no other server takes the place between look and removal. A
        // dead socket that stays because the lock cannot be had does no harm: the next server
        // replaces it.
        let folder = match Folder::lock(folder, patience) {
            Ok(folder) => folder,
            Err(Errno::BUSY) => return false,
            Err(_) => {
                *life = None;
                return true;
            }
        };
        let life = life.take();
        if leads_here() {
            let _ = folder.remove(name);
            if let Some(life) = life {
                life.remove(&folder);
            }
        }
        let spare = spare_name(name);
        if folder.look(&spare).is_ok_and(|stat| self.identity == (&stat).into()) {
            let _ = folder.remove(&spare);
        }
        true
    }

    fn parts(&self) -> Option<(&Path, &OsStr)> {
        Some((self.path.parent()?, self.path.file_name()?))
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        // The folder is waited for once, not again when the listener is closed.
        let was_given_up = self.given_up.load(Ordering::Relaxed);
        self.give_up_within(if was_given_up { Duration::ZERO } else { FOLDER_PATIENCE });
    }
}

/// Of a file, in bytes, on every system.
const LONGEST_NAME: usize = 255;

fn is_socket(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode as _) == FileType::Socket
}

/// A second name for a socket, which it is published again from.
fn spare_name(name: &OsStr) -> OsString {
    let mut spare = OsString::from(".");
    spare.push(name);
    spare.push(".spare");
    spare
}

fn failed(path: &Path, errno: Errno) -> Error {
    let kind = match state_of(errno) {
        State::Other => ErrorKind::Io,
        state => ErrorKind::Endpoint(state),
    };
    Error::new(Phase::Bind, path, kind).because(io::Error::from(errno))
}

/// What a server finds where it wants to be.
enum Vacancy {
    Nothing,
    /// A socket on which nobody listens.
    DeadSocket,
}

/// Looks who is at `path`, which is `name` in `folder`. This process may hold the `life` lock.
fn examine(
    path: &Path,
    folder: &Folder,
    name: &OsStr,
    options: &BindOptions,
    life: Option<&Life>,
) -> Result<Vacancy, Error> {
    let error = |kind| Error::new(Phase::Bind, path, kind);
    let failed = |errno| failed(path, errno);
    let stat = match folder.look(name) {
        Err(Errno::NOENT) => return Ok(Vacancy::Nothing),
        stat => stat.map_err(failed)?,
    };
    let evidence = |stat: &Stat| match life {
        Some(life) => life.evidence_of(stat),
        None => Life::evidence(folder, name, stat),
    };
    let invalid = |why| Err(error(ErrorKind::Endpoint(State::Invalid)).because(why));
    match FileType::from_raw_mode(stat.st_mode as _) {
        FileType::Socket => {}
        // Somebody has set it up on purpose, and may mean what it leads to.
        FileType::Symlink => {
            return match state(path) {
                State::Listening => Err(error(ErrorKind::InUse)),
                _ => invalid("a symbolic link is in the way, and is not replaced"),
            };
        }
        FileType::Directory => return invalid("a folder is in the way"),
        _ => return invalid("a file that is no socket is in the way"),
    }
    match state(path) {
        State::NotFound => Ok(Vacancy::Nothing),
        State::Listening => Err(error(ErrorKind::InUse)),
        State::NotListening => match evidence(&stat).map_err(failed)? {
            Evidence::Alive => Err(error(ErrorKind::InUse)),
            Evidence::None if REFUSES_WHEN_FULL || options.life_lock => {
                Err(error(ErrorKind::Endpoint(State::NotListening)).because(
                    "a socket that refuses is in the way, and nothing proves that its server is \
                     gone: remove it if it is",
                ))
            }
            Evidence::Dead | Evidence::None => Ok(Vacancy::DeadSocket),
        },
        state => Err(error(ErrorKind::Endpoint(state))),
    }
}

/// A socket that listens at the private name, which is removed again if it goes no further.
struct Private<'f> {
    folder: &'f Folder,
    name: OsString,
    stat: Stat,
    published: bool,
}

impl<'f> Private<'f> {
    /// Only those who have `access` can reach it, from the first instant.
    fn listen(parent: &Path, folder: &'f Folder, access: Access) -> Result<(OwnedFd, Self), Errno> {
        let name = private_name();
        folder.remove_if_there(&name)?;
        let socket = socket(false)?;
        let mode = match access {
            Access::Owner => Mode::RUSR | Mode::WUSR,
            Access::Group => Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP,
            Access::Everyone => Mode::from_raw_mode(0o666),
        };
        // On Linux the mode of the socket is the mode of what bind creates, less the umask.
        // Elsewhere this has no effect or fails.
        let _ = rustix::fs::fchmod(&socket, mode);
        with_address_in(parent, folder.as_fd(), &name, |address| {
            rustix::net::bind(&socket, address)
        })?;
        let stat = folder.look(&name)?;
        let private = Self { folder, name, stat, published: false };
        if Mode::from_raw_mode(private.stat.st_mode as _) != mode {
            // Nobody can connect before it listens.
            rustix::fs::chmodat(folder, &private.name, mode, AtFlags::empty())?;
        }
        rustix::net::listen(&socket, BACKLOG)?;
        Ok((socket, private))
    }
}

impl Drop for Private<'_> {
    fn drop(&mut self) {
        if !self.published {
            // The next server removes one that stays.
            let _ = self.folder.remove(&self.name);
        }
    }
}
