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
    /// The bytes of the header being read, `have` of them so far.
    header: [u8; HEADER_LEN],
    have: u8,
    /// Nothing of the current packet's payload has been handed out yet.
    first: bool,
    /// Bytes still to come of the current packet's payload.
    left: u16,
    /// Held, so that the same place is named however often it is asked.
    failed: Option<DecodeError>,
    /// Where the packet being read begins in the stream.
    offset: u64,
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
        Self { header: [0; HEADER_LEN], have: 0, first: false, left: 0, failed: None, offset: 0 }
    }

    /// Takes the next piece off the front of `input`; `None` when `input` is used up.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] where a header is invalid. The input then stands behind the header, and
    /// every further call gives the same error: the stream has no next packet.
    #[inline]
    pub fn decode<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'i>>, DecodeError> {
        if self.left == 0 {
            if let Some(error) = self.failed {
                return Err(error);
            }
            let header = match input.split_first_chunk() {
                Some((header, rest)) if self.have == 0 => {
                    *input = rest;
                    *header
                }
                _ => match self.gather_header(input) {
                    Some(header) => header,
                    None => return Ok(None),
                },
            };
            if let Some(piece) = self.begin(header)? {
                return Ok(Some(piece));
            }
        }
        let available = (self.left as usize).min(input.len());
        if available == 0 {
            return Ok(None);
        }
        let (bytes, rest) = input.split_at(available);
        *input = rest;
        let first = self.first;
        self.take(available);
        Ok(Some(Piece::Data(Data { bytes, first, last: self.left == 0 })))
    }

    /// Completes a header that the input splits.
    #[cold]
    fn gather_header(&mut self, input: &mut &[u8]) -> Option<[u8; HEADER_LEN]> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.header[self.have as usize] = byte;
            self.have += 1;
            if self.have as usize == HEADER_LEN {
                self.have = 0;
                return Some(self.header);
            }
        }
        None
    }

    /// Opens the packet of `header`: a piece if that is all of it.
    #[inline]
    fn begin(&mut self, header: [u8; HEADER_LEN]) -> Result<Option<Piece<'static>>, DecodeError> {
        let piece = match Header::parse(header) {
            Ok(Header::Data(len)) => {
                self.left = len.get() as u16;
                self.first = true;
                self.offset += (HEADER_LEN + len.get()) as u64;
                return Ok(None);
            }
            Ok(Header::Empty) => Piece::Empty,
            Ok(Header::Flush) => Piece::Flush,
            Ok(Header::Delimiter) => Piece::Delimiter,
            Ok(Header::ResponseEnd) => Piece::ResponseEnd,
            Err(header) => {
                let error = DecodeError { offset: self.offset, header };
                self.failed = Some(error);
                return Err(error);
            }
        };
        self.offset += HEADER_LEN as u64;
        Ok(Some(piece))
    }

    #[inline]
    fn take(&mut self, n: usize) {
        self.left -= n as u16;
        self.first = false;
    }

    /// How many payload bytes may be read straight into their destination, past this decoder:
    /// the rest of the current packet, 0 between packets.
    pub const fn in_place(&self) -> usize {
        self.left as usize
    }

    /// Tells that the next `n` payload bytes were read in place.
    ///
    /// # Panics
    ///
    /// If `n` is over [`in_place`](Self::in_place).
    pub fn filled(&mut self, n: usize) {
        assert!(n <= self.in_place(), "{n} bytes filled where {} were left", self.left);
        if n > 0 {
            self.take(n);
        }
    }

    /// Tells that the stream has ended.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if it ended inside a packet.
    pub const fn end_of_stream(&self) -> Result<(), Truncated> {
        if self.left > 0 {
            Err(Truncated { missing: self.left as usize })
        } else if self.have > 0 {
            Err(Truncated { missing: HEADER_LEN - self.have as usize })
        } else {
            Ok(())
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
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stream ends {} bytes short of a packet's end", self.missing)
    }
}

impl core::error::Error for Truncated {}
