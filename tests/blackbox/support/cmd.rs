//! Commands that always end: what hangs is killed, after a time that decides no test. How long
//! something takes is the machine's matter; where it has to be little, work is counted.
//!
//! Output goes to files, not to pipes: a container started by `create` keeps the runtime's
//! stdio open, and reading a pipe to its end would wait for the container.

use super::sys;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
    /// Children that were started here and not yet waited for.
    static OWN: RefCell<BTreeSet<i32>> = const { RefCell::new(BTreeSet::new()) };
    /// How adopted children ended.
    static ENDED: RefCell<BTreeMap<i32, i32>> = const { RefCell::new(BTreeMap::new()) };
}

/// Reaps the dead among the children that this subreaper was given, as an engine's monitor
/// does: a pid namespace ends only when all its processes are reaped, and the parent of an
/// `exec`ed process is outside.
pub fn reap_adopted() {
    for pid in super::leak::children() {
        let own = OWN.with_borrow(|own| own.contains(&pid));
        if !own
            && let Ok((reaped, status, _)) = sys::wait4(pid, libc::WNOHANG)
            && reaped == pid
        {
            ENDED.with_borrow_mut(|ended| ended.insert(pid, status));
        }
    }
}

/// The exit code of an adopted child, 128+n when a signal ended it; waits for it.
#[track_caller]
pub fn exit_code_of(pid: i32) -> i32 {
    let status = || ENDED.with_borrow(|ended| ended.get(&pid).copied());
    wait_until(&format!("process {pid} ends"), || status().is_some());
    let status = status().expect("waited for");
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

/// The binary under test as the caller named it.
pub fn runtime_path() -> PathBuf {
    std::env::var_os("RT_BIN").map_or_else(|| env!("CARGO_BIN_EXE_rt").into(), PathBuf::from)
}

/// How much slower than a real machine this one is.
pub fn slow() -> u32 {
    std::env::var("RT_TEST_SLOW").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// After what time something hangs: far above what anything takes, also on a busy machine.
pub fn patience() -> Duration {
    Duration::from_secs(100) + Duration::from_secs(20) * slow()
}

/// Polls until `done` says so.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience();
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        reap_adopted();
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A command to be run.
pub struct Cmd {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    inherit_env: bool,
    cwd: Option<PathBuf>,
    stdin: Option<Stdio>,
    output: Option<Stdio>,
    fds: Vec<(OwnedFd, RawFd)>,
    terminal: bool,
    limit: Duration,
    files: Option<(PathBuf, String)>,
    ignored: Vec<i32>,
    blocked: bool,
    limits: Vec<(u32, u64)>,
}

impl Cmd {
    pub fn new(argv: &[&str]) -> Cmd {
        Cmd {
            argv: argv.iter().map(|a| a.to_string()).collect(),
            env: vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())],
            inherit_env: false,
            cwd: None,
            stdin: None,
            output: None,
            fds: Vec::new(),
            terminal: false,
            limit: patience(),
            files: None,
            ignored: Vec::new(),
            blocked: false,
            limits: Vec::new(),
        }
    }
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.argv.push(arg.into());
        self
    }
    pub fn args(mut self, args: &[&str]) -> Self {
        self.argv.extend(args.iter().map(|a| a.to_string()));
        self
    }
    /// Has another program execute this command.
    pub fn through(mut self, program: &[&str]) -> Self {
        self.argv.splice(0..0, program.iter().map(|a| a.to_string()));
        self
    }
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
    pub fn inherit_env(mut self) -> Self {
        self.inherit_env = true;
        self
    }
    pub fn cwd(mut self, dir: &Path) -> Self {
        self.cwd = Some(dir.into());
        self
    }
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }
    /// The bytes to be read from standard input, as a file.
    pub fn input(self, bytes: &[u8]) -> Self {
        let path = self.file("in");
        fs::write(&path, bytes).expect("write the input");
        let file = File::open(path).expect("open the input");
        self.stdin(file)
    }
    /// Standard output and error, both to one descriptor instead of files.
    pub fn output(mut self, to: impl Into<Stdio>) -> Self {
        self.output = Some(to.into());
        self
    }
    /// Passes a descriptor at a given number.
    pub fn fd(mut self, fd: impl Into<OwnedFd>, at: RawFd) -> Self {
        self.fds.push((fd.into(), at));
        self
    }
    /// Stdio is this pty, which becomes the controlling terminal.
    pub fn terminal(mut self, slave: &OwnedFd) -> Self {
        let copy = || slave.try_clone().expect("dup");
        self.stdin = Some(copy().into());
        self.output = Some(copy().into());
        self.terminal = true;
        self
    }
    /// How long until it is killed, for what is no single step.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
    /// With these signals ignored. All others have their default action, whatever this process
    /// was started with: by nohup(1), or in the background of a script.
    pub fn ignoring(mut self, signals: &[i32]) -> Self {
        self.ignored = signals.to_vec();
        self
    }
    /// With all signals blocked.
    pub fn blocking(mut self) -> Self {
        self.blocked = true;
        self
    }
    /// With a soft limit (`RLIMIT_*`).
    pub fn limited(mut self, resource: u32, soft: u64) -> Self {
        self.limits.push((resource, soft));
        self
    }
    pub fn output_in(mut self, dir: &Path, name: &str) -> Self {
        self.files = Some((dir.into(), name.into()));
        self
    }

    fn file(&self, suffix: &str) -> PathBuf {
        let (dir, name) = self.files.clone().unwrap_or_else(|| {
            let number = COUNT.with(|c| c.replace(c.get() + 1));
            (std::env::temp_dir(), format!("rt-test-{}-{number}", std::process::id()))
        });
        fs::create_dir_all(&dir).expect("make the output directory");
        dir.join(format!("{name}.{suffix}"))
    }

    pub fn spawn(self) -> Running {
        let (out, err) = (self.file("out"), self.file("err"));
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]);
        if !self.inherit_env {
            command.env_clear();
        }
        command.envs(self.env);
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command.stdin(self.stdin.unwrap_or_else(Stdio::null));
        let split = self.output.is_none();
        match self.output {
            None => {
                command.stdout(File::create(&out).expect("make the output file"));
                command.stderr(File::create(&err).expect("make the output file"));
            }
            Some(output) => {
                // Stdio cannot be cloned; standard error follows in pre_exec.
                command.stdout(output).stderr(Stdio::null());
            }
        }
        let (fds, terminal) = (self.fds, self.terminal);
        let (ignored, blocked, limits) = (self.ignored, self.blocked, self.limits);
        let places: Vec<_> = fds.iter().map(|(fd, at)| (fd.as_raw_fd(), *at)).collect();
        let before_exec = move || {
            sys::default_signals();
            if !split {
                sys::place_fds(&[(1, 2)])?;
            }
            if terminal {
                sys::take_terminal()?;
            }
            sys::place_fds(&places)?;
            limits.iter().try_for_each(|(resource, soft)| sys::limit(*resource, *soft))?;
            sys::set_signals(&ignored, blocked)
        };
        // SAFETY: the closure only makes system calls; it neither allocates nor locks.
        unsafe { command.pre_exec(before_exec) };
        let started = Instant::now();
        // Waited for by its pid, in `Running::wait`.
        #[expect(clippy::zombie_processes)]
        let child = command.spawn().unwrap_or_else(|e| panic!("start {:?}: {e}", self.argv));
        let pid = child.id() as i32;
        OWN.with_borrow_mut(|own| own.insert(pid));
        drop(fds);
        Running { argv: self.argv, pid, started, limit: self.limit, out, err }
    }

    pub fn run(self) -> Out {
        self.spawn().wait()
    }
}

/// A command that runs.
pub struct Running {
    argv: Vec<String>,
    pub pid: i32,
    started: Instant,
    limit: Duration,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    pub fn kill(&self, signal: i32) {
        sys::kill(self.pid, signal).expect("kill");
    }

    /// What it has written so far.
    pub fn so_far(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    pub fn has_ended(&self) -> bool {
        let pidfd = sys::pidfd_open(self.pid).expect("pidfd_open");
        sys::readable(pidfd.as_fd(), Duration::ZERO)
    }

    /// Waits for its end; kills it when its time is over.
    pub fn wait(self) -> Out {
        let pidfd = sys::pidfd_open(self.pid).expect("pidfd_open");
        let deadline = self.started + self.limit;
        let mut ended = false;
        while !ended && Instant::now() < deadline {
            ended = sys::readable(pidfd.as_fd(), Duration::from_millis(20));
            // The runner has no adopted children but several threads with children.
            if std::env::var_os("RT_TEST_WORKER").is_some() {
                reap_adopted();
            }
        }
        let timed_out = !ended;
        if timed_out {
            self.kill(libc::SIGKILL);
        }
        let (_, status, usage) = sys::wait4(self.pid, 0).expect("wait4");
        OWN.with_borrow_mut(|own| own.remove(&self.pid));
        Out {
            code: (!timed_out && libc::WIFEXITED(status)).then(|| libc::WEXITSTATUS(status)),
            signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
            timed_out,
            took: self.started.elapsed(),
            peak_kb: usage.ru_maxrss,
            user: Duration::from_secs(usage.ru_utime.tv_sec as u64)
                + Duration::from_micros(usage.ru_utime.tv_usec as u64),
            argv: self.argv,
            out: self.out,
            err: self.err,
        }
    }
}

/// A command that ended. Its output files may still grow when a container has them open.
pub struct Out {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub timed_out: bool,
    took: Duration,
    pub peak_kb: i64,
    /// Processor time, without the kernel's.
    pub user: Duration,
    argv: Vec<String>,
    out: PathBuf,
    err: PathBuf,
}

impl Out {
    pub fn out(&self) -> String {
        fs::read(&self.out).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }
    pub fn err(&self) -> String {
        fs::read(&self.err).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }
    pub fn how(&self) -> String {
        let end = match (self.timed_out, self.code, self.signal) {
            (true, ..) => "had not ended in time".to_string(),
            (_, Some(code), _) => format!("ended with {code}"),
            (_, _, signal) => format!("died of signal {signal:?}"),
        };
        format!("{:?} {end} after {:?}", self.argv.join(" "), self.took)
    }
    /// It must have ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        let ok = self.code == Some(code);
        assert!(ok, "{}, not {code}\nstdout: {}\nstderr: {}", self.how(), self.out(), self.err());
        self
    }
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }
    /// It must have failed by itself, saying this on standard error.
    #[track_caller]
    pub fn fails(self, text: &str) -> Self {
        let ok = self.code.is_some_and(|c| c != 0);
        assert!(ok, "{}, but should fail\nstdout: {}\n{}", self.how(), self.out(), self.err());
        let err = self.err();
        assert!(err.contains(text), "{}: stderr lacks {text:?}:\n{err}", self.how());
        self
    }
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let out = self.out();
        serde_json::from_str(&out)
            .unwrap_or_else(|e| panic!("{}: not JSON ({e}):\n{out}\n{}", self.how(), self.err()))
    }
}
