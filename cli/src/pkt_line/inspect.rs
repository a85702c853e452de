//! `simple-ipc pkt-line inspect`.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;

use clap::Args;
use simple_ipc::pkt_line::band::Band;
use simple_ipc::pkt_line::{Header, text};

use super::packets::{Packet, Packets};
use crate::exit::{self, Failure, Status};

const EXAMPLES: &str = "\
Examples:
  simple-ipc pkt-line inspect traffic.bin
  git upload-pack --http-backend-info-refs . | simple-ipc pkt-line inspect";

/// List the packets of any pkt-line stream
///
/// One line for each: the byte at which it begins, what it is, the length of its payload, and the
/// beginning of that, escaped. A payload that begins with byte 1, 2 or 3 is shown as side-band
/// data, progress or error; one that begins with "ERR " is marked too.
///
/// A malformed stream is listed as far as it can be read; an error then names the place and the
/// reason.
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::table(&Status::OF_PACKETS)),
)]
pub struct Inspect {
    /// The stream; standard input if it is left out or "-"
    file: Option<PathBuf>,
}

impl Inspect {
    pub fn run(self) -> Result<Status, Failure> {
        let mut packets = Packets::open(self.file.as_deref())?;
        let width = match io::stdout().is_terminal() {
            true => terminal_size::terminal_size().map_or(80, |(width, _)| width.0.into()),
            false => 120,
        };
        let mut output = BufWriter::new(io::stdout().lock());
        let outcome = list(&mut packets, &mut output, width);
        // What was understood is shown before the error is.
        output.flush().map_err(|error| Failure::output(&error))?;
        outcome.map(|()| Status::Success)
    }
}

fn list(packets: &mut Packets, output: &mut impl Write, width: usize) -> Result<(), Failure> {
    let failed = |error| Failure::output(&error);
    loop {
        if packets.must_wait() {
            output.flush().map_err(failed)?;
        }
        match packets.next()? {
            Some(packet) => writeln!(output, "{}", line(&packet, width)).map_err(failed)?,
            None => return Ok(()),
        }
    }
}

fn line(packet: &Packet<'_>, width: usize) -> String {
    let Packet { offset, header, payload } = packet;
    let kind = match header {
        Header::Data(_) => "data",
        Header::Empty => "empty",
        Header::Flush => "flush",
        Header::Delimiter => "delimiter",
        Header::ResponseEnd => "response-end",
    };
    let mut line = format!("{offset:>10}  {kind:<12}");
    if let Header::Data(len) = header {
        let band = payload.first().map(|&byte| Band::from_byte(byte));
        let (mark, shown) = match band {
            Some(Ok(Band::Data)) => ("[band 1, data] ", &payload[1..]),
            Some(Ok(Band::Progress)) => ("[band 2, progress] ", &payload[1..]),
            Some(Ok(Band::Error)) => ("[band 3, error] ", &payload[1..]),
            _ if text::error(payload).is_some() => ("[error] ", *payload),
            _ => ("", *payload),
        };
        line += &format!("  {:>5}  {mark}", len.get());
        // Room for the quotes and the mark of omission, and for one character at the least.
        let room = width.saturating_sub(line.len() + 3).max(4);
        line += &quoted(shown, room);
    }
    line.trim_end().to_owned()
}

/// As much of `bytes`, escaped, as fits into so many characters.
fn quoted(bytes: &[u8], room: usize) -> String {
    let mut quoted = String::from("\"");
    for &byte in bytes {
        let escaped = byte.escape_ascii();
        if quoted.len() - 1 + escaped.len() > room {
            return quoted + "\"…";
        }
        quoted.extend(escaped.map(char::from));
    }
    quoted + "\""
}
