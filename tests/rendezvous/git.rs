//! Beside git's own server.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use simple_ipc::ErrorKind;
use simple_ipc::blocking::Server;

use super::support::*;

fn test_tool() -> Option<Command> {
    let tool = env::var_os("GIT_TEST_TOOL").map(Command::new);
    if tool.is_none() {
        eprintln!("skipped: it needs GIT_TEST_TOOL, the path of git's t/helper/test-tool");
    }
    tool
}

fn run_daemon(mut tool: Command, path: &Path) -> Child {
    let mut name = std::ffi::OsString::from("--name=");
    name.push(path);
    tool.args(["simple-ipc", "run-daemon", "--threads=2"]).arg(name);
    tool.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn gits_server_and_ours_on_one_path_never_both_serve() {
    if test_tool().is_none() {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let mut random = Random::new();
    let mut ours_won = 0;
    let rounds = rounds(24, 100);
    for round in 0..rounds {
        let mut git = run_daemon(test_tool().unwrap(), &path);
        std::thread::sleep(random.below(3000) as u32 * MS / 1000);
        match Server::bind(&path) {
            Ok(server) => {
                ours_won += 1;
                let ours = server.serve(|_, reply| reply.finish_with("ours")).unwrap();
                let mut status = None;
                eventually("git gives up", || {
                    status = git.try_wait().unwrap();
                    status.is_some()
                });
                assert!(!status.unwrap().success(), "round {round}: both serve");
                assert_eq!(client(&path).call("ping").unwrap(), b"ours", "round {round}");
                ours.stop();
                ours.join().unwrap();
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InUse, "round {round}: {error}");
                let answer = client(&path).wait_if_not_found(1000 * MS).call("ping");
                assert_eq!(answer.unwrap(), b"pong", "round {round}");
                if round % 2 == 0 {
                    // Its dead socket is for the next.
                    git.kill().unwrap();
                } else {
                    let _ = client(&path).call("quit");
                }
                git.wait().unwrap();
            }
        }
        let left = scratch.names();
        assert!(left.iter().all(|name| name == "s"), "round {round}: {left:?}");
    }
    eprintln!("ours won {ours_won} of {rounds}");
}

#[test]
fn gits_server_does_not_start_where_ours_serves() {
    let Some(tool) = test_tool() else { return };
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let _ours = Process::serving(&mut server(Runtime::Blocking, &path, ""));
    assert!(!run_daemon(tool, &path).wait().unwrap().success());
    assert_eq!(client(&path).call("x").unwrap(), b"x");
}

/// The part of git's server, stopped at the worst instant.
pub(crate) fn hold_lock() {
    let lock = env::var_os("RENDEZVOUS_PATH").unwrap();
    let _held = File::options().read(true).write(true).create_new(true).open(lock).unwrap();
    say("held");
    std::thread::sleep(60_000 * MS);
}

#[test]
fn a_lock_that_is_held_open_is_respected_and_one_of_a_killed_process_is_broken() {
    let scratch = Scratch::new();
    let (path, lock) = (scratch.path("s"), scratch.path("s.lock"));
    for has_dead_socket in [false, true] {
        if has_dead_socket {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        }
        let mut holder = Process::start(part("hold lock").env("RENDEZVOUS_PATH", &lock));
        assert_eq!(holder.hear(), "held");
        let since = Instant::now();
        assert_kind(Server::bind(&path), ErrorKind::InUse);
        assert!(since.elapsed() < 5000 * MS);
        assert!(lock.exists());
        assert_eq!(path.exists(), has_dead_socket);
        holder.kill();
        assert!(lock.exists(), "it did not live to remove it");
        let server = Server::bind(&path).unwrap();
        assert_eq!(scratch.names(), ["s"]);
        drop(server);
    }
    // Open for reading only is open too.
    fs::write(&lock, "").unwrap();
    let reader = File::open(&lock).unwrap();
    assert_kind(Server::bind(&path), ErrorKind::InUse);
    drop(reader);
    Server::bind(&path).unwrap();
}

#[test]
fn a_lock_that_one_of_ours_left_is_broken_at_once() {
    let scratch = Scratch::new();
    let lock = scratch.path("s.lock");
    std::os::unix::fs::symlink("simple-ipc 1", &lock).unwrap();
    let since = Instant::now();
    let _server = Server::bind(scratch.path("s")).unwrap();
    assert!(since.elapsed() < 900 * MS);
    assert_eq!(scratch.names(), ["s"]);
    // Anybody else's link is not ours to break.
    std::os::unix::fs::symlink("elsewhere", scratch.path("t.lock")).unwrap();
    assert_kind(Server::bind(scratch.path("t")), ErrorKind::InUse);
}
