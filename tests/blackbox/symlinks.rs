//! Symlinks in the root file system and elsewhere that lead out of it.

use crate::support::cmd::slow;
use crate::support::{Case, ID, sys};
use crate::tests;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

tests! {
    exchange_of_a_mount_point_while_it_is_used_stays_inside: except_runc("has CVE-2024-45310"),
    dev_as_a_symlink_changes_nothing_outside: rt_only(),
    dev_null_as_a_symlink_changes_nothing_outside: rt_only(),
    dev_console_as_a_symlink_changes_nothing_outside: rt_only(),
    every_std_path_as_a_symlink_changes_nothing_outside: rt_only(),
    proc_and_sys_as_symlinks_are_refused,
    respawn_over_a_symlink_stays_inside,
    delete_does_not_follow_symlinks: rt_only(),
    pid_file_and_log_do_not_follow_a_trap: rt_only(),
}

fn dev_as_a_symlink_changes_nothing_outside(c: &Case) {
    let mut canary = c.canary("canary");
    fs::write(canary.dir.join("ptmx"), "host file").unwrap();
    fs::write(canary.dir.join("null"), "host file").unwrap();
    canary.again();
    for target in [
        canary.dir.to_string_lossy().into_owned(),
        format!("../../../../../..{}", canary.dir.display()),
    ] {
        for terminal in [false, true] {
            let mut b = c.named_bundle(&format!("b{}{terminal}", target.len()));
            fs::remove_dir(b.rootfs("dev")).unwrap();
            symlink(&target, b.rootfs("dev")).unwrap();
            for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                b.unmount(at);
            }
            b.set("/process/terminal", json!(terminal));
            let _ = c.rt_cmd(&["run", "-b", &b.save(), ID]).input(b"").run();
            c.rt(&["delete", "--force", ID]).ok();
            canary.untouched();
        }
    }
    // CVE-2026-41579, CVE-2026-47766
}

fn dev_null_as_a_symlink_changes_nothing_outside(c: &Case) {
    let canary = c.canary("canary");
    for (i, target) in
        ["/proc/sysrq-trigger", &canary.dir.join("file").to_string_lossy(), "/fifo", "/plain"]
            .iter()
            .enumerate()
    {
        let mut b = c.named_bundle(&format!("b{i}"));
        fs::write(b.rootfs("plain"), "plain").unwrap();
        sys::mkfifo(&b.rootfs("fifo"));
        symlink(target, b.rootfs("dev/null")).unwrap();
        for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            b.unmount(at);
        }
        b.set("/root/readonly", json!(false)).sh("cat /proc/kcore | wc -c");
        let out = c.rt_cmd(&["run", "-b", &b.save(), ID]).run();
        assert!(!out.timed_out, "CVE-2025-31133: {}", out.how());
        assert!(out.code != Some(0) || out.out().trim() == "0", "CVE-2025-31133: {}", out.out());
        c.down();
        canary.untouched();
    }
}

fn dev_console_as_a_symlink_changes_nothing_outside(c: &Case) {
    let canary = c.canary("canary");
    for (i, (name, mounted)) in
        [("console", false), ("pts/0", false), ("ptmx", false)].iter().enumerate()
    {
        let mut b = c.named_bundle(&format!("b{i}"));
        fs::create_dir_all(b.rootfs("dev/pts")).unwrap();
        symlink(canary.dir.join("new"), b.rootfs("dev").join(name)).unwrap();
        if !mounted {
            for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                b.unmount(at);
            }
        }
        b.set("/process/terminal", json!(true)).set("/root/readonly", json!(false));
        let (pty, slave) = crate::support::pty::Pty::open(24, 80);
        let out = c.rt_cmd(&["run", "-b", &b.save(), ID]).terminal(&slave).run();
        assert!(!out.timed_out);
        drop(pty);
        c.down();
        canary.untouched();
    }
    // CVE-2025-52565, CVE-2026-88264
}

fn every_std_path_as_a_symlink_changes_nothing_outside(c: &Case) {
    let canary = c.canary("canary");
    for name in
        ["zero", "full", "tty", "random", "urandom", "fd", "stdin", "stdout", "stderr", "core"]
    {
        let mut b = c.named_bundle(name);
        symlink(canary.dir.join("file"), b.rootfs("dev").join(name)).unwrap();
        for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            b.unmount(at);
        }
        b.set("/root/readonly", json!(false)).args(&["/probe", "see"]);
        let out = c.run(&b);
        if out.code == Some(0) {
            let fds = out.json()["fds"].to_string();
            assert!(!fds.contains("canary"), "CVE-2015-3627: {fds}");
        }
        c.down();
        canary.untouched();
    }
}

fn proc_and_sys_as_symlinks_are_refused(c: &Case) {
    let canary = c.canary("canary");
    for name in ["proc", "sys"] {
        for target in [canary.dir.to_str().unwrap(), "/tmp", "tmp"] {
            let b = c.named_bundle(&format!("{name}{}", target.len()));
            fs::remove_dir(b.rootfs(name)).unwrap();
            symlink(target, b.rootfs(name)).unwrap();
            c.create(&b).fails("must be mounted on ordinary directory");
            c.nothing_left();
            canary.untouched();
        }
    }
    // CVE-2019-19921, CVE-2023-27561, CVE-2025-54867
}

fn respawn_over_a_symlink_stays_inside(c: &Case) {
    let canary = c.canary("canary");
    let mut b = c.bundle();
    b.mount("/data/one", "tmpfs", "tmpfs", &[]);
    c.run(&b).ok();
    fs::remove_dir(b.rootfs("data/one")).unwrap();
    fs::remove_dir(b.rootfs("data")).unwrap();
    symlink(&canary.dir, b.rootfs("data")).unwrap();
    let _ = c.run(&b);
    c.rt(&["delete", "--force", ID]).ok();
    canary.untouched();
    // CVE-2015-3629
}

fn delete_does_not_follow_symlinks(c: &Case) {
    let canary = c.canary("canary");
    c.up(&c.bundle());
    c.wait_for_status("stopped");
    symlink(&canary.dir, c.state.join(ID).join("link")).unwrap();
    c.down();
    canary.untouched();
    // The state directory itself a symlink.
    symlink(&canary.dir, c.state.join("planted")).unwrap();
    let _ = c.rt(&["delete", "--force", "planted"]);
    canary.untouched();
    let _ = fs::remove_file(c.state.join("planted"));
}

fn pid_file_and_log_do_not_follow_a_trap(c: &Case) {
    // In a sticky directory of all, another user's symlink is a trap.
    let dir = c.path("shared");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).unwrap();
    let canary = c.canary("canary");
    let trap = dir.join("pid");
    symlink(canary.dir.join("file"), &trap).unwrap();
    std::os::unix::fs::lchown(&trap, Some(1000), Some(1000)).unwrap();
    let _ = c.rt(&["create", "-b", &c.bundle().save(), "--pid-file", &trap.to_string_lossy(), ID]);
    c.down();
    canary.untouched();
}

fn exchange_of_a_mount_point_while_it_is_used_stays_inside(c: &Case) {
    // CVE-2021-30465, CVE-2024-45310: a volume that another container changes meanwhile.
    let canary = c.canary("canary");
    let volume = c.path("volume");
    fs::create_dir_all(volume.join("dir")).unwrap();
    symlink(&canary.dir, volume.join("link")).unwrap();
    let mut b = c.bundle();
    b.mount("/vol", "bind", &volume.to_string_lossy(), &["rbind", "rw"]);
    b.mount("/vol/dir/a/b", "tmpfs", "tmpfs", &["size=4k"]);
    b.mount("/vol/dir", "tmpfs", "tmpfs", &["size=4k"]);
    b.sh("ls -A /vol/dir");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = sys::exchange(&volume.join("dir"), &volume.join("link"));
            }
        });
        for _ in 0..(60 / slow()).max(5) {
            let out = c.run(&b);
            if out.timed_out || out.out().contains("file") {
                stop.store(true, Ordering::Relaxed);
                panic!("{}: {}", out.how(), out.out());
            }
            let _ = c.rt(&["delete", "--force", ID]);
        }
        stop.store(true, Ordering::Relaxed);
    });
    canary.untouched();
}
