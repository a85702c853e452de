//! The server's side.

use core::future::poll_fn;
use std::boxed::Box;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use super::conductor::Conductor;
use super::connection::{Connection, Handle, Service};
use super::control::Control;
use super::reply::{Finished, Link, Reply, RequestReader};
use super::spawn::{LocalTask, Spawn, Task};
use super::system::Async;
use crate::endpoint::{Listener, Place};
use crate::lifecycle::{Ending, Reason};
use crate::runtimes::link::{Arriving, Pace, Serving};
use crate::runtimes::options::{ServerOptions, server_setters};
use crate::runtimes::request::Request;
use crate::{Error, ErrorKind, Phase};

type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// A server that has its place at a path and does not serve yet: clients that connect now wait
/// until it does.
///
/// Dropping it gives the place up.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    options: ServerOptions,
}

impl Server {
    /// Takes the place at `path`. A relative path is made absolute now. Only this user can
    /// connect. It waits only while another server starts or ends in the same folder, which takes
    /// a moment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InUse`] if a live server has it; [`ErrorKind::Endpoint`] if something other
    /// than a socket is in the way, which is left alone, or if the folder is missing or closed to
    /// this user.
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, Error> {
        let listener = Listener::bind(&Place::new(path.as_ref()))?;
        Ok(Self { listener, options: ServerOptions::new() })
    }

    server_setters!();

    /// Serves on smol's global executor: `handler` is given whole requests.
    ///
    /// The handler owns its [`Reply`] and returns what [`Reply::finish`] gives. If it returns an
    /// error or panics, the exchange is aborted: the client gets an error, never a short answer.
    /// (Under `panic = "abort"` a panic ends the process.)
    ///
    /// # Errors
    ///
    /// If the system has no descriptor to spare.
    pub fn serve<H, F, E>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(Request, Reply) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Finished, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.serve_on(global, handler)
    }

    /// Serves on smol's global executor: `handler` reads each request as it arrives, and may
    /// answer meanwhile. It counts as one of the [`exchanges`](Self::exchanges) from the first
    /// byte on.
    ///
    /// `Client::call`, `Connection::send` and a `RequestWriter` that is not split read only once all of
    /// the request has been sent, as git's client does: if a handler answers a long request before it
    /// has read it, either waits for the other until a deadline. Such clients
    /// [`split`](super::RequestWriter::split) the request.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_streaming<H, F, E>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(RequestReader, Reply) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Finished, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.serve_streaming_on(global, handler)
    }

    /// As [`serve`](Self::serve), on an executor of your own, or through a closure on any other:
    /// `|task: Task| executor.spawn(task).detach()`.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # async fn example() -> Result<(), simple_ipc::Error> {
    /// let executor = Arc::new(smol::Executor::new());
    /// let server = simple_ipc::smol::Server::bind("app.ipc")?;
    /// let running = server.serve_on(Arc::downgrade(&executor), |request, reply| async move {
    ///     reply.finish_with(&*request).await
    /// })?;
    /// executor.run(running.join()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_on<S, H, F, E>(self, executor: S, handler: H) -> Result<Running, Error>
    where
        S: Spawn<Task> + Send + Sync + 'static,
        H: Fn(Request, Reply) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Finished, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.start(executor, Whole(handler))
    }

    /// As [`serve_streaming`](Self::serve_streaming), on an executor of your own.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_streaming_on<S, H, F, E>(self, executor: S, handler: H) -> Result<Running, Error>
    where
        S: Spawn<Task> + Send + Sync + 'static,
        H: Fn(RequestReader, Reply) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Finished, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.start(executor, Streaming(handler))
    }

    /// As [`serve`](Self::serve), on an executor of one thread: neither the handler nor its
    /// futures need be `Send`.
    ///
    /// ```no_run
    /// # use std::{cell::Cell, rc::Rc};
    /// # async fn example() -> Result<(), simple_ipc::Error> {
    /// let (executor, count) = (Rc::new(smol::LocalExecutor::new()), Rc::new(Cell::new(0)));
    /// let server = simple_ipc::smol::Server::bind("app.ipc")?;
    /// let running = server.serve_local(Rc::downgrade(&executor), move |_, reply| {
    ///     let count = count.clone();
    ///     async move {
    ///         count.set(count.get() + 1);
    ///         reply.finish_with(count.get().to_string()).await
    ///     }
    /// })?;
    /// executor.run(running.join()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_local<S, H, F, E>(self, executor: S, handler: H) -> Result<Running, Error>
    where
        S: Spawn<LocalTask> + 'static,
        H: Fn(Request, Reply) -> F + 'static,
        F: Future<Output = Result<Finished, E>> + 'static,
        E: Into<BoxError>,
    {
        self.start_local(executor, Whole(handler))
    }

    /// As [`serve_streaming`](Self::serve_streaming), on an executor of one thread, as
    /// [`serve_local`](Self::serve_local).
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_streaming_local<S, H, F, E>(
        self,
        executor: S,
        handler: H,
    ) -> Result<Running, Error>
    where
        S: Spawn<LocalTask> + 'static,
        H: Fn(RequestReader, Reply) -> F + 'static,
        F: Future<Output = Result<Finished, E>> + 'static,
        E: Into<BoxError>,
    {
        self.start_local(executor, Streaming(handler))
    }

    /// Serves until it is stopped, by [`finish_and_stop`](Reply::finish_and_stop) for one:
    /// [`serve`](Self::serve) and [`join`](Running::join).
    ///
    /// # Errors
    ///
    /// As those two.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future asks the server to stop, which it does in the background.
    pub async fn run<H, F, E>(self, handler: H) -> Result<Ending, Error>
    where
        H: Fn(Request, Reply) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Finished, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.serve(handler)?.join().await
    }

    fn start<S, K>(self, executor: S, handler: K) -> Result<Running, Error>
    where
        S: Spawn<Task> + Send + Sync + 'static,
        K: Handle<Exchange: Send> + Send + Sync,
    {
        let (service, listener) = self.prepare(handler)?;
        let running =
            Running { control: service.control.clone(), path: service.serving.path.clone() };
        let executor = Arc::new(executor);
        let tasks = executor.clone();
        let start = move |connection: Connection<K>| tasks.spawn(Box::pin(connection));
        executor.spawn(Box::pin(conduct(Conductor::new(service, listener, start))));
        crate::endpoint::announce(&running.path);
        Ok(running)
    }

    fn start_local<S, K>(self, executor: S, handler: K) -> Result<Running, Error>
    where
        S: Spawn<LocalTask> + 'static,
        K: Handle,
    {
        let (service, listener) = self.prepare(handler)?;
        let running =
            Running { control: service.control.clone(), path: service.serving.path.clone() };
        let executor = Rc::new(executor);
        let tasks = executor.clone();
        let start = move |connection: Connection<K>| tasks.spawn(Box::pin(connection));
        executor.spawn(Box::pin(conduct(Conductor::new(service, listener, start))));
        crate::endpoint::announce(&running.path);
        Ok(running)
    }

    fn prepare<K>(self, handler: K) -> Result<(Arc<Service<K>>, Async<Listener>), Error> {
        let Self { listener, options } = self;
        let path = listener.path().clone();
        let failed = |error| Error::io(Phase::Accept, &path, error);
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = Async::new_nonblocking(listener).map_err(failed)?;
        let control = Arc::new(Control::new(options.limits));
        let (send, receive) = (options.send, options.limits.receive);
        let serving = Arc::new(Serving { path: path.clone(), send, receive });
        Ok((
            Arc::new(Service { control, options, serving, pace: Pace::default(), handler }),
            listener,
        ))
    }
}

async fn conduct<K: Handle>(mut conductor: Conductor<K, impl Fn(Connection<K>)>) {
    poll_fn(|cx| conductor.poll(cx)).await;
}

fn global(task: Task) {
    ::smol::spawn(task).detach();
}

/// A handler of whole requests.
struct Whole<H>(H);

impl<H, F, E> Handle for Whole<H>
where
    H: Fn(Request, Reply) -> F + 'static,
    F: Future<Output = Result<Finished, E>> + 'static,
    E: Into<BoxError>,
{
    const STREAMING: bool = false;
    type Error = E;
    type Exchange = F;

    fn begin(&self, arriving: Arriving, link: Arc<Link>) -> F {
        let (request, reply) = arriving.into_whole();
        (self.0)(request, Reply::new(link, reply))
    }
}

/// A handler of requests as they arrive.
struct Streaming<H>(H);

impl<H, F, E> Handle for Streaming<H>
where
    H: Fn(RequestReader, Reply) -> F + 'static,
    F: Future<Output = Result<Finished, E>> + 'static,
    E: Into<BoxError>,
{
    const STREAMING: bool = true;
    type Error = E;
    type Exchange = F;

    fn begin(&self, arriving: Arriving, link: Arc<Link>) -> F {
        let (begun, incoming, reply) = arriving.into_stream();
        (self.0)(RequestReader::new(link.clone(), begun, incoming), Reply::new(link, reply))
    }
}

/// A server that serves.
///
/// Dropping it asks the server to stop, which it then does in the background; to wait for the
/// end, [`join`](Self::join) it.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct Running {
    control: Arc<Control>,
    path: Arc<Path>,
}

impl Running {
    /// Asks the server to stop: its path goes at once, what is in the backlog is still served,
    /// exchanges under way end or are aborted at the drain deadline.
    pub fn stop(&self) {
        self.control.stop(Reason::Asked);
    }

    /// As [`stop`](Self::stop), but exchanges under way are aborted at once; also while the server
    /// drains.
    pub fn abort(&self) {
        self.control.abort();
    }

    /// Something that can stop the server from elsewhere.
    pub fn handle(&self) -> StopHandle {
        StopHandle { control: Arc::downgrade(&self.control) }
    }

    /// Waits until the server has ended, by whatever reason, and tells how. By then its path can be
    /// taken again (unless others have kept the folder locked for 10 s), and clients that it had no
    /// time to accept are hung up on.
    ///
    /// Exchanges that were aborted at the drain deadline are not waited for: their handlers may
    /// still be at work, but their clients are hung up on.
    ///
    /// # Errors
    ///
    /// If the listener failed, which is told once; [`ErrorKind::NoRuntime`] if the server's
    /// executor ended before the server did.
    ///
    /// # Cancel safety
    ///
    /// Safe: the server goes on, and can be joined again.
    pub async fn join(&self) -> Result<Ending, Error> {
        let ended = poll_fn(|cx| self.control.poll_ended(cx)).await?;
        ended.ok_or_else(|| Error::new(Phase::Accept, &self.path, ErrorKind::NoRuntime))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Stops a server from anywhere. Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct StopHandle {
    control: Weak<Control>,
}

impl StopHandle {
    /// As [`Running::stop`]. Does nothing if the server has ended.
    pub fn stop(&self) {
        if let Some(control) = self.control.upgrade() {
            control.stop(Reason::Asked);
        }
    }

    /// As [`Running::abort`]. Does nothing if the server has ended.
    pub fn abort(&self) {
        if let Some(control) = self.control.upgrade() {
            control.abort();
        }
    }
}
