//! The task that accepts connections and does what time brings about.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::thread;

use ::smol::{Task, Timer};

use super::connection::{Connection, Handle, Service};
use super::control::{Control, Due, Rest};
use super::system::{Async, is_readable};
use crate::Error;
use crate::Phase;
use crate::endpoint::{Accepted, Listener};
use crate::lifecycle::Action;
use crate::runtimes::link::GRACE;

/// Accepts, and starts a task with `start` for every connection that is not done with at once.
pub(super) struct Conductor<K: Handle, S> {
    service: Arc<Service<K>>,
    start: S,
    listener: Arc<Async<Listener>>,
    /// On its way to stop: the path is being taken away, which may have to wait for a lock.
    unpublishing: Option<Task<()>>,
    /// Nobody can connect any more.
    is_shut: bool,
    /// Nothing can be accepted any more.
    is_drained: bool,
    /// Since the start of the server.
    paused_until: Option<Duration>,
    alarm: Option<(Timer, Duration)>,
    /// Connections accepted since others last had a turn.
    accepted: u32,
    /// Exchanges since clients last stood in line, down to none. Offering them the processor
    /// pays only while they do not.
    crowded: u32,
    /// The last field, so the last to be dropped.
    _announce: Announce,
}

/// Says that the conductor is gone, once everything else of it is.
struct Announce(Arc<Control>);

impl Drop for Announce {
    fn drop(&mut self) {
        self.0.conducted();
    }
}

impl<K: Handle, S: Fn(Connection<K>)> Conductor<K, S> {
    /// How long a line of clients is remembered, in exchanges.
    const CROWD: u32 = 2;

    /// After so many connections the executor's other tasks have a turn.
    const ROUND: u32 = 16;

    pub(super) fn new(service: Arc<Service<K>>, listener: Async<Listener>, start: S) -> Self {
        let announce = Announce(service.control.clone());
        Self {
            service,
            start,
            listener: Arc::new(listener),
            unpublishing: None,
            is_shut: false,
            is_drained: false,
            paused_until: None,
            alarm: None,
            accepted: 0,
            crowded: 0,
            _announce: announce,
        }
    }

    /// Ready when the server has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let may_accept = match self.service.control.due() {
                Due::Action(Action::End(_)) => return Poll::Ready(()),
                Due::Action(action) => {
                    self.act(action);
                    continue;
                }
                Due::Nothing { may_accept } => may_accept,
            };
            self.poll_unpublished(cx);
            let control = &self.service.control;
            let is_paused = self.paused_until.is_some_and(|until| control.now() < until);
            if !is_paused {
                self.paused_until = None;
            }
            let wants_to_accept = !self.is_drained && !is_paused;
            if wants_to_accept && may_accept && self.poll_accept(cx).is_ready() {
                continue;
            }
            let gated = wants_to_accept && !may_accept;
            if self.poll_alarm(cx, gated).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CheckPath if !self.listener.get_ref().is_in_place() => {
                self.service.control.path_lost();
            }
            Action::Stop(_) => {
                let listener = self.listener.clone();
                let unpublish = move || listener.get_ref().unpublish();
                self.unpublishing = Some(::smol::unblock(unpublish));
            }
            _ => {}
        }
    }

    /// Once the path is gone, refuses whoever still has it open.
    fn poll_unpublished(&mut self, cx: &mut Context<'_>) {
        let Some(unpublishing) = &mut self.unpublishing else { return };
        if Pin::new(unpublishing).poll(cx).is_ready() {
            self.unpublishing = None;
            self.listener.get_ref().shut_down();
            self.is_shut = true;
        }
    }

    /// Ready when a connection has been accepted, or could not be.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let accepted = match self.poll_queued(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => self.listener.get_ref().accept(),
            Poll::Ready(Err(error)) => Accepted::Failed(error),
        };
        let control = &self.service.control;
        match accepted {
            Accepted::Stream(stream) => {
                self.accepted += 1;
                let looks = if self.crowded == 0 { GRACE } else { 0 };
                if let Some(connection) = Connection::new(&self.service, stream, looks, cx) {
                    self.serve(connection, cx);
                }
            }
            // What was queued has been accepted, and no more can be.
            Accepted::Nothing if !self.is_shut => {}
            Accepted::Shortage => {
                if let Some(pause) = control.shortage() {
                    self.paused_until = Some(control.now() + pause);
                }
            }
            Accepted::Nothing | Accepted::Stopped => {
                self.is_drained = true;
                control.backlog_drained();
            }
            Accepted::Failed(error) => {
                self.is_drained = true;
                let path = &self.service.serving.path;
                control.failed(Error::io(Phase::Accept, path, error));
            }
        }
        Poll::Ready(())
    }

    /// Ready when there is something to accept. To look is much cheaper than to ask the reactor,
    /// so the first thing after an exchange is to look whether the next client is there.
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if (1..Self::ROUND).contains(&self.accepted) {
            if is_readable(self.listener.get_ref()) {
                self.crowded = Self::CROWD;
                return Poll::Ready(Ok(()));
            }
            self.crowded = self.crowded.saturating_sub(1);
            if self.crowded == 0 {
                thread::yield_now();
                if is_readable(self.listener.get_ref()) {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        self.accepted = 0;
        self.listener.poll_readable(cx)
    }

    /// A handler that can finish at once does so here; whatever takes longer becomes a task.
    fn serve(&mut self, mut connection: Connection<K>, cx: &mut Context<'_>) {
        let here = connection.is_running() && self.service.pace.is_quick();
        if !(here && connection.poll_on(cx).is_ready()) {
            (self.start)(connection);
        }
    }

    /// Ready when something is due.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, gated: bool) -> Poll<()> {
        let control = &self.service.control;
        let at = self.alarm.as_ref().map(|(_, at)| *at);
        let Rest::Until(until) = control.rest(cx.waker(), gated, at, self.paused_until) else {
            return Poll::Ready(());
        };
        if at != until {
            self.alarm =
                until.map(|until| (Timer::after(until.saturating_sub(control.now())), until));
        }
        let Some((timer, _)) = &mut self.alarm else { return Poll::Pending };
        let alarmed = Pin::new(timer).poll(cx);
        if alarmed.is_ready() {
            self.alarm = None;
        }
        alarmed.map(drop)
    }
}
