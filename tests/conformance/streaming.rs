//! Handlers that read the request as it arrives.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use simple_ipc::{ErrorKind, Phase};

use crate::app::App;
use crate::seam::{
    Answer, Client, ClientSettings, Connection, RequestWriter, Rest, Running, Served,
    ServerSettings, StreamingServer, Writer,
};
use crate::wire::{assert_same, pattern};

fn serve<S: StreamingServer>(script: &'static str) -> Served<S> {
    Served::streaming(App::script(script), ServerSettings::default())
}

pub fn whole_requests_too<S: StreamingServer, C: Client>() {
    let served = serve::<S>("read all");
    let client: C = served.client();
    for size in [0, 1, 65515, 65516, 65517, 131033, 1_000_000] {
        assert_eq!(client.call(&pattern(size)).unwrap(), size.to_string().as_bytes());
    }
    served.end();
}

/// What the client flushes, the handler reads before there is more.
pub fn a_flush_is_visible_before_the_end<S: StreamingServer, C: Client>() {
    let served = serve::<S>("read 3; read 4; read all");
    let mut request = served.client::<C>().connect().unwrap().request();
    for piece in ["one", "more"] {
        request.write(piece.as_bytes()).unwrap();
        request.flush().unwrap();
        assert_eq!(served.app.hear(), piece.as_bytes());
    }
    assert_eq!(request.finish().unwrap().read_all().unwrap(), b"0");
    served.end();
}

/// A conversation: each side waits for what the other has said last.
pub fn both_directions_in_turn<S: StreamingServer, C: Client>() {
    let served = serve::<S>("echo");
    let (mut request, mut answer) = served.client::<C>().connect().unwrap().request().split();
    for round in 1..50 {
        let piece = pattern(round * 37);
        request.write(&piece).unwrap();
        request.flush().unwrap();
        answer.expect(&piece);
    }
    request.finish().unwrap();
    assert_eq!(answer.read(&mut [0; 10]).unwrap(), 0);
    served.end();
}

/// At no time are more bytes under way than the sockets and a few buffers hold.
pub fn eight_megabytes_echoed_in_constant_memory<S: StreamingServer, C: Client>() {
    const MOST_UNDER_WAY: usize = 3_000_000;
    let served = serve::<S>("echo");
    let (mut request, mut answer) = served.client::<C>().connect().unwrap().request().split();
    let (written, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let message = pattern(8_000_000);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for piece in message.chunks(100_000) {
                written.fetch_add(piece.len(), Ordering::SeqCst);
                request.write(piece).unwrap();
            }
            request.finish().unwrap();
        });
        let mut echoed = Vec::new();
        let mut part = vec![0; 50_000];
        loop {
            let n = answer.read(&mut part).unwrap();
            if n == 0 {
                break;
            }
            echoed.extend_from_slice(&part[..n]);
            let under_way = written.load(Ordering::SeqCst) - read.fetch_add(n, Ordering::SeqCst);
            assert!(under_way < MOST_UNDER_WAY, "{under_way} bytes under way");
        }
        writer.join().unwrap();
        assert_same(&echoed, &message);
    });
    served.end();
}

/// Nobody reads the echo: then the writer cannot go on either, and its deadline says so.
pub fn back_pressure_reaches_the_writer<S: StreamingServer, C: Client>() {
    if !C::GIVES_UP_SENDING {
        // Not `eprintln!`, which nobody sees of a test that passes.
        let skipped = b"back pressure: SKIPPED, for this client has no limit on sending here\n";
        return std::io::stderr().write_all(skipped).unwrap();
    }
    let served = serve::<S>("echo");
    let limit = Duration::from_millis(200);
    let settings = ClientSettings { send: Some(limit), ..Default::default() };
    let client: C = served.client_with(settings);
    let (mut request, answer) = client.connect().unwrap().request().split();
    let piece = pattern(100_000);
    let error = (0..80).find_map(|_| request.write(&piece).err()).expect("room for 8 MB");
    assert_eq!(error.phase, Phase::Send, "{error:?}");
    assert!(matches!(error.kind, ErrorKind::Deadline(_)), "{error:?}");
    drop((request, answer));
    served.reported(1);
    served.end();
}

pub fn an_answer_before_the_request_is_read<S: StreamingServer, C: Client>() {
    let served = serve::<S>("read 3; finish early");
    let (mut request, answer) = served.client::<C>().connect().unwrap().request().split();
    request.write(b"abc").unwrap();
    request.flush().unwrap();
    assert_eq!(served.app.hear(), b"abc");
    assert_eq!(answer.read_all().unwrap(), b"early");
    drop(request);
    served.end();
}

/// The handler drops the request and goes on writing.
pub fn an_unread_request<S: StreamingServer, C: Client>() {
    let served = serve::<S>("read 1; unread; write well; flush; wait on; write done");
    let (mut request, mut answer) = served.client::<C>().connect().unwrap().request().split();
    request.write(b"abc").unwrap();
    request.flush().unwrap();
    assert_eq!(served.app.hear(), b"a");
    answer.expect(b"well");
    request.finish().unwrap();
    served.app.open("on");
    assert_eq!(answer.read_all().unwrap(), b"done");
    served.end();
}

/// A request that is given up is an error to its reader, never a short request.
pub fn an_abandoned_request_is_an_error<S: StreamingServer, C: Client>() {
    let served = serve::<S>("read 3; read all");
    let mut request = served.client::<C>().connect().unwrap().request();
    request.write(b"abcdef").unwrap();
    request.flush().unwrap();
    assert_eq!(served.app.hear(), b"abc");
    drop(request);
    served.reported_one(|report| {
        report.phase == Phase::Receive && report.text.contains("hung up inside its message")
    });
    served.end();
}

pub fn what_is_no_message_is_an_error<S: StreamingServer, C: Client>() {
    let served = serve::<S>("read 3; read all");
    for (flaw, says) in [("0001", "has no place"), ("fff1", "fff1"), ("zzzz", "zzzz")] {
        let mut raw = crate::wire::send(&served.path(), b"0007abc");
        assert_eq!(served.app.hear(), b"abc");
        raw.write_all(flaw.as_bytes()).unwrap();
        assert_eq!(crate::wire::read_to_end(&mut raw), b"");
        served.reported_one(|report| report.phase == Phase::Receive && report.text.contains(says));
    }
    assert_eq!(served.app.handled(), 3);
    let answer = served.client::<C>().call(b"abcdef").unwrap();
    assert_eq!(answer, b"3");
    served.end();
}

/// A probe reaches no streaming handler either, and a silent client holds none of the places.
pub fn silent_clients_reach_no_handler<S: StreamingServer, C: Client>() {
    let settings = ServerSettings { exchanges: Some(2), ..Default::default() };
    let served = Served::<S>::streaming(App::script("read all"), settings);
    let client: C = served.client();
    let silent: Vec<_> = (0..20).map(|_| client.connect().unwrap()).collect();
    assert_eq!(client.call(b"ping").unwrap(), b"4");
    let answers: Vec<_> = silent.into_iter().map(|silent| silent.send(b"late").unwrap()).collect();
    answers.into_iter().for_each(|answer| assert_eq!(answer.read_all().unwrap(), b"4"));
    assert_eq!(served.app.handled(), 21);
    for _ in 0..10 {
        drop(client.connect().unwrap());
    }
    assert_eq!(client.call(b"ping").unwrap(), b"4");
    assert_eq!(served.app.handled(), 22);
    served.end();
}

/// A client that pauses inside its request does not hold a streaming handler for ever.
pub fn a_pause_inside_the_request_has_a_limit<S: StreamingServer, C: Client>() {
    let limit = Duration::from_millis(50);
    let settings = ServerSettings { receive: Some(limit), ..Default::default() };
    let served = Served::<S>::streaming(App::script("read 1; read all"), settings);
    let (mut request, answer) = served.client::<C>().connect().unwrap().request().split();
    request.write(b"a").unwrap();
    request.flush().unwrap();
    assert_eq!(served.app.hear(), b"a");
    crate::endings::assert_no_answer(&answer.read_all().unwrap_err());
    served.reported_one(|report| report.text.contains("nothing moved within 50ms"));
    served.end();
}

pub fn stop_while_streaming<S: StreamingServer, C: Client>() {
    let served = serve::<S>("echo");
    let (mut request, mut answer) = served.client::<C>().connect().unwrap().request().split();
    request.write(b"before").unwrap();
    request.flush().unwrap();
    answer.expect(b"before");
    served.running.stop();
    crate::bounds::eventually("the path goes", || !served.path().exists());
    request.write(b"after").unwrap();
    request.flush().unwrap();
    answer.expect(b"after");
    request.finish().unwrap();
    assert_eq!(answer.read_all().unwrap(), b"");
    served.ended(simple_ipc::lifecycle::Reason::Asked);
}
