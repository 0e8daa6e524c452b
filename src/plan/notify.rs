//! `NOTIFY_SOCKET` of the caller: the program of a container that is a service of systemd
//! says itself that it is ready (sd_notify(3)). Its socket is bound into the container.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::Spec;

use super::mounts::attributes::{self, Subject};
use super::options::Word;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::mount::{Links, Mount, What};
use crate::model::namespaces::{Namespaces, flag};
use crate::sys::mount::attr;

/// The variable, for the caller and for the program.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// What the program's environment has. The place is that of runc.
pub const ENV: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

/// The socket, if the container is to have it. An engine that gives the program a variable
/// of its own has seen to the socket as well.
pub fn wanted<'a>(
    spec: &Spec,
    namespaces: &Namespaces,
    socket: Option<&'a Path>,
) -> Option<&'a Path> {
    let env = spec.process().as_ref().and_then(|process| process.env().as_ref());
    let is_ours = |entry: &String| entry.split('=').next() == Some(VARIABLE);
    let has_own = env.is_some_and(|env| env.iter().any(is_ours));
    socket.filter(|_| !has_own && namespaces.is_new(flag::MOUNT))
}

/// The bind of the socket. It is there to be written to, and for nothing else.
pub fn mount(socket: &Path, findings: &mut Findings) -> Mount {
    let field = Field::of(VARIABLE);
    let target = ENV.split_once('=').map_or("", |(_, path)| path).trim_start_matches('/');
    let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let words = [Word::Attr { set, clear: 0, recursive: false }];
    let source = findings.c_string(&field, socket.as_os_str().as_bytes());
    Mount {
        what: What::Bind { source, recursive: false },
        target: findings.c_string(&field, target),
        attributes: attributes::of(&words, Subject::Copy),
        late_readonly: false,
        plain_target: false,
        on_proc: false,
        source_of_parent: None,
        id_map: None,
        links: Links::default(),
        is_notify_socket: true,
        field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::mounts::{self, Around};

    #[test]
    fn it_is_what_an_entry_with_the_same_words_is() {
        let spec = r#"{"ociVersion":"1.3.0","linux":{"namespaces":[{"type":"mount"},{"type":"user"}],
            "uidMappings":[{"containerID":0,"hostID":0,"size":1}],
            "gidMappings":[{"containerID":0,"hostID":0,"size":1}]},
            "mounts":[{"destination":"/run/notify/notify.sock","source":"/run/systemd/notify",
            "options":["bind","ro","nosuid","nodev","noexec"]}]}"#;
        let spec: Spec = serde_json::from_str(spec).expect("a spec");
        let mut findings = Findings::default();
        let namespaces = crate::plan::namespaces::plan(&spec, &mut findings);
        let around = Around {
            namespaces: &namespaces,
            bundle: Path::new("/b"),
            root: Path::new("/b/rootfs"),
            unprivileged: false,
            cgroup_root: Path::new("/sys/fs/cgroup"),
            notify_socket: Some(Path::new("/run/systemd/notify")),
        };
        let planned = mounts::plan(&spec, around, &mut findings);
        assert!(findings.violations.is_empty(), "{findings:?}");
        let [entry, socket] = &planned[..] else { panic!("{planned:?}") };
        assert!(socket.is_notify_socket && !entry.is_notify_socket);
        assert_eq!(socket.source_of_parent, Some(1));
        let same = Mount {
            is_notify_socket: true,
            source_of_parent: socket.source_of_parent,
            field: socket.field.clone(),
            ..entry.clone()
        };
        assert_eq!(*socket, same);
    }
}
