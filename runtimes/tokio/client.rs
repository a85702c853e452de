//! The client's side.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use std::vec::Vec;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::runtime::Handle;

use super::socket::{BOTH, Direction, Looks, Socket, Trouble, Wait};
use super::writer::{self, Line, Writer};
use crate::client::{self, Awaiting};
use crate::connect::State;
use crate::endpoint::{self, Stream};
use crate::exchange::{Done, Incoming, Interrupted, Outgoing};
use crate::runtimes::link::{Asking, Attempt, Attempts, Eagerness, Exchange, Sender, awaiting};
use crate::runtimes::options::{ClientOptions, client_setters};
use crate::{Error, ErrorKind, Phase};

/// A client of one endpoint.
///
/// Making one touches nothing and needs no runtime; each [`call`](Self::call) connects anew, as
/// the protocol wants it. It can be used from many tasks at once, and dropping it does nothing.
///
/// Its calls must be made inside a Tokio runtime, and say so in an error otherwise. They panic,
/// as all of Tokio does, in a runtime that was built without I/O or time
/// ([`enable_all`](::tokio::runtime::Builder::enable_all)).
///
/// ```no_run
/// # async fn status() -> Result<(), simple_ipc::Error> {
/// let answer = simple_ipc::tokio::Client::new("app.ipc").call("status").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    options: ClientOptions,
    eagerness: Eagerness,
}

impl Client {
    /// A client of the server at `path`. A relative path is made absolute now.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { options: ClientOptions::new(path.as_ref()), eagerness: Eagerness::new() }
    }

    client_setters!();

    /// What is found at the path. It does not wait, and does not disturb the server.
    pub fn state(&self) -> State {
        endpoint::state(self.path())
    }

    /// Sends `request` and receives the answer.
    ///
    /// # Errors
    ///
    /// [`Error`] says in which phase it happened and [whether the request may have been
    /// handled](Error::delivery); [`ErrorKind::NoRuntime`] if this is no Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future hangs up: a request that was not sent whole is not handled (but a
    /// streaming handler may have seen its beginning), one that was sent is or is not.
    pub async fn call(&self, request: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.connect().await?.call(request).await
    }

    /// As [`call`](Self::call), into a buffer whose memory is used again. What was in it before
    /// is gone, whatever the outcome.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call); `answer` then holds part of an answer, or nothing.
    pub async fn call_into(
        &self,
        request: impl AsRef<[u8]>,
        answer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        answer.clear();
        self.connect().await?.call_into(request, answer).await
    }

    /// Connects, for one exchange.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Endpoint`] or [`ErrorKind::Busy`] if nobody took the connection in the time
    /// allowed; [`ErrorKind::NoRuntime`] if this is no Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the server sees a probe, or nothing.
    pub async fn connect(&self) -> Result<Connection, Error> {
        self.attempt(Attempts::new(&self.options)).await
    }

    async fn attempt(&self, mut attempts: Attempts<'_>) -> Result<Connection, Error> {
        let no_runtime = |error| {
            Error::new(Phase::Connect, self.path(), ErrorKind::NoRuntime)
                .because(error)
                .delivery_is(client::Delivery::NotDelivered)
        };
        Handle::try_current().map_err(no_runtime)?;
        let stream = loop {
            match attempts.next() {
                Attempt::Connected(stream) => break stream,
                Attempt::RetryAfter(pause) => ::tokio::time::sleep(pause).await,
                Attempt::GiveUp(error) => return Err(error),
            }
        };
        Ok(self.connected(stream, attempts.since()))
    }

    fn connected(&self, stream: endpoint::Stream, since: Instant) -> Connection {
        let exchange = Exchange::new(&self.options, since);
        let socket = Socket::reading_last(stream);
        Connection(Arc::new(Link { socket, exchange, eagerness: self.eagerness.clone() }))
    }

    /// As [`connect`](Self::connect); if there is no server, one is started. Of the clients that
    /// find none at the same time, in all processes, one starts it.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and [`ErrorKind::NotStarted`](crate::ErrorKind::NotStarted)
    /// if the server ends before it is ready. The source, a
    /// [`StartFailure`](crate::endpoint::StartFailure), says how, and what it wrote to its standard
    /// error.
    ///
    /// # Cancel safety
    ///
    /// A server that is being started is started all the same.
    pub async fn connect_or_start(
        &self,
        starter: &crate::endpoint::Starter,
    ) -> Result<Connection, Error> {
        let since = Instant::now();
        match self.attempt(Attempts::or_start(&self.options, since)).await {
            Err(error) if crate::endpoint::is_called_for(&error) => {}
            result => return result,
        }
        let (options, starter) = (self.options.clone(), starter.clone());
        let stream =
            crate::endpoint::start_and_connect_in_background(options, starter, since)?.await?;
        Ok(self.connected(stream, since))
    }

    /// As [`call`](Self::call); if there is no server, one is started, as by
    /// [`connect_or_start`](Self::connect_or_start).
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call) and [`connect_or_start`](Self::connect_or_start).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call) and [`connect_or_start`](Self::connect_or_start).
    pub async fn call_or_start(
        &self,
        starter: &crate::endpoint::Starter,
        request: impl AsRef<[u8]>,
    ) -> Result<Vec<u8>, Error> {
        self.connect_or_start(starter).await?.call(request).await
    }
}

/// A connection to a server, for one exchange. Dropping it hangs up, which the server takes for
/// a probe.
#[derive(Debug)]
pub struct Connection(Arc<Link>);

impl Connection {
    /// As [`Client::call`].
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    ///
    /// # Cancel safety
    ///
    /// As [`Client::call`].
    pub async fn call(self, request: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let mut answer = Vec::new();
        self.call_into(request, &mut answer).await?;
        Ok(answer)
    }

    /// As [`Client::call_into`].
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    ///
    /// # Cancel safety
    ///
    /// As [`Client::call_into`].
    pub async fn call_into(
        self,
        request: impl AsRef<[u8]>,
        answer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.send(request).await?.read_into(answer).await
    }

    /// Sends all of `request`; the answer is to be read as it comes.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    ///
    /// # Cancel safety
    ///
    /// As [`Client::call`].
    pub async fn send(self, request: impl AsRef<[u8]>) -> Result<Answer, Error> {
        let Self(link) = self;
        let (incoming, _) = writer::send(&*link, link.outgoing().finish(request)).await?;
        Ok(Answer::new(link, incoming))
    }

    /// Begins a request that is written in pieces.
    pub fn request(self) -> RequestWriter {
        let outgoing = self.0.outgoing();
        RequestWriter(Writer::new(self.0, outgoing), None)
    }
}

/// A request that is written in pieces. Small ones are gathered into full packets;
/// [`flush`](Self::flush) sends what was gathered.
///
/// Dropping it before [`finish`](Self::finish) abandons the request: no handler of whole requests
/// sees any of it, and one that reads it as it comes gets an error. (If it has been
/// [`split`](Self::split), a Windows server is told only when the [`Answer`] is dropped too.)
///
/// Its own methods send large pieces without a copy; those of [`AsyncWrite`] must copy, and
/// `shutdown` only flushes: the request is whole only when it is finished.
#[derive(Debug)]
pub struct RequestWriter<N = client::Answer>(
    Writer<Link, N>,
    /// There once it has been split.
    Option<Asking<Link>>,
);

impl<N> RequestWriter<N> {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]. The request cannot be continued after an error.
    ///
    /// # Cancel safety
    ///
    /// None: once cancelled, the request can be neither continued nor finished, and every
    /// further call says [`ErrorKind::Aborted`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.write_all(bytes).await
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
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.0.flush().await
    }
}

impl RequestWriter {
    /// Ends the request; the answer is to be read as it comes.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    ///
    /// As [`Client::call`].
    pub async fn finish(mut self) -> Result<Answer, Error> {
        let incoming = self.0.finish(b"").await?;
        Ok(Answer::new(self.0.line().clone(), incoming))
    }

    /// Lets the answer be read while the request is still being written, in another task say.
    /// For servers that answer before the request is whole: one that does so while nobody reads
    /// can only wait. What the answer's deadlines limit begins with the request's end at the
    /// earliest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Aborted`] if an earlier write has failed or was cancelled, or a poll of
    /// [`AsyncWrite`] has left something unsent;
    /// [`ErrorKind::NoRuntime`] if this is no Tokio runtime.
    pub fn split(self) -> Result<(RequestWriter<Done>, Answer), Error> {
        let link = self.0.line().clone();
        let (writer, incoming) = self.0.split()?;
        // Watched in both directions from now on, whichever side waits first.
        let watched = link.socket.watched(BOTH);
        watched.map_err(|error| link.exchange.send_failed(error, writer.sent()))?;
        let asking = Some(link.exchange.asking(&link));
        Ok((RequestWriter(writer, asking), Answer::new(link, incoming)))
    }
}

impl RequestWriter<Done> {
    /// Ends the request.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    ///
    /// # Cancel safety
    ///
    /// As [`Client::call`].
    pub async fn finish(mut self) -> Result<(), Error> {
        let Done = self.0.finish(b"").await?;
        self.1.take().into_iter().for_each(Asking::whole);
        Ok(())
    }
}

impl<N: Unpin> AsyncWrite for RequestWriter<N> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes).map_err(Into::into)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx).map_err(Into::into)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// The answer, read as it comes. End of file means that it is whole; one that the server gave up
/// ends in an error.
///
/// Dropping it hangs up, which the handler can notice.
#[derive(Debug)]
pub struct Answer {
    link: Arc<Link>,
    incoming: Incoming<Done>,
    wait: Wait,
}

impl Answer {
    fn new(link: Arc<Link>, incoming: Incoming<Done>) -> Self {
        let wait = Wait::with_looks(Looks::new(link.eagerness.look()));
        Self { link, incoming, wait }
    }

    /// Reads the rest of the answer.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future hangs up.
    pub async fn read_all(self) -> Result<Vec<u8>, Error> {
        let mut answer = Vec::new();
        self.read_into(&mut answer).await?;
        Ok(answer)
    }

    /// Reads the rest of the answer in the place of what `answer` holds.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future hangs up.
    pub async fn read_into(mut self, answer: &mut Vec<u8>) -> Result<(), Error> {
        answer.clear();
        while !self.incoming.is_whole() {
            self.incoming.make_room(answer);
            let from = answer.len();
            let read =
                poll_fn(|cx| self.poll_receive(cx, |stream| stream.receive_into(answer))).await?;
            let exchange = &self.link.exchange;
            if read == 0 {
                return exchange.ended(&self.incoming);
            }
            self.incoming.absorb(answer, from).map_err(|error| exchange.malformed(error))?;
        }
        Ok(())
    }

    /// Receives what has come, or waits for it.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(&Stream) -> io::Result<usize>,
    ) -> Poll<Result<usize, Error>> {
        let Link { socket, exchange, .. } = &*self.link;
        let what = awaiting(&self.incoming);
        exchange.in_time(what, 0)?;
        let mut longer = None;
        loop {
            let limit = || longer.or_else(|| exchange.limit(what));
            let wait = &mut self.wait;
            match ready!(socket.poll_io(cx, wait, Direction::Receive, limit, &mut receive)) {
                Ok(received) => return Poll::Ready(Ok(received)),
                Err(Trouble::Failed(error)) => {
                    return Poll::Ready(Err(exchange.receive_failed(error)));
                }
                Err(Trouble::Late(limit)) => longer = Some(exchange.wait_longer(what, limit)?),
            }
        }
    }

    /// Reads some of the answer; 0 bytes only at its end, or if `buffer` is empty.
    fn poll_some(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Error>> {
        while !self.incoming.is_whole() && !buffer.is_empty() {
            let read = ready!(self.poll_receive(cx, |stream| stream.receive(buffer)))?;
            let exchange = &self.link.exchange;
            if read == 0 {
                exchange.ended(&self.incoming)?;
            }
            let kept = self.incoming.strip(&mut buffer[..read]);
            match kept.map_err(|error| exchange.malformed(error))? {
                0 => {}
                kept => return Poll::Ready(Ok(kept)),
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl AsyncRead for Answer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(self.poll_some(cx, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

/// A connection, and what is known of its exchange.
#[derive(Debug)]
struct Link {
    socket: Socket,
    exchange: Exchange,
    eagerness: Eagerness,
}

impl Link {
    fn outgoing(&self) -> Outgoing<client::Answer> {
        client::stream_limited(self.exchange.answer_limit())
    }
}

impl Sender for Link {
    fn stream(&self) -> &Stream {
        self.socket.stream()
    }
}

impl Line for Link {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn may_send(&self, sent: u64) -> Result<(), Error> {
        self.exchange.in_time(Awaiting::Room, sent)
    }

    fn send_limit(&self) -> Option<Duration> {
        self.exchange.limit(Awaiting::Room)
    }

    fn send_trouble(&self, trouble: Trouble, sent: u64) -> Error {
        match trouble {
            Trouble::Failed(error) => self.exchange.send_failed(error, sent),
            Trouble::Late(limit) => self.exchange.late(Awaiting::Room, limit, sent),
        }
    }

    fn interrupted(&self, why: Interrupted) -> Error {
        self.exchange.interrupted(why)
    }
}
