//! Servers under bare bytes: recorded, cut short, malformed, slow and silent ones.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use simple_ipc::exchange::MessageError;
use simple_ipc::lifecycle::Reason;
use simple_ipc::pkt_line::Header;
use simple_ipc::{ErrorKind, Phase};

use crate::app::App;
use crate::bounds::{Folder, eventually};
use crate::seam::{Reports, Running, Served, Server, ServerSettings};
use crate::wire::{Reader, assert_same, frame, read_to_end, send, vector};

/// What git's client sent is answered with the bytes that git's server sent.
pub fn recorded_traffic<S: Server>() {
    let served = Served::<S>::start(App::commands());
    for name in ["probe", "ping", "unknown-command", "big", "chunk", "sendbytes-A100000"] {
        let [request, recorded] =
            ["request", "response"].map(|way| vector(&format!("{name}.{way}")));
        // All at once, and in pieces that end inside headers and packets.
        for piece in [usize::MAX, 65521, 3].map(|piece| piece.min(request.len().max(1))) {
            let mut stream = UnixStream::connect(served.path()).unwrap();
            // Small pieces of long requests would only repeat themselves.
            let (begin, rest) = request.split_at(request.len().min(3000 * piece));
            begin.chunks(piece).for_each(|piece| stream.write_all(piece).unwrap());
            stream.write_all(rest).unwrap();
            if request.is_empty() {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            let answer = read_to_end(&mut stream);
            if name == "chunk" {
                // Where the packets are cut means nothing.
                let payload = |wire: &[u8]| Reader::new(wire).read_all().unwrap();
                assert_same(&payload(&answer), &payload(&recorded));
            } else {
                assert_same(&answer, &recorded);
            }
        }
    }
    let [request, recorded] = ["request", "response"].map(|way| vector(&format!("quit.{way}")));
    assert_same(&read_to_end(&mut send(&served.path(), &request)), &recorded);
    served.ended(Reason::Quit);
}

pub fn more_recorded_requests<S: Server>() {
    let served = Served::<S>::start(App::commands());
    for name in ["sendbytes-B65506", "sendbytes-C65507"] {
        let [request, recorded] =
            ["request", "response"].map(|way| vector(&format!("{name}.{way}")));
        for cut in [1, 3, 4, 5, 65519, 65520, 65521, request.len() - 4, request.len() - 1] {
            let (begin, rest) = request.split_at(cut.min(request.len()));
            let mut stream = send(&served.path(), begin);
            stream.write_all(rest).unwrap();
            assert_same(&read_to_end(&mut stream), &recorded);
        }
    }
    served.end();
}

/// A request cut at every byte is no request: nobody handles it and nobody answers it.
pub fn requests_cut_short<S: Server>() {
    let served = Served::<S>::start(App::commands());
    let wire = b"0006pi0006ng0000";
    for cut in 0..wire.len() {
        // The client has gone,
        drop(send(&served.path(), &wire[..cut]));
        // or it sends no more and waits for an answer.
        let mut stream = send(&served.path(), &wire[..cut]);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stream), b"", "an answer to {cut} bytes");
        if cut > 0 {
            for report in served.reported(2) {
                let truncated = (Phase::Receive, ErrorKind::Truncated);
                assert_eq!((report.phase, report.kind), truncated, "{report:?}");
            }
        }
    }
    assert_eq!(served.app.handled(), 0);
    served.assert_alive();
    served.end();
}

pub fn a_client_that_sends_no_more_gets_its_answer<S: Server>() {
    let served = Served::<S>::start(App::commands());
    for request in [&b"0008ping0000"[..], b"0006PI0008NG\n\n0000", b"000Aunheard0000"[..0].as_ref()]
    {
        let mut stream = send(&served.path(), request);
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = read_to_end(&mut stream);
        assert_eq!(answer.is_empty(), request.is_empty());
        assert!(request.is_empty() || answer.ends_with(b"0000"));
    }
    served.end();
}

/// Headers are read in either case, and what follows a flush packet is not looked at.
pub fn what_is_let_pass<S: Server>() {
    let served = Served::<S>::start(App::echo());
    for (request, answer) in [
        (&b"000Aabcdef0000"[..], &b"000aabcdef0000"[..]),
        (b"0000", b"0000"),
        (b"0008ping0000zzzz", b"0008ping0000"),
        (b"00000008ping0000", b"0000"),
    ] {
        let mut stream = send(&served.path(), request);
        let mut got = vec![0; answer.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, answer);
        assert_eq!(read_to_end(&mut stream), b"");
    }
    served.end();
}

/// A long request that has come before its connection is accepted is received in turns, to its
/// end, although nothing new announces the rest of it.
pub fn a_long_request_that_was_there_before<S: Server>() {
    let (folder, reports, app) = (Folder::new(), Reports::default(), App::echo());
    let server = S::bind(&folder.path(), ServerSettings::default(), reports.clone()).unwrap();
    let mut stream = UnixStream::connect(folder.path()).unwrap();
    let request = frame(&vec![b'l'; 3 << 20]);
    // As much of it as the system lets a socket hold.
    rustix::net::sockopt::set_socket_send_buffer_size(&stream, request.len()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut rest = &request[..];
    while let Ok(sent @ 1..) = stream.write(rest) {
        rest = &rest[sent..];
    }
    stream.set_nonblocking(false).unwrap();
    let running = server.serve(app.clone());
    let served = Served::<S> { app, reports, running, folder };
    stream.write_all(rest).unwrap();
    assert_same(&read_to_end(&mut stream), &request);
    served.end();
}

/// The server hangs up on what is no message, and says what it saw.
pub fn malformed_requests<S: Server>() {
    let served = Served::<S>::start(App::commands());
    let unexpected = |offset, header| Some(MessageError::Unexpected { offset, header });
    for (flaw, header) in [
        ("0001", Some(Header::Delimiter)),
        ("0002", Some(Header::ResponseEnd)),
        ("0004", Some(Header::Empty)),
        ("0003", None),
        ("fff1", None),
        ("ffff", None),
        ("zzzz", None),
        ("+001", None),
        (" 004", None),
        ("0x10", None),
        ("00\n8", None),
        ("\0\0\0\0", None),
    ] {
        for before in ["", "0008ping", "0006pi0006ng"] {
            let request = [before, flaw, "0008ping0000"].concat();
            let mut stream = send(&served.path(), request.as_bytes());
            assert_eq!(read_to_end(&mut stream), b"", "an answer to {request:?}");
            served.reported_one(|report| {
                let ErrorKind::Message(error) = report.kind else { return false };
                report.phase == Phase::Receive
                    && error.bytes().is_some_and(|bytes| bytes == flaw.as_bytes())
                    && header.map_or(matches!(error, MessageError::Packet(_)), |header| {
                        Some(error) == unexpected(before.len() as u64, header)
                    })
            });
        }
    }
    assert_eq!(served.app.handled(), 0);
    served.assert_alive();
    served.end();
}

/// Malformed at its very first byte: there is no need to wait for more.
pub fn a_malformed_request_is_not_waited_for<S: Server>() {
    let served = Served::<S>::start(App::commands());
    let mut stream = send(&served.path(), b"0001");
    assert_eq!(read_to_end(&mut stream), b"");
    served.reported(1);
    served.end();
}

/// Silent clients, and those who have sent half a header or half a packet, hold nothing that
/// others need, however many there are.
pub fn silent_clients_lock_nobody_out<S: Server>() {
    let settings = ServerSettings { exchanges: Some(4), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    for times in [1, 10] {
        let held: Vec<_> = ["", "00", "0008pi", "0008ping", "0008ping000"]
            .iter()
            .flat_map(|sent| (0..4 * times).map(|_| (send(&served.path(), sent.as_bytes()), *sent)))
            .collect();
        for _ in 0..5 {
            served.assert_alive();
        }
        // Each may still go on.
        for (mut stream, sent) in held {
            stream.write_all(&b"0008ping0000"[sent.len()..]).unwrap();
            assert_eq!(read_to_end(&mut stream), b"0008pong0000");
        }
    }
    served.end();
}

/// They are let go when the server ends.
pub fn silent_clients_do_not_keep_a_server<S: Server>() {
    let served = Served::<S>::start(App::commands());
    let mut silent: Vec<_> = (0..50).map(|_| send(&served.path(), b"")).collect();
    served.assert_alive();
    served.end();
    silent.iter_mut().for_each(|silent| assert_eq!(read_to_end(silent), b""));
}

/// Those who have begun are not waited for longer than the drain deadline.
pub fn half_requests_do_not_keep_a_server<S: Server>() {
    let settings = ServerSettings { drain: Some(Duration::from_millis(50)), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let mut begun: Vec<_> = (0..50).map(|_| send(&served.path(), b"0008pi")).collect();
    served.assert_alive();
    served.running.stop();
    let Served { running, .. } = served;
    let (reason, _) = running.join().unwrap();
    assert_eq!(reason, Reason::Asked);
    begun.iter_mut().for_each(|begun| assert_eq!(read_to_end(begun), b""));
}

pub fn silence_has_a_limit_if_wanted<S: Server>() {
    let settings =
        ServerSettings { silence: Some(Duration::from_millis(50)), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let mut silent: Vec<_> = (0..5).map(|_| send(&served.path(), b"")).collect();
    // One who speaks in time is not silent, however long it takes after that.
    let mut begun = send(&served.path(), b"0008");
    silent.iter_mut().for_each(|silent| assert_eq!(read_to_end(silent), b""));
    begun.write_all(b"ping0000").unwrap();
    assert_eq!(read_to_end(&mut begun), b"0008pong0000");
    served.end();
}

pub fn a_pause_inside_a_request_has_a_limit<S: Server>() {
    let settings =
        ServerSettings { receive: Some(Duration::from_millis(50)), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let mut silent = send(&served.path(), b"");
    let mut begun: Vec<_> = (0..5).map(|_| send(&served.path(), b"0008pi")).collect();
    begun.iter_mut().for_each(|begun| assert_eq!(read_to_end(begun), b""));
    served.reported(5);
    // Silence is not a pause.
    silent.write_all(b"0008ping0000").unwrap();
    assert_eq!(read_to_end(&mut silent), b"0008pong0000");
    served.end();
}

/// A client that takes none of its answer does not hold a place for ever.
pub fn sending_has_a_limit<S: Server>() {
    let settings = ServerSettings {
        exchanges: Some(1),
        send: Some(Duration::from_millis(50)),
        ..Default::default()
    };
    let served = Served::<S>::with(App::commands(), settings);
    let mut stream = send(&served.path(), &frame(b"do bytes 5000000"));
    served.reported_one(|report| report.text.contains("nothing moved within 50ms"));
    served.assert_alive();
    let got = read_to_end(&mut stream);
    assert!(got.len() < 5_000_000);
    assert!(!got.ends_with(b"0000"));
    served.end();
}

pub fn an_idle_server_ends_if_wanted<S: Server>() {
    let settings =
        ServerSettings { idle_exit: Some(Duration::from_millis(50)), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    // A client that is there, even without a word, keeps it.
    let mut client = send(&served.path(), b"");
    served.assert_alive();
    client.write_all(&frame(b"do open in; wait on")).unwrap();
    served.app.reached("in");
    served.app.open("on");
    assert_eq!(read_to_end(&mut client), b"0000");
    served.ended(Reason::Idle);
}

pub fn an_unused_server_ends_if_wanted<S: Server>() {
    let settings =
        ServerSettings { idle_exit: Some(Duration::from_millis(20)), ..Default::default() };
    Served::<S>::with(App::commands(), settings).ended(Reason::Idle);
}

/// A live server keeps its path; when that is taken from it, it ends and leaves alone what is
/// there now.
pub fn the_path_is_kept_and_its_loss_noticed<S: Server>() {
    let served = Served::<S>::start(App::commands());
    let path = served.path();
    let settings = ServerSettings::default();
    let Err(error) = S::bind(&path, settings, Reports::default()) else { panic!("displaced") };
    assert_eq!((error.phase, error.kind), (Phase::Bind, ErrorKind::InUse), "{error:?}");
    served.assert_alive();
    std::fs::remove_file(&path).unwrap();
    let other = S::bind(&path, settings, Reports::default()).unwrap();
    assert_eq!(served.running.join().unwrap(), (Reason::PathLost, 0));
    assert!(path.exists());
    drop(other);
    assert!(!path.exists());
}

/// While a server ends, another may already take its place.
pub fn the_next_server_starts_while_one_drains<S: Server>() {
    let served = Served::<S>::start(App::commands());
    let mut busy = send(&served.path(), &frame(b"do open in; wait on; write old"));
    served.app.reached("in");
    served.running.stop();
    eventually("the path goes", || !served.path().exists());
    let next = S::bind(&served.path(), ServerSettings::default(), Reports::default()).unwrap();
    let next = next.serve(App::commands());
    served.assert_alive();
    served.app.open("on");
    assert_eq!(read_to_end(&mut busy), b"0007old0000");
    assert_eq!(served.running.join().unwrap(), (Reason::Asked, 0));
    let client = <crate::adapters::raw::Client as crate::seam::Client>::new(
        &served.folder.path(),
        Default::default(),
    );
    assert_eq!(crate::seam::Client::call(&client, b"ping").unwrap(), b"pong");
    next.stop();
    next.join().unwrap();
}

pub fn what_is_no_socket_is_left_alone<S: Server>() {
    let folder = Folder::new();
    std::fs::write(folder.path(), "precious").unwrap();
    let settings = ServerSettings::default();
    let Err(error) = S::bind(&folder.path(), settings, Reports::default()) else {
        panic!("bound over a file")
    };
    let invalid = ErrorKind::Endpoint(simple_ipc::connect::State::Invalid);
    assert_eq!((error.phase, error.kind), (Phase::Bind, invalid), "{error:?}");
    assert_eq!(std::fs::read(folder.path()).unwrap(), b"precious");
}

pub fn a_dead_socket_is_replaced<S: Server>() {
    let folder = Folder::new();
    drop(std::os::unix::net::UnixListener::bind(folder.path()).unwrap());
    let reports = Reports::default();
    let server = S::bind(&folder.path(), ServerSettings::default(), reports.clone()).unwrap();
    let app = App::commands();
    let running = server.serve(app.clone());
    let served = Served::<S> { app, reports, running, folder };
    served.assert_alive();
    served.end();
}

/// A server in a process of its own, with few descriptors, for clients that are here.
#[cfg(target_os = "linux")]
struct Short {
    folder: Folder,
    process: std::process::Child,
}

#[cfg(target_os = "linux")]
impl Short {
    /// In the process of the test `name` this starts one more, which serves and never comes back.
    fn start<S: Server>(name: &str) -> Self {
        use std::process::{Command, Stdio, exit};

        use rustix::process::{Resource, Rlimit, setrlimit};

        const SERVE: &str = "CONFORMANCE_SERVE";
        if let Some(path) = std::env::var_os(SERVE) {
            let few = Rlimit { current: Some(64), maximum: Some(64) };
            setrlimit(Resource::Nofile, few).unwrap();
            let settings = ServerSettings::default();
            let server = S::bind(path.as_ref(), settings, Reports::default()).unwrap();
            let running = server.serve(App::commands());
            let quit = running.join().unwrap().0 == Reason::Quit;
            exit(if quit { 0 } else { 1 });
        }
        let folder = Folder::new();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(SERVE, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the server is there", || {
            assert_eq!(process.try_wait().unwrap(), None);
            UnixStream::connect(folder.path()).is_ok()
        });
        Self { folder, process }
    }

    fn send(&self, bytes: &[u8]) -> UnixStream {
        send(&self.folder.path(), bytes)
    }

    #[track_caller]
    fn ping(&self) {
        assert_eq!(read_to_end(&mut self.send(b"0008ping0000")), b"0008pong0000");
    }

    fn end(mut self) {
        assert_eq!(read_to_end(&mut self.send(&frame(b"quit"))), b"0000");
        assert!(self.process.wait().unwrap().success());
    }
}

#[cfg(target_os = "linux")]
impl Drop for Short {
    fn drop(&mut self) {
        // After a failure; otherwise it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// More clients than descriptors: the longest silent go, and who speaks is served.
#[cfg(target_os = "linux")]
pub fn silent_clients_go_when_descriptors_run_short<S: Server>(name: &str) {
    let server = Short::start::<S>(name);
    let mut silent = Vec::new();
    for _ in 0..30 {
        silent.extend((0..10).map(|_| server.send(b"")));
        server.ping();
    }
    // The last to come is still there; the first have been let go.
    let mut last = silent.pop().unwrap();
    last.write_all(b"0008ping0000").unwrap();
    assert_eq!(read_to_end(&mut last), b"0008pong0000");
    // Not one by one: a thread of the server may be held up between accepting and noting it.
    let gone = |silent: &&mut UnixStream| {
        silent.set_nonblocking(true).unwrap();
        (&**silent).read(&mut [0; 9]).is_ok_and(|n| n == 0)
    };
    assert!(silent.iter_mut().filter(gone).count() >= 200);
    drop(silent);
    server.end();
}

/// The same when all have begun their requests and stopped: who comes now has hardly had the
/// time to speak, so it is not the one to go.
#[cfg(target_os = "linux")]
pub fn half_requests_go_when_descriptors_run_short<S: Server>(name: &str) {
    let server = Short::start::<S>(name);
    let begun: Vec<_> = (0..100).map(|_| server.send(b"0008pi")).collect();
    for _ in 0..10 {
        let mut newcomer = server.send(b"");
        server.ping();
        newcomer.write_all(b"0008ping0000").unwrap();
        assert_eq!(read_to_end(&mut newcomer), b"0008pong0000");
    }
    drop(begun);
    server.ping();
    server.end();
}
