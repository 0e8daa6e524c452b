//! The procfs of a pid namespace that is joined: it shows that namespace and nothing of the host,
//! whoever the namespace belongs to and whatever the kernel can do.

use crate::host_devices::of_the_hosts_root;
use crate::nested::{CAPS, inner, outer};
use crate::support::{Bundle, Case, ID, Need};
use crate::tests;
use serde_json::{Value, json};
use std::fs;

tests! {
    namespace_of_the_host_shows_itself_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    options_count_in_a_user_namespace: rt_only().needs(Need::UserNamespace),
    it_is_made_without_a_root_to_be_pivoted: rt_only(),
    it_is_made_where_no_user_namespace_can_be: rt_only().needs(Need::UserNamespace),
}

/// The kernel as one before Linux 6.17, in which no pid namespace can be named for a procfs.
fn older(c: &Case) -> Vec<String> {
    let probe = c.base.join("probe").to_string_lossy().into_owned();
    refuse(probe, libc::SYS_fsconfig, [1, 5, libc::EINVAL])
}

/// With one value in one argument of a system call refused.
fn refuse(probe: String, call: i64, [argument, value, errno]: [i32; 3]) -> Vec<String> {
    let numbers = [argument, value, errno].map(|number| number.to_string());
    [vec![probe, "refuse".to_owned(), call.to_string()], numbers.to_vec()].concat()
}

fn words(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// A container of the host's user namespace, and the pid namespace of it.
fn other(c: &Case) -> String {
    let mut b = c.named_bundle("other");
    b.set("/linux/cgroupsPath", json!(c.cgroups_path("other")));
    c.rt(&["run", "-d", "-b", &b.args(&["/probe", "sleep", "other"]).save(), "other"]).ok();
    let pid = c.rt(&["state", "other"]).ok().json()["pid"].clone();
    format!("/proc/{pid}/ns/pid")
}

fn joining(c: &Case, name: &str, namespace: &str) -> Bundle {
    let mut b = c.named_bundle(name);
    b.namespace("pid", Some(namespace));
    b
}

/// Its first process, how many there are, and where the procfs comes from.
const LOOK: &str = "busybox tr '\\0' ' ' < /proc/1/cmdline; echo; \
    busybox ls /proc | busybox grep -c '^[0-9]'; \
    busybox awk '$5 == \"/proc\" { print $4, $6 }' /proc/self/mountinfo";

#[track_caller]
fn shows_itself(said: &str) {
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "/probe sleep other ", "{said}");
    assert!(lines[1].parse::<u32>().expect("a number") < 8, "processes of the host: {said}");
    assert_eq!(lines[2], "/ rw,relatime", "{said}");
}

fn namespace_of_the_host_shows_itself_in_a_user_namespace(c: &Case) {
    let namespace = other(c);
    let older = older(c);
    for through in [&older[..0], &older[..]] {
        for of_root in [false, true] {
            let name = format!("{}-{of_root}", through.len());
            let mut b = joining(c, &name, &namespace);
            match of_root {
                true => of_the_hosts_root(&mut b),
                false => b.user_namespace(),
            };
            // What is read-only stays so for root of the host's ids.
            let writes =
                "for file in core_pattern panic; do echo 1 > /proc/sys/kernel/$file; done; true";
            b.sh(&format!("{LOOK}; {writes}"));
            let run = c.rt_cmd(&["run", "-b", &b.save(), ID]).through(&words(through)).run().ok();
            shows_itself(&run.out());
            assert_eq!(run.err().matches("Read-only file system").count(), 2, "{}", run.err());
            let create = c.rt_cmd(&["create", "-b", &b.sh(LOOK).save(), ID]);
            let created = create.through(&words(through)).run().ok();
            c.rt(&["start", ID]).ok();
            c.wait_for_status("stopped");
            shows_itself(&created.out());
            c.down();
        }
    }
    c.rt(&["delete", "--force", "other"]).ok();
}

fn options_count_in_a_user_namespace(c: &Case) {
    let namespace = other(c);
    let mut b = joining(c, "b", &namespace);
    b.user_namespace().unmount("/proc");
    b.mount("/proc", "proc", "proc", &["ro", "nosuid", "nodev", "noexec", "hidepid=1"]);
    b.mount("/mnt/a", "proc", "proc", &["subset=pid"]);
    let options = "busybox awk '$3 == \"proc\" { print $2, $4 }' /proc/self/mounts; \
        busybox ls /mnt/a | busybox grep -c meminfo";
    let said = c.run(b.sh(options)).out();
    let of = |at: &str| said.lines().find(|line| line.starts_with(at)).unwrap_or_default();
    assert!(
        of("/proc ").starts_with("/proc ro,nosuid,nodev,noexec,relatime,hidepid=noaccess"),
        "{said}"
    );
    assert!(of("/mnt/a ").contains("subset=pid") && said.ends_with("\n0\n"), "{said}");
    let index = b.config["mounts"].as_array().unwrap().len();
    b.mount("/mnt/b", "proc", "proc", &["hidepid=9"]);
    let out = c.create(&b).fails(&format!("mounts[{index}].options[0]"));
    assert!(out.err().contains("hidepid"), "{}", out.err());
    c.rt(&["delete", "--force", "other"]).ok();
}

/// An initramfs cannot be pivoted, and there is no mount namespace to do it in.
fn it_is_made_without_a_root_to_be_pivoted(c: &Case) {
    let namespace = other(c);
    let probe = c.base.join("probe").to_string_lossy().into_owned();
    let mut through = older(c);
    through.extend(refuse(probe, libc::SYS_unshare, [0, libc::CLONE_NEWNS, libc::EPERM]));
    let mut b = joining(c, "b", &namespace);
    for arguments in [&["run"][..], &["run", "--no-pivot"]] {
        let dir = b.sh(LOOK).save();
        let cmd = c.rt_cmd(&[arguments, &["-b", &dir, ID]].concat());
        shows_itself(&cmd.through(&words(&through)).run().ok().out());
    }
    c.rt(&["delete", "--force", "other"]).ok();
}

/// user.max_user_namespaces is each user namespace's own: that of a container is set to 0.
fn it_is_made_where_no_user_namespace_can_be(c: &Case) {
    let (mut first, mut second) = (inner("/inner"), inner("/inner"));
    first["process"]["args"] = json!(["/probe", "sleep", "other"]);
    second["process"]["args"] = json!(["/bin/sh", "-c", LOOK]);
    let namespaces = second["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace: &Value| namespace["type"] != "pid");
    namespaces.push(json!({"type": "pid", "path": "/run/pid"}));
    let mut b = outer(c, &[first, second]);
    let file = "/proc/sys/user/max_user_namespaces";
    let before = fs::read_to_string(file).unwrap();
    let script = format!(
        "set -e; echo 0 > {file}; ! busybox unshare -U true; \
         /rt run -d -b /b0 first; touch /run/pid; \
         busybox mount --bind /proc/$(/rt state first | busybox sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p')/ns/pid /run/pid; \
         /probe refuse {} 1 5 {} /rt run -b /b1 second; /rt delete --force first",
        libc::SYS_fsconfig,
        libc::EINVAL,
    );
    b.user_namespace().caps(&[CAPS, &["CAP_SYS_RESOURCE"]].concat());
    let out = c.run(b.sh(&script));
    assert!(out.code == Some(0), "{} {}", out.out(), out.err());
    shows_itself(&out.out());
    assert_eq!(before, fs::read_to_string(file).unwrap(), "the machine's own");
}
