//! The options of every verb, as runc knows them.

use std::path::PathBuf;

use super::given::Given;
use super::syntax::{Argument, Count, Flag, Syntax, switch, value};
use super::values::{GroupId, Interval, RootDir, Rootless, UserIds};
use super::words::{CgroupManager, ListFormat, LogFormat, LogLevel};
use crate::spec::bytes::Bytes;

/// What is made of the flags and arguments of a verb.
pub trait Options: Sized {
    /// The flags that are its own.
    const FLAGS: &'static [Flag];
    /// The arguments that are its own.
    const ARGUMENTS: &'static [Argument];
    /// All that it may be given.
    const SYNTAX: Syntax;

    /// Takes it; what is wrong, in one line.
    fn read(given: &mut Given) -> Result<Self, String>;
}

/// A struct of options, with the flag or argument that each comes from. What is said of a field is
/// also its help. `with` adds another struct of options, whose own come first.
macro_rules! options {
    (
        $(#[$about:meta])*
        pub struct $name:ident $(with $part:ident: $Part:ty)? {
            $(#[doc = $help:literal] $field:ident: $Type:ty = $flag:expr,)*
        }
        $(arguments {
            $(#[doc = $what:literal] $argument:ident: $Argument:ty = $place:expr,)*
        })?
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $(
                /// Options of others as well.
                pub $part: $Part,
            )?
            $(#[doc = $help] pub $field: $Type,)*
            $($(#[doc = $what] pub $argument: $Argument,)*)?
        }

        impl Options for $name {
            const FLAGS: &'static [Flag] = &[$($flag.help($help)),*];
            const ARGUMENTS: &'static [Argument] = &[$($($place.help($what)),*)?];
            const SYNTAX: Syntax = Syntax {
                flags: &[$(<$Part>::FLAGS,)? Self::FLAGS],
                arguments: &[$(<$Part>::ARGUMENTS,)? Self::ARGUMENTS],
            };

            // One has no options at all.
            #[allow(unused_variables)]
            fn read(given: &mut Given) -> Result<Self, String> {
                Ok($name {
                    $($part: <$Part>::read(given)?,)?
                    $($field: given.flag(const { $flag.long })?,)*
                    $($($argument: given.argument(&$place)?,)*)?
                })
            }
        }
    };
}

/// The name of a container.
const ID: Argument = Argument::new("ID", Count::One);

options! {
    /// The options before the verb.
    pub struct Global {
        /// Directory of the state of all containers [default: /run/rt, or $XDG_RUNTIME_DIR/rt]
        root: Option<RootDir> = value("root", "DIR"),
        /// File that the log is appended to, instead of stderr
        log: Option<PathBuf> = value("log", "FILE"),
        /// Format of the log
        log_format: LogFormat = value("log-format", "FORMAT").default("text").words(LogFormat::WORDS),
        /// Minimum level to log [default: warning, or error for json]
        log_level: Option<LogLevel> = value("log-level", "LEVEL").words(LogLevel::WORDS),
        /// Log everything
        debug: bool = switch("debug"),
        /// Let systemd manage the cgroup
        systemd_cgroup: bool = switch("systemd-cgroup"),
        /// Who manages the cgroup
        cgroup_manager: CgroupManager = value("cgroup-manager", "MANAGER").default("cgroupfs").words(CgroupManager::WORDS),
        /// Ignore cgroup permission errors: true, false or auto
        rootless: Rootless = value("rootless", "BOOL").default("auto"),
        /// Print the version
        version: bool = switch("version").letter('v'),
    }
}

options! {
    /// What `create` and `run` have in common.
    pub struct Bundle {
        /// Directory of the bundle
        bundle: PathBuf = value("bundle", "DIR").letter('b').default("."),
        /// Unix socket that gets the master of the terminal
        console_socket: Option<PathBuf> = value("console-socket", "SOCKET"),
        /// Unix socket that gets a pidfd of the process
        pidfd_socket: Option<PathBuf> = value("pidfd-socket", "SOCKET"),
        /// File that gets the pid of the process
        pid_file: Option<PathBuf> = value("pid-file", "FILE"),
        /// Move the root file system instead of pivot_root, for a ramdisk
        no_pivot: bool = switch("no-pivot"),
        /// Keep the session keyring of the caller
        no_new_keyring: bool = switch("no-new-keyring"),
        /// Pass this many file descriptors after stdio and $LISTEN_FDS
        preserve_fds: u32 = value("preserve-fds", "N").default("0"),
    }
    arguments {
        /// Name of the container
        id: String = ID,
    }
}

options! {
    /// `rt create`.
    pub struct Create with bundle: Bundle {
        /// What create always does; for callers that say so
        detach: bool = switch("detach").letter('d').hidden(),
    }
}

options! {
    /// `rt run`.
    pub struct Run with bundle: Bundle {
        /// Return when the process has started
        detach: bool = switch("detach").letter('d'),
        /// Do not delete the container when its process ends
        keep: bool = switch("keep"),
        /// What run always does; for callers that say so
        no_subreaper: bool = switch("no-subreaper").hidden(),
    }
}

options! {
    /// `rt state`.
    pub struct State {
        /// Also print the limits that the kernel enforces
        resources: bool = switch("resources"),
    }
    arguments {
        /// Name of the container
        id: String = ID,
    }
}

options! {
    /// `rt start`, `pause`, `resume`: only an id.
    pub struct OneId {
    }
    arguments {
        /// Name of the container
        id: String = ID,
    }
}

options! {
    /// `rt kill`.
    pub struct Kill {
        /// Signal every process, also of a container that has stopped
        all: bool = switch("all").letter('a'),
    }
    arguments {
        /// Name of the container
        id: String = ID,
        /// Name, with or without SIG, or number
        signal: String = Argument::new("SIGNAL", Count::Default("TERM")),
    }
}

options! {
    /// `rt delete`.
    pub struct Delete {
        /// Kill what runs, and succeed when nothing is there
        force: bool = switch("force").letter('f'),
    }
    arguments {
        /// Name of the container
        id: String = ID,
    }
}

options! {
    /// `rt exec`.
    pub struct Exec {
        /// Unix socket that gets the master of the terminal
        console_socket: Option<PathBuf> = value("console-socket", "SOCKET"),
        /// Unix socket that gets a pidfd of the process
        pidfd_socket: Option<PathBuf> = value("pidfd-socket", "SOCKET"),
        /// Working directory in the container
        cwd: Option<String> = value("cwd", "DIR"),
        /// Add NAME=VALUE to the environment
        env: Vec<String> = value("env", "NAME=VALUE").letter('e'),
        /// Give the process a terminal
        tty: bool = switch("tty").letter('t'),
        /// Run as these ids
        user: Option<UserIds> = value("user", "UID[:GID]").letter('u'),
        /// Add a supplementary group
        additional_gids: Vec<GroupId> = value("additional-gids", "GID").letter('g'),
        /// Read the process from this file, as JSON
        process: Option<PathBuf> = value("process", "FILE").letter('p'),
        /// Return when the process has started
        detach: bool = switch("detach").letter('d'),
        /// File that gets the pid of the process
        pid_file: Option<PathBuf> = value("pid-file", "FILE"),
        /// SELinux label of the process
        process_label: Option<String> = value("process-label", "LABEL"),
        /// AppArmor profile of the process
        apparmor: Option<String> = value("apparmor", "PROFILE"),
        /// Let the process gain no privileges
        no_new_privs: bool = switch("no-new-privs"),
        /// Add a capability to the bounding, effective and permitted sets
        cap: Vec<String> = value("cap", "CAP").letter('c'),
        /// Pass this many file descriptors after stdio and $LISTEN_FDS
        preserve_fds: u32 = value("preserve-fds", "N").default("0"),
        /// Run in this cgroup below the container's
        cgroup: Vec<String> = value("cgroup", "PATH"),
        /// Run in a paused container as well
        ignore_paused: bool = switch("ignore-paused"),
    }
    arguments {
        /// Name of the container
        id: String = ID,
        /// Program and its arguments, unless --process is given
        command: Vec<String> = Argument::new("COMMAND", Count::Rest),
    }
}

options! {
    /// `rt list`.
    pub struct List {
        /// How to print
        format: ListFormat = value("format", "FORMAT").letter('f').default("table").words(ListFormat::WORDS),
        /// Print ids only
        quiet: bool = switch("quiet").letter('q'),
    }
}

options! {
    /// `rt ps`.
    pub struct Ps {
        /// How to print
        format: ListFormat = value("format", "FORMAT").letter('f').default("table").words(ListFormat::WORDS),
    }
    arguments {
        /// Name of the container
        id: String = ID,
        /// Options of ps(1) [default: -ef]
        options: Vec<String> = Argument::new("PS OPTION", Count::Rest),
    }
}

options! {
    /// `rt spec`.
    pub struct Spec {
        /// Directory of the bundle
        bundle: PathBuf = value("bundle", "DIR").letter('b').default("."),
        /// For a container of an ordinary user
        rootless: bool = switch("rootless"),
    }
}

options! {
    /// `rt features`: nothing to say.
    pub struct Features {
    }
}

options! {
    /// `rt events`.
    pub struct Events {
        /// Time between two lines of statistics
        interval: Interval = value("interval", "TIME").default("5s"),
        /// Print the statistics once
        stats: bool = switch("stats"),
    }
    arguments {
        /// Name of the container
        id: String = ID,
    }
}

options! {
    /// `rt update`.
    pub struct Update {
        /// File with the resources as JSON, or - for stdin; instead of the other options
        resources: Option<PathBuf> = value("resources", "FILE").letter('r'),
        /// Weight of block IO, 10 to 1000
        blkio_weight: Option<u16> = value("blkio-weight", "WEIGHT"),
        /// Period of the CPU quota in microseconds
        cpu_period: Option<u64> = value("cpu-period", "US"),
        /// CPU time in each period in microseconds, or -1 for no limit
        cpu_quota: Option<i64> = value("cpu-quota", "US"),
        /// CPU time that can be saved up for later periods in microseconds
        cpu_burst: Option<u64> = value("cpu-burst", "US"),
        /// CPU shares, 2 to 262144
        cpu_share: Option<u64> = value("cpu-share", "SHARES"),
        /// 1 to get only the CPU time that nobody else wants
        cpu_idle: Option<i64> = value("cpu-idle", "0|1"),
        /// Realtime period in microseconds
        cpu_rt_period: Option<u64> = value("cpu-rt-period", "US"),
        /// Realtime in each period in microseconds
        cpu_rt_runtime: Option<i64> = value("cpu-rt-runtime", "US"),
        /// Processors, like 0-3,7
        cpuset_cpus: Option<String> = value("cpuset-cpus", "LIST"),
        /// Memory nodes
        cpuset_mems: Option<String> = value("cpuset-mems", "LIST"),
        /// Limit on memory, like 512M, or -1 for none
        memory: Option<Bytes> = value("memory", "SIZE"),
        /// Memory protected from reclaim (memory.low)
        memory_reservation: Option<Bytes> = value("memory-reservation", "SIZE"),
        /// Limit on memory and swap together, or -1 for none
        memory_swap: Option<Bytes> = value("memory-swap", "SIZE"),
        /// Without effect; for callers that give it
        kernel_memory: Option<Bytes> = value("kernel-memory", "SIZE").hidden(),
        /// Without effect; for callers that give it
        kernel_memory_tcp: Option<Bytes> = value("kernel-memory-tcp", "SIZE").hidden(),
        /// Maximum number of tasks, or -1 for no limit
        pids_limit: Option<i64> = value("pids-limit", "N"),
        /// Intel RDT schema of the L3 cache
        l3_cache_schema: Option<String> = value("l3-cache-schema", "SCHEMA"),
        /// Intel RDT schema of the memory bandwidth
        mem_bw_schema: Option<String> = value("mem-bw-schema", "SCHEMA"),
    }
    arguments {
        /// Name of the container
        id: String = ID,
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::Rootless;
    use super::super::values::UserIds;

    #[test]
    fn user_is_exact_or_an_error() {
        let ids = |uid, gid| Ok(UserIds { uid, gid });
        assert_eq!("1".parse::<UserIds>(), ids(1, None));
        assert_eq!("1:1".parse::<UserIds>(), ids(1, Some(1)));
        assert_eq!("0:4294967294".parse::<UserIds>(), ids(0, Some(u32::MAX - 1)));
        for text in [
            "",
            ":",
            ":1",
            "1:",
            "1:1:1",
            "0x1",
            "01",
            "00",
            " 1",
            "1 ",
            "+1",
            "-1",
            "1.0",
            "1e3",
            "root",
            "root:0",
            "0:root",
            "4294967295",
            "0:4294967295",
            "4294967296",
            "१",
            "18446744073709551616",
            "1\n",
            "1\0",
        ] {
            assert!(text.parse::<UserIds>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn rootless_is_a_boolean_or_auto() {
        assert_eq!("true".parse(), Ok(Rootless::True));
        assert_eq!("0".parse(), Ok(Rootless::False));
        assert_eq!("auto".parse(), Ok(Rootless::Auto));
        assert!("maybe".parse::<Rootless>().is_err());
    }
}
