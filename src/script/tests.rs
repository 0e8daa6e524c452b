//! Every script that plans can make, run by a machine that only keeps account of rights: they fall
//! and never rise, and nobody of the container sees the process before they have fallen.

use seccompiler::sock_filter;

use super::init::{InitSetup, OpenNamespace, init};
use super::op::{Listener, Op};
use super::*;
use crate::model::creds::Caps;
use crate::model::creds::Creds;
use crate::model::namespaces::{Joined, Namespaces};
use crate::model::namespaces::{flag, join_order};
use crate::model::plan::Plan;
use crate::seccomp::Filter;

/// A filter that lets everything through, or nothing.
fn filter(word: u32) -> Filter {
    Filter {
        program: vec![sock_filter { code: 0x06, jt: 0, jf: 0, k: word }],
        flags: 0,
        notify: false,
        listener_path: None,
        listener_metadata: None,
    }
}

const KINDS: [u64; 8] =
    [flag::MOUNT, flag::UTS, flag::IPC, flag::USER, flag::PID, flag::NET, flag::CGROUP, flag::TIME];

/// What an account of rights has to know.
#[derive(Debug)]
struct Process {
    made: u64,
    joined: u64,
    next_child: u64,
    permitted: u64,
    bounding: u64,
    uid: Option<u32>,
    nnp: bool,
    filtered: bool,
    dumpable: bool,
    host_in_sight: bool,
    host_open: bool,
    knows_caller: bool,
    knows_plan: bool,
    in_session: bool,
    seen: bool,
    at_gate: bool,
}

/// One way to make a container.
struct Way {
    plan: Plan,
    setup: InitSetup,
    process: crate::model::process::Process,
    born_with: u64,
}

fn caps() -> Caps {
    Caps { bounding: 0b1100, effective: 0b100, permitted: 0b100, inheritable: 0, ambient: 0 }
}

const SYS_ADMIN: u64 = 1 << 21;

impl Process {
    fn born(namespaces: u64) -> Self {
        Process {
            made: namespaces,
            joined: 0,
            next_child: 0,
            permitted: u64::MAX,
            bounding: u64::MAX,
            uid: None,
            nnp: false,
            filtered: false,
            dumpable: true,
            host_in_sight: true,
            host_open: true,
            knows_caller: true,
            knows_plan: true,
            in_session: false,
            seen: false,
            at_gate: false,
        }
    }

    fn make(&mut self, namespaces: u64) {
        assert_eq!(self.made & namespaces, 0, "made twice");
        self.made |= namespaces;
    }

    fn run(&mut self, op: &Op, plan: &Plan, unprivileged: bool) {
        match op {
            Op::ForgetArguments => self.knows_caller = false,
            Op::ForgetPlan => self.knows_plan = false,
            // What they hold is shared with the plan.
            Op::Mount { .. } | Op::Procfs { .. } | Op::Devices { .. } => assert!(self.knows_plan),
            Op::Dumpable(on) => self.dumpable = *on,
            Op::Unshare(flags) => self.make(*flags),
            Op::Fork { namespaces } => self.make(*namespaces),
            Op::Join { flags, .. } => {
                self.joined |= *flags;
                if flags & flag::MOUNT != 0 {
                    self.host_in_sight = false;
                }
            }
            Op::JoinPid { .. } => self.next_child |= flag::PID,
            Op::EnterPidNamespace { .. } => {
                self.joined |= self.next_child;
                self.see(plan, unprivileged);
            }
            Op::TreeNamespace { .. } => {
                self.make(flag::MOUNT);
                self.host_in_sight = false;
            }
            Op::Pivot { .. } | Op::Chroot { .. } | Op::EnterRoot(_) => self.host_in_sight = false,
            Op::CloseOthers { .. } => self.host_open = false,
            Op::BoundingSet(keep) => self.bounding &= keep,
            Op::User { uid, .. } => self.uid = Some(*uid),
            Op::Capabilities { caps, before_filter, .. } => {
                let next = caps.permitted | if *before_filter { SYS_ADMIN } else { 0 };
                assert_eq!(next & !self.permitted, 0, "rights rise");
                self.permitted = next;
            }
            Op::NoNewPrivileges => self.nnp = true,
            Op::Seccomp { privileged, listener, .. } => {
                let notify = plan.seccomp.as_ref().is_some_and(|filter| filter.notify);
                let expected = match (notify, self.seen) {
                    (false, _) => Listener::None,
                    (true, false) => Listener::Sent,
                    (true, true) => Listener::Taken,
                };
                assert_eq!(*listener, expected);
                assert!(self.nnp || self.permitted & SYS_ADMIN != 0, "cannot be loaded");
                assert_eq!(*privileged, !self.nnp);
                self.filtered = true;
            }
            Op::NewSession { .. } => self.in_session = true,
            Op::Ready => self.see(plan, unprivileged),
            Op::Gate(_) => self.at_gate = true,
            _ => {}
        }
    }

    /// From here on a peer may look.
    fn see(&mut self, plan: &Plan, unprivileged: bool) {
        self.seen = true;
        let creds = &plan.process.as_ref().expect("a process").creds;
        // Of a birth that is still to come no agent could be told.
        let unborn = plan.namespaces.joins(flag::PID);
        let waits = plan
            .seccomp
            .as_ref()
            .is_some_and(|filter| filter.program[0].k == 0 || filter.notify && unborn);
        let kept = if waits && !creds.no_new_privileges { SYS_ADMIN } else { 0 };
        assert_eq!(self.permitted, creds.caps.permitted | kept);
        assert_eq!(self.bounding, creds.caps.bounding);
        assert_eq!(self.uid, Some(creds.uid));
        assert_eq!(self.nnp, creds.no_new_privileges);
        assert_eq!(self.filtered, plan.seccomp.is_some() && !waits);
        assert!(!self.dumpable || unprivileged, "memory can be read");
        assert!(!self.host_in_sight && !self.host_open, "{self:?}");
        assert!(!self.knows_caller && !self.knows_plan, "{self:?}");
    }
}

impl Way {
    fn check(&self) {
        let namespaces = &self.plan.namespaces;
        println!("{namespaces:?} {:?}", self.setup);
        let script = init(&self.plan, &self.process, &self.setup);
        let mut process = Process::born(self.born_with);
        for step in &script.steps {
            process.run(&step.op, &self.plan, self.plan.unprivileged);
        }
        assert_eq!(process.made, namespaces.new, "made");
        assert_eq!(process.joined, namespaces.all() & !namespaces.new, "joined");
        assert!(process.seen && process.in_session);
        assert_eq!(process.permitted, self.process.creds.caps.permitted);
        assert_eq!(process.filtered, self.plan.seccomp.is_some());
        assert_eq!(process.at_gate, self.setup.gate.is_some());
    }
}

/// Namespaces by the digits of a number in base 3: none, new, joined.
fn namespaces(mut number: u32) -> Namespaces {
    let mut plan = Namespaces::default();
    for flag in KINDS {
        match number % 3 {
            1 => plan.new |= flag,
            2 => {
                let (path, field) = ("/n".into(), Field::of("linux.namespaces"));
                plan.joined.push(Joined { flag, path, field });
            }
            _ => {}
        }
        number /= 3;
    }
    plan.joined.sort_by_key(|joined| join_order(joined.flag));
    plan
}

fn way(number: u32, rights: u32) -> Way {
    let namespaces = namespaces(number);
    let bit = |n: u32| rights >> n & 1 == 1;
    let awaits_cgroup = bit(0);
    let tree_namespace = bit(1)
        && namespaces.is_new(flag::MOUNT)
        && !namespaces.has(flag::USER)
        && !namespaces.needs_preparation();
    let born_with = namespaces.by_clone(tree_namespace, awaits_cgroup);
    let joins = namespaces.joined.iter().zip(100..).map(|(joined, fd)| OpenNamespace {
        fd,
        flag: joined.flag,
        field: joined.field.clone(),
    });
    let setup = InitSetup {
        joins: joins.collect(),
        gate: bit(2).then_some(50),
        keep_below: 3,
        tree_namespace,
        awaits_cgroup,
        ..InitSetup::default()
    };
    let mut process = crate::model::process::Process::absent();
    process.creds = Creds {
        uid: if bit(3) { 1000 } else { 0 },
        no_new_privileges: bit(4),
        caps: caps(),
        ..Creds::default()
    };
    let plan = Plan {
        namespaces,
        seccomp: match rights >> 5 & 3 {
            0 => None,
            1 => Some(filter(libc::SECCOMP_RET_ALLOW)),
            2 => Some(Filter { notify: true, ..filter(libc::SECCOMP_RET_ALLOW) }),
            _ => Some(filter(0)),
        },
        process: Some(process.clone()),
        ..Plan::default()
    };
    Way { plan, setup, process, born_with }
}

#[test]
fn rights_only_fall_and_have_fallen_before_anybody_looks() {
    for number in 0..3u32.pow(8) {
        // All ways with each combination of namespaces would be 800,000: enough of them.
        for rights in [number % 128, (number * 7 + 64) % 128, (number / 128) % 128] {
            let way = way(number, rights);
            way.check();
        }
    }
}
