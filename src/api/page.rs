//! The page, embedded in the binary.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::Shared;
use super::problem::Problem;

/// Every file of `static`. A debug build reads them from there at each request, so that a change shows at once.
#[derive(RustEmbed)]
#[folder = "static"]
struct Page;

/// What a browser may do with the page: nothing that does not come from here, and no text ever becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The page and its parts.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| asset("index.html", &headers)))
        .route("/icon.svg", get(async |headers: HeaderMap| asset("icon.svg", &headers)))
        .route(
            "/css/{*file}",
            get(async |file: Path<String>, headers: HeaderMap| part("css", &file, &headers)),
        )
        .route("/js/{*file}", get(async |file: Path<String>, headers: HeaderMap| part("js", &file, &headers)))
        .route(
            "/lang/{*file}",
            get(async |file: Path<String>, headers: HeaderMap| part("lang", &file, &headers)),
        )
}

fn part(folder: &str, file: &str, headers: &HeaderMap) -> Response {
    asset(&format!("{folder}/{file}"), headers)
}

/// A part of the page; or that the browser has it as it is.
fn asset(path: &str, asked: &HeaderMap) -> Response {
    // What a debug build reads from disk it must not find by another way than what is embedded.
    let file = Some(path).filter(|path| !path.split('/').any(|part| part == "..")).and_then(Page::get);
    let Some(EmbeddedFile { data, metadata }) = file else {
        return Problem::not_found(format!("the page has no /{path}")).into_response();
    };
    let mut tag = String::from("\"");
    for byte in metadata.sha256_hash().iter().take(12) {
        tag.push_str(&format!("{byte:02x}"));
    }
    tag.push('"');
    let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let (status, body) = match is_known {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        false => (StatusCode::OK, Body::from(data.into_owned())),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type(path))),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    let mut response = (status, headers, body).into_response();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
