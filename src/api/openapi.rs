//! `GET /openapi.json`: what the API is, as its code says it.
//!
//! A handler stands in the router with its description or not at all (`routes!`). Added here is what holds for all of
//! them, so that no handler has to say it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::{Object, Type};

use super::events::From;
use super::problem::Wire;
use super::runs::RunName;
use super::views::Wanted;
use super::{Ctx, json_bytes};
use crate::domain::attempt::Phase;
use crate::domain::object::ObjectId;

/// What is said of the API as a whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "korch",
        description = "Orchestrates the loading of a data lake. Everything is answered from the log of events alone, so \
                       every process answers alike. Calls that change something append an event to it.\n\n\
                       Refusals are RFC 9457 problems. GET is answered to HEAD too. Fields may be added to answers; \
                       words that are not known are refused in bodies.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(Wire<'static>, RunName, From, Phase, Wanted, ObjectId)),
    tags(
        (name = "runs", description = "What runs, ran and shall run."),
        (name = "graph", description = "The latest plan as a graph."),
        (name = "events", description = "The log as it was written."),
        (name = "processes", description = "Who is there, and how they are."),
    )
)]
pub(super) struct Document;

/// The one word of an answer that says that something was done.
pub(super) fn ok() -> Object {
    Object::builder().schema_type(Type::String).enum_values(Some(["ok"])).build()
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "processes",
    responses((status = 200, description = "OpenAPI 3.1 of this API.", body = Object))
)]
pub(super) async fn openapi(State(shared): Ctx) -> Response {
    json_bytes(StatusCode::OK, shared.openapi.clone())
}

/// The document of routes that describe themselves, at a server where calls that change something need a token, or not.
pub(super) fn text(described: &utoipa::openapi::OpenApi, with_token: bool) -> Vec<u8> {
    let mut document = serde_json::to_value(described).unwrap_or_default();
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    schemas.into_iter().flat_map(Map::values_mut).for_each(nothing_left_out);
    let paths = document.pointer_mut("/paths").and_then(Value::as_object_mut);
    for (method, operation) in paths.into_iter().flat_map(Map::values_mut).flat_map(operations) {
        let changes = method != "get";
        complete(operation, changes, changes && with_token);
    }
    if with_token {
        document["components"]["securitySchemes"] =
            json!({ "token": { "type": "http", "scheme": "bearer" } });
    }
    // utoipa writes the names of the formats of unsigned integers with a hyphen.
    document.to_string().replace(r#""format":"u-int"#, r#""format":"uint"#).into_bytes()
}

fn operations(path: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    path.as_object_mut().into_iter().flatten()
}

/// What every operation does.
fn complete(operation: &mut Value, changes: bool, with_token: bool) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        parameter.get_mut("schema").map(never_null);
    }
    let mut refusals = vec![
        ("500", "A fault of korch's own: its log lines have the details."),
        ("503", "It cannot be done at the moment."),
    ];
    if operation.get("parameters").is_some() {
        refusals.push(("400", "What was asked for is not as described."));
    }
    if let Some(body) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
        never_null(body);
        refusals.extend([
            ("400", "The body is not as described."),
            ("413", "The body is too large: it may have 256 KiB."),
            ("415", "The body is not said to be JSON."),
        ]);
    }
    if changes {
        refusals.push(("403", "A page of another site may not call this."));
    }
    if with_token {
        refusals.push(("401", "The call does not show the token."));
        operation["security"] = json!([{ "token": [] }]);
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, description) in refusals {
        responses.entry(status).or_insert_with(|| json!({ "description": description }));
    }
    for (_, refusal) in responses.iter_mut().filter(|(status, _)| status.as_str() >= "400") {
        refusal["content"] =
            json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    }
    for (status, name, description) in [
        ("401", "WWW-Authenticate", "How to show it: Bearer."),
        ("503", "Retry-After", "When to try again, in seconds."),
    ] {
        if let Some(refusal) = responses.get_mut(status) {
            let header =
                json!({ "description": description, "required": true, "schema": { "type": "string" } });
            refusal["headers"] = json!({ name: header });
        }
    }
}

/// An answer says null rather than leave a field out: a field that may be null is there. Not so in what callers send:
/// those schemas are known by refusing fields that they do not name.
fn nothing_left_out(schema: &mut Value) {
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        return;
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let nullable = properties.into_iter().flatten().filter(|(_, property)| is_nullable(property));
    let mut required: Vec<Value> = nullable.map(|(name, _)| name.as_str().into()).collect();
    if let Some(known) = schema.get("required").and_then(Value::as_array) {
        required.retain(|name| !known.contains(name));
        required.extend_from_slice(known);
    }
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    for kind in ["allOf", "oneOf", "anyOf"] {
        let parts = schema.get_mut(kind).and_then(Value::as_array_mut);
        parts.into_iter().flatten().for_each(nothing_left_out);
    }
}

fn is_nullable(schema: &Value) -> bool {
    let types = schema["type"].as_array().into_iter().flatten();
    let kinds = schema["oneOf"].as_array().into_iter().flatten();
    types.chain(kinds.map(|kind| &kind["type"])).any(|of| of == "null")
}

/// Takes the null out of what is an option in the code and left out on the wire.
fn never_null(schema: &mut Value) {
    for (word, many) in [("type", true), ("oneOf", false)] {
        let Some(kinds) = schema.get_mut(word).and_then(Value::as_array_mut) else { continue };
        kinds.retain(|kind| kind != "null" && kind["type"] != "null");
        let [only] = kinds.as_slice() else { continue };
        let only = only.clone();
        if many { schema[word] = only } else { *schema = only }
    }
}
