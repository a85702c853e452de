//! Receiving says the same wherever the stream is cut and whichever way it is read, and what the
//! naive reader says.

use proptest::prelude::*;
use simple_ipc::client;
use simple_ipc::exchange::{EndOfStream, MessageError, Part};
use simple_ipc::pkt_line::Header;
use simple_ipc::server;

use crate::message::{Message, message};
use crate::reading::{read, ways};
use crate::{cuts, naive};

const STREAMS: &[&[u8]] = &[
    b"",
    b"0000",
    b"00000000",
    b"0008ping0000",
    b"0007abc0005d00060\x000000",
    b"0005a0000trailing",
    b"00080000",
    b"0008000000000000",
    b"0001",
    b"0005a00010000",
    b"0006ab0002",
    b"00040000",
    b"0005a0004",
    b"0005a00030000",
    b"fff10000",
    b"0005aFFFF",
    b"0005a+0010000",
    b"0006ab 0040005",
    b"0005a0x100000",
];

#[test]
fn every_stream_in_every_cut_and_every_way() {
    for stream in STREAMS {
        let expected = message(stream, usize::MAX);
        for chunks in cuts::all(stream) {
            for way in ways() {
                let (seen, _) = read(server::accept(None), &chunks, way);
                assert_eq!(seen, expected, "{chunks:?}");
            }
        }
    }
}

/// A message that ends early is truncated wherever it ends, never short and never silent.
#[test]
fn every_end_but_the_right_one_is_truncated() {
    let wire = b"0007abc000cthe rest0005!0000";
    for end in 0..=wire.len() {
        for way in ways() {
            let (seen, next) = read(server::accept(None), &[&wire[..end]], way);
            match end {
                0 => assert_eq!(seen, Message::Silent),
                28 => assert_eq!(seen, Message::Whole(b"abcthe rest!".to_vec())),
                _ => assert!(matches!(seen, Message::Truncated(_)), "at {end}: {seen:?}"),
            }
            assert_eq!(next.is_ok(), end == 28, "only a whole message leads on");
        }
    }
}

#[test]
fn what_is_no_part_of_a_message_is_an_error_of_its_own() {
    let error = |wire: &[u8]| {
        let mut input = &[b"0005a0006bc", wire, b"0000"].concat()[..];
        let mut request = server::accept(None);
        for _ in 0..2 {
            assert!(matches!(request.receive(&mut input), Ok(Some(Part::Data(_)))));
        }
        request.receive(&mut input).unwrap_err()
    };
    for (wire, header) in
        [(b"0001", Header::Delimiter), (b"0002", Header::ResponseEnd), (b"0004", Header::Empty)]
    {
        let found = error(wire);
        assert_eq!(found, MessageError::Unexpected { offset: 11, header });
        let wire = wire.escape_ascii();
        let shown = format!(r#"at byte 11: packet "{wire}" has no place inside a message"#);
        assert_eq!(found.to_string(), shown);
    }
    for wire in [b"0003", b"fff1", b"ffff", b"+001", b" 004", b"0x10", b"pong"] {
        let MessageError::Packet(found) = error(wire) else { panic!("{wire:?}") };
        assert_eq!((found.offset, found.header.bytes()), (11, *wire));
    }
}

#[test]
fn bytes_behind_the_flush_are_not_taken() {
    for trailing in [&b""[..], b"0", b"0000", b"0005a", b"rubbish"] {
        let wire = [b"0008ping0000", trailing].concat();
        let mut input = &wire[..];
        let mut answer = server::accept(None);
        assert_eq!(answer.receive(&mut input), Ok(Some(Part::Data(b"ping"))));
        for _ in 0..3 {
            assert_eq!(answer.receive(&mut input), Ok(Some(Part::End)));
            assert_eq!((input, answer.in_place()), (trailing, 0));
        }
        assert_eq!(answer.strip(&mut wire.clone()), Ok(0));
        assert_eq!(answer.received(), 4);
        assert_eq!(answer.end_of_stream(), EndOfStream::Whole);
    }
}

#[test]
fn done_before_the_end_is_the_same_phase() {
    let mut request = server::accept(None);
    for byte in b"0005a000" {
        let _ = request.receive(&mut &[*byte][..]);
        request = request.done().unwrap_err();
    }
    assert_eq!(request.receive(&mut &b"0"[..]), Ok(Some(Part::End)));
    assert_eq!(request.received(), 1);
    assert!(request.done().is_ok());
}

#[test]
fn a_client_is_given_no_silent_answer_for_a_whole_one() {
    let sending = client::request(b"");
    let mut sending = sending;
    sending.wrote(4);
    let Ok((answer, _)) = sending.done() else { panic!() };
    assert_eq!(answer.end_of_stream(), EndOfStream::Silent);
    let answer = answer.done().unwrap_err();
    assert!(!answer.has_begun());
}

#[test]
#[should_panic(expected = "5 bytes filled where 4 were left")]
fn filling_more_than_there_is_panics() {
    let mut request = server::accept(None);
    assert_eq!(request.receive(&mut &b"0008"[..]), Ok(None));
    request.filled(5);
}

/// Mostly packets of a message, sometimes of another kind, sometimes none.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let data =
        prop::collection::vec(any::<u8>(), 1..30).prop_map(|data| naive::encode(&data, false));
    let tail = prop_oneof![
        6 => Just(&b"0000"[..]),
        1 => Just(&b"0000more"[..]),
        1 => prop::sample::select(vec![&b""[..], b"0001", b"0002", b"0003", b"0004", b"fff1", b"00"]),
        1 => prop::sample::select(vec![&b"0010 cut"[..], b"-005a", b"000", b"\xff\xff\xff\xff"]),
    ];
    (prop::collection::vec(data, 0..8), tail)
        .prop_map(|(data, tail)| [&data.concat()[..], tail].concat())
}

proptest! {
    #[test]
    fn any_stream_in_any_cut_and_every_way(
        stream in stream(),
        sizes in prop::collection::vec(0..40_usize, 0..20),
        limit in prop::option::of(0..100_usize),
    ) {
        let expected = message(&stream, limit.unwrap_or(usize::MAX));
        let chunks = cuts::by_sizes(&stream, &sizes);
        for way in ways() {
            let request = server::accept(limit.map(|limit| limit as u64));
            prop_assert_eq!(&read(request, &chunks, way).0, &expected);
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(stream in prop::collection::vec(any::<u8>(), 0..60)) {
        let expected = message(&stream, usize::MAX);
        for way in ways() {
            prop_assert_eq!(&read(server::accept(None), &[&stream], way).0, &expected);
        }
    }
}
