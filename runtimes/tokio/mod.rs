//! The Tokio runtime.
//!
//! ```
//! use simple_ipc::tokio::{Client, Server};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! # let folder = std::env::temp_dir().join(format!("simple-ipc-tokio-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("app.ipc");
//!
//! let server = Server::bind(&path)?; // refuses if one is alive
//! let running = server.serve(|request, mut reply| async move {
//!     reply.write_all(b"you said ").await?;
//!     reply.finish_with(&*request).await
//! })?;
//!
//! assert_eq!(Client::new(&path).call("hello").await?, b"you said hello");
//!
//! running.stop();
//! running.join().await?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Work that blocks
//!
//! A handler is a future, and like every future it must come back soon whenever it is polled.
//! What computes or blocks belongs on a thread of its own:
//!
//! ```
//! # use simple_ipc::tokio::{Finished, Reply, Request, Server};
//! fn checksum(bytes: &[u8]) -> u32 {
//!     bytes.iter().fold(0, |sum, &byte| sum.rotate_left(1) ^ u32::from(byte))
//! }
//!
//! async fn handle(request: Request, reply: Reply) -> std::io::Result<Finished> {
//!     let sum = tokio::task::spawn_blocking(move || checksum(&request)).await?;
//!     reply.finish_with(sum.to_string()).await
//! }
//! # fn serve(server: Server) { let _ = server.serve(handle); }
//! ```
//!
//! One that does not keep to this is not waited for by everybody: handlers are polled where
//! connections are accepted only as long as they are quick, and in tasks of their own otherwise.

mod client;
mod exchange;
mod server;
mod serving;
mod socket;
#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;
mod writer;

pub use client::{Answer, Client, Connection, RequestWriter};
pub use exchange::{Finished, Reply, RequestReader};
pub use server::{Running, Server, StopHandle};

pub use crate::runtimes::request::Request;
