//! Headers, exhaustively.

use simple_ipc::pkt_line::{DataLen, Header, HeaderError, MAX_PACKET_LEN, MAX_PAYLOAD_LEN};

use crate::naive;

fn expected(bytes: [u8; 4]) -> Result<Header, HeaderError> {
    match naive::length(bytes) {
        None => Err(HeaderError::NotHex(bytes)),
        Some(0) => Ok(Header::Flush),
        Some(1) => Ok(Header::Delimiter),
        Some(2) => Ok(Header::ResponseEnd),
        Some(3) => Err(HeaderError::Reserved(bytes)),
        Some(4) => Ok(Header::Empty),
        Some(len) if len > 65520 => Err(HeaderError::TooLong(bytes)),
        Some(len) => Ok(Header::Data(DataLen::new(len - 4).unwrap())),
    }
}

#[test]
fn every_length_in_every_mix_of_cases() {
    for len in 0..=0xffff {
        let lower: [u8; 4] = format!("{len:04x}").into_bytes().try_into().unwrap();
        for mix in 0..16 {
            let mut bytes = lower;
            for (at, byte) in bytes.iter_mut().enumerate() {
                if mix & 1 << at != 0 {
                    byte.make_ascii_uppercase();
                }
            }
            let header = Header::parse(bytes);
            assert_eq!(header, expected(bytes), "{bytes:?}");
            if let Ok(header) = header {
                assert_eq!(header.encode(), lower, "written in lower case");
            }
        }
    }
}

/// Any two bytes in any two places, beside digits: a byte is a hex digit or an error, and no
/// two wrong bytes make up for each other.
#[test]
fn every_pair_of_bytes_is_hex_or_an_error() {
    for (one, other) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        for pair in 0..=0xffff_u16 {
            let mut bytes = *b"01f0";
            [bytes[one], bytes[other]] = pair.to_be_bytes();
            assert_eq!(Header::parse(bytes), expected(bytes), "{bytes:?}");
        }
    }
}

#[test]
fn what_a_lenient_parser_would_take_is_an_error() {
    for bytes in [b"+001", b"-001", b" 004", b"004 ", b"0x10", b"0X10", b"00_5", b"\t005", b"005\n"]
    {
        assert_eq!(Header::parse(*bytes), Err(HeaderError::NotHex(*bytes)));
    }
    assert_eq!(Header::parse(*b"0003"), Err(HeaderError::Reserved(*b"0003")));
    assert_eq!(Header::parse(*b"fff1"), Err(HeaderError::TooLong(*b"fff1")));
    assert_eq!(Header::parse(*b"FFFF").unwrap_err().bytes(), *b"FFFF");
}

#[test]
fn errors_show_the_bytes() {
    let shown = Header::parse(*b"\x00\xff\n5").unwrap_err().to_string();
    assert_eq!(shown, r#"packet header "\x00\xff\n5" is not four hex digits"#);
}

#[test]
fn payload_lengths() {
    assert_eq!((MAX_PACKET_LEN, MAX_PAYLOAD_LEN, DataLen::MAX.get()), (65520, 65516, 65516));
    for len in 0..=70_000 {
        assert_eq!(DataLen::new(len).map(DataLen::get), (1..=65516).contains(&len).then_some(len));
    }
    // A cast to 16 bits would make these valid.
    for len in [65_536, 65_537, 1 << 20 | 5, usize::MAX] {
        assert_eq!(DataLen::new(len), None);
    }
}
