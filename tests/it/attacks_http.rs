//! Attacks through HTTP itself: hop-by-hop and trust headers, splitting, slow clients, ranges, lying origins, script in
//! files, foreign origins, policies that fall away, doors that should not be there.

use std::time::Duration;

use crate::support::origin::pattern;
use crate::support::{Client, End, Gate, Origin, Script, Setup, Token, conf, wait};

fn gate() -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    (origin, gate)
}

#[test]
fn p30_a_nominated_header_is_dropped_and_ours_stays() {
    let origin = Origin::start();
    let more = "identity_headers = { X-Media-Subject = \"sub\" }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    let token = Token::whole().at("/a");
    for connection in [
        "X-Media-Subject",
        "X-Forwarded-For, X-Media-Subject",
        "close, x-media-subject",
        "keep-alive, Range",
        "Host",
    ] {
        let answer = gate.get(
            &token,
            &[
                ("Connection", connection),
                ("X-Media-Subject", "admin"),
                ("X_Media_Subject", "admin"),
                ("x-media-subject", "root"),
                ("X-Forwarded-For", "1.2.3.4"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Authorization", "Basic dTpw"),
                ("Proxy-Connection", "keep-alive"),
                ("TE", "trailers"),
                ("Upgrade", "h2c"),
                ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
                ("Trailer", "X-T"),
                ("User-Agent", "test/1"),
            ],
        );
        answer.expect(200);
        let seen = origin.last();
        assert_eq!(
            seen.header("x-media-subject"),
            Some("customer-42"),
            "{connection}: {seen:?}"
        );
        assert_eq!(
            seen.header("x-forwarded-for"),
            Some("127.0.0.1"),
            "{connection}: {seen:?}"
        );
        assert_eq!(
            seen.header("host"),
            Some(origin.address().to_string().as_str()),
            "{connection}: {seen:?}"
        );
        for name in [
            "x_media_subject",
            "keep-alive",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "upgrade",
            "http2-settings",
            "trailer",
        ] {
            assert_eq!(seen.header(name), None, "{connection}: {seen:?}");
        }
        assert!(
            seen.header("connection")
                .is_none_or(|value| value.eq_ignore_ascii_case("keep-alive")),
            "{seen:?}"
        );
    }
}

#[test]
fn p30_hop_by_hop_and_unknown_headers_of_the_origin_stay_behind() {
    let origin = Origin::start();
    origin.on(
        "/a",
        Script::ok(
            &[
                ("Connection", "keep-alive, X-Secret"),
                ("X-Secret", "internal"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Authenticate", "Basic"),
                ("Upgrade", "h2c"),
                ("Set-Cookie", "session=1"),
                ("Server", "internal/1.0"),
                ("X-Powered-By", "php"),
                ("Via", "1.1 internal-host"),
                ("Access-Control-Allow-Origin", "*"),
                ("Strict-Transport-Security", "max-age=1"),
                ("Link", "<http://internal/>; rel=preload"),
                ("Refresh", "0; url=http://evil/"),
                ("Content-Type", "text/plain"),
                ("ETag", "\"1\""),
            ],
            "body",
        ),
    );
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    // The client's own allow-list fails on whatever slips through.
    let answer = gate
        .get(&Token::whole().at("/a"), &[("Origin", "https://evil.example")])
        .expect(200);
    assert_eq!(
        (answer.header("etag"), answer.header("content-type")),
        (Some("\"1\""), Some("text/plain"))
    );
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let more = "response_headers = [\"x-powered-by\", \"x-secret\"]";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    let mut client = gate.connect().allow("x-powered-by");
    let answer = client.get(&Token::whole().at("/a"), &[]).expect(200);
    assert_eq!(
        answer.header("x-powered-by"),
        Some("php"),
        "listed by the route, and not hop-by-hop"
    );
}

#[test]
fn p31_forged_trust_headers_do_not_count_and_do_not_pass() {
    let (origin, gate) = gate();
    gate.get(
        &Token::whole().at("/a"),
        &[
            ("X-Forwarded-For", "203.0.113.1"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "gopher"),
            ("X-Forwarded-Uri", "/b/secret"),
            ("X-Forwarded-Prefix", "/b"),
            ("X-Forwarded-Method", "DELETE"),
            ("X-Original-URL", "/b/secret"),
            ("X-Rewrite-URL", "/b/secret"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X_Forwarded_User", "admin"),
            ("X-Forwarded-User", "admin"),
            ("Forwarded", "for=203.0.113.1;host=evil.example"),
            ("X-Real-IP", "203.0.113.1"),
            ("True-Client-IP", "203.0.113.1"),
            ("CF-Connecting-IP", "203.0.113.1"),
            ("Via", "1.1 evil"),
        ],
    )
    .expect(200);
    let seen = origin.only();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/a"));
    let raw = String::from_utf8_lossy(&seen.raw).into_owned();
    for forged in ["203.0.113.1", "evil", "gopher", "DELETE", "admin", "secret"] {
        assert!(!raw.contains(forged), "{forged} in {raw}");
    }
    assert_eq!(gate.access(1)[0]["client"], "127.0.0.1");
}

#[test]
fn p31_trap_16_the_client_is_the_rightmost_address_that_is_not_trusted() {
    let origin = Origin::start();
    let gate = Setup::new(conf::http(origin.address()) + &conf::route())
        .server(
            "client_address = { header = \"x-forwarded-for\", trusted = [\"127.0.0.0/8\", \"10.0.0.0/8\"] }",
        )
        .start();
    for (number, (values, client)) in [
        (&["198.51.100.7"][..], "198.51.100.7"),
        (&["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        (&["198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        (&["6.6.6.6", "198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        (&["6.6.6.6, junk"], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let headers: Vec<(&str, &str)> = values.iter().map(|value| ("X-Forwarded-For", *value)).collect();
        let answer = gate.get(&Token::whole().at("/a"), &headers);
        let line = &gate.access(number + 1)[number];
        if answer.status == 200 {
            assert_eq!(line["client"], client, "{values:?}");
        } else {
            assert_eq!(
                (answer.status, values),
                (400, &["6.6.6.6, junk"][..]),
                "only an unreadable chain: {answer:?}"
            );
        }
    }
}

#[test]
fn p33_a_claim_cannot_split_a_header() {
    let origin = Origin::start();
    let more = "identity_headers = { X-Media-Subject = \"sub\" }";
    let gate = Gate::start(
        conf::http(origin.address())
            + &conf::route_with("files", "/", more)
            + &conf::route_with("t", "/t", "scope = \"whole\"\nto = \"/store/{sub}\""),
    );
    for evil in ["a\r\nX-Admin: 1", "a\nb", "a\0b", "a\r", "\u{7f}"] {
        let answer = gate.get(&Token::whole().claim("sub", evil).at("/a"), &[]);
        assert!([401, 403].contains(&answer.status), "{evil:?}: {answer:?}");
        let answer = gate.get(&Token::whole().claim("sub", evil).at("/t/x"), &[]);
        assert!([401, 403].contains(&answer.status), "{evil:?}: {answer:?}");
        let answer = gate.get(&Token::whole().claim("filename", evil).at("/a"), &[]);
        let disposition = answer.header("content-disposition").unwrap_or_default();
        assert!(
            !disposition.contains("X-Admin: 1\"") || !disposition.contains(['\r', '\n']),
            "{disposition}"
        );
    }
    for seen in origin.seen() {
        assert_eq!(seen.header("x-admin"), None);
    }
}

#[test]
fn p33_an_origin_cannot_split_the_answer() {
    let origin = Origin::start();
    for (path, bytes) in [
        (
            "/nul",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nETag: \"a\0b\"\r\n\r\nx",
        ),
        (
            "/cr",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nETag: \"a\rSet-Cookie: x=1\"\r\n\r\nx",
        ),
        (
            "/name",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nETag\r\nX: y\r\n\r\nx",
        ),
        ("/space", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx"),
        (
            "/fold",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nETag: \"a\"\r\n Set-Cookie: x=1\r\n\r\nx",
        ),
        ("/status", "HTTP/1.1 2000 OK\r\nContent-Length: 1\r\n\r\nx"),
        ("/garbage", "SSH-2.0-OpenSSH\r\n\r\n"),
        ("/http9", "<html>hello</html>"),
    ] {
        origin.on(path, Script::new().send(bytes).close());
    }
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    for path in [
        "/nul", "/cr", "/name", "/space", "/fold", "/status", "/garbage", "/http9",
    ] {
        // The client fails on control bytes in values and on names that are not on its list.
        let answer = gate.get(&Token::whole().at(path), &[]);
        assert!(
            answer.status == 502 || (answer.status == 200 && answer.body == b"x"),
            "{path}: {answer:?}"
        );
    }
    for path in ["/nul", "/name", "/status", "/garbage", "/http9"] {
        gate.get(&Token::whole().at(path), &[])
            .refused(502, "origin_invalid");
    }
}

#[test]
fn p35_a_head_that_trickles_is_cut_in_time() {
    let origin = Origin::start();
    let gate = Setup::new(conf::http(origin.address()) + &conf::route())
        .server("header_timeout = \"1s\"")
        .start();
    let mut client = gate.connect().patient(Duration::from_secs(10));
    client.send("GET /a HTTP/1.1\r\nHost: media.exa");
    let (took, (bytes, _)) = wait::timed(|| client.read_to_end());
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    origin.untouched();
    gate.get(&Token::whole().at("/a"), &[]).expect(200);
}

#[test]
fn p35_an_idle_connection_is_closed_in_time() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), "file").unwrap();
    let origin = Origin::start();
    let disk = conf::folder(folder.path()).replace("origin.files", "origin.disk");
    let on_disk = conf::route_with("disk", "/disk", "strip_prefix = true")
        .replace("origin = \"files\"", "origin = \"disk\"");
    let gate = Setup::new(conf::http(origin.address()) + &disk + &conf::route() + &on_disk)
        .server("header_timeout = \"1s\"\nidle_timeout = \"1s\"")
        .start();
    let mut open = Vec::new();
    let mut wait = |what: &'static str, method: &str, target: &str| {
        let mut client = gate.connect().patient(Duration::from_secs(6));
        if !method.is_empty() {
            client.exchange(method, target, &[]);
        }
        if !client.is_closed() {
            open.push(what);
        }
    };
    wait("said nothing", "", "");
    wait("after a refusal", "GET", "/a");
    wait("after a HEAD", "HEAD", &Token::whole().at("/a"));
    wait(
        "after an answer of an HTTP origin",
        "GET",
        &Token::whole().at("/a"),
    );
    wait("after a file", "GET", &Token::whole().at("/disk/f"));
    assert!(open.is_empty(), "still open after 6 s: {open:?}");
}

#[test]
fn p35_a_body_that_never_comes_is_given_up_in_time() {
    let origin = Origin::start();
    let more = "methods = [\"GET\", \"PUT\"]\nmax_upload = \"1KiB\"";
    let gate = Setup::new(conf::impatient(origin.address(), "1s") + &conf::route_with("files", "/", more))
        .server("header_timeout = \"1s\"\nidle_timeout = \"1s\"\nstall_timeout = \"5s\"")
        .start();
    let target = Token::whole()
        .claim("methods", serde_json::json!(["PUT"]))
        .at("/a");
    let mut client = gate.connect();
    client.request("PUT", &target, &[("Content-Length", "100")]);
    client.send("only this");
    let (bytes, _) = client.read_to_end();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    let line = &gate.access(1)[0];
    assert!(
        line["code"] == "timeout" || line["end"] == "cut_by_client",
        "{line}"
    );
}

#[test]
fn p35_a_reader_that_takes_nothing_is_cut_in_time() {
    let origin = Origin::start();
    origin.file("/big", pattern(64 << 20));
    let gate = Setup::new(conf::http(origin.address()) + &conf::route())
        .server("stall_timeout = \"5s\"")
        .start();
    let mut client = gate.connect();
    client.request("GET", &Token::whole().at("/big"), &[]);
    assert_eq!(client.read_only_head().status, 200);
    // Nothing is read from here on; the line of the access log stands when the gate gives up.
    let line = &gate.access(1)[0];
    assert_eq!(line["end"], "cut_by_client", "{line}");
    assert!(line["bytes"].as_u64().unwrap() < 64 << 20, "{line}");
}

#[test]
fn p36_ranges_never_multiply_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let content = pattern(10_000);
    std::fs::write(folder.path().join("f"), &content).unwrap();
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    let many: String = (0..1000)
        .map(|number| format!("{}-{}", number * 2, number * 2))
        .collect::<Vec<_>>()
        .join(",");
    let same = vec!["0-"; 1300].join(",");
    for range in [
        format!("bytes={many}"),
        format!("bytes={same}"),
        "bytes=0-,0-,0-".into(),
        "bytes=0-9999,0-9999".into(),
        "bytes=0-5000,4000-9999,3000-".into(),
        "bytes=-10000,-10000,-10000".into(),
        "bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0".into(),
    ] {
        let answer = gate.get(&Token::whole().at("/f"), &[("Range", &range)]);
        assert!([200, 206, 416].contains(&answer.status), "{answer:?}");
        assert!(
            answer.body.len() <= content.len() + 4096,
            "{}: {} bytes",
            &range[..30.min(range.len())],
            answer.body.len()
        );
        assert_eq!(answer.end, End::Complete);
    }
}

#[test]
fn p36_ranges_that_say_nothing_get_the_whole_or_416() {
    let folder = tempfile::tempdir().unwrap();
    let content = pattern(100);
    std::fs::write(folder.path().join("f"), &content).unwrap();
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    for range in [
        "bytes=",
        "bytes",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=0-1-2",
        "bytes=+1-2",
        "bytes=1 - 2",
        "bytes=--1",
        "octets=0-1",
        "bytes:0-1",
        "bytes=0x0-0x1",
        "",
    ] {
        let answer = gate.get(&Token::whole().at("/f"), &[("Range", range)]);
        assert!(
            answer.status == 416 || (answer.status == 200 && answer.body == content),
            "{range}: {answer:?}"
        );
    }
    for (range, status) in [
        ("bytes=-0", 416),
        ("bytes=100-", 416),
        ("bytes=99999999999999999999999999-", 416),
        ("bytes=0-99999999999999999999999999", 206),
        ("bytes=-99999999999999999999999999", 206),
        ("bytes=18446744073709551615-18446744073709551615", 416),
    ] {
        let answer = gate.get(&Token::whole().at("/f"), &[("Range", range)]);
        let whole = answer.status == 200 && answer.body == content;
        assert!(answer.status == status || whole, "{range}: {answer:?}");
        if answer.status == 416 {
            assert_eq!(answer.header("content-range"), Some("bytes */100"), "{range}");
        }
    }
    let mut client = gate.connect();
    client.send(b"GET ");
    client.send(Token::whole().at("/f"));
    client.send(b" HTTP/1.1\r\nHost: media.example.com\r\nRange: bytes=0-\xff\r\n\r\n");
    let answer = client.read();
    assert!([200, 400, 416].contains(&answer.status), "{answer:?}");
}

#[test]
fn p37_a_changed_file_is_never_spliced_by_if_range() {
    let origin = Origin::start();
    origin.file_with("/a", "new content", &[("ETag", "\"v2\"")]);
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    let answer = gate
        .get(
            &Token::whole().at("/a"),
            &[("Range", "bytes=4-"), ("If-Range", "\"v1\"")],
        )
        .expect(200);
    assert_eq!(answer.text(), "new content");
    assert_eq!(origin.only().header("if-range"), Some("\"v1\""));
    let answer = gate
        .get(
            &Token::whole().at("/a"),
            &[("Range", "bytes=4-"), ("If-Range", "\"v2\"")],
        )
        .expect(206);
    assert_eq!(
        (answer.text().as_str(), answer.header("etag")),
        ("content", Some("\"v2\""))
    );
}

#[test]
fn p43_files_with_script_in_them_are_sandboxed() {
    let origin = Origin::start();
    let kinds = [
        "text/html",
        "TEXT/HTML; charset=x",
        "image/svg+xml",
        "application/xhtml+xml",
        "text/xml",
        "application/xml",
    ];
    for (number, kind) in kinds.iter().enumerate() {
        origin.on(
            &format!("/s{number}"),
            Script::ok(&[("Content-Type", kind)], "<script>alert(1)</script>"),
        );
        origin.on(
            &format!("/d{number}"),
            Script::ok(&[("Content-Type", kind)], "<script>alert(1)</script>"),
        );
        origin.on(
            &format!("/o{number}"),
            Script::ok(&[("Content-Type", kind)], "<script>alert(1)</script>"),
        );
    }
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    for (number, kind) in kinds.iter().enumerate() {
        let answer = gate
            .get(&Token::whole().at(&format!("/s{number}")), &[])
            .expect(200);
        let policies: Vec<&str> = answer.all("content-security-policy").collect();
        assert!(
            policies.iter().any(|policy| policy.contains("sandbox")),
            "{kind}: {answer:?}"
        );
        assert!(
            !policies.iter().any(|policy| policy.contains("allow-scripts")),
            "{kind}: {answer:?}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let more = "active_content = \"attachment\"";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    for (number, kind) in kinds.iter().enumerate() {
        let answer = gate
            .get(&Token::whole().at(&format!("/d{number}")), &[])
            .expect(200);
        let disposition = answer.header("content-disposition").unwrap_or_default();
        assert!(disposition.starts_with("attachment"), "{kind}: {answer:?}");
    }
    let more = "active_content = \"allow\"";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    let answer = gate.get(&Token::whole().at("/o0"), &[]).expect(200);
    assert_eq!(
        (
            answer.header("content-security-policy"),
            answer.header("content-disposition")
        ),
        (None, None)
    );
}

#[test]
fn p43_nothing_of_the_request_is_echoed_on_a_page() {
    let (_origin, gate) = gate();
    let person = [
        ("Accept", "text/html"),
        ("Sec-Fetch-Dest", "document"),
        ("Referer", "http://evil.example/<script>alert(1)</script>"),
        ("User-Agent", "<script>alert(2)</script>"),
    ];
    for target in [
        "/%3Cscript%3Ealert(3)",
        "/<script>alert(4)</script>",
        "/a?x=%3Cscript%3E&t=%3Cscript%3E",
        "/a?t=\"><script>",
    ] {
        let mut client = gate.connect();
        client.request("GET", target, &person);
        let Ok(answer) = client.try_read() else { continue };
        assert!(answer.status >= 400);
        let page = answer.text().to_lowercase();
        assert!(
            !page.contains("<script") && !page.contains("alert("),
            "{target}: {page}"
        );
    }
}

#[test]
fn p44_a_foreign_origin_is_never_reflected() {
    let origin = Origin::start();
    let more = "cors = { origins = [\"https://app.example.com\"], credentials = true }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    for from in [
        "https://evil.example",
        "null",
        "file://",
        "https://app.example.com\t",
        "https://app.example.comx",
    ] {
        let answer = gate.get(&Token::whole().at("/a"), &[("Origin", from)]);
        if from.trim() == "https://app.example.com" {
            continue;
        }
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{from}: {answer:?}"
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            None,
            "{from}: {answer:?}"
        );
    }
    let answer = gate.get(&Token::whole().at("/a"), &[]).expect(200);
    assert!(
        answer
            .all("vary")
            .any(|vary| vary.to_lowercase().contains("origin")),
        "an answer without CORS must not be stored for one with it: {answer:?}"
    );
}

#[test]
fn p45_a_route_without_keys_scheme_or_carrier_does_not_start() {
    let origin = Origin::start();
    let good = conf::http(origin.address()) + &conf::route();
    for (what, toml) in [
        (
            "no carrier",
            good.replace(
                r#"{ query = "t" }, { path_prefix = "~" }, { bearer = {} }, { cookie = "media" }"#,
                "",
            ),
        ),
        (
            "unknown keys",
            good.replace("keys = \"media\"", "keys = \"nobody\""),
        ),
        (
            "no scheme",
            good.split("[route.scheme.jwt]").next().unwrap().to_owned(),
        ),
        (
            "no issuer",
            good.replace("issuer = \"https://issuer.test\"\n", ""),
        ),
        ("no audience", good.replace("audience = \"media\"\n", "")),
        (
            "an unknown key",
            good.replace("path = \"/\"", "path = \"/\"\npublic = true"),
        ),
        (
            "an unknown scope",
            good.replace("path = \"/\"", "path = \"/\"\nscope = \"everything\""),
        ),
        (
            "an unknown origin",
            good.replace("origin = \"files\"", "origin = \"nobody\""),
        ),
        (
            "two routes of one path",
            good.clone() + &conf::route_with("again", "/", ""),
        ),
    ] {
        let error = Setup::new(toml).refused();
        assert!(!error.is_empty(), "{what}");
    }
}

#[test]
fn p45_weak_or_broken_keys_do_not_start() {
    let origin = Origin::start();
    for (what, keys) in [
        ("no JSON", "{".to_owned()),
        ("no set", "{}".into()),
        (
            "a short secret",
            crate::support::mint::jwks(&[
                serde_json::json!({ "kty": "oct", "alg": "HS256", "k": "c2hvcnQ" }),
            ]),
        ),
        (
            "no algorithm",
            crate::support::mint::jwks(&[
                serde_json::json!({ "kty": "oct", "k": "bWVkaWEta2V5LW1lZGlhLWtleS1tZWRpYS1rZXktMDAwMQ" }),
            ]),
        ),
        (
            "alg none",
            crate::support::mint::jwks(&[
                serde_json::json!({ "kty": "oct", "alg": "none", "k": "bWVkaWEta2V5LW1lZGlhLWtleS1tZWRpYS1rZXktMDAwMQ" }),
            ]),
        ),
        ("an empty set", crate::support::mint::jwks(&[])),
    ] {
        let error = Setup::new(conf::http(origin.address()) + &conf::route())
            .file("media.jwks.json", keys)
            .refused();
        assert!(error.contains("keys.media"), "{what}: {error}");
        assert!(
            !error.contains("c2hvcnQ"),
            "{what}: the key stands in the error: {error}"
        );
    }
}

#[test]
fn p46_health_metrics_and_issuer_are_not_on_the_gates_listener() {
    let origin = Origin::start();
    let gate = Gate::start(
        conf::http(origin.address())
            + "[media.store]\nfile = \"{dir}/catalogue.toml\"\n"
            + &conf::route()
            + &conf::issuer(conf::RULE),
    );
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/v1/tokens",
        "/.well-known/jwks.json",
        "/x/..;/metrics",
        "/%6detrics",
        "/metrics/",
        "/media/01F9/download-token",
        "/admin",
        "//metrics",
        "/./metrics",
    ] {
        for method in ["GET", "POST"] {
            let mut client = gate.connect();
            client.request(
                method,
                path,
                &[
                    ("Content-Length", "0"),
                    ("Authorization", &Token::caller("b", "media:read").bearer()),
                ],
            );
            let answer = client.read();
            assert!(
                [400, 401, 404, 405].contains(&answer.status),
                "{method} {path}: {answer:?}"
            );
        }
    }
    origin.untouched();
    gate.get(&Token::whole().at("/metrics"), &[]).expect(200);
    assert_eq!(
        origin.only().target,
        "/metrics",
        "with a token it is a file like any other"
    );
}

#[test]
fn p46_the_admin_listener_serves_no_files_and_changes_nothing() {
    let (origin, gate) = gate();
    let admin = gate.admin();
    for (method, target) in [
        ("GET", Token::whole().at("/a")),
        ("GET", Token::whole().before("/a")),
        ("POST", "/metrics".to_owned()),
        ("DELETE", "/healthz".to_owned()),
        ("POST", "/stop".to_owned()),
        ("GET", "/debug/pprof".to_owned()),
        ("GET", "/config".to_owned()),
    ] {
        let answer =
            Client::connect(admin)
                .any_header()
                .exchange(method, &target, &[("Content-Length", "0")]);
        assert!(
            [400, 404, 405].contains(&answer.status),
            "{method} {target}: {answer:?}"
        );
    }
    origin.untouched();
    assert_eq!(gate.admin_get("/healthz").status, 200);
}
