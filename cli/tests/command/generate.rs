//! Help, completions and manual pages.

use std::fs;

use predicates::prelude::*;

use crate::support::*;

const COMMANDS: [&[&str]; 10] = [
    &["state"],
    &["send"],
    &["serve"],
    &["bench"],
    &["pkt-line"],
    &["pkt-line", "pack"],
    &["pkt-line", "unpack"],
    &["pkt-line", "inspect"],
    &["completions"],
    &["man"],
];

#[test]
fn every_command_explains_itself_with_examples() {
    for command in COMMANDS {
        for help in ["-h", "--help"] {
            simple_ipc(command.iter().chain([&help]))
                .assert()
                .success()
                .stdout(predicate::str::contains("Examples:\n"))
                .stderr("");
        }
    }
    simple_ipc(["--help"])
        .assert()
        .success()
        .stdout(predicate::str::contains("Exit status:\n    0"));
    simple_ipc(["--version"]).assert().success().stdout(predicate::str::starts_with("simple-ipc "));
}

#[test]
fn without_a_command_there_is_help() {
    simple_ipc([""; 0]).assert().code(2).stderr(predicate::str::contains("Usage:"));
    simple_ipc(["pkt-line"]).assert().code(2).stderr(predicate::str::contains("Usage:"));
    fails(&mut simple_ipc(["frobnicate"]), 2, "'frobnicate'");
    fails(&mut simple_ipc(["completions"]), 2, "<SHELL>");
    fails(&mut simple_ipc(["completions", "tcsh"]), 2, "bash");
}

#[test]
fn completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = predicate::str::contains("simple-ipc").and(predicate::str::contains("pkt-line"));
        simple_ipc(["completions", shell]).assert().success().stdout(said).stderr("");
    }
}

#[test]
fn manual_pages() {
    let title = predicate::str::contains(".TH simple-ipc 1");
    simple_ipc(["man"]).assert().success().stdout(title).stderr("");
    let folder = Folder::new();
    let pages = folder.path("new/man1");
    simple_ipc(["man".as_ref(), "--folder".as_ref(), pages.as_os_str()])
        .assert()
        .success()
        .stdout("");
    let mut names: Vec<_> =
        fs::read_dir(&pages).unwrap().map(|page| page.unwrap().file_name()).collect();
    names.sort();
    assert!(names.contains(&"simple-ipc-send.1".into()), "{names:?}");
    assert!(names.contains(&"simple-ipc-pkt-line-pack.1".into()), "{names:?}");
    let plain = folder.path("plain");
    fs::write(&plain, "").unwrap();
    let arguments = ["man".as_ref(), "--folder".as_ref(), plain.as_os_str()];
    fails(&mut simple_ipc(arguments), 1, "cannot write manual pages to");
}
