//! What a container must not get by a way around its configuration: by the rights of `rt` itself, by
//! a module that only says yes, by annotations, by what a list of masks forgets.

use crate::support::cmd::Cmd;
use crate::support::suite::ORDINARY_USER;
use crate::support::{Bundle, Case, ID, Out, sys};
use crate::tests;
use serde_json::{Value, json};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

tests! {
    setuid_runtime_does_nothing_for_an_ordinary_user: rt_only(),
    runtime_with_file_capabilities_does_nothing_for_an_ordinary_user: rt_only(),
    power_readings_are_masked_by_the_configuration_of_spec: rt_only(),
    label_that_is_not_said_back_is_refused: rt_only(),
    label_that_is_not_said_back_is_refused_for_exec: rt_only(),
    label_that_is_not_said_back_is_refused_for_hooks: rt_only(),
    annotations_of_engines_change_nothing: rt_only(),
}

/// All that could be done with the rights of another: what a verb writes, ends or shows.
const VERBS: &[&[&str]] = &[
    &["create", "-b", "BUNDLE", ID],
    &["run", "-b", "BUNDLE", ID],
    &["exec", ID, "/bin/true"],
    &["start", ID],
    &["state", ID],
    &["kill", ID, "KILL"],
    &["delete", "--force", ID],
    &["update", "--pids-limit", "7", ID],
    &["list"],
    &["ps", ID],
    &["spec", "-b", "BUNDLE"],
    &["features"],
    &["no-such-verb"],
];

/// None of the verbs does anything, nor is a log written, for whom the program has more rights than
/// its caller.
fn refuses_all(c: &Case, program: &Path) {
    let bundle = c.bundle();
    let dir = bundle.save();
    let (probe, log) = (c.base.join("probe"), c.path("log"));
    for verb in VERBS {
        let verb = verb.iter().map(|word| if *word == "BUNDLE" { &dir } else { *word });
        let user = ORDINARY_USER.to_string();
        let mut line = vec![probe.to_str().unwrap(), "as-user", &user, program.to_str().unwrap()];
        let (state, log_path) = (c.state.to_str().unwrap(), log.to_str().unwrap());
        line.extend(["--root", state, "--log", log_path]);
        line.extend(verb);
        let out = Cmd::new(&line).run();
        out.fails("must not be installed setuid or with file capabilities");
        assert!(!log.exists(), "{line:?} has written a log");
        assert_eq!(fs::read_dir(&c.state).unwrap().count(), 0, "{line:?}");
    }
    // Whom it gives nothing it serves.
    let own = Cmd::new(&[program.to_str().unwrap(), "features"]).run();
    own.ok();
}

fn copy_of_the_runtime(c: &Case, name: &str, mode: u32) -> std::path::PathBuf {
    let copy = c.path(name);
    fs::copy(&c.runtime, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).unwrap();
    copy
}

/// CVE-2020-5291
fn setuid_runtime_does_nothing_for_an_ordinary_user(c: &Case) {
    refuses_all(c, &copy_of_the_runtime(c, "setuid", 0o4755));
    refuses_all(c, &copy_of_the_runtime(c, "setgid", 0o2755));
}

fn runtime_with_file_capabilities_does_nothing_for_an_ordinary_user(c: &Case) {
    let copy = copy_of_the_runtime(c, "capable", 0o755);
    // struct vfs_cap_data: revision 2, effective; CAP_CHOWN permitted.
    let value = [0x0200_0001_u32, 1, 0, 0, 0].map(u32::to_le_bytes).concat();
    let path = CString::new(copy.to_str().unwrap()).unwrap();
    let name = c"security.capability".as_ptr();
    // SAFETY: NUL-terminated strings; the value is as long as said.
    let rc = unsafe { libc::setxattr(path.as_ptr(), name, value.as_ptr().cast(), value.len(), 0) };
    assert_eq!(rc, 0, "setcap: {}", std::io::Error::last_os_error());
    refuses_all(c, &copy);
}

/// GHSA-7ww5-4wqc-m92c. Not every machine has such a directory: what stands for the host's /sys is
/// made for the test.
fn power_readings_are_masked_by_the_configuration_of_spec(c: &Case) {
    let reading = "devices/virtual/powercap/intel-rapl/energy_uj";
    fs::create_dir_all(c.path("sys").join(reading).parent().unwrap()).unwrap();
    fs::create_dir_all(c.path("sys/fs/cgroup")).unwrap();
    fs::write(c.path("sys").join(reading), "4711\n").unwrap();
    for flags in [&["spec"][..], &["spec", "--rootless"]] {
        let mut b = c.named_bundle(&format!("b{}", flags.len()));
        c.rt_cmd(flags).args(&["-b", b.dir.to_str().unwrap()]).run().ok();
        let written = fs::read_to_string(b.dir.join("config.json")).unwrap();
        b.config = serde_json::from_str(&written).unwrap();
        let path = "/sys/devices/virtual/powercap";
        let masked = b.config["linux"]["maskedPaths"].as_array().unwrap();
        assert!(masked.contains(&json!(path)), "{masked:?}");
        b.set("/process/terminal", json!(false));
        if flags.len() == 1 {
            b.set("/linux/cgroupsPath", json!(c.cgroups_path(ID)));
        }
        let script = format!("cat /sys/{reading}; ls -A {path}");
        b.sh(&script);
        if Path::new(path).exists() {
            let out = c.run(&b);
            assert_eq!(out.out(), "", "the host's own: {}", out.err());
        }
        let mounts = b.config["mounts"].as_array_mut().unwrap();
        let sys = mounts.iter_mut().find(|mount| mount["destination"] == "/sys").unwrap();
        *sys = json!({"destination": "/sys", "type": "bind", "source": c.path_str("sys"),
            "options": ["rbind", "ro"]});
        let out = c.run(&b).ok();
        assert_eq!(out.out(), "", "{}", out.err());
        assert!(out.err().contains("energy_uj"), "it has tried: {}", out.err());
        // It is the mask that hides it.
        let masked = b.config["linux"]["maskedPaths"].as_array_mut().unwrap();
        masked.retain(|masked| *masked != path);
        assert_eq!(c.run(&b).ok().out(), "4711\nintel-rapl\n");
    }
}

const LABEL: &str = "system_u:system_r:container_t:s0:c1,c2";
/// The same in the policy's spelling.
const SAME: &str = "system_u:system_r:container_t:s0:c1.c2";
const OTHER: &str = "system_u:system_r:unconfined_t:s0";

/// `rt` on a machine on which SELinux seems to be at work: it takes every label, and says these
/// when it is asked.
fn with_labels(c: &Case, answers: &[&str], args: &[&str]) -> Out {
    let probe = c.base.join("probe").to_string_lossy().into_owned();
    c.rt_cmd(args).through(&[&probe, "labels", &answers.join(";")]).run()
}

/// Where the kernel has no SELinux, what tells that it has.
fn selinux(c: &Case, test: impl FnOnce()) {
    let (at, fake) = (Path::new("/sys/fs"), c.path("fs"));
    fs::create_dir_all(fake.join("selinux")).unwrap();
    fs::write(fake.join("selinux/enforce"), "1").unwrap();
    fs::create_dir(fake.join("cgroup")).unwrap();
    sys::bind(Path::new("/sys/fs/cgroup"), &fake.join("cgroup")).unwrap();
    sys::bind(&fake, at).unwrap();
    test();
    sys::umount_detach(at).unwrap();
    sys::umount_detach(&fake.join("cgroup")).unwrap();
}

fn label_that_is_not_said_back_is_refused(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/selinuxLabel", json!(LABEL)).args(&["/bin/echo", "it runs"]);
    let dir = b.save();
    selinux(c, || {
        for answers in [&[LABEL][..], &[SAME]] {
            let out = with_labels(c, answers, &["run", "-b", &dir, ID]).ok();
            assert_eq!(out.out(), "it runs\n");
        }
        // Of two that are set, the key ring's and the program's, each is asked for.
        for answers in [&[OTHER][..], &["", ""], &[LABEL, OTHER], &[OTHER, LABEL]] {
            for verb in ["run", "create"] {
                let out = with_labels(c, answers, &[verb, "-b", &dir, ID]);
                let out = out.fails("process.selinuxLabel").fails("otherwise than it was set");
                assert_eq!(out.out(), "", "{answers:?}");
                c.nothing_left();
            }
        }
    });
}

fn label_that_is_not_said_back_is_refused_for_exec(c: &Case) {
    c.up(c.bundle().args(&["/probe", "sleep"]));
    selinux(c, || {
        let args = ["exec", "--process-label", LABEL, ID, "/bin/echo", "it runs"];
        assert_eq!(with_labels(c, &[LABEL], &args).ok().out(), "it runs\n");
        for answers in [&[OTHER][..], &[""], &[LABEL, OTHER]] {
            let out = with_labels(c, answers, &args).fails("otherwise than it was set");
            assert_eq!(out.out(), "", "{answers:?}");
        }
    });
    c.down();
}

fn label_that_is_not_said_back_is_refused_for_hooks(c: &Case) {
    let mut b = c.bundle();
    b.set("/process/selinuxLabel", json!(LABEL)).set("/root/readonly", json!(false));
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo > /hook-ran"]});
    b.set("/hooks/startContainer", json!([hook]));
    let dir = b.save();
    selinux(c, || {
        with_labels(c, &[LABEL, LABEL, LABEL], &["run", "-b", &dir, ID]).ok();
        fs::remove_file(b.rootfs("hook-ran")).expect("the hook has run");
        let out = with_labels(c, &[LABEL, LABEL, OTHER], &["run", "-b", &dir, ID]);
        out.fails("startContainer")
            .fails("to /proc/self/attr/exec: the kernel says otherwise than it was set: ");
        assert!(!b.rootfs("hook-ran").exists());
        c.nothing_left();
    });
}

/// What a program sees of its confinement, without what is another for each container.
fn confinement(c: &Case, b: &Bundle) -> Value {
    let mut seen = c.see(b);
    let seen = seen.as_object_mut().unwrap();
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let shared = seen["namespaces"].as_object().unwrap().iter();
    let shared = shared.filter(|(kind, id)| own(kind).to_str() == id.as_str());
    let shared: Vec<String> = shared.map(|(kind, _)| kind.clone()).collect();
    seen.insert("namespaces".to_owned(), json!(shared));
    for key in ["fds", "keyring"] {
        seen.remove(key);
    }
    Value::Object(seen.clone())
}

/// CVE-2023-6476, CVE-2026-53488, CVE-2014-6408: words that an engine or another runtime
/// understands, which an image may have brought.
fn annotations_of_engines_change_nothing(c: &Case) {
    let (file, socket) = (c.path_str("file"), c.path_str("socket"));
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo > {file}")]}]);
    let hooks = json!({"createRuntime": hook, "prestart": hook}).to_string();
    let elsewhere = "/rt-test-elsewhere";
    let words = [
        ("cgroupsPath", elsewhere),
        ("linux.cgroupsPath", elsewhere),
        ("io.kubernetes.cri-o.CgroupParent", elsewhere),
        ("io.kubernetes.cri-o.UnifiedCgroup", "pids.max=max"),
        ("io.kubernetes.cri-o.cgroup2-mount-hierarchy-rw", "true"),
        ("io.kubernetes.cri-o.userns-mode", "auto"),
        ("io.kubernetes.cri-o.Devices", "/dev/kmsg:/dev/kmsg:rwm"),
        ("io.kubernetes.cri-o.ShmSize", "1"),
        ("io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel", "true"),
        ("io.kubernetes.container.apparmor", "unconfined"),
        ("io.podman.annotations.privileged", "TRUE"),
        ("io.podman.annotations.seccomp", "unconfined"),
        ("io.podman.annotations.label", "disable"),
        ("io.podman.annotations.cid-file", &file),
        ("security.alpha.kubernetes.io/seccomp/pod", "unconfined"),
        ("container.apparmor.security.beta.kubernetes.io/box", "unconfined"),
        ("cdi.k8s.io/x", "vendor.com/device=all"),
        ("run.oci.systemd.subgroup", "elsewhere"),
        ("run.oci.systemd.force_cgroup_v1", "/sys/fs/cgroup"),
        ("run.oci.delegate-cgroup", "elsewhere"),
        ("run.oci.hooks.stdout", &file),
        ("run.oci.hooks.stderr", &file),
        ("run.oci.seccomp.receiver", &socket),
        ("run.oci.seccomp.plugins", &file),
        ("run.oci.pidfd_receiver", &socket),
        ("run.oci.mount_context_type", "rootcontext"),
        ("run.oci.timens_offset", "monotonic 1 0"),
        ("run.oci.idmapped-mounts", "/:/"),
        ("org.criu.config", "/etc/criu.conf"),
        ("org.opencontainers.runc.exec.isolated-cpu-affinity-transition", "1"),
        ("bundle", "/"),
        ("hooks", &hooks),
        ("oci.hooks.createRuntime", &hooks),
        ("process.noNewPrivileges", "false"),
        ("process.capabilities", r#"["CAP_SYS_ADMIN"]"#),
        ("linux.seccomp", "null"),
        ("linux.maskedPaths", "[]"),
        ("root.readonly", "false"),
    ];
    // What an annotation could have the program keep.
    nix::unistd::setgroups(&[4.into(), 27.into()]).unwrap();
    let mut b = c.bundle();
    let limits = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control");
    let limits = limits.is_ok_and(|names| names.contains("pids"));
    if limits {
        b.set("/linux/resources/pids", json!({"limit": 77}));
    }
    let rule = json!({"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO"});
    b.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo said; echo so >&2"]});
    b.set("/hooks/createRuntime", json!([hook]));
    let plain = confinement(c, &b);
    let all: serde_json::Map<_, _> =
        words.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    b.set("/annotations", Value::Object(all));
    let marked = confinement(c, &b);
    for (key, value) in plain.as_object().unwrap() {
        assert_eq!(&marked[key], value, "{key}");
    }
    c.up(b.args(&["/probe", "sleep"]));
    let group = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert!(group.trim_end().ends_with(&c.cgroups_path(ID)), "{group}");
    assert!(!Path::new("/sys/fs/cgroup").join(elsewhere.trim_matches('/')).exists());
    if let Some(dir) = c.cgroup_dir().map(|dir| dir.join(ID)).filter(|_| limits) {
        let limit = fs::read_to_string(dir.join("pids.max"));
        assert!(limit.as_ref().is_ok_and(|limit| limit == "77\n"), "{limit:?}");
    }
    let exec = c.exec(&["/probe", "see"]).ok().json();
    for key in ["caps", "nnp", "seccomp", "ids", "rlimits", "cgroup", "mounts"] {
        assert_eq!(exec[key], plain[key], "{key} of exec");
    }
    c.down();
    assert!(!Path::new(&file).exists(), "a hook of an annotation has run, or has its output there");
    assert!(listener.accept().is_err(), "somebody has connected");
}
