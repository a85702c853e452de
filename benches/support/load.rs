//! What clients ask and servers answer. The requests are those that git's `test-tool` knows, and
//! the answers are the same, so that everyone does the same work.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

/// What a client does, over and over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Load {
    /// A request that grows from 11 bytes on by one each time, and an answer of 15.
    Small,
    /// A request of this many bytes, filled by the client and looked through by the server, and
    /// a short answer.
    Request(usize),
    /// An answer of this many bytes, received into a fresh buffer, or into one that is kept.
    Reply { bytes: usize, kept: bool },
    /// An answer that its handler writes in 10,000 lines.
    Lines,
    /// As many bytes in one write (git's server only).
    Big,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) load: Load,
    /// Clients at once.
    pub(crate) clients: usize,
    /// Exchanges of each.
    pub(crate) count: usize,
}

impl Work {
    /// One client's exchanges, one after the other.
    pub(crate) fn of_one(load: Load, count: usize) -> Self {
        Self { load, clients: 1, count }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, clients, count } = self;
        let (name, bytes) = match *load {
            Load::Small => ("small", 0),
            Load::Request(bytes) => ("request", bytes),
            Load::Reply { bytes, kept: false } => ("reply", bytes),
            Load::Reply { bytes, kept: true } => ("reply-kept", bytes),
            Load::Lines => ("lines", 0),
            Load::Big => ("big", 0),
        };
        write!(f, "{name} {bytes} {clients} {count}")
    }
}

impl FromStr for Work {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let no_work = || io::Error::new(io::ErrorKind::InvalidInput, format!("no work: {line}"));
        let mut words = line.split(' ');
        let name = words.next().ok_or_else(no_work)?;
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or_else(no_work);
        let bytes = number()?;
        let load = match name {
            "small" => Load::Small,
            "request" => Load::Request(bytes),
            "reply" => Load::Reply { bytes, kept: false },
            "reply-kept" => Load::Reply { bytes, kept: true },
            "lines" => Load::Lines,
            "big" => Load::Big,
            _ => return Err(no_work()),
        };
        Ok(Self { load, clients: number()?, count: number()? })
    }
}

/// One client's requests, and the answers to them.
pub(crate) struct Conversation {
    load: Load,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Conversation {
    pub(crate) fn new(load: Load) -> Self {
        Self { load, request: Vec::new(), answer: Vec::new() }
    }

    /// The request number `k`, and where its answer goes. Both are fresh, as with git's client,
    /// unless the load says otherwise.
    pub(crate) fn begin(&mut self, k: usize) -> (&[u8], &mut Vec<u8>) {
        self.request = match self.load {
            Load::Small => send_bytes(1 + k),
            Load::Request(bytes) => send_bytes(bytes),
            Load::Reply { bytes, .. } => format!("reply {bytes}").into_bytes(),
            Load::Lines => b"chunk".to_vec(),
            Load::Big => b"big".to_vec(),
        };
        if !matches!(self.load, Load::Reply { kept: true, .. }) {
            self.answer = Vec::new();
        }
        (&self.request, &mut self.answer)
    }

    /// Looks whether the answer is what it should be.
    pub(crate) fn end(&self) -> io::Result<()> {
        let expected = match self.load {
            Load::Small | Load::Request(_) => {
                received(b'A', self.request.len() - PREFIX.len()).len()
            }
            Load::Reply { bytes, .. } => bytes,
            Load::Lines | Load::Big => LINES * LINE,
        };
        let len = self.answer.len();
        if len == expected {
            return Ok(());
        }
        Err(io::Error::other(format!("an answer of {len} bytes where {expected} were due")))
    }
}

/// All exchanges of `work`, each client in a thread of its own, and how long they took.
pub(crate) fn converse(
    work: &Work,
    call: impl Fn(&[u8], &mut Vec<u8>) -> io::Result<()> + Sync,
) -> io::Result<Duration> {
    let &Work { load, clients, count } = work;
    let talk = || {
        let mut conversation = Conversation::new(load);
        (0..count).try_for_each(|k| {
            let (request, answer) = conversation.begin(k);
            call(request, answer)?;
            conversation.end()
        })
    };
    if clients == 1 {
        let start = Instant::now();
        talk()?;
        return Ok(start.elapsed());
    }
    let barrier = Barrier::new(clients + 1);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    talk()
                })
            })
            .collect();
        barrier.wait();
        let start = Instant::now();
        for client in clients {
            client.join().map_err(|_| io::Error::other("a client panicked"))??;
        }
        Ok(start.elapsed())
    })
}

/// A server's answer.
pub(crate) enum Answer {
    Short(Vec<u8>),
    Long(&'static [u8]),
    /// To be written one by one.
    Lines(&'static [[u8; LINE]]),
}

const LINES: usize = 10_000;
const LINE: usize = 81;
const PREFIX: &[u8] = b"sendbytes ";

/// The longest answer that a server has ready.
pub(crate) const LONGEST: usize = 100_000_000;

/// What servers answer.
pub(crate) fn answer(request: &[u8]) -> Answer {
    static LONG: OnceLock<Vec<u8>> = OnceLock::new();
    static ALL_LINES: OnceLock<Vec<[u8; LINE]>> = OnceLock::new();

    if let Some(ballast) = request.strip_prefix(PREFIX) {
        let first = ballast.first().copied().unwrap_or(b'?');
        let errors = ballast.iter().filter(|&&byte| byte != first).count();
        assert_eq!(errors, 0, "the ballast is not of one kind");
        return Answer::Short(received(first, ballast.len()));
    }
    if request == b"chunk" {
        return Answer::Lines(ALL_LINES.get_or_init(|| {
            let line = |k| format!("big: {k:075}\n").into_bytes().try_into();
            (0..LINES).map(|k| line(k).expect("lines are of one length")).collect()
        }));
    }
    let len =
        request.strip_prefix(b"reply ").and_then(|len| std::str::from_utf8(len).ok()?.parse().ok());
    match len {
        Some(len) => Answer::Long(&LONG.get_or_init(|| vec![b'x'; LONGEST])[..len]),
        None => Answer::Short(b"unhandled command".to_vec()),
    }
}

fn send_bytes(bytes: usize) -> Vec<u8> {
    let mut request = Vec::with_capacity(PREFIX.len() + bytes);
    request.extend_from_slice(PREFIX);
    request.resize(PREFIX.len() + bytes, b'A');
    request
}

fn received(kind: u8, bytes: usize) -> Vec<u8> {
    format!("rcvd:{}{bytes:08}\n", kind as char).into_bytes()
}
