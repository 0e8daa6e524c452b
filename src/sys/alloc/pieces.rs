//! What a heap has from the kernel, written down, so that a process can let go of a whole heap.

use core::cell::Cell;
use core::ptr;

use dlmalloc::Allocator;

/// More pieces than a heap ever has: they lie side by side, and are taken as one then.
const MOST: usize = 64;

/// Address and end of each piece.
pub struct Pieces {
    list: [Cell<(usize, usize)>; MOST],
    count: Cell<usize>,
}

// SAFETY: only the thread that owns the heap comes here, see `OneThread`.
unsafe impl Sync for Pieces {}

impl Pieces {
    /// None.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Pieces { list: [const { Cell::new((0, 0)) }; MOST], count: Cell::new(0) }
    }

    fn used(&self) -> &[Cell<(usize, usize)>] {
        self.list.get(..self.count.get()).unwrap_or_default()
    }

    /// Whether an address is in one of them.
    pub fn has(&self, address: usize) -> bool {
        self.used().iter().any(|piece| (piece.get().0..piece.get().1).contains(&address))
    }

    fn add(&self, begin: usize, end: usize) {
        for piece in self.used() {
            match piece.get() {
                (first, last) if last == begin => return piece.set((first, end)),
                (first, last) if first == end => return piece.set((begin, last)),
                _ => {}
            }
        }
        // One more would stay unknown, and with a process that lets go of the rest.
        if let Some(free) = self.list.get(self.count.get()) {
            free.set((begin, end));
            self.count.set(self.count.get() + 1);
        }
    }

    fn remove(&self, begin: usize, end: usize) {
        let found = self.used().iter().find(|piece| {
            let (first, last) = piece.get();
            first <= begin && end <= last
        });
        let Some(piece) = found else { return };
        let (first, last) = piece.get();
        piece.set((first, begin));
        if end < last {
            if first == begin { piece.set((end, last)) } else { self.add(end, last) }
        } else if first == begin
            && let Some(moved) = self.used().last().map(Cell::get)
        {
            piece.set(moved);
            self.count.set(self.count.get() - 1);
        }
    }

    /// Gives all of them back to the kernel.
    ///
    /// # Safety
    /// Nothing that is in them is used any more.
    pub unsafe fn unmap(&self) {
        for piece in self.used() {
            let (begin, end) = piece.get();
            let begin = ptr::with_exposed_provenance_mut::<libc::c_void>(begin);
            // SAFETY: a piece that was mapped; the caller answers for what is in it.
            unsafe { libc::munmap(begin, end - begin.addr()) };
        }
        self.count.set(0);
    }
}

/// Memory of the kernel's, mapped and written down.
pub struct Kernel(pub &'static Pieces);

// SAFETY: what is handed out is mapped for nobody else, and stays until it is given back.
unsafe impl Allocator for Kernel {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let piece = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
        if piece == libc::MAP_FAILED {
            return (ptr::null_mut(), 0, 0);
        }
        let begin = piece.expose_provenance();
        self.0.add(begin, begin + size);
        (piece.cast(), size, 0)
    }

    fn remap(&self, piece: *mut u8, old: usize, new: usize, can_move: bool) -> *mut u8 {
        let flags = if can_move { libc::MREMAP_MAYMOVE } else { 0 };
        // SAFETY: the heap says that this is a piece of its own, of this size.
        let moved = unsafe { libc::mremap(piece.cast(), old, new, flags) };
        if moved == libc::MAP_FAILED {
            return ptr::null_mut();
        }
        let (before, begin) = (piece.addr(), moved.expose_provenance());
        self.0.remove(before, before + old);
        self.0.add(begin, begin + new);
        moved.cast()
    }

    fn free_part(&self, piece: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: the heap says that it has no use for the end of this piece.
        let freed = unsafe { libc::munmap(piece.wrapping_add(new).cast(), old - new) == 0 };
        if freed {
            self.0.remove(piece.addr() + new, piece.addr() + old);
        }
        freed
    }

    fn free(&self, piece: *mut u8, size: usize) -> bool {
        self.free_part(piece, size, 0)
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        4096
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_and_removed_is_known() {
        let pieces = Pieces::new();
        let known = |expected: &[(usize, usize)]| {
            let mut list: Vec<_> = pieces.used().iter().map(Cell::get).collect();
            list.sort_unstable();
            assert_eq!(list, expected);
        };
        pieces.add(100, 200);
        pieces.add(300, 400);
        pieces.add(200, 250);
        pieces.add(50, 100);
        known(&[(50, 250), (300, 400)]);
        assert!(pieces.has(50) && pieces.has(249) && !pieces.has(250) && !pieces.has(0));
        pieces.remove(50, 60);
        pieces.remove(240, 250);
        pieces.remove(100, 120);
        known(&[(60, 100), (120, 240), (300, 400)]);
        pieces.remove(60, 100);
        pieces.remove(300, 400);
        known(&[(120, 240)]);
        pieces.remove(500, 600);
        known(&[(120, 240)]);
        pieces.remove(120, 240);
        known(&[]);
    }
}
