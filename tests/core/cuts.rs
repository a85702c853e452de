//! Every way to cut a stream into chunks that is worth trying.

/// Whole, byte by byte, and every cut into two and into three chunks, some of them empty.
pub(crate) fn all(stream: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let len = stream.len();
    let threes = (0..=len).flat_map(move |first| {
        (first..=len)
            .map(move |second| vec![&stream[..first], &stream[first..second], &stream[second..]])
    });
    [vec![stream], stream.chunks(1).collect()].into_iter().chain(threes)
}

/// Cut at the places `sizes` says, in turn; a size of 0 makes an empty chunk.
pub(crate) fn by_sizes<'s>(mut stream: &'s [u8], sizes: &[usize]) -> Vec<&'s [u8]> {
    let mut chunks = Vec::new();
    // One byte more than nothing in each round, or sizes of 0 alone would never end.
    for &size in sizes.iter().chain([&1]).cycle() {
        if stream.is_empty() {
            break;
        }
        let (chunk, rest) = stream.split_at(size.min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks
}
