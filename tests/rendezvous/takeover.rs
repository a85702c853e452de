//! Servers that start on one path: at once, after each other, after a crash.

use std::fs;
use std::io::BufRead as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use simple_ipc::blocking::Server;
use simple_ipc::connect::State;
use simple_ipc::endpoint::{self, BindOptions};
use simple_ipc::lifecycle::Reason;
use simple_ipc::{ErrorKind, Phase};

use super::support::*;

/// The part of one of many servers: each line is an order.
pub(crate) fn contend() {
    let path = std::env::var_os("RENDEZVOUS_PATH").unwrap();
    let mut held = None;
    for order in std::io::stdin().lock().lines() {
        match order.unwrap().as_str() {
            "start" => match Server::bind(&path) {
                Ok(server) => {
                    let me = std::process::id().to_string();
                    let serve = server.exchanges(1).serve(move |_, reply| reply.finish_with(&me));
                    held = Some(serve.unwrap());
                    say("serving");
                }
                Err(error) => say(&format!("{:?} {error}", error.kind())),
            },
            "stop" => {
                if let Some(running) = held.take() {
                    running.stop();
                    running.join().unwrap();
                }
                say("stopped");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn of_fifty_servers_started_at_once_one_serves_and_the_others_say_in_use() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let mut servers: Vec<_> =
        (0..50).map(|_| Process::start(part("contend").env("RENDEZVOUS_PATH", &path))).collect();
    for round in 0..rounds(20, 100) {
        servers.iter_mut().for_each(|server| server.tell("start"));
        let mut serving = Vec::new();
        for server in &mut servers {
            match server.hear() {
                said if said == "serving" => serving.push(server.child.id().to_string()),
                said => assert!(said.starts_with("InUse"), "round {round}: {said}"),
            }
        }
        assert_eq!(serving.len(), 1, "round {round}");
        assert_eq!(client(&path).call("").unwrap(), serving[0].as_bytes(), "round {round}");
        for server in &mut servers {
            server.tell("stop");
            assert_eq!(server.hear(), "stopped");
        }
        assert!(scratch.names().is_empty(), "{:?}", scratch.names());
    }
}

/// The part of a server that starts, serves and stops, again and again.
pub(crate) fn cycle() {
    let path = std::env::var_os("RENDEZVOUS_PATH").unwrap();
    if let Ok(umask) = std::env::var("UMASK") {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask.parse().unwrap()));
    }
    let options = BindOptions::new()
        .republish(std::process::id() % 2 == 0)
        .life_lock(std::process::id() % 3 == 0);
    say("cycling");
    loop {
        let running = Server::bind_with(&path, &options)
            .unwrap()
            .exchanges(2)
            .serve(|request, reply| reply.finish_with(&*request))
            .unwrap();
        thread::sleep(MS / 2);
        running.stop();
        running.join().unwrap();
    }
}

#[test]
fn after_a_kill_at_any_instant_the_next_start_succeeds_and_clients_need_one_more_attempt() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let done = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let mut random = Random::new();
    thread::scope(|scope| {
        // In mid-exchange when servers are killed; what becomes of it is theirs to see.
        let busy = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if client(&path)
                    .call(vec![b'x'; 300_000])
                    .is_ok_and(|answer| answer.len() == 300_000)
                {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for round in 0..rounds(60, 500) {
            let mut cycling = Process::start(part("cycle").env("RENDEZVOUS_PATH", &path));
            assert_eq!(cycling.hear(), "cycling");
            thread::sleep(random.below(4000) as u32 * MS / 1000);
            cycling.kill();

            let started = Instant::now();
            let server = Server::bind(&path)
                .unwrap_or_else(|error| panic!("round {round}: {error}; {:?}", scratch.names()));
            assert!(started.elapsed() < 5000 * MS, "round {round}: {:?}", started.elapsed());
            let running = server.serve(|request, reply| reply.finish_with(&*request)).unwrap();
            let client = client(&path);
            let answer = client.call("again").or_else(|_| client.call("again"));
            assert_eq!(answer.unwrap(), b"again", "round {round}");
            running.stop();
            running.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        busy.join().unwrap();
    });
    assert!(answered.into_inner() > 0, "none was ever in mid-exchange");
    let left = scratch.names();
    assert!(left.iter().all(|name| name == ".s.life"), "{left:?}");
}

#[test]
fn while_servers_take_over_from_killed_ones_no_client_sees_path_not_found() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let mut current = Process::serving(&mut server(RUNTIMES[0], &path, ""));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                assert_ne!(endpoint::state(&path), State::NotFound);
                let call = client(&path).call("x").map_err(|error| error.state());
                assert_ne!(call, Err(Some(State::NotFound)));
                looks += 1;
            }
            looks
        });
        for round in 0..rounds(45, 200) {
            current.kill();
            let runtime = RUNTIMES[round % RUNTIMES.len()];
            current = Process::serving(&mut server(runtime, &path, ""));
            assert_eq!(
                client(&path).call("pid").unwrap(),
                current.child.id().to_string().as_bytes(),
                "round {round}"
            );
        }
        done.store(true, Ordering::Relaxed);
        assert!(looking.join().unwrap() > 100);
    });
}

#[test]
fn a_server_that_is_stopped_by_sigstop_is_late_for_clients_and_alive_for_servers() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let stopped = Process::serving(&mut server(runtime, &path, ""));
        stopped.signal(Signal::STOP);
        let state = format!("/proc/{}/stat", stopped.child.id());
        eventually("it is stopped", || fs::read_to_string(&state).unwrap().contains(") T "));
        let since = Instant::now();
        let error = client(&path).wait_deadline(200 * MS).call("x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline(200 * MS), "{runtime:?}");
        assert_eq!(error.phase(), Phase::Wait);
        assert!(since.elapsed() < 2000 * MS);
        assert_eq!(endpoint::state(&path), State::Listening);
        assert_kind(Server::bind(&path), ErrorKind::InUse);
        stopped.signal(Signal::CONT);
        assert_eq!(client(&path).call("x").unwrap(), b"x");
    }
}

#[test]
fn a_server_with_a_full_backlog_is_busy_for_clients_and_alive_for_servers() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let waiting: Vec<_> =
        (0..8).map_while(|_| client(&path).wait_if_busy(Duration::ZERO).connect().ok()).collect();
    assert!(waiting.len() < 8, "the backlog is never full");
    assert_kind(client(&path).wait_if_busy(50 * MS).call("x"), ErrorKind::Busy);
    assert_kind(Server::bind(&path), ErrorKind::InUse);
}

#[test]
fn what_is_no_socket_is_left_untouched() {
    let scratch = Scratch::new();
    let invalid = ErrorKind::Endpoint(State::Invalid);
    fs::write(scratch.path("file"), "kept").unwrap();
    fs::create_dir(scratch.path("folder")).unwrap();
    symlink(scratch.path("file"), scratch.path("to file")).unwrap();
    symlink(scratch.path("folder"), scratch.path("to folder")).unwrap();
    symlink(scratch.path("nothing"), scratch.path("dangling")).unwrap();
    let before = scratch.names();
    for name in &before {
        assert_kind(Server::bind(scratch.path(name)), invalid);
    }
    assert_eq!(scratch.names(), before);
    assert_eq!(fs::read(scratch.path("file")).unwrap(), b"kept");
    assert_kind(Server::bind(scratch.path("file").join("s")), invalid);
    assert_kind(Server::bind(scratch.path("nowhere/s")), ErrorKind::Endpoint(State::NotFound));
}

#[test]
fn a_symbolic_link_to_a_socket_is_in_use_or_invalid_and_stays() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    symlink("s", scratch.path("link")).unwrap();
    let running = Server::bind(&path).unwrap().serve(|_, reply| reply.finish()).unwrap();
    assert_kind(Server::bind(scratch.path("link")), ErrorKind::InUse);
    client(scratch.path("link")).call("clients follow it").unwrap();
    running.stop();
    running.join().unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert_kind(Server::bind(scratch.path("link")), ErrorKind::Endpoint(State::Invalid));
    assert!(fs::symlink_metadata(scratch.path("link")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
}

/// The rule of systems where a full backlog refuses, forced here.
#[test]
fn where_a_refusal_proves_nothing_only_a_life_lock_permits_to_displace() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let strict = BindOptions::new().life_lock(true);

    // A dead socket of which nothing is known.
    drop(UnixListener::bind(&path).unwrap());
    let before = fs::symlink_metadata(&path).unwrap().ino();
    let refused = ErrorKind::Endpoint(State::NotListening);
    assert_kind(Server::bind_with(&path, &strict), refused);
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before);
    fs::remove_file(&path).unwrap();

    // One of ours, killed; twice, so that one has taken over from another.
    for _ in 0..2 {
        let mut killed = Process::serving(&mut server(Runtime::Blocking, &path, "life"));
        assert_kind(Server::bind_with(&path, &strict), ErrorKind::InUse);
        killed.kill();
        assert_eq!(endpoint::state(&path), State::NotListening);
    }
    // Somebody replaces it: what was known was of another socket.
    fs::remove_file(&path).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert_kind(Server::bind_with(&path, &strict), refused);
    fs::remove_file(&path).unwrap();

    let server = Server::bind_with(&path, &strict).unwrap();
    assert_eq!(scratch.names(), [".s.life", "s"]);
    drop(server);
    assert!(scratch.names().is_empty(), "{:?}", scratch.names());
}

#[test]
fn a_path_that_is_held_until_drained_is_in_use_and_then_free() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let mut draining = Process::serving(&mut server(runtime, &path, "hold"));
        let slow = client(&path).connect().unwrap().send("slow 400").unwrap();
        eventually("its exchange is under way", || client(&path).call("x").is_ok());
        client(&path).call("quit").unwrap();
        // Refused, and yet alive.
        eventually("it stops", || endpoint::state(&path) == State::NotListening);
        assert_kind(Server::bind(&path), ErrorKind::InUse);
        assert_eq!(slow.read_all().unwrap(), b"slow");
        assert_eq!(draining.hear(), "ended Quit 0", "{runtime:?}");
        eventually("the path is free", || Server::bind(&path).is_ok());
    }
}

#[test]
fn a_second_server_starts_while_the_first_drains() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let mut first = Process::serving(&mut server(runtime, &path, ""));
        let slow = client(&path).connect().unwrap().send("slow 300").unwrap();
        eventually("its exchange is under way", || client(&path).call("x").is_ok());
        client(&path).call("quit").unwrap();
        eventually("the path goes first", || endpoint::state(&path) == State::NotFound);
        let _second = Process::serving(&mut server(runtime, &path, ""));
        assert_eq!(slow.read_all().unwrap(), b"slow");
        assert_eq!(first.hear(), "ended Quit 0", "{runtime:?}");
        assert_eq!(
            client(&path).call("x").unwrap(),
            b"x",
            "the first removes only what is its own"
        );
    }
}

#[test]
fn theft_is_noticed_within_5_s_while_64_clients_are_busy() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let mut robbed = Process::serving(&mut server(runtime, &path, ""));
        // By another name they still reach it.
        let other_name = scratch.path("t");
        fs::hard_link(&path, &other_name).unwrap();
        let busy = thread::scope(|scope| {
            let clients: Vec<_> = (0..64)
                .map(|_| {
                    scope.spawn(|| {
                        let mut answers = 0;
                        while client(&other_name).call("slow 20").is_ok() {
                            answers += 1;
                        }
                        answers
                    })
                })
                .collect();
            thread::sleep(50 * MS);
            fs::remove_file(&path).unwrap();
            let _thief = UnixListener::bind(&path).unwrap();
            let stolen = Instant::now();
            let answers: Vec<u32> = clients.into_iter().map(|busy| busy.join().unwrap()).collect();
            assert!(stolen.elapsed() < 5000 * MS, "{runtime:?}: {:?}", stolen.elapsed());
            answers
        });
        assert!(busy.into_iter().min() > Some(0));
        assert_eq!(robbed.hear(), "ended PathLost 0", "{runtime:?}");
        assert!(path.exists(), "the thief's is not its own to remove");
    }
}

#[test]
fn a_path_that_is_merely_gone_is_published_again() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let mut server = Process::serving(&mut server(runtime, &path, "republish"));
        let inode = fs::symlink_metadata(&path).unwrap().ino();
        fs::remove_file(&path).unwrap();
        let took = eventually("published again", || path.exists());
        assert!(took < 5000 * MS);
        assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), inode);
        assert_eq!(client(&path).call("x").unwrap(), b"x");
        // Not over somebody else.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        assert_eq!(server.hear(), "ended PathLost 0", "{runtime:?}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(scratch.names(), ["s"]);
    }
}

#[test]
fn how_it_ended_is_told() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let settings = Settings { idle: Some(MS), ..Settings::default() };
        let source = Source::Path(path.clone(), BindOptions::new());
        let ending = serve(runtime, source, &settings, || ()).unwrap();
        assert_eq!(ending.reason, Reason::Idle);
        assert!(scratch.names().is_empty());
    }
}
