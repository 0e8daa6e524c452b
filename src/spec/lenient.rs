//! What the specification tells a runtime to accept and oci-spec's types do not.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::str::FromStr;

use oci_spec::runtime::Capability;

use super::nearest;
use super::tree::{Json, Object};
use crate::diag::field::{Field, Violation};
use crate::model::ranges::{self, MAX_CPUS};

/// Sections for other platforms.
const OTHERS: &[&str] = &["freebsd", "solaris", "vm", "windows", "zos"];

/// In oci-spec's type of the document, and in the specification members of `linux`.
const MISPLACED: &[&str] = &["gidMappings", "uidMappings"];

/// The five capability sets.
const SETS: &[&str] = &["ambient", "bounding", "effective", "inheritable", "permitted"];

/// Words of the specification, and what oci-spec calls them.
const SCHEDULER_FLAGS: &[(&str, &str)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// Keys of the specification, and what oci-spec calls them.
const RDT_FLAGS: &[(&str, &str)] = &[("enableCMT", "enableCmt"), ("enableMBM", "enableMbm")];

/// A word of oci-spec's as the specification spells it.
pub fn spelled(word: &str) -> &str {
    let mut all = RDT_FLAGS.iter().chain(SCHEDULER_FLAGS);
    all.find(|(_, own)| *own == word).map_or(word, |(name, _)| name)
}

/// What was found on the way.
#[derive(Debug, Default)]
pub struct Found {
    /// What was dropped or filled in.
    pub notices: Vec<String>,
    /// What nobody can have meant.
    pub violations: Vec<Violation>,
}

impl Found {
    fn notice(&mut self, field: &Field, text: &str) {
        self.notices.push(format!("{field}: {text}"));
    }
}

/// Prepares a whole config.json.
pub fn spec(root: &mut Json<'_>, found: &mut Found) {
    let Some(members) = root.object_mut() else { return };
    for key in OTHERS {
        if members.remove(key).is_some_and(|value| value != Json::Null) {
            found.notice(&Field::of(key), "not for Linux, ignored");
        }
    }
    for key in MISPLACED {
        if members.remove(key).is_some_and(|value| value != Json::Null) {
            let text = format!("unknown key, ignored; is linux.{key} meant?");
            found.notice(&Field::of(key), &text);
        }
    }
    if let Some(json) = members.get_mut("process") {
        process(json, &Field::of("process"), found);
    }
    let Some(linux) = members.get_mut("linux").and_then(Json::object_mut) else { return };
    if let Some(rdt) = linux.get_mut("intelRdt").and_then(Json::object_mut) {
        for (name, own) in RDT_FLAGS {
            if rdt.get(own).is_some() {
                let field = Field::of("linux.intelRdt").key(*own);
                let reason = format!("must be spelled {name}: keys are case-sensitive");
                found.violations.push(Violation::new(field, reason));
            }
            rdt.rename(name, own);
        }
    }
    if let Some(json) = linux.get_mut("resources") {
        pids(json, &Field::of("linux.resources.pids"), found);
    }
}

/// Drops `pids` without a limit. Since 1.3 no limit is not the same as a limit of 0, which is
/// what oci-spec makes of it.
fn pids(resources: &mut Json<'_>, field: &Field, found: &mut Found) {
    let Some(resources) = resources.object_mut() else { return };
    let Some(Json::Object(pids)) = resources.get("pids") else { return };
    if pids.get("limit").is_some_and(|limit| *limit != Json::Null) {
        return;
    }
    for (key, _) in pids.iter().filter(|(key, _)| *key != "limit") {
        if key.eq_ignore_ascii_case("limit") {
            // The reader refuses it.
            return;
        }
        let text = match nearest::nearest(key, &["limit"]) {
            Some(near) => format!("unknown key, ignored; is {near} meant?"),
            None => "unknown key, ignored; without a limit pids is too".to_owned(),
        };
        found.notice(&field.key(key.to_owned()), &text);
    }
    resources.remove("pids");
}

/// Drops `pids` without a member spelled exactly `limit`, whatever else it has: so it was read
/// before that was refused.
pub fn drop_pids_without_limit(root: &mut Json<'_>) {
    let linux = root.object_mut().and_then(|root| root.get_mut("linux")?.object_mut());
    let Some(resources) = linux.and_then(|linux| linux.get_mut("resources")?.object_mut()) else {
        return;
    };
    if resources.get("pids").is_some_and(|pids| pids.get("limit").is_none()) {
        resources.remove("pids");
    }
}

/// Prepares the resources for `rt update`, where case does not count, and a key that is not known
/// is refused by the reader.
pub fn resources(json: &mut Json<'_>) {
    let Some(resources) = json.object_mut() else { return };
    let is_limit = |key: &str| key.eq_ignore_ascii_case("limit");
    resources.retain(|key, value| match value {
        Json::Object(pids) if key.eq_ignore_ascii_case("pids") => {
            pids.iter().any(|(key, value)| !is_limit(key) || *value != Json::Null)
        }
        _ => true,
    });
}

/// Prepares a process.
pub fn process(json: &mut Json<'_>, field: &Field, found: &mut Found) {
    let Some(members) = json.object_mut() else { return };
    if let Some(sets) = members.get_mut("capabilities").and_then(Json::object_mut) {
        capabilities(sets, &field.key("capabilities"), &mut found.notices);
    }
    user(members, &field.key("user"), found);
    if members.get("commandLine").is_some_and(|value| *value != Json::Null) {
        found.notice(&field.key("commandLine"), "for Windows, ignored; args is for Linux");
    }
    // "If omitted or empty": oci-spec takes no empty list.
    if let Some(cpus) = members.get_mut("execCPUAffinity").and_then(Json::object_mut) {
        for key in ["initial", "final"] {
            let Some(Json::String(list)) = cpus.get(key) else { continue };
            if list.is_empty() {
                cpus.remove(key);
            } else if let Err(reason) = ranges::mask(list, MAX_CPUS) {
                // oci-spec would not say which of the two.
                let field = field.key("execCPUAffinity").key(key);
                found.violations.push(Violation::value(field, list, reason));
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
/// every other runtime, and people write such files for `exec --process`. A user of the name
/// `nobody` must not become root.
fn user(process: &mut Object<'_>, field: &Field, found: &mut Found) {
    if process.get("user").is_none() {
        let mut root = Object::default();
        root.add("uid", Json::Unsigned(0));
        root.add("gid", Json::Unsigned(0));
        process.add("user", Json::Object(root));
        found.notice(field, "is missing: the process runs as root (uid 0, gid 0)");
        return;
    }
    let Some(user) = process.get_mut("user").and_then(Json::object_mut) else { return };
    let named = user.remove("username").is_some_and(|name| name != Json::Null);
    let username = field.key("username");
    match user.get("uid") {
        None | Some(Json::Null) if named => {
            let reason = "is for Windows; give uid and gid";
            found.violations.push(Violation::new(username, reason));
        }
        _ if named => found.notice(&username, "for Windows, ignored: uid and gid count"),
        _ => {}
    }
    for (key, meaning) in [("uid", "the process runs as root"), ("gid", "root's group")] {
        let key_field = field.key(key);
        // Said by the reader, of the key in the wrong case.
        let spelled = user.iter().any(|(name, _)| name.eq_ignore_ascii_case(key));
        if user.get(key).is_none() {
            user.add(key, Json::Unsigned(0));
            if !spelled {
                found.notice(&key_field, &format!("is missing: taken as 0, {meaning}"));
            }
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
        let hint = near_capability(&name).map(|near| format!("; is {near} meant?"));
        let name: String = name.chars().take(64).collect();
        let (sets, hint) = (sets.join(", "), hint.unwrap_or_default());
        notices.push(format!("{field}: unknown capability {name:?} in {sets}, ignored{hint}"));
    }
}

/// The capability that was most likely meant.
pub fn near_capability(name: &str) -> Option<String> {
    let all: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
    let mut known: Vec<&str> = all.iter().map(String::as_str).collect();
    known.sort_unstable();
    nearest::nearest(name, &known).map(str::to_owned)
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

    fn process_of(text: &str) -> (Json<'_>, Found) {
        let mut json = super::super::tree::parse(text.as_bytes()).expect("JSON");
        let mut found = Found::default();
        process(&mut json, &Field::of("process"), &mut found);
        (json, found)
    }

    #[test]
    fn a_missing_user_is_root_and_a_missing_group_is_roots_and_both_are_told() {
        for (text, uid, told) in [
            (
                r#"{"cwd":"/"}"#,
                0,
                &["process.user: is missing: the process runs as root (uid 0, gid 0)"][..],
            ),
            (
                r#"{"user":{}}"#,
                0,
                &[
                    "process.user.uid: is missing: taken as 0, the process runs as root",
                    "process.user.gid: is missing: taken as 0, root's group",
                ],
            ),
            (
                r#"{"user":{"uid":7}}"#,
                7,
                &["process.user.gid: is missing: taken as 0, root's group"],
            ),
            (
                r#"{"user":{"uid":7,"gid":0,"username":"x"}}"#,
                7,
                &["process.user.username: for Windows, ignored: uid and gid count"],
            ),
        ] {
            let (json, found) = process_of(text);
            let user = json.get("user").expect("a user");
            assert_eq!(user.get("uid"), Some(&Json::Unsigned(uid)));
            assert_eq!(user.get("gid"), Some(&Json::Unsigned(0)));
            assert_eq!(found.notices, told, "{text}");
            assert!(found.violations.is_empty());
        }
    }

    #[test]
    fn a_user_with_nothing_but_a_name_does_not_become_root() {
        let (_, found) = process_of(r#"{"user":{"username":"nobody"}}"#);
        let told: Vec<_> = found.violations.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["process.user.username: is for Windows; give uid and gid"]);
    }
}
