//! One end of a connection, in bare bytes: a Unix socket, or on Windows a named pipe. No code of
//! the library moves them.
//!
//! The two are alike but for this: **a pipe has no half close.** A client that will send no more
//! cannot say so and go on listening; it hangs up, and hears nothing. So on Windows a request that
//! is cut short is always one whose client has gone, and no server can answer it. The one place
//! where that shows is [`hear_after_the_last`].
#![allow(dead_code, reason = "each test that includes this uses another part of it")]

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
#[allow(unused_imports, reason = "each test that includes this uses another part of it")]
pub use unix::{Listener, Stream, fill, hear_after_the_last};
#[cfg(windows)]
#[allow(unused_imports, reason = "each test that includes this uses another part of it")]
pub use windows::{Listener, Stream, fill, hear_after_the_last};

use std::io::{self, Read};

/// Everything until the end of the stream, be it a reset.
pub fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
    bytes
}
