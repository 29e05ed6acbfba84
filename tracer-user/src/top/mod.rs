//! `gotrace top`: a console for one target. Pure: told what is seen ([`look`]), what a trace says and which keys
//! are pressed ([`input`]), it keeps what is shown ([`state`]) and draws it ([`view`]). Whoever asks the target and
//! owns the terminal is `crate::commands::top`.
//!
//! A frame costs what is visible, whatever the number of goroutines: lists are ordered when what they are made
//! from changes, never when they are drawn, and of a list only the rows on the screen are made into text.

mod detail;
mod filter;
pub(crate) mod input;
mod lists;
pub(crate) mod look;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod theme;
mod view;

pub(crate) use state::{Ask, Event, State};
pub(crate) use theme::Theme;
pub(crate) use view::draw;
