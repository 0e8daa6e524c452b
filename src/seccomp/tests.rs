//! Profiles compiled, and asked.

mod answers;
mod differential;
mod interpreter;
mod libseccomp;
mod random;
mod reading;
mod refusals;

use seccompiler::TargetArch;
use serde_json::{Value, json};

use self::interpreter::{Data, Verdict, run};
use super::*;

const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRAP: u32 = 0x0003_0000;
const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32: u32 = 0x4000_0000;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;

const IOCTL: u32 = 16;
const GETPPID: u32 = 110;

const fn errno(number: u32) -> u32 {
    0x0005_0000 | number
}

const EPERM: u32 = errno(1);
const ENOSYS: u32 = errno(38);

fn moby() -> Value {
    serde_json::from_str(include_str!("testdata/moby.json")).unwrap()
}

fn compile_for(native: TargetArch, profile: Value) -> Result<Filter, Vec<String>> {
    let profile = serde_json::from_value(profile).unwrap();
    compile(&profile, native, &mut Vec::new())
        .map_err(|violations| violations.iter().map(ToString::to_string).collect())
}

fn compiled(profile: Value) -> Filter {
    compile_for(TargetArch::x86_64, profile).unwrap()
}

fn refused(profile: Value) -> Vec<String> {
    compile_for(TargetArch::x86_64, profile).unwrap_err()
}

/// Default EPERM, and these rules.
fn with_rules(rules: Value) -> Filter {
    compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}))
}

fn ask(filter: &Filter, arch: u32, nr: u32, args: &[u64]) -> Verdict {
    let mut data = Data { nr, arch, args: [0; 6] };
    data.args[..args.len()].copy_from_slice(args);
    run(&filter.program, &data)
}

fn ioctl(filter: &Filter, args: &[u64]) -> u32 {
    ask(filter, X86_64, IOCTL, args).word
}
