//! System calls that fail, resources that run out, many callers at once: an error and
//! nothing left, without any `delete`, and never a hang.

use crate::support::cmd::{Cmd, slow};
use crate::support::{Bundle, Case, ID, Need, sys};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

tests! {
    failing_call_in_run_leaves_nothing: needs(Need::Tool("strace")).rt_only(),
    failing_call_in_create_leaves_nothing_or_a_container: needs(Need::Tool("strace")).rt_only(),
    a_failed_create_leaves_nothing_in_the_root: rt_only().needs(Need::UserNamespace),
    a_failed_create_leaves_the_mount_points_of_others: rt_only(),
    few_descriptors_are_an_error_or_enough: rt_only(),
    full_state_directory_leaves_nothing: rt_only(),
    read_only_state_directory_is_an_error,
    one_of_many_simultaneous_creates_wins: rt_only(),
    simultaneous_deletes_agree: rt_only(),
    many_fast_runs_never_hang,
    many_containers_at_once,
}

/// Each system call that the command makes, once for each of some of its occurrences: which
/// calls there are is told by a run without a fault.
fn faults(c: &Case, everyone: bool, args: &[&str]) -> Vec<(String, usize)> {
    let log = c.path_str("calls");
    trace(c, everyone, &["-o", &log], args).ok();
    c.down();
    let text = fs::read_to_string(&log).expect("read the trace");
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for line in text.lines() {
        let line = line.trim_start_matches(|ch: char| ch.is_ascii_digit() || ch == ' ');
        if let Some((name, _)) = line.split_once('(')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            *counts.entry(name.to_string()).or_default() += 1;
        }
    }
    let chosen: &[usize] = if slow() > 1 { &[2] } else { &[1, 2, 3, 5, 8, 13, 21] };
    let each = |(name, count): (String, usize)| {
        let occurrences = chosen.iter().filter(move |n| **n <= count);
        occurrences.map(move |n| (name.clone(), *n)).collect::<Vec<_>>()
    };
    // Without brk(2) the container's program dies of SIGSEGV at once, again and again: a
    // tracer keeps the kernel from ending the first process of a pid namespace by it.
    let ends = ["brk", "exit", "exit_group", "execve", "rt_sigreturn"];
    counts.into_iter().filter(|(name, _)| !ends.contains(&name.as_str())).flat_map(each).collect()
}

/// Runs it below strace; `everyone`: also the processes that it starts.
fn trace(c: &Case, everyone: bool, flags: &[&str], args: &[&str]) -> crate::support::Out {
    let mut cmd = Cmd::new(&["strace"]).args(flags);
    if everyone {
        cmd = cmd.arg("-f");
    }
    cmd = cmd.arg(c.runtime.to_string_lossy()).args(&["--root", &c.state.to_string_lossy()]);
    cmd.args(args).run()
}

fn with_fault(c: &Case, everyone: bool, fault: &str, args: &[&str]) -> crate::support::Out {
    trace(c, everyone, &["-o", "/dev/null", &format!("--inject={fault}")], args)
}

/// What is there although the command failed; afterwards it is gone.
fn leftovers(c: &Case, out: &crate::support::Out) -> Option<String> {
    let state = fs::read_dir(&c.state).expect("read the root").count();
    let group = c.cgroup_dir().is_some_and(|d| d.join(ID).exists());
    if out.timed_out || state > 0 || group {
        let delete = c.rt(&["delete", "--force", ID]);
        let deleted = if delete.code == Some(0) { "" } else { "NOT DELETABLE: " };
        let what = if out.timed_out { "hangs" } else { "leaves something" };
        c.reset_cgroup();
        return Some(format!("{deleted}{what}: {}", out.err().trim()));
    }
    None
}

fn failing_call_in_run_leaves_nothing(c: &Case) {
    let dir = c.bundle().save();
    let mut wrong = Vec::new();
    let args = ["run", "-b", &dir, ID];
    for (i, (call, occurrence)) in faults(c, true, &args).into_iter().enumerate() {
        let errno = ["ENOMEM", "EPERM"][i % 2];
        let fault = format!("{call}:error={errno}:when={occurrence}");
        let out = with_fault(c, true, &fault, &args);
        if let Some(left) = leftovers(c, &out) {
            wrong.push(format!("{fault} {left}"));
        // The container's program may fail as well; only the runtime must say why.
        } else if out.code.is_some_and(|n| n != 0 && n < 100) && out.err().is_empty() {
            wrong.push(format!("{fault} fails silently: {}", out.how()));
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
    c.nothing_left();
}

fn failing_call_in_create_leaves_nothing_or_a_container(c: &Case) {
    let dir = c.bundle().args(&["/probe", "sleep"]).save();
    let mut wrong = Vec::new();
    let pid_file = c.path_str("pid");
    let args = ["create", "-b", &dir, "--pid-file", &pid_file, ID];
    let faults = faults(c, false, &args);
    fs::remove_file(&pid_file).expect("the pid file of the run without a fault");
    for (call, occurrence) in faults {
        let fault = format!("{call}:error=EIO:when={occurrence}");
        let out = with_fault(c, false, &fault, &args);
        if out.code == Some(0) {
            if c.rt(&["state", ID]).code != Some(0) {
                wrong.push(format!("{fault} makes a container without a state"));
            }
            c.down();
        } else if c.path("pid").exists() {
            wrong.push(format!("{fault} leaves a pid file: {}", out.err().trim()));
        }
        wrong.extend(leftovers(c, &out).map(|left| format!("{fault} {left}")));
        let _ = fs::remove_file(&pid_file);
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
    c.nothing_left();
}

/// Every name below a directory, with its type and its inode number.
fn tree(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = vec![dir.to_path_buf()];
    while let Some(next) = rest.pop() {
        for entry in fs::read_dir(next).expect("read a directory").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
            let inode = entry.metadata().expect("metadata").ino();
            all.push(format!("{} {kind:?} {inode}", path.display()));
            rest.extend(kind.is_dir().then_some(path));
        }
    }
    all.sort();
    all
}

/// Mount points behind a link, for a file, several levels deep; nodes, links and a working directory
/// in the root itself.
fn makes_much_in_the_root(c: &Case, b: &mut Bundle) {
    symlink("made/by/link", b.rootfs("link")).unwrap();
    let file = c.path_str("file");
    fs::write(&file, "").unwrap();
    b.unmount("/dev").unmount("/dev/pts").unmount("/dev/shm").unmount("/dev/mqueue");
    b.mount("/link/x", "tmpfs", "tmpfs", &[]);
    b.mount("/new/a/b", "tmpfs", "tmpfs", &[]);
    b.mount("/new/a/file", "none", &file, &["bind"]);
    b.set("/process/cwd", json!("/made/here"));
    b.set("/root/readonly", json!(true));
    let fifo = json!({"path": "/devices/fifo", "type": "p"});
    b.push("/linux/devices", fifo);
}

fn a_failed_create_leaves_nothing_in_the_root(c: &Case) {
    let mut b = c.bundle();
    makes_much_in_the_root(c, &mut b);
    let mut of_user = c.named_bundle("of-user");
    makes_much_in_the_root(c, &mut of_user);
    if !c.rootless {
        of_user.user_namespace();
    }
    for b in [&mut b, &mut of_user] {
        let before = tree(&b.rootfs("/"));
        c.run(b.args(&["/no/such/program"])).exits(1);
        assert_eq!(tree(&b.rootfs("/")), before, "no program");
        let hook = json!([{"path": "/bin/false"}]);
        c.run(b.args(&["/bin/true"]).set("/hooks/createRuntime", hook)).exits(1);
        assert_eq!(tree(&b.rootfs("/")), before, "a failing hook");
        c.run(b.remove("/hooks").clone().set("/process/rlimits/0/type", json!("x"))).exits(1);
        assert_eq!(tree(&b.rootfs("/")), before, "a bad configuration");
    }
    // proc is never mounted behind a link, and what came before it goes again.
    fs::create_dir(b.rootfs("plain")).unwrap();
    symlink("plain", b.rootfs("bent")).unwrap();
    b.mount("/bent/proc", "proc", "proc", &[]);
    let before = tree(&b.rootfs("/"));
    let out = c.run(&b).exits(1);
    assert!(out.err().contains("without a link on the way"), "{}", out.err());
    assert_eq!(tree(&b.rootfs("/")), before, "a link on the way to proc");
    // A terminal that cannot be is refused before anything is made.
    b.config["mounts"].as_array_mut().unwrap().pop();
    let out = c.rt(&["run", "-b", &b.set("/process/terminal", json!(true)).save(), ID]).exits(1);
    let why = "process.terminal: needs a devpts at /dev/pts, which mounts does not have";
    assert!(out.err().contains(why), "{}", out.err());
    assert_eq!(tree(&b.rootfs("/")), before, "no devpts");
    c.nothing_left();
}

/// What is mounted on a directory goes with the directory.
fn a_failed_create_leaves_the_mount_points_of_others(c: &Case) {
    let mut b = c.bundle();
    b.mount("/shared", "tmpfs", "tmpfs", &[]);
    // Made while the first one waits for its hook, in the same root.
    let mut other = c.named_bundle("other");
    other.config["mounts"] = b.config["mounts"].clone();
    other.args(&["/probe", "sleep"]).set("/root/path", json!(b.rootfs("/")));
    other.set("/linux/cgroupsPath", json!(c.cgroups_path("other")));
    let (rt, state) = (c.runtime.display(), c.state.display());
    let line = format!("{rt} --root {state} run -d -b {} other", other.save());
    let hooks = json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}, {"path": "/bin/false"}]);
    c.run(b.set("/hooks/createRuntime", hooks)).exits(1);
    c.rt(&["exec", "other", "/bin/grep", " /shared ", "/proc/self/mounts"]).ok();
    c.rt(&["delete", "--force", "other"]).ok();
    c.nothing_left();
}

fn few_descriptors_are_an_error_or_enough(c: &Case) {
    let dir = c.bundle().save();
    for limit in 3..20 {
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        let (rt, root) = (c.runtime.to_string_lossy(), c.state.to_string_lossy());
        let out = Cmd::new(&[
            "/bin/sh", "-c", &script, "sh", &rt, "--root", &root, "run", "-b", &dir, ID,
        ])
        .run();
        assert!(!out.timed_out, "{limit} descriptors: {}", out.how());
        assert!(!out.err().contains("panicked"), "{limit} descriptors: {}", out.err());
        let left = leftovers(c, &out);
        assert!(left.is_none(), "{limit} descriptors: {left:?}");
        c.nothing_left();
    }
}

fn full_state_directory_leaves_nothing(c: &Case) {
    let dir = c.bundle().save();
    for options in ["nr_inodes=2", "nr_inodes=3", "nr_inodes=4", "size=4k", "size=8k"] {
        sys::mount("tiny", &c.state, "tmpfs", 0, &format!("mode=700,{options}")).expect("mount");
        if options.starts_with("size") {
            let _ = fs::write(c.state.join(".full"), vec![0; 4096]);
        }
        let out = c.rt(&["run", "-b", &dir, ID]);
        assert!(!out.timed_out && !out.err().contains("panicked"), "{}", out.err());
        assert!(out.code == Some(0) || out.err().contains("ENOSPC"), "{options}: {}", out.err());
        assert!(out.code != Some(0) || options == "size=8k", "{options}");
        let _ = fs::remove_file(c.state.join(".full"));
        c.nothing_left();
        sys::umount_detach(&c.state).expect("umount");
    }
}

fn read_only_state_directory_is_an_error(c: &Case) {
    let dir = c.bundle().save();
    sys::mount("ro", &c.state, "tmpfs", libc::MS_RDONLY, "mode=700").expect("mount");
    c.rt(&["create", "-b", &dir, ID]).fails("EROFS");
    c.nothing_left();
    sys::umount_detach(&c.state).expect("umount");
}

fn one_of_many_simultaneous_creates_wins(c: &Case) {
    let dir = c.bundle().save();
    for _ in 0..5 {
        let all: Vec<_> = (0..8).map(|_| c.rt_cmd(&["create", "-b", &dir, ID]).spawn()).collect();
        let outs: Vec<_> = all.into_iter().map(|r| r.wait()).collect();
        let winners = outs.iter().filter(|o| o.code == Some(0)).count();
        assert_eq!(winners, 1, "{:?}", outs.iter().map(|o| o.err()).collect::<Vec<_>>());
        assert_eq!(c.status(), "created");
        c.down();
        c.nothing_left();
    }
}

fn simultaneous_deletes_agree(c: &Case) {
    let dir = c.bundle().args(&["/probe", "sleep"]).save();
    for _ in 0..5 {
        c.rt(&["run", "-d", "-b", &dir, ID]).ok();
        let all: Vec<_> = (0..6).map(|_| c.rt_cmd(&["delete", "--force", ID]).spawn()).collect();
        for out in all.into_iter().map(|r| r.wait()) {
            out.ok();
        }
        c.nothing_left();
    }
}

fn many_fast_runs_never_hang(c: &Case) {
    let dir = c.bundle().save();
    for _ in 0..40 {
        c.rt(&["run", "-b", &dir, ID]).ok();
    }
}

fn many_containers_at_once(c: &Case) {
    let mut b = c.bundle();
    let mut ids = Vec::new();
    for i in 0..12 {
        let id = format!("box{i}");
        b.set("/linux/cgroupsPath", serde_json::json!(c.cgroups_path(&id)));
        c.rt(&["run", "-d", "-b", &b.args(&["/probe", "sleep"]).save(), &id]).ok();
        ids.push(id);
    }
    assert_eq!(c.rt(&["list", "-q"]).ok().out().lines().count(), 12);
    for id in ids {
        c.rt(&["delete", "--force", &id]).ok();
    }
    c.nothing_left();
}
