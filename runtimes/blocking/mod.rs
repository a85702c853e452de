//! The blocking runtime: ordinary threads and blocking calls, every one with a deadline.
//!
//! ```
//! use simple_ipc::blocking::{Client, Server};
//! # let folder = std::env::temp_dir().join(format!("simple-ipc-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("app.ipc");
//!
//! let server = Server::bind(&path)?; // refuses if one is alive
//! let running = server.serve(|request, mut reply| {
//!     reply.write_all(b"you said ")?;
//!     reply.finish_with(&*request)
//! })?;
//!
//! assert_eq!(Client::new(&path).call("hello")?, b"you said hello");
//!
//! running.stop();
//! running.join()?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<_, std::io::Error>(())
//! ```

mod client;
mod server;

pub use client::{Answer, Client, Connection, RequestWriter};
pub use server::{Finished, Reply, RequestReader, Running, Server, StopHandle};

pub use crate::runtimes::request::Request;
