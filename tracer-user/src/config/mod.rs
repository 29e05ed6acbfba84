//! Settings of `run`, `record` and `agent` that are not typed: a flag counts before a variable, that before a file, that
//! before the default. The files' values are read as if they were typed, so that a file can say what a flag can.

mod file;
mod keys;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use crate::cli::Cli;
use crate::failure::Failure;

pub(crate) use file::{File, Setting};
pub(crate) use keys::{KEYS, Key};

/// The commands that have settings.
const COMMANDS: [&str; 3] = ["run", "record", "agent"];
/// The file for all users.
const SYSTEM_FILE: &str = "/etc/gotrace/config.toml";
/// A user's own, in the directory that is meant for that.
const USER_FILE: &str = "gotrace/config.toml";

/// What can be typed, with the variables that stand for flags.
pub(crate) fn command() -> Command {
    let mut command = Cli::command();
    for name in COMMANDS {
        command = command.mut_subcommand(name, |mut command| {
            for key in KEYS.iter().filter(|key| key.is_of(name)) {
                command =
                    command.mut_arg(key.id(), |arg| arg.env(key.variable).hide_env_values(true));
            }
            command
        });
    }
    command
}

/// What was typed, completed by the files. A mistake in what was typed ends the program, as does a question for
/// help.
///
/// # Errors
/// A file cannot be used.
pub(crate) fn parse() -> Result<Cli, Failure> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let completed = complete(typed, files)?;
    let matches = command()
        .try_get_matches_from(completed)
        .unwrap_or_else(|error| error.exit());
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// The files that count, the later before the earlier: the one that is named, or those that are there.
///
/// # Errors
/// One cannot be read, or has what it may not have.
pub(crate) fn files(named: Option<PathBuf>) -> Result<Vec<File>, Failure> {
    if let Some(path) = named {
        return Ok(vec![File::read(&path)?]);
    }
    let usual = [Some(PathBuf::from(SYSTEM_FILE)), user_file()];
    usual
        .into_iter()
        .flatten()
        .filter(|path| path.exists())
        .map(|path| File::read(&path))
        .collect()
}

fn user_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let directory = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let directory = directory.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")));
    Some(directory?.join(USER_FILE))
}

/// Adds what files say and nobody typed, nor set a variable for.
fn complete(
    mut typed: Vec<OsString>,
    files: impl FnOnce(Option<PathBuf>) -> Result<Vec<File>, Failure>,
) -> Result<Vec<OsString>, Failure> {
    // What is wrong with it is said when all of it is there.
    let first = command().ignore_errors(true).try_get_matches_from(&typed);
    let Some((command_name, matches)) = first
        .as_ref()
        .ok()
        .and_then(ArgMatches::subcommand)
        .filter(|(name, _)| COMMANDS.contains(name))
    else {
        return Ok(typed);
    };
    let files = files(matches.get_one("config").cloned())?;
    let all = command();
    let Some(command) = all.find_subcommand(command_name) else {
        return Ok(typed);
    };
    let added = KEYS
        .iter()
        .filter(|key| key.is_of(command_name) && !is_given(command, matches, key))
        .filter_map(|key| files.iter().rev().find_map(|file| file.setting(key)))
        .flat_map(Setting::typed);
    // What comes after that is a command's own.
    let end = typed.iter().position(|word| word == "--");
    let end = end.unwrap_or(typed.len());
    let added: Vec<OsString> = added.map(OsString::from).collect();
    typed.splice(end..end, added);
    Ok(typed)
}

/// Whether something was said, by a flag or a variable, that makes a setting of a file void.
fn is_given(command: &Command, matches: &ArgMatches, key: &Key) -> bool {
    let given = |id: &str| {
        let source = matches.try_contains_id(id).ok().filter(|there| *there);
        let source = source.and_then(|_| matches.value_source(id));
        matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    let id = key.id();
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_id() == id.as_str());
    let conflicts = arg.map_or(Vec::new(), |arg| command.get_arg_conflicts_with(arg));
    // Of a trace, a budget is of `--level auto` alone.
    (id == "budget" && !key.is_of("agent") && given("level"))
        || given(&id)
        || conflicts.iter().any(|other| given(other.get_id().as_str()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn completed(line: &str, text: &str) -> String {
        let typed = line.split_whitespace().map(OsString::from).collect();
        let file = File::parse(Path::new("config.toml"), text).expect("it is right");
        let words = complete(typed, |_| Ok(vec![file])).expect("the file is there");
        let words: Vec<String> = words
            .into_iter()
            .map(|word| word.into_string().expect("text"))
            .collect();
        words.join(" ")
    }

    #[test]
    fn files_say_what_nobody_typed() {
        let text = "level = \"full\"\nbudget = 2\nallow-host = [\"a\", \"b\"]\ninsecure-listen = true\nmax-age = \"1h\"\n\
                    [agent]\ndeny = [\"a\", \"b\"]\nbudget = 3\nlevel = \"wake\"";
        for (line, expected) in [
            (
                "gotrace run --pid 1",
                "gotrace run --pid 1 --level=full --budget=2 --allow-host=a --allow-host=b --insecure-listen",
            ),
            (
                "gotrace run --level wake --allow-host c -- ./svc --level",
                "gotrace run --level wake --allow-host c --insecure-listen -- ./svc --level",
            ),
            (
                "gotrace record --pid 1 -o d --ring 60s",
                "gotrace record --pid 1 -o d --ring 60s --level=full --budget=2 --allow-host=a --allow-host=b --insecure-listen",
            ),
            (
                "gotrace record --pid 1 -o d -l park",
                "gotrace record --pid 1 -o d -l park --allow-host=a --allow-host=b --insecure-listen --max-age=1h",
            ),
            ("gotrace goroutines --pid 1", "gotrace goroutines --pid 1"),
            (
                "gotrace agent --level park",
                "gotrace agent --level park --deny=a --deny=b --budget=3",
            ),
        ] {
            assert_eq!(completed(line, text), expected);
        }
    }

    #[test]
    fn every_setting_is_a_flag_with_a_variable() {
        let all = command();
        for key in KEYS.iter() {
            for name in COMMANDS.into_iter().filter(|name| key.is_of(name)) {
                let command = all.find_subcommand(name).expect("it is a command");
                let arg = command
                    .get_arguments()
                    .find(|arg| arg.get_long() == Some(key.flag))
                    .unwrap_or_else(|| panic!("{name} has no --{}", key.flag));
                assert_eq!(arg.get_id().as_str(), key.id());
                let env = arg.get_env().and_then(std::ffi::OsStr::to_str);
                assert_eq!(env, Some(key.variable));
                let variable = key.variable.to_lowercase();
                assert!(variable.ends_with(&key.id()) || variable == "node_name");
            }
        }
    }

    /// A flag of the agent that has no setting would be missed.
    #[test]
    fn every_flag_of_the_agent_can_be_set() {
        let all = command();
        let agent = all.find_subcommand("agent").expect("it is a command");
        for arg in agent.get_arguments() {
            let flag = arg.get_long().expect("it has no other arguments");
            let is_set = KEYS
                .iter()
                .any(|key| key.is_of("agent") && key.flag == flag);
            assert_eq!(is_set, flag != "config", "{flag}");
        }
    }
}
