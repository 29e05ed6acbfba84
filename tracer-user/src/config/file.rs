//! A file of settings (TOML), each checked as its flag would be; whatever is wrong is named with its line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ErrorKind};
use toml::{Spanned, Value};

use super::keys::{KEYS, Key};
use crate::failure::Failure;

/// As like as this, a name is suggested.
const LIKE: f64 = 0.75;
/// A file that is larger is none, bytes.
const MOST: u64 = 1 << 20;

/// A file that was read and is right.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    settings: Vec<Setting>,
}

/// One setting of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    /// Its values as they would be typed; none of a flag that is off, `None` of one that has no value.
    pub(crate) values: Vec<Option<String>>,
    /// Its line in the file, from 1.
    pub(crate) line: usize,
}

impl Setting {
    /// The flags that say the same.
    pub(super) fn typed(&self) -> Vec<String> {
        let flag = |value: &Option<String>| match value {
            Some(value) => format!("--{}={value}", self.name),
            None => format!("--{}", self.name),
        };
        self.values.iter().map(flag).collect()
    }
}

impl File {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong.
    pub(crate) fn read(path: &Path) -> Result<File, Failure> {
        let failed = |cause: String| {
            Failure::new(format!("cannot read {}", path.display()))
                .because(cause)
                .next("give a file of settings with --config")
        };
        let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        if size.len() > MOST {
            return Err(failed("it is too large for settings".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        File::parse(path, &text)
    }

    /// Checks a file's text.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub(super) fn parse(path: &Path, text: &str) -> Result<File, Failure> {
        let wrong = |at: usize, cause: &str, next: String| {
            let place = format!("{}:{}", path.display(), line(text, at));
            Failure::new(place).because(cause).next(next)
        };
        let table: BTreeMap<Spanned<String>, Spanned<Value>> =
            toml::from_str(text).map_err(|error| {
                let at = error.span().map_or(0, |span| span.start);
                wrong(
                    at,
                    error.message(),
                    "settings are lines such as `level = \"full\"`".to_owned(),
                )
            })?;
        let mut settings = Vec::new();
        for (name, value) in &table {
            let at = name.span().start;
            let name = name.get_ref();
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                let cause = format!("there is no setting `{name}`");
                return Err(wrong(at, &cause, advice(name)));
            };
            let values = values(value.get_ref());
            let values = values.map_err(|cause| {
                wrong(
                    at,
                    &format!("{name}: {cause}"),
                    "write it as it would be typed".to_owned(),
                )
            })?;
            let setting = Setting {
                name: key.name,
                values,
                line: line(text, at),
            };
            check(key, &setting).map_err(|cause| {
                let next = format!("`gotrace record --help` tells what --{name} takes");
                wrong(at, &format!("{name}: {cause}"), next)
            })?;
            settings.push(setting);
        }
        settings.sort_by_key(|setting| setting.line);
        Ok(File {
            path: path.to_owned(),
            settings,
        })
    }

    /// What it says of a key.
    pub(crate) fn setting(&self, key: &Key) -> Option<&Setting> {
        self.settings.iter().find(|it| it.name == key.name)
    }

    /// All that it says, in its order.
    pub(crate) fn settings(&self) -> &[Setting] {
        &self.settings
    }
}

/// The line of a position, from 1.
fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// What to do about a name that is none.
fn advice(name: &str) -> String {
    if ["token", "password", "secret", "key"]
        .iter()
        .any(|word| name.contains(word))
    {
        return "a secret has no place here: name a file that has it (`token-file`, `tls-key`)"
            .to_owned();
    }
    let likeness = |key: &Key| strsim::jaro(name, key.name);
    let best = KEYS
        .iter()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .filter(|key| likeness(key) >= LIKE);
    match best {
        Some(key) => format!("did you mean `{}`?", key.name),
        None => "`gotrace config show` lists all settings".to_owned(),
    }
}

/// A value as it would be typed.
fn values(value: &Value) -> Result<Vec<Option<String>>, String> {
    Ok(match value {
        Value::Boolean(true) => vec![None],
        Value::Boolean(false) => Vec::new(),
        Value::Array(list) => list
            .iter()
            .map(|item| one(item).map(Some))
            .collect::<Result<_, _>>()?,
        other => vec![Some(one(other)?)],
    })
}

fn one(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        other => Err(format!("a setting cannot be a {}", other.type_str())),
    }
}

/// Asks the parser of flags.
fn check(key: &Key, setting: &Setting) -> Result<(), String> {
    let mut line: Vec<String> = ["gotrace", "record", "--pid=1", "--output=x"]
        .map(str::to_owned)
        .to_vec();
    line.extend(setting.typed());
    let Err(error) = super::command().try_get_matches_from(line) else {
        return Ok(());
    };
    match error.kind() {
        ErrorKind::InvalidValue
        | ErrorKind::ValueValidation
        | ErrorKind::TooManyValues
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues
        | ErrorKind::ArgumentConflict => {}
        // What it takes besides may be said elsewhere.
        _ => return Ok(()),
    }
    let value = error
        .get(ContextKind::InvalidValue)
        .map_or(String::new(), |value| {
            format!("`{value}` is not one of its values")
        });
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let valid = error
        .get(ContextKind::ValidValue)
        .map(|values| format!("{value}: there are {values}"));
    let several = || {
        format!(
            "it has {} values, and takes one, or none",
            setting.values.len()
        )
    };
    Err(match (cause, valid, value.is_empty()) {
        (Some(cause), ..) => cause,
        (None, Some(valid), _) => valid,
        (None, None, false) => value,
        (None, None, true) if setting.values.is_empty() => format!("{} is needed", key.name),
        (None, None, true) => several(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<File, String> {
        File::parse(Path::new("c.toml"), text).map_err(|failure| failure.to_string())
    }

    #[test]
    fn settings_are_as_they_would_be_typed() {
        let text = "# the daemon\nlevel = \"park\"\n\non-metric = [\"loss.records>0\", \"goroutines.total>9\"]\n\
                    expose-values = false\nvalues = 3\n";
        let file = parsed(text).expect("it is right");
        let typed: Vec<String> = file.settings().iter().flat_map(Setting::typed).collect();
        assert_eq!(
            typed,
            [
                "--level=park",
                "--on-metric=loss.records>0",
                "--on-metric=goroutines.total>9",
                "--values=3"
            ]
        );
        let lines: Vec<usize> = file.settings().iter().map(|it| it.line).collect();
        assert_eq!(lines, [2, 4, 5, 6]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, parts) in [
            (
                "level = \"park\"\nintervall = \"1s\"\n",
                ["c.toml:2", "`intervall`", "did you mean `interval`?"],
            ),
            ("hue = 3\n", ["c.toml:1", "`hue`", "config show"]),
            (
                "\n\ntoken = \"s3cret\"\n",
                ["c.toml:3", "`token`", "token-file"],
            ),
            ("level = \"loud\"\n", ["c.toml:1", "`loud`", "observe"]),
            ("budget = 0\n", ["c.toml:1", "budget", "percentage above 0"]),
            ("interval = \"soon\"\n", ["c.toml:1", "interval", "500ms"]),
            ("listen = { a = 1 }\n", ["c.toml:1", "listen", "table"]),
            (
                "level = [\"park\", \"full\"]\n",
                ["c.toml:1", "level", "2 values"],
            ),
            ("level = \n", ["c.toml:1", "c.toml", "next: "]),
        ] {
            let error = parsed(text).expect_err(text);
            for part in parts {
                assert!(error.contains(part), "no {part} in {error} of {text:?}");
            }
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
