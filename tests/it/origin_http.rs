//! An HTTP/1.1 origin: what it is asked, what of it comes through, and that the next request over a pooled connection gets
//! its own answer. Its faults stand in `origin_faults`.

use std::time::Duration;

use crate::support::origin::{Signal, pattern};
use crate::support::{Client, End, Gate, Origin, Response, Script, Token, conf, wait};

fn start() -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Gate::start(conf::impatient(origin.address(), "1s") + &conf::route());
    (origin, gate)
}

fn get(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> Response {
    gate.get(&Token::whole().at(path), headers)
}

/// The next requests get their own answers, whatever the last one left on the pooled connection.
#[track_caller]
fn next_is_right(gate: &Gate) {
    let mut client = gate.connect();
    for round in 0..3 {
        let path = format!("/next-{round}");
        let answer = client.get(&Token::whole().at(&path), &[]).expect(200);
        assert_eq!(
            (answer.text(), answer.end),
            (format!("origin says {path}"), End::Complete)
        );
    }
}

#[test]
fn a_connection_is_used_again_after_a_whole_answer() {
    let (origin, gate) = start();
    let mut client = gate.connect();
    for _ in 0..10 {
        client.get(&Token::whole().at("/a"), &[]).expect(200);
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.seen().len(), 10);
}

#[test]
fn the_origin_gets_the_host_that_is_configured_and_its_own_otherwise() {
    let origin = Origin::start();
    let gate = Gate::start(conf::http_with(origin.address(), "host = \"files.internal\"") + &conf::route());
    get(&gate, "/a", &[]).expect(200);
    assert_eq!(origin.only().header("host"), Some("files.internal"));
    let (origin, gate) = start();
    get(&gate, "/a", &[]).expect(200);
    assert_eq!(
        origin.only().header("host"),
        Some(origin.address().to_string().as_str())
    );
}

#[test]
fn only_listed_headers_go_to_the_origin() {
    let (origin, gate) = start();
    let passed = [
        ("accept", "image/*"),
        ("accept-encoding", "gzip"),
        ("accept-language", "de"),
        ("user-agent", "test/1"),
        ("if-none-match", "\"a\""),
        ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("range", "bytes=0-5"),
        ("if-range", "\"a\""),
    ];
    let mut all = passed.to_vec();
    all.extend_from_slice(&[
        ("Referer", "https://portal.example/secret"),
        ("Origin", "https://app.example.com"),
        ("Cookie", "session=1"),
        ("Authorization", "Basic dTpw"),
        ("X-Api-Key", "k"),
        ("Sec-Fetch-Dest", "document"),
        ("Priority", "u=1"),
        ("Expect", "100-continue"),
        ("Content-Type", "text/plain"),
    ]);
    origin.on("/a", Script::ok(&[], "x"));
    get(&gate, "/a", &all).expect(200);
    let seen = origin.only();
    for (name, value) in passed {
        assert_eq!(seen.header(name), Some(value), "{seen:?}");
    }
    let known = [
        "host",
        "connection",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
        "via",
    ];
    for (name, value) in &seen.headers {
        let listed = known.contains(&name.as_str()) || passed.iter().any(|(passed, _)| passed == name);
        assert!(listed, "{name}: {value} went to the origin");
    }
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("media.example.com"));
}

#[test]
fn a_range_goes_through_and_its_answer_comes_back_byte_for_byte() {
    let (origin, gate) = start();
    let content = pattern(100_000);
    origin.file("/f", &content);
    for (range, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=100-50099", 100, 50_099),
        ("bytes=99999-", 99_999, 99_999),
        ("bytes=-5", 99_995, 99_999),
    ] {
        let answer = get(&gate, "/f", &[("Range", range)]).expect(206);
        assert_eq!(answer.body, &content[from..=to], "{range}");
        assert_eq!(
            answer.header("content-range"),
            Some(format!("bytes {from}-{to}/100000").as_str())
        );
        assert_eq!(
            answer.header("content-length"),
            Some((to - from + 1).to_string().as_str())
        );
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        assert_eq!(answer.end, End::Complete);
    }
    let answer = get(&gate, "/f", &[("Range", "bytes=100000-")]).expect(416);
    assert_eq!(answer.header("content-range"), Some("bytes */100000"));
}

#[test]
fn a_conditional_request_goes_through_and_304_has_no_body() {
    let (origin, gate) = start();
    origin.file("/f", "content");
    let mut client = gate.connect();
    let answer = client
        .get(&Token::whole().at("/f"), &[("If-None-Match", "\"v1\"")])
        .expect(304);
    assert_eq!((answer.header("etag"), answer.body.len()), (Some("\"v1\""), 0));
    assert_eq!(
        client
            .get(&Token::whole().at("/f"), &[("If-None-Match", "\"v0\"")])
            .expect(200)
            .text(),
        "content"
    );
}

#[test]
fn head_asks_head_and_range_is_for_get_only() {
    let (origin, gate) = start();
    origin.file("/f", "content");
    let mut client = gate.connect();
    let answer = client
        .exchange("HEAD", &Token::whole().at("/f"), &[("Range", "bytes=0-1")])
        .expect(200);
    assert_eq!(answer.header("content-length"), Some("7"));
    let seen = origin.only();
    assert_eq!((seen.method.as_str(), seen.header("range")), ("HEAD", None));
    next_is_right(&gate);
}

#[test]
fn a_body_after_a_head_answer_never_becomes_the_next_answer() {
    let (origin, gate) = start();
    origin.on(
        "/f",
        Script::ok(&[], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    );
    let mut client = gate.connect();
    client.exchange("HEAD", &Token::whole().at("/f"), &[]).expect(200);
    next_is_right(&gate);
}

#[test]
fn surplus_in_the_same_write_is_dropped_and_the_connection_closed() {
    let (origin, gate) = start();
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    origin.on("/surplus", Script::ok(&[], "whole").send(evil));
    let answer = get(&gate, "/surplus", &[]).expect(200);
    assert_eq!((answer.text().as_str(), answer.end), ("whole", End::Complete));
    origin.wait_closed(1);
    next_is_right(&gate);
    assert_eq!(
        gate.metric("mediagate_origin_connections_total", &["event=\"surplus\""]),
        1.0
    );
}

#[test]
fn surplus_that_comes_later_never_becomes_the_next_answer() {
    let (origin, gate) = start();
    let later = Signal::default();
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    origin.on("/surplus", Script::ok(&[], "whole").wait(&later).send(evil));
    assert_eq!(get(&gate, "/surplus", &[]).expect(200).text(), "whole");
    later.raise();
    origin.wait_closed(1);
    next_is_right(&gate);
}

#[test]
fn surplus_behind_a_304_or_a_204_never_becomes_the_next_answer() {
    let (origin, gate) = start();
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    origin.on(
        "/304",
        Script::new()
            .head("304 Not Modified", &[("ETag", "\"a\"")])
            .send(evil),
    );
    origin.on("/204", Script::new().head("204 No Content", &[]).send(evil));
    get(&gate, "/304", &[("If-None-Match", "\"a\"")]).expect(304);
    next_is_right(&gate);
    let answer = get(&gate, "/204", &[]);
    assert!([204, 502].contains(&answer.status), "{answer:?}");
    next_is_right(&gate);
}

#[test]
fn a_stall_before_the_head_is_504() {
    let (origin, gate) = start();
    origin.on("/stall", Script::new().stall());
    let (took, answer) = wait::timed(|| get(&gate, "/stall", &[]));
    answer.refused(504, "origin_timeout");
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_millis(1900),
        "{took:?}"
    );
    origin.wait_closed(1);
    next_is_right(&gate);
}

#[test]
fn a_body_that_comes_slowly_but_comes_is_delivered() {
    let (origin, gate) = start();
    let (one, two) = (Signal::default(), Signal::default());
    let script = Script::new()
        .head("200 OK", &[("Content-Length", "9")])
        .send("abc")
        .wait(&one)
        .send("def")
        .wait(&two);
    origin.on("/slow", script.send("ghi"));
    let mut client = gate.connect();
    client.request("GET", &Token::whole().at("/slow"), &[]);
    assert_eq!(client.read_only_head().status, 200);
    assert_eq!(client.read_bytes(3), b"abc", "what is there is handed on at once");
    one.raise();
    assert_eq!(client.read_bytes(3), b"def");
    two.raise();
    assert_eq!(client.read_bytes(3), b"ghi");
    assert_eq!(
        client.get(&Token::whole().at("/next"), &[]).expect(200).text(),
        "origin says /next"
    );
}

#[test]
fn a_pooled_connection_that_the_origin_closed_is_replaced_unseen() {
    let (origin, gate) = start();
    let now = Signal::default();
    origin.on("/a", Script::ok(&[], "first").wait(&now).close());
    assert_eq!(get(&gate, "/a", &[]).expect(200).text(), "first");
    now.raise();
    origin.wait_closed(1);
    next_is_right(&gate);
    // Closing in the very moment of the next request: it is sent again where nothing was delivered.
    origin
        .on("/b", Script::ok(&[], "kept"))
        .on("/c", Script::new().close())
        .on("/c", Script::ok(&[], "again"));
    let mut client = gate.connect();
    client.get(&Token::whole().at("/b"), &[]).expect(200);
    assert_eq!(
        client.get(&Token::whole().at("/c"), &[]).expect(200).text(),
        "again"
    );
}

#[test]
fn an_upload_is_never_sent_twice() {
    let origin = Origin::start();
    let more = "methods = [\"GET\", \"POST\"]\nmax_upload = \"1KiB\"";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    let token = Token::whole().claim("methods", serde_json::json!(["GET", "POST"]));
    origin
        .on("/b", Script::ok(&[], "kept"))
        .on("/c", Script::new().close());
    gate.get(&token.at("/b"), &[]).expect(200);
    let mut client = gate.connect();
    client.request("POST", &token.at("/c"), &[("Content-Length", "4")]);
    client.send("once");
    assert_eq!(client.read().status, 502);
    let posts: Vec<_> = origin
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "POST")
        .collect();
    assert!(posts.len() <= 1, "{posts:?}");
}

#[test]
fn an_upload_arrives_byte_for_byte_in_either_framing() {
    let origin = Origin::start();
    let more = "methods = [\"GET\", \"PUT\"]\nmax_upload = \"1MiB\"";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    let target = Token::whole()
        .claim("methods", serde_json::json!(["PUT"]))
        .at("/up");
    let mut client = gate.connect();
    client.request(
        "PUT",
        &target,
        &[("Content-Length", "5"), ("Content-Type", "text/x")],
    );
    client.send("hello");
    client.read().expect(200);
    let seen = origin.last();
    assert_eq!(
        (seen.body.as_slice(), seen.header("content-type")),
        (&b"hello"[..], Some("text/x"))
    );
    client.request("PUT", &target, &[("Transfer-Encoding", "chunked")]);
    client.send("3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n");
    client.read().expect(200);
    let seen = origin.last();
    let body = String::from_utf8_lossy(&seen.body).into_owned();
    let text = if seen.header("transfer-encoding").is_some() {
        unchunk(&body)
    } else {
        body
    };
    assert_eq!(text, "abcde", "{seen:?}");
    assert!(
        !String::from_utf8_lossy(&seen.raw).contains("X-Trailer"),
        "trailers stay behind: {seen:?}"
    );
}

#[test]
fn an_upload_that_takes_longer_than_an_answer_may_but_goes_on_is_delivered() {
    let origin = Origin::start();
    let more = "methods = [\"GET\", \"PUT\"]\nmax_upload = \"1MiB\"";
    let gate = Gate::start(conf::impatient(origin.address(), "1s") + &conf::route_with("files", "/", more));
    let target = Token::whole()
        .claim("methods", serde_json::json!(["PUT"]))
        .at("/up");
    let mut client = gate.connect();
    client.request("PUT", &target, &[("Content-Length", "8")]);
    // Each piece comes well within every wait; all of them together take longer than the origin's head may.
    for piece in 0..8 {
        client.send("x");
        wait::pause(
            Duration::from_millis(250),
            &format!("piece {piece} of a slow upload"),
        );
    }
    client.read().expect(200);
    assert_eq!(origin.last().body, b"xxxxxxxx");
}

fn unchunk(body: &str) -> String {
    let mut rest = body;
    let mut text = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        text.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    text
}

#[test]
fn a_chunked_body_for_http_1_0_ends_with_the_connection() {
    let (origin, gate) = start();
    origin.on(
        "/c",
        Script::new()
            .head("200 OK", &[("Transfer-Encoding", "chunked")])
            .send("5\r\nhello\r\n0\r\n\r\n"),
    );
    let mut client = gate.connect();
    client.send(format!(
        "GET {} HTTP/1.0\r\nHost: media.example.com\r\n\r\n",
        Token::whole().at("/c")
    ));
    let answer = client.read();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "hello"),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("transfer-encoding"),
        None,
        "HTTP/1.0 knows no chunks"
    );
}

#[test]
fn a_body_that_ends_with_its_connection_is_502_unless_the_route_allows_it() {
    let (origin, gate) = start();
    origin.on(
        "/c",
        Script::new()
            .head("200 OK", &[("Content-Type", "text/plain")])
            .send("hello")
            .close(),
    );
    get(&gate, "/c", &[]).refused(502, "origin_invalid");
    next_is_right(&gate);
    let allowing =
        Gate::start(conf::http_with(origin.address(), "allow_close_delimited = true") + &conf::route());
    let answer = get(&allowing, "/c", &[]).expect(200);
    assert_eq!(answer.text(), "hello");
    next_is_right(&allowing);
}

#[test]
fn a_switch_of_protocols_is_502() {
    let (origin, gate) = start();
    let head = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    origin.on(
        "/u",
        Script::new()
            .head("101 Switching Protocols", &head)
            .send("raw bytes")
            .stall(),
    );
    let answer = get(
        &gate,
        "/u",
        &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
    );
    answer.refused(502, "origin_invalid");
    assert_eq!(
        origin.only().header("upgrade"),
        None,
        "an upgrade is not passed on"
    );
    next_is_right(&gate);
}

#[test]
fn a_range_that_the_origin_shortens_at_the_files_end_is_true() {
    let (origin, gate) = start();
    origin.on(
        "/e",
        Script::answer("206 Partial Content", &[("Content-Range", "bytes 8-9/10")], "89"),
    );
    let answer = get(&gate, "/e", &[("Range", "bytes=8-100")]).expect(206);
    assert_eq!(
        (answer.text().as_str(), answer.header("content-range")),
        ("89", Some("bytes 8-9/10"))
    );
}

#[test]
fn errors_of_the_origin_become_ours_without_its_words() {
    let (origin, gate) = start();
    for (path, status, expected, code) in [
        ("/404", "404 Not Found", 404, "not_found"),
        ("/410", "410 Gone", 404, "not_found"),
        ("/403", "403 Forbidden", 502, "origin_invalid"),
        ("/401", "401 Unauthorized", 502, "origin_invalid"),
        ("/500", "500 Internal Server Error", 502, "origin_invalid"),
        ("/503", "503 Service Unavailable", 502, "origin_unreachable"),
        ("/504", "504 Gateway Timeout", 504, "origin_timeout"),
    ] {
        let headers = [
            ("Content-Type", "text/html"),
            ("WWW-Authenticate", "Basic realm=internal"),
        ];
        origin.on(path, Script::answer(status, &headers, "<h1>internal words</h1>"));
        let answer = get(&gate, path, &[]).refused(expected, code);
        assert!(
            !String::from_utf8_lossy(&answer.raw).contains("internal"),
            "{answer:?}"
        );
        next_is_right(&gate);
    }
}

#[test]
fn a_head_without_end_is_502() {
    let (origin, gate) = start();
    let endless = format!("HTTP/1.1 200 OK\r\nX-Long: {}", "x".repeat(2 << 20));
    origin.on("/long", Script::new().send(endless).close());
    let many: String = (0..20_000).map(|number| format!("X-H{number}: y\r\n")).collect();
    origin.on(
        "/many",
        Script::new().send(format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 1\r\n\r\nx")),
    );
    for path in ["/long", "/many"] {
        let answer = get(&gate, path, &[]);
        assert_eq!(answer.status, 502, "{path}: {answer:?}");
        next_is_right(&gate);
    }
}

#[test]
fn a_large_body_comes_through_byte_for_byte() {
    let (origin, gate) = start();
    let content = pattern(20 << 20);
    origin.file("/big", &content);
    let answer = get(&gate, "/big", &[]).expect(200);
    assert!(
        answer.body == content,
        "{} bytes of {}",
        answer.body.len(),
        content.len()
    );
    assert_eq!(answer.end, End::Complete);
}

#[test]
fn a_client_that_leaves_ends_the_download_at_the_origin() {
    let (origin, gate) = start();
    origin.file("/big", pattern(64 << 20));
    {
        let mut client = gate.connect();
        client.request("GET", &Token::whole().at("/big"), &[]);
        assert_eq!(client.read_only_head().status, 200);
        client.read_bytes(1000);
    }
    origin.wait_closed(1);
    let line = &gate.access(1)[0];
    assert_eq!(line["end"], "cut_by_client", "{line}");
    next_is_right(&gate);
}

#[test]
fn requests_at_the_same_time_get_their_own_bytes() {
    let (origin, gate) = start();
    for number in 0..8 {
        origin.file(&format!("/f{number}"), vec![b'a' + number; 300_000]);
    }
    let address = gate.address();
    std::thread::scope(|scope| {
        for number in 0..8_u8 {
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for _ in 0..5 {
                    let answer = client
                        .get(&Token::whole().at(&format!("/f{number}")), &[])
                        .expect(200);
                    assert!(
                        answer.body.len() == 300_000 && answer.body.iter().all(|byte| *byte == b'a' + number)
                    );
                }
            });
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_origin, gate) = start();
    let mut client = gate.connect();
    let all: String = (0..5)
        .map(|number| crate::support::client::head("GET", &Token::whole().at(&format!("/{number}")), &[]))
        .collect();
    client.send(all);
    for number in 0..5 {
        assert_eq!(client.read().expect(200).text(), format!("origin says /{number}"));
    }
}
