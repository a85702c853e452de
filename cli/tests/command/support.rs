//! Running the command, bounded in time.
#![cfg_attr(not(unix), allow(dead_code, reason = "most tests are for Unix"))]

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use assert_cmd::Command;
use predicates::prelude::*;
use tempfile::TempDir;

/// Longer than anything takes on a machine that is merely slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_simple-ipc");

/// The command with these arguments.
pub fn simple_ipc<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).timeout(PATIENCE);
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

/// Expects that the command ends with `status` and one line on standard error that says `why`.
#[track_caller]
pub fn fails(command: &mut Command, status: i32, why: &str) {
    command
        .assert()
        .code(status)
        .stderr(predicate::str::is_match("\\Asimple-ipc: [^\n]+\n\\z").unwrap())
        .stderr(predicate::str::contains(why));
}

/// A folder for one test, and a path in it to serve at.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::with_prefix("simple-ipc-").unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn ipc(&self) -> PathBuf {
        self.path("x.ipc")
    }
}

/// Bytes that do not repeat soon, in lines.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = len as u32 | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        if state % 50 == 0 { b'\n' } else { b'a' + (state >> 8) as u8 % 26 }
    };
    (0..len).map(|_| byte()).collect()
}

#[cfg(unix)]
pub use unix::*;

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::io::{BufRead, BufReader, Read};
    use std::path::Path;
    use std::process::{Child, Command, ExitStatus, Stdio};
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    use rustix::process::{Pid, Signal, kill_process};

    use super::{PATIENCE, PROGRAM};

    pub const RUNTIMES: [&str; 3] = ["blocking", "tokio", "smol"];

    /// A process that does not outlive its test.
    pub struct Process(pub Child);

    impl Process {
        pub fn start(command: &mut Command) -> Self {
            Self(command.spawn().unwrap())
        }

        pub fn signal(&self, signal: Signal) {
            kill_process(Pid::from_child(&self.0), signal).unwrap();
        }

        /// Its end, in time.
        #[track_caller]
        pub fn end(&mut self) -> ExitStatus {
            in_time(|| self.0.try_wait().unwrap())
        }

        /// Its end, by that signal, sent until it is heard.
        #[track_caller]
        pub fn end_by(&mut self, signal: Signal) -> ExitStatus {
            in_time(|| {
                let end = self.0.try_wait().unwrap();
                if end.is_none() {
                    self.signal(signal);
                }
                end
            })
        }

        /// The most memory it has had, in KiB.
        #[cfg(target_os = "linux")]
        pub fn peak_memory(&self) -> u64 {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            // Does nothing to one that has ended and was waited for.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Asks until there is an answer: for what nobody signals to this process.
    #[track_caller]
    pub fn in_time<T>(mut ask: impl FnMut() -> Option<T>) -> T {
        let since = std::time::Instant::now();
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(since.elapsed() < PATIENCE, "it does not happen");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// `simple-ipc serve`.
    pub struct Server {
        pub process: Process,
        log: Receiver<String>,
    }

    impl Server {
        /// Starts it, and returns when it listens.
        pub fn start<A: AsRef<OsStr>>(path: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
            let mut command = Command::new(PROGRAM);
            Self::listening(command.arg("serve").arg(path).args(arguments))
        }

        /// As [`start`](Self::start), on that runtime, with a script for its command.
        pub fn running(path: &Path, runtime: &str, script: &str) -> Self {
            Self::start(path, ["-v", "--runtime", runtime, "--", "sh", "-c", script])
        }

        pub fn listening(command: &mut Command) -> Self {
            let mut process = Process::start(command.stderr(Stdio::piped()));
            let stderr = BufReader::new(process.0.stderr.take().unwrap());
            let (tell, log) = channel();
            thread::spawn(move || {
                for line in stderr.lines() {
                    let _ = tell.send(line.unwrap());
                }
            });
            let server = Self { process, log };
            let line = server.line();
            assert!(line.starts_with("listening on /"), "{line}");
            server
        }

        /// The next line on its standard error.
        #[track_caller]
        pub fn line(&self) -> String {
            self.log.recv_timeout(PATIENCE).expect("it says something more")
        }

        /// All that it still has to say, once it has ended.
        pub fn rest(&self) -> Vec<String> {
            self.log.iter().collect()
        }

        /// Stops it, and expects that all goes well.
        #[track_caller]
        pub fn stop(mut self) {
            self.process.signal(Signal::TERM);
            let status = self.process.end();
            assert!(status.success(), "{status}: {:?}", self.rest());
        }
    }

    /// A client at work, its standard streams piped.
    pub fn client<A: AsRef<OsStr>>(path: &Path, arguments: impl IntoIterator<Item = A>) -> Process {
        let mut command = Command::new(PROGRAM);
        command.arg("send").arg(path).args(arguments);
        Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Reads one line, byte by byte, so that the rest is left.
    pub fn read_line(from: &mut impl Read) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while from.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Whether this process, and so those that it starts, ignores that signal.
    pub fn is_ignored(signal: Signal) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
        // Where it is not known, the command takes it to be.
        mask.is_none_or(|mask| mask & 1 << (signal.as_raw() - 1) != 0)
    }

    /// A named pipe.
    pub fn make_fifo(path: &Path) {
        let status = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(status.success());
    }
}
