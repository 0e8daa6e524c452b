//! What the process may use and how it is scheduled: rlimits, OOM score, I/O priority,
//! scheduler, personality.

use oci_spec::runtime::{
    IOPriorityClass, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    PosixRlimitType, Process, Spec,
};

use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::limits::{Affinity, Limits, Rlimit};
use crate::model::ranges;
use crate::sys::sched::SchedAttr;

/// Reads `process.rlimits`, `oomScoreAdj`, `ioPriority`, `scheduler`, `execCPUAffinity`.
pub fn plan(process: &Process, findings: &mut Findings) -> Limits {
    let field = Field::of("process");
    let oom_score_adj = process.oom_score_adj();
    if let Some(score) = oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        findings.refuse_value(&field.key("oomScoreAdj"), score, "must be from -1000 to 1000");
    }
    Limits {
        rlimits: rlimits(process, &field.key("rlimits"), findings),
        oom_score_adj,
        io_priority: io_priority(process, &field.key("ioPriority"), findings),
        scheduler: scheduler(process, &field.key("scheduler"), findings),
        affinity: affinity(process, &field.key("execCPUAffinity"), findings),
    }
}

fn affinity(process: &Process, field: &Field, findings: &mut Findings) -> Affinity {
    let Some(given) = process.exec_cpu_affinity() else { return Affinity::default() };
    let mut cpus = |key: &'static str, list: &Option<String>| {
        let list = list.as_deref()?;
        ranges::mask(list, ranges::MAX_CPUS)
            .map_err(|reason| findings.refuse_value(&field.key(key), list, reason))
            .ok()
    };
    Affinity {
        initial: cpus("initial", given.initial()),
        last: cpus("final", given.cpu_affinity_final()),
    }
}

fn rlimits(process: &Process, field: &Field, findings: &mut Findings) -> Vec<Rlimit> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for (index, limit) in process.rlimits().iter().flatten().enumerate() {
        let at = field.at(index);
        let name = limit.typ().to_string();
        let resource = resource(limit.typ());
        if limits.iter().any(|old| old.resource == resource) {
            // config.md: "If rlimits contains duplicated entries with same type, the
            // runtime MUST generate an error."
            findings.refuse_value(&at.key("type"), &name, "listed twice");
        }
        if limit.soft() > limit.hard() {
            let reason = format!("must not be above hard ({})", limit.hard());
            findings.refuse_value(&at.key("soft"), limit.soft(), reason);
        }
        limits.push(Rlimit { resource, name, soft: limit.soft(), hard: limit.hard(), field: at });
    }
    limits
}

fn resource(kind: PosixRlimitType) -> u32 {
    use PosixRlimitType as T;
    let number = match kind {
        T::RlimitCpu => libc::RLIMIT_CPU,
        T::RlimitFsize => libc::RLIMIT_FSIZE,
        T::RlimitData => libc::RLIMIT_DATA,
        T::RlimitStack => libc::RLIMIT_STACK,
        T::RlimitCore => libc::RLIMIT_CORE,
        T::RlimitRss => libc::RLIMIT_RSS,
        T::RlimitNproc => libc::RLIMIT_NPROC,
        T::RlimitNofile => libc::RLIMIT_NOFILE,
        T::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        T::RlimitAs => libc::RLIMIT_AS,
        T::RlimitLocks => libc::RLIMIT_LOCKS,
        T::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        T::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        T::RlimitNice => libc::RLIMIT_NICE,
        T::RlimitRtprio => libc::RLIMIT_RTPRIO,
        T::RlimitRttime => libc::RLIMIT_RTTIME,
    };
    // The C libraries disagree on the sign of the type.
    #[allow(clippy::unnecessary_cast)]
    let number = number as u32;
    number
}

fn io_priority(process: &Process, field: &Field, findings: &mut Findings) -> Option<u16> {
    let given = process.io_priority().as_ref()?;
    let Some(level) = u16::try_from(given.priority()).ok().filter(|level| *level <= 7) else {
        findings.refuse_value(&field.key("priority"), given.priority(), "must be from 0 to 7");
        return None;
    };
    let class = match given.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    Some(class << 13 | level)
}

fn scheduler(process: &Process, field: &Field, findings: &mut Findings) -> Option<SchedAttr> {
    use LinuxSchedulerPolicy as P;
    let given = process.scheduler().as_ref()?;
    let policy = match given.policy() {
        P::SchedOther => 0,
        P::SchedFifo => 1,
        P::SchedRr => 2,
        P::SchedBatch => 3,
        P::SchedIso => {
            findings.refuse_value(&field.key("policy"), "SCHED_ISO", "Linux does not have it");
            return None;
        }
        P::SchedIdle => 5,
        P::SchedDeadline => 6,
    };
    let nice = given.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        findings.refuse_value(&field.key("nice"), nice, "must be from -20 to 19");
    }
    let priority = given.priority().unwrap_or(0);
    let realtime = matches!(policy, 1 | 2);
    if priority != 0 && !realtime {
        let reason = "only SCHED_FIFO and SCHED_RR have one";
        findings.refuse_value(&field.key("priority"), priority, reason);
    } else if !(0..=99).contains(&priority) || (realtime && priority == 0) {
        findings.refuse_value(&field.key("priority"), priority, "must be from 1 to 99");
    }
    let times = [given.runtime(), given.deadline(), given.period()].map(|time| time.unwrap_or(0));
    let [runtime, deadline, period] = times;
    if policy != 6 && times != [0; 3] {
        findings.refuse(field, "only SCHED_DEADLINE has runtime, deadline and period");
    }
    if policy == 6 && !(runtime <= deadline && (period == 0 || deadline <= period)) {
        findings.refuse(field, "must have runtime <= deadline <= period");
    }
    let flags = given.flags().iter().flatten().fold(0, |flags, flag| flags | scheduler_flag(*flag));
    Some(SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy,
        flags,
        nice,
        priority: u32::try_from(priority).unwrap_or(0),
        runtime,
        deadline,
        period,
        // The spec has flags for these and no values: the kernel reads 0.
        util_min: 0,
        util_max: 0,
    })
}

/// Bits of `linux/sched.h`.
fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    use LinuxSchedulerFlag as F;
    match flag {
        F::SchedResetOnFork => 0x01,
        F::SchedFlagReclaim => 0x02,
        F::SchedFlagDLOverrun => 0x04,
        F::SchedFlagKeepPolicy => 0x08,
        F::SchedFlagKeepParams => 0x10,
        F::SchedFlagUtilClampMin => 0x20,
        F::SchedFlagUtilClampMax => 0x40,
    }
}

/// Reads `linux.personality`: the argument of personality(2).
pub fn personality(spec: &Spec, findings: &mut Findings) -> Option<u64> {
    let given = spec.linux().as_ref()?.personality().as_ref()?;
    if given.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        // config-linux.md: no flag values are supported at this time.
        findings.refuse(&Field::of("linux.personality.flags"), "the spec knows no flag yet");
    }
    Some(match given.domain() {
        LinuxPersonalityDomain::PerLinux => 0x0000,
        LinuxPersonalityDomain::PerLinux32 => 0x0008,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(process: &str) -> Vec<String> {
        let text = format!(r#"{{"cwd":"/","user":{{"uid":0,"gid":0}},{process}}}"#);
        let process = serde_json::from_str(&text).expect("a process");
        let mut findings = Findings::default();
        plan(&process, &mut findings);
        findings.violations.iter().map(|v| v.field.to_string()).collect()
    }

    #[test]
    fn limits_out_of_range_are_named() {
        for (process, field) in [
            (r#""oomScoreAdj":2000"#, "process.oomScoreAdj"),
            (r#""rlimits":[{"type":"RLIMIT_CPU","hard":1,"soft":2}]"#, "process.rlimits[0].soft"),
            (
                r#""rlimits":[{"type":"RLIMIT_CPU","hard":1,"soft":1},{"type":"RLIMIT_CPU","hard":1,"soft":1}]"#,
                "process.rlimits[1].type",
            ),
            (
                r#""ioPriority":{"class":"IOPRIO_CLASS_BE","priority":99}"#,
                "process.ioPriority.priority",
            ),
            (r#""scheduler":{"policy":"SCHED_OTHER","nice":99}"#, "process.scheduler.nice"),
            (r#""scheduler":{"policy":"SCHED_FIFO","priority":0}"#, "process.scheduler.priority"),
            (
                r#""scheduler":{"policy":"SCHED_DEADLINE","runtime":3,"deadline":2}"#,
                "process.scheduler",
            ),
        ] {
            assert_eq!(refused(process), [field], "{process}");
        }
    }
}
