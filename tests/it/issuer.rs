//! The issuer: callers that want too much (p24), calls from browsers, the public keys, and `POST /v1/tokens`.

use serde_json::{Value, json};

use crate::support::client::media_type;
use crate::support::gate::ask_over;
use crate::support::issuer::{ask_native, bearer, download_token, setup, start};
use crate::support::mint::{self, opened};
use crate::support::{Client, Gate, NOW, Origin, Response, Token, conf};

#[test]
fn other_methods_are_405_with_allow_and_other_paths_404() {
    let (_origin, gate) = start();
    for (method, path) in [
        ("GET", "/v1/tokens"),
        ("PUT", "/v1/tokens"),
        ("GET", "/media/01F9/download-token"),
        ("DELETE", "/media/01F9/download-token"),
    ] {
        let answer = gate
            .ask(method, path, &[("Authorization", &bearer())], b"")
            .expect(405);
        assert!(
            answer.header("allow").is_some_and(|allow| allow.contains("POST")),
            "{method} {path}: {answer:?}"
        );
    }
    for path in [
        "/v1",
        "/v1/tokens/",
        "/v2/tokens",
        "/media/01F9",
        "/media/01F9/download-token/x",
        "/metrics",
    ] {
        assert_eq!(
            gate.ask("POST", path, &[("Authorization", &bearer())], b"{}")
                .status,
            404,
            "{path}"
        );
    }
}

#[test]
fn the_issuers_preflight_knows_its_own_app_alone() {
    let (_origin, gate) = start();
    let ask = |from: &str| {
        let headers = [
            ("Origin", from),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization, content-type"),
        ];
        gate.ask("OPTIONS", "/v1/tokens", &headers, b"")
    };
    let app = ask("https://app.example.com");
    assert!([200, 204].contains(&app.status), "{app:?}");
    assert_eq!(
        app.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    let headers = app
        .header("access-control-allow-headers")
        .unwrap_or_default()
        .to_lowercase();
    assert!(
        headers.contains("authorization") && headers.contains("content-type"),
        "{headers}"
    );
    for stranger in [
        "https://evil.example",
        "null",
        "https://app.example.com.evil.example",
    ] {
        assert_eq!(
            ask(stranger).header("access-control-allow-origin"),
            None,
            "{stranger}"
        );
    }
    let answer = download_token(
        &gate,
        "01F9",
        &[
            ("Authorization", &bearer()),
            ("Origin", "https://app.example.com"),
        ],
        b"",
    );
    assert_eq!(
        answer.expect(201).header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
}

#[test]
fn published_keys_are_public_halves_and_no_secret_ever() {
    let origin = Origin::start();
    let toml = conf::http(origin.address())
        + &conf::fynn_route()
        + "[keys.media]\nfile = \"{dir}/made.jwks.json\"\ngenerate = \"EdDSA\"\n"
        + &conf::route()
        + &conf::issuer(conf::RULE);
    let gate = Gate::start(toml);
    let answer = gate.ask("GET", "/.well-known/jwks.json", &[], b"").expect(200);
    let keys = answer.json()["keys"].as_array().expect("keys").clone();
    assert!(
        keys.iter().any(|key| key["kty"] == "OKP" && key["x"].is_string()),
        "{keys:?}"
    );
    for key in keys {
        assert_ne!(key["kty"], "oct", "{key}");
        for private in ["d", "k", "p", "q", "dp", "dq", "qi"] {
            assert!(key.get(private).is_none(), "{key}");
        }
    }
    let secret: Value =
        serde_json::from_slice(&std::fs::read(gate.dir().join("made.jwks.json")).unwrap()).unwrap();
    let secret = secret["keys"][0]["d"]
        .as_str()
        .expect("a private key was made")
        .to_owned();
    assert!(!answer.text().contains(&secret));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(gate.dir().join("made.jwks.json"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "a made key is its owner's alone");
}

#[test]
fn an_issuer_that_is_asked_too_often_says_when_to_come_again() {
    let origin = Origin::start();
    let rule = conf::RULE.replace("max_ttl", "per_minute = 3\nmax_ttl");
    let gate = setup(&origin, &rule).start();
    let ask = |who: &str| {
        download_token(
            &gate,
            "01F9",
            &[("Authorization", &Token::caller(who, "media:read").bearer())],
            b"",
        )
    };
    for _ in 0..3 {
        ask("one").expect(201);
    }
    let answer = ask("one").expect(429);
    let wait: u64 = answer
        .header("retry-after")
        .expect("retry-after")
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    ask("two").expect(201);
    gate.advance(wait);
    ask("one").expect(201);
}

#[test]
fn own_media_only_means_the_callers_own() {
    let origin = Origin::start();
    let rule = format!("{}own_media_only = true\n", conf::RULE);
    let gate = setup(&origin, &rule).start();
    let ask = |who: &str, id: &str| {
        download_token(
            &gate,
            id,
            &[("Authorization", &Token::caller(who, "media:read").bearer())],
            b"",
        )
        .status
    };
    assert_eq!(ask("customer-42", "01F9"), 201);
    assert!([403, 404].contains(&ask("customer-43", "01F9")), "not the owner");
    assert_eq!(ask("customer-43", "01FA"), 201);
    assert!([403, 404].contains(&ask("customer-42", "01FA")), "not the owner");
}

#[test]
fn one_connection_serves_many_callers_in_turn() {
    let (_origin, gate) = start();
    let mut client = Client::connect(gate.issuer());
    for _ in 0..5 {
        ask_over(&mut client, "POST", "/media/01F9/download-token", &[], b"").expect(401);
        ask_over(
            &mut client,
            "POST",
            "/media/01F9/download-token",
            &[("Authorization", &bearer())],
            b"{}",
        )
        .expect(201);
    }
}

const SHARED: &str = "[[issuer.rule]]\nrequires = \"media:read\"\npaths = [\"/shared/**\", \"/customers/{sub}/**\"]\n\
     max_ttl = \"1h\"\ndefault_ttl = \"5m\"\n";

fn native(rules: &str) -> (Origin, Gate, String) {
    let origin = Origin::start();
    let gate = setup(&origin, rules).start();
    (origin, gate, Token::caller("42", "media:read").bearer())
}

/// Whether a token was made, and for what: its claims.
fn issued(answer: &Response) -> Option<Value> {
    match answer.status {
        201 => Some(opened(answer.json()["token"].as_str().expect("a token")).1),
        400..=499 => {
            assert!(!answer.text().contains("eyJ"), "a token in a refusal: {answer:?}");
            None
        }
        _ => panic!("{answer:?}"),
    }
}

#[test]
fn the_native_dialect_answers_with_a_link_that_opens() {
    let (origin, gate, bearer) = native(SHARED);
    let answer = ask_native(
        &gate,
        &bearer,
        &json!({ "paths": ["/shared/a b.pdf"], "expires_in": 60 }),
    );
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(
        (media_type(&answer).as_str(), answer.header("cache-control")),
        ("application/json", Some("no-store"))
    );
    let body = answer.json();
    let url = body["url"]
        .as_str()
        .expect("url")
        .strip_prefix("http://media.example.com")
        .expect("our base");
    gate.get(url, &[]).expect(200);
    assert_eq!(origin.only().target, "/shared/a%20b.pdf");
    let (_, claims) = opened(body["token"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["paths"]),
        (&json!("42"), &json!(["/shared/a b.pdf"]))
    );
    assert_eq!(
        (claims["iat"].as_i64(), claims["exp"].as_i64()),
        (Some(NOW), Some(NOW + 60))
    );
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!(mint::ISSUER), &json!(mint::AUDIENCE))
    );
    assert!(
        body["expires_at"]
            .as_str()
            .is_some_and(|at| at.starts_with("2026-01-01T00:01:00")),
        "{body}"
    );
    let lines = gate.access(2);
    assert!(
        lines.iter().all(|line| line["token_id"] == body["token_id"]),
        "{body}: {lines:?}"
    );
}

#[test]
fn the_native_dialect_knows_a_usual_life() {
    let (_origin, gate, bearer) = native(SHARED);
    let claims = issued(&ask_native(&gate, &bearer, &json!({ "paths": ["/shared/a"] }))).expect("a token");
    assert_eq!(claims["exp"].as_i64(), Some(NOW + 300));
}

#[test]
fn the_native_dialect_narrows_a_token_as_it_is_asked() {
    let (_origin, gate, bearer) = native(SHARED);
    let asked = json!({
        "paths": ["/shared/**"], "ips": ["192.0.2.0/24"], "methods": ["GET"], "filename": "Rechnung – März.pdf",
        "args": { "w": 300, "t": "300", "f": 1.5, "b": true },
    });
    let answer = ask_native(&gate, &bearer, &asked);
    let claims = issued(&answer).unwrap_or_else(|| panic!("{answer:?}"));
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(claims["filename"], "Rechnung – März.pdf");
    assert_eq!(claims["args"], asked["args"], "the types are kept");
    gate.get(&format!("/shared/a?t={token}"), &[])
        .refused(403, "address_denied");
}

#[test]
fn p24_a_caller_gets_no_wider_scope_than_its_rule() {
    let (_origin, gate, bearer) = native(SHARED);
    for paths in [
        json!(["/other"]),
        json!(["/**"]),
        json!(["/*"]),
        json!(["/"]),
        json!(["/shared"]),
        json!(["/shared*/**"]),
        json!(["/shared/../other"]),
        json!(["/shared/./x"]),
        json!(["/shared//x"]),
        json!(["/sharedx/a"]),
        json!(["/*/a"]),
        json!(["/customers/43/x"]),
        json!(["/customers/*/x"]),
        json!(["/customers/**"]),
        json!(["/customers/{sub}/x"]),
        json!(["/shared/a", "/other"]),
        json!([]),
        json!("/shared/a"),
        json!([1]),
        json!([""]),
        json!(["shared/a"]),
        json!(["/shared/a\u{0}"]),
        json!(["/shared/a\r\nb"]),
        json!([format!("/shared/{}", "x".repeat(5000))]),
        json!(vec!["/shared/a"; 1000]),
        Value::Null,
    ] {
        let answer = ask_native(&gate, &bearer, &json!({ "paths": paths }));
        assert!(issued(&answer).is_none(), "{paths}: {answer:?}");
    }
    for paths in [
        json!(["/shared/**"]),
        json!(["/shared/x/*.ts"]),
        json!(["/customers/42/a"]),
        json!(["/customers/42/**"]),
    ] {
        let answer = ask_native(&gate, &bearer, &json!({ "paths": paths }));
        assert_eq!(issued(&answer).expect("a token")["paths"], paths, "{answer:?}");
    }
}

#[test]
fn p24_a_caller_whose_name_is_a_pattern_gets_nothing_by_it() {
    let (_origin, gate, _) = native(SHARED);
    for subject in ["*", "**", "..", ".", "a/b", "4?", "{sub}"] {
        let bearer = Token::caller(subject, "media:read").bearer();
        let answer = ask_native(&gate, &bearer, &json!({ "paths": ["/customers/42/a"] }));
        assert!(issued(&answer).is_none(), "{subject}: {answer:?}");
    }
}

#[test]
fn p24_no_token_lives_longer_than_the_rule_says() {
    let (_origin, gate, bearer) = native(SHARED);
    for life in [
        json!(3601),
        json!(86_400),
        json!(9_223_372_036_854_775_807_i64),
        json!(1e30),
    ] {
        let answer = ask_native(
            &gate,
            &bearer,
            &json!({ "paths": ["/shared/a"], "expires_in": life }),
        );
        assert_eq!(answer.status, 422, "refused, never cut: {life}: {answer:?}");
    }
    for life in [
        json!(0),
        json!(-1),
        json!("60"),
        json!(1.5),
        json!(true),
        json!([60]),
    ] {
        let answer = ask_native(
            &gate,
            &bearer,
            &json!({ "paths": ["/shared/a"], "expires_in": life }),
        );
        assert!(issued(&answer).is_none(), "{life}: {answer:?}");
    }
    let answer = ask_native(
        &gate,
        &bearer,
        &json!({ "paths": ["/shared/a"], "expires_in": 3600 }),
    );
    assert_eq!(
        issued(&answer).expect("a token")["exp"].as_i64(),
        Some(NOW + 3600)
    );
}

#[test]
fn p24_a_media_id_is_limited_by_folder_and_owner() {
    let (_origin, gate, bearer) = native(conf::RULE);
    let answer = ask_native(&gate, &bearer, &json!({ "media": "01F9" }));
    assert_eq!(
        issued(&answer).unwrap_or_else(|| panic!("{answer:?}"))["media"],
        "01F9"
    );
    for media in [
        json!("01FB"),
        json!("01ZZ"),
        json!(""),
        json!(".."),
        json!("a/b"),
        json!(1),
        json!(["01F9"]),
    ] {
        let answer = ask_native(&gate, &bearer, &json!({ "media": media }));
        assert!(issued(&answer).is_none(), "{media}: {answer:?}");
    }
    let (_origin, gate, bearer) = native(&format!("{}own_media_only = true\n", conf::RULE));
    let answer = ask_native(&gate, &bearer, &json!({ "media": "01F9" }));
    assert!(issued(&answer).is_none(), "another's: {answer:?}");
}

#[test]
fn p24_another_subject_needs_the_rules_leave() {
    let (_origin, gate, bearer) = native(SHARED);
    let asked = json!({ "paths": ["/shared/a"], "sub": "43" });
    assert!(issued(&ask_native(&gate, &bearer, &asked)).is_none());
    let (_origin, gate, bearer) = native(&format!("{SHARED}any_subject = true\n"));
    let answer = ask_native(&gate, &bearer, &asked);
    assert_eq!(
        issued(&answer).unwrap_or_else(|| panic!("{answer:?}"))["sub"],
        "43"
    );
    // The caller's own scope stays the measure.
    let answer = ask_native(
        &gate,
        &bearer,
        &json!({ "paths": ["/customers/43/a"], "sub": "43" }),
    );
    assert!(issued(&answer).is_none(), "{answer:?}");
}

#[test]
fn p24_a_file_name_cannot_split_a_header() {
    let (_origin, gate, bearer) = native(SHARED);
    for name in [
        "a\r\nX: 1",
        "a\nb",
        "a\u{0}b",
        "a\u{7f}",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "",
        &"x".repeat(5000),
    ] {
        let answer = ask_native(
            &gate,
            &bearer,
            &json!({ "paths": ["/shared/a"], "filename": name }),
        );
        assert_eq!(answer.status, 422, "{name:?}: {answer:?}");
        assert!(
            answer.json()["violations"]
                .as_array()
                .is_some_and(|list| !list.is_empty()),
            "{answer:?}"
        );
    }
}

#[test]
fn p24_methods_addresses_and_parameters_are_checked() {
    let (_origin, gate, bearer) = native(SHARED);
    for (name, value) in [
        ("methods", json!(["DELETE"])),
        ("methods", json!(["GET", "PUT"])),
        ("methods", json!(["BREW"])),
        ("methods", json!("GET")),
        ("methods", json!([])),
        ("ips", json!(["300.1.1.1"])),
        ("ips", json!(["192.0.2.0/33"])),
        ("ips", json!("192.0.2.1")),
        ("args", json!({ "w": "x".repeat(10_000) })),
        ("args", json!({ "w": [1] })),
        ("args", json!([1])),
        ("uses", json!(2)),
        ("uses", json!(0)),
        ("uses", json!("1")),
        ("rate", json!(1)),
        ("nonsense", json!(1)),
        ("path", json!("/other")),
    ] {
        let answer = ask_native(&gate, &bearer, &json!({ "paths": ["/shared/a"], name: value }));
        assert!(issued(&answer).is_none(), "{name} = {value:.40}: {answer:?}");
    }
}

#[test]
fn the_native_dialect_reads_json_alone_and_strictly() {
    let (_origin, gate, bearer) = native(SHARED);
    let ask = |kind: &str, body: &[u8]| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        gate.ask("POST", "/v1/tokens", &headers, body)
    };
    let good = br#"{"paths":["/shared/a"]}"#;
    assert_eq!(ask("application/json", good).status, 201);
    assert_eq!(ask("application/json; charset=utf-8", good).status, 201);
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ] {
        assert_eq!(ask(kind, good).status, 415, "{kind}");
    }
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"\"x\"",
        b"{}{}",
        b"\xff",
        br#"{"paths":["/shared/a"],"paths":["/shared/b"]}"#,
    ] {
        let answer = ask("application/json", body);
        assert!(
            [400, 422].contains(&answer.status),
            "{}: {answer:?}",
            String::from_utf8_lossy(body)
        );
    }
    assert_eq!(ask("application/json", &vec![b' '; 100 * 1024]).status, 413);
}

#[test]
fn the_native_dialect_refuses_callers_as_problem_json() {
    let (_origin, gate, _) = native(SHARED);
    let body = json!({ "paths": ["/shared/a"] });
    for (bearer, status) in [
        (String::new(), 401),
        ("Bearer x".to_owned(), 401),
        (Token::caller("42", "media:read").expires(NOW - 60).bearer(), 401),
        (
            Token::caller("42", "media:read").key(mint::STRANGER).bearer(),
            401,
        ),
        (Token::caller("42", "media:read").without("sub").bearer(), 401),
        (Token::caller("42", "other:thing").bearer(), 403),
    ] {
        let answer = ask_native(&gate, &bearer, &body).expect(status);
        assert_eq!(media_type(&answer), "application/problem+json", "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(
            answer.header("www-authenticate").is_some(),
            status == 401,
            "{answer:?}"
        );
    }
}

#[test]
fn a_slow_or_cut_body_of_a_caller_holds_up_nobody() {
    let (_origin, gate, bearer) = native(SHARED);
    let mut slow = Client::connect(gate.issuer());
    slow.request(
        "POST",
        "/v1/tokens",
        &[
            ("Authorization", &bearer),
            ("Content-Type", "application/json"),
            ("Content-Length", "100"),
        ],
    );
    slow.send("{\"paths\":");
    let answer = ask_native(&gate, &bearer, &json!({ "paths": ["/shared/a"] }));
    assert_eq!(answer.status, 201, "{answer:?}");
    drop(slow);
    assert!([200, 201].contains(&ask_native(&gate, &bearer, &json!({ "paths": ["/shared/a"] })).status));
}
