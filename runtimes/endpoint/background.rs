//! Starting a server without holding up an asynchronous client's thread.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::start::start_and_connect;
use super::{Starter, Stream};
use crate::client::Delivery;
use crate::runtimes::options::ClientOptions;
use crate::{Error, Phase};

/// As [`start_and_connect`], in a thread of its own: it is rare, and may take long.
///
/// # Cancel safety
///
/// If it is dropped, the server is started all the same.
pub(crate) fn start_and_connect_in_background(
    options: ClientOptions,
    starter: Starter,
    since: Instant,
) -> Result<Connected, Error> {
    let path = options.place.path.clone();
    let shared = Arc::new(Mutex::new(Meeting::default()));
    let connected = Connected(shared.clone());
    let run = move || {
        let result = start_and_connect(&options, &starter, since);
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.result = Some(result);
        let waker = shared.waker.take();
        drop(shared);
        waker.into_iter().for_each(Waker::wake);
    };
    match thread::Builder::new().name("simple-ipc start".into()).spawn(run) {
        Ok(_) => Ok(connected),
        Err(error) => {
            Err(Error::io(Phase::Start, &path, error).delivery_is(Delivery::NotDelivered))
        }
    }
}

/// A connection that is to be.
#[derive(Debug)]
#[allow(clippy::type_complexity, reason = "the two halves have no other use")]
pub(crate) struct Connected(Arc<Mutex<Meeting>>);

/// Where the thread leaves the connection, and learns whom to wake.
#[derive(Debug, Default)]
struct Meeting {
    result: Option<Result<Stream, Error>>,
    waker: Option<Waker>,
}

impl Future for Connected {
    type Output = Result<Stream, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                shared.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
