//! What a launch configuration says, in the arguments of `attach`.
//!
//! Attributes that Delve has too are named as there. What is not known is left alone: editors put
//! attributes of their own beside. `name` is one of them, so a process is named by `processName`.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use tracer_golang::process::value::Limits;
use tracer_golang::process::{ChannelScope, ReadOptions};
use tracer_model::query::{Criterion, Filter};

use super::protocol::Refusal;
use crate::cli::{MomentArgs, RemoteArgs, SourceArgs};
use crate::listing::criterion;
use crate::record::replay::when;

/// Values of each channel that are read unless the configuration says otherwise.
const VALUES: usize = 64;
/// The most that it can say.
const MOST_VALUES: u64 = 100_000;
/// Frames of each stack likewise.
const FRAMES: usize = 64;
const MOST_FRAMES: u64 = 1024;
/// Goroutines that are listed as threads unless the configuration says otherwise: an editor keeps all.
const THREADS: usize = 100_000;

/// What may be asked of this adapter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    /// Others than who started gotrace may ask: processes alone, no files and no other hosts.
    pub(crate) exposed: bool,
    /// Values are sizes, whatever is asked.
    pub(crate) redact: bool,
}

/// What to attach to and what to show of it.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) source: SourceArgs,
    pub(crate) stop_on_entry: bool,
    /// Which goroutines are listed.
    pub(crate) filter: Filter,
    /// How many at most.
    pub(crate) threads: usize,
    /// Whether each frame also leads to all channels.
    pub(crate) globals: bool,
    /// Whether a snapshot searches for who is stuck.
    pub(crate) findings: bool,
    /// How a snapshot reads memory.
    pub(crate) options: ReadOptions,
    pub(crate) paths: Vec<PathRule>,
}

/// Where the client has files that were compiled elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PathRule {
    /// The client's.
    from: String,
    /// The program's.
    to: String,
}

/// Attributes, taken one by one.
struct Attributes<'a>(&'a Map<String, Json>);

impl Attributes<'_> {
    fn get<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>, Refusal> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| wrong(name, error)),
        }
    }

    /// A number up to `most`, or `default`.
    fn number(&self, name: &str, default: usize, most: u64) -> Result<usize, Refusal> {
        match self.get::<u64>(name)? {
            None => Ok(default),
            Some(number) if number <= most => Ok(usize::try_from(number).unwrap_or(default)),
            Some(number) => Err(wrong(name, format!("{number} is more than {most}"))),
        }
    }

    /// A process id, as a number or, where an editor asked a person, as text.
    fn pid(&self) -> Result<Option<u32>, Refusal> {
        for name in ["processId", "pid"] {
            let pid = match self.0.get(name) {
                None | Some(Json::Null) => continue,
                Some(Json::String(text)) => text.trim().parse().ok(),
                Some(value) => value.as_u64().and_then(|pid| u32::try_from(pid).ok()),
            };
            return match pid {
                // A configuration that nobody has filled in yet.
                None | Some(0) => Err(wrong(name, "it is no process id")),
                pid => Ok(pid),
            };
        }
        Ok(None)
    }
}

fn wrong(name: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(format!(
        "`{name}` of the launch configuration is wrong: {why}"
    ))
}

impl Config {
    /// Understands the arguments of `attach`.
    ///
    /// # Errors
    /// Which attribute is wrong, or what is missing.
    pub(crate) fn parse(arguments: &Json, policy: Policy) -> Result<Config, Refusal> {
        let none = Map::new();
        let given = Attributes(arguments.as_object().unwrap_or(&none));
        let source = source(&given)?;
        let elsewhere = [
            ("from", source.from.is_some()),
            ("url", source.url.is_some()),
        ];
        for (name, is_given) in elsewhere {
            if is_given && policy.exposed {
                let why = "others can reach this gotrace, so it opens processes alone";
                return Err(wrong(name, why));
            }
        }
        let mut filter = match given.get::<String>("goroutineFilters")? {
            Some(text) => filters(&text).map_err(|why| wrong("goroutineFilters", why))?,
            None => Filter::default(),
        };
        let asks_for_system = (filter.with.iter()).any(|it| matches!(it, Criterion::System));
        let hides = given.get("hideSystemGoroutines")?.unwrap_or(true);
        if hides && !asks_for_system {
            filter.without.push(Criterion::System);
        }
        let heap = given.get("heap")?.unwrap_or(false);
        let limits = Limits::default();
        let bytes: Option<u64> = given.get("maxBytes")?;
        let options = ReadOptions {
            max_frames: given.number("stackTraceDepth", FRAMES, MOST_FRAMES)?.max(1),
            values: given.number("values", VALUES, MOST_VALUES)?,
            redact: policy.redact || given.get("redact")?.unwrap_or(false),
            limits: Limits {
                string_bytes: bytes.unwrap_or(limits.string_bytes),
                total_bytes: bytes.unwrap_or(limits.total_bytes),
                ..limits
            },
            channels: match heap {
                true => ChannelScope::Heap,
                false => ChannelScope::Stacks,
            },
            ..ReadOptions::default()
        };
        Ok(Config {
            // Of what was recorded there is nothing but the snapshot.
            stop_on_entry: given.get("stopOnEntry")?.unwrap_or(source.from.is_some()),
            source,
            filter,
            threads: given.number("maxGoroutines", THREADS, u64::MAX)?,
            globals: given.get("showGlobalVariables")?.unwrap_or(true),
            findings: given.get("findings")?.unwrap_or(true),
            options,
            paths: given.get("substitutePath")?.unwrap_or_default(),
        })
    }

    /// A source file as the client has it.
    pub(crate) fn path(&self, compiled: &str) -> String {
        let found = self.paths.iter().find_map(|rule| {
            let rest = compiled.strip_prefix(rule.to.trim_end_matches('/'))?;
            let whole = rest.is_empty() || rest.starts_with('/') || rule.to.is_empty();
            let from = rule.from.trim_end_matches('/');
            whole.then(|| match rest.starts_with('/') || rest.is_empty() {
                true => format!("{from}{rest}"),
                false => format!("{from}/{rest}"),
            })
        });
        found.unwrap_or_else(|| compiled.to_owned())
    }
}

/// Which process, file or other gotrace.
fn source(given: &Attributes<'_>) -> Result<SourceArgs, Refusal> {
    let at = match given.get::<String>("at")? {
        Some(text) => Some(when(&text).map_err(|why| wrong("at", why))?),
        None => None,
    };
    let source = SourceArgs {
        pid: given.pid()?,
        name: given.get("processName")?,
        from: given.get("from")?,
        url: given.get("url")?,
        remote: RemoteArgs {
            token_file: given.get::<PathBuf>("tokenFile")?,
            tls_ca: given.get("tlsCa")?,
        },
        moment: MomentArgs {
            at,
            identity: given.get("identity")?,
        },
    };
    let named = [
        source.pid.is_some(),
        source.name.is_some(),
        source.from.is_some(),
        source.url.is_some(),
    ];
    match named.into_iter().filter(|is_given| *is_given).count() {
        1 => {}
        0 => {
            return Err(Refusal::new(
                "the launch configuration names no process: give `processId`, `processName` (a pattern such as \
                 `api*`), `from` (a recording or a snapshot's file) or `url` (another gotrace)",
            ));
        }
        _ => {
            return Err(Refusal::new(
                "give one of `processId`, `processName`, `from` and `url` in the launch configuration",
            ));
        }
    }
    if source.moment.at.is_some() && source.from.is_none() {
        return Err(wrong("at", "it is about a recording, which `from` names"));
    }
    Ok(source)
}

/// Filters as Delve writes them: `-with CRITERION -without CRITERION …`, also with two dashes.
///
/// # Errors
/// What was expected instead.
pub(crate) fn filters(text: &str) -> Result<Filter, String> {
    let mut filter = Filter::default();
    let mut given: Option<(bool, Vec<&str>)> = None;
    let mut keep = |given: Option<(bool, Vec<&str>)>| -> Result<(), String> {
        if let Some((with, words)) = given {
            let list = if with {
                &mut filter.with
            } else {
                &mut filter.without
            };
            list.push(criterion(&words.join(" "))?);
        }
        Ok(())
    };
    for word in text.split_whitespace() {
        match word {
            "-w" | "-with" | "--with" | "-without" | "--without" => {
                keep(given.replace((!word.ends_with("without"), Vec::new())))?;
            }
            word => match &mut given {
                Some((_, words)) => words.push(word),
                None => {
                    return Err(format!(
                        "`{word}` comes before -with or -without; write it as `-with user -without reason IO wait`"
                    ));
                }
            },
        }
    }
    keep(given)?;
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(arguments: Json) -> Result<Config, Refusal> {
        Config::parse(&arguments, Policy::default())
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (arguments, named) in [
            (json!(null), "names no process"),
            (json!([1]), "names no process"),
            (json!({"name": "the configuration's"}), "names no process"),
            (json!({"processId": 0}), "`processId`"),
            (json!({"processId": "abc"}), "`processId`"),
            (json!({"processId": -1}), "`processId`"),
            (json!({"pid": 99_999_999_999_u64}), "`pid`"),
            (json!({"pid": 1, "processName": "a"}), "give one of"),
            (json!({"pid": 1, "stopOnEntry": "yes"}), "`stopOnEntry`"),
            (
                json!({"pid": 1, "values": 1_000_000_000_000_u64}),
                "`values`",
            ),
            (json!({"pid": 1, "values": -1}), "`values`"),
            (
                json!({"pid": 1, "stackTraceDepth": 5000}),
                "`stackTraceDepth`",
            ),
            (json!({"pid": 1, "at": "-5s"}), "`at`"),
            (json!({"from": "x", "at": "yesterday"}), "`at`"),
            (
                json!({"pid": 1, "substitutePath": [{"from": "a"}]}),
                "`substitutePath`",
            ),
            (
                json!({"pid": 1, "goroutineFilters": "user"}),
                "before -with",
            ),
            (
                json!({"pid": 1, "goroutineFilters": "-with nobody"}),
                "`nobody`",
            ),
            (
                json!({"pid": 1, "goroutineFilters": "-with"}),
                "`goroutineFilters`",
            ),
        ] {
            let refusal = parse(arguments.clone()).unwrap_err();
            assert!(refusal.text().contains(named), "{arguments}: {refusal:?}");
        }
    }

    #[test]
    fn what_editors_add_is_left_alone() {
        let config = parse(json!({
            "type": "gotrace", "request": "attach", "name": "my service", "__sessionId": "1",
            "mode": "local", "processId": "4711", "redact": true, "values": null,
        }))
        .unwrap();
        assert_eq!(config.source.pid, Some(4711));
        assert!(config.source.name.is_none() && !config.stop_on_entry);
        assert!(config.options.redact);
        assert_eq!(config.options.values, VALUES);
    }

    #[test]
    fn where_others_ask_files_stay_closed_and_values_are_sizes() {
        let policy = Policy {
            exposed: true,
            redact: true,
        };
        for arguments in [
            json!({"from": "/etc/shadow"}),
            json!({"url": "http://10.0.0.1", "tokenFile": "/etc/shadow"}),
        ] {
            let refusal = Config::parse(&arguments, policy).unwrap_err();
            assert!(refusal.text().contains("others can reach"), "{refusal:?}");
        }
        let config = Config::parse(&json!({"pid": 1, "redact": false}), policy).unwrap();
        assert!(config.options.redact);
    }

    #[test]
    fn filters_are_written_as_for_delve() {
        for (text, with, without) in [
            ("", 0, 0),
            ("-with user", 1, 0),
            ("-w userloc main\\. -without reason IO wait", 1, 1),
            (
                "--with label tenant=a --with reason chan send --without running",
                2,
                1,
            ),
        ] {
            let filter = filters(text).unwrap();
            assert_eq!(
                (filter.with.len(), filter.without.len()),
                (with, without),
                "{text}"
            );
        }
        assert!(matches!(
            &filters("-without reason chan send").unwrap().without[..],
            [Criterion::Reason(reason)] if reason == "chan send"
        ));
    }

    #[test]
    fn the_runtimes_own_are_hidden_unless_somebody_asks() {
        for (arguments, hidden) in [
            (json!({"pid": 1}), true),
            (json!({"pid": 1, "hideSystemGoroutines": false}), false),
            (json!({"pid": 1, "goroutineFilters": "-with system"}), false),
        ] {
            let config = parse(arguments.clone()).unwrap();
            let hides = matches!(config.filter.without[..], [Criterion::System]);
            assert_eq!(hides, hidden, "{arguments}");
        }
    }

    #[test]
    fn paths_are_those_of_the_client() {
        let config = parse(json!({"pid": 1, "substitutePath": [
            {"from": "/home/me/shop/", "to": "/build/shop"},
            {"from": "/home/me/lib", "to": "example.com/lib"},
        ]}))
        .unwrap();
        for (compiled, path) in [
            ("/build/shop/main.go", "/home/me/shop/main.go"),
            ("/build/shopping/main.go", "/build/shopping/main.go"),
            ("example.com/lib/a.go", "/home/me/lib/a.go"),
            ("/usr/lib/go/proc.go", "/usr/lib/go/proc.go"),
        ] {
            assert_eq!(config.path(compiled), path);
        }
        let all = parse(json!({"pid": 1, "substitutePath": [{"from": "/w", "to": ""}]})).unwrap();
        assert_eq!(all.path("main.go"), "/w/main.go");
    }
}
