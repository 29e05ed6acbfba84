//! Draws the console. What it makes grows with the screen alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use tracer_model::snapshot::State as GoState;

use super::input::HELP;
use super::lists::{Column, Tab, channel_state, per_mille, reason};
use super::look::Look;
use super::state::State;
use super::theme::Theme;
use crate::document::run::{Governor, Summary};
use crate::text::{elapsed, safe, thousands};

/// A screen of so many columns is wide.
const WIDE: u16 = 110;
/// How wide the graph of goroutines may be.
const GRAPH: usize = 40;
/// How wide a bar of a list is.
const BAR: u64 = 10;
/// The eight heights of a graph.
const HEIGHTS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let [head, tabs, body, foot] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(header(state, head.width)), head);
    frame.render_widget(tab_line(state), tabs);
    match state.details.last_mut() {
        Some(detail) => {
            let page = body.height as usize;
            detail.scroll(0, page);
            let seen = detail.lines.iter().skip(detail.top).take(page);
            let seen: Vec<Line<'_>> = seen.cloned().collect();
            let seen = Paragraph::new(seen).wrap(Wrap { trim: false });
            frame.render_widget(seen, body);
            state.page = page;
        }
        None => list(frame, state, body),
    }
    frame.render_widget(footer(state), foot);
    if state.help {
        help(frame, state.theme);
    }
}

fn header(state: &State, width: u16) -> Vec<Line<'static>> {
    vec![
        title(state),
        goroutines(state, width),
        rates(state),
        losses(state),
    ]
}

fn title(state: &State) -> Line<'static> {
    let theme = state.theme;
    let target = &state.target;
    let name = target.exe.file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let mut spans = vec![
        Span::styled(safe(&name).into_owned(), theme.bold()),
        Span::raw(format!(
            "  pid {}  {} {}  ",
            target.pid,
            safe(&target.go_version),
            target.arch
        )),
        Span::raw(level(state)),
    ];
    if target.layout_assumed {
        spans.push(Span::styled("  layouts assumed", theme.notice()));
    }
    if let Some(ended) = &state.ended {
        let ended = format!("  ENDED: {}", safe(ended));
        spans.push(Span::styled(ended, theme.alarm()));
    } else if state.paused {
        spans.push(Span::styled("  PAUSED", theme.alarm()));
    }
    Line::from(spans)
}

/// What is traced.
fn level(state: &State) -> String {
    let governor = state.summary.as_ref().and_then(|it| it.governor.as_ref());
    match governor {
        None => state.level.clone(),
        Some(governor) => {
            let now = match governor.windows {
                true => "windows of wake".to_owned(),
                false => governor.level.to_string(),
            };
            let without = match governor.skipped.len() {
                0 => String::new(),
                skipped => format!(" less {skipped}"),
            };
            format!("{}: {now}{without}", state.level)
        }
    }
}

fn goroutines(state: &State, width: u16) -> Line<'static> {
    let theme = state.theme;
    let mut spans = Vec::new();
    let census = match (&state.summary, &state.look) {
        (Some(summary), _) => {
            let census = &summary.goroutines;
            let by_state = census.by_state.iter();
            let by_state = by_state.map(|(name, number)| (*name, *number));
            Some((census.total, by_state.collect(), census.unknown))
        }
        (None, Some(look)) => Some((look.users, look.by_state.clone(), 0)),
        (None, None) => None,
    };
    let Some((total, by_state, unknown)) = census else {
        return Line::styled("reading memory ...", theme.dim());
    };
    spans.push(Span::styled(
        format!("{} goroutines ", thousands(total as u64)),
        theme.bold(),
    ));
    for (name, number) in by_state {
        let number = thousands(number as u64);
        spans.push(Span::styled(format!(" {name} "), theme.dim()));
        spans.push(Span::raw(number));
    }
    if unknown > 0 {
        let unknown = format!("  ~{}", thousands(unknown as u64));
        spans.push(Span::styled(unknown, theme.notice()));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let room = (width as usize).saturating_sub(used + 2).min(GRAPH);
    spans.push(Span::raw("  "));
    spans.push(Span::styled(graph(state, room), theme.graph()));
    Line::from(spans)
}

/// The latest numbers of goroutines, between the least and the greatest of them.
fn graph(state: &State, room: usize) -> String {
    let seen = state.history.len().min(room);
    let latest = || state.history.iter().skip(state.history.len() - seen);
    let least = latest().min().copied().unwrap_or(0);
    let span = latest().max().copied().unwrap_or(0) - least;
    latest()
        .map(|number| {
            // One that does not change is a line at the bottom.
            let height = ((number - least) * 7).checked_div(span).unwrap_or(0);
            HEIGHTS.get(height as usize).copied().unwrap_or(" ")
        })
        .collect()
}

fn rates(state: &State) -> Line<'static> {
    let theme = state.theme;
    let Some(summary) = &state.summary else {
        return Line::styled("no rates: nothing is traced", theme.dim());
    };
    let rates = &summary.rates;
    let mut spans = Vec::new();
    for (name, rate) in [
        ("events", rates.events),
        ("parks", rates.parks),
        ("wakes", rates.wakeups),
        ("sends", rates.sends),
        ("recvs", rates.receives),
        ("created", rates.created),
        ("exited", rates.exited),
    ] {
        spans.push(Span::styled(format!("{name} "), theme.dim()));
        spans.push(Span::raw(format!("{}/s  ", figure(rate))));
    }
    Line::from(spans)
}

/// A rate in a few characters.
fn figure(rate: f64) -> String {
    match rate {
        rate if rate >= 1e7 => format!("{:.0}M", rate / 1e6),
        rate if rate >= 1e6 => format!("{:.1}M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.0}k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

fn losses(state: &State) -> Line<'static> {
    let theme = state.theme;
    let Some(summary) = &state.summary else {
        return Line::default();
    };
    let mut spans = tax(summary, theme);
    let loss = &summary.loss;
    let style = match loss.records {
        0 => theme.good(),
        _ => theme.alarm(),
    };
    spans.push(Span::styled(
        format!("lost {}", thousands(loss.records)),
        style,
    ));
    for (name, number) in [
        ("late", loss.late),
        ("incomplete", loss.faults),
        ("not known", loss.unknown),
    ] {
        if number > 0 {
            let text = format!("  {name} {}", thousands(number));
            spans.push(Span::styled(text, theme.notice()));
        }
    }
    if let Some(age) = summary.memory_age_seconds {
        spans.push(Span::styled(
            format!("  memory {age:.1} s old"),
            theme.dim(),
        ));
    }
    let estimates = summary.governor.as_ref().map(|it| &it.estimates);
    for estimate in estimates.into_iter().flatten().take(1) {
        let range = match (estimate.low, estimate.high) {
            (Some(low), Some(high)) => format!(" ({} to {})", figure(low), figure(high)),
            _ => String::new(),
        };
        let text = format!(
            "  {} ≈{}/s{range}",
            estimate.hook,
            figure(estimate.per_second)
        );
        spans.push(Span::styled(text, theme.notice()));
    }
    Line::from(spans)
}

/// What the probes take.
fn tax(summary: &Summary, theme: Theme) -> Vec<Span<'static>> {
    let (text, over) = match &summary.governor {
        Some(Governor { tax, budget, .. }) => (
            format!("{:.2} % of CPU (budget {} %)", tax * 100.0, budget * 100.0),
            tax > budget,
        ),
        None => {
            let tax = summary.rates.estimated_tax;
            (format!("about {:.2} % of a core", tax * 100.0), false)
        }
    };
    let style = if over { theme.notice() } else { theme.plain() };
    vec![
        Span::styled("tax ", theme.dim()),
        Span::styled(text, style),
        Span::raw("  "),
    ]
}

fn tab_line(state: &State) -> Line<'static> {
    let theme = state.theme;
    let mut spans = Vec::new();
    for (at, tab) in Tab::ALL.into_iter().enumerate() {
        let number = state.look.as_ref().map(|look| match tab {
            Tab::Goroutines => look.users,
            Tab::Channels => look.snapshot.channels.len(),
            Tab::Findings => look.findings.len(),
            Tab::Sites => look.sites.len(),
        });
        let number = number.map_or(String::new(), |number| {
            format!(" {}", thousands(number as u64))
        });
        let style = match tab == state.tab {
            true => theme.selected().patch(theme.bold()),
            false if tab == Tab::Findings && number != " 0" && !number.is_empty() => theme.alarm(),
            false => theme.plain(),
        };
        let text = format!(" {} {}{number} ", at + 1, tab.title());
        spans.push(Span::styled(text, style));
        spans.push(Span::raw(" "));
    }
    for detail in &state.details {
        spans.push(Span::styled(format!("› {} ", detail.title()), theme.bold()));
    }
    Line::from(spans)
}

fn list(frame: &mut Frame<'_>, state: &mut State, area: Rect) {
    let rows = (area.height as usize).saturating_sub(1);
    state.page = rows.max(1);
    let list = state.list_mut();
    // The selected row is seen, with as little movement as that takes.
    let page = rows.max(1);
    list.offset = list
        .offset
        .min(list.selected)
        .max((list.selected + 1).saturating_sub(page))
        .min(list.rows.len().saturating_sub(page));
    let state = &*state;
    let (theme, tab, list) = (state.theme, state.tab, state.list());
    let widths = widths(tab.columns(), area.width);
    let heads = tab.columns().iter().enumerate().map(|(at, column)| {
        let mark = match (at == list.order, list.reversed) {
            (true, false) => "▼",
            (true, true) => "▲",
            (false, _) => "",
        };
        (format!("{}{mark}", column.title), theme.head())
    });
    let mut lines = vec![row(tab.columns(), &widths, heads)];
    if let Some(look) = &state.look {
        let seen = list.rows.iter().enumerate().skip(list.offset).take(rows);
        for (at, index) in seen {
            let mut line = row(
                tab.columns(),
                &widths,
                cells(tab, look, *index, theme).into_iter(),
            );
            if at == list.selected {
                line = line.patch_style(theme.selected());
            }
            lines.push(line);
        }
        if list.rows.is_empty() {
            let text = match (list.typed.is_empty(), tab) {
                (false, _) => "nothing here is as the filter wants it",
                (true, Tab::Channels) => "nobody waits on a channel",
                (true, Tab::Findings) => "no findings",
                (true, Tab::Goroutines | Tab::Sites) => "no goroutines",
            };
            lines.push(Line::styled(format!("  {text}"), theme.dim()));
        }
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// The widths of columns; what is left goes to those that take it. One that has no room has 0.
fn widths(columns: &[Column], width: u16) -> Vec<usize> {
    let shown = |column: &&Column| !column.wide || width >= WIDE;
    let gaps = columns.iter().filter(shown).count().saturating_sub(1);
    let fixed = columns.iter().filter(shown);
    let fixed: usize = fixed.map(|column| column.width as usize).sum();
    let takers = columns.iter().filter(shown);
    let takers = takers.filter(|column| column.width == 0).count();
    let left = (width as usize).saturating_sub(fixed + gaps);
    columns
        .iter()
        .map(|column| match column.width {
            _ if !shown(&column) => 0,
            0 => left / takers.max(1),
            width => width as usize,
        })
        .collect()
}

/// One line of a table.
fn row(
    columns: &[Column],
    widths: &[usize],
    cells: impl Iterator<Item = (String, Style)>,
) -> Line<'static> {
    let mut spans = Vec::with_capacity(2 * columns.len());
    for ((column, &width), (text, style)) in columns.iter().zip(widths).zip(cells) {
        if width == 0 {
            continue;
        }
        let text = fitted(&text, width);
        let blank = width.saturating_sub(Span::raw(text.as_str()).width());
        let blank = " ".repeat(blank);
        let text = match column.right {
            true => format!("{blank}{text}"),
            false => format!("{text}{blank}"),
        };
        spans.push(Span::styled(text, style));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

/// As much of a text as there is room for; where something is left out, that is marked.
fn fitted(text: &str, width: usize) -> String {
    if Span::raw(text).width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for letter in text.chars() {
        let wide = Span::raw(letter.to_string()).width();
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        short.push(letter);
    }
    short.push('…');
    short
}

fn cells(tab: Tab, look: &Look, at: u32, theme: Theme) -> Vec<(String, Style)> {
    let cells = match tab {
        Tab::Goroutines => goroutine_cells(look, at, theme),
        Tab::Channels => channel_cells(look, at, theme),
        Tab::Findings => finding_cells(look, at, theme),
        Tab::Sites => site_cells(look, at, theme),
    };
    cells.unwrap_or_default()
}

fn goroutine_cells(look: &Look, at: u32, theme: Theme) -> Option<Vec<(String, Style)>> {
    let goroutine = look.snapshot.goroutines.get(at as usize)?;
    let unsure = if look.is_unsure(goroutine.goid) {
        "~"
    } else {
        ""
    };
    let state = match goroutine.state {
        GoState::Running | GoState::Runnable | GoState::Syscall => theme.good(),
        GoState::Leaked => theme.alarm(),
        _ => theme.plain(),
    };
    let waited = look.waited(goroutine);
    Some(vec![
        (goroutine.goid.to_string(), theme.bold()),
        (format!("{unsure}{}", goroutine.state), state),
        (reason(goroutine).to_owned(), theme.notice()),
        (waited.map_or(String::new(), elapsed), theme.plain()),
        (look.place(look.at(at)).to_owned(), theme.plain()),
        (look.place(look.created(at)).to_owned(), theme.dim()),
    ])
}

fn channel_cells(look: &Look, at: u32, theme: Theme) -> Option<Vec<(String, Style)>> {
    let channel = look.snapshot.channels.get(at as usize)?;
    let state = channel_state(channel);
    let style = match state {
        "full" => theme.alarm(),
        "open" => theme.plain(),
        _ => theme.notice(),
    };
    let filled = (per_mille(channel) * BAR / 1000) as usize;
    let bar = match channel.cap {
        0 => "unbuffered".to_owned(),
        _ => format!(
            "{}{}",
            "█".repeat(filled),
            "░".repeat(BAR as usize - filled.min(BAR as usize))
        ),
    };
    let elem = match &*channel.elem_type {
        "" => "?".into(),
        name => safe(name),
    };
    let queue = |waiting: usize| match waiting {
        0 => String::new(),
        many => thousands(many as u64),
    };
    Some(vec![
        (channel.addr.to_string(), theme.bold()),
        (format!("chan {elem}"), theme.plain()),
        (
            bar,
            if channel.cap == 0 {
                theme.dim()
            } else {
                theme.graph()
            },
        ),
        (format!("{}/{}", channel.len, channel.cap), theme.plain()),
        (state.to_owned(), style),
        (queue(channel.send_waiting.len()), theme.notice()),
        (queue(channel.recv_waiting.len()), theme.plain()),
    ])
}

fn finding_cells(look: &Look, at: u32, theme: Theme) -> Option<Vec<(String, Style)>> {
    let entry = look.findings.get(at as usize)?;
    let style = match entry.is_certain() {
        true => theme.alarm(),
        false => theme.notice(),
    };
    Some(vec![
        (entry.verdict.name().to_owned(), style),
        (entry.kind.name().to_owned(), theme.bold()),
        (thousands(entry.goroutines.len() as u64), theme.plain()),
        (safe(&entry.reason).into_owned(), theme.plain()),
    ])
}

fn site_cells(look: &Look, at: u32, theme: Theme) -> Option<Vec<(String, Style)>> {
    let site = look.sites.get(at as usize)?;
    let grown = match site.grown {
        None | Some(0) => String::new(),
        Some(grown) => format!("{grown:+}"),
    };
    let place = match look.place(site.place) {
        "" => "not known: they run, or moved since memory was read",
        place => place,
    };
    Some(vec![
        (thousands(site.count), theme.bold()),
        (grown, theme.notice()),
        (
            site.reason
                .map_or("does not wait", |it| it.text())
                .to_owned(),
            theme.plain(),
        ),
        (site.longest.map_or(String::new(), elapsed), theme.plain()),
        (place.to_owned(), theme.plain()),
    ])
}

fn footer(state: &State) -> Line<'static> {
    let theme = state.theme;
    let list = state.list();
    if state.typing {
        return Line::from(vec![
            Span::styled("/", theme.bold()),
            Span::raw(list.typed.clone()),
            Span::styled(" ", theme.selected()),
            Span::styled(
                format!(
                    "  {} left  Enter: keep  Esc: drop",
                    thousands(list.rows.len() as u64)
                ),
                theme.dim(),
            ),
        ]);
    }
    let mut spans = Vec::new();
    if state.details.is_empty() && !list.typed.is_empty() {
        let text = format!(
            "/{}  {} left  ",
            list.typed,
            thousands(list.rows.len() as u64)
        );
        spans.push(Span::styled(text, theme.notice()));
    }
    match &state.note {
        Some(note) => spans.push(Span::styled(safe(note).into_owned(), theme.notice())),
        None if state.details.is_empty() => spans.push(Span::styled(
            "Enter look closer  / filter  s sort  r reverse  Space pause  ? help  q quit",
            theme.dim(),
        )),
        None => spans.push(Span::styled(
            "Esc back  Enter go on  w why  c its channel  ↑↓ scroll  ? help  q quit",
            theme.dim(),
        )),
    }
    Line::from(spans)
}

fn help(frame: &mut Frame<'_>, theme: Theme) {
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .map(|(keys, meaning)| {
            Line::from(vec![
                Span::styled(format!(" {keys:<20} "), theme.bold()),
                Span::raw(*meaning),
            ])
        })
        .collect();
    let area = frame.area();
    let width = lines.iter().map(Line::width).max().unwrap_or(0) + 3;
    let width = u16::try_from(width).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let height = height.min(area.height);
    let area = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" gotrace top: any key closes this ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
