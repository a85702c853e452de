//! A folder of this user's alone.

use std::env;
use std::format;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

/// Whether it is the name of a file, and no path.
pub(in crate::runtimes::endpoint) fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// Where the folder of `app` is to be.
pub(in crate::runtimes::endpoint) fn place(app: &str) -> io::Result<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime {
        Some(runtime) if runtime.is_absolute() && is_private(&runtime).unwrap_or(false) => {
            Ok(runtime.join(app))
        }
        _ => {
            let user = rustix::process::geteuid().as_raw();
            Ok(std::path::absolute(env::temp_dir())?.join(format!("{app}-{user}")))
        }
    }
}

/// Makes the folder, unless it is there.
pub(in crate::runtimes::endpoint) fn make(folder: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(folder, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether this is a folder, of this user, and closed to everybody else.
pub(in crate::runtimes::endpoint) fn is_private(folder: &Path) -> io::Result<bool> {
    let stat = rustix::fs::lstat(folder)?;
    let is_folder = FileType::from_raw_mode(stat.st_mode as _) == FileType::Directory;
    let is_closed = !Mode::from_raw_mode(stat.st_mode as _).intersects(Mode::RWXG | Mode::RWXO);
    Ok(is_folder && is_closed && stat.st_uid == rustix::process::geteuid().as_raw())
}
