//! One exchange: what goes from the client to the command and back, on any runtime.
//!
//! It has two halves that run at once: `feed` takes the request to the command, `answer` takes the
//! command's output to the client and sees what else happens. Each has a buffer of its own, and
//! nothing else is kept, so memory does not depend on the length of a message.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_process::{ChildStdin, ChildStdout};
use futures_lite::future::{or, zip};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use simple_ipc::ErrorKind;
use simple_ipc::endpoint::Credentials;
use simple_ipc::pkt_line::MAX_PAYLOAD_LEN;
use smol::Timer;

use super::command::{CommandLine, Running};
use super::log::{Log, Tally};

/// As much as fits into one packet.
const BUFFER: usize = MAX_PAYLOAD_LEN;

/// A request as it arrives, on any runtime.
pub trait Request: Send + 'static {
    /// Reads some of it; 0 bytes at its end.
    fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

/// An answer on its way, on any runtime. Dropping it aborts the exchange.
pub trait Reply: Send + Sync + 'static {
    type Finished: Send;
    /// Sends all of `bytes`, without waiting for more.
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    /// Ends the answer.
    fn finish(self) -> impl Future<Output = io::Result<Self::Finished>> + Send;
    /// Waits until the client has left.
    fn client_left(&self) -> impl Future<Output = ()> + Send;
    /// Who the client is.
    fn peer(&self) -> io::Result<Credentials>;
    /// Runs the two halves of an exchange at once, to the end of both, for what the second gives.
    fn both<T: Send>(
        first: impl Future<Output = ()> + Send,
        second: impl Future<Output = T> + Send,
    ) -> impl Future<Output = io::Result<T>> + Send {
        async { Ok(zip(first, second).await.1) }
    }
}

/// Who asks, as far as the system says.
pub struct Peer(Vec<(&'static str, String)>);

impl Peer {
    fn of(reply: &impl Reply) -> Self {
        let Ok(peer) = reply.peer() else { return Self(Vec::new()) };
        let mut facts = vec![("user", peer.user().to_string())];
        #[cfg(unix)]
        facts.push(("group", peer.gid.to_string()));
        facts.extend(peer.pid.map(|pid| ("pid", pid.to_string())));
        Self(facts)
    }

    /// For the command.
    pub fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        let name = |fact: &str| format!("SIMPLE_IPC_PEER_{}", fact.to_uppercase());
        self.0.iter().map(move |(fact, value)| (name(fact), value.as_str()))
    }

    /// For the log.
    fn line(&self) -> String {
        self.0.iter().map(|(fact, value)| format!(" {fact}={value}")).collect()
    }
}

/// Why an exchange was cut short.
#[derive(Debug)]
pub enum Cut {
    /// The client left before it had its answer.
    ClientLeft,
    /// The request did not come to its end.
    Request(io::Error),
    TooLong(u64),
    NotStarted(io::Error),
    /// The command said by its exit status that it had failed.
    Failed(ExitStatus),
    /// Its pipes, or what the system says of it.
    Command(io::Error),
    /// The answer could not be sent.
    Answer(io::Error),
    /// The server has stopped, and did not wait any longer.
    Drained,
    /// The server's user wants it to end at once.
    Aborted,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientLeft => f.write_str("the client has left"),
            Self::Request(error) => write!(f, "the request is not whole: {error}"),
            Self::TooLong(limit) => write!(f, "the request is longer than {limit} bytes"),
            Self::NotStarted(error) => write!(f, "the command cannot be started: {error}"),
            Self::Failed(status) => write!(f, "the command failed: {status}"),
            Self::Command(error) => write!(f, "the command cannot be read from: {error}"),
            Self::Answer(error) => write!(f, "the answer cannot be sent: {error}"),
            Self::Drained => f.write_str("the server has stopped, and the time to drain was over"),
            Self::Aborted => f.write_str("the server was told to abort"),
        }
    }
}

/// What is done with requests.
#[derive(Clone)]
pub struct Service {
    /// Requests are echoed if there is none.
    command: Option<Arc<CommandLine>>,
    max_request: Option<u64>,
    log: Arc<Log>,
    /// When the server was told to stop, and whether to abort, if it was; and how long it drains.
    told: Arc<Told>,
    drain: Duration,
    /// It is closed when everything must end at once.
    abort: Receiver<Infallible>,
    /// Whoever waits for the end of all exchanges sees that nobody has it any more.
    _under_way: mpsc::Sender<Infallible>,
}

/// The end of a service's exchanges.
pub struct Exchanges {
    ends: Ends,
    under_way: mpsc::Receiver<Infallible>,
}

#[derive(Debug, Default)]
struct Told {
    stop: OnceLock<Instant>,
    abort: AtomicBool,
    /// How many have been cut short for that.
    cut: AtomicUsize,
}

/// What exchanges are told of the end.
#[derive(Clone)]
pub struct Ends {
    told: Arc<Told>,
    abort: Sender<Infallible>,
}

impl Ends {
    /// The server is about to stop.
    pub fn are_stopping(&self) {
        // A second time makes no difference.
        let _ = self.told.stop.set(Instant::now());
    }

    /// The server is about to abort them: that is why, whatever they see of it.
    pub fn are_aborted(&self) {
        self.told.abort.store(true, Ordering::Relaxed);
    }

    /// They end at once.
    pub fn abort(&self) {
        self.abort.close();
    }
}

impl Exchanges {
    /// What tells them of their end.
    pub fn ends(&self) -> Ends {
        self.ends.clone()
    }

    /// Whether they were ended at once.
    pub fn were_aborted(&self) -> bool {
        self.ends.told.abort.load(Ordering::Relaxed)
    }

    /// How many were cut short by the end. The server need not have noticed: an exchange that is
    /// told to end may do so before it is aborted.
    pub fn cut(&self) -> usize {
        self.ends.told.cut.load(Ordering::Relaxed)
    }

    /// Waits for those that the server has given up, whose commands are being killed.
    pub fn wait(&self) {
        // The patience is for a system that is slow to kill; there is nothing else to wait for.
        let _ = self.under_way.recv_timeout(Duration::from_secs(2));
    }
}

impl Service {
    pub fn new(
        command: Option<CommandLine>,
        max_request: Option<u64>,
        drain: Duration,
        log: Log,
    ) -> (Self, Exchanges) {
        let (abort, aborted) = async_channel::bounded(1);
        let (_under_way, under_way) = mpsc::channel();
        let (command, log) = (command.map(Arc::new), Arc::new(log));
        let told = Arc::<Told>::default();
        let ends = Ends { told: told.clone(), abort };
        let service = Self { command, max_request, log, told, drain, abort: aborted, _under_way };
        (service, Exchanges { ends, under_way })
    }

    pub fn log(&self) -> Arc<Log> {
        self.log.clone()
    }

    /// Goes through one exchange.
    pub async fn exchange<Q: Request, P: Reply>(
        self,
        request: Q,
        reply: P,
    ) -> Result<P::Finished, Logged> {
        let peer = Peer::of(&reply);
        let tally = Tally::new(peer.line());
        let entry = Entry { service: &self, tally: &tally, is_logged: false };
        let result = match &self.command {
            None => self.echo(request, reply, &tally).await,
            Some(command) => match self.start(command, &peer, &reply).await {
                Ok((running, stdin, stdout)) => {
                    let (cut, has_cut) = async_channel::bounded(1);
                    let (ended, has_ended) = async_channel::bounded(1);
                    P::both(
                        self.feed(request, stdin, has_ended, cut, &tally),
                        self.answer(reply, running, stdout, has_cut, ended, &tally),
                    )
                    .await
                    .unwrap_or_else(|error| Err(Cut::NotStarted(error)))
                }
                Err(cut) => Err(cut),
            },
        };
        entry.log(result.as_ref().map(|_| ()));
        result.map_err(|_| Logged)
    }

    /// Starts the command; waits a while if there is no room for a process or for its pipes.
    async fn start(
        &self,
        command: &CommandLine,
        peer: &Peer,
        reply: &impl Reply,
    ) -> Result<(Running, ChildStdin, ChildStdout), Cut> {
        /// Half a minute in all.
        const LONGEST: Duration = Duration::from_secs(15);

        let mut pause = Duration::from_millis(4);
        loop {
            match command.start(peer) {
                Err(error) if is_shortage(&error) && pause < LONGEST => {
                    let rest = async {
                        Timer::after(pause).await;
                        Ok(())
                    };
                    let left = async {
                        reply.client_left().await;
                        Err(self.left())
                    };
                    or(left, or(async { Err(self.aborted().await) }, rest)).await?;
                    pause *= 2;
                }
                result => return result.map_err(Cut::NotStarted),
            }
        }
    }

    /// Why there is no client any more.
    fn left(&self) -> Cut {
        let is_over = |stopped: &Instant| stopped.elapsed() >= self.drain;
        match self.told.stop.get().is_some_and(is_over) {
            _ if self.told.abort.load(Ordering::Relaxed) => Cut::Aborted,
            true => Cut::Drained,
            false => Cut::ClientLeft,
        }
    }

    fn request_cut(&self, error: io::Error) -> Cut {
        match kind(&error) {
            Some(ErrorKind::Truncated | ErrorKind::HungUp) => self.left(),
            _ => Cut::Request(error),
        }
    }

    fn answer_cut(&self, error: io::Error) -> Cut {
        match kind(&error) {
            Some(ErrorKind::HungUp) => self.left(),
            _ => Cut::Answer(error),
        }
    }

    async fn echo<Q: Request, P: Reply>(
        &self,
        mut request: Q,
        mut reply: P,
        tally: &Tally,
    ) -> Result<P::Finished, Cut> {
        let echo = async {
            let mut buffer = vec![0; BUFFER];
            loop {
                match request.read(&mut buffer).await.map_err(|error| self.request_cut(error))? {
                    0 => return reply.finish().await.map_err(|error| self.answer_cut(error)),
                    n => {
                        self.take(&buffer[..n], tally)?;
                        reply.send(&buffer[..n]).await.map_err(|error| self.answer_cut(error))?;
                        tally.gave(n);
                    }
                }
            }
        };
        or(async { Err(self.aborted().await) }, echo).await
    }

    /// Takes the request to the command. All of it is read, whether or not the command wants it:
    /// its client may read only when it has sent everything.
    async fn feed<Q: Request>(
        &self,
        mut request: Q,
        stdin: ChildStdin,
        ended: Receiver<Infallible>,
        cut: Sender<Cut>,
        tally: &Tally,
    ) {
        let mut stdin = Some(stdin);
        let mut buffer = vec![0; BUFFER];
        loop {
            let piece = match request.read(&mut buffer).await {
                Ok(0) => return,
                Ok(n) => self.take(&buffer[..n], tally).map(|()| &buffer[..n]),
                Err(error) => Err(self.request_cut(error)),
            };
            match (piece, &mut stdin) {
                (Ok(piece), Some(pipe)) => {
                    // Something that the command has left behind may hold the other end.
                    let has_ended = async {
                        let Err(async_channel::RecvError) = ended.recv().await;
                        Err(io::ErrorKind::BrokenPipe.into())
                    };
                    if or(pipe.write_all(piece), has_ended).await.is_err() {
                        stdin = None;
                    }
                }
                (Ok(_), None) => {}
                (Err(why), _) => {
                    // If nobody listens, the answer has ended already.
                    let _ = cut.try_send(why);
                    return;
                }
            }
        }
    }

    /// Takes the command's output to the client, until the command has ended.
    async fn answer<P: Reply>(
        &self,
        mut reply: P,
        mut command: Running,
        mut stdout: ChildStdout,
        cut: Receiver<Cut>,
        ended: Sender<Infallible>,
        tally: &Tally,
    ) -> Result<P::Finished, Cut> {
        enum Event {
            Output(io::Result<usize>),
            End(io::Result<ExitStatus>),
            Cut(Cut),
        }
        /// What a pipe may hold, as far as an ordinary user can tell Linux to let it.
        const PIPE: usize = 1 << 20;
        /// How long to look for the rest of the output. A read from a pipe finds what is there at
        /// once, but on Windows another thread reads.
        const REST: Duration = Duration::from_millis(if cfg!(windows) { 100 } else { 0 });

        let mut buffer = vec![0; BUFFER];
        let mut is_open = true;
        let status = loop {
            let cut = async {
                let left = async {
                    reply.client_left().await;
                    self.left()
                };
                let cut = async {
                    match cut.recv().await {
                        Ok(cut) => cut,
                        Err(_) => pending().await,
                    }
                };
                Event::Cut(or(or(left, cut), self.aborted()).await)
            };
            let output = async {
                match is_open {
                    true => Event::Output(stdout.read(&mut buffer).await),
                    false => pending().await,
                }
            };
            let end = async { Event::End(command.end().await) };
            match or(cut, or(output, end)).await {
                Event::Output(Ok(0)) => is_open = false,
                Event::Output(Ok(n)) => self.give(&mut reply, &buffer[..n], tally).await?,
                Event::End(Ok(status)) => break status,
                Event::Output(Err(error)) | Event::End(Err(error)) => {
                    return Err(Cut::Command(error));
                }
                Event::Cut(why) => return Err(why),
            }
        };
        drop(ended);
        let mut rest = if is_open { PIPE } else { 0 };
        while rest > 0 {
            let late = async {
                Timer::after(REST).await;
                Ok(0)
            };
            match or(stdout.read(&mut buffer), late).await.map_err(Cut::Command)? {
                0 => break,
                n => self.give(&mut reply, &buffer[..n], tally).await?,
            }
            rest = rest.saturating_sub(BUFFER);
        }
        match status.success() {
            true => reply.finish().await.map_err(|error| self.answer_cut(error)),
            false => Err(Cut::Failed(status)),
        }
    }

    /// Notes what has come of a request.
    fn take(&self, bytes: &[u8], tally: &Tally) -> Result<(), Cut> {
        let taken = tally.took(bytes);
        match self.max_request {
            Some(limit) if taken > limit => Err(Cut::TooLong(limit)),
            _ => Ok(()),
        }
    }

    async fn give<P: Reply>(&self, reply: &mut P, bytes: &[u8], tally: &Tally) -> Result<(), Cut> {
        reply.send(bytes).await.map_err(|error| self.answer_cut(error))?;
        tally.gave(bytes.len());
        Ok(())
    }

    async fn aborted(&self) -> Cut {
        let Err(async_channel::RecvError) = self.abort.recv().await;
        Cut::Aborted
    }
}

/// The line of one exchange in the log. It is written in any case: when the time to drain is over,
/// what is under way is dropped.
struct Entry<'e> {
    service: &'e Service,
    tally: &'e Tally,
    is_logged: bool,
}

impl Entry<'_> {
    fn log(mut self, result: Result<(), &Cut>) {
        self.is_logged = true;
        self.note(result);
    }

    fn note(&self, result: Result<(), &Cut>) {
        if let Err(Cut::Aborted | Cut::Drained) = result {
            self.service.told.cut.fetch_add(1, Ordering::Relaxed);
        }
        self.service.log.exchange(self.tally, result);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.is_logged {
            let is_aborted = self.service.told.abort.load(Ordering::Relaxed);
            let cut = if is_aborted { Cut::Aborted } else { Cut::Drained };
            self.note(Err(&cut));
        }
    }
}

/// Whether the system has no room for one more process or descriptor now.
#[cfg(unix)]
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;

    Errno::from_io_error(error).is_some_and(|errno| {
        matches!(errno, Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM)
    })
}

#[cfg(not(unix))]
fn is_shortage(_: &io::Error) -> bool {
    false
}

fn kind(error: &io::Error) -> Option<ErrorKind> {
    error.get_ref()?.downcast_ref::<simple_ipc::Error>().map(simple_ipc::Error::kind)
}

/// An exchange has failed, and that is in the log.
#[derive(Debug)]
pub struct Logged;

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the exchange was cut short")
    }
}

impl std::error::Error for Logged {}
