//! The three runtimes: each makes its server, and reads and writes in its way.

use std::future::Future;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use simple_ipc::endpoint::Credentials;
use simple_ipc::lifecycle::Ending;
use smol::Timer;

use super::exchange::{Logged, Reply, Request, Service};
use super::{Place, Settings};
use crate::exit::Failure;

/// Makes the server of a runtime. Their setters are the same, by name.
macro_rules! server {
    ($runtime:ident, $place:expr, $settings:expr, $service:expr) => {{
        let server = match $place {
            Place::Path(path, options) => simple_ipc::$runtime::Server::bind_with(path, &options)?,
            #[cfg(unix)]
            Place::Listener(listener) => simple_ipc::$runtime::Server::from_listener(listener)?,
        };
        let log = $service.log();
        let server = match $settings.waiting {
            Some(limit) => server.waiting(limit),
            None => server,
        };
        server
            .exchanges($settings.exchanges)
            .receive_deadline($settings.client_timeout)
            .send_deadline($settings.client_timeout)
            .idle_exit($settings.idle_exit)
            .drain_deadline($settings.drain)
            .on_error(move |error| {
                let source = std::error::Error::source(error);
                if !source.is_some_and(|source| source.is::<Logged>()) {
                    log.refused(error);
                }
            })
    }};
}

/// What ends a server.
pub trait Handle: Send {
    fn stop(&self);
    fn abort(&self);
}

macro_rules! handle {
    ($($runtime:ident)*) => {$(
        impl Handle for simple_ipc::$runtime::StopHandle {
            fn stop(&self) {
                self.stop();
            }

            fn abort(&self) {
                self.abort();
            }
        }
    )*};
}

handle!(blocking tokio smol);

/// Told where the server listens, and what ends it. If that fails, the server is stopped.
pub trait OnStart: FnOnce(&Path, Box<dyn Handle>) -> Result<(), Failure> {}

impl<F: FnOnce(&Path, Box<dyn Handle>) -> Result<(), Failure>> OnStart for F {}

/// Sees to a server until it has ended; if what it is told to cannot be done, it ends at once.
macro_rules! see_to {
    ($running:ident, $path:ident, $on_start:ident $(, $await:tt)?) => {{
        let started = $on_start(&$path, Box::new($running.handle()));
        if started.is_err() {
            $running.abort();
        }
        let ending = $running.join()$(.$await)?;
        started?;
        Ok(ending?)
    }};
}

pub fn blocking(
    place: Place,
    settings: &Settings,
    service: Service,
    on_start: impl OnStart,
) -> Result<Ending, Failure> {
    let server = server!(blocking, place, settings, service);
    let path = server.path().to_owned();
    let running = server.serve_streaming(move |request, reply| {
        smol::block_on(service.clone().exchange(request, reply))
    })?;
    see_to!(running, path, on_start)
}

pub fn tokio(
    place: Place,
    settings: &Settings,
    service: Service,
    on_start: impl OnStart,
) -> Result<Ending, Failure> {
    let server = server!(tokio, place, settings, service);
    let path = server.path().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("start the Tokio runtime", &error))?;
    runtime.block_on(async {
        let running = server
            .serve_streaming(move |request, reply| service.clone().exchange(request, reply))?;
        see_to!(running, path, on_start, await)
    })
}

pub fn smol(
    place: Place,
    settings: &Settings,
    service: Service,
    on_start: impl OnStart,
) -> Result<Ending, Failure> {
    let server = server!(smol, place, settings, service);
    let path = server.path().to_owned();
    smol::block_on(async {
        let running = server
            .serve_streaming(move |request, reply| service.clone().exchange(request, reply))?;
        see_to!(running, path, on_start, await)
    })
}

macro_rules! asynchronous {
    ($runtime:ident, $read:path) => {
        impl Request for simple_ipc::$runtime::RequestReader {
            async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                $read(self, buffer).await
            }
        }

        impl Reply for simple_ipc::$runtime::Reply {
            type Finished = simple_ipc::$runtime::Finished;

            async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
                self.write_all(bytes).await?;
                self.flush().await
            }

            async fn finish(self) -> io::Result<Self::Finished> {
                self.finish().await
            }

            async fn client_left(&self) {
                self.client_left().await
            }

            fn peer(&self) -> io::Result<Credentials> {
                self.peer()
            }
        }
    };
}

asynchronous!(tokio, tokio::io::AsyncReadExt::read);
asynchronous!(smol, futures_lite::AsyncReadExt::read);

/// These block where they are called, so the halves of an exchange have a thread each.
impl Request for simple_ipc::blocking::RequestReader {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, buffer)
    }
}

impl Reply for simple_ipc::blocking::Reply {
    type Finished = simple_ipc::blocking::Finished;

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.flush()
    }

    async fn finish(self) -> io::Result<Self::Finished> {
        self.finish()
    }

    async fn client_left(&self) {
        while !self.client_has_left() {
            Timer::after(Duration::from_millis(100)).await;
        }
    }

    fn peer(&self) -> io::Result<Credentials> {
        self.peer()
    }

    async fn both<T: Send>(
        first: impl Future<Output = ()> + Send,
        second: impl Future<Output = T> + Send,
    ) -> io::Result<T> {
        thread::scope(|scope| {
            thread::Builder::new().spawn_scoped(scope, || smol::block_on(first))?;
            Ok(smol::block_on(second))
        })
    }
}
