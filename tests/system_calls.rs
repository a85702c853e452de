//! How many system calls an exchange takes on either side, in every runtime, as the kernel counts
//! them: the server and the client are processes of their own, stopped at each call.
//!
//! What is counted is the difference between a few exchanges and a hundred more, so that starting
//! and stopping do not count. The server finds all its clients in line, and so need not wait.
#![cfg(all(
    target_os = "linux",
    target_arch = "x86_64",
    feature = "blocking",
    feature = "smol",
    feature = "tokio"
))]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

mod processes;

use processes::Folder;

const PART: &str = "SYSTEM_CALLS_PART";

const REQUEST: &[u8] = b"0008ping0000";
const ANSWER: &[u8] = b"0008pong0000";

/// So many exchanges, and so many.
const FEW: usize = 10;
const MORE: usize = 100;

/// Starting and stopping do not always take the same calls.
const AT_THE_ENDS: usize = 5;

const RUNTIMES: [&str; 3] = ["blocking", "smol", "tokio"];

/// What an exchange consists of, on each side.
const SERVER: [i64; 4] =
    [libc::SYS_accept4, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_close];
const CLIENT: [i64; 5] =
    [libc::SYS_socket, libc::SYS_connect, libc::SYS_sendmsg, libc::SYS_recvfrom, libc::SYS_close];

#[test]
fn a_server_makes_four_calls_and_looks_whether_the_next_client_is_there() {
    if play() {
        return;
    }
    for runtime in RUNTIMES {
        let calls = added(|count| serve(runtime, count));
        assert_each(runtime, &calls, &SERVER);
        let looks = if runtime == "blocking" { 0 } else { MORE };
        assert_few_others(
            runtime,
            &calls,
            &SERVER,
            &[(libc::SYS_poll, looks), (libc::SYS_ppoll, looks)],
        );
    }
}

#[test]
fn a_client_makes_five_calls_and_waits() {
    if play() {
        return;
    }
    for runtime in RUNTIMES {
        let calls = added(|count| ask(runtime, count));
        assert_each(runtime, &calls, &CLIENT);
        // How often it looks and whether it must sleep depends on the server.
        let waits = [
            libc::SYS_sched_yield,
            libc::SYS_poll,
            libc::SYS_ppoll,
            libc::SYS_epoll_ctl,
            libc::SYS_epoll_wait,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_timerfd_settime,
            libc::SYS_futex,
            libc::SYS_read,
            libc::SYS_write,
            FRUITLESS,
        ];
        assert_few_others(runtime, &calls, &CLIENT, &waits.map(|call| (call, usize::MAX)));
    }
}

/// System calls by number.
type Calls = BTreeMap<i64, usize>;

/// In the place of a call that found nothing to do.
const FRUITLESS: i64 = -1;

/// What a hundred exchanges more take.
fn added(run: impl Fn(usize) -> Calls) -> Calls {
    let (few, mut many) = (run(FEW), run(FEW + MORE));
    for (call, calls) in &mut many {
        *calls = calls.saturating_sub(few.get(call).copied().unwrap_or(0));
    }
    many
}

#[track_caller]
fn assert_each(runtime: &str, calls: &Calls, expected: &[i64]) {
    for call in expected {
        let count = calls.get(call).copied().unwrap_or(0);
        assert!(count.abs_diff(MORE) <= AT_THE_ENDS, "{runtime}: call {call}, of {calls:?}");
    }
}

/// Every other call is made now and then at most, unless more of it is `allowed`.
#[track_caller]
fn assert_few_others(runtime: &str, calls: &Calls, expected: &[i64], allowed: &[(i64, usize)]) {
    /// Once in a round of connections, the executor's other tasks have a turn.
    const NOW_AND_THEN: usize = MORE / 10;

    // The standard library looks whether what it closes is open.
    let debug = (libc::SYS_fcntl, if cfg!(debug_assertions) { MORE + AT_THE_ENDS } else { 0 });
    let allowed = [allowed, &[debug]].concat();
    for (call, &count) in calls.iter().filter(|(call, _)| !expected.contains(call)) {
        let allowed = allowed.iter().find(|(allowed, _)| allowed == call).map_or(0, |(_, n)| *n);
        assert!(
            count <= allowed.saturating_add(NOW_AND_THEN),
            "{runtime}: call {call}, of {calls:?}"
        );
    }
}

/// What a server does for so many clients that stand in line.
fn serve(runtime: &str, count: usize) -> Calls {
    let folder = Folder::new();
    let path = folder.0.join("ipc");
    let (server, mut orders) = start("serve", runtime, &path);
    let traced = Traced::stop(&server);
    let clients: Vec<_> = (0..count)
        .map(|_| {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(REQUEST).unwrap();
            client
        })
        .collect();
    let answered = thread::spawn(move || {
        for mut client in clients {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, ANSWER);
        }
        // It has done its part.
        orders.write_all(b"0\n").unwrap();
    });
    let calls = traced.run();
    answered.join().unwrap();
    calls
}

/// What a client does to ask so often.
fn ask(runtime: &str, count: usize) -> Calls {
    let folder = Folder::new();
    let path = folder.0.join("ipc");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = thread::spawn(move || {
        for _ in 0..count {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; REQUEST.len()];
            client.read_exact(&mut request).unwrap();
            assert_eq!(request, REQUEST);
            client.write_all(ANSWER).unwrap();
        }
    });
    let (client, mut orders) = start("ask", runtime, &path);
    let traced = Traced::stop(&client);
    orders.write_all(format!("{count}\n").as_bytes()).unwrap();
    let calls = traced.run();
    serving.join().unwrap();
    calls
}

/// Starts this program again, with a part to play.
fn start(part: &str, runtime: &str, path: &Path) -> (Child, ChildStdin) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", thread::current().name().unwrap(), "--nocapture"])
        .env(PART, format!("{part} {runtime} {}", path.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")), "{part} {runtime}");
    // What it says at its end has somewhere to go.
    thread::spawn(move || lines.for_each(drop));
    let orders = child.stdin.take().unwrap();
    (child, orders)
}

/// A process whose every system call is seen, by the thread that started it.
struct Traced {
    process: Pid,
    /// Its threads, stopped.
    tasks: Vec<Pid>,
}

impl Traced {
    fn stop(child: &Child) -> Self {
        let process = Pid::from_raw(child.id() as i32);
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_EXITKILL;
        let stop = |task: Pid| {
            ptrace::seize(task, options).unwrap();
            ptrace::interrupt(task).unwrap();
            let stopped = waitpid(task, Some(WaitPidFlag::__WALL)).unwrap();
            assert!(matches!(stopped, WaitStatus::PtraceEvent(..)), "{stopped:?}");
            task
        };
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let number = |task: io::Result<fs::DirEntry>| {
            task.unwrap().file_name().into_string().unwrap().parse().unwrap()
        };
        Self { process, tasks: tasks.map(|task| stop(Pid::from_raw(number(task)))).collect() }
    }

    /// Lets it go on to its end.
    fn run(self) -> Calls {
        let go_on = |task, signal| match ptrace::syscall(task, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("{error}"),
        };
        self.tasks.into_iter().for_each(|task| go_on(task, None));
        let mut calls = Calls::new();
        loop {
            let any = Pid::from_raw(-1);
            match waitpid(any, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap() {
                WaitStatus::PtraceSyscall(task) => {
                    if let Ok(registers) = ptrace::getregs(task) {
                        note(&mut calls, registers.orig_rax as i64, registers.rax as i64);
                    }
                    go_on(task, None);
                }
                WaitStatus::PtraceEvent(task, ..) => go_on(task, None),
                WaitStatus::Stopped(task, signal) => go_on(task, Some(signal)),
                WaitStatus::Exited(task, code) if task == self.process => {
                    assert_eq!(code, 0);
                    return calls;
                }
                WaitStatus::Signaled(task, signal, _) if task == self.process => panic!("{signal}"),
                _ => {}
            }
        }
    }
}

/// A task is stopped at a call, before it or after.
fn note(calls: &mut Calls, call: i64, result: i64) {
    const BEFORE: i64 = -(libc::ENOSYS as i64);
    const NOTHING: i64 = -(libc::EAGAIN as i64);

    match result {
        BEFORE => {}
        NOTHING => *calls.entry(FRUITLESS).or_default() += 1,
        _ => *calls.entry(call).or_default() += 1,
    }
}

/// In a process that a test has started: plays its part, and tells so.
fn play() -> bool {
    let Ok(told) = env::var(PART) else { return false };
    let words: Vec<_> = told.splitn(3, ' ').collect();
    let path = Path::new(words[2]);
    match (words[0], words[1]) {
        ("serve", "blocking") => {
            use simple_ipc::blocking::Server;

            let server = Server::bind(path).unwrap().exchanges(1);
            let running = server.serve(|_, reply| reply.finish_with("pong")).unwrap();
            order();
            running.stop();
            running.join().unwrap();
        }
        ("serve", "smol") => {
            use simple_ipc::smol::Server;

            let server = Server::bind(path).unwrap();
            let running = server.serve(|_, reply| reply.finish_with("pong")).unwrap();
            order();
            running.stop();
            smol::block_on(running.join()).unwrap();
        }
        ("serve", "tokio") => tokio_runtime().block_on(async {
            use simple_ipc::tokio::Server;

            let server = Server::bind(path).unwrap();
            let running = server.serve(|_, reply| reply.finish_with("pong")).unwrap();
            tokio::task::spawn_blocking(order).await.unwrap();
            running.stop();
            running.join().await.unwrap();
        }),
        ("ask", "blocking") => {
            let client = simple_ipc::blocking::Client::new(path);
            (0..order()).for_each(|_| assert_eq!(client.call("ping").unwrap(), b"pong"));
        }
        ("ask", "smol") => smol::block_on(async {
            let client = simple_ipc::smol::Client::new(path);
            for _ in 0..order() {
                assert_eq!(client.call("ping").await.unwrap(), b"pong");
            }
        }),
        ("ask", "tokio") => tokio_runtime().block_on(async {
            let client = simple_ipc::tokio::Client::new(path);
            for _ in 0..order() {
                assert_eq!(client.call("ping").await.unwrap(), b"pong");
            }
        }),
        part => panic!("no such part: {part:?}"),
    }
    true
}

/// Says that it is ready, and waits for a number.
fn order() -> usize {
    println!("ready");
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
    line.trim().parse().unwrap()
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
