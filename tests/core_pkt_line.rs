//! The packet codec against a naive one, wherever the bytes are cut.

#[path = "core/cuts.rs"]
mod cuts;
#[path = "core/naive.rs"]
mod naive;
#[path = "core/packets.rs"]
mod packets;
#[path = "core/random.rs"]
mod random;

#[path = "core/pkt_line/band.rs"]
mod band;
#[path = "core/pkt_line/decode.rs"]
mod decode;
#[path = "core/pkt_line/encode.rs"]
mod encode;
#[path = "core/pkt_line/header.rs"]
mod header;
#[path = "core/pkt_line/records.rs"]
mod records;
#[path = "core/pkt_line/text.rs"]
mod text;
