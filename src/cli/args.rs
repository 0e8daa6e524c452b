//! The options of every verb, as runc knows them: one struct for each.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::values::{Bytes, Interval, UserIds, number, own_id};

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object on a line.
    Json,
}

/// What is logged at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    #[value(alias = "warn")]
    Warning,
    Info,
    Debug,
}

/// Who manages cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    /// `rt` itself, by files.
    #[default]
    Cgroupfs,
    /// A transient scope of systemd.
    Systemd,
    /// Nobody: the container stays in the cgroup of the caller.
    Disabled,
}

/// Whether the lack of privileges over cgroups is forgiven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rootless {
    /// When `rt` does not run as root of the initial user namespace.
    #[default]
    Auto,
    /// Always.
    True,
    /// Never.
    False,
}

impl FromStr for Rootless {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match super::flags::boolean(text) {
            Some(true) => Ok(Rootless::True),
            Some(false) => Ok(Rootless::False),
            None if text == "auto" => Ok(Rootless::Auto),
            None => Err("expected true, false or auto".to_owned()),
        }
    }
}

/// The options before the verb.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Global {
    /// Directory of the state of all containers [default: /run/rt, or $XDG_RUNTIME_DIR/rt]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// File that the log is appended to, instead of stderr
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Format of the log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Least level that is logged [default: warning, or error for json]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Log everything
    #[arg(long)]
    pub debug: bool,
    /// Let systemd manage the cgroup
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Who manages the cgroup
    #[arg(long, value_name = "MANAGER", default_value = "cgroupfs")]
    pub cgroup_manager: CgroupManager,
    /// Whether a lack of privileges over cgroups is forgiven: true, false or auto
    #[arg(long, value_name = "BOOL", default_value = "auto")]
    pub rootless: Rootless,
    /// Print the version
    #[arg(long, short = 'v')]
    pub version: bool,
}

/// What `create` and `run` have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct Bundle {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Unix socket that gets the master of the terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that gets a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// File that gets the pid of the process
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Move the root file system instead of pivot_root, for a ramdisk
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the session keyring of the caller
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Pass this many file descriptors after stdio and $LISTEN_FDS
    #[arg(long, value_name = "N", default_value = "0", value_parser = number)]
    pub preserve_fds: u32,
    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `rt create`.
#[derive(Debug, Clone, Default, Args)]
pub struct Create {
    /// The container.
    #[command(flatten)]
    pub bundle: Bundle,
    /// What create always does; for callers that say so
    #[arg(long, short, hide = true)]
    pub detach: bool,
}

/// `rt run`.
#[derive(Debug, Clone, Default, Args)]
pub struct Run {
    /// The container.
    #[command(flatten)]
    pub bundle: Bundle,
    /// Return when the process has started
    #[arg(long, short)]
    pub detach: bool,
    /// Do not delete the container when its process ends
    #[arg(long)]
    pub keep: bool,
    /// Do not become the parent of orphans
    #[arg(long)]
    pub no_subreaper: bool,
}

/// `rt state`.
#[derive(Debug, Clone, Default, Args)]
pub struct State {
    /// Also print the limits that the kernel enforces
    #[arg(long)]
    pub resources: bool,
    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `rt start`, `pause`, `resume`: only an id.
#[derive(Debug, Clone, Default, Args)]
pub struct OneId {
    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `rt kill`.
#[derive(Debug, Clone, Default, Args)]
pub struct Kill {
    /// Signal every process, also of a container that has stopped
    #[arg(long, short)]
    pub all: bool,
    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,
    /// Name, with or without SIG, or number
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    pub signal: String,
}

/// `rt delete`.
#[derive(Debug, Clone, Default, Args)]
pub struct Delete {
    /// Kill what runs, and succeed when nothing is there
    #[arg(long, short)]
    pub force: bool,
    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `rt exec`.
#[derive(Debug, Clone, Default, Args)]
pub struct Exec {
    /// Unix socket that gets the master of the terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that gets a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Add NAME=VALUE to the environment
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give the process a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// Run as these ids
    #[arg(long, short, value_name = "UID[:GID]")]
    pub user: Option<UserIds>,
    /// Add a supplementary group
    #[arg(long, short = 'g', value_name = "GID", value_parser = own_id)]
    pub additional_gids: Vec<u32>,
    /// Read the process from this file, as JSON
    #[arg(long, short, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Return when the process has started
    #[arg(long, short)]
    pub detach: bool,
    /// File that gets the pid of the process
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Let the process gain no privileges
    #[arg(long)]
    pub no_new_privs: bool,
    /// Add a capability to the bounding, effective and permitted sets
    #[arg(long, short, value_name = "CAP")]
    pub cap: Vec<String>,
    /// Pass this many file descriptors after stdio and $LISTEN_FDS
    #[arg(long, value_name = "N", default_value = "0", value_parser = number)]
    pub preserve_fds: u32,
    /// Run in this cgroup below the container's
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<String>,
    /// Run in a paused container as well
    #[arg(long)]
    pub ignore_paused: bool,
    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,
    /// Program and its arguments, unless --process is given
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// How `list` and `ps` print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Columns with a heading.
    #[default]
    Table,
    /// JSON on one line.
    Json,
}

/// `rt list`.
#[derive(Debug, Clone, Default, Args)]
pub struct List {
    /// How to print
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// Print ids only
    #[arg(long, short)]
    pub quiet: bool,
}

/// `rt ps`.
#[derive(Debug, Clone, Default, Args)]
pub struct Ps {
    /// How to print
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,
    /// Options of ps(1) [default: -ef]
    #[arg(value_name = "PS OPTION")]
    pub options: Vec<String>,
}

/// `rt spec`.
#[derive(Debug, Clone, Default, Args)]
pub struct Spec {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// For a container of an ordinary user
    #[arg(long)]
    pub rootless: bool,
}

/// `rt features`: nothing to say.
#[derive(Debug, Clone, Default, Args)]
pub struct Features {}

#[cfg(test)]
mod tests {
    use super::*;

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

/// `rt events`.
#[derive(Debug, Clone, Default, Args)]
pub struct Events {
    /// Time between two lines of statistics
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub interval: Interval,
    /// Print the statistics once
    #[arg(long)]
    pub stats: bool,
    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `rt update`.
#[derive(Debug, Clone, Default, Args)]
pub struct Update {
    /// File with the resources as JSON, or - for stdin; instead of the other options
    #[arg(long, short, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Weight of block IO, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Period of the CPU quota in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_period: Option<u64>,
    /// CPU time in each period in microseconds, or -1 for no limit
    #[arg(long, value_name = "US")]
    pub cpu_quota: Option<i64>,
    /// CPU time that can be saved up for later periods in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_burst: Option<u64>,
    /// CPU shares, 2 to 262144
    #[arg(long, value_name = "SHARES")]
    pub cpu_share: Option<u64>,
    /// 1 to get only the CPU time that nobody else wants
    #[arg(long, value_name = "0|1")]
    pub cpu_idle: Option<i64>,
    /// Realtime period in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_rt_period: Option<u64>,
    /// Realtime in each period in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_rt_runtime: Option<i64>,
    /// Processors, like 0-3,7
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Limit on memory, like 512M, or -1 for none
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Bytes>,
    /// Memory that is not reclaimed as long as others have some
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<Bytes>,
    /// Limit on memory and swap together, or -1 for none
    #[arg(long, value_name = "SIZE")]
    pub memory_swap: Option<Bytes>,
    /// Without effect; for callers that give it
    #[arg(long, value_name = "SIZE", hide = true)]
    pub kernel_memory: Option<Bytes>,
    /// Without effect; for callers that give it
    #[arg(long, value_name = "SIZE", hide = true)]
    pub kernel_memory_tcp: Option<Bytes>,
    /// Most tasks, or -1 for no limit
    #[arg(long, value_name = "N")]
    pub pids_limit: Option<i64>,
    /// Intel RDT schema of the L3 cache
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Intel RDT schema of the memory bandwidth
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// Name of the container
    #[arg(value_name = "ID")]
    pub id: String,
}
