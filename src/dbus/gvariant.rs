//! Values as people write them: the text format of GVariant, as far as it has words for
//! what D-Bus types and properties of systemd have.
//!
//! ```text
//! 15   uint64 90000000   true   'text'   ['a.service', 'b.service']   (2, byte 7)
//! [('/dev/sda', uint64 100)]   @as []   <'in a variant'>
//! ```

use super::Value;

/// Deepest nesting that is read.
const DEEPEST: usize = 8;
/// Bounds of a signature (D-Bus Specification, "Valid Signatures").
const LONGEST_TYPE: usize = 255;
const DEEPEST_TYPE: usize = 32;

/// Reads a value. With `wanted`, the signature that it must have, a number takes its type
/// from there; without, it is a 32-bit integer, or a double if it looks like one.
///
/// # Errors
/// Why it is none, in words.
pub fn parse(text: &str, wanted: Option<&str>) -> Result<Value, String> {
    let mut reader = Reader { rest: text, depth: 0 };
    let value = reader.value(wanted)?;
    match reader.next() {
        // A tuple may have thousands of members, which no message can carry.
        None if value.signature().len() > LONGEST_TYPE => {
            Err(format!("has a type of more than {LONGEST_TYPE} letters"))
        }
        None => Ok(value),
        Some(_) => Err(format!("has more after the value: {}", reader.excerpt())),
    }
}

/// The type keywords, and the letters of the types.
const KEYWORDS: [(&str, &str); 12] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The next character that is not a space; it stays.
    fn next(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.next() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    /// What is left, as far as it is worth printing.
    fn excerpt(&self) -> String {
        excerpt(self.rest)
    }

    /// Letters, digits and what numbers are written with.
    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.' | '_'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        if self.depth == DEEPEST {
            return Err("is nested too deeply".to_owned());
        }
        self.depth += 1;
        let value = self.any(wanted)?;
        self.depth -= 1;
        let kind = value.signature();
        match wanted {
            Some(wanted) if wanted != kind => {
                Err(format!("must be of type {}, and is of type {}", name(wanted), name(&kind)))
            }
            _ => Ok(value),
        }
    }

    fn any(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        match self.next() {
            None => Err("ends where a value is expected".to_owned()),
            Some(quote @ ('\'' | '"')) => {
                let text = self.string(quote)?;
                Ok(match wanted {
                    Some("o") => Value::Path(text),
                    Some("g") => Value::Signature(text),
                    _ => Value::Str(text),
                })
            }
            Some('[') => self.array(wanted),
            Some('(') => self.tuple(wanted),
            Some('<') => {
                self.eat('<');
                let inner = self.value(None)?;
                self.expect('>')?;
                Ok(Value::Variant(Box::new(inner)))
            }
            Some('@') => {
                self.eat('@');
                let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
                let (signature, rest) = self.rest.split_at(end);
                if signature.len() > LONGEST_TYPE {
                    return Err(format!("has a type of more than {LONGEST_TYPE} letters"));
                }
                if !is_one_type(signature, 0) {
                    return Err(format!("has an unknown type @{signature}"));
                }
                self.rest = rest;
                self.value(Some(signature))
            }
            Some(_) => self.scalar(wanted),
        }
    }

    fn scalar(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        let word = self.word();
        match word {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            "" => return Err(format!("holds something unknown: {}", self.excerpt())),
            _ => {}
        }
        if let Some((_, letter)) = KEYWORDS.iter().find(|(keyword, _)| *keyword == word) {
            return self.value(Some(letter));
        }
        number(word, wanted).ok_or_else(|| match wanted {
            Some(wanted) => {
                format!("must be of type {}, which {} is not", name(wanted), excerpt(word))
            }
            None => format!("holds something unknown: {}", excerpt(word)),
        })
    }

    fn string(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, c @ ('\\' | '\'' | '"'))) => c,
                    _ => return Err("has an unknown escape in a string".to_owned()),
                }),
                '\0' => return Err("has a NUL byte in a string".to_owned()),
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        Err("has a string without an end".to_owned())
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.eat(wanted) { Ok(()) } else { Err(format!("misses a {wanted}")) }
    }

    fn array(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.eat('[');
        let mut element = wanted.and_then(|wanted| wanted.strip_prefix('a')).map(str::to_owned);
        let mut values = Vec::new();
        while !self.eat(']') {
            if !values.is_empty() {
                self.expect(',')?;
            }
            let value = self.value(element.as_deref())?;
            element.get_or_insert_with(|| value.signature());
            values.push(value);
        }
        let element = element.ok_or("is an array of an unknown type: write @as []")?;
        Ok(Value::Array(element, values))
    }

    fn tuple(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.eat('(');
        let mut types = wanted.and_then(|text| text.strip_prefix('(')?.strip_suffix(')'));
        let mut members = Vec::new();
        while !self.eat(')') {
            if !members.is_empty() {
                self.expect(',')?;
                // ('one',)
                if members.len() == 1 && self.eat(')') {
                    break;
                }
            }
            let first = types.map(|types| types.split_at(first_type(types)));
            members.push(self.value(first.map(|(first, _)| first).filter(|t| !t.is_empty()))?);
            types = first.map(|(_, rest)| rest);
        }
        if members.is_empty() {
            return Err("is an empty tuple, which D-Bus does not have".to_owned());
        }
        Ok(Value::Struct(members))
    }
}

fn excerpt(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// How long the first complete type of a signature is; all of it if it is malformed.
fn first_type(signature: &str) -> usize {
    let mut open = 0;
    for (at, letter) in signature.bytes().enumerate() {
        match letter {
            b'a' => continue,
            b'(' => open += 1,
            b')' => open -= 1,
            _ => {}
        }
        if open <= 0 {
            return at + 1;
        }
    }
    signature.len()
}

/// Whether a signature is one type that a [`Value`] can have, inside of `depth` others.
fn is_one_type(signature: &str, depth: usize) -> bool {
    let Some(letter) = signature.chars().next() else { return false };
    if depth > DEEPEST_TYPE {
        return false;
    }
    match letter {
        'a' => is_one_type(&signature[1..], depth + 1),
        '(' => {
            let Some(mut members) = signature[1..].strip_suffix(')') else { return false };
            while !members.is_empty() {
                let (first, rest) = members.split_at(first_type(members));
                if !is_one_type(first, depth + 1) {
                    return false;
                }
                members = rest;
            }
            signature.len() > 2
        }
        letter => signature.len() == 1 && "ybnqiuxtdsogv".contains(letter),
    }
}

fn number(word: &str, wanted: Option<&str>) -> Option<Value> {
    let integer = || {
        let (negative, digits) = match word.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, word.strip_prefix('+').unwrap_or(word)),
        };
        let value = match digits.strip_prefix("0x") {
            Some(digits) if !digits.starts_with(['+', '-']) => i128::from_str_radix(digits, 16),
            _ => digits.parse::<u64>().map(i128::from),
        };
        value.ok().map(|value| if negative { -value } else { value })
    };
    let has_digit = word.contains(|c: char| c.is_ascii_digit());
    let double = || word.parse::<f64>().ok().filter(|value| has_digit && value.is_finite());
    match wanted.unwrap_or(if word.contains(['.', 'e']) { "d" } else { "i" }) {
        "y" => integer()?.try_into().ok().map(Value::Byte),
        "n" => integer()?.try_into().ok().map(Value::I16),
        "q" => integer()?.try_into().ok().map(Value::U16),
        "i" => integer()?.try_into().ok().map(Value::I32),
        "u" => integer()?.try_into().ok().map(Value::U32),
        "x" => integer()?.try_into().ok().map(Value::I64),
        "t" => integer()?.try_into().ok().map(Value::U64),
        "d" => double().map(Value::Double),
        _ => None,
    }
}

/// A type in the words of the format.
fn name(signature: &str) -> String {
    let known = KEYWORDS.iter().find(|(_, letter)| *letter == signature);
    known.map_or_else(|| format!("@{signature}"), |(keyword, _)| (*keyword).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_glib_reads_them() {
        let texts = |list: &[&str]| Value::strings(list.iter().copied());
        for (text, value) in [
            ("true", Value::Bool(true)),
            ("boolean false", Value::Bool(false)),
            ("15", Value::I32(15)),
            (" -7 ", Value::I32(-7)),
            ("0x1f", Value::I32(31)),
            ("uint64 123456789", Value::U64(123_456_789)),
            ("byte 234", Value::Byte(234)),
            ("int16 -1", Value::I16(-1)),
            ("uint16 65535", Value::U16(65_535)),
            ("int64 -9223372036854775808", Value::I64(i64::MIN)),
            ("uint32 4294967295", Value::U32(u32::MAX)),
            ("1.5", Value::Double(1.5)),
            ("double 2", Value::Double(2.0)),
            ("'inactive-or-failed'", Value::str("inactive-or-failed")),
            (r#""it's""#, Value::str("it's")),
            (r"'a\'b\\c\n'", Value::str("a'b\\c\n")),
            ("['a.service']", texts(&["a.service"])),
            ("['a', \"b\"]", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("<uint32 3>", Value::Variant(Box::new(Value::U32(3)))),
            ("(1, 'a')", Value::Struct(vec![Value::I32(1), Value::str("a")])),
            ("('a',)", Value::Struct(vec![Value::str("a")])),
            ("[byte 1, 2]", Value::Array("y".into(), vec![Value::Byte(1), Value::Byte(2)])),
        ] {
            assert_eq!(parse(text, None), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_wanted_type_is_taken_or_missed() {
        assert_eq!(parse("90", Some("t")), Ok(Value::U64(90)));
        assert_eq!(parse("[1, 2]", Some("ay")).map(|v| v.signature()), Ok("ay".to_owned()));
        let limits = parse("[('/dev/sda', 100)]", Some("a(st)")).expect("limits");
        assert_eq!(limits.signature(), "a(st)");
        assert_eq!(parse("[]", Some("as")), Ok(Value::strings([""; 0])));
        for (text, wanted, reason) in [
            ("uint32 90", "t", "must be of type uint64, and is of type uint32"),
            ("-1", "t", "uint64"),
            ("'x'", "i", "and is of type string"),
            ("true", "s", "must be of type string"),
            ("[('/dev/sda', 'x')]", "a(st)", "uint64"),
            ("('a', 1, 2)", "(st)", "@(st)"),
        ] {
            let error = parse(text, Some(wanted)).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_value_is_said_in_words() {
        for (text, reason) in [
            ("", "ends"),
            ("uint64", "ends"),
            ("systemd", "unknown"),
            ("'open", "without an end"),
            (r"'\x'", "escape"),
            ("'a\0'", "NUL"),
            ("[1, 'a']", "must be of type int32"),
            ("[]", "unknown type"),
            ("@a{sv} {}", "unknown type"),
            ("@()  5", "unknown type"),
            ("()", "empty tuple"),
            ("[1 2]", "misses a ,"),
            ("1 2", "more after"),
            ("2147483648", "unknown"),
            ("byte 256", "byte"),
            ("nan", "unknown"),
            ("{'a': 1}", "unknown"),
            ("just 5", "unknown"),
            (&"[".repeat(500), "too deeply"),
            ("@aaaaaaaaaaaas [[[[[[[[[[[]]]]]]]]]]]", "too deeply"),
            // Each level looked at all that is inside: seconds, and then the end of the stack.
            (&format!("@{} 5", "(".repeat(160_000)), "more than 255 letters"),
            (&format!("@{}s []", "a".repeat(160_000)), "more than 255 letters"),
            (&format!("@{}s []", "a".repeat(34)), "unknown type"),
            (&format!("({}1)", "1,".repeat(300)), "more than 255 letters"),
        ] {
            let error = parse(text, None).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn any_text_is_read_or_refused() {
        let good = "[('/dev/sda', uint64 100), (\"\\\\\", @t 5)] <@as ['é']> ";
        for at in (0..good.len()).filter(|at| good.is_char_boundary(*at)) {
            for insert in ["", "(", ")", "[", "<", "@", "'", "\\", ",", "é", "-"] {
                let text = format!("{}{insert}{}", &good[..at], &good[at..]);
                let _ = parse(&text, None);
                let _ = parse(&text[..at + insert.len()], Some("a(st)"));
            }
        }
    }
}
