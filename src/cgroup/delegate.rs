//! The container's cgroup, handed to the container (cgroups(7), "cgroup delegation").
//!
//! Its limits stay the runtime's: the kernel's list names only the files by which processes
//! are moved and controllers are enabled below.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchownat};

use super::controllers::Controllers;
use super::{Cgroup, CgroupRecord, files};
use crate::diag::field::Field;
use crate::error::{Doing, Error, Result};
use crate::host::cgroup::Tree;
use crate::model::delegation::Delegation;
use crate::plan::annotations::LEAF;
use crate::sys::proc;

/// Where the kernel lists what the delegatee has to own.
const LIST: &str = "/sys/kernel/cgroup/delegate";

/// What every kernel has in it.
const LEAST: &str = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";

/// Hands the recorded cgroup to the container whose first process is `init` and waits to go
/// on. Nothing is done to one that was there before the container: it is its maker's.
///
/// # Errors
/// When a leaf was asked for and cannot be. `rootless`: a refused change of owner is none,
/// since the files belong to the caller, who is root in the container.
pub fn delegate(
    record: &CgroupRecord,
    delegation: &Delegation,
    init: i32,
    rootless: bool,
) -> Result<()> {
    let cgroup = if record.is_ours() { Cgroup::open(record)? } else { None };
    let Some(cgroup) = cgroup else {
        return match &delegation.leaf {
            None => Ok(()),
            Some(_) => Err(Error::new("make the leaf of the container's cgroup")
                .detail("the container has no cgroup that was made for it")
                .field(&leaf_field())),
        };
    };
    if let Some(name) = &delegation.leaf {
        make_leaf(&cgroup, record, name, init).map_err(|error| error.field(&leaf_field()))?;
    }
    let Some(uid) = delegation.owner else { return Ok(()) };
    let owner = if delegation.mapped { host_id(init, uid)? } else { uid };
    let list = proc::read_small(LIST).unwrap_or_else(|_| LEAST.to_owned());
    for dir in std::iter::once(".").chain(delegation.leaf.as_deref()) {
        for file in std::iter::once(".").chain(list.lines()) {
            let path = format!("{dir}/{file}");
            let (owner, group) = (Some(Uid::from_raw(owner)), None::<Gid>);
            match fchownat(cgroup.dir(), path.as_str(), owner, group, AtFlags::AT_SYMLINK_NOFOLLOW)
            {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EPERM) if rootless => return Ok(()),
                Err(errno) => {
                    let doing =
                        || format!("give {path} of cgroup /{} to the container", record.path);
                    return Err(errno).doing(doing);
                }
            }
        }
    }
    Ok(())
}

fn leaf_field() -> Field {
    Field::of("annotations").key(LEAF)
}

/// A cgroup with processes cannot pass controllers on: the first process moves down, and
/// all that there are become available below. The root of the cgroup namespace stays.
fn make_leaf(cgroup: &Cgroup, record: &CgroupRecord, name: &str, init: i32) -> Result<()> {
    let path = format!("{}/{name}", record.path);
    mkdirat(cgroup.dir().as_fd(), name, Mode::from_bits_truncate(0o755))
        .doing(|| format!("make cgroup /{path}"))?;
    files::write(cgroup.dir(), &format!("{name}/cgroup.procs"), &init.to_string())
        .doing(|| format!("move the container's first process to cgroup /{path}"))?;
    // What cannot be enabled is what the ancestors do not pass on either.
    Controllers::enable(&Tree::open()?.root, &path, &[]);
    Ok(())
}

/// The id that `uid` of the user namespace of a process has in ours, which is around it.
fn host_id(pid: i32, uid: u32) -> Result<u32> {
    let path = format!("/proc/{pid}/uid_map");
    let map = std::fs::read_to_string(&path).doing(|| format!("read {path}"))?;
    map_id(&map, uid).ok_or_else(|| {
        Error::new(format!("the user id {uid} is not mapped in the container's user namespace"))
            .field(&Field::of("process.user.uid"))
    })
}

/// `INSIDE OUTSIDE COUNT` in each line (user_namespaces(7)).
fn map_id(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        let (inside, outside, count) = (next()?, next()?, next()?);
        let offset = id.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::map_id;

    #[test]
    fn ids_are_mapped_by_the_line_that_has_them() {
        let map = "         0     100000      10\n        10       5000          1\n";
        assert_eq!(map_id(map, 0), Some(100_000));
        assert_eq!(map_id(map, 9), Some(100_009));
        assert_eq!(map_id(map, 10), Some(5000));
        assert_eq!(map_id(map, 11), None);
        assert_eq!(map_id("0 0 4294967295\n", 7), Some(7));
        assert_eq!(map_id("garbage", 0), None);
    }
}
