//! `GET /openapi.json` is what the API is.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use support::Place;

/// What no caller of the API is to miss.
const OPERATIONS: &[&str] = &[
    "get /dag",
    "get /dag/dot",
    "get /dag/json",
    "get /events/last",
    "get /events/stream",
    "get /health",
    "get /live",
    "get /livez",
    "get /metrics",
    "get /openapi.json",
    "get /readyz",
    "get /runs",
    "get /runs/{id}",
    "get /runs/{id}/events",
    "get /runs/{id}/explain/{object}",
    "get /runs/{id}/fields",
    "get /runs/{id}/graph",
    "get /runs/{id}/graph/{object}",
    "get /runs/{id}/objects/{object}",
    "get /schedule",
    "get /workers",
    "post /orchestrate",
    "post /runs/{id}/cancel",
    "post /runs/{id}/objects/{object}/mark",
    "post /runs/{id}/pause",
    "post /runs/{id}/resume",
    "post /runs/{id}/retry",
];

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}"))
}

/// Every `$ref`, and every schema, below this.
fn walk<'a>(value: &'a Value, look: &mut impl FnMut(&'a Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            look(map);
            map.values().for_each(|value| walk(value, look));
        }
        Value::Array(list) => list.iter().for_each(|value| walk(value, look)),
        _ => {}
    }
}

#[test]
fn the_document_is_sound() {
    let place = Place::new();
    let korch = place.up(&["--idle"]);
    let document = korch.api().get("/openapi.json");
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));

    let all: BTreeSet<String> = operations(&document).map(|(name, _)| name).collect();
    for name in OPERATIONS {
        assert!(all.contains(*name), "{name} is not described: {all:?}");
    }
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(operation["summary"].is_string(), "{name} says what it does");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name} has an id of its own");
        let in_path = name.matches('{').count();
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let of_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        assert_eq!(of_path.clone().count(), in_path, "{name}: every part of the path is a parameter");
        assert!(of_path.clone().all(|parameter| parameter["required"] == true), "{name}");
        for parameter in parameters {
            assert!(parameter["description"].is_string(), "{name}: {parameter}");
            assert!(
                object(&parameter["schema"]).values().all(|value| !value.is_null()),
                "{name}: {parameter}"
            );
        }
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(name.starts_with("post "), body.is_object(), "{name}: {body}");
        for (status, response) in object(&operation["responses"]) {
            assert!(response["description"].is_string(), "{name} {status}");
            let content = object(&response["content"]);
            assert_eq!(content.len(), 1, "{name} {status}");
            let problem = content.contains_key("application/problem+json");
            assert_eq!(problem, status.as_str() >= "400", "{name} {status}");
        }
    }
    walk(&document, &mut |map| {
        if let Some(Value::String(reference)) = map.get("$ref") {
            let at = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(at).is_some(), "{reference} leads nowhere");
        }
        if let Some(Value::String(format)) = map.get("format") {
            let known = ["date-time", "uuid", "double", "float", "uint8", "uint16", "uint32", "uint64"];
            assert!(known.contains(&format.as_str()), "an unknown format {format}");
        }
    });
    for body in ["RunRequest", "RetryRequest", "CancelRequest"] {
        let schema = &document["components"]["schemas"][body];
        assert_eq!(schema["additionalProperties"], false, "{body} refuses what it does not know");
        assert!(schema["required"].is_null(), "{body} wants nothing");
    }
    let run = &document["components"]["schemas"]["Run"];
    let (properties, required) = (object(&run["properties"]), run["required"].as_array().unwrap());
    assert_eq!(properties.len(), required.len(), "a run's line leaves nothing out");
}

/// With what a path names, after a run.
fn filled(path: &str) -> String {
    path.replace("{id}", "latest").replace("{object}", "3001")
}

#[test]
fn every_route_answers_as_described() {
    let place = Place::with(&[(1001, vec![]), (2001, vec![1001]), (3001, vec![2001])]);
    let korch = place.up(&["--delay", "1ms"]);
    let api = korch.api();
    api.ready();
    api.first_run_over();
    let document = api.get("/openapi.json");
    for (name, operation) in operations(&document) {
        let (method, path) = name.split_once(' ').unwrap();
        let responses = object(&operation["responses"]);
        let methods: &[&str] = if method == "get" { &["GET", "HEAD"] } else { &["POST"] };
        for method in methods {
            let answer = api.head(method, &filled(path), "");
            let described = responses.get(&answer.status.to_string());
            let described = described.unwrap_or_else(|| panic!("{method} {path}: {}", answer.status));
            let kind = object(&described["content"]).keys().next().unwrap();
            assert_eq!(answer.header("content-type"), Some(kind.as_str()), "{method} {path}");
        }
        // A method that no description has is refused, and the answer names those that one has.
        let answer = api.head("DELETE", &filled(path), "");
        assert_eq!((answer.status, answer.header("content-type")), (405, Some("application/problem+json")));
        let allow = answer.header("allow").unwrap_or_default();
        assert_eq!(allow, if method == "get" { "GET,HEAD" } else { "POST" }, "{path}");
    }
}
