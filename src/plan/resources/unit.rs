//! `linux.cgroupsPath` for the systemd driver, `slice:prefix:name`: which unit.

use std::path::Path;

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::host::systemd::Instance;
use crate::model::unit::Unit;
use crate::model::unit::{ROOT_SLICE, SLICE, parent};

/// `UNIT_NAME_MAX` without the NUL.
const LONGEST: usize = 255;

pub(super) fn plan(
    asked: Option<&Path>,
    id: &str,
    instance: Instance,
    findings: &mut Findings,
) -> Unit {
    let field = Field::of("linux.cgroupsPath");
    let default = instance.default_slice();
    let asked = asked.map(Path::to_string_lossy).filter(|text| !text.is_empty());
    let Some(text) = asked else {
        return Unit { name: format!("rt-{}.scope", escape(id)), slice: default.to_owned() };
    };
    let parts: Vec<&str> = text.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        let reason =
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups";
        findings.refuse_value(&field, &text, reason);
        return Unit { name: String::new(), slice: String::new() };
    };
    let mut refuse = |reason: String| findings.refuse_value(&field, &text, reason);
    let slice = match slice {
        "" => default,
        "-" => ROOT_SLICE,
        slice => slice,
    };
    if let Err(reason) = check_slice(slice) {
        refuse(reason);
    }
    let unit = match name.ends_with(SLICE) {
        true => Unit { name: name.to_owned(), slice: parent(name).to_owned() },
        false => Unit { name: format!("{prefix}-{name}.scope"), slice: slice.to_owned() },
    };
    if unit.is_slice() {
        if let Err(reason) = check_slice(name) {
            refuse(reason);
        }
        if name == ROOT_SLICE {
            refuse("the root slice cannot be made".to_owned());
        }
    } else if name.is_empty() {
        refuse("has no name after the second colon".to_owned());
    }
    if !unit.name.bytes().all(is_valid) {
        refuse(format!("{:?} is not the name of a unit: see systemd.unit(5)", unit.name));
    }
    if unit.name.len() > LONGEST {
        refuse(format!("the name of the unit has over {LONGEST} bytes"));
    }
    unit
}

/// `a-b.slice`: names between dashes, of which none is empty (systemd.slice(5)).
fn check_slice(slice: &str) -> Result<(), String> {
    let wrong = || format!("invalid slice name: {slice}");
    let name = slice.strip_suffix(SLICE).ok_or_else(wrong)?;
    let good = name.bytes().all(is_valid) && !name.split('-').any(str::is_empty);
    if (good && slice.len() <= LONGEST) || slice == ROOT_SLICE { Ok(()) } else { Err(wrong()) }
}

/// `VALID_CHARS` of systemd's unit names.
fn is_valid(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte)
}

/// Ids may have bytes that names of units may not: as systemd-escape(1) writes them.
fn escape(id: &str) -> String {
    let escaped = |byte: u8| match byte {
        byte if is_valid(byte) && byte != b'\\' => char::from(byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    id.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_in_those_that_their_names_begin_with() {
        for (name, slice, path) in [
            ("p-n.scope", "system.slice", "system.slice/p-n.scope"),
            ("p-n.scope", "a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
            ("p-n.scope", ROOT_SLICE, "p-n.scope"),
            ("a-b.slice", "a.slice", "a.slice/a-b.slice"),
            // As systemd escapes what could be a file of the kernel.
            ("_x-n.scope", "system.slice", "system.slice/__x-n.scope"),
            ("memory.x-n.scope", "-.slice", "_memory.x-n.scope"),
            ("cgroup.x-n.scope", "-.slice", "_cgroup.x-n.scope"),
            ("memory-n.scope", "-.slice", "memory-n.scope"),
            ("memoryx.y-n.scope", "-.slice", "memoryx.y-n.scope"),
            ("p-n.scope", "pids.a-b.slice", "_pids.a.slice/_pids.a-b.slice/p-n.scope"),
        ] {
            let unit = Unit { name: name.to_owned(), slice: slice.to_owned() };
            assert_eq!(unit.cgroup(), path);
        }
    }

    fn planned(asked: &str, instance: Instance) -> (Unit, Vec<String>) {
        let mut findings = Findings::default();
        let unit = plan(Some(Path::new(asked)), "web+1", instance, &mut findings);
        (unit, findings.violations.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_are_made_of_prefix_and_name() {
        for (asked, name, slice) in [
            ("system.slice:docker:abc", "docker-abc.scope", "system.slice"),
            (":rt:abc", "rt-abc.scope", "system.slice"),
            ("::abc", "-abc.scope", "system.slice"),
            ("-:p:n", "p-n.scope", "-.slice"),
            ("-.slice:p:n", "p-n.scope", "-.slice"),
            ("kube-pods-burst.slice:cri:1", "cri-1.scope", "kube-pods-burst.slice"),
            ("x.slice:p:a-b.slice", "a-b.slice", "a.slice"),
            ("::a.slice", "a.slice", "-.slice"),
            ("", r"rt-web\x2b1.scope", "system.slice"),
        ] {
            let unit = Unit { name: name.into(), slice: slice.into() };
            assert_eq!(planned(asked, Instance::System), (unit, vec![]), "{asked}");
        }
        assert_eq!(planned(":p:n", Instance::User).0.slice, "user.slice");
        assert_eq!(planned("", Instance::User).0.slice, "user.slice");
        assert!(planned("::a.slice", Instance::System).0.is_slice());
    }

    #[test]
    fn what_names_no_unit_is_refused() {
        for (asked, reason) in [
            ("/docker/abc", "expected cgroupsPath to be of format \"slice:prefix:name\""),
            ("a.slice:b", "slice:prefix:name"),
            ("a.slice:b:c:d", "slice:prefix:name"),
            ("a:b:c", "invalid slice name: a"),
            ("a/b.slice:b:c", "invalid slice name: a/b.slice"),
            ("-a.slice:b:c", "invalid slice name"),
            ("a--b.slice:b:c", "invalid slice name"),
            ("a-.slice:b:c", "invalid slice name"),
            (".slice:b:c", "invalid slice name"),
            ("::-.slice", "root slice"),
            ("::a--b.slice", "invalid slice name"),
            (":b:", "has no name"),
            (":b:c/d", "not the name of a unit"),
            (":b:c d", "not the name of a unit"),
            (":b:..\n", "not the name of a unit"),
            (&format!("::{}", "x".repeat(249)), "over 255"),
        ] {
            let reasons = planned(asked, Instance::System).1;
            assert!(reasons.iter().any(|found| found.contains(reason)), "{asked}: {reasons:?}");
        }
    }
}
