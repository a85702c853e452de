//! Who may connect, and who is known to have.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use simple_ipc::blocking::{Client, Server};
use simple_ipc::client::Delivery;
use simple_ipc::endpoint;
use simple_ipc::{ErrorKind, Phase};

use super::support::*;

const OTHER: u32 = 65_533;
const GROUP: u32 = 65_532;

/// The part of another user: says what it sees at the path.
pub(crate) fn look() {
    let path = PathBuf::from(std::env::var_os("RENDEZVOUS_PATH").unwrap());
    let kind = |error: simple_ipc::Error| format!("{:?}", error.kind());
    let call = Client::new(&path).call("peer").map(|answer| String::from_utf8(answer).unwrap());
    say(&format!("{:?}", endpoint::state(&path)));
    say(&call.unwrap_or_else(kind));
    say(&Server::bind(&path).map_or_else(kind, |_| "bound".into()));
}

/// As another user, who finds this program where it can run it.
fn other(scratch: &Scratch, mut command: Command, uid: u32, gid: u32) -> Command {
    let program = scratch.path("program");
    if !program.exists() {
        // By a process of its own: other tests' children, forked while this one had it open for
        // writing, would keep it from being run.
        let copied = Command::new("cp").arg(command.get_program()).arg(&program).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut as_other = Command::new(&program);
    as_other.args(command.get_args()).uid(uid).gid(gid);
    for (name, value) in command.get_envs() {
        as_other.env(name, value.unwrap());
    }
    command = as_other;
    command
}

fn seen(scratch: &Scratch, path: &PathBuf, uid: u32, gid: u32) -> [String; 3] {
    let mut looking = part("look");
    looking.env("RENDEZVOUS_PATH", path);
    let mut looking = Process::start(&mut other(scratch, looking, uid, gid));
    [looking.hear(), looking.hear(), looking.hear()]
}

#[test]
fn owner_only_is_denied_to_others_never_dead_and_nothing_is_displaced() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("shared");
    fs::create_dir(&folder).unwrap();
    // They could unlink it, if they tried.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let path = folder.join("s");
    let denied = ["Denied", "Endpoint(Denied)", "Endpoint(Denied)"];
    let _server = Process::serving(&mut server(Runtime::Blocking, &path, ""));
    let before = fs::symlink_metadata(&path).unwrap();
    assert_eq!(before.mode() & 0o777, 0o600);
    assert_eq!(seen(&scratch, &path, OTHER, OTHER), denied);
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before.ino());
    assert_eq!(client(&path).call("x").unwrap(), b"x");

    // Nor is a folder that is closed to them dead, or free.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(seen(&scratch, &path, OTHER, OTHER), denied);
}

#[test]
fn a_folder_that_cannot_be_read_is_denied_to_servers_with_its_reason() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("drop");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(OTHER), Some(OTHER)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o300)).unwrap();
    let path = folder.join("s");
    let looked = seen(&scratch, &path, OTHER, OTHER);
    assert_eq!(looked, ["NotFound", "Endpoint(NotFound)", "Endpoint(Denied)"]);
}

#[test]
fn what_a_crash_of_another_user_leaves_in_a_shared_folder_is_in_nobodys_way() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("tmp");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
    drop(UnixListener::bind(folder.join(".simple-ipc.0.new")).unwrap());
    let looked = seen(&scratch, &folder.join("s"), OTHER, OTHER);
    assert_eq!(looked, ["NotFound", "Endpoint(NotFound)", "bound"]);
}

#[test]
fn the_group_or_everyone_can_connect_by_choice_whatever_the_umask() {
    if !is_root() {
        return;
    }
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        for (options, mode, member, stranger) in
            [("umask=63 group", 0o660, true, false), ("umask=63 everyone", 0o666, true, true)]
        {
            let path = scratch.path(format!("{mode:o}"));
            let mut serving = other(&scratch, server(runtime, &path, options), 0, GROUP);
            let _server = Process::serving(&mut serving);
            assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, mode);
            for (gid, may) in [(GROUP, member), (OTHER, stranger)] {
                let [state, call, bind] = seen(&scratch, &path, OTHER, gid);
                if may {
                    assert_eq!(state, "Listening");
                    let peer = format!("Credentials {{ uid: {OTHER}, gid: {gid}, pid: Some(");
                    assert!(call.starts_with(&peer), "{runtime:?}: {call}");
                    // The folder is root's, so it cannot be its server.
                    assert!(matches!(&*bind, "InUse" | "Endpoint(Denied)"), "{bind}");
                } else {
                    assert_eq!([&*state, &*call], ["Denied", "Endpoint(Denied)"]);
                }
            }
        }
    }
}

#[test]
fn the_owner_only_can_connect_from_the_first_instant() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    // With a umask that takes nothing away.
    let mut cycling = part("cycle");
    let mut cycling = Process::start(cycling.env("RENDEZVOUS_PATH", &path).env("UMASK", "0"));
    assert_eq!(cycling.hear(), "cycling");
    let private_name = format!(".simple-ipc.{}.new", rustix::process::geteuid().as_raw());
    // Whoever watches never sees a mode that is wider.
    let (mut private, mut published) = (0, 0);
    eventually("it was seen often enough", || {
        for (name, seen) in [(&*private_name, &mut private), ("s", &mut published)] {
            for _ in 0..1000 {
                if let Ok(metadata) = fs::symlink_metadata(scratch.path(name)) {
                    assert_eq!(metadata.mode() & 0o177, 0, "{name}");
                    *seen += 1;
                }
            }
        }
        private > 0 && published > 1000
    });
}

#[test]
fn a_handler_learns_who_its_client_is() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let _server = Process::serving(&mut server(runtime, &path, ""));
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let expected = format!(
            "Credentials {{ uid: {}, gid: {}, pid: Some({}) }}",
            uid.as_raw(),
            gid.as_raw(),
            std::process::id()
        );
        assert_eq!(client(&path).call("peer").unwrap(), expected.as_bytes(), "{runtime:?}");
    }
}

#[test]
fn a_client_that_the_policy_refuses_is_hung_up_on_and_reported() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let me = rustix::process::geteuid().as_raw();
        let mut refusing = Process::serving(&mut server(runtime, &path, &format!("refuse={me}")));
        let error = client(&path).call("x").unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::NoAnswer | ErrorKind::HungUp),
            "{runtime:?}: {error:?}"
        );
        assert_eq!(refusing.hear(), "heard Untrusted");
        let other = scratch.path("t");
        let _serving = Process::serving(&mut server(runtime, &other, "refuse=12345"));
        assert_eq!(client(&other).call("x").unwrap(), b"x");
    }
}

#[test]
fn a_client_can_require_whose_the_server_is_before_it_sends_a_byte() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let _server = Process::serving(&mut server(Runtime::Blocking, &path, ""));
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(client(&path).require_owner(me).call("x").unwrap(), b"x");
    let error = client(&path).require_owner(me + 1).call("x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    assert_eq!(error.phase(), Phase::Connect);
    assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
}

/// What [`endpoint::Credentials`] says of privileges that were dropped.
#[test]
fn a_server_is_known_by_who_it_was_when_it_began_to_listen() {
    if !is_root() {
        return;
    }
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        // The listener is made by root, the server that accepts is another user.
        let listener = UnixListener::bind(&path).unwrap();
        let told = server(runtime, "/nowhere".as_ref(), "activated=front");
        let told = other(&scratch, told, OTHER, OTHER);
        let mut adopting = super::adopted::handed_to(&told, listener.into());
        let _server = Process::serving(adopting.uid(OTHER).gid(OTHER));
        assert_eq!(client(&path).require_owner(0).call("x").unwrap(), b"x");
        assert_kind(client(&path).require_owner(OTHER).call("x"), ErrorKind::Untrusted);
    }
}
