//! What was typed, sorted into flags and arguments, and read by the type that is wanted.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

use super::syntax::{Argument, Count, Flag, Syntax};
use super::values::{GroupId, Interval, RootDir, Rootless, UserIds, number};
use crate::spec::bytes::Bytes;

/// The flags and arguments of one verb. What is wrong with them is said in one line.
#[derive(Debug)]
pub struct Given {
    /// What could be given.
    pub(super) syntax: Syntax,
    /// Its flags in order. Of a switch that is on, the value is empty.
    pub(super) flags: Vec<(&'static Flag, OsString)>,
    /// What is no flag.
    pub arguments: VecDeque<OsString>,
    /// Whether help was asked for.
    pub help: bool,
}

impl Given {
    /// Nothing so far.
    pub fn new(syntax: Syntax) -> Self {
        Given { syntax, flags: Vec::new(), arguments: VecDeque::new(), help: false }
    }

    /// Reads a flag.
    pub fn flag<T: FromFlag>(&self, long: &str) -> Result<T, String> {
        T::from_flag(self, long)
    }

    /// Takes the next argument, or all.
    pub fn argument<T: FromArguments>(&mut self, argument: &Argument) -> Result<T, String> {
        T::from_arguments(&mut self.arguments, argument)
    }

    /// No argument may be left.
    pub fn end(mut self) -> Result<(), String> {
        match self.arguments.pop_front() {
            Some(text) => Err(format!("too many arguments, from {}", text.display())),
            None => Ok(()),
        }
    }

    /// The values of a flag, in order.
    fn all(&self, long: &str) -> impl DoubleEndedIterator<Item = (&'static Flag, &OsStr)> {
        let given = self.flags.iter().filter(move |(flag, _)| flag.long == long);
        given.map(|(flag, text)| (*flag, &**text))
    }

    /// The last value of a flag, or its default.
    fn last<T: FromText>(&self, long: &str) -> Option<(&'static Flag, &OsStr)> {
        let given = self.all(long).next_back().filter(|(_, text)| T::is_given(text));
        given.or_else(|| {
            let flag = self.syntax.find(long)?;
            Some((flag, OsStr::new(flag.default?)))
        })
    }
}

/// What a flag can be read as.
pub trait FromFlag: Sized {
    /// Reads it.
    fn from_flag(given: &Given, long: &str) -> Result<Self, String>;
}

/// Whether a switch is on.
impl FromFlag for bool {
    fn from_flag(given: &Given, long: &str) -> Result<Self, String> {
        Ok(given.all(long).next().is_some())
    }
}

/// A flag that need not be given.
impl<T: FromText> FromFlag for Option<T> {
    fn from_flag(given: &Given, long: &str) -> Result<Self, String> {
        given.last::<T>(long).map(|(flag, text)| T::from_text(flag, text)).transpose()
    }
}

/// A flag with a default.
impl<T: FromText + Default> FromFlag for T {
    fn from_flag(given: &Given, long: &str) -> Result<Self, String> {
        Ok(Option::from_flag(given, long)?.unwrap_or_default())
    }
}

/// A flag that may be given again.
impl<T: FromText> FromFlag for Vec<T> {
    fn from_flag(given: &Given, long: &str) -> Result<Self, String> {
        given.all(long).map(|(flag, text)| T::from_text(flag, text)).collect()
    }
}

/// What a flag's value can be read as.
pub trait FromText: Sized {
    /// Reads it.
    fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String>;

    /// Whether it is a value: scripts write `--pid-file "$FILE"` with nothing in it.
    fn is_given(_: &OsStr) -> bool {
        true
    }
}

impl FromText for PathBuf {
    fn from_text(_: &Flag, text: &OsStr) -> Result<Self, String> {
        Ok(PathBuf::from(text))
    }

    fn is_given(text: &OsStr) -> bool {
        !text.is_empty()
    }
}

impl FromText for RootDir {
    fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("a value is required for {} but none was supplied", shown(flag)));
        }
        Ok(RootDir(PathBuf::from(text)))
    }
}

impl FromText for String {
    fn from_text(_: &Flag, text: &OsStr) -> Result<Self, String> {
        utf8(text)
    }
}

macro_rules! from_text {
    ($($Type:ty),*) => {
        $(impl FromText for $Type {
            fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
                parse(flag, text, str::parse)
            }
        })*
    };
}

from_text!(UserIds, GroupId, Interval, Rootless);

macro_rules! from_number {
    ($($Type:ty),*) => {
        $(impl FromText for $Type {
            fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
                parse(flag, text, |text| text.parse::<$Type>().map_err(no_number))
            }
        })*
    };
}

from_number!(u16, u64, i64);

fn no_number(error: ParseIntError) -> &'static str {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "out of range",
        _ => "expected a number in decimal digits",
    }
}

impl FromText for Bytes {
    fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
        parse(flag, text, str::parse)
    }

    fn is_given(text: &OsStr) -> bool {
        !text.is_empty()
    }
}

impl FromText for u32 {
    fn from_text(flag: &Flag, text: &OsStr) -> Result<Self, String> {
        parse(flag, text, number)
    }
}

/// Reads what `read` can read, which says why not.
fn parse<T, E: Display>(
    flag: &Flag,
    text: &OsStr,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<T, String> {
    let text = utf8(text)?;
    read(&text).map_err(|why| format!("invalid value '{text}' for {}: {why}", shown(flag)))
}

/// What arguments can be read as.
pub trait FromArguments: Sized {
    /// Takes them.
    fn from_arguments(
        arguments: &mut VecDeque<OsString>,
        argument: &Argument,
    ) -> Result<Self, String>;
}

impl FromArguments for String {
    fn from_arguments(
        arguments: &mut VecDeque<OsString>,
        argument: &Argument,
    ) -> Result<Self, String> {
        match (arguments.pop_front(), argument.count) {
            (Some(text), Count::Default(default)) if text.is_empty() => Ok(default.to_owned()),
            (Some(text), _) => utf8(&text),
            (None, Count::Default(text)) => Ok(text.to_owned()),
            (None, _) => {
                let name = argument.name;
                Err(format!("which container? the argument <{name}> is missing"))
            }
        }
    }
}

impl FromArguments for Vec<String> {
    fn from_arguments(arguments: &mut VecDeque<OsString>, _: &Argument) -> Result<Self, String> {
        arguments.drain(..).map(|text| utf8(&text)).collect()
    }
}

fn utf8(text: &OsStr) -> Result<String, String> {
    let text = text.to_str().map(str::to_owned);
    text.ok_or_else(|| "invalid UTF-8 was detected in one or more arguments".to_owned())
}

/// A flag as messages show it.
pub fn shown(flag: &Flag) -> String {
    format!("'--{} <{}>'", flag.long, flag.value.unwrap_or_default())
}
