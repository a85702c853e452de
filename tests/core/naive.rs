//! The wire format in the fewest words. It works on whole buffers and copies everything, so that
//! it can be seen to be right; what the library says is compared with what this says.

/// `payload` in packets, and a flush packet if wanted.
pub(crate) fn encode(payload: &[u8], flush: bool) -> Vec<u8> {
    let mut wire = Vec::new();
    for packet in payload.chunks(65516) {
        wire.extend(format!("{:04x}", packet.len() + 4).bytes());
        wire.extend(packet);
    }
    wire.extend(if flush { &b"0000"[..] } else { b"" });
    wire
}

/// The number in a header, if it is four hex digits.
pub(crate) fn length(header: [u8; 4]) -> Option<usize> {
    let hex = header.iter().all(u8::is_ascii_hexdigit);
    hex.then(|| usize::from_str_radix(core::str::from_utf8(&header).unwrap(), 16).unwrap())
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Packet {
    Data(Vec<u8>),
    Empty,
    Flush,
    Delimiter,
    ResponseEnd,
}

/// Why a stream has no more packets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Clean,
    /// So many bytes are missing of the header; the stream ends inside it.
    InHeader(usize),
    /// So many bytes are missing of the payload, of which these came.
    InData(usize, Vec<u8>),
    /// These bytes, at this place, are no header.
    Bad(usize, [u8; 4]),
}

/// The packets of a whole stream, and how it ends.
pub(crate) fn decode(wire: &[u8]) -> (Vec<Packet>, End) {
    let (mut packets, mut at) = (Vec::new(), 0);
    let end = loop {
        let rest = &wire[at..];
        let Some(&header) = rest.first_chunk() else {
            break if rest.is_empty() { End::Clean } else { End::InHeader(4 - rest.len()) };
        };
        let packet = match length(header) {
            None | Some(3 | 65521..) => break End::Bad(at, header),
            Some(0) => Packet::Flush,
            Some(1) => Packet::Delimiter,
            Some(2) => Packet::ResponseEnd,
            Some(4) => Packet::Empty,
            Some(len) if len > rest.len() => {
                break End::InData(len - rest.len(), rest[4..].to_vec());
            }
            Some(len) => Packet::Data(rest[4..len].to_vec()),
        };
        at += if let Packet::Data(payload) = &packet { 4 + payload.len() } else { 4 };
        packets.push(packet);
    };
    (packets, end)
}
