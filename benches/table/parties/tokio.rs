//! This library's Tokio runtime, in the runtimes that most programs use: of several threads for
//! servers and for many clients, of one thread for a client alone.

use std::io;
use std::time::Instant;

use simple_ipc::tokio::{Client, Server};
use tokio::runtime::{Builder, Runtime};

use crate::support::load::{Answer, Conversation, Load, Work, answer};
use crate::support::party::Party;

pub(crate) static TOKIO: Party = Party {
    name: "tokio",
    serve: |path, _, ready| {
        Runtime::new()?.block_on(async {
            let running =
                Server::bind(path)?.request_limit(None).serve(|request, mut reply| async move {
                    match answer(&request) {
                        Answer::Short(bytes) => reply.finish_with(bytes).await,
                        Answer::Long(bytes) => reply.finish_with(bytes).await,
                        Answer::Lines(lines) => {
                            for line in lines {
                                reply.write_all(line).await?;
                            }
                            reply.finish().await
                        }
                    }
                })?;
            ready();
            running.join().await?;
            Ok(())
        })
    },
    client: |path| {
        let client = Client::new(path);
        let alone = Builder::new_current_thread().enable_all().build()?;
        let many = Runtime::new()?;
        Ok(Box::new(move |&Work { load, clients, count }| {
            let start = Instant::now();
            if clients == 1 {
                alone.block_on(talk(&client, load, count))?;
            } else {
                many.block_on(async {
                    let start_one = |_| {
                        let client = client.clone();
                        tokio::spawn(async move { talk(&client, load, count).await })
                    };
                    for client in (0..clients).map(start_one).collect::<Vec<_>>() {
                        client.await.map_err(io::Error::other)??;
                    }
                    io::Result::Ok(())
                })?;
            }
            Ok(start.elapsed())
        }))
    },
};

async fn talk(client: &Client, load: Load, count: usize) -> io::Result<()> {
    let mut conversation = Conversation::new(load);
    for k in 0..count {
        let (request, answer) = conversation.begin(k);
        client.call_into(request, answer).await?;
        conversation.end()?;
    }
    Ok(())
}
