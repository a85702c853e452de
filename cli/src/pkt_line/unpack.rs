//! `simple-ipc pkt-line unpack`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use simple_ipc::pkt_line::band::{Band, Demux};
use simple_ipc::pkt_line::{Data, Header};

use super::SPECIAL;
use super::packets::{Packet, Packets};
use crate::exit::{self, Failure, Status};

const EXAMPLES: &str = "\
Examples:
  simple-ipc pkt-line unpack traffic.bin
  socat -u UNIX:x.ipc - | simple-ipc pkt-line unpack --message";

/// Make text from packets: a line from each
///
/// A line's end is added where a payload has none. Flush, delimiter and response-end packets become
/// the lines 0000, 0001 and 0002.
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::table(&Status::OF_PACKETS)),
)]
pub struct Unpack {
    /// The stream; standard input if it is left out or "-"
    file: Option<PathBuf>,
    /// The stream is one message: print its bytes, and insist that it is whole
    #[arg(short, long)]
    message: bool,
    /// Escape every payload into one line, from which `pack --escaped` makes the same packet again
    #[arg(short, long, conflicts_with = "message")]
    escaped: bool,
    /// Print what is in side-band 1, and bands 2 (progress) and 3 (errors) on standard error;
    /// fail if there is any of band 3
    #[arg(short, long, conflicts_with_all = ["message", "escaped"])]
    side_band: bool,
}

impl Unpack {
    pub fn run(self) -> Result<Status, Failure> {
        let mut packets = Packets::open(self.file.as_deref())?;
        let mut output = BufWriter::new(io::stdout().lock());
        let outcome = self.unpack(&mut packets, &mut output);
        // What was understood is shown before the error is.
        output.flush().map_err(|error| Failure::output(&error))?;
        outcome.map(|()| Status::Success)
    }

    fn unpack(&self, packets: &mut Packets, output: &mut impl Write) -> Result<(), Failure> {
        let failed = |error| Failure::output(&error);
        let mut is_whole = false;
        let mut has_failed = false;
        let mut ends_line = true;
        loop {
            if packets.must_wait() {
                output.flush().map_err(failed)?;
            }
            let Some(packet) = packets.next()? else { break };
            let Packet { offset, header, payload } = packet;
            if self.message {
                match header {
                    _ if is_whole => {
                        let why = format!("at byte {offset}: the message has ended before it");
                        return Err(packets.malformed(why));
                    }
                    Header::Flush => is_whole = true,
                    Header::Data(_) => output.write_all(payload).map_err(failed)?,
                    other => {
                        let why = format!("at byte {offset}: no message contains {}", name(other));
                        return Err(packets.malformed(why));
                    }
                }
            } else if self.side_band {
                if let Header::Data(_) = header {
                    match band(payload) {
                        Ok((Band::Data, bytes)) => output.write_all(bytes).map_err(failed)?,
                        Ok((band, bytes)) => {
                            // What comes first is seen first.
                            output.flush().map_err(failed)?;
                            aside(bytes);
                            ends_line = bytes.ends_with(b"\n") || bytes.ends_with(b"\r");
                            has_failed |= band == Band::Error;
                        }
                        Err(why) => {
                            return Err(packets.malformed(format!("at byte {offset}: {why}")));
                        }
                    }
                }
            } else {
                line(header, payload, self.escaped, output).map_err(failed)?;
            }
        }
        if !ends_line {
            aside(b"\n");
        }
        match (self.message && !is_whole, has_failed) {
            (true, _) => Err(packets.malformed("at its end: no flush packet ends the message")),
            (_, true) => Err(Failure::new(
                Status::Failure,
                "the other side has given up; side-band 3, above, says why",
            )),
            _ => Ok(()),
        }
    }
}

fn name(header: Header) -> &'static str {
    match header {
        Header::Delimiter => "a delimiter (0001)",
        Header::ResponseEnd => "a response-end (0002)",
        _ => "a packet without data (0004)",
    }
}

/// The band of a packet, and what is in it.
fn band(payload: &[u8]) -> Result<(Band, &[u8]), simple_ipc::pkt_line::band::UnknownBand> {
    Demux::new().demux(Data { bytes: payload, first: true, last: true })
}

/// What another program has to say on standard error.
fn aside(bytes: &[u8]) {
    // Nobody is left to be told if this fails.
    let _ = io::stderr().write_all(bytes);
}

fn line(header: Header, payload: &[u8], escaped: bool, output: &mut impl Write) -> io::Result<()> {
    if let Some((text, _)) = SPECIAL.iter().find(|(_, special)| *special == header) {
        output.write_all(text)?;
    } else if !escaped {
        output.write_all(payload)?;
        if payload.ends_with(b"\n") {
            return Ok(());
        }
    } else if header == Header::Empty {
        output.write_all(b"0004")?;
    } else if matches!(payload, b"0000" | b"0001" | b"0002" | b"0004") {
        // Not to be taken for what it looks like.
        write!(output, "\\x30{}", payload[1..].escape_ascii())?;
    } else {
        write!(output, "{}", payload.escape_ascii())?;
    }
    output.write_all(b"\n")
}
