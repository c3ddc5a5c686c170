//! Messages that two programs could frame in two ways (`tests/framing/rows.txt`), over a raw socket: each is refused or
//! has one meaning, what follows it on the connection is answered as itself or not at all, and the origin never sees a
//! second request, two framings, or anything that was meant for us alone.

use std::panic::AssertUnwindSafe;

use crate::support::client::{HOST, head};
use crate::support::framing::{
    Reader, Row, Targets, Want, answers, body_of, check_request, check_safety, routes, rows, token,
};
use crate::support::origin::Seen;
use crate::support::{Gate, Origin, Response, Script, Setup, Token, conf};

/// What must come of a row on a gate that a client talks to directly.
fn check_result(row: &Row, targets: &Targets, answers: &[Response], seen: &[Seen]) {
    let name = row.name;
    let ran = seen.iter().find(|one| one.target == targets.row);
    let probed = answers.get(1).is_some_and(|answer| answer.status == 200);
    let first = answers.first().map(|answer| answer.status);
    match &row.want {
        Want::Once(body) | Want::Last(body) => {
            let ran = ran.unwrap_or_else(|| panic!("{name}: refused: {answers:?}"));
            let body = if body == b"{S}" {
                targets.hidden().into_bytes()
            } else {
                body.clone()
            };
            assert_eq!(body_of(name, ran), body, "{name}: another body");
            assert_eq!(first, Some(200), "{name}: {answers:?}");
            assert_eq!(probed, matches!(row.want, Want::Once(_)), "{name}: {answers:?}");
        }
        Want::Refused | Want::Nothing => {
            assert!(ran.is_none(), "{name}: let through: {seen:?}");
            assert!(
                first.is_none_or(|status| (400..=599).contains(&status)),
                "{name}: {answers:?}"
            );
            let nothing = row.want == Want::Nothing;
            assert!(
                !nothing || (answers.len() <= 1 && seen.is_empty()),
                "{name}: went on: {answers:?}"
            );
        }
        Want::Safe => {}
    }
    // A request that was taken is answered, and one that was not is not half answered.
    assert!(ran.is_none() || first.is_some(), "{name}: no answer");
}

fn gate() -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Setup::new(conf::impatient(origin.address(), "2s") + &routes())
        .server("header_timeout = \"1s\"\nidle_timeout = \"1s\"")
        .start();
    (origin, gate)
}

fn run(route: &str, rows: &[Row]) {
    let (origin, gate) = gate();
    let mut wrong = Vec::new();
    for row in rows {
        let targets = Targets::of(route, row.name);
        let before = origin.seen().len();
        let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut client = gate.connect();
            client.send(targets.message(row));
            let answers = answers(&mut client, Some(row));
            let seen = &origin.seen()[before..];
            check_safety(row, &targets, Reader::Gate, &answers, seen);
            if route == "up" || !row.writes() {
                check_result(row, &targets, &answers, seen);
            } else {
                assert!(
                    seen.iter().all(|one| one.target != targets.row),
                    "{}: written",
                    row.name
                );
            }
        }));
        if judged.is_err() {
            wrong.push(row.name);
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), rows.len());
    for bytes in origin.received() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("forged") && !text.contains("evil.example") && !text.contains("6.6.6.6"));
    }
}

#[test]
fn p25_p28_no_message_has_two_meanings_where_files_are_read() {
    run("get", &rows());
}

#[test]
fn p25_p28_no_message_has_two_meanings_where_files_are_written() {
    run("up", &rows());
}

/// Bodies that are still to come when a request is answered: small, larger than any buffer, endless, in chunks.
fn early_bodies(hidden: &str) -> Vec<(&'static str, String, Vec<u8>)> {
    let small = hidden.as_bytes().to_vec();
    let mut large = vec![b'x'; 3 << 20];
    large.extend_from_slice(hidden.as_bytes());
    let chunked = [
        format!("{:x}\r\n", small.len()).as_bytes(),
        &small,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let endless: Vec<u8> = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat().repeat(30);
    vec![
        ("small", format!("Content-Length: {}\r\n", small.len()), small),
        ("large", format!("Content-Length: {}\r\n", large.len()), large),
        ("chunked", "Transfer-Encoding: chunked\r\n".into(), chunked),
        ("endless", "Transfer-Encoding: chunked\r\n".into(), endless),
    ]
}

#[test]
fn p26_a_body_behind_an_early_answer_never_becomes_a_request() {
    let (origin, gate) = gate();
    let token = token();
    let narrow = Token::opening(&["/elsewhere/**"]).claim("methods", serde_json::json!(["GET", "POST"]));
    let hidden = head("GET", &token.at("/get/hidden"), &[]);
    for (what, line, status) in [
        (
            "no token",
            format!("POST /up/a HTTP/1.1\r\nHost: {HOST}\r\n"),
            401,
        ),
        (
            "another scope",
            format!("POST {} HTTP/1.1\r\nHost: {HOST}\r\n", narrow.at("/up/a")),
            403,
        ),
        (
            "no such route",
            format!("POST /nowhere HTTP/1.1\r\nHost: {HOST}\r\n"),
            404,
        ),
        (
            "another method",
            format!("POST {} HTTP/1.1\r\nHost: {HOST}\r\n", token.at("/get/a")),
            405,
        ),
        (
            "a bad path",
            format!("POST {} HTTP/1.1\r\nHost: {HOST}\r\n", token.at("/up/%2e%2e/a")),
            400,
        ),
        (
            "a part",
            format!(
                "POST {} HTTP/1.1\r\nHost: {HOST}\r\nContent-Range: bytes 0-1/9\r\n",
                token.at("/up/a")
            ),
            400,
        ),
        (
            "no token, reading",
            format!("GET /get/a HTTP/1.1\r\nHost: {HOST}\r\n"),
            401,
        ),
        (
            "told to wait",
            format!("POST /up/a HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\n"),
            401,
        ),
    ] {
        for (kind, framing, body) in early_bodies(&hidden) {
            let mut client = gate.connect();
            client.send([line.as_bytes(), framing.as_bytes(), b"\r\n"].concat());
            client.send(&body);
            client.send(head("GET", &token.at("/get/probe"), &[("Connection", "close")]));
            let answers = answers(&mut client, None);
            // A reset may swallow even the answer; a second answer is the probe's.
            assert!(answers.len() <= 2, "{what}, {kind}: {answers:?}");
            if let Some(first) = answers.first() {
                assert_eq!(first.status, status, "{what}, {kind}: {first:?}");
            }
            if let Some(second) = answers.get(1) {
                assert_eq!(second.text(), "origin says /get/probe", "{what}, {kind}");
            }
            if kind == "small" {
                assert!(!answers.is_empty(), "{what}: no answer");
            }
        }
    }
    let seen = origin.seen();
    assert!(seen.iter().all(|one| one.target == "/get/probe"), "{seen:?}");
}

#[test]
fn p26_a_body_that_is_too_large_is_refused_and_never_becomes_a_request() {
    let (origin, gate) = gate();
    let token = token();
    let hidden = head("GET", &token.at("/get/hidden"), &[]);
    for (kind, framing, body) in early_bodies(&hidden) {
        let mut client = gate.connect();
        client.send(format!(
            "POST {} HTTP/1.1\r\nHost: {HOST}\r\n{framing}\r\n",
            token.at("/up/a")
        ));
        client.send(&body);
        client.send(head("GET", &token.at("/get/probe"), &[("Connection", "close")]));
        let answers = answers(&mut client, None);
        if let Some(second) = answers.get(1) {
            assert_eq!(second.text(), "origin says /get/probe", "{kind}");
        }
        if let (Some(first), "large" | "endless") = (answers.first(), kind) {
            assert_eq!(first.status, 413, "{kind}: {first:?}");
        }
    }
    let seen = origin.seen();
    assert!(seen.iter().all(|one| one.target != "/get/hidden"), "{seen:?}");
    assert_eq!(
        seen.iter().filter(|one| one.target == "/up/a").count(),
        2,
        "the small ones: {seen:?}"
    );
}

#[test]
fn p26_an_origin_that_answers_early_leaves_no_half_request_behind() {
    let (origin, gate) = gate();
    // The head is answered before the body was read; what is left of it must not reach the next request's origin.
    for status in ["403 Forbidden", "200 OK", "413 Content Too Large"] {
        origin.on(
            "/up/early",
            Script::answer(status, &[("Content-Type", "text/plain")], "early"),
        );
    }
    let token = token();
    for _ in 0..3 {
        let mut client = gate.connect();
        client.send(head(
            "POST",
            &token.at("/up/early"),
            &[("Content-Length", "1000")],
        ));
        client.send(vec![b'x'; 1000]);
        client.send(head("GET", &token.at("/get/probe"), &[("Connection", "close")]));
        let answers = answers(&mut client, None);
        if let Some(second) = answers.get(1) {
            assert_eq!(second.text(), "origin says /get/probe");
        }
        assert_eq!(
            gate.get(&token.at("/get/other"), &[]).expect(200).text(),
            "origin says /get/other"
        );
    }
    for one in origin.seen() {
        check_request("early", &one);
        assert!(
            ["/up/early", "/get/probe", "/get/other"].contains(&one.target.as_str()),
            "{one:?}"
        );
    }
}

#[test]
fn p27_no_connection_is_ever_upgraded() {
    let origin = Origin::start();
    let switched = Script::new()
        .head(
            "101 Switching Protocols",
            &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
        )
        .send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled");
    origin.on("/switched", switched);
    let gate = Gate::start(conf::impatient(origin.address(), "2s") + &conf::route());
    let token = Token::whole();
    let upgrade = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "websocket, h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    // What comes before a 101 is the next request, whoever may have hoped that it is a tunnel's.
    let mut client = gate.connect();
    client.send(head("GET", &token.at("/a"), &upgrade));
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(head("GET", &token.at("/hidden"), &[]));
    let all = answers(&mut client, None);
    assert_eq!(
        all.first().map(|answer| answer.text()).as_deref(),
        Some("origin says /a")
    );
    assert!(all.iter().skip(1).all(|answer| answer.status >= 400), "{all:?}");
    let seen = origin.only();
    check_request("upgrade", &seen);
    for name in [
        "upgrade",
        "http2-settings",
        "sec-websocket-key",
        "sec-websocket-version",
    ] {
        assert_eq!(seen.header(name), None, "{seen:?}");
    }
    // An origin that switches although nobody asked is not believed.
    gate.get(&token.at("/switched"), &upgrade)
        .refused(502, "origin_invalid");
    gate.get(&token.at("/after"), &[]).expect(200);
}

#[test]
fn p27_connect_opens_no_tunnel_and_what_follows_is_no_ones() {
    let (origin, gate) = gate();
    let token = Token::whole();
    for target in [
        format!("{HOST}:443"),
        "127.0.0.1:1".to_owned(),
        origin.address().to_string(),
        token.at("/get/a"),
    ] {
        let mut client = gate.connect();
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        client.send(head(
            "GET",
            &token.at("/get/tunnelled"),
            &[("Connection", "close")],
        ));
        let answers = answers(&mut client, None);
        let first = answers.first().unwrap_or_else(|| panic!("{target}: no answer"));
        assert!([400, 405].contains(&first.status), "{target}: {first:?}");
        // hyper may go on with the connection; then the rest is an ordinary request to us, never a tunnel's bytes.
        if let Some(second) = answers.get(1) {
            assert_eq!(second.text(), "origin says /get/tunnelled", "{target}");
        }
    }
    for one in origin.seen() {
        assert_eq!(
            (one.method.as_str(), one.target.as_str()),
            ("GET", "/get/tunnelled")
        );
    }
}
