//! What the console knows and shows; told events, it says what it wants to know next.

use std::collections::VecDeque;
use std::sync::Arc;

use ratatui::crossterm::event::{KeyEvent, KeyEventKind};
use tracer_model::ids::{ChanAddr, Goid};
use tracer_model::snapshot::Channel;
use tracer_model::wait::WaitObject;

use super::detail::Detail;
use super::input::{Action, action};
use super::lists::{List, Subject, Tab};
use super::look::Look;
use super::theme::Theme;
use crate::document;
use crate::document::run::{self, Summary};
use crate::trace::story::Output;

/// How many looks closer can be upon one another.
const DEEPEST: usize = 16;
/// Numbers of goroutines that are remembered for the graph.
const REMEMBERED: usize = 240;
/// Characters of a filter.
const LONGEST_FILTER: usize = 200;

/// What happens to the console.
pub(crate) enum Event {
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// What the trace says.
    Said(Arc<Output>),
    /// A look at everything.
    Look(Arc<Look>),
    /// What was counted of a goroutine; `None` if it is not known.
    Goroutine(Goid, Option<Box<run::Goroutine>>),
    /// A channel with its values and who holds it, or why there is none.
    Channel(ChanAddr, Result<Box<Channel>, String>),
    /// Why a goroutine waits, or why that is not known.
    Why(Goid, Result<String, String>),
    /// Something that the user should know.
    Note(String),
}

/// What the console wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To end.
    Quit,
    /// To know what was counted of a goroutine,
    Goroutine(Goid),
    /// what is in a channel,
    Channel(ChanAddr),
    /// why a goroutine waits.
    Why(Goid),
}

/// The state of the console.
pub(crate) struct State {
    pub(super) theme: Theme,
    pub(super) target: document::Target,
    /// The level that was asked for, or where this comes from if nothing is traced.
    pub(super) level: String,
    pub(super) look: Option<Arc<Look>>,
    pub(super) summary: Option<Summary>,
    /// Numbers of goroutines, the latest last.
    pub(super) history: VecDeque<u64>,
    pub(super) tab: Tab,
    lists: [List; 4],
    pub(super) details: Vec<Detail>,
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) help: bool,
    pub(super) ended: Option<String>,
    pub(super) note: Option<String>,
    /// Rows that the screen has for a list or a closer look, as it was drawn last.
    pub(super) page: usize,
}

impl State {
    pub(crate) fn new(theme: Theme, target: document::Target, level: impl Into<String>) -> State {
        State {
            theme,
            target,
            level: level.into(),
            look: None,
            summary: None,
            history: VecDeque::new(),
            tab: Tab::Goroutines,
            lists: Tab::ALL.map(List::new),
            details: Vec::new(),
            typing: false,
            paused: false,
            help: false,
            ended: None,
            note: None,
            page: 10,
        }
    }

    /// Whether the lists stand still.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// The list of the present tab.
    pub(super) fn list(&self) -> &List {
        let [goroutines, channels, findings, sites] = &self.lists;
        match self.tab {
            Tab::Goroutines => goroutines,
            Tab::Channels => channels,
            Tab::Findings => findings,
            Tab::Sites => sites,
        }
    }

    pub(super) fn list_mut(&mut self) -> &mut List {
        let [goroutines, channels, findings, sites] = &mut self.lists;
        match self.tab {
            Tab::Goroutines => goroutines,
            Tab::Channels => channels,
            Tab::Findings => findings,
            Tab::Sites => sites,
        }
    }

    /// Takes in what happened. Returns what it wants now.
    pub(crate) fn update(&mut self, event: Event) -> Vec<Ask> {
        match event {
            Event::Key(key) => match action(key, self.typing) {
                Some(action) => self.act(action),
                None => {
                    // Any key closes help.
                    self.help &= key.kind == KeyEventKind::Release;
                    Vec::new()
                }
            },
            Event::Resized => Vec::new(),
            Event::Said(output) => {
                self.hear(&output);
                Vec::new()
            }
            Event::Look(look) => self.see(look),
            Event::Goroutine(goid, counts) => {
                self.tell(|detail| detail.take_counts(goid, counts.as_deref()));
                Vec::new()
            }
            Event::Channel(addr, channel) => {
                self.tell(|detail| detail.take_channel(addr, &channel));
                Vec::new()
            }
            Event::Why(goid, why) => {
                self.tell(|detail| detail.take_why(goid, &why));
                Vec::new()
            }
            Event::Note(note) => {
                self.note = Some(note);
                Vec::new()
            }
        }
    }

    fn hear(&mut self, output: &Output) {
        match output {
            Output::Summary(summary) => {
                self.remember(summary.goroutines.total as u64);
                self.summary = Some((**summary).clone());
            }
            Output::Warning(message) => self.note = Some(message.clone()),
            Output::Governor { reason, .. } => self.note = Some(format!("governor: {reason}")),
            Output::Report(report) => {
                let mut summary = self.summary.take().unwrap_or_default();
                summary.totals = report.totals.clone();
                summary.loss = report.loss.clone();
                summary.governor.clone_from(&report.governor);
                summary.rates = run::Rates::default();
                self.summary = Some(summary);
                self.ended = Some(report.ended.clone().into_owned());
            }
            // They are in the next look.
            Output::Finding(_) | Output::Resolved(_) => {}
        }
    }

    fn remember(&mut self, goroutines: u64) {
        if self.history.len() == REMEMBERED {
            self.history.pop_front();
        }
        self.history.push_back(goroutines);
    }

    /// Shows a look, unless the lists are to stand still.
    fn see(&mut self, look: Arc<Look>) -> Vec<Ask> {
        if self.summary.is_none() {
            self.remember(look.users as u64);
        }
        if self.paused && self.look.is_some() {
            return Vec::new();
        }
        let before = self.look.replace(Arc::clone(&look));
        let subject = before.and_then(|before| self.list().subject(&before));
        self.lists.iter_mut().for_each(List::forget);
        self.list_mut().arrange(&look, subject.as_ref());
        for detail in &mut self.details {
            detail.refresh(Some(&look), self.theme);
        }
        self.asks()
    }

    /// What the closer look on top wants to know now.
    fn asks(&self) -> Vec<Ask> {
        if self.ended.is_some() {
            return Vec::new();
        }
        self.details
            .last()
            .and_then(Detail::ask)
            .into_iter()
            .collect()
    }

    /// Tells all closer looks something.
    fn tell(&mut self, mut tell: impl FnMut(&mut Detail) -> bool) {
        for detail in &mut self.details {
            if tell(detail) {
                detail.refresh(self.look.as_deref(), self.theme);
            }
        }
    }

    fn act(&mut self, action: Action) -> Vec<Ask> {
        self.note = None;
        if self.help && action != Action::Quit {
            self.help = false;
            return Vec::new();
        }
        match action {
            Action::Quit => return vec![Ask::Quit],
            Action::Help => self.help = true,
            Action::Pause => self.paused = !self.paused,
            Action::Back => self.back(),
            Action::Enter if self.typing => self.typing = false,
            Action::Enter => return self.enter(),
            Action::Step(by) => self.step(by),
            Action::Page(by) => {
                let page = self.page.saturating_sub(1).max(1).cast_signed();
                self.step(by * page);
            }
            Action::First => self.step(isize::MIN),
            Action::Last => self.step(isize::MAX),
            Action::Tab(tab) => self.turn_to(tab),
            Action::NextTab(by) => {
                let all = Tab::ALL.len();
                let at = Tab::ALL.iter().position(|tab| *tab == self.tab);
                let next = (at.unwrap_or(0) + all).saturating_add_signed(by) % all;
                if let Some(tab) = Tab::ALL.get(next) {
                    self.turn_to(*tab);
                }
            }
            Action::Why => return self.why(),
            Action::Channel => return self.go_to_channel(),
            // The rest is about a list, which a closer look hides.
            _ if !self.details.is_empty() => {}
            Action::Filter => self.typing = true,
            Action::Order(by) => {
                let columns = self.tab.columns().len();
                self.rearrange(|list| {
                    list.order = (list.order + columns).saturating_add_signed(by) % columns;
                    list.reversed = false;
                });
            }
            Action::Reverse => self.rearrange(|list| list.reversed = !list.reversed),
            Action::System => self.rearrange(|list| list.system = !list.system),
            Action::Type(letter) => self.rearrange(|list| {
                if list.typed.chars().count() < LONGEST_FILTER {
                    list.typed.push(letter);
                }
            }),
            Action::Erase => self.rearrange(|list| {
                list.typed.pop();
            }),
            Action::EraseAll => self.rearrange(|list| list.typed.clear()),
        }
        Vec::new()
    }

    fn rearrange(&mut self, change: impl FnOnce(&mut List)) {
        let look = self.look.clone();
        let list = self.list_mut();
        let subject = look.as_ref().and_then(|look| list.subject(look));
        change(list);
        if let Some(look) = look {
            list.arrange(&look, subject.as_ref());
        }
    }

    fn turn_to(&mut self, tab: Tab) {
        self.turn_to_changed(tab, |_| {});
    }

    fn turn_to_changed(&mut self, tab: Tab, change: impl FnOnce(&mut List)) {
        self.details.clear();
        self.typing = false;
        self.tab = tab;
        // It was not kept up to date while it was hidden.
        self.rearrange(change);
    }

    fn back(&mut self) {
        if self.typing {
            self.typing = false;
            self.rearrange(|list| list.typed.clear());
        } else if self.details.pop().is_none() && !self.list().typed.is_empty() {
            self.rearrange(|list| list.typed.clear());
        }
    }

    fn step(&mut self, by: isize) {
        let page = self.page;
        match self.details.last_mut() {
            Some(detail) => detail.scroll(by, page),
            None => self.list_mut().step(by),
        }
    }

    /// Looks closer at what is selected.
    fn enter(&mut self) -> Vec<Ask> {
        let Some(look) = self.look.clone() else {
            return Vec::new();
        };
        if let Some(detail) = self.details.last() {
            return match detail.next(&look) {
                Some(next) => self.open(next),
                None => Vec::new(),
            };
        }
        match self.list().subject(&look) {
            Some(Subject::Goroutine(goid)) => self.open(Detail::goroutine(goid)),
            Some(Subject::Channel(addr)) => self.open(Detail::channel(addr)),
            Some(Subject::Finding(id)) => self.open(Detail::finding(id)),
            Some(Subject::Site(place, _)) => {
                // Words of a filter: those that the place's text has.
                self.turn_to_changed(Tab::Goroutines, |list| {
                    list.typed = place.split_whitespace().collect::<Vec<_>>().join(" ");
                    list.selected = 0;
                });
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn open(&mut self, mut detail: Detail) -> Vec<Ask> {
        detail.refresh(self.look.as_deref(), self.theme);
        if self.details.len() == DEEPEST {
            self.details.remove(0);
        }
        self.details.push(detail);
        self.asks()
    }

    /// Asks why the goroutine waits that is looked at or selected.
    fn why(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        if self.details.is_empty() && self.tab == Tab::Goroutines {
            asks = self.enter();
        }
        let (look, theme, over) = (self.look.clone(), self.theme, self.ended.is_some());
        let Some(detail) = self.details.last_mut() else {
            return asks;
        };
        if over {
            self.note = Some("the target has ended: its memory cannot be searched".to_owned());
        } else if let Some(goid) = detail.ask_why() {
            detail.refresh(look.as_deref(), theme);
            asks.push(Ask::Why(goid));
        }
        asks
    }

    /// From a goroutine to the channel that it waits on.
    fn go_to_channel(&mut self) -> Vec<Ask> {
        let Some(look) = self.look.clone() else {
            return Vec::new();
        };
        let subject = match self.details.last() {
            Some(detail) => detail.goid().map(Subject::Goroutine),
            None => self.list().subject(&look),
        };
        let Some(Subject::Goroutine(goid)) = subject else {
            return Vec::new();
        };
        let wait = look.goroutine(goid).and_then(|(_, it)| it.wait.as_ref());
        let objects = wait.map_or(&[][..], |wait| &wait.objects);
        let chan = objects.iter().find_map(|object| match object {
            WaitObject::Chan { chan, .. } => Some(*chan),
            _ => None,
        });
        match chan {
            Some(chan) => self.open(Detail::channel(chan)),
            None => {
                self.note = Some(format!("goroutine {goid} waits on no channel"));
                Vec::new()
            }
        }
    }
}
