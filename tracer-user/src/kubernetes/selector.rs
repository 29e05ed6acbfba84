//! A label selector in the words that `kubectl -l` takes: `app=shop,tier in (web,api),!canary`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// Characters of a label's name or value at most, and of the domain before a name.
const MOST_NAME: usize = 63;
const MOST_DOMAIN: usize = 253;

/// What labels must be; an empty one takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: Box<str>,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<Box<str>>),
    /// Or there is no such label.
    NotIn(Vec<Box<str>>),
}

impl LabelSelector {
    /// Whether these labels are such.
    pub(crate) fn matches(&self, labels: &BTreeMap<Box<str>, Box<str>>) -> bool {
        self.0.iter().all(|Requirement { key, test }| {
            let value = labels.get(key);
            match test {
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<LabelSelector, String> {
        if text.trim().is_empty() {
            return Ok(LabelSelector::default());
        }
        let mut parts = Vec::new();
        // A comma between parentheses parts values, not requirements.
        let (mut begin, mut inside) = (0, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'(' => inside = true,
                b')' => inside = false,
                b',' if !inside => {
                    parts.push(&text[begin..at]);
                    begin = at + 1;
                }
                _ => {}
            }
        }
        parts.push(&text[begin..]);
        let requirements = parts.into_iter().map(requirement);
        Ok(LabelSelector(requirements.collect::<Result<_, _>>()?))
    }
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let text = text.trim();
    let is = |key: &str, test| {
        Ok(Requirement {
            key: checked_key(key)?.into(),
            test,
        })
    };
    let one = |value: &str| Ok::<_, String>(vec![checked_value(value)?.into()]);
    if let Some(key) = text.strip_prefix('!') {
        return is(key, Test::Missing);
    }
    if let Some((key, value)) = text.split_once("!=") {
        return is(key, Test::NotIn(one(value)?));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return is(key, Test::In(one(value)?));
    }
    let Some((key, rest)) = text.split_once(char::is_whitespace) else {
        return is(text, Test::Exists);
    };
    let rest = rest.trim_start();
    let word = rest.find(|c: char| c == '(' || c.is_whitespace());
    let (word, list) = rest.split_at(word.unwrap_or(rest.len()));
    let list = list.trim().strip_prefix('(');
    let Some(list) = list.and_then(|list| list.strip_suffix(')')) else {
        return Err(format!("{text:?} is not like `tier in (web,api)`"));
    };
    let values: Result<Vec<Box<str>>, String> = list
        .split(',')
        .map(|value| Ok(checked_value(value)?.into()))
        .collect();
    match word {
        "in" => is(key, Test::In(values?)),
        "notin" => is(key, Test::NotIn(values?)),
        _ => Err(format!("{word:?} is neither `in` nor `notin`")),
    }
}

fn checked_key(key: &str) -> Result<&str, String> {
    let key = key.trim();
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    let domain_fits = domain.is_none_or(|domain| {
        (1..=MOST_DOMAIN).contains(&domain.len()) && is_name(domain) && !domain.contains('_')
    });
    if name.is_empty() || name.len() > MOST_NAME || !is_name(name) || !domain_fits {
        return Err(format!("{key:?} is no name of a label"));
    }
    Ok(key)
}

fn checked_value(value: &str) -> Result<&str, String> {
    let value = value.trim();
    if value.len() > MOST_NAME || !is_name(value) {
        return Err(format!("{value:?} is no value of a label"));
    }
    Ok(value)
}

/// Letters and digits, between them also `-`, `_` and `.`; or nothing.
fn is_name(text: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    is_end(text.bytes().next())
        && is_end(text.bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> BTreeMap<Box<str>, Box<str>> {
        [
            ("app", "shop"),
            ("tier", "web"),
            ("a.io/part-of", "x_1"),
            ("empty", ""),
        ]
        .map(|(key, value)| (key.into(), value.into()))
        .into()
    }

    #[test]
    fn it_means_what_kubectl_means() {
        for (selector, expected) in [
            ("", true),
            ("app=shop", true),
            ("app==shop", true),
            (" app = shop , tier = web ", true),
            ("app=shop,tier=db", false),
            ("app!=shop", false),
            ("zone!=a", true),
            ("tier in (web,api)", true),
            ("tier in(db, web )", true),
            ("tier in (db),app", false),
            ("tier notin (db,api)", true),
            ("zone notin (a)", true),
            ("tier notin (web)", false),
            ("app", true),
            ("zone", false),
            ("!zone", true),
            ("! app", false),
            ("a.io/part-of=x_1,!zone,tier in (web)", true),
            ("empty=", true),
            ("empty in ()", true),
            ("app=", false),
            ("in in (in)", false),
        ] {
            let parsed: LabelSelector = selector.parse().expect(selector);
            assert_eq!(parsed.matches(&labels()), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for selector in [
            "=x",
            "app=shop,",
            ",",
            "!",
            "app=sh op",
            "tier in",
            "tier in web",
            "tier in (web",
            "tier of (web)",
            "tier (web)",
            "size>3",
            "a/b/c",
            "/x",
            "app=-x",
            "-app",
            "app=a(b",
            "app=\u{e9}",
            "a_b/c",
        ] {
            let parsed: Result<LabelSelector, String> = selector.parse();
            assert!(parsed.is_err(), "{selector}: {parsed:?}");
        }
        assert!(
            format!("app={}", "x".repeat(64))
                .parse::<LabelSelector>()
                .is_err()
        );
    }
}
