//! This library's blocking runtime.

use std::io;

use simple_ipc::blocking::{Client, Server};

use super::load::{Answer, answer, converse};
use super::party::Party;

pub(crate) static BLOCKING: Party = Party {
    name: "blocking",
    serve: |path, _, ready| {
        let running = Server::bind(path)?.request_limit(None).serve(|request, mut reply| {
            match answer(&request) {
                Answer::Short(bytes) => reply.finish_with(bytes),
                Answer::Long(bytes) => reply.finish_with(bytes),
                Answer::Lines(lines) => {
                    lines.iter().try_for_each(|line| reply.write_all(line))?;
                    reply.finish()
                }
            }
        })?;
        ready();
        running.join()?;
        Ok(())
    },
    client: |path| {
        let client = Client::new(path);
        Ok(Box::new(move |work| {
            converse(work, |request, reply| {
                client.call_into(request, reply).map_err(io::Error::from)
            })
        }))
    },
};
