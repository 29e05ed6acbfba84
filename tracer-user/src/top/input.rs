//! What keys mean.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::lists::Tab;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    /// Back, or out.
    Back,
    Enter,
    /// Up or down by so many rows,
    Step(isize),
    /// or by so many screens,
    Page(isize),
    First,
    Last,
    Tab(Tab),
    NextTab(isize),
    /// The next column, or the one before, decides the order.
    Order(isize),
    Reverse,
    Filter,
    Pause,
    Help,
    /// The runtime's own goroutines as well.
    System,
    /// Why the goroutine waits.
    Why,
    /// To the channel that the goroutine waits on.
    Channel,
    /// Of what is typed as a filter.
    Type(char),
    Erase,
    EraseAll,
}

/// What a key means, while a filter is typed or not.
pub(super) fn action(key: KeyEvent, typing: bool) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && key.code == KeyCode::Char('c') {
        return Some(Action::Quit);
    }
    match key.code {
        KeyCode::Esc => return Some(Action::Back),
        KeyCode::Enter => return Some(Action::Enter),
        KeyCode::Up => return Some(Action::Step(-1)),
        KeyCode::Down => return Some(Action::Step(1)),
        KeyCode::PageUp => return Some(Action::Page(-1)),
        KeyCode::PageDown => return Some(Action::Page(1)),
        _ => {}
    }
    if typing {
        return match key.code {
            KeyCode::Backspace => Some(Action::Erase),
            KeyCode::Char('u') if control => Some(Action::EraseAll),
            KeyCode::Char(letter) if !control => Some(Action::Type(letter)),
            _ => None,
        };
    }
    Some(match key.code {
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        KeyCode::Char('b') if control => Action::Page(-1),
        KeyCode::Char('f') if control => Action::Page(1),
        KeyCode::Char(_) if control => return None,
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('k') => Action::Step(-1),
        KeyCode::Char('j') => Action::Step(1),
        KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => Action::NextTab(1),
        KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => Action::NextTab(-1),
        KeyCode::Char('1') => Action::Tab(Tab::Goroutines),
        KeyCode::Char('2') => Action::Tab(Tab::Channels),
        KeyCode::Char('3') => Action::Tab(Tab::Findings),
        KeyCode::Char('4') => Action::Tab(Tab::Sites),
        KeyCode::Char('s' | '>') => Action::Order(1),
        KeyCode::Char('S' | '<') => Action::Order(-1),
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Char(' ' | 'p') => Action::Pause,
        KeyCode::Char('?') | KeyCode::F(1) => Action::Help,
        KeyCode::Char('u') => Action::System,
        KeyCode::Char('w') => Action::Why,
        KeyCode::Char('c') => Action::Channel,
        _ => return None,
    })
}

/// The keys, as help tells them.
pub(super) const HELP: [(&str, &str); 17] = [
    (
        "1 2 3 4, Tab, ← →",
        "the lists: goroutines, channels, findings, sites",
    ),
    (
        "↑ ↓, j k, PgUp PgDn",
        "move; g or Home to the first row, G or End to the last",
    ),
    ("Enter", "look closer; of a site, list its goroutines"),
    ("Esc", "back; in a list, drop the filter"),
    (
        "/",
        "filter as you type: words that all must be there, !word must not",
    ),
    ("s S, > <", "sort by the next column, or the one before"),
    ("r", "reverse the order"),
    ("u", "show the runtime's own goroutines as well, or not"),
    (
        "w",
        "why the goroutine waits: a search of the target's memory",
    ),
    ("c", "from a goroutine to the channel it waits on"),
    (
        "Space, p",
        "pause: the lists stand still, the header goes on",
    ),
    ("q, Ctrl-C", "quit; the probes go, the target runs on"),
    ("", ""),
    (
        "SINCE",
        "at least so long; exact from an event, else since a collection saw it",
    ),
    (
        "~",
        "a state that may have changed unseen since it was last known",
    ),
    (
        "tax",
        "what the probes take of the target's CPU time: hits times the cost of one",
    ),
    (
        "≈",
        "not counted but estimated, from short windows (95 % interval)",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_commands_unless_a_filter_is_typed() {
        let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
        for (code, command, typed) in [
            (
                KeyCode::Char('q'),
                Some(Action::Quit),
                Some(Action::Type('q')),
            ),
            (
                KeyCode::Char(' '),
                Some(Action::Pause),
                Some(Action::Type(' ')),
            ),
            (KeyCode::Down, Some(Action::Step(1)), Some(Action::Step(1))),
            (KeyCode::Esc, Some(Action::Back), Some(Action::Back)),
            (KeyCode::Backspace, None, Some(Action::Erase)),
            (KeyCode::Char('z'), None, Some(Action::Type('z'))),
        ] {
            assert_eq!(action(key(code), false), command, "{code:?}");
            assert_eq!(action(key(code), true), typed, "{code:?}");
        }
        let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(action(end, true), Some(Action::Quit));
    }
}
