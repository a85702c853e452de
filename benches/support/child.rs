//! Processes that the bench starts, talks to through their standard streams, and ends.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::cpus::{self, Cpu};

/// The longest that one command may take before the contender counts as stuck.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// A process that is ended when this is dropped.
pub(crate) struct Child {
    pub(crate) process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    pub(crate) fn spawn(mut command: Command, cpu: Cpu) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = cpus::on(cpu, || command.spawn())??;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            unreachable!("both are piped");
        };
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    /// The next line it writes.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut ready = [PollFd::new(self.output.get_ref(), PollFlags::IN)];
        if poll(&mut ready, Some(&PATIENCE))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in a minute"));
        }
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended"));
        }
        Ok(line.trim_end().to_owned())
    }

    /// Sends it a line and gives its answer.
    pub(crate) fn ask(&mut self, line: &str) -> io::Result<String> {
        writeln!(self.input, "{line}")?;
        let answer = self.line()?;
        match answer.strip_prefix("error ") {
            Some(error) => Err(io::Error::other(error.to_owned())),
            None => Ok(answer),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It fails only if the process has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
