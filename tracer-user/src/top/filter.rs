//! What is typed after `/`: words that all must be there, in any case; with `!` before one it must not be.

/// A filter as it is typed, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl Filter {
    /// Reads what was typed.
    pub(super) fn new(typed: &str) -> Filter {
        let mut filter = Filter::default();
        for word in typed.split_whitespace() {
            match word.strip_prefix('!') {
                // So far it is only the beginning of a word.
                Some("") => {}
                Some(word) => filter.unwanted.push(word.to_lowercase()),
                None => filter.wanted.push(word.to_lowercase()),
            }
        }
        filter
    }

    /// Whether it keeps everything.
    pub(super) const fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.unwanted.is_empty()
    }

    /// Whether it keeps what has words: `has` is asked for each.
    pub(super) fn keeps(&self, mut has: impl FnMut(&str) -> bool) -> bool {
        self.wanted.iter().all(|word| has(word)) && !self.unwanted.iter().any(|word| has(word))
    }

    /// Whether it keeps what these texts in lower case say.
    pub(super) fn keeps_texts(&self, texts: &[&str]) -> bool {
        self.keeps(|word| texts.iter().any(|text| text.contains(word)))
    }

    /// All its words.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let words = self.wanted.iter().chain(&self.unwanted);
        words.map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wanted_or_not() {
        let texts = ["chan send", "main.(*pool).run  pool.go:47"];
        for (typed, keeps) in [
            ("", true),
            ("SEND", true),
            ("send pool.go", true),
            ("send receive", false),
            ("!receive", true),
            ("!send", false),
            ("pool !", true),
            ("pool !pool.go:47", false),
        ] {
            assert_eq!(Filter::new(typed).keeps_texts(&texts), keeps, "{typed}");
        }
        assert!(Filter::new(" ! ").is_empty());
    }
}
