//! HTTP/2 on frames: what a request may be on its way to an HTTP/1.1 origin, how answers end, and hostile peers.

use std::time::Duration;

use crate::support::client::{HOST, head};
use crate::support::h2::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Ended, H2, HEADERS,
    INTERNAL_ERROR, NO_ERROR, PING, PROTOCOL_ERROR, RST_STREAM, SETTINGS, WINDOW_UPDATE, Windows, block,
    field,
};
use crate::support::origin::pattern;
use crate::support::program::Binary;
use crate::support::tls::Authority;
use crate::support::{Client, Gate, Origin, Script, Setup, Token, conf, wait};

fn setup(origin: &Origin) -> Setup {
    Setup::new(conf::http(origin.address()) + &conf::route())
}

fn start() -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = setup(&origin).start();
    (origin, gate)
}

fn errors(gate: &Gate, kind: &str) -> f64 {
    gate.metric("mediagate_connection_errors_total", &[&format!("\"{kind}\"")])
}

/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u16 = 4;

#[test]
fn http2_is_spoken_over_tls_and_with_prior_knowledge() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority.secure(setup(&origin)).start();
    let content = pattern(3 << 20);
    origin.file("/big", &content);
    for mut client in [H2::clear(gate.address()), H2::secure(gate.tls(), &authority)] {
        let answer = client.get(&Token::whole().at("/a"), &[]);
        assert_eq!((answer.status, answer.ended), (200, Some(Ended::Complete)));
        assert_eq!(answer.body, b"origin says /a");
        assert_eq!(answer.header("content-length"), Some("14"));
        // Several at a time on one connection.
        let target = Token::whole().at("/big");
        let streams: Vec<u32> = (0..5).map(|_| client.start(&target, &[])).collect();
        for stream in streams {
            let answer = client.answer(stream);
            assert_eq!((answer.status, answer.ended), (200, Some(Ended::Complete)));
            assert!(answer.body == content);
        }
        let head: Vec<(&str, &str)> = H2::fields(&target, &[])
            .into_iter()
            .map(|(name, value)| (name, if name == ":method" { "HEAD" } else { value }))
            .collect();
        let stream = client.send(&head);
        let answer = client.answer(stream);
        assert_eq!(answer.header("content-length"), Some("3145728"));
        assert!(answer.body.is_empty());
        // Limits are told: concurrent streams, header list, frame size as it is by default.
        assert_eq!(client.settings.get(&3), Some(&100));
        assert!(client.settings.get(&6).is_some_and(|list| *list >= 32 * 1024));
        assert!(client.settings.get(&5).is_none_or(|frame| *frame == 16 * 1024));
        assert_eq!(client.goaway, None);
    }
}

#[test]
fn an_upload_goes_through_in_pieces() {
    let origin = Origin::start();
    let route = conf::route_with("files", "/", "methods = [\"PUT\"]");
    let gate = Gate::start(conf::http(origin.address()) + &route);
    let token = Token::whole()
        .claim("methods", serde_json::json!(["PUT"]))
        .at("/up");
    let mut client = H2::clear(gate.address());
    let content = pattern(100_000);
    let stream = client.next();
    let mut fields = H2::fields(&token, &[("content-length", "100000")]);
    fields[0].1 = "PUT";
    client.frame(HEADERS, END_HEADERS, stream, &block(&fields));
    // Within the windows of the start.
    for piece in content[..60_000].chunks(10_000) {
        client.frame(DATA, 0, stream, piece);
    }
    client.until(|client| client.settings.contains_key(&INITIAL_WINDOW));
    for piece in content[60_000..].chunks(10_000) {
        client.frame(DATA, 0, stream, piece);
    }
    client.frame(DATA, END_STREAM, stream, &[]);
    assert_eq!(client.answer(stream).status, 200);
    let seen = origin.only();
    assert!(seen.body == content && seen.method == "PUT");
}

#[test]
fn cookie_crumbs_are_one_cookie_before_the_token_is_looked_for() {
    let origin = Origin::start();
    let more = "forward_cookies = true";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    let mut client = H2::clear(gate.address());
    let crumb = format!("media={}", Token::whole().text());
    let answer = client.get("/a", &[("cookie", "a=1"), ("cookie", &crumb), ("cookie", "b=2")]);
    assert_eq!(answer.status, 200);
    assert_eq!(origin.only().header("cookie"), Some("a=1; b=2"));
}

/// What became of a request.
#[derive(Debug, PartialEq)]
enum Fate {
    Refused(u16),
    Reset(u32),
    Goaway,
}

/// What becomes of a request with these fields; nothing of it may reach the origin, and the gate lives on.
fn fate(gate: &Gate, origin: &Origin, block: &[u8]) -> Fate {
    let mut client = H2::clear(gate.address());
    let stream = client.next();
    client.frame(HEADERS, END_HEADERS | END_STREAM, stream, block);
    let answer = client.answer(stream);
    origin.untouched();
    match answer.ended {
        Some(Ended::Reset(code)) => Fate::Reset(code),
        Some(Ended::Complete) => Fate::Refused(answer.status),
        None => {
            assert!(
                client.goaway.is_some_and(|(_, code)| code != NO_ERROR),
                "{answer:?}"
            );
            Fate::Goaway
        }
    }
}

#[test]
fn p29_what_http_1_1_could_read_otherwise_is_refused_or_reset() {
    let (origin, gate) = start();
    let token = Token::whole().at("/a");
    let fields = |more: &[(&'static str, &'static str)]| block(&H2::fields(&token, more));
    // Connection-specific fields are malformed (RFC 9113 §8.2.2).
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-media-subject"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, deflate"),
    ] {
        let found = fate(&gate, &origin, &fields(&[(name, value)]));
        assert_eq!(found, Fate::Reset(PROTOCOL_ERROR), "{name}: {value}");
    }
    // Line breaks and other bytes that no value holds, and names that are none.
    for (name, value) in [
        ("x-a", &b"a\r\nhost: evil"[..]),
        ("x-a", b"a\nb"),
        ("x-a", b"a\rb"),
        ("x-a", b"a\0b"),
        ("X-A", b"a"),
        ("x a", b"a"),
        ("x\r\na", b"a"),
        ("x:a", b"a"),
        ("", b"a"),
        (":extra", b"a"),
        (":path", b"/b"),
        (":method", b"POST"),
    ] {
        let mut bytes = fields(&[]);
        bytes.extend(field(name, value));
        let found = fate(&gate, &origin, &bytes);
        assert!(
            matches!(found, Fate::Reset(_) | Fate::Goaway | Fate::Refused(400)),
            "{name:?}: {value:?}: {found:?}"
        );
    }
    // Targets.
    for path in [
        "",
        "a",
        "*",
        "/a b",
        "/a\tb",
        "/a\r\nHost: evil",
        "/a\0",
        "http://evil/",
        "/a HTTP/1.1\r\nX: y",
    ] {
        let path = if path.starts_with("/a") {
            format!("{path}?t={}", Token::whole().text())
        } else {
            path.to_owned()
        };
        let found = fate(&gate, &origin, &block(&H2::fields(&path, &[])));
        assert!(
            matches!(found, Fate::Reset(_) | Fate::Goaway | Fate::Refused(400)),
            "{path:?}: {found:?}"
        );
    }
    // Hosts: `:authority` and `Host` agree, one of them is there, and it is one.
    for (authority, more, status) in [
        (Some("evil.example"), &[("host", HOST)][..], 400),
        (Some(HOST), &[("host", "evil.example")], 400),
        (Some(HOST), &[("host", HOST), ("host", HOST)], 400),
        (Some("user@media.example.com"), &[], 400),
        (None, &[], 400),
    ] {
        let mut all = vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":path", token.as_str()),
        ];
        all.extend(authority.map(|authority| (":authority", authority)));
        all.extend_from_slice(more);
        let found = fate(&gate, &origin, &block(&all));
        assert!(
            found == Fate::Refused(status) || matches!(found, Fate::Reset(_)),
            "{authority:?} {more:?}: {found:?}"
        );
    }
    // Those that are as they should be.
    let mut client = H2::clear(gate.address());
    for more in [
        &[("host", HOST)][..],
        &[("te", "trailers")],
        &[("http2-settings", "AAMAAABk")],
    ] {
        assert_eq!(client.get(&token, more).status, 200, "{more:?}");
        let seen = origin.last();
        for name in ["te", "http2-settings", "connection", "upgrade"] {
            assert!(
                seen.header(name).is_none_or(|value| value == "keep-alive"),
                "{seen:?}"
            );
        }
        assert_eq!(seen.header("host"), Some(origin.address().to_string().as_str()));
    }
    let only_host = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", token.as_str()),
        ("host", HOST),
    ];
    let stream = client.send(&only_host);
    assert_eq!(client.answer(stream).status, 200);
}

#[test]
fn p25_a_length_that_is_not_that_of_the_body_resets_the_stream() {
    let origin = Origin::start();
    let route = conf::route_with("files", "/", "methods = [\"GET\", \"PUT\"]");
    let gate = Gate::start(conf::http(origin.address()) + &route);
    let methods = serde_json::json!(["GET", "PUT"]);
    let token = Token::whole().claim("methods", methods).at("/up");
    for (method, length, body) in [
        ("PUT", "5", &b"123456"[..]),
        ("PUT", "6", b"12345"),
        ("PUT", "0", b"1"),
        ("PUT", "+5", b"12345"),
        ("PUT", "5, 5", b"12345"),
        ("PUT", "0x5", b"12345"),
        ("PUT", "", b"12345"),
        ("PUT", "99999999999999999999", b"12345"),
        ("GET", "5", b"1"),
    ] {
        let mut client = H2::clear(gate.address());
        let stream = client.next();
        let mut fields = H2::fields(&token, &[("content-length", length)]);
        fields[0].1 = method;
        client.frame(HEADERS, END_HEADERS, stream, &block(&fields));
        client.frame(DATA, END_STREAM, stream, body);
        let answer = client.answer(stream);
        // A GET is answered without its body; nothing else gets an answer that looks like success.
        assert!(
            answer.ended != Some(Ended::Complete) || answer.status >= 400 || method == "GET",
            "{method} {length:?}: {answer:?}"
        );
        // The next one is served as itself, over the same origin connections.
        let mut next = H2::clear(gate.address());
        assert_eq!(next.get(&token, &[]).body, b"origin says /up");
    }
    for seen in origin.seen() {
        assert!(
            seen.method == "GET" && seen.body.is_empty(),
            "half an upload arrived whole: {seen:?}"
        );
    }
    // Two lengths that differ.
    let mut client = H2::clear(gate.address());
    let stream = client.next();
    let mut fields = H2::fields(&token, &[("content-length", "5"), ("content-length", "6")]);
    fields[0].1 = "PUT";
    client.frame(HEADERS, END_HEADERS, stream, &block(&fields));
    client.frame(DATA, END_STREAM, stream, b"12345");
    assert!(!matches!(client.answer(stream).status, 200..400));
}

#[test]
fn p27_no_upgrade_to_http2_and_no_tunnel() {
    let (origin, gate) = start();
    let target = Token::whole().at("/a");
    // RFC 7540 §3.2, which RFC 9113 took back: answered as HTTP/1.1, and what follows is not HTTP/2.
    let mut client = gate.connect();
    let upgrade = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ];
    client.get(&target, &upgrade).expect(200);
    for name in ["upgrade", "http2-settings"] {
        assert_eq!(origin.last().header(name), None);
    }
    let before = origin.seen().len();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(head("GET", &target, &[]));
    let (bytes, _) = client.read_to_end();
    assert!(!String::from_utf8_lossy(&bytes).contains("200 OK"), "{bytes:?}");
    assert_eq!(origin.seen().len(), before);
    // CONNECT, plain and extended (RFC 8441).
    let mut client = H2::clear(gate.address());
    let stream = client.send(&[(":method", "CONNECT"), (":authority", "origin.internal:80")]);
    let answer = client.answer(stream);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let mut extended = H2::fields(&target, &[]);
    extended[0].1 = "CONNECT";
    extended.insert(1, (":protocol", "websocket"));
    let stream = client.send(&extended);
    assert!(matches!(client.answer(stream).ended, Some(Ended::Reset(_))));
    assert_eq!(origin.seen().len(), before);
    let answer = gate.exchange("CONNECT", "origin.internal:80", &[("Host", "origin.internal:80")]);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn refusals_say_the_same_over_http2() {
    let (origin, gate) = start();
    let mut client = H2::clear(gate.address());
    let mut case = |target: &str, more: &[(&str, &str)], status: u16, code: &str| {
        let answer = client.get(target, more);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{target}"
        );
        // p42: never kept, never told on.
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    };
    case("/a", &[], 401, "token_missing");
    case(&Token::opening(&["/b/*"]).at("/a"), &[], 403, "scope_denied");
    // p46: nothing of the admin listener is here.
    case("/metrics", &[], 401, "token_missing");
    case("/x/..;/metrics", &[], 400, "bad_path");
    let long = "x".repeat(17 * 1024);
    case(&format!("/{long}"), &[], 414, "uri_too_long");
    case("/a", &[("x-long", &long)], 431, "head_too_large");
    origin.untouched();
    // p43: a page that echoes nothing and runs nothing.
    let answer = client.get("/%3Cscript%3Ealert(1)%3C/script%3E", &[("accept", "text/html")]);
    let page = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(page.contains("<html") && !page.contains("alert(1)"), "{page}");
    assert!(
        answer
            .header("content-security-policy")
            .is_some_and(|policy| policy.contains("default-src 'none'"))
    );
}

#[test]
fn the_issuer_speaks_http2() {
    let origin = Origin::start();
    let gate = Gate::start(
        conf::http(origin.address()) + &conf::route() + &conf::fynn_route() + &conf::issuer(conf::RULE),
    );
    let bearer = Token::caller("backend", "media:read").bearer();
    let ask = |client: &mut H2, path: &str, body: &[u8]| {
        let stream = client.next();
        let mut fields = H2::fields(path, &[("authorization", &bearer)]);
        fields[0].1 = "POST";
        client.frame(HEADERS, END_HEADERS, stream, &block(&fields));
        client.frame(DATA, END_STREAM, stream, body);
        client.answer(stream)
    };
    let mut issuer = H2::clear(gate.issuer());
    let answer = ask(&mut issuer, "/v1/tokens", br#"{"paths":["/a"]}"#);
    assert_eq!(answer.status, 201, "{answer:?}");
    // A dialect that is mounted on the gate's listener.
    let answer = ask(&mut H2::clear(gate.address()), "/media/01F9/download-token", b"");
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn a_body_that_breaks_off_resets_its_stream_and_no_other() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority.secure(setup(&origin)).start();
    let half = [("Content-Length", "100000")];
    origin.on(
        "/cut",
        Script::new().head("200 OK", &half).send(pattern(1000)).close(),
    );
    let chunked = [("Transfer-Encoding", "chunked")];
    origin.on(
        "/torn",
        Script::new()
            .head("200 OK", &chunked)
            .send("5\r\nhello\r\n")
            .close(),
    );
    let content = pattern(2 << 20);
    origin.file("/big", &content);
    for mut client in [H2::clear(gate.address()), H2::secure(gate.tls(), &authority)] {
        let whole = client.start(&Token::whole().at("/big"), &[]);
        for path in ["/cut", "/torn"] {
            let answer = client.get(&Token::whole().at(path), &[]);
            assert_eq!(
                answer.ended,
                Some(Ended::Reset(INTERNAL_ERROR)),
                "{path}: {answer:?}"
            );
        }
        let answer = client.answer(whole);
        assert_eq!(answer.ended, Some(Ended::Complete));
        assert!(answer.body == content);
        assert_eq!(client.get(&Token::whole().at("/after"), &[]).status, 200);
        assert!(!client.closed && client.goaway.is_none());
    }
}

#[test]
fn a_client_that_resets_lets_go_of_the_origin() {
    let (origin, gate) = start();
    origin.on("/slow", Script::new().stall());
    origin.on(
        "/half",
        Script::new()
            .head("200 OK", &[("Content-Length", "100000")])
            .send("x")
            .stall(),
    );
    let mut client = H2::clear(gate.address());
    for (number, path) in ["/slow", "/half"].into_iter().enumerate() {
        let stream = client.start(&Token::whole().at(path), &[]);
        origin.wait_seen(number + 1);
        if path == "/half" {
            client.until(|client| client.stream(stream).status == 200);
        }
        client.reset(stream);
        origin.wait_closed(number + 1);
    }
    assert_eq!(client.get(&Token::whole().at("/after"), &[]).status, 200);
    let lines = gate.access(3);
    assert!(
        lines[..2].iter().all(|line| line["end"] == "cut_by_client"),
        "{lines:?}"
    );
}

#[test]
fn p34_a_stream_whose_reader_takes_nothing_is_cut_alone() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority
        .secure(setup(&origin))
        .server("stall_timeout = \"1s\"")
        .start();
    let size = 4 << 20;
    let long = [("Content-Length", "4194304")];
    // Larger than anything between origin and client, so that its connection is needed to the end.
    origin.on("/big", Script::new().head("200 OK", &long).send(pattern(size)));
    origin.on("/small", Script::ok(&[], pattern(1000)));
    // No window at all, one byte, and one that is nearly as large as the first pieces.
    for (number, window) in [0, 1, 65_000].into_iter().enumerate() {
        let mut client = H2::clear_with(gate.address(), &[(INITIAL_WINDOW, window)]);
        client.windows = Windows::Shut;
        let stalled = client.start(&Token::whole().at("/big"), &[]);
        let answer = client.answer(stalled);
        assert_eq!(answer.ended, Some(Ended::Reset(CANCEL)), "{window}: {answer:?}");
        assert_eq!(answer.body.len(), window as usize);
        origin.wait_closed(number + 1);
        // Others live, on this connection too.
        let open = client.start(&Token::whole().at("/small"), &[]);
        client.window(open, 10_000);
        client.window(0, 10_000);
        assert_eq!(client.answer(open).ended, Some(Ended::Complete));
        assert!(!client.closed && client.goaway.is_none());
    }
    // A small answer that nobody takes is cut as well.
    let mut client = H2::clear_with(gate.address(), &[(INITIAL_WINDOW, 0)]);
    let stalled = client.start(&Token::whole().at("/small"), &[]);
    assert_eq!(client.answer(stalled).ended, Some(Ended::Reset(CANCEL)));
}

#[test]
fn p34_the_rest_of_an_answer_that_nobody_takes_ends_with_its_connection() {
    let origin = Origin::start();
    let gate = setup(&origin)
        .server("idle_timeout = \"1s\"\nstall_timeout = \"1s\"")
        .start();
    // All of it was handed over, and a window of one byte lets one byte through.
    let mut client = H2::clear_with(gate.address(), &[(INITIAL_WINDOW, 1)]);
    client.windows = Windows::Shut;
    let stream = client.start(&Token::whole().at("/a"), &[]);
    client.until_closed();
    assert_eq!(client.goaway.map(|(_, code)| code), Some(NO_ERROR));
    assert_eq!(client.stream(stream).body.len(), 1);
    assert_eq!(client.stream(stream).ended, None);
    wait::until_true("it is counted", || errors(&gate, "timeout") == 1.0);
}

#[test]
fn a_reader_who_takes_a_little_now_and_then_is_not_cut() {
    let origin = Origin::start();
    let gate = setup(&origin)
        .server("stall_timeout = \"1s\"\nidle_timeout = \"1s\"")
        .start();
    let content = pattern(400_000);
    origin.file("/big", &content);
    let mut client = H2::clear(gate.address());
    client.windows = Windows::Shut;
    let stream = client.start(&Token::whole().at("/big"), &[]);
    client.until(|client| client.stream(stream).body.len() == 65_535);
    // Another that comes and goes does not make the connection idle.
    client.window(0, 1000);
    assert_eq!(client.get(&Token::whole().at("/a"), &[]).status, 200);
    // Three times as long as the stall timeout, with never more than a third of it between two pieces.
    let mut granted = 65_535;
    while granted < content.len() {
        wait::pause(Duration::from_millis(250), "a slow reader is slow");
        client.window(stream, 20_000);
        client.window(0, 20_000);
        granted += 20_000;
        let expected = granted.min(content.len());
        client.until(|client| {
            client.stream(stream).body.len() >= expected || client.stream(stream).ended.is_some()
        });
    }
    let answer = client.answer(stream);
    assert_eq!(answer.ended, Some(Ended::Complete), "{answer:?}");
    assert!(answer.body == content);
}

#[test]
fn a_connection_without_requests_ends_with_goaway() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority
        .secure(setup(&origin))
        .server("idle_timeout = \"1s\"\nheader_timeout = \"1s\"")
        .start();
    for mut client in [H2::clear(gate.address()), H2::secure(gate.tls(), &authority)] {
        // Never a request.
        client.until_closed();
        assert_eq!(client.goaway.map(|(_, code)| code), Some(NO_ERROR));
    }
    let mut client = H2::secure(gate.tls(), &authority);
    assert_eq!(client.get(&Token::whole().at("/a"), &[]).status, 200);
    // Signs of life are no requests.
    client.frame(PING, 0, 0, &[7; 8]);
    client.until_closed();
    assert_eq!((client.goaway, client.pongs), (Some((1, NO_ERROR)), 1));
}

#[test]
fn a_head_that_does_not_end_ends_the_connection() {
    let origin = Origin::start();
    let gate = setup(&origin)
        .server("idle_timeout = \"1s\"\nheader_timeout = \"1s\"")
        .start();
    // Half a preface, a preface without settings, settings without a request, half a header block.
    let mut client = Client::connect(gate.address());
    client.send("PRI * HTTP");
    client.read_to_end();
    let mut client = Client::connect(gate.address());
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.read_to_end();
    let mut client = H2::clear(gate.address());
    let stream = client.next();
    let fields = block(&H2::fields(&Token::whole().at("/a"), &[]));
    client.frame(HEADERS, END_STREAM, stream, &fields);
    client.until_closed();
    origin.untouched();
    wait::until_true("timeouts are counted", || errors(&gate, "timeout") >= 2.0);
}

#[test]
fn a_drain_says_goaway_and_finishes_streams() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority
        .secure(setup(&origin))
        .server("drain_delay = \"0s\"\ndrain_timeout = \"20s\"")
        .start();
    let content = pattern(2 << 20);
    origin.file("/big", &content);
    let mut idle = H2::clear(gate.address());
    assert_eq!(idle.get(&Token::whole().at("/a"), &[]).status, 200);
    let mut busy = H2::secure(gate.tls(), &authority);
    busy.windows = Windows::Shut;
    let stream = busy.start(&Token::whole().at("/big"), &[]);
    busy.until(|client| client.stream(stream).body.len() == 65_535);
    std::thread::scope(|scope| {
        scope.spawn(|| gate.drain());
        idle.until_closed();
        assert_eq!(idle.goaway, Some((1, NO_ERROR)));
        busy.until(|client| client.goaway.is_some());
        busy.windows = Windows::Open;
        busy.window(stream, 65_535);
        busy.window(0, 65_535);
        let answer = busy.answer(stream);
        assert_eq!(answer.ended, Some(Ended::Complete));
        assert!(answer.body == content);
        busy.until_closed();
    });
}

/// Resident memory of a process, in KiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What a flood sends, again and again, until it is stopped or has sent all of it.
type Flood = fn(&mut H2, &str) -> Vec<u8>;

#[test]
fn p34_floods_end_or_stay_small_and_honest_clients_are_served() {
    let origin = Origin::start();
    origin.on("/never", Script::new().stall());
    let gate = Binary::start(setup(&origin));
    let now = mediagate::clock::Clock::system().now().secs();
    let token = Token::whole().claim("iat", now).expires(now + 3600);
    let (target, never) = (token.at("/a"), token.at("/never"));
    let floods: &[(&str, Flood, bool)] = &[
        (
            "rapid reset",
            |client, never| {
                let stream = client.next();
                let mut bytes = H2::bytes(
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    stream,
                    &block(&H2::fields(never, &[])),
                );
                bytes.extend(H2::bytes(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
                bytes
            },
            true,
        ),
        (
            "made you reset",
            |client, never| {
                let stream = client.next();
                let mut bytes = H2::bytes(
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    stream,
                    &block(&H2::fields(never, &[])),
                );
                // An increment of nothing (RFC 9113 §6.9) makes us reset the stream.
                bytes.extend(H2::bytes(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()));
                bytes
            },
            true,
        ),
        (
            "window overflow",
            |client, never| {
                let stream = client.next();
                let mut bytes = H2::bytes(
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    stream,
                    &block(&H2::fields(never, &[])),
                );
                bytes.extend(H2::bytes(
                    WINDOW_UPDATE,
                    0,
                    stream,
                    &0x7fff_ffff_u32.to_be_bytes(),
                ));
                bytes
            },
            true,
        ),
        (
            "continuation",
            |client, never| {
                if client.next() == 1 {
                    H2::bytes(HEADERS, END_STREAM, 1, &block(&H2::fields(never, &[])))
                } else {
                    H2::bytes(CONTINUATION, 0, 1, &field("x-a", &[b'a'; 1000]))
                }
            },
            true,
        ),
        (
            "empty continuation",
            |client, never| {
                if client.next() == 1 {
                    H2::bytes(HEADERS, END_STREAM, 1, &block(&H2::fields(never, &[])))
                } else {
                    H2::bytes(CONTINUATION, 0, 1, &[])
                }
            },
            true,
        ),
        (
            "empty data",
            |client, never| {
                if client.next() == 1 {
                    H2::bytes(HEADERS, END_HEADERS, 1, &block(&H2::fields(never, &[])))
                } else {
                    H2::bytes(DATA, 0, 1, &[])
                }
            },
            true,
        ),
        (
            "settings",
            |_, _| H2::bytes(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]),
            false,
        ),
        ("ping", |_, _| H2::bytes(PING, 0, 0, &[1; 8]), false),
        (
            "priority",
            |client, _| {
                let stream = client.next();
                H2::bytes(2, 0, stream, &[0, 0, 0, 0, 7])
            },
            false,
        ),
        ("unknown frames", |_, _| H2::bytes(0x7b, 0, 0, &[0; 64]), false),
        (
            "hpack bomb",
            |client, never| {
                let stream = client.next();
                let mut bytes = block(&H2::fields(never, &[]));
                // One long field into the dynamic table, then a thousand references to it.
                let mut long = field("x-a", &[b'a'; 3900]);
                long[0] = 0x40;
                bytes.extend(long);
                bytes.extend([0xbe; 1000]);
                H2::bytes(HEADERS, END_HEADERS | END_STREAM, stream, &bytes)
            },
            true,
        ),
    ];
    let mut honest = H2::clear(gate.gate);
    assert_eq!(honest.get(&target, &[]).status, 200);
    let before = resident(gate.running.id());
    for (name, flood, ends) in floods {
        let mut client = H2::clear(gate.gate);
        let (took, ()) = wait::timed(|| {
            for round in 0..40 {
                let mut bytes = Vec::new();
                for _ in 0..500 {
                    bytes.extend(flood(&mut client, &never));
                }
                client.raw(&bytes);
                client.read_some();
                if client.closed || client.goaway.is_some() {
                    break;
                }
                let (waited, answer) = wait::timed(|| honest.get(&target, &[]));
                assert_eq!(answer.status, 200, "beside {name}, round {round}");
                assert!(waited < Duration::from_secs(5), "beside {name}: {waited:?}");
            }
        });
        if *ends {
            client.until(|client| client.closed || client.goaway.is_some());
            assert!(
                client
                    .goaway
                    .is_none_or(|(_, code)| code == ENHANCE_YOUR_CALM || code == PROTOCOL_ERROR || code == 9),
                "{name}: {:?}",
                client.goaway
            );
        }
        eprintln!(
            "{name}: goaway {:?}, closed {}, {took:?}",
            client.goaway, client.closed
        );
        assert_eq!(honest.get(&target, &[]).status, 200, "after {name}");
    }
    let after = resident(gate.running.id());
    assert!(after - before < 24 * 1024, "from {before} KiB to {after} KiB");
    // What was reset was let go of.
    assert!(origin.connections() < 1000, "{}", origin.connections());
}

#[test]
fn p34_who_opens_streams_to_abandon_them_is_closed() {
    let (origin, gate) = start();
    origin.on("/never", Script::new().stall());
    let never = Token::whole().at("/never");
    let mut client = H2::clear(gate.address());
    // Slowly enough that each reaches the origin, which no limit of the protocol's forbids.
    let mut opened = 0;
    while !client.closed && opened < 400 {
        let stream = client.start(&never, &[]);
        opened += 1;
        wait::until_true("it reaches the origin, or nothing does", || {
            origin.seen().len() >= opened || errors(&gate, "flood") > 0.0
        });
        client.reset(stream);
        client.read_some();
    }
    assert!(client.closed && opened < 300, "{opened}");
    wait::until_true("it is counted", || errors(&gate, "flood") == 1.0);
    gate.get(&Token::whole().at("/a"), &[]).expect(200);
}
