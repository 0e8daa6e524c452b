//! What an entry mounts, by its type and options.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::Mount as SpecMount;

use super::Around;
use super::read::Options;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::mount::{FileSystem, Mount, OldMount, Parameter, What};
use crate::model::namespaces::flag;

/// fsconfig(2) copies at most this much of a value.
pub const MAX_VALUE: usize = 255;

/// mount(2) copies one page of data, and the NUL must be in it.
pub const MAX_DATA: usize = 4095;

/// Types whose superblock is the kernel's own, or one that others of a namespace may
/// share: `ro` is for the mount only.
const SHARED_SUPERBLOCK: &[&str] =
    &["cgroup", "cgroup2", "devpts", "mqueue", "proc", "sysfs", "tmpfs"];

/// One entry, being read.
pub(super) struct Planner<'a> {
    pub(super) spec: &'a SpecMount,
    pub(super) field: &'a Field,
    pub(super) around: Around<'a>,
    pub(super) target: &'a CStr,
}

impl Planner<'_> {
    pub(super) fn what(
        &self,
        read: &Options,
        earlier: &[Mount],
        findings: &mut Findings,
    ) -> Option<What> {
        let fstype = self.spec.typ().as_deref().unwrap_or_default();
        let bind = read.bind.or((fstype == "bind").then_some(false));
        if let Some(at) = &read.copy_up
            && (bind.is_some() || read.remount || fstype != "tmpfs")
        {
            findings.refuse(at, "only a new tmpfs can start with a copy of what it covers");
        }
        if read.remount {
            return self.remount(read, bind.is_some(), earlier, findings);
        }
        if let Some(recursive) = bind {
            read.refuse_parameters_of_bind(findings);
            return self.bind(recursive, findings);
        }
        // The kernel asks who owns the namespace that such a file system shows. Of one that
        // belongs to another user namespace than the container's, what the host has is bound.
        let of_host = |kind| !self.around.namespaces.may_mount(kind);
        match fstype {
            "" | "none" => {
                let reason = "missing, and no bind or rbind among the options";
                findings.refuse(&self.field.key("type"), reason);
                None
            }
            "cgroup" | "cgroup2" => Some(self.cgroup(read, findings)),
            // Where the container has no namespace of its own, or one that belongs to another user
            // namespace, the kernel refuses a file system of it: the host's is bound.
            "sysfs" if of_host(flag::NET) => {
                let kind = "the host's /sys, which is bound where there is no network namespace of its own";
                read.refuse_parameters(kind, findings);
                Some(What::Bind { source: c"/sys".to_owned(), recursive: true })
            }
            // Of a namespace that is joined the runtime makes it before it gives its rights up.
            "proc" if of_host(flag::PID) && !self.around.namespaces.joins(flag::PID) => {
                let kind =
                    "the host's /proc, which is bound where there is no pid namespace of its own";
                read.refuse_parameters(kind, findings);
                Some(What::Bind { source: c"/proc".to_owned(), recursive: true })
            }
            "mqueue" if of_host(flag::IPC) => {
                let kind = "the host's /dev/mqueue, for want of an ipc namespace of its own";
                read.refuse_parameters(kind, findings);
                Some(What::Bind { source: c"/dev/mqueue".to_owned(), recursive: true })
            }
            _ => Some(What::FileSystem(self.file_system(fstype, read, findings))),
        }
    }

    fn bind(&self, recursive: bool, findings: &mut Findings) -> Option<What> {
        let at = self.field.key("source");
        match self.spec.source() {
            Some(source) if !source.as_os_str().is_empty() => {
                let source = self.around.bundle.join(source);
                let source = findings.c_string(&at, source.as_os_str().as_bytes());
                Some(What::Bind { source, recursive })
            }
            _ => {
                findings.refuse(&at, "missing: a bind mount needs it");
                None
            }
        }
    }

    /// With a cgroup namespace, a cgroup2 of its own, whose root is the container's cgroup.
    /// Without, the host's tree is bound: a cgroup2 mount from the initial namespace costs
    /// an RCU grace period and rewrites the options of the host's own mount.
    fn cgroup(&self, read: &Options, findings: &mut Findings) -> What {
        // Options of the v1 hierarchies that engines still send have no meaning for cgroup2.
        read.refuse_parameters("cgroup2", findings);
        let namespaces = self.around.namespaces;
        if !namespaces.has(flag::CGROUP) || !namespaces.may_mount(flag::CGROUP) {
            let root = self.around.cgroup_root.as_os_str().as_bytes();
            return What::Bind { source: findings.c_string(self.field, root), recursive: false };
        }
        let source = Parameter {
            key: c"source".to_owned(),
            value: Some(c"cgroup".to_owned()),
            field: self.field.key("type"),
        };
        What::FileSystem(FileSystem {
            fstype: c"cgroup2".to_owned(),
            parameters: vec![source],
            inherit_mode: false,
            copy_up: false,
            label: None,
            old: None,
        })
    }

    fn file_system(&self, fstype: &str, read: &Options, findings: &mut Findings) -> FileSystem {
        let at = self.field.key("source");
        let source = self.spec.source().as_deref().map(Path::as_os_str).map(OsStr::as_bytes);
        let source = source.filter(|source| !source.is_empty());
        let source = source.map(|source| findings.c_string(&at, source));
        let mut options = read.parameters.clone();
        if read.readonly() && !SHARED_SUPERBLOCK.contains(&fstype) {
            // A device that is read-only itself cannot be opened otherwise.
            options.push(flag_parameter(c"ro", self.field));
        }
        let has_mode = options.iter().any(|parameter| parameter.key.as_c_str() == c"mode");
        let old = self.old_mount(fstype, source.as_ref(), read, &mut options, findings);
        let named = |value| Parameter { key: c"source".to_owned(), value: Some(value), field: at };
        FileSystem {
            fstype: findings.c_string(&self.field.key("type"), fstype),
            parameters: source.map(named).into_iter().chain(options).collect(),
            inherit_mode: fstype == "tmpfs" && !has_mode,
            copy_up: read.copy_up.is_some(),
            label: None,
            old,
        }
    }

    /// mount(2), where fsconfig(2) does not do: two flags that it has no word for, and long
    /// values. What is too long for both can still be the layers of an overlay, which
    /// fsconfig(2) takes one by one (Linux 6.8).
    fn old_mount(
        &self,
        fstype: &str,
        source: Option<&CString>,
        read: &Options,
        options: &mut Vec<Parameter>,
        findings: &mut Findings,
    ) -> Option<OldMount> {
        let is_long = |text: &CString| text.as_bytes().len() > MAX_VALUE;
        let long_value = |parameter: &Parameter| parameter.value.as_ref().is_some_and(is_long);
        let long = options.iter().position(long_value);
        let wanted = read.superblock & (libc::MS_SILENT | libc::MS_I_VERSION) != 0;
        if !wanted && long.is_none() && !source.is_some_and(is_long) {
            return None;
        }
        let by_flag = |parameter: &&Parameter| !FLAG_WORDS.contains(&parameter.key.as_c_str());
        let data: Vec<Vec<u8>> = options.iter().filter(by_flag).map(text_of).collect();
        let data = data.join(&b","[..]);
        if data.len() > MAX_DATA {
            if let Some(long) = long.filter(|_| !wanted && fstype == "overlay") {
                split_layers(options, long);
            }
            if wanted || options.iter().any(long_value) {
                let at = &options[long.unwrap_or_default()].field;
                let reason = "with the other options longer than the 4095 bytes of mount(2)";
                findings.refuse_value(at, data.len(), reason);
            }
            return None;
        }
        let readonly = if read.readonly() && !SHARED_SUPERBLOCK.contains(&fstype) {
            libc::MS_RDONLY
        } else {
            0
        };
        Some(OldMount {
            source: source.cloned().unwrap_or_else(|| c"none".to_owned()),
            flags: read.superblock | readonly,
            data: findings.c_string(self.field, data),
        })
    }

    /// With `bind`, the mount is changed; without, its superblock as well, which must then
    /// be one that this configuration has made: that of a bind is the host's.
    fn remount(
        &self,
        read: &Options,
        bind: bool,
        earlier: &[Mount],
        findings: &mut Findings,
    ) -> Option<What> {
        if bind {
            read.refuse_parameters("the remount of a bind mount", findings);
            return Some(What::Remount { parameters: None });
        }
        let here = |mount: &&Mount| mount.target.as_c_str() == self.target;
        let made = earlier
            .iter()
            .rev()
            .find(|mount| here(mount) && !matches!(mount.what, What::Remount { .. }));
        let Some(fstype) = made.and_then(Mount::fstype).map(|fstype| fstype.to_string_lossy())
        else {
            let reason = "to be remounted without bind, it must be a new file system of an \
                          earlier entry: the superblock of any other is the host's";
            findings.refuse(&self.field.key("destination"), reason);
            return None;
        };
        if let Some(at) = &read.old_only {
            findings.refuse(at, "cannot be changed by a remount");
        }
        let mut parameters = read.parameters.clone();
        for parameter in &parameters {
            if parameter.value.as_ref().is_some_and(|value| value.as_bytes().len() > MAX_VALUE) {
                findings.refuse(&parameter.field, "longer than the 255 bytes of fsconfig(2)");
            }
        }
        if !SHARED_SUPERBLOCK.contains(&fstype.as_ref()) {
            let word = if read.readonly() { c"ro" } else { c"rw" };
            parameters.push(flag_parameter(word, self.field));
        }
        Some(What::Remount { parameters: Some(parameters) })
    }
}

/// Flags of the superblock, which mount(2) has in its own argument.
const FLAG_WORDS: &[&CStr] =
    &[c"async", c"dirsync", c"lazytime", c"mand", c"nolazytime", c"nomand", c"ro", c"sync"];

fn flag_parameter(word: &CStr, field: &Field) -> Parameter {
    Parameter { key: word.to_owned(), value: None, field: field.key("options") }
}

fn text_of(parameter: &Parameter) -> Vec<u8> {
    let mut text = parameter.key.to_bytes().to_vec();
    if let Some(value) = &parameter.value {
        text.push(b'=');
        // Only a context may have commas, and mount(2) takes it in quotes then.
        let quote: &[u8] = if value.to_bytes().contains(&b',') { b"\"" } else { b"" };
        text.extend([quote, value.to_bytes(), quote].concat());
    }
    text
}

/// `lowerdir=a:b::c` becomes `lowerdir+=a`, `lowerdir+=b`, `datadir+=c`. A colon of a name
/// is escaped in the list, and is not when it is alone.
fn split_layers(options: &mut Vec<Parameter>, index: usize) {
    let Parameter { key, value: Some(value), field } = options[index].clone() else { return };
    if key.as_c_str() != c"lowerdir" {
        return;
    }
    let mut layers = vec![Vec::new()];
    let mut bytes = value.to_bytes().iter().copied();
    while let Some(byte) = bytes.next() {
        let last = layers.len() - 1;
        match byte {
            b'\\' => layers[last].extend(bytes.next()),
            b':' => layers.push(Vec::new()),
            other => layers[last].push(other),
        }
    }
    let mut key = c"lowerdir+";
    let mut single = Vec::with_capacity(layers.len());
    for layer in layers {
        if layer.is_empty() {
            key = c"datadir+";
        } else {
            let value = CString::new(layer).ok();
            single.push(Parameter { key: key.to_owned(), value, field: field.clone() });
        }
    }
    options.splice(index..=index, single);
}
