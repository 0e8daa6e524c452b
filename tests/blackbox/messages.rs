//! What is said, and that nothing passes in silence: causes, hints, and warnings that reach the log
//! of an engine.

use crate::cli::last_entry;
use crate::support::{Bundle, Case, ID, Need, sys};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

tests! {
    a_program_that_cannot_be_executed_says_why: rt_only(),
    a_filter_that_kills_does_not_hide_why: rt_only(),
    a_program_that_may_not_be_executed_says_why: rt_only(),
    a_link_to_a_missing_program_says_so: rt_only(),
    warnings_reach_the_log_of_an_engine: rt_only(),
    after_a_failure_the_log_is_one_object_with_the_warnings: rt_only(),
    every_fault_is_told_with_what_was_meant: rt_only(),
    a_restriction_in_another_case_is_refused: rt_only(),
    a_user_without_ids_is_told: rt_only(),
    what_was_typed_at_exec_is_not_blamed_on_the_configuration: rt_only(),
    a_process_file_is_named: rt_only(),
    verbs_and_flags_of_other_tools_get_a_hint: rt_only(),
    something_else_at_a_device_says_what: rt_only().needs(Need::Capability("CAP_MKNOD", 27)),
    a_cgroup_that_cannot_be_is_named_with_its_field: rt_only().needs(Need::Capability("CAP_SYS_ADMIN", 21)),
    two_dashes_before_the_command_are_dropped: except_runc("looks for a program of that name"),
    states_say_where_they_are_and_what_to_do: rt_only(),
    a_broken_state_is_listed_as_a_warning: rt_only(),
    a_root_of_something_else_is_one_warning: rt_only(),
    ps_without_ps_says_so: rt_only(),
    spec_on_a_full_disk_leaves_nothing: rt_only().needs(Need::Capability("CAP_SYS_ADMIN", 21)),
    an_unknown_mount_option_gets_a_hint: rt_only().needs(Need::FileSystem("tmpfs")),
    an_update_of_nothing_is_told: rt_only(),
}

fn program(b: &Bundle, name: &str, content: &[u8], mode: u32) {
    fs::write(b.rootfs(name), content).unwrap();
    fs::set_permissions(b.rootfs(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// The header of an ELF program for a machine, with one PT_INTERP.
fn elf(machine: u16, interpreter: &[u8]) -> Vec<u8> {
    let mut file = [0; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..18].copy_from_slice(&3_u16.to_le_bytes());
    file[18..20].copy_from_slice(&machine.to_le_bytes());
    file[20] = 1;
    file[32..40].copy_from_slice(&64_u64.to_le_bytes());
    file[52..54].copy_from_slice(&64_u16.to_le_bytes());
    file[54..56].copy_from_slice(&56_u16.to_le_bytes());
    file[56..58].copy_from_slice(&1_u16.to_le_bytes());
    let length = interpreter.len() as u64 + 1;
    let mut header = Vec::from(3_u32.to_le_bytes());
    header.extend(4_u32.to_le_bytes());
    for number in [120, 0, 0, length, length, 1_u64] {
        header.extend(number.to_le_bytes());
    }
    [&file[..], &header, interpreter, b"\0"].concat()
}

const OWN: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
const OTHER: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };

fn a_program_that_cannot_be_executed_says_why(c: &Case) {
    let mut b = c.bundle();
    let missing = "its interpreter /no/ld.so is not in the container";
    let machine = if OWN == 62 {
        "it is for aarch64, this machine is x86_64"
    } else {
        "it is for x86_64, this machine is aarch64"
    };
    program(&b, "through", b"#!/no/ld.so\n", 0o755);
    for (content, errno, why) in [
        (&b"#!/no/ld.so -x\necho\n"[..], "no such file or directory", missing),
        (&elf(OWN, b"/no/ld.so"), "no such file or directory", missing),
        (
            b"#!/bin/sh\r\necho\r\n",
            "no such file or directory",
            "it has a first line that ends in CR LF: there is no /bin/sh\\r (dos2unix mends it)",
        ),
        (&elf(OTHER, b"/no/ld.so"), "exec format error", machine),
        (
            b"echo hello\n",
            "exec format error",
            "it is neither ELF nor a script that begins with #!",
        ),
        (b"", "exec format error", "it is empty"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "exec format error", "it has a byte order mark before its #!"),
        (b"#!/through\n", "no such file or directory", missing),
        (
            b"#!/etc/passwd\n",
            "permission denied",
            "its interpreter /etc/passwd may not be executed",
        ),
    ] {
        program(&b, "it", content, 0o755);
        // The container's stderr, which is where its log shows it.
        let out = c.run(b.args(&["/it"])).exits(1);
        assert_eq!(out.err(), format!("exec /it: {errno}: {why}\n"));
        let log = c.path_str("log");
        let _ = fs::remove_file(&log);
        c.rt(&["--log", &log, "--log-format", "json", "run", "-d", "-b", &b.save(), ID]).exits(1);
        let entry = last_entry(&fs::read_to_string(&log).unwrap());
        let text = entry["msg"].as_str().unwrap();
        assert!(text.starts_with(&format!("run {ID}: exec /it: {errno} (E")), "{text}");
        assert!(text.ends_with(&format!("): {why}")), "{text}");
    }
    c.nothing_left();
    // When nobody but the container's stderr is there to be told.
    program(&b, "it", b"", 0o755);
    let out = c.create(&b).ok();
    c.rt(&["start", ID]).ok();
    c.wait_for_status("stopped");
    assert_eq!(out.err(), "exec /it: exec format error: it is empty\n");
    c.down();
}

/// The file is looked at behind the filter, where a look may be the end.
fn a_filter_that_kills_does_not_hide_why(c: &Case) {
    let mut b = c.bundle();
    program(&b, "it", b"echo\n", 0o755);
    for (action, why) in [
        ("SCMP_ACT_KILL_PROCESS", ""),
        ("SCMP_ACT_ERRNO", ""),
        ("SCMP_ACT_LOG", ": it is neither ELF nor a script that begins with #!"),
    ] {
        b.set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["openat2"], "action": action}]}),
        );
        let out = c.run(b.args(&["/it"])).exits(1);
        assert_eq!(out.err(), format!("exec /it: exec format error{why}\n"), "{action}");
    }
}

fn a_program_that_may_not_be_executed_says_why(c: &Case) {
    let mut b = c.bundle();
    program(&b, "plain", b"#!/bin/sh\n", 0o644);
    program(&b, "owners", b"#!/bin/sh\n", 0o700);
    fs::create_dir(b.rootfs("closed")).unwrap();
    program(&b, "closed/it", b"#!/bin/sh\n", 0o755);
    fs::set_permissions(b.rootfs("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let files = c.path("noexec");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("it"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(files.join("it"), fs::Permissions::from_mode(0o755)).unwrap();
    b.mount("/noexec", "none", files.to_str().unwrap(), &["bind", "noexec"]);
    for (name, uid, why) in [
        ("/plain", 0, "/plain has the mode 0644: chmod +x makes it a program"),
        ("/noexec/it", 0, "/noexec/it is on a mount with noexec"),
        ("/dev/null", 0, "/dev/null is not a regular file"),
        ("/owners", 1000, "/owners has the mode 0700, which does not let uid 1000 execute it"),
        ("/closed/it", 1000, "the directory /closed may not be searched by uid 1000"),
    ] {
        if uid != 0 && c.rootless {
            continue;
        }
        b.set("/process/user", json!({"uid": uid, "gid": uid}));
        let out = c.create(b.args(&[name])).fails("permission denied (EACCES)");
        let text = format!("exec: \"{name}\": permission denied (EACCES): {why} (at process.args");
        assert!(out.err().contains(&text), "{}", out.err());
    }
    b.set("/process/user", json!({"uid": 0, "gid": 0}));
    // The one that PATH leads to is named.
    b.set("/process/env", json!(["PATH=/noexec"]));
    c.create(b.args(&["it"])).fails("\"it\": permission denied (EACCES): /noexec/it is on a mount");
    c.nothing_left();
}

fn a_link_to_a_missing_program_says_so(c: &Case) {
    let mut b = c.bundle();
    symlink("/opt/program", b.rootfs("link")).unwrap();
    let out = c.create(b.args(&["/link"])).fails("exec: \"/link\": no such file or directory");
    let text = "it is a link to /opt/program, which is not in the container";
    assert!(out.err().contains(text), "{}", out.err());
}

fn warnings_reach_the_log_of_an_engine(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/noNewPrivilege", json!(true));
    let log = c.path_str("log");
    let out = c.rt(&["--log", &log, "--log-format", "json", "run", "-b", &b.save(), ID]).ok();
    assert_eq!(out.err(), "");
    let text = fs::read_to_string(&log).unwrap();
    let entry: Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(entry["level"], "warning");
    let text = "process.noNewPrivilege: unknown key, ignored; is noNewPrivileges meant?";
    assert_eq!(entry["msg"], text);
    // Who wants errors alone gets no other.
    fs::remove_file(&log).unwrap();
    let quiet = ["--log", &log, "--log-format", "json", "--log-level", "error"];
    c.rt_cmd(&quiet).args(&["run", "-b", &b.save(), ID]).run().ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "");
}

fn after_a_failure_the_log_is_one_object_with_the_warnings(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/noNewPrivilege", json!(true)).args(&["/no/such/program"]);
    let log = c.path_str("log");
    c.rt(&["--log", &log, "--log-format", "json", "create", "-b", &b.save(), ID]).fails("program");
    let text = fs::read_to_string(&log).unwrap();
    let entry: Value = serde_json::from_str(&text).expect("podman reads the file as one object");
    assert_eq!(entry["level"], "error");
    assert!(entry["warnings"].as_str().unwrap().contains("noNewPrivileges meant?"), "{entry}");
}

fn every_fault_is_told_with_what_was_meant(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/cwd", json!("x")).set("/process/env", json!(["X"]));
    b.set("/root/path", json!("nope")).set("/process/arg", json!(["sh"])).args(&[]);
    let out = c.create(&b).fails("process.args: must name a program to start");
    for text in [
        "process.cwd \"x\": must be an absolute path",
        "process.env[0] \"X\": must be NAME=value",
        "/nope\": no such file or directory (ENOENT); put a root file system there",
        "process.arg: unknown key, ignored; is args meant?",
    ] {
        assert!(out.err().contains(text), "{text}: {}", out.err());
    }
    assert_eq!(out.err().lines().count(), 1);
    let mut b = c.named_bundle("rootfs");
    b.remove("/root").set("/rootfs", json!("rootfs"));
    let out = c.create(&b).fails("root: missing");
    assert!(out.err().contains("rootfs: unknown key, ignored; is root meant?"), "{}", out.err());
    c.rt(&["run", "-b", &format!("{}/config.json", b.save()), ID])
        .fails("give the directory that holds config.json");
}

fn a_restriction_in_another_case_is_refused(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/resources", json!({"pids": {"Limit": 5}}));
    c.create(&b).fails("linux.resources.pids.Limit: must be spelled limit");
    b.set("/linux/resources", json!({})).set("/root/readOnly", json!(true));
    let log = c.path_str("log");
    let out = c.rt(&["--log", &log, "--log-format", "json", "run", "-b", &b.save(), ID]);
    out.fails("root.readOnly: must be spelled readonly: keys are case-sensitive");
    c.nothing_left();
}

fn a_user_without_ids_is_told(c: &Case) {
    let mut b = c.bundle();
    b.args(&["/bin/true"]);
    b.remove("/process/user");
    let out = c.run(&b).ok();
    assert!(out.err().contains("process.user: is missing: the process runs as root"));
    b.set("/process/user", json!({"username": "nobody"}));
    c.run(&b).fails("process.user.username: is for Windows; give uid and gid");
}

fn what_was_typed_at_exec_is_not_blamed_on_the_configuration(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    for (args, text) in [
        (&["exec", ID, "nosuch"][..], "exec: \"nosuch\": executable file not found in $PATH\n"),
        (&["exec", "-e", "FOO", ID, "env"], "--env \"FOO\": must be NAME=value\n"),
        (&["exec", "--cwd", "nope", ID, "pwd"], "--cwd \"nope\": must be an absolute path\n"),
        (
            &["exec", "--cwd", "/nope", ID, "pwd"],
            "chdir to cwd (\"/nope\") given by --cwd failed: chdir: no such file or directory \
             (ENOENT)\n",
        ),
        (
            &["exec", "--cap", "KILL", ID, "env"],
            "--cap KILL: unknown capability; is CAP_KILL meant?\n",
        ),
    ] {
        let out = c.rt(args).fails(text);
        assert!(!out.err().contains("config.json"), "{}", out.err());
    }
    c.down();
}

fn a_process_file_is_named(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    let file = c.path_str("process.json");
    for (process, text) in [
        (json!({"args": ["nosuch"], "cwd": "/"}), format!("$PATH (at args in {file})")),
        (json!({"args": ["env"], "cwd": "x"}), format!("invalid {file}: cwd \"x\": must be")),
    ] {
        fs::write(&file, process.to_string()).unwrap();
        let out = c.rt(&["exec", "--process", &file, ID]).fails(&text);
        assert!(!out.err().contains("config.json"), "{}", out.err());
    }
    c.down();
}

fn verbs_and_flags_of_other_tools_get_a_hint(c: &Case) {
    for (line, text) in [
        ("ls", "unknown command \"ls\": is rt list meant?"),
        ("strat box", "is rt start meant?"),
        ("rm box", "is rt delete meant?"),
        ("run --rm box", "rt run deletes the container when it ends"),
        ("kill -9 box", "the signal comes last: rt kill ID 9"),
        ("exec -it box sh", "unknown flag -it: stdin is always passed on; -t gives a terminal"),
        ("delete --frce box", "is --force meant?"),
        ("list --root /x", "--root comes before the command"),
        ("update --pids-limit x box", "expected a number in decimal digits"),
        ("start", "which container? the argument <ID> is missing"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let out = c.bare_cmd(&words).run();
        assert!(out.code != Some(0) && out.err().contains(text), "{line}: {}", out.err());
    }
    // Engines ask like this whether it is supported.
    c.bare_cmd(&["checkpoint", "--help"]).run().fails("checkpoint is not supported");
    let long = "x".repeat(300);
    let out = c.rt(&["start", &long]).fails("rt: start: invalid container ID format: \"xxx");
    assert!(out.err().len() < 300, "{}", out.err());
}

/// Found only when it is to be made: which name, and what is there.
fn something_else_at_a_device_says_what(c: &Case) {
    let mut b = c.bundle();
    b.unmount("/dev").unmount("/dev/pts").unmount("/dev/shm").unmount("/dev/mqueue");
    let null = b.rootfs("dev/null");
    let _ = fs::create_dir(b.rootfs("dev"));
    for kind in ["a directory", "a regular file", "a link", "the character device 1:5"] {
        match kind {
            "a directory" => fs::create_dir(&null).unwrap(),
            "a regular file" => fs::write(&null, "").unwrap(),
            "a link" => symlink("zero", &null).unwrap(),
            _ => sys::mknod(&null, libc::S_IFCHR | 0o666, libc::makedev(1, 5)),
        }
        c.create(&b).fails(&format!(
            "make devices in /dev: something else is already there: file exists (EEXIST): \
             /dev/null is {kind}"
        ));
        let _ = fs::remove_dir(&null).or_else(|_| fs::remove_file(&null));
    }
    c.nothing_left();
}

fn a_cgroup_that_cannot_be_is_named_with_its_field(c: &Case) {
    let mut b = c.bundle();
    b.set("/linux/cgroupsPath", json!("/cgroup.procs"));
    c.create(&b).fails("(at linux.cgroupsPath in config.json)");
    c.nothing_left();
}

fn two_dashes_before_the_command_are_dropped(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    assert_eq!(c.exec(&["--", "/bin/echo", "-n", "--", "x"]).ok().out(), "-- x");
    c.down();
}

fn states_say_where_they_are_and_what_to_do(c: &Case) {
    c.rt(&["state", "nobody"]).fails(&format!(
        "container does not exist: nobody: not in {}; --root DIR names another place",
        c.state.display()
    ));
    let mut b = c.bundle();
    b.set("/process/terminal", json!(true));
    c.create(&b).fails(
        "without setting console socket; set process.terminal to false in config.json, or give \
         --console-socket",
    );
    b.set("/process/terminal", json!(false));
    c.up(b.args(&["/bin/sleep", "1000"]));
    c.create(&b).fails(&format!("; rt delete {ID} removes it when it is stopped"));
    c.rt(&["delete", ID]).fails(&format!("; rt kill {ID} KILL first, or rt delete --force {ID}"));
    if !c.rootless {
        c.rt(&["pause", ID]).ok();
        c.rt(&["pause", ID]).fails(&format!("container not running: {ID}: it is paused already"));
        c.rt(&["resume", ID]).ok();
    }
    c.down();
}

fn a_broken_state_is_listed_as_a_warning(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    fs::create_dir(c.state.join("ghost")).unwrap();
    let out = c.rt(&["list"]).ok();
    assert_eq!(out.out().lines().count(), 2, "{}", out.out());
    assert!(out.err().contains("container does not exist: ghost"), "{}", out.err());
    let out = c.rt(&["delete", "--force", "ghost"]).ok();
    assert!(out.err().contains("container ghost was damaged or never complete"), "{}", out.err());
    assert_eq!(c.rt(&["list"]).ok().err(), "");
    c.down();
}

fn a_root_of_something_else_is_one_warning(c: &Case) {
    let other = c.path("etc");
    for name in ["a", "b", "c"] {
        fs::create_dir_all(other.join(name)).unwrap();
        fs::write(other.join(format!("{name}.conf")), "").unwrap();
    }
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    let out = c.bare_cmd(&["--root", other.to_str().unwrap(), "list"]).run().ok();
    let text = "rt: warning: none of 3 directories in the state root is a container\n";
    assert_eq!(out.err(), text);
}

fn ps_without_ps_says_so(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    let out = c.rt_cmd(&["ps", ID]).env("PATH", "/nowhere").run();
    out.fails("ps(1) is not installed on this host (package procps); --format json needs none");
    c.down();
}

fn spec_on_a_full_disk_leaves_nothing(c: &Case) {
    let disk = c.path("disk");
    fs::create_dir(&disk).unwrap();
    sys::mount("disk", &disk, "tmpfs", 0, "size=4k").unwrap();
    fs::write(disk.join("full"), [0; 4096]).unwrap();
    let dir = disk.to_str().unwrap();
    c.rt(&["spec", "--bundle", dir]).fails("config.json: no space left on device (ENOSPC)");
    let names = || fs::read_dir(&disk).unwrap().flatten().count();
    assert_eq!(names(), 1, "only what was there before");
    fs::remove_file(disk.join("full")).unwrap();
    c.rt(&["spec", "--bundle", dir]).ok();
    c.rt(&["spec", "--bundle", dir]).fails("file exists (EEXIST); remove it first");
    assert_eq!(names(), 1);
    sys::umount_detach(&disk).unwrap();
}

fn an_unknown_mount_option_gets_a_hint(c: &Case) {
    let mut b = c.bundle();
    b.mount("/mnt", "tmpfs", "tmpfs", &["nosuidd"]);
    let out = c.create(&b).fails("nosuidd");
    assert!(out.err().contains("; is nosuid meant?"), "{}", out.err());
}

fn an_update_of_nothing_is_told(c: &Case) {
    c.up(c.bundle().args(&["/bin/sleep", "1000"]));
    let out = c.rt(&["update", ID]).ok();
    assert!(out.err().contains("nothing to change: no limit is given"), "{}", out.err());
    c.down();
}
