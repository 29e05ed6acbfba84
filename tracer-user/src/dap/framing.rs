//! Messages on a stream of bytes: a header with the length, an empty line, JSON of that length.

use std::io::{self, BufRead, Read as _, Write};

/// Bytes of a message at most. What clients send is far smaller: a thousand breakpoints are 50 KiB.
pub(crate) const MOST_BYTES: u64 = 1 << 20;
/// Bytes of a header's line at most.
const MOST_LINE: u64 = 256;
/// Lines of a header at most.
const MOST_LINES: usize = 8;

/// Why no message can be read from a stream any more: where the next one begins is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// A line that is no field of the protocol's header. Neither is any line of an HTTP request, so that
    /// no web page can speak to a debug adapter.
    #[error("`{0}` is no header of the Debug Adapter Protocol, which has `Content-Length: BYTES`")]
    Header(String),
    /// A header that does not end.
    #[error("a header of more than {MOST_LINES} lines")]
    LongHeader,
    /// An empty line without a length before it.
    #[error("a header without Content-Length")]
    NoLength,
    /// A message that nobody needs.
    #[error("a message of {0} bytes, and {MOST_BYTES} are the most")]
    TooLong(u64),
    /// The stream ended where more was announced.
    #[error("the stream ended within a message")]
    Cut,
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The next message's JSON; `None` at the stream's end.
///
/// # Errors
/// The stream failed, or does not speak the protocol.
pub(crate) fn read(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, FrameError> {
    let mut length = None;
    for number in 0..MOST_LINES {
        let mut line = Vec::new();
        input.take(MOST_LINE).read_until(b'\n', &mut line)?;
        match (line.last(), number) {
            (None, 0) => return Ok(None),
            (None, _) => return Err(FrameError::Cut),
            (Some(b'\n'), _) => {}
            _ if (line.len() as u64) < MOST_LINE => return Err(FrameError::Cut),
            _ => {}
        }
        let line = String::from_utf8_lossy(&line);
        let field = line.trim_end_matches(['\r', '\n']);
        if field.is_empty() {
            let length = length.ok_or(FrameError::NoLength)?;
            return body(input, length).map(Some);
        }
        let foreign = || FrameError::Header(field.chars().take(60).collect());
        let (name, value) = field.split_once(':').ok_or_else(foreign)?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().map_err(|_| foreign())?);
        } else if !name.eq_ignore_ascii_case("content-type") {
            return Err(foreign());
        }
    }
    Err(FrameError::LongHeader)
}

fn body(input: &mut impl BufRead, length: u64) -> Result<Vec<u8>, FrameError> {
    if length > MOST_BYTES {
        return Err(FrameError::TooLong(length));
    }
    let mut body = Vec::new();
    input.take(length).read_to_end(&mut body)?;
    match body.len() as u64 == length {
        true => Ok(body),
        false => Err(FrameError::Cut),
    }
}

/// Writes a message at once.
///
/// # Errors
/// The stream failed.
pub(crate) fn write(output: &mut impl Write, json: &[u8]) -> io::Result<()> {
    let mut bytes = format!("Content-Length: {}\r\n\r\n", json.len()).into_bytes();
    bytes.extend_from_slice(json);
    output.write_all(&bytes)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_written() {
        let mut stream = Vec::new();
        for message in ["{}", "", r#"{"text":"größe"}"#] {
            write(&mut stream, message.as_bytes()).unwrap();
        }
        let mut input = &stream[..];
        for message in ["{}", "", r#"{"text":"größe"}"#] {
            let read = read(&mut input).unwrap().unwrap();
            assert_eq!(read, message.as_bytes());
        }
        assert!(read(&mut input).unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_named() {
        let long_line = format!("Content-Length: {}\r\n\r\n{{}}", "0".repeat(1000));
        let many_lines = "Content-Type: a\r\n".repeat(20);
        for (bytes, named) in [
            ("content-length: 2\r\nContent-Type: x\r\n\r\n{}", Ok("{}")),
            // Some clients end lines so.
            ("Content-Length:2\n\n{}", Ok("{}")),
            (
                "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
                Err("`POST / HTTP/1.1`"),
            ),
            (
                "Host: localhost\r\nContent-Length: 2\r\n\r\n{}",
                Err("`Host: localhost`"),
            ),
            ("\0\u{1}\u{2}garbage\n", Err("is no header")),
            ("\r\n\r\n{}", Err("without Content-Length")),
            (
                "Content-Length: two\r\n\r\n{}",
                Err("`Content-Length: two`"),
            ),
            ("Content-Length: -2\r\n\r\n{}", Err("`Content-Length: -2`")),
            (
                "Content-Length: 99999999999\r\n\r\n",
                Err("99999999999 bytes"),
            ),
            ("Content-Length: 1048577\r\n\r\n", Err("1048577 bytes")),
            (
                "Content-Length: 99999999999999999999\r\n\r\n",
                Err("is no header"),
            ),
            (&long_line, Err("is no header")),
            (&many_lines, Err("more than 8 lines")),
            ("Content-Length: 3\r\n\r\n{}", Err("within a message")),
            ("Content-Length: 3", Err("within a message")),
            ("Content-Length: 3\r\n", Err("within a message")),
        ] {
            let result = read(&mut bytes.as_bytes());
            match (result, named) {
                (Ok(Some(read)), Ok(expected)) => {
                    assert_eq!(read, expected.as_bytes(), "{bytes:?}")
                }
                (Err(error), Err(named)) => {
                    assert!(error.to_string().contains(named), "{bytes:?}: {error}");
                }
                (result, expected) => panic!("{bytes:?}: {result:?}, not {expected:?}"),
            }
        }
    }
}
