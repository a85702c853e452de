//! The smallest server and client on smol.
//!
//! ```text
//! cargo run --example smol_quick --features smol
//! ```

use simple_ipc::smol::{Client, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("smol-quick-{}.ipc", std::process::id()));

    smol::block_on(async {
        let running = Server::bind(&path)?.serve(|request, reply| async move {
            reply.finish_with([b"you said ", &*request].concat()).await
        })?;

        let answer = Client::new(&path).call("hello").await?;
        println!("{}", String::from_utf8_lossy(&answer));

        running.stop();
        running.join().await?;
        Ok(())
    })
}
