//! Entries of `mounts` and what becomes of them.

use super::*;

fn planned(mount: &str) -> (Vec<Mount>, Findings) {
    let text = format!(r#"{{"ociVersion":"1.3.0","mounts":[{mount}]}}"#);
    let spec: Spec = serde_json::from_str(&text).expect("a spec");
    let namespaces = Namespaces { new: flag::MOUNT, ..Namespaces::default() };
    let around = Around {
        namespaces: &namespaces,
        bundle: Path::new("/bundle"),
        root: Path::new("/bundle/rootfs"),
        unprivileged: false,
        cgroup_root: Path::new("/sys/fs/cgroup"),
        notify_socket: None,
    };
    let mut findings = Findings::default();
    let mounts = plan(&spec, around, &mut findings);
    (mounts, findings)
}

#[test]
fn options_become_attributes_and_parameters() {
    let (mounts, findings) = planned(
        r#"{"destination":"/dev/../dev//shm","type":"tmpfs","source":"shm",
            "options":["nosuid","ro","noatime","size=64k","relatime","rslave"]}"#,
    );
    assert!(findings.violations.is_empty(), "{findings:?}");
    let mount = &mounts[0];
    assert_eq!(mount.shown_target(), "/dev/shm");
    let top = mount.attributes.top;
    assert_eq!((top.set, top.clear), (attr::NOSUID, attr::ATIME));
    assert_eq!(top.propagation, libc::MS_SLAVE);
    assert!(mount.late_readonly);
    let What::FileSystem(made) = &mount.what else { panic!("not a file system") };
    assert_eq!(made.parameters[1].key.as_c_str(), c"size");
    assert_eq!(made.parameters[1].field.to_string(), "mounts[0].options[3]");
    assert!(made.inherit_mode);
}

#[test]
fn the_last_of_two_contradicting_words_wins() {
    let read = |options: &str| {
        planned(&format!(r#"{{"destination":"/x","source":"/y","options":["bind",{options}]}}"#)).0
            [0]
        .attributes
        .top
    };
    assert_eq!((read(r#""ro","rw""#).set, read(r#""ro","rw""#).clear), (0, attr::RDONLY));
    assert_eq!((read(r#""rw","ro""#).set, read(r#""rw","ro""#).clear), (attr::RDONLY, 0));
}

#[test]
fn relative_sources_count_from_the_bundle() {
    let (mounts, _) = planned(r#"{"destination":"/x","source":"y","options":["rbind"]}"#);
    assert_eq!(mounts[0].shown_source(), "/bundle/y");
}

#[test]
fn every_bad_mount_is_named() {
    let cases = [
        (r#"{"destination":"","type":"tmpfs"}"#, "mounts[0].destination"),
        (r#"{"destination":"/","type":"tmpfs"}"#, "mounts[0].destination"),
        (r#"{"destination":"/a/..","type":"tmpfs"}"#, "mounts[0].destination"),
        (r#"{"destination":"/x"}"#, "mounts[0].type"),
        (r#"{"destination":"/x","options":["bind"]}"#, "mounts[0].source"),
        (r#"{"destination":"/x","source":"/y","options":["bind","frob"]}"#, "mounts[0].options[1]"),
        (
            r#"{"destination":"/x","type":"tmpfs","options":["size=1m,mode=0777"]}"#,
            "mounts[0].options[0]",
        ),
        (
            r#"{"destination":"/x","type":"tmpfs","options":["shared","rslave"]}"#,
            "mounts[0].options[1]",
        ),
        (r#"{"destination":"/proc","type":"tmpfs"}"#, "mounts[0].destination"),
        (r#"{"destination":"/proc/self/attr","type":"tmpfs"}"#, "mounts[0].destination"),
        (
            r#"{"destination":"/x/../proc/sys/kernel","source":"/y","options":["bind"]}"#,
            "mounts[0].destination",
        ),
    ];
    for (mount, field) in cases {
        let (_, findings) = planned(mount);
        let fields: Vec<String> = findings.violations.iter().map(|v| v.field.to_string()).collect();
        assert_eq!(fields, [field], "{mount}");
    }
}

#[test]
fn files_of_lxcfs_may_lie_on_proc() {
    let (mounts, findings) =
        planned(r#"{"destination":"/proc/meminfo","source":"/y","options":["bind"]}"#);
    assert!(findings.violations.is_empty());
    assert!(mounts[0].on_proc);
}
