//! `examples/exchange`, the command that shows a whole exchange, does what it says.
#![cfg(all(any(unix, windows), feature = "blocking"))]

mod processes;

use std::path::Path;
use std::process::{Command, Stdio};

use processes::{Folder, example, run};

#[test]
fn shows_a_server_and_its_clients_and_leaves_nothing() {
    let folder = Folder::new();
    let mut command = Command::new(example("exchange"));
    command.stdin(Stdio::null());
    // On Unix and on Windows.
    command.env("TMPDIR", &folder.0).env("TMP", &folder.0);
    let outcome = run(&mut command);
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{outcome:?}");

    let lines: Vec<_> = outcome.stdout.lines().collect();
    let (who, path) = lines[0].split_once(": listens on ").unwrap();
    assert!(Path::new(path).starts_with(&folder.0), "{path}");
    for question in ["good morning", "what is new?", "good night"] {
        let exchange = format!("asked {question:?}, got \"{who} heard: {question}\" in ");
        assert!(lines.iter().any(|line| line.contains(&exchange)), "{}", outcome.stdout);
    }
    assert_eq!(*lines.last().unwrap(), format!("{who}: has stopped, and its path is gone"));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
}
