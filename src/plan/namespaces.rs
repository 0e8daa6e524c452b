//! Which namespaces are made, which are joined, and in how many clones.

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType as Type, Spec};

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::namespaces::{
    IdMapping, Joined, MAX_CLOCK, Namespaces, TimeOffset, flag, join_order,
};

/// The kernel's limit on lines of a uid_map (user_namespaces(7)).
const MAX_MAPPINGS: usize = 340;

/// Reads `linux.namespaces`, `linux.uidMappings`, `linux.gidMappings`, `linux.timeOffsets`.
pub fn plan(spec: &Spec, findings: &mut Findings) -> Namespaces {
    let mut plan = Namespaces::default();
    let Some(linux) = spec.linux() else { return plan };
    let field = Field::of("linux.namespaces");
    let mut seen = 0;
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let at = field.at(index);
        let flag = flag_of(namespace.typ());
        if seen & flag != 0 {
            findings.refuse_value(&at.key("type"), namespace.typ().to_string(), "listed twice");
            continue;
        }
        seen |= flag;
        match namespace.path() {
            None => plan.new |= flag,
            // An empty path is what Go's encoders write for an absent one.
            Some(path) if path.as_os_str().is_empty() => plan.new |= flag,
            Some(path) if !path.is_absolute() => {
                findings.refuse_value(&at.key("path"), path, "must be an absolute path");
            }
            Some(path) => {
                plan.joined.push(Joined { flag, path: path.clone(), field: at.key("path") });
            }
        }
    }
    plan.joined.sort_by_key(|joined| join_order(joined.flag));
    id_mappings(linux, &mut plan, findings);
    time_offsets(linux, &mut plan, findings);
    plan
}

fn flag_of(kind: Type) -> u64 {
    match kind {
        Type::Mount => flag::MOUNT,
        Type::Cgroup => flag::CGROUP,
        Type::Uts => flag::UTS,
        Type::Ipc => flag::IPC,
        Type::User => flag::USER,
        Type::Pid => flag::PID,
        Type::Network => flag::NET,
        Type::Time => flag::TIME,
    }
}

fn id_mappings(linux: &Linux, plan: &mut Namespaces, findings: &mut Findings) {
    let lists = [("uidMappings", linux.uid_mappings()), ("gidMappings", linux.gid_mappings())];
    for (name, list) in lists {
        let field = Field::of("linux").key(name);
        let given = list.as_deref().unwrap_or_default();
        if !plan.is_new(flag::USER) {
            if !given.is_empty() && !plan.has(flag::USER) {
                findings.refuse(&field, "needs a user namespace in linux.namespaces");
            }
            continue;
        }
        if given.is_empty() {
            findings.refuse(&field, "required: a new user namespace needs id mappings");
        }
        let map = check_mappings(&field, given, findings);
        if name == "uidMappings" { plan.uid_map = map } else { plan.gid_map = map }
    }
}

/// Checks a list of mappings by the rules of user_namespaces(7).
pub fn check_mappings(
    field: &Field,
    given: &[LinuxIdMapping],
    findings: &mut Findings,
) -> Vec<IdMapping> {
    if given.len() > MAX_MAPPINGS {
        findings.refuse_value(field, given.len(), "the kernel takes at most 340 mappings");
        return Vec::new();
    }
    let mut map: Vec<IdMapping> = Vec::with_capacity(given.len());
    for (index, mapping) in given.iter().enumerate() {
        let at = field.at(index);
        let new = IdMapping {
            container: mapping.container_id(),
            host: mapping.host_id(),
            size: mapping.size(),
        };
        if new.size == 0 {
            findings.refuse_value(&at.key("size"), 0, "must be at least 1");
        }
        for (key, first) in [("containerID", new.container), ("hostID", new.host)] {
            // 4294967295 is (uid_t) -1, which means "no change" to the kernel.
            if u64::from(first) + u64::from(new.size) > u64::from(u32::MAX) {
                findings.refuse_value(&at.key(key), first, "with size goes past 4294967294");
            }
        }
        let overlaps = |before: Option<usize>| before.map(|n| format!("overlaps {}", field.at(n)));
        let inside = |old: &IdMapping| overlap(old.container, old.size, new.container, new.size);
        if let Some(reason) = overlaps(map.iter().position(inside)) {
            findings.refuse_value(&at.key("containerID"), new.container, reason);
        }
        let outside = |old: &IdMapping| overlap(old.host, old.size, new.host, new.size);
        if let Some(reason) = overlaps(map.iter().position(outside)) {
            findings.refuse_value(&at.key("hostID"), new.host, reason);
        }
        map.push(new);
    }
    map
}

fn overlap(a: u32, a_size: u32, b: u32, b_size: u32) -> bool {
    let end = |first: u32, size: u32| u64::from(first) + u64::from(size);
    u64::from(a) < end(b, b_size) && u64::from(b) < end(a, a_size)
}

fn time_offsets(linux: &Linux, plan: &mut Namespaces, findings: &mut Findings) {
    let Some(offsets) = linux.time_offsets() else { return };
    let field = Field::of("linux.timeOffsets");
    if !plan.is_new(flag::TIME) && !offsets.is_empty() {
        findings.refuse(&field, "needs a new time namespace in linux.namespaces");
        return;
    }
    let mut sorted: Vec<_> = offsets.iter().collect();
    sorted.sort_by_key(|(clock, _)| clock.as_str());
    for (clock, offset) in sorted {
        let at = field.key(clock.clone());
        let number = match clock.as_str() {
            "monotonic" => libc::CLOCK_MONOTONIC,
            "boottime" => libc::CLOCK_BOOTTIME,
            _ => {
                findings.refuse(&at, "unknown clock; only monotonic and boottime have offsets");
                continue;
            }
        };
        let nanosecs = offset.nanosecs().unwrap_or(0);
        if nanosecs > 999_999_999 {
            findings.refuse_value(&at.key("nanosecs"), nanosecs, "must be below 1000000000");
        }
        let secs = offset.secs().unwrap_or(0);
        if secs.unsigned_abs() > MAX_CLOCK.unsigned_abs() {
            let reason = format!("the kernel takes from -{MAX_CLOCK} to {MAX_CLOCK} (146 years)");
            findings.refuse_value(&at.key("secs"), secs, reason);
        }
        let line = format!("{clock} {secs} {nanosecs}\n");
        plan.time_offsets.push(TimeOffset { clock: number, secs, line, field: at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(linux: &str) -> (Namespaces, Findings) {
        let text = format!(r#"{{"ociVersion":"1.3.0","linux":{linux}}}"#);
        let spec: Spec = serde_json::from_str(&text).expect("a spec");
        let mut findings = Findings::default();
        let plan = plan(&spec, &mut findings);
        (plan, findings)
    }

    #[test]
    fn an_id_is_mapped_from_the_first_of_a_line_to_its_last() {
        let line = IdMapping { container: 10, host: 500, size: 2 };
        let seen = [0, 9, 10, 11, 12, u32::MAX].map(|id| line.outside(id));
        assert_eq!(seen, [None, None, Some(500), Some(501), None, None]);
    }

    #[test]
    fn new_and_joined_namespaces_are_told_apart() {
        let (plan, findings) = planned(
            r#"{"namespaces":[{"type":"pid"},{"type":"mount","path":"/a"},{"type":"network","path":"/b"}]}"#,
        );
        assert!(findings.violations.is_empty());
        assert_eq!(plan.new, flag::PID);
        let order: Vec<u64> = plan.joined.iter().map(|joined| joined.flag).collect();
        assert_eq!(order, [flag::NET, flag::MOUNT]);
        assert!(!plan.needs_stage());
    }

    #[test]
    fn a_stage_is_needed_for_joins_around_a_user_namespace_and_for_clocks() {
        for (linux, stage) in [
            (r#"{"namespaces":[{"type":"time"}]}"#, true),
            (r#"{"namespaces":[{"type":"user","path":"/u"},{"type":"pid"}]}"#, true),
            (
                r#"{"namespaces":[{"type":"user"},{"type":"network","path":"/n"}],
                   "uidMappings":[{"containerID":0,"hostID":1,"size":1}],
                   "gidMappings":[{"containerID":0,"hostID":1,"size":1}]}"#,
                true,
            ),
            (r#"{"namespaces":[{"type":"pid","path":"/p"}]}"#, false),
            // The last step is a birth anyway.
            (r#"{"namespaces":[{"type":"pid","path":"/p"},{"type":"time"}]}"#, false),
        ] {
            let (plan, findings) = planned(linux);
            assert!(findings.violations.is_empty(), "{linux}: {findings:?}");
            assert_eq!(plan.needs_stage(), stage, "{linux}");
        }
    }

    #[test]
    fn every_bad_namespace_setting_is_named() {
        let cases = [
            (
                r#"{"namespaces":[{"type":"pid"},{"type":"pid","path":"/x"}]}"#,
                "linux.namespaces[1].type",
            ),
            (r#"{"namespaces":[{"type":"pid","path":"x"}]}"#, "linux.namespaces[0].path"),
            (r#"{"namespaces":[{"type":"user"}]}"#, "linux.uidMappings"),
            (r#"{"uidMappings":[{"containerID":0,"hostID":0,"size":1}]}"#, "linux.uidMappings"),
            (r#"{"timeOffsets":{"boottime":{"secs":1}}}"#, "linux.timeOffsets"),
            (
                r#"{"namespaces":[{"type":"time"}],"timeOffsets":{"realtime":{"secs":1}}}"#,
                "linux.timeOffsets.realtime",
            ),
        ];
        for (linux, field) in cases {
            let (_, findings) = planned(linux);
            let fields: Vec<String> =
                findings.violations.iter().map(|v| v.field.to_string()).collect();
            assert!(fields.iter().any(|f| f == field), "{linux}: {fields:?}");
        }
    }

    #[test]
    fn mappings_follow_the_kernel() {
        let map = |container: u32, host: u32, size: u32| -> LinuxIdMapping {
            let value = serde_json::json!({"containerID": container, "hostID": host, "size": size});
            serde_json::from_value(value).expect("a mapping")
        };
        let field = Field::of("m");
        let refused = |list: &[LinuxIdMapping]| {
            let mut findings = Findings::default();
            check_mappings(&field, list, &mut findings);
            findings.violations.len()
        };
        assert_eq!(refused(&[map(0, 1000, 1), map(1, 100_000, 65536)]), 0);
        assert_eq!(refused(&[map(0, 1000, 0)]), 1);
        assert_eq!(refused(&[map(0, 1000, 10), map(5, 2000, 1)]), 1);
        assert_eq!(refused(&[map(0, 1000, 10), map(50, 1009, 1)]), 1);
        assert_eq!(refused(&[map(0, u32::MAX, 1)]), 1);
    }
}
