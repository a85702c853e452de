//! The client's side.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use std::vec::Vec;

use ::smol::Timer;
use ::smol::io::{AsyncRead, AsyncWrite};

use super::socket::{Socket, Trouble, Wait};
use super::transfer::{self, Inlet, Outlet, Side};
use crate::Error;
use crate::client::{self, Awaiting};
use crate::connect::State;
use crate::endpoint;
use crate::exchange::{Done, Incoming, Interrupted, MessageError, Outgoing};
use crate::runtimes::link::{Asking, Attempt, Attempts, Eagerness, Exchange, Sender, awaiting};
use crate::runtimes::options::{ClientOptions, client_setters};

/// A client of one endpoint.
///
/// Making one touches nothing; each [`call`](Self::call) connects anew, as the protocol wants
/// it. It can be used from many tasks at once, and dropping it does nothing.
///
/// ```no_run
/// # async fn example() -> Result<(), simple_ipc::Error> {
/// let answer = simple_ipc::smol::Client::new("app.ipc").call("status").await?;
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
    /// handled](Error::delivery).
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
    /// [`ErrorKind::Endpoint`](crate::ErrorKind::Endpoint) or
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) if nobody took the connection in the time
    /// allowed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the server sees a probe, or nothing.
    pub async fn connect(&self) -> Result<Connection, Error> {
        self.attempt(Attempts::new(&self.options)).await
    }

    async fn attempt(&self, mut attempts: Attempts<'_>) -> Result<Connection, Error> {
        let stream = loop {
            match attempts.next() {
                Attempt::Connected(stream) => break stream,
                Attempt::RetryAfter(pause) => drop(Timer::after(pause).await),
                Attempt::GiveUp(error) => return Err(error),
            }
        };
        Ok(self.connected(stream, attempts.since()))
    }

    fn connected(&self, stream: endpoint::Stream, since: Instant) -> Connection {
        let exchange = Exchange::new(&self.options, since);
        let socket = Socket::new(Arc::new(stream));
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
        let sending = link.outgoing().finish(request);
        let (incoming, _) = transfer::send(&*link, &mut Wait::default(), sending).await?;
        Ok(Answer::new(link, incoming))
    }

    /// Begins a request that is written in pieces.
    pub fn request(self) -> RequestWriter {
        RequestWriter { outlet: Outlet::new(self.0.outgoing()), link: self.0, asking: None }
    }
}

/// A request that is written in pieces. Small ones are gathered into full packets;
/// [`flush`](Self::flush) sends what was gathered.
///
/// Its [`AsyncWrite`] copies what it sends, so its writes can be cancelled; its own
/// [`write_all`](Self::write_all) sends large pieces without a copy. Closing it as an
/// [`AsyncWrite`] flushes, no more: only [`finish`](Self::finish) ends the request.
///
/// Dropping it before that abandons the request: no handler of whole requests sees any of it, and
/// one that reads it as it comes gets an error. (If it has been [`split`](Self::split), a Windows
/// server is told only when the [`Answer`] is dropped too.)
#[derive(Debug)]
pub struct RequestWriter<N = client::Answer> {
    link: Arc<Link>,
    outlet: Outlet<N>,
    /// There once it has been split.
    asking: Option<Asking<Link>>,
}

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
    /// further call says [`ErrorKind::Aborted`](crate::ErrorKind::Aborted).
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.outlet.write_all(&*self.link, bytes).await
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
        self.outlet.flush(&*self.link).await
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
        let incoming = self.outlet.finish(&*self.link, b"").await?;
        Ok(Answer::new(self.link, incoming))
    }

    /// Lets the answer be read while the request is still being written, in another task say.
    /// For servers that answer before the request is whole: one that does so while nobody reads
    /// can only wait. What the answer's deadlines limit begins with the request's end at the
    /// earliest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Aborted`](crate::ErrorKind::Aborted) if an earlier write has failed or was
    /// cancelled, or a poll of [`AsyncWrite`] has left something unsent.
    pub fn split(self) -> Result<(RequestWriter<Done>, Answer), Error> {
        let Self { link, outlet, .. } = self;
        let (outlet, incoming) = outlet.split(&*link)?;
        let asking = Some(link.exchange.asking(&link));
        Ok((RequestWriter { link: link.clone(), outlet, asking }, Answer::new(link, incoming)))
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
        let Done = self.outlet.finish(&*self.link, b"").await?;
        self.asking.take().into_iter().for_each(Asking::whole);
        Ok(())
    }
}

impl<N: Unpin> AsyncWrite for RequestWriter<N> {
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

/// The answer, read as it comes. End of file means that it is whole; one that the server gave up
/// ends in an error.
///
/// Dropping it hangs up, which the handler can notice.
#[derive(Debug)]
pub struct Answer {
    link: Arc<Link>,
    inlet: Inlet,
}

impl Answer {
    fn new(link: Arc<Link>, incoming: Incoming<Done>) -> Self {
        let wait = Wait::looking(link.eagerness.look());
        Self { link, inlet: Inlet::new(incoming, wait) }
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
        poll_fn(|cx| self.inlet.poll_read_into(&*self.link, cx, answer)).await
    }
}

impl AsyncRead for Answer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { link, inlet } = &mut *self;
        inlet.poll_read(&**link, cx, buffer).map_err(Into::into)
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
    fn stream(&self) -> &endpoint::Stream {
        self.socket.stream()
    }
}

impl Side for Link {
    fn socket(&self) -> &Socket {
        &self.socket
    }

    fn may_send(&self, sent: u64) -> Result<(), Error> {
        self.exchange.in_time(Awaiting::Room, sent)
    }

    fn send_limit(&self) -> Option<Duration> {
        self.exchange.limit(Awaiting::Room)
    }

    fn send_failed(&self, trouble: Trouble, sent: u64) -> Error {
        match trouble {
            Trouble::Late(limit) => self.exchange.late(Awaiting::Room, limit, sent),
            Trouble::Io(error) => self.exchange.send_failed(error, sent),
        }
    }

    fn interrupted(&self, why: Interrupted) -> Error {
        self.exchange.interrupted(why)
    }

    fn may_receive(&self, incoming: &Incoming<Done>) -> Result<(), Error> {
        self.exchange.in_time(awaiting(incoming), 0)
    }

    fn receive_limit(&self, incoming: &Incoming<Done>) -> Option<Duration> {
        self.exchange.limit(awaiting(incoming))
    }

    fn receive_failed(
        &self,
        trouble: Trouble,
        incoming: &Incoming<Done>,
    ) -> Result<Duration, Error> {
        match trouble {
            Trouble::Late(limit) => self.exchange.wait_longer(awaiting(incoming), limit),
            Trouble::Io(error) => Err(self.exchange.receive_failed(error)),
        }
    }

    fn malformed(&self, error: MessageError) -> Error {
        self.exchange.malformed(error)
    }

    fn ended(&self, incoming: &Incoming<Done>) -> Result<(), Error> {
        self.exchange.ended(incoming)
    }
}
