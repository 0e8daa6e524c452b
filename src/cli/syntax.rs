//! What may be typed, as data: the flags and arguments of a verb. A command line is read by a look
//! at these tables; clap shows them as help. To set clap up for one line was a third of what
//! `rt` computed for a container (docs/performance.md).

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};

/// What a verb may be given, in groups that verbs share.
#[derive(Debug, Clone, Copy)]
pub struct Syntax {
    /// Its flags.
    pub flags: &'static [&'static [Flag]],
    /// Its arguments, in order.
    pub arguments: &'static [&'static [Argument]],
}

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Its name, after two dashes or one.
    pub long: &'static str,
    /// What its value is called in the help; none for a switch.
    pub value: Option<&'static str>,
    /// Its value when it is not given.
    pub default: Option<&'static str>,
    /// The only values that it may have, where there are few.
    pub words: &'static [&'static str],
    letter: Option<char>,
    hidden: bool,
    help: &'static str,
}

/// One argument.
#[derive(Debug)]
pub struct Argument {
    /// What it is called.
    pub name: &'static str,
    /// How often it stands there.
    pub count: Count,
    help: &'static str,
}

/// How often an argument stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Once.
    One,
    /// Once, or not at all for this one.
    Default(&'static str),
    /// The rest of the line.
    Rest,
}

/// A flag that is on or off.
pub const fn switch(long: &'static str) -> Flag {
    let (value, default, letter) = (None, None, None);
    Flag { long, value, default, words: &[], letter, hidden: false, help: "" }
}

/// A flag with a value. Where it is read as a `Vec`, all that are given count, else the last one.
pub const fn value(long: &'static str, value: &'static str) -> Flag {
    Flag { value: Some(value), ..switch(long) }
}

impl Flag {
    /// Has a letter.
    pub const fn letter(self, letter: char) -> Self {
        Flag { letter: Some(letter), ..self }
    }

    /// Has a value when it is not given.
    pub const fn default(self, value: &'static str) -> Self {
        Flag { default: Some(value), ..self }
    }

    /// Has one of these values.
    pub const fn words(self, words: &'static [&'static str]) -> Self {
        Flag { words, ..self }
    }

    /// Is not in the help.
    pub const fn hidden(self) -> Self {
        Flag { hidden: true, ..self }
    }

    /// Says what it does.
    pub const fn help(self, help: &'static str) -> Self {
        Flag { help, ..self }
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.long).long(self.long).help(self.help.trim()).hide(self.hidden);
        let arg = arg.short(self.letter);
        let Some(value) = self.value else { return arg.action(ArgAction::SetTrue) };
        let arg = match self.words {
            [] => arg,
            words => arg.value_parser(PossibleValuesParser::new(words)),
        };
        arg.value_name(value).default_value(self.default)
    }
}

impl Argument {
    /// An argument.
    pub const fn new(name: &'static str, count: Count) -> Self {
        Argument { name, count, help: "" }
    }

    /// Says what it is.
    pub const fn help(self, help: &'static str) -> Self {
        Argument { help, ..self }
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).value_name(self.name).help(self.help.trim());
        match self.count {
            Count::One => arg.required(true),
            Count::Default(value) => arg.default_value(value),
            Count::Rest => arg.num_args(0..),
        }
    }
}

impl Syntax {
    /// Finds a flag by its name or its letter.
    pub fn find(&self, name: &str) -> Option<&'static Flag> {
        let mut letters = name.chars();
        let letter = letters.next().filter(|_| letters.next().is_none());
        self.flags.iter().copied().flatten().find(|flag| match letter {
            Some(_) => flag.letter == letter,
            None => flag.long == name,
        })
    }

    /// For help.
    pub fn command(&self, name: &'static str) -> Command {
        let flags = self.flags.iter().copied().flatten().map(Flag::arg);
        let arguments = self.arguments.iter().copied().flatten().map(Argument::arg);
        let command = Command::new(name).disable_help_flag(true).disable_version_flag(true);
        command.args(flags).args(arguments)
    }
}
