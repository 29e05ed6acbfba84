//! How long the console takes for a frame, measured on a file: for docs/top.md, not for people.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use serde::Serialize;

use super::oneshot::print_json;
use crate::top::look::Look;
use crate::top::{Event, State, draw};

/// A large terminal.
const SCREEN: Rect = Rect::new(0, 0, 200, 60);
/// What is pressed, over and over: steps, ends, other orders, a filter letter by letter, all that in
/// another list, the lists, a closer look.
const KEYS: &str = "jjGgsssssrr/main\n\x1b2G/cafe\n\x1bsss34\n\x1b1\n\x1b";

/// Milliseconds.
#[derive(Serialize)]
struct Measured {
    goroutines: usize,
    channels: usize,
    frames: usize,
    /// From a key to the end of the frame that shows what it did.
    median: f64,
    worst: f64,
    worst_key: String,
    /// From a new look to that.
    look_median: f64,
    look_worst: f64,
}

/// Presses keys and draws so many frames, and says how long that took. `state` knows `look`.
pub(super) fn measure(mut state: State, look: &Arc<Look>, frames: usize) -> anyhow::Result<()> {
    let mut terminal = Terminal::with_options(
        CrosstermBackend::new(std::io::sink()),
        TerminalOptions {
            viewport: Viewport::Fixed(SCREEN),
        },
    )?;
    let mut frame = |state: &mut State, event| -> anyhow::Result<Duration> {
        let began = Instant::now();
        state.update(event);
        terminal.draw(|frame| draw(frame, state))?;
        Ok(began.elapsed())
    };
    let mut looks = Vec::new();
    let mut keys = Vec::new();
    for (at, key) in KEYS.chars().cycle().take(frames).enumerate() {
        if at % 10 == 0 {
            looks.push(frame(&mut state, Event::Look(Arc::clone(look)))?);
        }
        let code = match key {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            letter => KeyCode::Char(letter),
        };
        let event = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
        keys.push((frame(&mut state, event)?, key));
    }
    looks.sort_unstable();
    keys.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let of = |times: &[Duration], at: usize| times.get(at).copied().map_or(0.0, milliseconds);
    let worst = keys.last().copied().unwrap_or_default();
    let middle = keys.get(keys.len() / 2).copied().unwrap_or_default();
    let (goroutines, channels) = look.size();
    print_json(&Measured {
        goroutines,
        channels,
        frames: keys.len(),
        median: milliseconds(middle.0),
        worst: milliseconds(worst.0),
        worst_key: worst.1.escape_debug().to_string(),
        look_median: of(&looks, looks.len() / 2),
        look_worst: of(&looks, looks.len().saturating_sub(1)),
    })
}
