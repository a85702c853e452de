//! The monitor as a process, asked as git's client asks.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use simple_ipc::blocking::Client;
use simple_ipc::endpoint::{State, state};

use crate::processes::{Process, example};

/// It ends with the test.
pub struct Monitor {
    process: Process,
    path: PathBuf,
}

impl Monitor {
    pub fn start(root: &Path) -> Self {
        Self::start_at(root, &root.join(".git"))
    }

    /// For a tree with that git folder.
    pub fn start_at(root: &Path, git: &Path) -> Self {
        let mut command = Command::new(example("fsmonitor"));
        let mut child = command.arg(root).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("watching"), "{line}");
        Self { process: Process(child), path: git.join("fsmonitor--daemon.ipc") }
    }

    pub fn call(&self, request: &[u8]) -> Vec<u8> {
        Client::new(&self.path).call(request).unwrap()
    }

    /// What has changed since that token.
    pub fn ask(&self, token: &[u8]) -> Answer {
        let answer = self.call(token);
        let answer = answer.strip_suffix(b"\0").expect("each part ends with NUL");
        let mut parts = answer.split(|byte| *byte == 0).map(<[u8]>::to_vec);
        let token = parts.next().unwrap();
        assert!(token.starts_with(b"builtin:"), "{answer:?}");
        Answer { token, paths: parts.collect() }
    }

    /// Asks again and again, each time with the last token, until the answer is such.
    #[cfg(target_os = "linux")]
    pub fn ask_until(&self, is_such: impl Fn(&Answer) -> bool) -> Answer {
        let mut answer = self.ask(b"");
        for _ in 0..10_000 {
            answer = self.ask(&answer.token);
            if is_such(&answer) {
                return answer;
            }
        }
        panic!("it stays so: {answer:?}");
    }

    pub fn state(&self) -> State {
        state(&self.path)
    }

    /// Its end, of itself.
    pub fn end(&mut self) -> ExitStatus {
        self.process.0.wait().unwrap()
    }

    /// What happens while it cannot do anything.
    #[cfg(target_os = "linux")]
    pub fn while_stopped(&self, happens: impl FnOnce()) {
        use rustix::process::{Pid, Signal, kill_process};

        let monitor = Pid::from_child(&self.process.0);
        kill_process(monitor, Signal::STOP).unwrap();
        happens();
        kill_process(monitor, Signal::CONT).unwrap();
    }
}

/// A token for the next question, and paths with slashes relative to the tree.
pub struct Answer {
    pub token: Vec<u8>,
    pub paths: BTreeSet<Vec<u8>>,
}

impl Answer {
    /// Whether it says that everything must be looked at.
    pub fn is_everything(&self) -> bool {
        self.paths.contains(&b"/"[..])
    }

    /// Whether it makes git look at that path: it names the path, or a folder that it is in.
    pub fn covers(&self, path: &[u8]) -> bool {
        let folders = (0..path.len()).filter(|at| path[*at] == b'/').map(|at| &path[..at]);
        self.is_everything() || folders.chain([path]).any(|path| self.paths.contains(path))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.paths.iter().map(|path| String::from_utf8_lossy(path));
        f.debug_list().entries(paths).finish()
    }
}
