//! A good place for an endpoint.

use std::env;
use std::format;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

/// A folder for the sockets of `app`, private to this user; it is made if it is not there.
///
/// It is `app` in `$XDG_RUNTIME_DIR`, if that is this user's alone; otherwise `app` with the
/// user's number in the folder for temporary files. Servers and clients of one user agree on it
/// as long as their environments do.
///
/// # Errors
///
/// If `app` is no plain name of a file, or if the folder cannot be made, or something is in its
/// place that is not a folder of this user's alone: another user may have put it there.
pub fn runtime_folder(app: &str) -> io::Result<PathBuf> {
    if matches!(app, "" | "." | "..") || app.contains(['/', '\0']) {
        let why = format!("not a plain name of a file: {app:?}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder = match runtime {
        Some(runtime) if runtime.is_absolute() && is_private(&runtime).unwrap_or(false) => {
            runtime.join(app)
        }
        _ => {
            let user = rustix::process::geteuid().as_raw();
            std::path::absolute(env::temp_dir())?.join(format!("{app}-{user}"))
        }
    };
    match rustix::fs::mkdir(&folder, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    if is_private(&folder)? {
        return Ok(folder);
    }
    let why = format!("{} is not a folder of this user's alone", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Whether this is a folder, of this user, and closed to everybody else.
fn is_private(folder: &Path) -> Result<bool, Errno> {
    let stat = rustix::fs::lstat(folder)?;
    let is_folder = FileType::from_raw_mode(stat.st_mode as _) == FileType::Directory;
    let is_closed = !Mode::from_raw_mode(stat.st_mode as _).intersects(Mode::RWXG | Mode::RWXO);
    Ok(is_folder && is_closed && stat.st_uid == rustix::process::geteuid().as_raw())
}
