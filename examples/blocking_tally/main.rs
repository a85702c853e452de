//! A server with shared state, streaming in both directions and a graceful end, blocking.
//!
//! ```text
//! cargo run --example blocking_tally -- serve            # in a terminal of its own; Ctrl-C ends it
//! cargo run --example blocking_tally -- add < README.md  # counts the words of its input
//! cargo run --example blocking_tally -- top | head       # the most frequent words
//! ```
//!
//! A request is `add`, a line feed and any amount of text, or `top`. Neither side keeps a whole
//! message in memory.

#[path = "../tally/words.rs"]
mod words;

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use simple_ipc::blocking::{Client, Finished, Reply, RequestReader, Server};
use simple_ipc::endpoint::runtime_folder;
use words::{Counting, Words, unless_closed};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = runtime_folder("simple-ipc-examples")?.join("blocking-tally.ipc");
    match std::env::args().nth(1).as_deref() {
        Some("serve") => {
            let server = Server::bind(&path)?.on_error(|error| eprintln!("{error}"));
            println!("serving {}", server.path().display());
            let words = Arc::new(Words::default());
            let running =
                server.serve_streaming(move |request, reply| answer(&words, request, reply))?;
            let stop = running.handle();
            ctrlc::set_handler(move || stop.stop())?;
            // Exchanges under way end first.
            println!("{:?}", running.join()?);
        }
        Some("add") => {
            let mut request = Client::new(&path).connect()?.request();
            request.write_all(b"add\n")?;
            io::copy(&mut io::stdin(), &mut request)?;
            io::copy(&mut request.finish()?, &mut io::stdout())?;
        }
        Some("top") => {
            let mut answer = Client::new(&path).connect()?.send("top")?;
            unless_closed(io::copy(&mut answer, &mut io::stdout()))?;
        }
        _ => return Err("usage: blocking_tally serve|add|top".into()),
    }
    Ok(())
}

fn answer(words: &Words, mut request: RequestReader, mut reply: Reply) -> io::Result<Finished> {
    let mut command = [0; 3];
    request.read_exact(&mut command)?;
    match &command {
        b"add" => {
            let mut counting = Counting::new();
            let mut chunk = vec![0; 65536];
            loop {
                match request.read(&mut chunk)? {
                    0 => break,
                    n => counting.chunk(&chunk[..n]),
                }
            }
            counting.end_of_word();
            writeln!(reply, "{} words", words.add(counting))?;
        }
        b"top" => {
            for line in words.lines() {
                // Small writes are gathered; a client that has left ends this with an error.
                reply.write_all(line.as_bytes())?;
            }
        }
        _ => reply.write_all(b"unknown command\n")?,
    }
    reply.finish()
}
