//! The server of `examples/event_loop`. It has no client of its own.

use std::io;
use std::os::unix::net::UnixListener;

use crate::support::load;
use crate::support::party::Party;

#[path = "../../../examples/event_loop/server.rs"]
mod server;

use server::{Answer, Server};

pub(crate) static EVENT_LOOP: Party = Party {
    name: "event loop",
    serve: |path, _, ready| {
        let mut server = Server::new(UnixListener::bind(path)?)?;
        ready();
        server.run(|request| match request {
            b"quit" => Answer::WholeThenStop(Vec::new()),
            b"abort" => Answer::Abort,
            request => Answer::Whole(match load::answer(request) {
                load::Answer::Short(bytes) => bytes,
                load::Answer::Long(bytes) => bytes.to_vec(),
                load::Answer::Lines(lines) => lines.concat(),
            }),
        })
    },
    client: |_| Err(io::Error::other("it is a server only")),
};
