use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::path::Path;

pub use std::os::unix::net::UnixStream as Stream;

use super::read_to_end;

/// A server's end that clients connect to.
pub struct Listener(UnixListener);

impl Listener {
    pub fn bind(path: &Path) -> io::Result<Self> {
        UnixListener::bind(path).map(Self)
    }

    /// One with no room left, and the connections that fill it.
    #[cfg(target_os = "linux")]
    pub fn full(path: &Path) -> (Self, Vec<impl Sized + use<>>) {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

        let listener = Self::bind(path).unwrap();
        rustix::net::listen(&listener.0, 0).unwrap();
        let address = SocketAddrUnix::new(path).unwrap();
        let connect = || {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
            let socket = rustix::net::socket_with(family, kind, flags, None).unwrap();
            rustix::net::connect(&socket, &address).ok().map(|()| socket)
        };
        let waiting: Vec<_> = std::iter::from_fn(connect).collect();
        assert!(!waiting.is_empty() && waiting.len() < 10);
        (listener, waiting)
    }

    pub fn accept(&self) -> io::Result<Stream> {
        self.0.accept().map(|(stream, _)| stream)
    }
}

/// Sends as much of `bytes` as the system takes while nobody receives, and tells how much.
pub fn fill(stream: &mut Stream, bytes: &[u8]) -> usize {
    rustix::net::sockopt::set_socket_send_buffer_size(&*stream, bytes.len()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(more @ 1..) = stream.write(&bytes[sent..]) {
        sent += more;
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

/// Sends no more, and gives what still comes.
pub fn hear_after_the_last(mut stream: Stream) -> Vec<u8> {
    stream.shutdown(Shutdown::Write).unwrap();
    read_to_end(&mut stream)
}
