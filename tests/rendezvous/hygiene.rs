//! Descriptors.

use std::env;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use simple_ipc::blocking::Server;
use simple_ipc::connect::State;
use simple_ipc::endpoint::{self, BindOptions, Starter};

use super::support::*;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The descriptors, once the threads of a server have closed what they are about to.
fn settled() -> usize {
    let (mut count, mut since) = (descriptors(), Instant::now());
    while since.elapsed() < 20 * MS {
        if count != descriptors() {
            (count, since) = (descriptors(), Instant::now());
        }
        std::thread::sleep(MS);
    }
    count
}

/// Repeats `what` and compares the descriptors, once warm.
fn flat(name: &str, repeats: usize, mut what: impl FnMut()) {
    for _ in 0..3 {
        what();
    }
    let before = settled();
    for _ in 0..repeats {
        what();
    }
    // What a thread of ours still holds, it is about to close.
    eventually(name, || descriptors() == before);
}

/// The part of a process in which nothing else happens.
pub(crate) fn count() {
    let folder = PathBuf::from(env::var_os("RENDEZVOUS_PATH").unwrap());
    let path = folder.join("s");
    let long = folder.join("l".repeat(200)).join("s");
    fs::create_dir(long.parent().unwrap()).unwrap();
    let repeats = 1000;

    flat("path not found", repeats, || assert!(client(&path).call("x").is_err()));
    flat("long path not found", repeats, || assert!(client(&long).call("x").is_err()));
    flat("state", repeats, || assert_eq!(endpoint::state(&path), State::NotFound));
    flat("bind and drop", repeats, || drop(Server::bind(&path).unwrap()));
    flat("bind a long path", repeats, || drop(Server::bind(&long).unwrap()));
    let options = BindOptions::new().republish(true).life_lock(true);
    flat("bind with all options", repeats, || drop(Server::bind_with(&path, &options).unwrap()));

    fs::write(&path, "").unwrap();
    flat("call a file", repeats, || assert!(client(&path).call("x").is_err()));
    flat("bind to a file", repeats, || assert!(Server::bind(&path).is_err()));
    fs::remove_file(&path).unwrap();
    flat("bind nowhere", repeats, || assert!(Server::bind(folder.join("no/s")).is_err()));

    flat("dead socket", repeats, || {
        drop(UnixListener::bind(&path).unwrap());
        assert!(client(&path).call("x").is_err());
        drop(Server::bind(&path).unwrap());
    });

    let held = Server::bind(&path).unwrap();
    flat("in use", repeats, || assert!(Server::bind(&path).is_err()));
    flat("another's server", repeats, || {
        assert!(client(&path).require_owner(u32::MAX - 1).call("x").is_err());
    });
    drop(held);

    flat("adopt", repeats, || {
        drop(Server::from_listener(UnixListener::bind(&path).unwrap()).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(Server::from_listener(fs::File::open("/dev/null").unwrap()).is_err());
    });

    let running = Server::bind(&path).unwrap();
    let running = running.allow(|_| false).serve(|_, reply| reply.finish()).unwrap();
    flat("a policy that refuses", repeats, || assert!(client(&path).call("x").is_err()));
    running.stop();
    running.join().unwrap();

    let running = Server::bind(&path).unwrap();
    let running = running.serve(|request, reply| {
        if request.is_empty() { Err(std::io::Error::other("no")) } else { reply.finish() }
    });
    let running = running.unwrap();
    flat("an exchange", repeats, || drop(client(&path).call("x").unwrap()));
    flat("a handler that fails", repeats, || assert!(client(&path).call("").is_err()));
    flat("a probe", repeats, || drop(client(&path).connect().unwrap()));
    running.stop();
    running.join().unwrap();

    flat("serve and stop", 30, || {
        let running = Server::bind(&path).unwrap().serve(|_, reply| reply.finish()).unwrap();
        running.stop();
        running.join().unwrap();
    });

    let missing = Starter::new(std::process::Command::new("/no/such/program"));
    flat("a program that is not there", 100, || {
        assert!(client(&path).call_or_start(&missing, "x").is_err());
    });
    let failing = Starter::new(std::process::Command::new("/bin/false"));
    flat("a start that fails", 30, || {
        assert!(client(&path).call_or_start(&failing, "x").is_err());
    });
    say("flat");
}

#[test]
fn descriptors_are_equal_before_and_after_and_flat_over_a_thousand_repeats_of_each_error() {
    let scratch = Scratch::new();
    let mut counting = part("count");
    counting.env("RENDEZVOUS_PATH", scratch.path(""));
    assert_eq!(Process::start(&mut counting).hear(), "flat");
}
