//! The state as others read it: hooks on stdin, people and engines from `rt state` and
//! `rt list` (runtime specification, "State").

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::{Record, Status, Why};
use crate::cgroup::effective::Limits;

/// What is read of /etc/passwd at most.
const PASSWD_MAX: u64 = 1 << 20;

/// The state of one container, in the order in which runc prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OciState<'a> {
    oci_version: &'a str,
    /// The container's id.
    pub id: &'a str,
    /// Init in the pid namespace of `rt`; 0 when there is none.
    pub pid: i32,
    /// creating, created, running, paused or stopped.
    pub status: &'static str,
    /// Absolute path of the bundle.
    pub bundle: &'a Path,
    #[serde(flatten)]
    more: Option<More<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Why it has stopped: a key of ours, which engines ignore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Why>,
    /// What the kernel enforces: a key of ours, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Limits>,
}

#[derive(Debug, Serialize)]
struct More<'a> {
    rootfs: &'a Path,
    created: &'a str,
}

impl<'a> OciState<'a> {
    /// For hooks: what the specification names, and no more.
    pub fn new(record: &'a Record, status: Status, pid: i32) -> Self {
        OciState {
            oci_version: &record.oci_version,
            id: &record.id,
            pid,
            status: status.as_str(),
            bundle: &record.bundle,
            more: None,
            annotations: &record.annotations,
            owner: None,
            exit: None,
            resources: None,
        }
    }

    /// For people and engines: also the root file system, the time and the owner.
    pub fn full(record: &'a Record, status: Status, pid: i32) -> Self {
        let more = Some(More { rootfs: &record.rootfs, created: &record.created });
        let owner = Some(user_name(record.owner));
        OciState { more, owner, ..OciState::new(record, status, pid) }
    }

    /// When it was created, in the full form.
    pub fn created(&self) -> &str {
        self.more.as_ref().map_or("", |more| more.created)
    }

    /// The name of its creator, in the full form.
    pub fn owner(&self) -> &str {
        self.owner.as_deref().unwrap_or_default()
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record holds only text")
    }
}

/// The name of a user as /etc/passwd has it, else `#UID`. Name services are not asked:
/// they may be slow, and a static program cannot load them.
fn user_name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let mut passwd = String::new();
    let read =
        File::open("/etc/passwd").and_then(|f| f.take(PASSWD_MAX).read_to_string(&mut passwd));
    let name = read.ok().and_then(|_| find_name(&passwd, uid));
    name.map_or_else(|| format!("#{uid}"), str::to_owned)
}

fn find_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::super::exit::decide;
    use super::*;
    use crate::state::{Ending, Id};
    use crate::sys::pidfd::Exit;
    use crate::tests as documented;

    #[test]
    fn the_shape_is_runcs() {
        let id = Id::parse("web1").expect("id");
        let mut record =
            Record::intent(&id, "1.3.0", "/b".into(), "/b/rootfs".into()).expect("intent");
        record.created = "2026-11-21T05:12:02.5Z".into();
        record.owner = 0;
        let state = OciState::new(&record, Status::Creating, 7).to_json();
        let text =
            r#"{"ociVersion":"1.3.0","id":"web1","pid":7,"status":"creating","bundle":"/b"}"#;
        assert_eq!(String::from_utf8_lossy(&state), text);
        record.annotations.insert("k".into(), "v".into());
        let state = OciState::full(&record, Status::Stopped, 0);
        let text = r#"{
  "ociVersion": "1.3.0",
  "id": "web1",
  "pid": 0,
  "status": "stopped",
  "bundle": "/b",
  "rootfs": "/b/rootfs",
  "created": "2026-11-21T05:12:02.5Z",
  "annotations": {
    "k": "v"
  },
  "owner": "root"
}"#;
        assert_eq!(serde_json::to_string_pretty(&state).expect("JSON"), text);
    }

    #[test]
    fn it_is_documented() {
        let id = Id::parse("web1").expect("id");
        let mut record = Record::intent(&id, "1.3.0", "/b".into(), "/b/r".into()).expect("intent");
        record.annotations.insert("k.x".into(), "v".into());
        let full = |ending: Ending| {
            let mut state = OciState::full(&record, Status::Stopped, 0);
            state.exit = decide(Some(ending), Some(1));
            let text = || BTreeMap::from([("memory.max".to_owned(), "max".to_owned())]);
            let (values, effective) = (text(), text());
            state.resources = Some(Limits { cgroup: "/x".to_owned(), values, effective });
            state
        };
        let (code, signal) = (Exit::Code(1).into(), Exit::Signal(9).into());
        documented::check("state", &[&full(code), &full(signal)]);
    }

    #[test]
    fn names_of_users() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n";
        assert_eq!(find_name(passwd, 1000), Some("ann"));
        assert_eq!(find_name(passwd, 1001), None);
    }
}
