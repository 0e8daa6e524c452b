//! Values as D-Bus types them, and how they are put on the wire (D-Bus Specification,
//! "Type System" and "Marshaling"): little-endian here.

/// A value with its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Str(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a`, with the signature of the elements: an array may be empty.
    Array(String, Vec<Value>),
    /// `(...)`
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A string.
    pub fn str(text: impl Into<String>) -> Self {
        Value::Str(text.into())
    }

    /// An array of strings.
    pub fn strings<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Value::Array("s".to_owned(), texts.into_iter().map(Value::str).collect())
    }

    /// Its type in letters.
    pub fn signature(&self) -> String {
        let mut text = String::new();
        self.write_signature(&mut text);
        text
    }

    fn write_signature(&self, text: &mut String) {
        let letter = match self {
            Value::Byte(_) => 'y',
            Value::Bool(_) => 'b',
            Value::I16(_) => 'n',
            Value::U16(_) => 'q',
            Value::I32(_) => 'i',
            Value::U32(_) => 'u',
            Value::I64(_) => 'x',
            Value::U64(_) => 't',
            Value::Double(_) => 'd',
            Value::Str(_) => 's',
            Value::Path(_) => 'o',
            Value::Signature(_) => 'g',
            Value::Variant(_) => 'v',
            Value::Array(element, _) => {
                text.push('a');
                return text.push_str(element);
            }
            Value::Struct(members) => {
                text.push('(');
                members.iter().for_each(|member| member.write_signature(text));
                ')'
            }
        };
        text.push(letter);
    }

    /// Appends it to a message, aligned from the message's start.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Value::Byte(value) => out.push(*value),
            Value::Bool(value) => put_number(out, &u32::from(*value).to_le_bytes()),
            Value::I16(value) => put_number(out, &value.to_le_bytes()),
            Value::U16(value) => put_number(out, &value.to_le_bytes()),
            Value::I32(value) => put_number(out, &value.to_le_bytes()),
            Value::U32(value) => put_number(out, &value.to_le_bytes()),
            Value::I64(value) => put_number(out, &value.to_le_bytes()),
            Value::U64(value) => put_number(out, &value.to_le_bytes()),
            Value::Double(value) => put_number(out, &value.to_le_bytes()),
            Value::Str(text) | Value::Path(text) => put_string(out, text),
            Value::Signature(text) => put_signature(out, text),
            Value::Variant(value) => {
                put_signature(out, &value.signature());
                value.put(out);
            }
            Value::Struct(members) => {
                align(out, 8);
                members.iter().for_each(|member| member.put(out));
            }
            Value::Array(element, values) => {
                put_number(out, &[0; 4]);
                let length_at = out.len() - 4;
                // The padding in front of the first element is not counted.
                align(out, alignment(element));
                let start = out.len();
                values.iter().for_each(|value| value.put(out));
                let length = (out.len() - start) as u32;
                out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            }
        }
    }
}

/// Numbers are aligned to their own size.
fn put_number(out: &mut Vec<u8>, bytes: &[u8]) {
    align(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_number(out, &(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// The plan keeps signatures far below the 255 bytes that there may be.
fn put_signature(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

pub(super) fn align(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

/// How a type is aligned, by the first letter of its signature.
pub(super) fn alignment(signature: &str) -> usize {
    match signature.bytes().next() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        value.put(&mut out);
        out
    }

    #[test]
    fn signatures_are_written_in_letters() {
        let pair = Value::Struct(vec![Value::str("a"), Value::Variant(Box::new(Value::Byte(1)))]);
        assert_eq!(pair.signature(), "(sv)");
        assert_eq!(Value::Array("(sv)".into(), vec![pair]).signature(), "a(sv)");
        assert_eq!(Value::Array("as".into(), vec![]).signature(), "aas");
    }

    /// Bytes by the marshalling rules of the specification, counted by hand.
    #[test]
    fn values_are_aligned_to_their_size() {
        assert_eq!(bytes(&Value::Bool(true)), [1, 0, 0, 0]);
        assert_eq!(bytes(&Value::str("ab")), [2, 0, 0, 0, b'a', b'b', 0]);
        assert_eq!(bytes(&Value::Signature("ay".into())), [2, b'a', b'y', 0]);
        assert_eq!(
            bytes(&Value::Variant(Box::new(Value::U64(7)))),
            [1, b't', 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
        );
        // Four bytes of length, four of padding that it does not count.
        assert_eq!(
            bytes(&Value::Array("t".into(), vec![Value::U64(1)])),
            [8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(bytes(&Value::Array("(su)".into(), vec![])), [0; 8]);
        let members = vec![Value::Byte(1), Value::U16(2), Value::I32(-1)];
        assert_eq!(bytes(&Value::Struct(members)), [1, 0, 2, 0, 255, 255, 255, 255]);
    }
}
