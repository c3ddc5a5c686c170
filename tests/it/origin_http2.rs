//! HTTP/2 towards an origin: what is asked, how streams share a connection, and what ends one.

use std::fmt::Write as _;

use crate::support::gate::ask_over;
use crate::support::h2::{H2, INTERNAL_ERROR, NO_ERROR};
use crate::support::h2_origin::{Act, H2Origin, data, head, last, only_head};
use crate::support::origin::Signal;
use crate::support::{Client, Gate, Response, Token, conf, wait};

/// The setting of the most streams at once.
const MAX_CONCURRENT_STREAMS: u16 = 3;

const REFUSED_STREAM: u32 = 7;

fn toml(origin: &H2Origin, more: &str) -> String {
    conf::http_with(origin.address(), &format!("protocol = \"http2\"\n{more}"))
        + &conf::route_with(
            "files",
            "/",
            "methods = [\"GET\", \"HEAD\", \"PUT\", \"POST\"]\nmax_upload = \"1MiB\"",
        )
}

fn token() -> Token {
    Token::whole().claim("methods", serde_json::json!(["GET", "HEAD", "PUT", "POST"]))
}

fn start() -> (H2Origin, Gate) {
    let origin = H2Origin::start();
    let gate = Gate::start(toml(&origin, ""));
    (origin, gate)
}

fn get(gate: &Gate, path: &str) -> Response {
    gate.get(&token().at(path), &[])
}

fn send(gate: &Gate, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    ask_over(&mut gate.connect(), method, &token().at(path), headers, body)
}

#[test]
fn a_request_over_http2_says_what_one_over_http1_says() {
    let (origin, gate) = start();
    let answer = gate.get(
        &token().at("/a%20b/c?x=1"),
        &[
            ("Accept", "image/*"),
            ("Cookie", "a=b"),
            ("Connection", "x-secret"),
            ("X-Secret", "1"),
            ("User-Agent", "test/1"),
        ],
    );
    assert_eq!(answer.expect(200).text(), "origin says /a%20b/c?x=1");
    let seen = &origin.seen()[0];
    for (name, value) in [
        (":method", Some("GET")),
        (":scheme", Some("http")),
        (":path", Some("/a%20b/c?x=1")),
        (":authority", Some(origin.address().to_string().as_str())),
        ("accept", Some("image/*")),
        ("user-agent", Some("test/1")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("media.example.com")),
        ("cookie", None),
        ("host", None),
        ("connection", None),
        ("x-secret", None),
        ("content-length", None),
    ] {
        assert_eq!(seen.field(name), value, "{name}: {seen:?}");
    }
}

#[test]
fn requests_share_a_connection() {
    let (origin, gate) = start();
    for number in 0..20 {
        get(&gate, &format!("/{number}")).expect(200);
    }
    assert_eq!(origin.connections(), 1);
    let seen = origin.seen();
    assert_eq!(seen.len(), 20);
    assert!(seen.iter().all(|seen| seen.connection == 0));
    assert_eq!(origin.resets(), 0, "nothing was reset that ended well");
}

#[test]
fn requests_at_the_same_time_share_a_connection_up_to_the_bound() {
    let origin = H2Origin::start();
    let gate = Gate::start(toml(&origin, "max_streams = 4"));
    let go_on = Signal::default();
    origin.on(
        "/held",
        vec![Act::Wait(go_on.clone()), head("200", &[]), last("held")],
    );
    let mut clients: Vec<Client> = (0..10).map(|_| gate.connect()).collect();
    for client in &mut clients {
        client.request("GET", &token().at("/held"), &[]);
    }
    origin.until("all are there", |origin| origin.seen().len() == 10);
    assert_eq!((origin.connections(), origin.most_streams()), (3, 4));
    go_on.raise();
    for mut client in clients {
        assert_eq!(client.read().expect(200).text(), "held");
    }
}

#[test]
fn an_origin_that_allows_fewer_streams_gets_no_more() {
    let origin = H2Origin::with(&[(MAX_CONCURRENT_STREAMS, 2)]);
    let gate = Gate::start(toml(&origin, "max_streams = 8"));
    get(&gate, "/first").expect(200);
    let go_on = Signal::default();
    origin.on(
        "/held",
        vec![Act::Wait(go_on.clone()), head("200", &[]), last("held")],
    );
    let mut clients: Vec<Client> = (0..4).map(|_| gate.connect()).collect();
    for client in &mut clients {
        client.request("GET", &token().at("/held"), &[]);
    }
    // What is too much goes over another connection instead of waiting.
    origin.until("all are there", |origin| origin.seen().len() == 5);
    assert_eq!((origin.most_streams(), origin.connections()), (2, 2));
    go_on.raise();
    for mut client in clients {
        assert_eq!(client.read().expect(200).text(), "held");
    }
    // Also where nothing was known before the first requests.
    let origin = H2Origin::with(&[(MAX_CONCURRENT_STREAMS, 2)]);
    let gate = Gate::start(toml(&origin, ""));
    let go_on = Signal::default();
    origin.on(
        "/held",
        vec![Act::Wait(go_on.clone()), head("200", &[]), last("held")],
    );
    let mut clients: Vec<Client> = (0..6).map(|_| gate.connect()).collect();
    for client in &mut clients {
        client.request("GET", &token().at("/held"), &[]);
    }
    origin.until("all are there", |origin| origin.seen().len() == 6);
    assert_eq!((origin.most_streams(), origin.connections()), (2, 3));
    go_on.raise();
    for mut client in clients {
        client.read().expect(200);
    }
}

#[test]
fn three_connections_that_are_over_cost_no_request() {
    let origin = H2Origin::start();
    let gate = Gate::start(toml(&origin, "max_streams = 1"));
    let go_on = Signal::default();
    origin.on(
        "/held",
        vec![Act::Wait(go_on.clone()), head("200", &[]), last("held")],
    );
    let mut clients: Vec<Client> = (0..5).map(|_| gate.connect()).collect();
    for client in &mut clients {
        client.request("GET", &token().at("/held"), &[]);
    }
    origin.until("all are there", |origin| origin.seen().len() == 5);
    go_on.raise();
    for client in &mut clients {
        client.read().expect(200);
    }
    assert_eq!(origin.connections(), 5);
    // Two say that they look at nothing more; then none is asked that was there before.
    origin.on("/b", vec![Act::GoAway(Some(1), NO_ERROR)]);
    origin.on("/b", vec![Act::GoAway(Some(1), NO_ERROR)]);
    origin.on("/b", vec![head("200", &[]), last("again")]);
    assert_eq!(get(&gate, "/b").expect(200).text(), "again");
    let seen = origin.seen();
    let asked = seen.iter().filter(|seen| seen.field(":path") == Some("/b"));
    let asked: Vec<usize> = asked.map(|seen| seen.connection).collect();
    assert_eq!((asked.len(), asked[2]), (3, 5), "{asked:?}");
    assert_eq!(gate.metric("mediagate_origin_addresses", &["state=\"up\""]), 1.0);
}

#[test]
fn head_and_empty_answers_leave_the_connection_as_it_is() {
    let (origin, gate) = start();
    origin
        .on(
            "/304",
            vec![only_head("304", &[("etag", "\"a\""), ("content-length", "5")])],
        )
        .on("/204", vec![only_head("204", &[])])
        .on("/head", vec![head("200", &[("content-length", "5")]), last("")])
        .on("/empty", vec![head("200", &[("content-length", "0")]), last("")]);
    let mut client = gate.connect();
    let answer = client.exchange("HEAD", &token().at("/f"), &[]).expect(200);
    assert_eq!(answer.header("content-length"), Some("14"));
    client
        .get(&token().at("/304"), &[("If-None-Match", "\"a\"")])
        .expect(304);
    client.get(&token().at("/204"), &[]).expect(204);
    client.exchange("HEAD", &token().at("/head"), &[]).expect(200);
    assert!(client.get(&token().at("/empty"), &[]).expect(200).body.is_empty());
    client.get(&token().at("/next"), &[]).expect(200);
    // Also where the end came in a frame of its own.
    assert_eq!((origin.connections(), origin.resets()), (1, 0));
}

#[test]
fn after_goaway_what_was_not_looked_at_is_asked_over_another_connection() {
    let (origin, gate) = start();
    get(&gate, "/first").expect(200);
    // Stream 1 was the last that it looked at; this is stream 3.
    origin
        .on("/a", vec![Act::GoAway(Some(1), NO_ERROR)])
        .on("/a", vec![head("200", &[]), last("again")]);
    assert_eq!(get(&gate, "/a").expect(200).text(), "again");
    let asked: Vec<usize> = origin
        .seen()
        .iter()
        .filter(|seen| seen.field(":path") == Some("/a"))
        .map(|seen| seen.connection)
        .collect();
    assert_eq!(asked, [0, 1]);
    // What runs ends over the old one.
    let go_on = Signal::default();
    origin.on(
        "/long",
        vec![
            head("200", &[("content-length", "8")]),
            data("long"),
            Act::GoAway(None, NO_ERROR),
            Act::Wait(go_on.clone()),
            last("body"),
        ],
    );
    let mut client = gate.connect();
    client.request("GET", &token().at("/long"), &[]);
    assert_eq!(client.read_only_head().status, 200);
    assert_eq!(client.read_bytes(4), b"long");
    get(&gate, "/next").expect(200);
    go_on.raise();
    assert_eq!(client.read_bytes(4), b"body");
    assert_eq!(origin.connections(), 3);
}

#[test]
fn a_refused_stream_is_asked_again_and_an_upload_is_not() {
    let (origin, gate) = start();
    get(&gate, "/first").expect(200);
    origin
        .on("/a", vec![Act::Reset(REFUSED_STREAM)])
        .on("/a", vec![head("200", &[]), last("again")])
        .on("/up", vec![Act::Reset(REFUSED_STREAM)]);
    assert_eq!(get(&gate, "/a").expect(200).text(), "again");
    send(&gate, "PUT", "/up", &[], b"content").refused(502, "origin_invalid");
    let uploads = origin
        .seen()
        .iter()
        .filter(|seen| seen.field(":path") == Some("/up"))
        .count();
    assert_eq!(uploads, 1);
}

#[test]
fn a_connection_that_died_while_idle_is_replaced_unseen() {
    let (origin, gate) = start();
    for round in 0..5 {
        origin.on("/dies", vec![head("200", &[]), last("bye"), Act::Close]);
        assert_eq!(get(&gate, "/dies").expect(200).text(), "bye");
        get(&gate, &format!("/{round}")).expect(200);
    }
    // An upload, too, as long as none of it was sent.
    for round in 0..5 {
        assert_eq!(get(&gate, "/dies").expect(200).text(), "bye");
        send(&gate, "PUT", &format!("/up-{round}"), &[], b"content").expect(200);
    }
    // Dies with the request on it.
    origin
        .on("/a", vec![Act::Abort])
        .on("/a", vec![head("200", &[]), last("again")]);
    assert_eq!(get(&gate, "/a").expect(200).text(), "again");
}

#[test]
fn a_stream_that_the_origin_resets_is_asked_of_another_address() {
    let (origin, other) = (H2Origin::start(), H2Origin::start());
    let addresses = format!(
        "addresses = [\"{}\", \"{}\"]\neject_after = 0",
        origin.address(),
        other.address()
    );
    let gate = Gate::start(toml(&origin, &addresses));
    origin.on("/a", vec![Act::Reset(INTERNAL_ERROR)]);
    other.on("/a", vec![head("200", &[]), last("from the other")]);
    for _ in 0..20 {
        assert_eq!(get(&gate, "/a").expect(200).text(), "from the other");
    }
    assert!(!origin.seen().is_empty());
    assert_eq!(
        (origin.connections(), other.connections()),
        (1, 1),
        "a stream is no connection"
    );
}

#[test]
fn a_connection_without_requests_ends_after_its_time() {
    let origin = H2Origin::start();
    let gate = Gate::start(toml(&origin, "idle_timeout = \"1s\""));
    get(&gate, "/a").expect(200);
    origin.wait_closed();
    get(&gate, "/b").expect(200);
    assert_eq!(origin.connections(), 2);
}

#[test]
fn an_upload_over_http2_arrives_byte_for_byte() {
    let (origin, gate) = start();
    let content = crate::support::origin::pattern(300_000);
    send(&gate, "PUT", "/up", &[("Content-Type", "text/x")], &content).expect(200);
    let seen = origin.seen().pop().unwrap();
    assert!(seen.body == content, "{} bytes", seen.body.len());
    assert_eq!(
        (seen.field("content-length"), seen.field("content-type")),
        (Some("300000"), Some("text/x"))
    );
    let mut client = gate.connect();
    client.request("PUT", &token().at("/up"), &[("Transfer-Encoding", "chunked")]);
    client.send("3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n");
    client.read().expect(200);
    let seen = origin.seen().pop().unwrap();
    assert_eq!(
        (&seen.body[..], seen.field("content-length")),
        (&b"abcde"[..], None)
    );
    send(&gate, "POST", "/up", &[], b"").expect(200);
    assert_eq!(origin.seen().pop().unwrap().field("content-length"), Some("0"));
    let mut client = gate.connect();
    client.request("PUT", &token().at("/up"), &[("Transfer-Encoding", "chunked")]);
    let mut chunk = format!("{:x}\r\n", 600_000);
    let _ = write!(chunk, "{}\r\n", "x".repeat(600_000));
    client.send(chunk.repeat(2));
    client.read().refused(413, "too_large");
}

#[test]
fn a_client_that_leaves_resets_its_stream_and_no_other() {
    let (origin, gate) = start();
    let go_on = Signal::default();
    for path in ["/one", "/two"] {
        origin.on(
            path,
            vec![
                head("200", &[("content-length", "8")]),
                data("some"),
                Act::Wait(go_on.clone()),
                last("more"),
            ],
        );
    }
    let begin = |path: &str| {
        let mut client = gate.connect();
        client.request("GET", &token().at(path), &[]);
        assert_eq!(client.read_only_head().status, 200);
        assert_eq!(client.read_bytes(4), b"some");
        client
    };
    let (one, mut two) = (begin("/one"), begin("/two"));
    drop(one);
    origin.until("its stream was reset", |origin| origin.resets() == 1);
    go_on.raise();
    assert_eq!(two.read_bytes(4), b"more");
    assert_eq!((origin.connections(), origin.resets()), (1, 1));
}

#[test]
fn a_slow_reader_does_not_hold_up_others() {
    let (origin, gate) = start();
    // As much as one may have unread, and no more: the origin here looks at no window.
    let piece = "x".repeat(16 * 1024);
    let mut script = vec![head("200", &[])];
    script.extend((0..7).map(|_| data(&piece)));
    script.push(last(""));
    origin.on("/large", script);
    let mut slow = H2::clear_with(gate.address(), &[(4, 1000)]);
    slow.windows = crate::support::h2::Windows::Shut;
    let streams: Vec<u32> = (0..8).map(|_| slow.start(&token().at("/large"), &[])).collect();
    slow.until(|client| {
        streams
            .iter()
            .all(|stream| client.stream(*stream).body.len() == 1000)
    });
    for number in 0..20 {
        get(&gate, &format!("/{number}")).expect(200);
    }
    assert_eq!(get(&gate, "/large").expect(200).body.len(), 7 * 16 * 1024);
}

#[test]
fn an_origin_that_breaks_the_rules_loses_its_connection() {
    let (origin, gate) = start();
    // DATA on a stream that was never opened.
    origin.on("/a", vec![Act::Raw(H2::bytes(0, 0, 99, b"evil"))]);
    get(&gate, "/a").refused(502, "origin_invalid");
    origin.wait_closed();
    get(&gate, "/next").expect(200);
}

#[test]
fn a_head_that_comes_late_is_504_and_the_connection_lives() {
    let origin = H2Origin::start();
    let gate =
        Gate::start(conf::impatient(origin.address(), "1s") + "protocol = \"http2\"\n" + &conf::route());
    let go_on = Signal::default();
    origin.on(
        "/late",
        vec![Act::Wait(go_on.clone()), head("200", &[]), last("late")],
    );
    let (took, answer) = wait::timed(|| gate.get(&Token::whole().at("/late"), &[]));
    answer.refused(504, "origin_timeout");
    assert!((990..1900).contains(&took.as_millis()), "{took:?}");
    go_on.raise();
    gate.get(&Token::whole().at("/next"), &[]).expect(200);
    assert_eq!(origin.connections(), 1);
}
