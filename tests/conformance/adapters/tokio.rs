//! `simple_ipc::tokio`, on both of its schedulers.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use ::tokio::io::AsyncReadExt as Read;
use ::tokio::runtime::{Builder, Handle, Runtime};
use ::tokio::sync::oneshot;
use simple_ipc::lifecycle::Reason;

use super::{client, perform, set};
use crate::app::{App, Gate, Step};
use crate::seam::{Reports, ServerSettings};

/// Clients' calls are awaited here.
static CLIENTS: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

fn now<F: Future>(call: F) -> F::Output {
    CLIENTS.block_on(call)
}

fn inside<T>(call: impl FnOnce() -> T) -> T {
    let _inside = CLIENTS.enter();
    call()
}

client!(tokio, now, inside);
perform!([async], [.await], Gate::opened);

pub trait Flavour: Send + 'static {
    fn builder() -> Builder;
}

pub struct CurrentThread;
pub struct MultiThread;

impl Flavour for CurrentThread {
    fn builder() -> Builder {
        Builder::new_current_thread()
    }
}

impl Flavour for MultiThread {
    fn builder() -> Builder {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2);
        builder
    }
}

/// A runtime of its own for a server, driven by a thread of its own until it is dropped.
struct Host {
    runtime: Handle,
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    fn new<F: Flavour>() -> Self {
        let runtime = F::builder().enable_all().build().unwrap();
        let (over, ended) = oneshot::channel();
        let handle = runtime.handle().clone();
        let thread = thread::spawn(move || {
            let _ = runtime.block_on(ended);
        });
        Self { runtime: handle, over: Some(over), thread: Some(thread) }
    }

    fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (done, outcome) = channel();
        self.runtime.spawn(async move {
            let _ = done.send(future.await);
        });
        outcome.recv().expect("the task ends")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.over.take());
        let _ = self.thread.take().unwrap().join();
    }
}

pub struct Server<F> {
    server: runtime::Server,
    host: Host,
    flavour: PhantomData<F>,
}

/// Dropped before its runtime, so that it can end in the background.
pub struct Running {
    running: Option<runtime::Running>,
    host: Option<Host>,
}

impl<F: Flavour> seam::Server for Server<F> {
    type Running = Running;

    fn bind(path: &Path, settings: ServerSettings, reports: Reports) -> Result<Self, Failure> {
        let host = Host::new::<F>();
        let server = set!(runtime::Server::bind(path)?, settings, reports);
        Ok(Self { server, host, flavour: PhantomData })
    }

    fn serve(self, app: App) -> Self::Running {
        let Self { server, host, .. } = self;
        let handler = move |request: runtime::Request, reply| {
            perform(app.clone(), app.steps(&request), None, reply)
        };
        let running = host.block_on(async { server.serve(handler).unwrap() });
        Running { running: Some(running), host: Some(host) }
    }
}

impl<F: Flavour> seam::StreamingServer for Server<F> {
    fn serve_streaming(self, app: App) -> Self::Running {
        let Self { server, host, .. } = self;
        let handler =
            move |request, reply| perform(app.clone(), app.streaming_steps(), Some(request), reply);
        let running = host.block_on(async { server.serve_streaming(handler).unwrap() });
        Running { running: Some(running), host: Some(host) }
    }
}

impl seam::Running for Running {
    fn stop(&self) {
        self.running.as_ref().unwrap().stop();
    }

    fn abort(&self) {
        self.running.as_ref().unwrap().abort();
    }

    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        let handle = self.running.as_ref().unwrap().handle();
        Box::new(move || handle.stop())
    }

    fn join(mut self) -> Result<(Reason, usize), Failure> {
        let running = self.running.take().unwrap();
        let ending = self.host.as_ref().unwrap().block_on(async move { running.join().await })?;
        if ending.aborted > 0 {
            // The end of the runtime would end them too; the server must have done it.
            std::mem::forget(self.host.take());
        }
        Ok((ending.reason, ending.aborted))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Who only drops it leaves it to end by itself, and so does its runtime.
        if self.running.take().is_some() {
            std::mem::forget(self.host.take());
        }
    }
}
