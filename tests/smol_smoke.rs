//! The smol runtime, used as an application would use it.
#![cfg(all(any(unix, windows), feature = "smol"))]

mod raw_end;

use std::cell::Cell;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use raw_end::{Stream, read_to_end};
use simple_ipc::client::Delivery;
use simple_ipc::endpoint::{State, state};
use simple_ipc::lifecycle::Reason;
use simple_ipc::smol::{Client, Finished, LocalTask, Reply, Request, RequestReader, Server, Task};
use simple_ipc::{Error, ErrorKind, Phase};
use smol::future::{self, FutureExt as _};
use smol::io::{AsyncReadExt as _, AsyncWriteExt};
use smol::{Executor, LocalExecutor, Timer};

/// A path that is free, in a folder that goes when it is dropped.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("simple-ipc-smol-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // Process ids come again, and one that was killed has left its folder.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("app.ipc")
    }

    fn server(&self) -> Server {
        Server::bind(self.path()).unwrap()
    }

    fn client(&self) -> Client {
        Client::new(self.path())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs a test, which must not take long.
fn within_a_minute(test: impl Future<Output = ()>) {
    smol::block_on(test.or(async {
        Timer::after(Duration::from_secs(60)).await;
        panic!("a minute is over");
    }));
}

async fn pause(millis: u64) {
    Timer::after(Duration::from_millis(millis)).await;
}

async fn echo(request: Request, reply: Reply) -> io::Result<Finished> {
    reply.finish_with(&*request).await
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7 % 251) as u8).collect()
}

#[test]
fn ping_and_end() {
    let place = Place::new();
    within_a_minute(async {
        let running = place.server().serve(echo).unwrap();
        for message in [&b""[..], b"ping", b"0000"] {
            assert_eq!(place.client().call(message).await.unwrap(), message);
        }
        running.stop();
        let ending = running.join().await.unwrap();
        assert_eq!((ending.reason, ending.aborted), (Reason::Asked, 0));
        assert_eq!(state(place.path()), State::NotFound);
        let error = place.client().call("ping").await.unwrap_err();
        assert_eq!(error.phase(), Phase::Connect);
        assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
    });
}

#[test]
fn a_megabyte_each_way() {
    let place = Place::new();
    let message = pattern(1_000_000);
    within_a_minute(async {
        let running = place.server().serve(echo).unwrap();
        let mut answer = b"what was here before".to_vec();
        for _ in 0..3 {
            place.client().call_into(&message, &mut answer).await.unwrap();
            assert!(answer == message);
        }
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn streaming_both_ways() {
    let place = Place::new();
    let message = pattern(3_000_000);
    within_a_minute(async {
        // Each chunk comes back as it arrives.
        let server =
            place.server().serve_streaming(async |mut request: RequestReader, mut reply: Reply| {
                let mut buffer = vec![0; 10_000];
                loop {
                    let n = request.read(&mut buffer).await?;
                    if n == 0 {
                        return reply.finish().await;
                    }
                    AsyncWriteExt::write_all(&mut reply, &buffer[..n]).await?;
                    reply.flush().await?;
                }
            });
        let running = server.unwrap();
        let (mut request, mut answer) =
            place.client().connect().await.unwrap().request().split().unwrap();
        let write = async {
            for chunk in message.chunks(77_777) {
                request.write_all(chunk).await.unwrap();
            }
            AsyncWriteExt::write_all(&mut request, b"the end").await.unwrap();
            request.finish().await.unwrap();
        };
        let mut read = Vec::new();
        future::zip(write, async { answer.read_to_end(&mut read).await.unwrap() }).await;
        assert!(read.strip_suffix(b"the end").unwrap() == message);

        // One byte is enough for the handler to begin; the answer is there before the request
        // is whole.
        let (mut request, mut answer) =
            place.client().connect().await.unwrap().request().split().unwrap();
        request.write_all(b"a").await.unwrap();
        request.flush().await.unwrap();
        let mut first = [0];
        answer.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"a");
        request.finish().await.unwrap();
        assert_eq!(answer.read_all().await.unwrap(), b"");
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn stopping_lets_exchanges_end() {
    let place = Place::new();
    within_a_minute(async {
        let running = place
            .server()
            .exchanges(1)
            .serve(async |request: Request, reply: Reply| {
                pause(200).await;
                reply.finish_with(&*request).await
            })
            .unwrap();
        let client = place.client();
        let first = smol::spawn({
            let client = client.clone();
            async move { client.call("first").await }
        });
        pause(50).await;
        // In the backlog when the server stops.
        let second = client.connect().await.unwrap().send("second").await.unwrap();
        let silent = client.connect().await.unwrap();
        running.stop();
        let ending = running.join().await.unwrap();
        assert_eq!(ending.aborted, 0);
        assert_eq!(first.await.unwrap(), b"first");
        assert_eq!(second.read_all().await.unwrap(), b"second");
        let error = silent.call("too late").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HungUp);
        assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
    });
}

#[test]
fn what_does_not_end_is_aborted() {
    let place = Place::new();
    within_a_minute(async {
        let dropped = Arc::new(());
        let held = Arc::downgrade(&dropped);
        let server = place.server().exchanges(1).drain_deadline(Duration::from_millis(100));
        let running = server
            .serve(move |_, mut reply| {
                let dropped = dropped.clone();
                async move {
                    reply.write_all(b"half").await?;
                    reply.flush().await?;
                    future::pending::<()>().await;
                    drop(dropped);
                    reply.finish().await
                }
            })
            .unwrap();
        let answer = place.client().connect().await.unwrap().send("x").await.unwrap();
        pause(50).await;
        running.stop();
        let ending = running.join().await.unwrap();
        assert_eq!(ending.aborted, 1);
        let error = answer.read_all().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        // Nobody holds the handler or its futures any more.
        pause(50).await;
        assert_eq!(held.strong_count(), 0);
    });
}

/// Somebody else has the folder's lock, so the path cannot be given up: nobody waits for that but
/// whoever joins.
#[cfg(unix)]
#[test]
fn an_end_is_announced_when_the_path_is_given_up() {
    use rustix::fs::{FlockOperation, flock};

    let place = Place::new();
    let folder = std::fs::File::open(&place.folder).unwrap();
    within_a_minute(async {
        let server = place.server().drain_deadline(Duration::from_millis(50));
        let running = server
            .serve(async |_: Request, mut reply: Reply| {
                reply.write_all(b"half").await?;
                reply.flush().await?;
                future::pending::<()>().await;
                reply.finish().await
            })
            .unwrap();
        let mut answer = place.client().connect().await.unwrap().send("x").await.unwrap();
        answer.read_exact(&mut [0; 4]).await.unwrap();
        flock(&folder, FlockOperation::LockExclusive).unwrap();
        running.stop();
        let error = answer.read_all().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        while state(place.path()) == State::Listening {
            future::yield_now().await;
        }
        assert_eq!(state(place.path()), State::NotListening);
        let mut join = Box::pin(running.join());
        assert!(future::poll_once(&mut join).await.is_none(), "the path is still there");
        flock(&folder, FlockOperation::Unlock).unwrap();
        assert_eq!(join.await.unwrap().aborted, 1);
        assert_eq!(state(place.path()), State::NotFound);
    });
}

/// A server that waits for nothing ends faster than its path is given up.
#[test]
fn a_joined_server_has_left_its_place() {
    let place = Place::new();
    within_a_minute(async {
        for _ in 0..100 {
            let running = place.server().drain_deadline(Duration::ZERO).serve(echo).unwrap();
            running.stop();
            running.join().await.unwrap();
            assert_eq!(state(place.path()), State::NotFound);
        }
    });
}

#[test]
fn quit() {
    let place = Place::new();
    within_a_minute(async {
        let client = place.client();
        let server = place.server();
        let quit = async { client.call("quit").await.unwrap() };
        let run = server.run(|_, mut reply| async move {
            reply.write_all(b"bye").await?;
            reply.finish_and_stop().await
        });
        let (ending, answer) = future::zip(run, quit).await;
        assert_eq!(ending.unwrap().reason, Reason::Quit);
        assert_eq!(answer, b"bye");
    });
}

#[test]
fn failures_stay_in_their_exchange() {
    let place = Place::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    within_a_minute(async {
        let server = place.server().on_error({
            let heard = heard.clone();
            move |error| heard.lock().unwrap().push(error.to_string())
        });
        let running = server
            .serve(|request, mut reply| {
                assert_ne!(&*request, b"panic at once");
                async move {
                    match &*request {
                        b"panic" => {
                            reply.write_all(b"half").await?;
                            reply.flush().await?;
                            pause(1).await;
                            panic!("as asked")
                        }
                        b"fail" => Err(io::Error::other("cannot")),
                        b"drop" => {
                            drop(reply);
                            future::pending().await
                        }
                        _ => reply.finish_with(b"fine").await,
                    }
                }
            })
            .unwrap();
        let client = place.client();
        for (request, kind) in [
            ("panic at once", ErrorKind::NoAnswer),
            ("panic", ErrorKind::Truncated),
            ("fail", ErrorKind::NoAnswer),
            ("drop", ErrorKind::NoAnswer),
        ] {
            let error = client.call(request).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{request}: {error}");
            assert_eq!(client.call("well?").await.unwrap(), b"fine");
        }
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 3, "{heard:?}");
        assert!(heard[1].contains("as asked") && heard[2].contains("cannot"), "{heard:?}");
        drop(running);
    });
}

/// Neither does what they leave behind end the server, when it is told, turned into something else
/// or dropped.
#[test]
fn what_failures_leave_behind_stays_in_their_exchange() {
    type BoxError = Box<dyn core::error::Error + Send + Sync>;

    #[derive(Debug)]
    struct NotDropped;

    impl Drop for NotDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    impl core::fmt::Display for NotDropped {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("not to be dropped")
        }
    }

    impl core::error::Error for NotDropped {}

    #[derive(Debug)]
    struct NotTold;

    impl core::fmt::Display for NotTold {
        fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            panic!("told");
        }
    }

    impl core::error::Error for NotTold {}

    struct Failure(Request);

    impl From<Failure> for BoxError {
        fn from(failure: Failure) -> Self {
            match &*failure.0 {
                b"drop" => NotDropped.into(),
                b"tell" => NotTold.into(),
                _ => panic!("turned into an error"),
            }
        }
    }

    let place = Place::new();
    let executor = Rc::new(LocalExecutor::new());
    let heard = Arc::new(AtomicUsize::new(0));
    let server = place.server().on_error({
        let heard = heard.clone();
        move |_| {
            heard.fetch_add(1, Ordering::Relaxed);
        }
    });
    let running =
        server.serve_local(
            Rc::downgrade(&executor),
            async |request, reply: Reply| match &*request {
                b"panic" => std::panic::panic_any(NotDropped),
                b"fine" => Ok::<_, Failure>(reply.finish().await.unwrap()),
                _ => Err(Failure(request)),
            },
        );
    let running = running.unwrap();
    let test = || {
        within_a_minute(executor.run(async {
            let client = place.client();
            for request in ["panic", "drop", "turn", "tell"] {
                let error = client.call(request).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NoAnswer, "{request}: {error}");
                assert_eq!(client.call("fine").await.unwrap(), b"");
            }
            running.stop();
            running.join().await.unwrap();
        }));
    };
    // Somebody listens to what is told.
    #[cfg(feature = "tracing")]
    tracing::subscriber::with_default(
        tracing_subscriber::fmt().with_writer(io::sink).finish(),
        test,
    );
    #[cfg(not(feature = "tracing"))]
    test();
    assert!(heard.load(Ordering::Relaxed) >= 4);
}

#[test]
fn silent_clients_lock_nobody_out() {
    let place = Place::new();
    within_a_minute(async {
        let running = place.server().exchanges(2).serve(echo).unwrap();
        let client = place.client();
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(client.connect().await.unwrap());
        }
        // Half of a request is no request.
        let mut begun = client.connect().await.unwrap().request();
        begun.write_all(&[b'x'; 70_000]).await.unwrap();
        begun.flush().await.unwrap();
        assert_eq!(client.call("ping").await.unwrap(), b"ping");
        // They are served when they speak at last, all at once even.
        let mut calls = Vec::new();
        for (i, connection) in silent.into_iter().enumerate() {
            calls.push((i, smol::spawn(connection.call(vec![b'y'; i * 1000]))));
        }
        for (i, call) in calls {
            assert_eq!(call.await.unwrap().len(), i * 1000);
        }
        assert_eq!(begun.finish().await.unwrap().read_all().await.unwrap().len(), 70_000);
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn deadlines() {
    let place = Place::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let tick = Duration::from_millis(100);
    within_a_minute(async {
        let server =
            place.server().silence_deadline(tick).receive_deadline(tick).send_deadline(tick);
        let running = server
            .on_error({
                let heard = heard.clone();
                move |error| heard.lock().unwrap().push(error.to_string())
            })
            .serve(|request, mut reply| async move {
                match &*request {
                    b"sleep" => reply.client_left().await,
                    b"much" => reply.write_all(&vec![0; 10_000_000]).await?,
                    _ => {}
                }
                reply.finish().await
            })
            .unwrap();
        // The client's patience ends; its handler hears of that.
        let client = place.client().wait_deadline(tick);
        let begun = Instant::now();
        let error = client.call("sleep").await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::Wait, ErrorKind::Deadline(tick)));
        assert!((tick..20 * tick).contains(&begun.elapsed()));
        // The server's patience ends: with a client that says nothing, ...
        let mut silent = Stream::connect(place.path()).unwrap();
        // ... one that stops half-way, ...
        let mut begun = Stream::connect(place.path()).unwrap();
        begun.write_all(b"0008pi").unwrap();
        // ... and one that does not read.
        let mut deaf = Stream::connect(place.path()).unwrap();
        deaf.write_all(b"0008much0000").unwrap();
        pause(500).await;
        assert_eq!(read_to_end(&mut silent), b"");
        assert_eq!(read_to_end(&mut begun), b"");
        let got = read_to_end(&mut deaf);
        assert!(got.len() < 10_000_000 && !got.ends_with(b"0000"));
        running.stop();
        running.join().await.unwrap();
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 3, "{heard:?}");
    });
}

#[test]
fn too_long_a_request() {
    let place = Place::new();
    let heard = Arc::new(AtomicUsize::new(0));
    within_a_minute(async {
        let server = place.server().request_limit(1000).on_error({
            let heard = heard.clone();
            move |error| {
                assert!(matches!(error.kind(), ErrorKind::Message(_)), "{error}");
                heard.fetch_add(1, Ordering::Relaxed);
            }
        });
        let running = server.serve(echo).unwrap();
        let client = place.client();
        assert_eq!(client.call([0; 1000]).await.unwrap(), [0; 1000]);
        let error = client.call([0; 1001]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoAnswer);
        let error = client.call(vec![0; 1_000_000]).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::HungUp | ErrorKind::NoAnswer), "{error}");
        let error = client.answer_limit(10).call([0; 11]).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Message(_)), "{error}");
        assert_eq!(heard.load(Ordering::Relaxed), 2);
        drop(running);
    });
}

#[test]
fn cancelling_a_call_hangs_up() {
    let place = Place::new();
    let left = Arc::new(AtomicUsize::new(0));
    within_a_minute(async {
        let server = place.server().serve({
            let left = left.clone();
            move |_, reply| {
                let left = left.clone();
                async move {
                    reply.client_left().await;
                    left.fetch_add(1, Ordering::Relaxed);
                    assert!(reply.client_has_left());
                    Err::<Finished, _>(io::Error::other("nobody is there"))
                }
            }
        });
        let running = server.unwrap();
        for _ in 0..10 {
            let client = place.client();
            let cancelled = async { client.call("x").await.map(Some) }.or(async {
                pause(5).await;
                Ok(None)
            });
            assert_eq!(cancelled.await.unwrap(), None);
        }
        pause(100).await;
        assert_eq!(left.load(Ordering::Relaxed), 10);
        running.stop();
        assert_eq!(running.join().await.unwrap().aborted, 0);
    });
}

#[test]
fn a_cancelled_write_leaves_no_message() {
    let place = Place::new();
    within_a_minute(async {
        let running = place
            .server()
            .serve_streaming(async |request: RequestReader, reply: Reply| {
                pause(100).await;
                let got = request.read_all().await?;
                reply.finish_with(got).await
            })
            .unwrap();
        // An inherent write of a large piece is not cancel-safe, and says so.
        let mut request = place.client().connect().await.unwrap().request();
        let big = vec![0; 5_000_000];
        let wrote = async { request.write_all(&big).await.map(Some) }
            .or(async {
                pause(20).await;
                Ok(None)
            })
            .await;
        assert!(wrote.unwrap().is_none());
        let error = request.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Aborted);
        assert_eq!(request.finish().await.unwrap_err().kind(), ErrorKind::Aborted);
        // One through `AsyncWrite` is: what was taken is sent.
        let mut request = place.client().connect().await.unwrap().request();
        let mut taken = 0;
        loop {
            let write = async { AsyncWriteExt::write(&mut request, &big).await.map(Some) };
            let wrote = write.or(async {
                pause(20).await;
                Ok(None)
            });
            match wrote.await.unwrap() {
                Some(n) => taken += n,
                None => break,
            }
        }
        assert!(taken > 0);
        let answer = request.finish().await.unwrap().read_all().await.unwrap();
        assert_eq!(answer.len(), taken);
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn a_handler_that_stays_on_its_thread() {
    let place = Place::new();
    let executor = Rc::new(LocalExecutor::new());
    let count = Rc::new(Cell::new(0));
    let serve = |executor: &Rc<LocalExecutor<'static>>| {
        let count = count.clone();
        place.server().serve_local(Rc::downgrade(executor), move |request, reply| {
            let count = count.clone();
            async move {
                future::yield_now().await;
                count.set(count.get() + request.len());
                reply.finish_with(count.get().to_string()).await
            }
        })
    };
    let running = serve(&executor).unwrap();
    within_a_minute(executor.run(async {
        assert_eq!(place.client().call("four").await.unwrap(), b"4");
        assert_eq!(place.client().call("five!").await.unwrap(), b"9");
        running.stop();
        running.join().await.unwrap();
    }));
    // Any other executor, by a closure.
    let tasks = executor.clone();
    let spawn = move |task: LocalTask| tasks.spawn(task).detach();
    let running = place
        .server()
        .serve_streaming_local(spawn, async |request: RequestReader, reply: Reply| {
            reply.finish_with(request.read_all().await?).await
        })
        .unwrap();
    within_a_minute(executor.run(async {
        assert_eq!(place.client().call("well?").await.unwrap(), b"well?");
        drop(running);
    }));
}

/// Tasks of connections may be on another executor than the one that accepts, and outlive it.
#[test]
fn nobody_is_served_once_accepting_is_over() {
    let place = Place::new();
    let [accepting, serving] = [(); 2].map(|()| Arc::new(Executor::new()));
    let spawn = {
        let (first, others) = (Mutex::new(Some(accepting.clone())), serving.clone());
        move |task: Task| {
            let first = first.lock().unwrap().take();
            first.unwrap_or_else(|| others.clone()).spawn(task).detach();
        }
    };
    let handled = Arc::new(AtomicUsize::new(0));
    let server = place.server().serve_on(spawn, {
        let handled = handled.clone();
        move |_, mut reply| {
            handled.fetch_add(1, Ordering::Relaxed);
            async move {
                reply.write_all(b"half").await?;
                reply.flush().await?;
                future::pending::<()>().await;
                reply.finish().await
            }
        }
    });
    let running = server.unwrap();
    within_a_minute(serving.clone().run(async move {
        let client = place.client();
        let meet = async {
            let silent = Stream::connect(place.path()).unwrap();
            let mut begun = Stream::connect(place.path()).unwrap();
            begun.write_all(b"0008pi").unwrap();
            let mut under_way = client.connect().await.unwrap().send("x").await.unwrap();
            under_way.read_exact(&mut [0; 4]).await.unwrap();
            (silent, begun, under_way)
        };
        let (mut silent, mut begun, under_way) = accepting.run(meet).await;
        drop(accepting);
        let error = running.join().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRuntime);
        let error = under_way.read_all().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        // They may have been told already.
        let _ = begun.write_all(b"ng0000");
        let wait = move || (read_to_end(&mut silent), read_to_end(&mut begun));
        assert_eq!(smol::unblock(wait).await, (Vec::new(), Vec::new()));
        assert_eq!(handled.load(Ordering::Relaxed), 1);
    }));
}

#[test]
fn an_executor_of_ones_own() {
    let place = Place::new();
    let executor = Arc::new(Executor::new());
    let running = place.server().serve_on(Arc::downgrade(&executor), echo).unwrap();
    within_a_minute(executor.run(async {
        assert_eq!(place.client().call("ping").await.unwrap(), b"ping");
        running.stop();
        running.join().await.unwrap();
    }));
    // By a closure; and dropping it ends everything.
    let tasks = Arc::downgrade(&executor);
    let spawn = move |task: Task| tasks.upgrade().unwrap().spawn(task).detach();
    let server = place.server().serve_on(spawn, |request, mut reply| async move {
        reply.write_all(&request).await?;
        reply.flush().await?;
        future::pending::<()>().await;
        reply.finish().await
    });
    let running = server.unwrap();
    let (begun, silent) = smol::block_on(executor.run(async {
        let silent = place.client().connect().await.unwrap();
        let mut begun = place.client().connect().await.unwrap().send("ping").await.unwrap();
        begun.read_exact(&mut [0; 4]).await.unwrap();
        (begun, silent)
    }));
    drop(executor);
    within_a_minute(async {
        let error = begun.read_all().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        silent.call("ping").await.unwrap_err();
        let error: Error = running.join().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRuntime);
    });
    drop(running);
}
