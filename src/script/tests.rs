//! Every script that plans can make, run by a machine that only keeps account of rights: they fall
//! and never rise, and nobody of the container sees the process before they have fallen.

use seccompiler::sock_filter;

use super::hook::{Container, HookSetup, Rights, hook};
use super::init::{InitSetup, OpenNamespace, init};
use super::op::{Listener, Op};
use super::*;
use crate::model::creds::Caps;
use crate::model::creds::Creds;
use crate::model::hooks::Hook;
use crate::model::limits::Rlimit;
use crate::model::namespaces::{Joined, Namespaces};
use crate::model::namespaces::{flag, join_order};
use crate::model::plan::Plan;
use crate::seccomp::Filter;
use crate::sys::sched;

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
    dies_with_parent: bool,
    limits_processes: bool,
    seen: bool,
    at_gate: bool,
}

/// What the program may do, and the process before it, once it can be seen.
struct Program<'a> {
    creds: &'a Creds,
    filter: Option<&'a Filter>,
    /// Its own calls are told to an agent.
    notifies: bool,
    /// The filter comes only right before execve(2).
    waits: bool,
    /// The process may be dumpable.
    unprivileged: bool,
    /// What the runtime has planned is still in the memory.
    keeps_plan: bool,
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
const NEW_LISTENER: u64 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;

fn refuses_all(filter: Option<&Filter>) -> bool {
    filter.is_some_and(|filter| filter.program[0].k == 0)
}

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
            dies_with_parent: false,
            limits_processes: false,
            seen: false,
            at_gate: false,
        }
    }

    fn make(&mut self, namespaces: u64) {
        assert_eq!(self.made & namespaces, 0, "made twice");
        self.made |= namespaces;
    }

    /// The child of a hook's stage.
    fn of_stage() -> Self {
        Process { dumpable: false, knows_caller: false, ..Process::born(0) }
    }

    fn run(&mut self, op: &Op, program: &Program) {
        match op {
            Op::ForgetArguments => self.knows_caller = false,
            Op::ForgetPlan => self.knows_plan = false,
            // What they hold is shared with the plan.
            Op::Mount { .. } | Op::Procfs { .. } | Op::Devices { .. } => assert!(self.knows_plan),
            Op::Dumpable(on) => self.dumpable = *on,
            Op::Unshare(flags) => self.make(*flags),
            Op::Fork { namespaces } => self.make(*namespaces),
            // The kernel decides anew whether it is dumpable (commit_creds in kernel/cred.c).
            Op::BecomeRoot { .. } => self.dumpable = true,
            Op::Join { flags, .. } => {
                self.joined |= *flags;
                self.dumpable |= flags & flag::USER != 0;
                if flags & flag::MOUNT != 0 {
                    self.host_in_sight = false;
                }
            }
            Op::JoinPid { .. } => self.next_child |= flag::PID,
            Op::EnterPidNamespace { .. } => {
                self.joined |= self.next_child;
                assert!(!self.limits_processes, "one more could not be born");
                // Neither is inherited (prctl(2), setsid(2)).
                (self.dies_with_parent, self.in_session) = (false, false);
                self.see(program);
            }
            Op::TreeNamespace { .. } => {
                self.make(flag::MOUNT);
                self.host_in_sight = false;
            }
            Op::Pivot { .. } | Op::Chroot { .. } | Op::EnterRoot(_) | Op::EnterOpenRoot(_) => {
                self.host_in_sight = false;
            }
            Op::CloseOthers { .. } => self.host_open = false,
            Op::BoundingSet(keep) => self.bounding &= keep,
            Op::User { uid, gid, .. } => {
                self.uid = Some(*uid);
                self.dumpable |= (*uid, *gid) != (0, 0);
                self.dies_with_parent = false;
            }
            Op::Rlimit { resource: sched::NPROC, .. } => self.limits_processes = true,
            Op::DieWithParent => self.dies_with_parent = true,
            Op::Capabilities { caps, before_filter, .. } => {
                let next = caps.permitted | if *before_filter { SYS_ADMIN } else { 0 };
                assert_eq!(next & !self.permitted, 0, "rights rise");
                self.permitted = next;
            }
            Op::NoNewPrivileges => self.nnp = true,
            Op::Seccomp { privileged, listener, flags, .. } => {
                let expected = match (program.notifies, self.seen) {
                    (false, _) => Listener::None,
                    (true, false) => Listener::Sent,
                    (true, true) => Listener::Taken,
                };
                assert_eq!(*listener, expected);
                assert_eq!(*flags & NEW_LISTENER != 0, program.notifies);
                assert!(self.nnp || self.permitted & SYS_ADMIN != 0, "cannot be loaded");
                assert_eq!(*privileged, !self.nnp);
                self.filtered = true;
            }
            Op::NewSession { .. } => self.in_session = true,
            Op::Ready => self.see(program),
            Op::Gate(_) => self.at_gate = true,
            _ => {}
        }
    }

    /// From here on a peer may look.
    fn see(&mut self, program: &Program) {
        self.seen = true;
        let (creds, waits) = (program.creds, program.waits);
        let kept = if waits && !creds.no_new_privileges { SYS_ADMIN } else { 0 };
        self.has_fallen_to(creds, kept);
        assert_eq!(self.filtered, program.filter.is_some() && !waits);
        assert!(!self.dumpable || program.unprivileged, "memory can be read");
        assert!(!self.host_in_sight && !self.host_open, "{self:?}");
        assert!(!self.knows_caller && self.knows_plan == program.keeps_plan, "{self:?}");
    }

    fn has_fallen_to(&self, creds: &Creds, kept: u64) {
        assert_eq!(self.permitted, creds.caps.permitted | kept);
        assert_eq!(self.bounding, creds.caps.bounding);
        assert_eq!(self.uid, Some(creds.uid));
        assert_eq!(self.nnp, creds.no_new_privileges);
    }
}

impl Way {
    fn check(&self) {
        let namespaces = &self.plan.namespaces;
        println!("{namespaces:?} {:?}", self.setup);
        let script = init(&self.plan, &self.process, &self.setup);
        let mut process = Process::born(self.born_with);
        let filter = self.plan.seccomp.as_ref();
        let notifies = filter.is_some_and(|filter| filter.notify);
        let program = Program {
            creds: &self.process.creds,
            filter,
            notifies,
            // Of a birth that is still to come no agent could be told.
            waits: refuses_all(filter) || notifies && namespaces.joins(flag::PID),
            unprivileged: self.plan.unprivileged,
            keeps_plan: false,
        };
        for step in &script.steps {
            process.run(&step.op, &program);
        }
        assert_eq!(process.made, namespaces.new, "made");
        assert_eq!(process.joined, namespaces.all() & !namespaces.new, "joined");
        assert!(process.seen && process.in_session);
        process.has_fallen_to(&self.process.creds, 0);
        assert_eq!(process.filtered, self.plan.seccomp.is_some());
        assert_eq!(process.limits_processes, !self.process.limits.rlimits.is_empty());
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

/// A process and its filter by the bits of a number, from the fourth on.
fn process(rights: u32) -> (crate::model::process::Process, Option<Filter>) {
    let bit = |n: u32| rights >> n & 1 == 1;
    let mut process = crate::model::process::Process::absent();
    process.creds = Creds {
        uid: if bit(3) { 1000 } else { 0 },
        no_new_privileges: bit(4),
        caps: caps(),
        ..Creds::default()
    };
    if bit(7) {
        let (name, field) = ("RLIMIT_NPROC".to_owned(), Field::of("process.rlimits[0]"));
        let resource = sched::NPROC;
        process.limits.rlimits.push(Rlimit { resource, name, soft: 1, hard: 2, field });
    }
    let filter = match rights >> 5 & 3 {
        0 => None,
        1 => Some(filter(libc::SECCOMP_RET_ALLOW)),
        2 => {
            let all = filter(libc::SECCOMP_RET_ALLOW);
            Some(Filter { notify: true, flags: NEW_LISTENER, ..all })
        }
        _ => Some(filter(0)),
    };
    (process, filter)
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
    let (process, seccomp) = process(rights);
    let plan = Plan { namespaces, seccomp, process: Some(process.clone()), ..Plan::default() };
    Way { plan, setup, process, born_with }
}

#[test]
fn rights_only_fall_and_have_fallen_before_anybody_looks() {
    for number in 0..3u32.pow(8) {
        // All ways with each combination of namespaces would be 1,600,000: enough of them.
        for rights in [number % 256, (number * 7 + 64) % 256, (number / 26) % 256] {
            let way = way(number, rights);
            way.check();
        }
    }
}

/// Runs the script of a hook, and what it has come to.
fn run_hook(setup: &HookSetup, program: &Program) -> Process {
    let configured = Hook {
        path: c"/hook".to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        timeout: None,
        field: Field::of("hooks.startContainer[0]"),
    };
    let script = hook(&configured, setup);
    let mut process = Process::of_stage();
    for Step { op, .. } in &script.steps {
        // Its pipe has nobody who answers.
        let talks = matches!(op, Op::Appear | Op::Introduce | Op::Ready | Op::AwaitHooks);
        assert!(!talks, "{op:?}");
        assert!(!process.filtered || op.calls_after_filter().is_some() || program.waits, "{op:?}");
        match op {
            // As trusted as the runtime: it has all rights when it is born.
            Op::EnterPidNamespace { .. } if setup.rights.is_none() => {
                assert!(!process.host_open && !process.dumpable);
                (process.dies_with_parent, process.in_session) = (false, false);
            }
            op => process.run(op, program),
        }
    }
    assert!(process.in_session && process.dies_with_parent);
    assert!(!process.host_open && !process.dumpable);
    let namespaces = setup.container.as_ref().map_or(0, |container| container.namespaces);
    assert_eq!(process.joined, namespaces);
    process
}

#[test]
fn rights_of_hooks_only_fall_and_have_fallen_before_anybody_looks() {
    for rights in 0..256u32 {
        let (process, filter) = process(rights);
        let program = Program {
            creds: &process.creds,
            filter: filter.as_ref(),
            // The listener is for the process of the container.
            notifies: false,
            waits: refuses_all(filter.as_ref()),
            unprivileged: false,
            keeps_plan: true,
        };
        let given = Rights {
            process: &process,
            keyring: None,
            setgroups: rights & 1 == 0,
            filter: filter.as_ref(),
        };
        for number in 0..256u64 {
            let kinds = KINDS.iter().enumerate().filter(|(bit, _)| number >> bit & 1 == 1);
            let namespaces = kinds.map(|(_, flag)| flag).sum();
            let mut setup = HookSetup {
                container: Some(Container { init: 100, namespaces, root: Some(101) }),
                cwd: c"/".to_owned(),
                stdin: 102,
                output: 103,
                program: None,
                rights: Some(&given),
            };
            println!("{setup:?}");
            let hook = run_hook(&setup, &program);
            hook.has_fallen_to(&process.creds, 0);
            assert_eq!(hook.seen, namespaces & flag::PID != 0);
            assert_eq!(hook.filtered, filter.is_some());
            assert_eq!(hook.limits_processes, !process.limits.rlimits.is_empty());
            setup.rights = None;
            let trusted = run_hook(&setup, &program);
            assert_eq!((trusted.permitted, trusted.uid), (u64::MAX, None));
        }
    }
}
