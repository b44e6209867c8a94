//! Real work: a service of the user's, asked once for each object.
//!
//! An attempt is one request, and owns its connection until the answer is read: dropped, it closes it, which is all that HTTP
//! has to tell a service that nobody waits any more.

use std::time::Duration;

use async_trait::async_trait;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use serde::Deserialize;
use tokio::time::Instant;

use super::lines::{Complaint, short};
use super::{Failure, Handler, Outcome, RESULT_MAX_BYTES, Task, read_result};
use crate::webhook::{Answer, Webhook, is_passing};

/// More of an answer than this is not read: the status has said what counts.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// What is wrong is known from the status: for what the body says about it nobody waits longer.
const REFUSAL_LIMIT: Duration = Duration::from_secs(10);

/// Posts each object's entry to one address, as section 3 of the contract says.
///
/// 2xx is loaded; 408, 429 and 5xx are failures worth another try, and so is no answer at all; any other status is a lasting
/// failure. A redirect is one: whoever configured this address shall see that it is not the right one, and a token is shown to
/// nobody else.
#[derive(Debug)]
pub struct Http {
    webhook: Webhook,
}

impl Http {
    /// A handler that asks this address.
    pub fn new(webhook: Webhook) -> Http {
        Http { webhook }
    }

    async fn loaded(&self, mut answer: Answer<'_>, task: &Task) -> Outcome {
        let mut body = Vec::new();
        let mut len = 0;
        while let Some(chunk) =
            answer.chunk().await.map_err(|trouble| Failure::passing(trouble.to_string()))?
        {
            len += chunk.len();
            let room = (RESULT_MAX_BYTES + 1).saturating_sub(body.len());
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if len > ANSWER_MAX_BYTES {
                break;
            }
        }
        Ok(read_result(&body).unwrap_or_else(|why| {
            let Task { object, stage, run_id, attempt, .. } = task;
            tracing::warn!(id_objet = object.0, run_id, attempt, %stage, "the answer's result is ignored: {why}");
            None
        }))
    }

    async fn refused(&self, mut answer: Answer<'_>, task: &Task) -> Failure {
        let status = answer.status();
        let kind = media_type(answer.header(CONTENT_TYPE));
        let target = answer.header(LOCATION).and_then(shown_target);
        let mut complaint = Complaint::new(task);
        let until = Instant::now() + REFUSAL_LIMIT;
        let mut len = 0;
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(until, answer.chunk()).await {
            complaint.push(&chunk);
            len += chunk.len();
            if len > ANSWER_MAX_BYTES {
                break;
            }
        }
        complaint.finish();
        let reason = match kind {
            _ if status.is_redirection() => {
                let target = target.map_or_else(String::new, |target| format!(" (to {target})"));
                Some(format!("redirects are not followed{target}"))
            }
            Kind::Text => complaint.reason(),
            Kind::Json => complaint.text().and_then(|json| reason_of(&json)),
            Kind::Other => None,
        };
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        Failure {
            error: format!("{} answers {status}{reason}", self.webhook.origin()),
            retryable: is_passing(status),
            stderr: complaint.text(),
        }
    }
}

#[async_trait]
impl Handler for Http {
    async fn handle(&self, task: &Task) -> Outcome {
        let json = Bytes::copy_from_slice(task.entry_json().as_bytes());
        let answer = self.webhook.post(&headers(task), json).await;
        let answer = answer.map_err(|trouble| Failure::passing(trouble.to_string()))?;
        if answer.status().is_success() {
            self.loaded(answer, task).await
        } else {
            Err(self.refused(answer, task).await)
        }
    }
}

/// What the service is told besides the entry.
fn headers(task: &Task) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut say = |name: &'static str, text: String| {
        // An old orchestrator's offer is of no run. A value that is no header's has no way to be told.
        if !text.is_empty()
            && let Ok(value) = HeaderValue::try_from(text)
        {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    say("korch-object-id", task.object.to_string());
    say("korch-stage", task.stage.name().to_owned());
    say("korch-run-id", task.run_id.clone());
    say("korch-attempt", task.attempt.to_string());
    say("korch-degraded", task.degraded_list().unwrap_or_default());
    if !task.run_id.is_empty() {
        // The same for each attempt: they all want the one thing done.
        say("idempotency-key", format!("{}/{}", task.run_id, task.object));
    }
    headers
}

/// What a body is, as far as a reason may be found in it.
enum Kind {
    Text,
    Json,
    Other,
}

fn media_type(content_type: Option<&str>) -> Kind {
    let media_type = content_type.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match media_type.as_str() {
        "text/plain" => Kind::Text,
        "application/json" | "application/problem+json" => Kind::Json,
        _ => Kind::Other,
    }
}

/// What a refusal in JSON says to people: a problem's `detail` (RFC 9457), or what others call it.
fn reason_of(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Wire {
        detail: Option<serde_json::Value>,
        message: Option<serde_json::Value>,
        error: Option<serde_json::Value>,
        title: Option<serde_json::Value>,
    }
    let Wire { detail, message, error, title } = serde_json::from_str(json).ok()?;
    let mut said = [detail, message, error, title].into_iter().flatten();
    let said =
        said.find_map(|value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(short));
    said.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Where a redirect leads, without what may be a secret in it.
fn shown_target(location: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let origin = match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => {
            let authority = authority.as_str();
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}")
        }
        _ => String::new(),
    };
    Some(short(&format!("{origin}{}", uri.path())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::object::{ObjectId, Stage};

    #[test]
    fn a_refusal_s_reason_is_found_in_what_it_says() {
        let table = [
            (r#"{"detail":"no such\n table","title":"Bad"}"#, Some("no such table")),
            (r#"{"error":{"code":3},"message":"quota"}"#, Some("quota")),
            (r#"{"title":"Bad"}"#, Some("Bad")),
            (r#"{"detail":" "}"#, None),
            (r#"{"detail":"cut o"#, None),
            ("[]", None),
        ];
        for (json, expected) in table {
            assert_eq!(reason_of(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn where_a_redirect_leads_is_told_without_its_secrets() {
        let target = shown_target("https://me:secret@lake.example:8443/load?key=secret#secret");
        assert_eq!(target.as_deref(), Some("https://lake.example:8443/load"));
        assert_eq!(shown_target("/login?next=secret").as_deref(), Some("/login"));
    }

    #[test]
    fn what_has_no_run_and_nothing_degraded_says_so_by_silence() {
        let task = Task {
            object: ObjectId(1001),
            stage: Stage::Ingest,
            run_id: String::new(),
            attempt: 1,
            entry: None,
            timeout: None,
            degraded: Vec::new(),
        };
        let told = headers(&task);
        let mut names: Vec<&str> = told.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["korch-attempt", "korch-object-id", "korch-stage"]);
        let degraded = Task { degraded: vec![ObjectId(2005), ObjectId(2006)], ..task };
        assert_eq!(headers(&degraded)["korch-degraded"], "2005,2006");
    }
}
