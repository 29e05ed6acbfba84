//! Encryption at rest: the payload of each block is an age message of its own, so that a file that was
//! cut can be read as far as it goes, like one that is not encrypted.

use std::io::{Read as _, Write as _};
use std::path::Path;

use crate::Error;

/// Who can read what is written.
pub struct Recipients(Vec<age::x25519::Recipient>);

/// What opens encrypted files.
#[derive(Default)]
pub struct Keys(Vec<age::x25519::Identity>);

impl Recipients {
    /// Reads a file with one recipient (`age1…`) a line, as `age-keygen -y` prints them.
    ///
    /// # Errors
    /// It cannot be read, or a line is none.
    pub fn read(path: &Path) -> Result<Recipients, Error> {
        lines(path, |line| line.parse().ok()).map(Recipients)
    }

    pub(crate) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let recipients = self
            .0
            .iter()
            .map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients)
            .map_err(|error| Error::Key(error.to_string()))?;
        let mut sealed = Vec::with_capacity(plain.len() + 512);
        let mut writer = encryptor.wrap_output(&mut sealed).map_err(Error::Io)?;
        writer.write_all(plain).map_err(Error::Io)?;
        writer.finish().map_err(Error::Io)?;
        Ok(sealed)
    }
}

impl Keys {
    /// No key: encrypted files stay closed.
    pub const fn none() -> Keys {
        Keys(Vec::new())
    }

    /// Reads a file with one secret key (`AGE-SECRET-KEY-1…`) a line, as `age-keygen` writes it.
    ///
    /// # Errors
    /// It cannot be read, or a line is none.
    pub fn read(path: &Path) -> Result<Keys, Error> {
        lines(path, |line| line.parse().ok()).map(Keys)
    }

    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        if self.0.is_empty() {
            return Err(Error::Sealed);
        }
        let identities = self.0.iter().map(|identity| identity as &dyn age::Identity);
        let decryptor = age::Decryptor::new(sealed).map_err(|_| Error::WrongKey)?;
        let mut plain = Vec::new();
        decryptor
            .decrypt(identities)
            .map_err(|_| Error::WrongKey)?
            .read_to_end(&mut plain)
            .map_err(Error::Io)?;
        Ok(plain)
    }
}

fn lines<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::Io)?;
    let keys: Option<Vec<T>> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(parse)
        .collect();
    // What is in the file is not repeated: it may be a secret.
    match keys {
        Some(keys) if !keys.is_empty() => Ok(keys),
        _ => Err(Error::Key(
            "a line of it is no key of the kind that is needed here".to_owned(),
        )),
    }
}
