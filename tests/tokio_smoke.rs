//! The Tokio runtime, end to end.
#![cfg(all(any(unix, windows), feature = "tokio"))]

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use simple_ipc::client::Delivery;
use simple_ipc::endpoint::{State, state};
use simple_ipc::exchange::MessageError;
use simple_ipc::lifecycle::Reason;
use simple_ipc::tokio::{
    Client, Finished, Reply, Request, RequestReader, Running, Server, StopHandle,
};
use simple_ipc::{ErrorKind, Phase};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("simple-ipc-tokio-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // Process ids come again, and one that was killed has left its folder.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs a test in both kinds of runtime. None of them may take long.
fn in_both<F: Future<Output = ()>>(test: impl Fn(PathBuf) -> F) {
    for runtime in [current_thread(), multi_thread()] {
        let folder = Folder::new();
        runtime.block_on(async {
            timeout(Duration::from_secs(20), test(folder.path())).await.expect("it hangs");
        });
    }
}

async fn echo(request: Request, reply: Reply) -> io::Result<Finished> {
    reply.finish_with(&*request).await
}

fn serve_echo(path: &Path) -> Running {
    Server::bind(path).unwrap().serve(echo).unwrap()
}

#[cfg(target_os = "linux")]
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn ping() {
    in_both(|path| async move {
        let running = serve_echo(&path);
        let client = Client::new(&path);
        for _ in 0..100 {
            assert_eq!(client.call("ping").await.unwrap(), b"ping");
        }
        assert_eq!(client.call("").await.unwrap(), b"");
        running.stop();
        let ending = running.join().await.unwrap();
        assert_eq!((ending.reason, ending.aborted), (Reason::Asked, 0));
        assert_eq!(state(&path), State::NotFound);
        let error = client.call("ping").await.unwrap_err();
        assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
    });
}

#[test]
fn big_both_ways() {
    in_both(|path| async move {
        let running = serve_echo(&path);
        let big: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
        assert!(Client::new(&path).call(&big).await.unwrap() == big);

        // Once more through the traits of Tokio.
        let mut request = Client::new(&path).connect().await.unwrap().request();
        tokio::io::copy(&mut &big[..], &mut request).await.unwrap();
        request.shutdown().await.unwrap();
        let mut answer = Vec::new();
        request.finish().await.unwrap().read_to_end(&mut answer).await.unwrap();
        assert!(answer == big);
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn many_at_once() {
    in_both(|path| async move {
        let running = serve_echo(&path);
        let calls: Vec<_> = (0..200)
            .map(|i| {
                let client = Client::new(&path);
                tokio::spawn(async move {
                    let request = format!("{i}").repeat(1 + i % 7);
                    assert_eq!(client.call(&request).await.unwrap(), request.as_bytes());
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn streaming_both_ways() {
    in_both(|path| async move {
        let handler = |mut request: RequestReader, mut reply: Reply| async move {
            let mut buffer = [0; 4096];
            loop {
                let n = request.read(&mut buffer).await?;
                if n == 0 {
                    return reply.finish().await;
                }
                reply.write_all(&buffer[..n]).await?;
            }
        };
        let running = Server::bind(&path).unwrap().serve_streaming(handler).unwrap();
        let (mut request, mut answer) =
            Client::new(&path).connect().await.unwrap().request().split().unwrap();
        let write = tokio::spawn(async move {
            for i in 0..2000_u32 {
                request.write_all(&[i as u8; 10_000]).await.unwrap();
            }
            request.finish().await.unwrap();
        });
        let mut received = 0;
        let mut buffer = vec![0; 7000];
        loop {
            let n = answer.read(&mut buffer).await.unwrap();
            if n == 0 {
                break;
            }
            for (i, byte) in (received..).zip(&buffer[..n]) {
                assert_eq!(*byte, (i / 10_000) as u8);
            }
            received += n;
        }
        assert_eq!(received, 20_000_000);
        write.await.unwrap();
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn a_silent_beginning_then_the_rest() {
    in_both(|path| async move {
        let running = serve_echo(&path);
        let mut request = Client::new(&path).connect().await.unwrap().request();
        sleep(Duration::from_millis(20)).await; // It waits, silent,
        request.write_all(b"he").await.unwrap();
        request.flush().await.unwrap();
        sleep(Duration::from_millis(20)).await; // then begun.
        request.write_all(b"llo").await.unwrap();
        assert_eq!(request.finish().await.unwrap().read_all().await.unwrap(), b"hello");
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn stopping_while_busy_drains() {
    in_both(|path| async move {
        let handler = |request: Request, reply: Reply| async move {
            sleep(Duration::from_millis(100)).await;
            echo(request, reply).await
        };
        let running = Server::bind(&path).unwrap().exchanges(2).serve(handler).unwrap();
        let client = Client::new(&path);
        let mut answers = Vec::new();
        for _ in 0..6 {
            answers.push(client.connect().await.unwrap().send("x").await.unwrap());
        }
        running.handle().stop();
        assert_eq!(running.join().await.unwrap().aborted, 0);
        for answer in answers {
            assert_eq!(answer.read_all().await.unwrap(), b"x");
        }
    });
}

#[test]
fn the_drain_deadline_aborts() {
    in_both(|path| async move {
        struct Dropped(Arc<AtomicUsize>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = dropped.clone();
        let handler = move |_: Request, mut reply: Reply| {
            let dropped = Dropped(count.clone());
            async move {
                let _dropped = dropped;
                reply.write_all(b"half").await?;
                reply.flush().await?;
                std::future::pending::<()>().await;
                reply.finish().await
            }
        };
        let server = Server::bind(&path).unwrap().drain_deadline(Duration::from_millis(50));
        let running = server.serve(handler).unwrap();
        let client = Client::new(&path);
        let call = tokio::spawn(async move { client.call("x").await });
        sleep(Duration::from_millis(20)).await;
        running.stop();
        assert_eq!(running.join().await.unwrap().aborted, 1);
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Truncated);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn quit() {
    in_both(|path| async move {
        let server = Server::bind(&path).unwrap();
        let serve = server.run(|_, reply| async move { reply.finish_and_stop().await });
        let client = Client::new(&path);
        let (ending, answer) = tokio::join!(serve, client.call("quit"));
        assert_eq!(ending.unwrap().reason, Reason::Quit);
        assert_eq!(answer.unwrap(), b"");
    });
}

#[test]
fn failures_and_panics_stay_in_their_exchange() {
    std::panic::set_hook(Box::new(|_| {}));
    in_both(|path| async move {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let hear = errors.clone();
        let handler = |request: Request, mut reply: Reply| async move {
            match &*request {
                b"panic" => panic!("at once"),
                b"panic later" => {
                    reply.write_all(b"half").await?;
                    reply.flush().await?;
                    sleep(Duration::from_millis(5)).await;
                    panic!("later");
                }
                b"fail" => Err(io::Error::other("no")),
                b"keep" => {
                    // The reply outlives the handler; it must not be finished then.
                    tokio::spawn(async move {
                        sleep(Duration::from_millis(5)).await;
                        assert!(reply.finish().await.is_err());
                    });
                    Err(io::Error::other("kept"))
                }
                _ => echo(request, reply).await,
            }
        };
        let server = Server::bind(&path).unwrap().on_error(move |error| {
            hear.lock().unwrap().push(error.to_string());
            panic!("while told of an error");
        });
        let running = server.serve(handler).unwrap();
        let client = Client::new(&path);
        let kind = async |request: &str| client.call(request).await.unwrap_err().kind();
        assert_eq!(kind("panic").await, ErrorKind::NoAnswer);
        assert_eq!(kind("panic later").await, ErrorKind::Truncated);
        assert_eq!(kind("fail").await, ErrorKind::NoAnswer);
        assert_eq!(kind("keep").await, ErrorKind::NoAnswer);
        assert_eq!(client.call("still there").await.unwrap(), b"still there");
        running.stop();
        running.join().await.unwrap();
        let errors = errors.lock().unwrap();
        assert_eq!(errors.len(), 4, "{errors:?}");
        assert!(errors[0].contains("at once") && errors[1].contains("later"), "{errors:?}");
    });
}

/// What panics when it is dropped, and an error that does so when it is shown or converted.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

impl std::fmt::Debug for Bomb {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("shown")
    }
}

impl From<Bomb> for Box<dyn std::error::Error + Send + Sync> {
    fn from(bomb: Bomb) -> Self {
        #[derive(Debug)]
        struct Shown(#[allow(dead_code, reason = "it is dropped")] Bomb);
        impl std::fmt::Display for Shown {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }
        impl std::error::Error for Shown {}
        if bomb.0 == "convert" {
            panic!("converted");
        }
        Box::new(Shown(bomb))
    }
}

#[test]
fn what_panics_after_the_handler_stays_in_its_exchange() {
    std::panic::set_hook(Box::new(|_| {}));
    // It shows every error that it is told of.
    #[cfg(feature = "tracing")]
    let _told = {
        let told = tracing_subscriber::fmt().with_writer(io::sink).finish();
        tracing::subscriber::set_default(told)
    };
    in_both(|path| async move {
        let handler = |request: Request, reply: Reply| async move {
            if request.ends_with(b"later") {
                sleep(Duration::from_millis(1)).await;
            }
            match request.split(|byte| *byte == b' ').next() {
                Some(b"panic") => std::panic::panic_any(Bomb("panic")),
                Some(b"error") => Err(Bomb("error")),
                Some(b"convert") => Err(Bomb("convert")),
                _ => Ok(reply.finish_with("fine").await.unwrap()),
            }
        };
        let server = Server::bind(&path).unwrap().exchanges(1);
        let server = server.on_error(|_| std::panic::panic_any(Bomb("told")));
        let running = server.serve(handler).unwrap();
        let client = Client::new(&path);
        for request in ["panic", "error", "convert", "panic later", "error later", "convert later"]
        {
            let error = client.call(request).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoAnswer, "{request}: {error}");
            assert_eq!(client.call("x").await.unwrap(), b"fine", "{request}");
        }
        running.stop();
        assert_eq!(running.join().await.unwrap().aborted, 0);
    });
}

/// A panic where connections are accepted ends the server, and not in silence.
#[cfg(feature = "tracing")]
#[test]
fn a_server_that_accepts_no_more_ends() {
    use tracing::span;

    struct Panics;
    impl tracing::Subscriber for Panics {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.is_span()
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            panic!("a subscriber's");
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    std::panic::set_hook(Box::new(|_| {}));
    let folder = Folder::new();
    let test = async {
        let server = Server::bind(folder.path()).unwrap().drain_deadline(Duration::ZERO);
        // It is there before it is served, so it is served where it is accepted.
        let answer = Client::new(folder.path()).connect().await.unwrap().send("x").await.unwrap();
        let _panics = tracing::subscriber::set_default(Panics);
        let running = server.serve(echo).unwrap();
        assert_eq!(answer.read_all().await.unwrap_err().kind(), ErrorKind::NoAnswer);
        let error = running.join().await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::Accept, ErrorKind::Io), "{error}");
        assert_eq!(state(folder.path()), State::NotFound);
    };
    current_thread().block_on(async {
        timeout(Duration::from_secs(20), test).await.expect("it hangs");
    });
}

#[test]
fn silent_clients_lock_nobody_out() {
    in_both(|path| async move {
        let server = Server::bind(&path).unwrap().exchanges(2);
        let running = server.serve(echo).unwrap();
        let client = Client::new(&path);
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(client.connect().await.unwrap());
        }
        assert_eq!(client.call("ping").await.unwrap(), b"ping");
        assert_eq!(silent.pop().unwrap().call("late").await.unwrap(), b"late");
        running.stop();
        assert_eq!(running.join().await.unwrap().aborted, 0);
        assert!(silent.pop().unwrap().call("too late").await.is_err());
    });
}

#[test]
fn deadlines() {
    in_both(|path| async move {
        let handler = |request: Request, mut reply: Reply| async move {
            if &*request == b"half" {
                reply.write_all(b"half").await?;
                reply.flush().await?;
            }
            reply.client_left().await;
            reply.finish().await
        };
        let running = Server::bind(&path).unwrap().serve(handler).unwrap();
        let short = Duration::from_millis(30);
        let error = Client::new(&path).wait_deadline(short).call("").await.unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Deadline(short), Phase::Wait));
        let error = Client::new(&path).receive_deadline(short).call("half").await.unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Deadline(short), Phase::Receive));
        for request in ["", "half"] {
            let error = Client::new(&path).total_deadline(short).call(request).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TotalDeadline(short), "{error}");
        }
        running.stop();
        running.join().await.unwrap();

        // A server that does not serve yet takes only what fits into the socket's buffer.
        let folder = Folder::new();
        let _server = Server::bind(folder.path()).unwrap();
        let client = Client::new(folder.path()).send_deadline(short);
        let error = client.call(vec![0; 4 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline(short), "{error}");
        assert_eq!(error.delivery(), Some(Delivery::Incomplete));
    });
}

#[test]
fn deadlines_of_the_server() {
    in_both(|path| async move {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let hear = errors.clone();
        let server = Server::bind(&path)
            .unwrap()
            .receive_deadline(Duration::from_millis(30))
            .silence_deadline(Duration::from_millis(30))
            .send_deadline(Duration::from_millis(30))
            .on_error(move |error| hear.lock().unwrap().push(error.to_string()));
        let handler = |_, reply: Reply| async move { reply.finish_with(vec![0; 4 << 20]).await };
        let running = server.serve(handler).unwrap();
        let client = Client::new(&path);
        // A client that is silent,
        for pause in [50, 100, 200, 400, 800, 1600] {
            let silent = client.connect().await.unwrap();
            sleep(Duration::from_millis(pause)).await;
            if silent.call("x").await.is_err() {
                break;
            }
            assert!(pause < 1600, "it is still served");
        }
        // one that pauses, one that reads nothing.
        let mut pausing = client.connect().await.unwrap().request();
        pausing.write_all(b"x").await.unwrap();
        pausing.flush().await.unwrap();
        let answer = client.connect().await.unwrap().send("x").await.unwrap();
        sleep(Duration::from_millis(500)).await;
        assert!(pausing.finish().await.is_err());
        // On a busy machine it may have been silent for too long before it could ask.
        let kind = answer.read_all().await.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::Truncated | ErrorKind::NoAnswer), "{kind:?}");
        let errors = errors.lock().unwrap().join("\n");
        assert!(errors.contains("nothing moved within 30ms"), "{errors}");
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn limits() {
    in_both(|path| async move {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let hear = errors.clone();
        let server = Server::bind(&path)
            .unwrap()
            .request_limit(100)
            .on_error(move |error| hear.lock().unwrap().push(error.kind()));
        let running = server.serve(echo).unwrap();
        assert!(Client::new(&path).call([b'x'; 101]).await.is_err());
        assert_eq!(Client::new(&path).call([b'x'; 100]).await.unwrap(), [b'x'; 100]);
        let too_long = |limit| ErrorKind::Message(MessageError::TooLong { limit });
        assert_eq!(*errors.lock().unwrap(), [too_long(100)]);
        let error = Client::new(&path).answer_limit(3).call("four").await.unwrap_err();
        assert_eq!(error.kind(), too_long(3));
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn a_handler_learns_that_its_client_left() {
    in_both(|path| async move {
        let begun = Arc::new(Notify::new());
        let left = Arc::new(AtomicUsize::new(0));
        let (begins, count) = (begun.clone(), left.clone());
        let handler = move |_: Request, reply: Reply| {
            let (begun, left) = (begins.clone(), count.clone());
            async move {
                assert!(!reply.client_has_left());
                begun.notify_one();
                reply.client_left().await;
                assert!(reply.client_has_left());
                left.fetch_add(1, Ordering::SeqCst);
                reply.finish().await
            }
        };
        let running = Server::bind(&path).unwrap().serve(handler).unwrap();
        let client = Client::new(&path);
        // A call that is cancelled hangs up.
        tokio::select! {
            answer = client.call("x") => panic!("{answer:?}"),
            () = begun.notified() => {}
        }
        while left.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        running.stop();
        running.join().await.unwrap();
    });
}

#[test]
fn a_cancelled_write_cannot_be_continued() {
    let folder = Folder::new();
    let _server = Server::bind(folder.path()).unwrap();
    current_thread().block_on(async {
        let mut request = Client::new(folder.path()).connect().await.unwrap().request();
        let big = vec![0; 4 << 20];
        assert!(timeout(Duration::from_millis(10), request.write_all(&big)).await.is_err());
        let error = request.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Aborted);
        assert_eq!(request.finish().await.unwrap_err().kind(), ErrorKind::Aborted);

        // One through the trait is kept, and goes on.
        let mut request = Client::new(folder.path()).connect().await.unwrap().request();
        let mut source = &big[..];
        let copy = tokio::io::copy(&mut source, &mut request);
        assert!(timeout(Duration::from_millis(10), copy).await.is_err());
        let flush = timeout(Duration::from_millis(10), request.flush());
        assert!(flush.await.is_err());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(request.write_all(b"more")).poll(&mut cx).is_pending());
    });
}

#[test]
fn joining_can_be_cancelled() {
    in_both(|path| async move {
        let running = serve_echo(&path);
        for _ in 0..3 {
            assert!(timeout(Duration::from_millis(5), running.join()).await.is_err());
            assert_eq!(Client::new(&path).call("x").await.unwrap(), b"x");
        }
        running.stop();
        let (first, second) = tokio::join!(running.join(), running.join());
        assert_eq!(first.unwrap(), second.unwrap());
    });
}

#[test]
fn idle_exit() {
    in_both(|path| async move {
        let server = Server::bind(&path).unwrap().idle_exit(Duration::from_millis(50));
        let running = server.serve(echo).unwrap();
        assert_eq!(Client::new(&path).call("x").await.unwrap(), b"x");
        assert_eq!(running.join().await.unwrap().reason, Reason::Idle);
    });
}

#[test]
fn without_a_runtime() {
    let folder = Folder::new();
    let server = Server::bind(folder.path()).unwrap();
    let error = server.serve(echo).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime, "{error}");

    let client = Client::new(folder.path());
    let mut cx = Context::from_waker(Waker::noop());
    let std::task::Poll::Ready(answer) = pin!(client.call("x")).poll(&mut cx) else { panic!() };
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime, "{error}");
    assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
}

/// What is known of the request stays true: some of it was sent inside the runtime.
#[test]
fn outside_the_runtime_in_the_middle() {
    let folder = Folder::new();
    let _server = Server::bind(folder.path()).unwrap();
    let runtime = current_thread();
    let client = Client::new(folder.path());
    let begin = |flush: bool| {
        runtime.block_on(async {
            let mut request = client.connect().await.unwrap().request();
            request.write_all(b"x").await.unwrap();
            if flush {
                request.flush().await.unwrap();
            }
            request
        })
    };
    for (flush, delivery) in [(true, Delivery::Incomplete), (false, Delivery::NotDelivered)] {
        let error = begin(flush).split().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRuntime, "{error}");
        assert_eq!(error.delivery(), Some(delivery), "{error}");
    }
    let mut cx = Context::from_waker(Waker::noop());
    let answer = runtime.block_on(begin(true).finish()).unwrap();
    let std::task::Poll::Ready(answer) = pin!(answer.read_all()).poll(&mut cx) else { panic!() };
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime, "{error}");
    assert_eq!(error.delivery(), Some(Delivery::Unknown), "{error}");
}

#[test]
fn a_runtime_without_time_panics_at_once() {
    let folder = Folder::new();
    let server = Server::bind(folder.path()).unwrap();
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let serve = || runtime.block_on(async { server.serve(echo) });
    assert!(catch_unwind(AssertUnwindSafe(serve)).is_err());
    assert_eq!(state(folder.path()), State::NotFound);
}

/// Alone in its process it would say more: other tests open descriptors too.
#[test]
fn a_runtime_that_ends_takes_everything_with_it() {
    let folder = Folder::new();
    let runtime = multi_thread();
    let (running, call) = runtime.block_on(async {
        let handler = |request: Request, mut reply: Reply| async move {
            if &*request == b"ping" {
                return echo(request, reply).await;
            }
            reply.write_all(b"half").await?;
            reply.flush().await?;
            std::future::pending().await
        };
        let running = Server::bind(folder.path()).unwrap().serve(handler).unwrap();
        let client = Client::new(folder.path());
        let silent = client.connect().await.unwrap();
        assert_eq!(client.call("ping").await.unwrap(), b"ping");
        let call = client.connect().await.unwrap().send("hang").await.unwrap();
        sleep(Duration::from_millis(20)).await;
        drop(silent);
        (running, call)
    });
    drop(runtime);
    assert_eq!(state(folder.path()), State::NotFound);
    current_thread().block_on(async {
        assert_eq!(running.join().await.unwrap_err().kind(), ErrorKind::NoRuntime);
        running.stop();
    });
    drop(call);
}

/// What a handler's future holds may stop the server when it is dropped, even where the runtime ends
/// just as the future is given to it.
#[test]
fn a_runtime_that_ends_drops_handlers_that_stop_their_server() {
    struct Stops(Arc<OnceLock<StopHandle>>);
    impl Drop for Stops {
        fn drop(&mut self) {
            self.0.get().unwrap().stop();
        }
    }

    let folder = Folder::new();
    let runtime = multi_thread();
    let handle = Arc::<OnceLock<StopHandle>>::default();
    let (begun, begins) = mpsc::channel();
    let (drops, dropping) = mpsc::channel();
    let held = (handle.clone(), begun, Mutex::new(dropping));
    let held = Arc::new(held);
    let handler = move |_: Request, reply: Reply| {
        let held = held.clone();
        let stops = Stops(held.0.clone());
        async move {
            let _stops = stops;
            held.1.send(()).unwrap();
            // Until the runtime takes nothing more.
            held.2.lock().unwrap().recv().unwrap();
            std::future::pending::<()>().await;
            reply.finish().await
        }
    };
    let server = Server::bind(folder.path()).unwrap();
    let running = runtime.block_on(async { server.serve(handler).unwrap() });
    handle.set(running.handle()).unwrap();
    let call = runtime.block_on(async {
        Client::new(folder.path()).connect().await.unwrap().send("x").await.unwrap()
    });
    begins.recv().unwrap();
    let (ended, ends) = mpsc::channel();
    let spawner = runtime.handle().clone();
    let end = std::thread::spawn(move || {
        drop((runtime, running));
        ended.send(()).unwrap();
    });
    // A task that is dropped at once shows that it ends.
    while !spawner.spawn(std::future::pending::<()>()).is_finished() {
        std::thread::yield_now();
    }
    drops.send(()).unwrap();
    ends.recv_timeout(Duration::from_secs(20)).expect("it hangs");
    end.join().unwrap();
    drop(call);
}

/// Those are the handlers', and may all be taken.
#[test]
fn stopping_needs_none_of_the_threads_that_block() {
    let folder = Folder::new();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (release, released) = mpsc::channel::<()>();
    let begun = Arc::new(Notify::new());
    let begins = begun.clone();
    runtime.spawn_blocking(move || {
        begins.notify_one();
        released.recv()
    });
    runtime.block_on(async {
        begun.notified().await;
        let handler = |request: Request, reply: Reply| async move {
            tokio::task::spawn_blocking(|| ()).await?;
            echo(request, reply).await
        };
        let server = Server::bind(folder.path()).unwrap().drain_deadline(Duration::from_millis(50));
        let running = server.serve(handler).unwrap();
        let answer = Client::new(folder.path()).connect().await.unwrap().send("x").await.unwrap();
        running.stop();
        let ending = timeout(Duration::from_secs(20), running.join()).await.expect("it hangs");
        assert_eq!(ending.unwrap().aborted, 1);
        assert_eq!(state(folder.path()), State::NotFound);
        assert_eq!(answer.read_all().await.unwrap_err().kind(), ErrorKind::NoAnswer);
    });
    drop(release);
}

/// The path cannot be given up while somebody has the folder's lock.
#[cfg(unix)]
#[test]
fn a_locked_folder_holds_up_no_abort() {
    use rustix::fs::{FlockOperation, flock};

    in_both(|path| async move {
        let handler = |_: Request, reply: Reply| async move {
            std::future::pending::<()>().await;
            reply.finish().await
        };
        let server = Server::bind(&path).unwrap().drain_deadline(Duration::from_millis(50));
        let running = server.serve(handler).unwrap();
        let answer = Client::new(&path).connect().await.unwrap().send("x").await.unwrap();
        let folder = std::fs::File::open(path.parent().unwrap()).unwrap();
        flock(&folder, FlockOperation::LockExclusive).unwrap();
        running.stop();
        assert_eq!(answer.read_all().await.unwrap_err().kind(), ErrorKind::NoAnswer);
        // Its end is told when the path is gone.
        assert!(timeout(Duration::from_millis(20), running.join()).await.is_err());
        drop(folder);
        assert_eq!(running.join().await.unwrap().aborted, 1);
        assert_eq!(state(&path), State::NotFound);
    });
}

/// One that is polled where its request was waited for is no longer waited with.
#[test]
fn a_handler_that_blocks_holds_up_no_abort() {
    let folder = Folder::new();
    let runtime = Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let held = Arc::new((begun, Mutex::new(released)));
    let handler = move |_: Request, reply: Reply| {
        let held = held.clone();
        async move {
            held.0.send(()).unwrap();
            let _ = held.1.lock().unwrap().recv();
            reply.finish().await
        }
    };
    runtime.block_on(async {
        let server = Server::bind(folder.path()).unwrap().drain_deadline(Duration::from_millis(50));
        let running = server.serve(handler).unwrap();
        let mut request = Client::new(folder.path()).connect().await.unwrap().request();
        request.write_all(b"x").await.unwrap();
        request.flush().await.unwrap();
        sleep(Duration::from_millis(20)).await; // It is waited for.
        let answer = request.finish().await.unwrap();
        begins.recv().unwrap();
        running.stop();
        let ending = timeout(Duration::from_secs(20), running.join()).await.expect("it hangs");
        assert_eq!(ending.unwrap().aborted, 1);
        assert_eq!(answer.read_all().await.unwrap_err().kind(), ErrorKind::NoAnswer);
    });
    drop(release);
}

/// One that was accepted just before the end, and says nothing, does not keep the server. (Who a
/// pipe's client is, is known only when it has said something.)
#[cfg(unix)]
#[test]
fn a_silent_client_that_comes_at_the_end_is_let_go() {
    let folder = Folder::new();
    let (release, released) = mpsc::channel::<()>();
    let (accepted, accepts) = mpsc::channel();
    let held = Mutex::new((accepted, released));
    let server = Server::bind(folder.path()).unwrap().drain_deadline(Duration::ZERO);
    let server = server.allow(move |_| {
        let held = held.lock().unwrap();
        held.0.send(()).unwrap();
        let _ = held.1.recv();
        true
    });
    multi_thread().block_on(async {
        let running = server.serve(echo).unwrap();
        let silent = Client::new(folder.path()).connect().await.unwrap();
        accepts.recv().unwrap();
        running.stop();
        // With nothing to drain, it ends as soon as the path is being given up.
        while state(folder.path()) == State::Listening {
            sleep(Duration::from_millis(1)).await;
        }
        drop(release);
        let ending = timeout(Duration::from_secs(20), running.join()).await.expect("it hangs");
        assert_eq!(ending.unwrap().aborted, 0);
        drop(silent);
    });
}

#[test]
fn computing_handlers_keep_nobody_waiting() {
    let folder = Folder::new();
    multi_thread().block_on(async {
        let handler = |request: Request, reply: Reply| async move {
            if &*request == b"compute" {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(200) {}
            }
            echo(request, reply).await
        };
        let running = Server::bind(folder.path()).unwrap().serve(handler).unwrap();
        let client = Client::new(folder.path());
        client.call("compute").await.unwrap();
        // Now the server knows, and computes elsewhere.
        let computing = tokio::spawn({
            let client = client.clone();
            async move { client.call("compute").await.unwrap() }
        });
        sleep(Duration::from_millis(20)).await;
        let begun = Instant::now();
        client.call("ping").await.unwrap();
        let took = begun.elapsed();
        computing.await.unwrap();
        assert!(took < Duration::from_millis(150), "{took:?}");
        running.stop();
        running.join().await.unwrap();
    });
}

/// The system limits how much one user can have watched. Here it refuses for another reason, which
/// is all the same to the server.
#[cfg(target_os = "linux")]
#[test]
fn a_listener_that_cannot_be_watched_is_looked_at() {
    use std::collections::BTreeSet;
    use std::os::fd::{BorrowedFd, RawFd};
    use std::sync::atomic::AtomicBool;

    use rustix::event::epoll;

    fn open() -> BTreeSet<RawFd> {
        let names = std::fs::read_dir("/proc/self/fd").unwrap();
        names.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    fn is_epoll(fd: &RawFd) -> bool {
        std::fs::read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|to| to.to_str() == Some("anon_inode:[eventpoll]"))
    }

    // Where it is known whose descriptors those are.
    if !in_a_process_of_its_own("a_listener_that_cannot_be_watched_is_looked_at") {
        return;
    }
    let folder = Folder::new();
    let path = folder.path();
    let test = async {
        let before = open();
        let server = Server::bind(&path).unwrap();
        let (queue, listener) = (
            *before.iter().find(|fd| is_epoll(fd)).unwrap(),
            *open().difference(&before).find(|fd| !is_epoll(fd)).unwrap(),
        );
        // SAFETY: both are open as long as the server serves.
        let [queue, listener] = [queue, listener].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
        // No descriptor can be watched twice.
        let watch = move || {
            let data = epoll::EventData::new_u64(u64::MAX);
            epoll::add(queue, listener, data, epoll::EventFlags::empty())
        };
        let taken = Arc::new(AtomicBool::new(false));
        let takes = taken.clone();
        let handler = move |request: Request, reply: Reply| {
            // In a crowd, where the listener is not watched.
            if !takes.load(Ordering::SeqCst) && watch().is_ok() {
                takes.store(true, Ordering::SeqCst);
            }
            echo(request, reply)
        };
        let running = server.serve(handler).unwrap();
        let client = Client::new(&path);
        while !taken.load(Ordering::SeqCst) {
            let mut crowd = Vec::new();
            for _ in 0..8 {
                crowd.push(client.connect().await.unwrap().send("x").await.unwrap());
            }
            for answer in crowd {
                assert_eq!(answer.read_all().await.unwrap(), b"x");
            }
        }
        for _ in 0..3 {
            assert_eq!(client.call("x").await.unwrap(), b"x");
        }
        epoll::delete(queue, listener).unwrap();
        while watch() != Err(rustix::io::Errno::EXIST) {
            epoll::delete(queue, listener).unwrap();
            sleep(Duration::from_millis(30)).await;
        }
        assert_eq!(client.call("x").await.unwrap(), b"x");
        running.stop();
        assert_eq!(running.join().await.unwrap().reason, Reason::Asked);
    };
    current_thread().block_on(async {
        timeout(Duration::from_secs(20), test).await.expect("it hangs");
    });
}

/// Whether this is the process in which the test of that name runs alone; if not, it is run in one.
#[cfg(target_os = "linux")]
fn in_a_process_of_its_own(name: &str) -> bool {
    const MARK: &str = "SIMPLE_IPC_TOKIO_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let test = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(MARK, "1")
        .output()
        .unwrap();
    assert!(test.status.success(), "{test:?}");
    false
}

/// Descriptors are counted in /proc.
#[cfg(target_os = "linux")]
#[test]
fn nothing_leaks() {
    // For the sake of the count.
    if !in_a_process_of_its_own("nothing_leaks") {
        return;
    }
    let folder = Folder::new();
    let round = |runtime: Runtime| {
        runtime.block_on(async {
            let server = Server::bind(folder.path()).unwrap().drain_deadline(Duration::ZERO);
            let handler = |request: Request, reply: Reply| async move {
                sleep(Duration::from_millis(if request.is_empty() { 1 } else { 10_000 })).await;
                echo(request, reply).await
            };
            let before = descriptors();
            let running = server.serve(handler).unwrap();
            let client = Client::new(folder.path());
            let silent = client.connect().await.unwrap();
            client.call("").await.unwrap();
            let call = client.connect().await.unwrap().send("x").await.unwrap();
            // The server has to accept them first.
            while descriptors() != before + 4 {
                sleep(Duration::from_millis(1)).await;
            }
            running.stop();
            running.join().await.unwrap();
            drop((silent, call));
            while descriptors() != before - 1 {
                sleep(Duration::from_millis(1)).await;
            }
        });
    };
    round(current_thread());
    round(multi_thread());
}
