//! The rows, in the order of the table.

mod clients;
mod codec;
mod idle;
mod latency;
mod lines;
mod throughput;

use crate::support::cpus::Place;
use crate::support::exchange::Bench;
use crate::support::row::Row;

/// A row by its name, and how to measure it; some come in pairs.
pub(crate) type Maker = (&'static str, fn(&Bench) -> Vec<Row>);

pub(crate) const ALL: [Maker; 20] = [
    ("exchange-same", |bench| vec![latency::exchange(bench, Place::Same)]),
    ("exchange-free", |bench| vec![latency::exchange(bench, Place::Free)]),
    ("exchange-split", |bench| vec![latency::exchange(bench, Place::Split)]),
    ("exchange-cpu", |bench| vec![latency::both_cpu(bench)]),
    ("under-git", |bench| vec![latency::under_git(bench)]),
    ("server-cpu", |bench| vec![latency::server_cpu(bench)]),
    ("clients-2", |bench| vec![clients::row(bench, 2)]),
    ("clients-8", |bench| vec![clients::row(bench, 8)]),
    ("clients-64", |bench| vec![clients::row(bench, 64)]),
    ("reply-10MB", |bench| vec![throughput::reply(bench, 10, false)]),
    ("reply-10MB-kept", |bench| vec![throughput::reply(bench, 10, true)]),
    ("reply-100MB", |bench| vec![throughput::reply(bench, 100, false)]),
    ("reply-100MB-kept", |bench| vec![throughput::reply(bench, 100, true)]),
    ("request-10MB", |bench| vec![throughput::request(bench, 10)]),
    ("request-100MB", |bench| vec![throughput::request(bench, 100)]),
    ("lines", |bench| vec![lines::row(bench)]),
    ("idle", idle::rows),
    ("decode-16", |bench| vec![codec::decode_even(bench)]),
    ("decode-mixed", |bench| vec![codec::decode_mixed(bench)]),
    ("codec-rest", |bench| vec![codec::encode(bench), codec::full(bench)]),
];

/// Which figures a runtime is held to: the blocking one's, or the asynchronous ones'.
const OURS: [(&str, &crate::support::party::Party); 3] = [
    ("blocking", &crate::support::blocking::BLOCKING),
    ("async", &crate::parties::TOKIO),
    ("async", &crate::parties::SMOL),
];

/// Others that do the same.
const PEERS: [&crate::support::party::Party; 2] =
    [&crate::parties::INTERPROCESS, &crate::parties::INTERPROCESS_TOKIO];
