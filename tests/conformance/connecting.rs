//! Clients whose server is busy, gone, or not there yet.

use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use simple_ipc::client::Delivery;
use simple_ipc::connect::{Patience, State};
use simple_ipc::{ErrorKind, Phase};

use crate::bounds::{Folder, PATIENCE};
use crate::seam::{Client, ClientSettings, Connection, RequestWriter};
use crate::wire::{Listener, accept_request, peer, read_to_end};

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
    // What was in the buffer is gone, whatever the outcome.
    let mut answer = b"old".to_vec();
    client.call_into(b"ping", &mut answer).unwrap_err();
    assert_eq!(answer, b"");
    took
}

pub fn nobody_is_there<C: Client>() {
    let folder = Folder::new();
    let settings = ClientSettings::default();
    refused::<C>(&folder.path(), settings, ErrorKind::Endpoint(State::NotFound));
    // On Windows, where no folder is there can be no pipe.
    let no_folder = if cfg!(windows) { State::Invalid } else { State::NotFound };
    let path = folder.as_ref().join("no folder/app.ipc");
    refused::<C>(&path, settings, ErrorKind::Endpoint(no_folder));
}

/// A socket without a server.
#[cfg(unix)]
pub fn nobody_listens_any_more<C: Client>() {
    let folder = Folder::new();
    drop(Listener::bind(&folder.path()).unwrap());
    let not_listening = ErrorKind::Endpoint(State::NotListening);
    refused::<C>(&folder.path(), ClientSettings::default(), not_listening);
    let patient = ClientSettings { wait_if_not_found: Some(LIMIT), ..Default::default() };
    assert!(refused::<C>(&folder.path(), patient, not_listening) >= LIMIT);
}

/// There is no use in waiting for that to change.
#[cfg(unix)]
pub fn something_else_is_there<C: Client>() {
    let folder = Folder::new();
    let patient = ClientSettings { wait_if_not_found: Some(PATIENCE * 10), ..Default::default() };
    std::fs::write(folder.path(), "no socket").unwrap();
    refused::<C>(&folder.path(), patient, ErrorKind::Endpoint(State::Invalid));
    assert_eq!(std::fs::read(folder.path()).unwrap(), b"no socket");
    refused::<C>(folder.as_ref(), patient, ErrorKind::Endpoint(State::Invalid));
    refused::<C>(&folder.path().join("x"), patient, ErrorKind::Endpoint(State::Invalid));
}

pub fn nobody_comes<C: Client>() {
    let folder = Folder::new();
    let settings = ClientSettings { wait_if_not_found: Some(LIMIT), ..Default::default() };
    let took = refused::<C>(&folder.path(), settings, ErrorKind::Endpoint(State::NotFound));
    assert!(took >= LIMIT);
    // The limit on the whole is a limit on this too.
    let settings = ClientSettings {
        wait_if_not_found: Some(PATIENCE * 10),
        total: Some(LIMIT),
        ..Default::default()
    };
    let took = refused::<C>(&folder.path(), settings, ErrorKind::Endpoint(State::NotFound));
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

pub fn the_server_is_busy<C: Client>() {
    let folder = Folder::new();
    let (_listener, _waiting) = Listener::full(&folder.path());
    let at_once = ClientSettings { wait_if_busy: Some(Duration::ZERO), ..Default::default() };
    refused::<C>(&folder.path(), at_once, ErrorKind::Busy);
    let patient = ClientSettings { wait_if_busy: Some(LIMIT), ..Default::default() };
    assert!(refused::<C>(&folder.path(), patient, ErrorKind::Busy) >= LIMIT);
    let total = ClientSettings { wait_if_busy: Some(PATIENCE * 10), total: Some(LIMIT), ..at_once };
    assert!(refused::<C>(&folder.path(), total, ErrorKind::Busy) >= LIMIT);
    // Unless told otherwise, as long as git: on Windows longer than a test has time for.
    if cfg!(unix) {
        let took = refused::<C>(&folder.path(), ClientSettings::default(), ErrorKind::Busy);
        assert!(took >= Patience::GIT);
    }
}

pub fn room_appears<C: Client>() {
    let folder = Folder::new();
    let (listener, waiting) = Listener::full(&folder.path());
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
    let (accepted, is_accepted) = channel();
    let server = peer(&folder.path(), move |listener| {
        for _ in 0..3 {
            let mut stream = listener.accept().unwrap();
            accepted.send(()).unwrap();
            assert_eq!(read_to_end(&mut stream), b"");
        }
    });
    let client = C::new(&folder.path(), ClientSettings::default());
    let connect = || {
        let connection = client.connect().unwrap();
        is_accepted.recv().unwrap();
        connection
    };
    drop(connect());
    drop(connect().request());
    let (request, answer) = connect().request().split();
    drop(request);
    drop(answer);
    server.join().unwrap();
}
