//! A message that is written in pieces, whichever side writes it.

use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::sync::Arc;

use super::socket::{Direction, Socket, Trouble, Wait};
use crate::Error;
use crate::exchange::{self, Chunk, Interrupted, Outgoing, Sending};
use crate::runtimes::link::is_sent_after_all;

/// What a side knows of its connection and of what goes wrong there.
pub(super) trait Line {
    fn socket(&self) -> &Socket;

    /// Whether more may be sent, after `sent` bytes of the message.
    fn may_send(&self, _sent: u64) -> Result<(), Error> {
        Ok(())
    }

    /// How long to wait for room; `None`: for ever.
    fn send_limit(&self) -> Option<Duration>;

    /// Nothing more was sent, after `sent` bytes of the message.
    fn send_trouble(&self, trouble: Trouble, sent: u64) -> Error;

    /// A write came after one that failed or was cancelled.
    fn interrupted(&self, why: Interrupted) -> Error;

    fn poll_send<B: AsRef<[u8]>, N>(
        &self,
        cx: &mut Context<'_>,
        wait: &mut Wait,
        sending: &mut Sending<B, N>,
    ) -> Poll<Result<(), Error>> {
        while !sending.is_done() {
            if let Err(error) = self.may_send(sending.sent()) {
                match is_sent_after_all(self.socket().stream(), sending) {
                    true => break,
                    false => return Poll::Ready(Err(error)),
                }
            }
            let limit = || self.send_limit();
            let sent = self
                .socket()
                .poll_io(cx, wait, Direction::Send, limit, |stream| stream.send(sending.slices()));
            match ready!(sent) {
                Ok(sent) => sending.wrote(sent),
                Err(Trouble::Late(_)) if is_sent_after_all(self.socket().stream(), sending) => {}
                Err(trouble) => {
                    return Poll::Ready(Err(self.send_trouble(trouble, sending.sent())));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Sends all of `sending`. Dropped before its end, it leaves a message that nobody can continue.
pub(super) async fn send<B: AsRef<[u8]>, N: exchange::Phase>(
    line: &impl Line,
    mut sending: Sending<B, N>,
) -> Result<(N, B), Error> {
    let mut wait = Wait::default();
    poll_fn(|cx| line.poll_send(cx, &mut wait, &mut sending)).await?;
    Ok(sending.done().unwrap_or_else(|_| unreachable!("all was sent")))
}

/// See [`exchange::Writer`], which decides; this one sends.
#[derive(Debug)]
pub(super) struct Writer<L, N> {
    line: Arc<L>,
    writer: exchange::Writer<N>,
    /// What a poll could not send at once, nor wait for.
    in_flight: Option<Sending<Chunk<'static>, Outgoing<N>>>,
    wait: Wait,
}

impl<L: Line, N> Writer<L, N> {
    pub(super) fn new(line: Arc<L>, outgoing: Outgoing<N>) -> Self {
        let writer = exchange::Writer::new(outgoing);
        Self { line, writer, in_flight: None, wait: Wait::default() }
    }

    pub(super) fn line(&self) -> &Arc<L> {
        &self.line
    }

    /// How much of the message has been sent, if nothing of it is being sent.
    pub(super) fn sent(&self) -> u64 {
        self.writer.outgoing().map_or(0, Outgoing::sent)
    }

    fn interrupted(&self) -> impl FnOnce(Interrupted) -> Error + use<'_, L, N> {
        |why| self.line.interrupted(why)
    }

    /// Sends what an earlier poll left.
    fn poll_in_flight(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(sending) = &mut self.in_flight {
            let sent = ready!(self.line.poll_send(cx, &mut self.wait, sending));
            let sending = self.in_flight.take();
            // After an error the piece is dropped, and the message is interrupted with it.
            sent?;
            if let Some(Ok((outgoing, chunk))) = sending.map(Sending::done) {
                self.writer.sent(outgoing, chunk);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes some of `bytes`, and copies them.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        loop {
            ready!(self.poll_in_flight(cx))?;
            if self.writer.keep(bytes) {
                return Poll::Ready(Ok(bytes.len()));
            }
            let write = self.writer.write_copied(bytes);
            match write.map_err(self.interrupted())? {
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

    /// Sends what was gathered.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_in_flight(cx))?;
        let flush = self.writer.flush();
        self.in_flight = flush.map_err(self.interrupted())?;
        self.poll_in_flight(cx)
    }

    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        if self.in_flight.is_some() {
            poll_fn(|cx| self.poll_in_flight(cx)).await?;
        }
        while !bytes.is_empty() && !self.writer.keep(bytes) {
            let write = self.writer.write(bytes);
            let n = match write.map_err(self.interrupted())? {
                exchange::Write::Kept(n) => n,
                exchange::Write::Send(n, sending) => {
                    let (outgoing, chunk) = send(&*self.line, sending).await?;
                    self.writer.sent(outgoing, chunk);
                    n
                }
            };
            bytes = &bytes[n..];
        }
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Ends the message with `rest`.
    pub(super) async fn finish(&mut self, rest: &[u8]) -> Result<N, Error>
    where
        N: exchange::Phase,
    {
        poll_fn(|cx| self.poll_in_flight(cx)).await?;
        if self.writer.is_better_flushed(rest) {
            self.flush().await?;
        }
        let last = self.writer.finish(rest);
        let (next, _) = send(&*self.line, last.map_err(|why| self.line.interrupted(why))?).await?;
        Ok(next)
    }

    /// See [`exchange::Writer::split`]. What a poll left unsent counts as interrupted.
    pub(super) fn split(self) -> Result<(Writer<L, exchange::Done>, N), Error> {
        let Self { line, writer, in_flight: _, wait } = self;
        let (writer, next) = writer.split().map_err(|why| line.interrupted(why))?;
        Ok((Writer { line, writer, in_flight: None, wait }, next))
    }
}
