//! `gotrace replay FILE`.

use std::io::Write as _;

use tracer_model::ids::Ktime;

use super::Verdict;
use super::oneshot::print_json;
use super::screen::{Screen, Voice};
use crate::cli::{Format, ReplayArgs};
use crate::document::events::{self, Event};
use crate::document::moment::Moment;
use crate::failure::Failure;
use crate::record::replay::{Heard, Replay, Window};
use crate::text;
use crate::trace::story::Output;

/// How many of the last events before a moment are shown.
const LAST: usize = 20;

/// Tells a recording again.
pub(super) fn replay(args: &ReplayArgs) -> anyhow::Result<Verdict> {
    let mut replay = Replay::open(&args.file, args.identity.as_deref())?;
    let time = |when| match when {
        Some(when) => replay.moment(when).map(Some),
        None => Ok(None),
    };
    let at = time(args.at)?;
    let window = Window {
        from: time(args.from_time)?,
        to: time(args.to_time)?,
    };
    match at {
        Some(at) => moment(&mut replay, at, args),
        None if args.events => list(&mut replay, window, args),
        None => again(&mut replay, window, args.format),
    }
}

/// What `gotrace run` said.
fn again(replay: &mut Replay, window: Window, format: Format) -> anyhow::Result<Verdict> {
    let Some(attached) = replay.attached().cloned() else {
        return Err(
            Failure::new("this is a snapshot: there is nothing to replay")
                .next("look at it with `gotrace goroutines --from FILE` and the like")
                .into(),
        );
    };
    let mut screen = Screen::new(format, Voice::Full);
    screen.attached(&attached)?;
    let mut verdict = Verdict::Clean;
    replay.tell(window, &mut |heard| {
        if let Heard::Said(output) = heard {
            screen.show(&output)?;
            if let Output::Report(report) = output {
                verdict = Verdict::of_report(&report);
            }
        }
        Ok(())
    })?;
    Ok(verdict)
}

/// Every event, in order.
fn list(replay: &mut Replay, window: Window, args: &ReplayArgs) -> anyhow::Result<Verdict> {
    let (symbols, clock) = (replay.symbols(), replay.clock);
    let chosen = args.events_of.chosen();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    replay.tell(window, &mut |heard| {
        match heard {
            Heard::Event(event) if chosen.keep(event) => {
                let event = Event::new(event, &*symbols, clock);
                match args.format {
                    Format::Json => {
                        serde_json::to_writer(&mut out, &events::Line::Event(&event).stamped())
                            .map_err(std::io::Error::from)?;
                        writeln!(out)?;
                    }
                    Format::Text => writeln!(out, "{}", text::events::line(&event))?,
                }
            }
            Heard::Event(_) => {}
            // Where something is missing, and what was found when, belongs among the events.
            Heard::Said(output) => match (args.format, output) {
                (Format::Text, Output::Warning(message)) => {
                    writeln!(out, "-- {}", text::safe(&message))?;
                }
                (Format::Text, Output::Finding(finding)) => {
                    writeln!(out, "-- {}", text::events::finding(&finding))?;
                }
                (Format::Json, Output::Warning(message)) => {
                    let line = events::Line::Warning { message: &message };
                    serde_json::to_writer(&mut out, &line.stamped())
                        .map_err(std::io::Error::from)?;
                    writeln!(out)?;
                }
                _ => {}
            },
        }
        Ok(())
    })?;
    out.flush()?;
    Ok(Verdict::Clean)
}

/// How everything was at a moment, and what came just before.
fn moment(replay: &mut Replay, at: Ktime, args: &ReplayArgs) -> anyhow::Result<Verdict> {
    let target = replay.target().clone();
    let (symbols, clock) = (replay.symbols(), replay.clock);
    let chosen = args.events_of.chosen();
    let mut last = std::collections::VecDeque::new();
    let story = replay.story_at(at, |_| true, &mut |heard| {
        if let Heard::Event(event) = heard
            && chosen.keep(event)
        {
            if last.len() == LAST {
                last.pop_front();
            }
            last.push_back(event.clone());
        }
        Ok(())
    })?;
    let last: Vec<Event> = last
        .iter()
        .map(|event| Event::new(event, &*symbols, clock))
        .collect();
    let moment = Moment::new(&target, clock.rfc3339(at), story.state(at), last);
    match args.format {
        Format::Json => print_json(&moment)?,
        Format::Text => {
            write!(
                anstream::stdout().lock(),
                "{}",
                text::events::moment(&moment)
            )?;
        }
    }
    Ok(Verdict::Clean)
}
