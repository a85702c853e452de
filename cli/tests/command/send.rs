//! `simple-ipc send`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::support::*;

fn send<'a>(path: &'a Path, arguments: &[&'a str]) -> assert_cmd::Command {
    let mut command = simple_ipc(["send".as_ref(), path.as_os_str()]);
    command.args(arguments);
    command
}

#[test]
fn the_request_comes_from_anywhere() {
    let folder = Folder::new();
    let path = folder.ipc();
    let server = Server::start(&path, ["--", "tr", "a-z", "A-Z"]);
    send(&path, &["hello"]).assert().success().stdout("HELLO").stderr("");
    send(&path, &["--", "-v"]).assert().success().stdout("-V");
    send(&path, &[]).write_stdin("from there").assert().success().stdout("FROM THERE");
    send(&path, &["--file", "-"]).write_stdin("and there").assert().success().stdout("AND THERE");
    let file = folder.path("request");
    fs::write(&file, "a file").unwrap();
    send(&path, &["--file", file.to_str().unwrap()]).assert().success().stdout("A FILE");
    // Nothing is a request too.
    send(&path, &[""]).assert().success().stdout("").stderr("");
    send(&path, &[]).write_stdin("").assert().success().stdout("");
    server.stop();
}

#[test]
fn the_answer_comes_while_the_request_goes() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let server = Server::start(&folder.ipc(), ["--runtime", runtime, "--", "cat"]);
        let mut client = client(&folder.ipc(), [""; 0]);
        let mut stdin = client.0.stdin.take().unwrap();
        let mut stdout = client.0.stdout.take().unwrap();
        for line in ["first", "second"] {
            writeln!(stdin, "{line}").unwrap();
            assert_eq!(read_line(&mut stdout), line);
        }
        drop(stdin);
        assert!(client.end().success());
        server.stop();
    }
}

#[test]
fn each_failure_has_its_status() {
    let folder = Folder::new();
    let path = folder.ipc();
    fails(&mut send(&path, &["hello"]), 3, "path not found");
    fails(&mut send(&path, &["hello"]), 3, "--start");
    drop(UnixListener::bind(&path).unwrap());
    fails(&mut send(&path, &["hello"]), 4, "nobody is listening");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    fails(&mut send(&path, &["hello"]), 7, "invalid path");

    fails(&mut send(Path::new(""), &["hello"]), 2, "<PATH>");
    fails(&mut simple_ipc(["send"]), 2, "<PATH>");
    fails(&mut send(&path, &["a", "b"]), 2, "'b'");
    fails(&mut send(&path, &["a", "--file", "b"]), 2, "--file");
    fails(&mut send(&path, &["a", "--timeout", "soon"]), 2, "200ms");
    fails(&mut send(&path, &["a", "--wait", "-1"]), 2, "see 'simple-ipc send --help'");
    fails(&mut send(&path, &["--file", "/no/such/file"]), 1, "cannot read /no/such/file");
    fails(&mut send(&path, &["--file", "/"]), 1, "cannot read /: is a directory");
}

/// A server that does `act` with the first connection.
fn peer(path: &Path, act: impl FnOnce(UnixStream) + Send + 'static) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || act(listener.accept().unwrap().0))
}

fn read_request(stream: &mut UnixStream) {
    let mut request = [0; 13];
    stream.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"0009hello0000");
}

#[test]
fn broken_answers() {
    let answers: [(&[u8], &str); 4] = [
        (b"", "without an answer"),
        (b"0009part", "inside its message"),
        (b"000apartly", "inside its message"),
        (b"zzzz", "\"zzzz\" is not four hex digits"),
    ];
    for (bytes, why) in answers {
        let folder = Folder::new();
        let peer = peer(&folder.ipc(), move |mut stream| {
            read_request(&mut stream);
            stream.write_all(bytes).unwrap();
        });
        fails(&mut send(&folder.ipc(), &["hello"]), 9, why);
        peer.join().unwrap();
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let folder = Folder::new();
    let peer = peer(&folder.ipc(), |mut stream| {
        // Until the client has left.
        while stream.read(&mut [0; 64]).unwrap() > 0 {}
    });
    fails(&mut send(&folder.ipc(), &["hello", "--timeout", "50ms"]), 8, "--timeout allows more");
    peer.join().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_without_room_is_busy() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

    let folder = Folder::new();
    let path = folder.ipc();
    let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 0).unwrap();
    let _filler = UnixStream::connect(&path).unwrap();
    fails(&mut send(&path, &["hello", "--wait", "20ms"]), 5, "--wait waits longer");
}

#[test]
fn it_waits_for_a_server_that_comes_later() {
    let folder = Folder::new();
    let client = client(&folder.ipc(), ["hello", "--wait", "60s"]);
    let server = Server::start(&folder.ipc(), ["--echo"]);
    let output = in_time_output(client);
    assert_eq!(output, "hello");
    server.stop();
}

fn in_time_output(mut client: Process) -> String {
    let mut output = String::new();
    drop(client.0.stdin.take());
    client.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(client.end().success());
    output
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let folder = Folder::new();
    let server = Server::running(&folder.ipc(), "blocking", "exec yes");
    let mut client = client(&folder.ipc(), ["hello"]);
    let mut stdout = client.0.stdout.take().unwrap();
    assert_eq!(read_line(&mut stdout), "y");
    drop(stdout);
    assert_eq!(client.end().code(), Some(141));
    let mut said = String::new();
    client.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    assert!(server.line().contains("the client has left"));
    server.stop();
}

#[test]
fn an_answer_may_be_whole_before_the_request_is() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let server = Server::running(&folder.ipc(), runtime, "read line; echo \"$line\"");
        let mut client = client(&folder.ipc(), [""; 0]);
        let mut stdin = client.0.stdin.take().unwrap();
        stdin.write_all(b"enough\nof ").unwrap();
        assert!(client.end().success(), "{runtime}");
        let mut answer = String::new();
        client.0.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "enough\n");
        server.stop();
    }
}

#[test]
fn many_at_once() {
    for runtime in RUNTIMES {
        let folder = Folder::new();
        let path = &folder.ipc();
        let server = Server::start(path, ["--runtime", runtime, "--", "tr", "a-z", "A-Z"]);
        thread::scope(|scope| {
            for client in 0..64 {
                scope.spawn(move || {
                    let request = pattern((1 << 20) + client);
                    let answer = request.to_ascii_uppercase();
                    let output = send(path, &[]).write_stdin(request).output().unwrap();
                    assert!(output.status.success(), "{runtime}: {output:?}");
                    assert!(output.stdout == answer, "{runtime}: client {client}");
                });
            }
        });
        server.stop();
    }
}

#[test]
fn clients_that_find_no_server_start_one() {
    let folder = Folder::new();
    let (path, note) = (&folder.ipc(), &folder.path("note"));
    let script = format!(
        "echo started >>{note}; exec {PROGRAM} serve {path} --idle-exit 200ms -- tr a-z A-Z",
        note = note.display(),
        path = path.display()
    );
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let arguments = ["hello", "--start", "sh", "-c", &script];
                send(path, &arguments).assert().success().stdout("HELLO").stderr("");
            });
        }
    });
    assert_eq!(fs::read_to_string(note).unwrap(), "started\n");
    // It ends by itself.
    in_time(|| (!path.exists()).then_some(()));
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let folder = Folder::new();
    let script = "echo 'first line' >&2; echo 'no licence' >&2; exit 7";
    let arguments = ["hello", "--start", "sh", "-c", script];
    fails(&mut send(&folder.ipc(), &arguments), 10, "no licence");
    fails(
        &mut send(&folder.ipc(), &["hello", "--start", "/no/such/program"]),
        10,
        "/no/such/program",
    );
}

#[test]
fn what_starts_a_server_is_told_as_it_was() {
    let folder = Folder::new();
    let (path, elsewhere) = (folder.ipc(), folder.path("elsewhere"));
    let serve = |at: &Path| {
        let at = at.to_str().unwrap().to_owned();
        ["--start", "--", PROGRAM, "serve", &at, "--idle-exit", "100ms", "--echo"]
            .map(ToOwned::to_owned)
    };
    let start = serve(&path);
    send(&path, &["hello"]).args(start).assert().success().stdout("hello");
    let folder = Folder::new();
    let path = folder.ipc();
    fails(send(&path, &["hello"]).args(serve(&elsewhere)), 3, "--start is to serve there: /");
}

#[test]
fn nothing_in_an_error_is_obeyed_by_a_terminal() {
    let path = Path::new("/no/such/\u{1b}[31mred\rhid");
    fails(&mut send(path, &["hello"]), 3, "/no/such/\\u{1b}[31mred\\rhid");
}

#[test]
fn colours_are_for_terminals() {
    let colour = |set: &[(&str, &str)]| {
        let mut command = simple_ipc(["send", "/no/such/path", "x"]);
        command.envs(set.iter().copied());
        command.output().unwrap().stderr.contains(&0x1b)
    };
    assert!(!colour(&[]));
    assert!(colour(&[("CLICOLOR_FORCE", "1")]));
    assert!(!colour(&[("CLICOLOR_FORCE", "0"), ("NO_COLOR", "1")]));
}

/// Whatever the length of a message, the memory is the same, at both ends.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_constant() {
    let services: [&[&str]; 2] = [&["--echo"], &["--", "cat"]];
    for (runtime, service) in RUNTIMES.map(|runtime| services.map(|s| (runtime, s))).concat() {
        let peaks = [1_usize, 100].map(|megabytes| {
            let folder = Folder::new();
            let arguments = [&["--runtime", runtime][..], service].concat();
            let server = Server::start(&folder.ipc(), arguments);
            let mut client = client(&folder.ipc(), ["--timeout", "none"]);
            let mut stdin = client.0.stdin.take().unwrap();
            let mut stdout = client.0.stdout.take().unwrap();
            let piece = pattern(1 << 20);
            thread::scope(|scope| {
                let sending = scope.spawn(|| {
                    for _ in 0..megabytes {
                        stdin.write_all(&piece).unwrap();
                    }
                    stdin
                });
                let mut echo = vec![0; piece.len()];
                for _ in 0..megabytes {
                    stdout.read_exact(&mut echo).unwrap();
                    assert!(echo == piece);
                }
                // Both are still there to be looked at.
                let peaks = (client.peak_memory(), server.process.peak_memory());
                drop(sending.join().unwrap());
                assert!(client.end().success());
                server.stop();
                peaks
            })
        });
        let [(client_1, server_1), (client_100, server_100)] = peaks;
        println!(
            "{runtime}, KiB: client {client_1}, {client_100}; server {server_1}, {server_100}"
        );
        assert!(client_100 < client_1 + 2048, "client: {client_1} KiB, then {client_100}");
        assert!(server_100 < server_1 + 2048, "server: {server_1} KiB, then {server_100}");
    }
}

/// What is in the README.
#[test]
fn the_transcript() {
    let folder = Folder::new();
    let script = format!(
        "set -e; cd {}; simple-ipc serve ./x.ipc -- tr a-z A-Z 2>log & \
         simple-ipc send ./x.ipc hello --wait 5s; simple-ipc state ./x.ipc; kill $!; wait $!",
        folder.path("").display()
    );
    let programs = Path::new(PROGRAM).parent().unwrap().to_str().unwrap();
    let mut shell = Command::new("sh");
    let shell = shell.arg("-c").arg(script).env("PATH", format!("{programs}:/usr/bin:/bin"));
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "HELLOlistening\n");
}
