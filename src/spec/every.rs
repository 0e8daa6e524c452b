//! Every fault of a document, not only the first: what was found to be wrong is taken out, and the
//! rest is read again.

#![forbid(unsafe_code)]

use super::tree::Json;
use crate::diag::field::{Field, Place, Violation};

/// How often a document is read at most, where it is small; a hostile one is large.
const MOST_READS: usize = 20;
const MOST_BYTES: usize = 1 << 20;

/// Reads `json`, of `size` bytes, with `read`; all violations, or what was read.
pub fn fault<T>(
    json: &mut Json<'_>,
    size: usize,
    mut found: Vec<Violation>,
    mut read: impl FnMut(&Json<'_>) -> Result<T, Violation>,
) -> Result<T, Vec<Violation>> {
    // Where something was taken out, what it leaves behind is not the writer's fault.
    let mut taken: Vec<Field> = Vec::new();
    for _ in 0..(MOST_BYTES / size.max(1)).clamp(1, MOST_READS) {
        let violation = match read(json) {
            Ok(value) if found.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(violation) => violation,
        };
        let ours = taken.contains(&violation.field);
        // Of a missing member there is nothing to take out but the object around it.
        let mut field = violation.field.clone();
        while !take_out(json, &field) {
            match field.parent() {
                Some((parent, _)) => field = parent.clone(),
                None => break,
            }
        }
        let whole = field.parent().is_none();
        taken.push(field);
        if !ours {
            found.push(violation);
        }
        if whole {
            break;
        }
    }
    Err(found)
}

/// Makes a place absent; false if it is already.
fn take_out(json: &mut Json<'_>, field: &Field) -> bool {
    let Some((parent, place)) = field.parent() else { return false };
    let Some(parent) = find(json, parent) else { return false };
    match (parent, place) {
        (Json::Object(members), Place::Key(key)) => members.remove(key).is_some(),
        // Those behind it keep their numbers only if it is the last: so the whole list goes.
        _ => false,
    }
}

fn find<'j, 'a>(json: &'j mut Json<'a>, field: &Field) -> Option<&'j mut Json<'a>> {
    let Some((parent, place)) = field.parent() else { return field.is_root().then_some(json) };
    match (find(json, parent)?, place) {
        (Json::Object(members), Place::Key(key)) => members.get_mut(key),
        (Json::Array(elements), Place::Index(index)) => elements.get_mut(index),
        _ => None,
    }
}
