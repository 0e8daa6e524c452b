//! From the tree to oci-spec's types, with the path and the value in every error.
//!
//! serde's derive takes an array for an object, and oci-spec gives some members a default
//! that the specification requires. Here an object is an object, and those are required.
//! `null` counts as absent, as it does for Go, which most callers are written in.

#![forbid(unsafe_code)]

use std::cell::RefCell;

use serde::Deserialize;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::lenient::spelled;
use super::nearest;
use super::tree::{At, Json, Object};
use super::wrong::{Wrong, kind};
use crate::diag::field::Violation;

/// What becomes of a key of an object that has no such member.
#[derive(Clone, Copy)]
enum Unknown<'p> {
    /// It is ignored, as the specification wants it for config.json. One that is nearly a
    /// known one becomes a notice, and one that differs only in case is an error.
    Ignored(&'p RefCell<Vec<String>>),
    /// It is an error. Case does not count, as it does not for Go.
    Refused,
    /// It is ignored, and was told of, or not, when the container was created.
    Kept,
}

/// Reads a `T` from `json`. Keys that are nearly known ones become notices.
pub fn read<'de, T: Deserialize<'de>>(
    json: &'de Json<'de>,
    notices: &mut Vec<String>,
) -> Result<T, Violation> {
    let cell = RefCell::new(std::mem::take(notices));
    let read = T::deserialize(Typed { json, at: At::Root, unknown: Unknown::Ignored(&cell) });
    *notices = cell.into_inner();
    read.map_err(Wrong::into_violation)
}

/// Reads a `T` that has no member beside those that we know.
pub fn read_whole<'de, T: Deserialize<'de>>(json: &'de Json<'de>) -> Result<T, Violation> {
    let read = T::deserialize(Typed { json, at: At::Root, unknown: Unknown::Refused });
    read.map_err(Wrong::into_violation)
}

/// Reads a `T` from what was read before.
pub fn read_kept<'de, T: Deserialize<'de>>(json: &'de Json<'de>) -> Result<T, Violation> {
    let read = T::deserialize(Typed { json, at: At::Root, unknown: Unknown::Kept });
    read.map_err(Wrong::into_violation)
}

/// Members that the specification requires and oci-spec gives a default: a missing uid
/// must not become root, and a missing limit not 0.
fn required(name: &str, json: &Json<'_>) -> &'static [&'static str] {
    match name {
        "Box" => &["height", "width"],
        "LinuxDevice" if json.get("type") == Some(&Json::String("p".into())) => &["path"],
        "LinuxDevice" => &["path", "major", "minor"],
        "LinuxDeviceCgroup" => &["allow"],
        "LinuxHugepageLimit" => &["pageSize", "limit"],
        "LinuxIOPriority" => &["class"],
        "LinuxIdMapping" => &["containerID", "hostID", "size"],
        "LinuxInterfacePriority" => &["name", "priority"],
        "LinuxThrottleDevice" => &["major", "minor", "rate"],
        "LinuxWeightDevice" => &["major", "minor"],
        "PosixRlimit" => &["soft", "hard"],
        "Root" => &["path"],
        "User" => &["uid", "gid"],
        _ => &[],
    }
}

/// Nobody misspells more keys of one object than this; the search is not for free.
const NEAR_MISSES: usize = 16;

#[derive(Clone, Copy)]
struct Typed<'de, 'p> {
    json: &'de Json<'de>,
    at: At<'p>,
    unknown: Unknown<'p>,
}

impl<'de> Typed<'de, '_> {
    fn place<T>(&self, answer: Result<T, Wrong>) -> Result<T, Wrong> {
        answer.map_err(|wrong| wrong.of(&self.at, self.json))
    }

    /// `fields` are the members that a struct has; a map has any.
    fn object<V: Visitor<'de>>(
        self,
        visitor: V,
        fields: Option<&'static [&'static str]>,
    ) -> Result<V::Value, Wrong> {
        let Json::Object(object) = self.json else { return self.deserialize_any(visitor) };
        let members = Members { of: self, object, next: 0, fields, value: None };
        self.place(visitor.visit_map(members))
    }

    /// Looks at the keys that `name` does not have. That the same key has another case counts
    /// for Go, whose readers most callers know: here it is said, and where the key restricts the
    /// container, it is an error.
    fn look_for_unknown(&self, name: &str, fields: &'static [&'static str]) -> Result<(), Wrong> {
        let Json::Object(members) = self.json else { return Ok(()) };
        let mut unknown = members.iter().map(|(key, _)| key).filter(|key| !fields.contains(key));
        match self.unknown {
            Unknown::Kept => Ok(()),
            Unknown::Refused => {
                let refused = |key: &&str| nearest::same_but_for_case(key, fields).is_none();
                let Some(key) = unknown.find(refused) else { return Ok(()) };
                let reason = match nearest::nearest(key, fields) {
                    Some(field) => format!("unknown key; is {field} meant?"),
                    None => format!("unknown key; there are {}", fields.join(", ")),
                };
                Err(Wrong::at(Violation::new(self.at.field().key(key.to_owned()), reason)))
            }
            Unknown::Ignored(notices) => {
                let mut wrong = Ok(());
                let mut near_misses = 0;
                for key in unknown {
                    let field = || self.at.field().key(key.to_owned());
                    match nearest::same_but_for_case(key, fields) {
                        Some(same) if !may_be_lost(name, same) => {
                            let same = spelled(same);
                            let reason = format!("must be spelled {same}: keys are case-sensitive");
                            wrong = wrong.and(Err(Wrong::at(Violation::new(field(), reason))));
                            continue;
                        }
                        None if near_misses >= NEAR_MISSES => continue,
                        _ => {}
                    }
                    near_misses += 1;
                    if let Some(near) = nearest::nearest(key, fields).map(spelled) {
                        let text = format!("{}: unknown key, ignored; is {near} meant?", field());
                        notices.borrow_mut().push(text);
                    }
                }
                wrong
            }
        }
    }
}

/// Members that change nothing of what the container may do.
fn may_be_lost(name: &str, key: &str) -> bool {
    name == "Spec" && matches!(key, "annotations" | "domainname" | "hostname" | "ociVersion")
}

impl<'de> Deserializer<'de> for Typed<'de, '_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let answer = match self.json {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(*value),
            Json::Unsigned(value) => visitor.visit_u64(*value),
            Json::Negative(value) => visitor.visit_i64(*value),
            Json::Float(value) => visitor.visit_f64(*value),
            Json::String(text) => visitor.visit_borrowed_str(text),
            Json::Array(elements) => {
                visitor.visit_seq(Elements { of: self, elements: elements.iter().enumerate() })
            }
            Json::Object(_) => return self.object(visitor, None),
        };
        self.place(answer)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.json {
            Json::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if !matches!(self.json, Json::Object(_)) {
            let wrong = serde::de::Error::invalid_type(kind(self.json), &"an object");
            return self.place(Err(wrong));
        }
        self.look_for_unknown(name, fields)?;
        let value = self.object(visitor, Some(fields))?;
        for key in required(name, self.json) {
            if self.json.get(key).is_none_or(|value| *value == Json::Null) {
                return self.place(Err(serde::de::Error::missing_field(key)));
            }
        }
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let answer = match self.json {
            Json::String(text) if variants.contains(&&**text) => visitor.visit_enum(Variant(text)),
            Json::String(text) => Err(serde::de::Error::unknown_variant(text, variants)),
            other => Err(serde::de::Error::invalid_type(kind(other), &"a string")),
        };
        self.place(answer)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}

struct Members<'de, 'p> {
    of: Typed<'de, 'p>,
    object: &'de Object<'de>,
    next: usize,
    fields: Option<&'static [&'static str]>,
    value: Option<(&'de str, &'de Json<'de>)>,
}

impl<'de> Members<'de, '_> {
    #[inline(never)]
    fn next(&mut self) -> Option<(&'de str, &'de Json<'de>)> {
        loop {
            let (key, value) = self.object.nth(self.next)?;
            self.next += 1;
            match self.fields {
                // Of a struct, `null` is an absent member.
                Some(_) if *value == Json::Null => {}
                Some(fields) if matches!(self.of.unknown, Unknown::Refused) => {
                    let same = fields.iter().find(|field| field.eq_ignore_ascii_case(key));
                    return Some((same.copied().unwrap_or(key), value));
                }
                _ => return Some((key, value)),
            }
        }
    }
}

impl<'de> MapAccess<'de> for Members<'de, '_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some((key, value)) = self.next() else { return Ok(None) };
        self.value = Some((key, value));
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (key, json) =
            self.value.take().ok_or_else(|| Wrong::because("a value without a key"))?;
        seed.deserialize(Typed { json, at: At::Key(&self.of.at, key), ..self.of })
    }
}

struct Elements<'de, 'p, I> {
    of: Typed<'de, 'p>,
    elements: I,
}

impl<'de, I: Iterator<Item = (usize, &'de Json<'de>)>> SeqAccess<'de> for Elements<'de, '_, I> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some((index, json)) = self.elements.next() else { return Ok(None) };
        let at = At::Index(&self.of.at, index);
        seed.deserialize(Typed { json, at, ..self.of }).map(Some)
    }
}

/// One word of a closed list.
struct Variant<'de>(&'de str);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Wrong> {
        Ok((seed.deserialize(self.0.into_deserializer())?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Wrong> {
        Err(Wrong::because("must not be a string"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Wrong> {
        Err(Wrong::because("must not be a string"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Wrong> {
        Err(Wrong::because("must not be a string"))
    }
}
