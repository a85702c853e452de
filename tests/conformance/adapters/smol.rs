//! `simple_ipc::smol`, on smol's global executor.

use std::path::Path;

use ::smol::block_on as now;
use ::smol::io::AsyncReadExt as Read;
use simple_ipc::lifecycle::Reason;

use super::{client, perform, set};
use crate::app::{App, Gate, Step};
use crate::seam::{Reports, ServerSettings};

/// Anywhere will do.
fn inside<T>(call: impl FnOnce() -> T) -> T {
    call()
}

client!(smol, now, inside);
perform!([async], [.await], Gate::opened);

pub struct Server(runtime::Server);

impl seam::Server for Server {
    type Running = runtime::Running;

    fn bind(path: &Path, settings: ServerSettings, reports: Reports) -> Result<Self, Failure> {
        Ok(Self(set!(runtime::Server::bind(path)?, settings, reports)))
    }

    fn serve(self, app: App) -> Self::Running {
        let handler = move |request: runtime::Request, reply| {
            perform(app.clone(), app.steps(&request), None, reply)
        };
        self.0.serve(handler).unwrap()
    }
}

impl seam::StreamingServer for Server {
    fn serve_streaming(self, app: App) -> Self::Running {
        let handler =
            move |request, reply| perform(app.clone(), app.streaming_steps(), Some(request), reply);
        self.0.serve_streaming(handler).unwrap()
    }
}

impl seam::Running for runtime::Running {
    fn stop(&self) {
        self.stop();
    }

    fn abort(&self) {
        self.abort();
    }

    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        let handle = self.handle();
        Box::new(move || handle.stop())
    }

    fn join(self) -> Result<(Reason, usize), Failure> {
        let ending = now(runtime::Running::join(&self))?;
        Ok((ending.reason, ending.aborted))
    }
}
