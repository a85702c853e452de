//! Recorded traffic of git, replayed in both roles (see `vectors/README.md`).

#[path = "core/message.rs"]
mod message;
#[path = "core/naive.rs"]
mod naive;
#[path = "core/random.rs"]
mod random;
#[path = "core/reading.rs"]
mod reading;

use std::fs;
use std::path::PathBuf;

use simple_ipc::exchange::{Incoming, Phase, Sending};
use simple_ipc::pkt_line::band::{Band, Demux};
use simple_ipc::pkt_line::{Decoder, Piece, text};
use simple_ipc::{client, server};

use message::{Message, message};
use naive::{End, Packet};
use random::Random;
use reading::{read, ways};

const EXCHANGES: [&str; 9] = [
    "probe",
    "ping",
    "unknown-command",
    "sendbytes-A100000",
    "sendbytes-B65506",
    "sendbytes-C65507",
    "big",
    "chunk",
    "quit",
];

const STREAMS: [&str; 5] = [
    "v2-capabilities.pkt",
    "v2-fetch.request.pkt",
    "v2-fetch.response.pkt",
    "v2-ls-refs.request.pkt",
    "v2-ls-refs.response.pkt",
];

fn vector(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn exchange(name: &str) -> [Vec<u8>; 2] {
    ["request", "response"].map(|direction| vector(&format!("simple-ipc/{name}.{direction}")))
}

#[test]
fn no_vector_is_left_out() {
    for (folder, count) in [("simple-ipc", 2 * EXCHANGES.len()), ("pkt-line", STREAMS.len())] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(folder);
        assert_eq!(fs::read_dir(path).unwrap().count(), count, "{folder}");
    }
}

/// The wire whole, byte by byte, and in random chunks.
fn cuts(wire: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut random = Random(wire.len() as u64);
    let mut cuts = vec![vec![wire], wire.chunks(1).collect()];
    for most in [30, 70_000] {
        let (mut chunks, mut rest) = (Vec::new(), wire);
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at((1 + random.below(most)).min(rest.len()));
            chunks.push(chunk);
            rest = behind;
        }
        cuts.push(chunks);
    }
    cuts
}

fn check<N>(incoming: fn() -> Incoming<N>, wire: &[u8], expected: &Message) {
    for chunks in cuts(wire) {
        for way in ways() {
            let (seen, next) = read(incoming(), &chunks, way);
            assert!(seen == *expected);
            assert_eq!(next.is_ok(), matches!(expected, Message::Whole(_)));
        }
    }
}

/// An answer, as a client comes to it.
fn answer() -> client::Answer {
    let mut sending = client::request(b"");
    sending.wrote(sending.remaining());
    let Ok((answer, _)) = sending.done() else { panic!() };
    answer
}

#[test]
fn both_roles_read_what_git_wrote() {
    for name in EXCHANGES {
        let [request, response] = exchange(name);
        check(|| server::accept(None), &request, &message(&request, usize::MAX));
        check(answer, &response, &message(&response, usize::MAX));
    }
}

/// So that not only two readers agree: what git's source says went over the wire.
#[test]
fn what_git_wrote_is_known() {
    let payload = |wire: &[u8]| match message(wire, usize::MAX) {
        Message::Whole(payload) => payload,
        other => panic!("{other:?}"),
    };
    let say = |name: &str| exchange(name).map(|wire| payload(&wire));
    let [request, response] = exchange("probe");
    assert!(request.is_empty() && response.is_empty());
    assert_eq!(say("ping"), [b"ping".to_vec(), b"pong".to_vec()]);
    assert_eq!(say("quit"), [b"quit".to_vec(), b"".to_vec()]);
    assert_eq!(say("unknown-command"), [b"nosuch".to_vec(), b"unhandled command: nosuch".to_vec()]);
    for (name, letter, len) in [
        ("sendbytes-A100000", 'A', 100_000),
        ("sendbytes-B65506", 'B', 65_506),
        ("sendbytes-C65507", 'C', 65_507),
    ] {
        let sent = format!("sendbytes {}", letter.to_string().repeat(len));
        let received = format!("rcvd:{letter}{len:08}\n");
        assert!(say(name) == [sent.into_bytes(), received.into_bytes()], "{name}");
    }
    for name in ["big", "chunk"] {
        let lines: String = (0..10_000).map(|line| format!("big: {line:075}\n")).collect();
        assert!(say(name)[1] == lines.as_bytes(), "{name}");
    }
}

/// Writes all of `sending` in random writes.
fn write<B: AsRef<[u8]>, N: Phase>(mut sending: Sending<B, N>) -> (Vec<u8>, N) {
    let (mut wire, mut random) = (Vec::new(), Random(5));
    loop {
        sending = match sending.done() {
            Ok((next, _)) => return (wire, next),
            Err(sending) => sending,
        };
        let n = random.below(100_000).min(sending.remaining());
        wire.extend(sending.slices().flatten().take(n));
        sending.wrote(n);
    }
}

/// What was sent as one buffer has git's bytes to the last; ten thousand pieces have their
/// content.
#[test]
fn both_roles_write_what_git_wrote() {
    for name in EXCHANGES.into_iter().filter(|name| *name != "probe") {
        let [request, response] = exchange(name);
        let Message::Whole(question) = message(&request, usize::MAX) else { panic!() };
        assert!(naive::encode(&question, true) == request, "the naive writer is right, too");
        let (wire, awaiting) = write(client::request(&question));
        assert!(wire == request, "{name}");

        let (_, Ok(mut reply)) = read(server::accept(None), &[&wire], ways()[0]) else { panic!() };
        let Message::Whole(said) = message(&response, usize::MAX) else { panic!() };
        let wire = if name == "chunk" {
            let mut all = Vec::new();
            for piece in said.chunks(81) {
                let (wire, next) = write(reply.piece(piece));
                all.extend(wire);
                reply = next;
            }
            all.extend(write(reply.finish(b"")).0);
            all
        } else {
            write(reply.finish(&said)).0
        };
        assert!(wire == response, "{name}");
        assert!(read(awaiting, &[&wire], ways()[1]).0 == Message::Whole(said));
    }
}

/// Every beginning of a message that git wrote is truncated or silent.
#[test]
fn no_part_of_what_git_wrote_looks_whole() {
    for name in EXCHANGES {
        for wire in exchange(name) {
            let near = |end: &usize| *end < 20 || wire.len() - end < 20 || end % 65_520 < 6;
            for end in (0..wire.len()).filter(near) {
                let (seen, _) = read(server::accept(None), &[&wire[..end]], ways()[0]);
                let expected =
                    if end == 0 { Message::Silent } else { message(&wire[..end], usize::MAX) };
                assert!(seen == expected && !matches!(seen, Message::Whole(_)), "{name} at {end}");
            }
        }
    }
}

/// The packets of a stream, and the side-bands in it once a line `packfile` has opened them.
fn decode(chunks: &[&[u8]]) -> (Vec<Packet>, [Vec<u8>; 3]) {
    let (mut decoder, mut demux) = (Decoder::new(), None::<Demux>);
    let (mut packets, mut payload) = (Vec::new(), Vec::new());
    let mut bands = <[Vec<u8>; 3]>::default();
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(piece) = decoder.decode(&mut input).unwrap() {
            packets.push(match piece {
                Piece::Data(data) => {
                    if let Some(demux) = &mut demux {
                        let (band, bytes) = demux.demux(data).unwrap();
                        bands[usize::from(band.byte() - 1)].extend(bytes);
                    }
                    payload.extend(data.bytes);
                    if !data.last {
                        continue;
                    }
                    if text::line(&payload) == b"packfile" {
                        demux = Some(Demux::new());
                    }
                    Packet::Data(core::mem::take(&mut payload))
                }
                Piece::Empty => Packet::Empty,
                Piece::Flush => Packet::Flush,
                Piece::Delimiter => Packet::Delimiter,
                Piece::ResponseEnd => Packet::ResponseEnd,
            });
        }
    }
    assert_eq!(decoder.end_of_stream(), Ok(()));
    assert_eq!(decoder.offset(), chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>());
    (packets, bands)
}

#[test]
fn the_codec_reads_other_git_streams() {
    for name in STREAMS {
        let stream = vector(&format!("pkt-line/{name}"));
        let (expected, end) = naive::decode(&stream);
        assert_eq!(end, End::Clean);
        assert_eq!(expected.last(), Some(&Packet::Flush));
        for chunks in cuts(&stream) {
            assert!(decode(&chunks).0 == expected, "{name}");
        }
        let delimited = expected.contains(&Packet::Delimiter);
        assert_eq!(delimited, name.ends_with(".request.pkt"), "{name}");
    }
}

#[test]
fn a_pack_comes_out_of_its_side_band() {
    let stream = vector("pkt-line/v2-fetch.response.pkt");
    for chunks in cuts(&stream) {
        let (packets, [pack, progress, error]) = decode(&chunks);
        // gitformat-pack(5): "PACK", version 2, and the number of objects, which git also says.
        assert_eq!(pack[..8], *b"PACK\0\0\0\x02");
        let objects = u32::from_be_bytes(pack[8..12].try_into().unwrap());
        let progress = String::from_utf8(progress).unwrap();
        assert!(progress.starts_with(&format!("Enumerating objects: {objects}, done.\n")));
        assert!(progress.contains("Total "));
        assert!(error.is_empty());
        // By the packets, without a demultiplexer.
        let of_band = |band: Band| {
            packets[1..].iter().filter_map(move |packet| match packet {
                Packet::Data(data) if data[0] == band.byte() => Some(&data[1..]),
                _ => None,
            })
        };
        assert!(of_band(Band::Data).collect::<Vec<_>>().concat() == pack);
        assert_eq!(of_band(Band::Progress).collect::<Vec<_>>().concat(), progress.as_bytes());
    }
}
