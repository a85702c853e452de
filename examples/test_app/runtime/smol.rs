//! The application on smol.

use std::io;
use std::path::Path;

use ::smol::Timer;
use simple_ipc::smol::{Client, Finished, Reply, Request, Server};

use super::{Call, Runtime};
use crate::answer::{Answer, answer, row};
use crate::report;

pub static RUNTIME: Runtime = Runtime { name: "smol", serve, client };

fn serve(path: &Path, threads: usize) -> io::Result<()> {
    ::smol::block_on(async {
        let server = Server::bind(path)?.exchanges(threads).request_limit(None);
        server.on_error(report).run(handle).await?;
        Ok(())
    })
}

async fn handle(request: Request, mut reply: Reply) -> io::Result<Finished> {
    match answer(&request) {
        Answer::Whole(answer) => reply.finish_with(answer).await,
        Answer::Rows { count, pause } => {
            for number in 0..count {
                reply.write_all(&row(number)).await?;
                if let Some(pause) = pause {
                    reply.flush().await?;
                    Timer::after(pause).await;
                }
            }
            reply.finish().await
        }
        Answer::Stop => reply.finish_and_stop().await,
    }
}

fn client(path: &Path) -> io::Result<Call> {
    let client = Client::new(path);
    Ok(Box::new(move |request| ::smol::block_on(client.call(request))))
}
