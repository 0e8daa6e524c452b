//! Flags as Go's `flag` package reads them, which is what callers of runc write:
//! one dash or two before a long name, `=true` and `=false` after a switch, a value that
//! may begin with a dash, and flags after the arguments. Here they are brought into the
//! one form that clap is given: `--name`, `--name=value`, `--`, arguments.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, Command};

/// Where flags end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Flags may stand between and after the arguments.
    Any,
    /// What follows the first argument belongs to that argument.
    FlagsFirst,
}

/// A command line in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sorted {
    /// `--name` and `--name=value`.
    pub flags: Vec<OsString>,
    /// Everything else.
    pub arguments: Vec<OsString>,
    /// Whether help was asked for.
    pub help: bool,
}

impl Sorted {
    /// For clap: the name of the command comes first.
    pub fn for_clap(self, name: &str) -> Vec<OsString> {
        let mut all = vec![OsString::from(name)];
        all.extend(self.flags);
        all.push("--".into());
        all.extend(self.arguments);
        all
    }
}

/// Sorts `args` by what `command` knows of its flags.
pub fn sort(
    command: &Command,
    args: impl IntoIterator<Item = OsString>,
    order: Order,
) -> Result<Sorted, String> {
    let mut sorted = Sorted::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            sorted.arguments.extend(args.by_ref());
        } else if let Some(body) = body(&arg) {
            if matches!(body, b"h" | b"help") {
                sorted.help = true;
                continue;
            }
            let (name, value) = split(body);
            match find(command, name) {
                Some(flag) => sorted.flag(flag, value.map(<[u8]>::to_vec), &mut args)?,
                None if !arg.as_bytes().starts_with(b"--")
                    && sorted.cluster(command, body, &mut args)? => {}
                None => return Err(unknown(&arg)),
            }
        } else {
            sorted.arguments.push(arg);
            if order == Order::FlagsFirst {
                sorted.arguments.extend(args.by_ref());
            }
        }
    }
    Ok(sorted)
}

impl Sorted {
    fn flag(
        &mut self,
        flag: &Arg,
        value: Option<Vec<u8>>,
        args: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), String> {
        let name = flag.get_long().unwrap_or_default();
        if flag.get_action().takes_values() {
            let value = match value {
                Some(value) => value,
                // podman asks whether a flag exists by leaving out its value, and looks
                // for these words.
                None => args.next().ok_or(format!("flag needs an argument: --{name}"))?.into_vec(),
            };
            let text = [b"--", name.as_bytes(), b"=", &value].concat();
            self.flags.push(OsString::from_vec(text));
            return Ok(());
        }
        let on = match value {
            None => true,
            Some(text) => str::from_utf8(&text)
                .ok()
                .and_then(boolean)
                .ok_or_else(|| format!("--{name} is true or false, not {:?}", lossy(&text)))?,
        };
        let text = OsString::from(format!("--{name}"));
        self.flags.retain(|flag| *flag != text);
        if on {
            self.flags.push(text);
        }
        Ok(())
    }

    /// `-dt` is `-d -t`, and `-u1000` is `-u 1000`. False if one of them is unknown.
    fn cluster(
        &mut self,
        command: &Command,
        body: &[u8],
        args: &mut impl Iterator<Item = OsString>,
    ) -> Result<bool, String> {
        let mut rest = body;
        while let Some((first, after)) = rest.split_at_checked(1) {
            let Some(flag) = find(command, first) else { return Ok(false) };
            if flag.get_action().takes_values() {
                let value = (!after.is_empty()).then(|| after.to_vec());
                return self.flag(flag, value, args).map(|()| true);
            }
            self.flag(flag, None, args)?;
            rest = after;
        }
        Ok(true)
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

/// A flag without its dashes. A dash alone is an argument.
fn body(arg: &OsStr) -> Option<&[u8]> {
    let body = arg.as_bytes().strip_prefix(b"-")?;
    let body = body.strip_prefix(b"-").unwrap_or(body);
    (!body.is_empty()).then_some(body)
}

fn split(body: &[u8]) -> (&[u8], Option<&[u8]>) {
    match body.iter().position(|byte| *byte == b'=') {
        Some(at) => {
            let (name, value) = body.split_at(at);
            (name, value.get(1..))
        }
        None => (body, None),
    }
}

fn find<'c>(command: &'c Command, name: &[u8]) -> Option<&'c Arg> {
    let name = str::from_utf8(name).ok()?;
    let mut chars = name.chars();
    let short = chars.next().filter(|_| chars.next().is_none());
    command.get_arguments().find(|arg| match short {
        Some(short) => arg.get_short() == Some(short),
        None => arg.get_long() == Some(name),
    })
}

fn unknown(arg: &OsStr) -> String {
    let (name, _) = split(arg.as_bytes());
    format!("unknown flag {}", lossy(name))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgAction;

    fn sorted(line: &[&str], order: Order) -> Result<(String, String), String> {
        let command = Command::new("x").args([
            Arg::new("bundle").long("bundle").short('b').action(ArgAction::Set),
            Arg::new("env").long("env").short('e').action(ArgAction::Append),
            Arg::new("keep").long("keep").short('k').action(ArgAction::SetTrue),
            Arg::new("detach").long("detach").short('d').action(ArgAction::SetTrue),
        ]);
        let join = |words: &[OsString]| {
            words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        let sorted = sort(&command, line.iter().map(OsString::from), order)?;
        Ok((join(&sorted.flags), join(&sorted.arguments)))
    }

    #[test]
    fn every_style_becomes_one() {
        for (line, flags) in [
            (&["--bundle", "d"][..], "--bundle=d"),
            (&["--bundle=d"], "--bundle=d"),
            (&["-bundle", "d"], "--bundle=d"),
            (&["-bundle=d"], "--bundle=d"),
            (&["-b", "d"], "--bundle=d"),
            (&["-b=d"], "--bundle=d"),
            (&["--b", "d"], "--bundle=d"),
            (&["-bd"], "--bundle=d"),
            (&["-b", "-x"], "--bundle=-x"),
            (&["-b", "--"], "--bundle=--"),
            (&["-b="], "--bundle="),
            (&["-e", "A=B=C"], "--env=A=B=C"),
            (&["-e=A=B"], "--env=A=B"),
            (&["-keep"], "--keep"),
            (&["-dk"], "--detach --keep"),
            (&["--keep", "--keep"], "--keep"),
            (&["--keep=true"], "--keep"),
            (&["--keep=false"], ""),
            (&["--keep", "--keep=0"], ""),
        ] {
            assert_eq!(sorted(line, Order::Any).unwrap(), (flags.to_owned(), String::new()));
        }
    }

    #[test]
    fn flags_after_arguments() {
        let line = ["id", "-b", "d", "--", "--keep"];
        assert_eq!(sorted(&line, Order::Any).unwrap(), ("--bundle=d".into(), "id --keep".into()));
        let line = ["-k", "id", "-b", "d", "--", "--keep"];
        let first = sorted(&line, Order::FlagsFirst).unwrap();
        assert_eq!(first, ("--keep".into(), "id -b d -- --keep".into()));
        assert_eq!(sorted(&["-", ""], Order::Any).unwrap(), (String::new(), "- ".into()));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, text) in [
            (&["--bundle"][..], "flag needs an argument: --bundle"),
            (&["id", "-b"], "flag needs an argument: --bundle"),
            (&["-kb"], "flag needs an argument: --bundle"),
            (&["--frob"], "unknown flag --frob"),
            (&["--frob=x"], "unknown flag --frob"),
            (&["-frob"], "unknown flag -frob"),
            (&["-9"], "unknown flag -9"),
            (&["-kx"], "unknown flag -kx"),
            (&["--kd"], "unknown flag --kd"),
            (&["--keep=maybe"], "--keep is true or false, not \"maybe\""),
        ] {
            assert_eq!(sorted(line, Order::Any).unwrap_err(), text);
        }
    }
}
