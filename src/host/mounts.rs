//! The mount table, read where it has to be: for a chroot(2), before a tree is bound from
//! outside, and to explain a refusal.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Result};
use crate::sys::{fs, statmount};

/// Directories that the kernel makes to be mounted on. They hide nothing.
const ALWAYS_EMPTY: &[&str] = &[
    "/proc/fs/nfsd",
    "/proc/openprom",
    "/proc/sys/fs/binfmt_misc",
    "/sys/firmware/efi/efivars",
    "/sys/fs/bpf",
    "/sys/fs/cgroup",
    "/sys/fs/fuse/connections",
    "/sys/fs/pstore",
    "/sys/fs/resctrl",
    "/sys/fs/selinux",
    "/sys/fs/smackfs",
    "/sys/hypervisor/s390",
    "/sys/kernel/config",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// How many paths an explanation names.
const NAMED: usize = 3;

/// Where a proc or sysfs is mounted, innermost first.
pub fn proc_and_sysfs() -> Result<Vec<CString>> {
    let doing = || "read /proc/self/mountinfo";
    let text = std::fs::read("/proc/self/mountinfo").doing(doing)?;
    let wanted = |(point, fstype): (Vec<u8>, &[u8])| {
        matches!(fstype, b"proc" | b"sysfs").then(|| CString::new(point).ok())?
    };
    let mut points: Vec<CString> = lines(&text).filter_map(wanted).collect();
    points.reverse();
    Ok(points)
}

/// Whether a mount keeps a mount namespace (`mount --bind /proc/PID/ns/mnt FILE`), or that
/// cannot be told. A copy of a tree with such a mount cannot be attached in a namespace that
/// is younger (`ELOOP`); what is copied within a namespace leaves it out.
pub fn keep_mount_namespaces() -> bool {
    let keeps = |mount: &u64| {
        statmount::magic(*mount) == Ok(fs::magic::NSFS as u64)
            && statmount::root_begins(*mount, b"mnt:[") != Ok(false)
    };
    let (mut numbers, mut last) = ([0; 512], 0);
    loop {
        match statmount::list(last, &mut numbers) {
            Ok(count) if numbers[..count].iter().any(keeps) => return true,
            Ok(count) if count < numbers.len() => return false,
            Ok(count) => last = numbers[count - 1],
            Err(_) => return true,
        }
    }
}

/// Why fsmount(2) refuses root of a user namespace a `proc` or `sysfs` (the kernel's
/// mount_too_revealing; no other type is ever refused there), and what helps.
pub fn too_revealing(fstype: &str) -> String {
    let root = if fstype == "sysfs" { "/sys" } else { "/proc" };
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let covered = covered(&text, root);
    let rule = format!(
        "the kernel lets a user namespace mount {fstype} only where it can see all of the one at {root} \
         (mount_too_revealing)"
    );
    if covered.is_empty() {
        return format!(
            "{rule}: it must be mounted here, whole, and not read-only unless the new one is; or bind {root}"
        );
    }
    let named: Vec<_> = covered.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    let more = match covered.len().saturating_sub(NAMED) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    format!(
        "{rule}; something is mounted over {}{more}: unmount it, or start the container around this one \
         without maskedPaths and readonlyPaths (Docker: --security-opt systempaths=unconfined, Podman: \
         --security-opt unmask=ALL), or bind {root}",
        named.join(", ")
    )
}

/// What is mounted below `root`, but for what hides nothing.
fn covered(text: &[u8], root: &str) -> Vec<PathBuf> {
    let below = |(point, _): (Vec<u8>, &[u8])| {
        let path = PathBuf::from(OsStr::from_bytes(&point));
        let hides = path.starts_with(root) && path != Path::new(root);
        (hides && !ALWAYS_EMPTY.iter().any(|dir| path.starts_with(dir))).then_some(path)
    };
    let mut paths: Vec<_> = lines(text).filter_map(below).collect();
    paths.dedup();
    paths
}

/// Mount point and type of each mount (proc_pid_mountinfo(5)).
fn lines(text: &[u8]) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let point = fields.nth(4)?;
        let fstype = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some((unescape(point), fstype))
    })
}

/// Blanks and backslashes are written in octal: `\\040`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let code =
            octal.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_back_as_they_are() {
        let text = b"36 35 0:5 / /mnt/a\\040b rw,nosuid shared:1 master:2 - proc proc rw\n\
            37 35 8:1 / /x rw - ext4 proc rw\nnonsense\n";
        let all: Vec<_> = lines(text).collect();
        assert_eq!(all, [(b"/mnt/a b".to_vec(), &b"proc"[..]), (b"/x".to_vec(), &b"ext4"[..])]);
    }

    #[test]
    fn what_hides_something_is_named() {
        let text = b"1 0 0:1 / /proc rw - proc proc rw\n2 1 0:2 / /proc/kcore ro - tmpfs t rw\n\
            3 1 0:3 / /proc/sys/fs/binfmt_misc rw - binfmt_misc b rw\n4 0 0:4 / /sys ro - sysfs s rw\n\
            5 4 0:5 / /sys/fs/cgroup ro - cgroup2 c rw\n6 4 0:6 / /sys/firmware ro - tmpfs t rw\n";
        assert_eq!(covered(text, "/proc"), [PathBuf::from("/proc/kcore")]);
        assert_eq!(covered(text, "/sys"), [PathBuf::from("/sys/firmware")]);
    }
}
