//! `gotrace config check` and `gotrace config show`.

use std::io::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::Verdict;
use super::oneshot::print_json;
use crate::cli::{ConfigArgs, ConfigCommand, Format};
use crate::config::{self, File, KEYS, Key, Setting};
use crate::text;

/// `gotrace.config/1`.
#[derive(Serialize)]
struct Document {
    schema: &'static str,
    files: Vec<PathBuf>,
    settings: Vec<Holds>,
}

/// What holds of a setting.
#[derive(Serialize)]
struct Holds {
    /// That of its flag, with `agent.` before it if it is the agent's.
    name: String,
    /// As it would be typed; `null` if there is none, or if the program decides.
    value: Option<String>,
    /// `environment`, `file` or `default`.
    source: &'static str,
    /// The variable, or the file with its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

pub(super) fn config(args: ConfigArgs) -> anyhow::Result<Verdict> {
    match args.command {
        ConfigCommand::Check { file } => check(file),
        ConfigCommand::Show { config, format } => show(config, format),
    }
}

/// Reads files; each is checked by that.
fn check(file: Option<PathBuf>) -> anyhow::Result<Verdict> {
    let files = config::files(file)?;
    let mut out = anstream::stdout().lock();
    if files.is_empty() {
        writeln!(out, "there is no file of settings")?;
    }
    for file in &files {
        let path = file.path.display().to_string();
        let settings = text::count(file.settings().len(), "setting");
        writeln!(out, "{}: {settings}, all right", text::safe(&path))?;
    }
    Ok(Verdict::Clean)
}

/// Lists what holds.
fn show(file: Option<PathBuf>, format: Format) -> anyhow::Result<Verdict> {
    let files = config::files(file)?;
    let settings = KEYS.iter().map(|key| holds(key, &files)).collect();
    let document = Document {
        schema: "gotrace.config/1",
        files: files.into_iter().map(|file| file.path).collect(),
        settings,
    };
    if format == Format::Json {
        print_json(&document)?;
        return Ok(Verdict::Clean);
    }
    let mut table = text::table(&["SETTING", "VALUE", "FROM"]);
    for setting in &document.settings {
        let from = setting.from.as_deref().unwrap_or(setting.source);
        table.add_row([
            setting.name.clone(),
            text::safe(setting.value.as_deref().unwrap_or("-")).into_owned(),
            text::safe(from).into_owned(),
        ]);
    }
    writeln!(anstream::stdout().lock(), "{table}")?;
    Ok(Verdict::Clean)
}

fn holds(key: &Key, files: &[File]) -> Holds {
    let name = key.name();
    if let Ok(value) = std::env::var(key.variable) {
        return Holds {
            name,
            value: Some(value),
            source: "environment",
            from: Some(key.variable.to_owned()),
        };
    }
    let of_file = |file: &File| {
        let setting = file.setting(key)?;
        Some(Holds {
            name: name.clone(),
            value: Some(value(setting)),
            source: "file",
            from: Some(format!("{}:{}", file.path.display(), setting.line)),
        })
    };
    files
        .iter()
        .rev()
        .find_map(of_file)
        .unwrap_or_else(|| Holds {
            name: name.clone(),
            value: default(key),
            source: "default",
            from: None,
        })
}

fn value(setting: &Setting) -> String {
    let on = |value: &Option<String>| value.clone().unwrap_or_else(|| "true".to_owned());
    match &*setting.values {
        [] => "false".to_owned(),
        values => values.iter().map(on).collect::<Vec<_>>().join(", "),
    }
}

/// What the parser of flags takes where nothing is said.
fn default(key: &Key) -> Option<String> {
    let command = config::command();
    let command = command.find_subcommand(key.command())?;
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_id() == key.id().as_str())?;
    let values = arg.get_default_values();
    let values: Vec<String> = values
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}
