//! `examples/test_app` on each runtime, in real processes, as a user would run it.
#![cfg(all(any(unix, windows), feature = "blocking"))]

mod processes;
mod raw_end;
mod wine;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use processes::{
    Folder, Process, Tool, all_at_once, counted, counted_many, rows, run, runtimes, sorted_lines,
    with_each_runtime,
};
use raw_end::{Stream, read_to_end};
use simple_ipc::blocking::Client;
use simple_ipc::connect::Patience;
use simple_ipc::endpoint::{State, state};

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
        assert_eq!(state(path), State::NotFound);
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

/// Runs `test` on a server of each runtime with a client of each, all at once.
fn with_each_pair(server_options: &[&str], test: impl Fn(&Tool, &Path, &str) + Sync) {
    with_each_runtime(|server| {
        all_at_once(runtimes().into_iter().map(Tool::ours), |client| {
            let daemon = server.start(server_options);
            test(&client, &daemon.path, &format!("{} at {}", client.name, server.name));
        });
    });
}

#[test]
fn clients_and_servers_of_all_runtimes() {
    with_each_pair(&[], |client, path, pair| {
        let send = |token: &str| client.succeeds("send", path, &[&format!("--token={token}")]);
        assert_eq!(send("ping"), "pong\n", "{pair}");
        assert!(send("big") == rows(10_000), "{pair}");
        assert!(send("chunk") == rows(10_000), "{pair}");
        let printed = client.succeeds("sendbytes", path, &["--bytecount=10000000"]);
        assert_eq!(printed, counted('x', 10_000_000), "{pair}");
        let options = ["--threads=7", "--bytecount=19", "--batchsize=13"];
        let printed = client.succeeds("multiple", path, &options);
        assert_eq!(sorted_lines(&printed), counted_many(7, 19, 13), "{pair}");
        client.succeeds("stop-daemon", path, &[]);
        assert_eq!(state(path), State::NotFound, "{pair}");
    });
}

#[test]
fn long_requests_from_many_threads() {
    // Wine takes minutes for all of them.
    let all = !*wine::IS_WINE || std::env::var("SIMPLE_IPC_ROUNDS").is_ok_and(|all| all == "all");
    let each = if all { 320 } else { 20 };
    with_each_pair(&[], |client, path, pair| {
        let batch = format!("--batchsize={each}");
        let options = ["--threads=8", "--bytecount=70000", &batch];
        let printed = client.succeeds("multiple", path, &options);
        assert_eq!(sorted_lines(&printed), counted_many(8, 70_000, each), "{pair}");
    });
}

#[test]
fn forty_clients_at_once_of_a_server_that_serves_one() {
    with_each_pair(&["--threads=1"], |client, path, pair| {
        let options = ["--threads=40", "--bytecount=19", "--batchsize=5"];
        let printed = client.succeeds("multiple", path, &options);
        assert!(printed.ends_with("client (good 200) (join 0), (errors 0)\n"), "{pair}");
    });
    // And in processes of their own.
    with_each_runtime(|tool| {
        let daemon = tool.start(&["--threads=1"]);
        all_at_once(0..40, |_| {
            assert_eq!(tool.succeeds("send", &daemon.path, &["--token=ping"]), "pong\n");
        });
    });
}

#[test]
fn slow_rows_come_one_by_one() {
    with_each_runtime(|server| {
        let daemon = server.start(&["--threads=8"]);
        let began = Instant::now();
        let mut answer = Client::new(&daemon.path).connect().unwrap().send("slow").unwrap();
        let mut first = [0; 81];
        answer.read_exact(&mut first).unwrap();
        // All of them take ten seconds at least.
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(rows(1).as_bytes().starts_with(&first));
        drop(answer);

        all_at_once(runtimes().into_iter().map(Tool::ours), |client| {
            let printed = client.succeeds("send", &daemon.path, &["--token=slow"]);
            assert!(printed == rows(1_000), "{} at {}", client.name, server.name);
        });
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
                    let mut stream = Stream::connect(&daemon.path).unwrap();
                    stream.write_all(half_a_header.as_bytes()).unwrap();
                    stream
                });
                for client in runtimes().into_iter().map(Tool::ours) {
                    let printed = client.succeeds("send", &daemon.path, &["--token=ping"]);
                    assert_eq!(printed, "pong\n", "{} at {}", client.name, tool.name);
                }
            }
            // All but one can still speak.
            let _silent = silent.pop().unwrap();
            for mut stream in silent {
                stream.write_all(&b"0008ping0000"[half_a_header.len()..]).unwrap();
                assert_eq!(read_to_end(&mut stream), b"0008pong0000");
            }
            // And that one is not in the way of a stop.
            tool.succeeds("stop-daemon", &daemon.path, &[]);
        }
    });
}

#[test]
fn after_a_server_was_killed() {
    with_each_runtime(|tool| {
        let folder = Folder::new();
        let path = folder.0.join("ipc");
        let mut server = run_daemon(tool, &path);
        server.0.kill().unwrap();
        server.0.wait().unwrap();
        // A socket stays, and nobody listens; a pipe goes with its server.
        let (gone, says) = if cfg!(windows) {
            (State::NotFound, "path not found")
        } else {
            (State::NotListening, "listening")
        };
        assert_eq!(state(&path), gone);

        for subcommand in ["is-active", "send", "stop-daemon"] {
            let began = Instant::now();
            let error = tool.fails(subcommand, &path, &[]);
            assert!(error.contains(says), "{error}");
            // git's client waits, to make sure that a dead server is dead.
            assert!(began.elapsed() < Patience::GIT, "{:?}", began.elapsed());
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
        assert_eq!(state(&path), State::NotFound);
        // It did not wait for the drain deadline.
        assert!(began.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn of_many_servers_at_once_one_stays() {
    if wine::skips("of_many_servers_at_once_one_stays", wine::FIRST_INSTANCE) {
        return;
    }
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
    if wine::skips("many_starters_at_once_all_find_a_server", wine::FIRST_INSTANCE) {
        return;
    }
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

/// A file is in the way of a socket; a pipe is no file.
#[cfg(unix)]
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
        assert_eq!(state(folder.0.join("ipc-test")), State::Listening);
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
