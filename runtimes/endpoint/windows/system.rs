//! Every call of the system for pipes, and all of the `unsafe` of this platform. What is exported
//! is safe: handles close themselves, and memory that the system writes to or reads from in the
//! background lives until it no longer does.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr;
use core::task::Waker;
use core::time::Duration;
use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec::Vec;

use windows_sys::Win32::Foundation::{
    ERROR_INSUFFICIENT_BUFFER, ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_NO_DATA,
    ERROR_OPERATION_ABORTED, ERROR_PIPE_CONNECTED, GENERIC_READ, HANDLE, INVALID_HANDLE_VALUE,
    LocalFree, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES, TOKEN_INFORMATION_CLASS,
    TOKEN_PRIMARY_GROUP, TOKEN_QUERY, TOKEN_USER, TokenPrimaryGroup, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA, OPEN_EXISTING, PIPE_ACCESS_DUPLEX, ReadFile, SECURITY_IDENTIFICATION,
    SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::IO::{
    BindIoCompletionCallback, CancelIoEx, GetOverlappedResult, OVERLAPPED,
};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_MESSAGE, PIPE_UNLIMITED_INSTANCES, PIPE_WAIT, PeekNamedPipe, WaitNamedPipeW,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentProcess, INFINITE, OpenProcessToken, SetEvent, WaitForMultipleObjects,
};
use windows_sys::core::BOOL;

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
    // Rounded up, so that nobody is told that the time is up before it is.
    let timeout = timeout
        .and_then(|timeout| u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).ok())
        .unwrap_or(INFINITE);
    let count = events.len().min(handles.len()) as u32;
    // SAFETY: the first `count` handles are open, for the events are borrowed.
    match unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, timeout) } {
        WAIT_TIMEOUT => Ok(None),
        WAIT_FAILED => Err(last_error()),
        which => Ok(Some((which - WAIT_OBJECT_0) as usize)),
    }
}

/// Who may do what with a pipe.
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
}

impl Drop for Security {
    fn drop(&mut self) {
        // SAFETY: the system has allocated it for us to free in this way, once.
        unsafe { LocalFree(self.0) };
    }
}

/// The user that this process runs as, as the system writes it: `S-1-5-21-…`.
pub(super) fn current_user() -> io::Result<String> {
    // SAFETY: this is not a real handle and needs no closing.
    identity_of_process(unsafe { GetCurrentProcess() }, TokenUser)
}

/// The primary group of the user that this process runs as.
pub(super) fn current_group() -> io::Result<String> {
    // SAFETY: as above.
    identity_of_process(unsafe { GetCurrentProcess() }, TokenPrimaryGroup)
}

fn identity_of_process(process: HANDLE, which: TOKEN_INFORMATION_CLASS) -> io::Result<String> {
    let mut token = ptr::null_mut();
    // SAFETY: the caller's handle is a process's, and `token` can be written to.
    check(unsafe { OpenProcessToken(process, TOKEN_QUERY, &mut token) })?;
    identity_of_token(&owned(token)?, which)
}

/// `which` is [`TokenUser`] or [`TokenPrimaryGroup`]: their structures begin alike.
fn identity_of_token(token: &OwnedHandle, which: TOKEN_INFORMATION_CLASS) -> io::Result<String> {
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
    let mut text = ptr::null_mut();
    // SAFETY: `sid` is what the system has just given, and `text` can be written to.
    check(unsafe { ConvertSidToStringSidW(sid, &mut text) })?;
    let mut units = Vec::new();
    for at in 0.. {
        // SAFETY: the text ends with a zero, and is not read beyond it.
        match unsafe { *text.add(at) } {
            0 => break,
            unit => units.push(unit),
        }
    }
    // SAFETY: the system has allocated it for us to free in this way, once.
    unsafe { LocalFree(text.cast()) };
    Ok(String::from_utf16_lossy(&units))
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
        let attributes = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: security.0,
            bInheritHandle: 0,
        };
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
