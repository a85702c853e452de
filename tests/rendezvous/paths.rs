//! Paths of every kind.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use simple_ipc::ErrorKind;
use simple_ipc::blocking::Server;
use simple_ipc::connect::State;
use simple_ipc::endpoint::{self, BindOptions};

use super::support::*;

/// A path of `len` bytes below `folder`, which is made but for the last part.
fn long_path(folder: &Path, len: usize) -> PathBuf {
    let mut path = folder.to_owned();
    while path.as_os_str().len() + 60 < len {
        path.push("a-folder-with-a-long-name-as-build-systems-make-them");
    }
    fs::create_dir_all(&path).unwrap();
    let rest = len - path.as_os_str().len() - 1;
    path.push("s".repeat(rest));
    assert_eq!(path.as_os_str().len(), len);
    path
}

fn works(runtime: Runtime, path: &Path) {
    assert_eq!(endpoint::state(path), State::NotFound, "{path:?}");
    let mut serving = Process::serving(&mut server(runtime, path, ""));
    assert_eq!(endpoint::state(path), State::Listening, "{path:?}");
    assert_eq!(client(path).call("x").unwrap(), b"x", "{runtime:?} {path:?}");
    assert_kind(Server::bind(path), ErrorKind::InUse);
    serving.kill();
    assert_eq!(endpoint::state(path), State::NotListening, "{path:?}");
    let mut serving = Process::serving(&mut server(runtime, path, ""));
    client(path).call("quit").unwrap();
    assert_eq!(serving.hear(), "ended Quit 0");
    assert!(fs::symlink_metadata(path).is_err());
}

#[test]
fn a_path_of_300_bytes_works_for_server_client_and_state() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        for len in [107, 108, 109, 300, 2000] {
            works(runtime, &long_path(&scratch.path(len.to_string()), len));
        }
    }
}

#[test]
fn a_path_with_a_space_and_bytes_that_are_no_utf_8_works() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let folder = scratch.path(OsStr::from_bytes(b"a folder \xff\xfe of mine"));
        fs::create_dir(&folder).unwrap();
        works(runtime, &folder.join(OsStr::from_bytes(b"\x80 s")));
        works(runtime, &long_path(&folder, 300));
    }
}

#[test]
fn a_long_name_works_where_its_companions_have_room() {
    let scratch = Scratch::new();
    works(Runtime::Blocking, &scratch.path("n".repeat(240)));
    let too_long = scratch.path("n".repeat(256));
    assert_kind(Server::bind(&too_long), ErrorKind::Endpoint(State::Invalid));
    assert_eq!(endpoint::state(&too_long), State::Invalid);
}

#[test]
fn a_path_that_names_a_folder_is_no_endpoint() {
    let scratch = Scratch::new();
    let path = scratch.path("s/");
    assert_kind(Server::bind(&path), ErrorKind::Endpoint(State::Invalid));
    assert_eq!(endpoint::state(&path), State::Invalid);
    let error = client(&path).call("x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Endpoint(State::Invalid));
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn a_second_name_needs_room_and_takes_nobody_elses() {
    let scratch = Scratch::new();
    let republish = BindOptions::new().republish(true);
    let long = scratch.path("n".repeat(250));
    let error = Server::bind_with(&long, &republish).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Endpoint(State::Invalid));
    assert!(error.to_string().contains("too long for the second one"), "{error}");

    let path = scratch.path("s");
    fs::write(scratch.path(".s.spare"), "mine").unwrap();
    for options in [BindOptions::new(), republish] {
        drop(Server::bind_with(&path, &options).unwrap());
        assert_eq!(fs::read(scratch.path(".s.spare")).unwrap(), b"mine");
    }
}

/// The part of a process that has no `/proc`, and only what is given to it.
pub(crate) fn without_proc() {
    let root = env::var_os("RENDEZVOUS_PATH").unwrap();
    rustix::process::chroot(&root).unwrap();
    env::set_current_dir("/").unwrap();
    assert!(!Path::new("/proc/self").exists());
    let path = long_path(Path::new("/long"), 300);
    let bound = Server::bind(&path).map_err(|error| error.kind());
    if !Path::new("/tmp").exists() {
        // Where nothing short can be made to lead there, it is said.
        let invalid = ErrorKind::Endpoint(State::Invalid);
        assert_eq!(bound.map(drop), Err(invalid));
        assert_eq!(endpoint::state(&path), State::NotFound);
        say("impossible");
        return;
    }
    let running = bound.unwrap().serve(|request, reply| reply.finish_with(&*request)).unwrap();
    assert_eq!(endpoint::state(&path), State::Listening);
    assert_eq!(client(&path).call("x").unwrap(), b"x");
    assert_kind(Server::bind(&path), ErrorKind::InUse);
    running.stop();
    running.join().unwrap();
    assert_eq!(endpoint::state(&path), State::NotFound);
    assert_eq!(fs::read_dir("/tmp").unwrap().count(), 0, "what led there is gone");
    say("works");
}

#[test]
fn a_long_path_works_without_proc_and_where_it_is_impossible_says_so() {
    if !is_root() {
        return;
    }
    for (folder, said) in [("tmp", "works"), ("other", "impossible")] {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path(folder)).unwrap();
        let mut part = part("no proc");
        part.env("RENDEZVOUS_PATH", scratch.path("")).env_remove("TMPDIR");
        assert_eq!(Process::start(&mut part).hear(), said);
    }
}

#[test]
fn the_runtime_folder_is_private_and_ours_or_an_error() {
    // In a process of its own kind it would be the environment's; here the fallback is checked
    // through what must hold of either.
    let app = format!("rendezvous-app-{}", std::process::id());
    let folder = endpoint::runtime_folder(&app).unwrap();
    assert_eq!(folder, endpoint::runtime_folder(&app).unwrap());
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    drop(Server::bind(folder.join("s")).unwrap());
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
    let error = endpoint::runtime_folder(&app).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    fs::remove_dir(&folder).unwrap();
    std::os::unix::fs::symlink("/", &folder).unwrap();
    assert!(endpoint::runtime_folder(&app).is_err(), "a link is not followed");
    fs::remove_file(&folder).unwrap();
    for app in ["", ".", "..", "a/b", "a\0"] {
        let error = endpoint::runtime_folder(app).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
