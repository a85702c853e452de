//! What a stream says as a message, by the naive decoder.

use super::naive::{self, End, Packet};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Whole(Vec<u8>),
    /// Not a byte came.
    Silent,
    /// The stream ended inside the message, after this much of it.
    Truncated(Vec<u8>),
    /// These bytes, at this place, are no header at all.
    Bad(usize, [u8; 4]),
    /// This packet, at this place, may not stand in a message.
    Unexpected(usize, [u8; 4]),
    TooLong,
}

/// The message at the beginning of `wire`, of at most `limit` bytes.
pub(crate) fn message(wire: &[u8], limit: usize) -> Message {
    let (packets, end) = naive::decode(wire);
    let (mut payload, mut at) = (Vec::new(), 0);
    for packet in packets {
        match packet {
            Packet::Data(data) => {
                at += 4 + data.len();
                payload.extend(data);
                if payload.len() > limit {
                    return Message::TooLong;
                }
            }
            Packet::Flush => return Message::Whole(payload),
            _ => return Message::Unexpected(at, wire[at..at + 4].try_into().unwrap()),
        }
    }
    match end {
        End::Bad(at, header) => Message::Bad(at, header),
        End::InData(_, data) => {
            payload.extend(data);
            if payload.len() > limit { Message::TooLong } else { Message::Truncated(payload) }
        }
        End::Clean if wire.is_empty() => Message::Silent,
        End::Clean | End::InHeader(_) => Message::Truncated(payload),
    }
}
