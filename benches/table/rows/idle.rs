//! Connections that say nothing.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use super::OURS;
use crate::observe::memory;
use crate::parties::{EVENT_LOOP, INTERPROCESS, INTERPROCESS_TOKIO};
use crate::support::child::Child;
use crate::support::cpus::Place;
use crate::support::exchange::{Bench, micros, renewed};
use crate::support::figures::Better;
use crate::support::floor::PACKETS;
use crate::support::load::{Load, Work};
use crate::support::party::{Party, Talker, role};
use crate::support::rounds::Pace;
use crate::support::row::{MICROSECONDS, Plan, Row, Unit};

/// How many of them.
const COUNT: usize = 10_000;

const BYTES: Unit = Unit { symbol: "bytes", better: Better::Less };

const GIT: &str = "8 silent clients occupy its 8 threads, and it answers nobody";

const INTERPROCESS_WAITS: &str = "every silent client occupies a thread";

/// A server, and who talks to it.
struct Served {
    _server: Child,
    _silent: Option<Child>,
    client: Talker,
    /// What a silent connection takes.
    memory: f64,
}

/// What they cost in latency, and in memory.
pub(super) fn rows(bench: &Bench) -> Vec<Row> {
    let title = "one exchange after the other beside 10,000 idle connections, on one processor";
    let mut latency = Plan::new("idle-latency", title, MICROSECONDS);
    let title = "the server's memory for an idle connection, the system's not counted";
    let mut used = Plan::new("idle-memory", title, BYTES);
    latency.add("git", Err(GIT.into()));
    used.add("git", Err(GIT.into()));
    let work = Work::of_one(Load::Small, 400);
    latency.add(INTERPROCESS.name, Err(INTERPROCESS_WAITS.into()));
    used.add(INTERPROCESS.name, Err(INTERPROCESS_WAITS.into()));
    let ours = OURS.map(|(_, party)| party);
    for party in ours.into_iter().chain([&EVENT_LOOP, &INTERPROCESS_TOKIO]) {
        let mut add = |name: &str, count| {
            let memory = Rc::new(Cell::new(f64::NAN));
            let noted = memory.clone();
            let start = move || {
                let served = serve(bench, party, count)?;
                noted.set(served.memory);
                Ok(served)
            };
            let sample =
                renewed(start, move |served| Ok(micros(served.client.work(&work)?, &work)));
            let bytes = sample.as_ref().map(|_| memory.get()).map_err(Clone::clone);
            latency.add(name, sample);
            bytes
        };
        let beside = format!("{} beside idle ones", party.name);
        // The one without them is only for comparison.
        let _ = add(party.name, 0);
        let bytes = add(&beside, COUNT);
        used.add(party.name, bytes.map(|bytes| Box::new(move || Ok(bytes)) as _));
        if ours.iter().any(|ours| ours.name == party.name) {
            latency.claim("idle/latency", &beside, party.name);
            used.claim("idle/memory", party.name, None);
        }
    }
    let once = Pace { rounds: 1, ..bench.pace };
    vec![latency.measure(bench.pace), used.measure(once)]
}

/// Ours are asked by the raw floor's client; a peer has its own protocol.
fn serve(bench: &Bench, party: &'static Party, count: usize) -> io::Result<Served> {
    let client = if party.name == INTERPROCESS_TOKIO.name { party } else { &PACKETS };
    let (at_server, at_client) = Place::Same.cpus().ok_or(io::ErrorKind::Unsupported)?;
    let path = bench.path();
    let server = party.start(&path, 1, at_server)?;
    let mut client = client.join(&path, at_client)?;
    // The server has what it needs before the memory is taken.
    client.work(&Work::of_one(Load::Small, 100))?;
    let before = memory(&server)?;
    let silent = if count == 0 {
        None
    } else {
        let mut command = role("hold")?;
        command.arg(&path).arg(count.to_string());
        let mut silent = Child::spawn(command, at_client)?;
        let answer = silent.line()?;
        if answer != "ready" {
            return Err(io::Error::other(answer));
        }
        Some(silent)
    };
    // An exchange of one's own shows that those before it have been seen.
    client.work(&Work::of_one(Load::Small, 100))?;
    let memory = memory(&server)?.saturating_sub(before) as f64 / count.max(1) as f64;
    Ok(Served { _server: server, _silent: silent, client, memory })
}
