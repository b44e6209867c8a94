//! Errors as RFC 9457 `application/problem+json`, each saying what to do where that is known.

use std::any::Any;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::log::LogError;

/// A request that is not served, and why.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    problems: Option<Arc<RawValue>>,
}

/// Why a request is not served, as RFC 9457 has it.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Wire<'a> {
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong and, where that is known, what to do.
    detail: &'a str,
    /// All that is wrong with the catalogue or the selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<crate::domain::problem::Problem>)]
    problems: Option<&'a RawValue>,
}

impl Problem {
    /// A problem of this status; `detail` says what is wrong and, where it can, what to do.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), problems: None }
    }

    /// 400: the request cannot be understood.
    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: the caller has to show a token.
    pub(super) fn unauthorized(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: the caller may not do this.
    pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: there is no such thing.
    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it is too late for that.
    pub(super) fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// 422: the catalogue, or the selectors, cannot be planned. `problems` lists all that is wrong.
    pub(super) fn bad_catalogue(detail: impl Into<String>, problems: Option<Arc<RawValue>>) -> Problem {
        Problem { status: StatusCode::UNPROCESSABLE_ENTITY, detail: detail.into(), problems }
    }

    /// 503: it cannot be done at the moment.
    pub(super) fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 500: a fault of korch itself.
    pub(super) fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "an error inside korch: its log lines have the details",
        )
    }

    /// 500: an answer that cannot be written.
    pub(super) fn not_json(error: &serde_json::Error) -> Problem {
        tracing::error!("an answer is not JSON: {error}");
        Problem::internal()
    }

    /// The answer to a request whose handler panicked.
    pub(super) fn of_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no text");
        tracing::error!("a request's handler panicked: {text}");
        // The panic's own value may hold anything: dropped here, it reaches nobody.
        drop(panic);
        Problem::internal().into_response()
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Problem {
        Problem::unavailable(format!("the log does not take the request: {error}; try again"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let wire = Wire {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            problems: self.problems.as_deref(),
        };
        // Strings, a number and JSON that has been read before: serialization cannot fail.
        let json = serde_json::to_vec(&wire).unwrap_or_default();
        let content_type = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, content_type)], json).into_response();
        let more = match self.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"korch\"")),
            // A second: what is away for longer is asked for again.
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = more {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
