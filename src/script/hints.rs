//! What the person can do when an operation fails, by operation, call and errno.

use nix::errno::Errno;

use super::call::Call;
use super::op::Op;

/// Where processes are counted.
pub const TOO_MANY: &str = "see pids.max of the cgroups on the way and RLIMIT_NPROC";

/// What the person can do, where it is known.
pub fn hint(op: &Op, call: Call, errno: Errno) -> Option<&'static str> {
    match (op, call, errno) {
        (
            Op::Mount { .. } | Op::OpenTree { .. } | Op::Procfs { .. },
            Call::FsOpen | Call::FsConfigCreate,
            Errno::EPERM,
        ) => Some(
            "the kernel lets only root of the machine mount this type, or root of the user \
             namespace that the network, pid, ipc or cgroup namespace belongs to",
        ),
        (
            Op::Mount { .. } | Op::OpenTree { .. } | Op::Procfs { .. },
            Call::MountSetattr,
            Errno::EPERM,
        ) => {
            Some("the host has attributes on the source's mount that a user namespace keeps locked")
        }
        (
            Op::Mount { .. } | Op::OpenTree { .. } | Op::Procfs { .. },
            Call::FsPick | Call::MountSetattr,
            Errno::EINVAL,
        ) => Some("only a mount point can be changed"),
        (
            Op::Mount { .. } | Op::OpenTree { .. } | Op::Procfs { .. },
            Call::OpenSource,
            Errno::EINVAL,
        ) => Some(
            "in a user namespace a tree with mounts below it can only be bound as a whole, with \
             what they cover: use rbind",
        ),
        (
            Op::Mount { .. } | Op::OpenTree { .. } | Op::Procfs { .. },
            Call::FsOpen,
            Errno::ENODEV,
        ) => Some("the kernel does not know this type"),
        (
            Op::Mount { .. } | Op::OpenTree { .. } | Op::Procfs { .. },
            Call::OpenTarget,
            Errno::ELOOP,
        ) => Some(
            // runc's words, which callers match.
            "the links form a loop; or this is proc or sysfs, which must be mounted on \
             ordinary directory, without a link on the way",
        ),
        (
            Op::BorrowNodes { .. } | Op::Devices { .. } | Op::ReturnNodes | Op::DeviceLinks,
            Call::OpenTarget,
            Errno::ELOOP,
        ) => {
            Some("/dev of the container must be a directory, and nothing in it a link to a device")
        }
        (
            Op::MaskPath { .. } | Op::LateReadonly { .. } | Op::ReadonlyPath(_) | Op::ReadonlyRoot,
            Call::OpenTarget,
            Errno::EACCES,
        ) => Some(
            "it may be there for who runs in the container: root of the container must be let \
             into the directories on the way",
        ),
        (Op::Console { .. }, Call::NotDevpts, _) => Some("mount a devpts at /dev/pts"),
        (Op::User { .. }, _, Errno::EINVAL) => {
            Some("the container's user namespace does not map all of these ids")
        }
        (Op::User { .. }, _, Errno::EPERM) => {
            Some("the user namespace forbids setgroups(2), or lacks the ids")
        }
        (Op::SessionKeyring(_), _, Errno::EDQUOT) => Some(
            "the user has too many keys: see /proc/sys/kernel/keys/maxkeys and maxbytes, or use \
             --no-new-keyring",
        ),
        (Op::AllCpus | Op::Cpus(_), _, Errno::EINVAL) => {
            Some("none of these processors is online and in the container's cpuset")
        }
        (Op::MemoryPolicy { .. }, _, Errno::EINVAL) => {
            Some("the machine, or the container's cpuset, does not have these nodes")
        }
        (Op::Scheduler(_), _, Errno::EPERM) => Some(
            "this policy, or a lower nice value, needs CAP_SYS_NICE on the host; a deadline \
             process scheduler can't be used together with AllowedCPUs (resources.cpu.cpus)",
        ),
        (Op::BoundingSet(_) | Op::Effective(_) | Op::Capabilities { .. }, _, Errno::EPERM) => {
            Some("the runtime does not have all of these capabilities itself")
        }
        (Op::Rlimit { .. } | Op::WidenLimit { .. }, _, Errno::EPERM) => {
            Some("raising a hard limit needs CAP_SYS_RESOURCE on the host")
        }
        (Op::WriteProc { .. } | Op::WriteLabel { .. }, Call::OpenTarget, Errno::EXDEV) => {
            Some("something is mounted over this part of the host's /proc")
        }
        (
            Op::Mount { .. } | Op::OpenTree { .. } | Op::Procfs { .. },
            Call::Procfs,
            Errno::ETIMEDOUT | Errno::EBADMSG | Errno::ECHILD,
        ) => Some("a process of the joined pid namespace may have interfered, or a seccomp filter"),
        (Op::Fork { .. } | Op::EnterPidNamespace { .. }, Call::Clone, Errno::EAGAIN) => {
            Some(TOO_MANY)
        }
        (Op::BindRoot { .. } | Op::TreeNamespace { .. }, Call::OpenSource, Errno::EACCES) => {
            Some("root of the user namespace must be able to reach the bundle's rootfs")
        }
        _ => None,
    }
}
