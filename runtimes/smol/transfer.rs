//! Messages on their way, out and in, on either side of a connection.

use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::vec::Vec;

use super::socket::{Direction, Socket, Trouble, Wait};
use crate::Error;
use crate::endpoint::Stream;
use crate::exchange::{
    self, Chunk, Done, Incoming, Interrupted, MessageError, Outgoing, Phase, Sending,
};
use crate::runtimes::link::is_sent_after_all;

/// A side of a connection: its deadlines, and what its errors mean.
pub(super) trait Side {
    fn socket(&self) -> &Socket;
    /// Whether more may be sent, after `sent` bytes of the message.
    fn may_send(&self, _sent: u64) -> Result<(), Error> {
        Ok(())
    }
    fn send_limit(&self) -> Option<Duration>;
    /// Sending stopped after `sent` bytes of the message.
    fn send_failed(&self, trouble: Trouble, sent: u64) -> Error;
    fn interrupted(&self, why: Interrupted) -> Error;
    /// Whether more may be received.
    fn may_receive(&self, _incoming: &Incoming<Done>) -> Result<(), Error> {
        Ok(())
    }
    fn receive_limit(&self, incoming: &Incoming<Done>) -> Option<Duration>;
    /// Nothing was received: how much longer to wait, or the error.
    fn receive_failed(
        &self,
        trouble: Trouble,
        incoming: &Incoming<Done>,
    ) -> Result<Duration, Error>;
    fn malformed(&self, error: MessageError) -> Error;
    /// The stream has ended: all is well only if the message is whole.
    fn ended(&self, incoming: &Incoming<Done>) -> Result<(), Error>;
}

/// Sends all of `sending`.
fn poll_send<B: AsRef<[u8]>, N>(
    side: &impl Side,
    cx: &mut Context<'_>,
    wait: &mut Wait,
    sending: &mut Sending<B, N>,
) -> Poll<Result<(), Error>> {
    while !sending.is_done() {
        if let Err(error) = side.may_send(sending.sent()) {
            match is_sent_after_all(side.socket().stream(), sending) {
                true => break,
                false => return Poll::Ready(Err(error)),
            }
        }
        let limit = || side.send_limit();
        let sent =
            ready!(side.socket().poll_transfer(cx, Direction::Writable, wait, limit, |stream| {
                stream.send(sending.slices())
            }));
        match sent {
            Ok(n) => sending.wrote(n),
            Err(Trouble::Late(_)) if is_sent_after_all(side.socket().stream(), sending) => {}
            Err(trouble) => return Poll::Ready(Err(side.send_failed(trouble, sending.sent()))),
        }
    }
    Poll::Ready(Ok(()))
}

/// Sends all of `sending`. If the future is dropped meanwhile, the message is cut short.
pub(super) async fn send<B: AsRef<[u8]>, N: Phase>(
    side: &impl Side,
    wait: &mut Wait,
    mut sending: Sending<B, N>,
) -> Result<(N, B), Error> {
    loop {
        poll_fn(|cx| poll_send(side, cx, wait, &mut sending)).await?;
        sending = match sending.done() {
            Ok(done) => return Ok(done),
            Err(sending) => sending,
        };
    }
}

/// A message that is written in pieces.
#[derive(Debug)]
pub(super) struct Outlet<N> {
    writer: exchange::Writer<N>,
    /// A piece that is being sent for a caller who does not wait for it.
    in_flight: Option<Sending<Chunk<'static>, Outgoing<N>>>,
    wait: Wait,
}

impl<N> Outlet<N> {
    pub(super) fn new(outgoing: Outgoing<N>) -> Self {
        Self { writer: exchange::Writer::new(outgoing), in_flight: None, wait: Wait::default() }
    }

    /// Sends what is in flight.
    fn poll_land(&mut self, side: &impl Side, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while let Some(mut sending) = self.in_flight.take() {
            match poll_send(side, cx, &mut self.wait, &mut sending) {
                // An error takes the message with it.
                Poll::Ready(sent) => sent?,
                Poll::Pending => {
                    self.in_flight = Some(sending);
                    return Poll::Pending;
                }
            }
            match sending.done() {
                Ok((outgoing, chunk)) => self.writer.sent(outgoing, chunk),
                Err(sending) => self.in_flight = Some(sending),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write(
        &mut self,
        side: &impl Side,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        loop {
            ready!(self.poll_land(side, cx))?;
            if self.writer.keep(bytes) {
                return Poll::Ready(Ok(bytes.len()));
            }
            match self.writer.write_copied(bytes).map_err(|why| side.interrupted(why))? {
                exchange::Write::Kept(n) => return Poll::Ready(Ok(n)),
                exchange::Write::Send(n, sending) => {
                    self.in_flight = Some(sending);
                    if n > 0 {
                        return Poll::Ready(Ok(n));
                    }
                }
            }
        }
    }

    pub(super) fn poll_flush(
        &mut self,
        side: &impl Side,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        loop {
            ready!(self.poll_land(side, cx))?;
            self.in_flight = self.writer.flush().map_err(|why| side.interrupted(why))?;
            if self.in_flight.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    pub(super) async fn write_all(
        &mut self,
        side: &impl Side,
        mut bytes: &[u8],
    ) -> Result<(), Error> {
        if self.in_flight.is_some() {
            poll_fn(|cx| self.poll_land(side, cx)).await?;
        }
        while !bytes.is_empty() && !self.writer.keep(bytes) {
            let n = match self.writer.write(bytes).map_err(|why| side.interrupted(why))? {
                exchange::Write::Kept(n) => n,
                exchange::Write::Send(n, sending) => {
                    let (outgoing, chunk) = send(side, &mut self.wait, sending).await?;
                    self.writer.sent(outgoing, chunk);
                    n
                }
            };
            bytes = &bytes[n..];
        }
        Ok(())
    }

    pub(super) async fn flush(&mut self, side: &impl Side) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(side, cx)).await
    }

    /// Ends the message with `rest`.
    pub(super) async fn finish(&mut self, side: &impl Side, rest: &[u8]) -> Result<N, Error>
    where
        N: Phase,
    {
        poll_fn(|cx| self.poll_land(side, cx)).await?;
        if self.writer.is_better_flushed(rest) {
            self.flush(side).await?;
        }
        let last = self.writer.finish(rest).map_err(|why| side.interrupted(why))?;
        Ok(send(side, &mut self.wait, last).await?.0)
    }

    /// Goes on to the next phase while this message is still being written. What is in flight
    /// must have landed.
    pub(super) fn split(self, side: &impl Side) -> Result<(Outlet<Done>, N), Error> {
        let (writer, next) = self.writer.split().map_err(|why| side.interrupted(why))?;
        Ok((Outlet { writer, in_flight: None, wait: self.wait }, next))
    }
}

/// A message that is read as it comes.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) incoming: Incoming<Done>,
    wait: Wait,
}

impl Inlet {
    pub(super) fn new(incoming: Incoming<Done>, wait: Wait) -> Self {
        Self { incoming, wait }
    }

    fn poll_receive(
        &mut self,
        side: &impl Side,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(&Stream) -> io::Result<usize>,
    ) -> Poll<Result<usize, Error>> {
        let Self { incoming, wait } = self;
        side.may_receive(incoming)?;
        let mut longer = None;
        loop {
            let limit = || longer.or_else(|| side.receive_limit(incoming));
            let socket = side.socket();
            match ready!(socket.poll_transfer(cx, Direction::Readable, wait, limit, &mut receive)) {
                Ok(received) => return Poll::Ready(Ok(received)),
                Err(trouble) => longer = Some(side.receive_failed(trouble, incoming)?),
            }
        }
    }

    /// Reads some of the message; 0 bytes only at its end, or if `buffer` is empty.
    pub(super) fn poll_read(
        &mut self,
        side: &impl Side,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, Error>> {
        while !self.incoming.is_whole() && !buffer.is_empty() {
            let read = ready!(self.poll_receive(side, cx, |stream| stream.receive(buffer)))?;
            if read == 0 {
                side.ended(&self.incoming)?;
            }
            let kept =
                self.incoming.strip(&mut buffer[..read]).map_err(|error| side.malformed(error))?;
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
        Poll::Ready(Ok(0))
    }

    /// Reads the rest of the message to the end of `message`.
    pub(super) fn poll_read_into(
        &mut self,
        side: &impl Side,
        cx: &mut Context<'_>,
        message: &mut Vec<u8>,
    ) -> Poll<Result<(), Error>> {
        while !self.incoming.is_whole() {
            self.incoming.make_room(message);
            let from = message.len();
            if ready!(self.poll_receive(side, cx, |stream| stream.receive_into(message)))? == 0 {
                return Poll::Ready(side.ended(&self.incoming));
            }
            self.incoming.absorb(message, from).map_err(|error| side.malformed(error))?;
        }
        Poll::Ready(Ok(()))
    }
}
