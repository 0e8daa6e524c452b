//! One test for each class of published weakness; the ids are in the assertions.

use crate::support::cmd::wait_until;
use crate::support::{Case, ID, Need, sys};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

tests! {
    runtime_binary_cannot_be_written_from_inside,
    rootfs_program_that_is_the_runtime_itself_is_harmless,
    cwd_through_a_descriptor_is_refused: rt_only(),
    exec_cwd_through_a_descriptor_is_refused: rt_only(),
    mounts_below_proc_are_refused: except_runc("allows a tmpfs at /proc itself").except_crun("allows them"),
    mask_source_is_a_real_null_device: rt_only(),
    chown_of_stdio_never_reaches_a_host_file: rt_only(),
    mount_point_in_a_read_only_bind_is_not_made: rt_only(),
    numeric_user_name_is_not_looked_up,
    terminal_of_the_caller_is_not_reachable,
    no_pivot_leaves_no_host_proc: needs(Need::UserNamespace).except_crun("the host stays visible"),
    no_abstract_socket_is_left,
    uid_out_of_range_never_becomes_root: rt_only(),
    annotations_change_no_restriction: rt_only(),
    ps_and_state_do_not_enter_the_container: rt_only(),
    huge_passwd_in_the_rootfs_is_bounded: rt_only(),
    fifo_as_passwd_does_not_hang: rt_only(),
    devices_are_guarded_before_anything_of_the_image_is_opened: needs(Need::Tool("strace")).rt_only(),
    joining_process_cannot_be_read_from_inside,
    joining_process_does_not_lead_to_the_host,
    newline_in_home_writes_nothing,
    read_only_root_cannot_be_faked: rt_only(),
    exec_into_an_overmounted_proc_is_safe: rt_only(),
    state_of_a_dead_container_after_reboot_is_stopped: rt_only(),
}

fn sum(c: &Case) -> (u64, i64, Vec<u8>) {
    let meta = fs::metadata(&c.runtime).unwrap();
    (meta.len(), meta.mtime(), fs::read(&c.runtime).unwrap())
}

fn runtime_binary_cannot_be_written_from_inside(c: &Case) {
    let before = sum(c);
    let mut b = c.bundle();
    // CVE-2019-5736: the runtime started as the container's program.
    let _ = c.run(b.args(&["/proc/self/exe"]));
    c.down();
    // And from the outside of an exec, through /proc/<pid>/exe.
    let script = "while true; do for p in /proc/[0-9]*; do if [ $p != /proc/1 ] && echo TRIED && ( echo x > $p/exe ) 2>/dev/null; then echo WRITTEN; fi; done; done";
    let out = c.up(b.caps(&["CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE"]).sh(script));
    for _ in 0..10 {
        c.exec(&["/bin/true"]).ok();
    }
    c.down();
    assert!(!out.out().contains("WRITTEN"), "CVE-2019-5736");
    assert!(out.out().contains("TRIED"));
    assert!(sum(c) == before, "the runtime's binary changed");
}

fn rootfs_program_that_is_the_runtime_itself_is_harmless(c: &Case) {
    let before = sum(c);
    let mut b = c.bundle();
    fs::write(b.rootfs("trap"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(b.rootfs("trap"), fs::Permissions::from_mode(0o755)).unwrap();
    let _ = c.rt_cmd(&["run", "-b", &b.args(&["/trap"]).save(), ID]).run();
    c.down();
    c.up(b.args(&["/probe", "sleep"]));
    let _ = c.rt_cmd(&["exec", ID, "/trap"]).run();
    c.down();
    assert!(sum(c) == before, "CVE-2019-5736");
}

fn cwd_through_a_descriptor_is_refused(c: &Case) {
    let mut b = c.bundle();
    symlink("/proc/self/fd/8", b.rootfs("trap")).unwrap();
    let paths = (3..12).map(|n| format!("/proc/self/fd/{n}")).chain(["/trap".to_string()]);
    for path in paths {
        b.set("/process/cwd", json!(path));
        let root = || fs::File::open("/").unwrap();
        let cmd = c.rt_cmd(&["run", "-b", &b.save(), ID]).fd(root(), 8).fd(root(), 9);
        cmd.run().fails("process.cwd");
        c.nothing_left();
    }
}

fn exec_cwd_through_a_descriptor_is_refused(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    for n in 3..12 {
        let root = || fs::File::open("/").unwrap();
        let path = format!("/proc/self/fd/{n}");
        let cmd = c.rt_cmd(&["exec", "--cwd", &path, ID, "/bin/true"]).fd(root(), 8).fd(root(), 9);
        cmd.run().fails("cwd");
    }
    c.down();
}

fn mounts_below_proc_are_refused(c: &Case) {
    for at in ["/proc/self", "/proc/self/attr", "/proc/sys/kernel", "/proc/1"] {
        let mut b = c.bundle();
        c.create(b.mount(at, "tmpfs", "tmpfs", &[])).fails("/proc");
        c.nothing_left();
    }
    let mut b = c.bundle();
    c.create(b.mount("/proc", "tmpfs", "tmpfs", &[])).fails("/proc");
    let mut b = c.bundle();
    fs::create_dir(c.path("fake")).unwrap();
    c.create(b.mount("/proc", "bind", &c.path_str("fake"), &["rbind"])).fails("proc");
    c.nothing_left();
    // CVE-2015-3631, CVE-2019-16884
}

fn mask_source_is_a_real_null_device(c: &Case) {
    let mut b = c.bundle();
    let mut files = ["/proc/kcore", "/proc/keys", "/proc/timer_list"].into_iter();
    let file = files.find(|f| fs::exists(f).unwrap()).expect("a masked file");
    let out = c.run(b.args(&["/probe", "stat", file])).ok().out();
    assert!(out.starts_with("20666 0 0 259"), "a character device 1:3: {out}");
}

fn chown_of_stdio_never_reaches_a_host_file(c: &Case) {
    let host = c.path("host");
    fs::write(&host, "host").unwrap();
    let mut b = c.bundle();
    for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        b.unmount(at);
    }
    fs::write(b.rootfs("dev/null"), "").unwrap();
    b.mount("/dev/null", "bind", &host.to_string_lossy(), &["bind"]);
    b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    c.run(&b).ok();
    assert_eq!(fs::metadata(&host).unwrap().uid(), 0, "CVE-2026-88265");
}

fn mount_point_in_a_read_only_bind_is_not_made(c: &Case) {
    let canary = c.canary("canary");
    let mut b = c.bundle();
    b.mount("/mnt", "bind", &canary.dir.to_string_lossy(), &["rbind", "ro"]);
    c.create(b.mount("/mnt/new/dir", "tmpfs", "tmpfs", &[])).fails("");
    canary.untouched();
    c.nothing_left();
}

fn numeric_user_name_is_not_looked_up(c: &Case) {
    let mut b = c.bundle();
    fs::write(b.rootfs("etc/passwd"), "root:x:0:0::/:/bin/sh\n1000:x:0:0::/:/bin/sh\n").unwrap();
    c.up(b.args(&["/probe", "sleep"]));
    let out = c.rt(&["exec", "-u", "1000", ID, "/bin/id", "-u"]).ok();
    assert_eq!(out.out(), "1000\n", "CVE-2016-3697");
    c.down();
}

fn terminal_of_the_caller_is_not_reachable(c: &Case) {
    let (pty, slave) = crate::support::pty::Pty::open(24, 80);
    let dir = c.bundle().args(&["/probe", "open", "rw", "/dev/tty"]).save();
    let out_file = c.path("tty");
    let out = fs::File::create(&out_file).unwrap();
    c.rt_cmd(&["run", "-b", &dir, ID]).terminal(&slave).output(out).run().ok();
    assert_eq!(fs::read_to_string(&out_file).unwrap(), "ENXIO\n", "CVE-2016-10124");
    drop(pty);
}

fn no_pivot_leaves_no_host_proc(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/noNewPrivileges", json!(false))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let dir = b.args(&["/probe", "mount-proc"]).save();
    let out = c.rt(&["run", "--no-pivot", "-b", &dir, ID]);
    assert!(!out.out().contains("mounted"), "runc#1962: {}", out.out());
    assert!(out.out().contains("not permitted"), "it has tried: {}", out.out());
    c.nothing_left();
}

fn no_abstract_socket_is_left(c: &Case) {
    let abstracts = || fs::read_to_string("/proc/net/unix").unwrap().matches(" @").count();
    let before = abstracts();
    c.create(&c.bundle()).ok();
    assert!(abstracts() <= before, "CVE-2020-15257");
    c.down();
}

fn uid_out_of_range_never_becomes_root(c: &Case) {
    for uid in
        ["-1", "4294967295", "4294967296", "\"0\"", "1e3", "1.5", "18446744073709551616", "007"]
    {
        let b = c.bundle();
        let text = b.config.to_string().replace("\"uid\":0", &format!("\"uid\":{uid}"));
        b.raw(text.as_bytes());
        c.create(&b).fails("config.json");
        c.nothing_left();
    }
    // CVE-2024-40635, CVE-2026-46680
}

fn annotations_change_no_restriction(c: &Case) {
    let mut b = c.bundle();
    let plain = c.see(&b);
    b.set(
        "/annotations",
        json!({"org.criu.config": "/etc/passwd",
        "run.oci.hooks.stdout": "/tmp/x", "run.oci.seccomp.receiver": "/x", "bundle": "/"}),
    );
    let marked = c.see(&b);
    for key in ["caps", "nnp", "seccomp", "ids", "fds"] {
        assert_eq!(
            plain[key].as_object().map(|o| o.len()),
            marked[key].as_object().map(|o| o.len())
        );
        assert!(key == "fds" || plain[key] == marked[key], "CVE-2014-6408: {key}");
    }
}

fn ps_and_state_do_not_enter_the_container(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let (Some(strace), rt) =
        (crate::support::suite::find_tool("strace"), c.runtime.to_string_lossy())
    else {
        c.down();
        crate::support::worker::skip("needs strace");
    };
    for verb in [vec!["ps", "-f", "json", ID], vec!["state", ID], vec!["list", "-q"]] {
        let log = c.path_str("strace");
        let cmd = crate::support::cmd::Cmd::new(&[
            &strace.to_string_lossy(),
            "-f",
            "-e",
            "trace=setns,unshare",
            "-o",
            &log,
            &rt,
        ]);
        cmd.args(&["--root", &c.state.to_string_lossy()]).args(&verb).run().ok();
        let calls = fs::read_to_string(&log).unwrap();
        assert!(!calls.contains("setns(") && !calls.contains("unshare("), "CVE-2022-1227: {calls}");
    }
    c.down();
}

fn huge_passwd_in_the_rootfs_is_bounded(c: &Case) {
    let mut b = c.bundle();
    let file = fs::File::create(b.rootfs("etc/passwd")).unwrap();
    file.set_len(2 << 30).unwrap();
    b.set("/process/env", json!(["PATH=/bin"]));
    let out = c.run(&b);
    assert!(
        !out.timed_out && out.peak_kb < 100_000,
        "CVE-2022-4318: {} {} kB",
        out.how(),
        out.peak_kb
    );
}

fn fifo_as_passwd_does_not_hang(c: &Case) {
    let mut b = c.bundle();
    fs::remove_file(b.rootfs("etc/passwd")).unwrap();
    sys::mkfifo(&b.rootfs("etc/passwd"));
    b.set("/process/env", json!(["PATH=/bin"]));
    let out = c.rt_cmd(&["run", "-b", &b.save(), ID]).run();
    assert!(!out.timed_out, "{}", out.how());
    c.down();
}

/// A file of the image may be a device, or become one meanwhile. That it is opened in time is made
/// sure of by a slow kernel: the program is loaded while the child is at work.
fn devices_are_guarded_before_anything_of_the_image_is_opened(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/env", json!(["PATH=/bin"]));
    fs::create_dir(b.rootfs("full")).unwrap();
    fs::write(b.rootfs("full/file"), "").unwrap();
    b.mount("/full", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let log = c.path_str("strace");
    let slow = "--inject=bpf:delay_enter=100000";
    let strace = ["strace", "-f", "-y", "-e", "trace=bpf,openat2,openat", slow, "-o", &log];
    let out = c.rt_cmd(&["run", "-b", &b.save(), ID]).through(&strace).run();
    out.ok();
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = text.lines().collect();
    // `bpf(BPF_PROG_ATTACH, ...` may be cut in two by a line of the child.
    let attach = lines.iter().position(|line| line.contains("BPF_PROG_ATTACH")).expect("attached");
    let attached = match lines[attach].contains("unfinished") {
        true => attach + lines[attach..].iter().position(|l| l.contains("bpf resumed")).unwrap(),
        false => attach,
    };
    let opened = |name: &str, at: &dyn Fn(&&&str) -> bool| {
        let found = lines.iter().filter(|line| !line.contains("O_PATH")).find(at);
        let found = found.unwrap_or_else(|| panic!("{name} is not opened:\n{text}"));
        lines.iter().position(|line| line == found).unwrap()
    };
    let passwd = opened("passwd", &|line| line.contains("\"/etc/passwd\""));
    let file = opened("a copied file", &|line| line.contains("rootfs/full>, \"file\""));
    let covered = opened("a directory", &|line| line.contains("rootfs/full>, \".\""));
    for (name, index) in [("passwd", passwd), ("file", file), ("directory", covered)] {
        assert!(index > attached, "{name}: line {index} before {attached}:\n{text}");
    }
}

fn joining_process_cannot_be_read_from_inside(c: &Case) {
    let mut b = c.bundle();
    let out =
        c.up(b.caps(&["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]).args(&["/probe", "peer-fds"]));
    for _ in 0..40 {
        c.exec(&["/bin/true"]).ok();
    }
    c.down();
    // Directories inside the container are its own; of the host's nothing may be seen.
    let text = out.out();
    assert!(!text.contains("rt-test"), "CVE-2016-9962: {text}");
    assert!(text.contains("seen "), "it has looked");
}

fn joining_process_does_not_lead_to_the_host(c: &Case) {
    let secret = c.path("secret");
    fs::write(&secret, "").unwrap();
    let mut b = c.bundle();
    // Which looks through all that no user namespace protects.
    let out = c.up(b.caps(&["CAP_SYS_PTRACE"]).args(&[
        "/probe",
        "peer-roots",
        &secret.to_string_lossy(),
    ]));
    wait_until("it looks", || out.out().contains("ready"));
    for _ in 0..40 {
        c.exec(&["/bin/true"]).ok();
    }
    c.down();
    assert!(!out.out().contains("host's root"), "{}", out.out());
    assert!(out.out().contains("own root"), "it has looked");
}

fn newline_in_home_writes_nothing(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/env", json!(["PATH=/bin", "HOME=/\nx::0:0"]))
        .set("/root/readonly", json!(false));
    let before = fs::read(b.rootfs("etc/passwd")).unwrap();
    let _ = c.run(&b);
    c.rt(&["delete", "--force", ID]).ok();
    assert_eq!(fs::read(b.rootfs("etc/passwd")).unwrap(), before, "CVE-2022-4318");
}

fn read_only_root_cannot_be_faked(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir_all(c.path("fake/self/fd")).unwrap();
    b.unmount("/proc").remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    b.mount("/proc", "bind", &c.path_str("fake"), &["rbind", "rw"]);
    b.sh("touch /file");
    let out = c.run(&b);
    assert!(out.code != Some(0), "CVE-2026-115521");
    assert!(!b.rootfs("file").exists());
    c.rt(&["delete", "--force", ID]).ok();
}

fn exec_into_an_overmounted_proc_is_safe(c: &Case) {
    let mut b = c.bundle();
    b.caps(&["CAP_SYS_ADMIN"]).set("/process/noNewPrivileges", json!(false));
    let out = c.up(b.sh("mount -t tmpfs none /proc && mkdir -p /proc/self/attr /proc/self/fd && echo ready; exec sleep 1000"));
    wait_until("/proc is covered", || out.out() == "ready\n");
    let run = c.exec(&["/bin/id", "-u"]);
    assert!(
        run.code.is_some_and(|code| code != 0) || run.out() == "0\n",
        "CVE-2019-16884: {}",
        run.how()
    );
    c.down();
}

fn state_of_a_dead_container_after_reboot_is_stopped(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    let pid = c.pid();
    let file = c.state.join(ID).join("state.json");
    let text = fs::read_to_string(&file).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(boot.trim()), "the record names the boot: {text}");
    fs::write(&file, text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000")).unwrap();
    assert_eq!(c.status(), "stopped");
    c.rt(&["kill", ID, "KILL"]).fails("container not running");
    assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "no signal was sent");
    fs::write(&file, text).unwrap();
    c.down();
}
