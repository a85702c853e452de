//! No call of a client hangs: each phase has its limit, and says so.

use std::io::Write;
use std::time::{Duration, Instant};

use simple_ipc::client::Delivery;
use simple_ipc::{ErrorKind, Phase};

use crate::bounds::{Folder, PATIENCE, eventually};
use crate::seam::{
    Answer, Client, ClientSettings, Connection, Failure, RequestWriter, Rest, Writer,
};
use crate::wire::{Listener, Stream, accept_request, pattern, peer};

const LIMIT: Duration = Duration::from_millis(50);

/// Long enough that it is never the one that is meant.
const NOT_THIS: Option<Duration> = Some(Duration::from_secs(300));

fn settings() -> ClientSettings {
    ClientSettings { send: NOT_THIS, wait: NOT_THIS, receive: NOT_THIS, ..Default::default() }
}

/// Expects that an exchange with a server that does `act` and then holds the connection takes the
/// limit, and not much more.
#[track_caller]
fn late<C: Client>(
    settings: ClientSettings,
    act: impl Fn(&Listener) -> Stream + Send + 'static,
    exchange: impl FnOnce(C) -> Failure,
) -> Failure {
    let folder = Folder::new();
    let (over, hold) = std::sync::mpsc::channel::<()>();
    let server = peer(&folder.path(), move |listener| {
        let stream = act(&listener);
        let _ = hold.recv();
        drop(stream);
    });
    let since = Instant::now();
    let error = exchange(C::new(&folder.path(), settings));
    let took = since.elapsed();
    drop(over);
    server.join().unwrap();
    let total = settings.total.map(ErrorKind::TotalDeadline);
    assert_eq!(error.kind, total.unwrap_or(ErrorKind::Deadline(LIMIT)), "{error:?}");
    assert!(took >= LIMIT && took < PATIENCE, "after {took:?}");
    error
}

fn accept(listener: &Listener) -> Stream {
    listener.accept().unwrap()
}

fn begin_answer(listener: &Listener) -> Stream {
    let mut stream = accept_request(listener);
    // On a busy machine the client may have given up already.
    let _ = stream.write_all(b"0009hel");
    stream
}

pub fn on_sending<C: Client>() {
    let settings = ClientSettings { send: Some(LIMIT), ..settings() };
    let error = late::<C>(settings, accept, |client| client.call(&pattern(5_000_000)).unwrap_err());
    let expected = (Phase::Send, ErrorKind::Deadline(LIMIT), Some(Delivery::Incomplete));
    assert_eq!((error.phase, error.kind, error.delivery), expected, "{error:?}");

    let error = late::<C>(settings, accept, |client| {
        let mut request = client.connect().unwrap().request();
        let error = (0..500).find_map(|_| request.write(&pattern(10_000)).err()).unwrap();
        // It cannot look whole afterwards.
        let after = request.finish().err().unwrap();
        assert_eq!((after.phase, after.kind), (Phase::Send, ErrorKind::Aborted), "{after:?}");
        error
    });
    assert_eq!((error.phase, error.delivery), (Phase::Send, Some(Delivery::Incomplete)));
}

/// The end of a request that is on its way when the time is up is not taken later, though the answer
/// keeps the connection open.
#[cfg(windows)]
pub fn on_what_is_on_its_way<C: Client>() {
    let folder = Folder::new();
    let (given_up, read) = std::sync::mpsc::channel::<()>();
    let server = peer(&folder.path(), move |listener| {
        let stream = accept(&listener);
        read.recv().unwrap();
        assert!(crate::wire::Reader::new(stream).read_all().is_err(), "it is whole");
    });
    let settings = ClientSettings { send: Some(LIMIT), ..settings() };
    let client = C::new(&folder.path(), settings);
    let (mut request, answer) = client.connect().unwrap().request().split();
    // More than the pipe holds, all of it under way at once.
    request.write(&pattern(100_000)).unwrap();
    let error = request.finish().unwrap_err();
    assert_eq!(error.delivery, Some(Delivery::Incomplete), "{error:?}");
    given_up.send(()).unwrap();
    // Time to take it, if that could be.
    std::thread::sleep(LIMIT);
    drop(answer);
    server.join().unwrap();
}

pub fn on_waiting<C: Client>() {
    let settings = ClientSettings { wait: Some(LIMIT), ..settings() };
    let expected = (Phase::Wait, ErrorKind::Deadline(LIMIT), Some(Delivery::Unknown));
    let error = late::<C>(settings, accept_request, |client| client.call(b"ping").unwrap_err());
    assert_eq!((error.phase, error.kind, error.delivery), expected, "{error:?}");
    let error = late::<C>(settings, accept_request, |client| {
        client.connect().unwrap().send(b"ping").unwrap().read(&mut [0; 10]).unwrap_err()
    });
    assert_eq!((error.phase, error.kind, error.delivery), expected, "{error:?}");
}

pub fn on_receiving<C: Client>() {
    let settings = ClientSettings { receive: Some(LIMIT), ..settings() };
    let expected = (Phase::Receive, ErrorKind::Deadline(LIMIT), Some(Delivery::Unknown));
    let error = late::<C>(settings, begin_answer, |client| client.call(b"ping").unwrap_err());
    assert_eq!((error.phase, error.kind, error.delivery), expected, "{error:?}");
    let error = late::<C>(settings, begin_answer, |client| {
        let mut answer = client.connect().unwrap().send(b"ping").unwrap();
        answer.expect(b"hel");
        answer.read(&mut [0; 10]).unwrap_err()
    });
    assert_eq!((error.phase, error.kind, error.delivery), expected, "{error:?}");
}

/// No server needs to answer before the request is whole, however long that takes.
pub fn on_an_answer_to_a_request_that_is_being_written<C: Client>() {
    let settings = ClientSettings { wait: Some(LIMIT), receive: Some(LIMIT), ..settings() };
    for (begun, phase) in [(&b""[..], Phase::Wait), (b"0009hel", Phase::Receive)] {
        let folder = Folder::new();
        let server = peer(&folder.path(), move |listener| {
            let mut stream = accept(&listener);
            stream.write_all(begun).unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        });
        let client = C::new(&folder.path(), settings);
        let (request, mut answer) = client.connect().unwrap().request().split();
        let reader = std::thread::spawn(move || {
            answer.expect(begun.get(4..).unwrap_or_default());
            let error = answer.read(&mut [0; 10]).unwrap_err();
            (error, Instant::now())
        });
        std::thread::sleep(3 * LIMIT);
        let ended = Instant::now();
        request.finish().unwrap();
        let (error, at) = reader.join().unwrap();
        server.join().unwrap();
        assert_eq!((error.phase, error.kind), (phase, ErrorKind::Deadline(LIMIT)), "{error:?}");
        assert!(at >= ended + LIMIT, "{error:?}: {:?} too early", (ended + LIMIT) - at);
    }
}

pub fn on_the_whole<C: Client>() {
    let settings = ClientSettings { total: Some(LIMIT), ..settings() };
    let long = |client: C| client.call(&pattern(5_000_000)).unwrap_err();
    let short = |client: C| client.call(b"ping").unwrap_err();
    // On a busy machine the time may be up before the phase that is meant has come.
    eventually("in Send", || late(settings, accept, long).phase == Phase::Send);
    eventually("in Wait", || late(settings, accept_request, short).phase == Phase::Wait);
    eventually("in Receive", || late(settings, begin_answer, short).phase == Phase::Receive);
}

/// An answer that keeps coming is not cut, though its whole takes longer than each other limit; but
/// the limit on the whole cuts it.
pub fn on_an_answer_that_keeps_coming<C: Client>() {
    let folder = Folder::new();
    let server = peer(&folder.path(), |listener| {
        let mut stream = accept_request(&listener);
        // As long as the client listens.
        while stream.write_all(b"0005x").is_ok() {
            std::thread::yield_now();
        }
    });
    let settings = ClientSettings { total: Some(2 * LIMIT), receive: Some(LIMIT), ..settings() };
    let since = Instant::now();
    let mut answer = C::new(&folder.path(), settings).connect().unwrap().send(b"ping").unwrap();
    let error = loop {
        match answer.read(&mut [0; 4096]) {
            Ok(n) => assert_ne!(n, 0),
            Err(error) => break error,
        }
        assert!(since.elapsed() < PATIENCE, "the limit on the whole does nothing");
    };
    drop(answer);
    server.join().unwrap();
    assert_eq!((error.phase, error.kind), (Phase::Receive, ErrorKind::TotalDeadline(2 * LIMIT)));
    assert!(error.text.contains("it was not over within 100ms"), "{error:?}");
}

/// The limit on the whole holds for what need not be waited for, too.
pub fn on_what_could_go_on_at_once<C: Client>() {
    let folder = Folder::new();
    let server = peer(&folder.path(), |listener| {
        let mut stream = accept_request(&listener);
        // All of it is there when the client reads.
        stream.write_all(b"0009hello0000").unwrap();
        // And there is room for all of this one's request.
        drop(listener.accept().unwrap());
    });
    // Long enough to come so far on a busy machine.
    let limit = 10 * LIMIT;
    let client = C::new(&folder.path(), ClientSettings { total: Some(limit), ..settings() });
    let is_over = ErrorKind::TotalDeadline(limit);
    let mut answer = client.connect().unwrap().send(b"ping").unwrap();
    let mut request = client.connect().unwrap().request();
    std::thread::sleep(limit);

    let error = answer.read(&mut [0; 10]).unwrap_err();
    let expected = (Phase::Wait, is_over, Some(Delivery::Unknown));
    assert_eq!((error.phase, error.kind, error.delivery), expected, "{error:?}");

    let error = request.write(b"some").and_then(|()| request.flush()).unwrap_err();
    let expected = (Phase::Send, is_over, Some(Delivery::NotDelivered));
    assert_eq!((error.phase, error.kind, error.delivery), expected, "{error:?}");
    server.join().unwrap();
}
