//! Many clients at once.

use super::{OURS, PEERS};
use crate::parties::EVENT_LOOP;
use crate::support::cpus::Place;
use crate::support::exchange::Bench;
use crate::support::figures::Better;
use crate::support::floor::PACKETS;
use crate::support::load::{Load, Work};
use crate::support::row::{Plan, Row, Unit};

const RATE: Unit = Unit { symbol: "thousand/s", better: Better::More };

/// Exchanges a second with this many clients; the servers have eight threads where that is a
/// choice.
pub(super) fn row(bench: &Bench, clients: usize) -> Row {
    let id = format!("clients-{clients}");
    let mut plan =
        Plan::new(id, format!("{clients} clients at once, the scheduler decides where"), RATE);
    let work = Work { load: Load::Small, clients, count: 1600 / clients };
    let place = Place::Free;
    let rate = |time: std::time::Duration, work: &Work| {
        (work.clients * work.count) as f64 / time.as_secs_f64() / 1e3
    };
    plan.add("git", bench.git_pair(place, work, rate));
    plan.add("raw floor", bench.pair(&PACKETS, (&PACKETS, 8), place, work, rate));
    for (kind, party) in OURS {
        plan.add(party.name, bench.pair(party, (party, 8), place, work, rate));
        // There is no figure for two.
        if clients > 2 {
            plan.claim(&format!("rate/git/{kind}"), party.name, "git");
        }
    }
    plan.add("event loop", bench.pair(&PACKETS, (&EVENT_LOOP, 1), place, work, rate));
    for party in PEERS {
        plan.add(party.name, bench.pair(party, (party, 8), place, work, rate));
    }
    plan.measure(bench.pace)
}
