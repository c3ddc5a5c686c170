//! Every way to be refused: status, code, body for the reader at hand, CORS, nothing stored, one line in the log, no
//! secret anywhere, and the origin not asked where the fault is the client's.

use std::net::TcpListener;

use serde_json::json;

use crate::support::client::media_type;
use crate::support::mint::{STRANGER, tampered};
use crate::support::{Client, End, Gate, NOW, Origin, Response, Script, Setup, Token, conf};

const APP: &str = "https://app.example.com";

/// Whether a case may reach the origin.
#[derive(Clone, Copy, PartialEq)]
enum AtOrigin {
    Never,
    May,
}

struct Case {
    what: &'static str,
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    status: u16,
    code: &'static str,
    at_origin: AtOrigin,
}

fn case(what: &'static str, status: u16, code: &'static str, target: String) -> Case {
    Case {
        what,
        method: "GET",
        target,
        headers: Vec::new(),
        status,
        code,
        at_origin: AtOrigin::Never,
    }
}

fn with(mut case: Case, name: &'static str, value: String) -> Case {
    case.headers.push((name, value));
    case
}

fn by(mut case: Case, method: &'static str) -> Case {
    case.method = method;
    case
}

fn reaching(mut case: Case) -> Case {
    case.at_origin = AtOrigin::May;
    case
}

fn cases() -> Vec<Case> {
    let whole = Token::whole();
    let text = whole.text();
    let bad = tampered(&text);
    vec![
        case("no token", 401, "token_missing", "/files/a".into()),
        case("an empty token", 401, "token_malformed", "/files/a?t=".into()),
        case("no JWT", 401, "token_malformed", "/files/a?t=abc".into()),
        case(
            "four parts",
            401,
            "token_malformed",
            format!("/files/a?t={text}.x"),
        ),
        case(
            "a long token",
            401,
            "token_malformed",
            format!("/files/a?t={}", "A".repeat(8 * 1024 + 1)),
        ),
        case(
            "a changed signature",
            401,
            "token_invalid",
            format!("/files/a?t={bad}"),
        ),
        case(
            "a changed signature in the path",
            401,
            "token_invalid",
            format!("/~{bad}/files/a"),
        ),
        with(
            case("a changed bearer", 401, "token_invalid", "/files/a".into()),
            "Authorization",
            format!("Bearer {bad}"),
        ),
        with(
            case("a changed cookie", 401, "token_invalid", "/files/a".into()),
            "Cookie",
            format!("media={bad}"),
        ),
        case(
            "a strange key",
            401,
            "token_invalid",
            whole.clone().key(STRANGER).at("/files/a"),
        ),
        case(
            "an unknown key",
            401,
            "token_invalid",
            whole.clone().header("kid", "nobody").at("/files/a"),
        ),
        case(
            "another algorithm",
            401,
            "token_invalid",
            whole.clone().header("alg", "HS512").at("/files/a"),
        ),
        case(
            "another issuer",
            401,
            "token_invalid",
            whole.clone().claim("iss", "https://evil.test").at("/files/a"),
        ),
        case(
            "another audience",
            401,
            "token_invalid",
            whole.clone().claim("aud", "other").at("/files/a"),
        ),
        case(
            "no expiry",
            401,
            "token_invalid",
            whole.clone().without("exp").at("/files/a"),
        ),
        case(
            "expired",
            401,
            "token_expired",
            whole.clone().expires(NOW - 5).at("/files/a"),
        ),
        case(
            "not yet",
            401,
            "token_not_yet_valid",
            whole.clone().claim("nbf", NOW + 60).at("/files/a"),
        ),
        case(
            "another path",
            403,
            "scope_denied",
            Token::opening(&["/files/b"]).at("/files/a"),
        ),
        by(
            case(
                "another method",
                403,
                "method_denied",
                whole.clone().claim("methods", json!(["GET"])).at("/put/a"),
            ),
            "DELETE",
        ),
        case(
            "another address",
            403,
            "address_denied",
            whole.clone().claim("ips", json!(["192.0.2.1"])).at("/files/a"),
        ),
        case(
            "two tokens",
            400,
            "bad_request",
            format!("/files/a?t={text}&t={bad}"),
        ),
        case("a dot segment", 400, "bad_path", whole.at("/files/x/../a")),
        case("an encoded slash", 400, "bad_path", whole.at("/files/x%2fa")),
        case("an empty segment", 400, "bad_path", whole.at("/files//a")),
        by(
            case(
                "a foreign method",
                405,
                "method_not_allowed",
                whole.at("/files/a"),
            ),
            "DELETE",
        ),
        with(
            by(
                case(
                    "a large upload",
                    413,
                    "too_large",
                    whole.clone().claim("methods", json!(["PUT"])).at("/put/a"),
                ),
                "PUT",
            ),
            "Content-Length",
            "1025".into(),
        ),
        case(
            "a long address",
            414,
            "uri_too_long",
            format!("/files/a?x={}", "x".repeat(17 * 1024)),
        ),
        case("no route", 404, "not_found", whole.at("/nowhere")),
        reaching(case(
            "not at the origin",
            404,
            "not_found",
            whole.at("/files/absent"),
        )),
        reaching(with(
            case("no such range", 416, "range", whole.at("/files/file")),
            "Range",
            "bytes=100-".into(),
        )),
        case("a dead origin", 502, "origin_unreachable", whole.at("/dead/a")),
        reaching(case(
            "a lying origin",
            502,
            "origin_invalid",
            whole.at("/files/lie"),
        )),
        reaching(case(
            "an origin that fails",
            502,
            "origin_invalid",
            whole.at("/files/fails"),
        )),
        reaching(case(
            "a slow origin",
            504,
            "origin_timeout",
            whole.at("/files/slow"),
        )),
        case("no keys yet", 503, "keys_unavailable", whole.at("/pending/a")),
    ]
}

fn start() -> (Origin, Gate) {
    let origin = Origin::start();
    origin
        .file("/files/file", "0123456789")
        .on(
            "/files/absent",
            Script::answer(
                "404 Not Found",
                &[("Content-Type", "text/html")],
                "<h1>secret page</h1>",
            ),
        )
        .on(
            "/files/fails",
            Script::answer(
                "500 Oh",
                &[("X-Powered-By", "secret")],
                "stack trace of the origin",
            ),
        )
        .on(
            "/files/lie",
            Script::answer("206 Partial Content", &[("Content-Range", "bytes 0-1/2")], "ab"),
        )
        .on("/files/slow", Script::new().stall());
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let cors = "methods = [\"GET\", \"PUT\"]\nmax_upload = \"1KiB\"\ncors = { origins = [\"https://app.example.com\"] }";
    let deleting = cors.replace("\"PUT\"", "\"PUT\", \"DELETE\"");
    let reading = cors.replace(", \"PUT\"", "");
    let toml = conf::impatient(origin.address(), "1s")
        + &format!("[origin.dead.http]\nurl = \"http://{closed}\"\nconnect_timeout = \"2s\"\n")
        + &format!("[keys.pending]\njwks = \"http://{closed}/jwks.json\"\n")
        + &conf::route_with("files", "/files", &reading)
        + &conf::route_with("put", "/put", &deleting)
        + &conf::route_with("dead", "/dead", &reading).replace("origin = \"files\"", "origin = \"dead\"")
        + &conf::route_with("pending", "/pending", &reading)
            .replace("keys = \"media\"", "keys = \"pending\"");
    (origin, Gate::start(toml))
}

fn ask(gate: &Gate, case: &Case, more: &[(&str, &str)]) -> Response {
    let mut headers: Vec<(&str, &str)> = case
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    headers.extend_from_slice(more);
    gate.exchange(case.method, &case.target, &headers)
}

/// What must hold for every refusal, whoever reads it.
fn common(case: &Case, answer: &Response) {
    let what = case.what;
    assert_eq!(answer.status, case.status, "{what}: {answer:?}");
    assert_eq!(answer.end, End::Complete, "{what}: {answer:?}");
    assert_eq!(
        answer.header("cache-control"),
        Some("no-store"),
        "{what}: {answer:?}"
    );
    assert_eq!(
        answer.header("referrer-policy"),
        Some("no-referrer"),
        "{what}: {answer:?}"
    );
    assert_eq!(
        answer.header("www-authenticate").is_some(),
        case.status == 401,
        "{what}: {answer:?}"
    );
    if let Some(challenge) = answer.header("www-authenticate") {
        assert!(challenge.starts_with("Bearer"), "{what}: {challenge}");
        let error = challenge.contains("error=\"invalid_token\"");
        assert_eq!(error, case.code != "token_missing", "{what}: {challenge}");
    }
    assert_eq!(
        answer.header("allow").is_some(),
        case.status == 405,
        "{what}: {answer:?}"
    );
    let raw = String::from_utf8_lossy(&answer.raw);
    for secret in [
        "eyJ",
        "customer-42",
        "secret",
        "stack trace",
        "127.0.0.1",
        "issuer.test",
    ] {
        assert!(!raw.contains(secret), "{what}: {secret} in {raw}");
    }
}

#[test]
fn every_refusal_says_its_status_and_code_as_problem_json() {
    let (origin, gate) = start();
    for case in cases() {
        let before = origin.seen().len();
        let answer = ask(&gate, &case, &[]);
        common(&case, &answer);
        assert_eq!(
            media_type(&answer),
            "application/problem+json",
            "{}: {answer:?}",
            case.what
        );
        let problem = answer.json();
        assert_eq!(problem["code"], case.code, "{}: {problem}", case.what);
        assert_eq!(problem["status"], case.status, "{}: {problem}", case.what);
        assert!(
            problem["title"].as_str().is_some_and(|title| !title.is_empty()),
            "{}: {problem}",
            case.what
        );
        if case.at_origin == AtOrigin::Never {
            assert_eq!(origin.seen().len(), before, "{}: the origin was asked", case.what);
        }
    }
}

#[test]
fn a_person_who_navigates_gets_a_page_without_script_or_echo() {
    let (_origin, gate) = start();
    let person = [
        (
            "Accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("Sec-Fetch-Dest", "document"),
        ("Sec-Fetch-Mode", "navigate"),
    ];
    for case in cases() {
        let answer = ask(&gate, &case, &person);
        common(&case, &answer);
        let what = case.what;
        assert_eq!(media_type(&answer), "text/html", "{what}: {answer:?}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'"), "{what}: {policy}");
        assert!(
            !policy.contains("script-src") || policy.contains("script-src 'none'"),
            "{what}: {policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
        let page = answer.text().to_lowercase();
        for needed in [
            "<!doctype html",
            "<html lang=",
            "<title>",
            "<h1",
            "charset",
            "viewport",
        ] {
            assert!(page.contains(needed), "{what}: no {needed} in {page}");
        }
        for banned in [
            "<script", "http://", "/files/", "/nowhere", "onload", "<img", "<form",
        ] {
            assert!(!page.contains(banned), "{what}: {banned} in {page}");
        }
    }
}

#[test]
fn a_media_element_gets_the_status_and_no_body() {
    let (_origin, gate) = start();
    for element in ["video", "audio", "image"] {
        for case in cases() {
            let answer = ask(&gate, &case, &[("Accept", "*/*"), ("Sec-Fetch-Dest", element)]);
            common(&case, &answer);
            assert!(answer.body.is_empty(), "{} for {element}: {answer:?}", case.what);
            assert_eq!(answer.header("content-type"), None, "{} for {element}", case.what);
        }
    }
}

#[test]
fn a_head_request_is_refused_with_the_same_head_and_no_body() {
    let (_origin, gate) = start();
    for case in cases()
        .into_iter()
        .filter(|case| case.method == "GET" && case.code != "range")
    {
        let mut client = gate.connect();
        let headers: Vec<(&str, &str)> = case
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = client.exchange("HEAD", &case.target, &headers);
        assert_eq!(answer.status, case.status, "{}: {answer:?}", case.what);
        if case.code == "bad_request" {
            // What follows a request with two readings is nobody's.
            assert_eq!(
                answer.header("connection"),
                Some("close"),
                "{}: {answer:?}",
                case.what
            );
            assert!(client.is_closed(), "{}", case.what);
            continue;
        }
        let next = client.exchange("HEAD", &case.target, &headers);
        assert_eq!(
            next.status, case.status,
            "{}: the connection is out of step: {next:?}",
            case.what
        );
    }
}

#[test]
fn cors_headers_stand_on_every_refusal_of_a_route_for_its_own_app_alone() {
    let (_origin, gate) = start();
    for case in cases()
        .into_iter()
        .filter(|case| !case.target.starts_with("/nowhere"))
    {
        let answer = ask(&gate, &case, &[("Origin", APP)]);
        common(&case, &answer);
        // Before there is a route there is no one whose rules could be followed.
        if case.code == "uri_too_long" {
            continue;
        }
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(APP),
            "{}: {answer:?}",
            case.what
        );
        assert!(
            answer
                .all("vary")
                .any(|vary| vary.to_lowercase().contains("origin")),
            "{}: {answer:?}",
            case.what
        );
        let answer = ask(&gate, &case, &[("Origin", "https://evil.example")]);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{}: {answer:?}",
            case.what
        );
    }
}

#[test]
fn every_refusal_is_one_line_in_the_log_with_its_code_and_no_secret() {
    let (_origin, gate) = start();
    let cases = cases();
    for (number, case) in cases.iter().enumerate() {
        let answer = ask(&gate, case, &[]);
        assert_eq!(answer.status, case.status, "{}", case.what);
        let lines = gate.access(number + 1);
        assert_eq!(lines.len(), number + 1, "{}: one line each", case.what);
        let line = &lines[number];
        assert_eq!(line["code"], case.code, "{}: {line}", case.what);
        assert_eq!(line["status"], case.status, "{}: {line}", case.what);
        assert_eq!(line["method"], case.method, "{}: {line}", case.what);
        assert_eq!(line["end"], "complete", "{}: {line}", case.what);
    }
    let log = gate.access_text();
    for secret in ["eyJ", "jti-of-a-test"] {
        assert!(!log.contains(secret), "{secret} in the access log: {log}");
    }
}

#[test]
fn every_refusal_is_counted_under_its_code() {
    let (_origin, gate) = start();
    for case in cases() {
        let label = format!("code=\"{}\"", case.code);
        let before = gate.metric("mediagate_requests_total", &[&label]);
        ask(&gate, &case, &[]);
        crate::support::wait::until_true(case.what, || {
            gate.metric("mediagate_requests_total", &[&label]) == before + 1.0
        });
    }
}

#[test]
fn a_head_that_is_too_large_is_refused_with_431() {
    let (origin, gate) = start();
    let mut client = gate.connect();
    let large = "x".repeat(1000);
    let many: Vec<(String, &str)> = (0..90)
        .map(|number| (format!("X-Large-{number}"), large.as_str()))
        .collect();
    let headers: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let answer = client.exchange("GET", &Token::whole().at("/files/a"), &headers);
    assert_eq!(answer.status, 431, "{answer:?}");
    origin.untouched();
}

#[test]
fn a_route_may_change_a_status_but_not_the_code() {
    let origin = Origin::start();
    let more = "status = { token_missing = 404, token_expired = 410 }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    gate.get("/a", &[]).refused(404, "token_missing");
    gate.get(&Token::whole().expires(NOW - 60).at("/a"), &[])
        .refused(410, "token_expired");
    gate.get("/a?t=abc", &[]).refused(401, "token_malformed");
}

#[test]
fn the_fynn_dialect_refuses_every_token_with_403() {
    let origin = Origin::start();
    let gate =
        Setup::new(conf::http(origin.address()) + &conf::fynn_route() + &conf::issuer(conf::RULE)).start();
    for token in [
        "abc".to_owned(),
        tampered(&Token::whole().text()),
        Token::whole().text(),
        "x".repeat(9000),
    ] {
        let answer = gate.get(&format!("/media/01F9/download/{token}"), &[]);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.code().starts_with("token_"));
    }
    origin.untouched();
}

#[test]
fn an_answer_to_an_unread_body_leaves_no_request_behind() {
    let (origin, gate) = start();
    let smuggled = format!(
        "GET {} HTTP/1.1\r\nHost: media.example.com\r\n\r\n",
        Token::whole().at("/files/smuggled")
    );
    let mut client = Client::connect(gate.address());
    let length = smuggled.len().to_string();
    client.request("POST", "/files/a", &[("Content-Length", &length)]);
    client.send(&smuggled);
    let first = client.read();
    assert!(first.status >= 400, "{first:?}");
    client.send(crate::support::client::head("GET", "/files/probe", &[]));
    // The body is drained, and the probe is answered as itself; or the connection is closed.
    if let Ok(second) = client.try_read() {
        assert_eq!(
            (second.status, second.code().as_str()),
            (401, "token_missing"),
            "{second:?}"
        );
        client.finish();
        let (rest, _) = client.read_to_end();
        assert!(
            rest.is_empty(),
            "an answer to a request that nobody sent: {}",
            String::from_utf8_lossy(&rest)
        );
    }
    origin.untouched();
}
