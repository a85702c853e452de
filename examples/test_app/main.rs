//! The application with which git tests its own Simple-IPC (`test-tool simple-ipc`), on this
//! library: each side of it works with the other side of git's.
//!
//! ```text
//! cargo run --example test_app -- start-daemon --name=/tmp/ipc-test
//! cargo run --example test_app -- send --name=/tmp/ipc-test --token=ping
//! cargo run --example test_app -- stop-daemon --name=/tmp/ipc-test
//! ```

mod answer;
mod client;
mod daemon;
mod options;
mod runtime;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use options::Options;

const USAGE: &str = "\
usage: test_app <subcommand> [<options>]

  SUPPORTS_SIMPLE_IPC   succeed
  is-active             succeed if a server is there
  run-daemon            serve until told to quit      --threads --runtime
  start-daemon          the same, in the background   --threads --runtime --max-wait
  stop-daemon           tell the server to quit       --max-wait
  send                  send a token                  --token --runtime
  sendbytes             send a letter many times      --bytecount --byte --runtime
  multiple              the same, from many threads   --threads --bytecount --batchsize --runtime

  --name=<path>      the server's socket       ipc-test
  --threads=<n>      exchanges at once         5
  --max-wait=<s>     seconds to start or stop  60
  --bytecount=<n>    letters to send           1024
  --batchsize=<n>    exchanges of each thread  10
  --byte=<letter>    the letter                x
  --token=<token>    the token
  --runtime=<name>   blocking, smol or tokio   blocking
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(|argument| {
        argument.into_string().map_err(|argument| format!("{argument:?} is not Unicode"))
    });
    let subcommand = arguments.next().transpose()?.unwrap_or_default();
    let options = Options::parse(arguments)?;
    match subcommand.as_str() {
        "SUPPORTS_SIMPLE_IPC" => Ok(()),
        "is-active" => client::is_active(&options),
        "run-daemon" => daemon::run(&options),
        "start-daemon" => daemon::start(&options),
        "stop-daemon" => client::stop_daemon(&options),
        "send" => client::send(&options),
        "sendbytes" => client::sendbytes(&options),
        "multiple" => client::multiple(&options),
        "--help" | "-h" => Ok(io::stdout().write_all(USAGE.as_bytes())?),
        "" => Err("no subcommand: see --help".into()),
        other => Err(format!("no subcommand {other:?}: see --help").into()),
    }
}

/// Tells of an error in one line.
fn report(error: &(impl Display + ?Sized)) {
    // Whether anybody hears of it makes no difference here.
    let _ = writeln!(io::stderr(), "error: {error}");
}
