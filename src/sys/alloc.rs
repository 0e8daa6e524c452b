//! The memory of a program with one thread: an allocator without a lock.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dlmalloc::Dlmalloc;

/// dlmalloc for the thread that asks first; a second one has the program aborted. The C
/// library's allocators would do, but for what docs/performance.md says of them.
pub struct OneThread {
    heap: UnsafeCell<Dlmalloc>,
    owner: AtomicUsize,
}

// SAFETY: only the owner comes to the heap, see `heap`.
unsafe impl Sync for OneThread {}

impl OneThread {
    /// An empty one.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        OneThread { heap: UnsafeCell::new(Dlmalloc::new()), owner: AtomicUsize::new(0) }
    }

    /// Whether this is the thread that has asked first.
    #[inline]
    fn is_mine(&self) -> bool {
        thread_local!(static HERE: u8 = const { 0 });
        // Every living thread has it at another address.
        let here = HERE.with(|here| &raw const *here as usize);
        let owner = self.owner.load(Relaxed);
        owner == here || (owner == 0 && self.owner.swap(here, Relaxed) == 0)
    }

    /// The heap, for the time of one call of it.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    fn heap(&self) -> &mut Dlmalloc {
        if !self.is_mine() {
            std::process::abort();
        }
        // SAFETY: this is its only thread, and no call of the heap comes back here.
        unsafe { &mut *self.heap.get() }
    }
}

// SAFETY: dlmalloc keeps the contract; it neither unwinds nor calls back. A signal handler could
// come in between: rt has none, and std's for SIGSEGV and SIGBUS ends the process.
unsafe impl GlobalAlloc for OneThread {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller answers for the layout.
        unsafe { self.heap().malloc(layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as for alloc; memory came from there with this layout.
        unsafe { self.heap().free(memory, layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for alloc.
        unsafe { self.heap().calloc(layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for dealloc.
        unsafe { self.heap().realloc(memory, layout.size(), layout.align(), size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_thread_is_served() {
        let memory = OneThread::new();
        assert!(memory.is_mine() && memory.is_mine());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| memory.is_mine());
            assert!(!other.join().expect("no panic"));
        });
    }

    #[test]
    fn what_is_written_stays() {
        let memory = OneThread::new();
        let layout = Layout::from_size_align(100, 8).expect("a layout");
        // SAFETY: the layout is not empty.
        let first = unsafe { memory.alloc(layout) };
        // SAFETY: there are 100 bytes.
        unsafe { first.write_bytes(7, 100) };
        // SAFETY: it came from there with this layout.
        let grown = unsafe { memory.realloc(first, layout, 100_000) };
        // SAFETY: the first 100 bytes were written.
        let kept = unsafe { std::slice::from_raw_parts(grown, 100) };
        assert_eq!(kept, [7; 100]);
        // SAFETY: it came from there with this size.
        unsafe { memory.dealloc(grown, Layout::from_size_align(100_000, 8).expect("a layout")) };
    }
}
