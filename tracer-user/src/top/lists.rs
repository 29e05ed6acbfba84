//! The four lists: their columns, and which rows they have in which order.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use tracer_model::ids::{ChanAddr, Goid};
use tracer_model::snapshot::{Channel, Goroutine, State};
use tracer_model::wait::WaitReason;

use super::filter::Filter;
use super::look::{Look, Site, index};
use crate::document::findings::Entry;

/// The lists, in the order of their tabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tab {
    Goroutines,
    Channels,
    Findings,
    Sites,
}

impl Tab {
    pub(super) const ALL: [Tab; 4] = [Tab::Goroutines, Tab::Channels, Tab::Findings, Tab::Sites];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Tab::Goroutines => "Goroutines",
            Tab::Channels => "Channels",
            Tab::Findings => "Findings",
            Tab::Sites => "Sites",
        }
    }

    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Tab::Goroutines => &GOROUTINES,
            Tab::Channels => &CHANNELS,
            Tab::Findings => &FINDINGS,
            Tab::Sites => &SITES,
        }
    }

    /// The column by which it is sorted at first.
    const fn first_order(self) -> usize {
        match self {
            // The longest wait, the fullest, the surest, the most.
            Tab::Goroutines => 3,
            Tab::Channels => 2,
            Tab::Findings => 0,
            Tab::Sites => 0,
        }
    }
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Characters; 0 takes what the others leave.
    pub(super) width: u16,
    /// Whether it is set to the right.
    pub(super) right: bool,
    /// Whether it is there on a wide screen alone.
    pub(super) wide: bool,
}

const fn left(title: &'static str, width: u16) -> Column {
    Column {
        title,
        width,
        right: false,
        wide: false,
    }
}

const fn right(title: &'static str, width: u16) -> Column {
    Column {
        title,
        width,
        right: true,
        wide: false,
    }
}

static GOROUTINES: [Column; 6] = [
    right("GOID", 8),
    left("STATE", 10),
    left("WAITS FOR", 16),
    right("SINCE", 11),
    left("AT", 0),
    Column {
        wide: true,
        ..left("CREATED AT", 0)
    },
];
static CHANNELS: [Column; 7] = [
    left("CHANNEL", 14),
    left("TYPE", 0),
    left("FILL", 12),
    right("LEN/CAP", 11),
    left("STATE", 6),
    right("SENDERS", 8),
    right("RECEIVERS", 9),
];
static FINDINGS: [Column; 4] = [
    left("VERDICT", 8),
    left("KIND", 9),
    right("GOROUTINES", 10),
    left("WHAT", 0),
];
static SITES: [Column; 5] = [
    right("COUNT", 9),
    right("GROWN", 8),
    left("WAIT FOR", 16),
    right("LONGEST", 11),
    left("AT", 0),
];

/// What a row is about, whatever its place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Goroutine(Goid),
    Channel(ChanAddr),
    Finding(String),
    Site(String, Option<WaitReason>),
}

/// A list: what it keeps, in which order, and where its reader is.
#[derive(Debug)]
pub(super) struct List {
    tab: Tab,
    pub(super) order: usize,
    pub(super) reversed: bool,
    pub(super) typed: String,
    /// Of goroutines: the runtime's own as well.
    pub(super) system: bool,
    /// Indices into what the look has of this kind.
    pub(super) rows: Vec<u32>,
    /// All of them in order, until there is another look.
    ordered: Option<Ordered>,
    pub(super) selected: usize,
    /// The first row on the screen.
    pub(super) offset: usize,
}

/// All rows in an order: to order many takes longer than to filter them.
#[derive(Debug)]
struct Ordered {
    by: usize,
    rows: Vec<u32>,
}

impl List {
    pub(super) fn new(tab: Tab) -> List {
        List {
            tab,
            order: tab.first_order(),
            reversed: false,
            typed: String::new(),
            system: false,
            rows: Vec::new(),
            ordered: None,
            selected: 0,
            offset: 0,
        }
    }

    /// There is another look.
    pub(super) fn forget(&mut self) {
        self.ordered = None;
    }

    /// Makes the rows anew; the row that is selected stays so wherever it goes. `subject` is what that was
    /// about.
    pub(super) fn arrange(&mut self, look: &Look, subject: Option<&Subject>) {
        let filter = Filter::new(&self.typed);
        let ordered = self.ordered.take().filter(|it| it.by == self.order);
        let ordered = ordered.unwrap_or_else(|| Ordered {
            by: self.order,
            rows: self.all_in_order(look),
        });
        self.rows = self.kept(look, &filter, &ordered.rows);
        self.ordered = Some(ordered);
        if self.reversed {
            self.rows.reverse();
        }
        let found = subject.and_then(|subject| {
            let is = |row: &u32| is_about(self.tab, look, *row, subject);
            self.rows.iter().position(is)
        });
        let last = self.rows.len().saturating_sub(1);
        self.selected = found.unwrap_or(self.selected).min(last);
    }

    /// What the selected row is about.
    pub(super) fn subject(&self, look: &Look) -> Option<Subject> {
        let row = *self.rows.get(self.selected)?;
        subject(self.tab, look, row)
    }

    /// Moves the selection by so many rows.
    pub(super) fn step(&mut self, by: isize) {
        let last = self.rows.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(by).min(last);
    }

    /// The rows that the filter keeps, in the order that they are in.
    fn kept(&self, look: &Look, filter: &Filter, rows: &[u32]) -> Vec<u32> {
        fn keep<'l, T>(rows: &[u32], all: &'l [T], keeps: impl Fn(u32, &'l T) -> bool) -> Vec<u32> {
            let kept = rows.iter().copied();
            kept.filter(|&row| all.get(row as usize).is_some_and(|it| keeps(row, it)))
                .collect()
        }
        match self.tab {
            Tab::Goroutines => {
                let words = Words::new(filter, look);
                keep(rows, &look.snapshot.goroutines, |row, it| {
                    (self.system || !it.system) && words.keep(look, row, it)
                })
            }
            Tab::Channels if filter.is_empty() => rows.to_vec(),
            Tab::Channels => {
                let types = Types::new(&look.snapshot.channels);
                keep(rows, &look.snapshot.channels, |_, it| {
                    let name = types.lower(&it.elem_type);
                    filter.keeps(|word| {
                        name.contains(word)
                            || channel_state(it).contains(word)
                            || is_in_address(it.addr, word)
                    })
                })
            }
            Tab::Findings => keep(rows, &look.findings, |_, it| {
                filter.keeps_texts(&[
                    it.kind.name(),
                    it.verdict.name(),
                    &it.reason.to_lowercase(),
                    &it.id.to_lowercase(),
                ])
            }),
            Tab::Sites => keep(rows, &look.sites, |_, it| {
                filter.keeps_texts(&[look.place_search(it.place), it.reason.map_or("", lower)])
            }),
        }
    }

    fn all_in_order(&self, look: &Look) -> Vec<u32> {
        match self.tab {
            Tab::Goroutines => self.goroutines(look),
            Tab::Channels => self.channels(look),
            Tab::Findings => self.findings(&look.findings),
            Tab::Sites => self.sites(&look.sites),
        }
    }

    /// Those that are equal in what the list goes by are by goid.
    fn goroutines(&self, look: &Look) -> Vec<u32> {
        let all = &look.snapshot.goroutines;
        let by_goid = look.by_goid().iter();
        let all = by_goid.filter_map(|&at| Some((all.get(at as usize)?, at)));
        match self.order {
            0 => all.map(|(_, at)| at).collect(),
            1 => in_order(all.map(|(it, at)| (state_rank(it.state), at))),
            2 => by_text(all.map(|(it, at)| (reason(it), at))),
            3 => in_order(all.map(|(it, at)| {
                // The longest first; who does not wait, or since when nobody knows, last.
                (u64::MAX - look.waited(it).unwrap_or(0), at)
            })),
            4 => in_order(all.map(|(_, at)| (look.at(at), at))),
            _ => in_order(all.map(|(_, at)| (look.created(at), at))),
        }
    }

    /// Those that are equal in what the list goes by are by address.
    fn channels(&self, look: &Look) -> Vec<u32> {
        let most = |number: usize| u64::MAX - number as u64;
        let all = &look.snapshot.channels;
        let by_addr = look.by_addr().iter();
        let all = by_addr.filter_map(|&at| Some((all.get(at as usize)?, at)));
        match self.order {
            0 => all.map(|(_, at)| at).collect(),
            1 => by_text(all.map(|(it, at)| (&*it.elem_type, at))),
            2 => in_order(all.map(|(it, at)| {
                let waiting = it.send_waiting.len() + it.recv_waiting.len();
                ((u64::MAX - per_mille(it), most(waiting)), at)
            })),
            3 => in_order(all.map(|(it, at)| ((u64::MAX - it.len, u64::MAX - it.cap), at))),
            4 => by_text(all.map(|(it, at)| (channel_state(it), at))),
            5 => in_order(all.map(|(it, at)| (most(it.send_waiting.len()), at))),
            _ => in_order(all.map(|(it, at)| (most(it.recv_waiting.len()), at))),
        }
    }

    fn findings(&self, all: &[Entry]) -> Vec<u32> {
        let mut rows: Vec<(u32, &Entry)> = (0..).zip(all).collect();
        // There are few of them.
        match self.order {
            0 => rows.sort_by_key(|(_, it)| (Reverse(it.verdict), Reverse(it.goroutines.len()))),
            1 => rows.sort_by_key(|(_, it)| (it.kind, Reverse(it.verdict))),
            2 => rows.sort_by_key(|(_, it)| Reverse(it.goroutines.len())),
            _ => rows.sort_by(|(_, one), (_, other)| one.reason.cmp(&other.reason)),
        }
        rows.into_iter().map(|(at, _)| at).collect()
    }

    fn sites(&self, all: &[Site]) -> Vec<u32> {
        let all = all.iter().zip(0..);
        match self.order {
            0 => in_order(all.map(|(it, at)| ((Reverse(it.count), it.place), at))),
            1 => in_order(all.map(|(it, at)| ((Reverse(it.grown.unwrap_or(0)), it.place), at))),
            2 => in_order(all.map(|(it, at)| {
                let reason = it.reason.map_or("", WaitReason::text);
                ((reason, it.place), at)
            })),
            3 => in_order(all.map(|(it, at)| ((Reverse(it.longest), it.place), at))),
            _ => in_order(all.map(|(it, at)| (it.place, at))),
        }
    }
}

/// Indices by a key, else as they come.
fn in_order<K: Ord>(keyed: impl Iterator<Item = (K, u32)>) -> Vec<u32> {
    let mut keyed: Vec<(K, u32)> = keyed.collect();
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    keyed.into_iter().map(|(_, at)| at).collect()
}

/// Indices by a text of which there are few different ones, else as they come.
fn by_text<'a>(keyed: impl Iterator<Item = (&'a str, u32)>) -> Vec<u32> {
    let keyed: Vec<(&str, u32)> = keyed.collect();
    let mut texts: Vec<&str> = keyed.iter().map(|(text, _)| *text).collect();
    texts.dedup();
    texts.sort_unstable();
    texts.dedup();
    let ranks: HashMap<&str, u32> = texts.into_iter().zip(0..).collect();
    let rank = |text: &str| ranks.get(text).copied().unwrap_or(0);
    in_order(keyed.into_iter().map(|(text, at)| (rank(text), at)))
}

/// A filter's words, and which places have them: those are few, where goroutines are many.
struct Words<'a> {
    filter: &'a Filter,
    /// Of each word: of each place, whether it has it.
    places: HashMap<&'a str, Vec<bool>>,
}

impl<'a> Words<'a> {
    fn new(filter: &'a Filter, look: &Look) -> Words<'a> {
        let places = |word: &str| {
            let all = 0..index(look.places());
            all.map(|place| look.place_search(place).contains(word))
                .collect()
        };
        Words {
            filter,
            places: filter.words().map(|word| (word, places(word))).collect(),
        }
    }

    fn keep(&self, look: &Look, at: u32, goroutine: &Goroutine) -> bool {
        self.filter.keeps(|word| {
            let has_place = |place: u32| {
                let places = self.places.get(word);
                places.and_then(|places| places.get(place as usize)) == Some(&true)
            };
            has_place(look.at(at))
                || goroutine.state.name().contains(word)
                || (goroutine.wait.as_ref()).is_some_and(|it| lower(it.reason).contains(word))
                || has_place(look.created(at))
                || has_label(goroutine, word)
                || is_in_number(goroutine.goid.0, word)
        })
    }
}

/// The types of channels in lower case: there are few, where channels are many.
struct Types<'a>(FxHashMap<&'a str, String>);

impl<'a> Types<'a> {
    fn new(channels: &'a [Channel]) -> Types<'a> {
        let mut types = FxHashMap::default();
        for channel in channels {
            let name = &*channel.elem_type;
            types.entry(name).or_insert_with(|| name.to_lowercase());
        }
        Types(types)
    }

    fn lower(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// Whether a word is a part of an address as it is written: `0x` and hexadecimal digits. For so many channels formatting
/// each takes longer than a frame may.
fn is_in_address(addr: ChanAddr, word: &str) -> bool {
    let can_be = |letter: u8| letter.is_ascii_hexdigit() || letter == b'x';
    if word.is_empty() || !word.bytes().all(can_be) {
        return word.is_empty();
    }
    let digits = (64 - addr.0.leading_zeros()).div_ceil(4).max(1) as usize;
    let mut written = *b"0x0123456789abcdef";
    let (_, room) = written.split_at_mut(2);
    for (at, digit) in room.iter_mut().take(digits).enumerate() {
        let nibble = (addr.0 >> (4 * (digits - 1 - at))) as u32 & 0xf;
        *digit = char::from_digit(nibble, 16).map_or(b'?', |it| it as u8);
    }
    let written = written.get(..2 + digits).unwrap_or_default();
    written
        .windows(word.len())
        .any(|part| part == word.as_bytes())
}

/// Whether a word is in one of its labels.
fn has_label(goroutine: &Goroutine, word: &str) -> bool {
    let mut labels = goroutine.labels.iter();
    labels.any(|(key, value)| format!("{key}={value}").to_lowercase().contains(word))
}

/// Whether a word is a part of a number's digits.
fn is_in_number(number: u64, word: &str) -> bool {
    word.bytes().all(|letter| letter.is_ascii_digit()) && number.to_string().contains(word)
}

fn is_about(tab: Tab, look: &Look, row: u32, of: &Subject) -> bool {
    let at = row as usize;
    match (tab, of) {
        (Tab::Goroutines, Subject::Goroutine(goid)) => {
            let goroutine = look.snapshot.goroutines.get(at);
            goroutine.is_some_and(|it| it.goid == *goid)
        }
        (Tab::Channels, Subject::Channel(addr)) => {
            let channel = look.snapshot.channels.get(at);
            channel.is_some_and(|it| it.addr == *addr)
        }
        (Tab::Findings, Subject::Finding(id)) => {
            look.findings.get(at).is_some_and(|it| it.id == *id)
        }
        (Tab::Sites, Subject::Site(place, reason)) => {
            let site = look.sites.get(at);
            site.is_some_and(|it| it.reason == *reason && look.place(it.place) == place)
        }
        _ => false,
    }
}

fn subject(tab: Tab, look: &Look, row: u32) -> Option<Subject> {
    let at = row as usize;
    Some(match tab {
        Tab::Goroutines => Subject::Goroutine(look.snapshot.goroutines.get(at)?.goid),
        Tab::Channels => Subject::Channel(look.snapshot.channels.get(at)?.addr),
        Tab::Findings => Subject::Finding(look.findings.get(at)?.id.clone()),
        Tab::Sites => {
            let site = look.sites.get(at)?;
            Subject::Site(look.place(site.place).to_owned(), site.reason)
        }
    })
}

/// Why it waits, in the runtime's words; empty if it does not.
pub(super) fn reason(goroutine: &Goroutine) -> &'static str {
    let wait = goroutine.wait.as_ref();
    wait.map_or("", |wait| wait.reason.text())
}

/// A reason's text in lower case, as filters have it.
fn lower(reason: WaitReason) -> &'static str {
    static LOWER: LazyLock<HashMap<WaitReason, String>> = LazyLock::new(|| {
        let known = WaitReason::KNOWN.iter();
        known
            .map(|reason| (*reason, reason.text().to_lowercase()))
            .collect()
    });
    LOWER.get(&reason).map_or("", String::as_str)
}

/// What happens, first.
const fn state_rank(state: State) -> u64 {
    match state {
        State::Running => 0,
        State::Runnable => 1,
        State::Syscall => 2,
        State::Leaked => 3,
        State::Waiting => 4,
        State::Copystack | State::Preempted => 5,
        State::Idle | State::Dead => 6,
    }
}

/// How full a channel's buffer is.
pub(super) fn per_mille(channel: &Channel) -> u64 {
    let share = u128::from(channel.len.min(channel.cap)) * 1000;
    let share = share.checked_div(u128::from(channel.cap)).unwrap_or(0);
    u64::try_from(share).unwrap_or(0)
}

/// How a channel is.
pub(super) const fn channel_state(channel: &Channel) -> &'static str {
    match channel {
        Channel { moving: true, .. } => "moving",
        Channel { closed: true, .. } => "closed",
        Channel { len, cap, .. } if *cap > 0 && *len == *cap => "full",
        _ => "open",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_by_any_part_of_it() {
        for (word, is) in [
            ("0xc000", true),
            ("c0001000", true),
            ("0", true),
            ("c0002", false),
            ("chan", false),
        ] {
            assert_eq!(is_in_address(ChanAddr(0xc000_1000), word), is, "{word}");
        }
        for addr in [0, 0xf, 0xc000_0123_4560, u64::MAX] {
            let addr = ChanAddr(addr);
            assert!(is_in_address(addr, &addr.to_string()), "{addr}");
        }
    }
}
