//! From payload to packets.

use core::iter::FusedIterator;

use super::{DataLen, HEADER_LEN, Header, MAX_PACKET_LEN, MAX_PAYLOAD_LEN};

const FULL: [u8; HEADER_LEN] = Header::Data(DataLen::MAX).encode();
const FLUSH: [u8; HEADER_LEN] = Header::Flush.encode();

/// The wire form of a payload, lent as slices for vectored writes.
///
/// The payload is cut into full packets and a last shorter one, and ended by a flush packet if
/// wanted; an empty payload makes no data packet. No byte is copied. `B` may be borrowed or
/// owned, so an encoder can be kept beside nothing else between readiness events; its
/// `as_ref()` must give the same bytes every time.
///
/// ```
/// use simple_ipc::pkt_line::Encoder;
///
/// let mut encoder = Encoder::message(b"ping");
/// assert!(encoder.slices().eq([&b"0008"[..], b"ping", b"0000"]));
/// encoder.advance(6); // what the write took
/// assert!(encoder.slices().eq([&b"ng"[..], b"0000"]));
/// assert_eq!(encoder.remaining(), 6);
/// ```
#[derive(Clone, Debug)]
pub struct Encoder<B> {
    payload: B,
    /// Wire bytes written so far.
    sent: usize,
    /// Wire bytes in all.
    total: usize,
    /// The header of the packet that is not full.
    tail: [u8; HEADER_LEN],
    flush: bool,
}

impl<B: AsRef<[u8]>> Encoder<B> {
    /// Data packets for `payload`.
    pub fn packets(payload: B) -> Self {
        Self::new(payload, false)
    }

    /// Data packets for `payload`, and a flush packet.
    pub fn message(payload: B) -> Self {
        Self::new(payload, true)
    }

    fn new(payload: B, flush: bool) -> Self {
        let len = payload.as_ref().len();
        let (full, rest) = (len / MAX_PAYLOAD_LEN, len % MAX_PAYLOAD_LEN);
        let mut total = full * MAX_PACKET_LEN;
        let mut tail = FULL;
        if let Some(rest) = DataLen::new(rest) {
            tail = Header::Data(rest).encode();
            total += HEADER_LEN + rest.get();
        }
        if flush {
            total += HEADER_LEN;
        }
        Self { payload, sent: 0, total, tail, flush }
    }

    /// What is still to be written, in order: headers and payload in turn. Two slices a packet,
    /// and one for the flush packet.
    #[inline]
    pub fn slices(&self) -> Slices<'_> {
        let payload = self.payload.as_ref();
        let data_end = self.total - if self.flush { HEADER_LEN } else { 0 };
        let (payload, within) = if self.sent == 0 {
            (payload, 0)
        } else if self.sent < data_end {
            let packet = self.sent / MAX_PACKET_LEN;
            (&payload[packet * MAX_PAYLOAD_LEN..], self.sent % MAX_PACKET_LEN)
        } else {
            (&payload[payload.len()..], self.sent - data_end)
        };
        Slices { payload, within, tail: &self.tail, flush: self.sent < self.total && self.flush }
    }

    /// Tells that the first `n` of the remaining bytes were written.
    ///
    /// # Panics
    ///
    /// If `n` is over [`remaining`](Self::remaining).
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining(), "{n} bytes written of {}", self.remaining());
        self.sent += n;
    }
}

impl<B> Encoder<B> {
    /// Wire bytes still to be written.
    pub const fn remaining(&self) -> usize {
        self.total - self.sent
    }

    /// Wire bytes written so far.
    pub const fn sent(&self) -> usize {
        self.sent
    }

    /// Whether everything has been written.
    pub const fn is_done(&self) -> bool {
        self.sent == self.total
    }

    /// Gives the payload back.
    pub fn into_payload(self) -> B {
        self.payload
    }
}

/// The slices of an [`Encoder`], none of them empty.
#[derive(Clone, Debug)]
pub struct Slices<'e> {
    /// The payload from the packet on that the next slice belongs to.
    payload: &'e [u8],
    /// Where in its packet the next slice begins, the header counted.
    within: usize,
    tail: &'e [u8; HEADER_LEN],
    flush: bool,
}

impl<'e> Iterator for Slices<'e> {
    type Item = &'e [u8];

    #[inline]
    fn next(&mut self) -> Option<&'e [u8]> {
        if self.payload.is_empty() {
            let flush = core::mem::take(&mut self.flush);
            return flush.then(|| &FLUSH[self.within..]);
        }
        if self.within < HEADER_LEN {
            let is_full = self.payload.len() >= MAX_PAYLOAD_LEN;
            let header = if is_full { &FULL } else { self.tail };
            let slice = &header[self.within..];
            self.within = HEADER_LEN;
            return Some(slice);
        }
        let (packet, rest) = self.payload.split_at(self.payload.len().min(MAX_PAYLOAD_LEN));
        let slice = &packet[self.within - HEADER_LEN..];
        (self.payload, self.within) = (rest, 0);
        Some(slice)
    }
}

impl FusedIterator for Slices<'_> {}
