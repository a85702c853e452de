//! `examples/test_app` on each runtime, in real processes, as a user would run it.
#![cfg(all(unix, feature = "blocking"))]

mod processes;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use processes::{
    Folder, Process, Tool, all_at_once, counted, counted_many, rows, run, runtimes, sorted_lines,
    with_each_runtime,
};
use simple_ipc::blocking::Client;

#[test]
fn every_subcommand() {
    with_each_runtime(|tool| {
        let daemon = tool.start(&["--threads=8"]);
        let path = &*daemon.path;
        let send = |token: &str| tool.succeeds("send", path, &[&format!("--token={token}")]);
        let sendbytes = |options: &[&str]| tool.succeeds("sendbytes", path, options);

        assert_eq!(tool.succeeds("is-active", path, &[]), "");
        assert_eq!(send("ping"), "pong\n");
        assert_eq!(send("pin"), "unhandled command: pin\n");
        assert_eq!(send("pings"), "unhandled command: pings\n");
        assert_eq!(send(""), "unhandled command: (no-command)\n");
        assert_eq!(tool.succeeds("send", path, &[]), "unhandled command: (no-command)\n");
        assert_eq!(send("sendbytes xxyxy"), "errs:2\n\n");
        assert!(send("big") == rows(10_000));
        assert!(send("chunk") == rows(10_000));

        assert_eq!(sendbytes(&[]), counted('x', 1024));
        assert_eq!(sendbytes(&["--bytecount=0"]), counted('x', 1));
        assert_eq!(sendbytes(&["--bytecount=-3", "--byte=yz"]), counted('y', 1));
        for bytes in [65_506, 65_507, 100_000, 10_000_000] {
            let bytecount = format!("--bytecount={bytes}");
            assert_eq!(sendbytes(&[&bytecount, "--byte=A"]), counted('A', bytes));
        }

        let printed = tool.succeeds("multiple", path, &[]);
        assert_eq!(sorted_lines(&printed), counted_many(5, 1024, 10));
        let options = ["--threads=7", "--bytecount=19", "--batchsize=13"];
        let printed = tool.succeeds("multiple", path, &options);
        assert_eq!(sorted_lines(&printed), counted_many(7, 19, 13));
        assert!(printed.ends_with("client (good 91) (join 0), (errors 0)\n"));

        assert_eq!(tool.succeeds("stop-daemon", path, &[]), "");
        assert!(!path.exists());
        for subcommand in ["is-active", "stop-daemon", "send", "sendbytes"] {
            let error = tool.fails(subcommand, path, &[]);
            assert!(error.contains("path not found"), "{error}");
        }
    });
}

#[test]
fn letters_come_again_with_other_lengths() {
    let tool = Tool::ours("blocking");
    let daemon = tool.start(&[]);
    let options = ["--threads=28", "--bytecount=5", "--batchsize=2"];
    let printed = sorted_lines(&tool.succeeds("multiple", &daemon.path, &options));
    let first: Vec<_> = printed.iter().filter(|line| line.starts_with("sent:A")).collect();
    let expected: Vec<_> = (5..9).map(|n| format!("sent:A{n:08} rcvd:A{n:08}")).collect();
    assert_eq!(first, expected.iter().collect::<Vec<_>>());
}

#[test]
fn clients_and_servers_of_all_runtimes() {
    with_each_runtime(|server| {
        let daemon = server.start(&[]);
        for client in runtimes().into_iter().map(Tool::ours) {
            let printed = client.succeeds("send", &daemon.path, &["--token=ping"]);
            assert_eq!(printed, "pong\n", "{} at {}", client.name, server.name);
            let printed = client.succeeds("sendbytes", &daemon.path, &["--bytecount=200000"]);
            assert_eq!(printed, counted('x', 200_000), "{} at {}", client.name, server.name);
        }
    });
}

#[test]
fn slow_rows_come_one_by_one() {
    with_each_runtime(|tool| {
        let daemon = tool.start(&[]);
        let began = Instant::now();
        let client = Client::new(&daemon.path);
        let mut answer = client.connect().unwrap().send("slow").unwrap();
        let mut first = [0; 81];
        answer.read_exact(&mut first).unwrap();
        // All of them take ten seconds at least.
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(rows(1).as_bytes().starts_with(&first));
        drop(answer);

        assert!(tool.succeeds("send", &daemon.path, &["--token=slow"]) == rows(1_000));
        assert!(began.elapsed() >= Duration::from_secs(10));
    });
}

#[test]
fn silent_clients_are_in_nobodys_way() {
    const THREADS: usize = 4;

    with_each_runtime(|tool| {
        for half_a_header in ["", "00"] {
            let daemon = tool.start(&[&format!("--threads={THREADS}")]);
            let mut silent = Vec::new();
            for count in [THREADS, 10 * THREADS] {
                silent.resize_with(count, || {
                    let mut stream = UnixStream::connect(&daemon.path).unwrap();
                    stream.write_all(half_a_header.as_bytes()).unwrap();
                    stream
                });
                let began = Instant::now();
                assert_eq!(tool.succeeds("send", &daemon.path, &["--token=ping"]), "pong\n");
                assert!(began.elapsed() < Duration::from_secs(5));
                silent.iter_mut().for_each(assert_open);
            }
            // They can still speak.
            let mut last = silent.pop().unwrap();
            last.set_nonblocking(false).unwrap();
            last.write_all(&b"0008ping0000"[half_a_header.len()..]).unwrap();
            let mut answer = Vec::new();
            last.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"0008pong0000");
            // Nor in the way of a stop.
            tool.succeeds("stop-daemon", &daemon.path, &[]);
        }
    });
}

fn assert_open(stream: &mut UnixStream) {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}

#[test]
fn after_a_server_was_killed() {
    with_each_runtime(|tool| {
        let folder = Folder::new();
        let path = folder.0.join("ipc");
        let mut server = run_daemon(tool, &path);
        server.0.kill().unwrap();
        server.0.wait().unwrap();
        assert!(path.exists());

        for subcommand in ["is-active", "send", "stop-daemon"] {
            let began = Instant::now();
            let error = tool.fails(subcommand, &path, &[]);
            assert!(error.contains("listening"), "{error}");
            // git's client waits for a second to make sure that a dead server is dead.
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        }

        tool.succeeds("start-daemon", &path, &[]);
        assert_eq!(tool.succeeds("send", &path, &["--token=ping"]), "pong\n");
        tool.succeeds("stop-daemon", &path, &[]);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    });
}

/// A server that answers, as a child of this process.
fn run_daemon(tool: &Tool, path: &Path) -> Process {
    let mut command = tool.command("run-daemon", &[&format!("--name={}", path.display())]);
    let server = Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let client = Client::new(path).wait_if_not_found(Duration::from_secs(30));
    assert_eq!(client.call("ping").unwrap(), b"pong");
    server
}

#[test]
fn a_live_server_keeps_its_path() {
    with_each_runtime(|tool| {
        let folder = Folder::new();
        let path = folder.0.join("ipc");
        let mut server = run_daemon(tool, &path);
        let error = tool.fails("run-daemon", &path, &[]);
        assert!(error.contains("a live server has this path already"), "{error}");
        // There is a server, which is what was asked for.
        tool.succeeds("start-daemon", &path, &[]);
        assert_eq!(tool.succeeds("send", &path, &["--token=ping"]), "pong\n");
        // So the first one is the one that is told to quit.
        let began = Instant::now();
        assert_eq!(tool.succeeds("send", &path, &["--token=quit"]), "");
        assert!(server.0.wait().unwrap().success());
        assert!(!path.exists());
        // It did not wait for the drain deadline.
        assert!(began.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn of_many_servers_at_once_one_stays() {
    const SERVERS: usize = 8;

    with_each_runtime(|tool| {
        let folder = Folder::new();
        let path = &*folder.0.join("ipc");
        let (ended, endings) = channel();
        thread::scope(|scope| {
            for _ in 0..SERVERS {
                let ended = ended.clone();
                scope.spawn(move || ended.send(tool.run("run-daemon", path, &[])).unwrap());
            }
            for outcome in endings.iter().take(SERVERS - 1) {
                assert!(!outcome.status.success());
                assert!(outcome.error().contains("a live server has this path already"));
            }
            assert_eq!(tool.succeeds("send", path, &["--token=ping"]), "pong\n");
            tool.succeeds("stop-daemon", path, &[]);
            assert!(endings.recv().unwrap().status.success());
        });
    });
}

#[test]
fn many_starters_at_once_all_find_a_server() {
    with_each_runtime(|tool| {
        let folder = Folder::new();
        let path = &*folder.0.join("ipc");
        all_at_once(0..8, |_| {
            tool.succeeds("start-daemon", path, &[]);
            assert_eq!(tool.succeeds("send", path, &["--token=ping"]), "pong\n");
        });
        tool.succeeds("stop-daemon", path, &[]);
    });
}

#[test]
fn a_file_in_the_way_is_left_alone() {
    with_each_runtime(|tool| {
        let folder = Folder::new();
        let path = folder.0.join("notes.txt");
        fs::write(&path, "precious").unwrap();
        for subcommand in ["is-active", "run-daemon", "start-daemon", "send", "stop-daemon"] {
            let error = tool.fails(subcommand, &path, &[]);
            assert!(error.contains("invalid path"), "{subcommand}: {error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    });
}

#[test]
fn without_a_name_it_is_ipc_test() {
    with_each_runtime(|tool| {
        let folder = Folder::new();
        let there = |subcommand| run(tool.command(subcommand, &[]).current_dir(&folder.0));
        assert!(there("start-daemon").status.success());
        assert!(folder.0.join("ipc-test").exists());
        assert_eq!(there("send").stdout, "unhandled command: (no-command)\n");
        assert!(there("stop-daemon").status.success());
    });
}

#[test]
fn what_is_misspelt_is_an_error() {
    let folder = Folder::new();
    let tool = Tool::ours("blocking");
    let supported = run(&mut tool.command("SUPPORTS_SIMPLE_IPC", &[]));
    assert!(supported.status.success());
    assert!(run(&mut tool.command("--help", &[])).stdout.starts_with("usage: "));
    let cases = [
        ("", "", "no subcommand"),
        ("receive", "", "no subcommand \"receive\""),
        ("send", "ping", "\"ping\" is no option"),
        ("send", "--tokens=ping", "no option --tokens"),
        ("send", "--threads=many", "--threads=many: "),
        ("send", "--runtime=none", "no runtime \"none\": it is blocking, smol or tokio"),
    ];
    for (subcommand, option, expected) in cases {
        let options: &[&str] = if option.is_empty() { &[] } else { &[option] };
        let error = tool.fails(subcommand, &folder.0.join("ipc"), options);
        assert!(error.starts_with(expected), "{error}");
    }
    for runtime in ["smol", "tokio"] {
        if !runtimes().contains(&runtime) {
            let option = format!("--runtime={runtime}");
            let error = tool.fails("send", &folder.0.join("ipc"), &[&option]);
            assert_eq!(error, format!("{option} needs a build with --features {runtime}"));
        }
    }
}
