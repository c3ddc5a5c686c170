//! P38: there is no cache, so there is nothing to poison. Every request is answered with what the origin said to this
//! request and to no other; and what we say about caching keeps a real shared cache in front of us from mixing people up.

use std::net::SocketAddr;

use crate::chains::caching_nginx;
use crate::support::origin::pattern;
use crate::support::{Client, Gate, Origin, Response, Script, Setup, Token, conf};

/// An origin that answers every request for a path with a number of its own, and would like all of it to be shared.
fn numbering(origin: &Origin, path: &str, status: &str) {
    for number in 0..40 {
        let headers = [
            ("Content-Type", "text/plain"),
            ("Cache-Control", "public, max-age=3600, s-maxage=3600, immutable"),
            ("CDN-Cache-Control", "max-age=3600"),
            ("Surrogate-Control", "max-age=3600"),
            ("X-Accel-Expires", "3600"),
            ("Expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
            ("Age", "1"),
            ("Set-Cookie", "session=of-somebody"),
            ("Vary", "Accept-Encoding"),
        ];
        origin.on(path, Script::answer(status, &headers, format!("answer {number}")));
    }
}

#[test]
fn p38_every_request_gets_the_answer_that_the_origin_gave_to_it() {
    let origin = Origin::start();
    numbering(&origin, "/a", "200 OK");
    let more = "identity_headers = { X-Media-Subject = \"sub\" }\n";
    let gate = Setup::new(
        conf::http(origin.address())
            + &conf::route_with("one", "/", &format!("{more}host = \"one.example\""))
            + &conf::route_with("two", "/", &format!("{more}host = \"two.example\"")),
    )
    .start();
    let ask = |subject: &str, host: &str, headers: &[(&str, &str)]| {
        let mut all = vec![("Host", host)];
        all.extend_from_slice(headers);
        gate.get(&Token::whole().claim("sub", subject).at("/a"), &all)
    };
    let mut number = 0;
    // Whatever a cache might leave out of its key: who, which host, which part, which coding, a forwarded host.
    for subject in ["customer-42", "customer-43"] {
        for host in ["one.example", "two.example"] {
            for headers in [
                &[][..],
                &[],
                &[(
                    "Accept-Encoding",
                    "gzip;q=0.1, br, x\u{7f}".trim_end_matches('\u{7f}'),
                )],
                &[("Accept-Encoding", "gzip")],
                &[("X-Forwarded-Host", "evil.example")],
                &[("X-Forwarded-Scheme", "nothttps")],
                &[("If-None-Match", "\"1\"")],
            ] {
                let answer = ask(subject, host, headers).expect(200);
                assert_eq!(
                    answer.text(),
                    format!("answer {number}"),
                    "{subject} {host} {headers:?}"
                );
                let seen = origin.last();
                assert_eq!(seen.header("x-media-subject"), Some(subject));
                for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with("X-")) {
                    assert_eq!(seen.header(&name.to_ascii_lowercase()), Some(*value), "{seen:?}");
                }
                number += 1;
            }
        }
    }
    assert_eq!(origin.seen().len(), number, "one request each");
}

#[test]
fn p38_requests_at_the_same_time_are_not_merged() {
    let origin = Origin::start();
    numbering(&origin, "/a", "200 OK");
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    let target = Token::whole().at("/a");
    let mut texts: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| gate.get(&target, &[]).expect(200).text()))
            .collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    texts.sort();
    texts.dedup();
    assert_eq!(
        (texts.len(), origin.seen().len()),
        (16, 16),
        "an answer was given twice: {texts:?}"
    );
}

#[test]
fn p38_ranges_and_whole_files_never_stand_in_for_each_other() {
    let origin = Origin::start();
    let content = pattern(1000);
    origin.file("/f", &content);
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    let target = Token::whole().at("/f");
    for _ in 0..2 {
        for (range, status, bytes) in [
            (Some("bytes=0-9"), 206, &content[..10]),
            (None, 200, &content[..]),
            (Some("bytes=990-"), 206, &content[990..]),
            (Some("bytes=2000-"), 416, &[][..]),
            (None, 200, &content[..]),
            (Some("bytes=0-9"), 206, &content[..10]),
        ] {
            let headers: Vec<_> = range.map(|range| ("Range", range)).into_iter().collect();
            let answer = gate.get(&target, &headers).expect(status);
            assert!(status == 416 || answer.body == bytes, "{range:?}");
        }
    }
    assert_eq!(origin.seen().len(), 12);
}

#[test]
fn p38_trap_15_nothing_that_is_sent_may_be_shared_and_no_refusal_be_kept() {
    let origin = Origin::start();
    for (path, status) in [
        ("/200", "200 OK"),
        ("/206", "206 Partial Content"),
        ("/301", "301 Moved Permanently"),
        ("/302", "302 Found"),
        ("/304", "304 Not Modified"),
        ("/404", "404 Not Found"),
        ("/410", "410 Gone"),
        ("/412", "412 Precondition Failed"),
        ("/416", "416 Range Not Satisfiable"),
        ("/500", "500 Internal Server Error"),
        ("/502", "502 Bad Gateway"),
        ("/503", "503 Service Unavailable"),
    ] {
        let mut headers = vec![
            (
                "Cache-Control",
                "public, max-age=3600, s-maxage=3600, stale-if-error=3600",
            ),
            ("Set-Cookie", "session=of-somebody"),
            ("Expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ];
        if path == "/206" {
            headers.push(("Content-Range", "bytes 0-3/9"));
        }
        if path.starts_with("/30") && path != "/304" {
            headers.push(("Location", "/200"));
        }
        let script = match path {
            "/304" => Script::new().head(status, &headers),
            _ => Script::answer(status, &headers, "body"),
        };
        origin.on(path, script);
    }
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    let check = |what: &str, answer: &Response| {
        let directive = answer
            .header("cache-control")
            .unwrap_or_else(|| panic!("{what}: {answer:?}"));
        let words: Vec<&str> = directive.split(", ").collect();
        assert!(
            !words
                .iter()
                .any(|word| word.starts_with("public") || word.starts_with("s-maxage"))
        );
        let refused = answer.status >= 400 && answer.status != 412;
        let wanted = if refused { "no-store" } else { "private" };
        assert_eq!(words[0], wanted, "{what}: {answer:?}");
        // `Set-Cookie` and `Expires` are not on the client's list, which fails on them.
    };
    for path in [
        "/200", "/301", "/302", "/404", "/410", "/412", "/416", "/500", "/502", "/503",
    ] {
        check(path, &gate.get(&Token::whole().at(path), &[]));
    }
    check(
        "206",
        &gate.get(&Token::whole().at("/206"), &[("Range", "bytes=0-3")]),
    );
    check(
        "304",
        &gate.get(&Token::whole().at("/304"), &[("If-None-Match", "\"x\"")]),
    );
    check("no token", &gate.get("/200", &[]));
    check(
        "another scope",
        &gate.get(&Token::opening(&["/b"]).at("/200"), &[]),
    );
    check("expired", &gate.get(&Token::whole().expires(1).at("/200"), &[]));
}

#[test]
fn p38_trap_14_a_shared_cache_in_front_that_forgets_the_token_still_mixes_nobody_up() {
    let origin = Origin::start();
    for path in ["/a", "/moved", "/gone"] {
        let status = match path {
            "/moved" => "302 Found",
            "/gone" => "404 Not Found",
            _ => "200 OK",
        };
        for number in 0..10 {
            let headers = [
                ("Cache-Control", "public, max-age=3600"),
                ("Content-Type", "text/plain"),
                ("Location", "/a"),
            ];
            origin.on(path, Script::answer(status, &headers, format!("answer {number}")));
        }
    }
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    // Its key is the path alone: neither the token nor the host. What says `private` it may not keep.
    let cache = caching_nginx(gate.address());
    let ask = |address: SocketAddr, target: &str| Client::connect(address).any_header().get(target, &[]);
    for number in 0..3 {
        let answer = ask(
            cache.address,
            &Token::whole().claim("sub", format!("c{number}")).at("/a"),
        );
        assert_eq!(answer.text(), format!("answer {number}"), "{answer:?}");
    }
    assert_eq!(ask(cache.address, "/a").status, 401, "somebody without a token");
    assert_eq!(
        ask(cache.address, &Token::opening(&["/b"]).at("/a")).status,
        403,
        "a token for something else"
    );
    assert_eq!(
        ask(cache.address, &Token::whole().at("/a")).status,
        200,
        "no refusal was kept"
    );
    for path in ["/moved", "/gone"] {
        let before = origin.seen().len();
        for _ in 0..3 {
            ask(cache.address, &Token::whole().at(path));
        }
        assert_eq!(ask(cache.address, path).status, 401);
        assert_eq!(origin.seen().len(), before + 3, "{path}: answered by the cache");
    }
}

#[test]
fn p38_the_cache_of_that_test_does_keep_what_it_may() {
    // Without it, the test above would prove nothing.
    let origin = Origin::start();
    numbering(&origin, "/a", "200 OK");
    let cache = caching_nginx(origin.address());
    origin.on(
        "/b",
        Script::ok(&[("Cache-Control", "public, max-age=60")], "kept"),
    );
    for _ in 0..3 {
        let answer = Client::connect(cache.address).any_header().get("/b?t=x", &[]);
        assert_eq!(answer.text(), "kept");
    }
    assert_eq!(origin.seen().len(), 1);
}
