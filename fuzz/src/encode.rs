//! Whatever the payload and whatever each write takes, the encoder lends the bytes that the naive
//! one writes, in slices that are never empty.

use simple_ipc::pkt_line::Encoder;

use super::input::Input;
use super::naive;

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    // So that the boundaries of packets are near.
    let packets = usize::from(input.byte().saturating_sub(200) / 16);
    let (flush, len) = (input.byte() % 2 == 1, packets * 65516 + input.len());
    let writes: Vec<usize> = (0..input.byte() % 32).map(|_| input.len()).collect();
    let seen = input.rest();
    let payload: Vec<u8> = match seen {
        [] => vec![0; len],
        seen => seen.iter().copied().cycle().take(len).collect(),
    };
    let wire = naive::encode(&payload, flush);
    let mut encoder = if flush { Encoder::message(&payload) } else { Encoder::packets(&payload) };
    let mut sent = 0;
    for write in writes.into_iter().chain([usize::MAX]) {
        assert!(encoder.slices().all(|slice| !slice.is_empty()));
        let slices: Vec<_> = encoder.slices().collect();
        assert!(slices.concat() == wire[sent..]);
        assert_eq!((encoder.sent(), encoder.remaining()), (sent, wire.len() - sent));
        let write = write.min(encoder.remaining());
        encoder.advance(write);
        sent += write;
    }
    assert!(encoder.is_done() && encoder.slices().next().is_none());
}
