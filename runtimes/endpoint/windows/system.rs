//! Every call of the system, and all of the `unsafe` of this platform. What is exported
//! is safe: handles close themselves, and memory that the system writes to or reads from in the
//! background lives until it no longer does.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr;
use core::slice;
use core::task::Waker;
use core::time::Duration;
use std::fs::File;
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::io::{
    AsHandle as _, AsRawHandle as _, BorrowedHandle, FromRawHandle as _, IntoRawHandle as _,
    OwnedHandle,
};
use std::os::windows::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec::Vec;

use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_ACCESS_DENIED, ERROR_INSUFFICIENT_BUFFER,
    ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, ERROR_NO_DATA, ERROR_NO_TOKEN,
    ERROR_OPERATION_ABORTED, ERROR_PIPE_CONNECTED, GENERIC_READ, HANDLE, HANDLE_FLAG_INHERIT,
    INVALID_HANDLE_VALUE, LocalFree, SetHandleInformation, WAIT_FAILED, WAIT_OBJECT_0,
    WAIT_TIMEOUT,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
    SE_FILE_OBJECT, SE_KERNEL_OBJECT, SE_OBJECT_TYPE,
};
use windows_sys::Win32::Security::{
    GetLengthSid, GetTokenInformation, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
    SECURITY_ATTRIBUTES, TOKEN_ACCESS_MASK, TOKEN_IMPERSONATE, TOKEN_INFORMATION_CLASS,
    TOKEN_PRIMARY_GROUP, TOKEN_QUERY, TOKEN_USER, TokenPrimaryGroup, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, CreateDirectoryW, CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA, FileNameInfo,
    GetFileInformationByHandle, GetFileInformationByHandleEx, LOCKFILE_EXCLUSIVE_LOCK,
    LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, OPEN_EXISTING, PIPE_ACCESS_DUPLEX, ReadFile,
    SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, SetStdHandle,
};
use windows_sys::Win32::System::IO::{
    BindIoCompletionCallback, CancelIoEx, GetOverlappedResult, OVERLAPPED,
};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, GetNamedPipeClientProcessId, GetNamedPipeServerProcessId,
    ImpersonateNamedPipeClient, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_MESSAGE,
    PIPE_UNLIMITED_INSTANCES, PIPE_WAIT, PeekNamedPipe, WaitNamedPipeW,
};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW,
    CREATE_UNICODE_ENVIRONMENT, CreateEventW, CreateProcessW, DeleteProcThreadAttributeList,
    EXTENDED_STARTUPINFO_PRESENT, GetCurrentProcess, GetCurrentThread, GetExitCodeProcess,
    INFINITE, InitializeProcThreadAttributeList, LPPROC_THREAD_ATTRIBUTE_LIST, OpenProcessToken,
    OpenThreadToken, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROCESS_INFORMATION, STARTF_USESTDHANDLES,
    STARTUPINFOEXW, STARTUPINFOW, SetEvent, SetThreadToken, TerminateProcess,
    UpdateProcThreadAttribute, WaitForMultipleObjects,
};
use windows_sys::core::BOOL;

use super::security::Sid;
use crate::pipe_name::PipeName;

/// What a pipe keeps for a reader that is slow, in each direction.
const BUFFER: u32 = 65536;

fn last_error() -> io::Error {
    io::Error::last_os_error()
}

fn check(done: BOOL) -> io::Result<()> {
    if done == 0 { Err(last_error()) } else { Ok(()) }
}

/// The error's number.
pub(super) fn code(error: &io::Error) -> u32 {
    error.raw_os_error().map_or(0, |code| code as u32)
}

fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(last_error());
    }
    // SAFETY: the caller has just got this handle from the system, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// An event of the system.
#[derive(Debug)]
pub(super) struct Event(OwnedHandle);

/// Whether an event that released a waiting thread releases the next one too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reset {
    /// Yes, until the next operation with it begins.
    Manual,
    /// No: each time one thread.
    Auto,
}

impl Event {
    pub(super) fn new(reset: Reset) -> io::Result<Arc<Self>> {
        let manual = BOOL::from(reset == Reset::Manual);
        // SAFETY: no security attributes and no name are both allowed.
        let event = unsafe { CreateEventW(ptr::null(), manual, 0, ptr::null()) };
        Ok(Arc::new(Self(owned(event)?)))
    }

    pub(super) fn set(&self) {
        // SAFETY: the handle is an event's, and open.
        // It can only fail for a handle that is no event's.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    /// Blocks until the event is set, for `timeout` at the most; `false` when the time is up.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        wait_any(&[self], timeout).map(|which| which.is_some())
    }
}

/// Blocks until one of up to 64 events is set, and tells which; `None` when the time is up.
pub(super) fn wait_any(events: &[&Event], timeout: Option<Duration>) -> io::Result<Option<usize>> {
    let mut handles = [ptr::null_mut(); 64];
    for (handle, event) in handles.iter_mut().zip(events) {
        *handle = event.0.as_raw_handle();
    }
    wait_for(&handles[..events.len().min(handles.len())], timeout)
}

/// As above; the handles must be open, and of something that can be waited for.
fn wait_for(handles: &[HANDLE], timeout: Option<Duration>) -> io::Result<Option<usize>> {
    // Rounded up, so that nobody is told that the time is up before it is.
    let timeout = timeout
        .and_then(|timeout| u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).ok())
        .unwrap_or(INFINITE);
    // SAFETY: so many handles are there; of one that is not open the system says so.
    match unsafe { WaitForMultipleObjects(handles.len() as u32, handles.as_ptr(), 0, timeout) } {
        WAIT_TIMEOUT => Ok(None),
        WAIT_FAILED => Err(last_error()),
        which => Ok(Some((which - WAIT_OBJECT_0) as usize)),
    }
}

/// Who may do what with a pipe or a folder.
#[derive(Debug)]
pub(super) struct Security(PSECURITY_DESCRIPTOR);

// SAFETY: it is a block of memory that nobody changes, and that any thread may free.
unsafe impl Send for Security {}
// SAFETY: as above.
unsafe impl Sync for Security {}

impl Security {
    /// From its description in Microsoft's language for that.
    pub(super) fn parse(description: &str) -> io::Result<Self> {
        let description: Vec<u16> = description.encode_utf16().chain([0]).collect();
        let mut descriptor = ptr::null_mut();
        // SAFETY: the description ends with a zero, and `descriptor` can be written to.
        check(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                description.as_ptr(),
                SDDL_REVISION_1,
                &mut descriptor,
                ptr::null_mut(),
            )
        })?;
        Ok(Self(descriptor))
    }

    /// For as long as this lives.
    fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }
}

impl Drop for Security {
    fn drop(&mut self) {
        // SAFETY: the system has allocated it for us to free in this way, once.
        unsafe { LocalFree(self.0) };
    }
}

/// The user that this process runs as.
pub(in crate::runtimes::endpoint) fn current_user() -> io::Result<Sid> {
    // SAFETY: this is not a real handle and needs no closing.
    identity_of_process(unsafe { GetCurrentProcess() }, TokenUser)
}

/// The primary group of the user that this process runs as.
pub(super) fn current_group() -> io::Result<Sid> {
    // SAFETY: as above.
    identity_of_process(unsafe { GetCurrentProcess() }, TokenPrimaryGroup)
}

fn identity_of_process(process: HANDLE, which: TOKEN_INFORMATION_CLASS) -> io::Result<Sid> {
    let mut token = ptr::null_mut();
    // SAFETY: the caller's handle is a process's, and `token` can be written to.
    check(unsafe { OpenProcessToken(process, TOKEN_QUERY, &mut token) })?;
    identity_of_token(&owned(token)?, which)
}

/// `which` is [`TokenUser`] or [`TokenPrimaryGroup`]: their structures begin alike.
fn identity_of_token(token: &OwnedHandle, which: TOKEN_INFORMATION_CLASS) -> io::Result<Sid> {
    const _: () = assert!(core::mem::offset_of!(TOKEN_USER, User.Sid) == 0);
    const _: () = assert!(core::mem::offset_of!(TOKEN_PRIMARY_GROUP, PrimaryGroup) == 0);
    let token = token.as_raw_handle();
    let mut len = 0;
    // SAFETY: a buffer of no bytes is how to ask for the length, which is written to `len`.
    let sized = unsafe { GetTokenInformation(token, which, ptr::null_mut(), 0, &mut len) };
    match check(sized) {
        Err(error) if code(&error) != ERROR_INSUFFICIENT_BUFFER => return Err(error),
        _ => {}
    }
    // In words, so that the structure in it is aligned.
    let mut buffer = std::vec![0u64; (len as usize).div_ceil(8).max(size_of::<TOKEN_USER>())];
    let capacity = (buffer.len() * 8) as u32;
    let start = buffer.as_mut_ptr().cast();
    // SAFETY: `buffer` has room for `capacity` bytes.
    check(unsafe { GetTokenInformation(token, which, start, capacity, &mut len) })?;
    // SAFETY: it begins with this pointer, which leads into `buffer`, which lives on.
    let sid = unsafe { *buffer.as_ptr().cast::<PSID>() };
    // SAFETY: so it is.
    unsafe { copied(sid) }
}

/// What `sid` points to, in a form of its own.
///
/// # Safety
///
/// `sid` must be null, or have come from the system, and what it points to must live.
unsafe fn copied(sid: PSID) -> io::Result<Sid> {
    let bytes = if sid.is_null() {
        &[]
    } else {
        // SAFETY: the caller says that it is one of the system's, of which this is the length.
        unsafe { slice::from_raw_parts(sid.cast::<u8>(), GetLengthSid(sid) as usize) }
    };
    Sid::from_bytes(bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The token of whoever this thread acts for, if it does not act for its process.
fn token_of_thread(access: TOKEN_ACCESS_MASK) -> io::Result<Option<OwnedHandle>> {
    let mut token = ptr::null_mut();
    // SAFETY: the thread's handle is not a real one and needs no closing; `token` can be written
    // to. The process's own rights count, for those of whoever it acts for may not do.
    match check(unsafe { OpenThreadToken(GetCurrentThread(), access, 1, &mut token) }) {
        Ok(()) => owned(token).map(Some),
        Err(error) if code(&error) == ERROR_NO_TOKEN => Ok(None),
        Err(error) => Err(error),
    }
}

/// This thread acts for the client of a pipe. Dropping it ends that, and the thread acts for whom
/// it did before.
struct Impersonation {
    before: Option<OwnedHandle>,
}

impl Impersonation {
    fn of_client(pipe: &Pipe) -> io::Result<Self> {
        let before = token_of_thread(TOKEN_IMPERSONATE)?;
        // SAFETY: the handle is open. If it fails, the thread acts for whom it did before.
        check(unsafe { ImpersonateNamedPipeClient(pipe.handle()) })?;
        Ok(Self { before })
    }
}

impl Drop for Impersonation {
    fn drop(&mut self) {
        let before = self.before.as_ref().map_or(ptr::null_mut(), |token| token.as_raw_handle());
        // SAFETY: no thread means this one; the token is open, or null for that of the process.
        if unsafe { SetThreadToken(ptr::null(), before) } == 0 {
            // What this thread did next, it would do in the client's name.
            std::process::abort();
        }
    }
}

/// Locks all of an open file; `false` if somebody else has it locked. The system takes the lock
/// back when the file is closed, if only because the process has ended.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    let mut overlapped = OVERLAPPED::default();
    let flags = LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY;
    // SAFETY: the file is open, and not for overlapped use, so that this is over when it returns;
    // until then `overlapped` lives.
    let locked =
        unsafe { LockFileEx(file.as_raw_handle(), flags, 0, u32::MAX, u32::MAX, &mut overlapped) };
    match check(locked) {
        Ok(()) => Ok(true),
        Err(error) if code(&error) == ERROR_LOCK_VIOLATION => Ok(false),
        Err(error) => Err(error),
    }
}

/// What tells an open file from every other on this machine: its volume, and its number there.
pub(super) fn identity(file: &File) -> io::Result<(u32, u32, u32)> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the file is open, and `found` can be written to.
    check(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &mut found) })?;
    Ok((found.dwVolumeSerialNumber, found.nFileIndexHigh, found.nFileIndexLow))
}

/// What the system calls an open file or pipe, without where it is mounted.
pub(super) fn name_of(file: BorrowedHandle<'_>) -> io::Result<String> {
    /// In bytes: a length, and 512 units.
    const CAPACITY: usize = 4 + 2 * 512;
    let mut found = [0u32; CAPACITY / 4];
    // SAFETY: `found` has room for so many bytes, and is aligned as the structure that is written
    // to it: a length of four bytes, and units of two.
    check(unsafe {
        GetFileInformationByHandleEx(
            file.as_raw_handle(),
            FileNameInfo,
            found.as_mut_ptr().cast(),
            CAPACITY as u32,
        )
    })?;
    let [len, ref name @ ..] = found;
    let units = name.iter().flat_map(|pair| [*pair as u16, (*pair >> 16) as u16]);
    let units: Vec<u16> = units.take(len as usize / 2).collect();
    String::from_utf16(&units).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Has the standard input and error of this process lead to `nowhere`, and its children inherit
/// nothing of what they were.
///
/// What they were stays open: the C library has noted the handles, and would write to whatever
/// gets their numbers next.
pub(super) fn let_go_of_streams(nowhere: OwnedHandle) -> io::Result<()> {
    let other = nowhere.try_clone()?;
    for (stream, nowhere) in [(STD_INPUT_HANDLE, nowhere), (STD_ERROR_HANDLE, other)] {
        // SAFETY: these calls take a number and a handle, and touch no memory. The new handle is
        // never closed, for it is given up.
        unsafe {
            let old = GetStdHandle(stream);
            check(SetStdHandle(stream, nowhere.into_raw_handle()))?;
            // There may have been none.
            SetHandleInformation(old, HANDLE_FLAG_INHERIT, 0);
        }
    }
    Ok(())
}

/// A process that was created here.
#[derive(Debug)]
pub(super) struct Process(OwnedHandle);

impl Process {
    /// Creates a process that has these standard streams, input, output and error, and inherits
    /// nothing else. It has no window, no console of anybody else's, and is not ended with its
    /// creator where that can be arranged.
    ///
    /// `line` ends with a zero, and `environment` with two.
    pub(super) fn create(
        program: &Path,
        line: &[u16],
        environment: &[u16],
        folder: Option<&Path>,
        streams: [BorrowedHandle<'_>; 3],
    ) -> io::Result<Self> {
        assert!(line.ends_with(&[0]) && environment.ends_with(&[0, 0]), "they end with zeros");
        let with_nul = |path: &Path| path.as_os_str().encode_wide().chain([0]).collect::<Vec<_>>();
        let program = with_nul(program);
        let folder = folder.map(with_nul);
        // The system may write to it.
        let mut line = line.to_vec();
        let [input, output, error] = streams.map(inheritable);
        let (input, output, error) = (input?, output?, error?);
        let handles = [&input, &output, &error].map(|handle| handle.as_raw_handle());
        let mut list = AttributeList::of(&handles)?;
        let startup = STARTUPINFOEXW {
            StartupInfo: STARTUPINFOW {
                cb: size_of::<STARTUPINFOEXW>() as u32,
                dwFlags: STARTF_USESTDHANDLES,
                hStdInput: handles[0],
                hStdOutput: handles[1],
                hStdError: handles[2],
                ..STARTUPINFOW::default()
            },
            lpAttributeList: list.as_ptr(),
        };
        let flags = CREATE_NEW_PROCESS_GROUP
            | CREATE_NO_WINDOW
            | CREATE_UNICODE_ENVIRONMENT
            | EXTENDED_STARTUPINFO_PRESENT;
        let mut create = |flags| {
            let mut created = PROCESS_INFORMATION::default();
            // SAFETY: the texts end as they must, `line` and `created` can be written to, and
            // `startup` and what it points to live. It is of the kind that the flags say.
            check(unsafe {
                CreateProcessW(
                    program.as_ptr(),
                    line.as_mut_ptr(),
                    ptr::null(),
                    ptr::null(),
                    1,
                    flags,
                    environment.as_ptr().cast(),
                    folder.as_ref().map_or(ptr::null(), |folder| folder.as_ptr()),
                    (&raw const startup).cast(),
                    &mut created,
                )
            })?;
            drop(owned(created.hThread));
            owned(created.hProcess).map(Self)
        };
        match create(flags | CREATE_BREAKAWAY_FROM_JOB) {
            // The job that this process is in may hold on to all that is started in it.
            Err(error) if code(&error) == ERROR_ACCESS_DENIED => create(flags),
            result => result,
        }
    }

    /// Waits for its end, for `timeout` at the most, and tells how it ended, if it has.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        if wait_for(&[self.0.as_raw_handle()], Some(timeout))?.is_none() {
            return Ok(None);
        }
        let mut code = 0;
        // SAFETY: the handle is a process's, and `code` can be written to.
        check(unsafe { GetExitCodeProcess(self.0.as_raw_handle(), &mut code) })?;
        Ok(Some(ExitStatus::from_raw(code)))
    }

    pub(super) fn kill(&self) {
        // SAFETY: the handle is a process's. It fails only for one that has ended.
        unsafe { TerminateProcess(self.0.as_raw_handle(), 1) };
    }
}

/// A handle of its own on the same thing, that children can inherit.
fn inheritable(handle: BorrowedHandle<'_>) -> io::Result<OwnedHandle> {
    let mut duplicate = ptr::null_mut();
    // SAFETY: the handle is open, that of the process is not a real one, and `duplicate` can be
    // written to.
    check(unsafe {
        let this = GetCurrentProcess();
        let (inherit, same) = (1, DUPLICATE_SAME_ACCESS);
        DuplicateHandle(this, handle.as_raw_handle(), this, &mut duplicate, 0, inherit, same)
    })?;
    owned(duplicate)
}

/// Says which handles a process inherits.
struct AttributeList<'h> {
    /// In words, so that it is aligned.
    memory: Vec<usize>,
    _handles: PhantomData<&'h [HANDLE]>,
}

impl<'h> AttributeList<'h> {
    fn of(handles: &'h [HANDLE]) -> io::Result<Self> {
        let mut len = 0;
        // SAFETY: no list is how to ask for the length of one with one attribute.
        unsafe { InitializeProcThreadAttributeList(ptr::null_mut(), 1, 0, &mut len) };
        let mut memory = std::vec![0usize; len.div_ceil(size_of::<usize>())];
        // SAFETY: the memory is as long as was asked for.
        check(unsafe {
            InitializeProcThreadAttributeList(memory.as_mut_ptr().cast(), 1, 0, &mut len)
        })?;
        let mut list = Self { memory, _handles: PhantomData };
        // SAFETY: the list has room for this attribute, whose value lives as long as the list.
        check(unsafe {
            UpdateProcThreadAttribute(
                list.as_ptr(),
                0,
                PROC_THREAD_ATTRIBUTE_HANDLE_LIST as usize,
                handles.as_ptr().cast(),
                size_of_val(handles),
                ptr::null_mut(),
                ptr::null(),
            )
        })?;
        Ok(list)
    }

    fn as_ptr(&mut self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.memory.as_mut_ptr().cast()
    }
}

impl Drop for AttributeList<'_> {
    fn drop(&mut self) {
        // SAFETY: it was initialized, and is not used any more.
        unsafe { DeleteProcThreadAttributeList(self.as_ptr()) };
    }
}

/// Whose file or folder it is.
pub(super) fn owner_of_file(file: &File) -> io::Result<Sid> {
    owner(file.as_handle(), SE_FILE_OBJECT)
}

fn owner(handle: BorrowedHandle<'_>, kind: SE_OBJECT_TYPE) -> io::Result<Sid> {
    let (mut owner, mut descriptor) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the handle is open, `owner` and `descriptor` can be written to, all else may be
    // null.
    let result = unsafe {
        GetSecurityInfo(
            handle.as_raw_handle(),
            kind,
            OWNER_SECURITY_INFORMATION,
            &mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &mut descriptor,
        )
    };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result as i32));
    }
    // What the owner lies in is freed at the end.
    let _descriptor = Security(descriptor);
    // SAFETY: the system has just given it, and it lives as long as the descriptor.
    unsafe { copied(owner) }
}

/// Makes a folder.
pub(super) fn create_folder(path: &Path, security: &Security) -> io::Result<()> {
    let path: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    // SAFETY: the path ends with a zero, and the attributes and what they point to live.
    check(unsafe { CreateDirectoryW(path.as_ptr(), &security.attributes()) })
}

/// Whether a pipe is there, without connecting to it, and whether it has room; waits for a
/// millisecond at the most.
pub(super) fn look(name: &PipeName) -> io::Result<()> {
    // SAFETY: the name ends with a zero.
    check(unsafe { WaitNamedPipeW(name.units_with_nul().as_ptr(), 1) })
}

/// One end of a pipe, never blocking. It closes when the last clone is dropped, without waiting
/// for anybody.
#[derive(Clone, Debug)]
pub(super) struct Pipe(Arc<OwnedHandle>);

/// Where the end of an operation is heard of.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// By a thread that waits for this event. There is one operation at a time for an event.
    Event(Arc<Event>),
    /// By wakers, in a thread of the system's pool. The pipe must have
    /// [joined](Pipe::join_pool) it.
    Wakers,
}

impl Pipe {
    /// A new instance of the pipe `name`, to which one client can connect from now on.
    pub(super) fn create(name: &PipeName, first: bool, security: &Security) -> io::Result<Self> {
        let attributes = security.attributes();
        let first = if first { FILE_FLAG_FIRST_PIPE_INSTANCE } else { 0 };
        // SAFETY: the name ends with a zero, and the attributes and what they point to live.
        let pipe = unsafe {
            CreateNamedPipeW(
                name.units_with_nul().as_ptr(),
                PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | first,
                PIPE_TYPE_MESSAGE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
                PIPE_UNLIMITED_INSTANCES,
                BUFFER,
                BUFFER,
                0,
                &attributes,
            )
        };
        Ok(Self(Arc::new(owned(pipe)?)))
    }

    /// Connects to the pipe `name`, without waiting. The server may ask who we are, and may not
    /// act in our name.
    pub(super) fn open(name: &PipeName) -> io::Result<Self> {
        // Less than GENERIC_WRITE, which includes the right to serve under this name too.
        let access = GENERIC_READ | FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES;
        let flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
        // SAFETY: the name ends with a zero; the pointer to attributes may be null.
        let pipe = unsafe {
            CreateFileW(
                name.units_with_nul().as_ptr(),
                access,
                0,
                ptr::null(),
                OPEN_EXISTING,
                flags,
                ptr::null_mut(),
            )
        };
        Ok(Self(Arc::new(owned(pipe)?)))
    }

    fn handle(&self) -> HANDLE {
        self.0.as_raw_handle()
    }

    /// From now on operations that are heard of by wakers can be started. To be called once.
    pub(super) fn join_pool(&self) -> io::Result<()> {
        // SAFETY: the handle is open. `completed` expects what it is called with: every operation
        // that is started on this handle and whose end is sent to the pool is a `Block`'s.
        check(unsafe { BindIoCompletionCallback(self.handle(), Some(completed), 0) })
    }

    /// The user of the client whose bytes were received last.
    pub(super) fn client(&self) -> io::Result<Sid> {
        let token = {
            let _acting = Impersonation::of_client(self)?;
            token_of_thread(TOKEN_QUERY)?
        };
        let token = token.ok_or(io::ErrorKind::NotFound)?;
        identity_of_token(&token, TokenUser)
    }

    /// Whose pipe it is.
    pub(super) fn owner(&self) -> io::Result<Sid> {
        owner(self.0.as_handle(), SE_KERNEL_OBJECT)
    }

    /// The client's process, if the system says.
    pub(super) fn client_process(&self) -> Option<u32> {
        let mut process = 0;
        // SAFETY: the handle is open, and `process` can be written to.
        check(unsafe { GetNamedPipeClientProcessId(self.handle(), &mut process) }).ok()?;
        Some(process)
    }

    /// As above, the server's.
    pub(super) fn server_process(&self) -> Option<u32> {
        let mut process = 0;
        // SAFETY: as above.
        check(unsafe { GetNamedPipeServerProcessId(self.handle(), &mut process) }).ok()?;
        Some(process)
    }

    /// How many bytes have come.
    pub(super) fn available(&self) -> io::Result<usize> {
        let mut available = 0;
        // SAFETY: the handle is open, `available` can be written to, all else may be null.
        check(unsafe {
            PeekNamedPipe(
                self.handle(),
                ptr::null_mut(),
                0,
                ptr::null_mut(),
                &mut available,
                ptr::null_mut(),
            )
        })?;
        Ok(available as usize)
    }

    /// Reads what has come, and waits for nothing: `WouldBlock` if there is nothing.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: a byte that is initialized may be one that is not.
        self.read_uninit(unsafe { &mut *(ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) })
    }

    /// As [`read`](Self::read), into the spare capacity of `buffer`.
    pub(super) fn read_into(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let read = self.read_uninit(buffer.spare_capacity_mut())?;
        // SAFETY: so many bytes behind the old length have just been written.
        unsafe { buffer.set_len(buffer.len() + read) };
        Ok(read)
    }

    /// It never writes anything uninitialized.
    fn read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        std::thread_local! {
            static READ: io::Result<Arc<Event>> = Event::new(Reset::Manual);
        }
        let available = self.available()?;
        if available == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = u32::try_from(buffer.len().min(available)).unwrap_or(u32::MAX);
        READ.with(|event| {
            let event = event.as_ref().map_err(|error| io::Error::from(error.kind()))?;
            let mut overlapped = OVERLAPPED { hEvent: tagged(event), ..OVERLAPPED::default() };
            let overlapped = &raw mut overlapped;
            // SAFETY: `buffer` has room for `len` bytes. It and `overlapped` live until the
            // operation is over: what does not end at once is cancelled and waited for here.
            unsafe {
                let start = buffer.as_mut_ptr().cast();
                let started = ReadFile(self.handle(), start, len, ptr::null_mut(), overlapped);
                match check(started) {
                    // Somebody else was faster, so there is nothing any more.
                    Err(error) if code(&error) == ERROR_IO_PENDING => {
                        CancelIoEx(self.handle(), overlapped);
                    }
                    result => result?,
                }
                let mut read = 0;
                match check(GetOverlappedResult(self.handle(), overlapped, &mut read, 1)) {
                    Ok(()) => Ok(read as usize),
                    Err(error) if code(&error) == ERROR_OPERATION_ABORTED => {
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    Err(error) => Err(error),
                }
            }
        })
    }

    /// Starts to wait for something to read: a read of no bytes.
    pub(super) fn start_reading(&self, heard: Heard) -> io::Result<Operation> {
        self.start(heard, Vec::new(), |overlapped, _| {
            // SAFETY: `start` sees to it that `overlapped` lives until the operation is over.
            // Nothing is read, so any pointer will do that is not null.
            unsafe {
                let nowhere = ptr::NonNull::<u8>::dangling().as_ptr();
                ReadFile(self.handle(), nowhere, 0, ptr::null_mut(), overlapped)
            }
        })
    }

    /// Starts to write `bytes`, all of them.
    pub(super) fn start_writing(&self, heard: Heard, bytes: Vec<u8>) -> io::Result<Operation> {
        self.start(heard, bytes, |overlapped, bytes| {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            // SAFETY: `start` sees to it that `overlapped` and `bytes` live, unchanged, until the
            // operation is over.
            unsafe { WriteFile(self.handle(), bytes.as_ptr(), len, ptr::null_mut(), overlapped) }
        })
    }

    /// Starts to wait for a client; `None` if one has connected already.
    pub(super) fn start_connecting(&self, heard: Heard) -> io::Result<Option<Operation>> {
        let started = self.start(heard, Vec::new(), |overlapped, _| {
            // SAFETY: `start` sees to it that `overlapped` lives until the operation is over.
            unsafe { ConnectNamedPipe(self.handle(), overlapped) }
        });
        match started {
            // It may have left since; what it has sent is there all the same.
            Err(error) if matches!(code(&error), ERROR_PIPE_CONNECTED | ERROR_NO_DATA) => Ok(None),
            result => result.map(Some),
        }
    }

    /// Starts an operation. `begin` is given memory that lives, where it is, until the operation
    /// is over.
    fn start(
        &self,
        heard: Heard,
        bytes: Vec<u8>,
        begin: impl FnOnce(*mut OVERLAPPED, &[u8]) -> BOOL,
    ) -> io::Result<Operation> {
        let event = match heard {
            Heard::Event(event) => Some(event),
            Heard::Wakers => None,
        };
        let tagged = event.as_deref().map_or(ptr::null_mut(), tagged);
        let block = Arc::new(Block {
            overlapped: UnsafeCell::new(OVERLAPPED { hEvent: tagged, ..OVERLAPPED::default() }),
            bytes,
            event,
            ending: Mutex::new(Ending::default()),
        });
        if block.event.is_none() {
            // The system holds on to it until `completed` takes it back.
            let _ = Arc::into_raw(block.clone());
        }
        let started = check(begin(block.overlapped.get(), &block.bytes));
        match started {
            Err(error) if code(&error) != ERROR_IO_PENDING => {
                if block.event.is_none() {
                    // SAFETY: an operation that was never started is never completed, so the
                    // reference that was given to the system is still there and is ours.
                    unsafe { Arc::decrement_strong_count(Arc::as_ptr(&block)) };
                }
                Err(error)
            }
            _ => Ok(Operation { block: Some(block), pipe: self.clone() }),
        }
    }
}

/// An event's handle for an operation. The lowest bit says that the end of the operation is not
/// to be sent to the pool, whether or not the pipe has joined it.
fn tagged(event: &Event) -> HANDLE {
    event.0.as_raw_handle().map_addr(|address| address | 1)
}

/// What an operation needs while it is under way.
#[repr(C)]
struct Block {
    /// The first field, so its address is that of the block.
    overlapped: UnsafeCell<OVERLAPPED>,
    /// What is written.
    bytes: Vec<u8>,
    /// There if that is where the operation's end is heard of.
    event: Option<Arc<Event>>,
    ending: Mutex<Ending>,
}

#[derive(Default)]
struct Ending {
    /// The pool has heard of it.
    heard: bool,
    wakers: Vec<Waker>,
}

// SAFETY: `overlapped` is written to by the system only, and read through the system only; the
// pointers in it are the system's own. Everything else can be shared.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

/// The system's pool calls this at the end of an operation that is heard of by wakers.
unsafe extern "system" fn completed(_: u32, _: u32, overlapped: *mut OVERLAPPED) {
    // SAFETY: this is the reference to the block that `start` gave to the system, which calls
    // this once for each operation that was started.
    let block = unsafe { Arc::from_raw(overlapped.cast::<Block>().cast_const()) };
    let wakers = {
        let mut ending = block.ending.lock().unwrap_or_else(PoisonError::into_inner);
        ending.heard = true;
        core::mem::take(&mut ending.wakers)
    };
    wakers.into_iter().for_each(Waker::wake);
}

/// An operation that was started. Dropping it cancels it.
pub(super) struct Operation {
    /// `None` only while being dropped.
    block: Option<Arc<Block>>,
    pipe: Pipe,
}

impl Operation {
    fn block(&self) -> &Arc<Block> {
        self.block.as_ref().expect("held until dropped")
    }

    fn get_result(&self, wait: bool) -> io::Result<usize> {
        let mut moved = 0;
        let overlapped = self.block().overlapped.get();
        // SAFETY: the operation was started with this memory, which lives, on this handle, which
        // is open; `moved` can be written to.
        check(unsafe {
            GetOverlappedResult(self.pipe.handle(), overlapped, &mut moved, BOOL::from(wait))
        })?;
        Ok(moved as usize)
    }

    /// What came of it, with the number of bytes moved; `None` while it is under way.
    pub(super) fn result(&self) -> Option<io::Result<usize>> {
        match self.get_result(false) {
            Err(error) if code(&error) == ERROR_IO_INCOMPLETE => None,
            result => Some(result),
        }
    }

    /// The event that tells of its end, if that is where it is heard of.
    pub(super) fn event(&self) -> Option<&Arc<Event>> {
        self.block().event.as_ref()
    }

    /// Has `waker` woken at the end; `false` if it has ended.
    pub(super) fn wake_at_end(&self, waker: &Waker) -> bool {
        let mut ending = self.block().ending.lock().unwrap_or_else(PoisonError::into_inner);
        if ending.heard {
            return false;
        }
        if !ending.wakers.iter().any(|other| other.will_wake(waker)) {
            ending.wakers.push(waker.clone());
        }
        true
    }

    /// Nobody is to be woken at the end.
    #[cfg(feature = "blocking")]
    pub(super) fn forget_wakers(&self) {
        let mut ending = self.block().ending.lock().unwrap_or_else(PoisonError::into_inner);
        ending.wakers.clear();
    }

    /// Tells the system that the result is of no interest. It ends soon, one way or the other,
    /// whatever the peer does.
    pub(super) fn cancel(&self) {
        // SAFETY: the handle is open; the memory is only compared with that of operations.
        // It fails if the operation has ended already.
        unsafe { CancelIoEx(self.pipe.handle(), self.block().overlapped.get()) };
    }

    /// Cancels it, waits until it has ended, and tells how. The pipe must be in no other
    /// operation.
    pub(super) fn cancel_and_wait(&self) -> io::Result<usize> {
        self.cancel();
        self.get_result(true)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let Some(block) = &self.block else { return };
        if self.result().is_some() {
            return;
        }
        self.cancel();
        if block.event.is_some() {
            // Nobody else keeps the memory. A cancelled operation on a pipe ends at once.
            let _ = self.get_result(true);
        }
    }
}

impl core::fmt::Debug for Operation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Operation").field("result", &self.result()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
    use windows_sys::Win32::Security::{ImpersonateSelf, RevertToSelf, SecurityIdentification};
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};

    use super::*;

    fn pipe_name(name: &str) -> PipeName {
        let path = std::format!("C:/simple-ipc-{}/{name}", std::process::id());
        PipeName::of(&path.encode_utf16().collect::<Vec<_>>()).unwrap()
    }

    fn only_this_user() -> Security {
        let user = current_user().unwrap();
        Security::parse(&std::format!("O:{user}D:P(A;;GA;;;{user})")).unwrap()
    }

    /// Wine does not do all that Windows does.
    fn is_wine() -> bool {
        let version = c"wine_get_version".to_bytes_with_nul().as_ptr();
        // SAFETY: both names end with a zero; every process has that library.
        unsafe {
            GetProcAddress(GetModuleHandleA(c"ntdll.dll".to_bytes_with_nul().as_ptr()), version)
                .is_some()
        }
    }

    #[test]
    fn a_name_has_one_first_instance() {
        let (name, security) = (pipe_name("first"), only_this_user());
        let first = Pipe::create(&name, true, &security).unwrap();
        Pipe::create(&name, false, &security).unwrap();
        match Pipe::create(&name, true, &security) {
            Err(error) => assert!(matches!(code(&error), ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY)),
            Ok(_) if is_wine() => std::eprintln!("skipped: Wine makes any number of firsts"),
            Ok(_) => panic!("two servers"),
        }
        drop(first);
        Pipe::create(&name, true, &security).unwrap();
    }

    /// A pipe whose client has sent a byte that was received: the server's end, the client's.
    fn connected(name: &str) -> (Pipe, Pipe) {
        let name = pipe_name(name);
        let server = Pipe::create(&name, true, &only_this_user()).unwrap();
        let client = Pipe::open(&name).unwrap();
        let heard = Heard::Event(Event::new(Reset::Manual).unwrap());
        client.start_writing(heard, std::vec![b'x']).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 1);
        (server, client)
    }

    #[test]
    fn both_ends_learn_who_the_other_is_and_act_for_nobody_afterwards() {
        let (server, client) = connected("known");
        let user = current_user().unwrap();
        assert_eq!(server.client().unwrap(), user);
        assert_eq!(client.owner().unwrap(), user);
        assert_eq!(server.client_process(), Some(std::process::id()));
        assert_eq!(client.server_process(), Some(std::process::id()));
        assert!(token_of_thread(TOKEN_QUERY).unwrap().is_none());
    }

    #[test]
    fn a_thread_that_acts_for_somebody_else_still_does_afterwards() {
        let (server, _client) = connected("acting");
        // SAFETY: it takes a number.
        check(unsafe { ImpersonateSelf(SecurityIdentification) }).unwrap();
        assert!(token_of_thread(TOKEN_QUERY).unwrap().is_some());
        server.client().unwrap();
        assert!(token_of_thread(TOKEN_QUERY).unwrap().is_some());
        // SAFETY: it takes nothing.
        check(unsafe { RevertToSelf() }).unwrap();
    }
}
