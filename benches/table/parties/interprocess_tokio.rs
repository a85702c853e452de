//! The crate `interprocess` on Tokio, as its examples use it: a task for each connection.

use std::io;
use std::time::Instant;

use interprocess::local_socket::ListenerOptions;
use interprocess::local_socket::tokio::{Stream, prelude::*};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::runtime::{Builder, Runtime};
use tokio_util::bytes::Buf;

use super::interprocess::{begin, length, name};
use crate::support::floor::READS;
use crate::support::load::{Answer, Conversation, Load, Work, answer};
use crate::support::party::Party;

pub(crate) static INTERPROCESS_TOKIO: Party = Party {
    name: "interprocess tokio",
    serve: |path, _, ready| {
        Runtime::new()?.block_on(async {
            let listener = ListenerOptions::new().name(name(path)?).create_tokio()?;
            ready();
            loop {
                let mut stream = listener.accept().await?;
                tokio::spawn(async move { exchange(&mut stream).await });
            }
        })
    },
    client: |path| {
        let path = path.to_path_buf();
        let alone = Builder::new_current_thread().enable_all().build()?;
        let many = Runtime::new()?;
        let talk = async move |load: Load, count: usize| {
            let mut conversation = Conversation::new(load);
            for k in 0..count {
                let (request, reply) = conversation.begin(k);
                let mut stream = Stream::connect(name(&path)?).await?;
                send(&mut stream, request).await?;
                receive(&mut stream, reply).await?;
                conversation.end()?;
            }
            io::Result::Ok(())
        };
        let talk = std::sync::Arc::new(talk);
        Ok(Box::new(move |&Work { load, clients, count }| {
            let start = Instant::now();
            if clients == 1 {
                alone.block_on(talk(load, count))?;
            } else {
                many.block_on(async {
                    let start_one = |_| {
                        let talk = talk.clone();
                        tokio::spawn(async move { talk(load, count).await })
                    };
                    for client in (0..clients).map(start_one).collect::<Vec<_>>() {
                        client.await.map_err(io::Error::other)??;
                    }
                    io::Result::Ok(())
                })?;
            }
            Ok(start.elapsed())
        }))
    },
};

async fn exchange(stream: &mut Stream) -> io::Result<()> {
    let mut message = Vec::new();
    receive(stream, &mut message).await?;
    match answer(&message) {
        Answer::Short(bytes) => send(stream, &bytes).await,
        Answer::Long(bytes) => send(stream, bytes).await,
        Answer::Lines(lines) => {
            let mut stream = BufWriter::with_capacity(READS[1], stream);
            stream.write_all(&length(lines.as_flattened())).await?;
            for line in lines {
                stream.write_all(line).await?;
            }
            stream.flush().await
        }
    }
}

async fn send(stream: &mut Stream, message: &[u8]) -> io::Result<()> {
    stream.write_all_buf(&mut Buf::chain(&length(message)[..], message)).await
}

async fn receive(stream: &mut Stream, message: &mut Vec<u8>) -> io::Result<()> {
    let mut first = [0; READS[0]];
    let mut received = 0;
    while received < length(&[]).len() {
        match stream.read(&mut first[received..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => received += more,
        }
    }
    let rest = begin(&first[..received], message)?;
    match stream.take(rest).read_to_end(message).await? as u64 == rest {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
