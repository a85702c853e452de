//! What a decoder makes of a stream, in the words of the naive one. Checks on the way that no byte
//! is lost or taken twice.

use simple_ipc::pkt_line::{DecodeError, Decoder, Piece};

use super::naive::{End, Packet};
use super::random::Random;

/// What a decoder made of `chunks`.
pub(crate) fn decode(chunks: &[&[u8]]) -> (Vec<Packet>, End) {
    let mut reader = Reader::default();
    for chunk in chunks {
        let mut input = *chunk;
        while !reader.step(&mut input) {}
    }
    reader.end()
}

/// Reads in place wherever it may and `random` says so, and decodes otherwise.
pub(crate) fn decode_mixed(mut stream: &[u8], random: &mut Random) -> (Vec<Packet>, End) {
    let mut reader = Reader::default();
    while !stream.is_empty() {
        let possible = reader.decoder.in_place().min(stream.len());
        if possible > 0 && random.below(2) == 0 {
            reader.fill(&mut stream, random.below(possible + 1));
        } else {
            let (mut chunk, rest) = stream.split_at(1 + random.below(stream.len()));
            while !reader.step(&mut chunk) {}
            stream = rest;
        }
    }
    reader.end()
}

#[derive(Default)]
struct Reader {
    decoder: Decoder,
    packets: Vec<Packet>,
    /// The packet that has begun.
    data: Vec<u8>,
    /// How much of the stream was taken.
    taken: u64,
    failed: Option<DecodeError>,
}

impl Reader {
    /// One call; whether the input is used up, or of no more use.
    fn step(&mut self, input: &mut &[u8]) -> bool {
        let before = *input;
        let piece = self.decoder.decode(input);
        assert!(before.ends_with(input), "the input only advances");
        let taken = before.len() - input.len();
        self.taken += taken as u64;
        let packet = match piece {
            Ok(None) => {
                assert!(input.is_empty(), "`None` means used up");
                return true;
            }
            Err(error) => {
                let sticky = *self.failed.get_or_insert(error);
                assert_eq!(error, sticky);
                assert_eq!(error.offset, self.decoder.offset());
                assert_eq!(error.offset + 4, self.taken, "it stands behind the header");
                return true;
            }
            Ok(Some(Piece::Data(data))) => {
                assert!(!data.bytes.is_empty());
                assert_eq!(before[..taken][taken - data.bytes.len()..], *data.bytes);
                assert_eq!(data.first, self.data.is_empty());
                assert_eq!(data.last, self.decoder.in_place() == 0);
                self.data.extend(data.bytes);
                if !data.last {
                    return false;
                }
                Packet::Data(core::mem::take(&mut self.data))
            }
            Ok(Some(Piece::Empty)) => Packet::Empty,
            Ok(Some(Piece::Flush)) => Packet::Flush,
            Ok(Some(Piece::Delimiter)) => Packet::Delimiter,
            Ok(Some(Piece::ResponseEnd)) => Packet::ResponseEnd,
        };
        assert_eq!(self.decoder.offset(), self.taken);
        self.packets.push(packet);
        false
    }

    /// Reads `n` payload bytes past the decoder.
    fn fill(&mut self, input: &mut &[u8], n: usize) {
        let left = self.decoder.in_place();
        let (read, rest) = input.split_at(n);
        *input = rest;
        self.data.extend(read);
        self.taken += n as u64;
        self.decoder.filled(n);
        assert_eq!(self.decoder.in_place(), left - n);
        if n > 0 && n == left {
            self.packets.push(Packet::Data(core::mem::take(&mut self.data)));
        }
    }

    fn end(self) -> (Vec<Packet>, End) {
        let end = match (self.failed, self.decoder.end_of_stream()) {
            (Some(error), _) => End::Bad(error.offset as usize, error.header.bytes()),
            (None, Ok(())) => End::Clean,
            (None, Err(cut)) if cut.in_header => End::InHeader(cut.missing),
            (None, Err(cut)) => End::InData(cut.missing, self.data),
        };
        (self.packets, end)
    }
}
