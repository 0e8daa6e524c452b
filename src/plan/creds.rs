//! Who the process is: ids, groups, umask, the five capability sets, no_new_privs.

use std::str::FromStr;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, User};

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::creds::{Caps, Creds};

/// The kernel's limit on supplementary groups (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65536;

/// Reads `process.user`, `process.capabilities`, `process.noNewPrivileges`.
pub fn plan(process: &oci_spec::runtime::Process, findings: &mut Findings) -> Creds {
    let field = Field::of("process");
    let user = user(process.user(), &field.key("user"), findings);
    Creds {
        caps: caps(process.capabilities().as_ref(), &field.key("capabilities"), findings),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        ..user
    }
}

fn user(user: &User, field: &Field, findings: &mut Findings) -> Creds {
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    // (uid_t) -1 means "leave it" to the kernel, so it would keep the runtime's own id
    // (CVE-2024-40635 and its like).
    let mut check = |field: Field, id: u32| {
        if id == u32::MAX {
            findings.refuse_value(&field, id, "must be below 4294967295");
        }
    };
    check(field.key("uid"), user.uid());
    check(field.key("gid"), user.gid());
    for (index, gid) in groups.iter().enumerate() {
        check(field.key("additionalGids").at(index), *gid);
    }
    // As the kernel keeps them: getgroups(2) is compared with this.
    groups.sort_unstable();
    if groups.len() > MAX_GROUPS {
        let reason = "the kernel takes at most 65536 groups";
        findings.refuse_value(&field.key("additionalGids"), groups.len(), reason);
    }
    let umask = user.umask().unwrap_or(0o022);
    if umask > 0o777 {
        findings.refuse_value(&field.key("umask"), umask, "must be from 0 to 511 (octal 0777)");
    }
    Creds { uid: user.uid(), gid: user.gid(), groups, umask, ..Creds::default() }
}

fn caps(given: Option<&LinuxCapabilities>, field: &Field, findings: &mut Findings) -> Caps {
    let Some(given) = given else { return Caps::default() };
    let mut caps = Caps {
        bounding: mask(given.bounding().as_ref()),
        effective: mask(given.effective().as_ref()),
        permitted: mask(given.permitted().as_ref()),
        inheritable: mask(given.inheritable().as_ref()),
        ambient: mask(given.ambient().as_ref()),
    };
    let beyond = caps.effective & !caps.permitted;
    if beyond != 0 {
        let reason = "must be in process.capabilities.permitted as well";
        findings.refuse_value(&field.key("effective"), names(beyond), reason);
    }
    // The kernel raises an ambient capability only when it is permitted and inheritable.
    let beyond = caps.ambient & !(caps.permitted & caps.inheritable);
    if beyond != 0 {
        let names = names(beyond);
        let text = format!(
            "can't raise ambient capability {names}: not permitted and inheritable as well"
        );
        findings.notice(&field.key("ambient"), text);
        caps.ambient &= !beyond;
    }
    caps
}

/// The set as a word of bits.
pub fn mask(set: Option<&Capabilities>) -> u64 {
    set.into_iter().flatten().fold(0, |mask, capability| {
        let known = caps::Capability::from_str(&format!("CAP_{capability}"));
        mask | known.map_or(0, |capability| capability.bitmask())
    })
}

/// The names of a word of bits: `CAP_CHOWN, CAP_KILL`.
pub fn names(mask: u64) -> String {
    let mut list: Vec<_> = caps::all().into_iter().filter(|c| mask & c.bitmask() != 0).collect();
    list.sort_by_key(caps::Capability::index);
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(process: &str) -> (Creds, Findings) {
        let text = format!(r#"{{"cwd":"/",{process}}}"#);
        let process = serde_json::from_str(&text).expect("a process");
        let mut findings = Findings::default();
        let creds = plan(&process, &mut findings);
        (creds, findings)
    }

    #[test]
    fn capabilities_are_exactly_those_given() {
        let (creds, findings) = planned(
            r#""user":{"uid":1,"gid":2},"capabilities":{"bounding":["CAP_CHOWN","CAP_KILL"],
                "permitted":["CAP_KILL"],"effective":["CAP_KILL"]}"#,
        );
        assert!(findings.violations.is_empty());
        let (chown, kill) = (1 << 0, 1 << 5);
        let caps =
            Caps { bounding: chown | kill, effective: kill, permitted: kill, ..Caps::default() };
        assert_eq!(creds.caps, caps);
        assert_eq!(planned(r#""user":{"uid":0,"gid":0}"#).0.caps, Caps::default());
    }

    #[test]
    fn an_ambient_capability_that_cannot_be_is_told_and_dropped() {
        let (creds, findings) = planned(
            r#""user":{"uid":1,"gid":2},"capabilities":{"permitted":["CAP_KILL"],"ambient":["CAP_KILL"]}"#,
        );
        assert_eq!(creds.caps.ambient, 0);
        assert!(findings.notices[0].contains("CAP_KILL"), "{findings:?}");
    }

    #[test]
    fn ids_that_mean_no_change_are_refused() {
        for (process, field) in [
            (r#""user":{"uid":4294967295,"gid":0}"#, "process.user.uid"),
            (r#""user":{"uid":0,"gid":4294967295}"#, "process.user.gid"),
            (
                r#""user":{"uid":0,"gid":0,"additionalGids":[1,4294967295]}"#,
                "process.user.additionalGids[1]",
            ),
            (r#""user":{"uid":0,"gid":0,"umask":1023}"#, "process.user.umask"),
            (
                r#""user":{"uid":0,"gid":0},"capabilities":{"effective":["CAP_KILL"]}"#,
                "process.capabilities.effective",
            ),
        ] {
            let (_, findings) = planned(process);
            assert_eq!(findings.violations[0].field.to_string(), field);
        }
    }
}
