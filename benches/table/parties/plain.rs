//! The raw floor for large messages: bytes without packets, as many as there are. Each side ends
//! what it says by closing.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, Shutdown, SocketAddrUnix, connect, recv, shutdown};

use crate::support::floor::{READS, send, serve, socket};
use crate::support::load::{Answer, answer, converse};
use crate::support::party::Party;

pub(crate) static PLAIN: Party = Party {
    name: "plain bytes",
    serve: |path, threads, ready| serve(path, threads, ready, exchange),
    client: |path| {
        let address = SocketAddrUnix::new(path)?;
        Ok(Box::new(move |work| converse(work, |request, reply| ask(&address, request, reply))))
    },
};

fn exchange(client: &OwnedFd) -> io::Result<()> {
    let mut message = Vec::new();
    receive_all(client, &mut message)?;
    match answer(&message) {
        Answer::Short(bytes) => send(client, &mut [IoSlice::new(&bytes)]),
        Answer::Long(bytes) => send(client, &mut [IoSlice::new(bytes)]),
        Answer::Lines(lines) => {
            let mut gathered = Vec::with_capacity(READS[1]);
            for line in lines {
                if gathered.len() + line.len() > READS[1] {
                    send(client, &mut [IoSlice::new(&gathered)])?;
                    gathered.clear();
                }
                gathered.extend_from_slice(line);
            }
            send(client, &mut [IoSlice::new(&gathered)])
        }
    }
}

fn ask(address: &SocketAddrUnix, request: &[u8], reply: &mut Vec<u8>) -> io::Result<()> {
    let server = socket()?;
    connect(&server, address)?;
    send(&server, &mut [IoSlice::new(request)])?;
    shutdown(&server, Shutdown::Write)?;
    receive_all(&server, reply)
}

fn receive_all(socket: &OwnedFd, message: &mut Vec<u8>) -> io::Result<()> {
    message.clear();
    loop {
        let [first, later] = READS;
        message.reserve(if message.is_empty() { first } else { later });
        if recv(socket, spare_capacity(message), RecvFlags::empty())?.0 == 0 {
            return Ok(());
        }
    }
}
