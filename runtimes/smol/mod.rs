//! The smol runtime: sockets on `async-io`, tasks on the executor of your choice.
//!
//! ```
//! use simple_ipc::smol::{Client, Server};
//! # let folder = std::env::temp_dir().join(format!("simple-ipc-doc-smol-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("app.ipc");
//! # smol::block_on(async {
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
//! # std::io::Result::Ok(())
//! # })?;
//! # std::fs::remove_dir_all(&folder)?;
//! # std::io::Result::Ok(())
//! ```
//!
//! [`Server::serve`] starts its tasks on smol's global executor. [`Server::serve_on`] takes an
//! executor of your own, and [`Server::serve_local`] one of a single thread, where handlers need
//! not be `Send`. The client needs none: its futures can be awaited anywhere.
//!
//! A handler must not block the thread it is polled on. Work that blocks goes elsewhere:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = simple_ipc::smol::Server::bind("app.ipc")?;
//! server
//!     .run(|request, reply| async move {
//!         let sum = smol::unblock(move || request.iter().map(|&b| u64::from(b)).sum::<u64>()).await;
//!         reply.finish_with(sum.to_string()).await
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```

mod client;
mod conductor;
mod connection;
mod control;
mod reply;
mod server;
mod socket;
mod spawn;
#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;
mod transfer;

pub use client::{Answer, Client, Connection, RequestWriter};
pub use reply::{Finished, Reply, RequestReader};
pub use server::{Running, Server, StopHandle};
pub use spawn::{LocalTask, Spawn, Task};

pub use crate::runtimes::request::Request;
