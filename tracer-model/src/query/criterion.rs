//! One criterion, and how it is written.

use regex::{Regex, RegexBuilder};

use crate::ids::{ChanAddr, Goid};
use crate::snapshot::State;

/// Which place of a goroutine a pattern is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The innermost frame.
    Current,
    /// The innermost frame of the user's code.
    User,
    /// The `go` statement that created it.
    Go,
    /// The function it began with.
    Start,
    /// Any frame of its stack.
    AnyFrame,
}

/// One thing that a goroutine can be asked.
#[derive(Clone, Debug)]
pub enum Criterion {
    /// Not the runtime's own.
    User,
    /// The runtime's own.
    System,
    /// On a thread: running or in a system call.
    Running,
    /// In this state.
    State(State),
    /// Waiting for a reason whose text contains this.
    Reason(String),
    /// Has a pprof label, with this value if one is given.
    Label {
        /// The label's key.
        key: String,
        /// The label's value.
        value: Option<String>,
    },
    /// A place's function or `file:line` matches.
    Place(Place, Regex),
    /// Waits on this channel, in a select as well.
    Chan(ChanAddr),
    /// Is known to wait for longer than so many nanoseconds.
    WaitingLonger(u64),
    /// Was created by this goroutine.
    CreatedBy(Goid),
    /// Is this one.
    Goid(Goid),
    /// Something that is shown of it has a text in it: its state, wait reason, a label, a frame of its stack
    /// or where it was created.
    Text {
        /// What is looked for, in large or small letters.
        pattern: Regex,
        /// The goroutine that the text is the id of.
        goid: Option<Goid>,
    },
}

/// Why a criterion cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CriterionError(String);

impl std::fmt::Display for CriterionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CriterionError {}

impl Criterion {
    /// How each criterion is written, for help and messages.
    pub const GRAMMAR: &'static str = "user, system, running, state S, reason TEXT, label K[=V], curloc RE, \
        userloc RE, goloc RE, startloc RE, stack RE, chan ADDR, waiting-longer TIME, created-by GOID, goid GOID, text TEXT";

    /// Understands a criterion by its name and argument, e.g. `state` and `waiting`. `time` turns a
    /// length of time as people write it into nanoseconds.
    ///
    /// # Errors
    /// The name is not one of [`Criterion::GRAMMAR`], or its argument does not fit.
    pub fn parse(
        name: &str,
        argument: Option<&str>,
        time: impl Fn(&str) -> Option<u64>,
    ) -> Result<Criterion, CriterionError> {
        let wrong = |expected: &str| {
            let given = argument.unwrap_or("nothing");
            CriterionError(format!("`{name}` takes {expected}, not `{given}`"))
        };
        let place = |place| match argument.map(Regex::new) {
            Some(Ok(pattern)) => Ok(Criterion::Place(place, pattern)),
            _ => Err(wrong("a regular expression")),
        };
        let none = |criterion| {
            if argument.is_none() {
                Ok(criterion)
            } else {
                Err(wrong("no argument"))
            }
        };
        match name {
            "user" => none(Criterion::User),
            "system" => none(Criterion::System),
            "running" => none(Criterion::Running),
            "state" => {
                let state = State::ALL
                    .into_iter()
                    .find(|state| argument == Some(state.name()));
                let names = State::ALL.map(State::name).join(", ");
                state
                    .map(Criterion::State)
                    .ok_or_else(|| wrong(&format!("one of {names}")))
            }
            "reason" => match argument {
                Some(text) if !text.is_empty() => Ok(Criterion::Reason(text.to_owned())),
                _ => Err(wrong(
                    "a part of the runtime's wait reason, such as `chan send`",
                )),
            },
            "label" => match argument.map(|label| {
                label
                    .split_once('=')
                    .map_or((label, None), |(key, value)| (key, Some(value)))
            }) {
                Some((key, value)) if !key.is_empty() => Ok(Criterion::Label {
                    key: key.to_owned(),
                    value: value.map(str::to_owned),
                }),
                _ => Err(wrong("a key, or a key and a value as K=V")),
            },
            "curloc" => place(Place::Current),
            "userloc" => place(Place::User),
            "goloc" => place(Place::Go),
            "startloc" => place(Place::Start),
            "stack" => place(Place::AnyFrame),
            "chan" => {
                let digits = argument.and_then(|text| text.strip_prefix("0x"));
                let address = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                address
                    .map(|address| Criterion::Chan(ChanAddr(address)))
                    .ok_or_else(|| wrong("an address such as 0xc000012345"))
            }
            "waiting-longer" => argument
                .and_then(&time)
                .map(Criterion::WaitingLonger)
                .ok_or_else(|| wrong("a time such as 30s or 5m")),
            "created-by" => {
                let goid = argument.and_then(|text| text.parse().ok());
                goid.map(|goid| Criterion::CreatedBy(Goid(goid)))
                    .ok_or_else(|| wrong("a goroutine's id"))
            }
            "goid" => {
                let goid = argument.and_then(|text| text.parse().ok());
                goid.map(|goid| Criterion::Goid(Goid(goid)))
                    .ok_or_else(|| wrong("a goroutine's id"))
            }
            "text" => {
                let text = argument.filter(|text| !text.is_empty());
                let pattern = text.map(|text| {
                    RegexBuilder::new(&regex::escape(text))
                        .case_insensitive(true)
                        .build()
                });
                match (text, pattern) {
                    (Some(text), Some(Ok(pattern))) => Ok(Criterion::Text {
                        pattern,
                        goid: text.parse().ok().map(Goid),
                    }),
                    _ => Err(wrong("a part of what is shown of a goroutine")),
                }
            }
            _ => Err(CriterionError(format!(
                "`{name}` is no criterion; there are {}",
                Self::GRAMMAR
            ))),
        }
    }
}
