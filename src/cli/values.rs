//! Values of options that are more than a number or a word.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The ids given to `exec --user`: `UID[:GID]` in decimal digits.
///
/// Names are not looked up, and nothing is guessed: a reader that stops at the first
/// character it does not know turns `1x` or an empty string into some user
/// (CVE-2026-30892, CVE-2016-3697).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserIds {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: Option<u32>,
}

impl FromStr for UserIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None => Ok(UserIds { uid: own_id(text)?, gid: None }),
            Some((uid, gid)) => Ok(UserIds { uid: own_id(uid)?, gid: Some(own_id(gid)?) }),
        }
    }
}

/// A group id given to `exec --additional-gids`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupId(pub u32);

impl FromStr for GroupId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        own_id(text).map(GroupId)
    }
}

/// A time as Go writes it: `100ms`, `1.5s`, `1m30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl Default for Interval {
    fn default() -> Self {
        Interval(Duration::from_secs(5))
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a time like 100ms, 5s or 1m30s");
        let (mut rest, mut seconds) = (text, 0.0);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            seconds += number
                * match &rest[..unit] {
                    "ns" => 1e-9,
                    "us" | "µs" | "μs" => 1e-6,
                    "ms" => 1e-3,
                    "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3600.0,
                    _ => return Err(wrong()),
                };
            rest = &rest[unit..];
        }
        match Duration::try_from_secs_f64(seconds) {
            Ok(time) if !time.is_zero() => Ok(Interval(time)),
            _ => Err("duration interval must be greater than 0".to_owned()),
        }
    }
}

/// A number in decimal digits and nothing else: no sign, no space, no leading zero that
/// another reader takes for octal.
pub fn number(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err("expected a number in decimal digits".to_owned());
    }
    text.parse().map_err(|_| "must be below 4294967296".to_owned())
}

/// A user or group id. 4294967295 is `(uid_t) -1`: the kernel would keep the caller's.
fn own_id(text: &str) -> Result<u32, String> {
    match number(text)? {
        u32::MAX => Err("must be below 4294967295".to_owned()),
        id => Ok(id),
    }
}

/// The directory of all state. With an empty one, the containers of another would be acted on: it
/// is refused, other than the name of a file that need not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootDir(pub PathBuf);

/// Whether the lack of privileges over cgroups is forgiven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rootless {
    /// When `rt` does not run as root of the initial user namespace.
    #[default]
    Auto,
    /// Always.
    True,
    /// Never.
    False,
}

impl FromStr for Rootless {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match boolean(text) {
            Some(true) => Ok(Rootless::True),
            Some(false) => Ok(Rootless::False),
            None if text == "auto" => Ok(Rootless::Auto),
            None => Err("expected true, false or auto".to_owned()),
        }
    }
}

/// True and false as Go spells them.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
