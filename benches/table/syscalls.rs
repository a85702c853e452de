//! How many system calls an exchange takes on either side, as strace counts them. It slows the
//! side it looks at, so what depends on who is first comes out differently than without it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::parties::{EVENT_LOOP, SMOL, TOKIO};
use crate::support::blocking::BLOCKING;
use crate::support::child::Child;
use crate::support::cpus::Place;
use crate::support::exchange::Bench;
use crate::support::floor::PACKETS;
use crate::support::load::{Load, Work};
use crate::support::party::Party;

const COUNT: usize = 500;

pub(crate) fn count(bench: &Bench) -> io::Result<()> {
    let found = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("not measured: strace is not there");
        return Ok(());
    }
    println!("system calls of an exchange, on one processor");
    for server in [&PACKETS, &BLOCKING, &TOKIO, &SMOL, &EVENT_LOOP] {
        report(&format!("{} server", server.name), &traced(bench, &PACKETS, server, Side::Server)?);
    }
    for client in [&PACKETS, &BLOCKING, &TOKIO, &SMOL] {
        report(&format!("{} client", client.name), &traced(bench, client, &PACKETS, Side::Client)?);
    }
    Ok(())
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Side {
    Client,
    Server,
}

/// Calls by name.
type Calls = BTreeMap<String, usize>;

fn report(who: &str, calls: &Calls) {
    let each = |calls: usize| calls as f64 / COUNT as f64;
    let sum = each(calls.values().sum());
    // What happens once in a hundred exchanges belongs to starting or to the tracing.
    let seen = calls.iter().map(|(name, &calls)| (name, each(calls))).filter(|(_, n)| *n >= 0.02);
    let seen: Vec<_> = seen.map(|(name, calls)| format!("{name} {calls:.2}")).collect();
    println!("  {who:22}{sum:>6.2}  {}", seen.join(", "));
}

fn traced(bench: &Bench, client: &Party, server: &Party, side: Side) -> io::Result<Calls> {
    let (at_server, at_client) = Place::Same.cpus().ok_or(io::ErrorKind::Unsupported)?;
    let path = bench.path();
    let server = server.start(&path, 1, at_server)?;
    let mut client = client.join(&path, at_client)?;
    client.work(&Work::of_one(Load::Small, 50))?;
    let output = path.with_extension("strace");
    let traced = if side == Side::Server { &server } else { &client.0 };
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-p", &traced.process.id().to_string(), "-o"])
        .arg(&output)
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    while !is_traced(traced)? && start.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(10));
    }
    let outcome = client.work(&Work::of_one(Load::Small, COUNT));
    kill_process(Pid::from_child(&strace), Signal::INT)?;
    strace.wait()?;
    outcome?;
    parse(&output)
}

/// Whether strace has attached to every thread.
fn is_traced(child: &Child) -> io::Result<bool> {
    for task in fs::read_dir(format!("/proc/{}/task", child.process.id()))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        if status.lines().any(|line| line == "TracerPid:\t0") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Its table has lines of: % time, seconds, µs a call, calls, errors or nothing, name.
fn parse(output: &Path) -> io::Result<Calls> {
    let table = fs::read_to_string(output)?;
    let calls = table.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (calls, name) = (words.get(3)?.parse().ok()?, words.last()?);
        (*name != "total").then(|| ((*name).to_owned(), calls))
    });
    Ok(calls.collect())
}
