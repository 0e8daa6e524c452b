//! Hooks as real processes. The clone of a process with threads is safe here because the
//! child keeps to the rules of the quiet zone.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::diag::field::Field;
use crate::sys::{cred, ns};

/// `/bin/sh -c script` with a PATH.
fn shell(script: &str, timeout: Option<u64>) -> Hook {
    let c = |text: &str| CString::new(text).expect("no NUL");
    Hook {
        path: c("/bin/sh"),
        args: vec![c("sh"), c("-c"), c(script)],
        env: vec![c("PATH=/usr/bin:/bin")],
        timeout: timeout.map(Duration::from_secs),
        field: Field::of("hooks.createRuntime[0]"),
    }
}

fn run_shell(script: &str, timeout: Option<u64>) -> Result<()> {
    let place = Place::Runtime { cwd: Path::new("/") };
    run(Kind::CreateRuntime, &[shell(script, timeout)], b"{\"id\":\"x\"}", place)
}

/// A directory for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rt-hooks-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_hook_gets_the_state_its_environment_and_three_descriptors() {
    let scratch = Scratch::new("gets");
    let script = "cat > state; env > env; ls -l /proc/self/fd > fds; pwd > cwd";
    let place = Place::Runtime { cwd: &scratch.0 };
    let state = format!("{{\"annotations\":\"{}\"}}", "x".repeat(300_000));
    run(Kind::CreateRuntime, &[shell(script, None)], state.as_bytes(), place).expect("success");
    assert_eq!(scratch.read("state"), state);
    assert_eq!(scratch.read("cwd").trim(), scratch.0.to_str().expect("text"));
    let env = scratch.read("env");
    let own = |line: &&str| !line.starts_with("PWD=") && !line.starts_with("_=");
    let own: Vec<&str> = env.lines().filter(own).collect();
    assert!(
        own.iter().all(|line| ["PATH=/usr/bin:/bin", "SHLVL=0", "OLDPWD="].contains(line)),
        "{env}"
    );
    // ls itself has the directory open as 3.
    let fds = scratch.read("fds");
    assert_eq!(fds.lines().filter(|line| line.contains(" -> ")).count(), 4, "{fds}");
}

#[test]
fn a_failure_says_which_hook_how_and_why() {
    let error = run_shell("echo this is; echo the reason >&2; exit 3", None).expect_err("failure");
    assert_eq!(
        error.to_string(),
        "error running createRuntime hook #0: /bin/sh: exit status 3: this is; the reason \
         (at hooks.createRuntime[0] in config.json)"
    );
    assert_eq!(error.step_of(), Some("createRuntime hook"));
    let error = run_shell("kill -9 $$", None).expect_err("failure").to_string();
    assert!(error.contains("killed by SIGKILL"), "{error}");
    let mut hook = shell("", None);
    hook.path = c"/no/such/hook".to_owned();
    let place = Place::Runtime { cwd: Path::new("/") };
    let error = run(Kind::Prestart, &[hook], b"{}", place).expect_err("failure").to_string();
    assert!(error.contains("no such file or directory (ENOENT)"), "{error}");
    assert!(error.starts_with("error running prestart hook #0: /no/such/hook: "), "{error}");
}

#[test]
fn a_failing_poststop_hook_does_not_stop_the_others() {
    let scratch = Scratch::new("poststop");
    let hooks = [shell("exit 1", None), shell("echo second > ran", None)];
    run(Kind::Poststop, &hooks, b"{}", Place::Runtime { cwd: &scratch.0 }).expect("a warning");
    assert_eq!(scratch.read("ran"), "second\n");
}

#[test]
fn endless_output_neither_blocks_nor_is_kept() {
    let script = "head -c 50000000 /dev/zero | tr '\\0' x >&2; echo; echo end >&2; exit 1";
    let error = run_shell(script, None).expect_err("failure").to_string();
    assert!(error.len() < 5000 && error.contains("; end"), "{} bytes", error.len());
}

/// Whether a process whose pid is in the file is still there.
fn alive(scratch: &Scratch, name: &str) -> bool {
    let pid: i32 = scratch.read(name).trim().parse().expect("a pid");
    crate::sys::proc::stat(pid).is_ok_and(|stat| !stat.is_dead())
}

/// Waits for what must come to be; the limit is for what hangs.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < give_up, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The error of a hook that never ends, with its timeout. Whoever is not ready before that, on a busy
/// machine, is given more time.
fn timeout_of(ready: &str, run: impl Fn(u64) -> Result<()>) -> (u64, String) {
    for timeout in [1, 4, 16, 64] {
        let error = run(timeout).expect_err("a timeout").to_string();
        if error.contains(ready) {
            return (timeout, error);
        }
    }
    panic!("the hook is not ready after a minute");
}

#[test]
fn at_the_timeout_all_of_it_dies() {
    let scratch = Scratch::new("timeout");
    let script = "setsid sh -c 'echo $$ > a; (echo; exec sleep 1000) & echo $! > b; wait' &
        (setsid sh -c 'echo $$ > c; exec sleep 1000' &)
        while [ ! -s a ] || [ ! -s b ] || [ ! -s c ]; do sleep 0.01; done
        echo waiting >&2; sleep 1000";
    let (timeout, error) = timeout_of("waiting", |timeout| {
        for name in ["a", "b", "c"] {
            let _ = fs::remove_file(scratch.0.join(name));
        }
        let place = Place::Runtime { cwd: &scratch.0 };
        run(Kind::CreateRuntime, &[shell(script, Some(timeout))], b"{}", place)
    });
    let text = format!("timeout of {timeout} s and was killed: waiting");
    assert!(error.contains(&text), "{error}");
    for name in ["a", "b", "c"] {
        wait_until(name, || !alive(&scratch, name));
    }
}

#[test]
fn what_a_successful_hook_leaves_behind_lives_on() {
    let scratch = Scratch::new("daemon");
    let script = "setsid sleep 1000 & echo $! > daemon";
    let place = Place::Runtime { cwd: &scratch.0 };
    run(Kind::CreateRuntime, &[shell(script, None)], b"{}", place).expect("success");
    // Whoever had waited for its end would find it dead.
    assert!(alive(&scratch, "daemon"));
    let pid = scratch.read("daemon").trim().parse().expect("a pid");
    pidfd::send_signal(pidfd::open(pid).expect("it").as_fd(), libc::SIGKILL).expect("killed");
}

/// A process in new namespaces that ends with the test.
fn container(namespaces: i32) -> Option<(OwnedFd, OwnedFd)> {
    let (end, end_writer) = io::pipe().expect("a pipe");
    let (ready, ready_writer) = io::pipe().expect("a pipe");
    let (end_fd, writer) = (end.as_raw_fd(), end_writer.as_raw_fd());
    let (ready_fd, go) = (ready.as_raw_fd(), ready_writer.as_raw_fd());
    match clone::clone3(namespaces as u64, None, None) {
        Ok(Side::Child) => {
            for fd in [writer, ready_fd] {
                crate::sys::fs::close(fd);
            }
            let _ = cred::set_parent_death_signal(libc::SIGKILL);
            let _ = ns::sethostname(b"hooktest");
            let _ = crate::sys::fs::write(go, b".");
            let _ = crate::sys::fs::read(end_fd, &mut [0]);
            clone::exit(0)
        }
        Ok(Side::Parent { pidfd, .. }) => {
            drop(ready_writer);
            crate::sys::fs::read(ready_fd, &mut [0]).expect("ready");
            Some((fd::own(pidfd), end_writer))
        }
        Err(Errno::EPERM) => None,
        Err(errno) => panic!("clone3: {errno}"),
    }
}

#[test]
fn a_container_hook_is_in_the_namespaces_of_the_container() {
    let namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWNS;
    let Some((process, end)) = container(namespaces) else {
        eprintln!("skipped: namespaces need root");
        return;
    };
    let (pidfd, namespaces) = (process.as_fd(), namespaces as u64);
    let place = Place::Container { pidfd, namespaces, root: Root::OfInit, rights: None };
    let run =
        |script: &str, timeout| run(Kind::CreateContainer, &[shell(script, timeout)], b"{}", place);
    let orphans = |words: &str| {
        let cmdline = |pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let pids = crate::sys::proc::pids().expect("pids");
        pids.into_iter().any(|pid| cmdline(pid) == words.as_bytes())
    };
    run("test $(hostname) = hooktest || exit 2; test $(pwd) = / || exit 3; test $$ -lt 9", None)
        .expect("inside");
    // Out of reach for the subreaper: the orphan goes to the container's first process.
    let seconds = format!("4711{}", std::process::id());
    let script = format!("(setsid sleep {seconds} &) ; echo ready >&2; sleep 1000");
    timeout_of("ready", |timeout| run(&script, Some(timeout)));
    assert!(pidfd::wait(process.as_fd(), true).expect("our child").is_none(), "still there");
    wait_until("the orphan is dead", || !orphans(&format!("sleep\0{seconds}\0")));
    drop(end);
    pidfd::wait(process.as_fd(), false).expect("the end");
}

#[test]
fn a_hook_in_a_user_namespace_is_its_root_and_sees_the_root_of_the_host() {
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWUTS;
    let Some((process, end)) = container(namespaces) else {
        eprintln!("skipped: no user namespace can be made");
        return;
    };
    let pid = pidfd::pid(process.as_fd()).expect("its pid");
    for map in ["uid_map", "gid_map"] {
        if fs::write(format!("/proc/{pid}/{map}"), "0 100000 1000").is_err() {
            eprintln!("skipped: mapping the ids of others needs root");
            return;
        }
    }
    let (pidfd, namespaces) = (process.as_fd(), namespaces as u64);
    let place = Place::Container { pidfd, namespaces, root: Root::OfNamespace, rights: None };
    let script = "test $(id -u):$(id -g) = 0:0 || exit 2; test $(hostname) = hooktest || exit 3
        test $(pwd) = / || exit 4; test -e /proc/self || exit 5; id -G | grep -qx 0";
    run(Kind::CreateContainer, &[shell(script, None)], b"{}", place).expect("inside");
    drop(end);
    pidfd::wait(process.as_fd(), false).expect("the end");
}
