//! A server's instances of its pipe, and taking the clients that connect to them.
//!
//! Several instances wait for clients at any time, so that there is no moment in which the pipe
//! has none, and each client gets one that nobody has used before. The first instance is made
//! only if the name is free, so from then on the name is this server's: others may make
//! instances only with the same right, which nobody else has.

use core::sync::atomic::{AtomicUsize, Ordering};
#[cfg(any(feature = "smol", feature = "tokio"))]
use core::task::Poll;
use core::task::Waker;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_COMMITMENT_LIMIT, ERROR_NO_SYSTEM_RESOURCES,
    ERROR_NOT_ENOUGH_MEMORY, ERROR_NOT_ENOUGH_QUOTA, ERROR_OUTOFMEMORY, ERROR_PIPE_BUSY,
    ERROR_TOO_MANY_OPEN_FILES,
};

use super::security::description;
use super::stream::{Stream, state_of};
use super::system::{self, Event, Heard, Operation, Pipe, Reset, Security};
use crate::connect::State;
use crate::endpoint::{Accepted, Access, BindOptions, Place};
use crate::pipe_name::PipeName;
use crate::{Error, ErrorKind, Phase};

/// How many instances wait for clients at any time.
const INSTANCES: usize = 16;

/// A server's place at a path. Dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Listener {
    path: Arc<Path>,
    name: PipeName,
    security: Security,
    slots: Mutex<Slots>,
    /// One for each slot, set when its instance has a client. Each releases one thread.
    connected: Vec<Arc<Event>>,
    stop: Arc<Event>,
    /// The slot to look at first, so that none is left out.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Slots {
    instances: Vec<Option<Instance>>,
    nonblocking: bool,
    stopping: bool,
    /// The task to wake when the listener is shut down; only one accepts.
    waker: Option<Waker>,
}

/// An instance of the pipe.
#[derive(Debug)]
struct Instance {
    pipe: Pipe,
    waits: Waits,
}

#[derive(Debug)]
enum Waits {
    /// A client can connect, and nobody looks yet.
    Unheard,
    For(Operation),
    /// A client is there.
    Over,
}

impl Listener {
    /// Takes the place.
    pub(crate) fn bind(place: &Place) -> Result<Self, Error> {
        Self::bind_with(place, &BindOptions::new())
    }

    /// Takes the place as `options` say. Only the access means anything here: a pipe's name
    /// cannot be lost while its server lives, and is gone when it is.
    pub(crate) fn bind_with(place: &Place, options: &BindOptions) -> Result<Self, Error> {
        let path = &place.path;
        let error = |kind| Error::new(Phase::Bind, path, kind);
        if !place.is_possible {
            return Err(error(ErrorKind::Endpoint(State::Invalid)));
        }
        let name = super::pipe_name(path)
            .map_err(|(state, why)| error(ErrorKind::Endpoint(state)).because(why))?;
        if super::state_of_pipe(&name) == State::Listening {
            return Err(error(ErrorKind::InUse));
        }
        let failed = |source| Error::io(Phase::Bind, path, source);
        let security = security(options.access).map_err(failed)?;
        let first = match Pipe::create(&name, true, &security) {
            Ok(pipe) => pipe,
            Err(source) => {
                return Err(match refusal(&source) {
                    ErrorKind::Io => failed(source),
                    kind => error(kind).because(source),
                });
            }
        };
        let mut instances = std::vec![Some(Instance { pipe: first, waits: Waits::Unheard })];
        instances.resize_with(INSTANCES, || None);
        let listener = Self {
            path: path.clone(),
            name,
            security,
            connected: instances
                .iter()
                .map(|_| Event::new(Reset::Auto))
                .collect::<io::Result<_>>()
                .map_err(failed)?,
            stop: Event::new(Reset::Manual).map_err(failed)?,
            turn: AtomicUsize::new(0),
            slots: Mutex::new(Slots {
                instances,
                nonblocking: false,
                stopping: false,
                waker: None,
            }),
        };
        // Clients may connect from now on, although nobody looks yet.
        let mut slots = listener.lock();
        for slot in &mut slots.instances {
            if slot.is_none() {
                *slot = listener.create().ok();
            }
        }
        drop(slots);
        Ok(listener)
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // Nothing that can panic runs under the lock.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether accepting blocks when there is nothing to accept. It does unless set otherwise,
    /// before the first client is accepted.
    #[cfg(any(feature = "smol", feature = "tokio"))]
    #[allow(clippy::unnecessary_wraps, reason = "it is as on other systems")]
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.lock().nonblocking = nonblocking;
        Ok(())
    }

    /// Accepts the next connection, or waits for one if accepting blocks.
    pub(crate) fn accept(&self) -> Accepted {
        loop {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % INSTANCES;
            {
                let mut slots = self.lock();
                if let Some(accepted) = self.accept_now(&mut slots, turn) {
                    return accepted;
                }
                if slots.nonblocking {
                    return Accepted::Nothing;
                }
            }
            let mut events: Vec<&Event> = Vec::with_capacity(1 + INSTANCES);
            events.push(&self.stop);
            let (before, after) = self.connected.split_at(turn);
            events.extend(after.iter().chain(before).map(|event| &**event));
            if let Err(error) = system::wait_any(&events, None) {
                return Accepted::Failed(error);
            }
        }
    }

    /// Ready when [`accept`](Self::accept) has something to say, if it does not block. All who
    /// asked before are woken then.
    #[cfg(any(feature = "smol", feature = "tokio"))]
    pub(super) fn poll_acceptable(&self, waker: &Waker) -> Poll<()> {
        let mut slots = self.lock();
        if slots.stopping || self.listen(&mut slots).is_err() {
            return Poll::Ready(());
        }
        for instance in slots.instances.iter().flatten() {
            match &instance.waits {
                Waits::For(operation) if operation.wake_at_end(waker) => {}
                _ => return Poll::Ready(()),
            }
        }
        slots.waker = Some(waker.clone());
        Poll::Pending
    }

    /// Whether a client has connected that can be accepted.
    #[cfg(any(feature = "smol", feature = "tokio"))]
    pub(super) fn has_queued(&self) -> bool {
        let slots = self.lock();
        slots.stopping || slots.instances.iter().any(has_client)
    }

    /// Stops listening, and wakes whoever waits in [`accept`](Self::accept). Who has connected
    /// can still be accepted; after that it says [`Accepted::Stopped`].
    pub(crate) fn shut_down(&self) {
        let mut slots = self.lock();
        slots.stopping = true;
        // First, so that no thread takes the events that tell of cancelled operations.
        self.stop.set();
        for slot in &mut slots.instances {
            let has_client = slot.as_ref().is_some_and(|instance| match &instance.waits {
                Waits::For(operation) => operation.cancel_and_wait().is_ok(),
                Waits::Over => true,
                // Only a client that has connected and not left can be read from.
                Waits::Unheard => instance.pipe.available().is_ok(),
            });
            match slot {
                Some(instance) if has_client => instance.waits = Waits::Over,
                slot => *slot = None,
            }
        }
        let waker = slots.waker.take();
        drop(slots);
        waker.into_iter().for_each(Waker::wake);
    }

    /// A pipe's name cannot be taken from its server.
    pub(crate) fn is_in_place(&self) -> bool {
        true
    }

    /// A pipe's name goes with its last instance.
    pub(crate) fn unpublish(&self) {}

    /// As above.
    #[cfg(feature = "blocking")]
    pub(crate) fn unpublish_at_once(&self) -> bool {
        true
    }

    fn create(&self) -> io::Result<Instance> {
        let pipe = Pipe::create(&self.name, false, &self.security)?;
        Ok(Instance { pipe, waits: Waits::Unheard })
    }

    /// Takes a connection if one is there; `None` if it is to be waited for.
    fn accept_now(&self, slots: &mut Slots, turn: usize) -> Option<Accepted> {
        if slots.stopping {
            let left = slots.instances.iter_mut().find_map(Option::take);
            return Some(left.map_or(Accepted::Stopped, |instance| {
                Accepted::Stream(Stream::accepted(instance.pipe, slots.nonblocking))
            }));
        }
        if let Err(error) = self.listen(slots) {
            return Some(match system::code(&error) {
                ERROR_COMMITMENT_LIMIT
                | ERROR_NOT_ENOUGH_MEMORY
                | ERROR_NOT_ENOUGH_QUOTA
                | ERROR_NO_SYSTEM_RESOURCES
                | ERROR_OUTOFMEMORY
                | ERROR_PIPE_BUSY
                | ERROR_TOO_MANY_OPEN_FILES => Accepted::Shortage,
                _ => Accepted::Failed(error),
            });
        }
        let mut stream = None;
        for index in (turn..INSTANCES).chain(0..turn) {
            if !has_client(&slots.instances[index]) {
                continue;
            }
            if stream.is_some() {
                // Its event may have gone with the slot that is taken now.
                self.connected[index].set();
                break;
            }
            let instance = slots.instances[index].take()?;
            stream = Some(Stream::accepted(instance.pipe, slots.nonblocking));
            // What cannot be made now is made later.
            slots.instances[index] = self.create().ok();
            let _ = self.hear(slots, index);
        }
        stream.map(Accepted::Stream)
    }

    /// Sees to it that all instances are there, and that their clients are heard of. It fails
    /// only if none is.
    fn listen(&self, slots: &mut Slots) -> io::Result<()> {
        let mut failure = None;
        for index in 0..INSTANCES {
            // It is not there yet, or of no use: the next one.
            while self.hear(slots, index).is_err() {
                slots.instances[index] = None;
                match self.create() {
                    Ok(instance) => slots.instances[index] = Some(instance),
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
        }
        match failure {
            Some(error) if slots.instances.iter().all(Option::is_none) => Err(error),
            _ => Ok(()),
        }
    }

    /// Sees to it that the client of this slot's instance is heard of. It fails if the instance
    /// is of no use, or is not there.
    fn hear(&self, slots: &mut Slots, index: usize) -> io::Result<()> {
        let event = &self.connected[index];
        let nonblocking = slots.nonblocking;
        let Some(instance) = &mut slots.instances[index] else {
            return Err(io::ErrorKind::NotFound.into());
        };
        match &instance.waits {
            Waits::Unheard => {
                let heard = if nonblocking {
                    instance.pipe.join_pool()?;
                    Heard::Wakers
                } else {
                    Heard::Event(event.clone())
                };
                instance.waits = match instance.pipe.start_connecting(heard)? {
                    Some(operation) => Waits::For(operation),
                    None => {
                        event.set();
                        Waits::Over
                    }
                };
                Ok(())
            }
            Waits::For(operation) => operation.result().transpose().map(drop),
            Waits::Over => Ok(()),
        }
    }
}

fn has_client(slot: &Option<Instance>) -> bool {
    match slot {
        Some(Instance { waits: Waits::For(operation), .. }) => {
            operation.result().is_some_and(|result| result.is_ok())
        }
        Some(Instance { waits: Waits::Over, .. }) => true,
        _ => false,
    }
}

/// What it means that the first instance cannot be made.
fn refusal(error: &io::Error) -> ErrorKind {
    match system::code(error) {
        // This is how the system says that the name is taken.
        ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY => ErrorKind::InUse,
        _ => match state_of(error) {
            State::Other => ErrorKind::Io,
            state => ErrorKind::Endpoint(state),
        },
    }
}

/// Who may do what with the pipe.
fn security(access: Access) -> io::Result<Security> {
    let user = system::current_user()?;
    Security::parse(&description(access, user, system::current_group()?))
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::{ERROR_GEN_FAILURE, ERROR_INVALID_NAME};

    use super::*;

    #[test]
    fn what_the_system_says_of_a_name_that_is_taken() {
        for (code, kind) in [
            (ERROR_ACCESS_DENIED, ErrorKind::InUse),
            (ERROR_PIPE_BUSY, ErrorKind::InUse),
            (ERROR_INVALID_NAME, ErrorKind::Endpoint(State::Invalid)),
            (ERROR_GEN_FAILURE, ErrorKind::Io),
        ] {
            assert_eq!(refusal(&io::Error::from_raw_os_error(code as i32)), kind, "{code}");
        }
    }
}
