//! The name of a Windows named pipe, from a path, exactly as git makes it.
//!
//! A pipe is no file: its name is derived from the path that client and server agreed on, and
//! both must derive the same one. This is the part that needs no system; the runtimes make the
//! path absolute and real first.
//!
//! ```
//! use simple_ipc::pipe_name::PipeName;
//!
//! let path: Vec<u16> = "C:/work/repo/.git/fsmonitor--daemon.ipc".encode_utf16().collect();
//! let name = PipeName::of(&path)?;
//! assert_eq!(name.to_string(), r"\\.\pipe\C_\work\repo\.git\fsmonitor--daemon.ipc");
//! # Ok::<_, simple_ipc::pipe_name::PipeNameError>(())
//! ```

use core::fmt;

/// What every pipe's name begins with.
pub const PREFIX: &str = r"\\.\pipe\";

/// The longest name, in UTF-16 units, prefix included.
pub const MAX_LEN: usize = 259;

const NUL: u16 = 0;
const SLASH: u16 = b'/' as u16;
const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;
const UNDERSCORE: u16 = b'_' as u16;

/// The name of a pipe, as UTF-16. Windows does not tell upper case from lower case in it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct PipeName {
    /// Zero from `len` on, and there is always one zero.
    units: [u16; MAX_LEN + 1],
    len: usize,
}

impl PipeName {
    /// The name for `path`, which is absolute and real: its folder's symbolic links and `..` are
    /// resolved. Both slashes will do, and so will the `\\?\` before a path that the system gave.
    ///
    /// The colon behind a drive's letter becomes `_`, every `/` becomes `\`, nothing else changes.
    ///
    /// # Errors
    ///
    /// If the path is not absolute, is too long, or holds a zero: no server can ever be there.
    pub const fn of(path: &[u16]) -> Result<Self, PipeNameError> {
        let from = match verbatim(path) {
            // Two backslashes take the place of `UNC\`.
            Some(Verbatim::Share) => return Self::build(path, 8, true),
            Some(Verbatim::Drive) => 4,
            None => 0,
        };
        let is_rooted = path.len() > from && is_slash(path[from]);
        if !is_rooted && !has_drive(path, from) {
            return Err(PipeNameError::NotAbsolute);
        }
        Self::build(path, from, false)
    }

    const fn build(path: &[u16], from: usize, share: bool) -> Result<Self, PipeNameError> {
        let mut name = Self { units: [NUL; MAX_LEN + 1], len: 0 };
        let prefix = PREFIX.as_bytes();
        while name.len < prefix.len() {
            name.units[name.len] = prefix[name.len] as u16;
            name.len += 1;
        }
        let mut slashes = if share { 2 } else { 0 };
        while slashes > 0 {
            name.units[name.len] = BACKSLASH;
            name.len += 1;
            slashes -= 1;
        }
        let mut at = from;
        while at < path.len() {
            if name.len == MAX_LEN {
                return Err(PipeNameError::TooLong);
            }
            name.units[name.len] = match path[at] {
                NUL => return Err(PipeNameError::Nul),
                SLASH => BACKSLASH,
                COLON if at == from + 1 && !share && has_drive(path, from) => UNDERSCORE,
                unit => unit,
            };
            name.len += 1;
            at += 1;
        }
        Ok(name)
    }

    /// The name.
    pub fn units(&self) -> &[u16] {
        &self.units[..self.len]
    }

    /// The name and a zero, as the system takes it.
    pub fn units_with_nul(&self) -> &[u16] {
        &self.units[..=self.len]
    }
}

impl fmt::Display for PipeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        char::decode_utf16(self.units().iter().copied())
            .try_for_each(|unit| f.write_char(unit.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}

impl fmt::Debug for PipeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipeName({self})")
    }
}

/// Why a path has no pipe.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PipeNameError {
    /// It begins neither with a drive nor with a slash.
    NotAbsolute,
    /// The name would be longer than [`MAX_LEN`].
    TooLong,
    /// There is a zero in it.
    Nul,
}

impl fmt::Display for PipeNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute => f.write_str("the path is not absolute"),
            Self::TooLong => write!(f, "the pipe's name would be over {MAX_LEN} UTF-16 units long"),
            Self::Nul => f.write_str("the path holds a zero"),
        }
    }
}

impl core::error::Error for PipeNameError {}

/// A path that begins with `\\?\`, as the system writes those it has resolved.
enum Verbatim {
    /// `\\?\C:`
    Drive,
    /// `\\?\UNC\`
    Share,
}

const fn verbatim(path: &[u16]) -> Option<Verbatim> {
    if !begins_with(path, br"\\?\") {
        None
    } else if begins_with(path, br"\\?\UNC\") {
        Some(Verbatim::Share)
    } else if has_drive(path, 4) {
        Some(Verbatim::Drive)
    } else {
        None
    }
}

const fn begins_with(path: &[u16], prefix: &[u8]) -> bool {
    let mut at = 0;
    while at < prefix.len() {
        if at >= path.len() || path[at] != prefix[at] as u16 {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether a drive's letter, a colon and a slash stand at `from`.
const fn has_drive(path: &[u16], from: usize) -> bool {
    path.len() > from + 2
        && path[from] < 0x80
        && (path[from] as u8).is_ascii_alphabetic()
        && path[from + 1] == COLON
        && is_slash(path[from + 2])
}

const fn is_slash(unit: u16) -> bool {
    unit == SLASH || unit == BACKSLASH
}
