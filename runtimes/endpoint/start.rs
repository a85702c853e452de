//! Starting a server when a client finds none.
//!
//! Of the clients that find none at the same time, one holds the lock on a file in the folder,
//! `.<name>.start`, and starts the server; the others wait for either. The file goes when the
//! server is there. If it could not be started, the cause is left in the file, which those who
//! waited have open, so that they report it and do not try again one after the other. A crash
//! leaves the file without a lock, which is in nobody's way.
//!
//! The process itself, and how it says that it is ready, are the system's business.

use core::fmt;
use core::time::Duration;
use std::env;
use std::ffi::OsString;
use std::format;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::string::{String, ToString as _};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;
use std::vec::Vec;

use super::Stream;
use super::system::launch::{self, Launched};
use crate::client::Delivery;
use crate::connect::{Connecting, Next, Patience, Refusal, State};
use crate::runtimes::link::{Attempt, Attempts};
use crate::runtimes::options::ClientOptions;
use crate::{Error, ErrorKind, Phase};

/// The variable that tells a server where to say that it is ready.
pub(super) const READY: &str = "SIMPLE_IPC_READY";

/// What is heard of a server that was started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    /// It is ready.
    Ready,
    /// Nothing.
    None,
    /// It cannot say anything any more.
    Ended,
}

/// How a client starts a server that it does not find.
///
/// The process gets a session of its own (on Windows a process group, without a window, and outside
/// of the caller's job where that allows it), none of the caller's descriptors or handles, and
/// standard streams that are not the caller's: it outlives the caller, and nobody who reads the
/// caller's output waits for it. What it writes to its standard error before it is ready is part
/// of the error if it fails to start.
///
/// A server of this library says that it is ready when it begins to serve, or when it calls
/// [`announce_ready`]; from then on its standard streams lead nowhere. One that says nothing is
/// taken to be ready when it has listened for half a second.
///
/// The folder of the endpoint must exist, and be writable.
#[derive(Clone, Debug)]
pub struct Starter {
    command: Arc<Mutex<Command>>,
    patience: Duration,
}

impl Starter {
    /// Starts a server with `command`. Its standard streams are set here.
    ///
    /// On Windows the command says which program, arguments, variables and working folder; other
    /// settings, such as creation flags, have no effect, and raw arguments are quoted like others.
    /// A program without a folder is looked for beside this one and in `PATH`, not in the working
    /// folder. A batch file is refused: name the shell and give it the file.
    pub fn new(mut command: Command) -> Self {
        launch::detach(&mut command);
        Self { command: Arc::new(Mutex::new(command)), patience: Duration::from_secs(30) }
    }

    /// How long the server may take to be ready; then it is killed, and on Unix what it has started
    /// in its session with it. 30 s unless set otherwise. One that exits with 0 is taken to have
    /// left the work to another process, which has as long. A client that gives up earlier, or
    /// ends, leaves the server as it is.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }
}

/// Why a server did not start: what [`ErrorKind::NotStarted`] has for its source.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StartFailure {
    /// What happened to the process: how it exited, if it did.
    pub cause: String,
    /// The end of what it wrote to its standard error, 4 KiB at the most.
    pub message: String,
}

impl StartFailure {
    const LONGEST_MESSAGE: u64 = 4096;

    fn write(&self) -> Vec<u8> {
        format!("{}\n{}", self.cause, self.message).into_bytes()
    }

    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (cause, message) = text.split_once('\n').unwrap_or((&text, ""));
        Self { cause: cause.to_string(), message: message.to_string() }
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match self.message.trim() {
            "" => Ok(()),
            message => write!(f, ": {message}"),
        }
    }
}

impl core::error::Error for StartFailure {}

/// Tells the client that has started this process, if one has, that the server is ready, and lets
/// go of the standard streams that it was given: input and error lead nowhere from then on. (On
/// Windows those of the C library, if a part of the program uses that, stay as they are.)
///
/// A server's `serve` does so by itself. It is for processes that are ready only later, or earlier.
/// Where no client waits it does nothing.
///
/// # Errors
///
/// If the standard streams cannot be redirected.
pub fn announce_ready() -> io::Result<()> {
    env::var_os(READY).map_or(Ok(()), |told| launch::announce(&told))
}

/// Whether a client whose connect failed with `error` is to start a server.
pub(crate) fn is_called_for(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Endpoint(State::NotFound | State::NotListening))
}

/// Starts a server and connects to it, when a first attempt to connect, which began at `since`,
/// has found none.
pub(crate) fn start_and_connect(
    options: &ClientOptions,
    starter: &Starter,
    since: Instant,
) -> Result<Stream, Error> {
    let path = options.place.path.clone();
    let total = options.deadlines.total;
    let rest = || total.map_or(Duration::MAX, |total| total.saturating_sub(since.elapsed()));
    let error = |kind| Error::new(Phase::Start, &path, kind).delivery_is(Delivery::NotDelivered);
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => error(ErrorKind::Endpoint(State::NotFound)).because(source),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            error(ErrorKind::Endpoint(State::Denied)).because(source)
        }
        _ => error(ErrorKind::Io).because(source),
    };
    let connect = || connect(Attempts::or_start(options, since));
    let began = Instant::now();
    // Whoever starts it may have begun a little later, and says what came of it.
    let limit = starter.patience.saturating_add(SILENCE).min(rest());
    let late = || match options.deadlines.passed(since.elapsed()) {
        Some(total) => error(ErrorKind::TotalDeadline(total)),
        None => error(ErrorKind::Deadline(starter.patience)),
    };
    let mut queue = Queue::new(&path);
    let patience = Patience { busy: limit, not_found: limit };
    let mut attempts = Connecting::new(patience, super::random());
    let mut looked = Instant::now();
    loop {
        let not_started = match queue.turn().map_err(failed)? {
            Turn::Ours(lock) => {
                // It may have been started between the look and the turn.
                match connect() {
                    Err(error) if is_called_for(&error) => {}
                    result => return result,
                }
                // The starter's own deadline comes with the outcome, and with its reason.
                let outcome = start(lock, starter, &path).map_err(failed)?;
                match outcome.recv_timeout(rest()) {
                    Ok(Ok(())) => return connect(),
                    Ok(Err(failure)) => failure,
                    Err(_) => return Err(late()),
                }
            }
            Turn::Failed(failure) => failure,
            Turn::Over => match connect() {
                Err(error) if is_called_for(&error) => continue,
                result => return result,
            },
            Turn::Anothers => {
                match attempts.refused(Refusal::Busy, began.elapsed()) {
                    Next::RetryAfter(pause) => thread::sleep(pause),
                    Next::GiveUp => return Err(late()),
                }
                // Whoever starts the server may be stopped, and the server there.
                if looked.elapsed() >= SILENCE {
                    match connect() {
                        Err(error) if is_called_for(&error) => {}
                        result => return result,
                    }
                    looked = Instant::now();
                }
                continue;
            }
        };
        // One that was started by whoever does not ask for turns is as good.
        return connect().map_err(|_| error(ErrorKind::NotStarted).because(not_started));
    }
}

fn connect(mut attempts: Attempts<'_>) -> Result<Stream, Error> {
    loop {
        match attempts.next() {
            Attempt::Connected(stream) => return Ok(stream),
            Attempt::RetryAfter(pause) => thread::sleep(pause),
            Attempt::GiveUp(error) => return Err(error),
        }
    }
}

/// Where clients that want to start the server wait for their turn.
struct Queue {
    path: PathBuf,
    /// The file whose lock is waited for: whatever comes of the attempt that is under way is
    /// left in it.
    file: Option<File>,
}

enum Turn {
    Ours(StartLock),
    /// Another client is about to start the server.
    Anothers,
    /// The attempt that was under way has succeeded.
    Over,
    /// The attempt that was under way has failed.
    Failed(StartFailure),
}

impl Queue {
    fn new(path: &Path) -> Self {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".start");
        Self { path: path.with_file_name(name), file: None }
    }

    fn turn(&mut self) -> io::Result<Turn> {
        let file = match self.file.take() {
            Some(file) => file,
            None => launch::open_lock(&self.path)?,
        };
        if !launch::try_lock(&file)? {
            self.file = Some(file);
            return Ok(Turn::Anothers);
        }
        let lock = StartLock { file, path: self.path.clone(), is_foreign: false };
        let mut left = Vec::new();
        (&lock.file).read_to_end(&mut left)?;
        // What came of an attempt is left in a file that has been taken away.
        match (lock.is_in_place(), left.is_empty()) {
            (true, true) => Ok(Turn::Ours(lock)),
            (false, true) => Ok(Turn::Over),
            (false, false) => Ok(Turn::Failed(StartFailure::read(&left))),
            (true, false) => {
                let path = self.path.display();
                let why = format!("{path} is in the way, which is not ours: move it elsewhere");
                lock.leave();
                Err(io::Error::other(why))
            }
        }
    }
}

/// The right to start the server.
struct StartLock {
    file: File,
    path: PathBuf,
    is_foreign: bool,
}

impl StartLock {
    /// Gives the right back without taking the file away.
    fn leave(mut self) {
        self.is_foreign = true;
    }

    fn is_in_place(&self) -> bool {
        launch::is_at(&self.file, &self.path)
    }

    /// Takes the file away, which those who wait have open; whether it is gone.
    fn remove(&self) -> bool {
        !self.is_in_place() || launch::take_away(&self.path)
    }

    /// The attempt has failed, which those who wait report, and nobody else.
    fn fail(&self, failure: &StartFailure) {
        // Where the file stays, it would be reported for ever; then they try for themselves. So
        // they do where it cannot be written.
        if self.remove() {
            let _ = (&self.file).write_all(&failure.write());
        }
    }
}

impl Drop for StartLock {
    fn drop(&mut self) {
        if !self.is_foreign {
            self.remove();
        }
        launch::unlock(&self.file);
    }
}

type Outcome = Result<(), StartFailure>;

/// Starts the server; what comes of it is sent when it is known. A thread sees to it until the
/// process ends, so that nothing is left of it when this one lives longer.
fn start(lock: StartLock, starter: &Starter, path: &Path) -> io::Result<mpsc::Receiver<Outcome>> {
    let (sender, outcome) = mpsc::channel();
    let starter = starter.clone();
    let path = path.to_path_buf();
    let see_to_it = move || {
        let since = Instant::now();
        let spawned = {
            let mut command = starter.command.lock().unwrap_or_else(PoisonError::into_inner);
            Launched::spawn(&mut command)
        };
        let (outcome, launched) = match spawned {
            Ok(mut launched) => {
                let outcome = watch(&mut launched, &path, since, starter.patience);
                (outcome, Some(launched))
            }
            Err(error) => {
                let cause = format!("the process cannot be started: {error}");
                (Err(StartFailure { cause, message: String::new() }), None)
            }
        };
        if let Err(failure) = &outcome {
            lock.fail(failure);
        }
        drop(lock);
        // The caller may have given up.
        let _ = sender.send(outcome);
        if let Some(launched) = launched {
            launched.reap();
        }
    };
    let thread = thread::Builder::new().name("simple-ipc starter".into());
    thread.stack_size(128 * 1024).spawn(see_to_it)?;
    Ok(outcome)
}

/// How often to look whether a server that says nothing can be connected to, and whether one that
/// cannot say anything any more has ended.
const LOOK: Duration = Duration::from_millis(50);

/// A server that listens for so long and has not said that it is ready will not say it.
const SILENCE: Duration = Duration::from_millis(500);

/// Waits until it is ready, or will never be.
fn watch(launched: &mut Launched, path: &Path, since: Instant, patience: Duration) -> Outcome {
    let mut listens_since = None;
    loop {
        let left = patience.saturating_sub(since.elapsed());
        let word = launched.hear(left.min(LOOK));
        if word == Word::Ready {
            return Ok(());
        }
        match launched.try_wait() {
            Ok(Some(status)) if !status.success() => return Err(failed(launched, how(status))),
            // A host that waits for all children has taken the status.
            Err(_) if word == Word::Ended => {
                return Err(failed(launched, "it ended before it was ready".to_string()));
            }
            // It may have left the work to another process.
            _ => {}
        }
        if super::state(path) == State::Listening
            && listens_since.get_or_insert_with(Instant::now).elapsed() >= SILENCE
        {
            return Ok(());
        }
        if left.is_zero() {
            launched.kill();
            let cause = format!("it was not ready within {patience:?}, and was killed");
            return Err(failed(launched, cause));
        }
    }
}

fn failed(launched: &Launched, cause: String) -> StartFailure {
    let mut messages = launched.messages();
    let len = messages.metadata().map_or(0, |metadata| metadata.len());
    let from = len.saturating_sub(StartFailure::LONGEST_MESSAGE);
    let mut message = Vec::new();
    if messages.seek(SeekFrom::Start(from)).is_ok() {
        let _ = messages.take(len - from).read_to_end(&mut message);
    }
    StartFailure { cause, message: String::from_utf8_lossy(&message).trim().to_string() }
}

fn how(status: ExitStatus) -> String {
    format!("it ended before it was ready: {status}")
}
