//! Flags, the listener, and what is refused.

use oci_spec::runtime::{Arch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator};

use super::*;

#[test]
fn unknown_names_are_told_of_in_deny_lists_only() {
    let notices = |default: &str, action: &str| {
        let profile = json!({"defaultAction": default,
            "syscalls": [{"names": ["vm86", "s390_nothing"], "action": action}]});
        let mut notices = Vec::new();
        compile(&serde_json::from_value(profile).unwrap(), TargetArch::x86_64, &mut notices)
            .unwrap();
        notices
    };
    assert!(notices("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW").is_empty());
    assert!(notices("SCMP_ACT_ALLOW", "SCMP_ACT_ALLOW").is_empty());
    assert_eq!(
        notices("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"),
        ["linux.seccomp.syscalls[0].names[1] \"s390_nothing\": unknown system call, \
          SCMP_ACT_ERRNO has no effect"]
    );
}

#[test]
fn flags_become_bits() {
    let flags = |flags: Value, action: &str| {
        compiled(json!({"defaultAction": action, "listenerPath": "/agent", "flags": flags})).flags
    };
    let of = |name: &str| json!([format!("SECCOMP_FILTER_FLAG_{name}")]);
    assert_eq!(flags(Value::Null, "SCMP_ACT_ALLOW"), 4);
    assert_eq!(flags(json!([]), "SCMP_ACT_ALLOW"), 0);
    assert_eq!(flags(of("TSYNC"), "SCMP_ACT_ALLOW"), 0);
    assert_eq!(flags(of("LOG"), "SCMP_ACT_ALLOW"), 2);
    assert_eq!(flags(of("SPEC_ALLOW"), "SCMP_ACT_ALLOW"), 4);
    assert_eq!(flags(of("WAIT_KILLABLE_RECV"), "SCMP_ACT_NOTIFY"), 8 | 32);
    assert_eq!(flags(of("TSYNC"), "SCMP_ACT_NOTIFY"), 8);
}

#[test]
fn notify_needs_a_listener_and_may_be_for_any_call() {
    let profile = |rest: Value| {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m",
            "syscalls": [{"names": ["write", "sendmsg", "close"], "action": "SCMP_ACT_NOTIFY"}]});
        profile.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        profile
    };
    let filter = compiled(profile(json!({"listenerPath": "/run/agent"})));
    assert!(filter.notify);
    assert_eq!(filter.listener_path.as_deref(), Some("/run/agent".as_ref()));
    assert_eq!(filter.listener_metadata.as_deref(), Some("m"));
    assert_eq!(ask(&filter, X86_64, 1, &[]).word, NOTIFY);

    let unused = compiled(profile(json!({"listenerPath": "/run/agent", "syscalls": []})));
    assert_eq!((unused.notify, unused.listener_path), (false, None));

    assert_eq!(
        refused(profile(json!({}))),
        [
            "linux.seccomp.listenerPath: missing, but SCMP_ACT_NOTIFY is used: name the socket of the agent",
            "linux.seccomp.listenerMetadata \"m\": must not be set without listenerPath",
        ]
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let eq = |index| json!({"index": index, "value": 0, "op": "SCMP_CMP_EQ"});
    let profile = json!({
    "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1,
    "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99999},
        {"names": [], "action": "SCMP_ACT_LOG"},
        {"names": ["read", ""], "action": "SCMP_ACT_LOG", "errnoRet": 0},
        {"names": ["read"], "action": "SCMP_ACT_LOG", "args": [eq(5), eq(7)]},
        {"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536},
    ]});
    assert_eq!(
        refused(profile),
        [
            "linux.seccomp.defaultErrnoRet 1: SCMP_ACT_ALLOW takes no errno",
            "linux.seccomp.syscalls[0].errnoRet 99999: an errno is at most 4095",
            "linux.seccomp.syscalls[1].names: must contain at least one entry",
            "linux.seccomp.syscalls[2].errnoRet 0: SCMP_ACT_LOG takes no errno",
            "linux.seccomp.syscalls[2].names[1] \"\": is no name of a system call",
            "linux.seccomp.syscalls[3].args[1].index 7: a system call has arguments 0 to 5",
            "linux.seccomp.syscalls[4].errnoRet 65536: a tracer is told at most 65535",
            "linux.seccomp.flags[1] \"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\": needs a rule or \
             default with SCMP_ACT_NOTIFY",
        ]
    );
}

#[test]
fn a_filter_too_long_for_the_kernel_is_refused_with_its_length() {
    let rules: Vec<_> = (0..5000)
        .map(|value| {
            json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]})
        })
        .collect();
    let reasons = refused(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].starts_with("linux.seccomp.syscalls: the filter needs "), "{reasons:?}");
    assert!(reasons[0].contains("the kernel takes 4096 (BPF_MAXINSNS)"), "{reasons:?}");
}

#[test]
fn the_lists_for_features_are_what_the_specification_types_take() {
    assert!(ACTIONS.iter().all(|name| name.parse::<LinuxSeccompAction>().is_ok()));
    assert!(OPERATORS.iter().all(|name| name.parse::<LinuxSeccompOperator>().is_ok()));
    assert!(ARCHS.iter().all(|name| name.parse::<Arch>().is_ok()));
    assert!(FLAGS.iter().all(|name| name.parse::<LinuxSeccompFilterFlag>().is_ok()));
}
