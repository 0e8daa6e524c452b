//! Which tests there are, which of them can run here, and the runner.

use super::cmd::{self, Cmd};
use super::{isolate, rootfs, sys};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The user whom rootless tests become when the suite was started by root.
pub const ORDINARY_USER: u32 = 60_000;

/// The runtime under test, as it names itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Rt,
    Runc,
    Crun,
}

impl Kind {
    /// `dir` is for the command's output.
    pub fn of(binary: &Path, dir: &Path) -> Kind {
        let version = Cmd::new(&[&binary.to_string_lossy(), "--version"]);
        let version = version.output_in(dir, "version").run().out();
        Kind::named(version.split_whitespace().next().unwrap_or_default())
    }

    pub fn named(name: &str) -> Kind {
        match name {
            "runc" => Kind::Runc,
            "crun" => Kind::Crun,
            _ => Kind::Rt,
        }
    }
}

/// What a test needs and a machine may lack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// A v2 controller, enabled for the tests' cgroups: those of an ordinary user are where
    /// theirs is, and only when that was delegated to them.
    Controller(&'static str),
    /// Cgroups made by files: the place of the container's is then the test's choice.
    FileDriver,
    /// The absence of a v2 controller.
    NoController(&'static str),
    /// A program of the host.
    Tool(&'static str),
    /// RT_TEST_DEBIAN.
    Debian,
    /// User namespaces.
    UserNamespace,
    /// A capability, by name and number.
    Capability(&'static str, u32),
    /// AppArmor in the kernel.
    AppArmor,
    /// SELinux, enabled, with the types of containers in its policy.
    SeLinux,
    /// No AppArmor in the kernel.
    NoAppArmor,
    /// A type of file system that the kernel has at hand.
    FileSystem(&'static str),
    /// A systemd in which we may make units. Root's tests are shut off from that of the
    /// machine, unless RT_TEST_HOST is set.
    Systemd,
    /// No systemd to be seen.
    NoSystemd,
}

impl Need {
    /// What is missing, if something is.
    fn missing(self) -> Option<String> {
        let (there, what) = match self {
            Need::Controller(name) => (has_controller(name), format!("the v2 controller {name}")),
            Need::FileDriver => {
                (!super::case::with_systemd(), "the driver that makes cgroups by files".to_string())
            }
            Need::NoController(name) => {
                (!has_controller(name), format!("a machine without the v2 controller {name}"))
            }
            Need::Tool(name) => (find_tool(name).is_some(), name.to_string()),
            Need::Debian => {
                (std::env::var_os("RT_TEST_DEBIAN").is_some(), "RT_TEST_DEBIAN".to_string())
            }
            Need::UserNamespace => (
                fs::read_to_string("/proc/sys/user/max_user_namespaces")
                    .is_ok_and(|n| n.trim() != "0"),
                "user namespaces".to_string(),
            ),
            Need::Capability(name, number) => (has_capability(number), name.to_string()),
            Need::AppArmor => (has_apparmor(), "AppArmor".to_string()),
            Need::FileSystem(name) => (has_file_system(name), format!("{name} in the kernel")),
            Need::Systemd => (has_systemd(), "a systemd of ours".to_string()),
            Need::NoSystemd => (!booted_with_systemd(), "a machine without systemd".to_string()),
            Need::SeLinux => (Path::new("/sys/fs/selinux/enforce").exists(), "SELinux".to_string()),
            Need::NoAppArmor => (!has_apparmor(), "a kernel without AppArmor".to_string()),
        };
        (!there).then(|| format!("needs {what}"))
    }
}

fn has_controller(name: &str) -> bool {
    let dir = if sys::is_root() { Some("/sys/fs/cgroup".into()) } else { delegated() };
    dir.is_some_and(|dir| {
        fs::read_to_string(dir.join("cgroup.subtree_control"))
            .is_ok_and(|list| list.split_whitespace().any(|c| c == name))
    })
}

/// The cgroup around our own, if cgroups can be made in it.
fn delegated() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let dir = Path::new("/sys/fs/cgroup").join(own).parent()?.to_path_buf();
    let ours = nix::unistd::access(&dir, nix::unistd::AccessFlags::W_OK).is_ok();
    ours.then_some(dir)
}

/// sd_booted(3)
fn booted_with_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

fn has_systemd() -> bool {
    let of_user = || {
        let directory = std::env::var_os("XDG_RUNTIME_DIR");
        directory.is_some_and(|dir| Path::new(&dir).join("systemd/private").exists())
    };
    booted_with_systemd() && if sys::is_root() { on_host() } else { of_user() }
}

/// RT_TEST_HOST: root uses the machine as it is.
pub fn on_host() -> bool {
    std::env::var_os("RT_TEST_HOST").is_some()
}

fn has_file_system(name: &str) -> bool {
    fs::read_to_string("/proc/filesystems")
        .is_ok_and(|list| list.lines().any(|line| line.split_whitespace().last() == Some(name)))
}

fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 << number != 0)
}

fn has_apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|on| on.starts_with('Y'))
}

pub fn find_tool(name: &str) -> Option<PathBuf> {
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists())
}

/// Who runs the runtime in a test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    Root,
    Ordinary,
    Any,
}

/// One test and the marks on it.
pub struct Test {
    pub name: String,
    pub run: fn(&super::Case),
    user: User,
    needs: Vec<Need>,
    differs: Vec<(Kind, &'static str)>,
}

impl Test {
    pub fn new(module: &str, name: &str, run: fn(&super::Case)) -> Test {
        let module = module.rsplit("::").next().unwrap_or(module);
        Test {
            name: format!("{module}::{name}"),
            run,
            user: User::Root,
            needs: Vec::new(),
            differs: Vec::new(),
        }
    }
    /// Puts the module's name under another one.
    pub fn in_group(mut self, group: &str) -> Self {
        self.name = format!("{group}::{}", self.name);
        self
    }
    pub fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }
    /// Runs as whoever started the suite.
    pub fn anyone(mut self) -> Self {
        self.user = User::Any;
        self
    }
    /// Runs as an ordinary user, also when root started the suite.
    pub fn rootless(mut self) -> Self {
        self.user = User::Ordinary;
        self.needs(Need::UserNamespace)
    }
    pub fn is_rootless(&self) -> bool {
        self.user == User::Ordinary
    }
    /// A rule of `rt` beyond what the peers do.
    pub fn rt_only(self) -> Self {
        self.except_runc("not a rule of this runtime").except_crun("not a rule of this runtime")
    }
    /// A known difference of Debian's runc, with the reason.
    pub fn except_runc(mut self, why: &'static str) -> Self {
        self.differs.push((Kind::Runc, why));
        self
    }
    /// A known difference of Debian's crun, with the reason.
    pub fn except_crun(mut self, why: &'static str) -> Self {
        self.differs.push((Kind::Crun, why));
        self
    }
    fn why_not(&self, kind: Kind) -> Option<String> {
        if self.user == User::Root && !sys::is_root() {
            return Some("needs root".to_string());
        }
        let differs = self.differs.iter().find(|(k, _)| *k == kind);
        differs
            .map(|(_, why)| format!("{kind:?}: {why}"))
            .or_else(|| self.needs.iter().find_map(|need| need.missing()))
    }
}

/// Entry of the runner.
pub fn main(tests: Vec<Test>) -> ExitCode {
    let mut args = Arguments::from_args();
    if args.list {
        return libtest_mimic::run(&args, trials(tests, Path::new(""), Kind::Rt)).exit_code();
    }
    // Tests are processes and mostly wait: a few more than there are processors.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    args.test_threads = args.test_threads.or(Some(cores + 1));

    let scratch = match scratch_directory() {
        Ok(path) => path,
        Err(error) => {
            eprintln!("cannot make a scratch directory: {error}");
            return ExitCode::from(2);
        }
    };
    let suite = || {
        let runtime = match rootfs::furnish(&scratch) {
            Ok(path) => path,
            Err(error) => {
                eprintln!("cannot prepare {}: {error}", scratch.display());
                return ExitCode::from(2);
            }
        };
        let kind = Kind::of(&runtime, &scratch.join("workers"));
        println!("testing {} as {kind:?}", cmd::runtime_path().display());
        let code = libtest_mimic::run(&args, trials(tests, &scratch, kind)).exit_code();
        tell_the_slowest();
        code
    };
    let code = if sys::is_root() && !on_host() { isolate::run(&scratch, suite) } else { suite() };
    if std::env::var_os("RT_TEST_KEEP").is_none() {
        let _ = fs::remove_dir_all(&scratch);
    }
    code
}

fn scratch_directory() -> std::io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("rt-test-{}", std::process::id()));
    fs::create_dir(&path)?;
    path.canonicalize()
}

fn trials(tests: Vec<Test>, scratch: &Path, kind: Kind) -> Vec<Trial> {
    let scratch: Arc<Path> = scratch.into();
    let trial = |test: Test| {
        let scratch = scratch.clone();
        Trial::ignorable_test(test.name.clone(), move || match test.why_not(kind) {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => {
                let begin = Instant::now();
                let outcome = run_worker(&test, &scratch, kind);
                if let Ok(mut times) = TIMES.lock() {
                    times.push((begin.elapsed(), test.name.clone()));
                }
                outcome
            }
        })
    };
    tests.into_iter().map(trial).collect()
}

/// How long the tests have taken so far.
static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// Where the time of a whole run goes: this decides nothing.
fn tell_the_slowest() {
    let mut times = TIMES.lock().map(|times| times.clone()).unwrap_or_default();
    times.sort();
    if times.len() > 20 {
        let slowest = times.iter().rev().take(20);
        let list: Vec<_> =
            slowest.map(|(time, name)| format!("{name} {} s", time.as_secs())).collect();
        println!("the slowest: {}", list.join(", "));
    }
}

/// Runs one test in a process of its own.
fn run_worker(test: &Test, scratch: &Path, kind: Kind) -> Result<Completion, Failed> {
    let out = Cmd::new(&["/proc/self/exe"])
        .env("RT_TEST_WORKER", &test.name)
        .env("RT_TEST_KIND", &format!("{kind:?}").to_lowercase())
        .env("RT_TEST_SCRATCH", &scratch.to_string_lossy())
        .inherit_env()
        .env("RUST_BACKTRACE", "0")
        .output_in(&scratch.join("workers"), &test.name.replace("::", "."))
        .limit(cmd::patience() * 5)
        .run();
    let directory = super::worker::directory(scratch, &test.name);
    if sys::is_root() {
        let _ = isolate::remove_cgroup(&super::worker::cgroup(&test.name));
    }
    let _ = fs::remove_dir_all(directory);
    match out.code {
        Some(0) => Ok(Completion::Completed),
        Some(super::worker::SKIPPED) => Ok(Completion::ignored_with(out.out().trim())),
        _ => Err(format!("{}{}{}", out.out(), out.err(), out.how()).into()),
    }
}
