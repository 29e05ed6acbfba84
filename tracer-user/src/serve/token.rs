//! The token by which a caller shows that it may ask.

use std::path::Path;

use subtle::ConstantTimeEq as _;

use crate::failure::Failure;

/// A shorter token could be guessed.
const LEAST: usize = 16;
/// A longer one would not fit into a request's head.
const MOST: usize = 1024;

/// A secret text. It is never shown, so it has no `Debug`.
pub(crate) struct Token(String);

impl Token {
    /// Reads it from a file, in which blanks around it do not count.
    ///
    /// # Errors
    /// The file cannot be read, or what is in it is no token.
    pub(crate) fn read(file: &Path) -> Result<Token, Failure> {
        let failed = || Failure::new(format!("cannot read a token from {}", file.display()));
        let next = "write one into it, for example with `openssl rand -hex 32`";
        let text = std::fs::read_to_string(file).map_err(|error| {
            failed()
                .because(error)
                .next("give a file with one token with --token-file")
        })?;
        let token = text.trim();
        if !(LEAST..=MOST).contains(&token.len()) {
            let cause = format!("it has {} characters, not {LEAST} to {MOST}", token.len());
            return Err(failed().because(cause).next(next));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(failed()
                .because("there is a character in it that a request cannot carry")
                .next(next));
        }
        Ok(Token(token.to_owned()))
    }

    /// Whether this is it. How long that takes says nothing about where they differ.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }

    /// What a caller sends as `Authorization`.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_that_is_long_enough() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("token");
        for (text, ok) in [
            ("0123456789abcdef\n", true),
            ("  0123456789abcdef ", true),
            ("0123456789abcde", false),
            ("0123456789 abcdef", false),
            ("0123456789abcdéf", false),
            ("", false),
        ] {
            std::fs::write(&file, text).expect("the directory is ours");
            assert_eq!(Token::read(&file).is_ok(), ok, "{text:?}");
        }
        std::fs::write(&file, "0123456789abcdef").expect("the directory is ours");
        let token = Token::read(&file).expect("a token");
        assert!(token.is(b"0123456789abcdef"));
        for other in [&b""[..], b"0123456789abcdeF", b"0123456789abcdef0"] {
            assert!(!token.is(other));
        }
    }
}
