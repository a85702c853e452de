//! git's own client and server against ours, in every pairing.
//!
//! `GIT_TEST_TOOL` names git's `t/helper/test-tool`, which is built with git and not installed:
//!
//! ```text
//! cargo build --all-features --examples
//! GIT_TEST_TOOL=…/git/t/helper/test-tool cargo test --all-features --test interop_git
//! ```
#![cfg(all(any(unix, windows), feature = "blocking"))]

mod processes;

use std::io::{self, Write as _};
use std::path::Path;

use processes::{
    Tool, all_at_once, counted, counted_many, rows, runtimes, sorted_lines, with_each_runtime,
};

/// git's tool; without one, says that `test` is skipped.
fn git(test: &str) -> Option<Tool> {
    let git = Tool::gits();
    if git.is_none() {
        // Not `eprintln!`, which nobody sees of a test that passes.
        let skipped = format!("{test}: SKIPPED, for GIT_TEST_TOOL does not name git's test-tool\n");
        io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    git
}

/// Whether git's client or one of ours asks at the same server, the same is printed.
#[track_caller]
fn exercise(server: &Tool, clients: &[&Tool]) {
    for client in clients {
        let daemon = server.start(&["--threads=8"]);
        let path = &*daemon.path;
        let pair = format!("{} at {}", client.name, server.name);

        assert_eq!(client.succeeds("is-active", path, &[]), "", "{pair}");
        for (token, expected) in [
            ("--token=ping", "pong\n"),
            ("--token=pong", "unhandled command: pong\n"),
            ("--token=", "unhandled command: (no-command)\n"),
            ("--token=sendbytes xxyxy", "errs:2\n\n"),
            ("--token=big", &rows(10_000)),
            ("--token=chunk", &rows(10_000)),
        ] {
            let printed = client.succeeds("send", path, &[token]);
            assert!(printed == expected, "{pair}: {token}: {printed:.200}");
        }
        // Up to one full packet, one byte more, and many packets.
        for bytes in [1, 65_506, 65_507, 100_000, 10_000_000] {
            let options = [&*format!("--bytecount={bytes}"), "--byte=Q"];
            let printed = client.succeeds("sendbytes", path, &options);
            assert_eq!(printed, counted('Q', bytes), "{pair}");
        }
        let options = ["--threads=7", "--bytecount=19", "--batchsize=13"];
        let printed = client.succeeds("multiple", path, &options);
        assert_eq!(sorted_lines(&printed), counted_many(7, 19, 13), "{pair}");

        assert_eq!(client.succeeds("stop-daemon", path, &[]), "", "{pair}");
        for tool in [client, &server] {
            tool.fails("is-active", path, &[]);
            tool.fails("send", path, &["--token=ping"]);
        }
    }
}

#[test]
fn our_clients_at_gits_server() {
    let Some(git) = git("our_clients_at_gits_server") else { return };
    // Its own as well: that is what the others are compared with.
    let ours: Vec<_> = runtimes().into_iter().map(Tool::ours).collect();
    all_at_once([&git].into_iter().chain(&ours), |client| exercise(&git, &[client]));
}

#[test]
fn gits_client_at_our_servers() {
    let Some(git) = git("gits_client_at_our_servers") else { return };
    with_each_runtime(|server| exercise(server, &[&git, server]));
}

#[test]
fn slow_answers() {
    let Some(git) = git("slow_answers") else { return };
    let slow = |client: &Tool, server: &Path| {
        assert!(
            client.succeeds("send", server, &["--token=slow"]) == rows(1_000),
            "{}",
            client.name
        );
    };
    let ours: Vec<_> = runtimes().into_iter().map(Tool::ours).collect();
    let gits = git.start(&[]);
    all_at_once(&ours, |tool| {
        let daemon = tool.start(&[]);
        all_at_once([(tool, &gits.path), (&git, &daemon.path)], |(client, server)| {
            slow(client, server);
        });
    });
}

/// Each refuses to displace the other.
#[test]
fn one_server_at_a_path() {
    let Some(git) = git("one_server_at_a_path") else { return };
    with_each_runtime(|ours| {
        for (first, second) in [(&git, ours), (ours, &git)] {
            let daemon = first.start(&[]);
            second.fails("run-daemon", &daemon.path, &[]);
            assert_eq!(second.succeeds("send", &daemon.path, &["--token=ping"]), "pong\n");
            second.succeeds("stop-daemon", &daemon.path, &[]);
        }
    });
}
