//! A writer gathers as [`gather`](super::gather) says, and never continues what was interrupted.

use proptest::prelude::*;
use simple_ipc::client::{self, Answer};
use simple_ipc::exchange::{Chunk, Interrupted, Outgoing, Sending, Write, Writer};

use crate::message::{Message, message};
use crate::naive;

const PACKET: usize = 65516;

fn send(
    writer: &mut Writer<Answer>,
    mut sending: Sending<Chunk<'_>, Outgoing<Answer>>,
    wire: &mut Vec<u8>,
) {
    assert!(!sending.is_done(), "nothing to send is not sent");
    assert_eq!(sending.sent(), wire.len() as u64, "it begins where the last ended");
    wire.extend(sending.slices().flatten());
    sending.wrote(sending.remaining());
    let Ok((outgoing, chunk)) = sending.done() else { panic!() };
    writer.sent(outgoing, chunk);
}

/// One write of a message that is written in several ways.
#[derive(Clone, Copy, Debug)]
enum Step {
    Lend(usize),
    Copy(usize),
    /// Or lend it, if it is not kept.
    Keep(usize),
    Flush,
}

/// Writes by `steps`, and gives what was written and the wire.
fn write(steps: &[Step], rest: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut writer, mut said, mut wire) = (Writer::new(client::stream()), Vec::new(), Vec::new());
    let payload: Vec<u8> = (0..500_000_u32).map(|at| (at % 253) as u8).collect();
    let next = |said: &Vec<u8>, len: usize| payload[said.len() % 1000..][..len].to_vec();
    for step in steps {
        let (bytes, lend) = match *step {
            Step::Lend(len) | Step::Keep(len) => (next(&said, len), true),
            Step::Copy(len) => (next(&said, len), false),
            Step::Flush => {
                if let Some(sending) = writer.flush().unwrap() {
                    send(&mut writer, sending, &mut wire);
                }
                assert!(writer.is_empty() && writer.flush().unwrap().is_none());
                continue;
            }
        };
        let mut left = &bytes[..];
        if matches!(step, Step::Keep(_)) && writer.keep(left) {
            left = &[];
        }
        while !left.is_empty() {
            let write = if lend { writer.write(left) } else { writer.write_copied(left) };
            left = match write.unwrap() {
                Write::Kept(n) => {
                    assert!(n > 0, "progress");
                    &left[n..]
                }
                Write::Send(n, sending) => {
                    send(&mut writer, sending, &mut wire);
                    &left[n..]
                }
            };
        }
        said.extend(bytes);
    }
    let rest = next(&said, rest);
    if writer.is_better_flushed(&rest) {
        let sending = writer.flush().unwrap().unwrap();
        send(&mut writer, sending, &mut wire);
    }
    wire.extend(writer.finish(&rest).unwrap().slices().flatten());
    said.extend(rest);
    (said, wire)
}

#[test]
fn packets_are_full_unless_flushed() {
    let steps =
        [Step::Lend(PACKET - 1), Step::Copy(3 * PACKET), Step::Lend(2 * PACKET), Step::Copy(1)];
    let (said, wire) = write(&steps, 0);
    assert!(wire == naive::encode(&said, true));
    let steps = [Step::Keep(PACKET - 1), Step::Keep(1), Step::Keep(PACKET), Step::Keep(1)];
    let (said, wire) = write(&steps, 0);
    assert!(wire == naive::encode(&said, true));
    let (said, wire) = write(&[Step::Lend(5), Step::Flush, Step::Flush, Step::Copy(6)], 7);
    let expected = [naive::encode(&said[..5], false), naive::encode(&said[5..], true)].concat();
    assert!(wire == expected);
}

#[test]
fn a_message_of_nothing_is_a_flush() {
    assert_eq!(write(&[], 0).1, b"0000");
    assert_eq!(write(&[Step::Lend(0), Step::Copy(0), Step::Flush], 0).1, b"0000");
}

/// Whoever took a piece and did not send it can write, flush and end no more.
#[test]
fn what_was_interrupted_stays_so() {
    let interrupted = |writer: &mut Writer<Answer>| {
        assert!(!writer.keep(b"more"));
        assert_eq!(writer.write(b"more").err(), Some(Interrupted));
        assert_eq!(writer.write_copied(b"more").err(), Some(Interrupted));
        assert_eq!(writer.flush().err(), Some(Interrupted));
        assert_eq!(writer.finish(b"").err(), Some(Interrupted));
    };
    let full = vec![0; PACKET];

    let mut writer = Writer::new(client::stream());
    drop(writer.write(&full));
    interrupted(&mut writer);

    let mut writer = Writer::new(client::stream());
    assert!(matches!(writer.write_copied(&full), Ok(Write::Kept(PACKET))));
    drop(writer.write_copied(b"more"));
    interrupted(&mut writer);

    let mut writer = Writer::new(client::stream());
    drop(writer.write(b"kept"));
    drop(writer.flush());
    interrupted(&mut writer);
    assert_eq!(writer.split().err(), Some(Interrupted));

    let mut writer = Writer::new(client::stream());
    drop(writer.finish(b"half"));
    interrupted(&mut writer);
}

#[test]
fn what_is_kept_survives_a_split() {
    let mut writer = Writer::new(client::stream());
    drop(writer.write(b"kept "));
    let (mut writer, answer) = writer.split().unwrap();
    assert!(!answer.has_begun());
    let sending = writer.finish(b"and more").unwrap();
    let wire: Vec<u8> = sending.slices().flatten().copied().collect();
    assert_eq!(message(&wire, usize::MAX), Message::Whole(b"kept and more".to_vec()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_steps_say_the_message(
        steps in prop::collection::vec(prop_oneof![
            (0..200_000_usize).prop_map(Step::Lend),
            (0..200_000_usize).prop_map(Step::Copy),
            (0..100_usize).prop_map(Step::Lend),
            (0..100_usize).prop_map(Step::Copy),
            (0..100_000_usize).prop_map(Step::Keep),
            Just(Step::Flush),
        ], 0..8),
        rest in 0..100_000_usize,
    ) {
        let (said, wire) = write(&steps, rest);
        prop_assert!(message(&wire, usize::MAX) == Message::Whole(said.clone()));
        let flushes = steps.iter().filter(|step| matches!(step, Step::Flush)).count();
        let (packets, _) = naive::decode(&wire);
        // As few as can be, beside those that flushes cut, and the one before the end.
        prop_assert!(packets.len() <= said.len().div_ceil(PACKET) + flushes + 2);
    }
}
