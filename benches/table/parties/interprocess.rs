//! The crate `interprocess`: the transport, with packets made by hand.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericFilePath, Listener, ListenerOptions, Name, Stream};

use crate::support::floor::{frame, is_whole};
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
                write_slices(&mut stream, &mut frame(request))?;
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
        Answer::Short(bytes) => write_slices(stream, &mut frame(&bytes)),
        Answer::Long(_) | Answer::Lines(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn write_slices(stream: &mut Stream, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        let sent = stream.write_vectored(slices)?;
        IoSlice::advance_slices(&mut slices, sent);
    }
    Ok(())
}

fn receive(stream: &mut Stream, message: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut len = 0;
    while !is_whole(&buffer[..len])? {
        match stream.read(&mut buffer[len..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            received => len += received,
        }
    }
    message.extend_from_slice(&buffer[4..len - 4]);
    Ok(())
}
