//! A folder of this user's alone.

use std::env;
use std::fs::File;
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::ERROR_ALREADY_EXISTS;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, READ_CONTROL,
};

use super::security::{Sid, private_folder as description};
use super::system::{self, Security};

/// Whether it is the name of a file, and neither a path nor a device.
pub(in crate::runtimes::endpoint) fn is_plain_name(name: &str) -> bool {
    const DEVICES: [&str; 6] = ["AUX", "CON", "CONIN$", "CONOUT$", "NUL", "PRN"];
    const NUMBERED: [&str; 2] = ["COM", "LPT"];

    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let is_numbered = NUMBERED.iter().any(|device| {
        stem.strip_prefix(device).is_some_and(|rest| {
            let mut rest = rest.chars();
            let is_number = |digit: char| digit.is_ascii_digit() || "¹²³".contains(digit);
            rest.next().is_some_and(is_number) && rest.next().is_none()
        })
    });
    !name.is_empty()
        && !name.contains(|c: char| c.is_control() || r#"<>:"/\|?*"#.contains(c))
        && !name.ends_with(['.', ' '])
        && !DEVICES.contains(&&*stem)
        && !is_numbered
}

/// Where the folder of `app` is to be.
pub(in crate::runtimes::endpoint) fn place(app: &str) -> io::Result<PathBuf> {
    let local = env::var_os("LOCALAPPDATA").map(PathBuf::from).filter(|path| path.is_absolute());
    // It is deprecated for what it did on Windows once; it asks the system, by now.
    #[allow(deprecated)]
    let profile = || Some(env::home_dir()?.join(r"AppData\Local"));
    let folder = local.or_else(profile).ok_or(io::ErrorKind::NotFound)?;
    Ok(folder.join(app))
}

/// Makes the folder, unless it is there.
pub(in crate::runtimes::endpoint) fn make(folder: &Path) -> io::Result<()> {
    let security = Security::parse(&description(system::current_user()?))?;
    match system::create_folder(folder, &security) {
        Err(error) if system::code(&error) == ERROR_ALREADY_EXISTS => Ok(()),
        result => result,
    }
}

/// Whether it is a folder that this user has made, or the system or its administrators have.
pub(in crate::runtimes::endpoint) fn is_private(folder: &Path) -> io::Result<bool> {
    let mut options = File::options();
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    let folder = options.access_mode(READ_CONTROL).custom_flags(flags).open(folder)?;
    let owner = system::owner_of_file(&folder)?;
    let is_ours = owner == system::current_user()? || Sid::SUPERIORS.contains(&owner);
    Ok(is_ours && folder.metadata()?.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_paths_and_no_devices() {
        for plain in ["app", "my app.1", "com", "com10", "console", "é", ".app", "nul_", "lpt¹x"]
        {
            assert!(is_plain_name(plain), "{plain}");
        }
        for other in [
            "", ".", "..", "a.", "a ", "a/b", r"a\b", "a:b", "a\0", "a*", "nul", "Con.txt", "COM1",
            "lpt9.log", "com¹", "aux .x", "conin$",
        ] {
            assert!(!is_plain_name(other), "{other}");
        }
        assert!(place("app").unwrap().ends_with("app"));
    }
}
