//! Whatever a client sends, a server comes to a reply only through a whole request within its
//! limit; and whatever it replies, the client has a whole answer only if the server finished it.

use simple_ipc::exchange::{Phase, Sending};
use simple_ipc::{client, server};

use super::input::{Input, cut};
use super::message::{Message, message};
use super::reading::{read, ways};

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = (input.byte() % 2 == 1).then(|| usize::from(input.byte()));
    let (sizes, finish) = (input.sizes(), input.byte() % 2 == 1);
    let pieces: Vec<Vec<u8>> =
        (0..input.byte() % 4).map(|_| vec![input.byte(); input.len()]).collect();
    let stream = input.rest();

    let chunks = cut(stream, &sizes);
    let expected = message(stream, limit.unwrap_or(usize::MAX));
    for way in ways() {
        let request = server::accept(limit.map(|limit| limit as u64));
        let (seen, reply) = read(request, &chunks, way);
        assert_eq!(seen, expected);
        assert_eq!(reply.is_ok(), matches!(seen, Message::Whole(_)));
        if let Ok(reply) = reply {
            answer(reply, &pieces, finish);
        }
    }
}

fn answer(mut reply: server::Reply, pieces: &[Vec<u8>], finish: bool) {
    let mut wire = Vec::new();
    for piece in pieces {
        reply = write(reply.piece(piece), &mut wire);
        assert_eq!(reply.sent(), wire.len() as u64);
    }
    if finish {
        write(reply.finish(b"0000"), &mut wire);
    } else {
        drop(reply);
    }
    let mut sending = client::request(b"");
    sending.wrote(4);
    let Ok((answer, _)) = sending.done() else { panic!() };
    let (seen, _) = read(answer, &[&wire], ways()[0]);
    if finish {
        assert!(seen == Message::Whole([&pieces.concat()[..], b"0000"].concat()));
    } else {
        assert!(matches!(seen, Message::Silent | Message::Truncated(_)));
    }
}

fn write<B: AsRef<[u8]>, N: Phase>(mut sending: Sending<B, N>, wire: &mut Vec<u8>) -> N {
    wire.extend(sending.slices().flatten());
    sending.wrote(sending.remaining());
    let Ok((next, _)) = sending.done() else { panic!("all was written") };
    next
}
