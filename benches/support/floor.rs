//! The raw floor: an exchange in plain system calls, with nothing that it could do without. Four
//! calls on the server (accept, receive, send, close), five on the client.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, accept_with, bind, connect, listen, recv, sendmsg, socket_with,
};

use super::load::{Answer, answer, converse};
use super::party::Party;

/// Requests and answers that fit into one packet.
pub(crate) static PACKETS: Party = Party {
    name: "raw floor",
    serve: |path, threads, ready| serve(path, threads, ready, exchange),
    client: |path| {
        let address = SocketAddrUnix::new(path)?;
        Ok(Box::new(move |work| converse(work, |request, reply| ask(&address, request, reply))))
    },
};

/// The first read of a message; the later ones.
pub(crate) const READS: [usize; 2] = [4096, 65536];

pub(crate) fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

pub(crate) fn serve(
    path: &Path,
    threads: usize,
    ready: &dyn Fn(),
    exchange: fn(&OwnedFd) -> io::Result<()>,
) -> io::Result<()> {
    let listener = socket()?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    listen(&listener, 4096)?;
    let listener = Arc::new(listener);
    for _ in 1..threads {
        let listener = listener.clone();
        std::thread::spawn(move || accept_for_ever(&listener, exchange));
    }
    ready();
    accept_for_ever(&listener, exchange)
}

fn accept_for_ever(listener: &OwnedFd, exchange: fn(&OwnedFd) -> io::Result<()>) -> io::Result<()> {
    loop {
        let client = accept_with(listener, SocketFlags::CLOEXEC)?;
        // A client that went wrong concerns nobody else.
        let _ = exchange(&client);
    }
}

fn exchange(client: &OwnedFd) -> io::Result<()> {
    let mut message = Vec::new();
    if !receive_packet(client, &mut message)? {
        return Ok(());
    }
    match answer(&message) {
        Answer::Short(bytes) => send(client, &mut frame(&bytes)),
        Answer::Long(_) | Answer::Lines(_) => Err(too_long()),
    }
}

fn ask(address: &SocketAddrUnix, request: &[u8], reply: &mut Vec<u8>) -> io::Result<()> {
    let server = socket()?;
    connect(&server, address)?;
    send(&server, &mut frame(request))?;
    if receive_packet(&server, reply)? { Ok(()) } else { Err(too_short()) }
}

/// Header, payload and flush packet.
pub(crate) fn frame(payload: &[u8]) -> [IoSlice<'_>; 3] {
    [IoSlice::new(header(payload.len() + 4)), IoSlice::new(payload), IoSlice::new(b"0000")]
}

/// Headers of small packets, ready made.
fn header(len: usize) -> &'static [u8; 4] {
    static HEADERS: std::sync::OnceLock<Vec<[u8; 4]>> = std::sync::OnceLock::new();
    let make = |len| format!("{len:04x}").into_bytes().try_into().expect("four digits");
    &HEADERS.get_or_init(|| (0..READS[0]).map(make).collect())[len]
}

/// Whether `wire` is all of a message of one packet, or how many bytes it will be at least.
pub(crate) fn is_whole(wire: &[u8]) -> io::Result<bool> {
    let Some(header) = wire.first_chunk::<4>() else { return Ok(false) };
    let digits = std::str::from_utf8(header).map_err(io::Error::other)?;
    let len = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
    Ok(wire.len() >= len + 4)
}

pub(crate) fn send(socket: &OwnedFd, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        let mut nothing = SendAncillaryBuffer::default();
        let sent = sendmsg(socket, slices, &mut nothing, SendFlags::NOSIGNAL)?;
        IoSlice::advance_slices(&mut slices, sent);
    }
    Ok(())
}

/// `false`: the peer hung up without a word.
fn receive_packet(socket: &OwnedFd, message: &mut Vec<u8>) -> io::Result<bool> {
    message.clear();
    message.reserve(READS[0]);
    loop {
        let (received, _) = recv(socket, spare_capacity(message), RecvFlags::empty())?;
        if received == 0 {
            return if message.is_empty() { Ok(false) } else { Err(too_short()) };
        }
        if is_whole(message)? {
            message.truncate(message.len() - 4);
            message.drain(..4);
            return Ok(true);
        }
        if message.capacity() == message.len() {
            return Err(too_long());
        }
    }
}

fn too_long() -> io::Error {
    io::Error::other("the floor has small packets only")
}

fn too_short() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
