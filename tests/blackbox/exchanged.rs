//! What is exchanged while a container is set up, by another one that may write to the same root or
//! volume: sources of mounts, devices, /proc. Whoever wins, nothing outside is written, and what was
//! asked for is what is there.

use crate::support::cmd::{self, Running, slow};
use crate::support::pty::Pty;
use crate::support::{Bundle, Case, ID, Need, Out, sys};
use crate::tests;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

tests! {
    source_that_is_exchanged_keeps_its_attributes: rt_only(),
    source_is_opened_once: needs(Need::Tool("strace")).rt_only(),
    terminal_devices_that_are_exchanged_stay_the_terminal: needs(Need::Tool("strace")).rt_only(),
    proc_that_a_container_exchanges_is_guarded_all_the_same: rt_only(),
    proc_is_not_found_by_name_once_something_is_mounted: needs(Need::Tool("strace")).rt_only(),
}

fn rounds() -> u32 {
    (30 / slow()).max(5)
}

/// Does something again and again while two paths are exchanged all the time.
fn while_exchanged(one: &Path, other: &Path, mut act: impl FnMut()) {
    let stop = AtomicBool::new(false);
    let exchanges = || {
        while !stop.load(Ordering::Relaxed) {
            sys::exchange(one, other).expect("exchange");
        }
    };
    let result = std::thread::scope(|scope| {
        scope.spawn(exchanges);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..rounds()).for_each(|_| act());
        }));
        stop.store(true, Ordering::Relaxed);
        result
    });
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// A volume with a directory and a link that leads out of it: to what another has.
fn volume(c: &Case) -> (std::path::PathBuf, crate::support::case::Canary) {
    let mut canary = c.canary("canary");
    fs::write(canary.dir.join("mark"), "other").unwrap();
    canary.again();
    let volume = c.path("volume");
    fs::create_dir_all(volume.join("dir")).unwrap();
    fs::write(volume.join("dir/mark"), "own").unwrap();
    symlink(&canary.dir, volume.join("link")).unwrap();
    (volume, canary)
}

/// CVE-2024-42472: the source is the caller's word, and links in it are followed. What was found is
/// then what is mounted, and has the attributes that were asked for.
fn source_that_is_exchanged_keeps_its_attributes(c: &Case) {
    let (volume, canary) = volume(c);
    let source = volume.join("dir").to_string_lossy().into_owned();
    let mut b = c.bundle();
    b.mount("/vol", "bind", &source, &["rbind", "ro", "nosuid", "nodev", "noexec"]);
    b.sh("cat /vol/mark; grep -c ' /vol ro,nosuid,nodev,noexec' /proc/self/mountinfo; \
          touch /vol/new 2>/dev/null && echo WRITTEN; chown 7 /vol/mark 2>/dev/null && echo OWNED");
    b.caps(&["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
    let mut seen = BTreeSet::new();
    while_exchanged(&volume.join("dir"), &volume.join("link"), || {
        let out = c.run(&b).out();
        let mark = out.strip_suffix("1\n").unwrap_or_else(|| panic!("{out}"));
        assert!(["own", "other"].contains(&mark), "{out}");
        seen.insert(mark.to_owned());
    });
    println!("{seen:?}");
    canary.untouched();
}

/// What is looked at, made a copy of and given attributes is one descriptor: the path is opened no
/// second time.
fn source_is_opened_once(c: &Case) {
    let (volume, _canary) = volume(c);
    for (name, at, options) in [
        ("dir", "/dir", &["rbind", "ro"][..]),
        ("dir", "/dir", &["bind", "rro", "nosuid"]),
        ("dir/mark", "/file", &["bind", "ro"]),
    ] {
        for user_namespace in [false, true] {
            let source = volume.join(name).to_string_lossy().into_owned();
            let mut b = c.named_bundle(&format!("b{user_namespace}"));
            b.mount(at, "bind", &source, options);
            if user_namespace {
                b.user_namespace();
            }
            let log = c.path_str("strace");
            let strace = ["strace", "-f", "-s", "4096", "-e", "trace=%file,open_tree,mount", "-o"];
            let through: Vec<_> = strace.into_iter().chain([log.as_str()]).collect();
            c.rt_cmd(&["run", "-b", &b.save(), ID]).through(&through).run().ok();
            let text = fs::read_to_string(&log).unwrap();
            let quoted = format!("\"{source}\"");
            let looks = ["stat(", "statx(", "newfstatat(", "readlink(", "access("];
            let named = text.lines().filter(|line| line.contains(&quoted));
            let opened: Vec<_> =
                named.filter(|line| !looks.iter().any(|look| line.contains(look))).collect();
            assert_eq!(opened.len(), 1, "{options:?} {user_namespace}: {opened:#?}");
            assert!(opened[0].contains("open_tree("), "{opened:?}");
        }
    }
}

/// CVE-2025-52565: /dev is a directory that another can write to. What the process gets is the
/// terminal, whose owner is changed, and nothing else. A slow kernel leaves time for an exchange
/// between each two steps.
fn terminal_devices_that_are_exchanged_stay_the_terminal(c: &Case) {
    let canary = c.canary("canary");
    let calls = "trace=ioctl,fchown,openat2,openat,mknodat";
    let slow = "--inject=ioctl,fchown,mknodat:delay_enter=1000";
    let strace = ["strace", "-f", "-e", calls, slow, "-o", "/dev/null"];
    for (name, one, other) in [
        ("console", "console", "console-link"),
        ("pts", "pts", "pts-link"),
        ("slave", "fake/0", "fake/0-link"),
        ("ptmx", "ptmx", "ptmx-link"),
    ] {
        let dev = c.path(name);
        for dir in ["pts", "fake"] {
            fs::create_dir_all(dev.join(dir)).unwrap();
        }
        for file in ["console", "ptmx", "fake/0", "fake/ptmx"] {
            fs::write(dev.join(file), "").unwrap();
        }
        for link in ["console-link", "ptmx-link", "fake/0-link"] {
            symlink(canary.dir.join("file"), dev.join(link)).unwrap();
        }
        symlink("fake", dev.join("pts-link")).unwrap();
        let mut b = c.named_bundle(name);
        for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            b.unmount(at);
        }
        b.mount("/dev", "bind", &dev.to_string_lossy(), &["rbind", "rw"]);
        b.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]);
        b.set("/process/terminal", json!(true));
        b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        b.sh("for fd in 0 1 2; do stat -L -c %t /proc/self/fd/$fd; done");
        let dir = b.save();
        let mut good = 0;
        while_exchanged(&dev.join(one), &dev.join(other), || {
            let (_pty, slave) = Pty::open(24, 80);
            let text = c.path("text");
            let output = fs::File::create(&text).unwrap();
            let run = c.rt_cmd(&["run", "-b", &dir, ID]).through(&strace);
            let out = run.terminal(&slave).output(output).run();
            assert!(!out.timed_out, "{}", out.how());
            let said = fs::read_to_string(&text).unwrap();
            if out.code == Some(0) {
                // 136, the slaves of devpts.
                assert_eq!(said.replace('\r', ""), "88\n88\n88\n", "{name}");
                good += 1;
            }
            c.nothing_left();
        });
        println!("{name}: {good} of {} have started", rounds());
        canary.untouched();
        for file in ["fake/ptmx", "fake/0", "fake/0-link"] {
            let owner = fs::metadata(dev.join(file)).unwrap().uid();
            assert_eq!(owner, 0, "the owner of {file} was changed");
        }
    }
}

/// A container that writes to the root of another, and has no /proc of its own there: a mount point
/// cannot be renamed by who sees the mount.
fn attacker(c: &Case, victim: &Bundle, one: &str, other: &str) -> Running {
    let mut b = c.named_bundle("attacker");
    b.unmount("/proc").remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    b.set("/root", json!({"path": victim.rootfs("/"), "readonly": false}));
    b.set("/linux/cgroupsPath", json!(c.cgroups_path("attacker")));
    b.args(&["/probe", "exchange", one, other]);
    let running = c.rt_cmd(&["run", "-b", &b.save(), "attacker"]).spawn();
    cmd::wait_until("it exchanges", || running.so_far().contains("ready"));
    running
}

/// What guards a container's procfs, as the host sees it: below the mount, wherever that lies.
fn guards_of_proc(pid: i32) -> BTreeSet<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(' ').collect()).collect();
    let is_proc = |line: &&Vec<&str>| line[3] == "/" && line.contains(&"proc");
    let procs: Vec<_> = lines.iter().filter(is_proc).collect();
    assert_eq!(procs.len(), 1, "{table}");
    let (id, at) = (procs[0][0], procs[0][4]);
    let below = lines.iter().filter(|line| line[1] == id);
    below.map(|line| format!("{} {} {}", &line[4][at.len()..], line[3], line[5])).collect()
}

/// Whether the container could be made; if so, its procfs is as it should be.
fn is_guarded(c: &Case, b: &Bundle, expected: &BTreeSet<String>) -> bool {
    let out = c.create(b);
    assert!(!out.timed_out, "{}", out.how());
    if out.code == Some(0) {
        let pid = c.pid();
        assert_eq!(guards_of_proc(pid), *expected);
        let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        assert_eq!(score, "321\n");
    }
    c.rt(&["delete", "--force", ID]).ok();
    out.code == Some(0)
}

/// CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2025-31133, CVE-2025-52881
fn proc_that_a_container_exchanges_is_guarded_all_the_same(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/oomScoreAdj", json!(321));
    b.set("/linux/sysctl", json!({"kernel.shm_rmid_forced": "1"}));
    b.args(&["/probe", "sleep"]);
    let files = ["self/oom_score_adj", "self/attr/exec", "sys/kernel/shm_rmid_forced", "kcore"];
    for file in files {
        let file = b.rootfs("fake").join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "as it was").unwrap();
    }
    symlink("fake", b.rootfs("link")).unwrap();
    let shm = "/proc/sys/kernel/shm_rmid_forced";
    let of_host = fs::read_to_string(shm).unwrap();
    c.create(&b).ok();
    let expected = guards_of_proc(c.pid());
    assert!(expected.iter().any(|guard| guard.starts_with("/sys /sys ro")), "{expected:?}");
    c.down();
    for other in ["/link", "/fake"] {
        let attacker = attacker(c, &b, "/proc", other);
        let mut good = 0;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..rounds()).for_each(|_| good += usize::from(is_guarded(c, &b, &expected)));
        }));
        println!("{other}: {good} of {} were made", rounds());
        // It never rests: nobody else would end it.
        c.rt(&["delete", "--force", "attacker"]).ok();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        attacker.wait();
        for (root, file) in ["fake", "proc"].iter().flat_map(|r| files.map(|f| (r, f))) {
            let text = fs::read_to_string(b.rootfs(root).join(file));
            assert!(
                text.as_ref().map_or(true, |text| text == "as it was"),
                "{root}/{file}: {text:?}"
            );
        }
        assert_eq!(fs::read_to_string(shm).unwrap(), of_host, "the host's");
        // As it was, for the next kind.
        if !b.rootfs("link").is_symlink() || !b.rootfs("fake/self").exists() {
            sys::exchange(&b.rootfs("proc"), &b.rootfs(other)).unwrap();
        }
    }
    c.nothing_left();
}

/// The calls that name a path, by process, and the process that mounts.
fn trace(c: &Case, args: &[&str]) -> (Out, String) {
    let log = c.path_str("strace");
    let calls = "trace=%file,open_tree,move_mount,setns,fsmount";
    let strace = ["strace", "-f", "-s", "4096", "-e", calls, "-o", &log];
    let out = c.rt_cmd(args).through(&strace).run();
    (out, fs::read_to_string(&log).unwrap())
}

/// Lines of the process that makes this call first, from there on, but for execve.
fn after_first<'t>(text: &'t str, call: &str) -> Vec<&'t str> {
    let first = text.lines().position(|line| line.contains(call)).expect("the call");
    let lines: Vec<_> = text.lines().skip(first).collect();
    let pid = lines[0].split(' ').next().unwrap();
    let own = lines.into_iter().filter(|line| line.split(' ').next() == Some(pid));
    own.take_while(|line| !line.contains("execve")).collect()
}

/// Whether the call looks up something below a /proc by its name. What a link says is not looked up,
/// and whether there is a /proc/kcore, for the link /dev/core, is asked without opening it.
fn names_proc(line: &str) -> bool {
    let is_asked = line.contains("\"proc/kcore\", {flags=O_RDONLY|O_CLOEXEC|O_PATH,");
    if is_asked && line.contains("RESOLVE_IN_ROOT") || line.contains("symlinkat(") {
        return false;
    }
    let quoted = line.split('"').skip(1).step_by(2);
    quoted.map(|path| path.trim_start_matches(['/', '.'])).any(|path| {
        path.starts_with("proc/") || path.contains("/proc/") || path.starts_with("self/")
    })
}

fn proc_is_not_found_by_name_once_something_is_mounted(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/oomScoreAdj", json!(321));
    b.set("/linux/sysctl", json!({"kernel.shm_rmid_forced": "1"}));
    let (out, text) = trace(c, &["run", "-b", &b.save(), ID]);
    out.ok();
    let lines = after_first(&text, "move_mount(");
    assert!(lines.len() > 20, "the one that mounts: {lines:#?}");
    let wrong: Vec<_> = lines.iter().filter(|line| names_proc(line)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\nof {lines:#?}");
    c.up(b.args(&["/probe", "sleep"]));
    let (out, text) = trace(c, &["exec", ID, "/bin/true"]);
    out.ok();
    let lines = after_first(&text, "setns(");
    let wrong: Vec<_> = lines.iter().filter(|line| names_proc(line)).collect();
    assert!(wrong.is_empty(), "exec: {wrong:#?}\nof {lines:#?}");
    c.down();
}
