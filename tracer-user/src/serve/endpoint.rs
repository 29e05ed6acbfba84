//! What can be asked: one table, from which the routes and their description are made.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tracer_model::snapshot::Goroutine;

use super::access::OPEN;
use super::api::{self, Health, JSON_TYPE, METRICS_TYPE};
use super::snapshot::{self, SNAPSHOT_TYPE};
use super::stream::{self, KINDS};
use super::trigger::{self, Kept};
use super::{Shared, history, openapi, page, why};
use crate::document::{
    channels, events, findings, flow, goroutines, groups, run, why as explained,
};
use crate::listing::{ChannelSort, Sort};

/// A path, what answers there, and what that is.
pub(super) struct Endpoint<S = Shared> {
    pub(super) method: &'static str,
    /// A part in braces stands for a number, which `place` describes.
    pub(super) path: &'static str,
    /// What stands in the path.
    pub(super) place: Option<&'static Parameter>,
    pub(super) handler: fn() -> MethodRouter<Arc<S>>,
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// What a request sends, as JSON.
    pub(super) body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(super) answer: Answer,
    /// Statuses that are no answer, beside those that any path has.
    pub(super) problems: &'static [u16],
}

/// What may stand behind the question mark.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// Whether it must stand there.
    pub(super) required: bool,
    /// Whether it may stand there more than once.
    pub(super) many: bool,
    pub(super) description: &'static str,
    /// Of one value.
    pub(super) schema: fn() -> Schema,
}

/// An answer that is one.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    pub(super) content_type: &'static str,
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
}

/// Every endpoint.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/metrics",
        place: None,
        handler: || get(api::metrics),
        summary: "Metrics for Prometheus",
        parameters: &[],
        body: None,
        answer: Answer {
            status: 200,
            description: "The text format of Prometheus",
            content_type: METRICS_TYPE,
            schema: text,
        },
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: OPEN,
        place: None,
        handler: || get(api::healthz),
        summary: "Whether the trace is alive; needs no token",
        parameters: &[],
        body: None,
        answer: document::<Health>("It is"),
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/goroutines",
        place: None,
        handler: || get(api::goroutines),
        summary: "Goroutines with state, wait and stack, or groups of them",
        parameters: &[WITH, WITHOUT, GROUP, MEMBERS, SORT, LIMIT, OFFSET],
        body: None,
        answer: Answer {
            status: 200,
            description: "gotrace.goroutines/1, with `group` gotrace.groups/1",
            content_type: JSON_TYPE,
            schema: goroutines_or_groups,
        },
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/channels",
        place: None,
        handler: || get(api::channels),
        summary: "Channels that goroutines wait on, with both queues and, where gotrace was told so, values",
        parameters: &[WITH, WITHOUT, CHANNEL_SORT, LIMIT, OFFSET],
        body: None,
        answer: document::<channels::Document<'_>>("gotrace.channels/1"),
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/findings",
        place: None,
        handler: || get(api::findings),
        summary: "What was found and stands: deadlocks, leaks, trends",
        parameters: &[],
        body: None,
        answer: document::<findings::Document<'_>>("gotrace.findings/1"),
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/why",
        place: None,
        handler: || get(why::answer),
        summary: "What one goroutine waits on, who could end that, and why they do not; reads memory anew",
        parameters: &[Parameter {
            name: "goid",
            required: true,
            many: false,
            description: "The goroutine's id",
            schema: || json_schema!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
        }],
        body: None,
        answer: document::<explained::Document<'_>>("gotrace.why/1"),
        problems: &[404],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/history",
        place: None,
        handler: || get(history::answer),
        summary: "The numbers of the last minute",
        parameters: &[],
        body: None,
        answer: document::<history::Document<'_>>("gotrace.history/1"),
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/flow",
        place: None,
        handler: || get(api::flow),
        summary: "The ways of messages, wake-ups and locks since attach",
        parameters: &[],
        body: None,
        answer: document::<flow::Document<'_>>("gotrace.flow/1"),
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/snapshot",
        place: None,
        handler: || get(snapshot::answer),
        summary: "A snapshot's file, as `gotrace snapshot` writes it, of what memory holds now",
        parameters: &[],
        body: None,
        answer: Answer {
            status: 200,
            description: "A file for --from (docs/format.md)",
            content_type: SNAPSHOT_TYPE,
            schema: |_| json_schema!({}),
        },
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/stream",
        place: None,
        handler: || get(stream::answer),
        summary: "What the trace says, and what happens, as it comes: server-sent events",
        parameters: &[
            Parameter {
                name: "kind",
                required: false,
                many: true,
                description: "Only messages of this kind [default: all but `event`]",
                schema: || json_schema!({ "type": "string", "enum": KINDS }),
            },
            Parameter {
                name: "limit",
                required: false,
                many: false,
                description: "Ends after so many messages [default: when the trace ends]",
                schema: number,
            },
        ],
        body: None,
        answer: Answer {
            status: 200,
            description: "An event's name is a message's type, its data the message",
            content_type: "text/event-stream",
            schema: messages,
        },
        problems: &[],
    },
    Endpoint {
        method: "post",
        path: "/api/v1/recorder/trigger",
        place: None,
        handler: || post(trigger::answer),
        summary: "Writes the last seconds into a file, where gotrace keeps them",
        parameters: &[],
        body: Some(trigger::asked),
        answer: Answer {
            status: 202,
            description: "gotrace.trigger/1: which file, and when it is there",
            content_type: JSON_TYPE,
            schema: |generator| generator.subschema_for::<Kept>(),
        },
        problems: &[403, 408, 409, 415],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/openapi.json",
        place: None,
        handler: || get(openapi::answer),
        summary: "This description",
        parameters: &[],
        body: None,
        answer: Answer {
            status: 200,
            description: "An OpenAPI document, version 3.1",
            content_type: JSON_TYPE,
            schema: |_| json_schema!({ "type": "object", "required": ["openapi", "paths"] }),
        },
        problems: &[],
    },
];

pub(super) const WITH: Parameter = Parameter {
    name: "with",
    required: false,
    many: true,
    description: "Only goroutines that meet this, as of `gotrace goroutines --with`; of channels, those that \
                  concern one",
    schema: criterion,
};

pub(super) const WITHOUT: Parameter = Parameter {
    name: "without",
    required: false,
    many: true,
    description: "Leaves out goroutines that meet this",
    schema: criterion,
};

pub(super) const GROUP: Parameter = Parameter {
    name: "group",
    required: false,
    many: false,
    description: "Gives groups in place of a list, the largest first: stack, state, reason, \
                  `label K`, curloc, userloc, goloc, startloc, chan, wait, or none",
    schema: || json_schema!({ "type": "string", "format": "gotrace-group" }),
};

pub(super) const MEMBERS: Parameter = Parameter {
    name: "members",
    required: false,
    many: false,
    description: "With `group`: at most so many ids of each group [default: all]",
    schema: number,
};

pub(super) const SORT: Parameter = Parameter {
    name: "sort",
    required: false,
    many: false,
    description: "Order of the list, and within groups [default: goid]",
    schema: names::<Sort>,
};

pub(super) const CHANNEL_SORT: Parameter = Parameter {
    name: "sort",
    required: false,
    many: false,
    description: "Order of the list [default: address]",
    schema: names::<ChannelSort>,
};

pub(super) const LIMIT: Parameter = Parameter {
    name: "limit",
    required: false,
    many: false,
    description: "At most so many entries",
    schema: number,
};

pub(super) const OFFSET: Parameter = Parameter {
    name: "offset",
    required: false,
    many: false,
    description: "Leaves out so many entries at the beginning; each request is answered by what is true then",
    schema: number,
};

pub(super) const fn document<T: JsonSchema>(description: &'static str) -> Answer {
    Answer {
        status: 200,
        description,
        content_type: JSON_TYPE,
        schema: |generator| generator.subschema_for::<T>(),
    }
}

pub(super) fn goroutines_or_groups(generator: &mut SchemaGenerator) -> Schema {
    type List<'a> = goroutines::Document<'a, std::slice::Iter<'a, Goroutine>>;
    let list = generator.subschema_for::<List<'_>>();
    let groups = generator.subschema_for::<groups::Document<'_>>();
    json_schema!({ "oneOf": [list, groups] })
}

/// Of one event: its data are text that spells a message.
fn messages(generator: &mut SchemaGenerator) -> Schema {
    let run = generator.subschema_for::<run::Stamped<'_>>();
    let event = generator.subschema_for::<events::Stamped<'_>>();
    json_schema!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": { "type": "string", "description": "The message's type" },
            "data": {
                "type": "string",
                "contentMediaType": JSON_TYPE,
                "contentSchema": { "oneOf": [run, event] },
            },
        },
    })
}

pub(super) fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

fn criterion() -> Schema {
    json_schema!({
        "type": "string",
        "format": "gotrace-criterion",
        "examples": ["user", "state waiting", "reason chan send", "waiting-longer 1m"],
    })
}

pub(super) fn number() -> Schema {
    json_schema!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
}

/// The names that the command line takes.
pub(super) fn names<T: clap::ValueEnum>() -> Schema {
    let names = T::value_variants().iter().filter_map(T::to_possible_value);
    let names: Vec<String> = names.map(|name| name.get_name().to_owned()).collect();
    json_schema!({ "type": "string", "enum": names })
}

/// What answers.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    complete(routes(ENDPOINTS).merge(page::router()), shared)
}

/// The routes of a table.
pub(super) fn routes<S: Send + Sync + 'static>(endpoints: &[Endpoint<S>]) -> Router<Arc<S>> {
    endpoints.iter().fold(Router::new(), |router, endpoint| {
        router.route(endpoint.path, (endpoint.handler)())
    })
}

/// With an answer to whatever else is asked.
pub(super) fn complete<S: Send + Sync + 'static>(router: Router<Arc<S>>, shared: Arc<S>) -> Router {
    router
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::not_allowed)
        .with_state(shared)
}
