//! The table in other forms.

pub(crate) mod json;
pub(crate) mod svg;
pub(crate) mod text;

use std::fmt;
use std::fs;

use crate::support::cpus;

/// Where it was measured.
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) system: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name"));
        let processor = processor.unwrap_or("unknown").trim_start_matches(['\t', ' ', ':']);
        Self {
            processor: processor.to_owned(),
            processors: cpus::allowed().len(),
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, system } = self;
        write!(f, "{processors} × {processor}, {system}")
    }
}
