//! The smallest server and client, blocking.
//!
//! ```text
//! cargo run --example blocking_quick
//! ```

use simple_ipc::blocking::{Client, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("blocking-quick-{}.ipc", std::process::id()));

    let running = Server::bind(&path)?
        .serve(|request, reply| reply.finish_with([b"you said ", &*request].concat()))?;

    let answer = Client::new(&path).call("hello")?;
    println!("{}", String::from_utf8_lossy(&answer));

    running.stop();
    running.join()?;
    Ok(())
}
