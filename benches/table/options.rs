//! What the command line asks for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::rounds::Pace;

#[derive(Debug, Default)]
pub(crate) struct Options {
    short: bool,
    only: Vec<String>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) syscalls: bool,
}

impl Options {
    /// `None`: nothing is asked for. (`cargo test` starts benches too, without a word; `cargo
    /// bench` says `--bench`.)
    pub(crate) fn from_args() -> io::Result<Option<Self>> {
        let mut options = Self::default();
        let mut args = std::env::args().skip(1).peekable();
        if args.peek().is_none() {
            return Ok(None);
        }
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| usage(&format!("{arg} needs a value")));
            match arg.as_str() {
                "--bench" => {}
                "--short" => options.short = true,
                "--only" => options.only.push(value()?),
                "--json" => options.json = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                "--syscalls" => options.syscalls = true,
                _ => return Err(usage(&format!("{arg} is no option"))),
            }
        }
        Ok(Some(options))
    }

    pub(crate) fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| row.contains(text))
    }

    pub(crate) fn pace(&self) -> Pace {
        if self.short {
            Pace { rounds: 7, budget: Duration::from_millis(3500) }
        } else {
            Pace { rounds: 25, budget: Duration::from_secs(12) }
        }
    }
}

fn usage(why: &str) -> io::Error {
    let options = "--short, --only TEXT, --json FILE, --svg FILE, --syscalls";
    io::Error::new(io::ErrorKind::InvalidInput, format!("{why}; there are {options}"))
}
