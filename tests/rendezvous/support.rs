//! Processes with parts to play, and servers of every runtime.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use simple_ipc::blocking::Client;
use simple_ipc::endpoint::{Access, BindOptions};
use simple_ipc::lifecycle::Ending;
use simple_ipc::{Error, ErrorKind};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// As many rounds as asked for: `few`, or `all`.
pub(crate) fn rounds(few: usize, all: usize) -> usize {
    if env::var_os("SIMPLE_IPC_ROUNDS").is_some_and(|rounds| rounds == "all") { all } else { few }
}

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: it needs root, to be other users");
    }
    root
}

/// A folder that is removed afterwards.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("rendezvous-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.0.join(name.as_ref())
    }

    /// What is in the folder, hidden files too.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Runtime {
    Blocking,
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "smol")]
    Smol,
}

pub(crate) const RUNTIMES: &[Runtime] = &[
    Runtime::Blocking,
    #[cfg(feature = "tokio")]
    Runtime::Tokio,
    #[cfg(feature = "smol")]
    Runtime::Smol,
];

impl Runtime {
    fn told() -> Self {
        let told = env::var("RENDEZVOUS_RUNTIME").unwrap();
        *RUNTIMES.iter().find(|runtime| format!("{runtime:?}") == told).unwrap()
    }
}

/// Where a server listens.
pub(crate) enum Source {
    Path(PathBuf, BindOptions),
    Listener(OwnedFd),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) idle: Option<Duration>,
    pub(crate) drain: Option<Duration>,
    /// This user is not served.
    pub(crate) refused: Option<u32>,
    pub(crate) hear: Option<fn(&Error)>,
}

/// What a handler does with a request.
enum Task {
    Answer(Vec<u8>),
    AnswerAfter(Duration),
    Peer,
    Quit,
}

fn task(request: &[u8]) -> Task {
    match std::str::from_utf8(request).unwrap_or_default().split_once(' ') {
        Some(("slow", ms)) => Task::AnswerAfter(ms.parse::<u32>().unwrap() * MS),
        _ if request == b"pid" => Task::Answer(std::process::id().to_string().into()),
        _ if request == b"peer" => Task::Peer,
        _ if request == b"quit" => Task::Quit,
        _ => Task::Answer(request.into()),
    }
}

macro_rules! made {
    ($Server:ty, $source:expr, $settings:expr) => {{
        let server = match $source {
            Source::Path(path, options) => <$Server>::bind_with(path, &options)?,
            Source::Listener(listener) => <$Server>::from_listener(listener)?,
        };
        let settings: &Settings = $settings;
        let mut server = server.idle_exit(settings.idle);
        if let Some(drain) = settings.drain {
            server = server.drain_deadline(drain);
        }
        if let Some(refused) = settings.refused {
            server = server.allow(move |peer| peer.uid != refused);
        }
        if let Some(hear) = settings.hear {
            server = server.on_error(hear);
        }
        server
    }};
}

#[cfg(any(feature = "smol", feature = "tokio"))]
macro_rules! handler {
    ($sleep:expr) => {
        |request, reply| async move {
            match task(&request) {
                Task::Answer(answer) => reply.finish_with(&answer).await,
                Task::AnswerAfter(pause) => {
                    $sleep(pause).await;
                    reply.finish_with("slow").await
                }
                Task::Peer => {
                    let peer = reply.peer()?;
                    reply.finish_with(format!("{peer:?}")).await
                }
                Task::Quit => reply.finish_and_stop().await,
            }
        }
    };
}

/// Serves until it is stopped. `serving` is called when it serves.
pub(crate) fn serve(
    runtime: Runtime,
    source: Source,
    settings: &Settings,
    serving: impl FnOnce(),
) -> Result<Ending, Error> {
    match runtime {
        Runtime::Blocking => {
            let server = made!(simple_ipc::blocking::Server, source, settings);
            let running = server.serve(|request, reply| match task(&request) {
                Task::Answer(answer) => reply.finish_with(answer),
                Task::AnswerAfter(pause) => {
                    thread::sleep(pause);
                    reply.finish_with("slow")
                }
                Task::Peer => {
                    let peer = reply.peer()?;
                    reply.finish_with(format!("{peer:?}"))
                }
                Task::Quit => reply.finish_and_stop(),
            })?;
            serving();
            running.join()
        }
        #[cfg(feature = "tokio")]
        Runtime::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = made!(simple_ipc::tokio::Server, source, settings);
                let running = server.serve(handler!(tokio::time::sleep))?;
                serving();
                running.join().await
            })
        }
        #[cfg(feature = "smol")]
        Runtime::Smol => smol::block_on(async {
            let server = made!(simple_ipc::smol::Server, source, settings);
            let running = server.serve(handler!(smol::Timer::after))?;
            serving();
            running.join().await
        }),
    }
}

/// The part of a server: it says what becomes of it.
pub(crate) fn serve_as_told() {
    let told = env::var("RENDEZVOUS_OPTIONS").unwrap_or_default();
    let mut options = BindOptions::new();
    let mut settings = Settings::default();
    let mut listener = None;
    for option in told.split_whitespace() {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let duration = || value.parse::<u32>().unwrap() * MS;
        match name {
            "republish" => options = options.republish(true),
            "hold" => options = options.hold_path(true),
            "life" => options = options.life_lock(true),
            "group" => options = options.access(Access::Group),
            "everyone" => options = options.access(Access::Everyone),
            "idle" => settings.idle = Some(duration()),
            "drain" => settings.drain = Some(duration()),
            "refuse" => settings.refused = Some(value.parse().unwrap()),
            "umask" => {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(value.parse().unwrap()));
            }
            "activated" => {
                let mut activated = simple_ipc::endpoint::activated().unwrap();
                assert_eq!(activated[0].name(), value);
                listener = Some(activated.remove(0).into());
            }
            "touch" => {
                let file = fs::File::options().append(true).create(true).open(value);
                file.unwrap().write_all(b"x").unwrap();
            }
            "wait" => thread::sleep(duration()),
            other => panic!("no such option: {other}"),
        }
    }
    settings.hear = Some(|error| say(&format!("heard {:?}", error.kind())));
    let source = match listener {
        Some(listener) => Source::Listener(listener),
        None => Source::Path(env::var_os("RENDEZVOUS_PATH").unwrap().into(), options),
    };
    match serve(Runtime::told(), source, &settings, || say("serving")) {
        Ok(ending) => say(&format!("ended {:?} {}", ending.reason, ending.aborted)),
        Err(error) => {
            say(&format!("error {:?}", error.kind()));
            eprintln!("{error}");
            std::process::exit(3);
        }
    }
}

/// Tells the test something.
pub(crate) fn say(what: &str) {
    // Whoever listened may be gone.
    let _ = writeln!(std::io::stdout().lock(), "@{what}");
}

/// This program, to play a part.
pub(crate) fn part(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "role", "--nocapture", "--test-threads=1"]);
    command.env("RENDEZVOUS_ROLE", role);
    command
}

pub(crate) fn server(runtime: Runtime, path: &Path, options: &str) -> Command {
    let mut command = part("serve");
    command
        .env("RENDEZVOUS_RUNTIME", format!("{runtime:?}"))
        .env("RENDEZVOUS_PATH", path)
        .env("RENDEZVOUS_OPTIONS", options);
    command
}

/// A process that plays a part. It is killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        if command.get_program() != "/bin/sh" {
            command.stdin(Stdio::piped());
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { input: child.stdin.take(), output, child }
    }

    /// A server that serves.
    pub(crate) fn serving(command: &mut Command) -> Self {
        let mut process = Self::start(command);
        assert_eq!(process.hear(), "serving");
        process
    }

    /// The next thing it says; nothing if it ends.
    pub(crate) fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return line;
            }
            if let Some((_, said)) = line.trim_end().split_once('@') {
                return said.into();
            }
        }
    }

    pub(crate) fn tell(&mut self, what: &str) {
        // In one piece: it may end as soon as it has heard the first byte.
        self.input.as_mut().unwrap().write_all(format!("{what}\n").as_bytes()).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client whose deadlines no test can wait for.
pub(crate) fn client(path: impl AsRef<Path>) -> Client {
    Client::new(path).total_deadline(10_000 * MS)
}

/// Waits for what must come about, for as long as a test may.
pub(crate) fn eventually(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < 10_000 * MS, "{what}: not in time");
        thread::sleep(MS);
    }
    since.elapsed()
}

#[track_caller]
pub(crate) fn assert_kind<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind) {
    assert_eq!(result.as_ref().map_err(Error::kind).unwrap_err(), kind, "{result:?}");
}

/// A generator of numbers that differ from run to run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher as _, Hasher as _};
        Self(std::hash::RandomState::new().build_hasher().finish())
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}
