//! The memory of a program with one thread: an allocator without a lock.
//!
//! There are two heaps. All that `rt` reads and plans is in the first; what is allocated after
//! [`OneThread::separate`], the script of a child above all, is in the second. So a child can let go of
//! all that it has no more use for before others can look into its memory.

mod pieces;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use dlmalloc::Dlmalloc;

use self::pieces::{Kernel, Pieces};

static FIRST: Pieces = Pieces::new();
static SECOND: Pieces = Pieces::new();

/// What the second heap has from the beginning.
const RESERVED: usize = 48 << 10;

/// The memory of `rt`.
pub static MEMORY: OneThread = OneThread::new(&FIRST, &SECOND);

/// dlmalloc for the thread that asks first; a second one has the program aborted. The C
/// library's allocators would do, but for what docs/performance.md says of them.
pub struct OneThread {
    heaps: [UnsafeCell<Dlmalloc<Kernel>>; 2],
    pieces: [&'static Pieces; 2],
    owner: AtomicUsize,
    separate: AtomicBool,
}

// SAFETY: only the owner comes to the heap, see `heap`.
unsafe impl Sync for OneThread {}

impl OneThread {
    /// An empty one.
    const fn new(first: &'static Pieces, second: &'static Pieces) -> Self {
        OneThread {
            heaps: [
                UnsafeCell::new(Dlmalloc::new_with_allocator(Kernel(first))),
                UnsafeCell::new(Dlmalloc::new_with_allocator(Kernel(second))),
            ],
            pieces: [first, second],
            owner: AtomicUsize::new(0),
            separate: AtomicBool::new(false),
        }
    }

    /// What is allocated from here on is in the second heap. Whether there is memory for one.
    pub fn separate(&self) -> bool {
        // What is freed again stays with the heap.
        let (heap, align) = (self.number(1), align_of::<usize>());
        // SAFETY: the size is not 0.
        let memory = unsafe { heap.malloc(RESERVED, align) };
        if memory.is_null() {
            return false;
        }
        // SAFETY: it came from there with this size.
        unsafe { heap.free(memory, RESERVED, align) };
        self.separate.store(true, Relaxed);
        true
    }

    /// Unmaps the first heap. Child-safe.
    ///
    /// # Safety
    /// Nothing is used any more that was allocated before [`OneThread::separate`].
    pub unsafe fn forget_first(&self) {
        // SAFETY: the caller answers for it.
        unsafe { self.pieces[0].unmap() };
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

    /// The heap for something new, for the time of one call of it.
    #[inline]
    fn heap(&self) -> &mut Dlmalloc<Kernel> {
        self.number(self.separate.load(Relaxed).into())
    }

    /// The heap that something is from.
    #[inline]
    fn heap_of(&self, memory: *mut u8) -> &mut Dlmalloc<Kernel> {
        let second = self.separate.load(Relaxed) && self.pieces[1].has(memory.addr());
        self.number(second.into())
    }

    #[inline]
    #[allow(clippy::mut_from_ref)]
    fn number(&self, heap: usize) -> &mut Dlmalloc<Kernel> {
        if !self.is_mine() {
            std::process::abort();
        }
        // SAFETY: this is its only thread, and no call of the heap comes back here.
        unsafe { &mut *self.heaps[heap].get() }
    }
}

// SAFETY: dlmalloc keeps the contract; it neither unwinds nor calls back. A signal handler could
// come in between: rt has none, and std's for SIGSEGV and SIGBUS ends the process.
unsafe impl GlobalAlloc for &'static OneThread {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller answers for the layout.
        unsafe { self.heap().malloc(layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as for alloc; memory came from there with this layout.
        unsafe { self.heap_of(memory).free(memory, layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for alloc.
        unsafe { self.heap().calloc(layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for dealloc.
        unsafe { self.heap_of(memory).realloc(memory, layout.size(), layout.align(), size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> &'static OneThread {
        let pieces = || -> &'static Pieces { Box::leak(Box::new(Pieces::new())) };
        Box::leak(Box::new(OneThread::new(pieces(), pieces())))
    }

    #[test]
    fn each_heap_takes_back_what_it_gave_and_the_first_can_go() {
        let memory = new();
        let layout = Layout::from_size_align(1000, 8).expect("a layout");
        // SAFETY: the layout is not empty.
        let [early, kept] = [(); 2].map(|()| unsafe { memory.alloc(layout) });
        assert!(memory.separate());
        // SAFETY: the layout is not empty.
        let late = unsafe { memory.alloc(layout) };
        assert!(memory.pieces[0].has(early.addr()) && memory.pieces[0].has(kept.addr()));
        assert!(memory.pieces[1].has(late.addr()) && !memory.pieces[0].has(late.addr()));
        // SAFETY: there are 1000 bytes.
        unsafe { late.write_bytes(7, 1000) };
        // SAFETY: it came from there with this layout.
        unsafe { memory.dealloc(early, layout) };
        // SAFETY: neither `early` nor `kept` is used from here on.
        unsafe { memory.forget_first() };
        assert!(!memory.pieces[0].has(kept.addr()));
        // SAFETY: the bytes were written.
        assert_eq!(unsafe { std::slice::from_raw_parts(late, 1000) }, [7; 1000]);
    }

    #[test]
    fn only_the_first_thread_is_served() {
        let memory = new();
        assert!(memory.is_mine() && memory.is_mine());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| memory.is_mine());
            assert!(!other.join().expect("no panic"));
        });
    }

    #[test]
    fn what_is_written_stays() {
        let memory = new();
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
