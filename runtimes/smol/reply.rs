//! What a handler has of its exchange: the request as it arrives, and the answer.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::vec::Vec;

use ::smol::Timer;
use ::smol::io::{AsyncRead, AsyncWrite};

use super::socket::{Socket, Trouble, Wait};
use super::transfer::{Inlet, Outlet, Side};
use crate::exchange::{Done, Incoming, Interrupted, MessageError};
use crate::runtimes::link::Serving;
use crate::{Error, ErrorKind, Phase, server};

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
/// Its [`AsyncWrite`] copies what it sends, so its writes can be cancelled; its own
/// [`write_all`](Self::write_all) sends large pieces without a copy. Closing it as an
/// [`AsyncWrite`] flushes, no more: only [`finish`](Self::finish) ends the answer.
///
/// Dropping it aborts the exchange: no flush packet is sent, so the client gets an error.
#[derive(Debug)]
pub struct Reply {
    link: Arc<Link>,
    outlet: Outlet<Done>,
    finished: bool,
}

impl Reply {
    pub(super) fn new(link: Arc<Link>, reply: server::Reply) -> Self {
        Self { link, outlet: Outlet::new(reply), finished: false }
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
        Ok(self.outlet.write_all(&*self.link, bytes).await?)
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
        Ok(self.outlet.flush(&*self.link).await?)
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
        let Done = self.outlet.finish(&*self.link, bytes.as_ref()).await?;
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
        self.link.socket.stream().peer()
    }

    /// Whether the client has hung up, so that nobody wants the answer.
    pub fn client_has_left(&self) -> bool {
        self.link.socket.stream().peer_has_left()
    }

    /// Waits until the client has hung up, so that work for it can be given up: to be raced
    /// against that work.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn client_left(&self) {
        /// How often to look when something other than its leaving can be read from the client:
        /// more of a request, or bytes behind it.
        const LOOK_AGAIN: Duration = Duration::from_millis(20);

        while !self.client_has_left() {
            let ready = self.link.socket.readable().await;
            if ready.is_err() || !self.client_has_left() {
                Timer::after(LOOK_AGAIN).await;
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.finished {
            self.link.shut_down();
        }
    }
}

impl AsyncWrite for Reply {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { link, outlet, .. } = &mut *self;
        outlet.poll_write(&**link, cx, bytes).map_err(Into::into)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { link, outlet, .. } = &mut *self;
        outlet.poll_flush(&**link, cx).map_err(Into::into)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// A request, read as it arrives. End of file means that it is whole; one that its client gave
/// up ends in an error.
#[derive(Debug)]
pub struct RequestReader {
    link: Arc<Link>,
    inlet: Inlet,
    /// What came before the handler began, and how much of it has been read.
    begun: Vec<u8>,
    at: usize,
}

impl RequestReader {
    pub(super) fn new(link: Arc<Link>, begun: Vec<u8>, incoming: Incoming<Done>) -> Self {
        Self { link, inlet: Inlet::new(incoming, Wait::default()), begun, at: 0 }
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
        let mut request = self.begun;
        request.drain(..self.at);
        poll_fn(|cx| self.inlet.poll_read_into(&*self.link, cx, &mut request)).await?;
        Ok(request)
    }
}

impl AsyncRead for RequestReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { link, inlet, begun, at } = &mut *self;
        if *at < begun.len() {
            let n = (&begun[*at..]).read(buffer)?;
            *at += n;
            if *at == begun.len() {
                (*begun, *at) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(n));
        }
        inlet.poll_read(&**link, cx, buffer).map_err(Into::into)
    }
}

/// The connection of an exchange.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: Socket,
    pub(super) serving: Arc<Serving>,
}

impl Link {
    /// Ends both directions, so that nothing more can be sent.
    pub(super) fn shut_down(&self) {
        self.socket.stream().shut_down();
    }

    fn failed(&self, phase: Phase, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Late(limit) => self.serving.error(phase, ErrorKind::Deadline(limit)),
            Trouble::Io(error) => self.serving.failed(phase, error),
        }
    }
}

impl Side for Link {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn send_limit(&self) -> Option<Duration> {
        self.serving.send
    }

    fn send_failed(&self, trouble: Trouble, _: u64) -> Error {
        self.failed(Phase::Send, trouble)
    }

    fn interrupted(&self, why: Interrupted) -> Error {
        self.serving.interrupted(why)
    }

    fn receive_limit(&self, _: &Incoming<Done>) -> Option<Duration> {
        self.serving.receive
    }

    fn receive_failed(&self, trouble: Trouble, _: &Incoming<Done>) -> Result<Duration, Error> {
        Err(self.failed(Phase::Receive, trouble))
    }

    fn malformed(&self, error: MessageError) -> Error {
        self.serving.error(Phase::Receive, ErrorKind::Message(error))
    }

    fn ended(&self, incoming: &Incoming<Done>) -> Result<(), Error> {
        self.serving.ended(incoming)
    }
}
