//! Values of every kind, decoded from a live process and compared with what the process itself says
//! they are.

mod common;
mod target;

use std::path::PathBuf;
use std::sync::Arc;

use common::{Build, fixture_with, go, installed};
use serde_json::Value as Json;
use target::Target;
use tracer_golang::process::GoProcess;
use tracer_golang::process::memory::TargetMemory;
use tracer_golang::process::types::Types;
use tracer_golang::process::value::{Decoder, Limits};
use tracer_model::ids::{Addr, Pc};
use tracer_model::snapshot::Value;
use tracer_model::symbol::Symbolizer;

const VALUES: Build<'static> = Build {
    program: "values",
    arch: "amd64",
    flags: &[],
};

/// Nothing is cut.
const ALL: Limits = Limits {
    depth: 12,
    elements: 10_000,
    string_bytes: 100_000,
    total_bytes: 10 << 20,
};

/// Every toolchain at hand.
fn toolchains() -> Vec<PathBuf> {
    let mut toolchains = installed();
    if toolchains.is_empty() {
        toolchains.push(go());
    }
    toolchains
}

struct Values {
    target: Target,
    process: GoProcess,
    types: Types,
    /// Where the interfaces that hold the values are, and how many.
    at: u64,
    count: u64,
}

impl Values {
    fn start(go: &std::path::Path) -> Values {
        let target = Target::start(&fixture_with(go, VALUES), &[]);
        let process = target.attach();
        let mut ready = target
            .ready
            .split(' ')
            .map(|n| n.parse().expect("a number"));
        let types = Types::new(
            process.layout().types,
            process.modules().iter().map(|module| module.types.clone()),
        );
        Values {
            at: ready.next().expect("an address"),
            count: ready.next().expect("a length"),
            target,
            process,
            types,
        }
    }

    /// Type and data of an interface.
    fn interface(&self, index: u64) -> (Addr, Addr) {
        let word = |at| self.process.memory().read_u64(Addr(at)).expect("readable");
        let at = self.at + 16 * index;
        (Addr(word(at)), Addr(word(at + 8)))
    }

    fn decode(&mut self, index: u64, limits: Limits) -> Value {
        let (typ, data) = self.interface(index);
        let memory = self.process.memory();
        let symbols = self.process.symbols();
        let function = |entry: Addr| -> Option<Arc<str>> {
            Some(Arc::clone(&symbols.frames(Pc(entry.0)).last()?.function))
        };
        let direct = self.types.get(memory, typ).expect("a type").direct_iface;
        let mut decoder = Decoder::new(memory, &mut self.types, &function, limits);
        match direct {
            true => decoder.decode(typ, &data.0.to_le_bytes()),
            false => decoder.decode_at(typ, data),
        }
    }
}

/// What encoding/json would say: no dynamic types, and whole numbers alike.
fn plain(value: &Json) -> Json {
    match value {
        Json::Object(object) => match object.get("$value") {
            Some(value) => plain(value),
            None => object
                .iter()
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect(),
        },
        Json::Array(list) => list.iter().map(plain).collect(),
        Json::Number(number) if number.is_f64() => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => (float as i64).into(),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

#[test]
fn values_are_what_the_program_says() {
    for go in toolchains() {
        let mut values = Values::start(&go);
        for index in 0..values.count {
            let line = values.target.line();
            let said: Json = serde_json::from_str(&line).expect("JSON");
            let (typ, _) = values.interface(index);
            let name = values
                .types
                .name(values.process.memory(), typ)
                .expect("a name");
            assert_eq!(said["type"], *name, "{}", go.display());
            match values.decode(index, ALL) {
                // As text, so that the order of fields counts.
                Value::Decoded(value) => assert_eq!(
                    plain(&value).to_string(),
                    plain(&said["value"]).to_string(),
                    "{name}, {}",
                    go.display()
                ),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn limits_hold_and_say_so() {
    let mut values = Values::start(&go());
    let limits = Limits {
        depth: 1,
        elements: 2,
        string_bytes: 8,
        total_bytes: 2048,
    };
    let (mut more, mut text, mut address) = (0, 0, 0);
    for index in 0..values.count {
        if let Value::Decoded(value) = values.decode(index, limits) {
            let value = value.to_string();
            assert!(value.len() < 16 << 10, "{value}");
            more += usize::from(value.contains("$more"));
            text += usize::from(value.contains("$text"));
            address += usize::from(value.contains("\"0x"));
        }
    }
    assert!(
        more > 5 && text > 0 && address > 5,
        "{more} {text} {address}"
    );
}

/// Whatever bytes a value has, and whatever address is taken for a type, there is an answer.
#[test]
fn garbage_is_no_danger() {
    let mut values = Values::start(&go());
    let section = values.process.modules()[0].types.clone();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let (len, mut plausible) = (section.end.0 - section.start.0, 0);
    for at in (section.start.0..section.end.0).step_by(8).map(Addr) {
        let memory = values.process.memory();
        let Ok(typ) = values.types.get(memory, at) else {
            continue;
        };
        plausible += 1;
        let mut bytes = vec![0; typ.size.min(4096) as usize];
        for word in bytes.chunks_mut(8) {
            // Noise, small numbers, types, and the program's own values.
            let value = match random() % 4 {
                0 => random(),
                1 => random() % 64,
                2 => section.start.0 + random() % len,
                _ => values.at + random() % 1024,
            };
            word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
        }
        let function = |_: Addr| -> Option<Arc<str>> { None };
        let limits = Limits::default();
        let mut decoder = Decoder::new(memory, &mut values.types, &function, limits);
        match decoder.decode(at, &bytes) {
            Value::Decoded(value) => assert!(value.to_string().len() < 8 << 20),
            Value::Unreadable(reason) => assert!(!reason.is_empty()),
            Value::Redacted(size) => panic!("nobody asked to hide {size} bytes"),
        }
    }
    assert!(plausible > 300, "{plausible} types");
    assert!(values.types.get(values.process.memory(), Addr(8)).is_err());
}
