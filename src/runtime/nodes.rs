//! Device nodes for a user namespace, which may not make any itself: on a file system of their
//! own, so that mode and owner are as the configuration has them, and nothing that the container
//! does to them reaches a file of the host's.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::idmap;
use crate::error::{Doing, Error, Result};
use crate::host::Host;
use crate::model::device::{Device, MASK};
use crate::model::namespaces::IdMapping;
use crate::model::plan::Plan;
use crate::sys::dev::{self, Common};
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::{cred, fd, fs};

/// CAP_MKNOD of linux/capability.h.
const CAP_MKNOD: u64 = 1 << 27;

/// Whether the kernel lets this process make device nodes.
pub fn may_make(host: &Host) -> bool {
    let has_capability = || cred::capget().is_ok_and(|(effective, ..)| effective & CAP_MKNOD != 0);
    !host.is_rootless() && has_capability()
}

/// The mount with the nodes of a container whose first process is `pid`.
pub fn make(plan: &Plan, pid: i32) -> Result<OwnedFd> {
    let label = plan.mount_label.as_deref();
    let tree = file_system(label).doing(|| "make a file system for device nodes")?;
    let (uids, gids) = (idmap::of_process(pid, "uid_map")?, idmap::of_process(pid, "gid_map")?);
    for device in plan.devices.iter().filter(|device| !device.is_fifo()) {
        let uid = outside(device, "uid", device.uid, &uids)?;
        let gid = outside(device, "gid", device.gid, &gids)?;
        let made = node(&tree, &device.handle, device.kind, device.permissions(), device.device)
            .and_then(|()| match (uid, gid) {
                (0, 0) => Ok(()),
                _ => fs::lchownat(tree.as_raw_fd(), &device.handle, uid, gid),
            });
        made.doing(|| format!("make the device node {}", device.shown_path()))
            .map_err(|error| error.field(&device.field))?;
    }
    if !plan.rootfs.masked.is_empty() {
        let made = node(&tree, MASK, libc::S_IFCHR, 0o666, dev::NULL.number());
        made.doing(|| "make a null device")?;
    }
    Ok(tree)
}

fn file_system(label: Option<&CStr>) -> std::result::Result<OwnedFd, Errno> {
    let context = fd::own(mount::fsopen(c"tmpfs")?);
    let set = |key: &CStr, value: &CStr| mount::fsconfig_set(context.as_raw_fd(), key, Some(value));
    set(c"source", c"devices")?;
    set(c"mode", c"755")?;
    label.map(|label| set(c"context", label)).transpose()?;
    mount::fsconfig_create(context.as_raw_fd())?;
    mount::fsmount(context.as_raw_fd(), attr::NOSUID | attr::NOEXEC).map(fd::own)
}

/// The mode is exact, whatever the umask is.
fn node(
    tree: &OwnedFd,
    name: &CStr,
    kind: u32,
    permissions: u32,
    device: u64,
) -> std::result::Result<(), Errno> {
    fs::mknodat(tree.as_raw_fd(), name, kind, device)?;
    fs::fchmodat(tree.as_raw_fd(), name, permissions)
}

/// What the id inside is out here. A node whose owner nobody has named stays root's of the host,
/// whom a user namespace without an id 0 shows as nobody.
fn outside(device: &Device, key: &'static str, id: Option<u32>, map: &[IdMapping]) -> Result<u32> {
    let inside = id.unwrap_or(0);
    match map.iter().find_map(|line| line.outside(inside)) {
        Some(outside) => Ok(outside),
        None if id.is_none() => Ok(0),
        None => {
            Err(Error::new(format!("{inside} is not mapped in the container's user namespace"))
                .field(&device.field.key(key)))
        }
    }
}

/// A device of the host's on a read-only mount of it, where everybody may write to the device and
/// nobody change the file. An ordinary user has no right to make one, and no right that a
/// container could pass on over the file either.
pub fn of_host(wanted: u64) -> Result<OwnedFd> {
    let Some((device, flags)) = Common::from_wanted(wanted) else {
        return Err(Error::new(format!("the child asked for an unknown device ({wanted:#x})")));
    };
    let doing = || format!("open {}", device.path.to_string_lossy());
    let open = |path: &CStr, flags| fs::openat(libc::AT_FDCWD, path, flags, 0).map(fd::own);
    let file = open(device.path, libc::O_PATH | libc::O_NOFOLLOW).doing(doing)?;
    if Common::of(&fs::fstat(file.as_raw_fd()).doing(doing)?) != Some(device) {
        return Err(Error::new(doing()).detail("it is not the device that its name says"));
    }
    let fixed = match mount::clone_tree(file.as_raw_fd(), c"", false).map(fd::own) {
        Err(Errno::EPERM) => file,
        Err(errno) => return Err(errno).doing(doing),
        Ok(tree) => {
            let readonly = attr::RDONLY | attr::NOSUID | attr::NOEXEC;
            let attr = MountAttr { set: readonly, ..MountAttr::default() };
            mount::mount_setattr(tree.as_raw_fd(), false, &attr).doing(doing)?;
            tree
        }
    };
    if flags & libc::O_PATH != 0 {
        return Ok(fixed);
    }
    let path = CString::new(format!("/proc/self/fd/{}", fixed.as_raw_fd())).unwrap_or_default();
    open(&path, flags).doing(doing)
}
