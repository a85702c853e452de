//! Who is who on Windows, and who may do what with a pipe. Nothing here asks the system.

use core::fmt;
use core::str::FromStr;
use std::format;
use std::io;
use std::string::String;

use crate::endpoint::Access;

/// A security identifier: what the system calls a user or a group.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct Sid {
    authority: u64,
    len: u8,
    /// What is beyond `len` is zero.
    parts: [u32; Self::MOST_PARTS],
}

impl Sid {
    /// The system itself, and the administrators: nothing can be kept from them.
    pub(super) const SUPERIORS: [Self; 2] = [Self::of_nt(&[18]), Self::of_nt(&[32, 544])];

    const MOST_PARTS: usize = 15;
    const REVISION: u8 = 1;

    const fn of_nt(some: &[u32]) -> Self {
        let mut parts = [0; Self::MOST_PARTS];
        let mut at = 0;
        while at < some.len() {
            parts[at] = some[at];
            at += 1;
        }
        Self { authority: 5, len: some.len() as u8, parts }
    }

    /// As the system has it in memory.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[revision, len, ref authority @ ..], rest) = bytes.split_first_chunk::<8>()?;
        let whole = rest.len() == 4 * usize::from(len);
        if revision != Self::REVISION || !whole || usize::from(len) > Self::MOST_PARTS {
            return None;
        }
        let authority = authority.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let mut parts = [0; Self::MOST_PARTS];
        for (part, bytes) in parts.iter_mut().zip(rest.chunks_exact(4)) {
            *part = u32::from_le_bytes(bytes.try_into().ok()?);
        }
        Some(Self { authority, len, parts })
    }
}

/// As the system writes it: `S-1-5-21-…`.
impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S-{}-", Self::REVISION)?;
        match u32::try_from(self.authority) {
            Ok(authority) => write!(f, "{authority}"),
            Err(_) => write!(f, "{:#014X}", self.authority),
        }?;
        self.parts[..usize::from(self.len)].iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sid {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        parse(text).ok_or_else(|| {
            let why = format!("not a security identifier, as S-1-5-18 is one: {text:?}");
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })
    }
}

fn parse(text: &str) -> Option<Sid> {
    let number = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        None if !text.starts_with('+') => text.parse().ok(),
        _ => None,
    };
    let mut fields = text.split('-');
    if !fields.next()?.eq_ignore_ascii_case("S") || fields.next()? != "1" {
        return None;
    }
    let authority = number(fields.next()?).filter(|&authority| authority < 1 << 48)?;
    let mut sid = Sid { authority, len: 0, parts: [0; Sid::MOST_PARTS] };
    for field in fields {
        *sid.parts.get_mut(usize::from(sid.len))? = u32::try_from(number(field)?).ok()?;
        sid.len += 1;
    }
    Some(sid)
}

/// A pipe's security, in Microsoft's language for that. It belongs to the user of the server, who
/// may do everything with it, and so may the system itself. Whoever else may connect may read and
/// write, and may not make an instance: only the server's user can serve under this name. (git's
/// client asks for more than it needs, that right too, so of other users' servers it can use only
/// git's own.)
///
/// The owner is named because it would otherwise be the administrators where the server is
/// elevated, and clients look at it to learn whose the server is.
pub(super) fn description(access: Access, user: Sid, group: Sid) -> String {
    /// FILE_GENERIC_READ, FILE_WRITE_DATA and FILE_WRITE_ATTRIBUTES.
    const CONNECT: &str = "0x12018b";

    let owner = format!("O:{user}D:P(A;;GA;;;{user})(A;;GA;;;SY)");
    match access {
        Access::Owner => owner,
        Access::Group => format!("{owner}(A;;{CONNECT};;;{group})"),
        Access::Everyone => format!("{owner}(A;;{CONNECT};;;WD)"),
    }
}

/// The security of a folder of this user's alone, whatever that of the folder around it is. What is
/// made in it is as private.
pub(super) fn private_folder(user: Sid) -> String {
    let [system, administrators] = Sid::SUPERIORS;
    let all = [user, system, administrators].map(|who| format!("(A;OICI;FA;;;{who})"));
    format!("O:{user}D:P{}", all.concat())
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn only_the_servers_user_may_serve() {
        let [user, group] = ["S-1-5-21-1", "S-1-5-21-2"].map(|sid| sid.parse().unwrap());
        let owner = "O:S-1-5-21-1D:P(A;;GA;;;S-1-5-21-1)(A;;GA;;;SY)";
        for (access, others) in [
            (Access::Owner, ""),
            (Access::Group, "(A;;0x12018b;;;S-1-5-21-2)"),
            (Access::Everyone, "(A;;0x12018b;;;WD)"),
        ] {
            assert_eq!(description(access, user, group), format!("{owner}{others}"));
        }
        // FILE_CREATE_PIPE_INSTANCE is not in what others get.
        assert_eq!(0x12018b & 0x4, 0);
    }

    #[test]
    fn a_private_folder_is_its_users_and_his_superiors() {
        assert_eq!(
            private_folder("S-1-5-21-1".parse().unwrap()),
            "O:S-1-5-21-1D:P(A;OICI;FA;;;S-1-5-21-1)(A;OICI;FA;;;S-1-5-18)\
             (A;OICI;FA;;;S-1-5-32-544)"
        );
    }

    #[test]
    fn identifiers_in_memory_and_as_text() {
        for (bytes, text) in [
            (&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0][..], "S-1-5-18"),
            (&[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0], "S-1-5-32-544"),
            (&[1, 1, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff], "S-1-1-4294967295"),
            (&[1, 0, 0, 1, 0, 0, 0, 0], "S-1-0x000100000000"),
        ] {
            let sid = Sid::from_bytes(bytes).unwrap();
            assert_eq!(sid.to_string(), text);
            assert_eq!(text.parse::<Sid>().unwrap(), sid);
            assert!(Sid::from_bytes(&bytes[1..]).is_none());
        }
        assert_eq!("s-1-0x5-0X12".parse::<Sid>().unwrap(), "S-1-5-18".parse().unwrap());
        assert_ne!("S-1-5-18-0".parse::<Sid>().unwrap(), "S-1-5-18".parse().unwrap());
        let longest = format!("S-1-5{}", "-7".repeat(15));
        assert_eq!(longest.parse::<Sid>().unwrap().to_string(), longest);
        let too_long = format!("{longest}-7");
        for text in [
            "",
            "S",
            "S-1",
            "S-2-5",
            "S-1-",
            "S-1-5-",
            "S-1-5-x",
            "S-1-5--1",
            "SY",
            "S-1-+5",
            "S-1-0x+5",
            "S-1-5-4294967296",
            "S-1-281474976710656",
            "1000",
            &too_long,
        ] {
            assert!(text.parse::<Sid>().is_err(), "{text}");
        }
    }
}
