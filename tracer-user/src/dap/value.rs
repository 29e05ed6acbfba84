//! Decoded values as lines of a tree of variables.
//!
//! What the decoder marks (`tracer_golang::process::value` says how) is shown for what it is: a text that is
//! cut, a list that goes on, what could not be read.

use serde_json::Value as Json;
use tracer_model::snapshot::Value;

/// Characters of a value on one line.
const WIDTH: usize = 200;

/// One value on one line.
#[derive(Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// Its type, where that is not the one that its place has.
    pub(crate) dynamic_type: Option<String>,
}

/// A value as it stands in a channel or as a sender holds it out.
pub(crate) fn shown(value: &Value) -> Shown {
    let plain = |text| Shown {
        text,
        dynamic_type: None,
    };
    match value {
        Value::Decoded(json) => decoded(json),
        Value::Redacted(bytes) => plain(format!("<redacted: {bytes} bytes>")),
        Value::Unreadable(why) => plain(format!("<not read: {why}>")),
    }
}

/// A decoded value, or a part of one.
pub(crate) fn decoded(json: &Json) -> Shown {
    let (dynamic_type, json) = bare(json);
    Shown {
        text: line(json),
        dynamic_type: dynamic_type.map(str::to_owned),
    }
}

/// The part of a decoded value that a path of positions leads to.
pub(crate) fn part<'a>(json: &'a Json, path: &[u32]) -> Option<&'a Json> {
    path.iter().try_fold(json, |json, &at| match bare(json).1 {
        Json::Array(list) => list.get(at as usize),
        Json::Object(fields) => fields.values().nth(at as usize),
        _ => None,
    })
}

/// What is inside a decoded value.
#[derive(Debug, PartialEq)]
pub(crate) enum Inside<'a> {
    Nothing,
    Elements(&'a [Json]),
    Fields(Vec<(&'a str, &'a Json)>),
}

/// The parts of a value that can be opened.
pub(crate) fn inside(json: &Json) -> Inside<'_> {
    match bare(json).1 {
        Json::Array(list) if !list.is_empty() => Inside::Elements(list),
        Json::Object(fields) if !fields.is_empty() && marked(fields).is_none() => {
            Inside::Fields(fields.iter().map(|(name, it)| (&**name, it)).collect())
        }
        _ => Inside::Nothing,
    }
}

/// A dynamic value without its type, and that.
fn bare(json: &Json) -> (Option<&str>, &Json) {
    match json {
        Json::Object(fields) if fields.len() == 2 => {
            match (
                fields.get("$type").and_then(Json::as_str),
                fields.get("$value"),
            ) {
                (Some(typ), Some(value)) => (Some(typ), value),
                _ => (None, json),
            }
        }
        _ => (None, json),
    }
}

/// The text of an object that stands for something else.
fn marked(fields: &serde_json::Map<String, Json>) -> Option<String> {
    let text = |name| fields.get(name).and_then(Json::as_str);
    let bytes = || {
        fields
            .get("$bytes")
            .map_or(String::new(), |n| format!(" … {n} bytes"))
    };
    if let Some(cut) = text("$text") {
        return Some(format!("{}{}", Json::from(cut), bytes()));
    }
    if let Some(escaped) = text("$escaped") {
        return Some(format!("\"{escaped}\"{}", bytes()));
    }
    if let Some(why) = text("$error") {
        return Some(format!("<not read: {why}>"));
    }
    match (fields.len(), fields.get("$more")) {
        (1, Some(more)) => Some(format!("… {more} more")),
        _ => None,
    }
}

fn line(json: &Json) -> String {
    let whole = match json {
        Json::Null => "nil".to_owned(),
        Json::Object(fields) => marked(fields).unwrap_or_else(|| json.to_string()),
        json => json.to_string(),
    };
    match whole.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_are_shown_for_what_they_are() {
        for (json, text, dynamic_type) in [
            (json!(7), "7", None),
            (json!(null), "nil", None),
            (json!("größe \"q\"\n"), r#""größe \"q\"\n""#, None),
            (
                json!({"ID": 1, "Tags": ["a"]}),
                r#"{"ID":1,"Tags":["a"]}"#,
                None,
            ),
            (
                json!({"$text": "begin", "$bytes": 1000}),
                r#""begin" … 1000 bytes"#,
                None,
            ),
            (
                json!({"$escaped": "\\xff", "$bytes": 1}),
                r#""\xff" … 1 bytes"#,
                None,
            ),
            (
                json!({"$error": "not mapped"}),
                "<not read: not mapped>",
                None,
            ),
            (json!({"$more": 12}), "… 12 more", None),
            (
                json!({"$type": "*main.T", "$value": {"A": 1}}),
                r#"{"A":1}"#,
                Some("*main.T"),
            ),
        ] {
            let expected = Shown {
                text: text.to_owned(),
                dynamic_type: dynamic_type.map(str::to_owned),
            };
            assert_eq!(decoded(&json), expected, "{json}");
        }
        let long = decoded(&json!("ö".repeat(1000)));
        assert_eq!(long.text.chars().count(), WIDTH + 1);
    }

    #[test]
    fn parts_are_found_by_position() {
        let json =
            json!({"A": [1, {"$type": "main.T", "$value": {"B": "deep"}}], "C": {"$error": "x"}});
        assert_eq!(part(&json, &[0, 1, 0]), Some(&json!("deep")));
        assert_eq!(part(&json, &[]), Some(&json));
        for path in [&[7][..], &[0, 0, 0], &[0, 1, 0, 0]] {
            assert_eq!(part(&json, path), None, "{path:?}");
        }
        assert!(matches!(inside(&json), Inside::Fields(fields) if fields.len() == 2));
        assert_eq!(inside(&json["C"]), Inside::Nothing);
        assert!(matches!(inside(&json["A"]), Inside::Elements([_, _])));
    }
}
