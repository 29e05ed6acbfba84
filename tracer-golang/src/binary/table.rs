//! Layouts of released Go versions, as data: `data/layouts.json`, extracted from the DWARF of
//! programs that real toolchains built (`cargo xtask layouts`). It serves binaries without DWARF.
//!
//! The key is the full version: patch releases have moved fields (Go 1.24 did, in `runtime.m`). So a
//! version that is not in the table gets a neighbour's layouts only where that is a likely guess,
//! marked as one, for the self-check on the live target to decide.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::layout::{LayoutSource, MissingLayout, Moduledata, RuntimeLayout};

use super::dwarf::{DwarfLayouts, DwarfSections};
use super::elf::Elf;
use super::{Arch, GoBinary, GoVersion, LayoutOrigin};

static TABLE: LazyLock<LayoutTable> = LazyLock::new(|| {
    LayoutTable::from_json(include_str!("../../data/layouts.json"))
        .expect("data/layouts.json is written by LayoutTable::to_json")
});

/// Layouts by Go version and architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutTable {
    /// Distinct layouts, named after the oldest version that has them.
    layouts: BTreeMap<Key, Layouts>,
    /// Which of them each version has.
    versions: BTreeMap<Key, Key>,
}

/// The structs of one version, by Go name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Layouts(BTreeMap<String, StructLayout>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StructLayout {
    size: u32,
    /// Offsets by path, e.g. `sched.sp`. What the version does not have is left out.
    fields: BTreeMap<String, u32>,
}

impl Layouts {
    /// Where the table has something else than the toolchain.
    fn differences(&self, table: &Layouts) -> impl Iterator<Item = String> {
        let (real, table) = (self.numbers(), table.numbers());
        let names: BTreeSet<String> = real.keys().chain(table.keys()).cloned().collect();
        names.into_iter().filter_map(move |name| {
            let said = |number: Option<&u32>| number.map_or("nothing".to_owned(), u32::to_string);
            let (real, table) = (real.get(&name), table.get(&name));
            (real != table).then(|| {
                format!(
                    "{name} is {} by the toolchain, {} in the table",
                    said(real),
                    said(table)
                )
            })
        })
    }

    /// Every size and offset by its name.
    fn numbers(&self) -> BTreeMap<String, u32> {
        self.0
            .iter()
            .flat_map(|(name, strukt)| {
                let fields = strukt.fields.iter();
                fields
                    .map(move |(field, offset)| (format!("the offset of {name}.{field}"), *offset))
                    .chain([(format!("the size of {name}"), strukt.size)])
            })
            .collect()
    }
}

impl StructLayout {
    /// Whether two are of the same size and have the fields that both know in the same places.
    fn agrees(&self, other: &StructLayout) -> bool {
        let same = |(field, at): (&String, &u32)| other.fields.get(field).is_none_or(|it| it == at);
        self.size == other.size && self.fields.iter().all(same)
    }
}

/// Why a binary's layouts cannot become part of the table.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// Experiments and vendors' versions are no releases.
    #[error("{0} is not a plain Go release")]
    NotARelease(GoVersion),
    /// Without DWARF there is nothing to extract.
    #[error("the binary has no readable DWARF")]
    NoDwarf,
    /// The DWARF lacks a struct or field.
    #[error(transparent)]
    Missing(#[from] MissingLayout),
}

impl LayoutTable {
    /// Reads a table.
    ///
    /// # Errors
    /// If it is not of the form that [`LayoutTable::to_json`] writes.
    pub fn from_json(json: &str) -> serde_json::Result<LayoutTable> {
        serde_json::from_str(json)
    }

    /// Writes the table, in a stable order.
    ///
    /// # Panics
    /// Never: its keys are texts.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a table of texts and numbers");
        json.push('\n');
        json
    }

    /// Adds what a binary's DWARF says about its Go version, in place of what was known of it.
    ///
    /// # Errors
    /// If the version is no release or the DWARF lacks something that [`RuntimeLayout`] asks for.
    pub fn add(&mut self, binary: &GoBinary) -> Result<(), ExtractError> {
        let version = binary.go_version();
        if !version.is_plain_release() {
            return Err(ExtractError::NotARelease(version.clone()));
        }
        self.insert(Key::new(version, binary.arch()), extract(&binary.elf)?);
        Ok(())
    }

    /// Where a binary's DWARF and what the table has for exactly its version and architecture differ:
    /// one line for each struct's size and each field. Empty if they agree.
    ///
    /// # Errors
    /// As [`LayoutTable::add`].
    pub fn differences(&self, binary: &GoBinary) -> Result<Vec<String>, ExtractError> {
        let version = binary.go_version();
        if !version.is_plain_release() {
            return Err(ExtractError::NotARelease(version.clone()));
        }
        let key = Key::new(version, binary.arch());
        let real = extract(&binary.elf)?;
        let Some(known) = self.get(&key) else {
            return Ok(vec![format!("{}: it is not in the table", key.text)]);
        };
        let lines = real.differences(known);
        Ok(lines.map(|line| format!("{}: {line}", key.text)).collect())
    }

    /// The versions in the table, e.g. `go1.27.3/amd64`, by version.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.versions.keys().map(|key| key.text.as_str())
    }

    fn insert(&mut self, key: Key, layouts: Layouts) {
        // All anew, so that names and sharing do not depend on the order of insertion.
        let mut all: BTreeMap<Key, Layouts> = self
            .versions
            .iter()
            .filter_map(|(key, name)| Some((key.clone(), self.layouts.get(name)?.clone())))
            .collect();
        all.insert(key, layouts);
        *self = LayoutTable::default();
        for (key, layouts) in all {
            let same = self.layouts.iter().find(|(_, known)| **known == layouts);
            let name = match same {
                Some((name, _)) => name.clone(),
                None => {
                    self.layouts.insert(key.clone(), layouts);
                    key.clone()
                }
            };
            self.versions.insert(key, name);
        }
    }

    fn get(&self, key: &Key) -> Option<&Layouts> {
        self.layouts.get(self.versions.get(key)?)
    }

    /// Whether two layouts differ at most in `runtime.m`. Of a thread only its own g's are wanted, to
    /// leave them out of a mark, and each proves itself: with the wrong offsets fewer are found,
    /// which can cost a verdict but not make a wrong one (`GoProcess::threads`).
    ///
    /// A field that only one of them has was not asked for yet when the other was extracted.
    fn alike(&self, one: &Key, other: &Key) -> bool {
        let (Some(Layouts(ones)), Some(Layouts(others))) =
            (self.layouts.get(one), self.layouts.get(other))
        else {
            return false;
        };
        let wanted = |structs: &BTreeMap<String, StructLayout>| {
            let mut structs = structs.clone();
            structs.remove("runtime.m");
            structs
        };
        let (ones, others) = (wanted(ones), wanted(others));
        let same = |(name, one): (&String, &StructLayout)| {
            others.get(name).is_some_and(|other| one.agrees(other))
        };
        one == other || (ones.len() == others.len() && ones.iter().all(same))
    }

    /// Which entry to use for a version, and how it relates to it.
    fn choose(&self, version: &GoVersion, arch: Arch) -> Option<(&Key, Choice)> {
        let exact = Key::new(version, arch);
        if let Some((key, _)) = self.versions.get_key_value(&exact) {
            return Some(match version.is_plain_release() {
                true => (key, Choice::Exact),
                false => (key, Choice::Nearest),
            });
        }
        let known = || {
            self.versions
                .iter()
                .filter(|(key, _)| key.arch == arch.name())
        };
        let siblings: Vec<_> = known()
            .filter(|(key, _)| key.release() == exact.release())
            .collect();
        let below = siblings.iter().rfind(|(key, _)| key.number < exact.number);
        let above = siblings.iter().find(|(key, _)| key.number > exact.number);
        match (below, above) {
            // A later patch release than we know.
            (Some((key, _)), None) => Some((key, Choice::Nearest)),
            // Nothing moved from the release before to the one after.
            (Some((key, name)), Some((_, other))) if self.alike(name, other) => {
                Some((key, Choice::Nearest))
            }
            // Nothing moved in any later patch release.
            (None, Some((key, name)))
                if siblings.iter().all(|(_, other)| self.alike(name, other)) =>
            {
                Some((key, Choice::Nearest))
            }
            (None, None) => {
                let (newest, _) = known().next_back()?;
                (newest.release() < exact.release()).then_some((newest, Choice::Newest))
            }
            _ => None,
        }
    }
}

/// How a table's entry relates to the version that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Exact,
    Nearest,
    Newest,
}

/// Layouts for a version, from the table that is compiled in.
pub(super) fn lookup(
    version: &GoVersion,
    arch: Arch,
) -> Option<(&'static dyn LayoutSource, LayoutOrigin)> {
    let table = LazyLock::force(&TABLE);
    let (key, choice) = table.choose(version, arch)?;
    let origin = match choice {
        Choice::Exact => LayoutOrigin::Table,
        Choice::Nearest => LayoutOrigin::TableNearest(key.version()),
        Choice::Newest => LayoutOrigin::TableNewest(key.version()),
    };
    Some((table.get(key)?, origin))
}

/// The layouts of `runtime.moduledata` in all versions for an architecture, newest first.
pub(super) fn moduledata(arch: Arch) -> impl Iterator<Item = Moduledata> {
    TABLE
        .versions
        .iter()
        .rev()
        .filter(move |(key, _)| key.arch == arch.name())
        .filter_map(|(_, name)| Moduledata::from_source(TABLE.layouts.get(name)?).ok())
}

impl LayoutSource for Layouts {
    fn size(&self, strukt: &str) -> Option<u32> {
        Some(self.0.get(strukt)?.size)
    }

    fn offset(&self, strukt: &str, field: &str) -> Option<u32> {
        self.0.get(strukt)?.fields.get(field).copied()
    }
}

/// Everything that [`RuntimeLayout`] asks a source for, from a file's DWARF.
fn extract(elf: &Elf) -> Result<Layouts, ExtractError> {
    let sections = DwarfSections::read(elf).ok_or(ExtractError::NoDwarf)?;
    let dwarf = DwarfLayouts::read(&sections, &RuntimeLayout::structs())
        .map_err(|_| ExtractError::NoDwarf)?;
    let recorder = Recorder {
        source: &dwarf,
        answers: RefCell::default(),
    };
    RuntimeLayout::from_source(&recorder)?;
    Ok(recorder.answers.into_inner())
}

/// A source that notes what another one answered.
struct Recorder<'a> {
    source: &'a dyn LayoutSource,
    answers: RefCell<Layouts>,
}

impl LayoutSource for Recorder<'_> {
    fn size(&self, strukt: &str) -> Option<u32> {
        let size = self.source.size(strukt)?;
        let mut answers = self.answers.borrow_mut();
        answers.0.entry(strukt.to_owned()).or_default().size = size;
        Some(size)
    }

    fn offset(&self, strukt: &str, field: &str) -> Option<u32> {
        let offset = self.source.offset(strukt, field)?;
        let mut answers = self.answers.borrow_mut();
        let strukt = answers.0.entry(strukt.to_owned()).or_default();
        strukt.fields.insert(field.to_owned(), offset);
        Some(offset)
    }
}

/// A release and architecture, `go1.27.3/amd64`, ordered by architecture, then version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Key {
    arch: String,
    number: (u16, u16, u16),
    text: String,
}

impl Key {
    fn new(version: &GoVersion, arch: Arch) -> Key {
        let number = version.number();
        let (major, minor, patch) = number;
        Key {
            arch: arch.name().to_owned(),
            number,
            text: format!("go{major}.{minor}.{patch}/{arch}"),
        }
    }

    /// Major and minor version.
    fn release(&self) -> (u16, u16) {
        (self.number.0, self.number.1)
    }

    fn version(&self) -> &str {
        self.text
            .split_once('/')
            .map_or(&*self.text, |(version, _)| version)
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Key, String> {
        let (version, arch) = text
            .split_once('/')
            .ok_or_else(|| format!("{text}: not of the form go1.27.3/amd64"))?;
        let version =
            GoVersion::parse(version).ok_or_else(|| format!("{text}: not a Go version"))?;
        Ok(Key {
            arch: arch.to_owned(),
            number: version.number(),
            text,
        })
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, u32)]) -> LayoutTable {
        let mut table = LayoutTable::default();
        for (version, size) in entries {
            let version = GoVersion::parse(version).expect("a version");
            let layouts = Layouts(BTreeMap::from([(
                "runtime.g".to_owned(),
                StructLayout {
                    size: *size,
                    fields: BTreeMap::new(),
                },
            )]));
            table.insert(Key::new(&version, Arch::Amd64), layouts);
        }
        table
    }

    #[test]
    fn chooses_by_full_version() {
        let table = table(&[
            ("go1.19.8", 1),
            ("go1.23.1", 2),
            ("go1.23.9", 3),
            ("go1.27.1", 4),
            ("go1.27.3", 4),
        ]);
        use Choice::{Exact, Nearest, Newest};
        let cases = [
            ("go1.27.3", Some(("go1.27.3", Exact))),
            ("go1.19.8", Some(("go1.19.8", Exact))),
            ("go1.27.3-X:something", Some(("go1.27.3", Nearest))),
            ("go1.27.2", Some(("go1.27.1", Nearest))),
            ("go1.27.9", Some(("go1.27.3", Nearest))),
            ("go1.27.0", Some(("go1.27.1", Nearest))),
            ("go1.27rc1", Some(("go1.27.1", Nearest))),
            ("go1.23.10", Some(("go1.23.9", Nearest))),
            // Fields moved somewhere between .1 and .9, and may have moved before.
            ("go1.23.5", None),
            ("go1.23.0", None),
            ("go1.20.14", None),
            ("go1.28.0", Some(("go1.27.3", Newest))),
            ("devel go1.29-abcdef", Some(("go1.27.3", Newest))),
        ];
        for (text, expected) in cases {
            let version = GoVersion::parse(text).expect("a version");
            let found = table
                .choose(&version, Arch::Amd64)
                .map(|(key, choice)| (key.version(), choice));
            assert_eq!(found, expected, "{text}");
            assert_eq!(table.choose(&version, Arch::Arm64), None, "{text}");
        }
    }

    #[test]
    fn what_threads_look_like_does_not_matter() {
        let mut table = table(&[("go1.24.3", 1), ("go1.24.11", 1)]);
        let version = GoVersion::parse("go1.24.11").expect("a version");
        let key = Key::new(&version, Arch::Amd64);
        let mut layouts = table.get(&key).expect("it is there").clone();
        layouts
            .0
            .insert("runtime.m".to_owned(), StructLayout::default());
        table.insert(key, layouts);
        assert_eq!(table.layouts.len(), 2);
        for (text, expected) in [("go1.24.0", "go1.24.3"), ("go1.24.5", "go1.24.3")] {
            let version = GoVersion::parse(text).expect("a version");
            let found = table.choose(&version, Arch::Amd64);
            let found = found.map(|(key, choice)| (key.version(), choice));
            assert_eq!(found, Some((expected, Choice::Nearest)), "{text}");
        }
    }

    #[test]
    fn a_field_that_was_not_asked_for_yet_does_not_matter_but_one_elsewhere_does() {
        let version = GoVersion::parse("go1.24.11").expect("a version");
        let key = Key::new(&version, Arch::Amd64);
        for (field, expected) in [("new", Some("go1.24.3")), ("old", None)] {
            let mut table = table(&[("go1.24.3", 1), ("go1.24.11", 1)]);
            let before = GoVersion::parse("go1.24.3").expect("a version");
            for (key, at) in [(&Key::new(&before, Arch::Amd64), 8), (&key, 16)] {
                let mut layouts = table.get(key).expect("it is there").clone();
                let fields = &mut layouts.0.entry("runtime.g".to_owned()).or_default().fields;
                fields.insert("old".to_owned(), if field == "old" { at } else { 8 });
                if at == 16 {
                    fields.insert("new".to_owned(), at);
                }
                table.insert(key.clone(), layouts);
            }
            let version = GoVersion::parse("go1.24.5").expect("a version");
            let found = table.choose(&version, Arch::Amd64);
            assert_eq!(found.map(|(key, _)| key.version()), expected, "{field}");
        }
    }

    #[test]
    fn shares_equal_layouts_and_survives_json() {
        let table = table(&[("go1.27.3", 4), ("go1.27.1", 4), ("go1.19", 1)]);
        assert_eq!(table.layouts.len(), 2);
        let json = table.to_json();
        assert_eq!(LayoutTable::from_json(&json).expect("our own JSON"), table);
        assert!(
            json.contains(r#""go1.27.3/amd64": "go1.27.1/amd64""#),
            "{json}"
        );
        assert_eq!(
            table.versions().collect::<Vec<_>>(),
            ["go1.19.0/amd64", "go1.27.1/amd64", "go1.27.3/amd64"]
        );
    }

    #[test]
    fn differences_are_told_field_by_field() {
        let layouts = |size, fields: &[(&str, u32)]| {
            let fields = fields.iter().map(|(name, at)| ((*name).to_owned(), *at));
            let strukt = StructLayout {
                size,
                fields: fields.collect(),
            };
            Layouts(BTreeMap::from([("runtime.g".to_owned(), strukt)]))
        };
        let real = layouts(8, &[("goid", 0), ("m", 4)]);
        assert_eq!(real.differences(&real).count(), 0);
        let table = layouts(9, &[("goid", 1), ("gone", 2)]);
        assert_eq!(
            real.differences(&table).collect::<Vec<_>>(),
            [
                "the offset of runtime.g.goid is 0 by the toolchain, 1 in the table",
                "the offset of runtime.g.gone is nothing by the toolchain, 2 in the table",
                "the offset of runtime.g.m is 4 by the toolchain, nothing in the table",
                "the size of runtime.g is 8 by the toolchain, 9 in the table",
            ]
        );
    }

    #[test]
    fn every_compiled_in_version_is_complete() {
        for (key, name) in &TABLE.versions {
            let layouts = TABLE.layouts.get(name);
            let layout = RuntimeLayout::from_source(layouts.expect("its layouts"));
            assert!(layout.is_ok(), "{}: {layout:?}", key.text);
        }
        assert!(TABLE.versions.len() >= 16, "regenerate data/layouts.json");
    }
}
