//! One connection, from its acceptance to the end of its exchange.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::control::{Control, Number, Turn};
use super::reply::{Finished, Link};
use super::socket::{Direction, Socket};
use crate::Phase;
use crate::endpoint::Stream;
use crate::lifecycle::Ticket;
use crate::runtimes::link::{Arriving, Pace, Parked, Progress, Serving, outcome};
use crate::runtimes::options::ServerOptions;
use crate::runtimes::trace::Span;

type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// A handler, of whole requests or of requests as they arrive.
pub(super) trait Handle: 'static {
    const STREAMING: bool;
    type Error: Into<BoxError>;
    type Exchange: Future<Output = Result<Finished, Self::Error>>;

    fn begin(&self, arriving: Arriving, link: Arc<Link>) -> Self::Exchange;
}

/// What the connections of a server share.
pub(super) struct Service<K> {
    pub(super) control: Arc<Control>,
    pub(super) options: ServerOptions,
    pub(super) serving: Arc<Serving>,
    pub(super) pace: Pace,
    pub(super) handler: K,
}

impl<K> Service<K> {
    /// Runs the user's code; `None` if it fails or panics, and then that has been reported.
    fn guard<T, E: Into<BoxError>>(&self, run: impl FnOnce() -> Result<T, E>) -> Option<T> {
        outcome(catch_unwind(AssertUnwindSafe(run)), &self.serving, &self.options)
    }
}

/// A connection as a task. While it waits for its client it is small.
pub(super) struct Connection<K: Handle> {
    service: Arc<Service<K>>,
    stage: Stage<K::Exchange>,
}

enum Stage<F> {
    /// The request is not there yet.
    Waiting {
        link: Arc<Link>,
        parked: Parked,
        ticket: Ticket,
        is_readable: bool,
    },
    /// The request has no place yet.
    Queued {
        link: Arc<Link>,
        parked: Parked,
        number: Number,
    },
    Running {
        link: Arc<Link>,
        span: Span,
        exchange: Pin<Box<F>>,
        number: Option<Number>,
    },
    Over,
}

impl<K: Handle> Connection<K> {
    /// A client has connected, and is [greeted](Arriving::greet).
    ///
    /// `None` if nothing is left to do. If the handler begins, it is [polled](Self::poll) next.
    pub(super) fn new(
        service: &Arc<Service<K>>,
        stream: Stream,
        nobody_else: impl Fn() -> bool,
        cx: &Context<'_>,
    ) -> Option<Self> {
        let stream = Arc::new(stream);
        let mut arriving = Arriving::new(&service.options, K::STREAMING);
        let progress = arriving.greet(&stream, &service.serving, nobody_else);
        if let Progress::Gone(error) = &progress {
            error.iter().for_each(|error| service.options.report(error));
            return None;
        }
        let socket = Socket::new(stream.clone());
        let link = Arc::new(Link { socket, serving: service.serving.clone() });
        let mut connection = Self { service: service.clone(), stage: Stage::Over };
        if let Progress::Ready = progress {
            connection.request(None, link, arriving, cx);
        } else {
            let ticket = service.control.wait(&stream, arriving.has_begun());
            let parked = arriving.park();
            connection.stage = Stage::Waiting { link, parked, ticket, is_readable: false };
        }
        Some(connection)
    }

    /// Whether a handler is at work, or about to be.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    /// The request is there.
    fn request(
        &mut self,
        ticket: Option<Ticket>,
        link: Arc<Link>,
        arriving: Arriving,
        cx: &Context<'_>,
    ) {
        match self.service.control.request(ticket, link.socket.stream(), cx.waker()) {
            Turn::Run => self.begin(link, arriving, None),
            Turn::Queue(number) => {
                self.stage = Stage::Queued { link, parked: arriving.park(), number };
            }
            Turn::Refused => self.stage = Stage::Over,
        }
    }

    /// The request has a place.
    fn begin(&mut self, link: Arc<Link>, arriving: Arriving, number: Option<Number>) {
        let service = &*self.service;
        let span = arriving.span(&service.serving);
        let begin = || Ok::<_, K::Error>(Box::pin(service.handler.begin(arriving, link.clone())));
        match span.run(|| service.guard(begin)) {
            Some(exchange) => self.stage = Stage::Running { link, span, exchange, number },
            None => {
                link.shut_down();
                drop(link);
                service.control.end(number, false);
                self.stage = Stage::Over;
            }
        }
    }

    /// Ends an exchange that had a place.
    fn end(
        &mut self,
        link: Arc<Link>,
        exchange: Pin<Box<K::Exchange>>,
        number: Option<Number>,
        finished: Option<Finished>,
    ) {
        // The user's code may panic here, too.
        self.service.guard(|| {
            drop(exchange);
            Ok::<_, K::Error>(())
        });
        if finished.is_none() {
            link.shut_down();
        }
        // Closed before its place is free, so that descriptors are bounded by places.
        drop(link);
        self.service.control.end(number, finished.is_some_and(|finished| finished.stop));
    }

    /// Goes on as far as is possible now.
    pub(super) fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.stage {
                Stage::Waiting { .. } => ready!(self.poll_waiting(cx)),
                Stage::Queued { number, .. } => {
                    let number = *number;
                    if self.service.control.is_aborted() {
                        self.leave();
                        continue;
                    }
                    ready!(self.service.control.poll_place(number, cx));
                    if let Stage::Queued { link, parked, .. } = self.take_stage() {
                        let arriving = parked.resume(&self.service.options, K::STREAMING);
                        self.begin(link, arriving, Some(number));
                    }
                }
                Stage::Running { .. } => ready!(self.poll_running(cx)),
                Stage::Over => return Poll::Ready(()),
            }
        }
    }

    fn take_stage(&mut self) -> Stage<K::Exchange> {
        core::mem::replace(&mut self.stage, Stage::Over)
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { service, stage } = self;
        let Stage::Waiting { link, parked, ticket, is_readable } = stage else {
            return Poll::Ready(());
        };
        let (control, stream) = (&service.control, link.socket.stream());
        if !*is_readable {
            if let Err(error) = ready!(link.socket.poll_ready(cx, Direction::Readable)) {
                let error = service.serving.failed(Phase::Receive, error);
                self.leave();
                self.service.options.report(&error);
                return Poll::Ready(());
            }
            *is_readable = true;
        }
        ready!(control.poll_may_read(*ticket, stream, cx));
        let mut arriving = core::mem::take(parked).resume(&service.options, K::STREAMING);
        let mut progress = arriving.receive(stream, &service.serving);
        if let (Progress::Gone(Some(_)), Some(closing)) = (&progress, control.closing(stream)) {
            progress = progress.of_closing(closing, &service.serving);
        }
        match progress {
            progress @ (Progress::Pending | Progress::More) => {
                *ticket = control.heard(*ticket, stream, &arriving);
                *parked = arriving.park();
                *is_readable = matches!(progress, Progress::More);
                if *is_readable {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            Progress::Ready => {
                if let Stage::Waiting { link, ticket, .. } = self.take_stage() {
                    self.request(Some(ticket), link, arriving, cx);
                }
            }
            Progress::Gone(error) => {
                self.leave();
                error.iter().for_each(|error| self.service.options.report(error));
            }
        }
        Poll::Ready(())
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { service, stage } = self;
        let Stage::Running { link, span, exchange, number } = stage else {
            return Poll::Ready(());
        };
        let control = &service.control;
        if control.is_aborted() {
            self.leave();
            return Poll::Ready(());
        }
        let begun = Instant::now();
        let poll = || match exchange.as_mut().poll(cx) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(handled) => handled.map(Poll::Ready),
        };
        let polled = span.run(|| service.guard(poll));
        service.pace.note(begun.elapsed());
        let finished = match polled {
            Some(Poll::Pending) => {
                *number = Some(control.hold(*number, link.socket.stream(), cx.waker()));
                if !control.is_aborted() {
                    return Poll::Pending;
                }
                None
            }
            Some(Poll::Ready(finished)) => Some(finished),
            None => None,
        };
        if let Stage::Running { link, exchange, number, .. } = self.take_stage() {
            self.end(link, exchange, number, finished);
        }
        Poll::Ready(())
    }

    /// Gives up whatever it was doing.
    fn leave(&mut self) {
        match self.take_stage() {
            Stage::Waiting { link, ticket, .. } => {
                self.service.control.leave(ticket, link.socket.stream());
            }
            Stage::Queued { number, .. } => self.service.control.unqueue(number),
            Stage::Running { link, exchange, number, .. } => {
                self.end(link, exchange, number, None);
            }
            Stage::Over => {}
        }
    }
}

impl<K: Handle> Future for Connection<K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_on(cx)
    }
}

impl<K: Handle> Drop for Connection<K> {
    fn drop(&mut self) {
        self.leave();
    }
}
