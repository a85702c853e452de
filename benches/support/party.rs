//! Who takes part: implementations that the bench, started again with a role, plays in a process
//! of their own.

use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::child::Child;
use super::cpus::Cpu;
use super::load::Work;

/// An implementation of both sides.
pub(crate) struct Party {
    pub(crate) name: &'static str,
    /// Serves at a path, with this many threads where that is a choice; calls the function when
    /// clients can connect. Returns only to fail.
    pub(crate) serve: fn(&Path, usize, &dyn Fn()) -> io::Result<()>,
    /// A client of a path, that works whenever it is asked to.
    pub(crate) client: fn(&Path) -> io::Result<Box<Worker>>,
}

/// Does the work and tells how long it took.
pub(crate) type Worker = dyn FnMut(&Work) -> io::Result<Duration>;

const ROLE: &str = "--role";

impl Party {
    /// Starts its server.
    pub(crate) fn start(&self, path: &Path, threads: usize, cpu: Cpu) -> io::Result<Child> {
        let mut command = role("serve")?;
        command.arg(self.name).arg(path).arg(threads.to_string());
        let mut child = Child::spawn(command, cpu)?;
        child.line()?;
        Ok(child)
    }

    /// Starts its client.
    pub(crate) fn join(&self, path: &Path, cpu: Cpu) -> io::Result<Talker> {
        let mut command = role("talk")?;
        command.arg(self.name).arg(path);
        let mut child = Child::spawn(command, cpu)?;
        child.line()?;
        Ok(Talker(child))
    }
}

/// A process with clients.
pub(crate) struct Talker(pub(crate) Child);

impl Talker {
    /// How long the work took.
    pub(crate) fn work(&mut self, work: &Work) -> io::Result<Duration> {
        let nanos = self.0.ask(&work.to_string())?;
        nanos.parse().map(Duration::from_nanos).map_err(|_| io::Error::other(nanos))
    }
}

/// This program again, in a role.
pub(crate) fn role(name: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE).arg(name);
    Ok(command)
}

/// Plays the role that this process was started in. `None`: it has none, and is the bench.
pub(crate) fn play(parties: &[&Party]) -> Option<io::Result<()>> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [flag, role, rest @ ..] = args.as_slice() else { return None };
    if flag != ROLE {
        return None;
    }
    // A bench that is killed leaves nobody behind.
    let bound = set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from);
    let party = |name| {
        let party = parties.iter().find(|party| party.name == name);
        party.copied().ok_or_else(|| io::Error::other("nobody of that name"))
    };
    Some(bound.and_then(|()| match (role.to_str(), rest) {
        (Some("serve"), [name, path, threads]) => {
            let threads = threads.to_str().and_then(|threads| threads.parse().ok()).unwrap_or(1);
            (party(name)?.serve)(path.as_ref(), threads, &|| say("ready"))
        }
        (Some("talk"), [name, path]) => talk((party(name)?.client)(path.as_ref())?),
        (Some("hold"), [path, count]) => hold(path.as_ref(), count.to_str().unwrap_or_default()),
        (Some("run"), [program, args @ ..]) => {
            use std::os::unix::process::CommandExt as _;
            Err(Command::new(program).args(args).exec())
        }
        _ => Err(io::Error::other("no such role")),
    }))
}

fn talk(mut worker: Box<Worker>) -> io::Result<()> {
    say("ready");
    for line in io::stdin().lock().lines() {
        match line?.parse().and_then(|work| worker(&work)) {
            Ok(time) => say(&time.as_nanos().to_string()),
            Err(error) => say(&format!("error {error}").replace('\n', " ")),
        }
    }
    Ok(())
}

/// Connects many times, says nothing, and stays.
fn hold(path: &Path, count: &str) -> io::Result<()> {
    let count: usize = count.parse().map_err(io::Error::other)?;
    let connect = |_| std::os::unix::net::UnixStream::connect(path);
    let held = (0..count).map(connect).collect::<io::Result<Vec<_>>>();
    match &held {
        Ok(_) => say("ready"),
        Err(error) => say(&format!("error {error}")),
    }
    // Until the bench has had enough.
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

fn say(line: &str) {
    let mut output = io::stdout();
    // If nobody listens any more, the bench is over.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}
