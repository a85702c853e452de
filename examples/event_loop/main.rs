//! The protocol core in an event loop of one's own: no runtime of this library, one thread, and
//! as many connections as there are descriptors.
//!
//! ```text
//! cargo run --example event_loop -- /tmp/loop.ipc      # serves until it is asked to `quit`
//! ```
//!
//! The loop is in `server.rs`. It answers `ping` with `pong`, `quit` by ending, an empty
//! request by hanging up, and everything else with itself.

#[cfg(unix)]
mod server;

#[cfg(unix)]
fn main() -> std::io::Result<()> {
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use server::{Answer, Server};

    let path = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "loop.ipc".into()));
    // Taking over from a dead server is the runtimes' business; here an old path is an error.
    let listener = UnixListener::bind(&path)?;
    println!("serving {}", path.display());
    let mut server = Server::new(listener)?;
    let outcome = server.run(|request| match request {
        b"ping" => Answer::Whole(b"pong".to_vec()),
        b"quit" => Answer::WholeThenStop(Vec::new()),
        b"" => Answer::Abort,
        other => Answer::Whole(other.to_vec()),
    });
    std::fs::remove_file(&path)?;
    outcome
}

/// On Windows there is nothing to watch: a pipe is never ready, it has operations that end later,
/// and the standard library has no safe way to start one. The blocking runtime's threads, or one of
/// the others, are the way to serve there; the core itself works as it does here.
#[cfg(not(unix))]
fn main() -> std::io::Result<()> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "a loop over readiness is for Unix"))
}
