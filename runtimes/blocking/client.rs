//! The client's side.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use std::vec::Vec;

use crate::Error;
use crate::client::{self, Awaiting};
use crate::connect::State;
use crate::endpoint::{self, Stream};
use crate::exchange::{self, Done, Incoming, Outgoing, Sending};
use crate::runtimes::link::{
    Asking, Attempt, Attempts, Eagerness, Exchange, Looking, Momentum, Sender, awaiting,
    is_sent_after_all,
};
use crate::runtimes::options::{ClientOptions, client_setters};

/// A client of one endpoint.
///
/// Making one touches nothing; each [`call`](Self::call) connects anew, as the protocol wants
/// it. It can be used from many threads at once, and dropping it does nothing.
///
/// ```no_run
/// let answer = simple_ipc::blocking::Client::new("app.ipc").call("status")?;
/// # Ok::<_, simple_ipc::Error>(())
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
    pub fn call(&self, request: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.connect()?.call(request)
    }

    /// As [`call`](Self::call), into a buffer whose memory is used again. What was in it before
    /// is gone, whatever the outcome.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_into(&self, request: impl AsRef<[u8]>, answer: &mut Vec<u8>) -> Result<(), Error> {
        answer.clear();
        self.connect()?.call_into(request, answer)
    }

    /// Connects, for one exchange.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Endpoint`](crate::ErrorKind::Endpoint) or
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) if nobody took the connection in the time
    /// allowed.
    pub fn connect(&self) -> Result<Connection, Error> {
        self.attempt(Attempts::new(&self.options))
    }

    fn attempt(&self, mut attempts: Attempts<'_>) -> Result<Connection, Error> {
        let stream = loop {
            match attempts.next() {
                Attempt::Connected(stream) => break stream,
                Attempt::RetryAfter(pause) => thread::sleep(pause),
                Attempt::GiveUp(error) => return Err(error),
            }
        };
        Ok(self.connected(stream, attempts.since()))
    }

    fn connected(&self, stream: Stream, since: Instant) -> Connection {
        let exchange = Exchange::new(&self.options, since);
        Connection(Arc::new(Link { stream, exchange, eagerness: self.eagerness.clone() }))
    }

    /// As [`connect`](Self::connect); if there is no server, one is started. Of the clients that
    /// find none at the same time, in all processes, one starts it.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and [`ErrorKind::NotStarted`](crate::ErrorKind::NotStarted)
    /// if the server ends before it is ready. The source, a
    /// [`StartFailure`](endpoint::StartFailure), says how, and what it wrote to its standard
    /// error.
    pub fn connect_or_start(&self, starter: &endpoint::Starter) -> Result<Connection, Error> {
        let since = Instant::now();
        match self.attempt(Attempts::or_start(&self.options, since)) {
            Err(error) if endpoint::is_called_for(&error) => {}
            result => return result,
        }
        let stream = endpoint::start_and_connect(&self.options, starter, since)?;
        Ok(self.connected(stream, since))
    }

    /// As [`call`](Self::call); if there is no server, one is started, as by
    /// [`connect_or_start`](Self::connect_or_start).
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call) and [`connect_or_start`](Self::connect_or_start).
    pub fn call_or_start(
        &self,
        starter: &endpoint::Starter,
        request: impl AsRef<[u8]>,
    ) -> Result<Vec<u8>, Error> {
        self.connect_or_start(starter)?.call(request)
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
    pub fn call(self, request: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let mut answer = Vec::new();
        self.call_into(request, &mut answer)?;
        Ok(answer)
    }

    /// As [`Client::call_into`].
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn call_into(self, request: impl AsRef<[u8]>, answer: &mut Vec<u8>) -> Result<(), Error> {
        self.send(request)?.read_into(answer)
    }

    /// Sends all of `request`; the answer is to be read as it comes.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn send(self, request: impl AsRef<[u8]>) -> Result<Answer, Error> {
        let Self(link) = self;
        let (incoming, _) = link.send(link.outgoing().finish(request))?;
        Ok(Answer::new(link, incoming))
    }

    /// Begins a request that is written in pieces.
    pub fn request(self) -> RequestWriter {
        RequestWriter {
            writer: exchange::Writer::new(self.0.outgoing()),
            link: self.0,
            asking: None,
        }
    }
}

/// A request that is written in pieces. Small ones are gathered into full packets;
/// [`flush`](Self::flush) sends what was gathered.
///
/// Dropping it before [`finish`](Self::finish) abandons the request: no handler of whole requests
/// sees any of it, and one that reads it as it comes gets an error. (If it has been
/// [`split`](Self::split), a Windows server is told only when the [`Answer`] is dropped too.)
#[derive(Debug)]
pub struct RequestWriter<N = client::Answer> {
    link: Arc<Link>,
    writer: exchange::Writer<N>,
    /// There once it has been split.
    asking: Option<Asking<Link>>,
}

impl<N> RequestWriter<N> {
    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if self.writer.keep(bytes) {
            return Ok(bytes.len());
        }
        loop {
            match self.writer.write(bytes).map_err(|why| self.link.exchange.interrupted(why))? {
                exchange::Write::Kept(n) => return Ok(n),
                exchange::Write::Send(n, sending) => {
                    let (outgoing, chunk) = self.link.send(sending)?;
                    self.writer.sent(outgoing, chunk);
                    if n > 0 {
                        return Ok(n);
                    }
                }
            }
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]. The request cannot be continued after an error.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let n = self.write_some(bytes)?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Sends what was gathered.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    pub fn flush(&mut self) -> Result<(), Error> {
        if let Some(sending) =
            self.writer.flush().map_err(|why| self.link.exchange.interrupted(why))?
        {
            let (outgoing, chunk) = self.link.send(sending)?;
            self.writer.sent(outgoing, chunk);
        }
        Ok(())
    }

    fn send_last(&mut self) -> Result<N, Error>
    where
        N: exchange::Phase,
    {
        let last = self.writer.finish(b"").map_err(|why| self.link.exchange.interrupted(why))?;
        Ok(self.link.send(last)?.0)
    }
}

impl RequestWriter {
    /// Ends the request; the answer is to be read as it comes.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    pub fn finish(mut self) -> Result<Answer, Error> {
        let incoming = self.send_last()?;
        Ok(Answer::new(self.link, incoming))
    }

    /// Lets the answer be read while the request is still being written, from another thread
    /// say. For servers that answer before the request is whole: one that does so while nobody
    /// reads can only wait. What the answer's deadlines limit begins with the request's end at the
    /// earliest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Aborted`](crate::ErrorKind::Aborted) if an earlier write has failed.
    pub fn split(self) -> Result<(RequestWriter<Done>, Answer), Error> {
        let Self { link, writer, .. } = self;
        let (writer, incoming) = writer.split().map_err(|why| link.exchange.interrupted(why))?;
        let asking = Some(link.exchange.asking(&link));
        Ok((RequestWriter { link: link.clone(), writer, asking }, Answer::new(link, incoming)))
    }
}

impl RequestWriter<Done> {
    /// Ends the request.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Self::write_all).
    pub fn finish(mut self) -> Result<(), Error> {
        let Done = self.send_last()?;
        self.asking.take().into_iter().for_each(Asking::whole);
        Ok(())
    }
}

impl<N> Write for RequestWriter<N> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.write_some(bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.flush()?)
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
    momentum: Momentum,
}

impl Answer {
    fn new(link: Arc<Link>, incoming: Incoming<Done>) -> Self {
        Self { link, incoming, momentum: Momentum::default() }
    }

    /// Reads the rest of the answer.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn read_all(self) -> Result<Vec<u8>, Error> {
        let mut answer = Vec::new();
        self.read_into(&mut answer)?;
        Ok(answer)
    }

    /// Reads the rest of the answer in the place of what `answer` holds.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn read_into(mut self, answer: &mut Vec<u8>) -> Result<(), Error> {
        let Link { exchange, .. } = &*self.link;
        answer.clear();
        while !self.incoming.is_whole() {
            self.incoming.make_room(answer);
            let from = answer.len();
            if self
                .link
                .receive(&self.incoming, &mut self.momentum, |stream| stream.receive_into(answer))?
                == 0
            {
                return exchange.ended(&self.incoming);
            }
            self.incoming.absorb(answer, from).map_err(|error| exchange.malformed(error))?;
        }
        Ok(())
    }

    /// Reads some of the answer; 0 bytes only at its end, or if `buffer` is empty.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Link { exchange, .. } = &*self.link;
        while !self.incoming.is_whole() && !buffer.is_empty() {
            let read = self
                .link
                .receive(&self.incoming, &mut self.momentum, |stream| stream.receive(buffer))?;
            if read == 0 {
                exchange.ended(&self.incoming)?;
            }
            let kept = self
                .incoming
                .strip(&mut buffer[..read])
                .map_err(|error| exchange.malformed(error))?;
            if kept > 0 {
                return Ok(kept);
            }
        }
        Ok(0)
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buffer)?)
    }
}

/// A connection, and what is known of its exchange.
#[derive(Debug)]
struct Link {
    stream: Stream,
    exchange: Exchange,
    eagerness: Eagerness,
}

impl Sender for Link {
    fn stream(&self) -> &Stream {
        &self.stream
    }
}

impl Link {
    fn outgoing(&self) -> Outgoing<client::Answer> {
        client::stream_limited(self.exchange.answer_limit())
    }

    /// Sends all of `sending`.
    fn send<B: AsRef<[u8]>, N: exchange::Phase>(
        &self,
        mut sending: Sending<B, N>,
    ) -> Result<(N, B), Error> {
        let mut momentum = Momentum::default();
        loop {
            sending = match sending.done() {
                Ok(done) => return Ok(done),
                Err(sending) => sending,
            };
            if let Err(error) = self.exchange.in_time(Awaiting::Room, sending.sent()) {
                match is_sent_after_all(&self.stream, &mut sending) {
                    true => continue,
                    false => return Err(error),
                }
            }
            match momentum.carry(|| self.stream.send(sending.slices())) {
                Ok(n) => sending.wrote(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let limit = self.exchange.limit(Awaiting::Room);
                    let ready = self.stream.wait_writable(limit);
                    match (ready, limit) {
                        (Ok(false), Some(limit)) => {
                            if !is_sent_after_all(&self.stream, &mut sending) {
                                let sent = sending.sent();
                                return Err(self.exchange.late(Awaiting::Room, limit, sent));
                            }
                        }
                        (Ok(_), _) => {}
                        (Err(error), _) => {
                            return Err(self.exchange.send_failed(error, sending.sent()));
                        }
                    }
                }
                Err(error) => return Err(self.exchange.send_failed(error, sending.sent())),
            }
        }
    }

    /// Receives what has come, or waits for it.
    fn receive(
        &self,
        incoming: &Incoming<Done>,
        momentum: &mut Momentum,
        mut receive: impl FnMut(&Stream) -> io::Result<usize>,
    ) -> Result<usize, Error> {
        let what = awaiting(incoming);
        self.exchange.in_time(what, 0)?;
        let mut looking = match what {
            Awaiting::Answer => self.eagerness.look(),
            Awaiting::Room | Awaiting::Rest => Looking::default(),
        };
        // Nothing of an answer is there yet, unless the server has been offered the processor.
        let mut is_likely = what != Awaiting::Answer || looking.left() > 0;
        loop {
            if is_likely {
                // The server has hardly begun: let it have the processor first.
                looking.offer();
                match momentum.carry(|| receive(&self.stream)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result.map_err(|error| self.exchange.receive_failed(error)),
                }
                if looking.again() {
                    continue;
                }
            }
            is_likely = true;
            let mut limit = self.exchange.limit(what);
            while !self
                .stream
                .wait_readable(limit)
                .map_err(|error| self.exchange.receive_failed(error))?
            {
                if let Some(passed) = limit {
                    limit = Some(self.exchange.wait_longer(what, passed)?);
                }
            }
        }
    }
}
