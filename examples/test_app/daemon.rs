//! The subcommands that are a server, or start one.

use std::error::Error;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use simple_ipc::endpoint::{State, state};

use crate::options::Options;

/// Serves until told to quit.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    Ok((options.runtime.serve)(&options.name, options.threads)?)
}

/// Starts a server in the background and returns when it answers. One that is there already will
/// do.
pub fn start(options: &Options) -> Result<(), Box<dyn Error>> {
    let name = &*options.name;
    if state(name) == State::Listening {
        return Ok(());
    }
    let since = Instant::now();
    let mut daemon = Command::new(std::env::current_exe()?)
        .arg("run-daemon")
        .arg(format!("--name={}", name.display()))
        .arg(format!("--threads={}", options.threads))
        .arg(format!("--runtime={}", options.runtime.name))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    loop {
        // Looked at first: one that ended because another was faster leaves that one there.
        let ended = daemon.try_wait()?;
        match (state(name), ended) {
            (State::Listening, _) => return Ok(()),
            (state, Some(status)) => {
                let name = name.display();
                let error =
                    format!("{name}: {state}; the server ended ({status}), run-daemon says why");
                return Err(error.into());
            }
            (_, None) if since.elapsed() >= options.max_wait => {
                return Err(format!("{}: the server is not there yet", name.display()).into());
            }
            (_, None) => thread::sleep(Duration::from_millis(1)),
        }
    }
}
