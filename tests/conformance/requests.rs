//! Servers under bare bytes: recorded, cut short, malformed, slow and silent ones.

use std::io::{Read, Write};
use std::time::Duration;

use simple_ipc::exchange::MessageError;
use simple_ipc::lifecycle::Reason;
use simple_ipc::pkt_line::Header;
use simple_ipc::{ErrorKind, Phase};

use crate::app::App;
use crate::bounds::{Folder, eventually};
#[cfg(target_os = "linux")]
use crate::elsewhere::Elsewhere;
use crate::seam::{Failure, Reports, Running, Served, Server, ServerSettings};
use crate::wire::{
    Reader, Stream, assert_same, fill, frame, hear_after_the_last, read_to_end, send, vector,
};

/// What git's client sent is answered with the bytes that git's server sent.
pub fn recorded_traffic<S: Server>() {
    let served = Served::<S>::start(App::commands());
    for name in ["probe", "ping", "unknown-command", "big", "chunk", "sendbytes-A100000"] {
        let [request, recorded] =
            ["request", "response"].map(|way| vector(&format!("{name}.{way}")));
        // All at once, and in pieces that end inside headers and packets.
        for piece in [usize::MAX, 65521, 3].map(|piece| piece.min(request.len().max(1))) {
            let mut stream = Stream::connect(served.path()).unwrap();
            // Small pieces of long requests would only repeat themselves.
            let (begin, rest) = request.split_at(request.len().min(3000 * piece));
            begin.chunks(piece).for_each(|piece| stream.write_all(piece).unwrap());
            stream.write_all(rest).unwrap();
            let answer = if request.is_empty() {
                hear_after_the_last(stream)
            } else {
                read_to_end(&mut stream)
            };
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
        let stream = send(&served.path(), &wire[..cut]);
        assert_eq!(hear_after_the_last(stream), b"", "an answer to {cut} bytes");
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

#[cfg(unix)]
pub fn a_client_that_sends_no_more_gets_its_answer<S: Server>() {
    let served = Served::<S>::start(App::commands());
    for request in [&b"0008ping0000"[..], b"0006PI0008NG\n\n0000", b"000Aunheard0000"[..0].as_ref()]
    {
        let answer = hear_after_the_last(send(&served.path(), request));
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
    let mut stream = Stream::connect(folder.path()).unwrap();
    let request = frame(&vec![b'l'; 3 << 20]);
    let rest = &request[fill(&mut stream, &request)..];
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
    for report in served.reported(50) {
        assert_aborted(&report, "the server ends");
    }
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

pub fn silent_clients_go_when_there_are_too_many<S: Server>() {
    // With one exchange at a time, they are met in the order in which they came.
    let settings = ServerSettings { exchanges: Some(1), waiting: Some(3), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let mut silent: Vec<_> = (0..10).map(|_| send(&served.path(), b"")).collect();
    // The longest silent go first.
    let mut kept = silent.split_off(7);
    silent.iter_mut().for_each(|silent| assert_eq!(read_to_end(silent), b""));
    for kept in &mut kept {
        kept.write_all(b"0008ping0000").unwrap();
        assert_eq!(read_to_end(kept), b"0008pong0000");
    }
    served.end();
}

pub fn so_do_those_who_have_begun<S: Server>() {
    let settings = ServerSettings { waiting: Some(3), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let begun: Vec<_> = (0..10).map(|_| send(&served.path(), b"0008pi")).collect();
    for report in served.reported(7) {
        assert_aborted(&report, "too many clients wait");
    }
    drop(begun);
    for report in served.reported(3) {
        assert_eq!(report.kind, ErrorKind::Truncated, "{report:?}");
    }
    served.end();
}

/// It is not the client that has hung up.
#[track_caller]
fn assert_aborted(report: &Failure, why: &str) {
    assert_eq!((report.phase, report.kind), (Phase::Receive, ErrorKind::Aborted), "{report:?}");
    assert!(report.text.contains(why), "{report:?}");
}

pub fn a_pause_inside_a_request_has_a_limit<S: Server>() {
    let limit = Duration::from_millis(50);
    let settings = ServerSettings { receive: Some(limit), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let mut silent = send(&served.path(), b"");
    let mut begun: Vec<_> = (0..5).map(|_| send(&served.path(), b"0008pi")).collect();
    begun.iter_mut().for_each(|begun| assert_eq!(read_to_end(begun), b""));
    for report in served.reported(5) {
        let late = (Phase::Receive, ErrorKind::Deadline(limit));
        assert_eq!((report.phase, report.kind), late, "{report:?}");
    }
    // Silence is not a pause.
    silent.write_all(b"0008ping0000").unwrap();
    assert_eq!(read_to_end(&mut silent), b"0008pong0000");
    served.end();
}

/// While the queue is full nobody is read from, so nobody is late for having said nothing.
pub fn a_pause_of_the_servers_is_not_the_clients<S: Server>() {
    let limit = Duration::from_millis(100);
    let settings =
        ServerSettings { exchanges: Some(1), receive: Some(limit), ..Default::default() };
    // On a busy machine its time may be up before the queue is full.
    let is_served = || {
        let (folder, reports, app) = (Folder::new(), Reports::default(), App::commands());
        let server = S::bind(&folder.path(), settings, reports).unwrap();
        let mut begun = send(&folder.path(), b"0008pi");
        let mut queued = send(&folder.path(), b"");
        let running = server.serve(app.clone());
        let mut busy = send(&folder.path(), &frame(b"do open in; wait on; write done"));
        app.reached("in");
        queued.write_all(b"0008ping0000").unwrap();
        std::thread::sleep(4 * limit);
        app.open("on");
        assert_eq!(read_to_end(&mut busy), b"0008done0000");
        assert_eq!(read_to_end(&mut queued), b"0008pong0000");
        let sent = begun.write_all(b"ng0000");
        let is_served = sent.is_ok() && read_to_end(&mut begun) == b"0008pong0000";
        running.stop();
        running.join().unwrap();
        is_served
    };
    assert!((0..10).any(|_| is_served()), "not once in ten times");
}

/// Nor is anybody late who has spoken while the server was suspended.
#[cfg(target_os = "linux")]
pub fn a_suspended_server_lets_nobody_go<S: Server>(name: &str) {
    use rustix::process::Signal;

    let limit = Duration::from_millis(100);
    let settings = ServerSettings { receive: Some(limit), ..Default::default() };
    let server = Elsewhere::start_with::<S>(name, settings, || {});
    // On a busy machine their time may be up before the server is suspended, or afterwards.
    let are_served = || {
        let mut begun: Vec<_> = (0..40).map(|_| server.send(b"0008")).collect();
        server.ping();
        server.signal(Signal::STOP);
        begun.iter_mut().for_each(|begun| begun.write_all(b"pi").unwrap());
        std::thread::sleep(4 * limit);
        server.signal(Signal::CONT);
        server.ping();
        let mut sent = begun.iter_mut().map(|begun| begun.write_all(b"ng0000"));
        sent.all(|sent| sent.is_ok())
            && begun.iter_mut().all(|begun| read_to_end(begun) == b"0008pong0000")
    };
    assert!((0..10).any(|_| are_served()), "not once in ten times");
    server.end();
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
    // A pipe is no file, and nobody can take its name away.
    if cfg!(windows) {
        return served.end();
    }
    std::fs::remove_file(&path).unwrap();
    let other = S::bind(&path, settings, Reports::default()).unwrap();
    assert_eq!(served.running.join().unwrap(), (Reason::PathLost, 0));
    assert!(path.exists());
    drop(other);
    assert!(!path.exists());
}

/// While a server ends, another may already take its place. (The name of a pipe is its server's
/// until its last connection has ended, so on Windows the next one has to wait for that.)
pub fn the_next_server_starts_while_one_drains<S: Server>() {
    let served = Served::<S>::start(App::commands());
    let mut busy = send(&served.path(), &frame(b"do open in; wait on; write old"));
    served.app.reached("in");
    served.running.stop();
    eventually("the path goes", || !served.path().exists());
    let Served { app, running, folder, .. } = served;
    let bind = || S::bind(&folder.path(), ServerSettings::default(), Reports::default());
    let ping = || read_to_end(&mut send(&folder.path(), b"0008ping0000"));
    let next = if cfg!(windows) {
        let Err(error) = bind() else { panic!("two servers of one name") };
        assert_eq!((error.phase, error.kind), (Phase::Bind, ErrorKind::InUse), "{error:?}");
        None
    } else {
        let next = bind().unwrap().serve(App::commands());
        assert_eq!(ping(), b"0008pong0000");
        Some(next)
    };
    app.open("on");
    assert_eq!(read_to_end(&mut busy), b"0007old0000");
    assert_eq!(running.join().unwrap(), (Reason::Asked, 0));
    drop(busy);
    let next = next.unwrap_or_else(|| bind().unwrap().serve(App::commands()));
    assert_eq!(ping(), b"0008pong0000");
    next.stop();
    next.join().unwrap();
}

/// A file is in the way of a socket. It is in no pipe's way.
pub fn what_is_no_socket_is_left_alone<S: Server>() {
    let folder = Folder::new();
    std::fs::write(folder.path(), "precious").unwrap();
    let settings = ServerSettings::default();
    match S::bind(&folder.path(), settings, Reports::default()) {
        Ok(_) if cfg!(windows) => {}
        Ok(_) => panic!("bound over a file"),
        Err(error) => {
            let invalid = ErrorKind::Endpoint(simple_ipc::connect::State::Invalid);
            assert_eq!((error.phase, error.kind), (Phase::Bind, invalid), "{error:?}");
        }
    }
    assert_eq!(std::fs::read(folder.path()).unwrap(), b"precious");
}

#[cfg(unix)]
pub fn a_dead_socket_is_replaced<S: Server>() {
    let folder = Folder::new();
    drop(crate::wire::Listener::bind(&folder.path()).unwrap());
    let reports = Reports::default();
    let server = S::bind(&folder.path(), ServerSettings::default(), reports.clone()).unwrap();
    let app = App::commands();
    let running = server.serve(app.clone());
    let served = Served::<S> { app, reports, running, folder };
    served.assert_alive();
    served.end();
}

#[cfg(target_os = "linux")]
fn few_descriptors() {
    use rustix::process::{Resource, Rlimit, setrlimit};

    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
}

/// More clients than descriptors: the longest silent go, and who speaks is served.
#[cfg(target_os = "linux")]
pub fn silent_clients_go_when_descriptors_run_short<S: Server>(name: &str) {
    let server = Elsewhere::start::<S>(name, few_descriptors);
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
    let gone = |silent: &&mut Stream| {
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
    let server = Elsewhere::start::<S>(name, few_descriptors);
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
