//! A server with shared state, streaming in both directions and a graceful end, on smol.
//!
//! ```text
//! cargo run --example smol_tally --features smol -- serve            # in a terminal of its own; Ctrl-C ends it
//! cargo run --example smol_tally --features smol -- add < README.md  # counts words
//! cargo run --example smol_tally --features smol -- top | head       # the most frequent
//! ```
//!
//! A request is `add`, a line feed and any amount of text, or `top`. Neither side keeps a whole
//! message in memory.

#[path = "../tally/words.rs"]
mod words;

use std::io;
use std::sync::Arc;

use simple_ipc::endpoint::runtime_folder;
use simple_ipc::smol::{Client, Finished, Reply, RequestReader, Server};
use smol::Unblock;
use smol::io::{AsyncReadExt as _, copy};
use words::{Counting, Words, unless_closed};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = runtime_folder("simple-ipc-examples")?.join("smol-tally.ipc");
    smol::block_on(async {
        match std::env::args().nth(1).as_deref() {
            Some("serve") => {
                let server = Server::bind(&path)?.on_error(|error| eprintln!("{error}"));
                println!("serving {}", server.path().display());
                let words = Arc::new(Words::default());
                let running = server
                    .serve_streaming(move |request, reply| answer(words.clone(), request, reply))?;
                let stop = running.handle();
                ctrlc::set_handler(move || stop.stop())?;
                // Exchanges under way end first.
                println!("{:?}", running.join().await?);
            }
            Some("add") => {
                let mut request = Client::new(&path).connect().await?.request();
                request.write_all(b"add\n").await?;
                copy(Unblock::new(io::stdin()), &mut request).await?;
                copy(request.finish().await?, Unblock::new(io::stdout())).await?;
            }
            Some("top") => {
                let answer = Client::new(&path).connect().await?.send("top").await?;
                unless_closed(copy(answer, Unblock::new(io::stdout())).await)?;
            }
            _ => return Err("usage: smol_tally serve|add|top".into()),
        }
        Ok(())
    })
}

async fn answer(
    words: Arc<Words>,
    mut request: RequestReader,
    mut reply: Reply,
) -> io::Result<Finished> {
    let mut command = [0; 3];
    request.read_exact(&mut command).await?;
    match &command {
        b"add" => {
            let mut counting = Counting::new();
            let mut chunk = vec![0; 65536];
            loop {
                match request.read(&mut chunk).await? {
                    0 => break,
                    n => counting.chunk(&chunk[..n]),
                }
            }
            counting.end_of_word();
            reply.write_all(format!("{} words\n", words.add(counting)).as_bytes()).await?;
        }
        b"top" => {
            for line in words.lines() {
                // Small writes are gathered; a client that has left ends this with an error.
                reply.write_all(line.as_bytes()).await?;
            }
        }
        _ => reply.write_all(b"unknown command\n").await?,
    }
    reply.finish().await
}
