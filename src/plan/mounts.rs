//! `mounts`: options become attributes, propagation and file system parameters.

pub mod attributes;
mod id_map;
mod kinds;
mod read;
#[cfg(test)]
mod tests;

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount as SpecMount, Spec};

use super::field::Field;
use super::findings::Findings;
use super::namespaces::{IdMapping, Namespaces, flag};
use super::notify;
use crate::sys::mount::attr;

use self::attributes::{Attributes, Subject};
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

/// One entry of `mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub what: What,
    /// Where: below the root, cleaned, without a leading slash.
    pub target: CString,
    /// Attributes and propagation.
    pub attributes: Attributes,
    /// Becomes read-only when everything is in place: a tmpfs must take the mount points
    /// and devices that come after it first.
    pub late_readonly: bool,
    /// No link on the way to the target: proc and sysfs go only on an ordinary directory
    /// of the root (CVE-2023-27561, CVE-2019-19921).
    pub plain_target: bool,
    /// Whether the target may lie on the container's procfs.
    pub on_proc: bool,
    /// The number under which the parent hands over the source, where the child's user
    /// namespace may not be able to reach it, or to map its ids.
    pub source_of_parent: Option<u32>,
    /// Ids of the source's files show as others.
    pub id_map: Option<IdMap>,
    /// What becomes of links at its ends.
    pub links: Links,
    /// `mounts[N]`.
    pub field: Field,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A new file system.
    FileSystem(FileSystem),
    /// A copy of a mount, or of a part of it.
    Bind {
        /// Path on the host.
        source: CString,
        /// With everything mounted below it.
        recursive: bool,
    },
    /// Nothing: a link is made.
    Link(Link),
    /// Nothing: what an earlier entry has mounted there is changed.
    Remount {
        /// New parameters of its superblock; none when only the mount is meant.
        parameters: Option<Vec<Parameter>>,
    },
}

/// What becomes of a symbolic link at the ends of a bind; without these words it is followed
/// (crun(1)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Links {
    /// `copy-symlink`: a source that is a link is made again, and not mounted.
    pub copy: bool,
    /// `src-nofollow`: a source that is a link is mounted itself.
    pub of_source: bool,
    /// `dest-nofollow`: a target that is a link is mounted on itself.
    pub of_target: bool,
}

/// A link that is made in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The directory of it, below the root.
    pub directory: CString,
    /// Its name.
    pub name: CString,
    /// What it says.
    pub content: CString,
}

/// A new file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its type, as fsopen(2) knows it.
    pub fstype: CString,
    /// Its parameters; `source` is the first where there is one.
    pub parameters: Vec<Parameter>,
    /// A tmpfs without `mode=` takes that of the directory it covers.
    pub inherit_mode: bool,
    /// A tmpfs starts with a copy of what it covers.
    pub copy_up: bool,
    /// SELinux label of its root, for a type that takes no `context`.
    pub label: Option<CString>,
    /// By mount(2), for what fsconfig(2) cannot say.
    pub old: Option<OldMount>,
}

/// The arguments of mount(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldMount {
    /// The first one.
    pub source: CString,
    /// `MS_*` of the superblock.
    pub flags: u64,
    /// All parameters, with commas between them.
    pub data: CString,
}

/// One parameter of fsconfig(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The name.
    pub key: CString,
    /// The value; none for a flag.
    pub value: Option<CString>,
    /// Where the configuration has it.
    pub field: Field,
}

/// An idmapped mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// With everything mounted below it.
    pub recursive: bool,
    /// uid_map and gid_map; none for those of the container's user namespace.
    pub maps: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
}

impl Mount {
    /// The target as people write it.
    pub fn shown_target(&self) -> String {
        format!("/{}", self.target.to_string_lossy())
    }

    /// `tmpfs`, or the source of a bind; nothing for a remount.
    pub fn shown_source(&self) -> String {
        match &self.what {
            What::FileSystem(made) => made.fstype.to_string_lossy().into_owned(),
            What::Bind { source, .. } => source.to_string_lossy().into_owned(),
            What::Link(link) => format!("a link to {}", link.content.to_string_lossy()),
            What::Remount { .. } => String::new(),
        }
    }

    /// Has the link that is its source made again at its target.
    pub fn copy_link(&mut self, content: CString) {
        let target = Path::new(OsStr::from_bytes(self.target.as_bytes()));
        let text = |part: Option<&OsStr>| {
            let part = part.filter(|part| !part.is_empty()).unwrap_or(OsStr::new("."));
            CString::new(part.as_bytes()).unwrap_or_default()
        };
        let directory = text(target.parent().map(Path::as_os_str));
        self.what = What::Link(Link { directory, name: text(target.file_name()), content });
        self.source_of_parent = None;
        self.id_map = None;
    }

    /// Whether there is a new mount in the end.
    pub fn makes_mount(&self) -> bool {
        matches!(self.what, What::FileSystem(_) | What::Bind { .. })
    }

    /// Whether this covers the whole of `path` (relative to the root).
    pub fn is_at(&self, path: &str) -> bool {
        self.target.as_bytes() == path.as_bytes()
    }

    /// The type of a file system that is made for it.
    pub fn fstype(&self) -> Option<&CString> {
        match &self.what {
            What::FileSystem(made) => Some(&made.fstype),
            _ => None,
        }
    }
}

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
        let field = Field::of(notify::VARIABLE);
        let planned = one(&notify::mount(socket), &field, around, &mounts, findings);
        mounts.extend(planned);
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
