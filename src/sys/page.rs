//! Memory that both sides of a clone see.

use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

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
    /// How many bytes of notes there are.
    noted: AtomicU32,
    /// What the child has made in the root, one note behind the other.
    notes: [AtomicU8; SharedPage::NOTES],
}

/// Something that the child has made in the container's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The device of its file system.
    pub device: u64,
    /// Its inode number there.
    pub inode: u64,
    /// Below the root, without links.
    pub path: Vec<u8>,
}

impl SharedPage {
    /// Its size, and that of the file behind it.
    pub const SIZE: usize = 4096;
    const NOTES: usize = 4000;
    /// Device, inode and length of the path.
    const HEAD: usize = 18;

    /// Adds a note, if there is room for it. Child-safe; nobody else writes them.
    pub fn note(&self, device: u64, inode: u64, path: [&[u8]; 3]) {
        let length: usize = path.iter().map(|piece| piece.len()).sum();
        let start = self.noted.load(Ordering::Relaxed) as usize;
        let end = start.saturating_add(Self::HEAD).saturating_add(length);
        let (Some(room), Ok(size)) = (self.notes.get(start..end), u16::try_from(length)) else {
            return;
        };
        let (device, inode, size) = (device.to_ne_bytes(), inode.to_ne_bytes(), size.to_ne_bytes());
        let head = [&device[..], &inode[..], &size[..]];
        let bytes = head.into_iter().chain(path).flatten();
        room.iter().zip(bytes).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
        self.noted.store(end as u32, Ordering::Release);
    }

    /// All notes, in the order in which they were added.
    pub fn notes(&self) -> Vec<Note> {
        let length = self.noted.load(Ordering::Acquire) as usize;
        let written = self.notes.get(..length).unwrap_or_default();
        let bytes: Vec<u8> = written.iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        let (mut rest, mut notes) = (&bytes[..], Vec::new());
        while let Some((note, after)) = first_note(rest) {
            notes.push(note);
            rest = after;
        }
        notes
    }

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

/// The first note, and what follows it.
fn first_note(bytes: &[u8]) -> Option<(Note, &[u8])> {
    let (device, rest) = bytes.split_first_chunk()?;
    let (inode, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (path, rest) = rest.split_at_checked(u16::from_ne_bytes(*length).into())?;
    let (device, inode) = (u64::from_ne_bytes(*device), u64::from_ne_bytes(*inode));
    Some((Note { device, inode, path: path.to_vec() }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_kept_until_the_page_is_full() {
        let page = SharedPage::map(None).expect("a page");
        assert_eq!(page.notes(), []);
        page.note(1, 2, [b"dev", b"/", b"null"]);
        page.note(3, 4, [b"a", b"", b""]);
        let first = Note { device: 1, inode: 2, path: b"dev/null".to_vec() };
        assert_eq!(page.notes(), [first, Note { device: 3, inode: 4, path: b"a".to_vec() }]);
        page.note(5, 6, [&[b'x'; 70_000], b"", b""]);
        for number in 0..1000 {
            page.note(7, number, [b"sixteen bytes...", b"", b""]);
        }
        let all = page.notes();
        assert!((100..200).contains(&all.len()) && all.iter().all(|note| note.device != 5));
        assert!(size_of::<SharedPage>() <= SharedPage::SIZE);
    }
}
