//! The limit on a message is kept to the byte, as the bytes come.

use simple_ipc::client;
use simple_ipc::exchange::{Incoming, MessageError, Part};
use simple_ipc::server;

use crate::message::{Message, message};
use crate::reading::{read, ways};
use crate::{cuts, naive};

/// `len` bytes in packets of `size`, and a flush.
fn wire(len: usize, size: usize) -> Vec<u8> {
    let payload = vec![b'x'; len];
    let packets = payload.chunks(size).map(|packet| naive::encode(packet, false));
    [packets.collect::<Vec<_>>().concat(), b"0000".to_vec()].concat()
}

#[test]
fn small_limits_in_every_cut_and_every_way() {
    for limit in 0..6 {
        for len in 0..8 {
            for size in 1..5 {
                let wire = wire(len, size);
                let expected = message(&wire, limit);
                assert_eq!(expected == Message::TooLong, len > limit);
                for chunks in cuts::all(&wire) {
                    for way in ways() {
                        let request = server::accept(Some(limit as u64));
                        assert_eq!(read(request, &chunks, way).0, expected);
                    }
                }
            }
        }
    }
}

#[test]
fn limits_around_the_size_of_packets() {
    for limit in [65_515, 65_516, 65_517, 131_032, 200_000] {
        for len in [limit - 1, limit, limit + 1] {
            let wire = wire(len, 65_516);
            for chunk in [1000, 4096, 65_516, 65_520, 1 << 20] {
                let chunks: Vec<_> = wire.chunks(chunk).collect();
                for way in ways() {
                    let (seen, _) = read(server::accept(Some(limit as u64)), &chunks, way);
                    assert_eq!(
                        matches!(seen, Message::Whole(payload) if payload.len() == len),
                        len <= limit
                    );
                }
            }
        }
    }
}

/// As many bytes as are allowed come out, byte by byte, and not one more; the header that
/// announces too much is no error yet.
#[test]
fn the_limit_falls_on_the_byte_behind_it() {
    for (limit, at) in [(0, 4), (1, 5), (4, 12), (5, 13), (7, 15)] {
        let mut request = server::accept(Some(limit));
        let mut given = 0;
        for (index, byte) in b"0008abcd0008efgh0000".iter().enumerate() {
            match request.receive(&mut &[*byte][..]) {
                Ok(part) => given += u64::from(matches!(part, Some(Part::Data(_)))),
                Err(error) => {
                    assert_eq!(error, MessageError::TooLong { limit });
                    assert_eq!(
                        error.to_string(),
                        format!("message is longer than the limit of {limit} bytes")
                    );
                    assert_eq!((index, given), (at, limit));
                    break;
                }
            }
            assert!(index < at);
        }
    }
}

#[test]
fn reading_in_place_stays_within_the_limit() {
    let mut request = server::accept(Some(5));
    assert_eq!(request.receive(&mut &b"fff0"[..]), Ok(None));
    for left in (1..=5).rev() {
        assert_eq!(request.in_place(), left);
        request.filled(1);
    }
    // At the limit but inside a packet: only `receive` can say that there is more.
    assert_eq!(request.in_place(), 0);
    assert_eq!(request.receive(&mut &b"x"[..]), Err(MessageError::TooLong { limit: 5 }));
    assert_eq!(request.in_place(), 0);
}

#[test]
#[should_panic(expected = "3 bytes filled where 2 were left")]
fn filling_past_the_limit_panics() {
    let mut request = server::accept(Some(2));
    assert_eq!(request.receive(&mut &b"0008"[..]), Ok(None));
    request.filled(3);
}

#[test]
fn an_answer_has_its_own_limit() {
    let answer = |limit: Option<u64>| {
        let mut sending = client::stream_limited(limit).finish(b"a request of any length");
        sending.wrote(sending.remaining());
        let Ok((answer, _)) = sending.done() else { panic!() };
        answer
    };
    for way in ways() {
        let chunks = [&b"0008pong0000"[..]];
        assert_eq!(read(answer(Some(3)), &chunks, way).0, Message::TooLong);
        assert_eq!(read(answer(Some(4)), &chunks, way).0, Message::Whole(b"pong".to_vec()));
        assert_eq!(read(answer(None), &chunks, way).0, Message::Whole(b"pong".to_vec()));
    }
}

/// A limit outlives a change of phase.
#[test]
fn splitting_keeps_the_limit_and_the_place() {
    let mut request = server::accept(Some(5));
    assert_eq!(request.receive(&mut &b"0008ab"[..]), Ok(Some(Part::Data(b"ab"))));
    let (mut request, _reply): (Incoming<_>, _) = request.split();
    assert_eq!((request.in_place(), request.received(), request.has_begun()), (2, 2, true));
    assert_eq!(request.receive(&mut &b"cd"[..]), Ok(Some(Part::Data(b"cd"))));
    assert_eq!(request.receive(&mut &b"0006ef"[..]), Err(MessageError::TooLong { limit: 5 }));
}
