//! The seam between the cases, written once, and the runtimes: what a client and a server are.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use simple_ipc::client::Delivery;
use simple_ipc::lifecycle::Reason;
use simple_ipc::{Error, ErrorKind, Phase};

use crate::app::App;
use crate::bounds::{Folder, PATIENCE};

/// An error, as a test looks at it.
pub struct Failure {
    pub phase: Phase,
    pub kind: ErrorKind,
    pub delivery: Option<Delivery>,
    pub text: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Failure {
    /// Every error that any test sees comes through here: each names its endpoint, in one line.
    fn from(error: &Error) -> Self {
        let text = error.to_string();
        assert!(text.contains(&*error.path().to_string_lossy()), "no path in {text:?}");
        assert!(error.path().is_absolute(), "a relative path in {text:?}");
        assert!(!text.contains('\n'), "more than one line: {text:?}");
        Self { phase: error.phase(), kind: error.kind(), delivery: error.delivery(), text }
    }
}

impl From<io::Error> for Failure {
    /// What readers and writers report is the library's error inside.
    fn from(error: io::Error) -> Self {
        let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<Error>());
        Self::from(inside.unwrap_or_else(|| panic!("not the library's error: {error:?}")))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}/{:?}: {}", self.phase, self.kind, self.delivery, self.text)
    }
}

/// What a client is told. `None` leaves its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientSettings {
    pub wait_if_busy: Option<Duration>,
    pub wait_if_not_found: Option<Duration>,
    pub send: Option<Duration>,
    pub wait: Option<Duration>,
    pub receive: Option<Duration>,
    pub total: Option<Duration>,
    pub answer_limit: Option<u64>,
}

pub trait Client: Clone + Send + Sync + 'static {
    type Connection: Connection;
    /// Whether it has a limit on sending.
    const GIVES_UP_SENDING: bool = true;

    fn new(path: &Path, settings: ClientSettings) -> Self;
    fn call(&self, request: &[u8]) -> Result<Vec<u8>, Failure>;
    fn call_into(&self, request: &[u8], answer: &mut Vec<u8>) -> Result<(), Failure>;
    fn connect(&self) -> Result<Self::Connection, Failure>;
}

pub trait Connection: Send + 'static {
    type Request: RequestWriter;
    type Answer: Answer;

    fn send(self, request: &[u8]) -> Result<Self::Answer, Failure>;
    fn request(self) -> Self::Request;
}

pub trait RequestWriter: Writer {
    type Rest: Rest;
    type Answer: Answer;

    fn finish(self) -> Result<Self::Answer, Failure>;
    fn split(self) -> (Self::Rest, Self::Answer);
}

pub trait Writer: Send + Sized + 'static {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure>;
    fn flush(&mut self) -> Result<(), Failure>;
}

pub trait Rest: Writer {
    fn finish(self) -> Result<(), Failure>;
}

pub trait Answer: Send + Sized + 'static {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure>;
    fn read_all(self) -> Result<Vec<u8>, Failure>;

    /// Reads until `expected` has come.
    fn expect(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        let mut at = 0;
        while at < got.len() {
            match self.read(&mut got[at..]).unwrap() {
                0 => panic!("the answer ended after {at} of {} bytes", expected.len()),
                n => at += n,
            }
        }
        crate::wire::assert_same(&got, expected);
    }
}

/// What a server is told. `None` leaves its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerSettings {
    pub exchanges: Option<usize>,
    pub waiting: Option<usize>,
    pub request_limit: Option<u64>,
    pub send: Option<Duration>,
    pub receive: Option<Duration>,
    pub silence: Option<Duration>,
    pub idle_exit: Option<Duration>,
    pub drain: Option<Duration>,
}

/// A server that is bound and does not serve yet.
pub trait Server: Send + Sized + 'static {
    type Running: Running;
    /// Whether it tells of exchanges that went wrong.
    const REPORTS: bool = true;

    fn bind(path: &Path, settings: ServerSettings, reports: Reports) -> Result<Self, Failure>;
    fn serve(self, app: App) -> Self::Running;
}

pub trait StreamingServer: Server {
    fn serve_streaming(self, app: App) -> Self::Running;
}

/// A server that serves. Dropping it stops it.
pub trait Running: Send + Sized + 'static {
    fn stop(&self);
    fn abort(&self);
    /// Something that stops the server from anywhere.
    fn stopper(&self) -> Box<dyn Fn() + Send + Sync>;
    /// Why it ended, and how many exchanges were aborted.
    fn join(self) -> Result<(Reason, usize), Failure>;
}

/// What a server's `on_error` heard.
#[derive(Clone, Debug, Default)]
pub struct Reports(Arc<(Mutex<Vec<Failure>>, Condvar)>);

impl Reports {
    pub fn add(&self, error: &Error) {
        self.0.0.lock().unwrap().push(Failure::from(error));
        self.0.1.notify_all();
    }

    /// Waits for this many reports and takes them.
    #[track_caller]
    fn take(&self, count: usize) -> Vec<Failure> {
        let reports = self.0.0.lock().unwrap();
        let (mut reports, _) =
            self.0.1.wait_timeout_while(reports, PATIENCE, |heard| heard.len() < count).unwrap();
        assert!(reports.len() >= count, "{count} reports expected: {reports:?}");
        reports.drain(..count).collect()
    }

    fn count(&self) -> usize {
        self.0.0.lock().unwrap().len()
    }

    /// Takes whatever there is.
    fn clear(&self) -> Vec<Failure> {
        std::mem::take(&mut self.0.0.lock().unwrap())
    }
}

/// A server at work, with all that belongs to it.
pub struct Served<S: Server> {
    pub app: App,
    pub reports: Reports,
    pub running: S::Running,
    pub folder: Folder,
}

impl<S: Server> Served<S> {
    pub fn start(app: App) -> Self {
        Self::with(app, ServerSettings::default())
    }

    pub fn with(app: App, settings: ServerSettings) -> Self {
        Self::started(app, settings, S::serve)
    }

    fn started(app: App, settings: ServerSettings, serve: fn(S, App) -> S::Running) -> Self {
        let (folder, reports) = (Folder::new(), Reports::default());
        let server = S::bind(&folder.path(), settings, reports.clone()).unwrap();
        let running = serve(server, app.clone());
        Self { app, reports, running, folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path()
    }

    pub fn client<C: Client>(&self) -> C {
        self.client_with(ClientSettings::default())
    }

    pub fn client_with<C: Client>(&self, settings: ClientSettings) -> C {
        C::new(&self.path(), settings)
    }

    /// The server answers others, whatever its application.
    #[track_caller]
    pub fn assert_alive(&self) {
        let answer = self.client::<crate::adapters::raw::Client>().call(b"ping").unwrap();
        assert!(matches!(&*answer, b"pong" | b"ping"), "{answer:?}");
    }

    /// Waits for reports of this many exchanges that went wrong.
    #[track_caller]
    pub fn reported(&self, count: usize) -> Vec<Failure> {
        if S::REPORTS { self.reports.take(count) } else { Vec::new() }
    }

    /// Waits for the report of one exchange, of which this must be true.
    #[track_caller]
    pub fn reported_one(&self, is_it: impl FnOnce(&Failure) -> bool) {
        if let Some(report) = self.reported(1).pop() {
            assert!(is_it(&report), "reported: {report:?}");
        }
    }

    pub fn reports_so_far(&self) -> usize {
        self.reports.count()
    }

    /// Whatever has been reported meanwhile is as it may be.
    pub fn forget_reports(&self) {
        self.reports.clear();
    }

    /// Stops the server, which must then end in order, with nothing left to report.
    #[track_caller]
    pub fn end(self) {
        self.running.stop();
        self.ended(Reason::Asked);
    }

    /// As [`end`](Self::end), after exchanges of which not all are known to have been reported.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub fn end_after_errors(self) {
        self.running.stop();
        assert_eq!(self.running.join().unwrap(), (Reason::Asked, 0));
    }

    /// The server ends by itself, in order, with nothing to report.
    #[track_caller]
    pub fn ended(self, reason: Reason) {
        assert_eq!(self.running.join().unwrap(), (reason, 0));
        assert_eq!(self.folder.names(), Vec::<PathBuf>::new(), "left behind");
        let reports = self.reports.clear();
        assert!(reports.is_empty(), "reported: {reports:?}");
    }
}

impl<S: StreamingServer> Served<S> {
    pub fn streaming(app: App, settings: ServerSettings) -> Self {
        Self::started(app, settings, S::serve_streaming)
    }
}
