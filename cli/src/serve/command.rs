//! The command that is run for each request.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};

use async_process::{Child, ChildStdin, ChildStdout};

use super::exchange::Peer;
use crate::exit::Failure;

/// A program and its arguments.
pub struct CommandLine(Vec<OsString>);

impl CommandLine {
    /// It is looked for at once, so that a typing error need not wait for the first request.
    pub fn new(words: Vec<OsString>) -> Result<Self, Failure> {
        #[cfg(unix)]
        if let Err(what) = unix::can_be_run(&words[0]) {
            let name = std::path::Path::new(&words[0]).display();
            return Err(Failure::usage(format_args!(
                "{what}: {name}; give its path, or install it"
            )));
        }
        Ok(Self(words))
    }

    /// Starts it for that client.
    pub fn start(&self, peer: &Peer) -> io::Result<(Running, ChildStdin, ChildStdout)> {
        let mut command = std::process::Command::new(&self.0[0]);
        command.args(&self.0[1..]).envs(peer.variables());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut command = async_process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok((Running(child), stdin.expect("piped"), stdout.expect("piped")))
    }
}

/// A command at work. Dropping it kills it, and all that it has started in its process group.
pub struct Running(Child);

impl Running {
    /// Waits for its end.
    pub async fn end(&mut self) -> io::Result<ExitStatus> {
        self.0.status().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended may have left others behind on purpose. The process itself is also
        // killed where there are no groups, by `kill_on_drop`.
        #[cfg(unix)]
        if let Ok(None) = self.0.try_status() {
            unix::kill_group(self.0.id());
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::env;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    use rustix::fs::{Access, access};
    use rustix::process::{Pid, Signal, kill_process_group};

    /// Whether `program` is there, as `execvp` would look for it, or what is wrong with it.
    pub(super) fn can_be_run(program: &OsStr) -> Result<(), &'static str> {
        let runs = |path: &Path| match path.is_file() {
            false => Err("command not found"),
            true if access(path, Access::EXEC_OK).is_err() => Err("command not executable"),
            true => Ok(()),
        };
        if program.as_bytes().contains(&b'/') {
            return runs(Path::new(program));
        }
        // The system has a default of its own.
        let Some(path) = env::var_os("PATH") else { return Ok(()) };
        let mut found = env::split_paths(&path).map(|folder| runs(&folder.join(program)));
        if found.any(|it| it.is_ok()) { Ok(()) } else { Err("command not found") }
    }

    pub(super) fn kill_group(leader: u32) {
        if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
            // If it has ended at this very moment there is nothing to do.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
