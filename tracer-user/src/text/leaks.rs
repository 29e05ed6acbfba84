//! Where goroutines are stuck, as a table, and how a command went.

use super::{ALARM, DIM, NOTICE, count, elapsed, goids, safe, styled, table, thousands};
use crate::document::Site;
use crate::document::leaks::{Command, Place};
use tracer_model::detect::Verdict;

/// How many ids a row shows.
const GOIDS: usize = 4;

/// A row for each place.
pub(crate) fn places(places: &[Place]) -> String {
    let mut table = table(&["STUCK", "VERDICT", "IN", "AT", "STARTED AT", "GOID"]);
    for place in places {
        table.add_row([
            thousands(place.count as u64),
            place.verdict.name().to_owned(),
            place.wait_reason.clone(),
            place.site.as_ref().map_or("?".to_owned(), at),
            place.created_at.as_ref().map_or("-".to_owned(), at),
            goids(&place.goroutines, GOIDS),
        ]);
    }
    format!("{table}\n")
}

fn at(site: &Site) -> String {
    let file = site.file.rsplit('/').next().unwrap_or(&site.file);
    format!("{} {}:{}", safe(&site.function), safe(file), site.line)
}

/// How a command went, and what that means for the findings.
pub(crate) fn command(command: &Command) -> String {
    let how = match (command.exit_code, command.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an end that is not known".to_owned(),
    };
    let nanos = |seconds: f64| (seconds * 1e9) as u64;
    let mut text = format!(
        "{} ran for {}, {how} ({}); {}",
        safe(&command.command.join(" ")),
        elapsed(nanos(command.seconds)),
        command.ended,
        count(
            usize::try_from(command.looks).unwrap_or(usize::MAX),
            "complete look"
        ),
    );
    if let Some(unseen) = command.unseen_seconds {
        text.push_str(&format!(
            ", the last one {} before the end",
            elapsed(nanos(unseen))
        ));
    }
    text.push('\n');
    if command.looks < 2 {
        let note = "too few looks to prove anything: the command has to live longer, or take a shorter --interval";
        text.push_str(&format!("{}\n", styled(NOTICE, note)));
    }
    text
}

/// The last line: whether this is a failure, and why.
pub(crate) fn outcome(failed: bool, fail_on: Verdict) -> String {
    match failed {
        true => styled(
            ALARM,
            format!(
                "FAIL: there are findings that are {} or surer",
                fail_on.name()
            ),
        ),
        false => styled(DIM, format!("no finding is {} or surer", fail_on.name())),
    }
}
