//! Where a command reads from.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use crate::exit::Failure;

/// Something to read, and what to call it.
pub struct Input {
    name: String,
    /// How long it is, if that is known beforehand.
    pub length: Option<u64>,
    read: Box<dyn Read + Send>,
}

impl Input {
    /// The file at that path; standard input if there is none, or if it is `-`.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Ok(Self::standard());
        };
        let name = path.display().to_string();
        let failed = |error| Failure::io(format_args!("read {name}"), &error);
        let file = File::open(path).map_err(failed)?;
        let data = file.metadata().map_err(failed)?;
        if data.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let length = data.is_file().then_some(data.len());
        Ok(Self { name, length, read: Box::new(file) })
    }

    const STANDARD: &str = "standard input";

    pub fn standard() -> Self {
        Self { name: Self::STANDARD.into(), length: None, read: Box::new(io::stdin()) }
    }

    pub fn of(bytes: Vec<u8>) -> Self {
        let length = Some(bytes.len() as u64);
        Self { name: "the argument".into(), length, read: Box::new(Cursor::new(bytes)) }
    }

    /// Whether it is standard input.
    pub fn is_standard(&self) -> bool {
        self.name == Self::STANDARD
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads some of it; 0 bytes at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.read.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::io(format_args!("read {}", self.name), &error)),
                Ok(n) => return Ok(n),
            }
        }
    }
}
