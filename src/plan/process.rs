//! The program: arguments, environment, working directory, where it is looked for.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::Process as SpecProcess;

use super::creds::{self};
use super::limits::{self};
use super::paths;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::host::lsm;
use crate::model::process::{DEFAULT_PATH, Process};

/// Reads `process`. `extra_env` comes after that of the configuration.
pub fn plan(process: &SpecProcess, extra_env: &[String], findings: &mut Findings) -> Process {
    let field = Field::of("process");
    let args = args(process, &field.key("args"), findings);
    let mut env = env(process, extra_env, &field.key("env"), findings);
    // An empty HOME is none: login(1) and the shells leave nothing to expand `~` to.
    env.retain(|entry| entry.to_bytes() != b"HOME=");
    let path = env.iter().rev().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let path = path.unwrap_or(DEFAULT_PATH.as_bytes());
    let label = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
    Process {
        candidates: args.first().map(|name| candidates(name, path)).unwrap_or_default(),
        cwd: cwd(process, &field.key("cwd"), findings),
        wants_home: !env.iter().any(|entry| entry.to_bytes().starts_with(b"HOME=")),
        terminal: process.terminal().unwrap_or(false),
        console_size: console_size(process, &field.key("consoleSize"), findings),
        creds: creds::plan(process, findings),
        limits: limits::plan(process, findings),
        // Where AppArmor is not at work everything is unconfined.
        apparmor: label(process.apparmor_profile())
            .filter(|profile| profile != "unconfined" || lsm::apparmor()),
        selinux: label(process.selinux_label()),
        args,
        env,
    }
}

fn args(process: &SpecProcess, field: &Field, findings: &mut Findings) -> Vec<CString> {
    let given = process.args().as_deref().unwrap_or_default();
    if given.is_empty() {
        findings.refuse(field, "must name a program to start");
    } else if given[0].is_empty() {
        findings.refuse_value(&field.at(0), "", "must name a program to start");
    } else {
        paths::path(&field.at(0), Path::new(&given[0]), findings);
    }
    findings.exec_strings(field, given.iter().enumerate())
}

fn env(
    process: &SpecProcess,
    extra: &[String],
    field: &Field,
    findings: &mut Findings,
) -> Vec<CString> {
    let given = process.env().as_deref().unwrap_or_default();
    findings.check_environment(field, given);
    // The last one of a name counts.
    let mut names = BTreeSet::new();
    let all = given.iter().enumerate().chain(extra.iter().map(|entry| (given.len(), entry)));
    let mut kept: Vec<_> = all.collect();
    kept.reverse();
    kept.retain(|(_, entry)| names.insert(entry.split('=').next()));
    findings.exec_strings(field, kept.into_iter().rev())
}

/// A name with a slash is a path; any other is looked for in PATH, where an empty part
/// means the working directory, as for a shell.
fn candidates(name: &CString, path: &[u8]) -> Vec<CString> {
    let name = name.to_bytes();
    if name.contains(&b'/') {
        return CString::new(name).into_iter().collect();
    }
    let join = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        CString::new([directory, b"/", name].concat()).ok()
    };
    path.split(|byte| *byte == b':').filter_map(join).collect()
}

fn cwd(process: &SpecProcess, field: &Field, findings: &mut Findings) -> CString {
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        findings.refuse_value(field, cwd, "must be an absolute path");
    }
    paths::path(field, cwd, findings);
    // CVE-2024-21626: a descriptor of the host, if one leaked, would be reached this way.
    if cwd.starts_with("/proc/self/fd") || cwd.starts_with("/proc/thread-self/fd") {
        findings.refuse_value(field, cwd, "must not be a descriptor of the runtime");
    }
    findings.c_string(field, cwd.as_os_str().as_bytes())
}

fn console_size(
    process: &SpecProcess,
    field: &Field,
    findings: &mut Findings,
) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    let mut side = |key: &'static str, value: u64| {
        u16::try_from(value).unwrap_or_else(|_| {
            findings.refuse_value(&field.key(key), value, "must be at most 65535");
            0
        })
    };
    let size = (side("height", size.height()), side("width", size.width()));
    // 0 by 0 is what engines send when they do not know; config.md ignores the size of
    // a process without a terminal.
    (size != (0, 0) && process.terminal().unwrap_or(false)).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(process: &str) -> (Process, Vec<String>) {
        let text = format!(r#"{{"user":{{"uid":0,"gid":0}},{process}}}"#);
        let process = serde_json::from_str(&text).expect("a process");
        let mut findings = Findings::default();
        let planned = plan(&process, &["LISTEN_PID=1".to_owned()], &mut findings);
        (planned, findings.violations.iter().map(|v| v.field.to_string()).collect())
    }

    #[test]
    fn programs_are_looked_for_in_the_path_of_the_container() {
        let (process, _) = planned(r#""cwd":"/","args":["sh"],"env":["PATH=/a::/b","A=1"]"#);
        let candidates: Vec<_> =
            process.candidates.iter().map(|c| c.to_str().unwrap_or("")).collect();
        assert_eq!(candidates, ["/a/sh", "./sh", "/b/sh"]);
        let (process, _) = planned(r#""cwd":"/","args":["./sh"]"#);
        assert_eq!(process.candidates, [c"./sh".to_owned()]);
    }

    #[test]
    fn the_last_of_two_values_wins_and_the_order_stays() {
        let (process, refused) = planned(r#""cwd":"/","args":["x"],"env":["A=1","HOME=/","A=2"]"#);
        assert!(refused.is_empty() && !process.wants_home);
        let env: Vec<_> = process.env.iter().map(|e| e.to_str().unwrap_or("")).collect();
        assert_eq!(env, ["HOME=/", "A=2", "LISTEN_PID=1"]);
    }

    #[test]
    fn every_bad_process_field_is_named() {
        for (process, field) in [
            (r#""cwd":"/","args":[]"#, "process.args"),
            (r#""cwd":"/","args":[""]"#, "process.args[0]"),
            (r#""cwd":"x","args":["a"]"#, "process.cwd"),
            (r#""cwd":"/proc/self/fd/7","args":["a"]"#, "process.cwd"),
            (r#""cwd":"/","args":["a"],"env":["HOSTVAR"]"#, "process.env[0]"),
            (r#""cwd":"/","args":["a"],"env":["=x"]"#, "process.env[0]"),
        ] {
            assert_eq!(planned(process).1, [field], "{process}");
        }
    }
}
