//! Hooks: which programs run at which point of a container's life (config.md, "POSIX-platform
//! Hooks"). Whether the programs are there is asked at create, in [`crate::runtime::hooks`].

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use oci_spec::runtime::{Hook as SpecHook, Hooks as SpecHooks};

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::hooks::{Hook, Hooks, Kind};

/// Reads `hooks`.
pub fn plan(hooks: Option<&SpecHooks>, findings: &mut Findings) -> Hooks {
    let Some(hooks) = hooks else { return Hooks::default() };
    let mut list = |kind: Kind, given: &Option<Vec<SpecHook>>| {
        let field = Field::of("hooks").key(kind.key());
        let given = given.iter().flatten().enumerate();
        given.map(|(index, hook)| plan_hook(hook, field.at(index), findings)).collect()
    };
    // Engines still write prestart: the NVIDIA toolkit in its legacy mode, for one.
    #[allow(deprecated)]
    let prestart = hooks.prestart();
    Hooks {
        prestart: list(Kind::Prestart, prestart),
        create_runtime: list(Kind::CreateRuntime, hooks.create_runtime()),
        create_container: list(Kind::CreateContainer, hooks.create_container()),
        start_container: list(Kind::StartContainer, hooks.start_container()),
        poststart: list(Kind::Poststart, hooks.poststart()),
        poststop: list(Kind::Poststop, hooks.poststop()),
    }
}

fn plan_hook(hook: &SpecHook, field: Field, findings: &mut Findings) -> Hook {
    let path_field = field.key("path");
    if !hook.path().is_absolute() {
        findings.refuse_value(&path_field, hook.path(), "must be an absolute path");
    }
    let path = findings.exec_string(&path_field, hook.path().as_os_str().as_bytes());
    let args = match hook.args().as_deref().unwrap_or_default() {
        [] => vec![path.clone()],
        given => findings.exec_strings(&field.key("args"), given.iter().enumerate()),
    };
    let env_field = field.key("env");
    let given = hook.env().as_deref().unwrap_or_default();
    findings.check_environment(&env_field, given);
    let env = findings.exec_strings(&env_field, given.iter().enumerate());
    let timeout = hook.timeout().and_then(|seconds| match u64::try_from(seconds) {
        Ok(seconds @ 1..) => Some(Duration::from_secs(seconds)),
        _ => {
            let reason = "must be greater than zero, in seconds";
            findings.refuse_value(&field.key("timeout"), seconds, reason);
            None
        }
    });
    Hook { path, args, env, timeout, field }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(json: &str) -> (Hooks, Vec<String>) {
        let hooks = serde_json::from_str(json).expect("hooks");
        let mut findings = Findings::default();
        let hooks = plan(Some(&hooks), &mut findings);
        (hooks, findings.violations.iter().map(|v| v.field.to_string()).collect())
    }

    #[test]
    fn a_hook_has_its_own_environment_and_nothing_else() {
        let (hooks, refused) = planned(
            r#"{"createRuntime":[{"path":"/a"},{"path":"/b","args":["b","1"],"env":["A=1","B="],"timeout":3}]}"#,
        );
        assert!(refused.is_empty(), "{refused:?}");
        let [first, second] = &hooks.create_runtime[..] else { panic!("two hooks") };
        assert_eq!((&first.args[..], &first.env[..]), (&[c"/a".to_owned()][..], &[][..]));
        assert_eq!(first.timeout, None);
        assert_eq!(second.env, [c"A=1".to_owned(), c"B=".to_owned()]);
        assert_eq!(second.timeout, Some(Duration::from_secs(3)));
        assert_eq!(second.field.to_string(), "hooks.createRuntime[1]");
    }

    #[test]
    fn every_kind_is_read_under_its_own_key() {
        for kind in Kind::ALL {
            let (hooks, refused) = planned(&format!(r#"{{"{kind}":[{{"path":"/{kind}"}}]}}"#));
            assert!(refused.is_empty() && !hooks.is_empty());
            let paths: Vec<_> = hooks.of(kind).iter().map(|hook| hook.path.to_bytes()).collect();
            assert_eq!(paths, [format!("/{kind}").as_bytes()]);
        }
        assert!(planned(r#"{"poststop":[]}"#).0.is_empty());
    }

    #[test]
    fn every_bad_field_is_named() {
        for (hook, field) in [
            (r#""path":"bin/x""#, "path"),
            (r#""path":"""#, "path"),
            (r#""path":"/x\u0000y""#, "path"),
            (r#""path":"/x","timeout":0"#, "timeout"),
            (r#""path":"/x","timeout":-1"#, "timeout"),
            (r#""path":"/x","env":["A=1","HOSTVAR"]"#, "env[1]"),
            (r#""path":"/x","env":["=1"]"#, "env[0]"),
            (r#""path":"/x","args":["x","a\u0000b"]"#, "args[1]"),
            (&format!(r#""path":"/{}""#, "x".repeat(131_072)), "path"),
        ] {
            let (_, refused) = planned(&format!(r#"{{"poststart":[{{{hook}}}]}}"#));
            assert_eq!(refused, [format!("hooks.poststart[0].{field}")], "{hook}");
        }
    }
}
