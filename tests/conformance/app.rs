//! The application that every server under test serves: what to do for a request, decided once.
//!
//! A handler asks [`App`] for its steps and performs them, and that is all a runtime's adapter
//! contains. So a test says what happens on the server by what it sends:
//!
//! ```text
//! do write one; flush; wait go; write two; finish
//! ```

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};

use crate::bounds::PATIENCE;
use crate::wire::pattern;

/// One thing a handler does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes all of it.
    Write(Vec<u8>),
    Flush,
    /// Opens a gate, for the test to go on.
    Open(Gate),
    /// Waits until the test opens a gate.
    Wait(Gate),
    /// Tells the test whether the client has left.
    TellWhetherLeft,
    /// Reads this many bytes of the request, or up to its end, and tells the test what they are.
    Read(usize),
    /// Reads the rest of the request and writes how long it is.
    ReadAll,
    /// Writes the request as it is read, piece by piece.
    Echo,
    /// Gives the request up unread.
    DropRequest,
    /// Returns an error.
    Fail,
    Panic,
    /// Drops the reply, then waits for the gate, then returns an error.
    DropReply(Gate),
    /// Gives the reply to somebody who keeps it, then waits for the gate, then returns an error.
    KeepReply(Gate),
    Finish,
    FinishWith(Vec<u8>),
    FinishAndStop,
}

/// Something that happens once, and can be waited for by threads and by tasks.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    pub fn open(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.open = true;
        state.waiting.drain(..).for_each(Waker::wake);
        self.0.1.notify_all();
    }

    pub fn wait(&self) {
        let state = self.0.0.lock().unwrap();
        let (state, _) = self.0.1.wait_timeout_while(state, PATIENCE, |gate| !gate.open).unwrap();
        assert!(state.open, "nobody opened the gate within {PATIENCE:?}");
    }

    #[allow(dead_code, reason = "only for runtimes with tasks")]
    pub async fn opened(&self) {
        std::future::poll_fn(|context| {
            let mut state = self.0.0.lock().unwrap();
            if state.open {
                return Poll::Ready(());
            }
            state.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// The application, shared by the server's handlers and the test.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    decide: fn(&App, &[u8]) -> Vec<Step>,
    script: &'static str,
    gates: Mutex<HashMap<String, Gate>>,
    handled: AtomicUsize,
    /// Handlers at work, and the most of them at any time.
    inside: AtomicUsize,
    most_inside: AtomicUsize,
    /// What handlers left behind.
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
    tell: Sender<Vec<u8>>,
    told: Mutex<Receiver<Vec<u8>>>,
}

impl App {
    fn new(decide: fn(&App, &[u8]) -> Vec<Step>, script: &'static str) -> Self {
        let (tell, told) = channel();
        Self(Arc::new(Shared {
            decide,
            script,
            gates: Mutex::default(),
            handled: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
            kept: Mutex::default(),
            tell,
            told: Mutex::new(told),
        }))
    }

    /// What git tests its own simple-ipc with, and scripts.
    pub fn commands() -> Self {
        Self::new(Self::command, "")
    }

    /// Answers every request with its own bytes.
    pub fn echo() -> Self {
        Self::new(|_, request| vec![Step::FinishWith(request.to_vec())], "")
    }

    /// For streaming handlers: the request is not known when one begins, so each performs this.
    pub fn script(script: &'static str) -> Self {
        Self::new(Self::command, script)
    }

    /// What a handler of whole requests does.
    pub fn steps(&self, request: &[u8]) -> Vec<Step> {
        self.0.handled.fetch_add(1, Ordering::SeqCst);
        (self.0.decide)(self, request)
    }

    /// What a streaming handler does.
    pub fn streaming_steps(&self) -> Vec<Step> {
        self.0.handled.fetch_add(1, Ordering::SeqCst);
        self.parse(self.0.script)
    }

    /// How many requests have reached a handler.
    pub fn handled(&self) -> usize {
        self.0.handled.load(Ordering::SeqCst)
    }

    /// A handler is at work as long as it holds this.
    pub fn enter(&self) -> Inside {
        let inside = self.0.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_inside.fetch_max(inside, Ordering::SeqCst);
        Inside(self.clone())
    }

    /// The most handlers that were at work at the same time.
    pub fn most_at_once(&self) -> usize {
        self.0.most_inside.load(Ordering::SeqCst)
    }

    pub fn gate(&self, name: &str) -> Gate {
        self.0.gates.lock().unwrap().entry(name.to_owned()).or_default().clone()
    }

    /// Opens the gate for a handler that waits at it.
    pub fn open(&self, name: &str) {
        self.gate(name).open();
    }

    /// Waits until a handler opens the gate.
    pub fn reached(&self, name: &str) {
        self.gate(name).wait();
    }

    /// Keeps something until the test is over; for handlers.
    pub fn keep(&self, what: impl Any + Send) {
        self.0.kept.lock().unwrap().push(Box::new(what));
    }

    /// Tells the test something; for handlers.
    pub fn tell(&self, what: impl AsRef<[u8]>) {
        // A test that has ended does not listen any more.
        let _ = self.0.tell.send(what.as_ref().to_vec());
    }

    /// Hears what a handler told.
    pub fn hear(&self) -> Vec<u8> {
        self.0.told.lock().unwrap().recv_timeout(PATIENCE).expect("a handler tells something")
    }

    fn command(&self, request: &[u8]) -> Vec<Step> {
        let text = String::from_utf8_lossy(request);
        match &*text {
            "ping" => vec![Step::FinishWith(b"pong".to_vec())],
            "big" => vec![Step::Write(rows().flatten().collect()), Step::Finish],
            "chunk" => rows().map(Step::Write).chain([Step::Finish]).collect(),
            "quit" => vec![Step::FinishAndStop],
            _ => {
                if let Some(bytes) = text.strip_prefix("sendbytes ") {
                    let answer = format!("rcvd:{}{:08}\n", &bytes[..1], bytes.len());
                    vec![Step::Write(answer.into()), Step::Finish]
                } else if let Some(script) = text.strip_prefix("do ") {
                    self.parse(script)
                } else {
                    vec![Step::Write(format!("unhandled command: {text}").into()), Step::Finish]
                }
            }
        }
    }

    fn parse(&self, script: &str) -> Vec<Step> {
        let step = |step: &str| match step.trim().split_once(' ').unwrap_or((step.trim(), "")) {
            ("write", text) => Step::Write(text.into()),
            ("bytes", n) => Step::Write(pattern(n.parse().unwrap())),
            ("flush", _) => Step::Flush,
            ("open", gate) => Step::Open(self.gate(gate)),
            ("wait", gate) => Step::Wait(self.gate(gate)),
            ("left", _) => Step::TellWhetherLeft,
            ("read", "all") => Step::ReadAll,
            ("read", n) => Step::Read(n.parse().unwrap()),
            ("echo", _) => Step::Echo,
            ("unread", _) => Step::DropRequest,
            ("fail", _) => Step::Fail,
            ("panic", _) => Step::Panic,
            ("keep", gate) => Step::KeepReply(self.gate(gate)),
            ("drop", gate) => Step::DropReply(self.gate(gate)),
            ("finish", "") => Step::Finish,
            ("finish", text) => Step::FinishWith(text.into()),
            ("quit", _) => Step::FinishAndStop,
            unknown => panic!("no such step: {unknown:?}"),
        };
        script.split(';').map(step).chain([Step::Finish]).collect()
    }
}

/// A handler at work.
pub struct Inside(App);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The rows of git's `big` and `chunk` answers.
fn rows() -> impl Iterator<Item = Vec<u8>> + Clone {
    (0..10_000).map(|row| format!("big: {row:075}\n").into_bytes())
}
