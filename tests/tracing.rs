//! What `tracing` is told, by every runtime alike.
#![cfg(all(
    any(unix, windows),
    feature = "blocking",
    feature = "smol",
    feature = "tokio",
    feature = "tracing"
))]

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use simple_ipc::Error;
use tracing::level_filters::LevelFilter;

/// What has been told.
static TOLD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Told;

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TOLD.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A place for a server. From now on, everything is told.
fn place(name: &str) -> PathBuf {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        let told = tracing_subscriber::fmt().without_time().with_ansi(false);
        told.with_max_level(LevelFilter::TRACE).with_writer(|| Told).init();
    });
    env::temp_dir().join(format!("simple-ipc-tracing-{}-{name}", std::process::id()))
}

/// Looks for what a server and its clients must have told.
#[track_caller]
fn look(path: &Path) {
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let told = String::from_utf8(told).unwrap();
    let path = path.display();
    let mut lines =
        told.lines().map(str::trim_start).filter(|line| line.contains(&format!("path={path}")));
    for expected in [
        format!("DEBUG simple_ipc: not connected path={path} refusal=Not(NotFound) next=GiveUp"),
        format!("INFO simple_ipc: serving path={path}"),
        format!("DEBUG simple_ipc: connected path={path}"),
        format!("INFO exchange{{path={path} request_bytes=5}}: tracing: at work"),
        format!("WARN exchange{{path={path} request_bytes=9}}: simple_ipc: not served"),
        format!("INFO simple_ipc: stopping path={path} reason=Asked"),
        format!("INFO simple_ipc: ended path={path} reason=Asked aborted=0"),
    ] {
        // In this order, with others between them.
        let found = lines.any(|line| line.starts_with(&expected));
        assert!(found, "no {expected:?} (after those before it) in:\n{told}");
    }
}

#[test]
fn blocking() {
    let path = place("blocking");
    let client = simple_ipc::blocking::Client::new(&path);
    client.call("hello").unwrap_err();
    let server = simple_ipc::blocking::Server::bind(&path).unwrap();
    let running = server
        .serve(|request, reply| {
            tracing::info!("at work");
            match &*request {
                b"hello" => reply.finish_with("hello"),
                _ => Err(io::Error::other("not that")),
            }
        })
        .unwrap();
    client.call("hello").unwrap();
    client.call("something").unwrap_err();
    running.stop();
    running.join().unwrap();
    look(&path);
}

#[test]
fn smol() {
    let path = place("smol");
    ::smol::block_on(async {
        let client = simple_ipc::smol::Client::new(&path);
        client.call("hello").await.unwrap_err();
        let server = simple_ipc::smol::Server::bind(&path)?;
        let running = server.serve(|request, reply| async move {
            // Polled once more, where the span must be entered again.
            ::smol::future::yield_now().await;
            tracing::info!("at work");
            match &*request {
                b"hello" => reply.finish_with("hello").await,
                _ => Err(io::Error::other("not that")),
            }
        })?;
        client.call("hello").await?;
        client.call("something").await.unwrap_err();
        running.stop();
        running.join().await?;
        Ok::<_, Error>(())
    })
    .unwrap();
    look(&path);
}

#[test]
fn tokio() {
    let path = place("tokio");
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(async {
            let client = simple_ipc::tokio::Client::new(&path);
            client.call("hello").await.unwrap_err();
            let server = simple_ipc::tokio::Server::bind(&path)?;
            let running = server.serve(|request, reply| async move {
                // Polled once more, where the span must be entered again.
                ::tokio::task::yield_now().await;
                tracing::info!("at work");
                match &*request {
                    b"hello" => reply.finish_with("hello").await,
                    _ => Err(io::Error::other("not that")),
                }
            })?;
            client.call("hello").await?;
            client.call("something").await.unwrap_err();
            running.stop();
            running.join().await?;
            Ok::<_, Error>(())
        })
        .unwrap();
    look(&path);
}
