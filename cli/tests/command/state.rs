//! `simple-ipc state`: six outcomes, an exit status each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::getuid;

use crate::support::*;

#[track_caller]
fn says(folder: &Folder, name: &str, status: i32, text: &str) {
    let path = folder.path(name);
    simple_ipc(["state".as_ref(), path.as_os_str()])
        .assert()
        .code(status)
        .stdout(format!("{text}\n"))
        .stderr("");
    let quiet = ["state".as_ref(), "--quiet".as_ref(), path.as_os_str()];
    simple_ipc(quiet).assert().code(status).stdout("").stderr("");
}

#[test]
fn outcomes() {
    let folder = Folder::new();
    let server = Server::start(&folder.ipc(), ["--echo"]);
    says(&folder, "x.ipc", 0, "listening");
    server.stop();
    says(&folder, "x.ipc", 3, "path not found");
    says(&folder, "no/such/folder", 3, "path not found");
    drop(UnixListener::bind(folder.path("dead")).unwrap());
    says(&folder, "dead", 4, "not listening");
    fs::write(folder.path("plain"), "text").unwrap();
    says(&folder, "plain", 7, "invalid path");
    says(&folder, "", 7, "invalid path");
}

#[test]
fn denied() {
    let folder = Folder::new();
    let _server = Server::start(&folder.ipc(), ["--echo"]);
    let mut command = Command::new(PROGRAM);
    if getuid().is_root() {
        // Nothing is denied to root, so somebody else asks, with a program that they can reach.
        let program = folder.path("simple-ipc");
        fs::copy(PROGRAM, &program).unwrap();
        fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        command = Command::new(program);
        command.uid(65534).gid(65534);
    } else {
        fs::set_permissions(folder.ipc(), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let output = command.arg("state").arg(folder.ipc()).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(output.stdout, b"denied\n");
}

#[test]
fn another_error_says_which() {
    let folder = Folder::new();
    let path = folder.path("loop");
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let mut command = simple_ipc(["state".as_ref(), path.as_os_str()]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(matches!(said.trim(), "invalid path" | "other error"), "{output:?}");
    assert_ne!(output.status.code(), Some(0));
}
