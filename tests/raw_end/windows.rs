use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use interprocess::ConnectWaitMode;
use interprocess::os::windows::named_pipe::{
    DuplexPipeStream, PipeListener, PipeListenerOptions, PipeMode, pipe_mode::Bytes,
};
use simple_ipc::pipe_name::PipeName;

/// What a pipe keeps for a reader that is slow, as everywhere here.
const BUFFER: u32 = 65536;

/// A server's end that clients connect to.
pub struct Listener(PipeListener<Bytes, Bytes>);

impl Listener {
    pub fn bind(path: &Path) -> io::Result<Self> {
        let options = PipeListenerOptions::new()
            .path(name(path)?)
            // As git makes them.
            .mode(PipeMode::Messages)
            .input_buffer_size_hint(BUFFER)
            .output_buffer_size_hint(BUFFER);
        options.create_duplex().map(Self)
    }

    /// One with no room left, and the connections that fill it.
    pub fn full(path: &Path) -> (Self, Vec<Stream>) {
        let listener = Self::bind(path).unwrap();
        let connect = || Stream::connect_at_once(&name(path).unwrap()).ok();
        let waiting: Vec<_> = std::iter::from_fn(connect).collect();
        assert!(!waiting.is_empty() && waiting.len() < 10);
        (listener, waiting)
    }

    /// A client that has left again before this is called is passed over.
    pub fn accept(&self) -> io::Result<Stream> {
        self.0.accept().map(Stream::new)
    }
}

#[derive(Clone, Debug)]
pub struct Stream(Arc<Pipe>);

#[derive(Debug)]
struct Pipe(DuplexPipeStream<Bytes>);

impl Drop for Pipe {
    fn drop(&mut self) {
        // Close, and leave nothing to a thread that waits for the peer to read.
        self.0.assume_flushed();
    }
}

impl Stream {
    fn new(pipe: DuplexPipeStream<Bytes>) -> Self {
        Self(Arc::new(Pipe(pipe)))
    }

    /// Waits while the server is busy, as a socket does by itself.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let name = name(path.as_ref())?;
        loop {
            match Self::connect_at_once(&name) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    thread::sleep(Duration::from_millis(1));
                }
                result => return result,
            }
        }
    }

    fn connect_at_once(name: &str) -> io::Result<Self> {
        let at_once = ConnectWaitMode::Timeout(Duration::ZERO);
        DuplexPipeStream::connect_by_path_with_wait_mode(name, at_once).map(Self::new)
    }

    /// What is being written to a pipe can be given up, but not by any safe function.
    pub fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0.0).read(buffer)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const ERROR_PIPE_NOT_CONNECTED: i32 = 233;

        match (&self.0.0).write(bytes) {
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_NOT_CONNECTED) => {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, error))
            }
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // What was written is on its way; to flush a pipe is to wait until it was read.
        Ok(())
    }
}

/// Sends as much of `bytes` as the system takes while nobody receives, and tells how much.
pub fn fill(stream: &mut Stream, bytes: &[u8]) -> usize {
    let sent = bytes.len().min(BUFFER as usize);
    stream.write_all(&bytes[..sent]).unwrap();
    sent
}

/// Sends no more, and gives what still comes: a pipe can only be closed.
pub fn hear_after_the_last(stream: Stream) -> Vec<u8> {
    drop(stream);
    Vec::new()
}

fn name(path: &Path) -> io::Result<String> {
    let folder = path.parent().unwrap().canonicalize()?;
    let real = folder.join(path.file_name().unwrap());
    let units: Vec<u16> = real.to_str().unwrap().encode_utf16().collect();
    Ok(PipeName::of(&units).unwrap().to_string())
}
