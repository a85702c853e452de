//! The task that accepts connections and does what time brings about.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::sync::Arc;

use ::smol::{Task, Timer};

use super::connection::{Connection, Handle, Service};
use super::control::{Control, Due, Rest};
use super::system::{Async, is_readable};
use crate::Error;
use crate::Phase;
use crate::endpoint::{Accepted, Listener};
use crate::lifecycle::{Action, Ending};
use crate::runtimes::link::{Round, Turn};
use crate::runtimes::trace;

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
    /// All is done but giving the path up.
    ending: Option<Ending>,
    /// Since the start of the server.
    paused_until: Option<Duration>,
    alarm: Option<(Timer, Duration)>,
    round: Round,
    /// A client is queued, as far as is known without asking the reactor.
    is_queued: bool,
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
    pub(super) fn new(service: Arc<Service<K>>, listener: Async<Listener>, start: S) -> Self {
        let announce = Announce(service.control.clone());
        Self {
            service,
            start,
            listener: Arc::new(listener),
            unpublishing: None,
            is_shut: false,
            is_drained: false,
            ending: None,
            paused_until: None,
            alarm: None,
            round: Round::default(),
            is_queued: false,
            _announce: announce,
        }
    }

    /// Ready when the server has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(ending) = self.ending {
                // Whoever joins may rely on the path.
                ready!(self.poll_unpublished(cx));
                trace::ended(&self.service.serving.path, ending);
                return Poll::Ready(());
            }
            let (may_accept, alone) = match self.service.control.due() {
                Due::Action(Action::End(ending)) => {
                    // Nobody is to wait for a server that serves no more.
                    self.shut_down();
                    self.ending = Some(ending);
                    continue;
                }
                Due::Action(action) => {
                    self.act(action);
                    continue;
                }
                Due::Nothing { may_accept, alone } => (may_accept, alone),
            };
            // It may wait for a lock, and nothing else waits for that.
            let _ = self.poll_unpublished(cx);
            let control = &self.service.control;
            let is_paused = self.paused_until.is_some_and(|until| control.now() < until);
            if !is_paused {
                self.paused_until = None;
            }
            let wants_to_accept = !self.is_drained && !is_paused;
            if wants_to_accept && may_accept && self.poll_accept(cx, alone).is_ready() {
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
            Action::Stop(reason) => {
                trace::stopping(&self.service.serving.path, reason);
                let listener = self.listener.clone();
                let unpublish = move || listener.get_ref().unpublish();
                self.unpublishing = Some(::smol::unblock(unpublish));
            }
            _ => {}
        }
    }

    /// Ready once the path is given up, if that has begun. Then whoever still has it open is
    /// refused.
    fn poll_unpublished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(unpublishing) = &mut self.unpublishing {
            ready!(Pin::new(unpublishing).poll(cx));
            self.unpublishing = None;
            self.shut_down();
        }
        Poll::Ready(())
    }

    /// Nobody can connect any more.
    fn shut_down(&mut self) {
        if !self.is_shut {
            self.listener.get_ref().shut_down();
            self.is_shut = true;
        }
    }

    /// Ready when a connection has been accepted, or could not be. `alone`: nothing else is under
    /// way.
    fn poll_accept(&mut self, cx: &mut Context<'_>, alone: bool) -> Poll<()> {
        let queued = match core::mem::take(&mut self.is_queued) {
            true => Ok(()),
            false => ready!(self.listener.poll_readable(cx)),
        };
        let listener = self.listener.clone();
        let accepted = queued.map_or_else(Accepted::Failed, |()| listener.get_ref().accept());
        let control = &self.service.control;
        match accepted {
            Accepted::Stream(stream) => {
                let is_queued = || is_readable(listener.get_ref());
                let nobody_else = || alone && !is_queued();
                if let Some(connection) = Connection::new(&self.service, stream, nobody_else, cx) {
                    self.serve(connection, cx);
                }
                let next = self.round.next(alone, is_queued);
                self.is_queued = next != Turn::Wait;
                if next == Turn::GiveWay {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
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
