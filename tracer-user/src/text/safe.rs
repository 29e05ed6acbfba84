//! Foreign text on its way to a terminal.
//!
//! Labels, names of functions, types, files and sockets, and values come from the target or from a
//! file. In a terminal a control character in them could move the cursor, rewrite what was shown, set
//! the clipboard or the title; a bidirectional override could show a name as another one.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with everything escaped, as Rust writes it, that a terminal would not simply show. What is
/// harmless stays as it is, backslashes included: the result is for eyes, not to be parsed.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe)
}

/// The same for a text of several lines: line breaks stay.
pub(crate) fn safe_lines(text: &str) -> Cow<'_, str> {
    escape(text, |character| character != '\n' && is_unsafe(character))
}

fn escape(text: &str, is_unsafe: impl Fn(char) -> bool) -> Cow<'_, str> {
    let Some(first) = text.find(&is_unsafe) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut escaped = String::with_capacity(text.len() + 16);
    escaped.push_str(clean);
    for character in rest.chars() {
        if is_unsafe(character) {
            match character {
                '\n' | '\r' | '\t' => escaped.extend(character.escape_default()),
                // Writing to a string does not fail.
                _ => drop(write!(escaped, "{}", character.escape_unicode())),
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and what is not seen but changes
/// how the rest is shown: marks, embeddings, overrides and isolates of direction, zero-width
/// characters, language tags.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        for (text, expected) in [
            ("main.(*pool).run", "main.(*pool).run"),
            ("größe 大きさ 🦀", "größe 大きさ 🦀"),
            (r"C:\temp", r"C:\temp"),
            ("\x1b[2J\x1b]0;title\x07", r"\u{1b}[2J\u{1b}]0;title\u{7}"),
            ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
            // C1 controls are the same as escape sequences in some terminals.
            ("\u{9b}31m", r"\u{9b}31m"),
            ("del\u{7f}\u{0}", r"del\u{7f}\u{0}"),
            ("user\u{202e}nimda", r"user\u{202e}nimda"),
            ("a\u{2028}b\u{200b}c", r"a\u{2028}b\u{200b}c"),
        ] {
            assert_eq!(safe(text), expected, "{text:?}");
        }
        assert_eq!(safe_lines("one\ntwo\x1b"), "one\ntwo\\u{1b}");
    }

    #[test]
    fn nothing_is_copied_without_need() {
        assert!(matches!(safe("main.main"), Cow::Borrowed("main.main")));
    }
}
