//! Side-bands.

use simple_ipc::pkt_line::band::{Band, Demux, MAX_BAND_LEN, UnknownBand};
use simple_ipc::pkt_line::{Decoder, Header, Piece};

use crate::cuts;

const BANDS: [Band; 3] = [Band::Data, Band::Progress, Band::Error];

/// Each band's bytes, or the first packet of no band.
fn demux(chunks: &[&[u8]]) -> Result<[Vec<u8>; 3], UnknownBand> {
    let (mut decoder, mut demux, mut bands) =
        (Decoder::new(), Demux::new(), <[Vec<u8>; 3]>::default());
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(piece) = decoder.decode(&mut input).unwrap() {
            if let Piece::Data(data) = piece {
                let (band, bytes) = demux.demux(data)?;
                bands[usize::from(band.byte()) - 1].extend(bytes);
            }
        }
    }
    Ok(bands)
}

#[test]
fn three_bytes_are_bands() {
    for byte in 0..=255 {
        let band = Band::from_byte(byte);
        assert_eq!(
            band.map(Band::byte),
            if matches!(byte, 1..=3) { Ok(byte) } else { Err(UnknownBand { byte }) }
        );
    }
}

#[test]
fn bands_are_told_apart_in_every_cut() {
    // Bands mixed, one packet without content, contents that look like bands and headers.
    let stream = b"0007\x01ab0005\x020008\x01\x02\x03c0006\x03!00000009\x0200050000";
    let expected = [b"ab\x02\x03c".to_vec(), b"0005".to_vec(), b"!".to_vec()];
    for chunks in cuts::all(stream) {
        assert_eq!(demux(&chunks), Ok(expected.clone()), "{chunks:?}");
    }
}

#[test]
fn a_packet_of_no_band_is_an_error_in_every_cut() {
    let stream = b"0007\x01ab0006\x04a0006\x01b";
    for chunks in cuts::all(stream) {
        assert_eq!(demux(&chunks), Err(UnknownBand { byte: 4 }), "{chunks:?}");
    }
}

/// Whoever goes on after the error must not get the rest of that packet under another's band.
#[test]
fn the_rest_of_a_packet_of_no_band_belongs_to_none() {
    let mut decoder = Decoder::new();
    let mut demux = Demux::new();
    let mut piece = |mut input: &'static [u8]| match decoder.decode(&mut input) {
        Ok(Some(Piece::Data(data))) => demux.demux(data),
        other => panic!("{other:?}"),
    };
    assert_eq!(piece(b"0007\x01a"), Ok((Band::Data, &b"a"[..])));
    assert_eq!(piece(b"b"), Ok((Band::Data, &b"b"[..])));
    assert_eq!(piece(b"0007\x09"), Err(UnknownBand { byte: 9 }));
    assert_eq!(piece(b"c"), Err(UnknownBand { byte: 0 }));
    assert_eq!(piece(b"d"), Err(UnknownBand { byte: 0 }));
    assert_eq!(piece(b"0006\x02e"), Ok((Band::Progress, &b"e"[..])));
}

/// The same where the end of the packet before was read in place, past the demultiplexer.
#[test]
fn a_packet_read_past_the_demultiplexer_leaves_no_band_behind() {
    let (mut decoder, mut demux) = (Decoder::new(), Demux::new());
    let Ok(Some(Piece::Data(data))) = decoder.decode(&mut &b"0008\x01a"[..]) else { panic!() };
    assert_eq!(demux.demux(data), Ok((Band::Data, &b"a"[..])));
    decoder.filled(2);
    let Ok(Some(Piece::Data(data))) = decoder.decode(&mut &b"0007\x09"[..]) else { panic!() };
    assert_eq!(demux.demux(data), Err(UnknownBand { byte: 9 }));
    let Ok(Some(Piece::Data(data))) = decoder.decode(&mut &b"c"[..]) else { panic!() };
    assert_eq!(demux.demux(data), Err(UnknownBand { byte: 0 }));
}

#[test]
fn pieces_that_begin_inside_a_packet_have_no_band() {
    let mut decoder = Decoder::new();
    let _ = decoder.decode(&mut &b"0008\x01a"[..]);
    let Ok(Some(Piece::Data(data))) = decoder.decode(&mut &b"b"[..]) else { panic!() };
    assert_eq!(Demux::new().demux(data), Err(UnknownBand { byte: 0 }));
}

#[test]
fn prefixes_make_packets() {
    assert_eq!(MAX_BAND_LEN, 65515);
    for band in BANDS {
        for len in 0..66_000 {
            match band.prefix(len) {
                Some([a, b, c, d, byte]) => {
                    let Ok(Header::Data(data)) = Header::parse([a, b, c, d]) else { panic!() };
                    assert_eq!((data.get(), byte), (len + 1, band.byte()));
                    assert!(len <= MAX_BAND_LEN);
                }
                None => assert!(len > MAX_BAND_LEN),
            }
        }
        assert_eq!(band.prefix(usize::MAX), None);
    }
    let wire = [&Band::Progress.prefix(3).unwrap()[..], b"abc"].concat();
    assert_eq!(demux(&[&wire]), Ok([vec![], b"abc".to_vec(), vec![]]));
}
