//! Who may call the API: with which token, from which pages.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::process::Command;

use support::{Api, Korch, Place, ended, korch, of_type};

const TOKEN: &str = "s3cret-of-the-lake";
const CHANGES: [&str; 3] = ["/orchestrate", "/runs/latest/cancel", "/runs/latest/retry"];

fn lake() -> Place {
    Place::with(&[(1001, vec![]), (2001, vec![1001]), (3001, vec![2001])])
}

fn with_token(place: &Place, args: &[&str]) -> Command {
    let mut command = place.up_command(args);
    command.env("KORCH_API_TOKEN", TOKEN);
    command
}

#[track_caller]
fn is_refused(api: &Api, path: &str, headers: &str) {
    let answer = api.head("POST", path, headers);
    assert_eq!(answer.status, 401, "{path} {headers}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("www-authenticate").is_some_and(|how| how.starts_with("Bearer")), "{answer:?}");
}

#[test]
fn calls_that_change_something_need_the_token_and_it_is_told_to_nobody() {
    let place = lake();
    let script = "test -z \"${KORCH_API_TOKEN+set}\" && echo '{}'";
    let korch = Korch::start(with_token(&place, &["--idle", "--log", "trace", "--exec", script]));
    let api = korch.api();
    api.ready();
    for path in CHANGES {
        is_refused(&api, path, "");
        is_refused(&api, path, "authorization: Bearer another\r\n");
        is_refused(&api, path, &format!("authorization: Basic {TOKEN}\r\n"));
    }
    assert_eq!(api.get("/runs")["runs"], serde_json::json!([]), "what only looks needs no token");

    // The commands send it, and say what is missing where they have none.
    let server = format!("http://{}", api.address);
    let start = |token: Option<&str>| {
        let mut command = support::korch(&["start", "--wait", "--server", &server]);
        token.map(|token| command.env("KORCH_API_TOKEN", token));
        ended(command)
    };
    let without = start(None);
    assert_eq!(without.code, Some(2), "{}", without.err);
    assert!(without.err.contains("set KORCH_API_TOKEN"), "{}", without.err);
    let wrong = start(Some("another"));
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    assert!(wrong.err.contains("KORCH_API_TOKEN does not hold"), "{}", wrong.err);
    let right = start(Some(TOKEN));
    assert_eq!(right.code, Some(0), "the work does not see the token: {}", right.err);

    let document = api.get("/openapi.json");
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for path in ["/orchestrate", "/runs/{id}/cancel", "/runs/{id}/retry"] {
        let operation = &document["paths"][path]["post"];
        assert_eq!(operation["security"], serde_json::json!([{"token": []}]), "{path}");
        assert!(operation["responses"]["401"].is_object(), "{path}");
    }

    let korch = korch.stop();
    assert!(korch.err.contains("INFO"), "it says something: {}", korch.err);
    for said in [&korch.out, &korch.err, &without.err, &wrong.err, &right.err, &right.out] {
        assert!(!said.contains(TOKEN) && !said.contains("Bearer another"), "the token is told: {said}");
    }
    assert_eq!(of_type(&place.events(), "RunRequested").len(), 1, "what is refused asks for nothing");
}

#[test]
fn a_token_from_a_file_goes_before_the_variable() {
    let place = lake();
    let file = place.path("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let mut command = place.up_command(&["--idle", "--api-token-file", file.to_str().unwrap()]);
    command.env("KORCH_API_TOKEN", "another");
    let korch = Korch::start(command);
    let api = korch.api();
    api.ready();
    is_refused(&api, "/orchestrate", "authorization: Bearer another\r\n");
    let answer = api.head("POST", "/orchestrate", &format!("authorization: bearer {TOKEN}\r\n"));
    assert_eq!(answer.status, 202);
}

#[test]
fn a_token_that_is_none_is_an_error_of_usage() {
    let place = lake();
    let empty = place.path("empty");
    fs::write(&empty, "\n").unwrap();
    let of_file = ["--api-token-file", empty.to_str().unwrap()];
    let table: [(&[&str], &str); 3] = [(&[], ""), (&[], "two words"), (&of_file, TOKEN)];
    for (args, variable) in table {
        for role in ["up", "orchestrate", "ui"] {
            let mut command = korch(&[role]);
            command.args(args).env("KORCH_API_TOKEN", variable).current_dir(place.dir.path());
            let ended = ended(command);
            assert_eq!(ended.code, Some(2), "{role} {args:?} {variable:?}: {}", ended.err);
            assert!(ended.err.contains("token") || ended.err.contains("TOKEN"), "{}", ended.err);
            assert!(!ended.err.contains("two words") && !ended.err.contains(TOKEN), "{}", ended.err);
        }
    }
    let mut command = place.up_command(&["--api-token-file", "no-such-file"]);
    command.env("KORCH_API_TOKEN", TOKEN);
    let ended = ended(command);
    assert!(ended.code == Some(1) && ended.err.contains("no-such-file"), "{}", ended.err);
    for role in ["up", "orchestrate", "ui"] {
        let mut help = korch(&[role, "--help"]);
        help.env("KORCH_API_TOKEN", TOKEN);
        let help = support::ended(help);
        assert!(help.out.contains("--api-token-file") && !help.out.contains(TOKEN), "{}", help.out);
    }
}

#[test]
fn another_sites_page_may_call_where_it_is_named() {
    const LAKE: &str = "https://lake.example";
    let place = lake();
    let sites = format!("{LAKE},http://10.0.0.7:8080");
    let korch = Korch::start(with_token(&place, &["--idle", "--cors-origin", &sites]));
    let api = korch.api();
    api.ready();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let from = |origin: &str| format!("origin: {origin}\r\nsec-fetch-site: cross-site\r\n");

    let asks = "access-control-request-method: POST\r\naccess-control-request-headers: authorization,content-type\r\n";
    let preflight = api.head("OPTIONS", "/orchestrate", &(from(LAKE) + asks));
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-origin"), Some(LAKE));
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{allowed}");
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));
    assert!(preflight.header("vary").unwrap().to_lowercase().contains("origin"));
    let other = api.head("OPTIONS", "/orchestrate", &(from("https://evil.example") + asks));
    assert_eq!(other.header("access-control-allow-origin"), None, "{other:?}");

    for (path, origin) in [("/runs", LAKE), ("/runs", "http://10.0.0.7:8080"), ("/runs/none", LAKE)] {
        let seen = api.head("GET", path, &from(origin));
        assert_eq!(seen.header("access-control-allow-origin"), Some(origin), "{path}");
        assert!(seen.header("vary").unwrap().to_lowercase().contains("origin"));
    }
    assert_eq!(
        api.head("GET", "/runs", &from("https://evil.example")).header("access-control-allow-origin"),
        None
    );

    let refused = api.head("POST", "/orchestrate", &from(LAKE));
    assert_eq!(refused.status, 401, "a page needs the token as everybody does");
    assert_eq!(refused.header("access-control-allow-origin"), Some(LAKE), "and may read why");
    let taken = api.head("POST", "/orchestrate", &(from(LAKE) + &token));
    assert_eq!(taken.status, 202);
    let evil = api.head("POST", "/orchestrate", &(from("https://evil.example") + &token));
    assert_eq!(evil.status, 403);
}

#[test]
fn without_it_other_sites_pages_may_not() {
    let place = lake();
    let korch = place.up(&["--idle"]);
    let api = korch.api();
    api.ready();
    let from = "origin: https://lake.example\r\n";
    assert_eq!(api.head("POST", "/orchestrate", from).status, 403);
    assert_eq!(api.head("GET", "/runs", from).header("access-control-allow-origin"), None);
    let asks = format!("{from}access-control-request-method: POST\r\n");
    assert_eq!(api.head("OPTIONS", "/orchestrate", &asks).status, 405);
    drop(korch);

    for wrong in ["lake.example", "https://lake.example/page", "*", "https://a.example,b.example"] {
        let ended = ended(place.up_command(&["--cors-origin", wrong]));
        assert_eq!(ended.code, Some(2), "{wrong}: {}", ended.err);
        assert!(ended.err.contains("is no origin"), "{}", ended.err);
    }
}
