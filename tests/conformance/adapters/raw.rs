//! A client made of bare bytes: none of the library's code, so what it says of a server is not
//! the library's opinion of itself.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use simple_ipc::client::Delivery;
use simple_ipc::connect::State;
use simple_ipc::{ErrorKind, Phase};

use crate::seam::{self, ClientSettings, Failure};
use crate::wire::{Flaw, Reader, Stream, frame, packets};

/// Of all settings it has only the limit on sending; otherwise it waits for ever.
#[derive(Clone)]
pub struct Client {
    path: PathBuf,
    send: Option<Duration>,
}

fn failure(phase: Phase, kind: ErrorKind) -> Failure {
    Failure { phase, kind, delivery: Some(Delivery::Unknown), text: String::from("raw") }
}

fn not_sent(error: io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::BrokenPipe => ErrorKind::HungUp,
        io::ErrorKind::WouldBlock => ErrorKind::Deadline(Duration::ZERO),
        _ => panic!("the raw side cannot write: {error}"),
    };
    Failure { delivery: Some(Delivery::Incomplete), ..failure(Phase::Send, kind) }
}

impl seam::Client for Client {
    type Connection = Stream;
    const GIVES_UP_SENDING: bool = cfg!(unix);

    fn new(path: &Path, settings: ClientSettings) -> Self {
        Self { path: path.into(), send: settings.send }
    }

    fn call(&self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        seam::Answer::read_all(seam::Connection::send(self.connect()?, request)?)
    }

    fn call_into(&self, request: &[u8], answer: &mut Vec<u8>) -> Result<(), Failure> {
        *answer = self.call(request)?;
        Ok(())
    }

    fn connect(&self) -> Result<Self::Connection, Failure> {
        let connected = Stream::connect(&self.path).and_then(|stream| {
            stream.set_write_timeout(self.send)?;
            Ok(stream)
        });
        connected.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::Endpoint(State::NotFound),
                io::ErrorKind::ConnectionRefused => ErrorKind::Endpoint(State::NotListening),
                _ => ErrorKind::Io,
            };
            let delivery = Some(Delivery::NotDelivered);
            Failure { delivery, ..failure(Phase::Connect, kind) }
        })
    }
}

impl seam::Connection for Stream {
    type Request = Self;
    type Answer = Reader<Self>;

    fn send(mut self, request: &[u8]) -> Result<Self::Answer, Failure> {
        self.write_all(&frame(request)).map_err(not_sent)?;
        Ok(Reader::new(self))
    }

    fn request(self) -> Self::Request {
        self
    }
}

impl seam::Writer for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_all(&packets(bytes)).map_err(not_sent)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

impl seam::RequestWriter for Stream {
    type Rest = Self;
    type Answer = Reader<Self>;

    fn finish(mut self) -> Result<Self::Answer, Failure> {
        self.write_all(b"0000").map_err(not_sent)?;
        Ok(Reader::new(self))
    }

    fn split(self) -> (Self::Rest, Self::Answer) {
        let answer = Reader::new(self.try_clone().unwrap());
        (self, answer)
    }
}

impl seam::Rest for Stream {
    fn finish(mut self) -> Result<(), Failure> {
        self.write_all(b"0000").map_err(not_sent)
    }
}

impl seam::Answer for Reader<Stream> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        self.read(buffer).map_err(cut)
    }

    fn read_all(mut self) -> Result<Vec<u8>, Failure> {
        Self::read_all(&mut self).map_err(cut)
    }
}

fn cut(flaw: Flaw) -> Failure {
    match flaw {
        Flaw::Silent => failure(Phase::Wait, ErrorKind::NoAnswer),
        Flaw::Truncated => failure(Phase::Receive, ErrorKind::Truncated),
    }
}
