//! The ways to receive a message, which must all come to the same.

use simple_ipc::exchange::{EndOfStream, Incoming, MessageError, Part};

use super::message::Message;

/// Takes a chunk of the stream, and gives the payload in it.
pub(crate) type Way<N> = fn(&mut Incoming<N>, &[u8]) -> Result<Vec<u8>, MessageError>;

pub(crate) fn ways<N>() -> Vec<Way<N>> {
    vec![
        receive,
        strip,
        in_place,
        #[cfg(feature = "alloc")]
        absorb,
    ]
}

fn receive<N>(incoming: &mut Incoming<N>, mut chunk: &[u8]) -> Result<Vec<u8>, MessageError> {
    let mut payload = Vec::new();
    while let Some(Part::Data(data)) = incoming.receive(&mut chunk)? {
        assert!(!data.is_empty());
        payload.extend(data);
    }
    assert!(chunk.is_empty() || incoming.is_whole());
    Ok(payload)
}

fn strip<N>(incoming: &mut Incoming<N>, chunk: &[u8]) -> Result<Vec<u8>, MessageError> {
    let mut buffer = chunk.to_vec();
    let len = incoming.strip(&mut buffer)?;
    buffer.truncate(len);
    Ok(buffer)
}

/// Reads in place wherever that is possible, and headers byte by byte.
fn in_place<N>(incoming: &mut Incoming<N>, mut chunk: &[u8]) -> Result<Vec<u8>, MessageError> {
    let mut payload = Vec::new();
    while !chunk.is_empty() && !incoming.is_whole() {
        let n = incoming.in_place().min(chunk.len());
        let (mut taken, rest) = chunk.split_at(n.max(1));
        if n > 0 {
            payload.extend(taken);
            incoming.filled(n);
        } else {
            let part = incoming.receive(&mut taken)?;
            assert!(!matches!(part, Some(Part::Data(_))), "it was to be read in place");
        }
        chunk = rest;
    }
    Ok(payload)
}

#[cfg(feature = "alloc")]
fn absorb<N>(incoming: &mut Incoming<N>, chunk: &[u8]) -> Result<Vec<u8>, MessageError> {
    let mut message = b"before".to_vec();
    message.extend(chunk);
    let whole = incoming.absorb(&mut message, 6)?;
    assert_eq!(whole, incoming.is_whole());
    assert_eq!(message[..6], *b"before");
    Ok(message.split_off(6))
}

/// What comes of `chunks`, and the phase after them or this one.
pub(crate) fn read<N>(
    mut incoming: Incoming<N>,
    chunks: &[&[u8]],
    way: Way<N>,
) -> (Message, Result<N, Incoming<N>>) {
    let mut payload = Vec::new();
    for chunk in chunks {
        match way(&mut incoming, chunk) {
            Ok(bytes) => payload.extend(bytes),
            Err(error) => return (failed(error, &mut incoming), incoming.done()),
        }
        assert_eq!(incoming.received(), payload.len() as u64);
    }
    assert_eq!(incoming.has_begun(), !chunks.concat().is_empty());
    let message = match incoming.end_of_stream() {
        EndOfStream::Whole => Message::Whole(payload),
        EndOfStream::Silent => Message::Silent,
        EndOfStream::Truncated => Message::Truncated(payload),
    };
    assert_eq!(incoming.is_whole(), matches!(message, Message::Whole(_)));
    (message, incoming.done())
}

/// What `error` says. Checks that it stays, and that nothing more is taken.
fn failed<N>(error: MessageError, incoming: &mut Incoming<N>) -> Message {
    let mut more = &b"0005a0000"[..];
    assert_eq!(incoming.receive(&mut more), Err(error));
    assert_eq!(incoming.strip(&mut b"0000".to_owned()), Err(error));
    assert_eq!((more.len(), incoming.in_place(), incoming.is_whole()), (9, 0, false));
    assert_eq!(incoming.end_of_stream(), EndOfStream::Truncated);
    match error {
        MessageError::Packet(bad) => {
            assert_eq!(error.bytes(), Some(bad.header.bytes()));
            Message::Bad(bad.offset as usize, bad.header.bytes())
        }
        MessageError::Unexpected { offset, header } => {
            assert_eq!(error.bytes(), Some(header.encode()));
            Message::Unexpected(offset as usize, header.encode())
        }
        MessageError::TooLong { .. } => {
            assert_eq!(error.bytes(), None);
            Message::TooLong
        }
        error => panic!("{error}"),
    }
}
