//! The four bytes that open every packet.

use core::fmt;
use core::num::NonZeroU16;

/// The length of a packet's header in bytes: four hex digits.
pub const HEADER_LEN: usize = 4;

/// The longest packet in bytes, its header included (gitprotocol-common(5)).
pub const MAX_PACKET_LEN: usize = 65520;

/// The longest payload of one packet in bytes.
pub const MAX_PAYLOAD_LEN: usize = MAX_PACKET_LEN - HEADER_LEN;

/// The length of a data packet's payload: 1..=[`MAX_PAYLOAD_LEN`] bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DataLen(NonZeroU16);

impl DataLen {
    /// The longest payload, [`MAX_PAYLOAD_LEN`].
    pub const MAX: Self = match Self::new(MAX_PAYLOAD_LEN) {
        Some(len) => len,
        None => unreachable!(),
    };

    /// A payload length, or `None` if `len` is 0 or over [`MAX_PAYLOAD_LEN`].
    pub const fn new(len: usize) -> Option<Self> {
        if len > MAX_PAYLOAD_LEN {
            return None;
        }
        match NonZeroU16::new(len as u16) {
            Some(len) => Some(Self(len)),
            None => None,
        }
    }

    /// The length in bytes.
    pub const fn get(self) -> usize {
        self.0.get() as usize
    }
}

/// What a packet's header announces.
///
/// ```
/// use simple_ipc::pkt_line::{DataLen, Header};
///
/// assert_eq!(Header::parse(*b"0008"), Ok(Header::Data(DataLen::new(4).unwrap())));
/// assert_eq!(Header::Flush.encode(), *b"0000");
/// assert!(Header::parse(*b"+008").is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Header {
    /// A data packet with a payload of this length.
    Data(DataLen),
    /// `0004`: a data packet without data. Readers accept it, writers should not send it.
    Empty,
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the delimiter of protocol v2.
    Delimiter,
    /// `0002`: the end of a response in protocol v2.
    ResponseEnd,
}

/// Any byte but a hex digit; its high half makes it stand out of an OR of four digits.
const NOT_HEX: u8 = 0xff;

const HEX: [u8; 256] = {
    let mut table = [NOT_HEX; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

const fn hex_digit(value: usize) -> u8 {
    b"0123456789abcdef"[value & 0xf]
}

impl Header {
    /// Reads a header. Total: every four bytes are a header or an error.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] carries the bytes and tells why they are no header.
    #[inline]
    pub const fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, HeaderError> {
        let [a, b, c, d] = [
            HEX[bytes[0] as usize],
            HEX[bytes[1] as usize],
            HEX[bytes[2] as usize],
            HEX[bytes[3] as usize],
        ];
        if (a | b | c | d) & 0xf0 != 0 {
            return Err(HeaderError::NotHex(bytes));
        }
        let len = (a as usize) << 12 | (b as usize) << 8 | (c as usize) << 4 | d as usize;
        // Data first: it is by far the most frequent.
        if len > HEADER_LEN {
            return match DataLen::new(len - HEADER_LEN) {
                Some(len) => Ok(Self::Data(len)),
                None => Err(HeaderError::TooLong(bytes)),
            };
        }
        match len {
            0 => Ok(Self::Flush),
            1 => Ok(Self::Delimiter),
            2 => Ok(Self::ResponseEnd),
            4 => Ok(Self::Empty),
            _ => Err(HeaderError::Reserved(bytes)),
        }
    }

    /// The header's bytes on the wire, in lower case.
    #[inline]
    pub const fn encode(self) -> [u8; HEADER_LEN] {
        let len = match self {
            Self::Data(len) => len.get() + HEADER_LEN,
            Self::Empty => 4,
            Self::Flush => 0,
            Self::Delimiter => 1,
            Self::ResponseEnd => 2,
        };
        [hex_digit(len >> 12), hex_digit(len >> 8), hex_digit(len >> 4), hex_digit(len)]
    }
}

/// Four bytes that are no packet header.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HeaderError {
    /// One of the bytes is not a hex digit.
    NotHex([u8; HEADER_LEN]),
    /// `0003`, which has no meaning.
    Reserved([u8; HEADER_LEN]),
    /// A length over [`MAX_PACKET_LEN`].
    TooLong([u8; HEADER_LEN]),
}

impl HeaderError {
    /// The offending bytes.
    pub const fn bytes(&self) -> [u8; HEADER_LEN] {
        match *self {
            Self::NotHex(bytes) | Self::Reserved(bytes) | Self::TooLong(bytes) => bytes,
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::NotHex(_) => "is not four hex digits",
            Self::Reserved(_) => "is a reserved packet length",
            Self::TooLong(_) => "is over the longest packet, 65520 bytes",
        };
        write!(f, "packet header \"{}\" {why}", self.bytes().escape_ascii())
    }
}

impl core::error::Error for HeaderError {}
