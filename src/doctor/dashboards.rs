//! What the dashboards of `observability/grafana` ask, as Grafana would ask it.

use serde_json::Value;

/// The dashboards, as they are in this build.
const FILES: [&str; 2] = [
    include_str!("../../observability/grafana/dashboards/kafka-events.json"),
    include_str!("../../observability/grafana/dashboards/loki-events.json"),
];

/// What Grafana puts in for its own variables: a window that any data of late falls into.
const GRAFANAS: [(&str, &str); 8] = [
    ("__rate_interval_ms", "300000"),
    ("__rate_interval", "5m"),
    ("__interval_ms", "60000"),
    ("__interval", "1m"),
    ("__range_ms", "3600000"),
    ("__range_s", "3600"),
    ("__range", "1h"),
    ("__auto", "5m"),
];

/// Who answers a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// PromQL.
    Prometheus,
    /// LogQL.
    Loki,
}

/// A query of a panel, with every variable filled in.
#[derive(Clone, Debug)]
pub struct Query {
    /// The panel's title.
    pub panel: String,
    /// Who answers it.
    pub source: Source,
    /// What is asked.
    pub text: String,
}

/// A dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// What links name it by.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// How many panels it has, rows among them.
    pub panels: usize,
    /// What it asks.
    pub queries: Vec<Query>,
}

/// Every dashboard.
pub fn all() -> Vec<Dashboard> {
    FILES.iter().map(|text| read(text)).collect()
}

/// The dashboards that ask this source, by title, each with what it asks there.
pub fn of(source: Source) -> Vec<(String, Vec<Query>)> {
    let of_source = |dashboard: Dashboard| {
        let queries: Vec<Query> =
            dashboard.queries.into_iter().filter(|query| query.source == source).collect();
        (!queries.is_empty()).then_some((dashboard.title, queries))
    };
    all().into_iter().filter_map(of_source).collect()
}

/// Reads a dashboard as it is committed: what is missing in it is found by its tests.
fn read(text: &str) -> Dashboard {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let word = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let panels = list(&json["panels"]);
    let variables = variables(&json);
    let inner = panels.iter().flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])));
    let queries = inner.flat_map(|panel| {
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        let variables = &variables;
        list(&panel["targets"]).iter().filter_map(move |target| {
            let uid = target["datasource"]["uid"].as_str().or_else(|| panel["datasource"]["uid"].as_str());
            let source = if uid == Some("loki") { Source::Loki } else { Source::Prometheus };
            let text = filled(target["expr"].as_str()?, variables);
            Some(Query { panel: title.clone(), source, text })
        })
    });
    Dashboard { uid: word("uid"), title: word("title"), panels: panels.len(), queries: queries.collect() }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The dashboard's variables and Grafana's own, each with its value, the longest names first: one may begin with another.
fn variables(json: &Value) -> Vec<(String, String)> {
    let own = list(&json["templating"]["list"]).iter().filter_map(|variable| {
        let current = &variable["current"]["value"];
        let value = match current {
            Value::String(all) if all == "$__all" => variable["allValue"].as_str().unwrap_or(".*").to_owned(),
            Value::String(value) => value.clone(),
            Value::Array(values) if values.iter().any(|value| value == "$__all") => {
                variable["allValue"].as_str().unwrap_or(".*").to_owned()
            }
            Value::Array(values) => {
                let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                values.join("|")
            }
            _ => variable["query"].as_str().unwrap_or(".*").to_owned(),
        };
        Some((variable["name"].as_str()?.to_owned(), value))
    });
    let grafanas = GRAFANAS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut all: Vec<(String, String)> = own.chain(grafanas).collect();
    all.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    all
}

/// A query with its variables filled in: `$name`, `${name}` and `${name:format}`.
fn filled(query: &str, variables: &[(String, String)]) -> String {
    let mut text = query.to_owned();
    for (name, value) in variables {
        while let Some(at) = text.find(&format!("${{{name}:")) {
            let end = text[at..].find('}').map_or(text.len(), |end| at + end + 1);
            text.replace_range(at..end, value);
        }
        text = text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_as_grafana_does() {
        let json = serde_json::json!({"templating": {"list": [
            {"name": "run", "type": "textbox", "query": ".*"},
            {"name": "run_id", "current": {"value": "$__all"}, "allValue": ".+"},
            {"name": "stage", "current": {"value": ["ingest", "standardize"]}},
        ]}});
        let variables = variables(&json);
        let query = "rate(x{a=~\"$run\",b=~\"${run_id}\",c=~\"${stage:regex}\"}[$__rate_interval])";
        assert_eq!(filled(query, &variables), "rate(x{a=~\".*\",b=~\".+\",c=~\"ingest|standardize\"}[5m])");
    }

    #[test]
    fn every_dashboard_asks_something_of_its_source() {
        let all = all();
        assert_eq!(all.len(), FILES.len());
        for dashboard in &all {
            assert!(!dashboard.uid.is_empty() && !dashboard.queries.is_empty(), "{}", dashboard.title);
            for query in &dashboard.queries {
                assert!(!query.text.contains('$'), "{}: {} is not filled in", query.panel, query.text);
            }
        }
        assert!(!of(Source::Prometheus).is_empty() && !of(Source::Loki).is_empty());
    }
}
