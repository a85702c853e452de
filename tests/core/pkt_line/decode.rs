//! The decoder says the same wherever its input is cut, and what the naive one says.

use proptest::prelude::*;
use simple_ipc::pkt_line::{Decoder, Piece};

use crate::cuts;
use crate::naive::{self, End, Packet};
use crate::packets::{decode, decode_mixed};
use crate::random::Random;

/// Streams small enough to be cut in every way.
const STREAMS: &[&[u8]] = &[
    b"",
    b"0000",
    b"0004",
    b"00010002",
    b"0005a",
    b"0005a0000",
    b"000Bversion0001000apeeled00000002",
    b"0008ping0006a\x0000040005\n0000",
    b"00060000",
    b"0009ab",
    b"0005a000",
    b"0",
    b"0003",
    b"0005afff1",
    b"0006abFFFFrest",
    b"0005a+0010000",
    b"0000 004",
    b"000800000000zzzz0000",
];

#[test]
fn small_streams_in_every_cut() {
    for stream in STREAMS {
        let expected = naive::decode(stream);
        for chunks in cuts::all(stream) {
            assert_eq!(decode(&chunks), expected, "{chunks:?}");
        }
    }
}

/// Every beginning of a stream is a stream that ends somewhere: on a packet's end, or so many
/// bytes short of it.
#[test]
fn the_end_of_the_stream_in_every_place() {
    for stream in STREAMS {
        for end in 0..=stream.len() {
            let stream = &stream[..end];
            let expected = naive::decode(stream);
            assert_eq!(decode(&[stream]), expected);
            assert_eq!(decode(&stream.chunks(1).collect::<Vec<_>>()), expected);
        }
    }
}

#[test]
fn an_error_stays_and_takes_nothing_more() {
    for chunk in [1, 2, 3, 100] {
        let mut decoder = Decoder::new();
        let mut errors = 0;
        for chunk in b"0005a00000005bxyzw0000".chunks(chunk) {
            let mut input = chunk;
            while let Ok(Some(_)) = decoder.decode(&mut input) {}
            if let Err(error) = decoder.decode(&mut input) {
                errors += 1;
                assert_eq!((error.offset, error.header.bytes()), (14, *b"xyzw"));
                let untouched = input;
                assert_eq!(decoder.decode(&mut input), Err(error));
                assert_eq!(input, untouched);
                assert_eq!(decoder.decode(&mut &b"0000"[..]), Err(error), "not even a packet");
                assert_eq!(error.to_string().find("at byte 14: "), Some(0));
            }
        }
        assert!(errors > 0);
    }
}

#[test]
fn every_length_of_packet() {
    let payload = vec![b'x'; 65516];
    for len in (1..=65516).step_by(13).chain([65514, 65515, 65516]) {
        let wire = naive::encode(&payload[..len], true);
        let mut input = &wire[..];
        let mut decoder = Decoder::new();
        let Ok(Some(Piece::Data(data))) = decoder.decode(&mut input) else { panic!("{len}") };
        assert_eq!((data.bytes, data.first, data.last), (&payload[..len], true, true));
        assert_eq!(decoder.decode(&mut input), Ok(Some(Piece::Flush)));
        assert_eq!(decoder.offset(), len as u64 + 8);
    }
}

#[test]
#[should_panic(expected = "3 bytes filled where 2 were left")]
fn filling_more_than_there_is_panics() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(&mut &b"0006"[..]), Ok(None));
    decoder.filled(3);
}

#[test]
fn nothing_is_in_place_between_packets_and_in_headers() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.in_place(), 0);
    for (byte, left) in b"0006ab0000".chunks(1).zip([0, 0, 0, 2, 1, 0, 0, 0, 0, 0]) {
        let _ = decoder.decode(&mut &*byte);
        assert_eq!(decoder.in_place(), left);
        decoder.filled(0);
    }
}

#[test]
fn reading_in_place_changes_nothing() {
    let mut random = Random(1);
    for stream in STREAMS {
        let expected = naive::decode(stream);
        for _ in 0..300 {
            assert_eq!(decode_mixed(stream, &mut random), expected);
        }
    }
}

/// A packet, or something that is none.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..40).prop_map(|data| naive::encode(&data, false)),
        1 => prop::sample::select(vec!["0000", "0001", "0002", "0004"])
            .prop_map(|header| header.as_bytes().to_vec()),
    ]
}

/// Packets, and often something after them that is none, or only the beginning of one.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let tail = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
        1 => "[0-9a-fA-F]{1,12}".prop_map(String::into_bytes),
        1 => "000[5-9a-f]".prop_map(String::into_bytes),
    ];
    (prop::collection::vec(packet(), 0..8), tail)
        .prop_map(|(packets, tail)| [packets.concat(), tail].concat())
}

proptest! {
    #[test]
    fn any_stream_in_any_cut(
        stream in stream(),
        sizes in prop::collection::vec(0..20_usize, 0..20),
        seed: u64,
    ) {
        let expected = naive::decode(&stream);
        prop_assert_eq!(decode(&cuts::by_sizes(&stream, &sizes)), expected.clone());
        prop_assert_eq!(decode_mixed(&stream, &mut Random(seed)), expected);
    }

    #[test]
    fn what_is_encoded_is_decoded(len in 0..200_000_usize) {
        let payload = vec![b'0'; len];
        let wire = naive::encode(&payload, true);
        let (packets, end) = decode(&[&wire]);
        let data: Vec<u8> = packets.iter().flat_map(|packet| match packet {
            Packet::Data(data) => &data[..],
            _ => &[],
        }).copied().collect();
        prop_assert_eq!(data, payload);
        prop_assert_eq!(packets.last(), Some(&Packet::Flush));
        prop_assert_eq!(end, End::Clean);
    }
}
