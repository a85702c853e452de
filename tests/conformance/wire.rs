//! The protocol, as simply as it can be written down: the reference for everything else.

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::{env, fs};

pub use crate::raw_end::{Listener, Stream, fill, hear_after_the_last, read_to_end};

/// The most payload in one packet.
pub const PACKET: usize = 65516;

/// The message's bytes on the wire, in full packets.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut wire = packets(message);
    wire.extend_from_slice(b"0000");
    wire
}

/// The same without its end.
pub fn packets(payload: &[u8]) -> Vec<u8> {
    let packet = |bytes: &[u8]| [format!("{:04x}", bytes.len() + 4).as_bytes(), bytes].concat();
    payload.chunks(PACKET).flat_map(packet).collect()
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// The stream ended before the first byte.
    Silent,
    /// The stream ended inside the message.
    Truncated,
}

/// A message being read.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    begun: bool,
    whole: bool,
    /// Of the packet.
    left: usize,
}

impl<R: Read> Reader<R> {
    pub fn new(from: R) -> Self {
        Self { from, begun: false, whole: false, left: 0 }
    }

    /// Reads some of the payload; 0 bytes at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Flaw> {
        if self.left == 0 && !self.whole {
            let mut header = [0; 4];
            self.fill(&mut header)?;
            let len = usize::from_str_radix(std::str::from_utf8(&header).unwrap(), 16).unwrap();
            assert!(len == 0 || (5..=PACKET + 4).contains(&len), "no data and no flush: {len}");
            self.whole = len == 0;
            self.left = len.saturating_sub(4);
        }
        let part = buffer.len().min(self.left);
        self.fill(&mut buffer[..part])?;
        self.left -= part;
        Ok(part)
    }

    pub fn read_all(&mut self) -> Result<Vec<u8>, Flaw> {
        let (mut message, mut buffer) = (Vec::new(), [0; PACKET]);
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(message),
                n => message.extend_from_slice(&buffer[..n]),
            }
        }
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Flaw> {
        while !buffer.is_empty() {
            match self.from.read(buffer) {
                Ok(0) if !self.begun => return Err(Flaw::Silent),
                Ok(0) => return Err(Flaw::Truncated),
                Ok(n) => (self.begun, buffer) = (true, &mut buffer[n..]),
                // What a peer leaves that closes without having read everything.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(if self.begun { Flaw::Truncated } else { Flaw::Silent });
                }
                Err(error) => panic!("the raw side cannot read: {error}"),
            }
        }
        Ok(())
    }
}

/// Connects to `path` and sends `bytes`.
pub fn send(path: &Path, bytes: &[u8]) -> Stream {
    let mut stream = Stream::connect(path).unwrap();
    match stream.write_all(bytes) {
        Ok(()) => {}
        // The server may have seen enough already.
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
    }
    stream
}

/// A server made of bare bytes.
pub fn peer<T: Send + 'static>(
    path: &Path,
    act: impl FnOnce(Listener) -> T + Send + 'static,
) -> JoinHandle<T> {
    let listener = Listener::bind(path).unwrap();
    thread::spawn(move || act(listener))
}

/// A connection whose client has sent a whole request.
pub fn accept_request(listener: &Listener) -> Stream {
    let stream = listener.accept().unwrap();
    Reader::new(&stream).read_all().unwrap();
    stream
}

/// A recorded direction of traffic.
pub fn vector(name: &str) -> Vec<u8> {
    let root = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    fs::read(Path::new(&root).join("tests/vectors/simple-ipc").join(name)).unwrap()
}

/// Bytes of which no packet looks like the one before.
pub fn pattern(len: usize) -> Vec<u8> {
    let prime: Vec<u8> = (0..251).collect();
    let mut bytes = prime.repeat(len / prime.len() + 1);
    bytes.truncate(len);
    bytes
}

/// Like `assert_eq`, for bytes that nobody wants to see.
#[track_caller]
pub fn assert_same(got: &[u8], expected: &[u8]) {
    if got != expected {
        let at = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
        panic!("{} bytes in place of {}, equal up to byte {at}", got.len(), expected.len());
    }
}
