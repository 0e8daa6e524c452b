//! SELinux labels: of processes, of what is mounted for them, of their keys. The VM has
//! SELinux with RT_VM_LSM=selinux.

use crate::support::{Bundle, Case, ID, Need, sys};
use crate::tests;
use serde_json::json;

tests! {
    program_has_the_label: needs(Need::SeLinux),
    exec_has_the_label_of_the_container_or_its_own: needs(Need::SeLinux).except_crun("no such flag"),
    new_file_systems_have_the_mount_label: needs(Need::SeLinux),
    masks_have_the_mount_label: needs(Need::SeLinux),
    terminal_has_the_mount_label: needs(Need::SeLinux),
    label_can_be_that_of_the_root_of_a_file_system_alone: needs(Need::SeLinux).rt_only(),
    mount_keeps_the_context_it_names: needs(Need::SeLinux).rt_only(),
    labels_work_in_a_user_namespace: needs(Need::SeLinux).rt_only(),
    label_that_the_policy_does_not_know_is_named: needs(Need::SeLinux).rt_only(),
}

const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const MOUNTS: &str = "system_u:object_r:container_file_t:s0:c1,c2";

fn labelled(c: &Case) -> Bundle {
    let mut b = c.bundle();
    b.set("/process/selinuxLabel", json!(PROCESS)).set("/linux/mountLabel", json!(MOUNTS));
    b.args(&["/probe", "sleep"]);
    b
}

/// The label of a file of the container, as the host sees it.
#[track_caller]
fn label(c: &Case, path: &str) -> String {
    let path = format!("/proc/{}/root{path}", c.pid());
    sys::xattr(path.as_ref(), c"security.selinux").unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn program_has_the_label(c: &Case) {
    assert_eq!(c.see(&labelled(c))["label"], PROCESS);
}

fn exec_has_the_label_of_the_container_or_its_own(c: &Case) {
    c.up(&labelled(c));
    assert_eq!(c.exec(&["/probe", "see"]).ok().json()["label"], PROCESS);
    let other = "system_u:system_r:container_t:s0:c3,c4";
    let exec = c.rt(&["exec", "--process-label", other, ID, "/probe", "see"]);
    assert_eq!(exec.ok().json()["label"], other);
    c.down();
}

fn new_file_systems_have_the_mount_label(c: &Case) {
    c.up(&labelled(c));
    for path in ["/dev", "/dev/null", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        assert_eq!(label(c, path), MOUNTS, "{path}");
    }
    for path in ["/proc", "/sys", "/sys/fs/cgroup"] {
        assert_ne!(label(c, path), MOUNTS, "{path} has the policy's label");
    }
    c.down();
}

/// What Podman writes, so that files on such a file system can have labels of their own.
fn label_can_be_that_of_the_root_of_a_file_system_alone(c: &Case) {
    let mut b = labelled(c);
    for (kind, shown) in [("rootcontext", true), ("context", false)] {
        b.set("/annotations", json!({"run.oci.mount_context_type": kind}));
        c.up(&b);
        for path in ["/dev/shm", "/dev/mqueue"] {
            assert_eq!(label(c, path), MOUNTS, "{path}");
        }
        c.down();
        let options = c.see(&b)["mounts"]["/dev/shm"]["options"].to_string();
        assert_eq!(options.contains("rootcontext="), shown, "{options}");
    }
}

fn masks_have_the_mount_label(c: &Case) {
    let mut b = labelled(c);
    c.up(b.set("/linux/maskedPaths", json!(["/sys/firmware", "/proc/fs"])));
    for path in ["/sys/firmware", "/proc/fs"] {
        assert_eq!(label(c, path), MOUNTS, "{path}");
    }
    c.down();
}

fn terminal_has_the_mount_label(c: &Case) {
    let mut b = labelled(c);
    b.set("/process/terminal", json!(true));
    let socket = crate::support::socket::FdSocket::listen(&c.path("console"));
    c.rt(&["create", "-b", &b.save(), "--console-socket", &socket.arg(), ID]).ok();
    let (_master, _) = socket.receive();
    assert_eq!((label(c, "/dev/pts/0"), label(c, "/dev/console")), (MOUNTS.into(), MOUNTS.into()));
    c.down();
}

fn mount_keeps_the_context_it_names(c: &Case) {
    let own = "system_u:object_r:tmp_t:s0:c7,c8";
    let context = format!("context=\"{own}\"");
    let mut b = labelled(c);
    // By fsconfig(2), and by mount(2), which alone knows the flag.
    b.mount("/tmp", "tmpfs", "t", &[&context]).mount("/mnt", "tmpfs", "t", &["silent", &context]);
    c.up(&b);
    assert_eq!((label(c, "/tmp"), label(c, "/mnt")), (own.into(), own.into()));
    c.down();
}

fn labels_work_in_a_user_namespace(c: &Case) {
    c.up(labelled(c).user_namespace());
    assert_eq!(c.exec(&["/probe", "see"]).ok().json()["label"], PROCESS);
    assert_eq!((label(c, "/dev"), label(c, "/dev/shm")), (MOUNTS.into(), MOUNTS.into()));
    c.down();
}

fn label_that_the_policy_does_not_know_is_named(c: &Case) {
    for field in ["process.selinuxLabel", "linux.mountLabel"] {
        let mut b = labelled(c);
        b.set(&format!("/{}", field.replace('.', "/")), json!("no_u:no_r:no_t:s0"));
        c.create(&b).fails(field);
    }
    c.up(&labelled(c));
    c.rt(&["exec", "--process-label", "no_u:no_r:no_t:s0", ID, "/bin/true"]).fails("no_u:no_r");
    c.down();
    c.nothing_left();
}
