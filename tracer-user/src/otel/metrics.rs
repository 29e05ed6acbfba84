//! Metrics as OTLP has them: the very families that Prometheus gets, number by number.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    number_data_point::Value,
};
use prometheus::proto::{self, MetricFamily, MetricType};

use super::attribute;

/// From when on something was counted and when that was read off, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) start: u64,
    pub(super) now: u64,
}

/// One family.
pub(super) fn metric(family: &MetricFamily, at: Period) -> Metric {
    let name = family.name();
    Metric {
        name: name.to_owned(),
        description: family.help().to_owned(),
        unit: unit(name).to_owned(),
        data: Some(data(family, at)),
        ..Metric::default()
    }
}

/// The unit, in UCUM, that a name ends with.
fn unit(name: &str) -> &'static str {
    let base = name.strip_suffix("_total").unwrap_or(name);
    for (suffix, unit) in [("_seconds", "s"), ("_bytes", "By"), ("_ratio", "1")] {
        if base.ends_with(suffix) {
            return unit;
        }
    }
    ""
}

fn data(family: &MetricFamily, at: Period) -> Data {
    let metrics = family.get_metric().iter();
    let cumulative = AggregationTemporality::Cumulative as i32;
    match family.get_field_type() {
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: metrics.map(|metric| histogram(metric, at)).collect(),
            aggregation_temporality: cumulative,
        }),
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: metrics
                .map(|metric| point(metric, metric.get_counter().get_value(), at.start, at.now))
                .collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        _ => Data::Gauge(Gauge {
            data_points: metrics
                .map(|metric| point(metric, metric.get_gauge().get_value(), 0, at.now))
                .collect(),
        }),
    }
}

fn labels(metric: &proto::Metric) -> Vec<KeyValue> {
    let labels = metric.get_label().iter();
    labels
        .map(|pair| attribute::text(pair.name(), pair.value()))
        .collect()
}

fn point(metric: &proto::Metric, value: f64, start: u64, now: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn histogram(metric: &proto::Metric, at: Period) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let mut before = 0;
    let mut counts: Vec<u64> = Vec::new();
    let mut bounds = Vec::new();
    for bucket in histogram.get_bucket() {
        counts.push(bucket.cumulative_count() - before);
        bounds.push(bucket.upper_bound());
        before = bucket.cumulative_count();
    }
    counts.push(histogram.get_sample_count() - before);
    HistogramDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: at.start,
        time_unix_nano: at.now,
        count: histogram.get_sample_count(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    }
}
