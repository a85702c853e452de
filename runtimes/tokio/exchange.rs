//! A handler's end of an exchange.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::vec::Vec;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::{Direction, Socket, Trouble, Wait};
use super::writer::{Line, Writer};
use crate::endpoint::Stream;
use crate::exchange::{Done, Incoming, Interrupted, MessageError};
use crate::runtimes::link::Serving;
use crate::{Error, ErrorKind, Phase};

/// Proof that an answer has been sent to its end, which is what a handler must return.
#[derive(Debug)]
#[must_use = "a handler returns it"]
pub struct Finished {
    pub(super) stop: bool,
}

/// The answer to one request, written by its handler.
///
/// Small writes are gathered into full packets; [`flush`](Self::flush) sends what was gathered.
/// An empty answer is an answer too: just [`finish`](Self::finish).
///
/// Dropping it aborts the exchange: no flush packet is sent, so the client gets an error.
///
/// Its own methods send large pieces without a copy; those of [`AsyncWrite`] must copy, and
/// `shutdown` only flushes: the answer is whole only when it is finished.
#[derive(Debug)]
pub struct Reply {
    writer: Writer<Link, Done>,
    finished: bool,
}

impl Reply {
    pub(super) fn new(link: Arc<Link>, reply: crate::server::Reply) -> Self {
        Self { writer: Writer::new(link, reply), finished: false }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// If the client has hung up, or takes nothing until the send deadline. The answer cannot be
    /// continued then. Inside it is an [`Error`]:
    /// `error.downcast::<simple_ipc::Error>()`.
    ///
    /// # Cancel safety
    ///
    /// None: once cancelled, the answer can be neither continued nor finished, and every further
    /// call says [`ErrorKind::Aborted`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Ok(self.writer.write_all(bytes).await?)
    }

    /// Sends what was gathered.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    ///
    /// Safe: what was not sent is sent by the next call.
    pub async fn flush(&mut self) -> io::Result<()> {
        Ok(self.writer.flush().await?)
    }

    /// Ends the answer.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the answer, unless all of it was sent already.
    pub async fn finish(self) -> io::Result<Finished> {
        self.finish_with(b"").await
    }

    /// Ends the answer with `bytes`; an answer that is all there is goes out in one piece.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    ///
    /// As [`finish`](Self::finish).
    pub async fn finish_with(mut self, bytes: impl AsRef<[u8]>) -> io::Result<Finished> {
        let Done = self.writer.finish(bytes.as_ref()).await?;
        self.finished = true;
        Ok(Finished { stop: false })
    }

    /// Ends the answer, and stops the server once this exchange is over, as git's QUIT does.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    ///
    /// As [`finish`](Self::finish).
    pub async fn finish_and_stop(self) -> io::Result<Finished> {
        let Finished { .. } = self.finish().await?;
        Ok(Finished { stop: true })
    }

    /// Who the client is, as of the moment when it connected. It is asked of the system only here,
    /// and may be asked for again.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn peer(&self) -> io::Result<crate::endpoint::Credentials> {
        self.writer.line().socket.stream().peer()
    }

    /// Whether the client has hung up, so that nobody wants the answer.
    pub fn client_has_left(&self) -> bool {
        self.writer.line().socket.stream().peer_has_left()
    }

    /// Waits until the client has hung up, so that work for it can be given up:
    ///
    /// ```
    /// # use simple_ipc::tokio::Reply;
    /// # async fn work() -> Vec<u8> { Vec::new() }
    /// # async fn handle(reply: Reply) {
    /// tokio::select! {
    ///     answer = work() => { /* send it */ }
    ///     () = reply.client_left() => { /* drop everything */ }
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn client_left(&self) {
        self.writer.line().socket.peer_left().await;
    }
}

impl AsyncWrite for Reply {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer.poll_write(cx, bytes).map_err(Into::into)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_flush(cx).map_err(Into::into)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // The client need not wait for what its handler does without it.
        if !self.finished {
            self.writer.line().socket.stream().shut_down();
        }
    }
}

/// A request, read as it arrives. End of file means that it is whole; one that its client gave
/// up ends in an error.
#[derive(Debug)]
pub struct RequestReader {
    link: Arc<Link>,
    incoming: Incoming<Done>,
    /// What came before the handler began, and how much of it has been read.
    begun: Vec<u8>,
    at: usize,
    wait: Wait,
}

impl RequestReader {
    pub(super) fn new(link: Arc<Link>, begun: Vec<u8>, incoming: Incoming<Done>) -> Self {
        Self { link, incoming, begun, at: 0, wait: Wait::default() }
    }

    /// Reads the rest of the request.
    ///
    /// # Errors
    ///
    /// If the client hangs up inside its request, sends what is none, or nothing until the
    /// receive deadline. Inside it is an [`Error`]:
    /// `error.downcast::<simple_ipc::Error>()`.
    ///
    /// # Cancel safety
    ///
    /// None: what was read is lost with the future.
    pub async fn read_all(mut self) -> io::Result<Vec<u8>> {
        let mut request = core::mem::take(&mut self.begun);
        request.drain(..self.at);
        while !self.incoming.is_whole() {
            self.incoming.make_room(&mut request);
            let from = request.len();
            let receive = |stream: &Stream| stream.receive_into(&mut request);
            let mut receive = receive;
            if poll_fn(|cx| self.poll_receive(cx, &mut receive)).await? == 0 {
                self.link.serving.ended(&self.incoming)?;
            }
            let absorbed = self.incoming.absorb(&mut request, from);
            absorbed.map_err(|error| self.link.malformed(error))?;
        }
        Ok(request)
    }

    /// Receives what has come, or waits for it.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        receive: impl FnMut(&Stream) -> io::Result<usize>,
    ) -> Poll<Result<usize, Error>> {
        let Link { socket, serving } = &*self.link;
        let limit = || serving.receive;
        socket.poll_io(cx, &mut self.wait, Direction::Receive, limit, receive).map_err(|trouble| {
            match trouble {
                Trouble::Failed(error) => serving.failed(Phase::Receive, error),
                Trouble::Late(limit) => serving.error(Phase::Receive, ErrorKind::Deadline(limit)),
            }
        })
    }

    /// Reads some of the request; 0 bytes only at its end, or if `buffer` is empty.
    fn poll_some(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Error>> {
        while !self.incoming.is_whole() && !buffer.is_empty() {
            let read = ready!(self.poll_receive(cx, |stream| stream.receive(buffer)))?;
            if read == 0 {
                self.link.serving.ended(&self.incoming)?;
            }
            let kept = self.incoming.strip(&mut buffer[..read]);
            match kept.map_err(|error| self.link.malformed(error))? {
                0 => {}
                kept => return Poll::Ready(Ok(kept)),
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl AsyncRead for RequestReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begun = &self.begun[self.at..];
        if !begun.is_empty() {
            let n = begun.len().min(buffer.remaining());
            buffer.put_slice(&begun[..n]);
            self.at += n;
            if self.at == self.begun.len() {
                (self.begun, self.at) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        let read = ready!(self.poll_some(cx, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

/// The connection of an exchange.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: Socket,
    serving: Arc<Serving>,
}

impl Link {
    pub(super) fn new(stream: Stream, serving: Arc<Serving>) -> Self {
        Self { socket: Socket::reading_and_writing(stream), serving }
    }

    fn malformed(&self, error: MessageError) -> Error {
        self.serving.error(Phase::Receive, ErrorKind::Message(error))
    }
}

impl Line for Link {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn send_limit(&self) -> Option<Duration> {
        self.serving.send
    }

    fn send_trouble(&self, trouble: Trouble, _sent: u64) -> Error {
        match trouble {
            Trouble::Failed(error) => self.serving.failed(Phase::Send, error),
            Trouble::Late(limit) => self.serving.error(Phase::Send, ErrorKind::Deadline(limit)),
        }
    }

    fn interrupted(&self, why: Interrupted) -> Error {
        self.serving.interrupted(why)
    }
}
