//! The crate `interprocess`: the transport. A message is its length and its bytes, as one would
//! write it by hand.

use std::io::{self, BufWriter, IoSlice, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericFilePath, Listener, ListenerOptions, Name, Stream};

use crate::support::floor::READS;
use crate::support::load::{Answer, answer, converse};
use crate::support::party::Party;

pub(crate) static INTERPROCESS: Party = Party {
    name: "interprocess",
    serve: |path, threads, ready| {
        let listener = Arc::new(ListenerOptions::new().name(name(path)?).create_sync()?);
        for _ in 1..threads {
            let listener = listener.clone();
            thread::spawn(move || accept_for_ever(&listener));
        }
        ready();
        accept_for_ever(&listener)
    },
    client: |path| {
        let name = name(path)?;
        Ok(Box::new(move |work| {
            converse(work, |request, reply| {
                let mut stream = Stream::connect(name.borrow())?;
                send(&mut stream, request)?;
                receive(&mut stream, reply)
            })
        }))
    },
};

pub(super) fn name(path: &Path) -> io::Result<Name<'static>> {
    path.to_path_buf().into_os_string().to_fs_name::<GenericFilePath>()
}

fn accept_for_ever(listener: &Listener) -> io::Result<()> {
    loop {
        let mut stream = listener.accept()?;
        // A client that went wrong concerns nobody else.
        let _ = exchange(&mut stream);
    }
}

fn exchange(stream: &mut Stream) -> io::Result<()> {
    let mut message = Vec::new();
    receive(stream, &mut message)?;
    match answer(&message) {
        Answer::Short(bytes) => send(stream, &bytes),
        Answer::Long(bytes) => send(stream, bytes),
        Answer::Lines(lines) => {
            let mut stream = BufWriter::with_capacity(READS[1], stream);
            stream.write_all(&length(lines.as_flattened()))?;
            lines.iter().try_for_each(|line| stream.write_all(line))?;
            stream.flush()
        }
    }
}

fn send(stream: &mut Stream, message: &[u8]) -> io::Result<()> {
    let length = length(message);
    let mut slices = &mut [IoSlice::new(&length), IoSlice::new(message)][..];
    while !slices.is_empty() {
        let sent = stream.write_vectored(slices)?;
        IoSlice::advance_slices(&mut slices, sent);
    }
    Ok(())
}

fn receive(stream: &mut Stream, message: &mut Vec<u8>) -> io::Result<()> {
    let mut first = [0; READS[0]];
    let mut received = 0;
    while received < LENGTH {
        match stream.read(&mut first[received..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => received += more,
        }
    }
    let rest = begin(&first[..received], message)?;
    match stream.take(rest).read_to_end(message)? as u64 == rest {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What comes before a message.
const LENGTH: usize = 8;

pub(super) fn length(message: &[u8]) -> [u8; LENGTH] {
    (message.len() as u64).to_le_bytes()
}

/// Takes what was received first, and says how much is to come.
pub(super) fn begin(received: &[u8], message: &mut Vec<u8>) -> io::Result<u64> {
    let Some((length, begun)) = received.split_first_chunk::<LENGTH>() else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    message.clear();
    message.extend_from_slice(begun);
    let rest = u64::from_le_bytes(*length).checked_sub(begun.len() as u64);
    rest.ok_or_else(|| io::Error::other("more than was announced"))
}
