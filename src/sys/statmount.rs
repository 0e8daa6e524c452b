//! The mount table by number (listmount(2), statmount(2); Linux 6.8).

use nix::errno::Errno;

use super::{check, check_unit};

const SYS_STATMOUNT: libc::c_long = 457;
const SYS_LISTMOUNT: libc::c_long = 458;

/// The root of the caller's mount namespace.
const LSMT_ROOT: u64 = u64::MAX;

/// What statmount(2) is asked for.
const STATMOUNT_SB_BASIC: u64 = 0x1;
const STATMOUNT_MNT_ROOT: u64 = 0x8;

/// `struct mnt_id_req`, in its first version.
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    mount: u64,
    param: u64,
}

impl Request {
    fn new(mount: u64, param: u64) -> Self {
        Request { size: size_of::<Request>() as u32, spare: 0, mount, param }
    }
}

/// `struct statmount` of `linux/mount.h`, as far as it is looked at, and room for a short
/// string behind its 512 bytes.
#[repr(C)]
struct Answer {
    size_and_options: [u32; 2],
    mask: u64,
    device: [u32; 2],
    magic: u64,
    skipped: [u64; 9],
    root: u32,
    more: [u32; 101],
    strings: [u8; 128],
}

const _: () = assert!(core::mem::offset_of!(Answer, root) == 104);
const _: () = assert!(core::mem::offset_of!(Answer, strings) == 512);

/// The next mounts of the caller's namespace, in the order of their numbers; how many.
pub fn list(after: u64, numbers: &mut [u64]) -> Result<usize, Errno> {
    let request: *const Request = &Request::new(LSMT_ROOT, after);
    // SAFETY: request has the size it says, and numbers has room for as many as said.
    let answer =
        unsafe { libc::syscall(SYS_LISTMOUNT, request, numbers.as_mut_ptr(), numbers.len(), 0) };
    check(answer).map(|count| count as usize)
}

/// The magic number of the file system of a mount.
pub fn magic(mount: u64) -> Result<u64, Errno> {
    ask(mount, STATMOUNT_SB_BASIC).map(|answer| answer.magic)
}

/// Whether the root of a mount has a name, within its file system, that begins so. Names that
/// are too long begin otherwise.
pub fn root_begins(mount: u64, name: &[u8]) -> Result<bool, Errno> {
    match ask(mount, STATMOUNT_MNT_ROOT) {
        Ok(answer) => {
            let from = answer.strings.get(answer.root as usize..).unwrap_or_default();
            Ok(from.starts_with(name))
        }
        Err(Errno::EOVERFLOW) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn ask(mount: u64, what: u64) -> Result<Answer, Errno> {
    let request: *const Request = &Request::new(mount, what);
    let mut answer = Answer {
        size_and_options: [0; 2],
        mask: 0,
        device: [0; 2],
        magic: 0,
        skipped: [0; 9],
        root: 0,
        more: [0; 101],
        strings: [0; 128],
    };
    let buffer: *mut Answer = &mut answer;
    // SAFETY: request has the size it says, and the buffer that of Answer, which is integers.
    check_unit(unsafe { libc::syscall(SYS_STATMOUNT, request, buffer, size_of::<Answer>(), 0) })?;
    Ok(answer)
}
