//! What the specification tells a runtime to accept and oci-spec's types do not.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::str::FromStr;

use oci_spec::runtime::Capability;

use super::tree::{Json, Object};
use crate::plan::field::Field;

/// Not for Linux, or in oci-spec's type and not in the specification.
const OTHERS: &[&str] =
    &["freebsd", "gidMappings", "solaris", "uidMappings", "vm", "windows", "zos"];

/// The five capability sets.
const SETS: &[&str] = &["ambient", "bounding", "effective", "inheritable", "permitted"];

/// Words of the specification, and what oci-spec calls them.
const SCHEDULER_FLAGS: &[(&str, &str)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// Prepares a whole config.json. What is dropped is told.
pub fn spec(root: &mut Json<'_>, notices: &mut Vec<String>) {
    let Some(members) = root.object_mut() else { return };
    for key in OTHERS {
        if members.remove(key).is_some() {
            tracing::debug!("{key}: not for Linux, ignored");
        }
    }
    if let Some(json) = members.get_mut("process") {
        process(json, &Field::of("process"), notices);
    }
    let Some(linux) = members.get_mut("linux").and_then(Json::object_mut) else { return };
    if let Some(rdt) = linux.get_mut("intelRdt").and_then(Json::object_mut) {
        rdt.rename("enableCMT", "enableCmt");
        rdt.rename("enableMBM", "enableMbm");
    }
    if let Some(json) = linux.get_mut("resources") {
        resources(json);
    }
}

/// Prepares `linux.resources`.
pub fn resources(json: &mut Json<'_>) {
    let Some(resources) = json.object_mut() else { return };
    // Since 1.3 no limit is not the same as a limit of 0, which is what oci-spec makes of it.
    let limit = resources.get("pids").map(|pids| (pids, pids.get("limit")));
    if let Some((Json::Object(_), None | Some(Json::Null))) = limit {
        resources.remove("pids");
    }
}

/// Prepares a process.
pub fn process(json: &mut Json<'_>, field: &Field, notices: &mut Vec<String>) {
    let Some(members) = json.object_mut() else { return };
    if let Some(sets) = members.get_mut("capabilities").and_then(Json::object_mut) {
        capabilities(sets, &field.key("capabilities"), notices);
    }
    user(members, &field.key("user"));
    // "If omitted or empty": oci-spec takes no empty list.
    if let Some(cpus) = members.get_mut("execCPUAffinity").and_then(Json::object_mut) {
        for key in ["initial", "final"] {
            if matches!(cpus.get(key), Some(Json::String(list)) if list.is_empty()) {
                cpus.remove(key);
            }
        }
    }
    let scheduler = members.get_mut("scheduler").and_then(Json::object_mut);
    let flags = scheduler.and_then(|scheduler| scheduler.get_mut("flags"));
    for flag in flags.and_then(Json::array_mut).into_iter().flatten() {
        let Json::String(word) = flag else { continue };
        if let Some((_, own)) = SCHEDULER_FLAGS.iter().find(|(name, _)| name == word) {
            *flag = Json::String((*own).into());
        }
    }
}

/// A process without a user, a uid or a gid is one of root or of root's group for
/// every other runtime, and people write such files for `exec --process`.
fn user(process: &mut Object<'_>, field: &Field) {
    if process.get("user").is_none() {
        let mut root = Object::default();
        root.add("uid", Json::Unsigned(0));
        root.add("gid", Json::Unsigned(0));
        process.add("user", Json::Object(root));
        tracing::debug!("{field} is missing: taken as uid 0, gid 0");
        return;
    }
    let Some(user) = process.get_mut("user").and_then(Json::object_mut) else { return };
    for key in ["uid", "gid"] {
        if user.get(key).is_none() {
            user.add(key, Json::Unsigned(0));
            tracing::debug!("{} is missing: taken as 0", field.key(key));
        }
    }
}

/// "Any value which cannot be mapped to a relevant kernel interface [...] MUST be logged
/// as a warning", and must not be an error. It is never granted.
fn capabilities(sets: &mut Object<'_>, field: &Field, notices: &mut Vec<String>) {
    let mut unknown: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for set in SETS {
        let Some(names) = sets.get_mut(set).and_then(Json::array_mut) else { continue };
        names.retain(|name| match name {
            Json::String(name) if !is_capability(name) => {
                unknown.entry(name.clone().into_owned()).or_default().push(set);
                false
            }
            _ => true,
        });
    }
    for (name, mut sets) in unknown {
        sets.dedup();
        let name: String = name.chars().take(64).collect();
        notices
            .push(format!("{field}: unknown capability {name:?} in {}, ignored", sets.join(", ")));
    }
}

/// Whether this is the exact name of a capability. oci-spec would also take lower case
/// and a name without `CAP_`.
fn is_capability(name: &str) -> bool {
    name.strip_prefix("CAP_").is_some_and(|name| Capability::from_str(name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_of_the_kernel_is_known() {
        for capability in caps::all() {
            assert!(is_capability(&capability.to_string()), "{capability}");
        }
        for name in ["cap_chown", "CHOWN", "CAP_CAP_CHOWN", "CAP_chown", "CAP_", "", "ALL"] {
            assert!(!is_capability(name), "{name}");
        }
    }

    #[test]
    fn a_missing_user_is_root_and_a_missing_group_is_roots() {
        for (text, uid) in [(r#"{"cwd":"/"}"#, 0), (r#"{"user":{"uid":7}}"#, 7)] {
            let mut json = super::super::tree::parse(text.as_bytes()).expect("JSON");
            let mut notices = Vec::new();
            process(&mut json, &Field::of("process"), &mut notices);
            let user = json.get("user").expect("a user");
            assert_eq!(user.get("uid"), Some(&Json::Unsigned(uid)));
            assert_eq!(user.get("gid"), Some(&Json::Unsigned(0)));
            assert!(notices.is_empty());
        }
    }
}
