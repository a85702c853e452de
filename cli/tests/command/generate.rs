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

/// As a shell asks for them.
#[cfg(unix)]
#[test]
fn bash_completes_below_the_first_word() {
    let completes = |words: &str, expected: &str| {
        let script = "source <(\"$0\" completions bash)\n\
            COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n\
            complete=$(complete -p simple-ipc); complete=${complete#* -F }\n\
            ${complete%% *} simple-ipc \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"\n\
            printf '%s ' \"${COMPREPLY[@]}\"";
        let mut bash = std::process::Command::new("bash");
        let Ok(said) = bash.args(["-c", script, PROGRAM, words]).output() else {
            return eprintln!("skipped: there is no bash");
        };
        let (said, error) = (String::from_utf8(said.stdout), String::from_utf8(said.stderr));
        assert_eq!(error.unwrap(), "");
        assert_eq!(said.unwrap().trim(), expected, "{words}");
    };
    completes("simple-ipc se", "send serve");
    completes("simple-ipc serve --run", "--runtime");
    completes("simple-ipc serve --runtime s", "smol");
    completes("simple-ipc pkt-line in", "inspect");
    completes("simple-ipc pkt-line pack --m", "--message");
}

#[test]
fn manual_pages() {
    let title = predicate::str::contains(".TH simple-ipc 1");
    simple_ipc(["man"]).assert().success().stdout(title).stderr("");
    let page = simple_ipc(["man", "serve"]).output().unwrap().stdout;
    let page = String::from_utf8(page).unwrap();
    for part in [
        ".TH simple-ipc-serve 1",
        "\\&simple\\-ipc serve [OPTIONS] PATH \\-\\- COMMAND...\n",
        ".SH \"EXAMPLES\"\n.nf\n",
        "date \"+%T, $name\"",
        ".SH \"EXIT STATUS\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    simple_ipc(["man", "pkt-line", "pack"]).assert().success();
    fails(&mut simple_ipc(["man", "nope"]), 2, "has no command 'nope': its commands are state");
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
