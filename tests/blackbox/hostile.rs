//! Hostile input: the numbered rows of the project's table. Each must be refused
//! before anything exists, by naming the place in the JSON, or be accepted as said.

mod config;
mod identity;
mod linux;
mod process;

use crate::support::{Bundle, Case, ID, Out, Test};
use serde_json::{Value, json};
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    let tests = [config::tests(), process::tests(), linux::tests(), identity::tests()];
    tests.into_iter().flatten().map(|t| t.in_group("hostile").rt_only()).collect()
}

/// What `rt` must do with a row.
enum Answer {
    /// Refuse it; the error names this place and this reason.
    Refuse(&'static str, &'static str),
    /// Run it.
    Accept,
    /// Run it, and say something about this.
    Warn(&'static str),
}
use Answer::{Accept, Refuse, Warn};

/// One row: its number, a pointer into the config, the value put there, the answer.
type Row = (u32, &'static str, Value, Answer);

/// Puts each value into a fresh configuration and checks the answer; reports all rows.
fn rows(c: &Case, prepare: impl Fn(&mut Bundle), rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for (number, pointer, value, answer) in rows {
        let mut b = c.bundle();
        prepare(&mut b);
        let shown = shorten(&value);
        b.set(pointer, value);
        if let Err(why) = check(c, &b, &answer) {
            wrong.push(format!("row {number}, {pointer} = {shown}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn shorten(value: &Value) -> String {
    value.to_string().chars().take(120).collect()
}

/// One bundle against one answer.
fn check(c: &Case, b: &Bundle, answer: &Answer) -> Result<(), String> {
    let log = c.path_str("hostile.log");
    let _ = std::fs::remove_file(&log);
    let log_args = ["--log", &log, "--log-format", "json"];
    let args: Vec<&str> = if matches!(answer, Warn(_)) {
        [&["--debug"], &log_args[..]].concat()
    } else {
        log_args.into()
    };
    let out = c.rt_cmd(&args).args(&["create", "-b", &b.save(), ID]).run();
    let result = match answer {
        Refuse(place, reason) => refused(c, &out, place, reason),
        Accept => {
            if out.code == Some(0) {
                Ok(())
            } else {
                Err(format!("refused: {}", out.err().trim()))
            }
        }
        Warn(about) => {
            let text = std::fs::read_to_string(&log).unwrap_or_default() + &out.err();
            if out.code != Some(0) {
                Err(format!("refused: {}", out.err().trim()))
            } else if text.contains(about) {
                Ok(())
            } else {
                Err(format!("no warning about {about}: {text:?}"))
            }
        }
    };
    c.rt(&["delete", "--force", ID]).ok();
    result
}

fn refused(c: &Case, out: &Out, place: &str, reason: &str) -> Result<(), String> {
    let err = out.err();
    let left = std::fs::read_dir(&c.state).map_or(0, Iterator::count);
    let group = c.cgroup_dir().is_some_and(|d| d.join(ID).exists());
    match () {
        () if out.code == Some(0) => Err("accepted".into()),
        () if out.code.is_none() => Err(out.how()),
        () if left > 0 || group => Err("something was made".into()),
        () if err.contains("panicked") => Err(format!("panic: {err}")),
        () if !err.contains(place) => Err(format!("stderr lacks {place:?}: {}", err.trim())),
        () if !err.contains(reason) => Err(format!("stderr lacks {reason:?}: {}", err.trim())),
        () => Ok(()),
    }
}

/// Runs with lists of this length, and sixteen times as long: what grows with the length takes about 16
/// times as long for them, with its square 256 times. It is the program's own processor time that is
/// compared, the least of some runs, so that it does not matter what else the machine does; what lies
/// between the two is far from both.
#[track_caller]
fn grows_with(length: u32, run: impl Fn(u32) -> Out) {
    let least = |length| (0..5).map(|_| run(length).user).min().unwrap_or_default();
    // Below the clock's resolution nothing can be compared.
    let (short, long) = (least(length).max(Duration::from_millis(4)), least(16 * length));
    assert!(long < 64 * short, "{short:?} for {length}, {long:?} for 16 times as much");
}

/// The whole text of config.json against an answer.
fn text(c: &Case, number: u32, text: &[u8], answer: Answer) {
    let b = c.bundle();
    b.raw(text);
    if let Err(why) = check(c, &b, &answer) {
        let start: String = String::from_utf8_lossy(text).chars().take(80).collect();
        panic!("row {number}, {start:?}: {why}");
    }
}

/// A mount with these options.
fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}
