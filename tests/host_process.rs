//! Whatever the process is like that the library is in: one that dies of SIGPIPE, one that forks.
//!
//! Each test starts this program again, to be such a process. On Windows there is neither.
#![cfg(all(unix, feature = "blocking"))]

use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::{env, fs};

use simple_ipc::blocking::{Client, Server};
use simple_ipc::{Error, Phase};

const PART: &str = "HOST_PROCESS_PART";

/// In the process that was started again: the folder it may use.
fn folder_of(part: &str) -> Option<PathBuf> {
    let told = env::var_os(PART)?;
    let told = PathBuf::from(told);
    (told.file_name()? == part).then_some(told)
}

/// Starts this test again as a process of its own, which must end well.
fn start_again(part: &str) {
    let scratch = env::temp_dir().join(format!("simple-ipc-{part}-{}", std::process::id()));
    let folder = scratch.join(part);
    fs::create_dir_all(&folder).unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", part, "--nocapture"])
        .env(PART, &folder)
        .status()
        .unwrap();
    fs::remove_dir_all(&scratch).unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn sigpipe_never_reaches_the_process() {
    let Some(folder) = folder_of("sigpipe_never_reaches_the_process") else {
        return start_again("sigpipe_never_reaches_the_process");
    };
    // SAFETY: no handler is installed, and nothing else in this process depends on the signal.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let path = folder.join("s");

    // A client whose server hangs up while it sends.
    let deaf = UnixListener::bind(&path).unwrap();
    let hang_up = std::thread::spawn(move || drop(deaf.accept().unwrap()));
    let connection = Client::new(&path).connect().unwrap();
    hang_up.join().unwrap();
    assert_eq!(connection.call(vec![0; 1_000_000]).unwrap_err().phase(), Phase::Send);
    fs::remove_file(&path).unwrap();

    // A server whose client hangs up while it answers, in every runtime.
    let (heard, reports) = mpsc::channel();
    let hear = move |error: &Error| heard.send(error.phase()).unwrap();
    let running = Server::bind(&path)
        .unwrap()
        .on_error(hear.clone())
        .serve(|_, reply| reply.finish_with(vec![0; 1_000_000]))
        .unwrap();
    ask_and_hang_up(&path);
    assert_eq!(reports.recv().unwrap(), Phase::Send);
    running.stop();
    running.join().unwrap();

    #[cfg(feature = "tokio")]
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let server = simple_ipc::tokio::Server::bind(&path).unwrap().on_error(hear.clone());
        let running =
            server.serve(|_, reply| async { reply.finish_with(vec![0; 1_000_000]).await }).unwrap();
        ask_and_hang_up(&path);
        assert_eq!(tokio::task::block_in_place(|| reports.recv()).unwrap(), Phase::Send);
        running.stop();
        running.join().await.unwrap();
    });
    #[cfg(feature = "smol")]
    smol::block_on(async {
        let server = simple_ipc::smol::Server::bind(&path).unwrap().on_error(hear.clone());
        let running =
            server.serve(|_, reply| async { reply.finish_with(vec![0; 1_000_000]).await }).unwrap();
        ask_and_hang_up(&path);
        assert_eq!(reports.recv().unwrap(), Phase::Send);
        running.stop();
        running.join().await.unwrap();
    });
}

fn ask_and_hang_up(path: &Path) {
    UnixStream::connect(path).unwrap().write_all(b"0008ping0000").unwrap();
}

#[test]
fn a_forked_child_never_unlinks() {
    let Some(folder) = folder_of("a_forked_child_never_unlinks") else {
        return start_again("a_forked_child_never_unlinks");
    };
    let path = folder.join("s");
    let server = Server::bind(&path).unwrap();
    // SAFETY: the child only drops the server, which takes no lock that another thread of this
    // process could have held, and leaves without unwinding or running exit handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(server);
        // SAFETY: as above.
        unsafe { libc::_exit(0) };
    }
    let child = rustix::process::Pid::from_raw(child).unwrap();
    let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    assert!(ended.unwrap().unwrap().1.exit_status() == Some(0));

    let running = server.serve(|request, reply| reply.finish_with(&*request)).unwrap();
    assert_eq!(Client::new(&path).call("here").unwrap(), b"here");
    running.stop();
    running.join().unwrap();
    assert!(!path.exists());
}
