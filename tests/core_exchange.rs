//! Messages: what is received, whatever the cuts, and what is sent.

#[path = "core/cuts.rs"]
mod cuts;
#[path = "core/message.rs"]
mod message;
#[path = "core/naive.rs"]
mod naive;
#[path = "core/random.rs"]
mod random;
#[path = "core/reading.rs"]
mod reading;

#[path = "core/exchange/converse.rs"]
mod converse;
#[path = "core/exchange/gather.rs"]
mod gather;
#[path = "core/exchange/limit.rs"]
mod limit;
#[path = "core/exchange/receive.rs"]
mod receive;
#[cfg(feature = "alloc")]
#[path = "core/exchange/room.rs"]
mod room;
#[path = "core/exchange/send.rs"]
mod send;
#[cfg(feature = "alloc")]
#[path = "core/exchange/writer.rs"]
mod writer;
