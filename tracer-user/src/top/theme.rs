//! How things look; without colours they differ by weight.

use ratatui::style::{Color, Modifier, Style};

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    colours: bool,
}

impl Theme {
    /// `colours`: whether the terminal shows them and the user wants them.
    pub(crate) const fn new(colours: bool) -> Theme {
        Theme { colours }
    }

    const fn pick(self, colour: Color, otherwise: Modifier) -> Style {
        match self.colours {
            true => Style::new().fg(colour),
            false => Style::new().add_modifier(otherwise),
        }
    }

    pub(super) const fn plain(self) -> Style {
        Style::new()
    }

    /// Names and headings.
    pub(super) const fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub(super) const fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What needs a person.
    pub(super) const fn alarm(self) -> Style {
        self.pick(Color::Red, Modifier::UNDERLINED)
            .add_modifier(Modifier::BOLD)
    }

    /// What a person should know.
    pub(super) const fn notice(self) -> Style {
        self.pick(Color::Yellow, Modifier::BOLD)
    }

    /// What is as it should be.
    pub(super) const fn good(self) -> Style {
        self.pick(Color::Green, Modifier::empty())
    }

    /// Graphs and bars.
    pub(super) const fn graph(self) -> Style {
        self.pick(Color::Cyan, Modifier::empty())
    }

    /// The row or tab that keys are about.
    pub(super) const fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The heads of columns.
    pub(super) const fn head(self) -> Style {
        self.pick(Color::Cyan, Modifier::empty())
            .add_modifier(Modifier::BOLD)
    }
}
