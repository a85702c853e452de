//! Listeners that were made elsewhere.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::thread;

use rustix::fs::{OFlags, fcntl_getfl};
use simple_ipc::blocking::Server;
use simple_ipc::lifecycle::Reason;

use super::support::*;

/// A server to which `listener` is handed as systemd does.
pub(crate) fn activated(runtime: Runtime, listener: OwnedFd) -> Command {
    let told = server(runtime, "/nowhere".as_ref(), "activated=front");
    handed_to(&told, listener)
}

pub(crate) fn handed_to(told: &Command, listener: OwnedFd) -> Command {
    let mut shell = Command::new("/bin/sh");
    // The shell makes it descriptor 3, and tells the process's number.
    shell.args(["-c", "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\""]);
    shell.arg(told.get_program()).args(told.get_args());
    for (name, value) in told.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "front");
    shell.stdin(listener);
    shell
}

#[test]
fn an_adopted_listener_is_neither_unlinked_nor_shut_down_nor_are_its_flags_changed() {
    for &runtime in RUNTIMES {
        for nonblocking in [false, true] {
            let scratch = Scratch::new();
            let path = scratch.path("s");
            let listener = UnixListener::bind(&path).unwrap();
            listener.set_nonblocking(nonblocking).unwrap();
            let ours = listener.try_clone().unwrap();
            let flags = fcntl_getfl(&listener).unwrap();
            let source = Source::Listener(listener.into());
            let serving = {
                let (path, ours) = (path.clone(), ours.try_clone().unwrap());
                thread::spawn(move || {
                    let ending = serve(runtime, source, &Settings::default(), || {
                        assert_eq!(fcntl_getfl(&ours).unwrap(), flags, "while it serves");
                        assert_eq!(flags.contains(OFlags::NONBLOCK), nonblocking);
                    });
                    (ending, path)
                })
            };
            for _ in 0..20 {
                assert_eq!(client(&path).call("x").unwrap(), b"x", "{runtime:?}");
            }
            // Nobody connects any more: what waits must be woken another way.
            client(&path).call("quit").unwrap();
            let (ending, _) = serving.join().unwrap();
            assert_eq!(ending.unwrap().reason, Reason::Quit, "{runtime:?}");
            assert_eq!(fcntl_getfl(&ours).unwrap(), flags);
            let next = UnixStream::connect(&path).expect("it listens still");
            ours.set_nonblocking(false).unwrap();
            ours.accept().expect("it accepts still");
            drop(next);
            // The next server takes it up.
            let again = Server::from_listener(ours).unwrap();
            let again = again.serve(|_, reply| reply.finish_with("again")).unwrap();
            assert_eq!(client(&path).call("x").unwrap(), b"again");
            again.stop();
            again.join().unwrap();
            assert!(path.exists());
        }
    }
}

#[test]
fn an_adopted_listener_that_is_idle_is_woken_to_stop() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let listener = UnixListener::bind(&path).unwrap();
        let settings = Settings { idle: Some(30 * MS), ..Settings::default() };
        let ending = serve(runtime, Source::Listener(listener.into()), &settings, || ());
        assert_eq!(ending.unwrap().reason, Reason::Idle, "{runtime:?}");
        assert!(path.exists());
    }
}

#[test]
fn a_service_manager_hands_its_listener_over_by_listen_fds() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let listener = UnixListener::bind(&path).unwrap();
        // Who connects before the server is there waits for it.
        let early = client(&path).connect().unwrap().send("early").unwrap();
        for _ in 0..2 {
            let handed = listener.try_clone().unwrap().into();
            let mut server = Process::serving(&mut activated(runtime, handed));
            assert_eq!(client(&path).call("x").unwrap(), b"x");
            client(&path).call("quit").unwrap();
            assert_eq!(server.hear(), "ended Quit 0", "{runtime:?}");
            assert!(path.exists());
        }
        assert_eq!(early.read_all().unwrap(), b"early");
    }
}

#[test]
fn a_path_that_was_adopted_is_nobodys_to_watch() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let listener = UnixListener::bind(&path).unwrap();
    let running = Server::from_listener(listener).unwrap();
    assert_eq!(running.path(), path);
    let running = running.serve(|_, reply| reply.finish_with("x")).unwrap();
    fs::rename(&path, scratch.path("t")).unwrap();
    fs::write(&path, "").unwrap();
    thread::sleep(2500 * MS);
    assert_eq!(client(scratch.path("t")).call("").unwrap(), b"x");
    running.stop();
    running.join().unwrap();
    assert_eq!(scratch.names(), ["s", "t"]);
}

#[test]
fn what_does_not_listen_is_not_adopted() {
    let (one, _other) = UnixStream::pair().unwrap();
    assert!(Server::from_listener(one).is_err());
    let network = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(Server::from_listener(network).is_err());
    let file = fs::File::open("/dev/null").unwrap();
    assert!(Server::from_listener(file).is_err());
}
