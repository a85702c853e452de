//! `simple-ipc state`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use simple_ipc::blocking::Client;
use simple_ipc::endpoint;

use crate::exit::{self, Failure, Status};

/// Say what is found at a path, without disturbing the server
#[derive(Args)]
#[command(
    after_help = "\
Examples:
  simple-ipc state ./x.ipc
  if simple-ipc state --quiet ./x.ipc; then echo it runs; fi",
    after_long_help = format!("\
Prints one of: listening, not listening, path not found, invalid path, denied, other error.

Examples:
  simple-ipc state ./x.ipc
  if simple-ipc state --quiet ./x.ipc; then echo it runs; fi

{}", exit::table(&[
        Status::Success, Status::NotFound, Status::NotListening, Status::Denied,
        Status::InvalidPath, Status::Failure, Status::Usage,
    ])),
)]
pub struct State {
    /// The server's path
    path: PathBuf,
    /// Print nothing; the exit status says it
    #[arg(short, long)]
    quiet: bool,
}

impl State {
    pub fn run(self) -> Result<Status, Failure> {
        let state = endpoint::state(&self.path);
        if !self.quiet {
            writeln!(io::stdout(), "{state}").map_err(|error| Failure::output(&error))?;
        }
        if state == endpoint::State::Other {
            // Connecting says what it is.
            Client::new(&self.path).wait_if_busy(std::time::Duration::ZERO).connect()?;
        }
        Ok(state.into())
    }
}
