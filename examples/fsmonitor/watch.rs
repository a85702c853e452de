//! From the operating system's events to changed paths.
//!
//! On Linux each folder is watched by itself, by this thread, because only then is it known when
//! the watch is in place: whatever is made in a new folder before that is found by marking the
//! whole folder afterwards. Elsewhere the system watches whole trees.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::thread;

use notify::event::{ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

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
    let watcher = notify::recommended_watcher(move |event| {
        // It fails only when the thread below is gone, with the process.
        let _ = sender.send(event);
    })?;
    let root_gone = Arc::new(OnceLock::new());
    let mut watch = Watch {
        root: root.into(),
        git: git.into(),
        in_root: git.starts_with(root),
        watcher,
        folders: BTreeSet::new(),
        root_gone: root_gone.clone(),
        changes,
    };
    watch.watch_all()?;
    thread::spawn(move || watch.follow(&events));
    Ok(Watching { root_gone })
}

struct Watch {
    root: PathBuf,
    git: PathBuf,
    in_root: bool,
    watcher: RecommendedWatcher,
    /// Folders that are watched one by one.
    folders: BTreeSet<PathBuf>,
    root_gone: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
    changes: Arc<Changes>,
}

impl Watch {
    fn watch_all(&mut self) -> notify::Result<()> {
        let mode =
            if WATCHES_TREES { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let cookies = self.changes.cookies().to_owned();
        if !(WATCHES_TREES && self.in_root) {
            self.watcher.watch(&cookies, RecursiveMode::NonRecursive)?;
        }
        if WATCHES_TREES {
            self.watcher.watch(&self.root.clone(), mode)
        } else {
            self.watch_folder(&self.root.clone())
        }
    }

    fn follow(&mut self, events: &Receiver<notify::Result<Event>>) {
        for event in events {
            match event {
                Ok(event) if !event.need_rescan() => self.see(&event),
                // Events were dropped, or the watch is broken: begin again.
                _ => self.begin_again(),
            }
        }
    }

    fn begin_again(&mut self) {
        self.changes.lost();
        // If it cannot be done, it stays lost, and every answer is "look at everything".
        if self.watch_all().is_ok() {
            self.changes.found();
        }
    }

    fn see(&mut self, event: &Event) {
        let gone = match event.kind {
            // Reading changes nothing.
            EventKind::Access(_) => return,
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
        let is_folder = fs::symlink_metadata(path).is_ok_and(|is| is.is_dir());
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
        if let Err(error) = self.watcher.watch(folder, RecursiveMode::NonRecursive) {
            return if folder.is_dir() { Err(error) } else { Ok(()) };
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
