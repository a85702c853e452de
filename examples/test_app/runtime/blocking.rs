//! The application on threads.

use std::io;
use std::path::Path;
use std::thread;

use simple_ipc::blocking::{Client, Finished, Reply, Request, Server};

use super::{Call, Runtime};
use crate::answer::{Answer, answer, row};
use crate::report;

pub static RUNTIME: Runtime = Runtime { name: "blocking", serve, client };

fn serve(path: &Path, threads: usize) -> io::Result<()> {
    let server = Server::bind(path)?.exchanges(threads).request_limit(None);
    server.on_error(report).run(handle)?;
    Ok(())
}

fn handle(request: Request, mut reply: Reply) -> io::Result<Finished> {
    match answer(&request) {
        Answer::Whole(answer) => reply.finish_with(answer),
        Answer::Rows { count, pause } => {
            for number in 0..count {
                reply.write_all(&row(number))?;
                if let Some(pause) = pause {
                    reply.flush()?;
                    thread::sleep(pause);
                }
            }
            reply.finish()
        }
        Answer::Stop => reply.finish_and_stop(),
    }
}

fn client(path: &Path) -> io::Result<Call> {
    let client = Client::new(path);
    Ok(Box::new(move |request| client.call(request)))
}
