//! The notes of a release: what the changelog says of it.

use anyhow::{Result, ensure};

/// The section of a version, else the one of what was not released yet.
///
/// # Errors
/// There is neither.
pub(super) fn of(changelog: &str, version: &str) -> Result<String> {
    let section = section(changelog, version).or_else(|| section(changelog, "Unreleased"));
    let text = section.unwrap_or_default();
    ensure!(
        !text.is_empty(),
        "CHANGELOG.md has no section of {version} and none of what is unreleased"
    );
    Ok(format!("# gotrace {version}\n\n{text}\n"))
}

/// What stands below a heading such as `## 1.2.0` or `## [1.2.0] - 2030-01-01`, up to the next.
fn section<'a>(changelog: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = changelog;
    while let Some(at) = find_heading(rest) {
        let (heading, below) = rest[at..].split_once('\n').unwrap_or((&rest[at..], ""));
        let title = heading.trim_start_matches("## ").trim_start_matches('[');
        let end = find_heading(below).unwrap_or(below.len());
        let is_it = title
            .strip_prefix(name)
            .is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '.'));
        if is_it {
            return Some(below[..end].trim());
        }
        rest = below;
    }
    None
}

/// Where the next heading of a version begins.
fn find_heading(text: &str) -> Option<usize> {
    const HEADING: &str = "## ";
    if text.starts_with(HEADING) {
        return Some(0);
    }
    text.find("\n## ").map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::of;

    const CHANGELOG: &str = "# Changelog\n\nWords.\n\n## Unreleased\n\n### Added\n\n- next\n\n\
                             ## [1.2.0] - 2030-01-01\n\n### Fixed\n\n- new\n\n## 1.2.0-rc1\n\n- rc\n\n## 1.1.0\n\n- old\n";

    #[test]
    fn a_version_has_its_own_section() {
        for (version, text) in [
            ("1.2.0", "### Fixed\n\n- new"),
            ("1.2.0-rc1", "- rc"),
            ("1.1.0", "- old"),
            ("1.1", "### Added\n\n- next"),
            ("2.0.0", "### Added\n\n- next"),
        ] {
            let notes = of(CHANGELOG, version).expect("there is a section");
            assert_eq!(notes, format!("# gotrace {version}\n\n{text}\n"));
        }
        assert!(of("# Changelog\n", "1.0.0").is_err());
    }
}
