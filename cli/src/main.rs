//! The `simple-ipc` command: asks, serves, measures and looks into local servers that speak git's
//! Simple-IPC.

mod bench;
mod exit;
mod generate;
mod input;
mod pkt_line;
mod progress;
mod send;
mod serve;
mod state;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{Failure, Status};

/// One question, one answer, over a Unix domain socket or a Windows named pipe
///
/// Asks, serves, measures and looks into local servers that speak git's Simple-IPC.
#[derive(Parser)]
#[command(
    name = "simple-ipc",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::table(&Status::ALL)),
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  simple-ipc serve ./x.ipc -- tr a-z A-Z &      a server that runs a command for each request
  simple-ipc send ./x.ipc hello                 ask it
  simple-ipc state ./x.ipc                      is it there?
  simple-ipc bench ./x.ipc                      how fast is it?
  simple-ipc pkt-line inspect <traffic          what is on the wire?

Every command explains itself: simple-ipc COMMAND --help";

#[derive(Subcommand)]
enum Command {
    State(state::State),
    Send(send::Send),
    Serve(serve::Serve),
    Bench(bench::Bench),
    PktLine(pkt_line::PktLine),
    Completions(generate::Completions),
    Man(generate::Man),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::not_understood(&error),
    };
    let outcome = match cli.command {
        Command::State(state) => state.run(),
        Command::Send(send) => send.run(),
        Command::Serve(serve) => serve.run(),
        Command::Bench(bench) => bench.run(),
        Command::PktLine(pkt_line) => pkt_line.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    };
    outcome.unwrap_or_else(|failure: Failure| failure.report()).into()
}
