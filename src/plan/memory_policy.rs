//! `linux.memoryPolicy`: on which memory nodes the processes get their memory.

use oci_spec::runtime::{LinuxMemoryPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Spec};

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::memory_policy::MemoryPolicy;
use crate::model::ranges;

/// More memory nodes than any kernel is built for (`MAX_NUMNODES`).
const MAX_NODES: usize = 1024;

/// Reads `linux.memoryPolicy`.
pub fn plan(spec: &Spec, findings: &mut Findings) -> Option<MemoryPolicy> {
    let given = spec.linux().as_ref()?.memory_policy().as_ref()?;
    let field = Field::of("linux.memoryPolicy");
    let list = given.nodes().as_deref().unwrap_or_default();
    let at = field.key("nodes");
    let nodes = match list {
        "" => Vec::new(),
        list => ranges::mask(list, MAX_NODES).unwrap_or_else(|reason| {
            findings.refuse_value(&at, list, format!("invalid memory policy node: {reason}"));
            Vec::new()
        }),
    };
    let count = nodes.iter().map(|word| word.count_ones()).sum();
    check_nodes(given, list, count, &at, findings);
    let flags = flags(given, &field.key("flags"), findings);
    Some(MemoryPolicy { mode: mode(given.mode()) | flags, nodes })
}

/// Numbers of `linux/mempolicy.h`.
fn mode(mode: MemoryPolicyModeType) -> u32 {
    use MemoryPolicyModeType as M;
    match mode {
        M::MpolDefault => 0,
        M::MpolPreferred => 1,
        M::MpolBind => 2,
        M::MpolInterleave => 3,
        M::MpolLocal => 4,
        M::MpolPreferredMany => 5,
        M::MpolWeightedInterleave => 6,
    }
}

/// Which modes have nodes (set_mempolicy(2)).
fn check_nodes(
    given: &LinuxMemoryPolicy,
    list: &str,
    count: u32,
    field: &Field,
    findings: &mut Findings,
) {
    use MemoryPolicyModeType as M;
    match (given.mode(), list) {
        (M::MpolPreferred, _) | (M::MpolDefault | M::MpolLocal, "") => {}
        (M::MpolDefault | M::MpolLocal, _) if count == 0 => {} // the list is wrong in itself
        (mode @ (M::MpolDefault | M::MpolLocal), list) => {
            let reason = format!("{mode} mode requires 0 nodes but got {count}");
            findings.refuse_value(field, list, reason);
        }
        (mode, "") => findings.refuse(field, format!("{mode} needs at least one node")),
        _ => {}
    }
}

fn flags(given: &LinuxMemoryPolicy, field: &Field, findings: &mut Findings) -> u32 {
    use MemoryPolicyFlagType as F;
    let flags = given.flags().as_deref().unwrap_or_default();
    let bit = |flag: &F| match flag {
        F::MpolFNumaBalancing => 1 << 13,
        F::MpolFRelativeNodes => 1 << 14,
        F::MpolFStaticNodes => 1 << 15,
    };
    let bits = flags.iter().fold(0, |bits, flag| bits | bit(flag));
    if bits & (3 << 14) == 3 << 14 {
        let reason = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        findings.refuse(field, reason);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(policy: &str) -> (Option<MemoryPolicy>, Vec<String>) {
        let text = format!(r#"{{"ociVersion":"1.3.0","linux":{{"memoryPolicy":{policy}}}}}"#);
        let spec = serde_json::from_str(&text).expect("a spec");
        let mut findings = Findings::default();
        let policy = plan(&spec, &mut findings);
        (policy, findings.violations.iter().map(|v| v.field.to_string()).collect())
    }

    #[test]
    fn modes_flags_and_nodes_become_numbers() {
        for (policy, mode, nodes) in [
            (r#"{"mode":"MPOL_DEFAULT"}"#, 0, vec![]),
            (r#"{"mode":"MPOL_LOCAL","nodes":""}"#, 4, vec![]),
            (r#"{"mode":"MPOL_PREFERRED"}"#, 1, vec![]),
            (r#"{"mode":"MPOL_BIND","nodes":"0-1"}"#, 2, vec![3]),
            (
                r#"{"mode":"MPOL_WEIGHTED_INTERLEAVE","nodes":"64","flags":["MPOL_F_STATIC_NODES"]}"#,
                0x8006,
                vec![0, 1],
            ),
        ] {
            assert_eq!(planned(policy), (Some(MemoryPolicy { mode, nodes }), vec![]), "{policy}");
        }
    }

    #[test]
    fn what_the_kernel_would_refuse_is_named() {
        for (policy, field) in [
            (r#"{"mode":"MPOL_LOCAL","nodes":"0"}"#, "linux.memoryPolicy.nodes"),
            (r#"{"mode":"MPOL_DEFAULT","nodes":"0"}"#, "linux.memoryPolicy.nodes"),
            (r#"{"mode":"MPOL_BIND"}"#, "linux.memoryPolicy.nodes"),
            (r#"{"mode":"MPOL_BIND","nodes":"3-1"}"#, "linux.memoryPolicy.nodes"),
            (r#"{"mode":"MPOL_BIND","nodes":"1024"}"#, "linux.memoryPolicy.nodes"),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]}"#,
                "linux.memoryPolicy.flags",
            ),
        ] {
            assert_eq!(planned(policy).1, [field], "{policy}");
        }
    }
}
