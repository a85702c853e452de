//! The encoder lends what the naive one writes, whatever each write takes.

use proptest::prelude::*;
use simple_ipc::pkt_line::Encoder;

use crate::naive;
use crate::random::Random;

/// Sizes around which packets fill up.
const SIZES: &[usize] = &[
    0, 1, 2, 15, 16, 17, 65515, 65516, 65517, 65518, 65520, 65536, 131031, 131032, 131033, 131040,
    196547, 196548, 196549, 400_000,
];

fn payload(len: usize) -> Vec<u8> {
    // Bytes that tell their place, so that a shift by any small number shows.
    (0..len).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

fn encoder(payload: &[u8], flush: bool) -> Encoder<&[u8]> {
    if flush { Encoder::message(payload) } else { Encoder::packets(payload) }
}

/// All that `encoder` still lends. None of it is empty, or it might never end.
fn lent(encoder: &Encoder<&[u8]>) -> Vec<u8> {
    let mut lent = Vec::new();
    for slice in encoder.slices() {
        assert!(!slice.is_empty());
        lent.extend(slice);
    }
    lent
}

/// Checks an encoder that has sent `wire[..sent]`.
fn check(encoder: &Encoder<&[u8]>, wire: &[u8], sent: usize) {
    assert_eq!(encoder.sent(), sent);
    assert_eq!(encoder.remaining(), wire.len() - sent);
    assert_eq!(encoder.is_done(), sent == wire.len());
    assert!(lent(encoder) == wire[sent..], "at {sent} of {}", wire.len());
}

#[test]
fn every_size_around_the_boundaries() {
    for &len in SIZES {
        let payload = payload(len);
        for flush in [false, true] {
            let wire = naive::encode(&payload, flush);
            check(&encoder(&payload, flush), &wire, 0);
            let packets = len.div_ceil(65516);
            let slices = encoder(&payload, flush).slices().count();
            assert_eq!(slices, 2 * packets + usize::from(flush), "two slices a packet");
        }
    }
}

#[test]
fn small_payloads_in_every_two_writes() {
    for len in 0..40 {
        let payload = payload(len);
        for flush in [false, true] {
            let wire = naive::encode(&payload, flush);
            for first in 0..=wire.len() {
                for second in first..=wire.len() {
                    let mut encoder = encoder(&payload, flush);
                    encoder.advance(first);
                    check(&encoder, &wire, first);
                    encoder.advance(second - first);
                    check(&encoder, &wire, second);
                }
            }
        }
    }
}

#[test]
fn one_byte_a_write() {
    for len in [0, 1, 300, 65516, 65517, 131_033] {
        let payload = payload(len);
        let wire = naive::encode(&payload, true);
        let mut encoder = encoder(&payload, true);
        for (at, byte) in wire.iter().enumerate() {
            // To compare all of it each time would take hours; near the headers it pays.
            if at % 65520 < 6 || at % 65520 > 65515 || wire.len() - at < 6 {
                check(&encoder, &wire, at);
            }
            assert_eq!(encoder.slices().next().map(|slice| slice[0]), Some(*byte));
            encoder.advance(1);
        }
        check(&encoder, &wire, wire.len());
    }
}

/// As a vectored write goes: it takes some slices whole and the last in part.
#[test]
fn writes_of_any_size() {
    let mut random = Random(2);
    for &len in SIZES {
        let payload = payload(len);
        let wire = naive::encode(&payload, true);
        for most in [7_000, 65_520, 200_000] {
            let mut encoder = encoder(&payload, true);
            let mut sink: Vec<u8> = Vec::new();
            while !encoder.is_done() {
                let n = random.below(most + 1).min(encoder.remaining());
                sink.extend(&lent(&encoder)[..n]);
                encoder.advance(n);
            }
            assert!(sink == wire);
        }
    }
}

#[test]
fn an_owned_payload_comes_back() {
    let mut encoder = Encoder::message(payload(70_000));
    encoder.advance(12);
    assert_eq!(encoder.into_payload(), payload(70_000));
}

#[test]
fn slices_stay_used_up() {
    let encoder = Encoder::packets(b"a");
    let mut slices = encoder.slices();
    assert_eq!(slices.by_ref().count(), 2);
    assert_eq!((slices.next(), slices.next()), (None, None));
}

#[test]
#[should_panic(expected = "13 bytes written of 12")]
fn writing_more_than_there_is_panics() {
    Encoder::message(b"ping").advance(13);
}

proptest! {
    #[test]
    fn any_payload_in_any_writes(
        len in 0..140_000_usize,
        flush: bool,
        writes in prop::collection::vec(0..90_000_usize, 0..6),
    ) {
        let payload = payload(len);
        let wire = naive::encode(&payload, flush);
        let mut encoder = encoder(&payload, flush);
        let mut sent = 0;
        for n in writes {
            let n = n.min(encoder.remaining());
            encoder.advance(n);
            sent += n;
            check(&encoder, &wire, sent);
        }
    }
}
