//! Descriptors of the caller that go to the program: `--preserve-fds` and socket
//! activation (sd_listen_fds(3)). All others stay out.

use crate::error::{Error, Kind, Result};
use crate::sys::{fd, io};

const FIRST: u32 = fd::AFTER_STDIO as u32;

/// The most that a number of type int can name.
const MAX: u32 = i32::MAX as u32 - FIRST;

/// Descriptors that go to the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// How many, from 3 on.
    pub count: u32,
    /// What the environment says of them.
    pub env: Vec<String>,
}

impl Passed {
    /// The first descriptor that stays out.
    pub fn end(&self) -> u32 {
        FIRST + self.count
    }
}

/// What is passed on: the descriptors of `LISTEN_FDS` first, then `preserve` more.
///
/// # Errors
/// When the caller has not opened as many. A descriptor of `rt` itself does not count.
pub fn passed(preserve: u32) -> Result<Passed> {
    let variable = |name: &str| std::env::var(name).ok();
    let (mut fds, pid) = (variable("LISTEN_FDS"), variable("LISTEN_PID"));
    if let (Some(text), None) = (&fds, &pid)
        && !text.parse().is_ok_and(all_inherited)
    {
        // Engines name no process; but this may as well have come down from another service.
        tracing::debug!("LISTEN_FDS={text:?} without LISTEN_PID and without the descriptors");
        fds = None;
    }
    let mut passed = decide(fds.as_deref(), pid.as_deref(), std::process::id(), preserve)?;
    if !passed.env.is_empty() {
        let names = variable("LISTEN_FDNAMES");
        passed.env.extend(names.map(|names| format!("LISTEN_FDNAMES={names}")));
    }
    for fd in FIRST..passed.end() {
        if !i32::try_from(fd).is_ok_and(io::is_inherited) {
            let all = passed.count;
            let what = format!(
                "descriptor {fd} is not open, but {all} from 3 on are to be passed to the program"
            );
            let hint = "check --preserve-fds and the variable LISTEN_FDS";
            return Err(Error::new(what).hint(hint).kind(Kind::Invalid));
        }
    }
    Ok(passed)
}

fn all_inherited(count: u32) -> bool {
    count <= MAX && (FIRST..FIRST + count).all(|fd| io::is_inherited(fd as i32))
}

fn decide(
    listen_fds: Option<&str>,
    listen_pid: Option<&str>,
    own_pid: u32,
    preserve: u32,
) -> Result<Passed> {
    // Variables for another process may have come down to us: then they are not ours.
    let ours = listen_pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    let listen = match listen_fds.filter(|text| ours && !text.is_empty()) {
        None => 0,
        Some(text) => text.parse::<u32>().map_err(|_| {
            Error::new(format!("LISTEN_FDS={text:?} in the environment is not a number"))
                .kind(Kind::Invalid)
        })?,
    };
    // Pid 1: the program is the first process of its namespace, as runc and crun say it too.
    let env = match listen {
        0 => Vec::new(),
        count => vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()],
    };
    match listen.checked_add(preserve).filter(|count| *count <= MAX) {
        Some(count) => Ok(Passed { count, env }),
        None => Err(Error::new(format!(
            "--preserve-fds {preserve}: too many descriptors (at most {MAX})"
        ))
        .kind(Kind::Invalid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_descriptors_come_first() {
        let passed = decide(Some("2"), Some("77"), 77, 3).expect("fine");
        assert_eq!((passed.count, passed.end()), (5, 8));
        assert_eq!(passed.env, ["LISTEN_FDS=2", "LISTEN_PID=1"]);
        assert_eq!(decide(Some("2"), None, 77, 0).expect("fine").count, 2);
        assert_eq!(decide(None, None, 77, 1).expect("fine"), Passed { count: 1, env: vec![] });
    }

    #[test]
    fn what_is_meant_for_another_process_is_not_passed() {
        assert_eq!(decide(Some("2"), Some("1"), 77, 0).expect("fine"), Passed::default());
        assert_eq!(decide(Some("x"), Some("1"), 77, 0).expect("fine"), Passed::default());
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        for (listen, preserve) in
            [(Some("x"), 0), (Some("-1"), 0), (None, u32::MAX), (Some("9"), 2_147_483_640)]
        {
            assert!(decide(listen, None, 77, preserve).is_err(), "{listen:?} {preserve}");
        }
    }

    #[test]
    fn descriptors_of_our_own_are_not_passed() {
        // A test has them close-on-exec from 3 on.
        let error = passed(1_000_000).expect_err("too many").to_string();
        assert!(error.contains("is not open, but 1000000 from 3 on"), "{error}");
    }
}
