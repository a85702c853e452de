//! Whatever the packets and wherever they are cut, each band holds what its packets hold, up to
//! the first packet of no band.

use simple_ipc::pkt_line::band::{Demux, UnknownBand};
use simple_ipc::pkt_line::{Decoder, Piece};

use super::input::{Input, cut};
use super::naive::{self, End, Packet};

type Bands = [Vec<u8>; 3];

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let sizes = input.sizes();
    let stream = input.rest();
    assert_eq!(demux(&cut(stream, &sizes)), expected(stream));
}

fn demux(chunks: &[&[u8]]) -> (Bands, Result<(), UnknownBand>) {
    let (mut decoder, mut demux, mut bands) = (Decoder::new(), Demux::new(), Bands::default());
    for chunk in chunks {
        let mut input = *chunk;
        while let Ok(Some(piece)) = decoder.decode(&mut input) {
            let Piece::Data(data) = piece else { continue };
            match demux.demux(data) {
                Ok((band, bytes)) => bands[usize::from(band.byte() - 1)].extend(bytes),
                Err(error) => return (bands, Err(error)),
            }
        }
    }
    (bands, Ok(()))
}

fn expected(stream: &[u8]) -> (Bands, Result<(), UnknownBand>) {
    let (mut packets, end) = naive::decode(stream);
    if let End::InData(_, begun) = end {
        packets.push(Packet::Data(begun));
    }
    let mut bands = Bands::default();
    for packet in packets {
        let Packet::Data(data) = packet else { continue };
        match data.split_first() {
            Some((band @ 1..=3, bytes)) => bands[usize::from(band - 1)].extend(bytes),
            Some((&byte, _)) => return (bands, Err(UnknownBand { byte })),
            None => {}
        }
    }
    (bands, Ok(()))
}
