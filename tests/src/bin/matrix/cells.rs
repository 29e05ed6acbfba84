//! A cell of the matrix, and what came out of it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{file, live};

/// Programs that one Go version built for one architecture in one way.
#[derive(Debug)]
pub(crate) struct Cell {
    /// The version, without `go`.
    pub(crate) go: String,
    /// The `go` command that built them.
    pub(crate) command: PathBuf,
    pub(crate) arch: String,
    /// The way.
    pub(crate) column: String,
    /// Whether C code is linked into them.
    pub(crate) cgo: bool,
    /// Where they are.
    pub(crate) directory: PathBuf,
    /// Where the same programs with symbols are, if these have none.
    pub(crate) with_symbols: Option<PathBuf>,
    /// Why they could not be built.
    error: Option<String>,
}

/// What came out of a cell.
pub(crate) enum Outcome {
    /// Everything agreed; what was compared.
    Passed(Figures),
    /// What did not agree.
    Failed(String),
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Sites that are instructions.
    pub(crate) sites: usize,
    /// Of the running program.
    pub(crate) live: Option<Live>,
}

/// What was compared of a running program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) goroutines: usize,
    pub(crate) channels: usize,
    /// Tests of exact counting that passed.
    pub(crate) counting_tests: u64,
}

impl Cell {
    /// The cells of a list by `cargo xtask matrix`.
    #[track_caller]
    pub(crate) fn list(path: &Path) -> Vec<Cell> {
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let list: Value = serde_json::from_str(&text).expect("the list is JSON");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        list.as_array()
            .expect("a list")
            .iter()
            .map(|cell| Cell {
                go: text(&cell["go"]).expect("a version"),
                command: text(&cell["command"]).expect("a path").into(),
                arch: text(&cell["arch"]).expect("an architecture"),
                column: text(&cell["column"]).expect("a way to build"),
                cgo: cell["cgo"].as_bool().expect("yes or no"),
                directory: text(&cell["directory"]).expect("a path").into(),
                with_symbols: text(&cell["with_symbols"]).map(PathBuf::from),
                error: text(&cell["error"]),
            })
            .collect()
    }

    /// Compares everything.
    ///
    /// # Panics
    ///
    /// When something does not agree.
    pub(crate) fn check(&self) -> Outcome {
        if let Some(error) = &self.error {
            return Outcome::Failed(error.clone());
        }
        let mut figures = Figures {
            sites: file::check(self),
            live: None,
        };
        if self.arch == std::env::consts::ARCH.replace("x86_64", "amd64") {
            figures.live = Some(live::check(self));
        }
        Outcome::Passed(figures)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "go{} {} {}", self.go, self.arch, self.column)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Passed(Figures { sites, live: None }) => write!(f, "ok, {sites} sites"),
            Outcome::Passed(Figures {
                sites,
                live: Some(live),
            }) => write!(
                f,
                "ok, {sites} sites, {} goroutines, {} channels, {} tests of counting",
                live.goroutines, live.channels, live.counting_tests
            ),
            Outcome::Failed(message) => write!(f, "FAILED: {message}"),
        }
    }
}
