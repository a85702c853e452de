//! Real processes: `examples/test_app` of each runtime, and git's `test-tool simple-ipc`, which it
//! can be swapped with.
#![allow(dead_code, reason = "each test that includes this uses another part of it")]

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use simple_ipc::endpoint::{State, state};

/// The runtimes of this build.
pub fn runtimes() -> Vec<&'static str> {
    let all = [
        ("blocking", cfg!(feature = "blocking")),
        ("smol", cfg!(feature = "smol")),
        ("tokio", cfg!(feature = "tokio")),
    ];
    all.into_iter().filter_map(|(name, is_built)| is_built.then_some(name)).collect()
}

/// Runs `test` with each runtime's application, all at once.
pub fn with_each_runtime(test: impl Fn(&Tool) + Sync) {
    all_at_once(runtimes().into_iter().map(Tool::ours), |tool| test(&tool));
}

/// Runs `test` on each of `cases`, all at once.
pub fn all_at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    // The scope panics if one of them did.
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

/// The example of that name, which cargo builds together with the tests.
pub fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).expect("tests are in <profile>/deps");
    let example = profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        example.exists(),
        "{} is missing: `cargo test` builds it, `cargo test --test …` does not, `cargo build --examples` does",
        example.display()
    );
    example
}

/// An application with the interface of `test-tool simple-ipc`.
pub struct Tool {
    pub name: String,
    program: PathBuf,
    /// What comes before the subcommand.
    first: Option<&'static str>,
    runtime: Option<&'static str>,
}

impl Tool {
    /// Ours, on that runtime.
    pub fn ours(runtime: &'static str) -> Self {
        let name = format!("ours on {runtime}");
        Self { name, program: example("test_app"), first: None, runtime: Some(runtime) }
    }

    /// git's, if the environment says where it is.
    pub fn gits() -> Option<Self> {
        let program = PathBuf::from(env::var_os("GIT_TEST_TOOL")?);
        assert!(program.is_file(), "GIT_TEST_TOOL={}: no such file", program.display());
        Some(Self { name: "git's".into(), program, first: Some("simple-ipc"), runtime: None })
    }

    /// The command for that subcommand, with nothing to read.
    pub fn command(&self, subcommand: &str, options: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.first).arg(subcommand).args(options);
        if let (Some(runtime), false) = (self.runtime, subcommand == "is-active") {
            command.arg(format!("--runtime={runtime}"));
        }
        // git's starts itself by its bare name.
        let before = self.program.parent().unwrap().to_path_buf();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([before].into_iter().chain(env::split_paths(&path)));
        command.env("PATH", path.unwrap());
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, subcommand: &str, path: &Path, options: &[&str]) -> Outcome {
        let name = format!("--name={}", path.display());
        run(self.command(subcommand, options).arg(name))
    }

    /// What the subcommand prints if all goes well, as it must.
    #[track_caller]
    pub fn succeeds(&self, subcommand: &str, path: &Path, options: &[&str]) -> String {
        let outcome = self.run(subcommand, path, options);
        assert!(
            outcome.status.success() && outcome.stderr.is_empty(),
            "{}: {subcommand} {options:?}: {outcome:?}",
            self.name
        );
        outcome.stdout
    }

    /// The error that the subcommand reports; it must, in one line, and print nothing.
    #[track_caller]
    pub fn fails(&self, subcommand: &str, path: &Path, options: &[&str]) -> String {
        let outcome = self.run(subcommand, path, options);
        assert_eq!(outcome.status.code(), Some(1), "{}: {subcommand}: {outcome:?}", self.name);
        assert_eq!(outcome.stdout, "", "{}: {subcommand}", self.name);
        outcome.error()
    }

    /// A server of this application in the background.
    #[track_caller]
    pub fn start(&self, options: &[&str]) -> Daemon<'_> {
        let folder = Folder::new();
        let path = folder.0.join("ipc");
        assert_eq!(self.succeeds("start-daemon", &path, options), "");
        Daemon { tool: self, path, folder }
    }
}

/// How a process ended.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The one line that tells of the error.
    #[track_caller]
    pub fn error(&self) -> String {
        let error = self.stderr.strip_prefix("error: ").and_then(|line| line.strip_suffix('\n'));
        let error = error.unwrap_or_else(|| panic!("no line that tells of an error: {self:?}"));
        assert!(!error.contains('\n'), "more than one line: {error}");
        error.into()
    }
}

/// Runs a command to its end; one that hangs is killed, and that is a failure.
///
/// It writes to files, not to pipes: their end would not come before that of a server which it
/// started, where children inherit what their parents can hand down.
pub fn run(command: &mut Command) -> Outcome {
    const PATIENCE: Duration = Duration::from_secs(300);

    let folder = Folder::new();
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| folder.0.join(name));
    command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
    let mut spawned = command.spawn();
    for _ in 0..10 {
        // Wine fails so to create a process now and then, when many are created at once.
        let is_wines = |error: &io::Error| cfg!(windows) && error.raw_os_error() == Some(1359);
        if !spawned.as_ref().is_err_and(is_wines) {
            break;
        }
        thread::sleep(Duration::from_millis(50));
        spawned = command.spawn();
    }
    let child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut process = Process(child);
    let since = Instant::now();
    let status = loop {
        match process.0.try_wait().unwrap() {
            Some(status) => break status,
            None if since.elapsed() > PATIENCE => panic!("{command:?} hangs"),
            None => thread::sleep(Duration::from_millis(1)),
        }
    };
    let [stdout, stderr] = [stdout, stderr].map(|file| fs::read_to_string(file).unwrap());
    Outcome { status, stdout, stderr }
}

/// A server in the background, which ends with the test.
pub struct Daemon<'t> {
    tool: &'t Tool,
    pub path: PathBuf,
    folder: Folder,
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if state(&self.path) == State::Listening {
            self.tool.run("stop-daemon", &self.path, &[]);
        }
    }
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Neither does anything to one that has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An empty folder, removed with all that is in it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("simple-ipc-processes-{}-{count}", std::process::id());
        let folder = env::temp_dir().join(name);
        // Process ids come again, and one that was killed has left its folder.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `send` prints of that many rows.
pub fn rows(count: usize) -> String {
    (0..count).map(|row| format!("big: {row:075}\n")).collect::<String>() + "\n"
}

/// What `sendbytes` prints.
pub fn counted(letter: char, bytes: usize) -> String {
    format!("sent:{letter}{bytes:08} rcvd:{letter}{bytes:08}\n")
}

/// What `multiple` prints, in order of the alphabet.
pub fn counted_many(threads: usize, first: usize, batch: usize) -> Vec<String> {
    let letters = ('A'..='Z').take(threads);
    let mut lines: Vec<_> = letters
        .flat_map(|letter| (first..first + batch).map(move |bytes| counted(letter, bytes)))
        .map(|line| line.trim_end().into())
        .collect();
    lines.push(format!("client (good {}) (join 0), (errors 0)", threads * batch));
    lines.sort();
    lines
}

pub fn sorted_lines(printed: &str) -> Vec<String> {
    let mut lines: Vec<_> = printed.lines().map(String::from).collect();
    lines.sort();
    lines
}
