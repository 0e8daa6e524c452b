//! config.json as it is written: from bytes to oci-spec's types, and no further.
//!
//! ```text
//! bytes --tree--> Json --lenient--> Json --typed--> Spec
//!       strict          what must be       path and value
//!       grammar         forgiven           in every error
//! ```
//!
//! What is ignored is told: the key that is nearly a known one, the section for another platform.

#![forbid(unsafe_code)]

pub mod bytes;
mod every;
pub mod lenient;
pub mod nearest;
mod resources;
#[cfg(test)]
mod tests;
mod tree;
mod typed;
mod version;
mod wrong;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Read, stdin};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use oci_spec::runtime::{LinuxResources, Process, Spec};

use self::lenient::Found;
use self::tree::Json;
use crate::diag::field::{CONFIG, Field, Violation};
use crate::error::{Doing, Error, Kind, Result};
use crate::sys::io;

/// What errors call the document given to `rt update`.
pub const RESOURCES: &str = "resources";

/// More than any configuration needs: 600 mounts and a seccomp profile are 200 KiB.
const MAX_SIZE: u64 = 8 << 20;

/// How long the writer of a pipe may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A configuration.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub spec: Spec,
    /// How it says that.
    pub bytes: Vec<u8>,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// Reads config.json of the bundle in the directory `bundle`.
pub fn load(bundle: &Path) -> Result<Loaded> {
    let path = bundle.join(CONFIG);
    let file = open(&path).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) if bundle.is_dir() => {
            let text =
                format!("JSON specification file config.json not found in {}", bundle.display());
            Error::new(text).errno(Errno::ENOENT).hint("`rt spec` writes one")
        }
        Some(errno) if bundle.is_dir() => {
            Error::new(format!("open {}", path.display())).errno(errno)
        }
        Some(errno) => {
            let error = Error::new(format!("open the bundle {}", bundle.display())).errno(errno);
            match errno {
                Errno::ENOTDIR => error.hint("give the directory that holds config.json"),
                _ => error,
            }
        }
        None => Error::new(format!("open {}", path.display())).detail(error.to_string()),
    })?;
    let bytes = read(file, &path)?;
    let (spec, notices) = decode(&bytes)?;
    Ok(Loaded { spec, bytes, notices })
}

/// Decodes a config.json; with the notices.
pub fn decode(bytes: &[u8]) -> Result<(Spec, Vec<String>)> {
    let mut json = tree::parse(bytes).map_err(|text| invalid(CONFIG, text))?;
    check_version(&json).map_err(|violation| Error::invalid(&[violation]))?;
    let mut found = Found::default();
    lenient::spec(&mut json, &mut found);
    resources::of_spec(&mut json);
    let Found { mut notices, violations } = found;
    let spec = every::fault(&mut json, bytes.len(), violations, |json| {
        typed::read(json, &mut notices).map_err(in_known_words)
    });
    // A part is read again after a fault.
    let mut told = BTreeSet::new();
    notices.retain(|notice| told.insert(notice.clone()));
    match spec {
        Ok(spec) => Ok((spec, notices)),
        Err(violations) => Err(Error::invalid(&violations).with_notices(&notices)),
    }
}

/// Decodes the configuration that `create` has kept of a container. It was accepted then, perhaps by
/// an older `rt` that ignored what is refused today, and is read as that one has read it: nobody is
/// helped by a container that can neither be entered nor updated.
pub fn decode_kept(bytes: &[u8]) -> Result<Spec> {
    let mut json = tree::parse_any_number(bytes).map_err(|text| invalid(CONFIG, text))?;
    check_version(&json).map_err(|violation| Error::invalid(&[violation]))?;
    lenient::spec(&mut json, &mut Found::default());
    lenient::drop_pids_without_limit(&mut json);
    resources::of_spec(&mut json);
    typed::read_kept(&json).map_err(|violation| Error::invalid(&[violation]))
}

/// Adds the words by which callers know these errors of runc.
fn in_known_words(mut violation: Violation) -> Violation {
    let field = violation.field.to_string();
    for (key, words) in [("mode", "mode"), ("flags", "flag")] {
        if field.starts_with(&format!("linux.memoryPolicy.{key}")) {
            violation.reason = format!("invalid memory policy {words}: {}", violation.reason);
        }
    }
    violation
}

/// Reads a process from the file given to `rt exec --process`; with the notices.
pub fn load_process(path: &Path) -> Result<(Process, Vec<String>)> {
    let bytes = read_given(path)?;
    let name = path.display().to_string();
    let mut json = tree::parse(&bytes).map_err(|text| invalid(&name, text))?;
    let mut found = Found::default();
    lenient::process(&mut json, &Field::root(), &mut found);
    let Found { mut notices, violations } = found;
    let process = match violations.into_iter().next() {
        Some(violation) => Err(violation),
        None => typed::read(&json, &mut notices),
    };
    let wrong = |violation: Violation| invalid(&name, &violation).field(&violation.field);
    match process {
        Ok(process) => Ok((process, notices)),
        Err(violation) => Err(wrong(violation).with_notices(&notices)),
    }
}

/// Reads resources from the file given to `rt update --resources`, or from stdin for `-`.
/// A key that is not known is an error: nobody updates a container to change nothing.
pub fn load_resources(path: &Path) -> Result<LinuxResources> {
    let bytes = match path.as_os_str() == "-" {
        true => {
            // Without the buffer of the standard library, which poll(2) knows nothing of.
            let file = stdin().as_fd().try_clone_to_owned().doing(|| "read stdin")?;
            read_stream(file.into(), Path::new("stdin"))?
        }
        false => read_given(path)?,
    };
    let mut json = tree::parse(&bytes).map_err(|text| invalid(RESOURCES, text))?;
    resources::of_update(&mut json);
    typed::read_whole(&json).map_err(|violation| Error::invalid_in(RESOURCES, &[violation]))
}

/// The version comes first: with another one, the rest may mean something else.
fn check_version(json: &Json<'_>) -> Result<(), Violation> {
    let field = Field::of("ociVersion");
    match json.get("ociVersion") {
        _ if !matches!(json, Json::Object(_)) => {
            let text = format!("must hold an object, not {json}");
            Err(Violation::new(Field::of("the document"), text))
        }
        None | Some(Json::Null) => Err(Violation::new(field, "is required and missing")),
        Some(Json::String(version)) => match version::refused(version) {
            Some(reason) => Err(Violation::value(field, version, reason)),
            None => Ok(()),
        },
        Some(other) => Err(Violation::value(field, format_args!("{other}"), "must be a string")),
    }
}

fn invalid(name: &str, what: impl std::fmt::Display) -> Error {
    Error::new(format!("invalid {name}: {what}")).kind(Kind::Invalid)
}

/// Opens a file of a stranger: a FIFO must not make us wait.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Reads a file named on the command line. A shell's `--process <(...)` is a pipe.
fn read_given(path: &Path) -> Result<Vec<u8>> {
    let doing = || format!("open {}", path.display());
    let file = open(path).doing(doing)?;
    match file.metadata().doing(doing)?.file_type().is_fifo() {
        true => read_stream(file, path),
        false => read(file, path),
    }
}

/// Reads a regular file of bounded size. Nothing else has an end for sure.
fn read(file: File, path: &Path) -> Result<Vec<u8>> {
    let doing = || format!("read {}", path.display());
    let metadata = file.metadata().doing(doing)?;
    if !metadata.is_file() {
        return Err(Error::new(doing()).detail("not a regular file").kind(Kind::Invalid));
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_SIZE) as usize + 1);
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).doing(doing)?;
    check_size(&bytes).map_err(|text| Error::new(doing()).detail(text).kind(Kind::Invalid))?;
    Ok(bytes)
}

/// Reads a pipe, or whatever stdin is: of bounded size, and within a bounded time unless
/// somebody types.
fn read_stream(mut file: File, path: &Path) -> Result<Vec<u8>> {
    let doing = || format!("read {}", path.display());
    let invalid = |text: String| Error::new(doing()).detail(text).kind(Kind::Invalid);
    let give_up = Instant::now() + PATIENCE;
    let typed = file.is_terminal();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let left = give_up.saturating_duration_since(Instant::now());
        let mut fds = [io::interest(file.as_raw_fd(), libc::POLLIN)];
        let timeout = io::timeout_ms((!typed).then_some(left));
        if io::poll(&mut fds, timeout).doing(doing)? == 0 {
            if left.is_zero() && !typed {
                let text = format!("no end of file on the pipe within {} s", PATIENCE.as_secs());
                return Err(invalid(text));
            }
            continue;
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).doing(doing),
        }
        check_size(&bytes).map_err(invalid)?;
    }
}

fn check_size(bytes: &[u8]) -> Result<(), String> {
    match bytes.len() as u64 > MAX_SIZE {
        true => Err(format!("larger than {} MiB", MAX_SIZE >> 20)),
        false => Ok(()),
    }
}
