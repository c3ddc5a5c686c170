//! A token in the query, and its other simple carriers: bearer and cookie. What it opens, for how long, for whom.

use crate::support::mint::{MEDIA, STRANGER, tampered};
use crate::support::{Client, End, Gate, NOW, Origin, Script, Setup, Token, conf};

fn gate() -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    (origin, gate)
}

#[test]
fn a_true_token_opens_its_file_and_is_taken_out() {
    let (origin, gate) = gate();
    let token = Token::opening(&["/a/report.pdf"]);
    let answer = gate.get(&token.at("/a/report.pdf"), &[]).expect(200);
    assert_eq!(answer.text(), "origin says /a/report.pdf");
    assert_eq!(answer.end, End::Complete);
    let seen = origin.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/a/report.pdf")
    );
    assert!(
        !String::from_utf8_lossy(&seen.raw).contains(&token.text()),
        "{seen:?}"
    );
}

#[test]
fn the_same_token_opens_its_file_again_and_again() {
    let (origin, gate) = gate();
    let token = Token::whole().at("/a");
    let mut client = gate.connect();
    for _ in 0..20 {
        client.get(&token, &[]).expect(200);
    }
    assert_eq!(origin.seen().len(), 20);
}

#[test]
fn other_parameters_stay_as_they_are_and_in_order() {
    let (origin, gate) = gate();
    let token = Token::whole().text();
    for (asked, expected) in [
        (format!("/a?x=1&t={token}&y=%2F%20z"), "/a?x=1&y=%2F%20z"),
        (format!("/a?t={token}&x=1"), "/a?x=1"),
        (format!("/a?x=1&t={token}"), "/a?x=1"),
        (
            format!("/a?utm_source=mail&t={token}&fbclid=x.y"),
            "/a?utm_source=mail&fbclid=x.y",
        ),
        (format!("/a?&t={token}"), "/a"),
        (format!("/a?T=1&tt=2&t={token}&xt=3"), "/a?T=1&tt=2&xt=3"),
    ] {
        gate.get(&asked, &[]).expect(200);
        assert_eq!(
            origin.last().target.trim_end_matches(['?', '&']),
            expected,
            "{asked}"
        );
    }
}

#[test]
fn a_percent_encoded_token_is_decoded_once() {
    let (origin, gate) = gate();
    let token = Token::whole().text();
    gate.get(&format!("/a?t={}", token.replace('.', "%2E")), &[])
        .expect(200);
    gate.get(&format!("/a?%74={token}"), &[]).expect(200);
    for seen in origin.seen() {
        assert_eq!(seen.target, "/a");
    }
    gate.get(&format!("/a?t={}", token.replace('.', "%252E")), &[])
        .refused(401, "token_malformed");
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn without_a_token_nothing_opens() {
    let (origin, gate) = gate();
    let answer = gate.get("/a", &[]).refused(401, "token_missing");
    assert_eq!(
        answer
            .header("www-authenticate")
            .map(|value| value.starts_with("Bearer")),
        Some(true)
    );
    origin.untouched();
}

#[test]
fn a_head_request_is_checked_and_answered_without_a_body() {
    let (origin, gate) = gate();
    let mut client = gate.connect();
    let answer = client
        .exchange("HEAD", &Token::whole().at("/abc"), &[])
        .expect(200);
    assert_eq!(answer.header("content-length"), Some("16"));
    assert_eq!(origin.only().method, "HEAD");
    client.exchange("HEAD", "/abc", &[]).expect(401);
    client.get(&Token::whole().at("/abc"), &[]).expect(200);
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn a_token_dies_at_its_expiry_plus_five_seconds() {
    let (origin, gate) = gate();
    let token = Token::whole().expires(NOW + 10).at("/a");
    gate.advance(14);
    gate.get(&token, &[]).expect(200);
    gate.advance(1);
    gate.get(&token, &[]).refused(401, "token_expired");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn leeway_is_what_the_route_says() {
    let origin = Origin::start();
    let gate = Gate::start(
        conf::http(origin.address())
            + &conf::route_with("strict", "/strict", "leeway = \"0s\"")
            + &conf::route_with("lax", "/lax", "leeway = \"30s\""),
    );
    let token = Token::whole().expires(NOW + 10);
    gate.advance(10);
    gate.get(&token.at("/strict/a"), &[])
        .refused(401, "token_expired");
    gate.get(&token.at("/lax/a"), &[]).expect(200);
    gate.advance(30);
    gate.get(&token.at("/lax/a"), &[]).refused(401, "token_expired");
}

#[test]
fn a_token_is_born_at_its_not_before_less_five_seconds() {
    let (origin, gate) = gate();
    let token = Token::whole().claim("nbf", NOW + 10).at("/a");
    gate.advance(4);
    gate.get(&token, &[]).refused(401, "token_not_yet_valid");
    origin.untouched();
    gate.advance(1);
    gate.get(&token, &[]).expect(200);
}

#[test]
fn a_download_that_runs_outlives_its_token() {
    let origin = Origin::start();
    let go_on = crate::support::origin::Signal::default();
    origin.on(
        "/a",
        Script::new()
            .head("200 OK", &[("Content-Length", "10")])
            .send("01234")
            .wait(&go_on)
            .send("56789"),
    );
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    let mut client = gate.connect();
    client.request("GET", &Token::whole().expires(NOW + 10).at("/a"), &[]);
    let head = client.read_only_head();
    assert_eq!(head.status, 200);
    assert_eq!(client.read_bytes(5), b"01234");
    gate.advance(60);
    go_on.raise();
    assert_eq!(client.read_bytes(5), b"56789");
}

#[test]
fn a_changed_or_strange_signature_opens_nothing() {
    let (origin, gate) = gate();
    let good = Token::whole().text();
    gate.get(&format!("/a?t={}", tampered(&good)), &[])
        .refused(401, "token_invalid");
    gate.get(&Token::whole().key(STRANGER).at("/a"), &[])
        .refused(401, "token_invalid");
    origin.untouched();
}

#[test]
fn a_token_opens_what_its_paths_say_and_nothing_else() {
    let (origin, gate) = gate();
    for (paths, path, opens) in [
        (&["/a"][..], "/a", true),
        (&["/a"], "/a/b", false),
        (&["/a"], "/ab", false),
        (&["/a/"], "/a/b/c", true),
        (&["/a/"], "/a", false),
        (&["/a/"], "/ab", false),
        (&["/a/*"], "/a/b", true),
        (&["/a/*"], "/a/b/c", false),
        (&["/a/*.ts"], "/a/x.ts", true),
        (&["/a/*.ts"], "/a/x.ts.exe", false),
        (&["/a/**"], "/a/b/c", true),
        (&["/a/**"], "/b/a/c", false),
        (&["/x", "/a"], "/a", true),
        (&["/Ä b"], "/%C3%84%20b", true),
        (&["/a"], "/A", false),
        (&[], "/a", false),
    ] {
        let before = origin.seen().len();
        let answer = gate.get(&Token::opening(paths).at(path), &[]);
        if opens {
            answer.expect(200);
            assert_eq!(origin.seen().len(), before + 1);
        } else {
            answer.refused(403, "scope_denied");
            assert_eq!(origin.seen().len(), before, "{paths:?} {path}");
        }
    }
}

#[test]
fn a_token_that_names_no_paths_opens_nothing() {
    let (origin, gate) = gate();
    gate.get(&Token::whole().without("paths").at("/a"), &[])
        .refused(403, "scope_denied");
    origin.untouched();
}

#[test]
fn paths_of_the_wrong_type_refuse_the_token() {
    let (origin, gate) = gate();
    for paths in [
        serde_json::json!("/**"),
        serde_json::json!(7),
        serde_json::json!(null),
        serde_json::json!({ "a": "/**" }),
        serde_json::json!(["/**", 1]),
        serde_json::json!([["/**"]]),
    ] {
        gate.get(&Token::whole().claim("paths", paths).at("/a"), &[])
            .refused(401, "token_invalid");
    }
    origin.untouched();
}

#[test]
fn a_route_may_say_the_scope_by_a_template() {
    let origin = Origin::start();
    let more = "scope = { template = \"/customers/{sub}/**\" }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("customers", "/customers", more));
    let token = Token::whole().without("paths");
    gate.get(&token.at("/customers/customer-42/invoice.pdf"), &[])
        .expect(200);
    gate.get(&token.at("/customers/customer-43/invoice.pdf"), &[])
        .refused(403, "scope_denied");
    gate.get(&token.at("/customers/customer-42"), &[])
        .refused(403, "scope_denied");
    for subject in ["*", "**", "..", ".", "", "customer-42/..", "a/b", "customer-4?"] {
        let answer = gate.get(
            &token.clone().claim("sub", subject).at("/customers/customer-42/x"),
            &[],
        );
        assert!([401, 403].contains(&answer.status), "{subject}: {answer:?}");
    }
    gate.get(&token.clone().without("sub").at("/customers/customer-42/x"), &[])
        .refused(403, "scope_denied");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_narrower_token_stays_narrow_under_a_template_or_a_whole_route() {
    let origin = Origin::start();
    let gate = Gate::start(
        conf::http(origin.address())
            + &conf::route_with(
                "customers",
                "/customers",
                "scope = { template = \"/customers/{sub}/**\" }",
            )
            + &conf::route_with("open", "/open", "scope = \"whole\""),
    );
    let token = Token::opening(&["/customers/customer-42/a", "/open/a"]);
    for path in ["/customers/customer-42", "/open"] {
        gate.get(&token.at(&format!("{path}/a")), &[]).expect(200);
        gate.get(&token.at(&format!("{path}/b")), &[])
            .refused(403, "scope_denied");
    }
    gate.get(&Token::whole().without("paths").at("/open/anything"), &[])
        .expect(200);
}

#[test]
fn methods_are_those_of_the_route_and_of_the_token() {
    let origin = Origin::start();
    let more = "methods = [\"GET\", \"PUT\"]\nmax_upload = \"1KiB\"";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    let reader = Token::whole()
        .claim("methods", serde_json::json!(["GET"]))
        .at("/a");
    let writer = Token::whole()
        .claim("methods", serde_json::json!(["PUT"]))
        .at("/a");
    let mut client = gate.connect();
    client.exchange("GET", &reader, &[]).expect(200);
    client.exchange("HEAD", &reader, &[]).expect(200);
    client
        .exchange("PUT", &reader, &[("Content-Length", "0")])
        .refused(403, "method_denied");
    let mut client = gate.connect();
    client.request(
        "PUT",
        &writer,
        &[("Content-Length", "5"), ("Content-Type", "text/plain")],
    );
    client.send("hello");
    client.read().expect(200);
    assert_eq!(origin.last().body, b"hello");
    client.exchange("GET", &writer, &[]).refused(403, "method_denied");
    let answer = gate
        .exchange("DELETE", &writer, &[])
        .refused(405, "method_not_allowed");
    let allow: Vec<&str> = answer.header("allow").unwrap_or_default().split(", ").collect();
    assert!(
        allow.contains(&"GET") && allow.contains(&"PUT") && !allow.contains(&"DELETE"),
        "{allow:?}"
    );
    assert_eq!(origin.seen().len(), 3);
}

#[test]
fn an_upload_past_the_routes_limit_is_refused() {
    let origin = Origin::start();
    let more = "methods = [\"GET\", \"PUT\"]\nmax_upload = \"1KiB\"";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    let token = Token::whole()
        .claim("methods", serde_json::json!(["PUT"]))
        .at("/a");
    let mut client = gate.connect();
    client.request("PUT", &token, &[("Content-Length", "1025")]);
    client.read().refused(413, "too_large");
    origin.untouched();
}

#[test]
fn a_token_for_an_address_works_from_there_alone() {
    let origin = Origin::start();
    let gate = Setup::new(conf::http(origin.address()) + &conf::route())
        .behind_a_proxy()
        .start();
    let token = Token::whole()
        .claim("ips", serde_json::json!(["203.0.113.0/24", "2001:db8::7"]))
        .at("/a");
    for (from, opens) in [
        ("203.0.113.9", true),
        ("2001:db8::7", true),
        ("::ffff:203.0.113.9", true),
        ("198.51.100.1", false),
        ("2001:db8::8", false),
        // The rightmost one that is not trusted counts; what stands left of it is the client's own invention.
        ("203.0.113.9, 198.51.100.1", false),
        ("198.51.100.1, 203.0.113.9", true),
        ("203.0.113.9, 127.0.0.1", true),
    ] {
        let answer = gate.get(&token, &[("X-Forwarded-For", from)]);
        if opens {
            answer.expect(200);
        } else {
            answer.refused(403, "address_denied");
        }
    }
    gate.get(&token, &[]).refused(403, "address_denied");
}

#[test]
fn forwarded_addresses_of_untrusted_peers_do_not_count() {
    let origin = Origin::start();
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    let token = Token::whole()
        .claim("ips", serde_json::json!(["203.0.113.9"]))
        .at("/a");
    gate.get(&token, &[("X-Forwarded-For", "203.0.113.9")])
        .refused(403, "address_denied");
    gate.get(&token, &[("Forwarded", "for=203.0.113.9")])
        .refused(403, "address_denied");
    let local = Token::whole()
        .claim("ips", serde_json::json!(["127.0.0.1"]))
        .at("/a");
    gate.get(&local, &[("X-Forwarded-For", "203.0.113.9")])
        .expect(200);
    assert_eq!(origin.only().header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn a_file_name_in_the_token_names_the_download() {
    let (_origin, gate) = gate();
    let token = Token::whole().claim("filename", "Rechnung – März.pdf").at("/a");
    let answer = gate.get(&token, &[]).expect(200);
    let disposition = answer.header("content-disposition").expect("a file name");
    assert!(disposition.starts_with("attachment;"), "{disposition}");
    assert!(
        disposition.contains("filename*=UTF-8''Rechnung%20%E2%80%93%20M%C3%A4rz.pdf"),
        "{disposition}"
    );
}

#[test]
fn parameters_in_the_token_are_forced_on_the_origin() {
    let (origin, gate) = gate();
    let token = Token::whole().claim("args", serde_json::json!({ "w": 300, "mark": "Übung & co" }));
    gate.get(&token.at("/a?w=9999&h=5&%77=1"), &[]).expect(200);
    let target = origin.only().target;
    let query: Vec<&str> = target.strip_prefix("/a?").expect("a query").split('&').collect();
    let named = |name: &str| {
        query
            .iter()
            .filter(|pair| pair.split('=').next() == Some(name))
            .count()
    };
    assert_eq!(
        (named("w"), named("%77"), named("h"), named("mark")),
        (1, 0, 1, 1),
        "{target}"
    );
    assert!(query.contains(&"w=300") && query.contains(&"h=5"), "{target}");
    assert!(
        query
            .iter()
            .any(|pair| pair.starts_with("mark=%C3%9Cbung") && pair.contains("%26")),
        "{target}"
    );
}

#[test]
fn a_restriction_that_is_not_enforced_refuses_the_token() {
    let (origin, gate) = gate();
    for (name, value) in [
        ("uses", 2),
        ("uses", 0),
        ("rate", 1000),
        ("streams", 0),
        ("streams", 1025),
    ] {
        let answer = gate.get(&Token::whole().claim(name, value).at("/a"), &[]);
        assert!(
            (400..=503).contains(&answer.status) && answer.status != 404,
            "{name}={value}: {answer:?}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    origin.untouched();
}

#[test]
fn a_bearer_and_a_cookie_open_as_the_query_does_and_stay_here() {
    let (origin, gate) = gate();
    let token = Token::whole();
    gate.get("/a", &[("Authorization", &token.bearer())]).expect(200);
    gate.get(
        "/a",
        &[("Authorization", &token.bearer().replace("Bearer", "bearer"))],
    )
    .expect(200);
    gate.get("/a", &[("Cookie", &format!("x=1; media={}; y=2", token.text()))])
        .expect(200);
    for seen in origin.seen() {
        assert_eq!(
            (seen.header("authorization"), seen.header("cookie")),
            (None, None),
            "{seen:?}"
        );
    }
    gate.get("/a", &[("Authorization", &format!("Basic {}", token.text()))])
        .refused(401, "token_missing");
    assert_eq!(origin.seen().len(), 3);
}

#[test]
fn the_first_carrier_present_decides_without_falling_through() {
    let (origin, gate) = gate();
    let good = Token::whole();
    let bad = tampered(&good.text());
    let bearer = good.bearer();
    let cookie = format!("media={}", good.text());
    gate.get(
        &format!("/a?t={bad}"),
        &[("Authorization", &bearer), ("Cookie", &cookie)],
    )
    .refused(401, "token_invalid");
    gate.get(
        "/a",
        &[("Authorization", &format!("Bearer {bad}")), ("Cookie", &cookie)],
    )
    .refused(401, "token_invalid");
    origin.untouched();
    let bad_bearer = format!("Bearer {bad}");
    gate.get(
        &good.at("/a"),
        &[
            ("Authorization", &bad_bearer),
            ("Cookie", &format!("media={bad}")),
        ],
    )
    .expect(200);
    let seen = origin.only();
    assert_eq!(
        (seen.header("authorization"), seen.header("cookie")),
        (None, None),
        "{seen:?}"
    );
}

#[test]
fn cookies_of_one_name_are_each_tried_up_to_four() {
    let (_origin, gate) = gate();
    let good = Token::whole().text();
    let bad = tampered(&good);
    let cookies = |values: &[&str]| {
        values
            .iter()
            .map(|value| format!("media={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    };
    gate.get("/a", &[("Cookie", &cookies(&[&bad, &good]))])
        .expect(200);
    gate.get("/a", &[("Cookie", &cookies(&[&bad, &bad, &bad, &good]))])
        .expect(200);
    gate.get("/a", &[("Cookie", &cookies(&[&bad, &bad, &bad, &bad, &good]))])
        .refused(401, "token_invalid");
    gate.get(
        "/a",
        &[("Cookie", &cookies(&[&bad])), ("Cookie", &cookies(&[&good]))],
    )
    .expect(200);
}

#[test]
fn a_carrier_that_the_route_does_not_list_does_not_count() {
    let origin = Origin::start();
    let gate = Gate::start(
        conf::http(origin.address()) + &conf::route_carried("files", "/", "{ query = \"t\" }", ""),
    );
    let token = Token::whole();
    gate.get("/a", &[("Authorization", &token.bearer())])
        .refused(401, "token_missing");
    gate.get("/a", &[("Cookie", &format!("media={}", token.text()))])
        .refused(401, "token_missing");
    gate.get(&token.before("/a"), &[]).refused(401, "token_missing");
    origin.untouched();
}

#[test]
fn cookies_and_authorization_go_on_only_where_the_route_says_so_and_never_the_token() {
    let origin = Origin::start();
    let more = "forward_cookies = true\nforward_authorization = true";
    let carriers = "{ query = \"t\" }, { cookie = \"media\" }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_carried("files", "/", carriers, more));
    let token = Token::whole();
    let cookie = format!("a=1; media={}; b=2", token.text());
    gate.get(
        &token.at("/a"),
        &[("Cookie", &cookie), ("Authorization", "Basic dTpw")],
    )
    .expect(200);
    let seen = origin.only();
    assert_eq!(seen.header("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.header("authorization"), Some("Basic dTpw"));
    assert!(!String::from_utf8_lossy(&seen.raw).contains(&token.text()));
}

#[test]
fn cookies_and_authorization_stay_here_where_the_route_says_nothing() {
    let origin = Origin::start();
    let carriers = "{ query = \"t\" }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_carried("files", "/", carriers, ""));
    let headers = [
        ("Cookie", "session=1"),
        ("Authorization", "Basic dTpw"),
        ("Authorization", "Bearer x.y.z"),
    ];
    for headers in [&headers[..1], &headers[1..2], &headers[2..]] {
        gate.get(&Token::whole().at("/a"), headers).expect(200);
        let seen = origin.last();
        assert_eq!(
            (seen.header("cookie"), seen.header("authorization")),
            (None, None),
            "{seen:?}"
        );
    }
}

#[test]
fn an_identity_header_that_clients_may_send_is_a_configuration_error() {
    let origin = Origin::start();
    for name in [
        "Accept-Language",
        "User-Agent",
        "Range",
        "Host",
        "Connection",
        "Cookie",
        "Authorization",
    ] {
        let more = format!("identity_headers = {{ {name} = \"sub\" }}");
        let toml = conf::http(origin.address()) + &conf::route_with("files", "/", &more);
        let error = Setup::new(toml).refused();
        assert!(error.contains("identity_headers"), "{name}: {error}");
    }
}

#[test]
fn an_identity_header_says_who_it_is_or_nothing() {
    let origin = Origin::start();
    let more = "identity_headers = { X-Media-Subject = \"sub\" }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    gate.get(&Token::whole().at("/a"), &[("X-Media-Subject", "admin")])
        .expect(200);
    assert_eq!(origin.only().header("x-media-subject"), Some("customer-42"));
    // Without the claim nobody is named, and least of all by the client.
    let answer = gate.get(
        &Token::whole().without("sub").at("/a"),
        &[("X-Media-Subject", "admin")],
    );
    assert!(
        answer.status == 403 || origin.last().header("x-media-subject").is_none(),
        "{answer:?}"
    );
}

#[test]
fn trap_15_what_is_delivered_is_private_unsniffed_and_refers_nowhere() {
    let origin = Origin::start();
    for (path, cache) in [
        ("/a", "public, max-age=31536000, immutable"),
        ("/b", "s-maxage=100"),
        ("/c", "no-store"),
    ] {
        origin.on(
            path,
            Script::ok(
                &[
                    ("Cache-Control", cache),
                    ("Expires", "Thu, 01 Jan 2037 00:00:00 GMT"),
                ],
                "x",
            ),
        );
    }
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    for path in ["/a", "/b", "/c", "/d"] {
        let answer = gate.get(&Token::whole().at(path), &[]).expect(200);
        let cache = answer.header("cache-control").expect("cache-control").to_owned();
        assert!(
            cache.contains("private") || cache.contains("no-store"),
            "{path}: {cache}"
        );
        assert!(
            !cache.contains("public") && !cache.contains("s-maxage"),
            "{path}: {cache}"
        );
        if let Some(age) = cache.split("max-age=").nth(1) {
            let age: i64 = age
                .split(',')
                .next()
                .and_then(|age| age.trim().parse().ok())
                .expect("max-age");
            assert!(age <= 300, "{path}: a copy may outlive its token: {cache}");
        }
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        if path == "/c" {
            assert!(cache.contains("no-store"), "{cache}");
        }
    }
}

#[test]
fn two_keys_of_one_set_both_open() {
    let origin = Origin::start();
    let second = crate::support::mint::Key {
        kid: "media-2",
        secret: b"second-key-second-key-second-key-05",
    };
    let gate = Setup::new(conf::http(origin.address()) + &conf::route())
        .file(
            "media.jwks.json",
            crate::support::mint::jwks(&[MEDIA.jwk(), second.jwk()]),
        )
        .start();
    gate.get(&Token::whole().at("/a"), &[]).expect(200);
    gate.get(&Token::whole().header("kid", "media-2").key(second).at("/a"), &[])
        .expect(200);
    gate.get(&Token::whole().header("kid", "media-2").at("/a"), &[])
        .refused(401, "token_invalid");
    gate.get(&Token::whole().header("kid", "media-1").key(second).at("/a"), &[])
        .refused(401, "token_invalid");
}

#[test]
fn one_connection_serves_refusals_and_files_in_turn() {
    let (origin, gate) = gate();
    let mut client = Client::connect(gate.address());
    for round in 0..5 {
        client.get("/missing", &[]).expect(401);
        let path = format!("/file-{round}");
        assert_eq!(
            client.get(&Token::whole().at(&path), &[]).expect(200).text(),
            format!("origin says {path}")
        );
        client.get(&Token::opening(&["/x"]).at("/y"), &[]).expect(403);
    }
    assert_eq!(origin.seen().len(), 5);
}
