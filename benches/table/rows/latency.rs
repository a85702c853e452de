//! What one exchange takes, and what it costs the server.

use std::io;
use std::path::Path;

use crate::observe::cpu_time;
use crate::parties::{EVENT_LOOP, INTERPROCESS, INTERPROCESS_TOKIO, SMOL, TOKIO};
use crate::support::blocking::BLOCKING;
use crate::support::child::Child;
use crate::support::cpus::Place;
use crate::support::exchange::{Bench, Contender, micros, renewed, sequential};
use crate::support::floor::PACKETS;
use crate::support::load::{Load, Work};
use crate::support::party::Party;
use crate::support::rounds::Sample;
use crate::support::row::{MICROSECONDS, Plan, Row};

type Claims = &'static [(&'static str, &'static str)];

/// One client, one exchange after the other.
pub(super) fn exchange(bench: &Bench, place: Place) -> Row {
    let (blocking, others): (Claims, Claims) = match place {
        Place::Same => (
            &[("same/git/blocking", "git"), ("same/floor/blocking", "raw floor")],
            &[("same/git/async", "git"), ("same/floor/async", "raw floor")],
        ),
        Place::Free => (&[("free/git", "git")], &[("free/git", "git")]),
        Place::Split => (&[], &[]),
    };
    let both = |party: &'static Party, claims| Contender {
        name: party.name,
        client: party,
        server: party,
        claims,
    };
    let contenders = [
        both(&PACKETS, &[]),
        both(&BLOCKING, blocking),
        both(&TOKIO, others),
        both(&SMOL, others),
        Contender { name: "event loop", client: &PACKETS, server: &EVENT_LOOP, claims: &[] },
        both(&INTERPROCESS, &[]),
        both(&INTERPROCESS_TOKIO, &[]),
    ];
    sequential(bench, place, &contenders)
}

/// Servers under git's own client.
pub(super) fn under_git(bench: &Bench) -> Row {
    let title = "git's client against each server, on one processor";
    let mut plan = Plan::new("under-git", title, MICROSECONDS);
    let work = Work::of_one(Load::Small, 400);
    plan.add("git", bench.git_pair(Place::Same, work, micros));
    for party in [&PACKETS, &BLOCKING, &TOKIO, &SMOL, &EVENT_LOOP] {
        plan.add(party.name, under_git_sample(bench, party, work));
    }
    for party in [&BLOCKING, &TOKIO, &SMOL] {
        plan.claim("under-git/git", party.name, "git");
    }
    plan.measure(bench.pace)
}

fn under_git_sample<'b>(
    bench: &'b Bench,
    party: &'static Party,
    work: Work,
) -> Result<Sample<'b>, String> {
    let git = bench.git()?;
    let (at_server, at_client) = Place::Same.cpus().ok_or("no processor")?;
    let start = move || {
        let path = bench.path();
        Ok((party.start(&path, 1, at_server)?, path))
    };
    renewed(start, move |(_, path)| Ok(micros(git.talk(path, 1, work.count, 1, at_client)?, &work)))
}

/// What an exchange costs both sides together. On one processor that is all of its latency, and
/// others on the machine do not count; git's client cannot be measured so.
pub(super) fn both_cpu(bench: &Bench) -> Row {
    let title = "processor time of client and server together, on one processor";
    let mut plan = Plan::new("exchange-cpu", title, MICROSECONDS);
    for (client, server) in [
        (&PACKETS, &PACKETS),
        (&BLOCKING, &BLOCKING),
        (&TOKIO, &TOKIO),
        (&SMOL, &SMOL),
        (&PACKETS, &EVENT_LOOP),
        (&INTERPROCESS, &INTERPROCESS),
        (&INTERPROCESS_TOKIO, &INTERPROCESS_TOKIO),
    ] {
        plan.add(server.name, both_cpu_sample(bench, client, server));
    }
    plan.measure(bench.pace)
}

fn both_cpu_sample<'b>(
    bench: &'b Bench,
    client: &'static Party,
    server: &'static Party,
) -> Result<Sample<'b>, String> {
    let work = Work::of_one(Load::Small, 400);
    let (at_server, at_client) = Place::Same.cpus().ok_or("no processor")?;
    let start = move || {
        let path = bench.path();
        let server = server.start(&path, 1, at_server)?;
        Ok((client.join(&path, at_client)?, server))
    };
    renewed(start, move |(client, server)| {
        let before = cpu_time(server)? + cpu_time(&client.0)?;
        client.work(&work)?;
        Ok(micros(cpu_time(server)? + cpu_time(&client.0)? - before, &work))
    })
}

/// What an exchange costs the server, whoever the client is: the raw floor's, here.
pub(super) fn server_cpu(bench: &Bench) -> Row {
    let title = "the server's processor time for an exchange, on one processor with its client";
    let mut plan = Plan::new("server-cpu", title, MICROSECONDS);
    plan.add("git", server_cpu_sample(bench, None));
    for party in [&PACKETS, &BLOCKING, &TOKIO, &SMOL, &EVENT_LOOP] {
        plan.add(party.name, server_cpu_sample(bench, Some(party)));
    }
    for party in [&BLOCKING, &TOKIO, &SMOL] {
        plan.claim("cpu/git", party.name, "git");
    }
    plan.measure(bench.pace)
}

/// The server of `party`, or git's.
#[allow(clippy::type_complexity)]
fn server_cpu_sample<'b>(
    bench: &'b Bench,
    party: Option<&'static Party>,
) -> Result<Sample<'b>, String> {
    let work = Work::of_one(Load::Small, 400);
    let (at_server, at_client) = Place::Same.cpus().ok_or("no processor")?;
    let serve: Box<dyn Fn(&Path) -> io::Result<Child> + 'b> = match party {
        Some(party) => Box::new(move |path| party.start(path, 1, at_server)),
        None => {
            let git = bench.git()?;
            Box::new(move |path| git.start(path, at_server))
        }
    };
    let start = move || {
        let path = bench.path();
        let server = serve(&path)?;
        Ok((PACKETS.join(&path, at_client)?, server))
    };
    renewed(start, move |(client, server)| {
        let before = cpu_time(server)?;
        client.work(&work)?;
        Ok(micros(cpu_time(server)? - before, &work))
    })
}
