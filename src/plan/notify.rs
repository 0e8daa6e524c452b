//! `NOTIFY_SOCKET` of the caller: the program of a container that is a service of systemd
//! says itself that it is ready (sd_notify(3)). Its socket is bound into the container.

use std::path::Path;

use oci_spec::runtime::{Mount, Spec};

use crate::model::namespaces::{Namespaces, flag};

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

/// The bind of the socket.
pub fn mount(socket: &Path) -> Mount {
    let target = ENV.split_once('=').map_or("", |(_, path)| path);
    let options = ["bind", "ro", "nosuid", "nodev", "noexec"];
    let mut mount = Mount::default();
    mount
        .set_destination(target.into())
        .set_source(Some(socket.into()))
        .set_options(Some(options.map(str::to_owned).to_vec()));
    mount
}
