//! The pkt-line format: packets that carry their own length in four hex digits.
//!
//! | bytes on the wire | meaning | [`Header`] |
//! | --- | --- | --- |
//! | `0005`..=`fff0`, then 1..=65516 bytes | a data packet; the length counts the header too | [`Data`](Header::Data) |
//! | `0004` | a data packet without data, which should not be sent | [`Empty`](Header::Empty) |
//! | `0000` | flush packet: the end of a message | [`Flush`](Header::Flush) |
//! | `0001` | delimiter packet (git protocol v2) | [`Delimiter`](Header::Delimiter) |
//! | `0002` | response-end packet (git protocol v2) | [`ResponseEnd`](Header::ResponseEnd) |
//! | `0003`, and any length over 65520 | invalid | [`HeaderError`] |
//!
//! Source: gitprotocol-common(5), "pkt-line Format", and gitprotocol-v2(5). Either case of hex
//! digit is read, lower case is written; a sign, a space or a prefix is an error.
//!
//! This module works at the level of packets and reports each kind as what it is, so it serves
//! any stream of the git protocols. What a *message* may hold is [`exchange`](crate::exchange)'s
//! business.
//!
//! - [`Decoder`] turns bytes into [`Piece`]s, across any split, without a buffer of its own.
//! - [`Encoder`] lends the wire form of a payload as slices for one vectored write.
//! - [`band`] and [`text`] are the side-band, `ERR` and text-line conventions on top.
//! - [`Records`] splits a stream of chunks into LF- or NUL-ended records.

pub mod band;
mod decode;
mod encode;
mod header;
mod records;
pub mod text;

pub use decode::{Data, DecodeError, Decoder, Piece, Truncated};
pub use encode::{Encoder, Slices};
pub use header::{DataLen, HEADER_LEN, Header, HeaderError, MAX_PACKET_LEN, MAX_PAYLOAD_LEN};
pub use records::{Record, Records};
