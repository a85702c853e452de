//! Side-bands: several streams in one, told apart by the first payload byte of each packet
//! (gitprotocol-pack(5), "Packfile Data"; gitprotocol-v2(5)).

use core::fmt;

use super::{Data, DataLen, HEADER_LEN, Header, MAX_PAYLOAD_LEN};

/// The most bytes one side-band packet carries.
pub const MAX_BAND_LEN: usize = MAX_PAYLOAD_LEN - 1;

/// Which of the streams a packet belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Band {
    /// 1: the data proper.
    Data,
    /// 2: progress, for a person to read.
    Progress,
    /// 3: an error message; the peer gives up after it.
    Error,
}

impl Band {
    /// The band of a packet that opens with `byte`.
    ///
    /// # Errors
    ///
    /// [`UnknownBand`] for any byte but 1, 2 and 3.
    pub const fn from_byte(byte: u8) -> Result<Self, UnknownBand> {
        match byte {
            1 => Ok(Self::Data),
            2 => Ok(Self::Progress),
            3 => Ok(Self::Error),
            byte => Err(UnknownBand { byte }),
        }
    }

    /// The byte that opens this band's packets.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Progress => 2,
            Self::Error => 3,
        }
    }

    /// What goes before `len` bytes of this band: the packet's header and the band's byte.
    /// `None` if `len` is over [`MAX_BAND_LEN`].
    pub const fn prefix(self, len: usize) -> Option<[u8; HEADER_LEN + 1]> {
        if len > MAX_BAND_LEN {
            return None;
        }
        match DataLen::new(len + 1) {
            Some(len) => {
                let [a, b, c, d] = Header::Data(len).encode();
                Some([a, b, c, d, self.byte()])
            }
            None => None,
        }
    }
}

/// Tells apart the bands of a stream of [`Data`] pieces, wherever packets are split.
///
/// ```
/// use simple_ipc::pkt_line::{band::{Band, Demux}, Decoder, Piece};
///
/// let (mut decoder, mut demux) = (Decoder::new(), Demux::new());
/// let mut input: &[u8] = b"000b\x02almost";
/// while let Some(Piece::Data(data)) = decoder.decode(&mut input).unwrap() {
///     assert_eq!(demux.demux(data), Ok((Band::Progress, &b"almost"[..])));
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Demux {
    /// The band of the packet being read.
    band: Option<Band>,
}

impl Demux {
    /// A demultiplexer at a packet boundary.
    pub const fn new() -> Self {
        Self { band: None }
    }

    /// The band of a piece, and its bytes without the band's own. They are empty where a piece
    /// held nothing else: a packet with a band but no content, or one split behind its first
    /// payload byte.
    ///
    /// # Errors
    ///
    /// [`UnknownBand`] if a packet opens with any byte but 1, 2 and 3, or if the pieces do not
    /// begin at the beginning of a packet (then the byte is 0).
    pub fn demux<'i>(&mut self, data: Data<'i>) -> Result<(Band, &'i [u8]), UnknownBand> {
        // Taken, so that the rest of a packet that fails here belongs to no band.
        let band = self.band.take();
        let (band, bytes) = match (data.first, data.bytes) {
            (true, [byte, rest @ ..]) => (Some(Band::from_byte(*byte)?), rest),
            (_, bytes) => (band, bytes),
        };
        self.band = if data.last { None } else { band };
        band.map(|band| (band, bytes)).ok_or(UnknownBand { byte: 0 })
    }
}

/// A packet that belongs to no band.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct UnknownBand {
    /// The byte it opens with.
    pub byte: u8,
}

impl fmt::Display for UnknownBand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet opens with {:#04x}, which is no side-band (1, 2 or 3)", self.byte)
    }
}

impl core::error::Error for UnknownBand {}
