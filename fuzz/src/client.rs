//! Whatever comes back, a client has either all of an answer within its limit or the reason why
//! not; the way it reads, and the cuts, make no difference; and what it asked is what it meant.

use simple_ipc::client;
use simple_ipc::exchange::{Phase, Sending};

use super::input::{Input, cut};
use super::message::{Message, message};
use super::reading::{read, ways};

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = (input.byte() % 2 == 1).then(|| input.byte().into());
    let (sizes, question) = (input.sizes(), vec![input.byte(); input.len()]);
    // Not too many writes, for speed.
    let step = 1 + input.len() + question.len() / 64;
    let stream = input.rest();

    let chunks = cut(stream, &sizes);
    let expected = message(stream, limit.unwrap_or(usize::MAX));
    for way in ways() {
        let (wire, answer) = write(ask(limit, &question), step);
        assert!(message(&wire, usize::MAX) == Message::Whole(question.clone()));

        let (seen, next) = read(answer, &chunks, way);
        assert_eq!(seen, expected);
        assert_eq!(next.is_ok(), matches!(seen, Message::Whole(_)));
    }
}

fn ask(limit: Option<usize>, question: &[u8]) -> Sending<&[u8], client::Answer> {
    client::stream_limited(limit.map(|limit| limit as u64)).finish(question)
}

fn write<B: AsRef<[u8]>, N: Phase>(mut sending: Sending<B, N>, step: usize) -> (Vec<u8>, N) {
    let mut wire = Vec::new();
    loop {
        sending = match sending.done() {
            Ok((next, _)) => return (wire, next),
            Err(sending) => sending,
        };
        let before = wire.len();
        // The slices a vectored write would get: it takes no more than a few.
        wire.extend(sending.slices().take(3).flatten().take(step));
        sending.wrote(wire.len() - before);
    }
}
