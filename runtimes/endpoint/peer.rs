//! Who is at the other end of a connection.

use core::fmt;
use core::str::FromStr;
use std::io;

use super::system;

/// A user, as the system tells one from another: by a number on Unix, by a security identifier on
/// Windows. Its text is that: `1000`, `S-1-5-21-…`.
///
/// On Windows a user is the same whether elevated or not.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct User(pub(super) system::UserId);

impl User {
    /// The user that this process runs as; on Unix the effective one.
    ///
    /// # Errors
    ///
    /// If the system does not say, which on Unix it always does.
    pub fn current() -> io::Result<Self> {
        system::current_user().map(Self)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for User {
    type Err = io::Error;

    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is not what the system identifies users
    /// by. That there is such a user is not looked at.
    fn from_str(text: &str) -> io::Result<Self> {
        text.parse().map(Self).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))
    }
}

#[cfg(unix)]
impl From<u32> for User {
    fn from(uid: u32) -> Self {
        Self(uid)
    }
}

/// Who is at the other end of a connection, as the system says.
///
/// The server's are those of the moment when it began to listen, whoever accepts afterwards: a
/// server that drops its privileges later is still known by what it had, and one that was handed
/// its listener is known by whoever made it, a service manager say. A client's are those of the
/// moment when it connected, whoever it has passed the connection on to since.
///
/// On Windows a server's user is the owner of its pipe. This library's servers belong to the user
/// that they run as; one of another program that runs elevated may belong to the administrators. A
/// client's user is learned by acting for it for an instant, which a client can forbid; then
/// nothing is known of it. (This library's clients allow to be identified, and nothing more.)
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Credentials {
    /// The number of the effective user.
    #[cfg(unix)]
    pub uid: u32,
    /// The number of the effective group.
    #[cfg(unix)]
    pub gid: u32,
    #[cfg(windows)]
    pub(super) user: User,
    /// The process, where the system says and it can be seen from here. It may have ended, and
    /// its number may be another's by now: it is for logs, not for decisions.
    pub pid: Option<u32>,
}

impl Credentials {
    /// The user.
    pub fn user(&self) -> User {
        #[cfg(unix)]
        return User(self.uid);
        #[cfg(windows)]
        self.user
    }

    /// Whether it is the user that this process runs as. No, if the system does not say who that
    /// is.
    pub fn is_same_user(&self) -> bool {
        User::current().is_ok_and(|user| user == self.user())
    }
}
