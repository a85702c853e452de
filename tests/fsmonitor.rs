//! Real `git status`, answered by `examples/fsmonitor`: after each of hundreds of random changes it
//! must say what it says without the monitor.
//!
//! It needs a git with `fsmonitor--daemon` support: the one that `GIT_TEST_GIT` names, or the one on
//! PATH. `FSMONITOR_STEPS` sets the number of changes, `FSMONITOR_SEED` which ones.
#![cfg(all(any(unix, windows), feature = "blocking"))]

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

#[test]
fn status_is_the_same_with_and_without() {
    let git = env::var_os("GIT_TEST_GIT").unwrap_or_else(|| "git".into());
    if !supports_monitors(&git) {
        eprintln!("skipped: {git:?} has no fsmonitor--daemon support; name one in GIT_TEST_GIT");
        return;
    }
    let steps = env::var("FSMONITOR_STEPS").map_or(200, |steps| steps.parse().unwrap());
    let seed = env::var("FSMONITOR_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut tree = Tree::new(git, seed);
    let _monitor = Monitor::start(&tree.root);

    // git asks, and looks at what it is told.
    tree.status_with_monitor();
    fs::write(tree.root.join("a/1"), "changed").unwrap();
    let trace = tree.folder.join("trace");
    tree.git(
        &["-c", "core.fsmonitor=true", "status"],
        &[("GIT_TRACE_FSMONITOR", trace.as_os_str())],
    );
    let trace = fs::read_to_string(&trace).unwrap();
    assert!(
        trace.contains("fsmonitor_refresh_callback 'a/1'"),
        "the monitor was not asked: {trace}"
    );

    let mut in_use = 0;
    for step in 0..steps {
        let change = tree.change();
        let with = tree.status_with_monitor();
        let without = tree.status_without_monitor();
        assert_eq!(with, without, "step {step} of seed {seed}: {change}");
        in_use += usize::from(!with.is_empty());
    }
    assert!(in_use * 2 > steps, "most steps should leave something to report: {in_use}");
}

fn supports_monitors(git: &OsString) -> bool {
    Command::new(git)
        .args(["version", "--build-options"])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("fsmonitor--daemon"))
}

/// The monitor, as a process. It ends with the test.
struct Monitor(Child);

impl Monitor {
    fn start(root: &Path) -> Self {
        // target/<profile>/deps/fsmonitor-<hash>, and the example beside `deps`.
        let mut program: PathBuf = env::current_exe().unwrap();
        program.pop();
        program.pop();
        program.push("examples");
        program.push(format!("fsmonitor{}", env::consts::EXE_SUFFIX));
        let mut child =
            Command::new(&program).arg(root).stdout(Stdio::piped()).spawn().unwrap_or_else(
                |error| panic!("{}: {error}; build the examples", program.display()),
            );
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("watching"), "{line}");
        Self(child)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A work tree, and a generator of changes in it.
struct Tree {
    git: OsString,
    folder: PathBuf,
    root: PathBuf,
    random: u64,
    made: u32,
}

impl Tree {
    fn new(git: OsString, seed: u64) -> Self {
        let folder = env::temp_dir().join(format!("simple-ipc-fsmonitor-{}", std::process::id()));
        let root = folder.join("work tree");
        fs::create_dir_all(&root).unwrap();
        let tree = Self { git, folder, root, random: seed | 1, made: 0 };
        tree.git(&["init", "-q", "-b", "main"], &[]);
        for folder in ["a", "a/b", "a/b/c", "d", "d e"] {
            fs::create_dir_all(tree.root.join(folder)).unwrap();
            for file in ["1", "2", "3"] {
                fs::write(tree.root.join(folder).join(file), format!("{folder}/{file}\n")).unwrap();
            }
        }
        tree.git(&["add", "-A"], &[]);
        tree.git(&["commit", "-qm", "first"], &[]);
        tree.git(&["branch", "other"], &[]);
        tree
    }

    fn git(&self, arguments: &[&str], environment: &[(&str, &std::ffi::OsStr)]) -> String {
        let output = Command::new(&self.git)
            .current_dir(&self.root)
            .args(["-c", "user.name=test", "-c", "user.email=test@example.org"])
            .args(["-c", "core.fsmonitor=false", "-c", "advice.detachedHead=false"])
            .args(arguments)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    const STATUS: [&'static str; 4] = ["status", "--porcelain=v2", "--untracked-files=all", "-z"];

    fn status_with_monitor(&self) -> String {
        let mut arguments = vec!["-c", "core.fsmonitor=true", "-c", "core.untrackedCache=true"];
        arguments.extend(Self::STATUS);
        self.git(&arguments, &[])
    }

    /// With an index of its own, so that what git remembers of the monitor stays.
    fn status_without_monitor(&self) -> String {
        let index = self.folder.join("index");
        fs::copy(self.root.join(".git/index"), &index).unwrap();
        let mut arguments = vec!["--no-optional-locks", "-c", "core.untrackedCache=false"];
        arguments.extend(Self::STATUS);
        self.git(&arguments, &[("GIT_INDEX_FILE", index.as_os_str())])
    }

    /// A number below `limit` (xorshift64).
    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize % limit
    }

    /// All files, or all folders, of the work tree, relative to it.
    fn list(&self, folders: bool) -> Vec<PathBuf> {
        fn walk(root: &Path, folder: &Path, folders: bool, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let (path, is) = (entry.path(), entry.file_type().unwrap());
                if entry.file_name() == ".git" {
                    continue;
                }
                if is.is_dir() == folders {
                    found.push(path.strip_prefix(root).unwrap().into());
                }
                if is.is_dir() {
                    walk(root, &path, folders, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.root, &self.root, folders, &mut found);
        found.sort();
        found
    }

    fn pick(&mut self, folders: bool) -> Option<PathBuf> {
        let mut found = self.list(folders);
        let nth = self.below(found.len().max(1));
        (nth < found.len()).then(|| self.root.join(found.swap_remove(nth)))
    }

    fn fresh_name(&mut self) -> String {
        self.made += 1;
        format!("new {}", self.made)
    }

    /// Makes one random change and tells which.
    fn change(&mut self) -> String {
        let (file, folder) = (self.pick(false), self.pick(true));
        let (Some(file), Some(folder)) = (file, folder) else {
            self.git(&["reset", "-q", "--hard"], &[]);
            return "reset --hard".into();
        };
        let fresh = self.fresh_name();
        match self.below(14) {
            0 | 1 => {
                let text = format!("{}\n", self.below(1000));
                fs::write(&file, text).unwrap();
                format!("write {}", file.display())
            }
            2 => {
                fs::remove_file(&file).unwrap();
                format!("remove {}", file.display())
            }
            3 => {
                let to = folder.join(&fresh);
                fs::rename(&file, &to).unwrap();
                format!("rename {} to {}", file.display(), to.display())
            }
            4 => {
                // Files that are there before anybody can watch the folders they are in.
                let deep = folder.join(&fresh).join("x/y");
                fs::create_dir_all(&deep).unwrap();
                fs::write(deep.join("deep"), "deep").unwrap();
                fs::write(deep.join("../shallow"), "shallow").unwrap();
                format!("make {}", deep.display())
            }
            5 => {
                let to = folder.parent().unwrap().join(&fresh);
                fs::rename(&folder, &to).unwrap();
                // What happens under the new name belongs there.
                fs::write(to.join("after"), "after the rename").unwrap();
                format!("rename folder {} to {}", folder.display(), to.display())
            }
            6 => {
                fs::remove_dir_all(&folder).unwrap();
                format!("remove folder {}", folder.display())
            }
            7 => {
                fs::remove_dir_all(&folder).unwrap();
                fs::create_dir(&folder).unwrap();
                fs::write(folder.join("again"), "again").unwrap();
                format!("replace folder {}", folder.display())
            }
            8 => {
                fs::remove_file(&file).unwrap();
                fs::create_dir(&file).unwrap();
                fs::write(file.join("inside"), "a folder where a file was").unwrap();
                format!("folder in the place of {}", file.display())
            }
            9 => {
                self.git(&["add", "-A"], &[]);
                "add".into()
            }
            10 => {
                self.git(&["add", "-A"], &[]);
                self.git(&["commit", "-qm", "more", "--allow-empty"], &[]);
                "commit".into()
            }
            11 => {
                let branch = ["main", "other"][self.below(2)];
                self.git(&["checkout", "-qf", branch], &[]);
                format!("checkout {branch}")
            }
            12 => {
                // A repository in the repository.
                let nested = folder.join(&fresh);
                fs::create_dir(&nested).unwrap();
                let nested_git = nested.to_str().unwrap();
                self.git(&["init", "-q", nested_git], &[]);
                self.git(&["-C", nested_git, "commit", "-qm", "nested", "--allow-empty"], &[]);
                fs::write(nested.join("file"), "nested").unwrap();
                format!("nested repository {}", nested.display())
            }
            _ => {
                self.git(&["clean", "-qffd"], &[]);
                "clean".into()
            }
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
