//! Clients whose server is busy, gone, or not there yet.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use simple_ipc::client::Delivery;
use simple_ipc::connect::State;
use simple_ipc::{ErrorKind, Phase};

use crate::bounds::{Folder, PATIENCE};
use crate::seam::{Client, ClientSettings, Connection};
use crate::wire::{accept_request, peer};

const LIMIT: Duration = Duration::from_millis(50);

#[track_caller]
fn refused<C: Client>(path: &Path, settings: ClientSettings, kind: ErrorKind) -> Duration {
    let client = C::new(path, settings);
    let since = Instant::now();
    let error = client.call(b"ping").unwrap_err();
    let took = since.elapsed();
    let expected = (Phase::Connect, kind, Some(Delivery::NotDelivered));
    assert_eq!((error.phase, error.kind, error.delivery), expected, "{error:?}");
    assert!(took < PATIENCE);
    took
}

pub fn nobody_is_there<C: Client>() {
    let folder = Folder::new();
    let settings = ClientSettings::default();
    refused::<C>(&folder.path(), settings, ErrorKind::Endpoint(State::NotFound));
    drop(UnixListener::bind(folder.path()).unwrap());
    refused::<C>(&folder.path(), settings, ErrorKind::Endpoint(State::NotListening));
    fs::remove_file(folder.path()).unwrap();
    fs::write(folder.path(), "no socket").unwrap();
    // There is no use in waiting for that to change.
    let patient = ClientSettings { wait_if_not_found: Some(PATIENCE * 10), ..settings };
    refused::<C>(&folder.path(), patient, ErrorKind::Endpoint(State::Invalid));
    assert_eq!(fs::read(folder.path()).unwrap(), b"no socket");
    refused::<C>(folder.as_ref(), patient, ErrorKind::Endpoint(State::Invalid));
    refused::<C>(&folder.path().join("x"), patient, ErrorKind::Endpoint(State::Invalid));
    refused::<C>(
        Path::new("/no/such/folder/app.ipc"),
        settings,
        ErrorKind::Endpoint(State::NotFound),
    );
}

pub fn nobody_comes<C: Client>() {
    let folder = Folder::new();
    let settings = ClientSettings { wait_if_not_found: Some(LIMIT), ..Default::default() };
    let took = refused::<C>(&folder.path(), settings, ErrorKind::Endpoint(State::NotFound));
    assert!(took >= LIMIT);
    drop(UnixListener::bind(folder.path()).unwrap());
    let took = refused::<C>(&folder.path(), settings, ErrorKind::Endpoint(State::NotListening));
    assert!(took >= LIMIT);
    // The limit on the whole is a limit on this too.
    let settings = ClientSettings {
        wait_if_not_found: Some(PATIENCE * 10),
        total: Some(LIMIT),
        ..Default::default()
    };
    let took = refused::<C>(&folder.path(), settings, ErrorKind::Endpoint(State::NotListening));
    assert!(took >= LIMIT);
}

pub fn the_server_comes_late<C: Client>() {
    let folder = Folder::new();
    let settings = ClientSettings { wait_if_not_found: Some(PATIENCE), ..Default::default() };
    let client = C::new(&folder.path(), settings);
    let call = thread::spawn(move || client.call(b"ping"));
    let server = peer(&folder.path(), |listener| {
        let mut stream = accept_request(&listener);
        std::io::Write::write_all(&mut stream, b"0008pong0000").unwrap();
    });
    assert_eq!(call.join().unwrap().unwrap(), b"pong");
    server.join().unwrap();
}

/// A listener with no room left, and the connections that fill it.
fn full(path: &Path) -> (UnixListener, Vec<OwnedFd>) {
    let listener = UnixListener::bind(path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = SocketAddrUnix::new(path).unwrap();
    let connect = || {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let socket = rustix::net::socket_with(family, kind, flags, None).unwrap();
        rustix::net::connect(&socket, &address).ok().map(|()| socket)
    };
    let waiting: Vec<_> = std::iter::from_fn(connect).collect();
    assert!(!waiting.is_empty() && waiting.len() < 10);
    (listener, waiting)
}

pub fn the_server_is_busy<C: Client>() {
    let folder = Folder::new();
    let (_listener, _waiting) = full(&folder.path());
    let at_once = ClientSettings { wait_if_busy: Some(Duration::ZERO), ..Default::default() };
    refused::<C>(&folder.path(), at_once, ErrorKind::Busy);
    let patient = ClientSettings { wait_if_busy: Some(LIMIT), ..Default::default() };
    assert!(refused::<C>(&folder.path(), patient, ErrorKind::Busy) >= LIMIT);
    let total = ClientSettings { wait_if_busy: Some(PATIENCE * 10), total: Some(LIMIT), ..at_once };
    assert!(refused::<C>(&folder.path(), total, ErrorKind::Busy) >= LIMIT);
    // Unless told otherwise, as long as git.
    let took = refused::<C>(&folder.path(), ClientSettings::default(), ErrorKind::Busy);
    assert!(took >= Duration::from_secs(1));
}

pub fn room_appears<C: Client>() {
    let folder = Folder::new();
    let (listener, waiting) = full(&folder.path());
    let at_once = ClientSettings { wait_if_busy: Some(Duration::ZERO), ..Default::default() };
    refused::<C>(&folder.path(), at_once, ErrorKind::Busy);
    let patient = ClientSettings { wait_if_busy: Some(PATIENCE), ..Default::default() };
    let client = C::new(&folder.path(), patient);
    let call = thread::spawn(move || client.call(b"ping"));
    for _ in &waiting {
        drop(listener.accept().unwrap());
    }
    let mut stream = accept_request(&listener);
    std::io::Write::write_all(&mut stream, b"0008pong0000").unwrap();
    assert_eq!(call.join().unwrap().unwrap(), b"pong");
}

/// Connecting alone asks for nothing: the server sees a client that hangs up.
pub fn a_connection_that_is_dropped_is_a_probe<C: Client>() {
    let folder = Folder::new();
    let server = peer(&folder.path(), |listener| {
        for _ in 0..3 {
            let (mut stream, _): (UnixStream, _) = listener.accept().unwrap();
            assert_eq!(crate::wire::read_to_end(&mut stream), b"");
        }
    });
    let client = C::new(&folder.path(), ClientSettings::default());
    drop(client.connect().unwrap());
    drop(client.connect().unwrap().request());
    let (request, answer) = crate::seam::RequestWriter::split(client.connect().unwrap().request());
    drop(request);
    drop(answer);
    server.join().unwrap();
}
