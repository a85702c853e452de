//! Text lines and `ERR ` packets.

use simple_ipc::pkt_line::{Decoder, Piece, text};

#[test]
fn a_line_loses_one_lf_at_its_end() {
    for (payload, line) in [
        (&b""[..], &b""[..]),
        (b"\n", b""),
        (b"a", b"a"),
        (b"a\n", b"a"),
        (b"a\n\n", b"a\n"),
        (b"\na", b"\na"),
        (b"a\r\n", b"a\r"),
    ] {
        assert_eq!(text::line(payload), line);
    }
}

#[test]
fn an_error_opens_with_err_and_a_space() {
    for (payload, error) in [
        (&b"ERR no\n"[..], Some(&b"no"[..])),
        (b"ERR no", Some(b"no")),
        (b"ERR ", Some(b"")),
        (b"ERR \n", Some(b"")),
        (b"ERR  two", Some(b" two")),
        (b"ERR\n", None),
        (b"ERR", None),
        (b"err no", None),
        (b" ERR no", None),
        (b"", None),
    ] {
        assert_eq!(text::error(payload), error);
    }
}

#[test]
fn an_error_packet_is_one_that_fits() {
    let explanation = vec![b'x'; 65512];
    for len in [0, 1, 100, 65511, 65512] {
        let prefix = text::error_prefix(len).unwrap();
        let wire = [&prefix[..], &explanation[..len]].concat();
        let Ok(Some(Piece::Data(data))) = Decoder::new().decode(&mut &wire[..]) else { panic!() };
        assert!(data.last);
        assert_eq!(text::error(data.bytes), Some(&explanation[..len]));
    }
    for len in [65513, 65516, 65520, usize::MAX] {
        assert_eq!(text::error_prefix(len), None);
    }
}
