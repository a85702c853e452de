//! What starting a server needs of the system: a lock among those who would, a process of its
//! own, and how that says that it is ready.
//!
//! Its standard input is the writing end of a pipe, on which it says so. The standard library would
//! hand down every handle that can be inherited, so the process is created here: it gets its
//! standard streams and nothing else.

use core::iter;
use core::time::Duration;
use std::borrow::ToOwned as _;
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::format;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::{AsHandle as _, OwnedHandle};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::string::{String, ToString as _};
use std::sync::Arc;
use std::vec::Vec;

use windows_sys::Win32::Foundation::GENERIC_READ;
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_APPEND_DATA, FILE_ATTRIBUTE_TEMPORARY, FILE_FLAG_DELETE_ON_CLOSE,
    FILE_FLAG_OPEN_REPARSE_POINT,
};

use super::security::description;
use super::system::{self, Event, Heard, Pipe, Process, Reset, Security};
use crate::endpoint::start::{READY, Word};
use crate::endpoint::{Access, random};
use crate::pipe_name::{PREFIX, PipeName};

/// Opens the file whose lock is the right to start a server; it is made if it is not there.
pub(in crate::runtimes::endpoint) fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)
}

/// Locks it; `false` if somebody else holds the lock.
pub(in crate::runtimes::endpoint) fn try_lock(file: &File) -> io::Result<bool> {
    system::try_lock(file)
}

/// Gives the lock back, which it does by itself when the file is closed.
pub(in crate::runtimes::endpoint) fn unlock(_file: &File) {}

/// Whether `file` is what is at `path`.
pub(in crate::runtimes::endpoint) fn is_at(file: &File, path: &Path) -> bool {
    let mut options = File::options();
    let there = options.access_mode(0).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path);
    match (there.and_then(|there| system::identity(&there)), system::identity(file)) {
        (Ok(there), Ok(ours)) => there == ours,
        _ => false,
    }
}

/// Takes the name from a file that others have open; whether that was done.
pub(in crate::runtimes::endpoint) fn take_away(path: &Path) -> bool {
    // A file that is removed may keep its name until the last one closes it.
    let mut name = OsString::from(path);
    name.push(format!(".{:016x}", random()));
    fs::rename(path, &name).is_ok_and(|()| {
        // One that stays is in nobody's way.
        let _ = fs::remove_file(&name);
        true
    })
}

/// The command is as it should be: it is not the standard library that starts it.
pub(in crate::runtimes::endpoint) fn detach(_command: &mut Command) {}

/// A server that was started.
pub(in crate::runtimes::endpoint) struct Launched {
    process: Process,
    /// The other end of its standard input.
    ready: Pipe,
    event: Arc<Event>,
    messages: File,
}

impl Launched {
    pub(in crate::runtimes::endpoint) fn spawn(command: &mut Command) -> io::Result<Self> {
        let (name, ready, theirs) = readiness_pipe()?;
        let event = Event::new(Reset::Manual)?;
        let nowhere = File::options().read(true).write(true).open("NUL")?;
        let messages = unnamed_file()?;
        // One of a cleared environment does not remember what was removed.
        command.env_remove(READY);
        let is_removed = |(name, value): (&OsStr, Option<_>)| name == READY && value.is_none();
        let inherited = command.get_envs().any(is_removed).then(env::vars_os);
        command.env(READY, name);
        let environment = environment(inherited.into_iter().flatten(), command.get_envs());
        let path = environment.get(OsStr::new("PATH")).map(|(_, value)| &**value);
        let process = Process::create(
            &find(command.get_program(), path)?,
            &command_line(command)?,
            &block(&environment)?,
            command.get_current_dir(),
            [theirs.as_handle(), nowhere.as_handle(), messages.as_handle()],
        )?;
        Ok(Self { process, ready, event, messages })
    }

    /// What it says, within `pause`.
    pub(in crate::runtimes::endpoint) fn hear(&mut self, pause: Duration) -> Word {
        let heard = Heard::Event(self.event.clone());
        let word = |available| match available {
            Ok(0) => Word::None,
            Ok(_) => Word::Ready,
            Err(_) => Word::Ended,
        };
        match self.ready.start_reading(heard).and_then(|_reading| self.event.wait(pause.into())) {
            Ok(_) => word(self.ready.available()),
            Err(error) => {
                // It may be as before for a while.
                let _ = self.process.wait(pause);
                word(Err(error))
            }
        }
    }

    /// How it ended, if it has.
    pub(in crate::runtimes::endpoint) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.wait(Duration::ZERO)
    }

    pub(in crate::runtimes::endpoint) fn kill(&mut self) {
        self.process.kill();
    }

    /// What it writes to its standard error.
    pub(in crate::runtimes::endpoint) fn messages(&self) -> &File {
        &self.messages
    }

    /// Nothing is left of a process here when it ends.
    pub(in crate::runtimes::endpoint) fn reap(self) {}
}

/// A pipe for a server to say on that it is ready: what it is told of it, the end to read from and
/// the one to write to.
fn readiness_pipe() -> io::Result<(String, Pipe, File)> {
    let path = format!("R:/simple-ipc-ready/{:016x}{:016x}", random(), random());
    let name = PipeName::of(&path.encode_utf16().collect::<Vec<_>>()).map_err(io::Error::other)?;
    let user = system::current_user()?;
    let security = Security::parse(&description(Access::Owner, user, user))?;
    let ready = Pipe::create(&name, true, &security)?;
    let theirs = File::options().write(true).open(name.to_string())?;
    Ok((name.to_string(), ready, theirs))
}

/// Says that this process is ready, if its standard input is what `told` tells of, and lets go of
/// the standard streams.
pub(in crate::runtimes::endpoint) fn announce(told: &OsStr) -> io::Result<()> {
    // Children inherit the variable, but not the pipe that it names.
    let input = io::stdin();
    let Ok(name) = system::name_of(input.as_handle()) else { return Ok(()) };
    if told.to_str().and_then(|told| told.strip_prefix(PREFIX)) != name.strip_prefix('\\') {
        return Ok(());
    }
    let mut ready = File::from(input.as_handle().try_clone_to_owned()?);
    let nowhere = File::options().read(true).write(true).open("NUL")?;
    system::let_go_of_streams(OwnedHandle::from(nowhere))?;
    // A client that has given up need not know.
    let _ = ready.write_all(b"R");
    Ok(())
}

/// A file that is gone when it is closed, to be appended to.
fn unnamed_file() -> io::Result<File> {
    loop {
        let path = env::temp_dir().join(format!(".simple-ipc.{:016x}", random()));
        let mut options = File::options();
        // It writes at the end only, for it may not write anywhere else.
        options.write(true).access_mode(GENERIC_READ | FILE_APPEND_DATA | DELETE);
        options.attributes(FILE_ATTRIBUTE_TEMPORARY).custom_flags(FILE_FLAG_DELETE_ON_CLOSE);
        match options.create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result,
        }
    }
}

/// Variables by their names in upper case, for that is how names are compared.
type Environment = BTreeMap<OsString, (OsString, OsString)>;

fn environment<'c>(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    changes: impl Iterator<Item = (&'c OsStr, Option<&'c OsStr>)>,
) -> Environment {
    let inherited = inherited.map(|(name, value)| (name, Some(value)));
    let changes = changes.map(|(name, value)| (name.to_owned(), value.map(OsStr::to_owned)));
    let mut environment = Environment::new();
    for (name, value) in inherited.chain(changes) {
        let key = name.to_ascii_uppercase();
        match value {
            Some(value) => drop(environment.insert(key, (name, value))),
            None => drop(environment.remove(&key)),
        }
    }
    environment
}

/// As the system wants it: each ends with a zero, and so do all.
fn block(environment: &Environment) -> io::Result<Vec<u16>> {
    let mut block = Vec::new();
    for (name, value) in environment.values() {
        block.extend(units(name)?);
        block.push(u16::from(b'='));
        block.extend(units(value)?);
        block.push(0);
    }
    if block.is_empty() {
        block.push(0);
    }
    block.push(0);
    Ok(block)
}

/// What a program of the C library, and of Rust's, takes apart into the same arguments again.
fn command_line(command: &Command) -> io::Result<Vec<u16>> {
    let mut line = Vec::new();
    append(&mut line, command.get_program(), true)?;
    for argument in command.get_args() {
        line.push(u16::from(b' '));
        append(&mut line, argument, false)?;
    }
    line.push(0);
    Ok(line)
}

fn append(line: &mut Vec<u16>, argument: &OsStr, quoted: bool) -> io::Result<()> {
    const QUOTE: u16 = b'"' as u16;
    const BACKSLASH: u16 = b'\\' as u16;

    let units = units(argument)?;
    let is_space = |&unit: &u16| unit == u16::from(b' ') || unit == u16::from(b'\t');
    let quote = (quoted || units.is_empty() || units.iter().any(is_space)).then_some(QUOTE);
    line.extend(quote);
    let mut backslashes = 0;
    for unit in units {
        match unit {
            BACKSLASH => backslashes += 1,
            // Those before a quote count double, and so does the quote itself.
            QUOTE => line.extend(iter::repeat_n(BACKSLASH, core::mem::take(&mut backslashes) + 1)),
            _ => backslashes = 0,
        }
        line.push(unit);
    }
    if quote.is_some() {
        line.extend(iter::repeat_n(BACKSLASH, backslashes));
    }
    line.extend(quote);
    Ok(())
}

/// The text, in which there can be no zero, for that would end it.
fn units(text: &OsStr) -> io::Result<Vec<u16>> {
    let units: Vec<u16> = text.encode_wide().collect();
    if units.contains(&0) {
        return Err(invalid(format!("a zero in {text:?}")));
    }
    Ok(units)
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// The file of a program. One that is a plain name is looked for beside this program and in `path`,
/// never in the working folder.
fn find(program: &OsStr, path: Option<&OsStr>) -> io::Result<PathBuf> {
    let is_plain = Path::new(program).file_name() == Some(program);
    let folders: Vec<PathBuf> = if is_plain {
        let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
        beside.into_iter().chain(path.into_iter().flat_map(env::split_paths)).collect()
    } else {
        std::vec![PathBuf::new()]
    };
    let mut with_extension = program.to_owned();
    with_extension.push(".exe");
    let mut places =
        folders.iter().flat_map(|folder| [&*with_extension, program].map(|name| folder.join(name)));
    let Some(file) = places.find(|place| place.is_file()) else {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no program {program:?}")));
    };
    if file.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("bat") || extension.eq_ignore_ascii_case("cmd")
    }) {
        // The shell takes arguments apart in a way of its own.
        return Err(invalid(format!("{} is not a program: it needs a shell", file.display())));
    }
    std::path::absolute(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(units: &[u16]) -> String {
        String::from_utf16(units).unwrap()
    }

    #[test]
    fn arguments_in_one_line() {
        let mut command = Command::new("a program");
        command.args([
            "plain",
            "",
            "two words",
            "a\"b",
            r"c:\d\",
            r"c:\e f\",
            r#"\\"g" h"#,
            "i\tj",
        ]);
        assert_eq!(
            text(&command_line(&command).unwrap()),
            concat!(
                r#""a program" plain "" "two words" a\"b c:\d\ "c:\e f\\" "\\\\\"g\" h""#,
                " \"i\tj\"\0"
            )
        );
        assert!(command_line(Command::new("a").arg("b\0c")).is_err());
    }

    #[test]
    fn variables_in_one_block() {
        let inherited = [("Path", "p"), ("GONE", "g"), ("kept", "k"), ("=C:", "C:\\x")];
        let inherited = inherited.map(|(name, value)| (name.into(), value.into()));
        let mut command = Command::new("a");
        command.env("PATH", "q").env_remove("gone").env("new", "");
        let made = environment(inherited.into_iter(), command.get_envs());
        let expected = "=C:=C:\\x\0kept=k\0new=\0PATH=q\0\0";
        assert_eq!(text(&block(&made).unwrap()), expected);
        assert_eq!(block(&Environment::new()).unwrap(), [0, 0]);
        let made = environment(iter::empty(), [("a".as_ref(), Some("b\0".as_ref()))].into_iter());
        assert!(block(&made).is_err());
    }

    #[test]
    fn programs_are_found_where_they_can_be_trusted() {
        let this = env::current_exe().unwrap();
        let (folder, name) = (this.parent().unwrap(), this.file_name().unwrap());
        for found in [this.as_os_str(), this.with_extension("").as_os_str(), name] {
            assert_eq!(find(found, None).unwrap(), this);
        }
        // The parent of this program's folder is looked into if told to.
        let beside = folder.join("..");
        assert!(find("no-such-program".as_ref(), Some(beside.as_os_str())).is_err());
        let error = find("/no/such/program".as_ref(), None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);

        let batch = env::temp_dir().join(format!("simple-ipc-{}.CMD", std::process::id()));
        fs::write(&batch, "").unwrap();
        let error = find(batch.as_os_str(), None).unwrap_err();
        fs::remove_file(&batch).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
}
