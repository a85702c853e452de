//! Where a server's tasks run.

use core::pin::Pin;
use std::boxed::Box;
use std::rc;
use std::sync;

use ::smol::{Executor, LocalExecutor};

/// A task of a server, to be started on an executor.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task of a server whose handler stays on one thread.
pub type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// Something that starts tasks of type `T`, [`Task`] or [`LocalTask`]: one of smol's executors,
/// or a closure that hands them to any other.
///
/// The tasks of a server keep it, so it must not own the executor that owns the tasks: neither
/// could ever be dropped. Hence executors are taken by a weak or a `'static` reference.
///
/// A task that is dropped before it ends hangs up on its client, who gets an error. Dropping the
/// executor drops all of them, which ends the server.
pub trait Spawn<T> {
    /// Starts `task`, without waiting for it.
    fn spawn(&self, task: T);
}

impl<T, F: Fn(T)> Spawn<T> for F {
    fn spawn(&self, task: T) {
        self(task);
    }
}

impl Spawn<Task> for sync::Weak<Executor<'static>> {
    fn spawn(&self, task: Task) {
        if let Some(executor) = self.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

impl Spawn<Task> for &'static Executor<'static> {
    fn spawn(&self, task: Task) {
        Executor::spawn(self, task).detach();
    }
}

impl Spawn<LocalTask> for rc::Weak<LocalExecutor<'static>> {
    fn spawn(&self, task: LocalTask) {
        if let Some(executor) = self.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

impl Spawn<LocalTask> for &'static LocalExecutor<'static> {
    fn spawn(&self, task: LocalTask) {
        LocalExecutor::spawn(self, task).detach();
    }
}
