//! The implementations that only the table measures.

mod event_loop;
mod interprocess;
mod interprocess_tokio;
mod plain;
mod smol;
mod tokio;

pub(crate) use event_loop::EVENT_LOOP;
pub(crate) use interprocess::INTERPROCESS;
pub(crate) use interprocess_tokio::INTERPROCESS_TOKIO;
pub(crate) use plain::PLAIN;
pub(crate) use smol::SMOL;
pub(crate) use tokio::TOKIO;

use crate::support::blocking::BLOCKING;
use crate::support::floor::PACKETS;
use crate::support::party::Party;

pub(crate) static ALL: [&Party; 8] =
    [&PACKETS, &PLAIN, &BLOCKING, &TOKIO, &SMOL, &EVENT_LOOP, &INTERPROCESS, &INTERPROCESS_TOKIO];
