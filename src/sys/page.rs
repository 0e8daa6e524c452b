//! Memory that both sides of a clone see, and string arrays for execve(2).

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::errno::Errno;

use super::RawFd;

/// One page shared with the child, by which both sides talk without a system call.
#[derive(Debug)]
#[repr(C)]
pub struct SharedPage {
    /// The index of the step that the child is at, so that even a SIGKILL can be
    /// attributed.
    pub step: AtomicU32,
    /// One more than the number of the child's seccomp listener; 0 before it is there.
    pub listener: AtomicU32,
    /// 1 when the listener has been taken out of the child.
    pub taken: AtomicU32,
    /// The pid of the process that a stage has made, as our pid namespace has it.
    pub pid: AtomicU32,
    /// 1 when the runtime holds nothing any more by which its own binary could be changed.
    pub sealed: AtomicU32,
    /// 1 when the devices of the child's cgroup are guarded.
    pub guarded: AtomicU32,
    /// The signals that the caller of `rt` ignores, and `rt` itself: bit n-1 is signal n.
    pub ignored: AtomicU64,
}

impl SharedPage {
    /// Its size, and that of the file behind it.
    pub const SIZE: usize = 4096;

    /// Maps a page, or the first one of a file; it lives as long as the process.
    pub fn map(file: Option<RawFd>) -> Result<&'static Self, Errno> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let (flags, fd) = match file {
            Some(fd) => (libc::MAP_SHARED, fd),
            None => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
        };
        // SAFETY: a new mapping at an address of the kernel's choice.
        let page = unsafe { libc::mmap(ptr::null_mut(), Self::SIZE, protection, flags, fd, 0) };
        if page == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        // SAFETY: the page is aligned, never unmapped, and only used atomically; any
        // bytes are values of its words.
        Ok(unsafe { &*page.cast::<SharedPage>() })
    }
}

/// A null-terminated array of NUL-terminated strings, as execve(2) takes it, with room
/// for one string more.
#[derive(Debug)]
pub struct CArray {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CArray {
    /// Takes the strings and lays out the pointers.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null(); 2]).collect();
        CArray { strings, pointers }
    }

    /// The array for the kernel.
    pub fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }

    /// The array for the kernel with one string more, which must live until it is used.
    pub(super) fn with_extra(&mut self, extra: Option<&CStr>) -> *const *const c_char {
        if let Some(spare) = self.pointers.get_mut(self.strings.len()) {
            *spare = extra.map_or(ptr::null(), CStr::as_ptr);
        }
        self.pointers.as_ptr()
    }

    /// The strings, for people.
    pub fn strings(&self) -> impl Iterator<Item = &CStr> {
        self.strings.iter().map(CString::as_c_str)
    }
}
