//! JSON as it was written, read strictly: serde_json knows the grammar, this adds what
//! serde does not ask for. Two readers of one document must not disagree: no key twice,
//! also in maps, and no NUL, at which the kernel would end a string.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::diag::field::Field;

/// A place in the document, while it is walked.
#[derive(Clone, Copy)]
pub enum At<'p> {
    /// The document.
    Root,
    /// A member of an object.
    Key(&'p At<'p>, &'p str),
    /// An element of an array.
    Index(&'p At<'p>, usize),
}

impl At<'_> {
    /// The path, for people.
    pub fn field(&self) -> Field {
        match self {
            At::Root => Field::root(),
            At::Key(parent, key) => parent.field().key((*key).to_owned()),
            At::Index(parent, index) => parent.field().at(*index),
        }
    }
}

/// A value. Strings are borrowed from the document unless they hold escapes.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    /// With a fraction or an exponent, or too large for 64 bits.
    Float(f64),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// The members of an object, in the order of the document. There are few: a list is
/// smaller than a tree, and as fast.
#[derive(Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    /// The member `key`.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The member `key`.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Json<'a>> {
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Adds the member `key`, which must not be there.
    pub fn add(&mut self, key: &'static str, value: Json<'a>) {
        self.0.push((Cow::Borrowed(key), value));
    }

    /// Takes the member `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Json<'a>> {
        let index = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(index).1)
    }

    /// Keeps the members for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Json<'a>) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    /// Gives the member `from` the name `to`.
    pub fn rename(&mut self, from: &str, to: &'static str) {
        for (name, _) in self.0.iter_mut().filter(|(name, _)| name == from) {
            *name = Cow::Borrowed(to);
        }
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// One member, by its place.
    pub fn nth(&self, place: usize) -> Option<(&str, &Json<'a>)> {
        self.0.get(place).map(|(name, value)| (&**name, value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Json<'a> {
    /// The member `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        let Json::Object(members) = self else { return None };
        members.get(key)
    }

    /// The members, if this is an object.
    pub fn object_mut(&mut self) -> Option<&mut Object<'a>> {
        let Json::Object(members) = self else { return None };
        Some(members)
    }

    /// The elements, if this is an array.
    pub fn array_mut(&mut self) -> Option<&mut Vec<Json<'a>>> {
        let Json::Array(elements) = self else { return None };
        Some(elements)
    }
}

/// As in the document, to be quoted in an error; what is large is only hinted at.
impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Unsigned(value) => write!(f, "{value}"),
            Json::Negative(value) => write!(f, "{value}"),
            Json::Float(value) => write!(f, "{value:?}"),
            Json::String(text) => write!(f, "{text:?}"),
            Json::Array(elements) if elements.is_empty() => f.write_str("[]"),
            Json::Array(_) => f.write_str("[...]"),
            Json::Object(members) if members.is_empty() => f.write_str("{}"),
            Json::Object(_) => f.write_str("{...}"),
        }
    }
}

/// More values than any configuration has: 65,536 groups, the most that the kernel takes, are half
/// of it. Each takes many times the two bytes that it may have in the document.
const MOST_VALUES: usize = 1 << 17;

/// So many members are compared one by one.
const FEW: usize = 24;

/// Reads one document; the error says what is wrong, and on which line.
pub fn parse(bytes: &[u8]) -> Result<Json<'_>, String> {
    parse_at_most(bytes, MOST_VALUES)
}

/// The same of one that was read before there was a limit.
pub fn parse_any_number(bytes: &[u8]) -> Result<Json<'_>, String> {
    parse_at_most(bytes, usize::MAX)
}

fn parse_at_most(bytes: &[u8], values: usize) -> Result<Json<'_>, String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err("begins with a byte order mark".to_owned());
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or(bytes);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("not UTF-8 at line {line}")
    })?;
    // serde_json ends the recursion at 128 levels, below keys that nobody knows as well.
    let mut reader = serde_json::Deserializer::from_str(text);
    let left = Cell::new(values);
    let tree = Node { at: At::Root, left: &left }.deserialize(&mut reader).and_then(|tree| {
        reader.end()?;
        Ok(tree)
    });
    tree.map_err(|error| explain(text, &error))
}

/// Adds the line, and what is usually the reason.
fn explain(text: &str, error: &serde_json::Error) -> String {
    /// So much of a line is shown on each side of the place.
    const SHOWN: usize = 30;
    if text.trim().is_empty() {
        return "it is empty".to_owned();
    }
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let place = error.column().saturating_sub(1);
    let (before, at) = line.split_at_checked(place).unwrap_or((line, ""));
    let reason = match at.as_bytes() {
        [b'/', b'/' | b'*', ..] | [b'#', ..] => "; JSON has no comments",
        [b',', ..] if before.trim_end().ends_with(',') => "; there are two commas",
        [b'\'', ..] => "; strings stand between double quotes",
        _ => "",
    };
    let start = before.char_indices().rev().nth(SHOWN).map_or(0, |(start, _)| start);
    let shown: String = line.get(start..).unwrap_or(line).chars().take(2 * SHOWN).collect();
    match shown.trim() {
        "" => format!("{error}{reason}"),
        shown => format!("{error}{reason}: {shown:?}"),
    }
}

/// Reads the value at a place.
struct Node<'p> {
    at: At<'p>,
    /// How many more values the document may have.
    left: &'p Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Json<'de>, D::Error> {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => return Err(D::Error::custom(format!("more than {MOST_VALUES} values"))),
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        without_nul(text, &self.at)?;
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Json<'de>, E> {
        without_nul(text, &self.at)?;
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Json<'de>, A::Error> {
        let mut elements = Vec::new();
        let element = |index| Node { at: At::Index(&self.at, index), left: self.left };
        while let Some(value) = array.next_element_seed(element(elements.len()))? {
            elements.push(value);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json<'de>, A::Error> {
        let mut members = Object::default();
        let mut seen = BTreeSet::new();
        while let Some(key) = object.next_key_seed(Key(&self.at))? {
            let at = At::Key(&self.at, &key);
            // A long list is not searched for each of its members.
            let twice = match members.0.len() {
                0..FEW => members.get(&key).is_some(),
                length => {
                    if length == FEW {
                        seen.extend(members.0.iter().map(|(name, _)| name.clone()));
                    }
                    !seen.insert(key.clone())
                }
            };
            if twice {
                return Err(A::Error::custom(format!("{}: given twice,", at.field())));
            }
            let value = object.next_value_seed(Node { at, left: self.left })?;
            members.0.push((key, value));
        }
        Ok(Json::Object(members))
    }
}

/// Reads a key of the object at a place.
struct Key<'p>(&'p At<'p>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Cow<'de, str>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        without_nul(text, &At::Key(self.0, text))?;
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        without_nul(text, &At::Key(self.0, text))?;
        Ok(Cow::Owned(text.to_owned()))
    }
}

fn without_nul<E: serde::de::Error>(text: &str, at: &At<'_>) -> Result<(), E> {
    if text.as_bytes().contains(&0) {
        return Err(E::custom(format!("{}: holds a NUL character,", at.field())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        parse(bytes).expect_err(&String::from_utf8_lossy(bytes))
    }

    #[test]
    fn values_are_kept_as_written() {
        let tree = parse(br#" {"b":[1,-2,1.5,1e3,true,null,"x\u0041"],"a":{}} "#).expect("JSON");
        let list = vec![
            Json::Unsigned(1),
            Json::Negative(-2),
            Json::Float(1.5),
            Json::Float(1000.0),
            Json::Bool(true),
            Json::Null,
            Json::String("xA".into()),
        ];
        assert_eq!(tree.get("b"), Some(&Json::Array(list)));
        assert_eq!(tree.get("a"), Some(&Json::Object(Object::default())));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for (bytes, text) in [
            (&b"\xef\xbb\xbf{}"[..], "begins with a byte order mark"),
            (b"{\"a\":\n\"\xff\"}", "not UTF-8 at line 2"),
            (b"{\"a\":1,\n\"a\":2}", "a: given twice, at line 2 column 3"),
            (b"{\"x\":{\"m\":[0,{\"k\":1,\"\\u006b\":1}]}}", "x.m[1].k: given twice,"),
            (b"{\"a\":\"x\\u0000\"}", "a: holds a NUL character,"),
            (b"{\"a\\u0000\":1}", "holds a NUL character,"),
            (b"{} {}", "trailing characters at line 1 column 4"),
            (b"{}x", "trailing characters at line 1 column 3"),
            (b"{\"a\":007}", "invalid number at line 1 column 7"),
            (b"{\"a\":+1}", "expected value at line 1 column 6"),
            (b"{\"a\":NaN}", "expected value"),
            (b"{\"a\":1,}", "trailing comma"),
            (b"{'a':1}", "key must be a string"),
            (b"{\"a\":\"\\ud800\"}", "unexpected end of hex escape"),
            (b"{\"a\":\"\t\"}", "control character"),
            (b"{\"a\":1", "EOF while parsing an object"),
            (b"", "it is empty"),
            (b" \n ", "it is empty"),
            (b"// x\n{}", "expected value at line 1 column 1; JSON has no comments: \"// x\""),
            (b"{\"a\":1,,\"b\":2}", "; there are two commas: \"{\\\"a\\\":1,,"),
        ] {
            let error = refused(bytes);
            assert!(error.contains(text), "{error} / {text}");
        }
        assert!(
            refused(format!("{{\"a\":1{}}}", "0".repeat(400)).as_bytes()).contains("out of range")
        );
    }

    #[test]
    fn a_key_given_twice_is_found_in_objects_of_any_size() {
        for size in [1, FEW - 1, FEW, FEW + 1, 3 * FEW, 100_000] {
            for again in [0, size / 2, size - 1] {
                let keys = (0..size).chain([again]).map(|key| format!("\"k{key}\":0"));
                let text = format!("{{{}}}", keys.collect::<Vec<_>>().join(","));
                assert!(refused(text.as_bytes()).starts_with(&format!("k{again}: given twice,")));
            }
        }
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        // The list itself is one of them.
        for (count, good) in [(MOST_VALUES - 1, true), (MOST_VALUES, false)] {
            let text = format!("[{}0]", "0,".repeat(count - 1));
            assert_eq!(parse(text.as_bytes()).is_ok(), good, "{count}");
        }
        let lists = format!("[{}[]]", "[[1,{}]],".repeat(MOST_VALUES / 4));
        assert!(refused(lists.as_bytes()).starts_with("more than 131072 values at line 1 column"));
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
            let text = format!("{{\"x\":{}1{}}}", open.repeat(200_000), close.repeat(200_000));
            assert!(refused(text.as_bytes()).contains("recursion limit"));
        }
    }
}
