//! Conventions for packets of text (gitprotocol-common(5)): a line may end in LF, which is not
//! part of it; a line that opens with `ERR ` is an error that ends the conversation.

use super::{DataLen, HEADER_LEN, Header, MAX_PAYLOAD_LEN};

/// What opens an error packet's payload.
pub const ERR: [u8; 4] = *b"ERR ";

/// The line a packet carries: its payload without one LF at the end.
///
/// ```
/// assert_eq!(simple_ipc::pkt_line::text::line(b"version 2\n"), b"version 2");
/// ```
pub const fn line(payload: &[u8]) -> &[u8] {
    match payload {
        [line @ .., b'\n'] => line,
        line => line,
    }
}

/// The explanation in an error packet's payload, without a final LF; `None` if it is none.
///
/// ```
/// assert_eq!(simple_ipc::pkt_line::text::error(b"ERR no such repository\n"),
///            Some(&b"no such repository"[..]));
/// ```
pub const fn error(payload: &[u8]) -> Option<&[u8]> {
    match payload {
        [b'E', b'R', b'R', b' ', explanation @ ..] => Some(line(explanation)),
        _ => None,
    }
}

/// What goes before an explanation of `len` bytes to make an error packet: header and `ERR `.
/// `None` if they do not fit into a packet together.
pub const fn error_prefix(len: usize) -> Option<[u8; HEADER_LEN + ERR.len()]> {
    if len > MAX_PAYLOAD_LEN - ERR.len() {
        return None;
    }
    match DataLen::new(len + ERR.len()) {
        Some(len) => {
            let [a, b, c, d] = Header::Data(len).encode();
            let [e, r, s, space] = ERR;
            Some([a, b, c, d, e, r, s, space])
        }
        None => None,
    }
}
