//! A file-system monitor for git: the application for which git made Simple-IPC.
//!
//! ```text
//! cargo run --release --example fsmonitor -- /path/to/work/tree &
//! cd /path/to/work/tree
//! git -c core.fsmonitor=true status        # asks this program what has changed
//! ```
//!
//! git's client connects to `.git/fsmonitor--daemon.ipc` (git 2.36 or later on macOS and Windows,
//! 2.55 on Linux) and sends the token of the last answer it saw. The answer is a new token and the
//! paths that changed since then, each ended by NUL; `/` stands for "look at everything". See
//! git-fsmonitor--daemon(1) and "The Fsmonitor hook" in githooks(5).
//!
//! `changes.rs` knows what changed since when, `watch.rs` feeds it from the operating system, and
//! this file answers.

mod changes;
mod watch;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use changes::Changes;
use simple_ipc::blocking::Server;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fsmonitor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let root = std::fs::canonicalize(root)?;
    let git = git_folder(&root)?;

    // The place first: a monitor that is there already is left alone.
    let server = Server::bind(git.join("fsmonitor--daemon.ipc"))?;
    let changes = Arc::new(Changes::new(&git)?);
    let watching = watch::start(&root, &git, changes.clone())?;

    let running = server.serve(move |request, reply| match &*request {
        b"quit" => reply.finish_and_stop(),
        b"flush" => {
            changes.forget();
            reply.finish_with(changes.since(None))
        }
        token => reply.finish_with(changes.since(Some(token))),
    })?;
    let stop = running.handle();
    watching.when_root_is_gone(move || stop.stop());
    println!("watching {}", root.display());
    println!("{:?}", running.join()?);
    Ok(())
}

/// The folder that `.git` is, or that the file `.git` names.
fn git_folder(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let git = root.join(".git");
    if git.is_dir() {
        return Ok(git);
    }
    let text = std::fs::read_to_string(&git)
        .map_err(|error| format!("{} is no work tree: {error}", root.display()))?;
    let folder = text.strip_prefix("gitdir: ").ok_or("no gitdir in the file .git")?;
    Ok(root.join(folder.trim_end()).canonicalize()?)
}
