//! Attributes as OTLP has them.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue,
};

use crate::document::{Site, Target};
use crate::target::file_name;

/// What can be the value of an attribute.
pub(super) fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn attribute(key: &str, of: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(value(of)),
        ..KeyValue::default()
    }
}

pub(super) fn text(key: &str, text: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(text.into()))
}

pub(super) fn texts(key: &str, texts: impl IntoIterator<Item = String>) -> KeyValue {
    let values = texts
        .into_iter()
        .map(|text| value(Value::StringValue(text)));
    let values = values.collect();
    attribute(key, Value::ArrayValue(ArrayValue { values }))
}

/// A count; larger ones than the protocol has are its largest.
pub(super) fn count(key: &str, count: u64) -> KeyValue {
    attribute(
        key,
        Value::IntValue(i64::try_from(count).unwrap_or(i64::MAX)),
    )
}

pub(super) fn number(key: &str, number: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(number))
}

/// A place in the source, by the semantic conventions.
pub(super) fn code(site: &Site) -> [KeyValue; 3] {
    [
        text("code.function.name", site.function.clone()),
        text("code.file.path", site.file.clone()),
        count("code.line.number", site.line.into()),
    ]
}

/// A place in the source as one text.
pub(super) fn place(site: &Site) -> String {
    let file = site.file.rsplit('/').next().unwrap_or_default();
    format!("{} {file}:{}", site.function, site.line)
}

/// The process that it is about, by the semantic conventions.
pub(super) fn process(target: &Target) -> [KeyValue; 6] {
    [
        count("process.pid", target.pid.into()),
        text("process.executable.name", file_name(&target.exe)),
        text("process.executable.path", target.exe.to_string_lossy()),
        text("process.runtime.name", "go"),
        text("process.runtime.version", target.go_version.clone()),
        text("host.arch", target.arch.clone()),
    ]
}

/// Who says all this.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "gotrace".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
