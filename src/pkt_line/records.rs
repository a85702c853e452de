//! Records in a stream of chunks.

/// Splits a stream that comes in chunks into records that end in one byte, LF or NUL say.
///
/// It has no buffer: a record that chunks split comes out in as many parts, the last of them
/// marked. The terminator belongs to no record.
///
/// ```
/// use simple_ipc::pkt_line::{Record, Records};
///
/// let mut records = Records::nul_ended();
/// let mut chunk: &[u8] = b"src/lib.rs\0src/m";
/// assert_eq!(records.split(&mut chunk), Some(Record { bytes: b"src/lib.rs", last: true }));
/// assert_eq!(records.split(&mut chunk), Some(Record { bytes: b"src/m", last: false }));
/// assert_eq!(records.split(&mut chunk), None);
/// chunk = b"ain.rs\0";
/// assert_eq!(records.split(&mut chunk), Some(Record { bytes: b"ain.rs", last: true }));
/// assert!(!records.is_inside());
/// ```
#[derive(Clone, Debug)]
pub struct Records {
    terminator: u8,
    inside: bool,
}

/// A record, or a part of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'i> {
    /// The bytes, without the terminator; empty only if `last`.
    pub bytes: &'i [u8],
    /// The terminator was found: the record ends here.
    pub last: bool,
}

impl Records {
    /// Records that end in `terminator`.
    pub const fn ended_by(terminator: u8) -> Self {
        Self { terminator, inside: false }
    }

    /// Lines: records that end in LF.
    pub const fn lf_ended() -> Self {
        Self::ended_by(b'\n')
    }

    /// Records that end in NUL, as lists of paths do.
    pub const fn nul_ended() -> Self {
        Self::ended_by(b'\0')
    }

    /// Takes the next record, or the beginning of it, off the front of `chunk`; `None` when the
    /// chunk is used up.
    pub fn split<'i>(&mut self, chunk: &mut &'i [u8]) -> Option<Record<'i>> {
        let input = *chunk;
        if input.is_empty() {
            return None;
        }
        let (bytes, last) = match find(self.terminator, input) {
            Some(at) => {
                *chunk = &input[at + 1..];
                (&input[..at], true)
            }
            None => {
                *chunk = &[];
                (input, false)
            }
        };
        self.inside = !last;
        Some(Record { bytes, last })
    }

    /// Whether a record has begun whose terminator has not come: at the end of the stream, that
    /// the last record is unterminated.
    pub const fn is_inside(&self) -> bool {
        self.inside
    }
}

#[cfg(feature = "memchr")]
fn find(needle: u8, haystack: &[u8]) -> Option<usize> {
    memchr::memchr(needle, haystack)
}

#[cfg(not(feature = "memchr"))]
fn find(needle: u8, haystack: &[u8]) -> Option<usize> {
    haystack.iter().position(|&byte| byte == needle)
}
