//! Exchanges and servers that end in every other way.

use std::thread;
use std::time::Duration;

use simple_ipc::client::Delivery;
use simple_ipc::connect::State;
use simple_ipc::exchange::MessageError;
use simple_ipc::lifecycle::Reason;
use simple_ipc::{ErrorKind, Phase};

use crate::app::App;
use crate::bounds::eventually;
use crate::seam::{
    Answer, Client, Connection, Failure, RequestWriter, Running, Served, Server, ServerSettings,
    Writer,
};
use crate::wire::{assert_same, pattern};

#[track_caller]
pub fn assert_no_answer(error: &Failure) {
    assert_eq!((error.phase, error.kind), (Phase::Wait, ErrorKind::NoAnswer), "{error:?}");
    assert_eq!(error.delivery, Some(Delivery::Unknown), "{error:?}");
}

#[track_caller]
pub fn assert_truncated(error: &Failure) {
    assert_eq!((error.phase, error.kind), (Phase::Receive, ErrorKind::Truncated), "{error:?}");
    assert_eq!(error.delivery, Some(Delivery::Unknown), "{error:?}");
}

/// In every way in which a handler can give up, before its answer and inside it.
pub fn an_answer_given_up_is_an_error<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    served.app.open("now");
    for (how, why) in [
        ("drop now", "dropped its reply"),
        ("fail", "failed on purpose"),
        ("panic", "panicked on purpose"),
    ] {
        let reported = || {
            served.reported_one(|report| {
                (report.phase, report.kind) == (Phase::Handle, ErrorKind::Aborted)
                    && report.delivery.is_none()
                    && report.text.contains(why)
            });
        };
        assert_no_answer(&client.call(format!("do {how}").as_bytes()).unwrap_err());
        reported();
        // What was written and not flushed may be seen or not; it is no answer either way.
        let error = client.call(format!("do write abc; {how}").as_bytes()).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::NoAnswer | ErrorKind::Truncated), "{error:?}");
        reported();
        let request = format!("do write abc; flush; {how}");
        assert_truncated(&client.call(request.as_bytes()).unwrap_err());
        reported();
        // At a packet's end, so that the stream looks tidy.
        let request = format!("do bytes 65516; flush; {how}");
        assert_truncated(&client.call(request.as_bytes()).unwrap_err());
        reported();
        // One who reads piece by piece learns of it as well.
        let request = format!("do write abc; flush; {how}");
        let mut answer = client.connect().unwrap().send(request.as_bytes()).unwrap();
        answer.expect(b"abc");
        assert_truncated(&answer.read(&mut [0; 10]).unwrap_err());
        reported();
        assert_eq!(client.call(b"ping").unwrap(), b"pong");
    }
    served.end();
}

/// A client need not wait for a handler that has dropped its reply and goes on with other things.
pub fn a_dropped_reply_is_noticed_at_once<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    assert_no_answer(&client.call(b"do drop later").unwrap_err());
    served.app.open("later");
    served.reported(1);
    served.end();
}

/// Whoever still holds the reply, a handler that has failed has ended its exchange.
pub fn a_reply_kept_elsewhere_is_no_answer<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    served.app.open("now");
    assert_no_answer(&client.call(b"do keep now").unwrap_err());
    served.reported(1);
    assert_truncated(&client.call(b"do write abc; flush; keep now").unwrap_err());
    served.reported(1);
    served.assert_alive();
    served.end();
}

pub fn a_failing_handler_leaves_others_alone<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    let mut other = client.connect().unwrap().send(b"do write a; flush; wait on; write b").unwrap();
    other.expect(b"a");
    for how in ["fail", "panic"] {
        client.call(format!("do {how}").as_bytes()).unwrap_err();
        served.reported(1);
    }
    served.app.open("on");
    assert_eq!(other.read_all().unwrap(), b"b");
    served.end();
}

/// Each piece is read before the handler makes the next.
pub fn a_flush_is_visible_before_the_end<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let script = b"do write one; flush; wait 1; write two; write three; flush; wait 2; \
                   bytes 70000; flush; wait 3";
    let mut answer = served.client::<C>().connect().unwrap().send(script).unwrap();
    answer.expect(b"one");
    served.app.open("1");
    answer.expect(b"twothree");
    served.app.open("2");
    answer.expect(&pattern(70000));
    served.app.open("3");
    assert_eq!(answer.read(&mut [0; 10]).unwrap(), 0);
    served.end();
}

pub fn the_handler_notices_that_its_client_left<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let script = b"do left; write a; flush; left; wait gone; left; write b; flush; write c";
    let mut answer = served.client::<C>().connect().unwrap().send(script).unwrap();
    assert_eq!(served.app.hear(), b"there");
    answer.expect(b"a");
    assert_eq!(served.app.hear(), b"there");
    drop(answer);
    served.app.open("gone");
    assert_eq!(served.app.hear(), b"left");
    // What it writes after that fails, and that is reported.
    served.reported_one(|report| report.phase == Phase::Send);
    served.assert_alive();
    served.end();
}

pub fn a_request_over_the_limit_is_refused<S: Server, C: Client>() {
    let settings = ServerSettings { request_limit: Some(1000), ..Default::default() };
    let served = Served::<S>::with(App::echo(), settings);
    let client: C = served.client();
    assert_same(&client.call(&pattern(1000)).unwrap(), &pattern(1000));
    // However it comes, and however much too long it is.
    let too_long = |report: &Failure| {
        (report.phase, report.kind)
            == (Phase::Receive, ErrorKind::Message(MessageError::TooLong { limit: 1000 }))
    };
    assert_no_answer(&client.call(&pattern(1001)).unwrap_err());
    served.reported_one(too_long);
    // The server has read of it whenever it hangs up: it is never said to be undelivered.
    let request = pattern(5_000_000);
    for _ in 0..10 {
        let error = client.call(&request).unwrap_err();
        let incomplete = (Phase::Send, ErrorKind::HungUp, Some(Delivery::Incomplete));
        assert_eq!((error.phase, error.kind, error.delivery), incomplete, "{error:?}");
        served.reported_one(too_long);
    }
    let mut request = client.connect().unwrap().request();
    request.write(&pattern(1000)).unwrap();
    request.flush().unwrap();
    served.assert_alive();
    let sent = request.write(b"1").and_then(|()| request.flush());
    let error = sent.and_then(|()| request.finish()?.read_all()).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::HungUp | ErrorKind::NoAnswer), "{error:?}");
    served.reported_one(too_long);
    assert_same(&client.call(&pattern(999)).unwrap(), &pattern(999));
    assert_eq!(served.app.handled(), 3);
    served.end();
}

pub fn requests_beyond_the_exchanges_wait_and_are_served<S: Server, C: Client>() {
    let settings = ServerSettings { exchanges: Some(2), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let client: C = served.client();
    // Some have connected before all places are taken, and speak only then.
    let early: Vec<_> = (0..8).map(|_| client.connect().unwrap()).collect();
    served.assert_alive();
    let holders = ["1", "2"].map(|n| {
        client.connect().unwrap().send(format!("do open {n}; wait on").as_bytes()).unwrap()
    });
    served.app.reached("1");
    served.app.reached("2");
    // The others connect only then.
    let late: Vec<_> = (0..8).map(|_| client.connect().unwrap()).collect();
    let waiting: Vec<_> = early
        .into_iter()
        .chain(late)
        .map(|waiting| waiting.send(b"do write ok").unwrap())
        .collect();
    served.app.open("on");
    for holder in holders {
        assert_eq!(holder.read_all().unwrap(), b"");
    }
    for answer in waiting {
        assert_eq!(answer.read_all().unwrap(), b"ok");
    }
    assert_eq!(served.app.most_at_once(), 2);
    served.end();
}

/// However they come, and with more to do than they can in one go.
pub fn never_more_exchanges_at_once_than_allowed<S: Server, C: Client>() {
    let settings = ServerSettings { exchanges: Some(3), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let client: C = served.client();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for round in 0..4 {
                    let mut request = client.connect().unwrap().request();
                    if round % 2 == 0 {
                        request.write(b"do ").unwrap();
                        request.flush().unwrap();
                        request.write(b"bytes 300000").unwrap();
                    } else {
                        request.write(b"do bytes 300000").unwrap();
                    }
                    let answer = request.finish().unwrap().read_all().unwrap();
                    assert_same(&answer, &pattern(300_000));
                }
            });
        }
    });
    assert!(served.app.most_at_once() <= 3, "{} at once", served.app.most_at_once());
    served.end();
}

/// QUIT while others are at work: they end first.
pub fn quit_lets_others_end<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    let other = client.connect().unwrap().send(b"do open in; wait on; write done").unwrap();
    served.app.reached("in");
    assert_eq!(client.call(b"do write bye; quit").unwrap(), b"bye");
    eventually("the path goes", || !served.path().exists());
    assert_gone(&client);
    served.app.open("on");
    assert_eq!(other.read_all().unwrap(), b"done");
    served.ended(Reason::Quit);
}

pub fn stop_while_busy<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    let mut busy = client
        .connect()
        .unwrap()
        .send(b"do write a; flush; wait on; bytes 1000000; write z")
        .unwrap();
    busy.expect(b"a");
    served.running.stop();
    served.running.stop();
    eventually("the path goes", || !served.path().exists());
    assert_gone(&client);
    served.app.open("on");
    busy.expect(&pattern(1_000_000));
    assert_eq!(busy.read_all().unwrap(), b"z");
    served.ended(Reason::Asked);
}

/// A server that drains is not found by newcomers. (The name of a pipe stays as long as one of its
/// connections, so on Windows they wait for it, busy as it is.)
fn assert_gone(client: &impl Client) {
    if cfg!(unix) {
        let error = client.call(b"ping").unwrap_err();
        assert_eq!(
            (error.phase, error.kind, error.delivery),
            (Phase::Connect, ErrorKind::Endpoint(State::NotFound), Some(Delivery::NotDelivered))
        );
    }
}

/// Who connected before the server was stopped is served, if the request comes in time.
pub fn stop_serves_the_backlog<S: Server, C: Client>() {
    let settings = ServerSettings { exchanges: Some(1), ..Default::default() };
    let served = Served::<S>::with(App::commands(), settings);
    let client: C = served.client();
    let busy = client.connect().unwrap().send(b"do open in; wait on").unwrap();
    served.app.reached("in");
    let queued: Vec<_> = (0..5).map(|_| client.connect().unwrap().send(b"ping").unwrap()).collect();
    served.running.stop();
    eventually("the path goes", || !served.path().exists());
    served.app.open("on");
    assert_eq!(busy.read_all().unwrap(), b"");
    for answer in queued {
        assert_eq!(answer.read_all().unwrap(), b"pong");
    }
    served.ended(Reason::Asked);
}

/// A request that has begun may still come to its end; a silent client is not waited for.
pub fn stop_lets_a_request_end_and_a_silent_client_go<S: Server, C: Client>() {
    // Nothing tells when the server has seen that the request has begun. As long as it has not,
    // that client is a silent one, too.
    let lets_it_end = || {
        let served = Served::<S>::start(App::commands());
        let client: C = served.client();
        let silent = client.connect().unwrap();
        let mut begun = client.connect().unwrap().request();
        begun.write(b"pi").unwrap();
        begun.flush().unwrap();
        // Both have been accepted, for the backlog is a queue.
        served.assert_alive();
        served.running.stop();
        eventually("the path goes", || !served.path().exists());
        let answered = begun.write(b"ng").and_then(|()| begun.finish()).and_then(Answer::read_all);
        served.ended(Reason::Asked);
        let error = silent.send(b"ping").and_then(Answer::read_all).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::HungUp | ErrorKind::NoAnswer), "{error:?}");
        match answered {
            Ok(answer) => {
                assert_eq!(answer, b"pong");
                true
            }
            Err(error) => {
                assert!(matches!(error.kind, ErrorKind::HungUp | ErrorKind::NoAnswer), "{error:?}");
                false
            }
        }
    };
    assert!((0..10).any(|_| lets_it_end()), "none of ten could end");
}

pub fn the_drain_deadline_aborts_what_is_stuck<S: Server, C: Client>() {
    let settings = ServerSettings {
        exchanges: Some(4),
        drain: Some(Duration::from_millis(50)),
        ..Default::default()
    };
    let served = Served::<S>::with(App::commands(), settings);
    let client: C = served.client();
    let mut begun = client.connect().unwrap().send(b"do write a; flush; wait ever").unwrap();
    let silent = client.connect().unwrap().send(b"do open in; wait ever").unwrap();
    let kept = client.connect().unwrap().send(b"do open kept; keep ever").unwrap();
    begun.expect(b"a");
    served.app.reached("in");
    served.app.reached("kept");
    served.running.stop();
    let Served { app, running, folder, .. } = served;
    assert_eq!(running.join().unwrap(), (Reason::Asked, 3));
    // The clients hear of it without the handlers' doing.
    assert_truncated(&begun.read(&mut [0; 10]).unwrap_err());
    assert_no_answer(&silent.read_all().unwrap_err());
    assert_no_answer(&kept.read_all().unwrap_err());
    assert_eq!(folder.names().len(), 0);
    app.open("ever");
}

/// Neither a handler that is stuck nor one whose client takes nothing is waited for.
pub fn an_abort_waits_for_nobody<S: Server, C: Client>() {
    for is_draining in [false, true] {
        let settings =
            ServerSettings { drain: Some(Duration::from_secs(3600)), ..Default::default() };
        let served = Served::<S>::with(App::commands(), settings);
        let client: C = served.client();
        let stuck = client.connect().unwrap().send(b"do open in; wait ever").unwrap();
        let mut unread =
            client.connect().unwrap().send(b"do write a; flush; bytes 20000000").unwrap();
        unread.expect(b"a");
        served.app.reached("in");
        if is_draining {
            served.running.stop();
            eventually("the path goes", || !served.path().exists());
        }
        served.running.abort();
        let Served { app, running, folder, .. } = served;
        assert_eq!(running.join().unwrap(), (Reason::Asked, 2));
        assert_eq!(folder.names().len(), 0);
        assert_no_answer(&stuck.read_all().unwrap_err());
        assert_truncated(&unread.read_all().unwrap_err());
        app.open("ever");
    }
}

/// One that waits for a place when the time is up is aborted too.
pub fn the_drain_deadline_aborts_what_is_queued<S: Server, C: Client>() {
    let settings = ServerSettings {
        exchanges: Some(1),
        drain: Some(Duration::from_millis(50)),
        ..Default::default()
    };
    let served = Served::<S>::with(App::commands(), settings);
    let client: C = served.client();
    let queued = client.connect().unwrap();
    served.assert_alive();
    let stuck = client.connect().unwrap().send(b"do open in; wait ever").unwrap();
    served.app.reached("in");
    let queued = queued.send(b"ping").unwrap();
    served.running.stop();
    let Served { app, running, .. } = served;
    let (reason, aborted) = running.join().unwrap();
    assert_eq!(reason, Reason::Asked);
    // The second may still have been in the backlog, or unread.
    assert!((1..=2).contains(&aborted), "{aborted} aborted");
    assert_no_answer(&stuck.read_all().unwrap_err());
    assert_no_answer(&queued.read_all().unwrap_err());
    app.open("ever");
}

pub fn a_dropped_server_stops<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    let busy = client.connect().unwrap().send(b"do open in; wait on; write done").unwrap();
    served.app.reached("in");
    let Served { app, running, folder, .. } = served;
    drop(running);
    // In the background, as any stop: what is under way ends.
    eventually("the path goes", || !folder.path().exists());
    app.open("on");
    assert_eq!(busy.read_all().unwrap(), b"done");
}

pub fn a_stopper_works_from_anywhere<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    assert_eq!(served.client::<C>().call(b"ping").unwrap(), b"pong");
    let stop = served.running.stopper();
    let again = thread::spawn(move || {
        stop();
        stop
    });
    let again = again.join().unwrap();
    served.ended(Reason::Asked);
    // There is nothing to stop any more.
    again();
}

/// Clients that connect before the server serves are served once it does.
pub fn bound_is_not_yet_serving<S: Server, C: Client>() {
    let folder = crate::bounds::Folder::new();
    let reports = crate::seam::Reports::default();
    let server = S::bind(&folder.path(), ServerSettings::default(), reports.clone()).unwrap();
    let client = C::new(&folder.path(), Default::default());
    let early = client.connect().unwrap().send(b"ping").unwrap();
    let app = App::commands();
    let running = server.serve(app.clone());
    assert_eq!(early.read_all().unwrap(), b"pong");
    Served::<S> { app, reports, running, folder }.end();

    // One that never serves leaves nothing behind.
    let folder = crate::bounds::Folder::new();
    let reports = crate::seam::Reports::default();
    let server = S::bind(&folder.path(), ServerSettings::default(), reports).unwrap();
    let client = C::new(&folder.path(), Default::default());
    let early = client.connect().unwrap().send(b"ping").unwrap();
    drop(server);
    assert_eq!(folder.names().len(), 0);
    assert_no_answer(&early.read_all().unwrap_err());
    assert_eq!(client.call(b"ping").unwrap_err().kind, ErrorKind::Endpoint(State::NotFound));
}
