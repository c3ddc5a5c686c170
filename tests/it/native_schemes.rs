//! `POST /v1/tokens` by scheme: signed tokens and opaque ones, and hostile requests that make neither.

use regex::Regex;
use serde_json::{Value, json};

use crate::support::gate::operational_log;
use crate::support::issuer::{ask_native, issued, made_nothing};
use crate::support::{Gate, NOW, Origin, Response, Setup, Token, adobe, conf, mint, sirv};

const RULE: &str = "[[issuer.rule]]\nrequires = \"media:read\"\npaths = [\"/shared/**\"]\nmax_ttl = \"1h\"\ndefault_ttl = \"5m\"\n";

/// A route that takes both schemes, with these lines of the route, of `[issuer.native]`, and another rule.
fn setup(origin: &Origin, route: &str, native: &str, rule: &str) -> Setup {
    Setup::new(toml(origin, route, native, rule))
}

fn toml(origin: &Origin, route: &str, native: &str, rule: &str) -> String {
    let issuer = conf::issuer(rule).replacen("[issuer.fynn]", &format!("{native}\n[issuer.fynn]"), 1);
    conf::http(origin.address())
        + &conf::fynn_route()
        + &conf::route_carried("files", "/", "{ query = \"t\" }, { cookie = \"media\" }", route)
        + "[route.scheme.opaque]\n"
        + &issuer
}

fn start() -> (Origin, Gate) {
    let origin = Origin::start();
    origin
        .file("/shared/a.pdf", "0123456789")
        .file("/shared/b.pdf", "other");
    let gate = setup(&origin, "", "", RULE).start();
    (origin, gate)
}

fn ask(gate: &Gate, body: &Value) -> Response {
    ask_native(gate, &Token::caller("42", "media:read").bearer(), body)
}

fn is_opaque(token: &str) -> bool {
    Regex::new("^[0-9a-f]{32}$").unwrap().is_match(token)
}

#[test]
fn an_opaque_token_is_remembered_and_opens_until_its_end() {
    let (origin, gate) = start();
    let answer = ask(
        &gate,
        &json!({ "scheme": "opaque", "paths": ["/shared/a.pdf"], "expires_in": 60 }),
    );
    let body = answer.expect(201).json();
    assert_eq!(body["expires_at"], "2026-01-01T00:01:00.000Z");
    assert_ne!(body["token"], body["token_id"]);
    let token = body["token"].as_str().unwrap();
    assert!(is_opaque(token), "{body}");
    assert_eq!(
        body["url"],
        format!("http://media.example.com/shared/a.pdf?t={token}")
    );
    assert_eq!(gate.metric("mediagate_store_entries", &[]), 1.0);
    // Many times, whole and in parts.
    let path = format!("/shared/a.pdf?t={token}");
    for _ in 0..5 {
        assert_eq!(gate.get(&path, &[]).expect(200).text(), "0123456789");
        assert_eq!(
            gate.get(&path, &[("Range", "bytes=2-4")]).expect(206).text(),
            "234"
        );
    }
    gate.exchange("HEAD", &path, &[]).expect(200);
    let other = gate.get(&format!("/shared/b.pdf?t={token}"), &[]);
    assert_eq!((other.status, other.code().as_str()), (403, "scope_denied"));
    // Used and made under one name.
    let lines = gate.access(13);
    assert!(
        lines.iter().all(|line| line["token_id"] == body["token_id"]),
        "{lines:?}"
    );
    assert!(
        !operational_log().contains(token)
            && !gate.access_text().contains(token)
            && origin.seen().iter().all(|seen| !seen.target.contains(token))
    );
    gate.advance(66);
    gate.get(&path, &[]).refused(401, "token_expired");
}

#[test]
fn an_opaque_token_for_many_uses_outlives_the_process() {
    let (_origin, gate) = start();
    let (_, path) = issued(
        ask(&gate, &json!({ "scheme": "opaque", "paths": ["/shared/a.pdf"] })),
        201,
    );
    gate.get(&path, &[]).expect(200);
    let gate = gate.restart(NOW + 60);
    gate.get(&path, &[]).expect(200);
    gate.get(&path, &[]).expect(200);
}

#[test]
fn an_opaque_token_for_one_use_is_used_once() {
    let origin = Origin::start();
    origin.file("/shared/a.pdf", "0123456789");
    let gate = setup(&origin, "single_use = { strict = true }", "", RULE).start();
    let wish = json!({ "scheme": "opaque", "paths": ["/shared/a.pdf"], "uses": 1 });
    let (token, path) = issued(ask(&gate, &wish), 201);
    assert!(is_opaque(&token));
    gate.exchange("HEAD", &path, &[]).expect(200);
    gate.get(&path, &[]).expect(200);
    gate.get(&path, &[]).refused(410, "token_spent");
}

#[test]
fn an_opaque_token_says_all_that_a_signed_one_says() {
    let (origin, gate) = start();
    let all = |scheme: &str| {
        json!({
            "scheme": scheme, "paths": ["/shared/*.pdf", "/shared/deep/"], "methods": ["GET"], "ips": ["127.0.0.0/8", "::1"],
            "filename": "Übersicht \"1\".pdf", "args": { "w": 300, "q": "a b", "c": true }, "sub": "42", "expires_in": 60,
        })
    };
    let mut answers = Vec::new();
    for scheme in ["jwt", "opaque"] {
        let body = ask(&gate, &all(scheme)).expect(201).json();
        assert!(
            body.get("url").is_none(),
            "several paths have no one link: {body}"
        );
        let token = body["token"].as_str().unwrap();
        assert_eq!(is_opaque(token), scheme == "opaque");
        let answer = gate.get(&format!("/shared/a.pdf?t={token}&w=9"), &[]).expect(200);
        let name = answer.header("content-disposition").expect("a name").to_owned();
        assert!(
            name.contains("filename*=UTF-8''%C3%9Cbersicht%20%221%22.pdf"),
            "{name}"
        );
        let target = origin.last().target;
        assert!(
            target.starts_with("/shared/a.pdf?") && target.contains("w=300") && !target.contains("w=9"),
            "{target}"
        );
        answers.push((name, target));
    }
    assert_eq!(answers[0], answers[1]);
    for (wish, code) in [
        (
            json!({ "paths": ["/shared/a.pdf"], "methods": ["HEAD"] }),
            "method_denied",
        ),
        (
            json!({ "paths": ["/shared/a.pdf"], "ips": ["203.0.113.0/24"] }),
            "address_denied",
        ),
        (json!({ "paths": ["/shared/b.pdf"] }), "scope_denied"),
        (
            json!({ "paths": ["/shared/a.pdf"], "not_before": NOW + 60 }),
            "token_not_yet_valid",
        ),
    ] {
        let mut wish = wish;
        wish["scheme"] = "opaque".into();
        let body = ask(&gate, &wish).expect(201).json();
        let token = body["token"].as_str().unwrap();
        let answer = gate.get(&format!("/shared/a.pdf?t={token}"), &[]);
        assert_eq!(answer.code(), code, "{wish}");
    }
}

#[test]
fn a_medium_may_be_opened_by_an_opaque_token() {
    let origin = Origin::start();
    origin.file("/store/report.bin", "0123456789");
    let toml = conf::http(origin.address())
        + &conf::fynn_route()
        + "[route.scheme.opaque]\n"
        + &conf::route()
        + &conf::issuer(RULE);
    let gate = Gate::start(toml);
    let body = ask(&gate, &json!({ "scheme": "opaque", "media": "01F9" }))
        .expect(201)
        .json();
    let token = body["token"].as_str().unwrap();
    assert_eq!(
        gate.get(&format!("/media/01F9/download/{token}"), &[])
            .expect(200)
            .text(),
        "0123456789"
    );
    gate.get(&format!("/media/01FA/download/{token}"), &[])
        .refused(403, "scope_denied");
}

#[test]
fn without_a_word_a_token_is_a_jwt() {
    let (_origin, gate) = start();
    for wish in [
        json!({ "paths": ["/shared/a.pdf"] }),
        json!({ "scheme": "jwt", "paths": ["/shared/a.pdf"] }),
    ] {
        let (token, path) = issued(ask(&gate, &wish), 201);
        assert!(token.starts_with("eyJ"));
        gate.get(&path, &[]).expect(200);
    }
    assert_eq!(gate.metric("mediagate_store_entries", &[]), 0.0);
}

#[test]
fn a_scheme_that_is_not_made_here_is_a_violation() {
    let violated = |gate: &Gate, scheme: Value| {
        let answer = ask(gate, &json!({ "scheme": scheme, "paths": ["/shared/a.pdf"] })).expect(422);
        assert_eq!(
            answer.json()["violations"][0]["propertyPath"],
            "scheme",
            "{scheme}"
        );
        made_nothing(gate, &answer, "a scheme");
    };
    let (_origin, gate) = start();
    for scheme in [
        json!("JWT"),
        json!("hs256"),
        json!(""),
        json!(1),
        json!(null),
        json!(["jwt"]),
    ] {
        violated(&gate, scheme);
    }
    let origin = Origin::start();
    let gate = setup(&origin, "", "schemes = [\"jwt\"]", RULE).start();
    violated(&gate, json!("opaque"));
    let gate = setup(&origin, "", "schemes = [\"opaque\"]", RULE).start();
    violated(&gate, json!("jwt"));
    let answer = ask(&gate, &json!({ "paths": ["/shared/a.pdf"] })).expect(422);
    assert_eq!(answer.json()["violations"][0]["propertyPath"], "scheme");
    ask(&gate, &json!({ "scheme": "opaque", "paths": ["/shared/a.pdf"] })).expect(201);
}

#[test]
fn where_no_route_takes_them_opaque_tokens_are_not_made_unless_the_configuration_says_so() {
    let origin = Origin::start();
    let toml = |native: &str| {
        let issuer = conf::issuer(RULE).replacen("[issuer.fynn]", &format!("{native}\n[issuer.fynn]"), 1);
        conf::http(origin.address()) + &conf::fynn_route() + &conf::route() + &issuer
    };
    let wish = json!({ "scheme": "opaque", "paths": ["/shared/a.pdf"] });
    ask(&Gate::start(toml("")), &wish).expect(422);
    let gate = Gate::start(toml("schemes = [\"jwt\", \"opaque\"]"));
    let body = ask(&gate, &wish).expect(201).json();
    assert!(body.get("url").is_none(), "no link would open: {body}");
}

#[test]
fn an_opaque_token_is_for_files_alone_and_only_where_the_rule_says_files() {
    let origin = Origin::start();
    let wish = json!({ "scheme": "opaque", "paths": ["/shared/a.pdf"] });
    let gate = setup(&origin, "", "", &format!("{RULE}purposes = [\"login\"]\n")).start();
    let answer = ask(&gate, &wish).expect(403);
    made_nothing(&gate, &answer, "for files");
    ask(&gate, &json!({ "paths": ["/shared/a.pdf"] })).expect(201);
}

#[test]
fn while_the_store_is_closed_opaque_tokens_are_503_and_signed_ones_are_made() {
    let (_origin, gate) = start();
    gate.close_store();
    let answer = ask(&gate, &json!({ "scheme": "opaque", "paths": ["/shared/a.pdf"] })).expect(503);
    assert_eq!(answer.json()["code"], "store_unavailable");
    assert!(answer.header("retry-after").is_some());
    ask(&gate, &json!({ "paths": ["/shared/a.pdf"] })).expect(201);
}

#[test]
fn hostile_requests_for_either_scheme_make_nothing() {
    let (_origin, gate) = start();
    let wishes = [
        (
            "expires_in",
            vec![
                json!(0),
                json!(-1),
                json!(3601),
                json!(1.5),
                json!("60"),
                json!(1e308),
                json!(u64::MAX),
                json!(i64::MAX),
                json!(null),
                json!(true),
            ],
        ),
        (
            "not_before",
            vec![
                json!(-1),
                json!(1e308),
                json!(u64::MAX),
                json!(i64::MAX),
                json!(NOW + 3600),
                json!("x"),
            ],
        ),
        (
            "filename",
            vec![
                json!("a\r\nSet-Cookie: x=1"),
                json!("a\nb"),
                json!("a\u{0}b"),
                json!("a/b"),
                json!("..\\b"),
                json!("\u{202e}fdp.exe"),
                json!(""),
                json!("."),
                json!(".."),
                json!("ä".repeat(128)),
                json!(1),
            ],
        ),
        (
            "paths",
            vec![
                json!([]),
                json!("/shared/a.pdf"),
                json!(["shared/a.pdf"]),
                json!(["/shared/../x"]),
                json!(["/shared/a\u{0}"]),
                json!(["/shared//a"]),
                json!([1]),
                json!(vec!["/shared/a"; 65]),
                json!([format!("/shared/{}", "x".repeat(2000))]),
                json!({}),
            ],
        ),
        (
            "media",
            vec![
                json!(""),
                json!(".."),
                json!("a/b"),
                json!("a\\b"),
                json!("a\u{0}"),
                json!("x".repeat(129)),
                json!("01ZZ"),
                json!(7),
            ],
        ),
        (
            "methods",
            vec![
                json!([]),
                json!(["BREW"]),
                json!(["get"]),
                json!("GET"),
                json!(["PUT"]),
            ],
        ),
        (
            "ips",
            vec![
                json!([]),
                json!(["localhost"]),
                json!(["10.0.0.0/33"]),
                json!(vec!["10.0.0.1"; 65]),
                json!("10.0.0.1"),
            ],
        ),
        (
            "args",
            vec![
                json!({ "": "x" }),
                json!({ "a\r\n": "x" }),
                json!({ "a": "x\r\nb" }),
                json!({ "a": null }),
                json!({ "a": [] }),
                json!([]),
            ],
        ),
        (
            "uses",
            vec![
                json!(0),
                json!(2),
                json!(-1),
                json!(1.5),
                json!("1"),
                json!(u64::MAX),
            ],
        ),
        (
            "sub",
            vec![
                json!("43"),
                json!(""),
                json!("a\r\nb"),
                json!("x".repeat(257)),
                json!(42),
            ],
        ),
        (
            "rate",
            vec![json!(1), json!(0), json!(-1), json!(1e30), json!("2048")],
        ),
        ("streams", vec![json!(0), json!(1025), json!(1.5)]),
        ("Scheme", vec![json!("opaque")]),
        ("path", vec![json!("/shared/a.pdf")]),
    ];
    for scheme in ["jwt", "opaque"] {
        for (name, values) in &wishes {
            for value in values {
                let mut wish = json!({ "scheme": scheme, "paths": ["/shared/a.pdf"] });
                wish[*name] = value.clone();
                let answer = ask(&gate, &wish);
                made_nothing(&gate, &answer, &format!("{scheme} {name} = {value:.60}"));
            }
        }
        ask_raw(&gate, scheme);
    }
    // What was wrong above were those members alone.
    ask(
        &gate,
        &json!({ "scheme": "opaque", "paths": ["/shared/a.pdf"], "filename": "Ärger \"1\".pdf" }),
    )
    .expect(201);
}

/// Bodies that are not one object with distinct names, and other media types.
fn ask_raw(gate: &Gate, scheme: &str) {
    let bearer = Token::caller("42", "media:read").bearer();
    let ask = |kind: &str, body: &[u8]| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        gate.ask("POST", "/v1/tokens", &headers, body)
    };
    let good = format!("{{\"scheme\":\"{scheme}\",\"paths\":[\"/shared/a.pdf\"]}}");
    let bodies = [
        String::new(),
        good[..good.len() - 1].to_owned(),
        format!("{good}{good}"),
        format!("[{good}]"),
        format!("\u{feff}{good}"),
        good.replacen('{', "{\"scheme\":\"jwt\",", 1),
        good.replacen('{', "{\"p\\u0061ths\":[\"/**\"],", 1),
        good.replacen("[\"", "[\"\\ud800", 1),
        format!("{{\"a\":{}", "[".repeat(30_000)),
        "null".into(),
    ];
    for body in bodies {
        let answer = ask("application/json", body.as_bytes());
        assert_eq!(answer.status, 400, "{body:.60}: {answer:?}");
        made_nothing(gate, &answer, &format!("{body:.60}"));
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonx",
        "",
    ] {
        let answer = ask(kind, good.as_bytes());
        assert_eq!(answer.status, 415, "{kind}: {answer:?}");
        made_nothing(gate, &answer, kind);
    }
    let answer = ask("application/json", &vec![b' '; 70_000]);
    assert_eq!(answer.status, 413);
    made_nothing(gate, &answer, "too large");
}

/// `[issuer.native]` beside another dialect that says how its tokens are made.
const NATIVE: &str = "[issuer.native]\nkeys = \"download\"\nissuer = \"native\"\naudience = \"nobody\"\nschemes = [\"jwt\", \"SCHEME\"]\n";

#[test]
fn a_sirv_token_comes_from_the_same_request_and_opens_the_same_file() {
    let origin = Origin::start();
    origin.file("/docs/x/b.jpg", "deep");
    let toml = sirv::toml(&origin, sirv::SCHEME, "", &NATIVE.replace("SCHEME", "sirv"));
    let gate = sirv::secrets(Setup::new(toml)).start();
    let ask = |body: Value| ask_native(&gate, &sirv::bearer("42"), &body);
    let (token, path) = issued(
        ask(json!({ "scheme": "sirv", "paths": ["/docs/a.pdf"], "expires_in": 60, "args": { "w": 300 } })),
        201,
    );
    let (_, claims) = mint::opened(&token);
    assert_eq!(
        claims,
        json!({ "args": { "w": 300 }, "iat": NOW, "exp": NOW + 60, "aud": "/docs/a.pdf" })
    );
    gate.get(&path, &[]).expect(200);
    assert_eq!(origin.seen().last().unwrap().target, "/docs/a.pdf?w=300");
    let folder = ask(json!({ "scheme": "sirv", "paths": ["/docs/"] }))
        .expect(201)
        .json();
    assert!(folder.get("url").is_none(), "{folder}");
    let folder = folder["token"].as_str().unwrap();
    gate.get(&format!("/docs/x/b.jpg?jwt={folder}"), &[]).expect(200);
    // What it can't say is not left out.
    for (name, value) in [
        ("paths", json!(["/docs/a.pdf", "/docs/b.pdf"])),
        ("paths", json!(["/docs/name"])),
        ("paths", json!(["/docs/*.pdf"])),
        ("ips", json!(["127.0.0.1"])),
        ("uses", json!(1)),
        ("streams", json!(2)),
        ("sub", json!("42")),
        ("filename", json!("a.pdf")),
    ] {
        let mut body = json!({ "scheme": "sirv", "paths": ["/docs/a.pdf"] });
        body[name] = value;
        let answer = ask(body);
        made_nothing(&gate, &answer, name);
        assert_eq!(answer.status, 422, "{name}");
        assert_eq!(answer.json()["violations"][0]["propertyPath"], name);
    }
    let once = ask_native(
        &gate,
        &sirv::bearer("once"),
        &json!({ "scheme": "sirv", "paths": ["/docs/a.pdf"] }),
    );
    assert_eq!(once.status, 403);
    made_nothing(&gate, &once, "a rule for one use");
}

#[test]
fn a_short_media_token_comes_from_the_same_request_where_an_entitlement_is_for_the_caller() {
    let rows = adobe::row("SPORT", "\"news\"", "subjects = [\"42\"]");
    let tables = adobe::route("", adobe::RESOURCES)
        + &adobe::issuer(adobe::RULE, "", &rows)
        + &NATIVE.replace("SCHEME", "short_media");
    let (_origin, setup) = adobe::setup(&tables);
    let gate = setup.start();
    let wish = json!({ "scheme": "short_media", "requestor": "SPORT", "resource": "news", "expires_in": 60 });
    let body = ask_native(&gate, &adobe::viewer(), &wish).expect(201).json();
    assert_eq!(body["expires_at"], "2026-01-01T00:01:00.000Z");
    let token = body["token"].as_str().unwrap();
    let element = adobe::opened(token);
    assert_eq!(adobe::text_of(&element, "resourceID"), "news");
    assert_eq!(adobe::text_of(&element, "ttl"), "60000");
    let link = |path: &str| format!("{path}?token={}", token.replace('+', "%2B"));
    let mut viewer = gate.connect().allow("set-cookie");
    viewer
        .exchange("GET", &link("/channels/news/1.ts"), &[])
        .expect(200);
    gate.get(&link("/channels/sport/1.ts"), &[])
        .refused(403, "scope_denied");
    // Neither another resource, nor another caller, nor a word that the token does not know.
    let another = Token::caller("43", "tv:watch").bearer();
    for (bearer, name, value, status) in [
        (&adobe::viewer(), "resource", json!("sport"), 403),
        (&adobe::viewer(), "requestor", json!("MOVIES"), 403),
        (&another, "resource", json!("news"), 403),
        (&adobe::viewer(), "resource", json!(""), 422),
        (&adobe::viewer(), "paths", json!(["/channels/news/1.ts"]), 422),
        (&adobe::viewer(), "uses", json!(1), 422),
        // The dialect's own longest life, and what its own door refuses.
        (&adobe::viewer(), "expires_in", json!(421), 422),
        (
            &Token::caller("42", "tv:watch")
                .claim("ips", json!(["127.0.0.0/8"]))
                .bearer(),
            "expires_in",
            json!(60),
            403,
        ),
    ] {
        let mut body = wish.clone();
        body[name] = value;
        let answer = ask_native(&gate, bearer, &body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.json().get("token").is_none());
    }
}

#[test]
fn a_token_for_a_medium_opens_none_of_another_catalogue() {
    let origin = Origin::start();
    let catalogue = "[1]\nfile = \"/shared/a.pdf\"\n";
    let other = "[media.invoices]\nfile = \"{dir}/invoices.toml\"\n[[route]]\nname = \"invoices\"\npath = \"/invoices\"\n\
        origin = \"files\"\ncarriers = [{ path = \"/invoices/{id}/download/{token}\" }]\nmedia = \"invoices\"\n";
    let of = |scheme: &str| {
        Setup::new(toml(&origin, "", "", RULE) + other + scheme)
            .file("invoices.toml", catalogue)
            .refused()
    };
    let jwt = "[route.scheme.jwt]\nkeys = \"media\"\nissuer = \"ISSUER\"\naudience = \"media\"\n"
        .replace("ISSUER", mint::ISSUER);
    let errors = of(&jwt);
    assert!(errors.contains("open media of another catalogue"), "{errors}");
    let errors = of("[route.scheme.opaque]\n");
    assert!(errors.contains("for media of another catalogue"), "{errors}");
}
