//! From the operating system's events to changed paths.
//!
//! On Linux each folder is watched by itself, by this thread, because only then is it known when
//! the watch is in place: whatever is made in a new folder before that is found by marking the
//! whole folder afterwards. Elsewhere the system watches whole trees.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{
    Config, Event, EventKind, EventKindMask, RecommendedWatcher, RecursiveMode, WatchPathConfig,
    Watcher as _,
};

use super::changes::Changes;

const WATCHES_TREES: bool = !cfg!(target_os = "linux");

/// A watch that goes on as long as the process.
pub struct Watching {
    root_gone: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
}

impl Watching {
    pub fn when_root_is_gone(&self, then: impl Fn() + Send + Sync + 'static) {
        // It is set once, right after the start.
        let _ = self.root_gone.set(Box::new(then));
    }
}

/// Watches `root`; when this returns, nothing that changes escapes.
pub fn start(root: &Path, git: &Path, changes: Arc<Changes>) -> notify::Result<Watching> {
    let (sender, events) = mpsc::channel();
    let root_gone = Arc::new(OnceLock::new());
    let mut watch = Watch {
        root: root.into(),
        git: git.into(),
        watcher: watcher(0, &sender)?,
        number: 0,
        sender,
        folders: BTreeSet::new(),
        root_gone: root_gone.clone(),
        changes,
    };
    watch.watch_all()?;
    thread::spawn(move || watch.follow(&events));
    Ok(Watching { root_gone })
}

/// What a watcher tells, and its number.
type Told = (u64, notify::Result<Event>);

fn watcher(number: u64, sender: &Sender<Told>) -> notify::Result<RecommendedWatcher> {
    // Without the opening of files, which git alone does often enough to fill the system's queue.
    let kinds = EventKindMask::CORE | EventKindMask::ACCESS_CLOSE;
    let sender = sender.clone();
    // It fails only when the thread that follows is gone, with the process.
    let send = move |event| drop(sender.send((number, event)));
    RecommendedWatcher::new(send, Config::default().with_event_kinds(kinds))
}

struct Watch {
    root: PathBuf,
    git: PathBuf,
    watcher: RecommendedWatcher,
    number: u64,
    sender: Sender<Told>,
    /// Folders that are watched one by one.
    folders: BTreeSet<PathBuf>,
    root_gone: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
    changes: Arc<Changes>,
}

impl Watch {
    fn watch_all(&mut self) -> notify::Result<()> {
        let cookies = self.changes.cookies().to_owned();
        if !(WATCHES_TREES && cookies.starts_with(&self.root)) {
            self.watcher.watch(&cookies, RecursiveMode::NonRecursive)?;
        }
        let root = self.root.clone();
        match WATCHES_TREES {
            true => self.watcher.watch(&root, RecursiveMode::Recursive),
            false => self.watch_folder(&root),
        }
    }

    fn follow(&mut self, events: &Receiver<Told>) {
        for (number, event) in events {
            match event {
                // A watcher that was given up has missed something before this.
                _ if number != self.number => {}
                Ok(event) if !event.need_rescan() => self.see(&event),
                // Events were dropped, or the watch is broken: begin again.
                _ => self.begin_again(),
            }
        }
    }

    /// With nothing of the old watches, which may be known by names that are no longer theirs.
    fn begin_again(&mut self) {
        self.changes.lost();
        self.folders.clear();
        self.number += 1;
        let renewed = watcher(self.number, &self.sender).and_then(|watcher| {
            self.watcher = watcher;
            self.watch_all()
        });
        match renewed {
            Ok(()) => self.changes.found(),
            // It stays lost until the next attempt, which is the next event of this kind.
            Err(error) => eprintln!("git must look at everything, for not all is watched: {error}"),
        }
    }

    fn see(&mut self, event: &Event) {
        let gone = match event.kind {
            // Reading changes nothing. What was written through a mapping shows only at the end.
            EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write) => return,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => true,
            _ => false,
        };
        for path in &event.paths {
            if path.parent() == Some(self.changes.cookies()) {
                self.changes.cookie_seen(path);
            } else if path == &self.root {
                if !self.root.exists() {
                    if let Some(then) = self.root_gone.get() {
                        then();
                    }
                }
            } else if path.starts_with(&self.git) || *path == self.root.join(".git") {
                // git's own business.
            } else {
                self.see_path(path, gone);
            }
        }
    }

    fn see_path(&mut self, path: &Path, gone: bool) {
        let is_folder = is_folder(path);
        if gone || !is_folder {
            self.forget_folder(path);
        }
        if is_folder && !WATCHES_TREES && self.watch_folder(path).is_err() {
            return self.begin_again();
        }
        // After the watch is in place, so that what was made before it is looked at: a folder
        // that has changed stands for all that is in it.
        self.mark(path);
    }

    /// Watches a folder and those in it. One that is gone meanwhile is none.
    fn watch_folder(&mut self, folder: &Path) -> notify::Result<()> {
        if *folder == self.root.join(".git") {
            return Ok(());
        }
        // It may have become a link in this moment.
        let itself = WatchPathConfig::new(RecursiveMode::NonRecursive);
        let itself = itself.with_dereference_symlinks(false);
        if let Err(error) = self.watcher.watch_with(folder, itself) {
            return if is_folder(folder) { Err(error) } else { Ok(()) };
        }
        self.folders.insert(folder.into());
        let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|is| is.is_dir()) {
                self.watch_folder(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Ends the watches on `path` and all in it, if it was a folder: one that was renamed would go
    /// on being reported under its old name.
    fn forget_folder(&mut self, path: &Path) {
        let from = (Bound::Included(path.to_owned()), Bound::Unbounded);
        let inside: Vec<_> = self
            .folders
            .range(from)
            .take_while(|folder| folder.starts_with(path))
            .cloned()
            .collect();
        for folder in inside {
            // The system has ended it already if the folder was removed.
            let _ = self.watcher.unwatch(&folder);
            self.folders.remove(&folder);
        }
    }

    fn mark(&self, path: &Path) {
        let Ok(path) = path.strip_prefix(&self.root) else { return };
        let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
        if cfg!(windows) {
            bytes.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        }
        self.changes.mark(bytes);
    }
}

/// Whether it is a folder, and no link to one.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|is| is.is_dir())
}
