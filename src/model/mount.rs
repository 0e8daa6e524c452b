//! Mounts: what is mounted where, with which attributes.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::diag::field::Field;
use crate::model::namespaces::IdMapping;
use crate::sys::mount::{MountAttr, attr};

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
    /// Of no entry, but the socket of the service manager (`NOTIFY_SOCKET`).
    pub is_notify_socket: bool,
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

/// For mount_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// For the whole tree.
    pub tree: MountAttr,
    /// For its top beside that. It is about no attribute that `tree` is about.
    pub top: MountAttr,
    /// What the top loses because others were named and these were not; it keeps them where a
    /// user namespace locks them.
    pub unnamed: u64,
}

impl Attributes {
    /// Of a file system: whether it becomes read-only.
    pub fn readonly(&self) -> bool {
        (self.top.set | self.tree.set) & attr::RDONLY != 0
    }
}
