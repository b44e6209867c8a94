//! What stands before every route: how much is in work at once, which pages may call, and with which token. And every
//! answer is marked as what it says it is.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tower_http::cors::CorsLayer;

use super::access::{Access, Origin};
use super::problem::Problem;
use super::serve::Limits;

/// How long a browser may keep what it was told of another site's rights.
const CORS_AGE: Duration = Duration::from_secs(600);

/// These are answered however much else is in work: what asks them ends a process that does not answer.
const ALWAYS: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

/// What stands before every route.
#[derive(Clone)]
pub(super) struct Guard {
    access: Arc<Access>,
    requests: Arc<Semaphore>,
    request_time: Duration,
}

impl Guard {
    pub(super) fn new(access: Arc<Access>, limits: &Limits) -> Guard {
        Guard {
            access,
            requests: Arc::new(Semaphore::new(limits.requests)),
            request_time: limits.request_time,
        }
    }

    /// Answers the request, or says why not.
    async fn answer(&self, request: Request, next: Next) -> Result<Response, Problem> {
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if changes && let Some(why) = self.access.foreign(request.headers()) {
            return Err(Problem::forbidden(why));
        }
        if changes && !self.access.admits(request.headers()) {
            return Err(Problem::unauthorized(match request.headers().get(header::AUTHORIZATION) {
                None => "this needs a token: send it as `Authorization: Bearer TOKEN`",
                Some(_) => "the token is another one",
            }));
        }
        if ALWAYS.contains(&request.uri().path()) {
            return Ok(next.run(request).await);
        }
        let Ok(_in_work) = self.requests.try_acquire() else {
            return Err(Problem::unavailable("too many requests are in work: try again in a moment"));
        };
        let answered = tokio::time::timeout(self.request_time, next.run(request)).await;
        answered.map_err(|_| {
            let seconds = self.request_time.as_secs_f32();
            Problem::unavailable(format!("this takes longer than {seconds} s: it is given up"))
        })
    }
}

/// Lets in who may come in, and marks every answer.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = guard.answer(request, next).await.into_response();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Tells browsers what the pages of these sites may do.
pub(super) fn cors(origins: &[Origin]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins.iter().map(|origin| origin.0.clone()).collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::WWW_AUTHENTICATE, header::RETRY_AFTER, header::ALLOW])
        .max_age(CORS_AGE)
}
