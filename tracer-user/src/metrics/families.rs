//! Families of series, as a registry of the `prometheus` crate gathers them. They are made anew from what was
//! measured: the model counts, and a second set of counters could say something else.

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use tracer_model::world;

use super::catalogue::{Definition, Kind};
use crate::document::seconds;

/// A longer text of a label is cut, in bytes: an element type can be as long as its author likes.
const TEXT: usize = 128;

/// What of a text fits into a label. To be asked for before what has equal labels is summed up.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

/// Families that are being filled.
pub(super) struct Families<'a> {
    /// The labels that every series has which is added from now on.
    common: Vec<(&'static str, String)>,
    /// The level of the trace, which decides what is known.
    level: &'a str,
    families: BTreeMap<&'static str, (&'static Definition, Vec<Metric>)>,
}

impl<'a> Families<'a> {
    pub(super) const fn new(common: Vec<(&'static str, String)>, level: &'a str) -> Families<'a> {
        Families {
            common,
            level,
            families: BTreeMap::new(),
        }
    }

    /// Whatever is added from now on is of something else.
    pub(super) fn turn_to(&mut self, common: Vec<(&'static str, String)>) {
        self.common = common;
    }

    /// Adds a gauge or a counter. `labels` are values in the order of the definition's.
    pub(super) fn add(&mut self, of: &'static Definition, labels: &[&str], value: f64) {
        let mut metric = self.metric(of, labels);
        match of.kind {
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Histogram => unreachable!("histograms are added as such"),
        }
        self.push(of, metric);
    }

    /// The same of a count.
    pub(super) fn count(&mut self, of: &'static Definition, labels: &[&str], count: u64) {
        self.add(of, labels, count as f64);
    }

    /// Adds a histogram.
    pub(super) fn histogram(
        &mut self,
        of: &'static Definition,
        labels: &[&str],
        histogram: &world::Histogram,
    ) {
        let mut below = 0;
        let buckets = world::Histogram::BOUNDS
            .iter()
            .zip(histogram.counts())
            .map(|(&bound, count)| {
                below += count;
                let mut bucket = Bucket::default();
                bucket.set_cumulative_count(below);
                bucket.set_upper_bound(seconds(bound));
                bucket
            })
            .collect();
        let mut filled = prometheus::proto::Histogram::default();
        filled.set_bucket(buckets);
        filled.set_sample_count(histogram.count());
        filled.set_sample_sum(seconds(histogram.sum_nanos()));
        let mut metric = self.metric(of, labels);
        metric.set_histogram(filled);
        self.push(of, metric);
    }

    fn metric(&self, of: &Definition, values: &[&str]) -> Metric {
        debug_assert_eq!(of.labels.len(), values.len(), "{}", of.name);
        let mut labels: Vec<LabelPair> = of
            .labels
            .iter()
            .zip(values)
            .map(|(label, value)| pair(label.name(), value))
            .collect();
        let common = self.common.iter();
        labels.extend(common.map(|(name, value)| pair(name, value)));
        labels.sort_by(|a, b| a.name().cmp(b.name()));
        Metric::from_label(labels)
    }

    fn push(&mut self, of: &'static Definition, metric: Metric) {
        if of.is_known_at(self.level) {
            let family = self.families.entry(of.name);
            family.or_insert((of, Vec::new())).1.push(metric);
        }
    }

    /// All of them by name, as they are exported.
    pub(super) fn finish(self) -> Vec<MetricFamily> {
        self.families
            .into_values()
            .map(|(definition, metrics)| {
                let mut family = MetricFamily::default();
                family.set_name(definition.name.to_owned());
                family.set_help(definition.help.to_owned());
                family.set_field_type(match definition.kind {
                    Kind::Gauge => MetricType::GAUGE,
                    Kind::Counter => MetricType::COUNTER,
                    Kind::Histogram => MetricType::HISTOGRAM,
                });
                family.set_metric(metrics);
                family
            })
            .collect()
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(cut(value).to_owned());
    pair
}
