//! `examples/event_loop`: the core's machines in a loop of one thread.
//!
//! It is an example, not a runtime: whole answers only, no settings, and it ends by a request.

#[allow(dead_code, reason = "an example's module, used in part")]
#[path = "../../../examples/event_loop/server.rs"]
mod server;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::{fs, thread};

use simple_ipc::lifecycle::Reason;

use crate::app::{App, Step};
use crate::seam::{self, Failure, Reports, ServerSettings};
use crate::wire;

pub struct Server {
    server: server::Server,
    path: PathBuf,
}

pub struct Running {
    thread: JoinHandle<()>,
    path: PathBuf,
    asked: AtomicBool,
}

/// The request that ends it, whatever the application.
const STOP: &[u8] = b"\0stop";

impl seam::Server for Server {
    type Running = Running;
    const REPORTS: bool = false;

    fn bind(path: &Path, _: ServerSettings, _: Reports) -> Result<Self, Failure> {
        let server = server::Server::new(UnixListener::bind(path).unwrap()).unwrap();
        Ok(Self { server, path: path.into() })
    }

    fn serve(self, app: App) -> Self::Running {
        let Self { mut server, path } = self;
        let end = path.clone();
        let thread = thread::spawn(move || {
            let answer = |request: &[u8]| match request {
                STOP => server::Answer::WholeThenStop(Vec::new()),
                request => perform(app.steps(request)),
            };
            server.run(answer).unwrap();
            fs::remove_file(end).unwrap();
        });
        Running { thread, path, asked: AtomicBool::new(false) }
    }
}

/// Performs the steps, as far as one who answers at once can.
fn perform(steps: Vec<Step>) -> server::Answer {
    let mut answer = Vec::new();
    for step in steps {
        match step {
            Step::Write(bytes) => answer.extend(bytes),
            Step::Open(gate) => gate.open(),
            Step::Flush => {}
            Step::Fail | Step::DropReply(_) => return server::Answer::Abort,
            Step::Finish => return server::Answer::Whole(answer),
            Step::FinishWith(bytes) => {
                answer.extend(bytes);
                return server::Answer::Whole(answer);
            }
            Step::FinishAndStop => return server::Answer::WholeThenStop(answer),
            step => unreachable!("not for an event loop: {step:?}"),
        }
    }
    unreachable!("the last step finishes");
}

impl seam::Running for Running {
    fn stop(&self) {
        self.asked.store(true, Ordering::Relaxed);
        wire::read_to_end(&mut wire::send(&self.path, &wire::frame(STOP)));
    }

    fn abort(&self) {
        unreachable!("an event loop is stopped by a request only")
    }

    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        unreachable!("an event loop is stopped by a request only")
    }

    fn join(self) -> Result<(Reason, usize), Failure> {
        self.thread.join().unwrap();
        let reason = if self.asked.into_inner() { Reason::Asked } else { Reason::Quit };
        Ok((reason, 0))
    }
}
