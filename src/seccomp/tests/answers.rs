//! What the filter answers.

use super::*;

/// Arguments, and whether the condition holds for them.
type Outcomes<'a> = &'a [(u64, bool)];

#[test]
fn the_default_profile_of_docker_answers_as_under_runc() {
    let filter = compiled(moby());
    let cases: &[(u32, u32, &[u64], u32)] = &[
        (X86_64, 0, &[], ALLOW),
        (X86_64, 101, &[], ALLOW),
        (X86_64, 165, &[], EPERM),
        (X86_64, 435, &[], ENOSYS),
        (X86_64, 56, &[0x11], ALLOW),
        (X86_64, 56, &[0x1000_0011], EPERM),
        (X86_64, 41, &[2], ALLOW),
        (X86_64, 41, &[40], EPERM),
        (X86_64, 41, &[0x1_0000_0028], ALLOW),
        (X86_64, 135, &[0], ALLOW),
        (X86_64, 135, &[0x20008], ALLOW),
        (X86_64, 135, &[0xffff_ffff], ALLOW),
        (X86_64, 135, &[u64::MAX], EPERM),
        (X86_64, 135, &[9], EPERM),
        (X86_64, 469, &[], ENOSYS),
        (X86_64, 520, &[], ENOSYS),
        (X86_64, 0x3fff_ffff, &[], ENOSYS),
        (X86_64, X32, &[], ALLOW),
        (X86_64, X32 | 59, &[], EPERM),
        (X86_64, X32 | 520, &[], ALLOW),
        (X86_64, X32 | 528, &[], EPERM),
        (X86_64, X32 | 548, &[], ENOSYS),
        (I386, 3, &[], ALLOW),
        (I386, 102, &[1], ALLOW),
        (I386, 21, &[], EPERM),
        (I386, 120, &[0x1000_0011], EPERM),
        (AARCH64, 63, &[], KILL_PROCESS),
    ];
    for (arch, nr, args, word) in cases {
        assert_eq!(ask(&filter, *arch, *nr, args).word, *word, "{arch:#x} {nr:#x} {args:x?}");
    }
    assert_eq!((filter.flags, filter.notify), (libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, false));
}

/// docs/seccomp.md has the same figures for libseccomp.
#[test]
fn the_default_profile_of_docker_is_short_and_flat() {
    let filter = compiled(moby());
    interpreter::check(&filter.program);
    assert!(filter.program.len() <= 325, "{} instructions", filter.program.len());
    for (arch, base, most, mean) in
        [(X86_64, 0, 15, 10.6), (X86_64, X32, 17, 13.0), (I386, 0, 17, 12.1)]
    {
        let counts = (0..457).map(|nr| ask(&filter, arch, base | nr, &[2]).executed);
        let (sum, max) = counts.fold((0, 0), |(sum, max), n| (sum + n, n.max(max)));
        assert!(max <= most, "{arch:#x} {base:#x}: at most {max} instructions");
        assert!(
            sum as f64 / 457.0 <= mean,
            "{arch:#x} {base:#x}: {sum} instructions for 457 calls"
        );
    }
}

/// libseccomp 2.5.4 needs 2,968 instructions.
#[test]
fn equal_conditions_of_several_tables_are_one_piece_of_code() {
    let equal = |index, value| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let rules: Vec<_> = (0..500)
        .map(|value| {
            json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
                "args": [equal(1, value), equal(2, 1000 + value)]})
        })
        .collect();
    let compiled = |count: usize| {
        compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules[..count],
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}))
    };
    assert!(compiled(294).program.len() <= 3267, "as fast as ever, if it fits");
    let filter = compiled(500);
    interpreter::check(&filter.program);
    assert!(filter.program.len() <= 3500, "{} instructions", filter.program.len());
    for (arch, nr, wide) in [(X86_64, IOCTL, true), (X86_64, X32 | 514, false), (I386, 54, false)] {
        let word = |args: &[u64]| ask(&filter, arch, nr, args).word;
        assert_eq!(word(&[0, 499, 1499]), ALLOW);
        assert_eq!(word(&[0, 499, 1498]), EPERM);
        assert_eq!(word(&[0, 0x1_0000_01f3, 1499]), if wide { EPERM } else { ALLOW });
        assert_eq!(word(&[0, 499, 0x1_0000_05db]), if wide { EPERM } else { ALLOW });
    }
}

/// Else the kernel's bitmap of allowed calls stays empty.
#[test]
fn only_calls_with_conditions_look_at_arguments() {
    let filter = compiled(moby());
    for nr in 0..600 {
        let conditional = [41, 56, 135].contains(&nr);
        let verdict = ask(&filter, X86_64, nr, &[]);
        assert_eq!(verdict.constant, !conditional, "{nr}");
        let constant = emit::constant(&filter.program, X86_64, nr);
        assert_eq!(constant, (!conditional).then_some(verdict.word), "{nr}");
    }
    assert_eq!(filter.answer(TargetArch::x86_64, "execve"), Some(ALLOW));
    assert_eq!(filter.answer(TargetArch::x86_64, "mount"), Some(EPERM));
    assert_eq!(filter.answer(TargetArch::x86_64, "clone"), None);
}

#[test]
fn every_action_has_its_return_word() {
    let cases = [
        ("KILL", KILL_THREAD),
        ("KILL_THREAD", KILL_THREAD),
        ("KILL_PROCESS", KILL_PROCESS),
        ("TRAP", TRAP),
        ("ERRNO", EPERM),
        ("TRACE", 0x7ff0_0001),
        ("LOG", LOG),
        ("NOTIFY", NOTIFY),
    ];
    for (name, word) in cases {
        let action = format!("SCMP_ACT_{name}");
        let rule = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent",
            "syscalls": [{"names": ["getppid"], "action": action}]});
        assert_eq!(ask(&compiled(rule), X86_64, GETPPID, &[]).word, word, "{name}");
        let default = json!({"defaultAction": action, "listenerPath": "/agent",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]});
        assert_eq!(ask(&compiled(default), X86_64, GETPPID, &[]).word, word, "{name} by default");
    }
}

#[test]
fn errno_is_that_of_the_rule_or_of_the_default() {
    let filter = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
    "syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4095},
        {"names": ["ioctl"], "action": "SCMP_ACT_TRACE", "errnoRet": 0xffff},
        {"names": ["close_range"], "action": "SCMP_ACT_ERRNO"},
    ]}));
    let word = |nr| ask(&filter, X86_64, nr, &[]).word;
    assert_eq!(word(GETPPID), errno(4095));
    assert_eq!(word(IOCTL), 0x7ff0_ffff);
    assert_eq!(word(436), EPERM);
    assert_eq!(word(0), errno(13));
}

#[test]
fn an_unconditional_rule_wins_wherever_it_stands() {
    let always = json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW"});
    let other = json!({"names": ["ioctl"], "action": "SCMP_ACT_LOG"});
    let some = json!({"names": ["ioctl"], "action": "SCMP_ACT_KILL_PROCESS",
        "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]});
    for rules in [json!([always, some]), json!([some, always]), json!([always, other])] {
        assert_eq!(ioctl(&with_rules(rules), &[5]), ALLOW);
    }
    assert_eq!(ioctl(&with_rules(json!([other, always])), &[5]), LOG);
}

#[test]
fn of_conditional_rules_the_strictest_wins() {
    let rule = |action, op, value| {
        json!({"names": ["ioctl"], "action": format!("SCMP_ACT_{action}"),
            "args": [{"index": 0, "value": value, "op": format!("SCMP_CMP_{op}")}]})
    };
    let (wide, narrow) = (rule("ALLOW", "GE", 3), rule("TRAP", "EQ", 5));
    for rules in [json!([wide, narrow]), json!([narrow, wide])] {
        let filter = with_rules(rules);
        assert_eq!([2, 5, 6].map(|arg| ioctl(&filter, &[arg])), [EPERM, TRAP, ALLOW]);
    }
    let mut first = rule("ERRNO", "EQ", 5);
    first["errnoRet"] = json!(7);
    let mut second = first.clone();
    second["errnoRet"] = json!(8);
    assert_eq!(ioctl(&with_rules(json!([first, second])), &[5]), errno(7));
}

#[test]
fn a_rule_that_repeats_the_default_is_no_rule() {
    let filter = with_rules(json!([
        {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]},
    ]));
    assert_eq!(ioctl(&filter, &[5]), ALLOW);
}

#[test]
fn operators_compare_64_bits_without_sign() {
    let big = 0x1_0000_0005_u64;
    let cases: [(&str, u64, Outcomes); 8] = [
        ("EQ", big, &[(big, true), (5, false), (0x2_0000_0005, false)]),
        ("NE", big, &[(big, false), (5, true), (0x2_0000_0005, true)]),
        ("LT", big, &[(big, false), (big - 1, true), (u64::MAX, false), (6, true)]),
        ("LE", big, &[(big, true), (big + 1, false), (u64::MAX, false), (6, true)]),
        ("GT", big, &[(big, false), (big + 1, true), (u64::MAX, true), (6, false)]),
        ("GE", big, &[(big, true), (big - 1, false), (u64::MAX, true), (6, false)]),
        ("GE", 0, &[(0, true), (u64::MAX, true)]),
        ("GT", u64::MAX, &[(0, false), (u64::MAX, false)]),
    ];
    for (op, value, asked) in cases {
        let filter = with_rules(json!([{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 5, "value": value, "op": format!("SCMP_CMP_{op}")}]}]));
        for (arg, holds) in asked {
            let word = if *holds { ALLOW } else { EPERM };
            assert_eq!(ioctl(&filter, &[0, 0, 0, 0, 0, *arg]), word, "{arg:#x} {op} {value:#x}");
        }
    }
}

/// The rule after it compares the same argument, which has to be loaded on the way to it.
#[test]
fn a_condition_that_never_holds_leaves_the_next_rule_as_it_is() {
    let never: [(u32, u32, &str, u64); 4] = [
        (X86_64, IOCTL, "LT", 0),
        (X86_64, IOCTL, "GT", u64::MAX),
        (I386, 54, "GT", 0xffff_ffff),
        (X86_64, X32 | 514, "LT", 0x1_0000_0000),
    ];
    for (arch, nr, op, value) in never {
        let filter = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": ["ioctl"], "action": "SCMP_ACT_KILL_PROCESS", "args": [
                {"index": 0, "value": 10, "op": "SCMP_CMP_GT"},
                {"index": 1, "value": value, "op": format!("SCMP_CMP_{op}")}]},
            {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        ]}));
        for (arg, word) in [(8, EPERM), (7, ALLOW), (11, ALLOW), (u64::from(nr), ALLOW)] {
            assert_eq!(ask(&filter, arch, nr, &[arg, 1]).word, word, "{op} {value:#x}: {arg}");
        }
    }
}

#[test]
fn masked_equal_takes_the_mask_first() {
    let cases: [(u64, Option<u64>, Outcomes); 6] = [
        (0x7e02_0000, None, &[(0x11, true), (0x0002_0000, false), (1 << 40, true)]),
        (0xf0, Some(0x30), &[(0x3f, true), (0xff, false)]),
        (0x10, Some(0x10), &[(0xff, true), (0x0f, false)]),
        // Bits outside the mask count for nothing, as in libseccomp.
        (0xf0, Some(0xff), &[(0xf3, true), (0x3f, false)]),
        (0x1_0000_0001, Some(0x1_0000_0000), &[(0x1_0000_0000, true), (1, false), (0, false)]),
        (0, Some(0), &[(7, true)]),
    ];
    for (mask, two, asked) in cases {
        let filter = with_rules(json!([{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": mask, "valueTwo": two, "op": "SCMP_CMP_MASKED_EQ"}]}]));
        for (arg, holds) in asked {
            let word = if *holds { ALLOW } else { EPERM };
            assert_eq!(ioctl(&filter, &[*arg]), word, "{arg:#x} & {mask:#x} == {two:x?}");
        }
    }
}

#[test]
fn conditions_are_joined_by_and_unless_an_argument_has_two() {
    let eq = |index, value| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let rule = |args| json!([{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": args}]);
    let both = with_rules(rule(json!([eq(0, 1), eq(1, 2)])));
    assert_eq!(ioctl(&both, &[1, 2]), ALLOW);
    assert_eq!(ioctl(&both, &[1, 3]), EPERM);
    let any = with_rules(rule(json!([eq(0, 1), eq(1, 2), eq(0, 3)])));
    for args in [[1, 0], [0, 2], [3, 0]] {
        assert_eq!(ioctl(&any, &args), ALLOW, "{args:?}");
    }
    assert_eq!(ioctl(&any, &[2, 1]), EPERM);
}

#[test]
fn calls_of_unlisted_architectures_kill() {
    let filter = with_rules(json!([{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]));
    assert_eq!(ask(&filter, X86_64, 0, &[]).word, ALLOW);
    assert_eq!(ask(&filter, I386, 3, &[]).word, KILL_PROCESS);
    assert_eq!(ask(&filter, X86_64, X32, &[]).word, KILL_PROCESS);
    // Set by a tracer that skips the call: no x32 call.
    assert_eq!(ask(&filter, X86_64, u32::MAX, &[]).word, EPERM);
}

#[test]
fn arm_calls_on_aarch64() {
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_ARM", "SCMP_ARCH_X86_64", "SCMP_ARCH_MIPS"],
        "syscalls": [{"names": ["read", "set_tls", "mseal"], "action": "SCMP_ACT_ALLOW"}]});
    let filter = compile_for(TargetArch::aarch64, profile).unwrap();
    let cases = [
        (AARCH64, 63, ALLOW),
        (AARCH64, 3, EPERM),
        (AARCH64, 463, ENOSYS),
        (ARM, 3, ALLOW),
        (ARM, 63, EPERM),
        (ARM, 463, ENOSYS),
        (ARM, 0xf0005, ALLOW),
        (ARM, 0xf0001, EPERM),
        (ARM, 0xf0800, ENOSYS),
        (X86_64, 0, KILL_PROCESS),
    ];
    for (arch, nr, word) in cases {
        assert_eq!(ask(&filter, arch, nr, &[]).word, word, "{arch:#x} {nr:#x}");
    }
}

#[test]
fn socketcall_and_ipc_follow_the_calls_they_carry() {
    let i386 = |default: &str, rule: Value| {
        compiled(json!({"defaultAction": format!("SCMP_ACT_{default}"),
            "architectures": ["SCMP_ARCH_X86"], "syscalls": [rule]}))
    };
    let filter = i386("ERRNO", json!({"names": ["socket", "shmat"], "action": "SCMP_ACT_ALLOW"}));
    let cases: &[(u32, u64, u32)] = &[
        (359, 9, ALLOW),
        (102, 1, ALLOW),
        (102, 2, EPERM),
        (117, 21, ALLOW),
        (117, 0x1_0015, ALLOW),
        (117, 22, EPERM),
    ];
    for (nr, arg, word) in cases {
        assert_eq!(ask(&filter, I386, *nr, &[*arg]).word, *word, "{nr} {arg:#x}");
    }
    // The arguments of socket(2) are out of reach there: the stricter answer.
    let args = json!([{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]);
    let rule = json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": args});
    assert_eq!(ask(&i386("ERRNO", rule), I386, 102, &[1]).word, EPERM);
    let rule = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": args});
    assert_eq!(ask(&i386("ALLOW", rule), I386, 102, &[1]).word, EPERM);
}

#[test]
fn a_deny_list_holds_for_new_calls_on_x32() {
    let filter = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X32"],
        "syscalls": [{"names": ["map_shadow_stack", "uretprobe", "uprobe"],
            "action": "SCMP_ACT_KILL_PROCESS"}]}));
    for nr in [453, 335, 336] {
        assert_eq!(ask(&filter, X86_64, nr, &[]).word, KILL_PROCESS, "{nr}");
        assert_eq!(ask(&filter, X86_64, X32 | nr, &[]).word, KILL_PROCESS, "{nr} on x32");
    }
}

#[test]
fn values_are_cut_to_32_bits_on_32_bit_architectures() {
    let filter = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": u64::MAX, "op": "SCMP_CMP_EQ"}]}]}));
    assert_eq!(ask(&filter, I386, 54, &[0xffff_ffff]).word, ALLOW);
    assert_eq!(ask(&filter, X86_64, IOCTL, &[0xffff_ffff]).word, EPERM);
}

#[test]
fn enosys_for_calls_newer_than_the_profile() {
    let word = |default: &str, nr| {
        let profile = json!({"defaultAction": format!("SCMP_ACT_{default}"), "listenerPath": "/agent",
        "syscalls": [
            {"names": ["read", "statx"], "action": "SCMP_ACT_LOG"},
            {"names": ["clone3", "not_yet_known"], "action": format!("SCMP_ACT_{default}")},
        ]});
        ask(&compiled(profile), X86_64, nr, &[]).word
    };
    for (default, denied) in
        [("ERRNO", EPERM), ("KILL", KILL_THREAD), ("KILL_PROCESS", KILL_PROCESS), ("TRAP", TRAP)]
    {
        assert_eq!([435, 436].map(|nr| word(default, nr)), [denied, ENOSYS], "{default}");
    }
    for (default, let_be) in
        [("ALLOW", ALLOW), ("LOG", LOG), ("TRACE", 0x7ff0_0001), ("NOTIFY", NOTIFY)]
    {
        assert_eq!([435, 436].map(|nr| word(default, nr)), [let_be; 2], "{default}");
    }
    let none = compiled(json!({"defaultAction": "SCMP_ACT_KILL"}));
    assert_eq!(ask(&none, X86_64, 999, &[]).word, KILL_THREAD);
}
