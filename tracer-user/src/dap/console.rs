//! What can be typed into the debug console: words of gotrace's own command line, no Go expressions.

use tracer_model::ids::{ChanAddr, Goid};
use tracer_model::query::{Filter, GroupBy};
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Symbolizer;

use super::config::filters;
use super::protocol::Refusal;
use crate::document::findings::Entry;
use crate::document::leaks;
use crate::listing;
use crate::text;
use tracer_model::detect::Finding;

/// Groups, goroutines or channels in one answer.
const MOST: usize = 100;
/// Frames of each stack in one answer.
const FRAMES: usize = 32;

/// What can be asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Question<'a> {
    Help,
    /// Goroutines in groups of the same stack, with filters.
    Goroutines(&'a str),
    Goroutine(Goid),
    Channels,
    Channel(ChanAddr),
    Deadlocks,
    Leaks,
    Why(Goid),
}

/// The first words, for completion and help.
pub(crate) const WORDS: &[(&str, &str)] = &[
    (
        "goroutines",
        "goroutines by stack; `goroutines -with userloc main -without running` chooses",
    ),
    (
        "goroutine",
        "goroutine GOID: one with its stack and what it waits on",
    ),
    ("channels", "the channels, the fullest first"),
    (
        "channel",
        "channel 0xADDR: one as a picture, its values in the order of receipt",
    ),
    (
        "deadlocks",
        "who can never run again, with the chain and the evidence",
    ),
    ("leaks", "the same by where they are stuck"),
    (
        "why",
        "why GOID: what it waits on, who could end that, why they do not; looks anew",
    ),
    ("help", "this"),
];

impl<'a> Question<'a> {
    /// Understands what was typed.
    ///
    /// # Errors
    /// It is nothing that can be asked; what can.
    pub(crate) fn parse(text: &'a str) -> Result<Question<'a>, Refusal> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let goid = || {
            let goid = rest.parse().map(Goid);
            goid.map_err(|_| {
                Refusal::new(format!(
                    "`{word}` takes a goroutine's id, such as `{word} 17`"
                ))
            })
        };
        let alone = |question| match rest {
            "" => Ok(question),
            _ => Err(Refusal::new(format!("`{word}` takes nothing more"))),
        };
        match word {
            "help" | "?" | "" => Ok(Question::Help),
            "goroutines" | "grs" => Ok(Question::Goroutines(rest)),
            "goroutine" | "gr" | "stack" | "bt" => goid().map(Question::Goroutine),
            "channels" | "chans" => alone(Question::Channels),
            "channel" | "chan" => {
                let digits = rest.strip_prefix("0x").unwrap_or(rest);
                let address = u64::from_str_radix(digits, 16).map(ChanAddr);
                address.map(Question::Channel).map_err(|_| {
                    Refusal::new(format!(
                        "`{word}` takes an address, such as `{word} 0xc000012345`"
                    ))
                })
            }
            "deadlocks" => alone(Question::Deadlocks),
            "leaks" => alone(Question::Leaks),
            "why" => goid().map(Question::Why),
            _ => Err(Refusal::new(format!(
                "`{word}` is nothing that gotrace can be asked: it evaluates no Go expressions and calls nothing in the \
                 program, which runs on. There are {}; `help` says more",
                WORDS
                    .iter()
                    .map(|(word, _)| *word)
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }
}

/// What can be asked, for people.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "The program runs on; what is shown is the last snapshot, or without one how everything is now.\n",
    );
    for (word, what) in WORDS {
        text.push_str(&format!("  {word:<12}{what}\n"));
    }
    text
}

/// Goroutines in groups.
pub(crate) fn goroutines(
    snapshot: &Snapshot,
    filter: &Filter,
    more: &str,
    symbols: &dyn Symbolizer,
) -> Result<String, Refusal> {
    let more = filters(more).map_err(Refusal::new)?;
    let both = Filter {
        with: [&filter.with[..], &more.with].concat(),
        without: [&filter.without[..], &more.without].concat(),
    };
    let chosen = listing::choose(snapshot, &both, symbols);
    if chosen.is_empty() {
        return Ok("no goroutine is so\n".to_owned());
    }
    Ok(rendered(snapshot, symbols, |list, out| {
        list.grouped(&chosen, &GroupBy::Stack, out)
    }))
}

/// One goroutine.
pub(crate) fn goroutine(
    snapshot: &Snapshot,
    goid: Goid,
    symbols: &dyn Symbolizer,
) -> Result<String, Refusal> {
    let mut all = snapshot.goroutines.iter();
    let Some(at) = all.position(|goroutine| goroutine.goid == goid) else {
        return Err(Refusal::new(format!(
            "there is no goroutine {goid} in what was read"
        )));
    };
    let mut text = rendered(snapshot, symbols, |list, out| list.each(&[at], out));
    for line in text::goroutines::waits_on(&snapshot.goroutines[at], snapshot) {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// What a list of goroutines writes.
fn rendered(
    snapshot: &Snapshot,
    symbols: &dyn Symbolizer,
    write: impl FnOnce(&text::goroutines::List<'_>, &mut Vec<u8>) -> std::io::Result<()>,
) -> String {
    let list = text::goroutines::List {
        snapshot,
        symbols,
        depth: FRAMES,
        limit: MOST,
        styles: true,
    };
    let mut out = Vec::new();
    // Memory takes all that is written.
    let _ = write(&list, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// All channels as a table.
pub(crate) fn channels(snapshot: &Snapshot) -> String {
    let all = snapshot.channels.len();
    if all == 0 {
        return "no goroutine waits on a channel or holds one\n".to_owned();
    }
    let shown = Snapshot {
        channels: snapshot.channels.iter().take(MOST).cloned().collect(),
        ..Snapshot::default()
    };
    let mut text = text::channels::render(&shown);
    if all > MOST {
        text.push_str(&format!("and {} more\n", all - MOST));
    }
    text
}

/// One channel as a picture.
pub(crate) fn channel(
    snapshot: &Snapshot,
    address: ChanAddr,
    symbols: &dyn Symbolizer,
) -> Result<String, Refusal> {
    let mut all = snapshot.channels.iter();
    match all.find(|channel| channel.addr == address) {
        Some(channel) => Ok(text::channels::picture(channel, snapshot, symbols)),
        None => Err(Refusal::new(format!(
            "there is no channel {address} in what was read: nobody waits on it or holds it (`\"heap\": true` in the launch \
             configuration reads all others too)"
        ))),
    }
}

/// Findings, with the places of those that are stuck if `by_place`.
pub(crate) fn findings(
    findings: &[Finding],
    by_place: Option<&Snapshot>,
    symbols: &dyn Symbolizer,
) -> String {
    if findings.is_empty() {
        return "No goroutine is deadlocked or leaked, as far as memory tells.\n".to_owned();
    }
    let mut text = String::new();
    if let Some(snapshot) = by_place {
        let places = leaks::places(findings, snapshot, symbols);
        text.push_str(&format!("{}\n", text::leaks::places(&places)));
    }
    for finding in findings.iter().take(MOST) {
        text.push_str(&text::findings::render(&Entry::new(finding, symbols)));
        text.push('\n');
    }
    if findings.len() > MOST {
        text.push_str(&format!("and {} more\n", findings.len() - MOST));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood() {
        for (text, question) in [
            ("", Question::Help),
            (
                " goroutines  -with user ",
                Question::Goroutines("-with user"),
            ),
            ("bt 7", Question::Goroutine(Goid(7))),
            (
                "channel 0xc000012345",
                Question::Channel(ChanAddr(0xc0_0001_2345)),
            ),
            (
                "chan c000012345",
                Question::Channel(ChanAddr(0xc0_0001_2345)),
            ),
            ("why 17", Question::Why(Goid(17))),
            ("leaks", Question::Leaks),
        ] {
            assert_eq!(Question::parse(text).unwrap(), question, "{text}");
        }
        for (text, named) in [
            ("call main.f()", "evaluates no Go expressions"),
            ("x = 1", "evaluates no Go expressions"),
            ("why", "a goroutine's id"),
            ("why me", "a goroutine's id"),
            ("channel main.queue", "an address"),
            ("deadlocks now", "nothing more"),
        ] {
            let refusal = Question::parse(text).unwrap_err();
            assert!(refusal.text().contains(named), "{text}: {refusal:?}");
        }
        for (word, _) in WORDS {
            assert!(help().contains(word), "{word}");
        }
    }
}
