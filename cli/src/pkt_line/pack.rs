//! `simple-ipc pkt-line pack`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use simple_ipc::pkt_line::{DataLen, Header, MAX_PAYLOAD_LEN, Records};

use super::SPECIAL;
use crate::exit::{self, Failure, Status};
use crate::input::Input;

const EXAMPLES: &str = "\
Examples:
  printf 'command=ls-refs\\n0001\\npeel\\n0000\\n' | simple-ipc pkt-line pack
  simple-ipc pkt-line pack --message <request.bin | socat - UNIX:x.ipc
  echo '\\x02almost done\\n' | simple-ipc pkt-line pack --escaped";

/// Make packets from text: one from each line
///
/// The line's end belongs to the packet, as git wants it of text. The lines 0000, 0001 and 0002 make
/// a flush, a delimiter and a response-end packet.
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::table(&Status::OF_PACKETS)),
)]
pub struct Pack {
    /// The text; standard input if it is left out or "-"
    file: Option<PathBuf>,
    /// The input is one message: packets as long as can be, whatever is in it, and a flush
    #[arg(short, long)]
    message: bool,
    /// Lines are escaped as `unpack --escaped` does it (\n \r \t \\ \" \' \xNN), and their ends
    /// belong to no packet; any payload can be written so. An empty line or 0004 makes a packet
    /// without data
    #[arg(short, long, conflicts_with = "message")]
    escaped: bool,
}

impl Pack {
    pub fn run(self) -> Result<Status, Failure> {
        let mut input = Input::open(self.file.as_deref())?;
        let mut output = Output(BufWriter::new(io::stdout().lock()));
        match self.message {
            true => message(&mut input, &mut output)?,
            false => lines(&mut input, &mut output, self.escaped)?,
        }
        output.flush()?;
        Ok(Status::Success)
    }
}

/// Where the packets go.
struct Output<W: Write>(W);

impl<W: Write> Output<W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| Failure::output(&error))
    }

    /// A packet with that payload, which is not too long.
    fn packet(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.bytes(&DataLen::new(payload.len()).map_or(Header::Empty, Header::Data).encode())?;
        self.bytes(payload)
    }
}

fn message(input: &mut Input, output: &mut Output<impl Write>) -> Result<(), Failure> {
    let mut buffer = vec![0; MAX_PAYLOAD_LEN];
    let mut full = 0;
    loop {
        let n = input.read(&mut buffer[full..])?;
        full += n;
        if full == buffer.len() || n == 0 && full > 0 {
            output.packet(&buffer[..full])?;
            full = 0;
        }
        if n == 0 {
            return output.bytes(&Header::Flush.encode());
        }
    }
}

fn lines(input: &mut Input, output: &mut Output<impl Write>, escaped: bool) -> Result<(), Failure> {
    /// Every byte of a payload may be escaped, as four.
    const LONGEST: usize = 4 * MAX_PAYLOAD_LEN;
    let mut buffer = vec![0; MAX_PAYLOAD_LEN];
    let mut records = Records::lf_ended();
    let (mut line, mut number) = (Vec::new(), 1_u64);
    loop {
        output.flush()?;
        let n = input.read(&mut buffer)?;
        let mut chunk = &buffer[..n];
        let ended = n == 0 && records.is_inside();
        while let Some(record) = records.split(&mut chunk) {
            if line.len() + record.bytes.len() > LONGEST {
                return Err(too_long(number));
            }
            line.extend_from_slice(record.bytes);
            if record.last {
                output.line(&line, true, number, escaped)?;
                line.clear();
                number += 1;
            }
        }
        if ended {
            output.line(&line, false, number, escaped)?;
        }
        if n == 0 {
            return Ok(());
        }
    }
}

impl<W: Write> Output<W> {
    fn line(
        &mut self,
        line: &[u8],
        has_end: bool,
        number: u64,
        escaped: bool,
    ) -> Result<(), Failure> {
        if let Some((_, header)) = SPECIAL.iter().find(|(text, _)| *text == line) {
            return self.bytes(&header.encode());
        }
        let payload = match escaped {
            true if line == b"0004" => Vec::new(),
            true => unescaped(line).map_err(|at| {
                Failure::new(
                    Status::Malformed,
                    format_args!(
                        "line {number}, column {}: no escape is written so; they are \
                         \\n \\r \\t \\\\ \\\" \\' \\xNN",
                        at + 1
                    ),
                )
            })?,
            false => [line, if has_end { b"\n" } else { b"" }].concat(),
        };
        if payload.len() > MAX_PAYLOAD_LEN {
            return Err(too_long(number));
        }
        self.packet(&payload)
    }
}

fn too_long(line: u64) -> Failure {
    Failure::new(
        Status::Malformed,
        format_args!(
            "line {line} is longer than a packet's {MAX_PAYLOAD_LEN} bytes; break it, or use \
             --message for what is no text"
        ),
    )
}

/// What `escape_ascii` makes, backwards; or where that cannot be.
fn unescaped(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let (value, len) = match (byte, text.get(at + 1)) {
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(&same @ (b'\\' | b'"' | b'\''))) => (same, 2),
            (b'\\', Some(b'x')) => (hex(text.get(at + 2..at + 4)).ok_or(at)?, 4),
            (b'\\', _) => return Err(at),
            (byte, _) => (byte, 1),
        };
        bytes.push(value);
        at += len;
    }
    Ok(bytes)
}

fn hex(digits: Option<&[u8]>) -> Option<u8> {
    let digits = std::str::from_utf8(digits?).ok()?;
    let are_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    are_hex.then(|| u8::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescaped(all.escape_ascii().to_string().as_bytes()), Ok(all));
    }

    #[test]
    fn no_escapes() {
        for (text, at) in [("\\", 0), ("a\\q", 1), ("\\x", 0), ("\\x4", 0), ("ab\\x+1", 2)] {
            assert_eq!(unescaped(text.as_bytes()), Err(at), "{text}");
        }
    }
}
