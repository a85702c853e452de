//! The blocking runtime, used as an application would use it: what the suite for all runtimes does
//! not reach.
#![cfg(all(unix, feature = "blocking"))]

#[path = "conformance/bounds.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod bounds;
mod raw_end;

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::thread::JoinHandleExt as _;
use std::panic::panic_any;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use bounds::{Folder, bounded};
use raw_end::read_to_end;
use simple_ipc::blocking::{Client, Finished, Reply, Request, Running, Server, StopHandle};
use simple_ipc::endpoint::BindOptions;
use simple_ipc::{Error, ErrorKind, Phase};

fn echo(request: Request, reply: Reply) -> io::Result<Finished> {
    reply.finish_with(&*request)
}

/// A client that has sent `bytes`.
fn client(folder: &Folder, bytes: &[u8]) -> UnixStream {
    let mut client = UnixStream::connect(folder.path()).unwrap();
    client.write_all(bytes).unwrap();
    client
}

#[test]
fn one_who_is_told_of_a_client_that_went_for_another_can_stop_the_server() {
    bounded(|| {
        let folder = Folder::new();
        let stopper = Arc::new(OnceLock::<StopHandle>::new());
        let stop = stopper.clone();
        let server = Server::bind(folder.path()).unwrap().waiting(1).drain_deadline(Duration::ZERO);
        let server = server.on_error(move |error| {
            assert_eq!(error.kind(), ErrorKind::Aborted);
            stop.get().unwrap().stop();
        });
        let running = server.serve(echo).unwrap();
        stopper.set(running.handle()).unwrap();
        let _clients = [client(&folder, b"0009ab"), client(&folder, b"0009ab")];
        running.join().unwrap();
    });
}

#[test]
fn one_whose_request_has_come_is_served_when_it_goes_for_another() {
    bounded(|| {
        let folder = Folder::new();
        let (told, hears) = channel();
        let (go, gone) = channel::<()>();
        let gone = Mutex::new(gone);
        // With one worker, clients are seen to in the order in which they connect.
        let server = Server::bind(folder.path()).unwrap().exchanges(1).waiting(2);
        let server = server.on_error(move |error| {
            told.send(error.kind()).unwrap();
            let _ = gone.lock().unwrap().recv();
        });
        let running = server.serve(echo).unwrap();
        let [mut first, mut second, mut third] = [(); 3].map(|()| client(&folder, b""));
        // The third has come in its place, so all of them are left to the keeper by now.
        assert_eq!(first.read(&mut [0]).unwrap(), 0);
        // The keeper is told of what is no message, and can hear nobody else meanwhile.
        third.write_all(b"zzzz").unwrap();
        assert!(matches!(hears.recv().unwrap(), ErrorKind::Message(_)));
        second.write_all(b"0009hello0000").unwrap();
        let _others = [(); 2].map(|()| client(&folder, b""));
        let mut answer = [0; 13];
        second.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"0009hello0000");
        drop(go);
        running.stop();
        assert_eq!(running.join().unwrap().aborted, 0);
    });
}

/// Does `work` in a thread that gets signals all the while, so often that none of its waits can
/// come to its end.
fn amid_signals<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    extern "C" fn do_nothing(_: libc::c_int) {}

    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, do_nothing as *const () as libc::sighandler_t) };
    let worker = thread::spawn(work);
    while !worker.is_finished() {
        // SAFETY: a thread's id is valid until it is joined.
        unsafe { libc::pthread_kill(worker.as_pthread_t(), libc::SIGUSR1) };
        thread::sleep(TICK);
    }
    worker.join().unwrap()
}

/// A signal comes that often.
const TICK: Duration = Duration::from_millis(2);
/// Far longer than that.
const DEADLINE: Duration = Duration::from_millis(200);

#[test]
fn signals_give_a_server_no_more_time() {
    bounded(|| {
        let folder = Folder::new();
        let _silent = UnixListener::bind(folder.path()).unwrap();
        let client = Client::new(folder.path()).wait_deadline(DEADLINE).send_deadline(DEADLINE);
        let waiting = client.clone();
        let error = amid_signals(move || waiting.call("request")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline(DEADLINE));
        let error = amid_signals(move || client.call(vec![0; 10_000_000])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline(DEADLINE));
    });
}

#[test]
fn signals_give_a_client_no_more_time() {
    bounded(|| {
        let folder = Folder::new();
        let (told, hears) = channel();
        let server = Server::bind(folder.path()).unwrap().receive_deadline(DEADLINE);
        let running = server.serve_streaming(move |request, reply| {
            let (error, reply) = amid_signals(move || (request.read_all().unwrap_err(), reply));
            told.send(error.downcast::<Error>().unwrap().kind()).unwrap();
            reply.finish()
        });
        let _client = client(&folder, b"0009ab");
        assert_eq!(hears.recv().unwrap(), ErrorKind::Deadline(DEADLINE));
        drop(running);
    });
}

/// A server whose handlers say that they are at work, and answer once what comes last is dropped.
fn busy(server: Server) -> (Running, Receiver<()>, Sender<()>) {
    let (told, hears) = channel();
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let running = server.serve(move |_, reply| {
        let _ = told.send(());
        let _ = gone.lock().unwrap().recv();
        reply.finish()
    });
    (running.unwrap(), hears, go)
}

fn assert_hung_up_on(client: &mut UnixStream) {
    assert_eq!(read_to_end(client), b"");
}

#[test]
fn nothing_of_a_server_is_left_when_it_is_joined() {
    bounded(|| {
        let folder = Folder::new();
        for round in 0..200 {
            let options = BindOptions::new().hold_path(round % 2 == 0).life_lock(round % 3 == 0);
            let server = Server::bind_with(folder.path(), &options).unwrap();
            let (running, at_work, go) = busy(server.exchanges(1).drain_deadline(Duration::ZERO));
            let mut served = client(&folder, b"0000");
            at_work.recv().unwrap();
            let mut in_the_backlog = client(&folder, b"0000");
            running.stop();
            assert_ne!(running.join().unwrap().aborted, 0);
            assert_hung_up_on(&mut served);
            assert_hung_up_on(&mut in_the_backlog);
            assert_eq!(folder.names(), Vec::<PathBuf>::new());
            let next = Server::bind_with(folder.path(), &options).unwrap().serve(echo).unwrap();
            assert_eq!(Client::new(folder.path()).call("next").unwrap(), b"next");
            next.stop();
            assert_eq!(next.join().unwrap().aborted, 0);
            assert_eq!(folder.names(), Vec::<PathBuf>::new());
            drop(go);
        }
    });
}

#[test]
fn who_comes_as_the_server_is_aborted_is_hung_up_on() {
    bounded(|| {
        let folder = Folder::new();
        for round in 0..300 {
            let (running, at_work, go) = busy(Server::bind(folder.path()).unwrap());
            let clients = [(); 4].map(|()| {
                let client = Client::new(folder.path());
                thread::spawn(move || client.call("").unwrap_err())
            });
            // The others are about to be.
            (0..round % 4).for_each(|_| at_work.recv().unwrap());
            running.abort();
            running.join().unwrap();
            // Handlers go on only then.
            clients.into_iter().for_each(|client| drop(client.join().unwrap()));
            drop(go);
        }
    });
}

#[test]
fn a_server_drains_while_others_hold_the_folder() {
    bounded(|| {
        let folder = Folder::new();
        let server = Server::bind(folder.path()).unwrap();
        let (running, at_work, go) = busy(server.exchanges(2));
        let mut served = client(&folder, b"0000");
        at_work.recv().unwrap();
        let mut silent = client(&folder, b"");
        let lock = std::fs::File::open(&folder).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        running.stop();
        assert_hung_up_on(&mut silent);
        drop(go);
        assert_eq!(read_to_end(&mut served), b"0000");
        assert!(folder.path().exists(), "the folder is still held");
        drop(lock);
        assert_eq!(running.join().unwrap().aborted, 0);
        assert!(!folder.path().exists());
    });
}

/// Panics when it is dropped, unless that is why it is.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "a bomb");
    }
}

/// What a handler may fail with.
enum Failing {
    Conversion,
    Text,
    Drop,
}

impl From<Failing> for Box<dyn std::error::Error + Send + Sync> {
    fn from(failing: Failing) -> Self {
        match failing {
            Failing::Conversion => panic!("not converted"),
            Failing::Text => Box::new(Unspeakable(None)),
            Failing::Drop => Box::new(Unspeakable(Some(Bomb))),
        }
    }
}

struct Unspeakable(Option<Bomb>);

impl fmt::Display for Unspeakable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(self.0.is_some(), "not formatted");
        f.write_str("a bomb")
    }
}

impl fmt::Debug for Unspeakable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Unspeakable {}

#[test]
fn whatever_panics_the_server_goes_on() {
    bounded(|| {
        // Who is told formats what it is told.
        let _ = tracing_subscriber::fmt().with_writer(io::sink).try_init();
        let folder = Folder::new();
        let (told, hears) = channel();
        let server = Server::bind(folder.path()).unwrap().exchanges(2).on_error(move |error| {
            told.send((error.phase(), error.kind())).unwrap();
            panic_any(Bomb);
        });
        let running = server.serve(|request, reply| match &*request {
            b"panic" => panic_any(Bomb),
            b"convert" => Err(Failing::Conversion),
            b"format" => Err(Failing::Text),
            b"drop" => Err(Failing::Drop),
            _ => Ok(reply.finish_with(&*request).unwrap_or_else(|error| panic!("{error}"))),
        });
        let running = running.unwrap();
        let client = Client::new(folder.path());
        for request in ["panic", "convert", "format", "drop"] {
            // More often than there are threads and places.
            for _ in 0..5 {
                assert_eq!(client.call(request).unwrap_err().kind(), ErrorKind::NoAnswer);
                assert_eq!(hears.recv().unwrap(), (Phase::Handle, ErrorKind::Aborted));
            }
            assert_eq!(client.call("hello").unwrap(), b"hello");
        }
        running.stop();
        assert_eq!(running.join().unwrap().aborted, 0);
    });
}
