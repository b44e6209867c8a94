//! `--http` with a real service: what it is told, how its answers are read, and that nothing is left under way.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/receiver.rs"]
mod receiver;
mod support;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use receiver::{Nobody, Receiver, Reply};
use serde_json::{Value, json};
use support::{Ended, Place, ended, of_type, poll};
use tokio::sync::Semaphore;

/// Runs a catalogue to its end with these flags.
fn once(place: &Place, args: &[&str]) -> Ended {
    place.up(&[&["--once"], args].concat()).end()
}

/// The last failure of each object.
fn failures(events: &[Value]) -> BTreeMap<u64, Value> {
    let failed = of_type(events, "ObjectFailed").into_iter();
    failed.map(|event| (event["id_objet"].as_u64().unwrap(), event["meta"].clone())).collect()
}

/// The answer of each object that was loaded.
fn loaded(events: &[Value]) -> BTreeMap<u64, Value> {
    let loaded = of_type(events, "ObjectLoaded").into_iter();
    loaded.map(|event| (event["id_objet"].as_u64().unwrap(), event["meta"].clone())).collect()
}

/// One source and the final object that needs it.
fn one_source() -> Place {
    Place::with(&[(1001, vec![]), (3001, vec![1001])])
}

#[test]
fn a_service_is_told_the_task_and_what_it_answers_is_the_result() {
    // 2001 is known by its id alone.
    let place = Place::with(&[(1001, vec![]), (3001, vec![1001, 2001])]);
    let service = Receiver::start(|posted| Reply::json(200, &format!(r#"{{"rows": {}}}"#, posted.object())));
    let ended = once(&place, &["--http", &service.url("/load?to=lake")]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);

    let posted = service.posted();
    assert_eq!(posted.len(), 3);
    for posted in &posted {
        let id = posted.object();
        assert_eq!((posted.method.as_str(), posted.path.as_str()), ("POST", "/load?to=lake"));
        assert_eq!(posted.header("host"), Some(service.address.as_str()));
        assert_eq!(posted.header("content-type"), Some("application/json"));
        assert_eq!(posted.header("korch-attempt"), Some("1"));
        let stage = ["ingest", "standardize", "application"][(id / 1000 - 1) as usize];
        assert_eq!(posted.header("korch-stage"), Some(stage));
        let run = posted.header("korch-run-id").unwrap();
        assert_eq!(posted.header("idempotency-key"), Some(format!("{run}/{id}").as_str()));
        assert_eq!(posted.header("korch-degraded"), None);
        assert_eq!(posted.header("authorization"), None);
        assert_eq!(if id == 2001 { Value::Null } else { json!(id) }, posted.json()["IdObjet"]);
        assert_eq!(posted.json().is_null(), id == 2001);
    }
    let loaded = loaded(&place.events());
    for id in [1001, 2001, 3001] {
        assert_eq!(loaded[&id]["result"], json!({"rows": id}));
    }
}

#[test]
fn each_status_is_read_for_what_it_says() {
    let statuses = [200, 201, 202, 204, 302, 400, 401, 404, 408, 409, 422, 429, 500, 501, 502, 503, 504];
    let objects: Vec<(u64, Vec<u64>)> = statuses.iter().map(|status| (1000 + status, vec![])).collect();
    let ids = objects.iter().map(|(id, _)| *id).collect();
    let place = Place::with(&[objects, vec![(3001, ids)]].concat());
    let service = Receiver::start(|posted| match posted.object() - 1000 {
        302 => Reply::text(302, "elsewhere").with("location", "/elsewhere?key=secret"),
        404 => Reply::json(404, r#"{"type":"about:blank","detail":"no such table"}"#),
        500 => Reply::text(500, "first\nthe lake is dry\n"),
        502 => Reply { body: "<html>\n</html>".into(), ..Reply::of(502).with("content-type", "text/html") },
        status => Reply::of(u16::try_from(status).unwrap()),
    });
    let ended = once(&place, &["--http", &service.url("/"), "--slots", "3"]);
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert_eq!(service.posted().len(), statuses.len(), "each is asked once, and no redirect is followed");

    let events = place.events();
    let (failures, loaded) = (failures(&events), loaded(&events));
    for status in statuses {
        let id = 1000 + status;
        assert_eq!(loaded.contains_key(&id), status < 300, "{status}");
        if status >= 300 {
            let again = matches!(status, 408 | 429 | 500..);
            assert_eq!(failures[&id]["retryable"], again, "{status}: {}", failures[&id]);
        }
    }
    let error = |status: u64| failures[&(1000 + status)]["error"].as_str().unwrap().to_owned();
    let says = |what: &str| format!("http://{} answers {what}", service.address);
    assert_eq!(error(302), says("302 Found: redirects are not followed (to /elsewhere)"));
    assert_eq!(error(404), says("404 Not Found: no such table"));
    assert_eq!(error(500), says("500 Internal Server Error: the lake is dry"));
    assert_eq!(error(502), says("502 Bad Gateway"));
    assert_eq!(error(503), says("503 Service Unavailable"));
    let stderr = |status: u64| failures[&(1000 + status)]["stderr"].clone();
    assert_eq!(stderr(500), "first\nthe lake is dry");
    assert_eq!(stderr(502), "<html>\n</html>");
    assert_eq!(stderr(503), Value::Null);
    assert!(ended.err.lines().any(|line| line.contains("the lake is dry") && line.contains("1500")));
}

#[test]
fn what_is_worth_another_try_gets_one() {
    let place = one_source();
    let service = Receiver::start(|posted| Reply::of(if posted.before < 2 { 503 } else { 200 }));
    let ended = once(&place, &["--http", &service.url("/"), "--retries", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let posted = service.posted();
    let attempts: Vec<_> = posted.iter().map(|posted| posted.header("korch-attempt").unwrap()).collect();
    assert_eq!(attempts, ["1", "2", "3", "1"]);
    assert_eq!(posted[0].header("idempotency-key"), posted[2].header("idempotency-key"));
}

#[test]
fn a_result_has_a_limit_and_an_answer_too() {
    let place = Place::with(&[
        (1001, vec![]),
        (1002, vec![]),
        (1003, vec![]),
        (1004, vec![]),
        (3001, vec![1001, 1002, 1003, 1004]),
    ]);
    let large = |size: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(size - r#"{"a":""}"#.len()));
    let service = Receiver::start(move |posted| match posted.object() {
        1001 => Reply::json(200, &large(64 * 1024)),
        1002 => Reply::json(200, &large(64 * 1024 + 1)),
        1003 => Reply::text(200, &"loaded\n".repeat(1 << 20)),
        1004 => Reply::text(500, &format!("{}the end", "x".repeat(100_000))),
        _ => Reply::json(200, "[1]"),
    });
    let ended = once(&place, &["--http", &service.url("/")]);
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let events = place.events();
    let loaded = loaded(&events);
    assert_eq!(loaded[&1001]["result"]["a"].as_str().unwrap().len(), 64 * 1024 - 8);
    assert_eq!(loaded[&1002]["result"], Value::Null);
    assert!(
        ended.err.contains("the answer's result is ignored: it is larger than 65536 bytes"),
        "{}",
        ended.err
    );
    assert_eq!(loaded[&1003]["result"], Value::Null);
    let stderr = failures(&events)[&1004]["stderr"].as_str().unwrap().to_owned();
    assert!(stderr.ends_with("the end") && stderr.len() <= 4096, "{}", stderr.len());
}

#[test]
fn a_slow_service_is_given_up_at_the_timeout() {
    let place = one_source();
    let service = Receiver::hanging();
    let args = ["--http", &service.url("/"), "--timeout", "200ms", "--retries", "1"];
    let ended = once(&place, &args);
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let failed = of_type(&place.events(), "ObjectFailed").into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(failed.len(), 2);
    for event in failed {
        assert_eq!(event["meta"]["error"], "timeout after 200ms");
        assert_eq!(event["meta"]["retryable"], true);
    }
    // On a machine that is busy with everything else an attempt's time may be up before it has asked.
    let asked = service.posted().len();
    poll("the end of both requests", || (service.given_up() == asked).then_some(()));
}

#[test]
fn who_does_not_answer_is_asked_again_and_named() {
    let place = one_source();
    let nobody = Nobody::there();
    let url = format!("http://{}/load?key=secret", nobody.address);
    let ended = once(&place, &["--http", &url, "--retries", "1"]);
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let events = place.events();
    assert_eq!(of_type(&events, "ObjectFailed").len(), 2);
    let meta = &failures(&events)[&1001];
    let error = meta["error"].as_str().unwrap();
    assert!(
        error.starts_with(&format!("http://{}: cannot connect: Connection refused", nobody.address)),
        "{error}"
    );
    assert_eq!(meta["retryable"], true);
    assert!(!ended.err.contains("secret") && !ended.out.contains("secret"), "{}", ended.err);
}

/// Answers each request on a connection of its own with these bytes, and closes it.
fn raw(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                // The request is small: its end comes with its beginning, or soon after.
                let mut request = Vec::new();
                let mut chunk = [0; 4096];
                while !whole(&request) {
                    match stream.read(&mut chunk) {
                        Ok(count @ 1..) => request.extend_from_slice(&chunk[..count]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(answer);
            });
        }
    });
    address
}

/// Whether a request has come to its end.
fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .to_lowercase()
        .split("content-length: ")
        .nth(1)
        .map(|rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
    body.len() >= length.unwrap_or(0)
}

#[test]
fn an_answer_that_breaks_off_or_is_none_is_worth_another_try() {
    for (answer, expected) in [
        (&b""[..], "the connection broke: "),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"rows\"", "the connection broke: "),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the connection broke: "),
    ] {
        let place = one_source();
        let address = raw(answer);
        let ended = once(&place, &["--http", &format!("http://{address}")]);
        assert_eq!(ended.code, Some(4), "{}", ended.err);
        let meta = &failures(&place.events())[&1001];
        let error = meta["error"].as_str().unwrap();
        assert!(error.starts_with(&format!("http://{address}: {expected}")), "{error}");
        assert_eq!(meta["retryable"], true);
    }
}

#[test]
fn a_refusal_counts_even_if_its_body_breaks_off() {
    let place = one_source();
    let address = raw(b"HTTP/1.1 422 Unprocessable Entity\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nno table");
    let ended = once(&place, &["--http", &format!("http://{address}")]);
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let meta = &failures(&place.events())[&1001];
    assert_eq!(meta["error"], format!("http://{address} answers 422 Unprocessable Entity: no table"));
    assert_eq!((&meta["retryable"], &meta["stderr"]), (&json!(false), &json!("no table")));
}

/// A catalogue with so many sources.
fn sources(count: u64) -> Place {
    let ids: Vec<u64> = (1001..1001 + count).collect();
    let sources = ids.iter().map(|id| (*id, vec![])).collect::<Vec<_>>();
    Place::with(&[sources, vec![(3001, ids)]].concat())
}

#[test]
fn a_service_that_hangs_up_after_each_answer_loses_nothing() {
    // It does not say that it will: a connection that korch keeps may be gone when it is used again.
    let address = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let place = sources(40);
    let ended = once(&place, &["--http", &format!("http://{address}"), "--slots", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn connections_are_used_again() {
    let place = sources(60);
    let service = Receiver::start(|_| Reply::json(200, "{}"));
    let ended = once(&place, &["--http", &service.url("/"), "--slots", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let connections = service.connections();
    assert!(connections < 30, "{connections} connections for 61 requests by 2 slots");
}

#[test]
fn one_slow_answer_does_not_hold_up_the_others() {
    let place = sources(4);
    let others = Arc::new(Semaphore::new(0));
    let service = Receiver::begin(move |posted| {
        let others = others.clone();
        Box::pin(async move {
            match posted.object() {
                // It waits for the other three, which share the second slot.
                1001 => drop(others.acquire_many(3).await),
                1002..=1004 => others.add_permits(1),
                _ => {}
            }
            Reply::of(200)
        })
    });
    let ended = once(&place, &["--http", &service.url("/"), "--slots", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn a_run_that_is_cancelled_closes_its_connections() {
    let place = Place::with(&[(1001, vec![]), (1002, vec![]), (3001, vec![1001, 1002])]);
    let service = Receiver::hanging();
    let korch = place.up(&["--idle", "--http", &service.url("/")]);
    let api = korch.api();
    api.ready();
    let (_, run) = api.post("/orchestrate");
    let run = run["run_id"].as_str().unwrap();
    service.wait_for(2);
    assert_eq!(service.given_up(), 0);
    api.post(&format!("/runs/{run}/cancel"));
    poll("closed connections", || (service.given_up() == 2).then_some(()));
    assert_eq!(api.finished(run)["state"], "cancelled");
}

#[test]
fn a_token_comes_from_a_file_or_a_variable_and_is_told_to_nobody_else() {
    let service = Receiver::start(|_| Reply::of(403));
    let place = one_source();
    let url = service.url("/");
    fs::write(place.path("token"), "of-the-file\n").unwrap();
    let ended = once(&place, &["--http", &url, "--http-token-file", "token"]);
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    assert!(!ended.err.contains("of-the-file") && !ended.out.contains("of-the-file"));
    let mut command = place.up_command(&["--once"]);
    command.env("KORCH_HTTP", &url).env("KORCH_HTTP_TOKEN", "of-the-variable");
    let ended = support::ended(command);
    assert!(!ended.err.contains("of-the-variable") && !ended.out.contains("of-the-variable"));
    let tokens: Vec<_> =
        service.posted().iter().map(|posted| posted.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["Bearer of-the-file", "Bearer of-the-variable"]);

    // A command gets none of korch's secrets.
    let mut command = place.up_command(&[
        "--once",
        "--exec",
        r#"test -z "$KORCH_HTTP_TOKEN$KORCH_NOTIFY_TOKEN$KORCH_NOTIFY""#,
    ]);
    command.env("KORCH_HTTP_TOKEN", "secret").env("KORCH_NOTIFY_TOKEN", "secret").env("KORCH_NOTIFY", "");
    let ended = support::ended(command);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn what_cannot_be_asked_is_refused_at_the_start() {
    let place = one_source();
    for args in [
        &["--http", "lake.example/load"][..],
        &["--http", "ftp://lake.example"],
        &["--http", "http://me:secret@lake.example"],
        &["--http", "http://h", "--exec", "true"],
        &["--http", "http://h", "--delay", "0s"],
        &["--http-token-file", "token"],
        &["--http", "http://h", "--http-token-file", "empty"],
    ] {
        fs::write(place.path("empty"), "\n").unwrap();
        let ended = once(&place, args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.err);
        assert!(!ended.err.contains("secret"), "{}", ended.err);
    }
    assert_eq!(place.events().len(), 0);
}

/// A service that speaks TLS and answers everything with 200; the path of the certificate to trust.
fn secure(place: &Place, name: &str, runtime: &tokio::runtime::Runtime) -> (String, std::path::PathBuf) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let path = place.path(name);
    fs::write(&path, certificate.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = |_: hyper::Request<hyper::body::Incoming>| async {
                    Ok::<_, Infallible>(hyper::Response::new(Full::<Bytes>::from("{}")))
                };
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer));
                let _ = serving.await;
            });
        }
    });
    (format!("https://localhost:{port}/load"), path)
}

#[test]
fn a_service_proves_who_it_is() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let place = one_source();
    let (url, trusted) = secure(&place, "trusted.pem", &runtime);
    let (other, _) = secure(&place, "other.pem", &runtime);
    let run = |url: &str| {
        let mut command = place.up_command(&["--once", "--http", url]);
        command.env("SSL_CERT_FILE", &trusted).env_remove("SSL_CERT_DIR");
        ended(command)
    };
    let ended = run(&url);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let ended = run(&other);
    assert_eq!(ended.code, Some(4), "{}", ended.err);
    let meta = &failures(&place.events())[&1001];
    let error = meta["error"].as_str().unwrap();
    let origin = other.strip_suffix("/load").unwrap();
    assert!(
        error.starts_with(&format!("{origin}: cannot connect: ")) && error.contains("certificate"),
        "{error}"
    );
    assert_eq!(meta["retryable"], true);
}
