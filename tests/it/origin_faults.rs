//! Every way in which an origin goes wrong, over HTTP/1.1 and HTTP/2 on either side: the client's exact bytes, how they
//! end, and that the next request over the pooled connections is right. The rows stand in `docs/ORIGINS.md`, too.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};

use crate::support::h2::{END_HEADERS, Ended, H2, INTERNAL_ERROR, NO_ERROR, block};
use crate::support::h2_origin::{Act, H2Origin, data, head, last, only_head};
use crate::support::{End, Gate, Origin, Script, Token, conf, wait};

/// What the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Want {
    /// This status and body, whole.
    Whole(u16, &'static str),
    /// A head with 200 or 206, these bytes, and then a cut.
    Cut(&'static str),
    /// A refusal.
    Refused(u16, &'static str),
}

impl Want {
    /// As it stands in the document.
    fn text(&self) -> String {
        match self {
            Self::Whole(status, _) => format!("{status}, whole"),
            Self::Cut(_) => "cut".to_owned(),
            Self::Refused(status, code) => format!("{status} `{code}`"),
        }
    }
}

/// What the client asks with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Plain,
    /// `bytes=2-5`.
    Range,
    /// `bytes=-4`.
    Suffix,
}

impl Ask {
    fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Plain => &[],
            Self::Range => &[("range", "bytes=2-5")],
            Self::Suffix => &[("range", "bytes=-4")],
        }
    }
}

/// A fault, and how each protocol commits it; `None` where it can't.
struct Row {
    name: &'static str,
    ask: Ask,
    http1: Option<(Script, Want)>,
    http2: Option<(Vec<Act>, Want)>,
}

/// A row for both.
fn both(name: &'static str, ask: Ask, http1: Script, http2: Vec<Act>, want: Want) -> Row {
    Row {
        name,
        ask,
        http1: Some((http1, want.clone())),
        http2: Some((http2, want)),
    }
}

fn http1(name: &'static str, ask: Ask, script: Script, want: Want) -> Row {
    Row {
        name,
        ask,
        http1: Some((script, want)),
        http2: None,
    }
}

fn http2(name: &'static str, ask: Ask, script: Vec<Act>, want: Want) -> Row {
    Row {
        name,
        ask,
        http1: None,
        http2: Some((script, want)),
    }
}

const INVALID: Want = Want::Refused(502, "origin_invalid");
const TIMEOUT: Want = Want::Refused(504, "origin_timeout");

fn length(count: &str) -> [(&str, &str); 1] {
    [("content-length", count)]
}

fn range<'r>(content_range: &'r str, count: &'r str) -> [(&'r str, &'r str); 2] {
    [("content-range", content_range), ("content-length", count)]
}

fn partial(content_range: &str, body: &str) -> (Script, Vec<Act>) {
    let count = body.len().to_string();
    let fields = range(content_range, &count);
    (
        Script::new().head("206 Partial Content", &fields).send(body),
        vec![head("206", &fields), last(body)],
    )
}

fn rows() -> Vec<Row> {
    let mut rows = kinds();
    rows.extend(variants());
    rows
}

/// More ways to commit faults of the table, under the same names.
fn variants() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, length) in [
        ("two lengths", "5, 6"),
        ("length that is no number", "+5"),
        ("length that is no number", "-5"),
        ("length that is no number", ""),
        ("length that is no number", "99999999999999999999999999"),
    ] {
        let fields = [("content-length", length)];
        let (old, new) = (
            Script::new().head("200 OK", &fields),
            vec![head("200", &fields), last("hello")],
        );
        rows.push(both(name, Ask::Plain, old.send("helloX").close(), new, INVALID));
    }
    for (ask, more) in [
        (Ask::Range, &[("content-range", "bytes 5-2/10")][..]),
        (Ask::Range, &[("content-range", "octets 2-5/10")]),
        (Ask::Range, &[("content-range", "bytes two-five/ten")]),
        (
            Ask::Range,
            &[
                ("content-range", "bytes 2-5/10"),
                ("content-range", "bytes 0-3/10"),
            ],
        ),
        (
            Ask::Range,
            &[("content-type", "multipart/byteranges; boundary=x")],
        ),
        (Ask::Suffix, &[("content-range", "bytes 0-3/10")]),
    ] {
        let fields = [&[("content-length", "4")], more].concat();
        let (old, new) = (
            Script::new().head("206 Partial Content", &fields),
            vec![head("206", &fields), last("2345")],
        );
        rows.push(both("range that is none", ask, old.send("2345"), new, INVALID));
    }
    for coding in ["gzip, chunked, identity", "xchunked"] {
        let script = Script::new()
            .head("200 OK", &[("transfer-encoding", coding)])
            .send("5\r\nhello\r\n0\r\n\r\n");
        rows.push(http1(
            "transfer coding that is not known",
            Ask::Plain,
            script,
            INVALID,
        ));
    }
    let chunked = [("transfer-encoding", "chunked"), ("content-length", "3")];
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    rows.push(http1(
        "length beside chunks",
        Ask::Plain,
        Script::new().head("200 OK", &chunked).send(chunks),
        INVALID,
    ));
    let cut = Script::new()
        .head("200 OK", &chunked[..1])
        .send("5\r\nhello\r\n0\r\n")
        .close();
    rows.push(http1("close between chunks", Ask::Plain, cut, Want::Cut("hello")));
    rows
}

fn kinds() -> Vec<Row> {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let early = || head("103", &[("link", "</a>")]);
    let giant = "x".repeat(100_000);
    let chunked = [("transfer-encoding", "chunked")];
    let (lying, lying2) = partial("bytes 0-3/10", "0123");
    let (wider, wider2) = partial("bytes 2-9/10", "23456789");
    let (beyond, beyond2) = partial("bytes 2-5/4", "2345");
    let short_range = range("bytes 2-5/10", "2");
    let (unasked, unasked2) = partial("bytes 0-4/10", "01234");
    vec![
        both(
            "whole",
            Ask::Plain,
            Script::ok(&[], "hello"),
            vec![head("200", &length("5")), last("hello")],
            Want::Whole(200, "hello"),
        ),
        both(
            "in pieces",
            Ask::Plain,
            Script::new()
                .head("200 OK", &chunked)
                .send("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
            vec![head("200", &[]), data("he"), data("llo"), last("")],
            Want::Whole(200, "hello"),
        ),
        both(
            "trailers",
            Ask::Plain,
            Script::new()
                .head("200 OK", &chunked)
                .send("5\r\nhello\r\n0\r\nSet-Cookie: a=1\r\n\r\n"),
            vec![
                head("200", &[]),
                data("hello"),
                Act::Head(vec![("set-cookie".into(), "a=1".into())], true),
            ],
            Want::Whole(200, "hello"),
        ),
        both(
            "short body",
            Ask::Plain,
            Script::new().head("200 OK", &length("10")).send("hello").close(),
            vec![head("200", &length("10")), data("hello"), last("")],
            Want::Cut("hello"),
        ),
        Row {
            name: "surplus body",
            ask: Ask::Plain,
            http1: Some((
                Script::ok(&[], "hello").send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
                Want::Whole(200, "hello"),
            )),
            http2: Some((
                vec![head("200", &length("5")), data("hel"), last("lo and more")],
                Want::Cut("hel"),
            )),
        },
        both(
            "stall before the head",
            Ask::Plain,
            Script::new().stall(),
            vec![],
            TIMEOUT,
        ),
        http1(
            "stall in the head",
            Ask::Plain,
            Script::new().send("HTTP/1.1 200 OK\r\nContent-Le").stall(),
            TIMEOUT,
        ),
        both(
            "stall between head and body",
            Ask::Plain,
            Script::new().head("200 OK", &length("5")).stall(),
            vec![head("200", &length("5"))],
            Want::Cut(""),
        ),
        both(
            "stall in the body",
            Ask::Plain,
            Script::new().head("200 OK", &length("10")).send("hello").stall(),
            vec![head("200", &length("10")), data("hello")],
            Want::Cut("hello"),
        ),
        both(
            "close after accept",
            Ask::Plain,
            Script::new().close(),
            vec![Act::Close],
            INVALID,
        ),
        both(
            "reset after accept",
            Ask::Plain,
            Script::new().reset(),
            vec![Act::Abort],
            INVALID,
        ),
        http1(
            "close in the head",
            Ask::Plain,
            Script::new().send("HTTP/1.1 200 OK\r\nContent-Le").close(),
            INVALID,
        ),
        http1(
            "reset in the head",
            Ask::Plain,
            Script::new().send("HTTP/1.1 200 OK\r\nContent-Le").reset(),
            INVALID,
        ),
        both(
            "close between head and body",
            Ask::Plain,
            Script::new().head("200 OK", &length("5")).close(),
            vec![head("200", &length("5")), Act::Close],
            Want::Cut(""),
        ),
        both(
            "close in the body",
            Ask::Plain,
            Script::new().head("200 OK", &length("10")).send("hello").close(),
            vec![head("200", &length("10")), data("hello"), Act::Close],
            Want::Cut("hello"),
        ),
        both(
            "reset in the body",
            Ask::Plain,
            Script::new().head("200 OK", &length("10")).send("hello").reset(),
            vec![head("200", &length("10")), data("hello"), Act::Abort],
            Want::Cut("hello"),
        ),
        http1(
            "close in a chunk",
            Ask::Plain,
            Script::new().head("200 OK", &chunked).send("5\r\nhel").close(),
            Want::Cut("hel"),
        ),
        http1(
            "close between chunks",
            Ask::Plain,
            Script::new()
                .head("200 OK", &chunked)
                .send("5\r\nhello\r\n")
                .close(),
            Want::Cut("hello"),
        ),
        http1(
            "broken chunk",
            Ask::Plain,
            Script::new().head("200 OK", &chunked).send("5\r\nhelloX").close(),
            Want::Cut("hello"),
        ),
        Row {
            name: "body without a length",
            ask: Ask::Plain,
            http1: Some((Script::new().head("200 OK", &[]).send("hello").close(), INVALID)),
            http2: Some((vec![head("200", &[]), last("hello")], Want::Whole(200, "hello"))),
        },
        http2(
            "body without a length, cut",
            Ask::Plain,
            vec![head("200", &[]), data("hello"), Act::Close],
            Want::Cut("hello"),
        ),
        both(
            "two lengths",
            Ask::Plain,
            Script::new()
                .head("200 OK", &[("content-length", "5"), ("content-length", "6")])
                .send("hello")
                .close(),
            vec![
                head("200", &[("content-length", "5"), ("content-length", "6")]),
                last("hello"),
            ],
            INVALID,
        ),
        both(
            "length that is no number",
            Ask::Plain,
            Script::new().head("200 OK", &length("5x")).send("hello").close(),
            vec![head("200", &length("5x")), last("hello")],
            INVALID,
        ),
        http1(
            "transfer coding that is not known",
            Ask::Plain,
            Script::new()
                .head("200 OK", &[("transfer-encoding", "gzip")])
                .send("hello")
                .close(),
            INVALID,
        ),
        http1(
            "length beside chunks",
            Ask::Plain,
            Script::new()
                .head(
                    "200 OK",
                    &[("content-length", "3"), ("transfer-encoding", "chunked")],
                )
                .send("5\r\nhello\r\n0\r\n\r\n"),
            INVALID,
        ),
        http2(
            "field of HTTP/1.1",
            Ask::Plain,
            vec![head("200", &chunked), last("hello")],
            INVALID,
        ),
        both("other range than asked", Ask::Range, lying, lying2, INVALID),
        both("wider range than asked", Ask::Range, wider, wider2, INVALID),
        both("range beyond the file", Ask::Range, beyond, beyond2, INVALID),
        both(
            "range with another length",
            Ask::Range,
            Script::new().head("206 Partial Content", &short_range).send("23"),
            vec![head("206", &short_range), last("23")],
            INVALID,
        ),
        both(
            "206 without its range",
            Ask::Range,
            Script::answer("206 Partial Content", &[], "2345"),
            vec![head("206", &length("4")), last("2345")],
            INVALID,
        ),
        both(
            "206 that nobody asked for",
            Ask::Plain,
            unasked,
            unasked2,
            INVALID,
        ),
        both(
            "200 for a range",
            Ask::Range,
            Script::ok(&[], "0123456789"),
            vec![head("200", &length("10")), last("0123456789")],
            Want::Whole(200, "0123456789"),
        ),
        both(
            "short range",
            Ask::Range,
            Script::new()
                .head("206 Partial Content", &range("bytes 2-5/10", "4"))
                .send("23")
                .close(),
            vec![head("206", &range("bytes 2-5/10", "4")), data("23"), last("")],
            Want::Cut("23"),
        ),
        Row {
            name: "surplus range",
            ask: Ask::Range,
            http1: Some((
                Script::new()
                    .head(
                        "206 Partial Content",
                        &[("content-range", "bytes 2-5/10"), chunked[0]],
                    )
                    .send("8\r\n23456789\r\n0\r\n\r\n"),
                Want::Whole(206, "2345"),
            )),
            http2: Some((
                vec![
                    head("206", &[("content-range", "bytes 2-5/10")]),
                    last("23456789"),
                ],
                Want::Whole(206, "2345"),
            )),
        },
        both(
            "304 that nobody asked for",
            Ask::Plain,
            Script::new().head("304 Not Modified", &[("etag", "\"a\"")]),
            vec![only_head("304", &[("etag", "\"a\"")])],
            INVALID,
        ),
        both(
            "answers before the answer",
            Ask::Plain,
            Script::new()
                .send(interim.repeat(3))
                .head("200 OK", &length("5"))
                .send("hello"),
            vec![
                early(),
                early(),
                early(),
                head("200", &length("5")),
                last("hello"),
            ],
            Want::Whole(200, "hello"),
        ),
        Row {
            name: "answers before the answer, without end",
            ask: Ask::Plain,
            http1: Some((Script::new().send(interim.repeat(2000)).stall(), INVALID)),
            http2: Some(((0..2000).map(|_| early()).collect(), TIMEOUT)),
        },
        http1(
            "switch of protocols",
            Ask::Plain,
            Script::new()
                .head(
                    "101 Switching Protocols",
                    &[("connection", "upgrade"), ("upgrade", "websocket")],
                )
                .stall(),
            INVALID,
        ),
        both(
            "head that is too large",
            Ask::Plain,
            Script::new()
                .head("200 OK", &[("content-length", "5"), ("x-long", &giant)])
                .send("hello"),
            vec![
                head("200", &[("content-length", "5"), ("x-long", &giant)]),
                last("hello"),
            ],
            INVALID,
        ),
        http1(
            "no HTTP",
            Ask::Plain,
            Script::new().send("220 mail.example ESMTP\r\n\r\n").stall(),
            INVALID,
        ),
        http2(
            "no frames",
            Ask::Plain,
            vec![Act::Raw(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
            )],
            INVALID,
        ),
        http2(
            "stream reset before the head",
            Ask::Plain,
            vec![Act::Reset(INTERNAL_ERROR)],
            INVALID,
        ),
        http2(
            "stream reset between head and body",
            Ask::Plain,
            vec![head("200", &length("5")), Act::Reset(INTERNAL_ERROR)],
            Want::Cut(""),
        ),
        http2(
            "stream reset in the body",
            Ask::Plain,
            vec![
                head("200", &length("10")),
                data("hello"),
                Act::Reset(INTERNAL_ERROR),
            ],
            Want::Cut("hello"),
        ),
        http2(
            "stream reset without error",
            Ask::Plain,
            vec![head("200", &length("10")), data("hello"), Act::Reset(NO_ERROR)],
            Want::Cut("hello"),
        ),
        http2(
            "GOAWAY in the body",
            Ask::Plain,
            vec![
                head("200", &length("5")),
                data("he"),
                Act::GoAway(None, NO_ERROR),
                last("llo"),
            ],
            Want::Whole(200, "hello"),
        ),
        http2(
            "pushed stream",
            Ask::Plain,
            vec![
                // PUSH_PROMISE of stream 2.
                Act::Frame(
                    5,
                    END_HEADERS,
                    [&[0, 0, 0, 2][..], &block(&H2::fields("/evil", &[]))].concat(),
                ),
                head("200", &length("5")),
                last("hello"),
            ],
            INVALID,
        ),
        http2(
            "empty frames without end",
            Ask::Plain,
            std::iter::once(head("200", &[]))
                .chain((0..50_000).map(|_| data("")))
                .collect(),
            Want::Cut(""),
        ),
        http2(
            "window that overflows",
            Ask::Plain,
            vec![
                head("200", &length("5")),
                Act::Frame(8, 0, vec![0x7f, 0xff, 0xff, 0xff]),
            ],
            Want::Cut(""),
        ),
        http2(
            "GOAWAY with an error",
            Ask::Plain,
            vec![Act::GoAway(Some(0), INTERNAL_ERROR), Act::Close],
            INVALID,
        ),
    ]
}

/// What a client saw.
#[derive(Debug)]
struct Got {
    status: u16,
    body: Vec<u8>,
    whole: bool,
    code: String,
}

fn over_http1(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> Got {
    let answer = gate.get(&Token::whole().at(path), headers);
    Got {
        status: answer.status,
        whole: answer.end == End::Complete,
        code: if answer.status >= 400 {
            answer.code()
        } else {
            String::new()
        },
        body: answer.body,
    }
}

fn over_http2(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> Got {
    let mut client = H2::clear(gate.address());
    let mut all = vec![("accept", "application/json")];
    all.extend_from_slice(headers);
    let answer = client.get(&Token::whole().at(path), &all);
    Got {
        status: answer.status,
        whole: answer.ended == Some(Ended::Complete),
        code: answer.code(),
        body: answer.body,
    }
}

type Over = fn(&Gate, &str, &[(&str, &str)]) -> Got;

const CLIENTS: [(&str, Over); 2] = [("HTTP/1.1", over_http1), ("HTTP/2", over_http2)];

fn check(gate: &Gate, (name, ask, want): (&str, Ask, &Want), path: &str) {
    for (client, over) in CLIENTS {
        let about = format!("{name}, client {client}");
        let headers = ask.headers();
        let got = over(gate, path, headers);
        match want {
            Want::Whole(status, body) => {
                assert_eq!(
                    (got.status, &*String::from_utf8_lossy(&got.body), got.whole),
                    (*status, *body, true),
                    "{about}"
                );
            }
            Want::Cut(body) => {
                assert!(
                    (got.status == 200 || got.status == 206) && !got.whole,
                    "{about}: {got:?}"
                );
                // What the kernel held of a connection that is reset may be gone with it.
                let exact = name != "reset in the body";
                assert!(
                    body.as_bytes().starts_with(&got.body) && (!exact || body.as_bytes() == got.body),
                    "{about}: {got:?}"
                );
            }
            Want::Refused(status, code) => {
                assert_eq!(
                    (got.status, &*got.code, got.whole),
                    (*status, *code, true),
                    "{about}"
                );
            }
        }
        for round in 0..2 {
            let next = format!("/next-{round}");
            for (other, over) in CLIENTS {
                let got = over(gate, &next, &[]);
                assert_eq!(
                    (got.status, String::from_utf8_lossy(&got.body), got.whole),
                    (200, format!("origin says {next}").into(), true),
                    "after {about}, client {other}"
                );
            }
        }
    }
}

/// Waits short enough for rows that run into them.
fn waits(address: SocketAddr, more: &str) -> String {
    conf::impatient(address, "1s") + more + "\n" + &conf::route()
}

/// So many bodies were cut, and the log and the metrics say by whom.
fn said_to_be_cut(gate: &Gate, count: usize) {
    let by_origin = ["route=\"files\"", "by=\"origin\""];
    wait::until_true("all cuts are counted", || {
        gate.metric("mediagate_downloads_cut_total", &by_origin) as usize >= count
    });
    let lines = wait::until("all cuts are logged", || {
        let lines = gate.access(count);
        let cut = lines.iter().filter(|line| line["end"] == "cut_by_origin").count();
        (cut >= count).then_some(lines)
    });
    let other: Vec<_> = lines
        .iter()
        .filter(|line| line["end"] != "complete" && line["end"] != "cut_by_origin")
        .collect();
    assert!(other.is_empty(), "{other:?}");
    assert_eq!(
        gate.metric("mediagate_downloads_cut_total", &by_origin) as usize,
        count
    );
}

/// Holds all rows that `prepare` gives a path of the origin against what is wanted.
fn check_rows(gate: &Gate, prepare: impl Fn(&str, &mut Row) -> Option<Want>) {
    let mut cuts = 0;
    for (number, mut row) in rows().into_iter().enumerate() {
        let path = format!("/row-{number}");
        let Some(want) = prepare(&path, &mut row) else {
            continue;
        };
        check(gate, (row.name, row.ask, &want), &path);
        cuts += CLIENTS.len() * usize::from(matches!(want, Want::Cut(_)));
    }
    said_to_be_cut(gate, cuts);
}

#[test]
fn origin_faults_over_http1() {
    let origin = Origin::start();
    let gate = Gate::start(waits(origin.address(), ""));
    check_rows(&gate, |path, row| {
        let (script, want) = row.http1.take()?;
        origin.on(path, script);
        Some(want)
    });
}

#[test]
fn origin_faults_over_http2() {
    let origin = H2Origin::start();
    let gate = Gate::start(waits(origin.address(), "protocol = \"http2\""));
    check_rows(&gate, |path, row| {
        let (script, want) = row.http2.take()?;
        origin.on(path, script);
        Some(want)
    });
}

#[test]
fn origin_faults_death_before_accept() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for more in ["", "protocol = \"http2\""] {
        let gate = Gate::start(waits(closed, more));
        for (client, over) in CLIENTS {
            let got = over(&gate, "/a", &[]);
            assert_eq!(
                (got.status, &*got.code),
                (502, "origin_unreachable"),
                "{client} {more}"
            );
        }
    }
}

#[test]
fn origin_faults_each_range_carries_its_own_etag() {
    let one = [
        ("content-range", "bytes 2-5/10"),
        ("etag", "\"v1\""),
        ("content-length", "4"),
    ];
    let two = [
        ("content-range", "bytes 2-5/10"),
        ("etag", "\"v2\""),
        ("content-length", "4"),
    ];
    let old = Origin::start();
    let new = H2Origin::start();
    for (fields, body) in [(&one, "2345"), (&two, "ABCD")] {
        old.on("/f", Script::new().head("206 Partial Content", fields).send(body));
        new.on("/f", vec![head("206", fields), last(body)]);
    }
    for gate in [
        Gate::start(waits(old.address(), "")),
        Gate::start(waits(new.address(), "protocol = \"http2\"")),
    ] {
        let mut client = H2::clear(gate.address());
        let first = client.get(&Token::whole().at("/f"), &[("range", "bytes=2-5")]);
        let second = gate.get(&Token::whole().at("/f"), &[("Range", "bytes=2-5")]);
        assert_eq!(
            (first.header("etag"), second.header("etag")),
            (Some("\"v1\""), Some("\"v2\""))
        );
        assert_eq!((&first.body[..], &second.body[..]), (&b"2345"[..], &b"ABCD"[..]));
    }
}

#[test]
fn origin_faults_a_changed_etag_in_a_download_session_is_502() {
    let fields = |etag: &'static str, range: &'static str, count: &'static str| {
        [
            ("content-range", range),
            ("etag", etag),
            ("content-length", count),
        ]
    };
    let whole = [("etag", "\"v1\""), ("content-length", "10")];
    let (old, new) = (Origin::start(), H2Origin::start());
    old.on("/f", Script::new().head("200 OK", &whole).send("0123456789"));
    new.on("/f", vec![head("200", &whole), last("0123456789")]);
    let rest = fields("\"v2\"", "bytes 2-5/10", "4");
    old.on(
        "/f",
        Script::new().head("206 Partial Content", &rest).send("2345"),
    );
    new.on("/f", vec![head("206", &rest), last("2345")]);
    let single_use = "[route.single_use]\n";
    for (address, more) in [(old.address(), ""), (new.address(), "protocol = \"http2\"")] {
        let gate = Gate::start(conf::impatient(address, "1s") + more + "\n" + &conf::route() + single_use);
        let target = Token::whole().claim("uses", 1).claim("jti", "once").at("/f");
        let first = gate.connect().allow("set-cookie").get(&target, &[]).expect(200);
        assert_eq!(first.text(), "0123456789");
        gate.get(&target, &[("Range", "bytes=2-5")])
            .refused(502, "origin_invalid");
    }
}

#[test]
fn the_table_of_faults_and_the_rows_are_the_same() {
    let page = include_str!("../../docs/ORIGINS.md");
    let documented: BTreeSet<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let mut expected = BTreeSet::new();
    for row in rows() {
        let cell = |want: Option<&Want>| want.map_or("–".to_owned(), Want::text);
        expected.insert(format!(
            "| `{}` | {} | {} |",
            row.name,
            cell(row.http1.as_ref().map(|(_, want)| want)),
            cell(row.http2.as_ref().map(|(_, want)| want))
        ));
    }
    for line in &expected {
        assert!(
            documented.contains(line.as_str()),
            "docs/ORIGINS.md lacks\n{line}"
        );
    }
    for line in documented {
        assert!(
            expected.contains(line),
            "docs/ORIGINS.md has a row that is not tested:\n{line}"
        );
    }
}
