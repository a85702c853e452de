//! What is particular to Windows: pipes, their names and their ends. What every system has in
//! common is in the conformance suite.
#![cfg(windows)]
#![cfg(feature = "blocking")]

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use simple_ipc::blocking::{Client, Running, Server};
use simple_ipc::connect::State;
use simple_ipc::endpoint::{Access, BindOptions};
use simple_ipc::pipe_name::PipeName;
use simple_ipc::{ErrorKind, endpoint};

#[path = "windows_pipes/on_demand.rs"]
mod on_demand;

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("simple-ipc-{}-{test}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("app.ipc")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Fails the test in place of waiting for ever.
fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    match is_done.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it takes too long"),
        _ => thread.join().unwrap(),
    }
}

/// A server that answers with what it was asked.
fn echo(path: &Path) -> Running {
    Server::bind(path)
        .unwrap()
        .serve(|request, reply| reply.finish_with(request.into_bytes()))
        .unwrap()
}

/// The pipe of `path`, as a file: what any program may open.
fn open(path: &Path) -> io::Result<fs::File> {
    let path = path.parent().unwrap().canonicalize().unwrap().join(path.file_name().unwrap());
    let units: Vec<u16> = path.to_str().unwrap().encode_utf16().collect();
    let name = PipeName::of(&units).unwrap().to_string();
    fs::File::options().read(true).write(true).open(name)
}

#[test]
fn an_exchange() {
    bounded(|| {
        let folder = Folder::new("exchange");
        let running = echo(&folder.path());
        let client = Client::new(folder.path());
        for request in [b"".to_vec(), b"ping".to_vec(), vec![b'x'; 70_000], vec![b'y'; 3_000_000]] {
            assert!(client.call(&request).unwrap() == request, "{} bytes", request.len());
        }
        running.stop();
        running.join().unwrap();
        assert_eq!(client.state(), State::NotFound);
    });
}

#[test]
fn another_program_and_its_bytes() {
    bounded(|| {
        let folder = Folder::new("bytes");
        let running = echo(&folder.path());
        let mut pipe = open(&folder.path()).unwrap();
        // As git writes: header, payload and flush are messages of their own.
        for piece in [&b"0008"[..], b"ping", b"0000"] {
            pipe.write_all(piece).unwrap();
        }
        let mut answer = [0; 12];
        pipe.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"0008ping0000");
        // The server closes: the end of the stream, whichever way the system says it.
        match pipe.read(&mut answer) {
            Ok(0) => {}
            Err(error) => assert!(matches!(error.raw_os_error(), Some(109 | 233)), "{error}"),
            Ok(n) => panic!("{n} bytes more"),
        }
        running.stop();
        running.join().unwrap();
    });
}

#[test]
fn the_end_of_an_answer_reaches_a_slow_reader_after_the_server_is_gone() {
    bounded(|| {
        let folder = Folder::new("slow");
        for len in [10, 60_000, 500_000] {
            let running = Server::bind(folder.path())
                .unwrap()
                .serve(move |_, reply| reply.finish_with(vec![b'z'; len]))
                .unwrap();
            let mut pipe = open(&folder.path()).unwrap();
            pipe.write_all(b"0005x0000").unwrap();
            let mut answer = Vec::new();
            if len > 60_000 {
                // More than the pipe holds: the server waits until the rest fits.
                let mut some = vec![0; len - 30_000];
                pipe.read_exact(&mut some).unwrap();
                answer.extend(some);
            }
            running.stop();
            // The server has ended, and with it the connection; nobody has read the rest.
            running.join().unwrap();
            let mut rest = Vec::new();
            match pipe.read_to_end(&mut rest) {
                Ok(_) => {}
                Err(error) => assert!(matches!(error.raw_os_error(), Some(109 | 233)), "{error}"),
            }
            answer.extend(rest);
            assert!(answer.ends_with(b"0000"), "{len}: {} bytes", answer.len());
            let packets = len.div_ceil(65516);
            assert_eq!(answer.len(), len + 4 * packets + 4);
        }
    });
}

#[test]
fn silent_clients_lock_nobody_out() {
    bounded(|| {
        let folder = Folder::new("silent");
        let running = Server::bind(folder.path())
            .unwrap()
            .exchanges(2)
            .serve(|request, reply| reply.finish_with(request.into_bytes()))
            .unwrap();
        let client = Client::new(folder.path());
        let mut silent: Vec<_> = (0..40).map(|_| client.connect().unwrap()).collect();
        assert_eq!(client.call("ping").unwrap(), b"ping");
        // They are served when they speak after all.
        for connection in silent.drain(..20) {
            assert_eq!(connection.call("late").unwrap(), b"late");
        }
        running.stop();
        running.join().unwrap();
        drop(silent);
    });
}

#[test]
fn many_clients_of_one_worker() {
    bounded(|| {
        let folder = Folder::new("many");
        let running = Server::bind(folder.path())
            .unwrap()
            .exchanges(1)
            .serve(|request, reply| reply.finish_with(request.into_bytes()))
            .unwrap();
        thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let client = Client::new(folder.path());
                    let request = vec![b'r'; 70_000];
                    for _ in 0..5 {
                        assert!(client.call(&request).unwrap() == request);
                    }
                });
            }
        });
        running.stop();
        running.join().unwrap();
    });
}

#[test]
fn whoever_may_connect_its_own_user_may() {
    bounded(|| {
        let folder = Folder::new("access");
        for access in [Access::Owner, Access::Group, Access::Everyone] {
            let options = BindOptions::new().access(access);
            let running = Server::bind_with(folder.path(), &options)
                .unwrap()
                .serve(|request, reply| reply.finish_with(request.into_bytes()))
                .unwrap();
            assert_eq!(Client::new(folder.path()).call("x").unwrap(), b"x", "{access:?}");
            running.stop();
            running.join().unwrap();
        }
    });
}

#[test]
fn the_runtime_folder_is_ours_or_an_error() {
    bounded(|| {
        let app = format!("simple-ipc-{}", std::process::id());
        let folder = endpoint::runtime_folder(&app).unwrap();
        assert_eq!(folder, endpoint::runtime_folder(&app).unwrap());
        let local = PathBuf::from(std::env::var_os("LOCALAPPDATA").unwrap());
        assert_eq!(folder, local.join(&app));
        drop(Server::bind(folder.join("app.ipc")).unwrap());
        fs::remove_dir(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        let error = endpoint::runtime_folder(&app).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        fs::remove_file(&folder).unwrap();
        for app in ["", "..", r"a\b", "a/b", "c:", "nul"] {
            let error = endpoint::runtime_folder(app).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn nothing_there() {
    let folder = Folder::new("nothing");
    let path = folder.path();
    assert_eq!(endpoint::state(&path), State::NotFound);
    let error = Client::new(&path).call("x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Endpoint(State::NotFound));
    // Without its folder, a path can never be an endpoint.
    let nowhere = folder.0.join("missing").join("app.ipc");
    assert_eq!(endpoint::state(&nowhere), State::Invalid);
    let error = Server::bind(&nowhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Endpoint(State::Invalid));
    let too_long = folder.0.join("x".repeat(250));
    assert_eq!(endpoint::state(&too_long), State::Invalid);
}

#[test]
fn a_place_is_taken_once() {
    bounded(|| {
        let folder = Folder::new("taken");
        let server = Server::bind(folder.path()).unwrap();
        let error = Server::bind(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        // Windows does not tell upper case from lower case.
        assert_eq!(endpoint::state(folder.0.join("APP.ipc")), State::Listening);
        drop(server);
        assert_eq!(endpoint::state(folder.path()), State::NotFound);
        drop(Server::bind(folder.path()).unwrap());
    });
}

#[test]
fn a_client_that_connects_before_the_server_serves_is_served() {
    bounded(|| {
        let folder = Folder::new("before");
        let server = Server::bind(folder.path()).unwrap();
        let connections: Vec<_> =
            (0..10).map(|_| Client::new(folder.path()).connect().unwrap()).collect();
        let running =
            server.serve(|request, reply| reply.finish_with(request.into_bytes())).unwrap();
        for connection in connections {
            assert_eq!(connection.call("early").unwrap(), b"early");
        }
        running.stop();
        running.join().unwrap();
    });
}

#[test]
fn an_answer_given_up_is_truncated_whatever_was_sent() {
    bounded(|| {
        let folder = Folder::new("given-up");
        let running = Server::bind(folder.path())
            .unwrap()
            .serve(|_, mut reply| {
                reply.write_all(b"some")?;
                reply.flush()?;
                Err(io::Error::other("no more"))
            })
            .unwrap();
        let error = Client::new(folder.path()).call("x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        running.stop();
        running.join().unwrap();
    });
}

#[test]
fn who_is_stuck_is_hung_up_on_at_the_drain_deadline() {
    bounded(|| {
        let folder = Folder::new("stuck");
        let (begun, has_begun) = mpsc::channel();
        let (end, may_end) = mpsc::channel::<()>();
        let may_end = std::sync::Mutex::new(may_end);
        let running = Server::bind(folder.path())
            .unwrap()
            .drain_deadline(Duration::from_millis(50))
            .serve(move |_, reply| {
                begun.send(()).unwrap();
                let _ = may_end.lock().unwrap().recv();
                reply.finish()
            })
            .unwrap();
        let client = Client::new(folder.path());
        let caller = thread::spawn(move || client.call("x").unwrap_err().kind());
        has_begun.recv().unwrap();
        running.stop();
        assert_eq!(running.join().unwrap().aborted, 1);
        // The handler still holds its reply.
        assert_eq!(caller.join().unwrap(), ErrorKind::NoAnswer);
        drop(end);
    });
}

#[test]
fn whoever_reads_nothing_is_given_up_in_time() {
    bounded(|| {
        let folder = Folder::new("reads-nothing");
        let (report, reported) = mpsc::channel();
        let running = Server::bind(folder.path())
            .unwrap()
            .send_deadline(Duration::from_millis(100))
            .on_error(move |error| report.send(error.kind()).unwrap())
            .serve(|_, reply| reply.finish_with(vec![0; 10_000_000]))
            .unwrap();
        let mut pipe = open(&folder.path()).unwrap();
        pipe.write_all(b"0005x0000").unwrap();
        assert_eq!(reported.recv().unwrap(), ErrorKind::Deadline(Duration::from_millis(100)));
        running.stop();
        running.join().unwrap();
    });
}

#[test]
fn a_server_that_takes_nothing_is_given_up_in_time() {
    bounded(|| {
        let folder = Folder::new("takes-nothing");
        let server = Server::bind(folder.path()).unwrap();
        let client = Client::new(folder.path())
            .send_deadline(Duration::from_millis(100))
            .wait_deadline(Duration::from_millis(100));
        let error = client.call(vec![0; 10_000_000]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline(Duration::from_millis(100)));
        let error = client.call("x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline(Duration::from_millis(100)));
        drop(server);
    });
}

#[test]
fn a_busy_server_is_waited_for() {
    bounded(|| {
        let folder = Folder::new("busy");
        let server = Server::bind(folder.path()).unwrap();
        let client = Client::new(folder.path()).wait_if_busy(Duration::ZERO);
        let mut connections = Vec::new();
        let error = loop {
            match client.connect() {
                Ok(connection) => connections.push(connection),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert_eq!(client.state(), State::Listening);
        let patient = Client::new(folder.path());
        let caller = thread::spawn(move || patient.call("patience"));
        let running =
            server.serve(|request, reply| reply.finish_with(request.into_bytes())).unwrap();
        assert_eq!(caller.join().unwrap().unwrap(), b"patience");
        running.stop();
        running.join().unwrap();
        drop(connections);
    });
}

#[test]
fn a_handler_notices_that_its_client_left() {
    bounded(|| {
        let folder = Folder::new("left");
        let (begun, has_begun) = mpsc::channel();
        let running = Server::bind(folder.path())
            .unwrap()
            .serve(move |_, reply| {
                begun.send(()).unwrap();
                while !reply.client_has_left() {
                    thread::yield_now();
                }
                reply.finish()
            })
            .unwrap();
        let answer = Client::new(folder.path()).connect().unwrap().send("x").unwrap();
        has_begun.recv().unwrap();
        drop(answer);
        running.stop();
        running.join().unwrap();
    });
}

/// Every client with every server: pipes are waited for in another way than sockets are, and by
/// each runtime in its own.
#[cfg(all(feature = "smol", feature = "tokio"))]
mod every_runtime {
    use std::future::Future;
    use std::sync::Arc;

    use simple_ipc::Phase;
    use simple_ipc::client::Delivery;
    use simple_ipc::endpoint::{Credentials, User};

    use super::*;

    fn tokio() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    type Call = Arc<dyn Fn(&Path, &[u8]) -> Vec<u8> + Send + Sync>;

    fn clients() -> [(&'static str, Call); 3] {
        let runtime = tokio();
        [
            ("blocking", Arc::new(|path, request| Client::new(path).call(request).unwrap())),
            (
                "tokio",
                Arc::new(move |path, request| {
                    let client = simple_ipc::tokio::Client::new(path);
                    runtime.block_on(client.call(request)).unwrap()
                }),
            ),
            (
                "smol",
                Arc::new(|path, request| {
                    smol::block_on(simple_ipc::smol::Client::new(path).call(request)).unwrap()
                }),
            ),
        ]
    }

    /// Runs `test` while a server of each runtime echoes, and stops it.
    fn with_every_server(test: impl Fn(&str, &Path)) {
        let folder = Folder::new("every-runtime");
        let path = &folder.path();

        let running = echo(path);
        test("blocking", path);
        running.stop();
        running.join().unwrap();

        let runtime = tokio();
        let running = runtime.block_on(async {
            let server = simple_ipc::tokio::Server::bind(path).unwrap();
            server
                .serve(|request, reply| async move { reply.finish_with(&*request).await })
                .unwrap()
        });
        test("tokio", path);
        running.stop();
        runtime.block_on(running.join()).unwrap();
        drop(runtime);

        let server = simple_ipc::smol::Server::bind(path).unwrap();
        let running = server
            .serve(|request, reply| async move { reply.finish_with(&*request).await })
            .unwrap();
        test("smol", path);
        running.stop();
        smol::block_on(running.join()).unwrap();
        assert_eq!(endpoint::state(path), State::NotFound);
    }

    #[test]
    fn exchanges() {
        bounded(|| {
            let clients = clients();
            with_every_server(|server, path| {
                for (client, call) in &clients {
                    for len in [0, 4, 70_000, 3_000_000] {
                        let request = vec![b'x'; len];
                        assert!(call(path, &request) == request, "{client} at {server}: {len}");
                    }
                }
            });
        });
    }

    #[test]
    fn many_clients_at_once() {
        bounded(|| {
            let clients = clients();
            with_every_server(|server, path| {
                thread::scope(|scope| {
                    for (client, call) in &clients {
                        for _ in 0..8 {
                            scope.spawn(move || {
                                for _ in 0..20 {
                                    let request = vec![b'x'; 70_000];
                                    assert!(
                                        call(path, &request) == request,
                                        "{client} at {server}"
                                    );
                                }
                            });
                        }
                    }
                });
            });
        });
    }

    #[test]
    fn silent_clients() {
        bounded(|| {
            let clients = clients();
            with_every_server(|server, path| {
                let silent = Client::new(path);
                let silent: Vec<_> = (0..80).map(|_| silent.connect().unwrap()).collect();
                for (client, call) in &clients {
                    assert_eq!(call(path, b"ping"), b"ping", "{client} at {server}");
                }
                for connection in silent {
                    assert_eq!(connection.call("late").unwrap(), b"late", "{server}");
                }
            });
        });
    }

    type Allow = fn(&Credentials) -> bool;
    type Stop = Box<dyn FnOnce()>;

    /// Servers of each runtime in turn, which tell their clients who they are and their test what
    /// went wrong; and how to stop them.
    fn introducing(
        path: &Path,
        allow: Allow,
    ) -> [Box<dyn FnOnce(mpsc::Sender<ErrorKind>) -> Stop>; 3] {
        fn introduce(peer: io::Result<Credentials>) -> io::Result<String> {
            let peer = peer?;
            Ok(format!("{} {}", peer.user(), peer.pid.unwrap()))
        }
        macro_rules! server {
            ($runtime:ident, $path:expr, $report:expr) => {
                simple_ipc::$runtime::Server::bind($path)
                    .unwrap()
                    .allow(allow)
                    .on_error(move |error| $report.send(error.kind()).unwrap())
            };
        }
        macro_rules! handler {
            () => {
                |_, reply| async move {
                    let introduced = introduce(reply.peer())?;
                    reply.finish_with(introduced).await
                }
            };
        }
        let paths = [path.to_path_buf(), path.to_path_buf(), path.to_path_buf()];
        let [blocking, on_tokio, on_smol] = paths;
        [
            Box::new(move |report| {
                let running = server!(blocking, blocking, report)
                    .serve(|_, reply| {
                        let introduced = introduce(reply.peer())?;
                        reply.finish_with(introduced)
                    })
                    .unwrap();
                Box::new(move || {
                    running.stop();
                    running.join().unwrap();
                })
            }),
            Box::new(move |report| {
                let runtime = tokio();
                let running = runtime
                    .block_on(async { server!(tokio, on_tokio, report).serve(handler!()) })
                    .unwrap();
                Box::new(move || {
                    running.stop();
                    runtime.block_on(running.join()).unwrap();
                })
            }),
            Box::new(move |report| {
                let running = server!(smol, on_smol, report).serve(handler!()).unwrap();
                Box::new(move || {
                    running.stop();
                    smol::block_on(running.join()).unwrap();
                })
            }),
        ]
    }

    #[test]
    fn a_handler_learns_who_asks() {
        bounded(|| {
            let folder = Folder::new("who");
            let path = &folder.path();
            let me = format!("{} {}", User::current().unwrap(), std::process::id());
            assert!(me.starts_with("S-1-5-21-"), "{me}");
            for start in introducing(path, Credentials::is_same_user) {
                let (report, reported) = mpsc::channel();
                let stop = start(report);
                for (client, call) in &clients() {
                    assert_eq!(call(path, b"who am I?"), me.as_bytes(), "{client}");
                    assert_eq!(call(path, &[0; 500_000]), me.as_bytes(), "{client}");
                }
                stop();
                assert!(reported.recv().is_err());
            }
        });
    }

    #[test]
    fn whoever_is_not_allowed_is_hung_up_on_when_he_speaks() {
        bounded(|| {
            let folder = Folder::new("allowed");
            let path = &folder.path();
            for start in introducing(path, |peer| !peer.is_same_user()) {
                let (report, reported) = mpsc::channel();
                let stop = start(report);
                let mut pipe = open(path).unwrap();
                // Much less than a request.
                pipe.write_all(b"0").unwrap();
                assert_eq!(reported.recv().unwrap(), ErrorKind::Untrusted);
                match pipe.read(&mut [0]) {
                    Ok(0) => {}
                    Err(error) => {
                        assert!(matches!(error.raw_os_error(), Some(109 | 233)), "{error}")
                    }
                    Ok(_) => panic!("an answer"),
                }
                let error = Client::new(path).call("x").unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::NoAnswer | ErrorKind::HungUp), "{error}");
                stop();
            }
        });
    }

    #[test]
    fn a_client_can_require_whose_the_server_is_before_it_sends_a_byte() {
        bounded(|| {
            let system: User = "S-1-5-18".parse().unwrap();
            let me = User::current().unwrap();
            let runtime = tokio();
            with_every_server(|server, path| {
                let client = Client::new(path);
                assert_eq!(client.clone().require_owner(me).call("x").unwrap(), b"x", "{server}");
                let on_tokio = simple_ipc::tokio::Client::new(path).require_owner(system);
                let on_smol = simple_ipc::smol::Client::new(path).require_owner(system);
                for result in [
                    client.require_owner(system).call("x"),
                    runtime.block_on(on_tokio.call("x")),
                    smol::block_on(on_smol.call("x")),
                ] {
                    let error = result.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Untrusted, "{server}");
                    assert_eq!(error.phase(), Phase::Connect);
                    assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
                }
            });
        });
    }

    /// The handler awaits that its client leaves; the client leaves.
    #[test]
    fn leaving_is_heard_of() {
        fn leave(path: &Path, has_begun: &mpsc::Receiver<()>) {
            let answer = Client::new(path).connect().unwrap().send("x").unwrap();
            has_begun.recv().unwrap();
            drop(answer);
        }

        bounded(|| {
            let folder = Folder::new("leaving");
            let path = &folder.path();
            let (begun, has_begun) = mpsc::channel();

            let runtime = tokio();
            let tell = begun.clone();
            let running = runtime.block_on(async {
                simple_ipc::tokio::Server::bind(path)
                    .unwrap()
                    .serve(move |_, reply| {
                        tell.send(()).unwrap();
                        async move {
                            reply.client_left().await;
                            reply.finish().await
                        }
                    })
                    .unwrap()
            });
            leave(path, &has_begun);
            running.stop();
            runtime.block_on(running.join()).unwrap();

            let running = simple_ipc::smol::Server::bind(path)
                .unwrap()
                .serve(move |_, reply| {
                    begun.send(()).unwrap();
                    async move {
                        reply.client_left().await;
                        reply.finish().await
                    }
                })
                .unwrap();
            leave(path, &has_begun);
            running.stop();
            smol::block_on(running.join()).unwrap();
        });
    }

    /// A client that is given up in the middle of sending leaves nothing behind.
    #[test]
    fn a_call_that_is_dropped() {
        bounded(|| {
            let folder = Folder::new("dropped");
            let server = Server::bind(folder.path()).unwrap();
            // Nobody accepts, so all of these wait for room.
            let runtime = tokio();
            runtime.block_on(async {
                let client = simple_ipc::tokio::Client::new(folder.path());
                for _ in 0..4 {
                    let call = client.call(vec![0; 1_000_000]);
                    assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
                }
            });
            let client = simple_ipc::smol::Client::new(folder.path());
            for _ in 0..4 {
                let mut call = Box::pin(client.call(vec![0; 1_000_000]));
                smol::block_on(async {
                    let waker = std::task::Waker::noop();
                    let mut cx = std::task::Context::from_waker(waker);
                    assert!(call.as_mut().poll(&mut cx).is_pending());
                });
            }
            let running =
                server.serve(|request, reply| reply.finish_with(request.into_bytes())).unwrap();
            assert_eq!(Client::new(folder.path()).call("after").unwrap(), b"after");
            running.stop();
            running.join().unwrap();
        });
    }
}
