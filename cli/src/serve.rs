//! `simple-ipc serve`.

mod command;
mod exchange;
mod log;
mod runtime;
mod signals;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum, ValueHint};
use simple_ipc::endpoint::{self, BindOptions};
use simple_ipc::lifecycle::Reason;

use crate::exit::{self, Failure, Status};
use crate::values::{self, Limit};
use command::CommandLine;
use exchange::Service;
use log::Log;
use runtime::Handle;
use signals::Signals;

const EXAMPLES: &str = "\
Examples:
  simple-ipc serve ./x.ipc -- tr a-z A-Z
  simple-ipc serve ./x.ipc -v --idle-exit 10m -- sh -c 'read name; date \"+%T, $name\"'
  simple-ipc serve ./x.ipc --echo
  systemd-socket-activate -l \"$PWD/x.ipc\" simple-ipc serve -- tr a-z A-Z";

const DETAILS: &str = "\
The command runs in a process group of its own, once for each request. If it exits with a status \
other than 0, or its request is longer than --max-request, the exchange is aborted: the client gets \
an error, never a short answer. If the client leaves, the command is killed, on Unix with its group. \
The answer ends when the command does, even if something that it has left behind still holds its \
output. What it writes to standard error goes where this server's goes.

It is told who asks, as far as the system knows: SIMPLE_IPC_PEER_USER is the user's number (on \
Windows the SID), SIMPLE_IPC_PEER_PID the process, SIMPLE_IPC_PEER_GROUP the group's number (Unix \
only).

A client that reads only when it has sent everything, as git's does, gets stuck with --echo, or with \
a command that answers a long request before it has read it. 'simple-ipc send' does not.

SIGTERM, SIGINT and SIGHUP (on Windows Ctrl-C) stop the server: it gives the path up at once, serves \
whoever is connected, and aborts what is still under way after --drain. A second signal aborts at once.

A listener that systemd hands over (LISTEN_FDS, Unix only) is served in place of making one, and who \
may connect to it is as it was made, whatever --access says. PATH may then be left out; if several are \
handed over it says which.

When it is started by a client ('simple-ipc send --start'), what it writes to standard error is part of \
that client's error until it listens, and goes nowhere from then on.

Each exchange takes a few file descriptors. If --threads asks for more than are allowed, the limit is \
raised as far as it may be; commands inherit it.";

/// Serve at a path, with a command for each request
///
/// The command gets the request on its standard input, and what it writes to its standard output is
/// the answer, streamed in both directions.
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    after_long_help = format!("{DETAILS}\n\n{EXAMPLES}\n\n{}", exit::table(&[
        Status::Success, Status::Failure, Status::Usage, Status::NotFound, Status::Denied,
        Status::InvalidPath, Status::TimedOut, Status::InUse,
    ])),
    group = ArgGroup::new("service").required(true).args(["command", "echo"]),
    override_usage = "simple-ipc serve [OPTIONS] PATH -- COMMAND...\n       \
                      simple-ipc serve [OPTIONS] PATH --echo",
)]
pub struct Serve {
    /// Where to serve
    path: Option<PathBuf>,
    /// What to run for each request
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandName)]
    command: Vec<OsString>,
    /// Answer with the request itself
    #[arg(long)]
    echo: bool,
    /// What to serve on
    #[arg(long, value_enum, default_value_t = Runtime::Blocking)]
    runtime: Runtime,
    /// How many exchanges may be under way at once; further clients wait
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: u16,
    /// The longest request
    #[arg(long, value_name = "SIZE", default_value = "none", value_parser = values::size_or_none)]
    max_request: Limit<u64>,
    /// How long a client may pause inside its request, or take none of its answer
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = values::duration_or_none)]
    client_timeout: Limit<Duration>,
    /// Stop after this long without a client
    #[arg(long, value_name = "DURATION", default_value = "none", value_parser = values::duration_or_none)]
    idle_exit: Limit<Duration>,
    /// Who may connect
    #[arg(long, value_enum, default_value_t = Access::Owner)]
    access: Access,
    /// How long exchanges under way may take to end when the server is stopped
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    drain: Duration,
    /// Log every exchange to standard error, not just those that fail: the beginning of its
    /// request, who asked, bytes in and out, duration, result
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Runtime {
    Blocking,
    Tokio,
    Smol,
}

#[derive(Clone, Copy, ValueEnum)]
enum Access {
    /// This user
    Owner,
    /// The members of the socket's group too
    Group,
    /// Whoever can reach the folder
    Everyone,
}

impl From<Access> for endpoint::Access {
    fn from(access: Access) -> Self {
        match access {
            Access::Owner => Self::Owner,
            Access::Group => Self::Group,
            Access::Everyone => Self::Everyone,
        }
    }
}

/// Where the server's place is.
enum Place {
    Path(PathBuf, BindOptions),
    #[cfg(unix)]
    Listener(std::os::fd::OwnedFd),
}

/// What a server is told, whatever the runtime.
struct Settings {
    exchanges: usize,
    /// Connected clients whose requests have not come, if there is room for a certain number only.
    waiting: Option<usize>,
    client_timeout: Option<Duration>,
    idle_exit: Option<Duration>,
    drain: Duration,
}

impl Serve {
    pub fn run(self) -> Result<Status, Failure> {
        // Before anything else, so that no signal finds the server without its end prepared.
        let signals = Signals::new()?;
        let command = match self.echo {
            true => None,
            false => Some(CommandLine::new(self.command)?),
        };
        let place = place(self.path, self.access)?;
        let settings = Settings {
            exchanges: self.threads.into(),
            waiting: room(self.threads)?,
            client_timeout: self.client_timeout.0,
            idle_exit: self.idle_exit.0,
            drain: self.drain,
        };
        let (service, exchanges) =
            Service::new(command, self.max_request.0, self.drain, Log::new(self.verbose));
        let on_start = |path: &Path, handle: Box<dyn Handle>| {
            exit::say(format_args!("listening on {}", path.display()));
            signals.on_signal(handle, exchanges.ends())
        };
        let ending = match self.runtime {
            Runtime::Blocking => runtime::blocking(place, &settings, service, on_start),
            Runtime::Tokio => runtime::tokio(place, &settings, service, on_start),
            Runtime::Smol => runtime::smol(place, &settings, service, on_start),
        }?;
        if ending.aborted > 0 {
            exchanges.wait();
        }
        report(ending.reason, exchanges.cut().max(ending.aborted), exchanges.were_aborted())
    }
}

/// Makes room for the descriptors of so many exchanges, and says how many more connections there
/// is room for.
#[cfg(unix)]
fn room(exchanges: u16) -> Result<Option<usize>, Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// A connection, one that is about to be accepted, and both ends of a command's pipes.
    const EACH: u64 = 8;
    /// The runtime's own, and what the user has left open.
    const OTHERS: u64 = 64;
    /// Clients that have connected and not spoken.
    const WAITING: u64 = 64;

    let needed = u64::from(exchanges) * EACH + OTHERS;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed + WAITING) {
        let wanted = limit.maximum.map_or(needed + WAITING, |most| most.min(needed + WAITING));
        limit = Rlimit { current: Some(wanted), ..limit };
        setrlimit(Resource::Nofile, limit)
            .map_err(|errno| Failure::io("raise the limit on file descriptors", &errno.into()))?;
    }
    match limit.current {
        Some(current) if current <= needed => Err(Failure::usage(format_args!(
            "--threads {exchanges} may take {needed} file descriptors, of which the system allows \
             {current}; ask for fewer, or raise the limit ('ulimit -n')"
        ))),
        Some(current) => Ok(usize::try_from(current - needed).ok()),
        None => Ok(None),
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
fn room(_: u16) -> Result<Option<usize>, Failure> {
    Ok(None)
}

#[cfg(unix)]
fn place(path: Option<PathBuf>, access: Access) -> Result<Place, Failure> {
    use std::os::fd::OwnedFd;

    let failed = |error| Failure::io("take over the listener that was handed over", &error);
    let listeners: Vec<OwnedFd> =
        endpoint::activated().map_err(failed)?.into_iter().map(OwnedFd::from).collect();
    let count = listeners.len();
    // As a path that has another spelling is the same, so is one through a link.
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    let mut wanted = Vec::new();
    let mut found = Vec::new();
    for listener in listeners {
        let twin = listener.try_clone().map_err(failed)?;
        let at = match simple_ipc::blocking::Server::from_listener(twin) {
            Ok(server) => server.path().to_owned(),
            Err(error) => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                return Err(Failure::usage(format_args!(
                    "a listener that was handed over cannot be served: {}; hand over the socket of \
                     a path (systemd: ListenStream=/some/path)",
                    why.unwrap_or_else(|| error.to_string())
                )));
            }
        };
        if path.as_deref().is_none_or(|path| real(path) == real(&at)) {
            wanted.push(listener);
        }
        found.push(at.display().to_string());
    }
    match (count, wanted.pop(), wanted.is_empty(), path) {
        (0, _, _, Some(path)) => Ok(Place::Path(path, BindOptions::new().access(access.into()))),
        (0, _, _, None) => Err(Failure::usage(
            "PATH is missing: say where to serve, such as 'simple-ipc serve ./x.ipc -- cat'",
        )),
        (_, Some(listener), true, _) => Ok(Place::Listener(listener)),
        (_, _, _, Some(path)) => Err(Failure::usage(format_args!(
            "no listener at {} was handed over, but: {}; leave PATH out, or correct it",
            path.display(),
            found.join(", ")
        ))),
        (_, _, _, None) => Err(Failure::usage(format_args!(
            "{count} listeners were handed over: say by PATH which to serve: {}",
            found.join(", ")
        ))),
    }
}

#[cfg(not(unix))]
fn place(path: Option<PathBuf>, access: Access) -> Result<Place, Failure> {
    match path {
        Some(path) => Ok(Place::Path(path, BindOptions::new().access(access.into()))),
        None => Err(Failure::usage("PATH is missing: say where to serve")),
    }
}

/// What is said of the end.
fn report(reason: Reason, aborted: usize, were_aborted: bool) -> Result<Status, Failure> {
    if aborted > 0 {
        let why = match were_aborted {
            true => "by a second signal",
            false => "when the time to drain was over; --drain allows more",
        };
        let exchanges = match aborted {
            1 => "1 exchange was".to_owned(),
            several => format!("{several} exchanges were"),
        };
        return Err(Failure::new(Status::Failure, format_args!("{exchanges} aborted {why}")));
    }
    match reason {
        Reason::PathLost => Err(Failure::new(
            Status::Failure,
            "stopped, because the path was removed or is another server's; start it again",
        )),
        _ => Ok(Status::Success),
    }
}
