//! Steps in words, and the fields behind them: what the user reads when one fails. Parent
//! only.

use std::ffi::CStr;

use crate::diag::field::Field;
use crate::model::mount::{Mount, Parameter, What};
use crate::model::namespaces::{flag, name_of};
use crate::script::call::Call;
use crate::script::op::Op;
use crate::script::{Script, Step};

impl Op {
    /// The stable short name, for the structured log.
    pub fn name(&self) -> &'static str {
        self.told().0
    }

    /// The whole of it, as it stands in an error message.
    pub fn describe(&self) -> String {
        self.told().1
    }

    /// Its short name, and what it does.
    fn told(&self) -> (&'static str, String) {
        match self {
            Op::WriteProc { path, value } | Op::WriteLabel { path, value } => {
                let value = String::from_utf8_lossy(value);
                ("write-proc", format!("write {:?} to /proc/{}", value.trim_end(), shown(path)))
            }

            Op::AwaitCgroup => ("cgroup", "wait for the cgroup".to_owned()),
            Op::AwaitMaps => ("id-mappings", "wait for the id mappings".to_owned()),
            Op::BecomeRoot { .. } => {
                ("become-root", "become root of the user namespace".to_owned())
            }
            Op::DropGroups => ("user", "give up the supplementary groups".to_owned()),
            Op::Dumpable(on) => ("dumpable", format!("set dumpable to {}", u8::from(*on))),
            Op::Join { flags, .. } => {
                ("join-namespace", format!("join namespaces: {}", kinds(*flags)))
            }
            Op::JoinPid { .. } => {
                ("join-namespace", format!("join namespaces: {}", kinds(flag::PID)))
            }
            Op::Unshare(flags) => ("unshare", format!("make namespaces: {}", kinds(*flags))),
            Op::Fork { namespaces: 0 } => ("fork", "fork".to_owned()),
            Op::Fork { namespaces } => ("fork", format!("make namespaces: {}", kinds(*namespaces))),
            Op::ForgetArguments => {
                ("forget-arguments", "overwrite the arguments of the runtime".to_owned())
            }
            Op::ForgetPlan => ("forget-plan", "unmap what the runtime has planned".to_owned()),
            Op::Appear => {
                ("appear", "wait until the binary of the runtime is out of reach".to_owned())
            }
            Op::EnterPidNamespace { .. } => ("fork", "enter the pid namespace".to_owned()),
            Op::Introduce => ("fork", "tell the runtime of the new process".to_owned()),
            Op::DieWithParent => ("death-signal", "ask to die with the runtime".to_owned()),
            Op::NewSession { .. } => ("session", "start a session".to_owned()),
            Op::SessionKeyring(name) => {
                ("keyring", format!("join the session keyring {}", shown(name)))
            }
            Op::LoopbackUp => ("loopback", "bring the loopback interface up".to_owned()),
            Op::AwaitNetDevices => ("net-devices", "wait for the network devices".to_owned()),
            Op::Hostname(name) => ("hostname", format!("set the host name to {}", shown(name))),
            Op::Domainname(name) => {
                ("domainname", format!("set the domain name to {}", shown(name)))
            }
            Op::Umask(mask) => ("umask", format!("set the umask to {mask:03o}")),
            Op::TreePropagation(_) => {
                ("propagation", "set the propagation of the host's mounts".to_owned())
            }
            Op::BindRoot { path, .. } => ("bind-root", format!("bind the root {}", shown(path))),
            Op::EnterOpenRoot(_) => ("enter-root", "enter the container's root".to_owned()),
            Op::EnterRoot(path) => ("enter-root", format!("change the root to {}", shown(path))),
            Op::OpenTree { source, .. } => ("mount", format!("mount {}", shown(source))),
            Op::OpenNull => ("mask", "open /dev/null".to_owned()),
            Op::TreeNamespace { path, .. } => {
                ("bind-root", format!("make a mount namespace of the root {}", shown(path)))
            }
            Op::CloseRoot => ("close-fds", "close the root".to_owned()),
            Op::Mount { mount, .. } | Op::Procfs { mount, .. } => (
                "mount",
                match mount.what {
                    What::Remount { .. } => format!("remount {}", mount.shown_target()),
                    What::Link(_) => {
                        format!("make {} at {}", mount.shown_source(), mount.shown_target())
                    }
                    _ => format!("mount {} on {}", mount.shown_source(), mount.shown_target()),
                },
            ),
            Op::Devices { directory, .. } => {
                ("devices", format!("make devices in /{}", shown(directory)))
            }
            Op::BorrowNodes { .. } => {
                ("devices", "attach the device nodes of the runtime".to_owned())
            }
            Op::ReturnNodes => ("devices", "unmount the device nodes of the runtime".to_owned()),
            Op::DeviceLinks => ("device-links", "make links in /dev".to_owned()),
            Op::Console { .. } => ("console", "make the terminal".to_owned()),
            Op::MakeCwd(path) => ("cwd", format!("make the working directory /{}", shown(path))),
            Op::AwaitHooks => ("hooks", "wait for hooks".to_owned()),
            Op::LateReadonly { path, .. } => {
                ("read-only", format!("make the mount on /{} read-only", shown(path)))
            }
            Op::ReadonlyPath(guarded) => {
                ("read-only", format!("make /{} read-only", shown(&guarded.path)))
            }
            Op::MaskPath { path, .. } => ("mask", format!("mask /{}", shown(&path.path))),
            Op::ReadonlyRoot => ("read-only", "make the root read-only".to_owned()),
            Op::Pivot { .. } => ("pivot-root", "pivot_root".to_owned()),
            Op::Chroot { .. } => ("chroot", "move the root over the host's".to_owned()),
            Op::RootPropagation { .. } => {
                ("propagation", "set the propagation of the root".to_owned())
            }
            Op::AllCpus => ("cpu-affinity", "reset the CPU affinity".to_owned()),
            Op::Cpus(_) => ("cpu-affinity", "set the CPU affinity".to_owned()),
            Op::MemoryPolicy { .. } => ("memory-policy", "set the memory policy".to_owned()),
            Op::IoPriority(_) => ("io-priority", "set the I/O priority".to_owned()),
            Op::Scheduler(_) => ("scheduler", "set the scheduler".to_owned()),
            Op::Personality(_) => ("personality", "set the personality".to_owned()),
            // Engines and people know this sentence.
            Op::Cwd { path, .. } => {
                ("cwd", format!("chdir to cwd ({:?}) set in config.json failed", shown(path)))
            }
            Op::Rlimit { name, soft, hard, .. } => {
                ("rlimit", format!("set {name} to {soft} (hard {hard})"))
            }
            Op::WidenLimit { hard, .. } => {
                ("rlimit", format!("raise the limit on processes to {hard}"))
            }
            Op::OwnDevices { .. } => {
                ("stdio", "replace descriptors that are devices of the host".to_owned())
            }
            Op::Chdir(path) => ("cwd", format!("enter the directory {}", shown(path))),
            Op::HookStdio { .. } => ("stdio", "set up stdin, stdout and stderr".to_owned()),
            Op::OwnStdio { uid } => ("stdio", format!("give stdio to user {uid}")),
            Op::BoundingSet(_) => ("capabilities", "reduce the bounding set".to_owned()),
            Op::User { uid, gid, groups } => {
                let groups = groups.as_ref().map_or(0, Vec::len);
                ("user", format!("switch to uid {uid}, gid {gid}, {groups} supplementary groups"))
            }

            Op::Home { uid } => ("home", format!("find the home of user {uid}")),
            Op::Effective(_) => ("capabilities", "raise the effective capabilities".to_owned()),
            Op::FindProgram { .. } => ("find-program", "find the program".to_owned()),
            Op::Ready => ("ready", "report to the runtime".to_owned()),
            Op::Gate(_) => ("gate", "wait for start".to_owned()),
            Op::Capabilities { .. } => ("capabilities", "set the capabilities".to_owned()),
            Op::NoNewPrivileges => ("no-new-privileges", "set no_new_privs".to_owned()),
            Op::Seccomp { program, .. } => {
                ("seccomp", format!("load the seccomp filter of {} instructions", program.len()))
            }
            Op::ResetSignals => ("signals", "reset the signals".to_owned()),
            Op::CloseOthers { .. } => ("close-fds", "close what the runtime had open".to_owned()),
            Op::CloseFrom(first) => ("close-fds", format!("close descriptors from {first} on")),
        }
    }
}

impl Script {
    /// What the step at `index` does, in words; past the last one, the program starts.
    pub fn describe(&self, index: usize) -> String {
        self.steps.get(index).map_or_else(|| "start the program".to_owned(), |s| s.op.describe())
    }

    /// The same, and which call of it has failed.
    pub fn describe_failure(&self, index: usize, call: Call) -> String {
        let step = self.describe(index);
        if call.describe().is_empty() { step } else { format!("{step}: {}", call.describe()) }
    }

    /// The step at `index`.
    pub fn op(&self, index: usize) -> Option<&Op> {
        self.steps.get(index).map(|step| &step.op)
    }

    /// The short name of the step at `index`, for the structured log.
    pub fn name(&self, index: usize) -> &'static str {
        self.steps.get(index).map_or("exec", |step| step.op.name())
    }

    /// The field that asked for the step at `index`, or for the part of it that `call`
    /// was about.
    pub fn field(&self, index: usize, call: Call, part: usize) -> Field {
        match self.steps.get(index) {
            Some(Step { op: Op::Mount { mount, .. } | Op::Procfs { mount, .. }, .. }) => {
                mount_field(mount, call, part)
            }
            Some(Step { op: Op::Devices { nodes, .. }, field }) => {
                nodes.get(part).map_or(field.clone(), |node| node.field.clone())
            }
            Some(step) => step.field.clone(),
            None => Field::of("process.args"),
        }
    }
}

/// Which part of an entry of `mounts` a call was about.
fn mount_field(mount: &Mount, call: Call, part: usize) -> Field {
    match call {
        Call::FsOpen => mount.field.key("type"),
        Call::FsConfig => match &mount.what {
            What::FileSystem(made) => parameter_field(mount, &made.parameters, part),
            What::Remount { parameters: Some(list) } => parameter_field(mount, list, part),
            _ => mount.field.clone(),
        },
        Call::OpenSource => mount.field.key("source"),
        Call::OpenTarget
        | Call::MakeDirectory
        | Call::MakeFile
        | Call::MakeLink
        | Call::NodeDiffers
        | Call::NotOnProc
        | Call::NotProc
        | Call::WrongKind => mount.field.key("destination"),
        _ => mount.field.clone(),
    }
}

fn parameter_field(mount: &Mount, parameters: &[Parameter], part: usize) -> Field {
    parameters.get(part).map_or_else(|| mount.field.clone(), |known| known.field.clone())
}

fn shown(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

fn kinds(flags: u64) -> String {
    let all = (0..64).map(|bit| 1u64 << bit).filter(|flag| flags & flag != 0);
    all.map(name_of).collect::<Vec<_>>().join(", ")
}
