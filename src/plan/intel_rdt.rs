//! `linux.intelRdt`: the group of the resctrl file system in which the container runs
//! (config-linux.md, "IntelRdt"; the kernel's arch/x86/resctrl).

use oci_spec::runtime::Spec;

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::intel_rdt::{IntelRdt, Schema};

/// Directories of every group, which cannot be groups themselves.
const RESERVED: &[&str] = &[".", "..", "info", "mon_data", "mon_groups"];

/// Reads `linux.intelRdt`.
pub fn plan(spec: &Spec, id: &str, findings: &mut Findings) -> Option<IntelRdt> {
    let given = spec.linux().as_ref()?.intel_rdt().as_ref()?;
    let field = Field::of("linux.intelRdt");
    let clos_id = given.clos_id().as_deref().filter(|name| !name.is_empty());
    let group = clos_id.unwrap_or(id);
    let wrong = group.contains(['/', '\n']) || RESERVED.contains(&group);
    if wrong && clos_id != Some("/") {
        findings.refuse_value(&field.key("closID"), group, "not the name of a resctrl group");
    }
    let mut schemas = Vec::new();
    if let Some(text) = given.l3_cache_schema().clone().filter(|text| !text.is_empty()) {
        schemas.push(Schema { text, field: field.key("l3CacheSchema") });
    }
    if let Some(text) = given.mem_bw_schema().clone().filter(|text| !text.is_empty()) {
        let at = field.key("memBwSchema");
        if !text.starts_with("MB:") || text.contains('\n') {
            findings.refuse_value(&at, &text, "must start with MB: and be one line");
        }
        schemas.push(Schema { text, field: at });
    }
    let lines = given.schemata().as_deref().unwrap_or_default();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.contains('\n')) {
        findings.refuse_value(&field.key("schemata").at(index), line, "must be one line");
    }
    let schemata = Schema { text: lines.join("\n"), field: field.key("schemata") };
    // Before 1.3 two flags meant parts of monitoring, which the hardware cannot part.
    #[allow(deprecated)]
    let flags = [*given.enable_monitoring(), *given.enable_cmt(), *given.enable_mbm()];
    Some(IntelRdt {
        group: group.trim_matches('/').to_owned(),
        named: clos_id.is_some(),
        schemas,
        schemata: (!lines.is_empty()).then_some(schemata),
        monitor: flags.contains(&Some(true)).then(|| id.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(rdt: &str) -> (Option<IntelRdt>, Vec<String>) {
        let text = format!(r#"{{"ociVersion":"1.3.0","linux":{{"intelRdt":{rdt}}}}}"#);
        let spec = serde_json::from_str(&text).expect("a spec");
        let mut findings = Findings::default();
        let rdt = plan(&spec, "box", &mut findings);
        (rdt, findings.violations.iter().map(|v| v.field.to_string()).collect())
    }

    #[test]
    fn a_group_has_the_name_given_or_that_of_the_container() {
        for (rdt, group, named, makes) in [
            ("{}", "box", false, true),
            (r#"{"closID":"gold"}"#, "gold", true, false),
            (r#"{"closID":"gold","l3CacheSchema":"L3:0=f"}"#, "gold", true, true),
            (r#"{"closID":"gold","schemata":["L3:0=f"]}"#, "gold", true, true),
            (r#"{"closID":"/"}"#, "", true, false),
        ] {
            let (plan, refused) = planned(rdt);
            let plan = plan.expect("a plan");
            assert!(refused.is_empty(), "{rdt}: {refused:?}");
            let found = (plan.group.as_str(), plan.named, plan.makes_group());
            assert_eq!(found, (group, named, makes), "{rdt}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        for (rdt, field) in [
            (r#"{"closID":"a/b"}"#, "linux.intelRdt.closID"),
            (r#"{"closID":".."}"#, "linux.intelRdt.closID"),
            (r#"{"closID":"mon_groups"}"#, "linux.intelRdt.closID"),
            (r#"{"memBwSchema":"L3:0=f"}"#, "linux.intelRdt.memBwSchema"),
            (r#"{"memBwSchema":"MB:0=1\nMB:1=2"}"#, "linux.intelRdt.memBwSchema"),
            (r#"{"schemata":["L3:0=f","a\nb"]}"#, "linux.intelRdt.schemata[1]"),
        ] {
            assert_eq!(planned(rdt).1, [field], "{rdt}");
        }
    }

    #[test]
    fn schemata_are_compared_by_their_values() {
        let current = "    MB:0=  20;1= 100\n    L3:0=07f0;1=001f\n";
        for (wanted, same) in [
            ("L3:0=7f0;1=1f", true),
            ("L3:1=1F", true),
            ("MB:0=20\nL3:0=7f0", true),
            ("MB:0=21", false),
            ("L2:0=f", false),
            ("nonsense", false),
        ] {
            assert_eq!(crate::model::intel_rdt::matches(current, wanted), same, "{wanted}");
        }
    }
}
