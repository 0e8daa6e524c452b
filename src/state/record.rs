//! `state.json`: what is known about a container between two calls of `rt`.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::process::Process;
use super::{Ending, Id};
use crate::cgroup::CgroupRecord;
use crate::error::{Error, Kind, Result};
use crate::resctrl::RdtRecord;
use crate::time;

/// The version of the format that this `rt` writes. A higher one is refused.
pub const VERSION: u32 = 1;

/// Who answers for system calls of the container (`linux.seccomp.listenerPath`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its socket.
    pub path: PathBuf,
    /// What it is told (`listenerMetadata`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

/// The record of one container. It says what was made, never how the container is
/// doing: that is asked of the kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// `ociVersion` of its configuration.
    pub oci_version: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// When it was created: RFC 3339, UTC.
    pub created: String,
    /// The effective uid of its creator.
    pub owner: u32,
    /// The annotations of its configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The boot during which it was created; in another one nothing of it is alive.
    pub boot_id: String,
    /// The inode number of the pid namespace in which the processes below have these pids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<u64>,
    /// The container's first process; absent until it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Process>,
    /// The `rt` that is creating, or has created, the container.
    pub creator: Process,
    /// Where its cgroup is and which one it is; absent without one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupRecord>,
    /// `CLONE_NEW*` flags of the namespaces that an exec has to join.
    #[serde(default)]
    pub namespaces: u64,
    /// The container's user namespace forbids setgroups(2) (user_namespaces(7)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deny_setgroups: bool,
    /// The name of its session keyring; absent when it shares that of its creator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// The program has a socket of the service manager that has started its creator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notifies: bool,
    /// Who gets the seccomp listener of init at the start, and of every exec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// The configuration has no program to start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_process: bool,
    /// The configuration has hooks for start or delete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub later_hooks: bool,
    /// How its first process ended, where `rt` has waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Its groups of resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<RdtRecord>,
    /// Fields of a later `rt`, written back as they were read.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Record {
    /// The name of its session keyring, by which another process finds it.
    pub fn keyring(&self) -> Option<CString> {
        self.keyring.clone().and_then(|name| CString::new(name).ok())
    }

    /// The record of intent, written before anything of the container exists: made by
    /// this process, now, during this boot. Cgroup, init and namespaces come later.
    pub fn intent(id: &Id, oci_version: &str, bundle: PathBuf, rootfs: PathBuf) -> Result<Self> {
        // State is exchanged as JSON, which has no words for other bytes.
        if let Some(path) = [&bundle, &rootfs].into_iter().find(|path| path.to_str().is_none()) {
            let text = format!("the path {} is not valid UTF-8", path.display());
            return Err(Error::new(text).kind(Kind::Invalid));
        }
        Ok(Record {
            version: VERSION,
            id: id.to_string(),
            oci_version: oci_version.to_owned(),
            bundle,
            rootfs,
            created: time::now(),
            owner: nix::unistd::geteuid().as_raw(),
            annotations: BTreeMap::new(),
            boot_id: super::boot_id()?,
            pid_namespace: Some(super::pid_namespace()?),
            init: None,
            creator: Process::current()?,
            cgroup: None,
            namespaces: 0,
            deny_setgroups: false,
            keyring: None,
            notifies: false,
            agent: None,
            no_process: false,
            later_hooks: false,
            ending: None,
            intel_rdt: None,
            extra: serde_json::Map::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive() {
        let id = Id::parse("a").expect("id");
        let mut record =
            Record::intent(&id, "1.2.0", "/b".into(), "/b/rootfs".into()).expect("intent");
        record.init = Some(Process { pid: 7, start_time: 4711, inode: None });
        record.annotations.insert("k".into(), "v".into());
        record.extra.insert("later".into(), serde_json::json!({ "x": [1, 2] }));
        let text = serde_json::to_string(&record).expect("to JSON");
        assert!(
            text.contains(r#""ociVersion":"1.2.0""#) && text.contains(r#""later":{"x":[1,2]}"#)
        );
        assert_eq!(serde_json::from_str::<Record>(&text).expect("from JSON"), record);
    }
}
