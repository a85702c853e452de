//! `simple-ipc pkt-line`.

mod inspect;
mod pack;
mod packets;
mod unpack;

use clap::{Args, Subcommand};

use crate::exit::{Failure, Status};

/// Make packets from text, text from packets, or list any pkt-line stream
#[derive(Args)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  printf 'hello\\n0000\\n' | simple-ipc pkt-line pack | simple-ipc pkt-line inspect
  git upload-pack --http-backend-info-refs . | simple-ipc pkt-line inspect
  simple-ipc pkt-line pack --message <request | socat - UNIX:x.ipc | \\
    simple-ipc pkt-line unpack --message"
)]
pub struct PktLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Pack(pack::Pack),
    Unpack(unpack::Unpack),
    Inspect(inspect::Inspect),
}

impl PktLine {
    pub fn run(self) -> Result<Status, Failure> {
        match self.command {
            Command::Pack(pack) => pack.run(),
            Command::Unpack(unpack) => unpack.run(),
            Command::Inspect(inspect) => inspect.run(),
        }
    }
}

/// The packets that are nothing but a header, by what stands for them in text.
const SPECIAL: [(&[u8], simple_ipc::pkt_line::Header); 3] = {
    use simple_ipc::pkt_line::Header;
    [(b"0000", Header::Flush), (b"0001", Header::Delimiter), (b"0002", Header::ResponseEnd)]
};
