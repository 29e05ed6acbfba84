//! `/metrics`, in Prometheus' text format.

use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, TextEncoder};
use tracer_model::symbol::Symbolizer;

use crate::document::WallClock;
use crate::document::run::Attached;
use crate::metrics;
use crate::otel::Health;
use crate::trace::measure::Measured;

/// Renders one scrape.
///
/// # Errors
/// A metric could not be encoded: a defect of gotrace.
pub(super) fn render(
    measured: &Measured,
    attached: &Attached,
    symbols: &dyn Symbolizer,
    clock: WallClock,
    otel: Option<&Health>,
) -> prometheus::Result<String> {
    encode(&metrics::families(measured, attached, symbols, clock, otel))
}

/// As Prometheus' text.
///
/// # Errors
/// A metric could not be encoded: a defect of gotrace.
pub(super) fn encode(families: &[MetricFamily]) -> prometheus::Result<String> {
    let mut bytes = Vec::new();
    TextEncoder::new().encode(families, &mut bytes)?;
    String::from_utf8(bytes).map_err(|error| prometheus::Error::Msg(error.to_string()))
}
