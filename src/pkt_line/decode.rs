//! From bytes to packets.

use core::fmt;

use super::{HEADER_LEN, Header, HeaderError};

/// An incremental pkt-line reader.
///
/// It keeps the bytes of an unfinished header and a count, never a payload: pieces borrow from
/// the input, so it works in constant memory, whatever the packets' sizes and wherever the
/// input is split.
///
/// ```
/// use simple_ipc::pkt_line::{Decoder, Piece};
///
/// let mut decoder = Decoder::new();
/// let mut input: &[u8] = b"0008po";
/// let Ok(Some(Piece::Data(data))) = decoder.decode(&mut input) else { panic!() };
/// assert_eq!((data.bytes, data.first, data.last), (&b"po"[..], true, false));
/// assert_eq!(decoder.decode(&mut input), Ok(None)); // all read
///
/// input = b"ng0000";
/// let Ok(Some(Piece::Data(data))) = decoder.decode(&mut input) else { panic!() };
/// assert_eq!((data.bytes, data.first, data.last), (&b"ng"[..], false, true));
/// assert_eq!(decoder.decode(&mut input), Ok(Some(Piece::Flush)));
/// assert_eq!(decoder.end_of_stream(), Ok(()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// Where the packet being read begins in the stream, or the payload being read ends.
    offset: u64,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes of a header have been read.
    Header { have: u8, bytes: [u8; HEADER_LEN] },
    /// So many bytes of a payload are still to come, `first` if that is all of it.
    Payload { left: u16, first: bool },
    /// Held, so that the same place is named however often it is asked.
    Failed(HeaderError),
}

impl State {
    const START: Self = Self::Header { have: 0, bytes: [0; HEADER_LEN] };

    /// What comes when `left` more bytes of the payload have.
    #[inline]
    const fn within(left: u16) -> Self {
        if left == 0 { Self::START } else { Self::Payload { left, first: false } }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::START
    }
}

/// Part of a stream of packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece<'i> {
    /// A run of bytes of a data packet.
    Data(Data<'i>),
    /// A data packet without data, `0004`.
    Empty,
    /// A flush packet, `0000`.
    Flush,
    /// A delimiter packet, `0001`.
    Delimiter,
    /// A response-end packet, `0002`.
    ResponseEnd,
}

/// A run of payload bytes, as long as the input allows, never across packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Data<'i> {
    /// The bytes; never empty.
    pub bytes: &'i [u8],
    /// They open their packet.
    pub first: bool,
    /// They end their packet.
    pub last: bool,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub const fn new() -> Self {
        Self { offset: 0, state: State::START }
    }

    /// Takes the next piece off the front of `input`; `None` when `input` is used up.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] where a header is invalid. The input then stands behind the header, and
    /// every further call gives the same error: the stream has no next packet.
    #[inline]
    pub fn decode<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'i>>, DecodeError> {
        match self.whole_packet(input) {
            Some(bytes) => Ok(Some(Piece::Data(Data { bytes, first: true, last: true }))),
            None => self.decode_part(input),
        }
    }

    /// Takes the payload of a whole data packet, by far the most frequent, if that comes next.
    #[inline]
    fn whole_packet<'i>(&mut self, input: &mut &'i [u8]) -> Option<&'i [u8]> {
        let State::Header { have: 0, .. } = self.state else { return None };
        let (header, rest) = input.split_first_chunk()?;
        let Ok(Header::Data(len)) = Header::parse(*header) else { return None };
        let (bytes, rest) = rest.split_at_checked(len.get())?;
        *input = rest;
        self.offset += (HEADER_LEN + len.get()) as u64;
        Some(bytes)
    }

    /// Whatever else comes next.
    fn decode_part<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'i>>, DecodeError> {
        loop {
            match self.state {
                State::Header { have, mut bytes } => {
                    let missing = &mut bytes[have as usize..];
                    let n = missing.len().min(input.len());
                    let (part, rest) = input.split_at(n);
                    missing[..n].copy_from_slice(part);
                    *input = rest;
                    self.state = State::Header { have: have + n as u8, bytes };
                    if have as usize + n < HEADER_LEN {
                        return Ok(None);
                    }
                    if let Some(piece) = self.begin(bytes)? {
                        return Ok(Some(piece));
                    }
                }
                State::Payload { left, first } => {
                    let available = (left as usize).min(input.len());
                    if available == 0 {
                        return Ok(None);
                    }
                    let (bytes, rest) = input.split_at(available);
                    *input = rest;
                    let left = left - available as u16;
                    self.state = State::within(left);
                    return Ok(Some(Piece::Data(Data { bytes, first, last: left == 0 })));
                }
                State::Failed(header) => return Err(DecodeError { offset: self.offset, header }),
            }
        }
    }

    /// Opens the packet of a header: a piece if that is all of it.
    fn begin(&mut self, header: [u8; HEADER_LEN]) -> Result<Option<Piece<'static>>, DecodeError> {
        self.state = State::START;
        let piece = match Header::parse(header) {
            Ok(Header::Data(len)) => {
                self.state = State::Payload { left: len.get() as u16, first: true };
                self.offset += (HEADER_LEN + len.get()) as u64;
                return Ok(None);
            }
            Ok(Header::Empty) => Piece::Empty,
            Ok(Header::Flush) => Piece::Flush,
            Ok(Header::Delimiter) => Piece::Delimiter,
            Ok(Header::ResponseEnd) => Piece::ResponseEnd,
            Err(header) => {
                self.state = State::Failed(header);
                return Err(DecodeError { offset: self.offset, header });
            }
        };
        self.offset += HEADER_LEN as u64;
        Ok(Some(piece))
    }

    /// How many payload bytes may be read straight into their destination, past this decoder:
    /// the rest of the current packet, 0 between packets.
    pub const fn in_place(&self) -> usize {
        match self.state {
            State::Payload { left, .. } => left as usize,
            State::Header { .. } | State::Failed(_) => 0,
        }
    }

    /// Tells that the next `n` payload bytes were read in place.
    ///
    /// # Panics
    ///
    /// If `n` is over [`in_place`](Self::in_place).
    pub fn filled(&mut self, n: usize) {
        let left = self.in_place();
        assert!(n <= left, "{n} bytes filled where {left} were left");
        if n > 0 {
            self.state = State::within((left - n) as u16);
        }
    }

    /// Tells that the stream has ended.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if it ended inside a packet.
    pub const fn end_of_stream(&self) -> Result<(), Truncated> {
        match self.state {
            State::Header { have: 0, .. } | State::Failed(_) => Ok(()),
            State::Header { have, .. } => {
                Err(Truncated { missing: HEADER_LEN - have as usize, in_header: true })
            }
            State::Payload { left, .. } => {
                Err(Truncated { missing: left as usize, in_header: false })
            }
        }
    }

    /// How many bytes of the stream were understood: the end of the last whole header, or of
    /// the packet it opened.
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

/// A place in a stream of packets that is not a packet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DecodeError {
    /// Where in the stream the header stands, in bytes from its beginning.
    pub offset: u64,
    /// What is wrong with it, and its bytes.
    pub header: HeaderError,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.header)
    }
}

impl core::error::Error for DecodeError {}

/// A stream that ended inside a packet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Truncated {
    /// How many bytes are known to be missing: of the payload, or of the header if that was
    /// cut.
    pub missing: usize,
    /// Whether the header was cut, so that nothing is known of the payload.
    pub in_header: bool,
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = if self.missing == 1 { "byte" } else { "bytes" };
        let part = if self.in_header { "its header's" } else { "its" };
        write!(f, "the stream ends inside a packet, {} {bytes} short of {part} end", self.missing)
    }
}

impl core::error::Error for Truncated {}
