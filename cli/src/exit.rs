//! How the command ends: the exit statuses, and errors as one line each.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write as _};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::CommandFactory as _;
use clap::error::ErrorKind as Misuse;
use simple_ipc::endpoint::State;
use simple_ipc::{Error, ErrorKind, Phase};

use crate::Cli;

/// Why the command ended. Each is an exit status of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Status {
    Success = 0,
    Failure = 1,
    Usage = 2,
    NotFound = 3,
    NotListening = 4,
    Busy = 5,
    Denied = 6,
    InvalidPath = 7,
    TimedOut = 8,
    NoWholeAnswer = 9,
    NotStarted = 10,
    InUse = 11,
    Malformed = 12,
    /// What a shell shows for a program that SIGPIPE has ended.
    OutputClosed = 141,
}

impl Status {
    pub const ALL: [Self; 14] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::NotListening,
        Self::Busy,
        Self::Denied,
        Self::InvalidPath,
        Self::TimedOut,
        Self::NoWholeAnswer,
        Self::NotStarted,
        Self::InUse,
        Self::Malformed,
        Self::OutputClosed,
    ];

    /// What an exchange may come to.
    pub const OF_EXCHANGES: [Self; 11] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::NotListening,
        Self::Busy,
        Self::Denied,
        Self::InvalidPath,
        Self::TimedOut,
        Self::NoWholeAnswer,
        Self::OutputClosed,
    ];

    /// What reading and writing packets may come to.
    pub const OF_PACKETS: [Self; 5] =
        [Self::Success, Self::Failure, Self::Usage, Self::Malformed, Self::OutputClosed];

    fn meaning(self) -> &'static str {
        match self {
            Self::Success => "all is well",
            Self::Failure => "another error: the system said no, a file cannot be read",
            Self::Usage => "the command line was not understood",
            Self::NotFound => "path not found: no server has been started there",
            Self::NotListening => "not listening: the server is gone, its socket is left",
            Self::Busy => "the server is alive and has no room",
            Self::Denied => "denied: this user may not connect",
            Self::InvalidPath => "invalid path: it is not, and cannot become, a server's socket",
            Self::TimedOut => "timed out",
            Self::NoWholeAnswer => "the server gave no answer, or broke it off",
            Self::NotStarted => "the server that was to be started did not start",
            Self::InUse => "a live server has this path already",
            Self::Malformed => "the input is no pkt-line stream",
            Self::OutputClosed => "whoever read the output has left (said quietly)",
        }
    }
}

impl From<State> for Status {
    fn from(state: State) -> Self {
        match state {
            State::Listening => Self::Success,
            State::NotListening => Self::NotListening,
            State::NotFound => Self::NotFound,
            State::Invalid => Self::InvalidPath,
            State::Denied => Self::Denied,
            _ => Self::Failure,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Those statuses and their meanings, for a help text.
pub fn table(statuses: &[Status]) -> String {
    let mut table = String::from("Exit status:");
    let mut statuses = statuses.to_vec();
    statuses.sort_by_key(|status| *status as u8);
    for status in statuses {
        let _ = write!(table, "\n  {:>3}  {}", status as u8, status.meaning());
    }
    table
}

/// Why a command failed, in one line that says what to do.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    message: String,
}

impl Failure {
    pub fn new(status: Status, message: impl Display) -> Self {
        Self { status, message: one_line(&message.to_string()) }
    }

    pub fn usage(message: impl Display) -> Self {
        Self::new(Status::Usage, message)
    }

    /// The system refused to do `what`.
    pub fn io(what: impl Display, error: &io::Error) -> Self {
        Self::new(Status::Failure, format_args!("cannot {what}: {error}"))
    }

    /// Writing to standard output failed.
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Status::OutputClosed, ""),
            _ => Self::io("write to standard output", error),
        }
    }

    /// Adds what can be done about it.
    pub fn advise(mut self, advice: impl Display) -> Self {
        let _ = write!(self.message, "; {advice}");
        self
    }

    /// Tells the user.
    pub fn report(self) -> Status {
        if self.status != Status::OutputClosed {
            complain(&self.message);
        }
        self.status
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Endpoint(state) => state.into(),
            ErrorKind::Busy => Status::Busy,
            ErrorKind::InUse => Status::InUse,
            ErrorKind::Untrusted => Status::Denied,
            ErrorKind::Deadline(_) | ErrorKind::TotalDeadline(_) => Status::TimedOut,
            ErrorKind::NotStarted => Status::NotStarted,
            ErrorKind::Message(_)
            | ErrorKind::Truncated
            | ErrorKind::NoAnswer
            | ErrorKind::HungUp
            | ErrorKind::Aborted => Status::NoWholeAnswer,
            _ => Status::Failure,
        };
        let failure = Self::new(status, &error);
        match (error.phase(), status) {
            (Phase::Bind, Status::InUse) => failure.advise("stop it first, or use another path"),
            (Phase::Connect, Status::Denied) => {
                failure.advise("its owner can let others in, with 'serve --access' for one")
            }
            (_, Status::NoWholeAnswer) => failure.advise("its log may say why"),
            _ => failure,
        }
    }
}

/// One line on standard error, in this command's name.
pub fn complain(message: impl Display) {
    const LOUD: Style = AnsiColor::Red.on_default().bold();
    say(format_args!("{LOUD}simple-ipc:{LOUD:#} {message}"));
}

/// One line on standard error, in one piece: others write there too.
pub fn say(line: impl Display) {
    let line = format!("{line}\n");
    let stderr = io::stderr();
    // Nobody is left to be told if this fails.
    let _ = match anstream::AutoStream::choice(&stderr) {
        anstream::ColorChoice::Never => {
            stderr.lock().write_all(anstream::adapter::strip_str(&line).to_string().as_bytes())
        }
        _ => anstream::stderr().lock().write_all(line.as_bytes()),
    };
}

/// The command line is not one, or asks for help.
pub fn not_understood(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == Misuse::DisplayHelpOnMissingArgumentOrSubcommand {
        if let Err(error) = error.print() {
            return Failure::output(&error).report().into();
        }
    } else {
        let misused = misused();
        let text = error.render().to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default();
        let text = text.split("\n\nFor more information").next().unwrap_or_default();
        let text = text.trim_start_matches("error: ").split("\n\n").map(one_line);
        let text = text.collect::<Vec<_>>().join("; ");
        let advice = match error.kind() {
            Misuse::UnknownArgument if misused.ends_with("serve") => {
                "put -- before the command, or "
            }
            _ => "",
        };
        complain(format_args!("{text}; {advice}see '{misused} --help'"));
    }
    ExitCode::from(error.exit_code() as u8)
}

/// The command that was misused, as far as the command line names one.
fn misused() -> String {
    let mut command = Cli::command();
    let mut name = command.get_name().to_owned();
    for word in std::env::args_os().skip(1) {
        let Some(next) = command.find_subcommand(word) else { break };
        command = next.clone();
        name = format!("{name} {}", command.get_name());
    }
    name
}

/// Any text in one line, with nothing in it that a terminal obeys.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut one = String::new();
    for line in lines {
        one.extend((!one.is_empty()).then_some(' '));
        for character in line.chars() {
            match character.is_control() {
                true => one.extend(character.escape_default()),
                false => one.push(character),
            }
        }
    }
    one
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn one_line_and_nothing_to_obey() {
        assert_eq!(one_line("\n a\n\n  b\r\nc "), "a b c");
        assert_eq!(one_line("\u{1b}[31mred\rhid, é"), "\\u{1b}[31mred\\rhid, é");
    }
}
