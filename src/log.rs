//! The log: one line for each event, written by one call, as text or as JSON.
//!
//! Engines read the log file as JSON: containerd takes the last object of level `error`,
//! and podman, after a failure, takes the whole file for one object. So with JSON warnings wait
//! for the end: when the call succeeds they are written, and otherwise the final error is the only
//! object, with the warnings as a member of it. What the caller asks for by a level is written at
//! once. The final error goes to stderr as well, which is all that conmon looks at.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::cli::args::Global;
use crate::cli::words::{LogFormat, LogLevel};
use crate::error::{Doing, Error, Kind, Result, shortened};
use crate::sys::io;
use crate::time;

static LOG: OnceLock<Log> = OnceLock::new();

/// Where and how to write.
struct Log {
    format: LogFormat,
    level: Level,
    file: Option<File>,
    /// Warnings that wait for the end.
    held: Option<Mutex<Vec<Entry>>>,
}

/// Opens the log and takes all events from now on.
pub fn start(global: &Global) -> Result<()> {
    let path = global.log.as_deref();
    let file = match path {
        None => None,
        Some(path) => {
            let path = file_of(path)?;
            let doing = || format!("open the log {}", path.display());
            Some(open(path).doing(doing).map_err(|error| match error.errno_of() {
                Some(Errno::ELOOP) => error.hint("a link is not followed: name the file itself"),
                _ => error,
            })?)
        }
    };
    let (level, hold) = level(global);
    let held = hold.then(Mutex::default);
    let log = Log { format: global.log_format, level, file, held };
    if LOG.set(log).is_ok() {
        // Fails only when there is a subscriber, and this is the only place that sets one.
        let _ = tracing::subscriber::set_global_default(Events);
    }
    Ok(())
}

/// A link at the end of the path is not followed: in a directory that others write to, it is how
/// they would have us write to a file of theirs to choose (CVE-2025-0750).
fn open(path: &Path) -> std::io::Result<File> {
    let open = |links: i32| {
        // A FIFO that nobody reads is an error and not a reason to wait.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | links;
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o644).custom_flags(flags).open(path)
    };
    let file = match open(libc::O_NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) && is_own_descriptor(path) => {
            open(0)?
        }
        other => other?,
    };
    // A pipe that is full must not keep us waiting either.
    if file.metadata()?.is_file() {
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    }
    Ok(file)
}

/// `/dev/stderr` and `/dev/fd/2` are links to what the caller has opened.
fn is_own_descriptor(path: &Path) -> bool {
    let link = path.read_link().unwrap_or_default();
    let named = if link.starts_with("/proc/self/fd") { &link } else { path };
    let directory = named.parent().and_then(|parent| parent.canonicalize().ok());
    directory.is_some() && directory == Path::new("/proc/self/fd").canonicalize().ok()
}

/// The file of `--log`, for which crun(1) has a longer form, and other places beside it.
fn file_of(given: &Path) -> Result<&Path> {
    let bytes = given.as_os_str().as_bytes();
    if let Some(path) = bytes.strip_prefix(b"file:") {
        return Ok(Path::new(OsStr::from_bytes(path)));
    }
    if [&b"journald:"[..], b"syslog:"].iter().any(|other| bytes.starts_with(other)) {
        let text = format!("--log {}: rt logs to files only", given.display());
        let hint = "a file of this name is ./ and the name";
        return Err(Error::new(text).kind(Kind::Invalid).hint(hint));
    }
    Ok(given)
}

/// From which level on events are taken, and whether warnings wait for the end.
fn level(global: &Global) -> (Level, bool) {
    match (global.debug, global.log_level, global.log_format) {
        (true, ..) | (_, Some(LogLevel::Debug), _) => (Level::DEBUG, false),
        (_, Some(LogLevel::Info), _) => (Level::INFO, false),
        (_, Some(LogLevel::Warning), _) | (_, None, LogFormat::Text) => (Level::WARN, false),
        (_, Some(LogLevel::Error), _) => (Level::ERROR, false),
        (_, None, LogFormat::Json) => (Level::WARN, true),
    }
}

/// Writes the warnings of a call that succeeded.
pub fn succeed() {
    if let Some(log) = LOG.get() {
        log.held().iter().for_each(|entry| log.write(entry));
    }
}

/// Writes the error that ends this call: to the log, and to stderr.
pub fn report(error: &Error) {
    let held = LOG.get().map(Log::held).unwrap_or_default();
    let entry = of_error(error, held);
    match LOG.get() {
        Some(log) if log.file.is_some() => {
            log.write(&entry);
            if !error.is_on_stderr() {
                to_stderr(&entry.plain());
            }
        }
        _ if error.is_on_stderr() => {}
        Some(log) => log.write(&entry),
        None => to_stderr(&entry.plain()),
    }
}

/// The error as an entry, with the warnings that it has kept from being written.
fn of_error(error: &Error, held: Vec<Entry>) -> Entry {
    let mut entry = Entry::new(Level::ERROR);
    entry.message = error.to_string();
    let errno = error.errno_of().map(|errno| format!("{errno:?}"));
    let extra =
        [("step", error.step_of()), ("field", error.field_of()), ("errno", errno.as_deref())];
    for (key, value) in extra {
        if let Some(value) = value {
            entry.fields.push((key, shortened(value).into_owned()));
        }
    }
    if !held.is_empty() {
        let warnings: Vec<String> = held.into_iter().map(|entry| entry.message).collect();
        entry.fields.push(("warnings", warnings.join("; ")));
    }
    entry
}

impl Log {
    /// Takes what waits for the end.
    fn held(&self) -> Vec<Entry> {
        let held = self.held.as_ref().and_then(|held| held.lock().ok());
        held.map(|mut held| std::mem::take(&mut *held)).unwrap_or_default()
    }

    fn write(&self, entry: &Entry) {
        let line = match (&self.file, self.format) {
            (_, LogFormat::Json) => entry.json(),
            (Some(_), LogFormat::Text) => entry.text(),
            (None, LogFormat::Text) if entry.level == Level::DEBUG => entry.text(),
            (None, LogFormat::Text) => entry.plain(),
        };
        match &self.file {
            // There is no better place to complain that the log cannot be written.
            Some(file) if is_taken(file) => drop((&*file).write_all(line.as_bytes())),
            Some(_) => {}
            None => to_stderr(&line),
        }
    }
}

/// What nobody reads for so long is not waited for.
const PATIENCE_MS: i32 = 2000;

fn to_stderr(line: &str) {
    let mut stderr = std::io::stderr();
    if is_taken(&stderr) {
        drop(stderr.write_all(line.as_bytes()));
    }
}

/// A pipe may be full, or a terminal stopped, and others have stderr open: it is not for us to make
/// that non-blocking. What poll(2) calls writable takes a line.
fn is_taken(to: &impl AsRawFd) -> bool {
    static GIVEN_UP: AtomicBool = AtomicBool::new(false);
    let mut to = [io::interest(to.as_raw_fd(), libc::POLLOUT)];
    let patience = if GIVEN_UP.load(Relaxed) { 0 } else { PATIENCE_MS };
    let ready = io::poll(&mut to, patience).is_ok_and(|count| count > 0);
    GIVEN_UP.store(!ready, Relaxed);
    ready
}

/// One line to be.
struct Entry {
    level: Level,
    time: String,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Entry {
    fn new(level: Level) -> Self {
        Entry { level, time: time::now(), message: String::new(), fields: Vec::new() }
    }

    fn level(&self) -> &'static str {
        match self.level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            _ => "debug",
        }
    }

    /// For people: what is not an error says so.
    fn plain(&self) -> String {
        let mut line = match self.level {
            Level::ERROR => "rt: ".to_owned(),
            _ => format!("rt: {}: ", self.level()),
        };
        for c in self.message.chars() {
            if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
        }
        line.push('\n');
        line
    }

    fn text(&self) -> String {
        let mut line =
            format!("time={:?} level={} msg={:?}", self.time, self.level(), self.message);
        for (key, value) in &self.fields {
            // Writing to a String cannot fail.
            let _ = write!(line, " {key}={value:?}");
        }
        line.push('\n');
        line
    }

    fn json(&self) -> String {
        let own = [("level", self.level()), ("msg", &self.message), ("time", &self.time)];
        let extra = self.fields.iter().map(|(key, value)| (*key, value.as_str()));
        let members: Vec<String> = own
            .into_iter()
            .chain(extra)
            .map(|(key, value)| format!("{}:{}", quote(key), quote(value)))
            .collect();
        format!("{{{}}}\n", members.join(","))
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Visit for Entry {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push((name, format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.fields.push((name, value.to_owned())),
        }
    }
}

/// Takes events; there are no spans.
struct Events;

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        LOG.get().is_some_and(|log| *metadata.level() <= log.level)
    }

    fn event(&self, event: &Event<'_>) {
        if let Some(log) = LOG.get() {
            let mut entry = Entry::new(*event.metadata().level());
            event.record(&mut entry);
            entry.message = shortened(&entry.message).into_owned();
            match &log.held {
                Some(held) if entry.level != Level::ERROR => {
                    // Poisoned by a panic of the only thread, after which nothing is written.
                    let _ = held.lock().map(|mut held| held.push(entry));
                }
                _ => log.write(&entry),
            }
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::diag::field::Field as Place;

    fn entry(level: Level) -> Entry {
        Entry {
            level,
            time: "2026-11-21T08:12:05Z".to_owned(),
            message: "cannot \"x\"\n\u{1b}é".to_owned(),
            fields: vec![("errno", "ENOENT".to_owned())],
        }
    }

    #[test]
    fn every_form_is_one_line() {
        assert_eq!(entry(Level::ERROR).plain(), "rt: cannot \"x\"\\n\\u{1b}é\n");
        assert_eq!(entry(Level::WARN).plain(), "rt: warning: cannot \"x\"\\n\\u{1b}é\n");
        assert_eq!(
            entry(Level::ERROR).text(),
            "time=\"2026-11-21T08:12:05Z\" level=error msg=\"cannot \\\"x\\\"\\n\\u{1b}é\" \
             errno=\"ENOENT\"\n"
        );
        assert_eq!(
            entry(Level::ERROR).json(),
            "{\"level\":\"error\",\"msg\":\"cannot \\\"x\\\"\\n\\u001bé\",\
             \"time\":\"2026-11-21T08:12:05Z\",\"errno\":\"ENOENT\"}\n"
        );
    }

    #[test]
    fn an_error_has_what_is_documented() {
        let error = Error::new("x").step("mount").field(&Place::of("mounts")).errno(Errno::ENOENT);
        let warning = Entry { message: "y".to_owned(), ..entry(Level::WARN) };
        let text = of_error(&error, vec![warning]).json();
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        crate::tests::check("log", &[&value]);
    }

    #[test]
    fn with_json_warnings_wait_for_the_end_unless_asked_for() {
        let with = |log_format, log_level, debug| {
            level(&Global { log_format, log_level, debug, ..Global::default() })
        };
        assert_eq!(with(LogFormat::Text, None, false), (Level::WARN, false));
        assert_eq!(with(LogFormat::Json, None, false), (Level::WARN, true));
        assert_eq!(with(LogFormat::Json, None, true), (Level::DEBUG, false));
        assert_eq!(with(LogFormat::Json, Some(LogLevel::Warning), false), (Level::WARN, false));
        assert_eq!(with(LogFormat::Text, Some(LogLevel::Error), false), (Level::ERROR, false));
    }
}
