//! Servers that are started by their clients.

use std::collections::HashSet;
use std::env;
use std::error::Error as _;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use simple_ipc::blocking::Server;
use simple_ipc::client::Delivery;
use simple_ipc::connect::State;
use simple_ipc::endpoint::{StartFailure, Starter};
use simple_ipc::{Error, ErrorKind, Phase};

use super::support::*;

fn call(runtime: Runtime, path: &Path, starter: &Starter) -> Result<Vec<u8>, Error> {
    call_within(10_000 * MS, runtime, path, starter)
}

/// By a client that would wait for a server for longer, if it did not start one.
fn call_within(
    limit: Duration,
    runtime: Runtime,
    path: &Path,
    starter: &Starter,
) -> Result<Vec<u8>, Error> {
    macro_rules! client {
        ($runtime:ident) => {
            simple_ipc::$runtime::Client::new(path)
                .total_deadline(limit)
                .wait_if_not_found(2 * limit)
        };
    }
    match runtime {
        Runtime::Blocking => client!(blocking).call_or_start(starter, "pid"),
        #[cfg(feature = "tokio")]
        Runtime::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(client!(tokio).call_or_start(starter, "pid"))
        }
        #[cfg(feature = "smol")]
        Runtime::Smol => smol::block_on(client!(smol).call_or_start(starter, "pid")),
    }
}

/// The part of a client that needs a server.
pub(crate) fn call_or_start() {
    let path = PathBuf::from(env::var_os("RENDEZVOUS_PATH").unwrap());
    let told = env::var("RENDEZVOUS_RUNTIME").unwrap();
    let runtime = *RUNTIMES.iter().find(|runtime| format!("{runtime:?}") == told).unwrap();
    say("here");
    std::io::stdin().read_exact(&mut [0]).unwrap();
    let command = server(runtime, &path, &env::var("RENDEZVOUS_OPTIONS").unwrap());
    match call(runtime, &path, &Starter::new(command)) {
        Ok(pid) => say(&String::from_utf8(pid).unwrap()),
        Err(error) => say(&format!("{error}")),
    }
}

/// What all said, in how long, and that all of their output has ended.
fn all_at_once(runtime: Runtime, path: &Path, clients: usize, options: &str) -> Vec<String> {
    let mut clients: Vec<_> = (0..clients)
        .map(|_| {
            let mut part = part("call or start");
            part.env("RENDEZVOUS_PATH", path)
                .env("RENDEZVOUS_RUNTIME", format!("{runtime:?}"))
                .env("RENDEZVOUS_OPTIONS", options);
            Process::start(&mut part)
        })
        .collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.hear(), "here"));
    clients.iter_mut().for_each(|client| client.tell("go"));
    let (sender, all) = mpsc::channel();
    thread::spawn(move || {
        let said = clients.iter_mut().map(Process::hear).collect();
        // The end of each caller's output, though its server lives on.
        clients.iter_mut().for_each(|client| assert_eq!(client.hear(), ""));
        sender.send(said).unwrap();
    });
    all.recv_timeout(Duration::from_secs(20)).expect("every caller's pipe closes")
}

#[test]
fn of_100_clients_at_once_on_a_cold_path_one_starts_the_server_and_all_are_answered() {
    let rounds = rounds(3, 20);
    for round in 0..rounds {
        let runtime = RUNTIMES[round % RUNTIMES.len()];
        let scratch = Scratch::new();
        let path = scratch.path("s");
        if round % 2 == 1 {
            // Not always quite so cold.
            Process::serving(&mut server(runtime, &path, "")).kill();
        }
        let started = scratch.path("started");
        let options = format!("touch={} wait=20", started.display());
        let answers = all_at_once(runtime, &path, 100, &options);
        let servers: HashSet<_> = answers.iter().collect();
        assert_eq!(servers.len(), 1, "round {round}: {servers:?}");
        assert!(answers[0].parse::<u32>().is_ok(), "{}", answers[0]);
        assert_eq!(fs::read(&started).unwrap(), b"x", "round {round}: processes started");
        client(&path).call("quit").unwrap();
        eventually("it ends", || scratch.names() == ["started"]);
    }
}

/// The part of a server that does not start.
pub(crate) fn fail_to_start() {
    eprintln!("there is no such database");
    let attempts = env::var_os("RENDEZVOUS_PATH").unwrap();
    let file = fs::File::options().append(true).create(true).open(attempts);
    std::io::Write::write_all(&mut file.unwrap(), b"x").unwrap();
    std::process::exit(7);
}

fn failure(error: &Error) -> &StartFailure {
    error.source().unwrap().downcast_ref().unwrap()
}

#[test]
fn a_server_that_fails_to_start_reports_its_cause_to_the_caller_in_time() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let since = Instant::now();
        let mut failing = part("fail");
        failing.env("RENDEZVOUS_PATH", scratch.path("attempts"));
        let error = call(runtime, &path, &Starter::new(failing)).unwrap_err();
        assert!(since.elapsed() < 5000 * MS);
        assert_eq!((error.phase(), error.kind()), (Phase::Start, ErrorKind::NotStarted));
        assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
        let failure = failure(&error);
        assert!(failure.cause.contains("exit status: 7"), "{failure:?}");
        assert!(failure.message.ends_with("there is no such database"), "{failure:?}");
        assert!(error.to_string().contains("there is no such database"), "{error}");
        assert_eq!(scratch.names(), ["attempts"]);

        let missing = Starter::new(std::process::Command::new("/no/such/program"));
        let error = call(runtime, &path, &missing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotStarted, "{error}");

        let nowhere = scratch.path("no/such/folder/s");
        let error = call(runtime, &nowhere, &missing).unwrap_err();
        assert_eq!((error.phase(), error.state()), (Phase::Start, Some(State::NotFound)));
        assert!(error.to_string().contains("the folder is missing, make it first"), "{error}");
    }
}

#[test]
fn a_file_in_the_way_of_the_lock_is_left_alone_and_said() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        fs::write(scratch.path(".s.start"), "mine").unwrap();
        let path = scratch.path("s");
        let error = call(runtime, &path, &Starter::new(server(runtime, &path, ""))).unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::Start, ErrorKind::Io));
        assert!(error.to_string().contains(".s.start is in the way"), "{error}");
        assert_eq!(fs::read(scratch.path(".s.start")).unwrap(), b"mine");
        assert_eq!(scratch.names(), [".s.start"]);
    }
}

/// Prints its number, and goes on for as long as it takes, in a process of its own.
fn hanging() -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "sleep 1000 & echo $! >&2; wait"]);
    command
}

#[test]
fn a_server_that_is_not_ready_in_time_is_killed_with_what_it_has_started() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let starter = Starter::new(hanging()).deadline(200 * MS);
        let error = call(runtime, &scratch.path("s"), &starter).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotStarted, "{error}");
        let StartFailure { cause, message, .. } = failure(&error);
        assert_eq!(cause, "it was not ready within 200ms, and was killed");
        let child = PathBuf::from("/proc").join(message);
        eventually("its child ends", || !fs::exists(&child).unwrap() || is_zombie(&child));
        assert_eq!(scratch.names(), [""; 0]);
    }
}

fn is_zombie(process: &Path) -> bool {
    // One that has gone since is none.
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && line.contains('Z'))
}

#[test]
fn the_callers_total_deadline_holds_for_a_start_too() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let starter = Starter::new(hanging()).deadline(2000 * MS);
        let limit = 200 * MS;
        let error = call_within(limit, runtime, &scratch.path("s"), &starter).unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::Start, ErrorKind::TotalDeadline(limit)));
        assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
        // The server is still seen to.
        eventually("it is killed", || scratch.names() == [""; 0]);
    }
}

#[test]
fn those_who_wait_for_a_start_that_fails_learn_its_cause_without_one_more_attempt_each() {
    let scratch = Scratch::new();
    let (path, attempts) = (scratch.path("s"), scratch.path("attempts"));
    let mut failing = part("fail");
    failing.env("RENDEZVOUS_PATH", &attempts);
    let starter = Starter::new(failing);
    let since = Instant::now();
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let error = client(&path).call_or_start(&starter, "x").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotStarted, "{error}");
                assert!(failure(&error).message.ends_with("there is no such database"));
            });
        }
    });
    let attempts = fs::read(attempts).unwrap().len();
    assert!(attempts <= 10, "{attempts} attempts");
    assert!(since.elapsed() < 5000 * MS, "{:?}", since.elapsed());
}

#[test]
fn a_started_server_is_detached_from_its_caller() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        // What a caller may have open without wanting to pass it on.
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let inherited = rustix::io::fcntl_dupfd_cloexec(writer.as_fd(), 200).unwrap();
        fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
        drop(writer);
        let starter = Starter::new(server(runtime, &path, ""));
        let pid = String::from_utf8(call(runtime, &path, &starter).unwrap()).unwrap();
        drop(inherited);
        reader.set_read_timeout(Some(5000 * MS)).unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "{runtime:?}: it was inherited");
        for stream in 0..3 {
            let leads_to = fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
            assert_eq!(leads_to, Path::new("/dev/null"), "{runtime:?}: {stream}");
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap();
        assert_eq!(session, pid, "{runtime:?}: a session of its own");
        client(&path).call("quit").unwrap();
        // Its caller lives on, and yet it leaves no zombie.
        let gone = || !Path::new(&format!("/proc/{pid}")).exists();
        eventually("it is reaped", gone);
        // And is started again when it is needed again.
        assert_ne!(call(runtime, &path, &starter).unwrap(), pid.as_bytes());
        client(&path).call("quit").unwrap();
    }
}

#[test]
fn a_server_that_says_nothing_is_ready_when_it_has_listened_for_a_while() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    // It does not know what its standard input is for.
    let told = server(Runtime::Blocking, &path, "");
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "unset SIMPLE_IPC_READY; exec \"$0\" \"$@\""]);
    shell.arg(told.get_program()).args(told.get_args());
    for (name, value) in told.get_envs() {
        shell.env(name, value.unwrap());
    }
    let pid = client(&path).call_or_start(&Starter::new(shell), "pid").unwrap();
    assert!(String::from_utf8(pid).unwrap().parse::<u32>().is_ok());
    client(&path).call("quit").unwrap();
}

#[test]
fn what_a_killed_starter_leaves_is_in_nobodys_way() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let mut part = part("call or start");
    part.env("RENDEZVOUS_PATH", &path)
        .env("RENDEZVOUS_RUNTIME", "Blocking")
        .env("RENDEZVOUS_OPTIONS", "wait=300");
    let mut killed = Process::start(&mut part);
    assert_eq!(killed.hear(), "here");
    killed.tell("go");
    eventually("it is about to start it", || scratch.path(".s.start").exists());
    killed.kill();
    // Its server comes up by and by; there may be two that start, and one that serves.
    let starter = Starter::new(server(Runtime::Blocking, &path, ""));
    client(&path).call_or_start(&starter, "pid").unwrap();
    client(&path).call("quit").unwrap();
    eventually("it is over", || !path.exists() && !scratch.path(".s.start").exists());
    let _ = client(&path).wait_if_not_found(1000 * MS).call("quit");
}

#[test]
fn where_a_server_is_there_none_is_started() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let running = Server::bind(&path).unwrap().serve(|_, reply| reply.finish_with("old")).unwrap();
    let mut starter = std::process::Command::new("/no/such/program");
    starter.stdin(Stdio::null());
    for &runtime in RUNTIMES {
        assert_eq!(call(runtime, &path, &Starter::new(starter)).unwrap(), b"old");
        starter = std::process::Command::new("/no/such/program");
    }
    running.stop();
    running.join().unwrap();
}
