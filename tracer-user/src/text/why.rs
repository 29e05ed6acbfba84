//! One goroutine's wait, explained: the verdict, the chain to its end or cycle, each link with its
//! evidence, then what was looked at and what is not known.

use std::fmt::Write as _;

use tracer_model::detect::Verdict;
use tracer_model::ids::Goid;

use super::{ALARM, BOLD, DIM, NOTICE, count, elapsed, findings, goids, safe, styled};
use crate::document::Site;
use crate::document::why::{Document, Entry, Holder, On};

/// How many ids a line shows.
const GOIDS: usize = 8;

/// Renders it, with a line break at the end.
pub(crate) fn render(why: &Document<'_>) -> String {
    let mut text = String::new();
    let style = match why.verdict {
        Some(Verdict::Proven) => ALARM,
        Some(_) => NOTICE,
        None => BOLD,
    };
    let stands = match (why.stands, why.verdict) {
        ("stuck", Some(verdict)) => format!("can never run again ({})", verdict.name()),
        ("unknown", _) => "may or may not run again".to_owned(),
        ("system", _) => "is the runtime's own".to_owned(),
        (stands, _) => format!("is {stands}"),
    };
    let finding = why.finding.as_ref().map_or(String::new(), |id| {
        format!("  {}", styled(DIM, format!("part of {id}")))
    });
    let _ = writeln!(
        text,
        "{}{finding}",
        styled(style, format!("goroutine {} {stands}", why.goid))
    );
    for reason in why.reasons {
        let _ = writeln!(text, "  because {}", safe(reason));
    }
    for doubt in why.doubts {
        let _ = writeln!(text, "  {}", styled(NOTICE, format!("but {}", safe(doubt))));
    }
    text.push('\n');

    // The chain, then the cycle that it ends in, without its first one, which ends the chain.
    let told: Vec<Goid> = match why.chain {
        [] => vec![why.goid],
        chain => {
            let rest = why.cycle.iter().skip(1);
            chain.iter().chain(rest).copied().collect()
        }
    };
    for (index, &goid) in told.iter().enumerate() {
        let next = told.get(index + 1).or(why.cycle.first()).copied();
        if let Some(found) = why.goroutines.iter().find(|it| it.goid == goid) {
            entry(&mut text, found, next);
        }
    }
    match (why.cycle, why.chain.last()) {
        ([first, _, ..], _) => {
            let back = format!(
                "and so back to goroutine {first}: a cycle of {}",
                why.cycle.len()
            );
            let _ = writeln!(text, "{}", styled(style, back));
        }
        (_, Some(last)) => {
            let end = format!("and there it ends: nobody is left who could wake goroutine {last}");
            let _ = writeln!(text, "{}", styled(style, end));
        }
        _ => {}
    }
    let others: Vec<&Entry> = why
        .goroutines
        .iter()
        .filter(|entry| !told.contains(&entry.goid))
        .collect();
    if !others.is_empty() {
        let _ = writeln!(text, "\n{}\n", styled(BOLD, "others who could have helped"));
        for other in others {
            entry(&mut text, other, None);
        }
    }
    if why.left_out > 0 {
        let _ = writeln!(text, "and {} more", why.left_out);
    }
    looked_at(&mut text, why);
    text
}

fn entry(text: &mut String, entry: &Entry, next: Option<Goid>) {
    let state = match &entry.wait_reason {
        Some(reason) => format!("{}: {reason}", entry.state),
        None => entry.state.to_string(),
    };
    let since = entry.waiting_seconds.map_or(String::new(), |seconds| {
        format!(", for {} or more", elapsed((seconds * 1e9) as u64))
    });
    let verdict = match (entry.verdict, entry.stands) {
        (Some(verdict), _) => format!("stuck, {}", verdict.name()),
        (None, stands) => stands.to_owned(),
    };
    let _ = writeln!(
        text,
        "{}  {}  {}",
        styled(BOLD, format!("goroutine {}", entry.goid)),
        styled(NOTICE, format!("{state}{since}")),
        styled(DIM, verdict),
    );
    if let Some(site) = &entry.site {
        let _ = writeln!(text, "    at {}", place(site));
    }
    if let Some(site) = &entry.created_at {
        let by = entry
            .created_by
            .map_or(String::new(), |goid| format!(" by goroutine {goid}"));
        let started = format!("started{by} at {}", place(site));
        let _ = writeln!(text, "    {}", styled(DIM, started));
    }
    for on in &entry.waits_on {
        wait(text, on, entry, next);
    }
    text.push('\n');
}

fn wait(text: &mut String, on: &On, entry: &Entry, next: Option<Goid>) {
    let channel = on.channel.as_ref().map_or(String::new(), |channel| {
        let closed = if channel.closed { ", closed" } else { "" };
        let name = match &*channel.elem_type {
            "" => "?".into(),
            name => safe(name),
        };
        format!(" (chan {name}, {}/{}{closed})", channel.len, channel.cap)
    });
    let _ = writeln!(text, "    {}{channel}", findings::waits(&on.object));
    match on.others_total {
        0 => {}
        total => {
            let rest = match total - on.others.len().min(total) {
                0 => String::new(),
                rest => format!(" and {rest} more"),
            };
            let also = format!("also waiting there: {}{rest}", goids(&on.others, GOIDS));
            let _ = writeln!(text, "      {}", styled(DIM, also));
        }
    }
    for holder in &on.held_by {
        held(text, holder, next == Some(holder.goid));
    }
    let nobody = match entry.stands {
        "stuck" => "no other goroutine refers to it",
        _ => "who else refers to it was not seen",
    };
    if on.held_by.is_empty() && on.object.descriptor().is_none() {
        let _ = writeln!(text, "      {}", styled(DIM, nobody));
    }
}

fn held(text: &mut String, holder: &Holder, next: bool) {
    let arrow = if next { "→" } else { "·" };
    let mut line = format!(
        "{arrow} goroutine {} could end that: it holds it",
        holder.goid
    );
    if let Some(site) = &holder.frame {
        let _ = write!(line, " in {}", place(site));
    }
    let _ = writeln!(text, "      {line}");
    let mut way = Vec::new();
    if let Some(slot) = &holder.slot {
        way.push(format!("stack slot {slot}"));
    }
    way.extend(
        holder
            .through
            .iter()
            .map(|object| format!("object {object}")),
    );
    if !way.is_empty() {
        let _ = writeln!(
            text,
            "        {}",
            styled(DIM, format!("by {}", way.join(" → ")))
        );
    }
}

fn looked_at(text: &mut String, why: &Document<'_>) {
    let passes = &why.passes;
    let mut line = format!(
        "looked {} over memory",
        match passes.made {
            1 => "once".to_owned(),
            made => format!("{made} times"),
        }
    );
    if why.verdict.is_some() {
        let _ = write!(line, ", of which the last {} agree", passes.agreeing);
    }
    if let (Some(seconds), Some(unreached)) = (passes.search_seconds, passes.unreached) {
        let _ = write!(
            line,
            "; the last search took {} and left {} unreached",
            elapsed((seconds * 1e9) as u64),
            count(unreached, "goroutine"),
        );
    }
    let _ = writeln!(text, "\n{}", styled(DIM, line));
    if !passes.running.is_empty() {
        let running = format!(
            "not known: what the registers of goroutine {} held, which ran meanwhile",
            goids(&passes.running, GOIDS)
        );
        let _ = writeln!(text, "{}", styled(DIM, running));
    }
    if !passes.ran.is_empty() {
        let ran = format!(
            "not known: what goroutine {} moved, which ran for a moment meanwhile",
            goids(&passes.ran, GOIDS)
        );
        let _ = writeln!(text, "{}", styled(DIM, ran));
    }
    for error in why.errors {
        let _ = writeln!(
            text,
            "{}",
            styled(NOTICE, format!("not read: {}", safe(error)))
        );
    }
}

fn place(site: &Site) -> String {
    format!(
        "{}  {}:{}",
        safe(&site.function),
        safe(&site.file),
        site.line
    )
}
