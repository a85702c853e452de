//! One exchange after the other: the rows on latency.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cpus::Place;
use super::git::{Git, VARIABLE};
use super::load::{Load, Work};
use super::party::Party;
use super::rounds::{Pace, Sample};
use super::row::{MICROSECONDS, Plan, Row};

/// What every row needs.
pub(crate) struct Bench {
    folder: Folder,
    git: Option<Git>,
    pub(crate) pace: Pace,
}

/// A contender: whose client, whose server, and what it should reach against whom.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) client: &'static Party,
    pub(crate) server: &'static Party,
    pub(crate) claims: &'static [(&'static str, &'static str)],
}

/// What to make of the time that work took.
pub(crate) type Value = fn(Duration, &Work) -> f64;

impl Bench {
    pub(crate) fn new(pace: Pace) -> io::Result<Self> {
        Ok(Self { folder: Folder::new()?, git: Git::find(), pace })
    }

    /// A path of its own for each server.
    pub(crate) fn path(&self) -> PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};

        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.folder.0.join(format!("{}.ipc", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn git(&self) -> Result<&Git, String> {
        self.git.as_ref().ok_or_else(|| format!("{VARIABLE} is not set"))
    }

    /// A server and a client that do `work`, each in a process of its own.
    pub(crate) fn pair(
        &self,
        client: &'static Party,
        (server, threads): (&'static Party, usize),
        place: Place,
        work: Work,
        value: Value,
    ) -> Result<Sample<'_>, String> {
        let (at_server, at_client) = place.cpus().ok_or(NEEDS_TWO)?;
        let start = move || {
            let path = self.path();
            let server = server.start(&path, threads, at_server)?;
            Ok((client.join(&path, at_client)?, server))
        };
        renewed(start, move |(client, _)| Ok(value(client.work(&work)?, &work)))
    }

    /// git's client and server.
    pub(crate) fn git_pair(
        &self,
        place: Place,
        work: Work,
        value: Value,
    ) -> Result<Sample<'_>, String> {
        let git = self.git()?;
        let (at_server, at_client) = place.cpus().ok_or(NEEDS_TWO)?;
        let start = move || {
            let path = self.path();
            Ok((git.start(&path, at_server)?, path))
        };
        let bytes = match work.load {
            Load::Request(bytes) => bytes,
            _ => 1,
        };
        renewed(start, move |(_, path)| {
            let time = git.talk(path, work.clients, work.count, bytes, at_client)?;
            Ok(value(time, &work))
        })
    }
}

/// Samples of processes that are started anew now and then: for all its life one may be lucky, or
/// unlucky, with where its memory is.
pub(crate) fn renewed<'b, P: 'b>(
    start: impl Fn() -> io::Result<P> + 'b,
    mut sample: impl FnMut(&mut P) -> io::Result<f64> + 'b,
) -> Result<Sample<'b>, String> {
    /// In samples.
    const LIFE: usize = 5;

    let mut processes = start().map_err(|error| error.to_string())?;
    let mut taken = 0;
    Ok(Box::new(move || {
        if taken == LIFE {
            processes = start()?;
            // As in the first round, the first one warms up.
            sample(&mut processes)?;
            taken = 0;
        }
        taken += 1;
        sample(&mut processes)
    }))
}

pub(crate) const NEEDS_TWO: &str = "it needs two processors";

/// Microseconds for an exchange.
pub(crate) fn micros(time: Duration, work: &Work) -> f64 {
    time.as_secs_f64() * 1e6 / work.count as f64
}

/// One client of each, one exchange after the other.
pub(crate) fn sequential(bench: &Bench, place: Place, contenders: &[Contender]) -> Row {
    let id = format!("exchange-{}", place.name());
    let title = format!("one exchange after the other, {}", place.title());
    let mut plan = Plan::new(id, title, MICROSECONDS);
    let work = Work::of_one(Load::Small, 400);
    plan.add("git", bench.git_pair(place, work, micros));
    for &Contender { name, client, server, claims } in contenders {
        plan.add(name, bench.pair(client, (server, 1), place, work, micros));
        claims.iter().for_each(|&(figure, against)| plan.claim(figure, name, against));
    }
    plan.measure(bench.pace)
}

/// A private folder for sockets, removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("simple-ipc-bench-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(folder: &Path) {
    // Servers that were killed left their sockets in it.
    if let Err(error) = fs::remove_dir_all(folder) {
        eprintln!("{}: {error}", folder.display());
    }
}
