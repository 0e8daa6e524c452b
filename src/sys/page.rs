//! Memory that both sides of a clone see.

use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::errno::Errno;

use super::RawFd;
pub use super::c_array::CArray;

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
