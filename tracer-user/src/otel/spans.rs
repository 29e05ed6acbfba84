//! Tasks of goroutines as spans, and what went between them as links.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use tracer_model::ids::Pc;
use tracer_model::symbol::Symbolizer;
use tracer_model::world::{LinkCause, Task, TaskId, TaskLink, TaskOrigin};

use super::attribute::{code, count, number, place, text};
use crate::document::{Site, WallClock, seconds};

/// Makes names of this run that no other run has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    run: u64,
    key: u64,
}

impl Names {
    /// Names drawn at random.
    pub(super) fn new() -> Names {
        Names {
            run: fastrand::u64(1..),
            key: fastrand::u64(..),
        }
    }

    fn trace(self, trace: u32) -> Vec<u8> {
        // The low half is what ratio samplers of others look at.
        let low = mixed(self.key ^ u64::from(trace));
        [self.run.to_be_bytes(), low.to_be_bytes()].concat()
    }

    fn span(self, id: TaskId) -> Vec<u8> {
        mixed(self.key.rotate_left(32) ^ u64::from(id.0.get()))
            .max(1)
            .to_be_bytes()
            .to_vec()
    }
}

/// The finisher of splitmix64: no two numbers become one.
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// One task.
pub(super) fn span(task: &Task, names: Names, symbols: &dyn Symbolizer, clock: WallClock) -> Span {
    let site_of = |pc: Option<Pc>| Site::of_user(&[pc?], symbols);
    let (verb, kind, site) = match task.origin {
        TaskOrigin::Sent(pc) => ("send", SpanKind::Producer, site_of(pc)),
        TaskOrigin::Received(pc) => ("process", SpanKind::Consumer, site_of(pc)),
        TaskOrigin::Created(pc) => ("goroutine", SpanKind::Internal, site_of(Some(pc))),
    };
    let mut attributes = vec![count("gotrace.goroutine.id", task.goid.0)];
    let name = match &site {
        Some(site) => {
            attributes.extend(code(site));
            format!("{verb} {}", site.function)
        }
        None => verb.to_owned(),
    };
    Span {
        trace_id: names.trace(task.trace),
        span_id: names.span(task.id),
        parent_span_id: task.parent.map(|id| names.span(id)).unwrap_or_default(),
        name,
        kind: kind as i32,
        start_time_unix_nano: clock.unix_nanos(task.began),
        end_time_unix_nano: clock.unix_nanos(task.ended),
        attributes,
        links: task
            .links
            .iter()
            .map(|task_link| link(task_link, names, symbols))
            .collect(),
        dropped_links_count: task.links_left_out,
        // Sampled.
        flags: 1,
        ..Span::default()
    }
}

fn link(link: &TaskLink, names: Names, symbols: &dyn Symbolizer) -> Link {
    let place_of = |pc: Option<Pc>| Site::of_user(&[pc?], symbols).map(|site| place(&site));
    let attributes = match link.cause {
        LinkCause::Message {
            made,
            sent,
            transit_nanos,
        } => {
            let mut attributes = vec![
                text("gotrace.link.kind", "message"),
                number("gotrace.message.transit", seconds(transit_nanos)),
            ];
            attributes.extend(place_of(sent).map(|place| text("gotrace.message.sent_at", place)));
            attributes.extend(place_of(made).map(|place| text("gotrace.channel.made_at", place)));
            attributes
        }
        LinkCause::Wakeup { reason } => vec![
            text("gotrace.link.kind", "wakeup"),
            text("gotrace.wait_reason", reason.to_string()),
        ],
    };
    Link {
        trace_id: names.trace(link.trace),
        span_id: names.span(link.id),
        attributes,
        ..Link::default()
    }
}
