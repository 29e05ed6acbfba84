//! What `gotrace diff` prints for people.

use std::fmt::Write as _;

use tracer_model::diff::{About, Difference, Place, Profile, Signal};

use super::{ALARM, BOLD, DIM, NOTICE, count, safe, styled, table, thousands};
use crate::document::diff::{Document, Side};

/// The whole of it.
pub(crate) fn render(diff: &Document) -> String {
    let mut text = String::new();
    let mut sides = table(&[
        "SIDE",
        "PROGRAM",
        "AT",
        "GOROUTINES",
        "BLOCKED",
        "STACK",
        "FILL",
        "CREATED",
    ]);
    for side in &diff.sides {
        sides.add_row(row(side));
    }
    let _ = writeln!(text, "{sides}\n");
    differences(&mut text, diff);
    text
}

/// What is different, side by side.
pub(super) fn differences(text: &mut String, diff: &Document) {
    for side in diff.sides.iter().filter(|side| !side.searched) {
        let note = format!("of {} it is not known who is stuck", safe(&side.name));
        let _ = writeln!(text, "{}", styled(NOTICE, note));
    }
    if let [before, after] = &*diff.sides {
        if diff.grown.is_empty() && diff.shrunk.is_empty() {
            text.push_str("No difference that counts.\n");
        }
        for (name, differences, other) in [
            (&after.name, &diff.grown, &before.name),
            (&before.name, &diff.shrunk, &after.name),
        ] {
            if !differences.is_empty() {
                let heading = format!("more in {} than in {}", safe(name), safe(other));
                let _ = writeln!(text, "{}", styled(BOLD, heading));
                list(text, differences);
            }
        }
        return;
    }
    if diff.outliers.is_empty() {
        text.push_str("No side is unlike the others.\n");
    }
    for outlier in &diff.outliers {
        let name = diff.sides.get(outlier.side).map_or("", |side| &side.name);
        let heading = format!("{} is unlike the others", safe(name));
        let _ = writeln!(text, "{}", styled(BOLD, heading));
        list(text, &outlier.differences);
    }
}

fn row(side: &Side) -> Vec<String> {
    let profile = &side.profile;
    let exe = side.target.exe.file_name().unwrap_or_default();
    vec![
        safe(&side.name).into_owned(),
        format!("{} (pid {})", safe(&exe.to_string_lossy()), side.target.pid),
        side.time.clone(),
        thousands(profile.goroutines),
        blocked(profile),
        stack(profile),
        format!("{:.0} %", profile.fill * 100.0),
        profile
            .created_per_second
            .map_or("-".to_owned(), |rate| format!("{rate:.1}/s")),
    ]
}

/// The share of goroutines that only another one can wake.
pub(super) fn blocked(profile: &Profile) -> String {
    let blocked: f64 = profile
        .blocked
        .iter()
        .filter(|(kind, _)| kind.ends_only_by_goroutine())
        // A sum of nothing would be -0.
        .fold(0.0, |all, (_, share)| all + share);
    format!("{:.0} %", blocked * 100.0)
}

/// How deep stacks are, and how different.
pub(super) fn stack(profile: &Profile) -> String {
    format!(
        "{:.1} ± {:.1} frames",
        profile.stack_depth,
        profile.stack_depth_variance.sqrt()
    )
}

fn list(text: &mut String, differences: &[Difference]) {
    for difference in differences {
        let style = match difference.signal {
            Signal::Finding => ALARM,
            Signal::Goroutines | Signal::Growth | Signal::Channels => NOTICE,
            _ => DIM,
        };
        let _ = writeln!(text, "  {}", styled(style, line(difference)));
    }
    text.push('\n');
}

fn line(difference: &Difference) -> String {
    let Difference {
        signal,
        about,
        usual,
        here,
    } = difference;
    let whole = |number: f64| thousands(number.round() as u64);
    let percent = |number: f64| format!("{:.0} %", number * 100.0);
    let from_to =
        |number: &dyn Fn(f64) -> String| format!("{} (else {})", number(*here), number(*usual));
    let many = |what: &str| {
        let number = here.round() as usize;
        format!("{} (else {})", count(number, what), whole(*usual))
    };
    match about {
        About::Problem(problem) => format!(
            "{}: {} stuck at {}",
            problem.kind,
            many("goroutine"),
            places(problem.places.iter())
        ),
        About::Goroutines(kind) => format!(
            "{} at {}, {}, created at {}",
            match signal {
                Signal::Growth => format!(
                    "{} more than before (else {})",
                    count(here.round() as usize, "goroutine"),
                    whole(*usual)
                ),
                _ => many("goroutine"),
            },
            place(&kind.place),
            safe(&kind.doing),
            place(&kind.created_at)
        ),
        About::Channels(kind) => format!(
            "chan {} of capacity {} waited on at {}: {} channels, values or waiters",
            safe(&kind.elem_type),
            kind.cap,
            places(kind.waited_at.iter()),
            from_to(&whole)
        ),
        About::Blocked(kind) => {
            let kind = serde_json::to_value(kind).unwrap_or_default();
            let kind = kind.as_str().unwrap_or_default().to_owned();
            format!("{} of the goroutines wait for a {kind}", from_to(&percent))
        }
        About::All => match signal {
            Signal::Depth => format!(
                "stack depths vary by {} frames",
                from_to(&|number| format!("{number:.1}"))
            ),
            Signal::Stack => format!(
                "stacks have {} frames in the mean",
                from_to(&|number| format!("{number:.1}"))
            ),
            Signal::Rate => format!(
                "{} goroutines created a second",
                from_to(&|number| format!("{number:.1}"))
            ),
            _ => format!("buffers are filled to {}", from_to(&percent)),
        },
    }
}

fn places<'a>(all: impl Iterator<Item = &'a Place>) -> String {
    all.map(place).collect::<Vec<_>>().join(", ")
}

fn place(place: &Place) -> String {
    if place.function.is_empty() {
        return "a place that is not known".to_owned();
    }
    let function = safe(&place.function);
    match &place.line {
        Some((file, line)) => format!(
            "{function} {}:{line}",
            safe(file.rsplit('/').next().unwrap_or(file))
        ),
        None => function.into_owned(),
    }
}
