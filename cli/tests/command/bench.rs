//! `simple-ipc bench`.

#[cfg(unix)]
use std::fs;

#[cfg(unix)]
use serde_json::Value;

use crate::support::*;

#[test]
fn misuse() {
    fails(&mut simple_ipc(["bench"]), 2, "<PATH>");
    fails(&mut simple_ipc(["bench", "x", "--clients", "0"]), 2, "--clients");
    fails(&mut simple_ipc(["bench", "x", "--requests", "0"]), 2, "--requests");
    fails(&mut simple_ipc(["bench", "x", "y", "--size", "1"]), 2, "--size");
    let folder = Folder::new();
    fails(&mut simple_ipc(["bench".as_ref(), folder.ipc().as_os_str()]), 3, "path not found");
    fails(&mut simple_ipc(["bench", "x", "--size", "8000000G"]), 2, "more than there is memory");
}

#[cfg(unix)]
#[test]
fn figures_add_up() {
    let folder = Folder::new();
    let path = folder.ipc();
    let server = Server::start(&path, ["--echo"]);
    let bench = |arguments: &[&str]| {
        let mut command = simple_ipc(["bench".as_ref(), path.as_os_str()]);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stderr, b"");
        String::from_utf8(output.stdout).unwrap()
    };
    let arguments = ["--json", "--requests", "200", "--clients", "3", "--size", "70K"];
    let report: Value = serde_json::from_str(&bench(&arguments)).unwrap();
    assert_eq!(report["answers"], 200);
    assert_eq!(report["failed"], 0);
    assert_eq!(report["request_bytes"], 71680);
    assert_eq!(report["answer_bytes"], 71680);
    let latency = &report["latency"];
    let counts = latency["histogram"].as_array().unwrap().iter().map(|row| &row["count"]);
    assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 200);
    let number = |value: &Value| value.as_u64().unwrap();
    let percentiles = &latency["percentiles"];
    assert!(number(&latency["min"]) <= number(&percentiles["50"]));
    assert!(number(&percentiles["50"]) <= number(&percentiles["99"]));
    assert!(number(&percentiles["99"]) <= number(&latency["max"]));

    let text = bench(&["ping", "--duration", "50ms"]);
    assert!(text.contains("0 failed") && text.contains("99.9 %") && text.contains('#'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    server.stop();
}

#[cfg(unix)]
#[test]
fn failures_are_counted() {
    let folder = Folder::new();
    let path = folder.ipc();
    // The first request passes, and those after it do not.
    let mark = folder.path("mark");
    let script = format!("mkdir {}", mark.display());
    let server = Server::running(&path, "blocking", &script);
    let mut command = simple_ipc(["bench".as_ref(), path.as_os_str()]);
    let command = command.args(["--requests", "5", "--clients", "1"]);
    fails(command, 9, ": 5 of 5 requests failed");
    // It does not go on for ever with nobody to measure.
    let mut command = simple_ipc(["bench".as_ref(), path.as_os_str()]);
    fs::remove_dir(&mark).unwrap();
    fails(command.args(["--duration", "1h"]), 9, "stopped early: ");
    server.stop();
}

#[cfg(unix)]
#[test]
fn a_request_has_a_limit() {
    let folder = Folder::new();
    let path = folder.ipc();
    let (mark, gate) = (folder.path("mark"), folder.path("gate"));
    make_fifo(&gate);
    let script = format!("mkdir {} || cat {}", mark.display(), gate.display());
    let server = Server::running(&path, "blocking", &script);
    let mut command = simple_ipc(["bench".as_ref(), path.as_os_str()]);
    let command = command.args(["-n", "1", "-c", "1", "--timeout", "100ms"]);
    fails(command, 8, "it was not over within 100ms");
    server.stop();
}
