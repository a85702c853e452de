//! The smallest server and client on Tokio.
//!
//! ```text
//! cargo run --example tokio_quick --features tokio
//! ```

use simple_ipc::tokio::{Client, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("tokio-quick-{}.ipc", std::process::id()));

    let running = Server::bind(&path)?.serve(|request, reply| async move {
        reply.finish_with([b"you said ", &*request].concat()).await
    })?;

    let answer = Client::new(&path).call("hello").await?;
    println!("{}", String::from_utf8_lossy(&answer));

    running.stop();
    running.join().await?;
    Ok(())
}
