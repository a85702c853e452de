//! Whole packets of a stream, one at a time.

use std::path::Path;

use simple_ipc::pkt_line::{DataLen, Decoder, HEADER_LEN, Header, MAX_PACKET_LEN, Piece};

use crate::exit::{Failure, Status};
use crate::input::Input;

/// One packet.
pub struct Packet<'p> {
    /// Where it begins.
    pub offset: u64,
    pub header: Header,
    pub payload: &'p [u8],
}

/// Reads a stream packet by packet. It keeps one packet and as much again.
pub struct Packets {
    input: Input,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// What of the buffer has been read and not decoded.
    from: usize,
    to: usize,
    payload: Vec<u8>,
    /// Where the next packet begins.
    begin: u64,
}

impl Packets {
    /// The stream in `file`, or on standard input.
    pub fn open(file: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self {
            input: Input::open(file)?,
            decoder: Decoder::new(),
            buffer: vec![0; MAX_PACKET_LEN],
            from: 0,
            to: 0,
            payload: Vec::with_capacity(MAX_PACKET_LEN),
            begin: 0,
        })
    }

    /// Whether the next packet may have to be waited for.
    pub fn must_wait(&self) -> bool {
        self.from == self.to
    }

    /// The next packet; `None` at the end of the stream.
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, Failure> {
        self.payload.clear();
        let header = loop {
            if self.must_wait() {
                (self.from, self.to) = (0, self.input.read(&mut self.buffer)?);
                if self.to == 0 {
                    return self.end().map(|()| None);
                }
            }
            let mut chunk = &self.buffer[self.from..self.to];
            let piece = self.decoder.decode(&mut chunk);
            self.from = self.to - chunk.len();
            match piece {
                Ok(None) => {}
                Ok(Some(Piece::Data(data))) => {
                    self.payload.extend_from_slice(data.bytes);
                    if data.last {
                        let len = DataLen::new(self.payload.len());
                        break Header::Data(len.expect("a packet has a packet's length"));
                    }
                }
                Ok(Some(Piece::Empty)) => break Header::Empty,
                Ok(Some(Piece::Flush)) => break Header::Flush,
                Ok(Some(Piece::Delimiter)) => break Header::Delimiter,
                Ok(Some(Piece::ResponseEnd)) => break Header::ResponseEnd,
                Err(error) => return Err(self.malformed(error)),
            }
        };
        let offset = self.begin;
        self.begin += (HEADER_LEN + self.payload.len()) as u64;
        Ok(Some(Packet { offset, header, payload: &self.payload }))
    }

    fn end(&self) -> Result<(), Failure> {
        self.decoder.end_of_stream().map_err(|error| {
            let begin = self.begin;
            self.malformed(format_args!("in the packet that begins at byte {begin}: {error}"))
        })
    }

    /// What is wrong with the stream.
    pub fn malformed(&self, why: impl std::fmt::Display) -> Failure {
        let name = self.input.name();
        let failure = Failure::new(Status::Malformed, format_args!("{name} is malformed {why}"));
        failure.advise(match self.begin {
            0 => "is it a pkt-line stream at all?",
            _ => "what is before that is in order",
        })
    }
}
