//! Which processors the two sides run on.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where client and server are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// Both on one processor: the steadiest.
    Same,
    /// The scheduler decides.
    Free,
    /// One processor each.
    Split,
}

/// The processor of a process; `None`: any.
pub(crate) type Cpu = Option<usize>;

impl Place {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Free => "free",
            Self::Split => "split",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Same => "client and server on one processor",
            Self::Free => "the scheduler decides where",
            Self::Split => "client and server on a processor each",
        }
    }

    /// The processors of server and client; `None` if there are not enough.
    pub(crate) fn cpus(self) -> Option<(Cpu, Cpu)> {
        let allowed = allowed();
        // The last ones: interrupts prefer the first.
        match (self, allowed.as_slice()) {
            (Self::Same, &[.., last]) => Some((Some(last), Some(last))),
            (Self::Free, [_, _, ..]) => Some((None, None)),
            (Self::Split, &[.., other, last]) => Some((Some(last), Some(other))),
            _ => None,
        }
    }
}

/// The processors that this process may use.
pub(crate) fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Runs `run` on `cpu`: whatever it starts stays there.
pub(crate) fn on<T>(cpu: Cpu, run: impl FnOnce() -> T) -> io::Result<T> {
    let Some(cpu) = cpu else { return Ok(run()) };
    let before = sched_getaffinity(None)?;
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only)?;
    let outcome = run();
    sched_setaffinity(None, &before)?;
    Ok(outcome)
}
