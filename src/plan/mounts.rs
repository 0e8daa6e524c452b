//! `mounts`: options become attributes, propagation and file system parameters.

pub mod attributes;
mod id_map;
mod kinds;
mod read;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount as SpecMount, Spec};

use super::notify;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::mount::{Links, Mount, What};
use crate::model::namespaces::{Namespaces, flag};
use crate::sys::mount::attr;

use self::attributes::Subject;
pub use self::kinds::{MAX_DATA, MAX_VALUE};
use self::read::Options;

/// A mount namespace that is joined is used as it is: what is mounted in it is others' as
/// well.
pub const NEED_NAMESPACE: &str = "needs a new mount namespace in linux.namespaces";

/// Parameters by which a mount says its own SELinux context (mount(8), "SELinux").
pub const CONTEXTS: &[&str] = &["context", "defcontext", "fscontext", "rootcontext"];

/// What may be mounted below /proc: files that lxcfs and its like replace (CVE-2019-19921).
const BELOW_PROC: &[&str] = &[
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/slabinfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/sys/crypto/fips_enabled",
    "proc/sys/kernel/ns_last_pid",
];

/// What the mounts depend on beside themselves.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The container's namespaces.
    pub namespaces: &'a Namespaces,
    /// Directory of config.json: relative bind sources count from it.
    pub bundle: &'a Path,
    /// The container's root on the host.
    pub root: &'a Path,
    /// The caller is not root.
    pub unprivileged: bool,
    /// The host's cgroup2 tree, for a cgroup mount without a cgroup namespace.
    pub cgroup_root: &'a Path,
    /// A socket of the service manager, for the program.
    pub notify_socket: Option<&'a Path>,
}

/// Reads `mounts`.
pub fn plan(spec: &Spec, around: Around<'_>, findings: &mut Findings) -> Vec<Mount> {
    let field = Field::of("mounts");
    let given = spec.mounts().as_deref().unwrap_or_default();
    if !given.is_empty() && !around.namespaces.is_new(flag::MOUNT) {
        findings.refuse(&field, NEED_NAMESPACE);
        return Vec::new();
    }
    let mut mounts = Vec::with_capacity(given.len());
    for (index, mount) in given.iter().enumerate() {
        let planned = one(mount, &field.at(index), around, &mounts, findings);
        mounts.extend(planned);
    }
    if let Some(socket) = around.notify_socket {
        mounts.push(notify::mount(socket, findings));
    }
    hand_over_sources(&mut mounts, around);
    mounts
}

fn one(
    spec: &SpecMount,
    field: &Field,
    around: Around<'_>,
    earlier: &[Mount],
    findings: &mut Findings,
) -> Option<Mount> {
    let before = findings.violations.len();
    let mut target = target(spec.destination(), &field.key("destination"), findings);
    let read = Options::read(spec, field, findings);
    if read.bind.is_some()
        && let Some(inside) = inside_root(&target, spec, around)
    {
        let text = format!("begins with root.path of the host, taken as /{}", inside.display());
        findings.notice(&field.key("destination"), text);
        target = inside;
    }
    let id_map = id_map::plan(spec, &read, field, around, findings);
    let c_target = findings.c_string(field, target.clone().into_os_string().into_encoded_bytes());
    let planner = kinds::Planner { spec, field, around, target: &c_target };
    let what = planner.what(&read, earlier, findings)?;
    if findings.violations.len() > before {
        return None;
    }
    let fstype = spec.typ().as_deref().unwrap_or_default();
    let new = !read.remount && read.bind.is_none();
    let is_new = |types: &[&str]| new && types.contains(&fstype);
    let mut mount = Mount {
        attributes: read.attributes(subject(&what, new.then_some(fstype), around)),
        late_readonly: false,
        plain_target: is_new(&["proc", "sysfs"]),
        on_proc: target == Path::new("proc"),
        source_of_parent: None,
        id_map,
        links: links(&read, findings),
        is_notify_socket: false,
        target: c_target,
        what,
        field: field.clone(),
    };
    // An ordinary user may have cgroups of their own among the host's (CVE-2023-25809).
    let of_host = matches!(mount.what, What::Bind { .. });
    if around.unprivileged && of_host && is_new(&["cgroup", "cgroup2", "sysfs"]) {
        mount.attributes.tree.set |= attr::RDONLY;
    }
    let proc_by_type = is_new(&["proc"]);
    below_proc(&mut mount, &target, read.remount || read.bind.is_some() || proc_by_type, findings);
    let late = new && (fstype == "tmpfs" || mount.is_at("dev"));
    if late && mount.attributes.readonly() {
        mount.attributes.top.set &= !attr::RDONLY;
        mount.late_readonly = true;
    }
    Some(mount)
}

/// What becomes of links, of which only a new bind has any at its ends.
fn links(read: &Options, findings: &mut Findings) -> Links {
    let Some((at, links)) = &read.links else { return Links::default() };
    if read.bind.is_none() || read.remount {
        findings.refuse(at, "only a new bind mount has links at its ends");
    }
    *links
}

/// What the words of an entry are about; with the type of a new file system.
fn subject(what: &What, new: Option<&str>, around: Around<'_>) -> Subject {
    match (what, new) {
        (What::FileSystem(_), _) => Subject::New,
        (What::Bind { .. }, Some("sysfs")) => Subject::OfHost { readonly: true },
        (What::Bind { .. }, Some("cgroup" | "cgroup2")) => {
            // Without a user namespace it is root of the host who has it so.
            Subject::OfHost { readonly: !around.namespaces.may_mount(flag::CGROUP) }
        }
        (What::Bind { .. }, Some(_)) => Subject::OfHost { readonly: false },
        (What::Bind { recursive: false, .. }, None) => Subject::Copy,
        (What::Bind { .. }, None) | (What::Link(_) | What::Remount { .. }, _) => Subject::Tree,
    }
}

/// The destination below the root. `..` never leaves it; a relative one counts from `/`
/// (config.md "Mounts", deprecated).
fn target(destination: &Path, field: &Field, findings: &mut Findings) -> PathBuf {
    if destination.as_os_str().is_empty() {
        findings.refuse_value(field, "", "must not be empty");
    } else if !destination.is_absolute() {
        findings.notice(field, "a relative destination is deprecated, it is taken from /");
    }
    let target = clean(destination);
    if target.as_os_str().is_empty() && !destination.as_os_str().is_empty() {
        findings.refuse_value(
            field,
            destination,
            "must not be the root itself, which is root.path",
        );
    }
    target
}

/// Where the destination of a bind is meant to be that begins with the host's path of the
/// root. runc takes it from there; the specification has paths in the container only. A
/// bind with a source below the root, too, was written in paths of the host.
fn inside_root(target: &Path, spec: &SpecMount, around: Around<'_>) -> Option<PathBuf> {
    let root = clean(around.root);
    let below = |path: &Path| {
        let inside = path.strip_prefix(&root).ok().filter(|inside| !inside.as_os_str().is_empty());
        inside.filter(|_| !root.as_os_str().is_empty()).map(Path::to_owned)
    };
    let source = around.bundle.join(spec.source().as_ref()?);
    below(&clean(&source)).and_then(|_| below(target))
}

/// The path without `.`, `..`, doubled and leading slashes.
pub fn clean(path: &Path) -> PathBuf {
    let path = path.as_os_str().as_bytes();
    let mut cleaned: Vec<u8> = Vec::with_capacity(path.len());
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => cleaned.truncate(cleaned.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            name => {
                if !cleaned.is_empty() {
                    cleaned.push(b'/');
                }
                cleaned.extend_from_slice(name);
            }
        }
    }
    OsString::from_vec(cleaned).into()
}

/// Nothing but a procfs goes on /proc, and below it only harmless files. A bind is
/// looked at when it is made.
fn below_proc(mount: &mut Mount, target: &Path, may_be_proc: bool, findings: &mut Findings) {
    let at = mount.field.key("destination");
    if target == Path::new("proc") && !may_be_proc {
        findings.refuse_value(&at, "/proc", "only a proc file system may be mounted there");
    }
    if target.starts_with("proc") && target != Path::new("proc") {
        let allowed = BELOW_PROC.iter().any(|path| target == Path::new(path));
        mount.on_proc = allowed;
        if !allowed {
            findings.refuse_value(&at, mount.shown_target(), "must not be mounted below /proc");
        }
    }
}

/// Has the parent open the sources of binds: root of a user namespace may not reach them,
/// and only the owner of a file system may map its ids.
fn hand_over_sources(mounts: &mut [Mount], around: Around<'_>) {
    let all = around.namespaces.has(flag::USER) && !around.unprivileged;
    let wanted = |mount: &&mut Mount| {
        matches!(mount.what, What::Bind { .. }) && (all || mount.id_map.is_some())
    };
    for (number, mount) in (0..).zip(mounts.iter_mut().filter(wanted)) {
        mount.source_of_parent = Some(number);
    }
}
