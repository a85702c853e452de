//! Sending: nothing is lost, and no message looks whole that is not.

use simple_ipc::client::{self, Awaiting, Deadlines, Delivery};
use simple_ipc::exchange::{Outgoing, Phase, Sending};
use simple_ipc::server::{self, Reply};

use crate::message::{Message, message};
use crate::naive::{self, Packet};

/// A reply, as a server comes to it.
fn reply() -> Reply {
    let mut request = server::accept(None);
    assert_eq!(request.strip(&mut b"0000".to_owned()), Ok(0));
    let Ok(reply) = request.done() else { panic!() };
    reply
}

/// Writes `step` bytes at a time to `wire`. Before the end, the next phase is out of reach.
fn write<B: AsRef<[u8]>, N: Phase>(
    mut sending: Sending<B, N>,
    step: usize,
    wire: &mut Vec<u8>,
) -> N {
    loop {
        let (sent, remaining) = (sending.sent(), sending.remaining());
        sending = match sending.done() {
            Ok((next, _)) => {
                assert_eq!(remaining, 0);
                return next;
            }
            Err(same) => same,
        };
        assert_eq!(
            (sending.sent(), sending.remaining(), sending.is_done()),
            (sent, remaining, false)
        );
        let bytes: Vec<u8> = sending.slices().flatten().copied().take(step).collect();
        sending.wrote(bytes.len());
        wire.extend(bytes);
    }
}

#[test]
fn pieces_in_any_writes() {
    let pieces: [&[u8]; 6] = [b"a", b"", b"0000", b"\0\n", b"", b"the last"];
    let expected: Vec<u8> = pieces.iter().flat_map(|piece| naive::encode(piece, false)).collect();
    for step in 1..expected.len() + 5 {
        for finish in [&b""[..], b"end"] {
            let (mut outgoing, mut wire) = (client::stream(), Vec::new());
            for piece in pieces {
                outgoing = write(outgoing.piece(piece), step, &mut wire);
                assert_eq!(outgoing.sent(), wire.len() as u64);
            }
            assert_eq!(wire, expected);
            let _answer = write(outgoing.finish(finish), step, &mut wire);
            assert_eq!(wire[expected.len()..], naive::encode(finish, true));
        }
    }
}

#[test]
fn an_empty_piece_is_done_at_once() {
    let sending = client::stream().piece(b"");
    assert!(sending.is_done() && sending.slices().next().is_none());
    assert!(sending.done().is_ok());
}

#[test]
fn the_payload_comes_back() {
    let mut sending = client::request(String::from("ping"));
    sending.wrote(12);
    let Ok((_answer, payload)) = sending.done() else { panic!() };
    assert_eq!(payload, "ping");
}

/// Whatever was sent before a message was dropped, its receiver does not take it for whole.
#[test]
fn a_message_that_was_dropped_has_no_end() {
    let pieces: [&[u8]; 4] = [b"0000", b"half of it", b"", b"00000000"];
    for count in 0..=pieces.len() {
        let (mut outgoing, mut wire) = (reply(), Vec::new());
        for piece in &pieces[..count] {
            outgoing = write(outgoing.piece(piece), 3, &mut wire);
        }
        drop(outgoing);
        assert!(!naive::decode(&wire).0.contains(&Packet::Flush));
        let seen = message(&wire, usize::MAX);
        assert!(matches!(seen, Message::Silent | Message::Truncated(_)), "{seen:?}");
    }
}

#[test]
fn a_last_piece_that_was_dropped_has_no_end() {
    let whole = naive::encode(b"pong", true);
    for written in 0..whole.len() {
        let mut sending = reply().finish(b"pong");
        let wire: Vec<u8> = sending.slices().flatten().copied().take(written).collect();
        sending.wrote(written);
        drop(sending.done().unwrap_err());
        assert!(!matches!(message(&wire, usize::MAX), Message::Whole(_)));
    }
}

#[test]
fn split_goes_on_counting() {
    let mut wire = Vec::new();
    let outgoing = write(client::stream().piece(b"abc"), 2, &mut wire);
    let (outgoing, answer): (Outgoing<_>, _) = outgoing.split();
    assert_eq!(outgoing.sent(), 7);
    assert!(!answer.has_begun());
    write(outgoing.finish(b""), 9, &mut wire);
    assert_eq!(wire, b"0007abc0000");
}

#[test]
#[should_panic(expected = "bytes written of")]
fn writing_more_than_there_is_panics() {
    client::request(b"ping").wrote(13);
}

#[test]
fn delivery() {
    assert_eq!(Delivery::while_sending(0), Delivery::NotDelivered);
    for sent in [1, 4, u64::MAX] {
        assert_eq!(Delivery::while_sending(sent), Delivery::Incomplete);
    }
    assert!(Delivery::NotDelivered.is_retry_safe());
    assert!(!Delivery::Incomplete.is_retry_safe() && !Delivery::Unknown.is_retry_safe());
    // What tells them apart is what the machine counts.
    let mut sending = client::request(b"ping");
    assert!(Delivery::while_sending(sending.sent()).is_retry_safe());
    sending.wrote(1);
    assert!(!Delivery::while_sending(sending.sent()).is_retry_safe());
}

#[test]
fn the_nearer_deadline_counts() {
    let s = core::time::Duration::from_secs;
    let mut deadlines = Deadlines::default();
    let limit =
        |deadlines: &Deadlines, what| deadlines.limit(what, s(3)).map(|limit| limit.as_secs());
    (deadlines.send, deadlines.wait, deadlines.receive) = (Some(s(1)), Some(s(5)), None);
    assert_eq!(limit(&deadlines, Awaiting::Room), Some(1));
    assert_eq!(limit(&deadlines, Awaiting::Answer), Some(5));
    assert_eq!(limit(&deadlines, Awaiting::Rest), None);
    deadlines.total = Some(s(5));
    assert_eq!(limit(&deadlines, Awaiting::Room), Some(1));
    assert_eq!(limit(&deadlines, Awaiting::Answer), Some(2));
    assert_eq!(limit(&deadlines, Awaiting::Rest), Some(2));
    deadlines.total = Some(s(2));
    assert_eq!(limit(&deadlines, Awaiting::Rest), Some(0), "the time is up");
    assert_eq!([1, 2, 3].map(|at| deadlines.passed(s(at))), [None, Some(s(2)), Some(s(2))]);
    deadlines.total = None;
    assert_eq!(deadlines.passed(core::time::Duration::MAX), None);
}
