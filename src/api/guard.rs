//! What stands before every route: other sites' pages are refused, and every answer is marked as what it says it is.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Refuses what other sites' pages send, and marks every answer as what it says it is.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let mut response = if changes && is_foreign(request.headers()) {
        Problem::forbidden("another site's page may not call this").into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Whether a browser says that the page which calls is another site's.
fn is_foreign(headers: &HeaderMap) -> bool {
    if headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    match (origin, host) {
        (Some((scheme, origin)), Some(host)) => {
            let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
            let bare = |host: &str| host.strip_suffix(default_port).unwrap_or(host).to_ascii_lowercase();
            bare(origin) != bare(host)
        }
        _ => true, // `null`, or a caller without a Host
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_page_is_told_by_its_headers() {
        let table = [
            (&[][..], false),
            (&[("host", "h:8000"), ("origin", "http://h:8000")], false),
            (&[("host", "H"), ("origin", "http://h:80")], false),
            (&[("host", "h"), ("origin", "https://h")], false),
            (&[("host", "h:8000"), ("origin", "http://h:8001")], true),
            (&[("host", "h:8000"), ("origin", "http://evil")], true),
            (&[("host", "h:8000"), ("origin", "null")], true),
            (&[("origin", "http://h")], true),
            (&[("host", "h"), ("sec-fetch-site", "cross-site")], true),
            (&[("host", "h"), ("sec-fetch-site", "same-origin")], false),
        ];
        for (headers, foreign) in table {
            let mut map = HeaderMap::new();
            for &(name, value) in headers {
                map.insert(name, HeaderValue::from_static(value));
            }
            assert_eq!(is_foreign(&map), foreign, "{headers:?}");
        }
    }
}
