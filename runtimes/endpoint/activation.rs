//! Listeners that a service manager hands over.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::string::{String, ToString as _};
use std::vec::Vec;

use super::unix::system::duplicate_inherited;

/// A descriptor that a service manager handed to this process, for a server's `from_listener`.
#[derive(Debug)]
pub struct Activated {
    name: String,
    descriptor: OwnedFd,
}

impl Activated {
    /// What the service manager calls it: `FileDescriptorName=` of a systemd socket unit. Empty
    /// if it has no name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl From<Activated> for OwnedFd {
    fn from(activated: Activated) -> Self {
        activated.descriptor
    }
}

/// The descriptors that a service manager handed to this process, in its order, by the protocol
/// of systemd (`sd_listen_fds`: `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`). None if it was
/// started by somebody else.
///
/// ```no_run
/// # #[cfg(feature = "blocking")] {
/// use simple_ipc::{blocking::Server, endpoint};
///
/// let server = match endpoint::activated()?.pop() {
///     Some(listener) => Server::from_listener(listener)?,
///     None => Server::bind("app.ipc")?,
/// };
/// # }
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// Each call gives duplicates of its own. The environment stays as it is: it names this process
/// by its number, so children do not take it for theirs, nor do they inherit the descriptors.
///
/// # Errors
///
/// If the environment is not as the protocol wants it, or a descriptor that it names is not open.
pub fn activated() -> io::Result<Vec<Activated>> {
    let number = |name| -> io::Result<Option<u32>> {
        let Some(value) = env::var_os(name) else { return Ok(None) };
        match value.to_str().and_then(|value| value.parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                std::format!("{name} is no number: {value:?}"),
            )),
        }
    };
    if number("LISTEN_PID")? != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    /// The first descriptor after the standard streams.
    const FIRST: u32 = 3;
    let count = number("LISTEN_FDS")?.unwrap_or(0);
    let names = env::var_os("LISTEN_FDNAMES").map(OsString::into_encoded_bytes);
    let names = String::from_utf8_lossy(names.as_deref().unwrap_or_default()).to_string();
    let mut names = names.split(':');
    (FIRST..FIRST.saturating_add(count))
        .map(|number| {
            let name = names.next().unwrap_or_default().to_string();
            let number = RawFd::try_from(number).map_err(io::Error::other)?;
            Ok(Activated { name, descriptor: duplicate_inherited(number)? })
        })
        .collect()
}
