//! Go version strings.

use std::fmt;

/// A Go version as the linker wrote it, and what can be told from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GoVersion {
    text: Box<str>,
    major: u16,
    minor: u16,
    patch: Option<u16>,
    plain: bool,
}

impl GoVersion {
    /// Parses `go1.27.3`, `go1.27` (the first release up to Go 1.20), `go1.26.6-X:name` or
    /// `go1.21.13 X:name` (experiments), `go1.27rc1`, `devel go1.28-abcdef Mon …`, and vendors'
    /// suffixes. `None` if there is no `go<major>.<minor>` in it.
    pub fn parse(text: &str) -> Option<GoVersion> {
        let start = text.match_indices("go").map(|(at, _)| at + 2).find(|&at| {
            let rest = &text.as_bytes()[at..];
            rest.first().is_some_and(u8::is_ascii_digit)
        })?;
        let (major, rest) = number(&text[start..])?;
        let (minor, rest) = number(rest.strip_prefix('.')?)?;
        let (patch, rest) = match rest.strip_prefix('.').and_then(number) {
            Some((patch, rest)) => (Some(patch), rest),
            None => (None, rest),
        };
        Some(GoVersion {
            text: text.into(),
            major,
            minor,
            patch,
            plain: start == 2 && rest.is_empty(),
        })
    }

    /// The version string itself, e.g. `go1.27.3`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// 1, so far.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// 27 of `go1.27.3`.
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// 3 of `go1.27.3`; `None` if the string has none (release candidates, development versions).
    pub fn patch(&self) -> Option<u16> {
        self.patch
    }

    /// Whether it is a release as the Go project built it: no experiment, vendor's suffix, release
    /// candidate or development version, all of which may move fields.
    pub fn is_plain_release(&self) -> bool {
        self.plain
    }

    /// Major, minor and patch (0 if there is none), to compare with.
    pub fn number(&self) -> (u16, u16, u16) {
        (self.major, self.minor, self.patch.unwrap_or(0))
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn number(text: &str) -> Option<(u16, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_linkers_write() {
        let cases = [
            ("go1.27.3", (1, 27, Some(3)), true),
            ("go1.19", (1, 19, None), true),
            ("go1.26.6-X:goroutineleakprofile", (1, 26, Some(6)), false),
            ("go1.21.13 X:nocoverageredesign", (1, 21, Some(13)), false),
            ("go1.27rc1", (1, 27, None), false),
            (
                "devel go1.28-0123abc Mon Nov 2 10:00:00 2026 +0000",
                (1, 28, None),
                false,
            ),
            ("go1.25.5 (Red Hat 1.25.5-1.el9)", (1, 25, Some(5)), false),
        ];
        for (text, (major, minor, patch), plain) in cases {
            let version = GoVersion::parse(text).expect(text);
            assert_eq!(
                (version.major(), version.minor(), version.patch()),
                (major, minor, patch),
                "{text}"
            );
            assert_eq!(version.is_plain_release(), plain, "{text}");
            assert_eq!(version.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_version() {
        for text in ["", "go", "go1", "go1.", "gopher", "1.27.3", "go99999.1"] {
            assert_eq!(GoVersion::parse(text), None, "{text}");
        }
    }
}
