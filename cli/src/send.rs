//! `simple-ipc send`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read as _, Write as _, stderr, stdin};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueHint};
use simple_ipc::blocking::{Answer, Client, Connection, RequestWriter};
use simple_ipc::endpoint::Starter;
use simple_ipc::exchange::Done;
use simple_ipc::pkt_line::MAX_PAYLOAD_LEN;
use simple_ipc::{Error, ErrorKind};

use crate::exit::{self, Failure, Status};
use crate::input::Input;
use crate::progress::Progress;
use crate::values::{self, Limit};

const EXAMPLES: &str = "\
Examples:
  simple-ipc send ./x.ipc hello
  simple-ipc send ./x.ipc --file request.bin >answer.bin
  tar c . | simple-ipc send ./x.ipc --timeout 5m >answer.bin
  simple-ipc send ./x.ipc hello --wait 2s
  simple-ipc send ./x.ipc hello --start simple-ipc serve ./x.ipc --idle-exit 10s -- tr a-z A-Z";

/// Send a request and print the answer as it comes
///
/// The request is the argument, a file, or standard input. Request and answer are streamed, both at
/// once and in constant memory, whatever their sizes.
///
/// Without --timeout only inactivity is limited: 30 s until the server takes more of the request,
/// 60 s until the answer begins once the request has been sent, 30 s within the answer. (The server
/// has limits of its own: 'simple-ipc serve' gives up on a client that pauses for --client-timeout.)
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    after_long_help = format!(
        "{EXAMPLES}\n\n{}",
        exit::table(&[&Status::OF_EXCHANGES[..], &[Status::NotStarted]].concat()),
    ),
)]
pub struct Send {
    /// The server's path
    path: PathBuf,
    /// The request; standard input if it is left out
    request: Option<OsString>,
    /// Read the request from a file; "-" is standard input
    #[arg(short, long, conflicts_with = "request")]
    file: Option<PathBuf>,
    /// Give up when the whole exchange takes longer; "none" waits for ever
    #[arg(short, long, value_name = "DURATION", value_parser = values::duration_or_none)]
    timeout: Option<Limit<Duration>>,
    /// Wait this long for a server that is busy or not there yet [default: 1s if it is busy]
    #[arg(short, long, value_name = "DURATION", value_parser = values::duration)]
    wait: Option<Duration>,
    /// If there is no server, start one with this command: everything that follows. Of clients
    /// that find none at the same time one starts it
    #[arg(
        long,
        value_name = "COMMAND",
        num_args = 1..,
        allow_hyphen_values = true,
        value_hint = ValueHint::CommandName,
    )]
    start: Option<Vec<OsString>>,
}

/// How one half of the exchange ended.
enum Half {
    Request(Result<(), Broken>),
    Answer(Result<(), Broken>),
}

/// Why one half of the exchange came to no end.
enum Broken {
    Exchange(Error),
    /// What was read or written at this end.
    Here(Failure),
}

impl Send {
    pub fn run(mut self) -> Result<Status, Failure> {
        let input = self.input()?;
        let connection = self.connect()?;
        if input.is_standard() && stdin().is_terminal() && stderr().is_terminal() {
            let end = if cfg!(windows) { "Ctrl-Z and Enter" } else { "Ctrl-D" };
            exit::say(format_args!("type the request, then {end} on a line of its own"));
        }
        let failed = |error| self.explain(error);

        let progress = Arc::new(Progress::new(input.length));
        let (request, answer) = connection.request().split().map_err(failed)?;
        let (tell, halves) = channel();
        spawn({
            let (progress, tell) = (progress.clone(), tell.clone());
            move || drop(tell.send(Half::Request(send(input, request, &progress))))
        })?;
        spawn({
            let progress = progress.clone();
            move || drop(tell.send(Half::Answer(receive(answer, &progress))))
        })?;
        let outcome = watch(halves);
        progress.end();
        match outcome {
            // The request may not be at its end: the answer is whole without the rest.
            Ok(()) => Ok(Status::Success),
            Err(Broken::Here(failure)) => Err(failure),
            Err(Broken::Exchange(error)) => Err(self.explain(error)),
        }
    }

    fn input(&mut self) -> Result<Input, Failure> {
        match (self.request.take(), &self.file) {
            (Some(request), _) => return Ok(Input::of(request.into_encoded_bytes())),
            (None, Some(path)) => return Input::open(Some(path)),
            (None, None) => {}
        }
        Ok(Input::standard())
    }

    fn connect(&self) -> Result<Connection, Failure> {
        let mut client = Client::new(&self.path);
        if let Some(wait) = self.wait {
            client = client.wait_if_busy(wait).wait_if_not_found(wait);
        }
        if let Some(Limit(timeout)) = self.timeout {
            client = client
                .total_deadline(timeout)
                .send_deadline(None)
                .wait_deadline(None)
                .receive_deadline(None);
        }
        let connection = match self.starts() {
            Some([program, arguments @ ..]) => {
                let mut command = Command::new(program);
                command.args(arguments);
                client.connect_or_start(&Starter::new(command))
            }
            _ => client.connect(),
        };
        connection.map_err(|error| self.explain(error))
    }

    /// What --start is to run; it may have been set off by `--`.
    fn starts(&self) -> Option<&[OsString]> {
        match self.start.as_deref() {
            Some([first, words @ ..]) if first == "--" && !words.is_empty() => Some(words),
            words => words,
        }
    }

    /// What went wrong, and what can be done about it with the options there are.
    fn explain(&self, error: Error) -> Failure {
        let failure = Failure::from(error);
        match (failure.status, self.timeout, self.wait) {
            (Status::NotStarted | Status::NotFound | Status::NotListening, _, _)
                if self.start.is_some() =>
            {
                let program = Path::new(&self.starts().expect("it has one")[0]).display();
                match failure.status {
                    Status::NotStarted => failure.advise(format_args!("--start ran: {program}")),
                    _ => failure.advise(format_args!("--start is to serve there: {program}")),
                }
            }
            (Status::TimedOut, Some(_), _) => failure.advise("--timeout allows more"),
            (Status::TimedOut, None, _) => failure.advise("--timeout sets another limit"),
            (Status::Busy, _, _) => failure.advise("--wait waits longer"),
            (Status::NotFound | Status::NotListening, _, Some(_)) => {
                failure.advise("start one, or let --start do it")
            }
            (Status::NotFound | Status::NotListening, _, None) => {
                failure.advise("start one, let --start do it, or --wait for it")
            }
            _ => failure,
        }
    }
}

fn spawn(work: impl FnOnce() + std::marker::Send + 'static) -> Result<(), Failure> {
    let thread = thread::Builder::new().spawn(work);
    thread.map(drop).map_err(|error| Failure::io("start a thread", &error))
}

/// Waits for the end of the answer, or until it is clear that none will come.
fn watch(halves: std::sync::mpsc::Receiver<Half>) -> Result<(), Broken> {
    let mut hung_up = None;
    for half in halves {
        match half {
            Half::Request(Ok(())) => {}
            // There may be an answer all the same, or a better reason.
            Half::Request(Err(Broken::Exchange(error))) if error.kind() == ErrorKind::HungUp => {
                hung_up = Some(error);
            }
            Half::Answer(Err(Broken::Exchange(error))) => {
                return Err(Broken::Exchange(hung_up.unwrap_or(error)));
            }
            Half::Request(result) | Half::Answer(result) => return result,
        }
    }
    unreachable!("the answer always comes to an end")
}

fn send(
    mut input: Input,
    mut request: RequestWriter<Done>,
    progress: &Progress,
) -> Result<(), Broken> {
    // As much as fits into one packet, which is then sent as it is.
    let mut buffer = vec![0; MAX_PAYLOAD_LEN];
    loop {
        match input.read(&mut buffer).map_err(Broken::Here)? {
            0 => return request.finish().map_err(Broken::Exchange),
            n => {
                request.write_all(&buffer[..n]).map_err(Broken::Exchange)?;
                request.flush().map_err(Broken::Exchange)?;
                progress.sent(n);
            }
        }
    }
}

fn receive(mut answer: Answer, progress: &Progress) -> Result<(), Broken> {
    let mut stdout = io::stdout().lock();
    let mut write = |bytes: &[u8]| {
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.map_err(|error| Broken::Here(Failure::output(&error)))
    };
    let mut buffer = vec![0; MAX_PAYLOAD_LEN];
    let mut ends_line = true;
    loop {
        match answer.read(&mut buffer) {
            // A shell's prompt belongs on a line of its own.
            Ok(0) if !ends_line && io::stdout().is_terminal() => return write(b"\n"),
            Ok(0) => return Ok(()),
            Ok(n) => {
                write(&buffer[..n])?;
                ends_line = buffer[..n].ends_with(b"\n");
                progress.received(n);
            }
            Err(error) => {
                return Err(match error.downcast::<Error>() {
                    Ok(error) => Broken::Exchange(error),
                    Err(error) => Broken::Here(Failure::io("receive the answer", &error)),
                });
            }
        }
    }
}
