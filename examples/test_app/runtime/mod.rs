//! What the application needs of a runtime, and the runtimes it was built with.

#[cfg(feature = "blocking")]
mod blocking;
#[cfg(feature = "smol")]
mod smol;
#[cfg(feature = "tokio")]
mod tokio;

use std::io;
use std::path::Path;

use simple_ipc::Error;

/// A runtime, and how the application uses it.
pub struct Runtime {
    pub name: &'static str,
    /// Serves at the path, so many exchanges at once, until told to quit.
    pub serve: fn(&Path, usize) -> io::Result<()>,
    /// A client of the server at the path.
    pub client: fn(&Path) -> io::Result<Call>,
}

/// Sends a request and gives the answer. Threads share it.
pub type Call = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, Error> + Send + Sync>;

/// The runtime of that name.
#[allow(unreachable_patterns, reason = "a build with all runtimes lacks none")]
pub fn named(name: &str) -> Result<&'static Runtime, String> {
    match name {
        #[cfg(feature = "blocking")]
        "blocking" => Ok(&blocking::RUNTIME),
        #[cfg(feature = "smol")]
        "smol" => Ok(&smol::RUNTIME),
        #[cfg(feature = "tokio")]
        "tokio" => Ok(&tokio::RUNTIME),
        "blocking" | "smol" | "tokio" => {
            Err(format!("--runtime={name} needs a build with --features {name}"))
        }
        _ => Err(format!("no runtime {name:?}: it is blocking, smol or tokio")),
    }
}
