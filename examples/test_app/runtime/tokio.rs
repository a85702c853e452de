//! The application on Tokio.

use std::io;
use std::path::Path;

use ::tokio::runtime::Runtime as Executor;
use ::tokio::time::sleep;
use simple_ipc::tokio::{Client, Finished, Reply, Request, Server};

use super::{Call, Runtime};
use crate::answer::{Answer, answer, row};
use crate::report;

pub static RUNTIME: Runtime = Runtime { name: "tokio", serve, client };

fn serve(path: &Path, threads: usize) -> io::Result<()> {
    Executor::new()?.block_on(async {
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
                    sleep(pause).await;
                }
            }
            reply.finish().await
        }
        Answer::Stop => reply.finish_and_stop().await,
    }
}

fn client(path: &Path) -> io::Result<Call> {
    let (executor, client) = (Executor::new()?, Client::new(path));
    Ok(Box::new(move |request| executor.block_on(client.call(request))))
}
