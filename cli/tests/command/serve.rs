//! `simple-ipc serve`, on each runtime.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::Signal;

use crate::support::*;

fn send(path: &Path, request: impl Into<Vec<u8>>) -> assert_cmd::assert::Assert {
    simple_ipc(["send".as_ref(), path.as_os_str()]).write_stdin(request).assert()
}

#[test]
fn an_exchange_is_one_line_in_the_log() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let server = Server::running(&folder.ipc(), runtime, "cat; echo more");
        send(&folder.ipc(), "a \"question\"").success().stdout("a \"question\"more\n");
        let line = server.line();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{line}");
        let user = format!("ok user={}", rustix::process::getuid().as_raw());
        assert!(rest.starts_with(&user), "{line}");
        for part in [" pid=", " in=12 out=17 time=", r#" request="a \"question\"""#] {
            assert!(rest.contains(part), "{part}: {line}");
        }
        server.stop();
    }
}

#[test]
fn only_failures_are_logged_unless_asked() {
    let folder = Folder::new();
    let script = "read word; test $word = good";
    let server = Server::start(&folder.ipc(), ["--", "sh", "-c", script]);
    send(&folder.ipc(), "good\n").success();
    send(&folder.ipc(), "bad\n").code(9);
    let line = server.line();
    assert!(line.contains(r#"failed"#) && line.contains(r#"request="bad\n""#), "{line}");
    server.stop();
}

#[test]
fn a_command_that_fails_aborts_the_answer() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let server = Server::running(&folder.ipc(), runtime, "cat; echo part; exit 3");
        send(&folder.ipc(), "hello").code(9).stdout("hellopart\n");
        assert!(server.line().ends_with("reason=\"the command failed: exit status: 3\""));
        server.stop();
        let server = Server::running(&folder.ipc(), runtime, "kill -9 $$");
        send(&folder.ipc(), "hello").code(9).stdout("");
        assert!(server.line().contains("signal: 9"));
        server.stop();
    }
}

#[test]
fn commands_that_treat_their_pipes_oddly() {
    let request = pattern(3_000_000);
    for runtime in RUNTIMES {
        for (script, answer) in [
            // It reads nothing.
            ("echo ok", b"ok\n".to_vec()),
            ("exec <&-; echo ok", b"ok\n".to_vec()),
            // It reads a little.
            ("head -c 3", request[..3].to_vec()),
            // It writes a lot before it reads.
            ("head -c 3000000 /dev/zero; cat", [vec![0; 3_000_000], request.clone()].concat()),
            // It closes its output before it is done.
            ("echo ok; exec >&-; cat >/dev/null", b"ok\n".to_vec()),
            ("true", Vec::new()),
        ] {
            let folder = Folder::new();
            let server = Server::running(&folder.ipc(), runtime, script);
            let assert = send(&folder.ipc(), request.clone()).success();
            assert!(assert.get_output().stdout == answer, "{runtime}: {script}");
            server.stop();
        }
    }
}

#[test]
fn what_a_command_leaves_behind_holds_nobody_up() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let release = folder.path("release");
        make_fifo(&release);
        // It has both pipes of the command.
        let script = format!("cat {} <&0 & echo ok", release.display());
        let server = Server::running(&folder.ipc(), runtime, &script);
        send(&folder.ipc(), pattern(3_000_000)).success().stdout("ok\n");
        assert!(server.line().contains(" ok "));
        server.stop();
        fs::write(&release, "").unwrap();
    }
}

#[test]
fn a_client_that_reads_last_is_served_by_a_command_that_reads_nothing() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let server = Server::running(&folder.ipc(), runtime, "exec <&-; echo ok");
        let mut stream = UnixStream::connect(folder.ipc()).unwrap();
        for _ in 0..50 {
            stream.write_all(b"fff0").unwrap();
            stream.write_all(&[b'x'; 65516]).unwrap();
        }
        stream.write_all(b"0000").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "0007ok\n0000");
        assert!(server.line().contains(" in=3275800 out=3 "));
        server.stop();
    }
}

/// A command that holds a named pipe open for its life, so that its end can be waited for.
fn holding(folder: &Folder, rest: &str) -> (String, PathBuf) {
    let alive = folder.path("alive");
    make_fifo(&alive);
    (format!("exec 3>{}; echo begun; {rest}", alive.display()), alive)
}

/// Opens the named pipe; what is returned waits until nothing holds it open any more.
fn end_of(alive: PathBuf) -> impl FnOnce() {
    let (sender, end) = mpsc::channel();
    thread::spawn(move || sender.send(File::open(alive).and_then(|mut it| it.read(&mut [0]))));
    move || assert_eq!(end.recv_timeout(PATIENCE).expect("it does not end").unwrap(), 0)
}

#[test]
fn a_client_that_leaves_ends_its_command() {
    // A child of the command's, too, goes with it.
    for rest in ["exec sleep 1000", "sleep 1000; true", "yes"] {
        for runtime in RUNTIMES {
            let folder = Folder::new();
            let (script, alive) = holding(&folder, rest);
            let server = Server::running(&folder.ipc(), runtime, &script);
            let mut client = client(&folder.ipc(), ["hello"]);
            let wait_for_end = end_of(alive);
            assert_eq!(read_line(client.0.stdout.as_mut().unwrap()), "begun");
            client.0.kill().unwrap();
            wait_for_end();
            assert!(server.line().contains("the client has left"));
            server.stop();
        }
    }
}

#[test]
fn a_client_that_leaves_inside_its_request_ends_its_command() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let (script, alive) = holding(&folder, "cat");
        let server = Server::running(&folder.ipc(), runtime, &script);
        let mut client = client(&folder.ipc(), [""; 0]);
        client.0.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
        let wait_for_end = end_of(alive);
        assert_eq!(read_line(client.0.stdout.as_mut().unwrap()), "begun");
        client.0.kill().unwrap();
        wait_for_end();
        assert!(server.line().contains("the client has left"));
        server.stop();
    }
}

#[test]
fn a_stop_lets_exchanges_end() {
    let mut signals = vec![Signal::TERM, Signal::INT];
    // Whoever has it ignored, as `nohup` does, hands that down.
    if !is_ignored(Signal::HUP) {
        signals.push(Signal::HUP);
    }
    for signal in signals {
        for runtime in RUNTIMES {
            let folder = Folder::new();
            let release = folder.path("release");
            make_fifo(&release);
            let script = format!("echo begun; cat {}", release.display());
            let mut server = Server::running(&folder.ipc(), runtime, &script);
            let mut client = client(&folder.ipc(), ["hello"]);
            let mut stdout = client.0.stdout.take().unwrap();
            assert_eq!(read_line(&mut stdout), "begun");
            // One that comes twice at once is one: `timeout` sends it so.
            server.process.signal(signal);
            server.process.signal(signal);
            in_time(|| (!folder.ipc().exists()).then_some(()));
            fs::write(&release, "done\n").unwrap();
            assert_eq!(read_line(&mut stdout), "done");
            assert!(client.end().success());
            assert!(server.process.end().success(), "{runtime}: {:?}", server.rest());
        }
    }
}

#[test]
fn what_does_not_end_is_aborted_in_the_end() {
    for runtime in RUNTIMES {
        for (drain, signals, why) in
            [("100ms", 1, "--drain allows more"), ("1000s", 2, "aborted by a second signal")]
        {
            let folder = Folder::new();
            let (script, alive) = holding(&folder, "exec sleep 1000");
            let mut server = Server::start(
                &folder.ipc(),
                ["--runtime", runtime, "--drain", drain, "--", "sh", "-c", &script],
            );
            let mut client = client(&folder.ipc(), ["hello"]);
            let wait_for_end = end_of(alive);
            assert_eq!(read_line(client.0.stdout.as_mut().unwrap()), "begun");
            server.process.signal(Signal::TERM);
            in_time(|| (!folder.ipc().exists()).then_some(()));
            let status = match signals {
                1 => server.process.end(),
                _ => server.process.end_by(Signal::TERM),
            };
            wait_for_end();
            assert_eq!(client.end().code(), Some(9), "{runtime}");
            assert_eq!(status.code(), Some(1), "{runtime}");
            let rest = server.rest();
            let [.., line, last] = rest.as_slice() else { panic!("{runtime}: {rest:?}") };
            assert!(last.contains("1 exchange was aborted") && last.contains(why), "{rest:?}");
            let reason = ["the time to drain was over", "the server was told to abort"];
            assert!(line.contains(" failed ") && line.contains(reason[signals - 1]), "{rest:?}");
        }
    }
}

/// Not even for a client that takes nothing of its answer.
#[test]
fn a_second_signal_waits_for_nobody() {
    for runtime in RUNTIMES {
        for service in [&["--", "yes"][..], &["--echo"]] {
            let folder = Folder::new();
            let arguments = ["--runtime", runtime, "--drain", "1000s"];
            let mut server = Server::start(&folder.ipc(), arguments.iter().chain(service));
            let mut stream = UnixStream::connect(folder.ipc()).unwrap();
            stream.write_all(b"0008some").unwrap();
            // More than fits into the socket on its way back, if it is echoed.
            let mut writer = stream.try_clone().unwrap();
            let writer = thread::spawn(move || {
                while writer.write_all(b"fff0").is_ok() && writer.write_all(&[b'x'; 65516]).is_ok()
                {
                }
            });
            stream.read_exact(&mut [0; 5]).unwrap();
            server.process.signal(Signal::TERM);
            in_time(|| (!folder.ipc().exists()).then_some(()));
            let status = server.process.end_by(Signal::TERM);
            assert_eq!(status.code(), Some(1), "{runtime}: {:?}", server.rest());
            writer.join().unwrap();
        }
    }
}

#[test]
fn a_client_that_pauses_is_given_up_after_a_while() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let limit = ["--client-timeout", "100ms", "--runtime", runtime, "--", "cat"];
        let server = Server::start(&folder.ipc(), limit);
        let mut stream = UnixStream::connect(folder.ipc()).unwrap();
        stream.write_all(b"0008some").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty() || answer == b"0008some", "{answer:?}");
        assert!(server.line().contains("nothing moved within 100ms"));
        server.stop();
    }
}

/// `serve` under a limit on descriptors, as `ulimit` sets it.
fn limited(ulimit: &str, path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit {ulimit} && exec \"$0\" serve \"$@\"");
    command.args(["-c", &script, PROGRAM]).arg(path).args(arguments);
    command
}

#[test]
fn descriptors_are_made_room_for() {
    let folder = Folder::new();
    let path = folder.ipc();
    let mut refused = limited("-n 200", &path, &["--threads", "100", "--echo"]);
    let refused = refused.output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("may take 864 file descriptors, of which the system allows 200"), "{why}");

    for runtime in RUNTIMES {
        let arguments = ["--threads", "100", "--runtime", runtime, "--", "cat"];
        let server = Server::listening(&mut limited("-Sn 100", &path, &arguments));
        let mut load = simple_ipc(["bench".as_ref(), path.as_os_str()]);
        load.args(["-n", "300", "-c", "100"]).assert().success();
        server.stop();
    }
}

#[test]
fn requests_have_a_limit_if_wanted() {
    for runtime in RUNTIMES {
        for service in [&["--", "cat"][..], &["--echo"]] {
            let folder = Folder::new();
            let limits = ["--max-request", "100K", "--runtime", runtime];
            let server = Server::start(&folder.ipc(), limits.iter().chain(service));
            let fits = pattern(100 << 10);
            send(&folder.ipc(), fits.clone()).success().stdout(fits);
            send(&folder.ipc(), pattern((100 << 10) + 1)).code(9);
            let line = server.line();
            assert!(line.contains("the request is longer than 102400 bytes"), "{line}");
            server.stop();
        }
    }
}

#[test]
fn it_ends_when_nobody_comes() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let idle = ["--idle-exit", "50ms", "--runtime", runtime, "--echo"];
        let mut server = Server::start(&folder.ipc(), idle);
        assert!(server.process.end().success());
        assert!(!folder.ipc().exists());
    }
}

#[test]
fn the_command_learns_who_asks() {
    let folder = Folder::new();
    let script = "echo $SIMPLE_IPC_PEER_USER $SIMPLE_IPC_PEER_GROUP";
    let server = Server::running(&folder.ipc(), "blocking", script);
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    let answer = format!("{} {}\n", user.as_raw(), group.as_raw());
    send(&folder.ipc(), "").success().stdout(answer);
    server.stop();
}

#[test]
fn bad_places_and_commands() {
    let folder = Folder::new();
    let path = folder.ipc();
    let serve = |arguments: &[&str]| {
        let mut command = simple_ipc(["serve"]);
        command.args(arguments);
        command
    };
    let ipc = path.to_str().unwrap();
    fails(&mut serve(&[]), 2, "--echo");
    fails(&mut serve(&[ipc]), 2, "--echo");
    fails(&mut serve(&[ipc, "--echo", "--", "cat"]), 2, "--echo");
    fails(&mut serve(&["--echo"]), 2, "PATH is missing");
    fails(&mut serve(&[ipc, "--", "no-such-command"]), 2, "command not found: no-such-command");
    fails(&mut serve(&[ipc, "--", "/no/such/command"]), 2, "command not found");
    fails(&mut serve(&[ipc, "--", "/etc/passwd"]), 2, "command not executable: /etc/passwd");
    fails(&mut serve(&[ipc, "cat"]), 2, "put -- before the command");
    fails(&mut serve(&[ipc, "--threads", "0", "--echo"]), 2, "--threads");
    fails(&mut serve(&[ipc, "--runtime", "green", "--echo"]), 2, "blocking");
    fails(&mut serve(&["/no/such/folder/x.ipc", "--echo"]), 3, "the folder is missing");
    let plain = folder.path("plain");
    fs::write(&plain, "kept").unwrap();
    fails(&mut serve(&[plain.to_str().unwrap(), "--echo"]), 7, "invalid path");
    assert_eq!(fs::read(&plain).unwrap(), b"kept");
    let server = Server::start(&path, ["--echo"]);
    fails(&mut serve(&[ipc, "--echo"]), 11, "a live server has this path already");
    server.stop();
}

#[test]
fn a_path_that_is_taken_away_ends_it() {
    let folder = Folder::new();
    let mut server = Server::start(&folder.ipc(), ["--echo"]);
    fs::remove_file(folder.ipc()).unwrap();
    assert_eq!(server.process.end().code(), Some(1));
    assert!(server.line().contains("the path was removed"));
}

#[test]
fn who_may_connect() {
    use std::os::unix::fs::PermissionsExt as _;

    for (access, mode) in [("owner", 0o600), ("group", 0o660), ("everyone", 0o666)] {
        let folder = Folder::new();
        let server = Server::start(&folder.ipc(), ["--access", access, "--echo"]);
        let found = fs::metadata(folder.ipc()).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{access}: {found:o}");
        server.stop();
    }
}

/// `serve` with listeners handed over as systemd does it.
fn activated(listeners: &[&UnixListener], arguments: &[&str]) -> Command {
    // Descriptor 3 and what follows are made from the standard streams that a process can be
    // given: the shell moves them.
    let mut command = Command::new("sh");
    let moves = ["exec 3<&0", "exec 3<&0 4<&1"][listeners.len() - 1];
    command.arg("-c").arg(format!(
        "{moves}; LISTEN_PID=$$ LISTEN_FDS={} exec {PROGRAM} serve \"$@\" </dev/null >/dev/null",
        listeners.len()
    ));
    command.arg("sh").args(arguments);
    let mut listeners = listeners.iter().map(|listener| listener.try_clone().unwrap().into());
    command.stdin::<std::os::fd::OwnedFd>(listeners.next().unwrap());
    if let Some(second) = listeners.next() {
        command.stdout::<std::os::fd::OwnedFd>(second);
    }
    command
}

#[test]
fn a_listener_that_is_handed_over_is_served() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let path = folder.ipc();
        let listener = UnixListener::bind(&path).unwrap();
        let server = Server::listening(&mut activated(
            &[&listener],
            &["--runtime", runtime, "--", "tr", "a-z", "A-Z"],
        ));
        send(&path, "hello").success().stdout("HELLO");
        server.stop();
        // It is its maker's.
        assert!(path.exists());
    }
}

#[test]
fn of_several_listeners_the_path_says_which() {
    let folder = Folder::new();
    let paths = ["a", "b"].map(|name| folder.path(name));
    let listeners = paths.each_ref().map(|path| UnixListener::bind(path).unwrap());
    let listeners = listeners.each_ref();
    for path in &paths {
        let path = path.to_str().unwrap();
        let server = Server::listening(&mut activated(&listeners, &[path, "--echo"]));
        send(path.as_ref(), "hello").success().stdout("hello");
        server.stop();
    }
    for (arguments, why) in [
        (&["--echo"][..], "2 listeners were handed over: say by PATH"),
        (&["/elsewhere", "--echo"], "no listener at /elsewhere was handed over, but: /"),
    ] {
        let mut command = activated(&listeners, arguments);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(why));
    }
}
