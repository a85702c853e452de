//! The bodies of the fuzz targets, over bytes that are the same in every run: random ones, such as
//! resemble packets, and recorded traffic. So they cannot rot, and need no fuzzer to find the
//! plainest mistakes.
#![cfg(feature = "alloc")]

#[allow(unreachable_pub, reason = "it is a library of its own")]
#[path = "../fuzz/src/lib.rs"]
mod bodies;

use std::fs;
use std::path::PathBuf;

use bodies::random::Random;

/// What streams are made of.
const WORDS: [&[u8]; 16] = [
    b"0000",
    b"0001",
    b"0002",
    b"0003",
    b"0004",
    b"0005a",
    b"0006\x01b",
    b"0007\x02cd",
    b"000A\x03",
    b"0005\x04",
    b"0006\n\0",
    b"0024",
    b"fff0",
    b"fff1",
    b"+005",
    b"00",
];

fn random_bytes(random: &mut Random) -> Vec<u8> {
    let len = random.below(64);
    (0..len).map(|_| random.next() as u8).collect()
}

/// Some bytes for the choices that a body makes first, and then words.
fn words(random: &mut Random) -> Vec<u8> {
    let head: Vec<u8> = (0..random.below(12)).map(|_| (random.next() % 8) as u8).collect();
    let words: Vec<&[u8]> = (0..random.below(8)).map(|_| WORDS[random.below(16)]).collect();
    [head, words.concat()].concat()
}

fn vectors() -> Vec<Vec<u8>> {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    ["simple-ipc", "pkt-line"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(vectors.join(folder)).unwrap())
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

fn run(body: fn(&[u8]), rounds: usize) {
    let mut random = Random(6);
    body(b"");
    for _ in 0..rounds {
        body(&random_bytes(&mut random));
        body(&words(&mut random));
    }
    for mut vector in vectors() {
        // The longest take long, and have nothing at their ends that they lack at the beginning.
        vector.truncate(140_000);
        for head in [&[0; 16][..], &[7; 16], &[255; 16]] {
            body(&[head, &vector].concat());
        }
    }
}

#[test]
fn band() {
    run(bodies::band::body, 2000);
}

#[test]
fn client() {
    run(bodies::client::body, 300);
}

#[test]
fn decode() {
    run(bodies::decode::body, 2000);
}

#[test]
fn encode() {
    run(bodies::encode::body, 200);
}

#[test]
fn lifecycle() {
    let mut random = Random(7);
    for round in 0..3000 {
        let events: Vec<u8> = (0..round % 300).map(|_| random.next() as u8).collect();
        bodies::lifecycle::body(&events);
    }
}

#[test]
fn records() {
    run(bodies::records::body, 2000);
}

#[test]
fn server() {
    run(bodies::server::body, 300);
}
