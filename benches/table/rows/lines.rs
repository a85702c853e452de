//! Many small writes into one answer.

use std::time::Duration;

use super::{OURS, PEERS};
use crate::parties::PLAIN;
use crate::support::cpus::Place;
use crate::support::exchange::Bench;
use crate::support::figures::Better;
use crate::support::load::{Load, Work};
use crate::support::rounds::Sample;
use crate::support::row::{Plan, Row, Unit};

const MILLISECONDS: Unit = Unit { symbol: "ms", better: Better::Less };

pub(super) fn row(bench: &Bench) -> Row {
    let title = "an answer in 10,000 writes of 81 bytes";
    let mut plan = Plan::new("lines", title, MILLISECONDS);
    let work = Work::of_one(Load::Lines, 10);
    plan.add("git", git(bench));
    plan.add(PLAIN.name, bench.pair(&PLAIN, (&PLAIN, 1), Place::Free, work, millis));
    for (_, party) in OURS {
        plan.add(party.name, bench.pair(party, (party, 1), Place::Free, work, millis));
        plan.claim("lines/git", party.name, "git");
    }
    for party in PEERS {
        plan.add(party.name, bench.pair(party, (party, 1), Place::Free, work, millis));
    }
    plan.measure(bench.pace)
}

fn millis(time: Duration, work: &Work) -> f64 {
    time.as_secs_f64() * 1e3 / work.count as f64
}

/// git's server under this library's client. test-tool makes its lines while it answers; what
/// that takes is known from the answer in which it makes the same lines and writes them in one
/// piece, and is taken off. (So is what sending that one takes, in git's favour.)
fn git(bench: &Bench) -> Result<Sample<'_>, String> {
    let path = bench.path();
    let server = bench.git()?.start(&path, None).map_err(|error| error.to_string())?;
    let client = &crate::support::blocking::BLOCKING;
    let mut client = client.join(&path, None).map_err(|error| error.to_string())?;
    Ok(Box::new(move || {
        let _ = &server;
        let mut time = |load| {
            let work = Work::of_one(load, 2);
            client.work(&work).map(|time| millis(time, &work))
        };
        Ok(time(Load::Lines)? - time(Load::Big)?)
    }))
}
