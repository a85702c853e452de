//! Servers in processes of their own, for clients that are here.

use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio, exit};

use simple_ipc::ErrorKind;
use simple_ipc::connect::State;
use simple_ipc::lifecycle::Reason;

use crate::app::App;
use crate::bounds::{Folder, eventually};
use crate::endings::{assert_no_answer, assert_truncated};
use crate::seam::{
    Answer, Client, ClientSettings, Connection, Reports, RequestWriter, Running, Server,
    ServerSettings, Writer,
};
#[cfg(target_os = "linux")]
use crate::wire::frame;
use crate::wire::{Stream, read_to_end, send};

pub struct Elsewhere {
    folder: Folder,
    process: Child,
}

impl Elsewhere {
    /// In the process of the test `name` this starts one more, which serves after `prepare` and
    /// never comes back.
    pub fn start<S: Server>(name: &str, prepare: fn()) -> Self {
        Self::start_with::<S>(name, ServerSettings::default(), prepare)
    }

    /// The same, with these settings.
    pub fn start_with<S: Server>(name: &str, settings: ServerSettings, prepare: fn()) -> Self {
        const SERVE: &str = "CONFORMANCE_SERVE";
        if let Some(path) = env::var_os(SERVE) {
            prepare();
            let server = S::bind(path.as_ref(), settings, Reports::default()).unwrap();
            let running = server.serve(App::commands());
            let quit = running.join().unwrap().0 == Reason::Quit;
            exit(if quit { 0 } else { 1 });
        }
        let folder = Folder::new();
        let mut process = Command::new(env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(SERVE, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the server is there", || {
            assert_eq!(process.try_wait().unwrap(), None);
            Stream::connect(folder.path()).is_ok()
        });
        Self { folder, process }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path()
    }

    pub fn send(&self, bytes: &[u8]) -> Stream {
        send(&self.path(), bytes)
    }

    #[track_caller]
    pub fn ping(&self) {
        assert_eq!(read_to_end(&mut self.send(b"0008ping0000")), b"0008pong0000");
    }

    #[cfg(target_os = "linux")]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, signal).unwrap();
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    #[cfg(target_os = "linux")]
    pub fn end(mut self) {
        assert_eq!(read_to_end(&mut self.send(&frame(b"quit"))), b"0000");
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // After a failure; otherwise it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Wherever its clients are in their exchanges, they hear of it, and do not wait for a deadline;
/// and the place is free at once.
pub fn a_server_that_is_killed<S: Server, C: Client>(name: &str) {
    let mut server = Elsewhere::start::<S>(name, || {});
    let client = C::new(&server.path(), ClientSettings::default());
    let mut receives = client.connect().unwrap().send(b"do write a; flush; wait ever").unwrap();
    receives.expect(b"a");
    let waits = client.connect().unwrap().send(b"do wait ever").unwrap();
    let mut sends = client.connect().unwrap().request();
    sends.write(b"pi").unwrap();
    sends.flush().unwrap();
    server.ping();

    server.kill();
    assert_truncated(&receives.read(&mut [0; 10]).unwrap_err());
    assert_no_answer(&waits.read_all().unwrap_err());
    let error = sends.finish().and_then(Answer::read_all).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::HungUp | ErrorKind::NoAnswer), "{error:?}");

    // A socket stays, and nobody listens; a pipe goes with its server.
    let gone = if cfg!(windows) { State::NotFound } else { State::NotListening };
    assert_eq!(client.call(b"ping").unwrap_err().kind, ErrorKind::Endpoint(gone));
    let next = S::bind(&server.path(), ServerSettings::default(), Reports::default()).unwrap();
    let next = next.serve(App::commands());
    assert_eq!(client.call(b"ping").unwrap(), b"pong");
    next.stop();
    next.join().unwrap();
}
