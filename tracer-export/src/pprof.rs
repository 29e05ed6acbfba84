//! A profile as `go tool pprof` reads it: gzipped protobuf.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use indexmap::IndexMap;
use prost::Message as _;
use rustc_hash::FxBuildHasher;
use tracer_model::ids::Pc;
use tracer_model::symbol::{Frame, Symbolizer};

use crate::About;
use crate::profile::{Profile, Stack};

/// Writes a profile.
///
/// # Errors
/// It cannot be written.
pub fn write(
    profile: &Profile,
    about: &About,
    symbols: &dyn Symbolizer,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut tables = Tables::default();
    tables.text("");
    let sample_type: Vec<_> = profile
        .measures
        .iter()
        .map(|measure| schema::ValueType {
            r#type: tables.text(measure.kind),
            unit: tables.text(measure.unit),
        })
        .collect();
    let sample = profile
        .samples
        .iter()
        .map(|(key, numbers)| schema::Sample {
            location_id: tables.stack(&key.stack, symbols),
            value: numbers.clone(),
            label: key
                .labels
                .iter()
                .map(|(name, value)| schema::Label {
                    key: tables.text(name),
                    str: tables.text(value),
                })
                .collect(),
        })
        .collect();
    let mapping = schema::Mapping {
        id: MAPPING,
        // All of it: what an address means is told here, so nobody has to look it up.
        memory_limit: u64::MAX,
        filename: tables.text(&about.exe),
        build_id: tables.text(&about.build_id),
        has_functions: true,
        has_filenames: true,
        has_line_numbers: true,
        has_inline_frames: true,
        ..schema::Mapping::default()
    };
    let comment = profile.comments.iter().map(|it| tables.text(it)).collect();
    let default_sample_type = sample_type.last().map_or(0, |measure| measure.r#type);
    let message = schema::Profile {
        period_type: sample_type.last().copied(),
        period: 1,
        sample_type,
        sample,
        mapping: vec![mapping],
        time_nanos: about.clocks.unix_nanos(profile.from),
        duration_nanos: i64::try_from(profile.duration).unwrap_or(i64::MAX),
        comment,
        default_sample_type,
        location: tables.locations,
        function: tables.functions,
        string_table: tables.texts.into_keys().collect(),
    };
    let mut gzip = GzEncoder::new(out, Compression::default());
    gzip.write_all(&message.encode_to_vec())?;
    gzip.finish()?.flush()
}

/// The only mapping.
const MAPPING: u64 = 1;

/// A place: an address, or words in place of one.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Spot {
    At(Pc),
    Words(Box<str>),
}

/// What is told once and meant by number after that.
#[derive(Default)]
struct Tables {
    texts: IndexMap<String, (), FxBuildHasher>,
    functions: Vec<schema::Function>,
    function_ids: IndexMap<(i64, i64), u64, FxBuildHasher>,
    locations: Vec<schema::Location>,
    location_ids: IndexMap<Spot, u64, FxBuildHasher>,
}

impl Tables {
    fn text(&mut self, text: &str) -> i64 {
        let index = match self.texts.get_index_of(text) {
            Some(index) => index,
            None => self.texts.insert_full(text.to_owned(), ()).0,
        };
        i64::try_from(index).unwrap_or(0)
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let (name, filename) = (self.text(name), self.text(file));
        let next = self.functions.len() as u64 + 1;
        let id = *self.function_ids.entry((name, filename)).or_insert(next);
        if id == next {
            self.functions.push(schema::Function {
                id,
                name,
                system_name: name,
                filename,
            });
        }
        id
    }

    fn location(&mut self, spot: Spot, frames: &[Frame]) -> u64 {
        if let Some(&id) = self.location_ids.get(&spot) {
            return id;
        }
        let id = self.locations.len() as u64 + 1;
        let line = match &spot {
            Spot::At(_) => frames
                .iter()
                .map(|frame| schema::Line {
                    function_id: self.function(&frame.function, &frame.file),
                    line: i64::from(frame.line),
                })
                .collect(),
            Spot::Words(words) => vec![schema::Line {
                function_id: self.function(words, ""),
                line: 0,
            }],
        };
        self.locations.push(schema::Location {
            id,
            mapping_id: MAPPING,
            address: match spot {
                Spot::At(pc) => pc.0,
                Spot::Words(_) => 0,
            },
            line,
        });
        self.location_ids.insert(spot, id);
        id
    }

    fn stack(&mut self, stack: &Stack, symbols: &dyn Symbolizer) -> Vec<u64> {
        let at = |pc: Pc, tables: &mut Tables| {
            let frames = symbols.frames(pc);
            match frames.is_empty() {
                true => tables.location(Spot::Words(pc.to_string().into()), &[]),
                false => tables.location(Spot::At(pc), &frames),
            }
        };
        match stack {
            Stack::Frames(pcs) => pcs.iter().map(|&pc| at(pc, self)).collect(),
            Stack::Unknown { why, start } => {
                let words = Spot::Words(format!("[{why}]").into());
                let mut ids = vec![self.location(words, &[])];
                ids.extend(start.map(|start| at(start, self)));
                ids
            }
        }
    }
}

/// `proto/profile.proto` of google/pprof, as far as it is written; written out here, since generating it would need
/// protoc. A test lets `go tool pprof` read what is written.
mod schema {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Profile {
        #[prost(message, repeated, tag = "1")]
        pub(super) sample_type: Vec<ValueType>,
        #[prost(message, repeated, tag = "2")]
        pub(super) sample: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) mapping: Vec<Mapping>,
        #[prost(message, repeated, tag = "4")]
        pub(super) location: Vec<Location>,
        #[prost(message, repeated, tag = "5")]
        pub(super) function: Vec<Function>,
        #[prost(string, repeated, tag = "6")]
        pub(super) string_table: Vec<String>,
        #[prost(int64, tag = "9")]
        pub(super) time_nanos: i64,
        #[prost(int64, tag = "10")]
        pub(super) duration_nanos: i64,
        #[prost(message, optional, tag = "11")]
        pub(super) period_type: Option<ValueType>,
        #[prost(int64, tag = "12")]
        pub(super) period: i64,
        #[prost(int64, repeated, tag = "13")]
        pub(super) comment: Vec<i64>,
        #[prost(int64, tag = "14")]
        pub(super) default_sample_type: i64,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct ValueType {
        #[prost(int64, tag = "1")]
        pub(super) r#type: i64,
        #[prost(int64, tag = "2")]
        pub(super) unit: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Sample {
        #[prost(uint64, repeated, tag = "1")]
        pub(super) location_id: Vec<u64>,
        #[prost(int64, repeated, tag = "2")]
        pub(super) value: Vec<i64>,
        #[prost(message, repeated, tag = "3")]
        pub(super) label: Vec<Label>,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct Label {
        #[prost(int64, tag = "1")]
        pub(super) key: i64,
        #[prost(int64, tag = "2")]
        pub(super) str: i64,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct Mapping {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(uint64, tag = "2")]
        pub(super) memory_start: u64,
        #[prost(uint64, tag = "3")]
        pub(super) memory_limit: u64,
        #[prost(int64, tag = "5")]
        pub(super) filename: i64,
        #[prost(int64, tag = "6")]
        pub(super) build_id: i64,
        #[prost(bool, tag = "7")]
        pub(super) has_functions: bool,
        #[prost(bool, tag = "8")]
        pub(super) has_filenames: bool,
        #[prost(bool, tag = "9")]
        pub(super) has_line_numbers: bool,
        #[prost(bool, tag = "10")]
        pub(super) has_inline_frames: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Location {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(uint64, tag = "2")]
        pub(super) mapping_id: u64,
        #[prost(uint64, tag = "3")]
        pub(super) address: u64,
        #[prost(message, repeated, tag = "4")]
        pub(super) line: Vec<Line>,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct Line {
        #[prost(uint64, tag = "1")]
        pub(super) function_id: u64,
        #[prost(int64, tag = "2")]
        pub(super) line: i64,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    pub(super) struct Function {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(int64, tag = "2")]
        pub(super) name: i64,
        #[prost(int64, tag = "3")]
        pub(super) system_name: i64,
        #[prost(int64, tag = "4")]
        pub(super) filename: i64,
    }
}
