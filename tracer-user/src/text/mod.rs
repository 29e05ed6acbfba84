//! Output for people: aligned, grouped, coloured on a terminal only.

pub(crate) mod channels;
pub(crate) mod cluster;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod findings;
mod flow;
pub(crate) mod goroutines;
pub(crate) mod graph;
pub(crate) mod leaks;
pub(crate) mod run;
mod safe;
pub(crate) mod why;

use std::fmt::Display;

use anstyle::{AnsiColor, Style};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use tracer_model::ids::Goid;

use crate::document::Site;
pub(crate) use safe::{safe, safe_lines};

/// Headings and names.
pub(crate) const BOLD: Style = Style::new().bold();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What needs a person.
pub(crate) const ALARM: Style = AnsiColor::Red.on_default().bold();
/// What a person should know.
pub(crate) const NOTICE: Style = AnsiColor::Yellow.on_default();

/// `text` in `style`; the stream drops the codes where they don't belong.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Whether standard output shows styles: a terminal does, unless the user says otherwise.
pub(crate) fn stdout_has_styles() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// An empty borderless table with a header.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().copied());
    table
}

/// `main.worker /src/main.go:17`.
pub(crate) fn place(site: &Site) -> String {
    format!(
        "{} {}:{}",
        safe(&site.function),
        safe(&site.file),
        site.line
    )
}

/// `1 goroutine`, `2 goroutines`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{} {noun}s", thousands(number as u64))
    }
}

/// A number with thousands set apart.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time as people read it: three figures and a unit.
pub(crate) fn elapsed(nanos: u64) -> String {
    let seconds = crate::document::seconds(nanos);
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} µs", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", seconds * 1e3),
        1_000_000_000..120_000_000_000 => format!("{seconds:.1} s"),
        120_000_000_000..7_200_000_000_000 => format!(
            "{} min {} s",
            nanos / 60_000_000_000,
            nanos / 1_000_000_000 % 60
        ),
        _ => format!(
            "{} h {} min",
            nanos / 3_600_000_000_000,
            nanos / 60_000_000_000 % 60
        ),
    }
}

/// The first few goroutine ids, and how many there are beside.
pub(crate) fn goids(goids: &[Goid], most: usize) -> String {
    let shown: Vec<String> = goids.iter().take(most).map(Goid::to_string).collect();
    let rest = goids.len() - shown.len();
    if rest == 0 {
        shown.join(", ")
    } else {
        format!("{} and {} more", shown.join(", "), thousands(rest as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
        for (nanos, text) in [
            (7, "7 ns"),
            (1_500, "1.5 µs"),
            (2_340_000, "2.3 ms"),
            (61_000_000_000, "61.0 s"),
            (125_000_000_000, "2 min 5 s"),
            (7_260_000_000_000, "2 h 1 min"),
        ] {
            assert_eq!(elapsed(nanos), text);
        }
        assert_eq!(goids(&[Goid(1), Goid(2)], 3), "1, 2");
        assert_eq!(goids(&[Goid(1), Goid(2), Goid(3)], 2), "1, 2 and 1 more");
        assert_eq!(
            (count(1, "channel"), count(2, "channel")),
            ("1 channel".into(), "2 channels".into())
        );
    }
}
