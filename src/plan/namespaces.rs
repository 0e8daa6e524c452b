//! Which namespaces are made, which are joined, and in how many clones.

use std::path::PathBuf;

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType as Type, Spec};

use super::field::Field;
use super::findings::Findings;
use crate::sys::ns::CLONE_NEWTIME;

/// `CLONE_NEWUSER` and its like as the 64-bit words of clone3(2).
pub mod flag {
    #![allow(missing_docs)]
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    pub const NET: u64 = libc::CLONE_NEWNET as u64;
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    pub const TIME: u64 = super::CLONE_NEWTIME;
}

/// The kernel's limit on lines of a uid_map (user_namespaces(7)).
const MAX_MAPPINGS: usize = 340;

/// A namespace that exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its `CLONE_NEW*` flag.
    pub flag: u64,
    /// The file that stands for it.
    pub path: PathBuf,
    /// Where the configuration names it.
    pub field: Field,
}

/// One line of uid_map or gid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

impl IdMapping {
    /// What an id inside is outside; none when this line does not map it.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        let offset = inside.checked_sub(self.container).filter(|offset| *offset < self.size)?;
        self.host.checked_add(offset)
    }
}

/// The namespaces of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// `CLONE_NEW*` of those that are made.
    pub new: u64,
    /// Those that are joined, in the order in which they must be.
    pub joined: Vec<Joined>,
    /// uid_map of a new user namespace.
    pub uid_map: Vec<IdMapping>,
    /// gid_map of a new user namespace.
    pub gid_map: Vec<IdMapping>,
    /// The kernel wants setgroups(2) given up before it takes the gid_map, or has it
    /// forbidden already.
    pub deny_setgroups: bool,
    /// Kinds of which the container's namespace belongs to another user namespace than its own,
    /// as far as the kernel had to be asked.
    pub foreign: u64,
    /// The clocks of a new time namespace that are not those of the host.
    pub time_offsets: Vec<TimeOffset>,
}

/// How far a clock of the container is from that of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOffset {
    /// `CLOCK_MONOTONIC` or `CLOCK_BOOTTIME`.
    pub clock: i32,
    /// Seconds.
    pub secs: i64,
    /// A line for timens_offsets.
    pub line: String,
    /// `linux.timeOffsets.CLOCK`.
    pub field: Field,
}

/// The half of KTIME_SEC_MAX: what a clock of a time namespace may show at most.
pub const MAX_CLOCK: i64 = 9_223_372_036 / 2;

impl Namespaces {
    /// Whether the container has its own namespace of this kind, new or joined.
    pub fn has(&self, flag: u64) -> bool {
        self.all() & flag != 0
    }

    /// Whether this kind is made for the container.
    pub fn is_new(&self, flag: u64) -> bool {
        self.new & flag != 0
    }

    /// All kinds that the container does not share with the runtime.
    pub fn all(&self) -> u64 {
        self.joined.iter().fold(self.new, |all, joined| all | joined.flag)
    }

    /// Whether root of the container may mount a file system that shows its namespace of this
    /// kind (sysfs, proc, mqueue, cgroup2): the kernel asks for rights in the user namespace that
    /// it belongs to.
    pub fn may_mount(&self, flag: u64) -> bool {
        if self.is_new(flag) {
            return true;
        }
        let shared = self.has(flag::USER) && !self.has(flag);
        !self.is_new(flag::USER) && !shared && self.foreign & flag == 0
    }

    /// Whether an ordinary user writes the group map itself: one id, which can only be its
    /// own. Any other needs newgidmap.
    pub fn maps_one_group(&self) -> bool {
        matches!(self.gid_map[..], [one] if one.size == 1)
    }

    /// Whether this kind is somebody else's, too: others may be in it already.
    pub fn joins(&self, flag: u64) -> bool {
        self.joined.iter().any(|joined| joined.flag == flag)
    }

    /// Whether a first process must prepare what the second is born into.
    ///
    /// - A user namespace, new or joined, beside joined ones: what belongs to the outer
    ///   user namespace must be joined before entering, what belongs to the inner one
    ///   must be made after.
    /// - A new time namespace takes its offsets only while nobody is in it
    ///   (time_namespaces(7)).
    ///
    /// With a joined pid namespace there is none: there the container's process is born last
    /// of all, when it is all that its peers may see.
    pub fn needs_stage(&self) -> bool {
        !self.joins(flag::PID) && self.needs_preparation()
    }

    /// Whether a process outside of them has to join and make namespaces one after the other.
    pub fn needs_preparation(&self) -> bool {
        self.is_new(flag::TIME) || (self.has(flag::USER) && !self.joined.is_empty())
    }

    /// Those that are made by the clone. The others are made by the child, in its script: when it
    /// is root of its user namespace, of the container's root alone, or when its cgroup is there.
    pub fn by_clone(&self, tree_namespace: bool, awaits_cgroup: bool) -> u64 {
        if self.needs_preparation() {
            return 0;
        }
        let later = [
            // Who makes it owns its message queues.
            (flag::IPC, self.is_new(flag::USER)),
            (flag::MOUNT, tree_namespace),
            (flag::CGROUP, awaits_cgroup),
        ];
        later.into_iter().fold(self.new, |new, (flag, later)| if later { new & !flag } else { new })
    }

    /// Whether the container's process is born in its new user namespace, by a parent who has
    /// rights outside of it.
    pub fn are_born_in_user(&self) -> bool {
        self.is_new(flag::USER) && !self.needs_preparation()
    }
}

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

/// The user namespace last but for the mount namespace: leaving the old one early would
/// lose the right to join the others, and after the mount namespace no path of the host
/// is left.
pub(super) fn join_order(flag: u64) -> u8 {
    match flag {
        flag::MOUNT => 2,
        flag::USER => 1,
        _ => 0,
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

/// The name of a namespace kind, as files below /proc/PID/ns are called.
pub fn name_of(flag: u64) -> &'static str {
    match flag {
        flag::MOUNT => "mnt",
        flag::CGROUP => "cgroup",
        flag::UTS => "uts",
        flag::IPC => "ipc",
        flag::USER => "user",
        flag::PID => "pid",
        flag::NET => "net",
        _ => "time",
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
