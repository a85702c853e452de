//! What clients and servers of every runtime can be told, and the defaults.

use core::num::NonZeroUsize;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use super::link::contained;
use super::trace;
use crate::client::Deadlines;
use crate::connect::{Connecting, Patience};
use crate::endpoint::{self, Credentials, Place, User};
use crate::lifecycle::Limits;
use crate::{Error, server};

/// A client's options. Shared by its clones.
#[derive(Clone, Debug)]
pub(crate) struct ClientOptions {
    pub(crate) place: Place,
    pub(crate) patience: Patience,
    pub(crate) deadlines: Deadlines,
    pub(crate) answer_limit: Option<u64>,
    pub(crate) owner: Option<User>,
}

impl ClientOptions {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            place: Place::new(path),
            patience: Patience::default(),
            deadlines: Deadlines::default(),
            answer_limit: None,
            owner: None,
        }
    }

    /// The policy of one connect, `spent` after the exchange began. If it does not wait for a server
    /// where there is none, it reports that at once.
    pub(crate) fn connecting(&self, waits: bool, spent: Duration) -> Connecting {
        // Any number will do that differs between clients; this one is random.
        let seed = endpoint::random();
        let total = self.deadlines.total.unwrap_or(Duration::MAX).saturating_sub(spent);
        let Patience { busy, not_found } = self.patience;
        let not_found = if waits { not_found } else { Duration::ZERO };
        let patience = Patience { busy: busy.min(total), not_found: not_found.min(total) };
        Connecting::new(patience, seed)
    }
}

/// The setters of a client, which holds its [`ClientOptions`] in `options`.
macro_rules! client_setters {
    () => {
        /// How long to wait for a server that is alive but has no room. As long as git waits
        /// unless set otherwise: 1 s, on Windows 30 s. Zero reports it at once.
        #[must_use]
        pub fn wait_if_busy(mut self, limit: core::time::Duration) -> Self {
            self.options.patience.busy = limit;
            self
        }

        /// How long to wait for a server where there is none. Zero, that is not at all, unless
        /// set otherwise. Where there is none, `connect_or_start` and `call_or_start` start one at
        /// once, whatever is set here.
        #[must_use]
        pub fn wait_if_not_found(mut self, limit: core::time::Duration) -> Self {
            self.options.patience.not_found = limit;
            self
        }

        /// The longest the server may take none of the request. 30 s unless set otherwise;
        /// `None`: for ever.
        #[must_use]
        pub fn send_deadline(mut self, limit: impl Into<Option<core::time::Duration>>) -> Self {
            self.options.deadlines.send = limit.into();
            self
        }

        /// The longest until the first byte of the answer. 60 s unless set otherwise, for a
        /// handler may have real work to do; `None`: for ever.
        #[must_use]
        pub fn wait_deadline(mut self, limit: impl Into<Option<core::time::Duration>>) -> Self {
            self.options.deadlines.wait = limit.into();
            self
        }

        /// The longest pause inside the answer. 30 s unless set otherwise; `None`: any.
        #[must_use]
        pub fn receive_deadline(mut self, limit: impl Into<Option<core::time::Duration>>) -> Self {
            self.options.deadlines.receive = limit.into();
            self
        }

        /// The longest for the whole exchange, from connecting, and starting a server if need be,
        /// to the answer's end: then whatever comes next fails with
        /// [`ErrorKind::TotalDeadline`](crate::ErrorKind::TotalDeadline). `None` unless set
        /// otherwise: a long answer that keeps coming is not cut.
        #[must_use]
        pub fn total_deadline(mut self, limit: impl Into<Option<core::time::Duration>>) -> Self {
            self.options.deadlines.total = limit.into();
            self
        }

        /// The longest answer to accept, in bytes. `None`, any, unless set otherwise.
        #[must_use]
        pub fn answer_limit(mut self, limit: impl Into<Option<u64>>) -> Self {
            self.options.answer_limit = limit.into();
            self
        }

        /// Talk only to a server that was started by this user,
        /// [`User::current`](crate::endpoint::User::current) say: another one is sent nothing,
        /// and the error is [`ErrorKind::Untrusted`](crate::ErrorKind::Untrusted). Any user's,
        /// unless set otherwise. What belongs to a user is said at
        /// [`Credentials`](crate::endpoint::Credentials).
        #[must_use]
        pub fn require_owner(mut self, user: impl Into<crate::endpoint::User>) -> Self {
            self.options.owner = Some(user.into());
            self
        }

        /// The endpoint's path, absolute.
        pub fn path(&self) -> &std::path::Path {
            &self.options.place.path
        }
    };
}

/// Hears of exchanges that went wrong.
pub(crate) type OnError = Arc<dyn Fn(&Error) + Send + Sync>;

/// Says which clients are served.
pub(crate) type Allow = Arc<dyn Fn(&Credentials) -> bool + Send + Sync>;

/// A server's options.
#[derive(Clone)]
pub(crate) struct ServerOptions {
    pub(crate) limits: Limits,
    pub(crate) request_limit: Option<u64>,
    pub(crate) send: Option<Duration>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) allow: Option<Allow>,
}

impl ServerOptions {
    pub(crate) fn new() -> Self {
        Self {
            limits: Limits::default(),
            request_limit: Some(server::DEFAULT_REQUEST_LIMIT),
            send: Some(Duration::from_secs(60)),
            on_error: None,
            allow: None,
        }
    }

    /// `limit` exchanges; one if it is zero, for a server of none could only hang.
    pub(crate) fn set_exchanges(&mut self, limit: usize) {
        self.limits.exchanges = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
    }

    /// `limit` waiting connections; one if it is zero, for every client waits for a moment.
    pub(crate) fn set_waiting(&mut self, limit: usize) {
        self.limits.waiting = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
    }

    /// Tells the user of `error`. A panic there, of an error's own text too, must not end what the
    /// server still has to do.
    pub(crate) fn report(&self, error: &Error) {
        let _ = contained(|| trace::failed(error));
        if let Some(on_error) = &self.on_error {
            let _ = contained(|| on_error(error));
        }
    }
}

impl core::fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ServerOptions")
            .field("limits", &self.limits)
            .field("request_limit", &self.request_limit)
            .field("send", &self.send)
            .finish_non_exhaustive()
    }
}

/// The setters of a server, which holds its [`ServerOptions`] in `options`.
macro_rules! server_setters {
    () => {
        /// As [`bind`](Self::bind), with options.
        ///
        /// # Errors
        ///
        /// As [`bind`](Self::bind).
        #[cfg(any(unix, windows))]
        pub fn bind_with(
            path: impl AsRef<std::path::Path>,
            options: &crate::endpoint::BindOptions,
        ) -> Result<Self, crate::Error> {
            let place = crate::endpoint::Place::new(path.as_ref());
            let listener = crate::endpoint::Listener::bind_with(&place, options)?;
            Ok(Self { listener, options: crate::runtimes::options::ServerOptions::new() })
        }

        /// Serves on a listener that was made elsewhere: one that a service manager
        /// [handed over](crate::endpoint::activated), one that was inherited, or one of your own.
        ///
        /// It remains its maker's: its path is neither watched nor removed, it is not shut down,
        /// and whether it blocks stays as it is. When the server stops, what is queued is served;
        /// whoever connects later waits for whoever accepts on it next. Other processes may
        /// accept on it at the same time; if they do, it should be one that does not block.
        ///
        /// # Errors
        ///
        /// If it is not a Unix stream socket that listens.
        #[cfg(unix)]
        pub fn from_listener(
            listener: impl Into<std::os::fd::OwnedFd>,
        ) -> Result<Self, crate::Error> {
            let listener = crate::endpoint::Listener::adopt(listener.into())?;
            Ok(Self { listener, options: crate::runtimes::options::ServerOptions::new() })
        }

        /// Serve only those clients that `allow` says yes to. Others are hung up on before
        /// anything of their requests is looked at, and reported to
        /// [`on_error`](Self::on_error). All that can connect are served, unless set otherwise.
        /// It is called where connections are accepted, so it must not block.
        ///
        /// It is asked when a client has connected; on Windows when the first bytes have come,
        /// for the system says only then who has sent them.
        #[must_use]
        pub fn allow(
            mut self,
            allow: impl Fn(&crate::endpoint::Credentials) -> bool + Send + Sync + 'static,
        ) -> Self {
            self.options.allow = Some(std::sync::Arc::new(allow));
            self
        }

        /// The most exchanges under way at once; 8 unless set otherwise, and at least 1. Clients
        /// beyond it wait in the backlog.
        #[must_use]
        pub fn exchanges(mut self, limit: usize) -> Self {
            self.options.set_exchanges(limit);
            self
        }

        /// The most connections whose requests have not come, or not whole; 65,536 unless set
        /// otherwise, and at least 1. One more lets the one go that was not heard of for the
        /// longest time.
        #[must_use]
        pub fn waiting(mut self, limit: usize) -> Self {
            self.options.set_waiting(limit);
            self
        }

        /// The longest request that is gathered for a handler of whole requests, in bytes; 64
        /// MiB unless set otherwise, `None`: any. A client that sends more is hung up on: its
        /// send fails, or it gets no answer. Streaming handlers have no limit.
        #[must_use]
        pub fn request_limit(mut self, limit: impl Into<Option<u64>>) -> Self {
            self.options.request_limit = limit.into();
            self
        }

        /// The longest a client may take none of its answer. 60 s unless set otherwise; `None`:
        /// for ever.
        #[must_use]
        pub fn send_deadline(mut self, limit: impl Into<Option<core::time::Duration>>) -> Self {
            self.options.send = limit.into();
            self
        }

        /// The longest pause inside a request. 60 s unless set otherwise; `None`: any.
        #[must_use]
        pub fn receive_deadline(mut self, limit: impl Into<Option<core::time::Duration>>) -> Self {
            self.options.limits.receive = limit.into();
            self
        }

        /// How long a client may be connected without a word. `None`, for ever, unless set
        /// otherwise: a silent client costs next to nothing, and the longest silent goes first
        /// when descriptors run short.
        #[must_use]
        pub fn silence_deadline(mut self, limit: impl Into<Option<core::time::Duration>>) -> Self {
            self.options.limits.silence = limit.into();
            self
        }

        /// Stop after this long without a client. `None`, never, unless set otherwise.
        #[must_use]
        pub fn idle_exit(mut self, limit: impl Into<Option<core::time::Duration>>) -> Self {
            self.options.limits.idle_exit = limit.into();
            self
        }

        /// How long exchanges under way may take to end once the server stops; then they are
        /// aborted. 10 s unless set otherwise.
        #[must_use]
        pub fn drain_deadline(mut self, limit: core::time::Duration) -> Self {
            self.options.limits.drain = limit;
            self
        }

        /// Hears of every exchange that went wrong, and of nothing else: a client that hung up
        /// half-way, a request that was none, a handler that failed or panicked. Called where the
        /// exchange took place, so it must not block.
        #[must_use]
        pub fn on_error(mut self, hear: impl Fn(&crate::Error) + Send + Sync + 'static) -> Self {
            self.options.on_error = Some(std::sync::Arc::new(hear));
            self
        }

        /// The endpoint's path, absolute.
        pub fn path(&self) -> &std::path::Path {
            self.listener.path()
        }
    };
}

pub(crate) use {client_setters, server_setters};
