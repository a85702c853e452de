//! The options, each `--name=value`.

use std::path::PathBuf;
use std::time::Duration;

use crate::runtime::{self, Runtime};

pub struct Options {
    pub name: PathBuf,
    pub threads: usize,
    pub max_wait: Duration,
    pub bytecount: usize,
    pub batchsize: usize,
    pub byte: u8,
    pub token: String,
    pub runtime: &'static Runtime,
}

impl Options {
    pub fn parse(arguments: impl Iterator<Item = Result<String, String>>) -> Result<Self, String> {
        let mut options = Self {
            name: "ipc-test".into(),
            threads: 5,
            max_wait: Duration::from_secs(60),
            bytecount: 1024,
            batchsize: 10,
            byte: b'x',
            token: String::new(),
            runtime: runtime::named("blocking")?,
        };
        for argument in arguments {
            let argument = argument?;
            let Some((option, value)) = argument.split_once('=') else {
                return Err(format!("{argument:?} is no option: they are --name=value"));
            };
            match option {
                "--name" => options.name = value.into(),
                "--threads" => options.threads = count(option, value)?,
                "--max-wait" => options.max_wait = Duration::from_secs(number(option, value)?),
                "--bytecount" => options.bytecount = count(option, value)?,
                "--batchsize" => options.batchsize = count(option, value)?,
                "--byte" => options.byte = value.bytes().next().unwrap_or(options.byte),
                "--token" => options.token = value.into(),
                "--runtime" => options.runtime = runtime::named(value)?,
                _ => return Err(format!("no option {option}")),
            }
        }
        Ok(options)
    }
}

/// A number; what is below zero counts as zero, as in git.
fn number(option: &str, value: &str) -> Result<u64, String> {
    match value.parse::<i64>() {
        Ok(number) => Ok(number.max(0) as u64),
        Err(error) => Err(format!("{option}={value}: {error}")),
    }
}

/// A number of things, at least one, as in git.
fn count(option: &str, value: &str) -> Result<usize, String> {
    let number = number(option, value)?.max(1);
    usize::try_from(number).map_err(|error| format!("{option}={value}: {error}"))
}
