//! A repository, and what git says of it with a monitor and without.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use crate::tree::{Tree, put};

/// A git that can ask monitors, if there is one.
pub fn with_monitors() -> Option<OsString> {
    let git = env::var_os("GIT_TEST_GIT").unwrap_or_else(|| "git".into());
    let options = Command::new(&git).args(["version", "--build-options"]).output();
    let can_ask = options
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("fsmonitor--daemon"));
    if !can_ask {
        // Not `eprintln!`, which nobody sees of a test that passes.
        let why =
            format!("SKIPPED: {git:?} cannot ask monitors; name one that can in GIT_TEST_GIT\n");
        io::stderr().write_all(why.as_bytes()).unwrap();
    }
    can_ask.then_some(git)
}

pub struct Repository {
    git: OsString,
    tree: Tree,
}

impl Repository {
    pub fn new(git: OsString, seed: u64) -> Self {
        let repository = Self { git, tree: Tree::without_git(seed) };
        repository.git(&["init", "-q", "-b", "main"], &[]);
        repository.git(&["add", "-A"], &[]);
        repository.git(&["commit", "-qm", "first"], &[]);
        repository.git(&["branch", "other"], &[]);
        repository
    }

    pub fn root(&self) -> &Path {
        &self.tree.root
    }

    fn git(&self, arguments: &[&str], environment: &[(&str, &OsStr)]) -> String {
        let output = Command::new(&self.git)
            .current_dir(self.root())
            .args(["-c", "user.name=test", "-c", "user.email=test@example.org"])
            .args(["-c", "core.fsmonitor=false", "-c", "advice.detachedHead=false"])
            .args(arguments)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    const STATUS: [&'static str; 4] = ["status", "--porcelain=v2", "--untracked-files=all", "-z"];
    const MONITORED: [&'static str; 4] =
        ["-c", "core.fsmonitor=true", "-c", "core.untrackedCache=true"];

    pub fn status_with_monitor(&self) -> String {
        self.git(&[Self::MONITORED, Self::STATUS].concat(), &[])
    }

    /// With an index of its own, so that what git remembers of the monitor stays.
    pub fn status_without_monitor(&self) -> String {
        let index = self.tree.folder.0.join("index");
        fs::copy(self.root().join(".git/index"), &index).unwrap();
        let alone = ["--no-optional-locks", "-c", "core.untrackedCache=false"];
        self.git(&[&alone[..], &Self::STATUS].concat(), &[("GIT_INDEX_FILE", index.as_os_str())])
    }

    /// What git tells of its talk with the monitor.
    pub fn trace_of_status(&self) -> String {
        let trace = self.tree.folder.0.join("trace");
        let arguments = [&Self::MONITORED[..], &["status"]].concat();
        self.git(&arguments, &[("GIT_TRACE_FSMONITOR", trace.as_os_str())]);
        fs::read_to_string(&trace).unwrap()
    }

    /// Makes one to four changes, and tells which.
    pub fn some_changes(&mut self) -> Vec<String> {
        (0..=self.tree.random.below(4)).map(|_| self.change()).collect()
    }

    /// Makes one random change, of files or by git, and tells which.
    fn change(&mut self) -> String {
        match self.tree.random.below(20) {
            0 => {
                self.git(&["add", "-A"], &[]);
                "add".into()
            }
            1 => {
                self.git(&["add", "-A"], &[]);
                self.git(&["commit", "-qm", "more", "--allow-empty"], &[]);
                "commit".into()
            }
            2 => {
                let branch = ["main", "other"][self.tree.random.below(2)];
                self.git(&["checkout", "-qf", branch], &[]);
                format!("checkout {branch}")
            }
            3 => {
                self.git(&["reset", "-q", "--hard"], &[]);
                "reset --hard".into()
            }
            4 => {
                self.git(&["clean", "-qffd"], &[]);
                "clean".into()
            }
            5 => {
                self.git(&["stash", "-q", "--include-untracked"], &[]);
                "stash".into()
            }
            6 => {
                let ignore = self.tree.any_folder().join(".gitignore");
                put(&ignore, ["1\n", "new*\n", ""][self.tree.random.below(3)]);
                format!("write {}", ignore.display())
            }
            7 => {
                // A repository in the repository.
                let nested = self.tree.any_folder().join(self.tree.fresh_name());
                fs::create_dir(&nested).unwrap();
                let path = nested.to_str().unwrap();
                self.git(&["init", "-q", path], &[]);
                self.git(&["-C", path, "commit", "-qm", "nested", "--allow-empty"], &[]);
                fs::write(nested.join("file"), "nested").unwrap();
                format!("nested repository {}", nested.display())
            }
            _ => self.tree.change(),
        }
    }
}
