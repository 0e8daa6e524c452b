//! Flags as Go's `flag` package reads them, which is what callers of runc write:
//! one dash or two before a long name, `=true` and `=false` after a switch, a value that
//! may begin with a dash, and flags after the arguments.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::given::Given;
use super::meant;
use super::syntax::{Flag, Syntax};
use super::values::boolean;

/// Where flags end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Flags may stand between and after the arguments.
    Any,
    /// What follows the first argument belongs to that argument.
    FlagsFirst,
}

/// Sorts `args` by what `syntax` knows of flags; `verb` is empty for the flags before the verb.
pub fn sort(
    verb: &str,
    syntax: Syntax,
    args: impl IntoIterator<Item = OsString>,
    order: Order,
) -> Result<Given, String> {
    let mut given = Given::new(syntax);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            given.arguments.extend(args.by_ref());
        } else if let Some(body) = body(&arg) {
            if matches!(body, b"h" | b"help") {
                given.help = true;
                continue;
            }
            let (name, value) = split(body);
            match find(syntax, name) {
                Some(flag) => take(&mut given, flag, value, &mut args)?,
                None if !arg.as_bytes().starts_with(b"--")
                    && cluster(&mut given, body, &mut args)? => {}
                None => return Err(unknown(verb, syntax, &arg)),
            }
        } else {
            given.arguments.push_back(arg);
            if order == Order::FlagsFirst {
                given.arguments.extend(args.by_ref());
            }
        }
    }
    Ok(given)
}

/// Takes a flag with the value that was written to it, or that follows.
fn take(
    given: &mut Given,
    flag: &'static Flag,
    value: Option<&[u8]>,
    args: &mut impl Iterator<Item = OsString>,
) -> Result<(), String> {
    let name = flag.long;
    if flag.value.is_some() {
        let value = match value {
            Some(value) => OsStr::from_bytes(value).to_owned(),
            // podman asks whether a flag exists by leaving out its value, and looks
            // for these words.
            None => args.next().ok_or(format!("flag needs an argument: --{name}"))?,
        };
        given.flags.push((flag, value));
        return Ok(());
    }
    let on = match value {
        None => true,
        Some(text) => str::from_utf8(text)
            .ok()
            .and_then(boolean)
            .ok_or_else(|| format!("--{name} is true or false, not {:?}", lossy(text)))?,
    };
    given.flags.retain(|(known, _)| known.long != name);
    if on {
        given.flags.push((flag, OsString::new()));
    }
    Ok(())
}

/// `-dt` is `-d -t`, and `-u1000` is `-u 1000`. False if one of them is unknown.
fn cluster(
    given: &mut Given,
    body: &[u8],
    args: &mut impl Iterator<Item = OsString>,
) -> Result<bool, String> {
    let mut rest = body;
    while let Some((first, after)) = rest.split_at_checked(1) {
        let Some(flag) = find(given.syntax, first) else { return Ok(false) };
        if flag.value.is_some() {
            let value = (!after.is_empty()).then_some(after);
            return take(given, flag, value, args).map(|()| true);
        }
        take(given, flag, None, args)?;
        rest = after;
    }
    Ok(true)
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

fn find(syntax: Syntax, name: &[u8]) -> Option<&'static Flag> {
    syntax.find(str::from_utf8(name).ok()?)
}

fn unknown(verb: &str, syntax: Syntax, arg: &OsStr) -> String {
    let (name, _) = split(arg.as_bytes());
    let name = lossy(name);
    match meant::flag(verb, syntax, &name) {
        Some(text) => format!("unknown flag {name}: {text}"),
        None => format!("unknown flag {name}"),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::syntax::{switch, value};
    use super::*;

    const SYNTAX: Syntax = Syntax {
        flags: &[
            &[value("bundle", "DIR").letter('b'), value("env", "ENV").letter('e')],
            &[switch("keep").letter('k'), switch("detach").letter('d')],
        ],
        arguments: &[],
    };

    /// The flags as `--name=value`, and the arguments.
    fn sorted(line: &[&str], order: Order) -> Result<(String, String), String> {
        let given = sort("", SYNTAX, line.iter().map(OsString::from), order)?;
        let flags = given.flags.iter().map(|(flag, value)| match flag.value {
            Some(_) => format!("--{}={}", flag.long, value.display()),
            None => format!("--{}", flag.long),
        });
        let arguments = given.arguments.iter().map(|text| text.display().to_string());
        Ok((flags.collect::<Vec<_>>().join(" "), arguments.collect::<Vec<_>>().join(" ")))
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
