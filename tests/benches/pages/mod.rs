//! The page that holds the numbers: each part of it is written by itself, with its own date.

use std::fs;
use std::path::Path;

/// Puts a part in its place in a page, which has a place for each.
pub(crate) fn put(path: &Path, part: &str, text: &str) {
    let (begin, end) = (
        format!("<!-- {part} -->"),
        format!("<!-- end of {part} -->"),
    );
    let page = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let written = page
        .split_once(&begin)
        .and_then(|(before, rest)| {
            let (_, after) = rest.split_once(&end)?;
            Some(format!("{before}{begin}\n\n{text}\n{end}{after}"))
        })
        .unwrap_or_else(|| panic!("{} has no place for {part}", path.display()));
    fs::write(path, written)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
