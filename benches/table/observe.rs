//! What the system knows of a process.

use std::fs;
use std::io;
use std::time::Duration;

use crate::support::child::Child;

/// The processor time that its threads have used so far.
pub(crate) fn cpu_time(child: &Child) -> io::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{}/task", child.process.id()))? {
        let times = fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += first_number(&times)?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The memory of its own that it has touched, in bytes: no files, no shared pages.
pub(crate) fn memory(child: &Child) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    Ok(1024 * first_number(line.unwrap_or_default())?)
}

fn first_number(text: &str) -> io::Result<u64> {
    let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no number"))
}
