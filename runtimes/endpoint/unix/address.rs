//! Addresses of paths that an address cannot hold.
//!
//! An address holds 108 bytes at the most, on some systems fewer. A longer path is reached
//! through something short that leads to it: on Linux the entry in `/proc` of its folder, opened,
//! and where that is not to be had a symbolic link in the folder for temporary files, which is
//! removed at once. The working folder, which is the whole process's, stays as it is.

use std::ffi::OsStr;
use std::format;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::endpoint::random;

/// Runs `with`, which connects, on an address of `path`.
pub(super) fn with_address<T>(
    path: &Path,
    with: impl Fn(&SocketAddrUnix) -> Result<T, Errno>,
) -> Result<T, Errno> {
    match SocketAddrUnix::new(path) {
        Err(Errno::NAMETOOLONG) => {}
        address => return with(&address?),
    }
    #[cfg(any(target_os = "android", target_os = "linux"))]
    {
        use rustix::fs::{Mode, OFlags};
        use std::os::fd::AsFd as _;

        let socket = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if let Some(entry) = proc_entry(socket.as_fd()) {
            return with(&SocketAddrUnix::new(entry)?);
        }
    }
    let link = ShortLink::to(path)?;
    with(&SocketAddrUnix::new(&link.0)?)
}

/// Runs `with`, which binds, on an address of `name` in `folder`, which is open as `opened`.
pub(super) fn with_address_in<T>(
    folder: &Path,
    opened: BorrowedFd<'_>,
    name: &OsStr,
    with: impl Fn(&SocketAddrUnix) -> Result<T, Errno>,
) -> Result<T, Errno> {
    match SocketAddrUnix::new(folder.join(name)) {
        Err(Errno::NAMETOOLONG) => {}
        address => return with(&address?),
    }
    if let Some(entry) = proc_entry(opened) {
        return with(&SocketAddrUnix::new(entry.join(name))?);
    }
    let link = ShortLink::to(folder)?;
    with(&SocketAddrUnix::new(link.0.join(name))?)
}

/// The entry of an open file in `/proc`, if there is one.
fn proc_entry(opened: BorrowedFd<'_>) -> Option<PathBuf> {
    use std::os::fd::AsRawFd as _;

    if !cfg!(any(target_os = "android", target_os = "linux")) {
        return None;
    }
    let entry = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    // There may be no `/proc`, as after chroot, or one that is closed to this process.
    rustix::fs::stat(&entry).is_ok().then_some(entry)
}

/// A symbolic link with a short name, there for as long as this.
#[derive(Debug)]
struct ShortLink(PathBuf);

impl ShortLink {
    /// Enough for a name of any folder for temporary files to be found free.
    const ATTEMPTS: usize = 16;

    fn to(target: &Path) -> Result<Self, Errno> {
        let temporary = std::env::temp_dir();
        for folder in [&*temporary, Path::new("/tmp")] {
            for _ in 0..Self::ATTEMPTS {
                // Nobody can guess it and be there first, nor does it matter if somebody is.
                let number = random();
                let link = folder.join(format!(".simple-ipc.{number:016x}"));
                if SocketAddrUnix::new(&link).is_err() {
                    break;
                }
                match rustix::fs::symlink(target, &link) {
                    Ok(()) => return Ok(Self(link)),
                    Err(Errno::EXIST) => {}
                    Err(_) => break,
                }
            }
        }
        Err(Errno::NAMETOOLONG)
    }
}

impl Drop for ShortLink {
    fn drop(&mut self) {
        // One that stays leads to a place and is in nobody's way.
        let _ = rustix::fs::unlink(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    /// The route of systems without `/proc`.
    #[test]
    fn a_short_link_leads_to_folders_and_sockets() {
        let number = std::process::id();
        let folder = std::env::temp_dir().join(format!("simple-ipc-link.{number}"));
        std::fs::create_dir(&folder).unwrap();
        let to_folder = ShortLink::to(&folder).unwrap();
        let listener = UnixListener::bind(to_folder.0.join("s")).unwrap();
        let to_socket = ShortLink::to(&folder.join("s")).unwrap();
        UnixStream::connect(&to_socket.0).unwrap();
        listener.accept().unwrap();
        let links = [to_folder.0.clone(), to_socket.0.clone()];
        drop((to_folder, to_socket));
        for link in links {
            assert!(std::fs::symlink_metadata(link).is_err(), "removed again");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
