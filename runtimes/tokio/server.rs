//! The server's side.

use core::future::Future;
use core::time::Duration;
use std::boxed::Box;
use std::path::Path;
use std::sync::{Arc, Weak};

use ::tokio::runtime::Handle;
use ::tokio::sync::watch;

use super::exchange::{Finished, Reply, RequestReader};
use super::serving::{BoxFuture, End, Handler, Shared};
use crate::endpoint::{Listener, Place};
use crate::lifecycle::{Ending, Reason};
use crate::runtimes::options::{ServerOptions, server_setters};
use crate::runtimes::request::Request;
use crate::{Error, ErrorKind, Phase};

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
    /// a moment, and needs no runtime yet.
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

    /// Serves in the background: `handler` is given whole requests, as many at once as exchanges
    /// are allowed.
    ///
    /// The handler owns its [`Reply`] and returns what [`Reply::finish`] gives. If it returns an
    /// error or panics, or if its future is dropped with the runtime, the exchange is aborted:
    /// the client gets an error, never a short answer.
    ///
    /// A handler that is done at its first poll costs no task. One that blocks or computes should
    /// do so elsewhere, see the [module](super).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoRuntime`] if this is no Tokio runtime; or if the system cannot watch the
    /// endpoint.
    ///
    /// # Panics
    ///
    /// If the runtime was built without I/O or time
    /// ([`enable_all`](::tokio::runtime::Builder::enable_all)).
    pub fn serve<H, F, E>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(Request, Reply) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Finished, E>> + Send + 'static,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        self.start(false, move |arriving, link| {
            let (request, reply) = arriving.into_whole();
            boxed(handler(request, Reply::new(link, reply)))
        })
    }

    /// Serves in the background: `handler` reads each request as it arrives, and may answer
    /// meanwhile. While it waits for its client it holds the place of an exchange, until the
    /// receive or send deadline.
    ///
    /// `Client::call`, `Connection::send` and a `RequestWriter` that is not split read only once all of
    /// the request has been sent, as git's client does: if a handler answers a long request before it
    /// has read it, either waits for the other until a deadline. Such clients
    /// [`split`](super::RequestWriter::split) the request.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Panics
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_streaming<H, F, E>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(RequestReader, Reply) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Finished, E>> + Send + 'static,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        self.start(true, move |arriving, link| {
            let (begun, incoming, reply) = arriving.into_stream();
            let request = RequestReader::new(link.clone(), begun, incoming);
            boxed(handler(request, Reply::new(link, reply)))
        })
    }

    /// Serves until it is stopped, by [`finish_and_stop`](Reply::finish_and_stop) for one:
    /// [`serve`](Self::serve) and [`join`](Running::join).
    ///
    /// # Errors
    ///
    /// As those two.
    ///
    /// # Panics
    ///
    /// As [`serve`](Self::serve).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future asks the server to stop, which it does in the background.
    pub async fn run<H, F, E>(self, handler: H) -> Result<Ending, Error>
    where
        H: Fn(Request, Reply) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Finished, E>> + Send + 'static,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        self.serve(handler)?.join().await
    }

    fn start(self, streaming: bool, handler: impl Handler) -> Result<Running, Error> {
        let Self { listener, options } = self;
        let path = listener.path().clone();
        Handle::try_current().map_err(|error| {
            Error::new(Phase::Accept, &path, ErrorKind::NoRuntime).because(error)
        })?;
        // Without time it panics here, not in a task, where nobody would hear of it.
        drop(::tokio::time::sleep(Duration::ZERO));
        let (shared, end) = Shared::start(listener, options, streaming, Box::new(handler))
            .map_err(|error| Error::io(Phase::Accept, &path, error))?;
        crate::endpoint::announce(&path);
        Ok(Running { shared, end, path })
    }
}

fn boxed<E: Into<Box<dyn core::error::Error + Send + Sync>>>(
    future: impl Future<Output = Result<Finished, E>> + Send + 'static,
) -> BoxFuture {
    Box::pin(async { future.await.map_err(Into::into) })
}

/// A server that serves.
///
/// Dropping it asks the server to stop, which it then does in the background; to wait for the
/// end, [`join`](Self::join) it.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct Running {
    /// The tasks own what they share, so that nothing of it outlives the runtime.
    shared: Weak<Shared>,
    end: watch::Receiver<Option<End>>,
    path: Arc<Path>,
}

impl Running {
    /// Asks the server to stop: its path goes at once, what is in the backlog is still served,
    /// exchanges under way end or are aborted at the drain deadline.
    pub fn stop(&self) {
        self.handle().stop();
    }

    /// As [`stop`](Self::stop), but exchanges under way are aborted at once; also while the server
    /// drains.
    pub fn abort(&self) {
        self.handle().abort();
    }

    /// Something that can stop the server from elsewhere.
    pub fn handle(&self) -> StopHandle {
        StopHandle { shared: self.shared.clone() }
    }

    /// Waits until the server has ended, by whatever reason, and tells how. By then its path can be
    /// taken again (unless others have kept the folder locked for 10 s), and clients that it had no
    /// time to accept are hung up on.
    ///
    /// Exchanges that were aborted at the drain deadline are not waited for: a handler that
    /// computes goes on until its future comes back, but its client is hung up on.
    ///
    /// # Errors
    ///
    /// If the listener failed, which is told once; [`ErrorKind::NoRuntime`] if the server's
    /// runtime ended before the server did.
    ///
    /// # Cancel safety
    ///
    /// Safe: the server goes on, and can be joined again.
    pub async fn join(&self) -> Result<Ending, Error> {
        let mut end = self.end.clone();
        let no_runtime = |_| Error::new(Phase::Accept, &self.path, ErrorKind::NoRuntime);
        // What it lends is given back at once: no future that holds it could be sent.
        let ended =
            end.wait_for(Option::is_some).await.map(|end| end.as_ref().map(End::has_aborted));
        let aborted = ended.map_err(no_runtime)?.unwrap_or(false);
        if !aborted {
            // Until the last task is gone, and the last descriptor with it.
            while end.changed().await.is_ok() {}
        }
        let end = end.borrow();
        end.as_ref().expect("it has ended").result()
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
    shared: Weak<Shared>,
}

impl StopHandle {
    /// As [`Running::stop`]. Does nothing if the server has ended.
    pub fn stop(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.stop(Reason::Asked);
        }
    }

    /// As [`Running::abort`]. Does nothing if the server has ended.
    pub fn abort(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.abort();
        }
    }
}
