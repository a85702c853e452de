//! Large messages.

use std::time::Duration;

use super::{OURS, PEERS};
use crate::parties::PLAIN;
use crate::support::cpus::Place;
use crate::support::exchange::Bench;
use crate::support::figures::Better;
use crate::support::load::{Load, Work};
use crate::support::row::{Plan, Row, Unit};

const SPEED: Unit = Unit { symbol: "GB/s", better: Better::More };

const MEGABYTE: usize = 1_000_000;

/// Answers of so many megabytes.
pub(super) fn reply(bench: &Bench, megabytes: usize, kept: bool) -> Row {
    let (suffix, buffer) = if kept { ("-kept", "a kept") } else { ("", "a fresh") };
    let id = format!("reply-{megabytes}MB{suffix}");
    let title = format!("an answer of {megabytes} MB into {buffer} buffer");
    let work = work(Load::Reply { bytes: megabytes * MEGABYTE, kept }, megabytes);
    let mut plan = Plan::new(id, title, SPEED);
    plan.add("git", Err("test-tool has no answer over 810,000 bytes".into()));
    plan.add(PLAIN.name, bench.pair(&PLAIN, (&PLAIN, 1), Place::Free, work, speed));
    for (_, party) in OURS {
        plan.add(party.name, bench.pair(party, (party, 1), Place::Free, work, speed));
        match (megabytes, kept) {
            (10, false) => {
                plan.claim("10MB/git", party.name, "git");
                plan.claim("10MB/plain", party.name, PLAIN.name);
            }
            (100, false) => plan.claim("100MB/git", party.name, "git"),
            (100, true) => plan.claim("100MB-kept/git", party.name, "git"),
            _ => {}
        }
    }
    add_peers(&mut plan, bench, work);
    plan.measure(bench.pace)
}

/// Requests of so many megabytes, which the client fills and the server looks through.
pub(super) fn request(bench: &Bench, megabytes: usize) -> Row {
    let id = format!("request-{megabytes}MB");
    let title = format!("a request of {megabytes} MB, filling it and looking through it included");
    let work = work(Load::Request(megabytes * MEGABYTE), megabytes);
    let mut plan = Plan::new(id, title, SPEED);
    plan.add("git", bench.git_pair(Place::Free, work, speed));
    plan.add(PLAIN.name, bench.pair(&PLAIN, (&PLAIN, 1), Place::Free, work, speed));
    for (_, party) in OURS {
        plan.add(party.name, bench.pair(party, (party, 1), Place::Free, work, speed));
    }
    add_peers(&mut plan, bench, work);
    plan.measure(bench.pace)
}

fn add_peers<'b>(plan: &mut Plan<'b>, bench: &'b Bench, work: Work) {
    for party in PEERS {
        plan.add(party.name, bench.pair(party, (party, 1), Place::Free, work, speed));
    }
}

/// As many as take some tens of milliseconds.
fn work(load: Load, megabytes: usize) -> Work {
    Work::of_one(load, (100 / megabytes).max(2))
}

fn speed(time: Duration, work: &Work) -> f64 {
    let bytes = match work.load {
        Load::Request(bytes) | Load::Reply { bytes, .. } => bytes,
        Load::Small | Load::Lines | Load::Big => 0,
    };
    (bytes * work.count) as f64 / time.as_secs_f64() / 1e9
}
