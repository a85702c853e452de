//! A good place for an endpoint.

use std::format;
use std::io;
use std::path::PathBuf;

use super::system::private_folder;

/// A folder for the endpoints of `app`, private to this user; it is made if it is not there.
///
/// On Unix it is `app` in `$XDG_RUNTIME_DIR`, if that is this user's alone; otherwise `app` with
/// the user's number in the folder for temporary files. On Windows it is `app` in
/// `%LOCALAPPDATA%`, or where that is as a rule: `AppData\Local` in the user's profile. Servers and
/// clients of one user agree on it as long as their environments do.
///
/// # Errors
///
/// If `app` is no plain name of a file, or if the folder cannot be made, or something is in its
/// place that is not a folder of this user's alone: another user may have put it there. (On Windows
/// it may be the administrators', and what others may do in a folder that was there before is not
/// looked at.)
pub fn runtime_folder(app: &str) -> io::Result<PathBuf> {
    if !private_folder::is_plain_name(app) {
        let why = format!("not a plain name of a file: {app:?}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let folder = private_folder::place(app)?;
    private_folder::make(&folder)?;
    if private_folder::is_private(&folder)? {
        return Ok(folder);
    }
    let why = format!("{} is not a folder of this user's alone", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}
