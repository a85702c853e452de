//! Choices out of bytes.

/// Bytes that are used up from the front; what is missing is zero.
pub(crate) struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    pub(crate) fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// A length: mostly small, for speed, and sometimes of a few packets.
    pub(crate) fn len(&mut self) -> usize {
        match self.byte() {
            byte @ ..224 => byte.into(),
            byte => usize::from(byte - 224) << 12 | usize::from(self.byte()) << 4,
        }
    }

    /// The sizes to cut a stream by: none for whole.
    pub(crate) fn sizes(&mut self) -> Vec<usize> {
        (0..self.byte() % 8).map(|_| usize::from(self.byte())).collect()
    }

    pub(crate) fn rest(self) -> &'d [u8] {
        self.0
    }
}

/// `stream` in chunks of `sizes` in turn, whole if there are none. A size of 0 makes an empty
/// chunk.
pub(crate) fn cut<'s>(mut stream: &'s [u8], sizes: &[usize]) -> Vec<&'s [u8]> {
    if sizes.iter().sum::<usize>() == 0 {
        return vec![stream];
    }
    let mut chunks = Vec::new();
    for &size in sizes.iter().cycle() {
        if stream.is_empty() {
            break;
        }
        let (chunk, rest) = stream.split_at(size.min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks
}
