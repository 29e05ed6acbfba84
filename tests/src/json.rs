//! Looking into documents.

use serde_json::Value;

/// A number that counts something.
///
/// # Panics
///
/// When it is none.
#[track_caller]
pub fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// The list in a field.
///
/// # Panics
///
/// When there is none.
#[track_caller]
pub fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field]
        .as_array()
        .unwrap_or_else(|| panic!("no list {field} in {object:#}"))
}
