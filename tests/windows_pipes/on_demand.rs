//! Servers that are started by their clients.

use std::collections::HashSet;
use std::env;
use std::error::Error as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use simple_ipc::client::Delivery;
use simple_ipc::endpoint::{StartFailure, Starter};
use simple_ipc::{Error, Phase};

use super::*;

const RUNTIMES: &[&str] = &[
    "blocking",
    #[cfg(feature = "smol")]
    "smol",
    #[cfg(feature = "tokio")]
    "tokio",
];

fn call(runtime: &str, path: &Path, starter: &Starter, request: &str) -> Result<Vec<u8>, Error> {
    const LIMIT: Duration = Duration::from_secs(30);

    match runtime {
        "blocking" => Client::new(path).total_deadline(LIMIT).call_or_start(starter, request),
        #[cfg(feature = "smol")]
        "smol" => {
            let client = simple_ipc::smol::Client::new(path).total_deadline(LIMIT);
            smol::block_on(client.call_or_start(starter, request))
        }
        #[cfg(feature = "tokio")]
        "tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let client = simple_ipc::tokio::Client::new(path).total_deadline(LIMIT);
            runtime.unwrap().block_on(client.call_or_start(starter, request))
        }
        other => panic!("no such runtime: {other}"),
    }
}

fn told(name: &str) -> String {
    env::var(name).unwrap()
}

/// What the processes do that the tests start: it runs this test alone, with a part to play.
#[test]
fn role() {
    let Some(role) = env::var_os("PIPES_ROLE") else { return };
    match role.to_str().unwrap() {
        "serve" => serve(),
        "call" => {
            let (runtime, path) = (told("PIPES_RUNTIME"), told("PIPES_PATH"));
            let request = env::var("PIPES_REQUEST").unwrap_or_else(|_| "pid".into());
            let mut starting = server(&runtime, path.as_ref());
            if env::var_os("PIPES_CLEARED").is_some() {
                starting.env_clear();
                // The system's libraries need this one.
                for name in ["SystemRoot", "PIPES_ROLE", "PIPES_RUNTIME", "PIPES_PATH"] {
                    let value = if name == "PIPES_ROLE" { "serve".into() } else { told(name) };
                    starting.env(name, value);
                }
            }
            println!("@here");
            io::stdin().read_exact(&mut [0]).unwrap();
            match call(&runtime, path.as_ref(), &Starter::new(starting), &request) {
                Ok(answer) => println!("@{}", String::from_utf8(answer).unwrap()),
                Err(error) => println!("@{error}"),
            }
        }
        // Ready, but no server.
        "announce" => endpoint::announce_ready().unwrap(),
        "fail" => {
            touch();
            eprintln!("there is no such database");
            std::process::exit(7);
        }
        "hang" => {
            // Longer than any test, in case nobody is left to kill it.
            thread::park_timeout(Duration::from_secs(100));
        }
        // A server that is not told where to say that it is ready.
        "leave to another" => {
            let mut another = part("serve");
            drop(another.env_remove("SIMPLE_IPC_READY").spawn().unwrap());
        }
        other => panic!("no such role: {other}"),
    }
    std::process::exit(0);
}

/// Notes in a file that this process was started.
fn touch() {
    if let Some(path) = env::var_os("PIPES_TOUCH") {
        let file = fs::File::options().append(true).create(true).open(path);
        file.unwrap().write_all(b"x").unwrap();
    }
}

fn answer(request: &[u8]) -> Option<String> {
    match request {
        b"pid" => Some(std::process::id().to_string()),
        b"streams" => {
            // Neither has anywhere to go, and neither is in the way.
            let read = io::stdin().read(&mut [0]).map_err(|error| error.to_string());
            let written = io::stderr().write_all(b"x").map_err(|error| error.to_string());
            Some(format!("{read:?} {written:?}"))
        }
        b"variables" => {
            let names = ["PIPES_TEST_INHERITED", "PIPES_TEST_GIVEN"].map(env::var_os);
            Some(format!("{names:?}"))
        }
        b"arguments" => {
            Some(format!("{:?}", env::args().skip_while(|a| a != "--").collect::<Vec<_>>()))
        }
        b"quit" => None,
        other => panic!("{other:?}"),
    }
}

fn serve() {
    /// A test that failed leaves none for ever.
    const IDLE: Duration = Duration::from_secs(60);

    touch();
    let path = told("PIPES_PATH");
    #[cfg(any(feature = "smol", feature = "tokio"))]
    macro_rules! handler {
        () => {
            |request, reply| async move {
                match answer(&request) {
                    Some(answer) => reply.finish_with(&answer).await,
                    None => reply.finish_and_stop().await,
                }
            }
        };
    }
    match &*told("PIPES_RUNTIME") {
        "blocking" => {
            let running = Server::bind(path).unwrap().idle_exit(IDLE).serve(|request, reply| {
                match answer(&request) {
                    Some(answer) => reply.finish_with(answer),
                    None => reply.finish_and_stop(),
                }
            });
            running.unwrap().join().unwrap();
        }
        #[cfg(feature = "smol")]
        "smol" => {
            let server = simple_ipc::smol::Server::bind(path).unwrap().idle_exit(IDLE);
            smol::block_on(server.serve(handler!()).unwrap().join()).unwrap();
        }
        #[cfg(feature = "tokio")]
        "tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let server = simple_ipc::tokio::Server::bind(path).unwrap().idle_exit(IDLE);
                server.serve(handler!()).unwrap().join().await.unwrap();
            });
        }
        other => panic!("no such runtime: {other}"),
    }
}

/// This program, to play a part.
fn part(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "on_demand::role", "--nocapture", "--test-threads=1"]);
    command.env("PIPES_ROLE", role);
    command
}

fn server(runtime: &str, path: &Path) -> Command {
    let mut command = part("serve");
    command.env("PIPES_RUNTIME", runtime).env("PIPES_PATH", path);
    command
}

/// A process that plays a part. It is killed when dropped.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn go(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
    }

    /// The next thing it says; nothing when all who have its output have ended.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return line;
            }
            if let Some((_, said)) = line.trim_end().split_once('@') {
                return said.into();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(&folder.0).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn quit(path: &Path) {
    Client::new(path).call("quit").unwrap();
    while endpoint::state(path) == State::Listening {
        thread::yield_now();
    }
}

#[test]
fn of_many_clients_at_once_one_starts_the_server_and_all_are_answered() {
    bounded(|| {
        for runtime in RUNTIMES {
            let folder = Folder::new("many-starters");
            let path = &folder.path();
            let touched = folder.0.join("touched");
            let mut processes: Vec<_> = (0..8)
                .map(|_| {
                    let mut calling = part("call");
                    calling.env("PIPES_RUNTIME", runtime).env("PIPES_PATH", path);
                    Process::start(calling.env("PIPES_TOUCH", &touched))
                })
                .collect();
            processes.iter_mut().for_each(|process| assert_eq!(process.hear(), "here"));
            processes.iter_mut().for_each(Process::go);
            // Threads have their turns as processes have.
            let mut starting = server(runtime, path);
            starting.env("PIPES_TOUCH", &touched);
            let starter = Starter::new(starting);
            let mut heard: HashSet<String> = thread::scope(|scope| {
                let call = || call(runtime, path, &starter, "pid").unwrap();
                let callers: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
                callers
                    .into_iter()
                    .map(|it| String::from_utf8(it.join().unwrap()).unwrap())
                    .collect()
            });
            heard.extend(processes.iter_mut().map(Process::hear));
            assert_eq!(heard.len(), 1, "{runtime}: {heard:?}");
            assert_eq!(fs::read(&touched).unwrap(), b"x", "{runtime}: processes started");
            // The output of each ends with it, though its server lives on and has inherited nothing.
            processes.iter_mut().for_each(|process| assert_eq!(process.hear(), ""));
            quit(path);
            assert_eq!(names(&folder), ["touched"], "{runtime}");
        }
    });
}

fn failure(error: &Error) -> &StartFailure {
    assert_eq!((error.phase(), error.kind()), (Phase::Start, ErrorKind::NotStarted), "{error}");
    assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
    error.source().unwrap().downcast_ref().unwrap()
}

#[test]
fn a_server_that_does_not_start_is_reported_with_its_cause_to_all_who_wait() {
    bounded(|| {
        for runtime in RUNTIMES {
            let folder = Folder::new("fails");
            let path = &folder.path();
            let touched = folder.0.join("touched");
            let mut failing = part("fail");
            failing.env("PIPES_TOUCH", &touched);
            let starter = Starter::new(failing);
            let error = call(runtime, path, &starter, "pid").unwrap_err();
            let failure_of_one = failure(&error);
            assert!(failure_of_one.cause.ends_with("exit code: 7"), "{error}");
            assert!(failure_of_one.message.ends_with("there is no such database"), "{error}");
            assert_eq!(names(&folder), ["touched"]);

            let missing = Starter::new(Command::new("no-such-program"));
            let error = call(runtime, path, &missing, "pid").unwrap_err();
            assert!(failure(&error).cause.contains("no-such-program"), "{error}");

            let hanging = Starter::new(part("hang")).deadline(Duration::from_millis(200));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let error = call(runtime, path, &hanging, "pid").unwrap_err();
                        // Whoever waits is told the same, or that the time is up for him too.
                        assert!(
                            matches!(error.kind(), ErrorKind::NotStarted | ErrorKind::Deadline(_)),
                            "{error}"
                        );
                    });
                }
            });
        }
    });
}

#[test]
fn a_started_server_has_streams_of_its_own_and_what_its_command_says() {
    bounded(|| {
        for runtime in RUNTIMES {
            let folder = Folder::new("started");
            let path = &folder.path();
            let mut starting = server(runtime, path);
            starting
                .args(["--", "", "two words", "a\"b", r"c\", r"d e\"])
                .env("PIPES_TEST_GIVEN", "é");
            let starter = Starter::new(starting);
            let ask = |request| {
                String::from_utf8(call(runtime, path, &starter, request).unwrap()).unwrap()
            };
            let pid = ask("pid");
            assert_eq!(ask("streams"), "Ok(0) Ok(())", "{runtime}");
            assert_eq!(ask("variables"), "[None, Some(\"é\")]", "{runtime}");
            assert_eq!(ask("arguments"), r#"["--", "", "two words", "a\"b", "c\\", "d e\\"]"#);
            quit(path);
            // It is started again when it is needed again.
            assert_ne!(ask("pid"), pid);
            quit(path);
        }
    });
}

#[test]
fn variables_are_inherited_unless_they_were_cleared() {
    bounded(|| {
        for (cleared, seen) in [(false, "[Some(\"x\"), None]"), (true, "[None, None]")] {
            let folder = Folder::new("variables");
            let mut calling = part("call");
            calling.env("PIPES_RUNTIME", "blocking").env("PIPES_PATH", folder.path());
            calling.env("PIPES_REQUEST", "variables").env("PIPES_TEST_INHERITED", "x");
            if cleared {
                calling.env("PIPES_CLEARED", "");
            }
            let mut calling = Process::start(&mut calling);
            assert_eq!(calling.hear(), "here");
            calling.go();
            assert_eq!(calling.hear(), seen);
            quit(&folder.path());
        }
    });
}

#[test]
fn who_says_that_it_is_ready_is_believed() {
    bounded(|| {
        for runtime in RUNTIMES {
            let folder = Folder::new("announces");
            let starter = Starter::new(part("announce"));
            let error = call(runtime, &folder.path(), &starter, "x").unwrap_err();
            // Nobody has waited for it to listen.
            assert_eq!(error.kind(), ErrorKind::Endpoint(State::NotFound), "{runtime}: {error}");
        }
    });
}

#[test]
fn a_server_that_says_nothing_is_ready_when_it_has_listened_for_a_while() {
    bounded(|| {
        let folder = Folder::new("silent-server");
        let path = &folder.path();
        let mut leaving = part("leave to another");
        leaving.env("PIPES_RUNTIME", "blocking").env("PIPES_PATH", path);
        call("blocking", path, &Starter::new(leaving), "pid").unwrap();
        quit(path);
        assert!(names(&folder).is_empty());
    });
}

#[test]
fn what_a_killed_starter_leaves_is_in_nobodys_way() {
    bounded(|| {
        let folder = Folder::new("killed-starter");
        let path = &folder.path();
        let mut calling = part("call");
        calling.env("PIPES_RUNTIME", "blocking").env("PIPES_PATH", path);
        let mut killed = Process::start(&mut calling);
        assert_eq!(killed.hear(), "here");
        killed.go();
        while !folder.0.join(".app.ipc.start").exists() {
            thread::yield_now();
        }
        drop(killed);
        // Its server comes up by and by, or not; there may be two that start, and one that serves.
        let starter = Starter::new(server("blocking", path));
        call("blocking", path, &starter, "pid").unwrap();
        quit(path);
        let _ = Client::new(path).wait_if_not_found(Duration::from_secs(1)).call("quit");
    });
}

#[test]
fn where_a_server_is_there_none_is_started() {
    bounded(|| {
        let folder = Folder::new("is-there");
        let path = &folder.path();
        let running = echo(path);
        for runtime in RUNTIMES {
            let starter = Starter::new(Command::new("no-such-program"));
            assert_eq!(call(runtime, path, &starter, "x").unwrap(), b"x", "{runtime}");
        }
        running.stop();
        running.join().unwrap();
    });
}
