//! Records in chunks. The same with and without the `memchr` feature.

use proptest::prelude::*;
use simple_ipc::pkt_line::{Record, Records};

use crate::cuts;

/// The whole records in `chunks`, and the one without an end.
fn split(mut records: Records, chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
    let (mut whole, mut begun) = (Vec::new(), None);
    for chunk in chunks {
        let mut input = *chunk;
        while !input.is_empty() {
            let before = input;
            let Record { bytes, last } = records.split(&mut input).unwrap();
            assert!(before.ends_with(input) && before.starts_with(bytes));
            assert_eq!(before.len() - input.len(), bytes.len() + usize::from(last));
            assert!(last || !bytes.is_empty());
            begun.get_or_insert_with(Vec::new).extend(bytes);
            if last {
                whole.extend(begun.take());
            }
            assert_eq!(records.is_inside(), begun.is_some());
        }
        assert_eq!(records.split(&mut input), None);
    }
    (whole, begun)
}

fn naive(terminator: u8, stream: &[u8]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
    let mut records: Vec<_> =
        stream.split(|&byte| byte == terminator).map(<[u8]>::to_vec).collect();
    // What stands behind the last terminator is a record without one, or nothing.
    let begun = records.pop().filter(|record| !record.is_empty());
    (records, begun)
}

#[test]
fn in_every_cut() {
    for stream in [
        &b""[..],
        b"\n",
        b"\n\n",
        b"a",
        b"a\n",
        b"\na",
        b"a\n\nb\n",
        b"a\n\0b\0\n\n\0c",
        b"abc\0de\nf\n",
    ] {
        for chunks in cuts::all(stream) {
            for terminator in *b"\n\0a" {
                let records = Records::ended_by(terminator);
                assert_eq!(split(records, &chunks), naive(terminator, stream), "{chunks:?}");
            }
        }
    }
}

#[test]
fn lines_and_paths() {
    let stream: &[u8] = b"one\ntwo\0three";
    assert_eq!(split(Records::lf_ended(), &[stream]), naive(b'\n', stream));
    assert_eq!(split(Records::nul_ended(), &[stream]), naive(b'\0', stream));
}

#[test]
fn an_empty_chunk_changes_nothing() {
    let mut records = Records::lf_ended();
    assert_eq!(records.split(&mut &b""[..]), None);
    assert!(!records.is_inside());
    assert!(records.split(&mut &b"a"[..]).is_some());
    assert_eq!(records.split(&mut &b""[..]), None);
    assert!(records.is_inside());
}

proptest! {
    #[test]
    fn any_stream_in_any_cut(
        stream in prop::collection::vec(prop_oneof![3 => Just(b'x'), 1 => any::<u8>(), 1 => Just(0)], 0..400),
        sizes in prop::collection::vec(0..50_usize, 0..10),
        terminator in prop_oneof![Just(0), any::<u8>()],
    ) {
        let chunks = cuts::by_sizes(&stream, &sizes);
        prop_assert_eq!(split(Records::ended_by(terminator), &chunks), naive(terminator, &stream));
    }
}
