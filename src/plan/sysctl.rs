//! `linux.sysctl`: only those that belong to a namespace of the container.

use oci_spec::runtime::Spec;

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::namespaces::{Namespaces, flag};
use crate::model::sysctl::Sysctl;

/// Settings of the IPC namespace that do not start with `fs.mqueue.`.
const IPC: &[&str] = &[
    "kernel/auto_msgmni",
    "kernel/msg_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// Reads `linux.sysctl`, sorted by name so that order and errors are the same each time.
pub fn plan(spec: &Spec, namespaces: &Namespaces, findings: &mut Findings) -> Vec<Sysctl> {
    let Some(given) = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) else {
        return Vec::new();
    };
    let field = Field::of("linux.sysctl");
    let mut sorted: Vec<_> = given.iter().collect();
    sorted.sort();
    let mut sysctls = Vec::new();
    for (name, value) in sorted {
        let at = field.key(name.clone());
        let path = slashed(name);
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            findings.refuse(&at, "not the name of a sysctl");
        } else if let Err(reason) = allowed(&path, namespaces, spec, value) {
            findings.refuse(&at, reason);
        } else if value.contains('\n') {
            findings.refuse_value(&at, value, "must be one line");
        } else {
            let path = findings.c_string(&at, format!("sys/{path}"));
            sysctls.push(Sysctl { path, value: value.clone().into_bytes(), field: at });
        }
    }
    sysctls
}

/// The path of a name. As in sysctl(8) the first separator decides: in a name with dots
/// a slash stands for a dot (`net.ipv4.conf.eth0/1.forwarding`), and the other way round.
fn slashed(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name.as_bytes()[first] == b'.' => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn allowed(path: &str, namespaces: &Namespaces, spec: &Spec, value: &str) -> Result<(), String> {
    let needs = |flag: u64, name: &str| {
        if namespaces.has(flag) {
            Ok(())
        } else {
            Err(format!("needs the container's own {name} namespace in linux.namespaces"))
        }
    };
    match path {
        _ if IPC.contains(&path) || path.starts_with("fs/mqueue/") => needs(flag::IPC, "ipc"),
        _ if path.starts_with("net/") => needs(flag::NET, "network"),
        _ if path.starts_with("user/") => needs(flag::USER, "user"),
        "kernel/domainname" | "kernel/hostname" => {
            let (key, name) = match path {
                "kernel/hostname" => ("hostname", spec.hostname()),
                _ => ("domainname", spec.domainname()),
            };
            match name.as_deref().filter(|name| !name.is_empty()) {
                Some(name) if name != value => Err(format!("contradicts {key}")),
                _ => needs(flag::UTS, "uts"),
            }
        }
        _ => Err("not in a namespace of the container: it would change the host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(sysctl: &str, new: u64) -> Result<Vec<Sysctl>, String> {
        let text = format!(r#"{{"ociVersion":"1.3.0","linux":{{"sysctl":{{{sysctl}}}}}}}"#);
        let spec: Spec = serde_json::from_str(&text).expect("a spec");
        let namespaces = Namespaces { new, ..Namespaces::default() };
        let mut findings = Findings::default();
        let sysctls = plan(&spec, &namespaces, &mut findings);
        match findings.violations.first() {
            Some(violation) => Err(violation.to_string()),
            None => Ok(sysctls),
        }
    }

    #[test]
    fn a_sysctl_needs_the_namespace_it_belongs_to() {
        assert!(planned(r#""net.ipv4.ip_forward":"1""#, flag::NET).is_ok());
        assert!(planned(r#""net/ipv4/ip_forward":"1""#, flag::NET).is_ok());
        assert!(planned(r#""net.ipv4.ip_forward":"1""#, 0).is_err());
        assert!(planned(r#""kernel.shmmax":"1""#, flag::IPC).is_ok());
        assert!(planned(r#""kernel.shmmax":"1""#, flag::NET).is_err());
        assert!(planned(r#""vm.swappiness":"1""#, !0).is_err());
        assert!(planned(r#""kernel.core_pattern":"|/x""#, !0).is_err());
    }

    #[test]
    fn a_name_of_the_host_is_said_once() {
        let refused = |key: &str, sysctl: &str| {
            let text = format!(
                r#"{{"ociVersion":"1.3.0","{key}":"here","linux":{{"sysctl":{{{sysctl}}}}}}}"#
            );
            let spec: Spec = serde_json::from_str(&text).expect("a spec");
            let namespaces = Namespaces { new: flag::UTS, ..Namespaces::default() };
            let mut findings = Findings::default();
            plan(&spec, &namespaces, &mut findings);
            findings.violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("")
        };
        for key in ["hostname", "domainname"] {
            assert_eq!(refused(key, &format!(r#""kernel.{key}":"here""#)), "");
            let other = refused(key, &format!(r#""kernel.{key}":"there""#));
            assert!(other.contains(&format!("contradicts {key}")), "{other}");
        }
        assert_eq!(refused("hostname", r#""kernel.domainname":"there""#), "");
        assert!(planned(r#""kernel.hostname":"there""#, flag::UTS).is_ok());
    }

    #[test]
    fn a_name_cannot_climb() {
        for name in ["", "net.ipv4.../../vm.swappiness", "net/../../../etc/x", "net/./x", "net//x"]
        {
            assert!(planned(&format!(r#""{name}":"1""#), !0).is_err(), "{name}");
        }
    }

    #[test]
    fn a_dot_in_an_interface_is_written_as_a_slash() {
        let sysctls = planned(r#""net.ipv4.conf.eth0/1.forwarding":"1""#, flag::NET).expect("one");
        assert_eq!(sysctls[0].path.as_c_str(), c"sys/net/ipv4/conf/eth0.1/forwarding");
    }
}
