//! Attacks on the path: what is judged is what is fetched, byte for byte, and what has two readings is refused.

use std::time::Duration;

use crate::support::client::HOST;
use crate::support::{Gate, Origin, Response, Token, conf, wait};

/// A token that opens `/a/**` alone; the secret lies at `/b/secret`.
fn token() -> Token {
    Token::opening(&["/a/**"])
}

fn gate() -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    (origin, gate)
}

/// Asks with the token in the query and in the path.
fn both(gate: &Gate, path: &str) -> [Response; 2] {
    [
        gate.get(&token().at(path), &[]),
        gate.get(&token().before(path), &[]),
    ]
}

#[track_caller]
fn refused_everywhere(paths: &[&str], statuses: &[u16]) {
    let (origin, gate) = gate();
    for path in paths {
        for answer in both(&gate, path) {
            assert!(statuses.contains(&answer.status), "{path}: {answer:?}");
        }
    }
    origin.untouched();
}

#[test]
fn p1_dot_segments_never_reach_the_origin() {
    refused_everywhere(
        &[
            "/a/../b/secret",
            "/a/..",
            "/a/.",
            "/a/./x",
            "/../a/x",
            "/a/%2e%2e/b/secret",
            "/a/%2E%2E/b/secret",
            "/a/.%2e/b/secret",
            "/a/%2e./b/secret",
            "/a/%2e/x",
            "/a/..;/b/secret",
            "/a/..;x=y/b/secret",
            "/a/%2e%2e;/b/secret",
            "/a/..%3b/b/secret",
            "/a/x/../../b/secret",
        ],
        &[400],
    );
}

#[test]
fn p1_what_was_judged_is_what_is_fetched() {
    let (origin, gate) = gate();
    for (asked, fetched) in [
        ("/a/x", "/a/x"),
        ("/a/...", "/a/..."),
        ("/a/.hidden", "/a/.hidden"),
        ("/a/..x", "/a/..x"),
        ("/a/%7Euser", "/a/~user"),
        ("/a/%78", "/a/x"),
        ("/a/%c3%a4", "/a/%C3%A4"),
        ("/a/x%20y", "/a/x%20y"),
        ("/a/x%3By", "/a/x;y"),
        ("/a/x;v=1", "/a/x;v=1"),
        ("/a/x%3Fy", "/a/x%3Fy"),
        ("/a/x%23y", "/a/x%23y"),
        ("/a/100%25", "/a/100%25"),
        ("/a/x+y", "/a/x+y"),
        ("/a/(x)!*'", "/a/(x)!*'"),
        ("/a/x?q=%2e%2e%2f", "/a/x?q=%2e%2e%2f"),
        ("/a/", "/a/"),
        ("/a/x/", "/a/x/"),
        ("/%61/x", "/a/x"),
    ] {
        for answer in both(&gate, asked) {
            assert_eq!(answer.status, 200, "{asked}: {answer:?}");
            assert_eq!(origin.last().target, fetched, "{asked}");
        }
    }
}

#[test]
fn p2_encoded_slashes_backslashes_and_control_bytes_are_refused() {
    refused_everywhere(
        &[
            "/a%2fx",
            "/a%2Fx",
            "/a/%2f",
            "/a/%2e%2e%2fb",
            "/a/..%2fb/secret",
            "/a/..%5cb",
            "/a/x%5cy",
            "/a/x%5Cy",
            "/a/x\\y",
            "/a/..\\b\\secret",
            "/a/x%00",
            "/a/x%00.jpg",
            "/a/%01",
            "/a/%0d%0aX:y",
            "/a/%7f",
            "/a/%09",
        ],
        &[400],
    );
}

#[test]
fn p2_broken_encodings_are_refused() {
    refused_everywhere(&["/a/%", "/a/%2", "/a/%zz", "/a/x%u002f", "/a/%%32%65"], &[400]);
}

#[test]
fn p3_double_encodings_of_what_is_refused_are_refused() {
    refused_everywhere(
        &[
            "/a/%252e%252e%252fb/secret",
            "/a/%252e%252e/b/secret",
            "/a/%252f",
            "/a/%255c",
            "/a/%2500",
            "/a/%25252f",
            "/a/%2525252e%2525252e/b",
            "/a/%25%32%66",
            "/a/%25%35%63x",
        ],
        &[400],
    );
}

#[test]
fn p3_a_percent_sign_that_hides_nothing_is_data_and_decoded_once() {
    let (origin, gate) = gate();
    for path in ["/a/50%25", "/a/%2541", "/a/%25zz", "/a/%2520"] {
        gate.get(&token().at(path), &[]).expect(200);
        assert_eq!(origin.last().target, path);
    }
}

#[test]
fn p4_other_spellings_open_nothing_else() {
    refused_everywhere(
        &[
            "//a/x",
            "/a//x",
            "/a/x//",
            "///",
            "//b/secret",
            "/A/x",
            "/a%20/x",
            "/a./x",
            "/a;x/y",
            "/a%00/x",
            "/%c0%af",
            "/a/%c0%ae%c0%ae/b",
            "/a/%e0%80%af",
            "/a/%ff",
            "/a/%ed%a0%80",
            "/b;/a/x",
        ],
        &[400, 403],
    );
}

#[test]
fn p5_a_prefix_ends_at_a_segment() {
    let (origin, gate) = gate();
    for (opens, path, allowed) in [
        ("/a", "/a", true),
        ("/a", "/ab/secret", false),
        ("/a", "/a/secret", false),
        ("/a/", "/ab/secret", false),
        ("/a/", "/a", false),
        ("/a/", "/a/x", true),
        ("/a/**", "/ab/secret", false),
    ] {
        let answer = gate.get(&Token::opening(&[opens]).at(path), &[]);
        assert_eq!(
            answer.status,
            if allowed { 200 } else { 403 },
            "{opens} {path}: {answer:?}"
        );
    }
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn p6_globs_match_the_whole_path_or_nothing() {
    let (origin, gate) = gate();
    for (glob, path) in [
        ("/preview/*", "/x/preview/y"),
        ("/preview/*", "/preview/x/y"),
        ("/preview/**", "/x/preview/y"),
        ("/*/preview", "/x/preview/y"),
        ("/a/*.jpg", "/a/x.jpg.exe"),
        ("/a/*.jpg", "/a/x/y.jpg"),
        ("/a/x?", "/a/xy"),
        ("/a/[xy]", "/a/x"),
        ("/a/.*", "/a/x"),
    ] {
        let answer = gate.get(&Token::opening(&[glob]).at(path), &[]);
        assert!([401, 403].contains(&answer.status), "{glob} {path}: {answer:?}");
    }
    gate.get(&Token::opening(&["/preview/**"]).at("/preview/../b"), &[])
        .refused(400, "bad_path");
    origin.untouched();
}

#[test]
fn p6_a_hard_glob_costs_no_time() {
    let (_origin, gate) = gate();
    let glob = format!("/{}z", "**a".repeat(200));
    let path = format!("/{}", "a".repeat(6000));
    let target = Token::opening(&[&glob]).at(&path);
    let (took, answer) = wait::timed(|| gate.get(&target, &[]));
    assert!([401, 403].contains(&answer.status), "{answer:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn p7_a_prefix_that_is_taken_off_is_taken_off_the_canonical_path() {
    let origin = Origin::start();
    let gate =
        Gate::start(conf::http(origin.address()) + &conf::route_with("api", "/api", "strip_prefix = true"));
    let token = Token::whole();
    for (asked, fetched) in [
        ("/api/x", "/x"),
        ("/%61pi/x", "/x"),
        ("/ap%69/%78%20y", "/x%20y"),
        ("/api/%C3%A4/y", "/%C3%A4/y"),
        ("/api/api/x", "/api/x"),
        ("/api", "/"),
        ("/api/", "/"),
    ] {
        gate.get(&token.at(asked), &[]).expect(200);
        assert_eq!(origin.last().target, fetched, "{asked}");
    }
    let before = origin.seen().len();
    for asked in [
        "/api%2e/x",
        "/apix",
        "/api%2fx",
        "/API/x",
        "/api/../x",
        "/api%00/x",
        "/x/api/y",
        "/api;/x",
        "/api//x",
    ] {
        let answer = gate.get(&token.at(asked), &[]);
        assert!([400, 403, 404].contains(&answer.status), "{asked}: {answer:?}");
    }
    assert_eq!(origin.seen().len(), before);
}

#[test]
fn p7_a_base_path_of_the_origin_cannot_be_left() {
    let origin = Origin::start();
    let toml = conf::http(origin.address()).replace(
        &format!("{}\"", origin.address()),
        &format!("{}/base\"", origin.address()),
    );
    let gate = Gate::start(toml + &conf::route());
    gate.get(&Token::whole().at("/x"), &[]).expect(200);
    assert_eq!(origin.only().target, "/base/x");
    for path in ["/../x", "/%2e%2e/x", "/x/../../y"] {
        gate.get(&Token::whole().at(path), &[]).refused(400, "bad_path");
    }
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn p8_targets_in_other_forms_are_refused_or_read_by_their_authority() {
    let origin = Origin::start();
    let more = format!("host = \"{HOST}\"");
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", &more));
    let good = Token::whole().at("/a/x");
    for (target, host) in [
        (format!("http://evil.example{good}"), HOST),
        (format!("http://{HOST}:80@evil.example{good}"), HOST),
        (format!("http://user@{HOST}{good}"), HOST),
        ("admin".into(), HOST),
        ("*".into(), HOST),
        (good.trim_start_matches('/').to_owned(), HOST),
        (format!("ftp://{HOST}{good}"), "evil.example"),
        (good.clone(), "evil.example"),
        (good.clone(), ""),
    ] {
        let mut client = gate.connect();
        client.request("GET", &target, &[("Host", host)]);
        if let Ok(answer) = client.try_read() {
            assert!(
                [400, 401, 404, 421].contains(&answer.status),
                "{target} {host}: {answer:?}"
            );
        }
    }
    origin.untouched();
    gate.get(&format!("http://{HOST}{good}"), &[]).expect(200);
    assert_eq!(origin.only().target, "/a/x", "path only, without scheme and host");
    gate.get(&good, &[("Host", &HOST.to_uppercase())]).expect(200);
    gate.get(&good, &[("Host", &format!("{HOST}:8080"))]).expect(200);
}

#[test]
fn p8_a_host_is_needed_exactly_once() {
    let (origin, gate) = gate();
    let good = Token::whole().at("/a");
    for head in [
        format!("GET {good} HTTP/1.1\r\n\r\n"),
        format!("GET {good} HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n\r\n"),
        format!("GET {good} HTTP/1.1\r\nHost: {HOST}\r\nHost: evil.example\r\n\r\n"),
        format!("GET {good} HTTP/1.1\r\nHost: {HOST}, evil.example\r\n\r\n"),
        format!("GET {good} HTTP/1.1\r\nHost: {HOST}/x\r\n\r\n"),
        format!("GET {good} HTTP/1.1\r\nHost: a b\r\n\r\n"),
        format!("GET {good} HTTP/1.1\r\nHost : {HOST}\r\n\r\n"),
    ] {
        let mut client = gate.connect();
        client.send(&head);
        if let Ok(answer) = client.try_read() {
            assert_eq!(answer.status, 400, "{head}: {answer:?}");
        }
    }
    origin.untouched();
}

#[test]
fn p8_what_follows_a_fragment_mark_never_reaches_the_origin() {
    let (origin, gate) = gate();
    let text = token().text();
    for target in [
        format!("/a/x#/../../b/secret?t={text}"),
        format!("/b/secret#/a/x?t={text}"),
    ] {
        let mut client = gate.connect();
        client.request("GET", &target, &[]);
        if let Ok(answer) = client.try_read() {
            assert!([400, 401].contains(&answer.status), "{target}: {answer:?}");
        }
    }
    origin.untouched();
    let mut client = gate.connect();
    client.request("GET", &format!("/a/x?t={text}#/../../b/secret"), &[]);
    let answer = client.read();
    if answer.status == 200 {
        assert_eq!(origin.only().target, "/a/x");
    } else {
        assert!([400, 401].contains(&answer.status), "{answer:?}");
        origin.untouched();
    }
}

#[test]
fn p8_tunnels_and_echoes_are_refused() {
    let (origin, gate) = gate();
    let good = Token::whole().at("/a");
    for (method, target) in [
        ("CONNECT", "media.example.com:80"),
        ("CONNECT", good.as_str()),
        ("TRACE", good.as_str()),
        ("TRACE", "*"),
    ] {
        let mut client = gate.connect();
        client.request(method, target, &[]);
        if let Ok(answer) = client.try_read() {
            assert!(
                [400, 405].contains(&answer.status),
                "{method} {target}: {answer:?}"
            );
        }
    }
    origin.untouched();
}

#[test]
fn p9_more_than_one_value_of_a_carrier_is_refused() {
    let (origin, gate) = gate();
    let good = Token::whole().text();
    let other = Token::whole().claim("jti", "another").text();
    for query in [
        format!("t={good}&t={other}"),
        format!("t={other}&t={good}"),
        format!("t={good}&t="),
        format!("t=&t={good}"),
        format!("t={good}&x=1&%74={other}"),
        format!("t={good}&t={good}"),
        format!("t&t={good}"),
    ] {
        gate.get(&format!("/a?{query}"), &[]).refused(400, "bad_request");
    }
    origin.untouched();
}

#[test]
fn p9_names_that_only_look_like_the_carriers_carry_nothing() {
    let (origin, gate) = gate();
    let good = Token::whole().text();
    for query in [
        format!("T={good}"),
        format!("t%5b%5d={good}"),
        format!("t[]={good}"),
        format!("x=1;t={good}"),
        format!("%2574={good}"),
        format!("+t={good}"),
        format!("t%00={good}"),
        format!("?t={good}"),
    ] {
        gate.get(&format!("/a?{query}"), &[])
            .refused(401, "token_missing");
    }
    origin.untouched();
}

#[test]
fn p9_tokens_in_all_carriers_are_all_taken_out() {
    let (origin, gate) = gate();
    let one = Token::whole();
    let two = Token::whole().claim("jti", "second");
    let three = Token::whole().claim("jti", "third");
    gate.get(
        &one.at("/a"),
        &[
            ("Authorization", &two.bearer()),
            ("Cookie", &format!("media={}", three.text())),
        ],
    )
    .expect(200);
    let seen = origin.only();
    let raw = String::from_utf8_lossy(&seen.raw).into_owned();
    for token in [one, two, three] {
        assert!(!raw.contains(&token.text()), "{raw}");
    }
}
