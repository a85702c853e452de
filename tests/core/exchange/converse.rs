//! A client and a server talk, in memory.

use simple_ipc::exchange::{Part, Phase, Sending};
use simple_ipc::{client, server};

use crate::message::Message;
use crate::random::Random;
use crate::reading::{Way, read, ways};

/// Writes all of `sending`, `step` bytes at a time: the chunks that go over the wire.
fn write<B: AsRef<[u8]>, N: Phase>(mut sending: Sending<B, N>, step: usize) -> (Vec<Vec<u8>>, N) {
    let mut chunks = Vec::new();
    loop {
        sending = match sending.done() {
            Ok((next, _)) => return (chunks, next),
            Err(sending) => sending,
        };
        chunks.push(sending.slices().flatten().copied().take(step).collect());
        sending.wrote(chunks[chunks.len() - 1].len());
    }
}

/// Reads `chunks` again as they come, or in chunks of `step`.
fn receive<N>(
    incoming: simple_ipc::exchange::Incoming<N>,
    chunks: &[Vec<u8>],
    step: usize,
    way: Way<N>,
) -> (Vec<u8>, N) {
    let wire = chunks.concat();
    let chunks: Vec<_> = wire.chunks(step).collect();
    let (Message::Whole(payload), Ok(next)) = read(incoming, &chunks, way) else { panic!() };
    (payload, next)
}

fn converse(question: &[u8], answer: &[u8], write_step: usize, read_step: usize) {
    for (at, server_way) in ways().into_iter().enumerate() {
        let client_way = ways()[at];
        let (wire, awaiting) = write(client::request(question), write_step);
        let (heard, reply) = receive(server::accept(None), &wire, read_step, server_way);
        assert!(heard == question);
        let (wire, _done) = write(reply.finish(answer), write_step);
        let (heard, _done) = receive(awaiting, &wire, read_step, client_way);
        assert!(heard == answer);
    }
}

#[test]
fn in_writes_and_reads_of_every_size() {
    let messages: [&[u8]; 5] = [b"", b"a", b"0000", b"ping", b"\0\xff a longer one\n"];
    for question in messages {
        for answer in messages {
            for write_step in 1..=12 {
                for read_step in 1..=12 {
                    converse(question, answer, write_step, read_step);
                }
            }
        }
    }
}

#[test]
fn with_messages_of_many_packets() {
    let long: Vec<u8> = (0..200_000_u32).map(|at| (at * 7 / 3) as u8).collect();
    for (write_step, read_step) in [(1000, 4096), (65_536, 65_520), (1 << 20, 1 << 20)] {
        converse(&long, b"short", write_step, read_step);
        converse(b"", &long, write_step, read_step);
        converse(&long[..65_516], &long[..65_517], write_step, read_step);
    }
}

/// Both ends write and read at once: the server echoes each part as soon as it has it.
#[test]
fn in_both_directions_at_once() {
    let mut random = Random(4);
    for _ in 0..200 {
        let question: Vec<u8> = (0..random.below(300)).map(|_| random.next() as u8).collect();
        let (request, answer) = client::stream().split();
        let (heard, reply) = server::accept(None).split();
        let (mut request, mut reply) = (Some(request), Some(reply));
        let (mut heard, mut answer) = (heard, answer);
        let (mut to_send, mut echoed) = (&question[..], Vec::<u8>::new());
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        while !answer.is_whole() {
            match random.below(3) {
                0 => {
                    let Some(outgoing) = request.take() else { continue };
                    let (piece, rest) = to_send.split_at(random.below(to_send.len() + 1));
                    let step = 1 + random.below(9);
                    to_send = rest;
                    if rest.is_empty() {
                        to_server.extend(write(outgoing.finish(piece), step).0.concat());
                    } else {
                        let (wire, outgoing) = write(outgoing.piece(piece), step);
                        to_server.extend(wire.concat());
                        request = Some(outgoing);
                    }
                }
                1 => {
                    let n = random.below(to_server.len() + 1);
                    let chunk: Vec<u8> = to_server.drain(..n).collect();
                    let mut input = &chunk[..];
                    while let Some(part) = heard.receive(&mut input).unwrap() {
                        let Some(outgoing) = reply.take() else { break };
                        match part {
                            Part::Data(data) => {
                                let (wire, outgoing) = write(outgoing.piece(data), 7);
                                to_client.extend(wire.concat());
                                reply = Some(outgoing);
                            }
                            Part::End => {
                                to_client.extend(write(outgoing.finish(b""), 7).0.concat())
                            }
                        }
                    }
                }
                _ => {
                    let n = random.below(to_client.len() + 1);
                    let mut chunk: Vec<u8> = to_client.drain(..n).collect();
                    let len = answer.strip(&mut chunk).unwrap();
                    echoed.extend(&chunk[..len]);
                }
            }
        }
        assert_eq!(echoed, question);
        assert!(heard.is_whole() && to_server.is_empty() && to_client.is_empty());
        assert!(heard.done().is_ok() && answer.done().is_ok());
    }
}
