//! One question, one answer, over a local socket: git's Simple-IPC.
//!
//! A short-lived program asks a long-running local server one question and gets one answer, over
//! a Unix domain socket, or a named pipe on Windows. Both ends may be git's.
//!
//! ```no_run
//! # #[cfg(all(any(unix, windows), feature = "blocking"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use simple_ipc::blocking::{Client, Server};
//!
//! // In one process:
//! let running = Server::bind("app.ipc")?.serve(|request, reply| {
//!     reply.finish_with([b"you said ", &*request].concat())
//! })?;
//!
//! // In another:
//! let answer = Client::new("app.ipc").call("hello")?;
//! assert_eq!(answer, b"you said hello");
//! # drop(running);
//! # Ok(())
//! # }
//! # #[cfg(not(all(any(unix, windows), feature = "blocking")))]
//! # fn main() {}
//! ```
//!
//! `endpoint::runtime_folder` knows a good place for the path, and `Client::call_or_start` with an
//! `endpoint::Starter` starts the server when it is needed.
//!
//! What is decided is in the protocol core, what is done is in the runtimes:
//!
//! | module | what it is | needs |
//! | --- | --- | --- |
//! | [`pkt_line`] | packets: decoding across any split, encoding as slices | nothing |
//! | [`exchange`], [`client`], [`server`] | the phases of an exchange, as types | nothing |
//! | [`connect`] | when to try again, and when to give up | nothing |
//! | [`pipe_name`] | what a pipe is called on Windows | nothing |
//! | `lifecycle` | whom a server accepts, keeps waiting and lets go, and when it ends | `alloc` |
//! | `endpoint` | the rendezvous: paths, taking over, states | a runtime |
//! | `blocking`, `tokio`, `smol` | client and server, alike name for name, but for what only futures (`client_left`) or executors (`serve_on`) can do | the feature |
//!
//! # The exchange
//!
//! ```text
//!  client                                      server
//!  ──────                                      ──────
//!  Request ── piece ──▶ 0008ping ─────────────▶ Request
//!     │ finish ───────▶ 0000 ─────────────────▶    │ whole
//!     ▼                                            ▼
//!  Answer ◀───────────────────── 0008pong ◀── Reply ── piece
//!     │ whole ◀───────────────── 0000 ◀────────────│ finish
//!     ▼                                            ▼
//!   Done                                          Done
//!
//!  end of stream before the first byte:  silent (a probe, or no answer)
//!  end of stream before 0000:            truncated, never a short message
//! ```
//!
//! A client, in memory ([`client`] has the details):
//!
//! ```
//! let mut sending = simple_ipc::client::request(b"ping");
//! assert!(sending.slices().eq([&b"0008"[..], b"ping", b"0000"]));
//! sending.wrote(12);
//! let Ok((mut answer, _)) = sending.done() else { unreachable!() };
//! let mut read = *b"0008pong0000";
//! let len = answer.strip(&mut read)?;
//! assert_eq!((&read[..len], answer.is_whole()), (&b"pong"[..], true));
//! # Ok::<_, simple_ipc::exchange::MessageError>(())
//! ```
//!
//! A server, in memory ([`server`] has the details):
//!
//! ```
//! let mut request = simple_ipc::server::accept(None);
//! let mut read = *b"0008ping0000";
//! let len = request.strip(&mut read)?;
//! assert_eq!(&read[..len], b"ping");
//! let Ok(reply) = request.done() else { unreachable!() };
//! let sending = reply.finish(b"pong");
//! assert!(sending.slices().eq([&b"0008"[..], b"pong", b"0000"]));
//! # Ok::<_, simple_ipc::exchange::MessageError>(())
//! ```
//!
//! # Features
//!
//! They only add modules, so any set of them can be on, in one program or in a dependency.
//!
//! **`blocking`** (default) adds the `blocking` module: a server on threads, and a client whose
//! calls block, every one of them with a deadline. A client that speaks at once is served by the
//! thread that accepted it, without a hand-off, which makes it the fastest of the three. Pick it
//! for command-line clients, and for servers that have no async runtime. It needs [`polling`],
//! to watch connections that are silent.
//!
//! **`tokio`** adds the `tokio` module. Its futures must be polled within a Tokio runtime, of
//! either flavour, with I/O and time enabled. Pick it in a program that has one.
//!
//! **`smol`** adds the `smol` module, on [`async-io`]: it brings its own reactor, so its futures run
//! on any executor. Servers are spawned on smol's own unless you name another, a single-threaded
//! one without `Send` for instance. Pick it in a program on smol, or on an executor of its own.
//!
//! **`std`** and **`alloc`** add conveniences to the core that own memory or speak of the standard
//! library; every runtime turns them on. **`memchr`** makes [`pkt_line::Records`] faster and changes
//! nothing else. **`tracing`** makes the runtimes report spans and events to `tracing`, and does
//! nothing without one. Without any feature the crate is the core: `no_std`, no allocation, no
//! dependencies.
//!
//! [`polling`]: https://docs.rs/polling
//! [`async-io`]: https://docs.rs/async-io
//!
//! # What a request's fate can be
//!
//! | the client sees | it means | is sending again safe? |
//! | --- | --- | --- |
//! | an answer | the handler finished it | – |
//! | [`Delivery::NotDelivered`] | no byte was sent: nobody listens, or no room | yes |
//! | [`Delivery::Incomplete`] | the end of the request was not sent | for handlers of whole requests |
//! | [`Delivery::Unknown`] | it was sent; the handler failed, is slow, or never saw it | if it may be handled twice |
//!
//! [`Delivery::NotDelivered`]: client::Delivery::NotDelivered
//! [`Delivery::Incomplete`]: client::Delivery::Incomplete
//! [`Delivery::Unknown`]: client::Delivery::Unknown
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod client;
pub mod connect;
pub mod exchange;
#[cfg(feature = "alloc")]
pub mod lifecycle;
pub mod pipe_name;
pub mod pkt_line;
pub mod server;

#[cfg(any(feature = "blocking", feature = "smol", feature = "tokio"))]
#[path = "../runtimes/mod.rs"]
mod runtimes;
#[cfg(any(feature = "blocking", feature = "smol", feature = "tokio"))]
pub use runtimes::*;

/// The README's examples.
#[cfg(all(doctest, unix, feature = "blocking", feature = "smol", feature = "tokio"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
