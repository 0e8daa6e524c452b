//! bpf(2): the programs that guard a cgroup's devices. Parent only.
//!
//! RLIMIT_MEMLOCK is left alone: since Linux 5.11 the memory of programs is charged to
//! the memory cgroup instead.

use core::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::{RawFd, check, check_fd, check_unit};

// linux/bpf.h: enum bpf_cmd, bpf_prog_type, bpf_attach_type.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Programs of this cgroup and of those above and below it all have a say.
const BPF_F_ALLOW_MULTI: u32 = 2;
/// The new program takes the place of one that is named (Linux 5.6).
const BPF_F_REPLACE: u32 = 4;

/// What our programs are called.
const NAME: [u8; 16] = *b"rt_devices\0\0\0\0\0\0";

/// One instruction, struct bpf_insn.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Source register in the high four bits, destination in the low four.
    pub registers: u8,
    /// Distance of a jump, or offset of a load.
    pub offset: i16,
    /// Immediate value.
    pub immediate: i32,
}

// The kernel takes a shorter attr than its own for one that ends in zeros.

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    // The kernel wants zeros here too, which padding need not be.
    unused: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of struct bpf_prog_info.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    before: [u64; 8],
    name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct GetAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The call itself; `attr` is a `#[repr(C)]` struct of integers above.
fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<libc::c_long, Errno> {
    let (attr, size) = (core::ptr::from_mut(attr), size_of::<T>());
    // SAFETY: attr is writable memory of that size; what its members point to is kept
    // alive by the callers.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, attr, size) })
}

fn owned(answer: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd: RawFd = check_fd(answer)?;
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Loads a `BPF_PROG_TYPE_CGROUP_DEVICE` program.
///
/// `EPERM` without CAP_BPF or CAP_NET_ADMIN/CAP_SYS_ADMIN in the initial user namespace:
/// so always for an ordinary user and inside a user namespace. There the kernel itself
/// guards the devices: no node can be made, and mounts are `nodev`.
pub fn load_device_program(program: &[Insn]) -> Result<OwnedFd, Errno> {
    owned(bpf(
        BPF_PROG_LOAD,
        &mut LoadAttr {
            prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
            insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
            insns: program.as_ptr() as u64,
            // No helper function is called, so the license is of no importance to the kernel.
            license: c"Apache-2.0".as_ptr() as u64,
            prog_name: NAME,
            ..LoadAttr::default()
        },
    )?)
}

/// Attaches a program to a cgroup, at once in the place of `replaced` if there is one.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let number = |fd: BorrowedFd<'_>| fd.as_raw_fd() as u32;
    let mut attr = AttachAttr {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | replaced.map_or(0, |_| BPF_F_REPLACE),
        replace_bpf_fd: replaced.map_or(0, number),
    };
    check_unit(bpf(BPF_PROG_ATTACH, &mut attr)?)
}

/// The device programs attached to this very cgroup. `ENOSPC` if there are more than 64.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0u32; 64];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        ..QueryAttr::default()
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    let count = (attr.prog_cnt as usize).min(ids.len());
    let open = |prog_id: &u32| {
        owned(bpf(BPF_PROG_GET_FD_BY_ID, &mut GetAttr { prog_id: *prog_id, ..GetAttr::default() })?)
    };
    ids[..count].iter().map(open).collect()
}

/// Takes a program off a cgroup.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: &OwnedFd) -> Result<(), Errno> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        ..AttachAttr::default()
    };
    check_unit(bpf(BPF_PROG_DETACH, &mut attr)?)
}

/// Whether an `rt` has loaded it.
pub fn is_ours(program: &OwnedFd) -> Result<bool, Errno> {
    let mut info = ProgramInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: size_of::<ProgramInfo>() as u32,
        info: &raw mut info as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.name == NAME)
}
