//! This library's smol runtime, on smol's global executor.

use std::io;
use std::time::Instant;

use simple_ipc::smol::{Client, Server};

use crate::support::load::{Answer, Conversation, Load, Work, answer};
use crate::support::party::Party;

pub(crate) static SMOL: Party = Party {
    name: "smol",
    serve: |path, _, ready| {
        smol::block_on(async {
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
        Ok(Box::new(move |&Work { load, clients, count }| {
            let start = Instant::now();
            if clients == 1 {
                smol::block_on(talk(&client, load, count))?;
            } else {
                smol::block_on(async {
                    let start_one = |_| {
                        let client = client.clone();
                        smol::spawn(async move { talk(&client, load, count).await })
                    };
                    for client in (0..clients).map(start_one).collect::<Vec<_>>() {
                        client.await?;
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
