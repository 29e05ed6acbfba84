//! The description of the API in the form of OpenAPI 3.1. The schemas are those of the types that are
//! sent, so that they say what these are.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Shared;
use super::access::{MOST_BODY, MOST_URI, OPEN};
use super::api::JSON_TYPE;
use super::endpoint::{ENDPOINTS, Endpoint};
use super::problem::Problem;
use super::query;

/// Statuses that are no answer, and what they mean.
pub(super) const PROBLEMS: &[(u16, &str)] = &[
    (400, "A parameter is not known or not valid"),
    (401, "There is no token, or a wrong one"),
    (403, "Neither a token nor this machine"),
    (404, "There is no such path, or nothing by that name"),
    (405, "The path is not there for this method"),
    (408, "The request's body did not come in time"),
    (409, "The last seconds are not kept"),
    (413, "The request's body is too large"),
    (414, "The path and its query are too long"),
    (415, "The request does not say that it sends JSON"),
    (421, "The name in the Host header is not one of this server"),
    (503, "Tracing has ended, or others ask for the same"),
];

/// `GET /api/v1/openapi.json`.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    Ok(Json(of_trace(shared.has_token)))
}

/// The document of a trace. A function of its own: a handler that names the table in which it stands is a cycle.
fn of_trace(has_token: bool) -> Value {
    document(ENDPOINTS, WHAT, has_token)
}

/// What the API of a trace tells.
const WHAT: &str = "what it knows of the process that it traces";

/// The document of a server with or without a token that tells `what`.
pub(super) fn document<S>(endpoints: &[Endpoint<S>], what: &str, has_token: bool) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let methods = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        methods[endpoint.method] = operation(endpoint, has_token, &mut generator);
    }
    let responses: Map<String, Value> = PROBLEMS
        .iter()
        .map(|(status, meaning)| {
            let content = json!({ JSON_TYPE: { "schema": problem } });
            let mut response = json!({ "description": meaning, "content": content });
            if *status == 405 {
                response["headers"] = json!({
                    "Allow": { "description": "The methods that there are", "schema": { "type": "string" } },
                });
            }
            (status.to_string(), response)
        })
        .collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "gotrace",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT", "identifier": "MIT" },
            "description": format!(
                "A continuous, non-stop tracer for Go programs: {what}. Documents are described in docs/json.md. A request has at most {MOST_URI} bytes \
                 of path and query and {MOST_BODY} bytes of body."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": responses,
        },
    });
    if has_token {
        document["components"]["securitySchemes"] = json!({
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "The token in the file that gotrace was given with --token-file",
            },
        });
        document["security"] = json!([{ "token": [] }]);
    }
    document
}

fn operation<S>(endpoint: &Endpoint<S>, has_token: bool, generator: &mut SchemaGenerator) -> Value {
    let in_path = endpoint.place.into_iter().map(|place| (place, "path"));
    let in_query = endpoint.parameters.iter();
    let parameters: Vec<Value> = in_path
        .chain(in_query.map(|parameter| (parameter, "query")))
        .map(|(parameter, place)| {
            let one = (parameter.schema)();
            let schema = if parameter.many {
                json!({ "type": "array", "items": one })
            } else {
                one.to_value()
            };
            json!({
                "name": parameter.name,
                "in": place,
                "required": parameter.required,
                "description": parameter.description,
                "schema": schema,
            })
        })
        .collect();
    let mut responses = Map::new();
    let answer = &endpoint.answer;
    let content_type = answer.content_type;
    let response = json!({
        "description": answer.description,
        "content": { content_type: { "schema": (answer.schema)(generator) } },
    });
    responses.insert(answer.status.to_string(), response);
    for (status, _) in PROBLEMS {
        if is_possible(*status, endpoint, has_token) {
            let of = json!({ "$ref": format!("#/components/responses/{status}") });
            responses.insert(status.to_string(), of);
        }
    }
    let mut operation = json!({
        "operationId": endpoint.operation_id(),
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = endpoint.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { JSON_TYPE: { "schema": body(generator) } },
        });
    }
    if endpoint.path == OPEN {
        operation["security"] = json!([]);
    }
    operation
}

fn is_possible<S>(status: u16, endpoint: &Endpoint<S>, has_token: bool) -> bool {
    match status {
        401 => has_token && endpoint.path != OPEN,
        403 | 404 | 408 | 409 | 415 => endpoint.problems.contains(&status),
        _ => true,
    }
}

impl<S> Endpoint<S> {
    /// A name for programs: the path's last word with the method.
    fn operation_id(&self) -> String {
        let word = self.path.rsplit('/').next().unwrap_or_default();
        let word = word.split('.').next().unwrap_or_default();
        format!("{}_{word}", self.method)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document = of_trace(true);
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1);
        let references: BTreeSet<&str> = references
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(references.len() > 10, "{references:?}");
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_manual_names_every_path_parameter_and_status() {
        let manual = include_str!("../../../docs/api.md");
        for endpoint in ENDPOINTS {
            let heading = format!("### {} {}\n", endpoint.method.to_uppercase(), endpoint.path);
            let (_, section) = manual
                .split_once(&heading)
                .unwrap_or_else(|| panic!("no {heading}"));
            let section = section.split("\n##").next().unwrap_or_default();
            for parameter in endpoint.parameters {
                let name = format!("`{}`", parameter.name);
                assert!(section.contains(&name), "{heading} has no {name}");
            }
            for problem in endpoint.problems {
                assert!(
                    section.contains(&problem.to_string()),
                    "{heading} has no {problem}"
                );
            }
        }
        let headings = manual.lines().filter(|line| line.starts_with("### "));
        assert_eq!(
            headings.count(),
            ENDPOINTS.len(),
            "a path that is not there"
        );
        for (status, _) in PROBLEMS {
            assert!(manual.contains(&format!("\n| {status} |")), "{status}");
        }
    }
}
