//! `process`: user, capabilities, limits, environment, working directory, arguments.

use crate::support::cmd::Cmd;
use crate::support::{Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

tests! {
    user_and_groups_are_exactly_those_given,
    without_additional_gids_there_are_none,
    groups_of_the_caller_are_kept_when_asked: except_runc("knows no such annotation"),
    umask_is_0022_or_what_is_given,
    capabilities_are_exactly_those_given,
    capabilities_absent_means_none: except_runc("keeps all"),
    capabilities_of_an_ordinary_user_stay_only_when_ambient,
    unknown_capability_is_a_warning,
    capabilities_that_the_caller_lacks_fail_at_create: needs(Need::Tool("setpriv")),
    no_new_privileges_is_set_or_not,
    rlimits_are_set,
    few_open_files_are_enough_to_start: except_runc("they are not").except_crun("they are not"),
    rlimit_nofile_0_starts: except_runc("its own init needs descriptors").except_crun("the same"),
    oom_score_adj_is_set,
    oom_score_adj_is_inherited_otherwise,
    environment_is_the_configs_in_order,
    environment_of_the_caller_stays_out,
    home_that_is_empty_is_set_from_passwd: except_crun("stays empty"),
    capabilities_count_when_the_program_is_looked_for,
    home_is_set_from_passwd_when_absent: except_crun("not for an unknown user"),
    cwd_is_entered,
    cwd_is_created_when_missing,
    cwd_of_another_user_can_be_entered,
    cwd_that_is_a_file_fails,
    program_is_found_in_the_containers_path,
    relative_program_starts_at_the_cwd,
    missing_program_in_path_fails_as_engines_expect,
    missing_program_fails_as_engines_expect: except_crun("other words"),
    directory_as_program_fails_as_engines_expect,
    program_without_x_fails_as_engines_expect: except_crun("other words"),
    execve_error_is_said_once_where_it_belongs: rt_only(),
    script_with_a_missing_interpreter_fails: except_crun("other words"),
    program_that_is_no_program_fails_as_engines_expect: except_crun("other words"),
    failed_create_leaves_nothing: rt_only(),
    process_is_its_own_session_leader,
    without_a_session_of_its_own_there_is_no_process: needs(Need::Tool("strace")).rt_only(),
    home_in_the_last_line_of_passwd_is_found,
    cwd_too_deep_to_be_checked_is_refused: rt_only(),
    signals_are_neither_blocked_nor_ignored,
    parent_death_signal_is_off,
    process_is_dumpable_again,
    cpu_affinity_is_reset_to_all: except_crun("keeps the caller's").except_runc("keeps the caller's"),
    session_keyring_is_fresh,
    no_new_keyring_keeps_the_callers,
    nice_value_of_the_caller_stays,
    apparmor_profile_is_applied: needs(Need::AppArmor).needs(Need::Tool("apparmor_parser")),
    unknown_apparmor_profile_is_refused: needs(Need::AppArmor),
    unconfined_needs_no_apparmor: rt_only(),
    exec_says_that_there_is_no_apparmor: needs(Need::NoAppArmor).rt_only(),
}

fn user_and_groups_are_exactly_those_given(c: &Case) {
    let mut b = c.bundle();
    b.set(
        "/process/user",
        json!({"uid": 1000, "gid": 2000, "additionalGids": [10, 5, 2_000_000_000]}),
    );
    let ids = c.see(&b)["ids"].clone();
    assert_eq!(ids["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(ids["gid"], json!([2000, 2000, 2000, 2000]));
    let mut groups: Vec<u64> =
        ids["groups"].as_array().unwrap().iter().map(|g| g.as_u64().unwrap()).collect();
    groups.sort_unstable();
    assert_eq!(groups, [5, 10, 2_000_000_000]);
}

fn without_additional_gids_there_are_none(c: &Case) {
    nix::unistd::setgroups(&[4.into(), 27.into()]).unwrap();
    let mut b = c.bundle();
    assert_eq!(c.see(&b)["ids"]["groups"], json!([]), "CVE-2022-2989");
    b.set("/process/user", json!({"uid": 7, "gid": 7, "additionalGids": []}));
    assert_eq!(c.see(&b)["ids"]["groups"], json!([]));
}

fn groups_of_the_caller_are_kept_when_asked(c: &Case) {
    nix::unistd::setgroups(&[4.into(), 27.into()]).unwrap();
    let mut b = c.bundle();
    b.set("/annotations", json!({"run.oci.keep_original_groups": "1"}));
    assert_eq!(c.see(&b)["ids"]["groups"], json!([4, 27]));
    b.set("/process/user", json!({"uid": 7, "gid": 8}));
    let ids = c.see(&b)["ids"].clone();
    assert_eq!((&ids["uid"][0], &ids["groups"]), (&json!(7), &json!([4, 27])));
    if c.is_rt() {
        c.up(b.args(&["/probe", "sleep"]));
        assert_eq!(c.exec(&["/probe", "see"]).ok().json()["ids"]["groups"], json!([4, 27]));
        c.down();
        b.set("/process/user/additionalGids", json!([9]));
        let out = c.run(b.args(&["/probe", "see"])).ok();
        assert_eq!(out.json()["ids"]["groups"], json!([4, 27]));
        assert!(out.err().contains("process.user.additionalGids: not set"), "{}", out.err());
        b.set("/annotations", json!({"run.oci.keep_original_groups": "0"}));
        assert_eq!(c.see(&b)["ids"]["groups"], json!([9]));
    }
}

fn umask_is_0022_or_what_is_given(c: &Case) {
    let mut b = c.bundle();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    b.set("/process/user/umask", json!(0o027));
    assert_eq!(c.see(&b)["umask"], 0o027);
    if c.is_rt() {
        b.remove("/process/user/umask");
        assert_eq!(c.see(&b)["umask"], 0o022);
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
}

const KILL: u64 = 1 << 5;
const BIND: u64 = 1 << 10;

fn capabilities_are_exactly_those_given(c: &Case) {
    let mut b = c.bundle();
    b.set(
        "/process/capabilities",
        json!({"bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"],
            "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "effective": ["CAP_KILL"],
            "inheritable": ["CAP_NET_BIND_SERVICE"],
            "ambient": ["CAP_NET_BIND_SERVICE"]}),
    );
    b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let caps = c.see(&b)["caps"].clone();
    // execve by a user who is not root: permitted = inheritable & file | ambient.
    assert_eq!(caps["bounding"], KILL | BIND | 1);
    assert_eq!(caps["inheritable"], BIND);
    assert_eq!(caps["ambient"], BIND);
    assert_eq!(caps["permitted"], BIND);
    assert_eq!(caps["effective"], BIND);
    b.set("/process/user", json!({"uid": 0, "gid": 0}));
    b.caps(&["CAP_KILL"]).remove("/process/capabilities/inheritable");
    b.remove("/process/capabilities/ambient");
    let caps = c.see(&b)["caps"].clone();
    let expected = json!({"bounding": KILL, "permitted": KILL, "effective": KILL, "inheritable": 0, "ambient": 0});
    assert_eq!(caps, expected, "CVE-2022-29162: nothing inheritable");
}

fn capabilities_absent_means_none(c: &Case) {
    let mut b = c.bundle();
    b.remove("/process/capabilities");
    let none =
        json!({"bounding": 0, "permitted": 0, "effective": 0, "inheritable": 0, "ambient": 0});
    assert_eq!(c.see(&b)["caps"], none);
}

fn capabilities_of_an_ordinary_user_stay_only_when_ambient(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/user", json!({"uid": 1000, "gid": 1000})).caps(&["CAP_KILL"]);
    let caps = c.see(&b)["caps"].clone();
    assert_eq!((&caps["effective"], &caps["bounding"]), (&json!(0), &json!(KILL)), "CVE-2016-8867");
}

fn unknown_capability_is_a_warning(c: &Case) {
    let mut b = c.bundle();
    b.caps(&["CAP_KILL", "CAP_FOO"]);
    assert_eq!(c.see(&b)["caps"]["bounding"], KILL);
}

/// And not at start, when nobody looks for an error any more.
fn capabilities_that_the_caller_lacks_fail_at_create(c: &Case) {
    let mut b = c.bundle();
    let dir = b.caps(&["CAP_KILL", "CAP_SYS_TIME"]).save();
    let cut = ["setpriv", "--bounding-set", "-sys_time"];
    for (verb, nnp) in [("create", true), ("create", false), ("run", true), ("run", false)] {
        b.set("/process/noNewPrivileges", json!(nnp)).save();
        let out = c.rt_cmd(&[verb, "-b", &dir, ID]).through(&cut).run();
        if c.is_rt() {
            out.fails("process.capabilities")
                .fails("does not have all of these capabilities itself");
            c.nothing_left();
        } else {
            out.fails("");
        }
    }
}

fn no_new_privileges_is_set_or_not(c: &Case) {
    let mut b = c.bundle();
    assert_eq!(c.see(&b)["nnp"], 1);
    b.set("/process/noNewPrivileges", json!(false));
    assert_eq!(c.see(&b)["nnp"], 0);
    b.remove("/process/noNewPrivileges");
    assert_eq!(c.see(&b)["nnp"], 0);
}

fn rlimits_are_set(c: &Case) {
    let mut b = c.bundle();
    b.set(
        "/process/rlimits",
        json!([{"type": "RLIMIT_NOFILE", "soft": 300, "hard": 400},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_FSIZE", "soft": 1_000_000_000, "hard": 2_000_000_000},
            {"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 8_388_608}]),
    );
    let limits = c.see(&b)["rlimits"].clone();
    assert_eq!(limits["Max open files"], json!(["300", "400"]));
    assert_eq!(limits["Max core file size"], json!(["0", "0"]));
    assert_eq!(limits["Max file size"], json!(["1000000000", "2000000000"]));
    assert_eq!(limits["Max stack size"], json!(["4194304", "8388608"]));
}

fn rlimit_nofile_0_starts(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 0, "hard": 0}]));
    c.run(b.sh("ulimit -n")).ok();
}

/// What the runtime opens on the way to the program does not count, also for a user who is let into
/// the working directory only as such.
fn few_open_files_are_enough_to_start(c: &Case) {
    let mut b = c.bundle();
    std::os::unix::fs::chown(b.rootfs("tmp"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(b.rootfs("tmp"), fs::Permissions::from_mode(0o700)).unwrap();
    b.set("/process/user", json!({"uid": 1000, "gid": 1000})).set("/process/cwd", json!("/tmp"));
    for (soft, hard) in [(3, 3), (1, 7), (4, 500), (15, 20)] {
        let limit = json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]);
        b.set("/process/rlimits", limit).sh("ulimit -n; ulimit -Hn");
        let expected = format!("{soft}\n{hard}\n");
        assert_eq!(c.run(&b).ok().out(), expected);
        let out = c.up(&b);
        crate::support::cmd::wait_until("it has spoken", || out.out().lines().count() == 2);
        assert_eq!(out.out(), expected);
        c.down();
        c.up(b.args(&["/probe", "sleep"]));
        let exec = c.exec(&["/bin/sh", "-c", "ulimit -n; ulimit -Hn"]);
        assert_eq!(exec.ok().out(), expected);
        c.down();
    }
}

fn oom_score_adj_is_set(c: &Case) {
    let mut b = c.bundle();
    assert_eq!(c.see(b.set("/process/oomScoreAdj", json!(123)))["oom_score_adj"], "123");
    assert_eq!(c.see(b.set("/process/oomScoreAdj", json!(1000)))["oom_score_adj"], "1000");
}

fn oom_score_adj_is_inherited_otherwise(c: &Case) {
    fs::write("/proc/self/oom_score_adj", "77").unwrap();
    assert_eq!(c.see(&c.bundle())["oom_score_adj"], "77");
}

fn environment_is_the_configs_in_order(c: &Case) {
    let mut b = c.bundle();
    let env = ["Z=1", "PATH=/bin", "A=two words", "EMPTY=", "E=a=b", "HOME=/x", "U=ü"];
    b.set("/process/env", json!(env));
    assert_eq!(c.see(&b)["env"], json!(env));
    b.set("/process/env", json!(["A=1", "HOME=/", "A=2"]));
    let seen = c.see(&b)["env"].clone();
    let last = seen.as_array().unwrap().iter().rfind(|e| e.as_str().unwrap().starts_with("A="));
    assert_eq!(last, Some(&json!("A=2")), "of duplicates the last one wins");
}

fn environment_of_the_caller_stays_out(c: &Case) {
    let mut b = c.bundle();
    let dir = b.set("/process/env", json!(["HOME=/"])).args(&["/probe", "see"]).save();
    let out = c.rt_cmd(&["run", "-b", &dir, ID]).env("HOSTVAR", "secret").run().ok();
    assert_eq!(out.json()["env"], json!(["HOME=/"]));
}

fn home_that_is_empty_is_set_from_passwd(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/env", json!(["HOME=/x", "HOME="]));
    let env = c.see(&b)["env"].clone();
    let homes = env.as_array().unwrap().iter().filter(|e| e.as_str().unwrap().starts_with("HOME="));
    assert_eq!(homes.collect::<Vec<_>>(), [&json!("HOME=/root")]);
}

fn capabilities_count_when_the_program_is_looked_for(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(b.rootfs("mine")).unwrap();
    let program = b.rootfs("mine/true");
    fs::copy(b.rootfs("bin/busybox"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    b.args(&["/mine/true"]);
    b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    b.caps(&[]);
    c.run(&b).fails("ermission denied");
    b.caps(&["CAP_DAC_OVERRIDE"]);
    b.set("/process/capabilities/ambient", json!(["CAP_DAC_OVERRIDE"]));
    b.set("/process/capabilities/inheritable", json!(["CAP_DAC_OVERRIDE"]));
    c.run(&b).ok();
}

fn home_is_set_from_passwd_when_absent(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/env", json!(["A=1"])).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let has = |v: &Value, home: &str| v["env"].as_array().unwrap().contains(&json!(home));
    assert!(has(&c.see(&b), "HOME=/home/user"));
    b.set("/process/user", json!({"uid": 4242, "gid": 4242}));
    assert!(has(&c.see(&b), "HOME=/"), "an unknown user");
}

fn cwd_is_entered(c: &Case) {
    let mut b = c.bundle();
    assert_eq!(c.see(b.set("/process/cwd", json!("/var")))["cwd"], "/var");
    symlink("/var", b.rootfs("link")).unwrap();
    assert_eq!(c.see(b.set("/process/cwd", json!("/link")))["cwd"], "/var");
}

fn cwd_is_created_when_missing(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/cwd", json!("/not/there/yet"));
    assert_eq!(c.see(&b)["cwd"], "/not/there/yet");
    let made = fs::metadata(b.rootfs("not/there/yet")).unwrap();
    assert_eq!((made.mode() & 0o7777, made.uid()), (0o755, 0));
}

fn cwd_of_another_user_can_be_entered(c: &Case) {
    let mut b = c.bundle();
    let home = b.rootfs("home/user");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(1000), Some(1000)).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    // Without CAP_DAC_OVERRIDE only the user can enter ...
    b.set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/cwd", json!("/home/user"));
    assert_eq!(c.see(&b)["cwd"], "/home/user");
    // ... and here only root can, before it gives up its rights.
    std::os::unix::fs::chown(&home, Some(0), Some(0)).unwrap();
    c.run(b.args(&["/bin/true"])).ok();
}

fn cwd_that_is_a_file_fails(c: &Case) {
    let mut b = c.bundle();
    let out = c.run(b.set("/process/cwd", json!("/etc/passwd"))).fails("ot a directory");
    assert!(!c.is_rt() || out.err().contains("cwd"), "{}", out.err());
    c.nothing_left();
}

fn program_is_found_in_the_containers_path(c: &Case) {
    let mut b = c.bundle();
    fs::create_dir(b.rootfs("opt")).unwrap();
    symlink("/bin/busybox", b.rootfs("opt/true")).unwrap();
    symlink("/bin/busybox", b.rootfs("opt/echo")).unwrap();
    b.set("/process/env", json!(["PATH=/nowhere:/opt"]));
    assert_eq!(c.run(b.args(&["echo", "found"])).ok().out(), "found\n");
    b.set("/process/env", json!(["PATH=/nowhere"]));
    c.run(b.args(&["echo", "found"])).fails("");
}

fn relative_program_starts_at_the_cwd(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/cwd", json!("/bin")).args(&["./echo", "here"]);
    assert_eq!(c.run(&b).ok().out(), "here\n");
}

fn missing_program_in_path_fails_as_engines_expect(c: &Case) {
    let out = c.create(c.bundle().args(&["no-such-program"])).fails("executable file");
    assert!(out.err().contains("not found in $PATH"), "{}", out.err());
    c.nothing_left();
}

fn missing_program_fails_as_engines_expect(c: &Case) {
    c.create(c.bundle().args(&["/no/such/program"])).fails("no such file or directory");
    c.nothing_left();
}

fn directory_as_program_fails_as_engines_expect(c: &Case) {
    c.create(c.bundle().args(&["/etc"])).fails(if c.is_rt() {
        "is a directory: permission denied"
    } else {
        ""
    });
    c.nothing_left();
}

fn program_without_x_fails_as_engines_expect(c: &Case) {
    c.create(c.bundle().args(&["/etc/passwd"])).fails("permission denied");
    c.nothing_left();
}

fn script_with_a_missing_interpreter_fails(c: &Case) {
    let mut b = c.bundle();
    fs::write(b.rootfs("script"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(b.rootfs("script"), fs::Permissions::from_mode(0o755)).unwrap();
    c.run(b.args(&["/script"])).fails("no such file or directory");
    c.nothing_left();
}

/// The container's stderr has it, bare; who is not that stderr is told as well.
fn execve_error_is_said_once_where_it_belongs(c: &Case) {
    let mut b = c.bundle();
    fs::write(b.rootfs("script"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(b.rootfs("script"), fs::Permissions::from_mode(0o755)).unwrap();
    b.args(&["/script"]);
    let why = ": its interpreter /no/such/interpreter is not in the container";
    let line = format!("exec /script: no such file or directory{why}\n");
    let line = line.as_str();
    let log = c.path_str("log");
    let run = ["--log", &log, "--log-format", "json", "run", "-b", &b.save(), ID];
    let out = c.rt(&run).exits(1);
    assert_eq!((out.err().as_str(), out.out().as_str()), (line, ""));
    assert!(crate::cli::last_entry(&fs::read_to_string(&log).unwrap())["msg"] != "");
    b.set("/process/terminal", json!(true));
    let out = c.rt_cmd(&["run", "-b", &b.save(), ID]).input(b"").run().exits(1);
    assert_eq!((out.err().as_str(), out.out().as_str()), ("", line));
    b.set("/process/terminal", json!(false));
    let out = c.rt(&["run", "-d", "-b", &b.save(), ID]).exits(1);
    let said = format!("rt: run {ID}: exec /script: no such file or directory (ENOENT){why}\n");
    assert_eq!(out.err(), format!("{line}{said}"));
    c.nothing_left();
    let out = c.create(&b).ok();
    c.rt(&["start", ID]).ok();
    c.wait_for_status("stopped");
    assert_eq!(out.err(), line);
    c.down();
}

fn program_that_is_no_program_fails_as_engines_expect(c: &Case) {
    let mut b = c.bundle();
    fs::write(b.rootfs("text"), "just text\n").unwrap();
    fs::set_permissions(b.rootfs("text"), fs::Permissions::from_mode(0o755)).unwrap();
    c.run(b.args(&["/text"])).fails("exec format error");
    c.nothing_left();
}

fn failed_create_leaves_nothing(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/cwd", json!("/etc/passwd"));
    for verb in ["create", "run"] {
        c.rt(&[verb, "-b", &b.save(), "--pid-file", &c.path_str("pid"), ID]).fails("");
        c.nothing_left();
        assert!(!c.path("pid").exists());
    }
}

fn process_is_its_own_session_leader(c: &Case) {
    let seen = c.see(&c.bundle());
    assert_eq!((&seen["pid"], &seen["sid"], &seen["pgid"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(seen["controlling_terminal"], 0);
}

fn without_a_session_of_its_own_there_is_no_process(c: &Case) {
    let dir = c.bundle().args(&["/bin/echo", "started"]).save();
    let strace = ["strace", "-f", "-o", "/dev/null", "--inject=setsid:error=EPERM"];
    let out = c.rt_cmd(&["run", "-b", &dir, ID]).through(&strace).run().fails("EPERM");
    assert_eq!(out.out(), "");
    c.nothing_left();
}

fn home_in_the_last_line_of_passwd_is_found(c: &Case) {
    let mut b = c.bundle();
    fs::write(b.rootfs("etc/passwd"), "root:x:0:0::/home/of-root:/bin/sh").unwrap();
    b.set("/process/env", json!(["PATH=/bin"]));
    assert_eq!(c.run(b.sh("echo $HOME")).ok().out(), "/home/of-root\n");
}

/// The kernel does not tell whether a directory is inside when its path is too long to be told.
fn cwd_too_deep_to_be_checked_is_refused(c: &Case) {
    let mut b = c.bundle();
    // Each half is as long as a path may be, and the second one begins where the first one ends.
    let half = vec!["x".repeat(200); 15].join("/");
    fs::create_dir_all(b.rootfs("deep").join(&half)).unwrap();
    std::os::unix::fs::symlink(format!("/deep/{half}"), b.rootfs("half")).unwrap();
    let end = std::fs::File::open(b.rootfs("deep").join(&half)).unwrap();
    let here = std::env::current_dir().unwrap();
    nix::unistd::fchdir(&end).unwrap();
    fs::create_dir_all(&half).unwrap();
    std::os::unix::fs::symlink(&half, "rest").unwrap();
    std::env::set_current_dir(here).unwrap();
    b.set("/process/cwd", json!("/half/rest"));
    c.create(&b).fails("process.cwd");
    c.nothing_left();
    b.set("/process/cwd", json!("/half"));
    c.run(&b).ok();
}

fn signals_are_neither_blocked_nor_ignored(c: &Case) {
    let signals = c.see(&c.bundle())["signals"].clone();
    let none = "0000000000000000";
    assert_eq!(signals["blocked"], none);
    assert_eq!(signals["pending"], none);
    // The probe, as any Rust program, ignores SIGPIPE itself.
    assert_eq!(signals["ignored"], "0000000000001000");
    let out = c.run(c.bundle().args(&["/bin/grep", "SigIgn", "/proc/self/status"])).ok().out();
    assert_eq!(out.strip_prefix("SigIgn:").unwrap().trim(), none);
}

fn parent_death_signal_is_off(c: &Case) {
    assert_eq!(c.see(&c.bundle())["pdeathsig"], 0);
}

fn process_is_dumpable_again(c: &Case) {
    assert_eq!(c.see(&c.bundle())["dumpable"], 1);
}

fn cpu_affinity_is_reset_to_all(c: &Case) {
    let all = c.see(&c.bundle())["affinity"].clone();
    if all == "0" {
        crate::support::worker::skip("needs two processors");
    }
    let mut one = nix::sched::CpuSet::new();
    one.set(0).unwrap();
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one).unwrap();
    assert_eq!(c.see(&c.bundle())["affinity"], all);
}

fn session_keyring_is_fresh(c: &Case) {
    let seen = c.see(&c.bundle())["keyring"].clone();
    let name = seen.as_str().unwrap().rsplit(';').next().unwrap();
    assert!(name.contains(ID), "{seen}");
    // Nobody can have made it before.
    assert_ne!(c.see(&c.bundle())["keyring"], seen);
}

fn no_new_keyring_keeps_the_callers(c: &Case) {
    let dir = c.bundle().args(&["/probe", "see"]).save();
    let out = c.rt(&["run", "--no-new-keyring", "-b", &dir, ID]).ok();
    assert!(!out.json()["keyring"].as_str().unwrap().contains(ID));
}

fn nice_value_of_the_caller_stays(c: &Case) {
    // SAFETY: no pointers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 7) };
    assert_eq!(c.see(&c.bundle())["scheduler"]["nice"], 7);
}

fn apparmor_profile_is_applied(c: &Case) {
    let profile = "profile rt-test flags=(attach_disconnected,mediate_deleted) {\n  file,\n  capability,\n  \
        network,\n  mount,\n  umount,\n  signal,\n  ptrace,\n  deny /etc/group rwl,\n}\n";
    fs::write(c.path("profile"), profile).unwrap();
    Cmd::new(&["apparmor_parser", "-r", "-K", &c.path_str("profile")]).run().ok();
    let mut b = c.bundle();
    b.set("/process/apparmorProfile", json!("rt-test"));
    assert_eq!(c.see(&b)["label"], "rt-test (enforce)");
    assert_eq!(
        c.run(b.args(&["/probe", "open", "r", "/etc/group", "/etc/passwd"])).ok().out(),
        "EACCES\nok\n"
    );
    c.up(b.args(&["/probe", "sleep"]));
    assert_eq!(c.exec(&["/probe", "see"]).ok().json()["label"], "rt-test (enforce)");
    c.down();
    Cmd::new(&["apparmor_parser", "-R", &c.path_str("profile")]).run().ok();
}

/// What `--security-opt apparmor=unconfined` and privileged pods write, whatever the host has.
fn unconfined_needs_no_apparmor(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/apparmorProfile", json!("unconfined")).args(&["/probe", "sleep"]);
    c.up(&b);
    c.exec(&["/bin/true"]).ok();
    c.rt(&["exec", "--apparmor", "unconfined", ID, "/bin/true"]).ok();
    c.down();
}

/// And who has asked for it.
fn exec_says_that_there_is_no_apparmor(c: &Case) {
    let mut b = c.bundle();
    c.up(b.args(&["/probe", "sleep"]));
    let out = c.rt(&["exec", "--apparmor", "some", ID, "/bin/true"]).exits(255);
    assert_eq!(
        out.err(),
        format!("rt: exec {ID}: --apparmor \"some\": AppArmor is not enabled here\n")
    );
    let mut process = b.config["process"].clone();
    process["apparmorProfile"] = json!("some");
    fs::write(c.path("process.json"), process.to_string()).unwrap();
    let out = c.rt(&["exec", "--process", &c.path_str("process.json"), ID]).exits(255);
    let text = "process.json: apparmorProfile \"some\": AppArmor is not enabled here";
    assert!(out.err().contains(text), "{}", out.err());
    c.down();
}

fn unknown_apparmor_profile_is_refused(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/apparmorProfile", json!("no-such-profile"));
    c.create(&b).fails(if c.is_rt() { "process.apparmorProfile" } else { "" });
    c.nothing_left();
}
