//! A file of settings (TOML), each checked as its flag would be; whatever is wrong is named with its line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ErrorKind};
use toml::{Spanned, Value};

use super::keys::{AGENT, KEYS, Key};
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
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    key: &'static Key,
    /// Its values as they would be typed; none of a flag that is off, `None` of one that has no value.
    pub(crate) values: Vec<Option<String>>,
    /// Its line in the file, from 1.
    pub(crate) line: usize,
}

impl Setting {
    /// The flags that say the same.
    pub(super) fn typed(&self) -> Vec<String> {
        let flag = |value: &Option<String>| match value {
            Some(value) => format!("--{}={value}", self.key.flag),
            None => format!("--{}", self.key.flag),
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
        let no_toml = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(
                at,
                error.message(),
                "settings are lines such as `level = \"full\"`".to_owned(),
            )
        };
        let all: Table = toml::from_str(text).map_err(no_toml)?;
        let Tables { agent } = toml::from_str(text).map_err(no_toml)?;
        let of_traces = all.iter().filter(|(name, _)| name.get_ref() != AGENT);
        let of_traces = of_traces.map(|setting| (None, setting));
        let of_agent = agent.iter().map(|setting| (Some(AGENT), setting));
        let mut settings = Vec::new();
        for (table, (name, value)) in of_traces.chain(of_agent) {
            let at = name.span().start;
            let name = name.get_ref();
            let mut keys = KEYS.iter().filter(|key| key.table() == table);
            let Some(key) = keys.find(|key| key.flag == name) else {
                let cause = match table {
                    Some(table) => format!("there is no setting `{name}` in [{table}]"),
                    None => format!("there is no setting `{name}`"),
                };
                return Err(wrong(at, &cause, advice(table, name)));
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
                key,
                values,
                line: line(text, at),
            };
            check(&setting).map_err(|cause| {
                let next = format!(
                    "`gotrace {} --help` tells what --{name} takes",
                    key.command()
                );
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
        self.settings.iter().find(|it| std::ptr::eq(it.key, key))
    }

    /// All that it says, in its order.
    pub(crate) fn settings(&self) -> &[Setting] {
        &self.settings
    }
}

/// Settings with where they are.
type Table = BTreeMap<Spanned<String>, Spanned<Value>>;

/// The tables that a file may have.
#[derive(serde::Deserialize)]
struct Tables {
    #[serde(default)]
    agent: Table,
}

/// The line of a position, from 1.
fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// What to do about a name that is none.
fn advice(table: Option<&str>, name: &str) -> String {
    if ["token", "password", "secret", "key"]
        .iter()
        .any(|word| name.contains(word))
    {
        return "a secret has no place here: name a file that has it (`token-file`, `tls-key`)"
            .to_owned();
    }
    // What has the right name in the wrong place comes before what is only like it.
    let likeness = |key: &Key| {
        let here = if key.table() == table { 0.01 } else { 0.0 };
        strsim::jaro(name, key.flag) + here
    };
    let best = KEYS
        .iter()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .filter(|key| likeness(key) >= LIKE);
    match best {
        Some(key) if key.table() != table => match key.table() {
            Some(table) => format!("did you mean `{}` in [{table}]?", key.flag),
            None => format!("did you mean `{}`, which is in no table?", key.flag),
        },
        Some(key) => format!("did you mean `{}`?", key.flag),
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
fn check(setting: &Setting) -> Result<(), String> {
    let key = setting.key;
    let line: &[&str] = match key.command() {
        "agent" => &["gotrace", "agent"],
        _ => &["gotrace", "record", "--pid=1", "--output=x"],
    };
    let mut line: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
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
        (None, None, true) if setting.values.is_empty() => format!("{} is needed", key.flag),
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
                    expose-values = false\nvalues = 3\n[agent]\nlevel = [\"park\", \"api*=full\"]\n";
        let file = parsed(text).expect("it is right");
        let typed: Vec<String> = file.settings().iter().flat_map(Setting::typed).collect();
        assert_eq!(
            typed,
            [
                "--level=park",
                "--on-metric=loss.records>0",
                "--on-metric=goroutines.total>9",
                "--values=3",
                "--level=park",
                "--level=api*=full",
            ]
        );
        let lines: Vec<usize> = file.settings().iter().map(|it| it.line).collect();
        assert_eq!(lines, [2, 4, 5, 6, 8]);
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
            (
                "[agent]\nlevel = \"loud\"\n",
                ["c.toml:2", "`loud`", "gotrace agent --help"],
            ),
            (
                "[agent]\nring = \"1s\"\n",
                ["c.toml:2", "in [agent]", "which is in no table"],
            ),
            (
                "node-budget = 1\n",
                ["c.toml:1", "`node-budget`", "in [agent]?"],
            ),
            ("agent = 1\n", ["c.toml:1", "integer", "next: "]),
        ] {
            let error = parsed(text).expect_err(text);
            for part in parts {
                assert!(error.contains(part), "no {part} in {error} of {text:?}");
            }
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
