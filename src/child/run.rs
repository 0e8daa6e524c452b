//! How each operation is done. Those that are one system call stand here; the others have a file of
//! their own.

#![no_implicit_prelude]

use ::core::prelude::rust_2024::*;

use ::core::sync::atomic::Ordering;

use super::report::Failure;
use super::{
    Place, console, creds, devices, finish, gate, guard, hook, label, listener, mounts, null,
    process, procfs, root,
};
use crate::script::Script;
use crate::script::op::Op;
use crate::sync::Kind;
use crate::sys::{cred, fs, memory, net, ns, sched, seccomp, signal};

impl Op {
    /// Does it.
    pub(super) fn run(&self, at: &mut Place, script: &Script) -> Result<(), Failure> {
        match self {
            Op::WriteProc { path, value } => process::write_proc(at.proc, path, value),
            Op::WriteLabel { path, value } => label::set(at.proc, path, value),
            Op::AwaitCgroup => at.ask(Kind::Cgroup, 0).map(|_| ()),
            Op::AwaitMaps => at.ask(Kind::Maps, 0).map(|_| ()),
            Op::BecomeRoot { uid, gid } => creds::become_root(*uid, *gid),
            Op::DropGroups => creds::drop_groups(),
            Op::Dumpable(on) => Ok(cred::set_dumpable(*on)?),
            Op::Join { fd, flags } => {
                ns::setns(*fd, *flags)?;
                fs::close(*fd);
                Ok(())
            }
            Op::JoinPid { fd } => {
                at.joins_pid = true;
                Ok(ns::setns(*fd, ::libc::CLONE_NEWPID as u64)?)
            }
            Op::Procfs { mount, namespace, make } => procfs::keep(at, mount, *namespace, *make),
            Op::Unshare(namespaces) => Ok(ns::unshare(*namespaces)?),
            Op::Fork { namespaces } => process::fork(at, *namespaces),
            Op::ForgetArguments => {
                memory::overwrite_arguments();
                Ok(())
            }
            Op::ForgetPlan => {
                memory::forget_plan();
                Ok(())
            }
            Op::Appear => {
                process::await_seal(at)?;
                at.tell(Kind::Last, 0, None)
            }
            Op::EnterPidNamespace { copy } => process::enter_pid_namespace(at, *copy),
            Op::Introduce => at.tell(Kind::Born, 0, None),
            Op::DieWithParent => Ok(hook::die_with_parent(at.link)?),
            Op::NewSession { terminal } => process::new_session(*terminal),
            Op::SessionKeyring(name) => process::session_keyring(name),
            Op::LoopbackUp => Ok(net::loopback_up()?),
            Op::AwaitNetDevices => at.ask(Kind::NetDevices, 0).map(|_| ()),
            Op::Hostname(name) => Ok(ns::sethostname(name.as_bytes())?),
            Op::Domainname(name) => Ok(ns::setdomainname(name.as_bytes())?),
            Op::Umask(mask) => {
                fs::umask(*mask);
                Ok(())
            }
            Op::TreePropagation(kind) => root::tree_propagation(*kind),
            Op::BindRoot { path, private_parent, by_parent } => {
                root::bind(at, path, *private_parent, *by_parent)
            }
            Op::EnterRoot(path) => root::enter(path),
            Op::EnterOpenRoot(fd) => root::enter_open(*fd),
            Op::OpenTree { tree, source, recursive, follow, propagation } => {
                root::open_tree(tree, source, (*recursive, *follow), *propagation)
            }
            Op::OpenNull => null::open_mask(at),
            Op::TreeNamespace { path, propagation } => root::namespace(at, path, *propagation),
            Op::CloseRoot => {
                at.close_root();
                Ok(())
            }
            Op::Mount { mount, tree, keep } => {
                mounts::mount(at, mount, tree.as_ref(), keep.as_ref())
            }
            Op::BorrowNodes { mask } => devices::borrow(at, *mask),
            Op::Devices { directory, nodes, from } => devices::make(at, directory, nodes, *from),
            Op::ReturnNodes => devices::give_back(at),
            Op::DeviceLinks => devices::links(at),
            Op::Console { size, uid, mount } => console::make(at, *size, *uid, *mount),
            Op::OwnDevices { from, below } => null::own_devices(at, *from, *below),
            Op::MakeCwd(path) => root::make_directory(at, path),
            Op::AwaitHooks => at.ask(Kind::Hooks, 0).map(|_| ()),
            Op::LateReadonly { mount, .. } => guard::late_readonly(mount),
            Op::ReadonlyPath(path) => guard::readonly(at, path),
            Op::MaskPath { path, label } => guard::mask(at, path, label.as_deref()),
            Op::ReadonlyRoot => guard::readonly_root(at),
            Op::Pivot { shared } => root::pivot(at, *shared),
            Op::Chroot { unmount } => root::chroot(at, unmount),
            Op::RootPropagation { kind, recursive } => root::propagation(*kind, *recursive),
            Op::AllCpus => process::all_cpus(),
            Op::Cpus(mask) => Ok(sched::sched_setaffinity(mask)?),
            Op::MemoryPolicy { mode, nodes } => Ok(sched::set_mempolicy(*mode, nodes)?),
            Op::IoPriority(priority) => Ok(sched::ioprio_set(*priority)?),
            Op::Scheduler(attr) => Ok(sched::sched_setattr(0, attr)?),
            Op::Personality(persona) => Ok(sched::personality(*persona)?),
            Op::Cwd { path, last } => finish::enter_cwd(at, path, *last),
            Op::Chdir(path) => hook::chdir(path),
            Op::HookStdio { stdin, output } => hook::stdio(at, *stdin, *output),
            Op::Rlimit { resource, soft, hard, .. } => {
                Ok(sched::setrlimit(*resource, *soft, *hard)?)
            }
            Op::WidenLimit { resource, hard } => {
                let (_, own) = sched::getrlimit(*resource)?;
                let hard = own.max(*hard);
                Ok(sched::setrlimit(*resource, hard, hard)?)
            }
            Op::OwnStdio { uid } => creds::own_stdio(*uid),
            Op::BoundingSet(keep) => creds::bounding_set(*keep),
            Op::User { uid, gid, groups } => creds::become_user(*uid, *gid, groups.as_deref()),
            Op::Home { uid } => finish::find_home(at, *uid),
            Op::Effective(mask) => creds::raise(*mask),
            Op::FindProgram { last } => finish::find_program(at, script, *last),
            Op::Ready => {
                let answer = at.ask(Kind::Ready, 0)?;
                at.alone = answer.frame.arg == 1;
                if at.alone {
                    fs::close(at.link);
                }
                Ok(())
            }
            Op::Gate(fifo) => {
                gate::wait(*fifo)?;
                at.gate = *fifo;
                Ok(())
            }
            Op::Capabilities { caps, before_filter, verify } => {
                creds::drop_to(caps, *before_filter, *verify)
            }
            Op::NoNewPrivileges => creds::no_new_privileges(),
            Op::Seccomp { program, flags, privileged, listener } => {
                if *privileged {
                    creds::raise_permitted()?;
                }
                let answer = seccomp::set_mode_filter(program, *flags)?;
                listener::leave(at, answer, *listener)
            }
            Op::CloseOthers { from, keep } => process::close_others(at, *from, *keep),
            Op::ResetSignals => {
                let ignored = at.page.ignored.load(Ordering::Relaxed);
                signal::set_defaults(signal::Mask::from_bits(ignored))?;
                signal::set_mask(signal::Mask::NONE)?;
                Ok(())
            }
            Op::CloseFrom(first) => {
                Ok(fs::close_range(*first, u32::MAX, ::libc::CLOSE_RANGE_CLOEXEC)?)
            }
        }
    }
}
