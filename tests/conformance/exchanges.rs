//! Exchanges in which nothing goes wrong, whoever asks whom.

use std::sync::{Arc, Barrier};
use std::thread;

use simple_ipc::lifecycle::Reason;

use crate::app::App;
use crate::bounds::eventually;
use crate::seam::{Answer, Client, Connection, RequestWriter, Served, Server, Writer};
use crate::wire::{PACKET, assert_same, pattern, vector};

/// What git's own test client is told by git's own test server.
pub fn answers_as_recorded<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    for name in ["ping", "unknown-command", "big", "chunk", "sendbytes-A100000"] {
        let [request, answer] =
            ["request", "response"].map(|way| payload(&vector(&format!("{name}.{way}"))));
        assert_same(&client.call(&request).unwrap(), &answer);
    }
    served.end();
}

fn payload(mut wire: &[u8]) -> Vec<u8> {
    crate::wire::Reader::new(&mut wire).read_all().unwrap()
}

pub fn sizes_around_every_packet_boundary<S: Server, C: Client>() {
    let served = Served::<S>::start(App::echo());
    let client: C = served.client();
    let twice = 2 * PACKET;
    let sizes = [0, 1, 4, PACKET - 1, PACKET, PACKET + 1, twice - 1, twice, twice + 1, 1 << 20];
    let mut answer = Vec::new();
    for size in sizes {
        let message = pattern(size);
        assert_same(&client.call(&message).unwrap(), &message);
        // And into a buffer in which something is left.
        client.call_into(&message, &mut answer).unwrap();
        assert_same(&answer, &message);
    }
    served.end();
}

pub fn ten_megabytes_each_way<S: Server, C: Client>() {
    let served = Served::<S>::start(App::echo());
    let message = pattern(10_000_000);
    assert_same(&served.client::<C>().call(&message).unwrap(), &message);
    served.end();
}

pub fn a_request_of_many_small_writes<S: Server, C: Client>() {
    let served = Served::<S>::start(App::echo());
    let message = pattern(100_000);
    let mut request = served.client::<C>().connect().unwrap().request();
    for piece in message.chunks(7) {
        request.write(piece).unwrap();
    }
    // Empty ones are no pieces at all, least of all the end.
    request.write(b"").unwrap();
    request.flush().unwrap();
    request.flush().unwrap();
    let mut answer = request.finish().unwrap();
    answer.expect(&message);
    assert_eq!(answer.read(&mut [0; 9]).unwrap(), 0, "nothing follows");
    assert_eq!(answer.read(&mut [0; 9]).unwrap(), 0, "and still nothing");
    served.end();
}

pub fn a_request_that_is_sent_whole_and_read_in_pieces<S: Server, C: Client>() {
    let served = Served::<S>::start(App::echo());
    let message = pattern(200_000);
    let mut answer = served.client::<C>().connect().unwrap().send(&message).unwrap();
    // One byte at a time across a packet's end, then more.
    let (byte_wise, rest) = message.split_at(3);
    byte_wise.iter().for_each(|byte| answer.expect(&[*byte]));
    let (before, rest) = rest.split_at(PACKET - 5);
    answer.expect(before);
    let (across, rest) = rest.split_at(5);
    across.iter().for_each(|byte| answer.expect(&[*byte]));
    assert_same(&answer.read_all().unwrap(), rest);
    served.end();
}

pub fn an_empty_answer_is_an_answer<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    assert_eq!(served.client::<C>().call(b"do finish").unwrap(), b"");
    served.end();
}

pub fn sixty_four_clients<S: Server, C: Client>() {
    let served = Served::<S>::start(App::echo());
    let at_once = Arc::new(Barrier::new(64));
    let clients: Vec<_> = (0..64)
        .map(|n: usize| {
            let (client, at_once) = (served.client::<C>(), at_once.clone());
            thread::spawn(move || {
                at_once.wait();
                for round in 0..3 {
                    let message = pattern(1000 * round + n);
                    assert_same(&client.call(&message).unwrap(), &message);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(served.app.handled(), 64 * 3);
    served.end();
}

pub fn one_client_in_many_threads<S: Server, C: Client>() {
    let served = Served::<S>::start(App::echo());
    let client: C = served.client();
    thread::scope(|scope| {
        for thread in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..10 {
                    let message = format!("{thread} {round}");
                    assert_eq!(client.call(message.as_bytes()).unwrap(), message.as_bytes());
                }
            });
        }
    });
    served.end();
}

/// Two clients in turn, each in the midst of its exchange while the other goes on.
pub fn a_slow_writer_and_a_slow_reader_disturb_nobody<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let (client, other) = (served.client::<C>(), served.client::<C>());
    let ping = || assert_eq!(other.call(b"ping").unwrap(), b"pong");

    let mut request = client.connect().unwrap().request();
    for byte in b"sendbytes AAAA" {
        request.write(&[*byte]).unwrap();
        request.flush().unwrap();
        ping();
    }
    assert_eq!(request.finish().unwrap().read_all().unwrap(), b"rcvd:A00000004\n");

    // More than fits into any socket's buffer, so the server is stuck in it.
    let mut answer = client.connect().unwrap().send(b"do bytes 5000000").unwrap();
    let all = pattern(5_000_000);
    let (first, rest) = all.split_at(10);
    for byte in first {
        answer.expect(&[*byte]);
        ping();
    }
    assert_same(&answer.read_all().unwrap(), rest);
    served.end();
}

pub fn dropped_connections_are_probes<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    for _ in 0..10 {
        drop(client.connect().unwrap());
    }
    assert_eq!(client.call(b"ping").unwrap(), b"pong");
    assert_eq!(served.app.handled(), 1);
    // Nothing has been reported either.
    served.end();
}

pub fn an_abandoned_request_reaches_no_handler<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    let mut request = client.connect().unwrap().request();
    request.write(b"quit").unwrap();
    request.flush().unwrap();
    drop(request);
    served.reported_one(|report| report.kind == simple_ipc::ErrorKind::Truncated);
    assert_eq!(client.call(b"ping").unwrap(), b"pong");
    assert_eq!(served.app.handled(), 1);
    served.end();
}

pub fn a_dropped_reply_is_no_answer<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    served.app.open("now");
    let error = served.client::<C>().call(b"do drop now").unwrap_err();
    crate::endings::assert_no_answer(&error);
    served.reported_one(|report| report.kind == simple_ipc::ErrorKind::Aborted);
    served.assert_alive();
    served.end();
}

pub fn quit_is_answered_and_ends_the_server<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    assert_eq!(client.call(b"quit").unwrap(), b"");
    let path = served.path();
    served.ended(Reason::Quit);
    assert!(!path.exists());
}

pub fn an_answer_that_is_dropped_disturbs_nobody<S: Server, C: Client>() {
    let served = Served::<S>::start(App::commands());
    let client: C = served.client();
    let mut answer = client.connect().unwrap().send(b"do bytes 5000000").unwrap();
    answer.expect(&pattern(100));
    drop(answer);
    eventually("the server notices", || !S::REPORTS || served.reports_so_far() == 1);
    served.forget_reports();
    served.assert_alive();
    served.end();
}
