//! Whatever the bytes, wherever they are cut and whichever of them are read in place, the decoder
//! finds the packets and the end that the naive one finds in the whole.

use super::input::{Input, cut};
use super::naive;
use super::packets::{decode, decode_mixed};
use super::random::Random;

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let (sizes, mut random) = (input.sizes(), Random(input.byte().into()));
    let stream = input.rest();
    let expected = naive::decode(stream);
    assert_eq!(decode(&cut(stream, &sizes)), expected);
    assert_eq!(decode_mixed(stream, &mut random), expected);
}
