//! `examples/fsmonitor`: every change is reported, whatever happens, and real `git status` says with
//! it what it says without.
//!
//! The test with git needs one with `fsmonitor--daemon` support: the one that `GIT_TEST_GIT` names,
//! or the one on PATH. `FSMONITOR_STEPS` sets the number of random steps, `FSMONITOR_SEED` which
//! ones.
#![cfg(all(any(unix, windows), feature = "blocking"))]

mod processes;

#[path = "fsmonitor/git.rs"]
mod git;
#[path = "fsmonitor/monitor.rs"]
mod monitor;
#[path = "core/random.rs"]
mod random;
#[path = "fsmonitor/tree.rs"]
mod tree;
mod wine;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use monitor::{Answer, Monitor};
use processes::{example, run};
use tree::Tree;

/// Why no change is seen there; so each answer is everything, after a while.
const BLIND: &str = "it does not tell of what happens in folders that were there before the watch";

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |number| number.parse().unwrap())
}

fn steps() -> u64 {
    number("FSMONITOR_STEPS", 200)
}

fn seed() -> u64 {
    number("FSMONITOR_SEED", 1)
}

#[test]
fn every_change_is_reported() {
    if wine::skips("every_change_is_reported", BLIND) {
        return;
    }
    let mut tree = Tree::new(seed());
    let monitor = Monitor::start(&tree.root);
    let mut token = monitor.ask(b"builtin:fake").token;
    for step in 0..steps() {
        let before = tree.snapshot();
        let changes = tree.some_changes();
        let answer = monitor.ask(&token);
        let what = format!("step {step} of seed {}: {changes:?}: {answer:?}", seed());
        assert!(!answer.is_everything(), "nothing was lost in {what}");
        for path in before.changed(&tree.snapshot()) {
            assert!(answer.covers(path), "{} is missing in {what}", String::from_utf8_lossy(path));
        }
        // The system may tell some of it once more, and later.
        let nothing_new = monitor.ask(&answer.token);
        for path in &nothing_new.paths {
            assert!(answer.covers(path), "{} is new after {what}", String::from_utf8_lossy(path));
        }
        token = nothing_new.token;
    }
}

#[test]
fn each_of_several_clients_learns_every_change() {
    const CLIENTS: u64 = 8;

    if wine::skips("each_of_several_clients_learns_every_change", BLIND) {
        return;
    }
    let mut tree = Tree::new(seed());
    let monitor = Monitor::start(&tree.root);
    let before = tree.snapshot();
    let first = monitor.ask(b"builtin:fake");
    let learnt = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut learnt = vec![monitor.ask(&first.token)];
                    for _ in 0..steps() / CLIENTS {
                        learnt.push(monitor.ask(&learnt.last().unwrap().token));
                    }
                    learnt
                })
            })
            .collect();
        for _ in 0..steps() / 4 {
            tree.some_changes();
        }
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let after = tree.snapshot();
    for mut learnt in learnt {
        learnt.push(monitor.ask(&learnt.last().unwrap().token));
        for path in before.changed(&after) {
            let is_covered = learnt.iter().any(|answer| answer.covers(path));
            assert!(is_covered, "{} is missing in {learnt:?}", String::from_utf8_lossy(path));
        }
    }
}

#[test]
fn to_a_token_that_is_not_its_own_the_answer_is_everything() {
    let tree = Tree::new(seed());
    let monitor = Monitor::start(&tree.root);
    let Answer { token, .. } = monitor.ask(b"");
    let text = String::from_utf8(token.clone()).unwrap();
    let (own, count) = text.rsplit_once(':').unwrap();
    let count: u64 = count.parse().unwrap();
    let ahead = format!("{own}:{}", count + 100);
    let long = format!("{own}:{}", "9".repeat(100_000));
    for foreign in [
        &b""[..],
        b"builtin:fake",
        b"builtin:0:0",
        b"builtin::",
        b"1234567890",
        b"\0\xff\n",
        own.as_bytes(),
        ahead.as_bytes(),
        long.as_bytes(),
    ] {
        let answer = monitor.ask(foreign);
        assert!(answer.is_everything(), "{:?}: {answer:?}", String::from_utf8_lossy(foreign));
    }
    if !*wine::IS_WINE {
        assert!(monitor.ask(&token).paths.is_empty());
    }
}

#[test]
fn a_flush_voids_every_token_and_quit_ends_it() {
    let tree = Tree::new(seed());
    let mut monitor = Monitor::start(&tree.root);
    let before = monitor.ask(b"").token;
    let after = monitor.ask(b"flush");
    assert!(after.is_everything());
    assert!(monitor.ask(&before).is_everything());
    if !*wine::IS_WINE {
        assert!(monitor.ask(&after.token).paths.is_empty());
    }
    // git's own `fsmonitor--daemon stop` sends it.
    assert_eq!(monitor.call(b"quit"), b"");
    assert!(monitor.end().success());
    assert_eq!(monitor.state(), simple_ipc::endpoint::State::NotFound);
}

#[test]
fn a_second_monitor_is_refused_and_the_first_goes_on() {
    let tree = Tree::new(seed());
    let monitor = Monitor::start(&tree.root);
    let second = run(Command::new(example("fsmonitor")).arg(&tree.root).stdin(Stdio::null()));
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains("live server"), "{second:?}");
    assert!(monitor.ask(b"").is_everything());
}

#[test]
fn what_is_no_work_tree_is_refused() {
    let folder = processes::Folder::new();
    for (git, why) in [(None, "is no work tree"), (Some("elsewhere"), "no gitdir")] {
        if let Some(text) = git {
            fs::write(folder.0.join(".git"), text).unwrap();
        }
        let refused = run(Command::new(example("fsmonitor")).arg(&folder.0).stdin(Stdio::null()));
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
}

#[test]
fn a_work_tree_whose_git_folder_is_elsewhere() {
    if wine::skips("a_work_tree_whose_git_folder_is_elsewhere", BLIND) {
        return;
    }
    let tree = Tree::with_git_folder(seed(), Path::new("../elsewhere"));
    let monitor = Monitor::start_at(&tree.root, &tree.root.join("../elsewhere"));
    let token = monitor.ask(b"").token;
    fs::write(tree.root.join("a/1"), "changed").unwrap();
    let answer = monitor.ask(&token);
    assert!(answer.covers(b"a/1") && !answer.is_everything(), "{answer:?}");
}

#[cfg(unix)]
#[test]
fn a_tree_that_is_removed_ends_it() {
    let tree = Tree::new(seed());
    let mut monitor = Monitor::start(&tree.root);
    fs::remove_dir_all(&tree.root).unwrap();
    assert!(monitor.end().success());
}

/// The monitor is stopped while more happens than the system's queue holds.
#[cfg(target_os = "linux")]
#[test]
fn what_the_system_has_dropped_is_everything() {
    use std::os::unix::fs::PermissionsExt as _;

    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    if queue > 1 << 16 {
        eprintln!("skipped: {queue} events are too many to make");
        return;
    }
    let tree = Tree::new(seed());
    let monitor = Monitor::start(&tree.root);
    let token = monitor.ask(b"").token;

    monitor.while_stopped(|| {
        // One event each, in a folder that is watched, none of them like the one before.
        for n in 0..2 * queue {
            let file = tree.root.join(["a/1", "a/2"][n % 2]);
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        // Of this it cannot have been told: a folder gets another name, and something changes.
        fs::rename(tree.root.join("d"), tree.root.join("renamed")).unwrap();
        fs::write(tree.root.join("renamed/1"), "changed").unwrap();
    });
    let answer = monitor.ask(&token);
    assert!(answer.is_everything(), "{answer:?}");

    // From then on all is seen again, under the names that hold now.
    let answer = monitor.ask_until(|answer| !answer.is_everything());
    fs::create_dir(tree.root.join("d")).unwrap();
    let answer = monitor.ask(&answer.token);
    fs::write(tree.root.join("d/new"), "new").unwrap();
    fs::write(tree.root.join("renamed/2"), "changed").unwrap();
    let answer = monitor.ask(&answer.token);
    assert!(answer.covers(b"d/new") && answer.covers(b"renamed/2"), "{answer:?}");
    assert!(!answer.is_everything(), "{answer:?}");
}

#[test]
fn status_is_the_same_with_and_without() {
    let Some(git) = git::with_monitors() else { return };
    let mut repository = git::Repository::new(git, seed());
    let _monitor = Monitor::start(repository.root());

    // git asks, and looks at what it is told.
    repository.status_with_monitor();
    fs::write(repository.root().join("a/1"), "changed").unwrap();
    let trace = repository.trace_of_status();
    assert!(trace.contains("fsmonitor_refresh_callback 'a/1'"), "it was not asked: {trace}");

    let mut in_use = 0;
    for step in 0..steps() {
        let changes = repository.some_changes();
        let with = repository.status_with_monitor();
        let without = repository.status_without_monitor();
        assert_eq!(with, without, "step {step} of seed {}: {changes:?}", seed());
        in_use += u64::from(!with.is_empty());
    }
    assert!(in_use * 2 > steps(), "most steps should leave something to report: {in_use}");
}

#[test]
fn status_of_several_at_once_is_the_same() {
    let Some(git) = git::with_monitors() else { return };
    let mut repository = git::Repository::new(git, seed() + 1);
    let _monitor = Monitor::start(repository.root());
    repository.status_with_monitor();
    for step in 0..steps() / 10 {
        let changes = repository.some_changes();
        let with = thread::scope(|scope| {
            let all: Vec<_> =
                (0..4).map(|_| scope.spawn(|| repository.status_with_monitor())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        let without = repository.status_without_monitor();
        for with in with {
            assert_eq!(with, without, "step {step} of seed {}: {changes:?}", seed() + 1);
        }
    }
}
