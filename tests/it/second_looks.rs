//! What a hostile reading of the gate once found, each pinned: redirects, uploads, types, tokens in tokens, half bodies.

use serde_json::json;

use crate::support::client::{End, Response};
use crate::support::{Gate, Origin, Script, Token, conf};

fn start(more: &str) -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    (origin, gate)
}

fn put(gate: &Gate, target: &str, headers: &[(&str, &str)]) -> Response {
    let mut client = gate.connect();
    client.request("PUT", target, headers);
    client.send("xy");
    client.read()
}

#[test]
fn a_redirect_to_the_origins_own_host_never_becomes_one_to_another() {
    let (origin, gate) = start("");
    let location = format!("http://{}//evil.example/x", origin.address());
    origin.on("/a", Script::answer("302 Found", &[("Location", &location)], ""));
    gate.get(&Token::whole().at("/a"), &[])
        .refused(502, "origin_invalid");
}

#[test]
fn a_redirect_leads_back_through_the_prefix_that_was_taken_off() {
    let origin = Origin::start();
    let gate =
        Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/w", "strip_prefix = true"));
    let location = format!("http://{}/dir/", origin.address());
    origin.on(
        "/dir",
        Script::answer("301 Moved Permanently", &[("Location", &location)], "moved"),
    );
    let answer = gate.get(&Token::whole().at("/w/dir"), &[]).expect(301);
    assert_eq!(answer.header("location"), Some("/w/dir/"));
    assert_eq!(answer.body, b"");
}

#[test]
fn a_part_of_a_file_is_not_stored_as_the_whole() {
    let (origin, gate) = start("methods = [\"GET\", \"PUT\"]");
    let target = Token::whole().claim("methods", json!(["PUT"])).at("/a");
    put(
        &gate,
        &target,
        &[("Content-Range", "bytes 5-6/100"), ("Content-Length", "2")],
    )
    .refused(400, "bad_request");
    origin.untouched();
}

#[test]
fn an_origins_refusal_of_an_upload_keeps_its_status_and_loses_its_page() {
    let (origin, gate) = start("methods = [\"GET\", \"PUT\"]");
    origin.on(
        "/a",
        Script::answer(
            "409 Conflict",
            &[("Content-Type", "text/html")],
            "nginx at origin.internal",
        ),
    );
    let target = Token::whole().claim("methods", json!(["PUT"])).at("/a");
    let answer = put(&gate, &target, &[("Content-Length", "2")]).expect(409);
    assert_eq!(
        (answer.body.as_slice(), answer.header("content-type")),
        (&b""[..], None)
    );
}

#[test]
fn an_overloaded_origin_may_say_when_to_come_again() {
    let (origin, gate) = start("");
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        origin.on("/a", Script::answer(status, &[("Retry-After", "7")], "later"));
        let answer = gate
            .get(&Token::whole().at("/a"), &[])
            .refused(502, "origin_unreachable");
        assert_eq!(answer.header("retry-after"), Some("7"));
    }
}

#[test]
fn script_does_not_escape_the_sandbox_by_the_spelling_of_its_type() {
    let (origin, gate) = start("");
    for kind in [
        "image/png, text/html",
        "multipart/x-mixed-replace; boundary=b",
        "TEXT/html;x=y",
    ] {
        origin.file_with("/a", "<script>", &[("Content-Type", kind)]);
        let answer = gate.get(&Token::whole().at("/a"), &[]).expect(200);
        assert_eq!(
            answer.header("content-security-policy"),
            Some("sandbox"),
            "{kind}"
        );
    }
}

#[test]
fn a_token_within_a_token_does_not_reach_the_origin() {
    let origin = Origin::start();
    let carriers = "{ query = \"t\" }, { path_prefix = \"~\" }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_carried("files", "/", carriers, ""));
    let token = Token::whole();
    let nested = token.before(&token.before("/x"));
    gate.get(&nested, &[]).refused(400, "bad_request");
    origin.untouched();
}

#[test]
fn an_encoded_marker_takes_the_same_route() {
    let (one, other) = (Origin::start(), Origin::start());
    one.file("/w/x", "one");
    other.file("/w/x", "other");
    let carriers = "{ path_prefix = \"~\" }";
    let text = conf::http(one.address())
        + &conf::http(other.address()).replace("origin.files", "origin.other")
        + &conf::route_carried("web", "/w", carriers, "")
        + &conf::route_carried("root", "/", carriers, "").replace("origin = \"files\"", "origin = \"other\"");
    let gate = Gate::start(text);
    let target = Token::whole().before("/w/x");
    for written in [target.clone(), target.replacen('~', "%7E", 1)] {
        assert_eq!(gate.get(&written, &[]).expect(200).text(), "one", "{written}");
    }
}

#[test]
fn half_a_body_never_ends_in_order_not_even_for_http_1_0() {
    let (origin, gate) = start("");
    let half = || {
        Script::new()
            .head("200 OK", &[("Transfer-Encoding", "chunked")])
            .send("5\r\nhello\r\n")
            .close()
    };
    origin.on("/c", half());
    let mut client = gate.connect();
    client.send(format!(
        "GET {} HTTP/1.0\r\nHost: media.example.com\r\n\r\n",
        Token::whole().at("/c")
    ));
    let (bytes, end) = client.read_to_end();
    assert_eq!(end, End::Reset, "{}", String::from_utf8_lossy(&bytes));
}

#[test]
fn a_405_says_what_can_be_done() {
    let (_origin, gate) = start("");
    let answer = gate
        .exchange("TRACE", &Token::whole().at("/a"), &[])
        .refused(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}

#[test]
fn a_mounted_dialect_is_found_by_the_gates_own_reading_of_the_request() {
    let origin = Origin::start();
    let gate = Gate::start(
        conf::http(origin.address()) + &conf::fynn_route() + &conf::route() + &conf::issuer(conf::RULE),
    );
    let bearer = Token::caller("42", "media:read").bearer();
    let ask = |request: &str| {
        let mut client = gate.connect();
        client.send(request.replace("BEARER", &bearer));
        client.read().status
    };
    let post = "Authorization: BEARER\r\nContent-Length: 0\r\n\r\n";
    let path = "/media/01F9/download-token";
    assert_eq!(
        ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: media.example.com\r\n{post}"
        )),
        201
    );
    for (target, hosts) in [
        (
            path.to_owned(),
            "Host: media.example.com\r\nHost: other.example\r\n",
        ),
        (
            format!("http://evil.example{path}"),
            "Host: media.example.com\r\n",
        ),
        (path.to_owned(), ""),
    ] {
        assert_eq!(
            ask(&format!("POST {target} HTTP/1.1\r\n{hosts}{post}")),
            400,
            "{target} {hosts}"
        );
    }
}
