//! Who may call: with which token, from which other sites' pages.

use std::fmt;
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use subtle::ConstantTimeEq as _;

/// Who may call.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What every call that changes something has to show; none: nothing.
    pub token: Option<Token>,
    /// The sites whose pages may call, beside our own.
    pub origins: Vec<Origin>,
}

impl Access {
    /// Whether a call shows the token, where one is needed.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let Some((scheme, shown)) = shown.split_at_checked(b"bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ") && token.is(shown.trim_ascii())
    }

    /// Why the page that calls, as a browser tells of it, may not; none: it may, or no page calls.
    pub(super) fn foreign(&self, headers: &HeaderMap) -> Option<String> {
        let another = || Some("another site's page may not call this".to_owned());
        let origin = headers.get(header::ORIGIN);
        if origin.is_some_and(|origin| self.origins.iter().any(|known| known.0 == origin)) {
            return None;
        }
        if headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site") {
            return another();
        }
        let origin = origin?;
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let Some((origin, host)) = origin.to_str().ok().zip(host) else { return another() };
        // `null` has no scheme.
        let Some((scheme, site)) = origin.split_once("://") else { return another() };
        let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        let bare = |host: &str| host.strip_suffix(default_port).unwrap_or(host).to_ascii_lowercase();
        if bare(site) != bare(host) {
            return another();
        }
        // Whoever owns a name can have it lead to this machine, once a browser has their page. A token they have not.
        let rebound = self.token.is_none() && is_anyones(host);
        rebound.then(|| {
            format!(
                "a page under the name {host} may call this only where --cors-origin {origin} says so, or with a token: \
                 any name can be made to lead here"
            )
        })
    }
}

/// Whether a host is a name that anybody may own: no address, and no name that means this machine or its network alone.
fn is_anyones(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_address = name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
    name.contains('.') && !is_address && !name.ends_with(".localhost")
}

/// A secret that callers show. It is written nowhere.
#[derive(Clone)]
pub struct Token(Box<str>);

impl Token {
    /// A token as a header can carry it.
    ///
    /// # Errors
    /// Why it is none; what it says is not told.
    pub fn new(text: &str) -> Result<Token, &'static str> {
        match text {
            "" => Err("is empty"),
            text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err("has characters that no token may have: letters, digits and signs of ASCII will do")
            }
            text => Ok(Token(text.into())),
        }
    }

    /// Takes as long wherever the first difference is.
    fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Another site, as browsers name it: `https://lake.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub(super) HeaderValue);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        let wrong = || format!("{text:?} is no origin: it looks like https://lake.example, without a path");
        let text = text.trim();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        let is_bare = !authority.as_str().contains('@') && text.ends_with(authority.as_str());
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return Err(wrong()),
        };
        if !is_bare || authority.host().is_empty() || authority.host().contains('*') {
            return Err(wrong());
        }
        // As a browser writes it.
        let host = authority.as_str().to_ascii_lowercase();
        let host = host.strip_suffix(default_port).unwrap_or(&host);
        HeaderValue::try_from(format!("{scheme}://{host}")).map(Origin).map_err(|_| wrong())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_foreign_page_is_told_by_its_headers() {
        let access = Access { token: None, origins: vec!["https://lake.example".parse().unwrap()] };
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
            (&[("host", "h"), ("sec-fetch-site", "cross-site"), ("origin", "https://lake.example")], false),
            (&[("host", "h"), ("sec-fetch-site", "cross-site"), ("origin", "http://lake.example")], true),
            (&[("host", "h"), ("origin", "https://lake.example.evil")], true),
        ];
        for (given, foreign) in table {
            assert_eq!(access.foreign(&headers(given)).is_some(), foreign, "{given:?}");
        }
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_is_no_page_of_ours() {
        let open = Access { token: None, origins: vec!["https://lake.example".parse().unwrap()] };
        let closed = Access { token: Some(Token::new("s3cret").unwrap()), origins: Vec::new() };
        let table = [
            ("localhost:8000", "http://localhost:8000", false),
            ("ui.localhost", "http://ui.localhost", false),
            ("127.0.0.1:8000", "http://127.0.0.1:8000", false),
            ("10.0.0.7", "http://10.0.0.7", false),
            ("[::1]:8000", "http://[::1]:8000", false),
            ("orchestrator:8000", "http://orchestrator:8000", false),
            ("evil.example:8000", "http://evil.example:8000", true),
            ("EVIL.example.", "http://evil.example.", true),
            ("1.2.3.4.evil.example", "http://1.2.3.4.evil.example", true),
            ("lake.example", "https://lake.example", false),
            ("lake.example", "http://lake.example", true),
        ];
        for (host, origin, foreign) in table {
            let given = headers(&[("host", host), ("origin", origin)]);
            assert_eq!(open.foreign(&given).is_some(), foreign, "{host}");
            assert_eq!(closed.foreign(&given), None, "{host}: who has the token is no page of a stranger");
        }
    }

    #[test]
    fn a_call_shows_the_token_or_is_refused() {
        let access = Access { token: Some(Token::new("s3cret").unwrap()), origins: Vec::new() };
        let table = [
            ("Bearer s3cret", true),
            ("bearer s3cret", true),
            ("Bearer  s3cret ", true),
            ("Bearer s3cre", false),
            ("Bearer s3cret2", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("s3cret", false),
            ("Basic s3cret", false),
            ("", false),
        ];
        for (shown, admitted) in table {
            assert_eq!(access.admits(&headers(&[("authorization", shown)])), admitted, "{shown}");
        }
        assert!(!access.admits(&HeaderMap::new()));
        assert!(Access::default().admits(&HeaderMap::new()));
        assert!(!format!("{access:?}").contains("s3cret"));
        assert!(Token::new("").is_err() && Token::new("a b").is_err() && Token::new("é").is_err());
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        let table = [
            ("https://lake.example", Some("https://lake.example")),
            (" https://Lake.Example:443 ", Some("https://lake.example")),
            ("http://10.0.0.7:8080", Some("http://10.0.0.7:8080")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("https://lake.example/", None),
            ("https://lake.example/page", None),
            ("https://lake.example?a", None),
            ("https://me@lake.example", None),
            ("lake.example", None),
            ("//lake.example", None),
            ("ftp://lake.example", None),
            ("https://", None),
            ("https://*", None),
            ("*", None),
            ("null", None),
            ("", None),
        ];
        for (text, origin) in table {
            let read = text.parse::<Origin>().ok().map(|origin| origin.0);
            assert_eq!(read.as_ref().map(|origin| origin.to_str().unwrap()), origin, "{text}");
        }
    }
}
