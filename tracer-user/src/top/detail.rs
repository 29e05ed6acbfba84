//! A closer look at one goroutine, channel or finding, as lines. They are made when something changes, and are
//! few: of long queues and stacks only the beginning is told, and how much is left out.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tracer_model::ids::{ChanAddr, Goid};
use tracer_model::snapshot::{Channel, Goroutine, Waiter};
use tracer_model::wait::WaitObject;

use super::lists::{channel_state, per_mille};
use super::look::{Look, place_of};
use super::state::Ask;
use super::theme::Theme;
use crate::document::channels::value;
use crate::document::run;
use crate::text::{self, count, elapsed, safe, thousands};

/// Frames of a stack, goroutines of a queue and values of a buffer that are told.
const MOST_FRAMES: usize = 200;
const MOST_WAITING: usize = 100;
const MOST_VALUES: usize = 64;
/// Cases of a select of which is told who else waits there.
const MOST_CASES: usize = 8;
/// Findings of one goroutine.
const MOST_FINDINGS: usize = 4;
/// How wide a bar is.
const BAR: u64 = 32;

/// One closer look.
pub(super) struct Detail {
    what: What,
    pub(super) lines: Vec<Line<'static>>,
    /// The first line on the screen.
    pub(super) top: usize,
}

enum What {
    Goroutine {
        goid: Goid,
        counts: Option<run::Goroutine>,
        why: Why,
    },
    Channel {
        addr: ChanAddr,
        /// With its values, once they have come.
        closer: Option<Result<Box<Channel>, String>>,
    },
    Finding {
        id: String,
    },
}

/// Whether it is known why a goroutine waits.
enum Why {
    NotAsked,
    Asked,
    Told(Result<String, String>),
}

impl Detail {
    const fn new(what: What) -> Detail {
        Detail {
            what,
            lines: Vec::new(),
            top: 0,
        }
    }

    pub(super) const fn goroutine(goid: Goid) -> Detail {
        Detail::new(What::Goroutine {
            goid,
            counts: None,
            why: Why::NotAsked,
        })
    }

    pub(super) const fn channel(addr: ChanAddr) -> Detail {
        Detail::new(What::Channel { addr, closer: None })
    }

    pub(super) const fn finding(id: String) -> Detail {
        Detail::new(What::Finding { id })
    }

    /// The goroutine that it is about.
    pub(super) const fn goid(&self) -> Option<Goid> {
        match &self.what {
            What::Goroutine { goid, .. } => Some(*goid),
            What::Channel { .. } | What::Finding { .. } => None,
        }
    }

    /// Its name.
    pub(super) fn title(&self) -> String {
        match &self.what {
            What::Goroutine { goid, .. } => format!("goroutine {goid}"),
            What::Channel { addr, .. } => format!("channel {addr}"),
            What::Finding { id } => format!("finding {}", safe(id)),
        }
    }

    /// What it wants to know, anew with each look.
    pub(super) const fn ask(&self) -> Option<Ask> {
        match &self.what {
            What::Goroutine { goid, .. } => Some(Ask::Goroutine(*goid)),
            What::Channel { addr, .. } => Some(Ask::Channel(*addr)),
            What::Finding { .. } => None,
        }
    }

    /// Wants to know why; returns whose wait that is about, if it is news.
    pub(super) fn ask_why(&mut self) -> Option<Goid> {
        match &mut self.what {
            What::Goroutine { goid, why, .. } if !matches!(why, Why::Asked) => {
                *why = Why::Asked;
                Some(*goid)
            }
            _ => None,
        }
    }

    /// Takes what was counted, if it is about this. Returns whether it was.
    pub(super) fn take_counts(&mut self, of: Goid, new: Option<&run::Goroutine>) -> bool {
        match &mut self.what {
            What::Goroutine { goid, counts, .. } if *goid == of => {
                *counts = new.cloned();
                true
            }
            _ => false,
        }
    }

    /// Takes what is in a channel.
    pub(super) fn take_channel(
        &mut self,
        of: ChanAddr,
        new: &Result<Box<Channel>, String>,
    ) -> bool {
        match &mut self.what {
            What::Channel { addr, closer } if *addr == of => {
                *closer = Some(new.clone());
                true
            }
            _ => false,
        }
    }

    /// Takes why a goroutine waits.
    pub(super) fn take_why(&mut self, of: Goid, told: &Result<String, String>) -> bool {
        match &mut self.what {
            What::Goroutine { goid, why, .. } if *goid == of => {
                *why = Why::Told(told.clone());
                true
            }
            _ => false,
        }
    }

    /// Scrolls by so many lines of which so many are seen, or fewer: long ones take more than one on the screen.
    pub(super) fn scroll(&mut self, by: isize, page: usize) {
        let last = self.lines.len().saturating_sub(page / 2);
        self.top = self.top.min(last).saturating_add_signed(by).min(last);
    }

    /// What to look at next: of a goroutine its channel, of what else the first goroutine.
    pub(super) fn next(&self, look: &Look) -> Option<Detail> {
        match &self.what {
            What::Goroutine { goid, .. } => {
                let (_, goroutine) = look.goroutine(*goid)?;
                let chan = goroutine.wait.as_ref()?.objects.iter().find_map(channel_of);
                Some(Detail::channel(chan?))
            }
            What::Channel { addr, closer } => {
                let channel = current(look, *addr, closer.as_ref())?;
                let mut waiting = channel.send_waiting.iter().chain(&channel.recv_waiting);
                Some(Detail::goroutine(waiting.next()?.goid))
            }
            What::Finding { id } => {
                let entry = look.findings.iter().find(|entry| entry.id == *id)?;
                Some(Detail::goroutine(*entry.goroutines.first()?))
            }
        }
    }

    /// Makes the lines anew.
    pub(super) fn refresh(&mut self, look: Option<&Look>, theme: Theme) {
        let Some(look) = look else { return };
        let mut page = Page {
            theme,
            lines: Vec::new(),
        };
        match &self.what {
            What::Goroutine { goid, counts, why } => {
                page.goroutine(*goid, counts.as_ref(), why, look);
            }
            What::Channel { addr, closer } => page.channel(*addr, closer.as_ref(), look),
            What::Finding { id } => match look.findings.iter().find(|entry| entry.id == *id) {
                Some(entry) => page.rendered(&text::findings::render(entry)),
                None => page.line(theme.notice(), "it is not true any more"),
            },
        }
        self.lines = page.lines;
    }
}

const fn channel_of(object: &WaitObject) -> Option<ChanAddr> {
    match object {
        WaitObject::Chan { chan, .. } => Some(*chan),
        _ => None,
    }
}

/// The newest that is known of a channel.
fn current<'a>(
    look: &'a Look,
    addr: ChanAddr,
    closer: Option<&'a Result<Box<Channel>, String>>,
) -> Option<&'a Channel> {
    match closer {
        Some(Ok(channel)) => Some(channel),
        _ => look.channel(addr),
    }
}

/// Lines that are being made.
struct Page {
    theme: Theme,
    lines: Vec<Line<'static>>,
}

impl Page {
    fn line(&mut self, style: Style, text: impl Into<String>) {
        self.lines.push(Line::styled(text.into(), style));
    }

    fn heading(&mut self, text: impl Into<String>) {
        self.lines.push(Line::default());
        self.line(self.theme.bold(), text);
    }

    fn plain(&mut self, text: impl Into<String>) {
        self.line(self.theme.plain(), text);
    }

    fn dim(&mut self, text: impl Into<String>) {
        self.line(self.theme.dim(), text);
    }

    /// What was made for a terminal that scrolls.
    fn rendered(&mut self, text: &str) {
        let plain = anstream::adapter::strip_str(text).to_string();
        for line in plain.lines() {
            self.plain(line);
        }
    }

    fn goroutine(&mut self, goid: Goid, counts: Option<&run::Goroutine>, why: &Why, look: &Look) {
        let Some((_, goroutine)) = look.goroutine(goid) else {
            self.line(self.theme.notice(), "it has ended");
            return;
        };
        self.state(goroutine, look);
        for (key, value) in &goroutine.labels {
            self.dim(format!("label {}", safe(&format!("{key}={value}"))));
        }
        self.waits(goroutine, look);
        if let Some(counts) = counts {
            self.counts(counts);
        }
        let concerned = |entry: &&crate::document::findings::Entry| {
            entry.goroutines.contains(&goid) || entry.unconfirmed.contains(&goid)
        };
        for entry in look.findings.iter().filter(concerned).take(MOST_FINDINGS) {
            let kind = format!("{} {}", entry.verdict.name(), entry.kind.name());
            self.lines.push(Line::from(vec![
                Span::styled(kind, self.theme.alarm()),
                Span::raw(format!(": {}", safe(&entry.reason))),
            ]));
        }
        self.why(why);
        self.stack(goroutine, look);
    }

    fn state(&mut self, goroutine: &Goroutine, look: &Look) {
        let mut state = goroutine.state.to_string();
        if let Some(wait) = &goroutine.wait {
            state = format!("{state}: {}", wait.reason);
        }
        if let Some(nanos) = look.waited(goroutine) {
            state = format!("{state}, for {} or more", elapsed(nanos));
        }
        if goroutine.moving {
            state.push_str(", moving while it was read");
        }
        let mut spans = vec![Span::styled(state, self.theme.notice())];
        if look.is_unsure(goroutine.goid) {
            let doubt = "  ~ may have changed unseen since it was last known";
            spans.push(Span::styled(doubt, self.theme.dim()));
        }
        if goroutine.system {
            spans.push(Span::styled("  of the runtime", self.theme.dim()));
        }
        self.lines.push(Line::from(spans));
    }

    fn waits(&mut self, goroutine: &Goroutine, look: &Look) {
        let Some(wait) = &goroutine.wait else { return };
        if wait.objects.len() > MOST_CASES {
            self.plain(format!("selects from {} cases", wait.objects.len()));
            return;
        }
        for line in text::goroutines::waits_on(goroutine, &look.snapshot) {
            self.plain(line);
        }
        for chan in wait.objects.iter().filter_map(channel_of) {
            if let Some(channel) = look.channel(chan) {
                self.dim(format!("  {}", summary(channel)));
            }
        }
    }

    fn counts(&mut self, counts: &run::Goroutine) {
        let nanos = |seconds: f64| elapsed((seconds * 1e9) as u64);
        self.dim(format!(
            "since attach: parked {} times, woken {} times, woke others {} times, blocked for {}",
            thousands(counts.parks),
            thousands(counts.wakeups),
            thousands(counts.wakeups_made),
            nanos(counts.blocked_seconds),
        ));
        if counts.runs > 0 {
            self.dim(format!(
                "  ran {} times, waited {} in all to run",
                thousands(counts.runs),
                nanos(counts.scheduling_seconds),
            ));
        }
        match &counts.last_waker {
            Some(waker) => {
                let who = match waker.goid {
                    Goid(0) => "the runtime".to_owned(),
                    goid => format!("goroutine {goid}"),
                };
                let channel = waker.channel.as_ref();
                let channel = channel.map_or(String::new(), |it| format!(" on channel {it}"));
                self.plain(format!(
                    "last woken by {who}, from {}{channel}",
                    waker.wait_reason
                ));
            }
            None => self.dim("who woke it last was not seen"),
        }
    }

    fn why(&mut self, why: &Why) {
        match why {
            Why::NotAsked => {}
            Why::Asked => {
                self.heading("why");
                self.dim("searching the target's memory for who could end this wait ...");
            }
            Why::Told(Ok(told)) => {
                self.heading("why");
                self.rendered(told);
            }
            Why::Told(Err(error)) => {
                self.heading("why");
                self.line(self.theme.notice(), safe(error).into_owned());
            }
        }
    }

    fn stack(&mut self, goroutine: &Goroutine, look: &Look) {
        self.heading("stack");
        let stack = look.snapshot.stack(goroutine);
        if stack.is_empty() {
            self.dim("not known: it runs, or moved since memory was read");
        }
        let frames = stack
            .iter()
            .flat_map(|pc| look.symbols.frames(*pc).to_vec());
        let mut frames = frames.peekable();
        for frame in frames.by_ref().take(MOST_FRAMES) {
            let inlined = if frame.inlined { " (inlined)" } else { "" };
            self.plain(format!("  {}{inlined}", safe(&frame.function)));
            self.dim(format!("      {}:{}", safe(&frame.file), frame.line));
        }
        if frames.peek().is_some() {
            self.dim("  and more frames: `gotrace stack` shows all");
        }
        let created = goroutine.created_at.get();
        if let Some(frame) = created.and_then(|pc| look.symbols.frames(pc).first().cloned()) {
            let by = goroutine.parent.get();
            let by = by.map_or(String::new(), |parent| format!(" by goroutine {parent}"));
            self.plain(format!("created{by} in {}", place_of(&frame)));
        }
    }

    fn channel(
        &mut self,
        addr: ChanAddr,
        closer: Option<&Result<Box<Channel>, String>>,
        look: &Look,
    ) {
        if let Some(Err(error)) = closer {
            self.line(self.theme.notice(), safe(error).into_owned());
        }
        let Some(channel) = current(look, addr, closer) else {
            self.dim(match closer {
                None => "nobody waits on it any more; reading it ...",
                Some(_) => "nobody waits on it any more",
            });
            return;
        };
        self.line(self.theme.notice(), summary(channel));
        if let Some(frame) = channel
            .made_at
            .and_then(|pc| look.symbols.frames(pc).first().cloned())
        {
            self.dim(format!("made in {}", place_of(&frame)));
        }
        self.queue("to send", &channel.send_waiting, look);
        self.buffer(channel, matches!(closer, Some(Ok(_))));
        self.queue("to receive", &channel.recv_waiting, look);
        if let Some(timer) = &channel.timer {
            self.plain(match timer.when {
                Some(when) => format!(
                    "a timer sends to it, next in {}",
                    elapsed(when.since(look.snapshot.finished))
                ),
                None => "a timer sends to it, which is stopped or has fired".to_owned(),
            });
        }
        if !channel.users.is_empty() {
            self.heading(format!(
                "{} it without waiting",
                match channel.users.len() {
                    1 => "1 goroutine holds".to_owned(),
                    many => format!("{} goroutines hold", thousands(many as u64)),
                }
            ));
        }
        for user in channel.users.iter().take(MOST_WAITING) {
            let place = look.goroutine(user.goid).and_then(|(_, goroutine)| {
                let pc = look.snapshot.stack(goroutine).get(user.frame? as usize)?;
                look.symbols.frames(*pc).last().map(place_of)
            });
            let place = place.unwrap_or_default();
            self.plain(format!("  goroutine {}  {place}", user.goid));
        }
        self.rest(channel.users.len(), MOST_WAITING);
    }

    fn queue(&mut self, what: &str, waiters: &[Waiter], look: &Look) {
        let waits = match waiters.len() {
            0 => format!("nobody waits {what}"),
            1 => format!("1 goroutine waits {what}"),
            many => format!(
                "{} goroutines wait {what}, the first first",
                thousands(many as u64)
            ),
        };
        self.heading(waits);
        for waiter in waiters.iter().take(MOST_WAITING) {
            let select = if waiter.select { " (select)" } else { "" };
            let place = look
                .goroutine(waiter.goid)
                .map_or("", |(at, _)| look.place(look.at(at)));
            let holds = waiter.value.as_ref().map_or(String::new(), |item| {
                format!("  holds {}", safe(&value(item).to_string()))
            });
            self.plain(format!(
                "  goroutine {}{select}  {place}{holds}",
                waiter.goid
            ));
        }
        self.rest(waiters.len(), MOST_WAITING);
    }

    fn buffer(&mut self, channel: &Channel, read: bool) {
        if channel.cap == 0 {
            self.heading("no buffer: a sender hands its value to a receiver");
            return;
        }
        let filled = per_mille(channel) * BAR / 1000;
        self.lines.push(Line::default());
        self.lines.push(Line::from(vec![
            Span::styled("buffer  ", self.theme.bold()),
            Span::styled("█".repeat(filled as usize), self.theme.graph()),
            Span::styled("░".repeat((BAR - filled) as usize), self.theme.dim()),
            Span::raw(format!(
                "  {} of {}",
                thousands(channel.len),
                thousands(channel.cap)
            )),
        ]));
        for (at, item) in channel.values.iter().enumerate().take(MOST_VALUES) {
            let next = if at == 0 { "  ← received next" } else { "" };
            self.plain(format!("  [{at}] {}{next}", safe(&value(item).to_string())));
        }
        let shown = channel.values.len().min(MOST_VALUES) as u64;
        if read && channel.len > shown {
            let rest = thousands(channel.len - shown);
            self.dim(format!("  {rest} newer not shown (--values)"));
        }
    }

    fn rest(&mut self, all: usize, most: usize) {
        if all > most {
            let rest = thousands((all - most) as u64);
            self.dim(format!("  and {rest} more"));
        }
    }
}

/// A channel in one line.
fn summary(channel: &Channel) -> String {
    let elem = match &*channel.elem_type {
        "" => "?".into(),
        name => safe(name),
    };
    format!(
        "chan {elem}, {}/{}, {}; {} to send, {} to receive",
        channel.len,
        channel.cap,
        channel_state(channel),
        count(channel.send_waiting.len(), "goroutine"),
        count(channel.recv_waiting.len(), "goroutine"),
    )
}
