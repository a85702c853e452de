//! The subcommands that are a server, or start one.

use std::error::Error;
use std::process::Command;

use simple_ipc::blocking::Client;
use simple_ipc::endpoint::Starter;

use crate::options::Options;

/// Serves until told to quit.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    Ok((options.runtime.serve)(&options.name, options.threads)?)
}

/// Starts a server in the background and returns when it answers. One that is there already will
/// do.
pub fn start(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut daemon = Command::new(std::env::current_exe()?);
    daemon
        .arg("run-daemon")
        .arg(format!("--name={}", options.name.display()))
        .arg(format!("--threads={}", options.threads))
        .arg(format!("--runtime={}", options.runtime.name));
    let starter = Starter::new(daemon).deadline(options.max_wait);
    // Hanging up without a word disturbs nobody.
    drop(Client::new(&options.name).connect_or_start(&starter)?);
    Ok(())
}
