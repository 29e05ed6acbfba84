//! Which processes are traced with probes, and how closely, by their names: what the operator chose.

use std::str::FromStr;

use clap::ValueEnum as _;
use globset::{Glob, GlobMatcher};

use crate::cli::Level;

/// One choice: `LEVEL` for all processes, `GLOB=LEVEL` for those whose name matches.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// `None`: all.
    names: Option<GlobMatcher>,
    level: Level,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        // A name can have the sign in it, a level cannot.
        let (names, level) = match text.rsplit_once('=') {
            Some((names, level)) => (Some(names), level),
            None => (None, text),
        };
        let level = Level::from_str(level, false).map_err(|_| {
            let levels = Level::value_variants().iter().map(|level| level.name());
            let levels = levels.collect::<Vec<_>>().join(", ");
            format!("`{level}` is no level; there are {levels}")
        })?;
        let names = names
            .map(|names| Glob::new(names).map(|glob| glob.compile_matcher()))
            .transpose()
            .map_err(|error| error.to_string())?;
        Ok(Rule { names, level })
    }
}

/// All choices; a later one comes before an earlier one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels(pub(crate) Vec<Rule>);

impl Levels {
    /// The level of a process that goes by these names, if one was chosen.
    pub(super) fn of(&self, names: &[&str]) -> Option<Level> {
        let matches = |rule: &&Rule| {
            let globs = rule.names.as_ref();
            globs.is_none_or(|glob| names.iter().any(|name| glob.is_match(name)))
        };
        self.0.iter().rfind(matches).map(|rule| rule.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_choice_that_matches_counts() {
        for (rules, names, expected) in [
            (&[][..], &["api"][..], None),
            (&["park"], &["api"], Some(Level::Park)),
            (&["api*=full"], &["cart", "api-server"], Some(Level::Full)),
            (&["api*=full"], &["cart"], None),
            (&["park", "api*=auto"], &["api"], Some(Level::Auto)),
            (&["api*=auto", "park"], &["api"], Some(Level::Park)),
            (&["park", "api=observe"], &["api"], Some(Level::Observe)),
            (&["a=b=wake"], &["a=b"], Some(Level::Wake)),
        ] {
            let parsed = rules.iter().map(|rule| rule.parse().expect("a rule"));
            let levels = Levels(parsed.collect());
            assert_eq!(levels.of(names), expected, "{rules:?} {names:?}");
        }
        for wrong in ["api", "api=loud", "a[=park", ""] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}
