//! Packets, without any system call.

use std::hint::black_box;
use std::io;

use gix_packetline::PacketLineRef;
use gix_packetline::blocking_io::{StreamingPeekableIter, encode as gix};
use gix_packetline::decode::{Stream, streaming};
use rustix::time::{ClockId, clock_gettime};
use simple_ipc::pkt_line::{Decoder, Encoder, MAX_PAYLOAD_LEN, Piece};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder as _, Encoder as _, LengthDelimitedCodec};

use crate::support::exchange::Bench;
use crate::support::figures::Better;
use crate::support::rounds::Sample;
use crate::support::row::{Plan, Row, Unit};

const NANOSECONDS: Unit = Unit { symbol: "ns/packet", better: Better::Less };
const SPEED: Unit = Unit { symbol: "GB/s", better: Better::More };

const OURS: &str = "this library";
const STREAMING: &str = "gix streaming()";
const ITERATOR: &str = "gix iterator";
const DELIMITED: &str = "LengthDelimitedCodec";
const MEMCPY: &str = "memcpy";

/// The packets of one pass: about 64 KiB of them.
const PACKETS: usize = 1600;

/// Packets of 16 bytes of payload.
pub(super) fn decode_even(bench: &Bench) -> Row {
    let title = "decode packets with a payload of 16 bytes";
    decode("decode-16", title, &[16; PACKETS]).measure(bench.pace)
}

/// Packets of 4 to 67 bytes of payload.
pub(super) fn decode_mixed(bench: &Bench) -> Row {
    let mut seed = 1u32;
    let mut next = |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        4 + (seed >> 26) as usize
    };
    let lens: Vec<usize> = (0..PACKETS).map(&mut next).collect();
    let title = "decode packets with a payload of 4 to 67 bytes";
    let mut plan = decode("decode-mixed", title, &lens);
    plan.claim("decode/gix-streaming", OURS, STREAMING);
    plan.claim("decode/gix-iterator", OURS, ITERATOR);
    plan.measure(bench.pace)
}

fn decode(id: &str, title: &str, lens: &[usize]) -> Plan<'static> {
    let mut wire = Vec::new();
    let mut delimited = BytesMut::new();
    for &len in lens {
        let payload = vec![b'x'; len];
        gix::data_to_write(&payload, &mut wire).expect("a Vec takes everything");
        let payload = Bytes::from(payload);
        LengthDelimitedCodec::new().encode(payload, &mut delimited).expect("it is short enough");
    }
    let payload: usize = lens.iter().sum();
    let mut plan = Plan::new(id, title, NANOSECONDS);
    let (ours, streamed, iterated, copied) = (wire.clone(), wire.clone(), wire.clone(), wire);
    plan.add(OURS, per_packet(payload, move || decode_ours(&ours)));
    plan.add(STREAMING, per_packet(payload, move || decode_streaming(&streamed)));
    plan.add(ITERATOR, per_packet(payload, move || decode_iterator(&iterated)));
    plan.add(DELIMITED, per_packet(payload, move || decode_delimited(&delimited)));
    let mut copy = vec![0; copied.len()];
    plan.add(
        MEMCPY,
        per_packet(payload, move || {
            copy.copy_from_slice(black_box(&copied));
            black_box(&copy);
            payload
        }),
    );
    plan
}

fn decode_ours(mut input: &[u8]) -> usize {
    let (mut decoder, mut sum) = (Decoder::new(), 0);
    while let Ok(Some(piece)) = decoder.decode(&mut input) {
        if let Piece::Data(data) = piece {
            sum += black_box(data.bytes).len();
        }
    }
    sum
}

fn decode_streaming(mut input: &[u8]) -> usize {
    let mut sum = 0;
    while let Ok(Stream::Complete { line, bytes_consumed }) = streaming(input) {
        if let PacketLineRef::Data(bytes) = line {
            sum += black_box(bytes).len();
        }
        input = &input[bytes_consumed..];
    }
    sum
}

fn decode_iterator(input: &[u8]) -> usize {
    let (mut lines, mut sum) = (StreamingPeekableIter::new(input, &[], false), 0);
    while let Some(Ok(Ok(PacketLineRef::Data(bytes)))) = lines.read_line() {
        sum += black_box(bytes).len();
    }
    sum
}

fn decode_delimited(input: &BytesMut) -> usize {
    let (mut codec, mut input, mut sum) = (LengthDelimitedCodec::new(), input.clone(), 0);
    while let Ok(Some(bytes)) = codec.decode(&mut input) {
        sum += black_box(bytes).len();
    }
    sum
}

/// Nanoseconds a packet of a pass over all packets, which must find `expected` bytes of payload.
fn per_packet(
    expected: usize,
    mut pass: impl FnMut() -> usize + 'static,
) -> Result<Sample<'static>, String> {
    const PASSES: usize = 50;

    Ok(Box::new(move || {
        let start = processor_time();
        for _ in 0..PASSES {
            if pass() != expected {
                return Err(io::Error::other("not all packets were found"));
            }
        }
        Ok((processor_time() - start) * 1e9 / (PASSES * PACKETS) as f64)
    }))
}

/// Packets of 16 bytes, written one behind the other.
pub(super) fn encode(bench: &Bench) -> Row {
    const LEN: usize = 16;

    let title = "encode packets with a payload of 16 bytes";
    let mut plan = Plan::new("encode-16", title, NANOSECONDS);
    let expected = PACKETS * (LEN + 4);
    let mut wire = Vec::with_capacity(expected);
    plan.add(
        OURS,
        per_packet(expected, move || {
            wire.clear();
            for _ in 0..PACKETS {
                let encoder = Encoder::packets(black_box([b'x'; LEN]));
                encoder.slices().for_each(|slice| wire.extend_from_slice(slice));
            }
            black_box(&wire).len()
        }),
    );
    let mut wire = Vec::with_capacity(expected);
    plan.add(
        "gix",
        per_packet(expected, move || {
            wire.clear();
            for _ in 0..PACKETS {
                // A Vec takes everything.
                let _ = gix::data_to_write(&black_box([b'x'; LEN]), &mut wire);
            }
            black_box(&wire).len()
        }),
    );
    let mut wire = BytesMut::with_capacity(expected);
    let (mut codec, payload) = (LengthDelimitedCodec::new(), Bytes::from_static(&[b'x'; LEN]));
    plan.add(
        DELIMITED,
        per_packet(expected, move || {
            wire.clear();
            for _ in 0..PACKETS {
                // It is short enough.
                let _ = codec.encode(black_box(payload.clone()), &mut wire);
            }
            black_box(&wire).len()
        }),
    );
    plan.measure(bench.pace)
}

/// Full packets, decoded and copied to where they belong.
pub(super) fn full(bench: &Bench) -> Row {
    const FULL: usize = 16;

    let title = "decode full packets and copy their payload";
    let mut plan = Plan::new("decode-full", title, SPEED);
    let mut wire = Vec::new();
    for _ in 0..FULL {
        gix::data_to_write(&[b'x'; MAX_PAYLOAD_LEN], &mut wire).expect("a Vec takes everything");
    }
    let mut copied = vec![0; wire.len()];
    let (ours, theirs, whole) = (wire.clone(), wire.clone(), wire);
    let mut to = copied.clone();
    plan.add(
        OURS,
        speed(FULL * MAX_PAYLOAD_LEN, move || {
            let (mut decoder, mut input, mut at) = (Decoder::new(), black_box(&ours[..]), 0);
            while let Ok(Some(Piece::Data(data))) = decoder.decode(&mut input) {
                to[at..at + data.bytes.len()].copy_from_slice(data.bytes);
                at += data.bytes.len();
            }
            black_box(&to);
        }),
    );
    let mut to = copied.clone();
    plan.add(
        STREAMING,
        speed(FULL * MAX_PAYLOAD_LEN, move || {
            let (mut input, mut at) = (black_box(&theirs[..]), 0);
            while let Ok(Stream::Complete { line, bytes_consumed }) = streaming(input) {
                if let PacketLineRef::Data(bytes) = line {
                    to[at..at + bytes.len()].copy_from_slice(bytes);
                    at += bytes.len();
                }
                input = &input[bytes_consumed..];
            }
            black_box(&to);
        }),
    );
    plan.add(
        MEMCPY,
        speed(FULL * MAX_PAYLOAD_LEN, move || {
            copied.copy_from_slice(black_box(&whole));
            black_box(&copied);
        }),
    );
    plan.measure(bench.pace)
}

fn speed(bytes: usize, mut pass: impl FnMut() + 'static) -> Result<Sample<'static>, String> {
    const PASSES: usize = 20;

    Ok(Box::new(move || {
        let start = processor_time();
        (0..PASSES).for_each(|_| pass());
        Ok((PASSES * bytes) as f64 / (processor_time() - start) / 1e9)
    }))
}

/// This thread's, in seconds: nothing here waits, so others on the machine do not count.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
