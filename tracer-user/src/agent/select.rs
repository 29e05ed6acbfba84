//! Which processes are to be followed, by name.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::failure::Failure;

/// Patterns of names.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// Those that are wanted; `None`: all.
    wanted: Option<GlobSet>,
    denied: GlobSet,
}

impl Selection {
    /// Follows what matches one of `names` (all, if there is none) and none of `denied`.
    ///
    /// # Errors
    /// One is no pattern.
    pub(crate) fn new(names: &[String], denied: &[String]) -> Result<Selection, Failure> {
        let wanted = (!names.is_empty()).then(|| globs(names)).transpose()?;
        Ok(Selection {
            wanted,
            denied: globs(denied)?,
        })
    }

    /// Whether names matter at all.
    pub(super) fn is_by_name(&self) -> bool {
        self.wanted.is_some() || !self.denied.is_empty()
    }

    /// Whether a process is wanted that goes by these names.
    pub(super) fn takes(&self, names: &[&str]) -> bool {
        let matches = |globs: &GlobSet| names.iter().any(|name| globs.is_match(name));
        self.wanted.as_ref().is_none_or(matches) && !matches(&self.denied)
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let mut globs = GlobSetBuilder::new();
    let wrong = |pattern: &str, error: globset::Error| {
        Failure::new(format!("`{pattern}` is not a pattern"))
            .because(error)
            .next("use a glob such as `api*`")
    };
    for pattern in patterns {
        globs.add(Glob::new(pattern).map_err(|error| wrong(pattern, error))?);
    }
    globs
        .build()
        .map_err(|error| wrong(&patterns.join(" "), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_name_wins() {
        let list = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        for (wanted, denied, names, taken) in [
            (&[][..], &[][..], &["api"][..], true),
            (&["api*"], &[], &["api-server"], true),
            (&["api*"], &[], &["cart", "api"], true),
            (&["api*"], &[], &["cart"], false),
            (&[], &["kube*"], &["kubelet"], false),
            (&["kubelet"], &["kube*"], &["kubelet"], false),
            (&[], &["kube*"], &["cart"], true),
        ] {
            let selection = Selection::new(&list(wanted), &list(denied)).expect("patterns");
            assert_eq!(
                selection.takes(names),
                taken,
                "{wanted:?} {denied:?} {names:?}"
            );
        }
        assert!(Selection::new(&list(&["a["]), &[]).is_err());
    }
}
