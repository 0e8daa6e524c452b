//! What the configuration names on the host must be there: asked before anything is
//! made, so that a wrong path costs nothing and all of them are named at once.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind::NotFound};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;

use super::{hooks, listener, sources};
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::error::errno_text;
use crate::host::lsm;
use crate::model::device::{Device, Nodes};
use crate::model::mount::{Mount, What};
use crate::model::namespaces::{Joined, MAX_CLOCK, TimeOffset, flag, name_of};
use crate::model::net_device::NetDevice;
use crate::model::plan::Plan;
use crate::model::process::Process;
use crate::sys::netlink::Netlink;
use crate::sys::{clock as clocks, fd, fs as files, ns};

/// Looks at everything; the namespace files, which are opened on the way, and what was found.
pub fn check(plan: &Plan, process: &Process) -> (Vec<OwnedFd>, Findings) {
    let mut findings = Findings::default();
    let root = &plan.rootfs.path;
    let joined = plan.namespaces.has(flag::MOUNT) && !plan.namespaces.is_new(flag::MOUNT);
    match fs::metadata(root) {
        // It is looked for in the namespace that is joined.
        _ if joined => {}
        // It is missing in the configuration, which was said.
        _ if root.as_os_str().is_empty() => {}
        Ok(metadata) if metadata.is_dir() => {}
        found => {
            let mut reason = not_a_directory(found);
            if reason.ends_with("(ENOENT)") {
                reason += "; put a root file system there";
            }
            findings.refuse_value(&Field::of("root.path"), root, reason);
        }
    }
    if process.terminal {
        terminal(plan, &mut findings);
    }
    for mount in &plan.mounts {
        if let What::Bind { source, .. } = &mount.what {
            let path = Path::new(OsStr::from_bytes(source.to_bytes()));
            // An earlier entry may mount what this one copies out of the root.
            let made_later = |error: &io::Error| path.starts_with(root) && error.kind() == NotFound;
            // The socket of the service manager was looked at already.
            if let Err(error) = sources::look(path, mount.links)
                && !made_later(&error)
                && !mount.is_notify_socket
            {
                findings.refuse_value(&mount.field.key("source"), path, text(&error));
            }
        }
    }
    if plan.nodes == Nodes::OfHost {
        plan.devices.iter().for_each(|device| bound_as_it_is(device, &mut findings));
    }
    network_devices(&plan.net_devices, &mut findings);
    plan.namespaces.time_offsets.iter().for_each(|offset| clock(offset, &mut findings));
    findings.violations.extend(hooks::check_files(&plan.hooks));
    if let Some(path) = plan.seccomp.as_ref().and_then(|filter| filter.listener_path.as_ref()) {
        agent(path, &mut findings);
    }
    security_modules(process, plan.mount_label.as_deref(), &mut findings);
    let namespaces = plan.namespaces.joined.iter();
    let files = namespaces.filter_map(|joined| open_namespace(joined, &mut findings)).collect();
    (files, findings)
}

/// A terminal is always one of the container's own devpts. Links are not followed to it, so that
/// only a mount of one, a bind over /dev/pts, or the root itself can have brought it there.
fn terminal(plan: &Plan, findings: &mut Findings) {
    let brings = |mount: &Rc<Mount>| match &mount.what {
        What::FileSystem(made) => made.fstype.as_c_str() == c"devpts",
        What::Bind { .. } => {
            Path::new("dev/pts").starts_with(mount.shown_target().trim_matches('/'))
        }
        What::Link(_) | What::Remount { .. } => false,
    };
    if !plan.namespaces.is_new(flag::MOUNT) || plan.mounts.iter().any(brings) {
        return;
    }
    // The root may be one in which everything is mounted already.
    let there = CString::new(plan.rootfs.path.join("dev/pts").as_os_str().as_bytes())
        .map_err(|_| Errno::EINVAL)
        .and_then(|path| files::openat(libc::AT_FDCWD, &path, libc::O_PATH, 0).map(fd::own));
    let magic = there.and_then(|there| files::fs_magic(there.as_raw_fd()));
    if magic != Ok(files::magic::DEVPTS) {
        let reason = "needs a devpts at /dev/pts, which mounts does not have; without a terminal, \
                      set it to false";
        findings.refuse(&Field::of("process.terminal"), reason);
    }
}

/// They are moved when the container's namespace is there, and looked for before anything is.
fn network_devices(devices: &[NetDevice], findings: &mut Findings) {
    // What speaks against netlink itself is said when they are moved.
    let Some(Ok(mut netlink)) = devices.first().map(|_| Netlink::open()) else { return };
    for device in devices {
        if let Err(errno) = netlink.link(&device.name) {
            let reason = format!("the host's network namespace: {}", errno_text(errno));
            findings.refuse_value(&device.field, &device.name, reason);
        }
    }
}

/// A clock of the container shows neither less than nothing nor more than the kernel allows
/// (time_namespaces(7)).
fn clock(offset: &TimeOffset, findings: &mut Findings) {
    let Ok(now) = clocks::now(offset.clock) else { return };
    let least = -now.tv_sec;
    if !(least..=MAX_CLOCK - now.tv_sec).contains(&offset.secs) {
        let (most, hosts) = (MAX_CLOCK - now.tv_sec, now.tv_sec);
        let reason =
            format!("must be from {least} to {most}, since the host's clock is at {hosts} s");
        findings.refuse_value(&offset.field.key("secs"), offset.secs, reason);
    }
}

/// A node that can only be bound has the mode and owner that it has.
fn bound_as_it_is(device: &Device, findings: &mut Findings) {
    let path = Path::new(OsStr::from_bytes(device.host_path.to_bytes()));
    // What is not there, or is another device, the child says.
    let Ok(there) = fs::metadata(path) else { return };
    let named = [
        ("fileMode", device.file_mode, there.mode() & 0o7777),
        ("uid", device.uid, there.uid()),
        ("gid", device.gid, there.gid()),
    ];
    for (key, asked, has) in named {
        if let Some(asked) = asked.filter(|asked| *asked != has && !device.is_fifo()) {
            let show = |value: u32| match key {
                "fileMode" => format!("{value} (octal {value:o})"),
                _ => value.to_string(),
            };
            let reason = format!(
                "only root of the machine can make a node; that of the host, which is bound \
                 instead, has {}",
                show(has)
            );
            findings.refuse_value(&device.field.key(key), show(asked), reason);
        }
    }
}

/// One connection is one container, so it is only looked at.
fn agent(path: &Path, findings: &mut Findings) {
    let why = match fs::metadata(path) {
        Ok(_) if path.is_relative() => "must be absolute".to_owned(),
        Ok(metadata) if metadata.file_type().is_socket() => return,
        Ok(_) => "not a socket".to_owned(),
        Err(error) => text(&error),
    };
    let field = Field::of("linux.seccomp.listenerPath");
    findings.refuse_value(&field, path, format!("{}: {why}", listener::NO_AGENT));
}

/// A restriction that was asked for is applied, or nothing starts.
pub(super) fn security_modules(
    process: &Process,
    mount_label: Option<&CStr>,
    findings: &mut Findings,
) {
    if let Some(profile) = process.apparmor.as_ref().filter(|_| !lsm::apparmor()) {
        let field = Field::of("process.apparmorProfile");
        findings.refuse_value(&field, profile, "AppArmor is not enabled here");
    }
    for (field, given) in [
        ("process.selinuxLabel", process.selinux.clone().map(Cow::Owned)),
        ("linux.mountLabel", mount_label.map(CStr::to_string_lossy)),
    ] {
        if let Some(label) = given.filter(|_| !lsm::selinux()) {
            findings.refuse_value(&Field::of(field), label, "SELinux is not enabled here");
        }
    }
}

fn not_a_directory(found: io::Result<Metadata>) -> String {
    found.map_or_else(|error| text(&error), |_| errno_text(Errno::ENOTDIR))
}

fn text(error: &io::Error) -> String {
    errno_text(Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// Opened as a path first: a FIFO or a device must not be touched.
pub(super) fn open_namespace(joined: &Joined, findings: &mut Findings) -> Option<OwnedFd> {
    let path = findings.c_string(&joined.field, joined.path.as_os_str().as_bytes());
    let open = |flags: i32| files::openat(libc::AT_FDCWD, &path, flags, 0).map(fd::own);
    let opened = open(libc::O_PATH).and_then(|probe| {
        if files::fs_magic(probe.as_raw_fd())? != files::magic::NSFS {
            return Err(Errno::EINVAL);
        }
        let file = open(libc::O_RDONLY)?;
        let kind = ns::ns_type(file.as_raw_fd())?;
        if kind == joined.flag { Ok(file) } else { Err(Errno::EINVAL) }
    });
    match opened {
        Ok(file) => Some(file),
        Err(Errno::EINVAL) => {
            let reason = format!("not a {} namespace", name_of(joined.flag));
            findings.refuse_value(&joined.field, &joined.path, reason);
            None
        }
        Err(errno) => {
            findings.refuse_value(&joined.field, &joined.path, errno_text(errno));
            None
        }
    }
}
