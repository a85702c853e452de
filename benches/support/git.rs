//! git, through the `test-tool` of its test suite, if `GIT_TEST_TOOL` says where that is.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::child::Child;
use super::cpus::{self, Cpu};
use super::party::role;

/// The variable that names the tool.
pub(crate) const VARIABLE: &str = "GIT_TEST_TOOL";

/// git's implementation.
pub(crate) struct Git {
    tool: PathBuf,
}

impl Git {
    /// `None` where no tool is named.
    pub(crate) fn find() -> Option<Self> {
        std::env::var_os(VARIABLE).map(|tool| Self { tool: tool.into() })
    }

    /// Starts its server with eight threads, as its own daemons have.
    pub(crate) fn start(&self, path: &Path, cpu: Cpu) -> io::Result<Child> {
        let mut command = role("run")?;
        command.arg(&self.tool).args(["simple-ipc", "run-daemon", "--threads=8"]);
        command.arg(name(path)).stderr(Stdio::null());
        let child = Child::spawn(command, cpu)?;
        let start = Instant::now();
        while let Err(error) = UnixStream::connect(path) {
            if start.elapsed() > Duration::from_secs(5) {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(child)
    }

    /// How long `clients` of its client library take for `count` exchanges each, one after the
    /// other, with requests of `bytes` bytes and more, the time for starting the process not
    /// counted.
    pub(crate) fn talk(
        &self,
        path: &Path,
        clients: usize,
        count: usize,
        bytes: usize,
        cpu: Cpu,
    ) -> io::Result<Duration> {
        let one = self.multiple(path, clients, 1, bytes, cpu)?;
        let all = self.multiple(path, clients, 1 + count, bytes, cpu)?;
        Ok(all.saturating_sub(one))
    }

    fn multiple(
        &self,
        path: &Path,
        clients: usize,
        count: usize,
        bytes: usize,
        cpu: Cpu,
    ) -> io::Result<Duration> {
        let mut command = Command::new(&self.tool);
        command.args(["simple-ipc", "multiple"]).arg(name(path));
        command.args([format!("--threads={clients}"), format!("--batchsize={count}")]);
        command.arg(format!("--bytecount={bytes}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let mut process = cpus::on(cpu, || command.spawn())??;
        let pid = Pid::from_child(&process);
        let ended = pidfd_open(pid, PidfdFlags::empty())?;
        let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
        let in_time = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&patience))? > 0;
        let time = start.elapsed();
        if !in_time {
            process.kill()?;
        }
        match process.wait()? {
            status if status.success() => Ok(time),
            status => Err(io::Error::other(format!("git's client: {status}"))),
        }
    }
}

fn name(path: &Path) -> String {
    format!("--name={}", path.display())
}
