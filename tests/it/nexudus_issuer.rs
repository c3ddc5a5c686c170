//! What Nexudus' portal asks the issuer for: media tokens (n1 – n8, n10, n11, n16) and one-time tokens (o1 – o5, o14, o16).

use std::sync::OnceLock;

use jsonwebtoken::Algorithm;
use mediagate::token::keys::KeySet;
use regex::Regex;
use serde_json::{Value, json};

use crate::support::client::media_type;
use crate::support::mint::{self, CALLERS, CALLERS_AUDIENCE, ISSUER, opened, tampered};
use crate::support::{Gate, NOW, Origin, Response, Setup, Token, conf};

const MEDIA: &str = "/api/auth/media/customer";
const REFRESH: &str = "/api/sys/users/token/refresh";

const RULE: &str =
    "[[issuer.rule]]\nrequires = \"portal:customer\"\npaths = [\"/customers/{sub}/**\"]\nmax_ttl = \"1h\"\n";

/// One RSA key for all tests: to make one takes a while.
fn rsa_key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| KeySet::generate(Algorithm::RS256).expect("a key"))
}

fn toml(origin: &Origin, rule: &str, more: &str) -> String {
    let route = "[[route]]\nname = \"portal\"\npath = \"/\"\norigin = \"files\"\ncarriers = [{ query = \"t\" }]\n\
        single_use = { strict = true }\nmount = [\"nexudus_media\", \"nexudus_token\"]\n[route.scheme]\nopaque = {}\n";
    conf::http(origin.address())
        + "[keys.nexudus]\nfile = \"{dir}/nexudus.jwks.json\"\ngenerate = \"RS256\"\n"
        + route
        + &format!("jwt = {{ keys = \"nexudus\", issuer = \"{ISSUER}\", audience = \"media\" }}\n")
        + "[issuer]\nlisten = \"127.0.0.1:0\"\ncors_origins = [\"https://portal.example.com\"]\n"
        + &format!(
            "[[issuer.callers]]\nkeys = \"callers\"\nissuer = \"{CALLERS}\"\naudience = \"{CALLERS_AUDIENCE}\"\n"
        )
        + rule
        + &format!(
            "[issuer.nexudus_media]\nkeys = \"nexudus\"\nissuer = \"{ISSUER}\"\naudience = \"media\"\n\
             [issuer.nexudus_token]\n"
        )
        + more
}

fn setup(rule: &str, more: &str) -> (Origin, Setup) {
    let origin = Origin::start();
    origin
        .file("/customers/42/invoice.pdf", "0123456789")
        .file("/customers/43/invoice.pdf", "other");
    let setup = Setup::new(toml(&origin, rule, more)).file("nexudus.jwks.json", rsa_key());
    (origin, setup)
}

fn start() -> (Origin, Gate) {
    let (origin, setup) = setup(RULE, "");
    (origin, setup.start())
}

fn customer(subject: &str) -> String {
    Token::caller(subject, "portal:customer").bearer()
}

fn ask(gate: &Gate, method: &str, path: &str, bearer: &str) -> Response {
    gate.ask(method, path, &[("Authorization", bearer)], b"")
}

fn media_token(gate: &Gate) -> String {
    let body = ask(gate, "GET", MEDIA, &customer("42")).expect(200).json();
    body["jwt"].as_str().expect("jwt").to_owned()
}

fn one_time_token(gate: &Gate) -> String {
    let body = ask(gate, "POST", REFRESH, &customer("42")).expect(200).json();
    body["Value"].as_str().expect("Value").to_owned()
}

/// All ways to have no good bearer.
fn bad_bearers() -> Vec<Option<String>> {
    let caller = || Token::caller("42", "portal:customer");
    vec![
        None,
        Some("Basic dTpw".into()),
        Some("Bearer".into()),
        Some("Bearer x".into()),
        Some(caller().expires(NOW - 60).bearer()),
        Some(caller().claim("nbf", NOW + 60).bearer()),
        Some(caller().key(mint::STRANGER).bearer()),
        Some(caller().header("alg", "none").bearer()),
        Some(caller().without("sub").bearer()),
        Some(format!("Bearer {}", tampered(&caller().text()))),
    ]
}

#[test]
fn n1_a_customer_gets_one_jwt_and_nothing_else() {
    let (_origin, gate) = start();
    let answer = ask(&gate, "GET", MEDIA, &customer("42")).expect(200);
    assert_eq!(media_type(&answer), "application/json");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["jwt"]);
}

#[test]
fn n3_head_makes_no_token_and_is_told_as_much_as_get() {
    let (_origin, setup_) = setup(&format!("{RULE}per_minute = 1\n"), "");
    let gate = setup_.start();
    let mut client = gate.connect_issuer();
    for _ in 0..3 {
        let head = client
            .exchange("HEAD", MEDIA, &[("Authorization", &customer("42"))])
            .expect(200);
        assert!(head.text().is_empty() && head.header("content-length").is_none());
        assert_eq!(media_type(&head), "application/json");
        assert_eq!(head.header("cache-control"), Some("no-store"));
    }
    client.exchange("HEAD", MEDIA, &[]).expect(401);
    let poor = Token::caller("42", "other").bearer();
    client
        .exchange("HEAD", MEDIA, &[("Authorization", &poor)])
        .expect(403);
    media_token(&gate);
    let codes: Vec<Value> = gate.access(6).iter().map(|line| line["code"].clone()).collect();
    assert_eq!(
        codes,
        [
            "looked",
            "looked",
            "looked",
            "caller_missing",
            "not_allowed",
            "issued"
        ]
    );
}

#[test]
fn n2_without_a_good_bearer_it_is_401_without_a_body() {
    let (_origin, gate) = start();
    for bearer in bad_bearers() {
        let headers: Vec<(&str, &str)> = bearer.iter().map(|value| ("Authorization", &**value)).collect();
        let answer = gate.ask("GET", MEDIA, &headers, b"").expect(401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{bearer:?}");
        assert!(answer.text().is_empty(), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn n3_other_methods_are_405_with_allow() {
    let (_origin, gate) = start();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = ask(&gate, method, MEDIA, &customer("42")).expect(405);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method}");
    }
}

#[test]
fn n4_the_token_is_rs256_for_the_caller_and_lives_a_minute() {
    let (_origin, gate) = start();
    let (header, claims) = opened(&media_token(&gate));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("JWT")));
    assert_eq!(claims["sub"], "42");
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!(ISSUER), &json!("media"))
    );
    let times = |name: &str| claims[name].as_i64().expect("a time");
    assert_eq!(times("exp") - times("iat"), 60);
    assert_eq!(claims["paths"], json!(["/customers/42/**"]));
    // Who cannot read the key set of the issuer can't check it: the key is there.
    let published = gate
        .ask("GET", "/.well-known/jwks.json", &[], b"")
        .expect(200)
        .json();
    let key = &published["keys"][0];
    assert_eq!((&key["alg"], &key["kid"]), (&json!("RS256"), &header["kid"]));
    assert!(key.get("d").is_none() && key.get("p").is_none(), "{key}");
}

#[test]
fn n5_n6_n7_the_token_opens_that_customers_files_alone_for_a_minute() {
    let (origin, gate) = start();
    let token = media_token(&gate);
    for _ in 0..10 {
        let answer = gate
            .get(&format!("/customers/42/invoice.pdf?t={token}"), &[])
            .expect(200);
        assert_eq!(answer.text(), "0123456789");
    }
    gate.get(&format!("/customers/43/invoice.pdf?t={token}"), &[])
        .refused(403, "scope_denied");
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| seen.target == "/customers/42/invoice.pdf")
    );
    gate.advance(66);
    gate.get(&format!("/customers/42/invoice.pdf?t={token}"), &[])
        .refused(401, "token_expired");
}

#[test]
fn n8_trap_11_the_public_key_is_no_hmac_secret() {
    let (origin, gate) = start();
    let (_, claims) = opened(&media_token(&gate));
    let set: Value = serde_json::from_str(rsa_key()).unwrap();
    let key = &set["keys"][0];
    let modulus = mint::unb64(key["n"].as_str().unwrap());
    for secret in [modulus.as_slice(), key["n"].as_str().unwrap().as_bytes()] {
        let forged = mint::hs256(
            &json!({ "typ": "JWT", "alg": "HS256", "kid": key["kid"] }),
            &claims,
            secret,
        );
        gate.get(&format!("/customers/42/invoice.pdf?t={forged}"), &[])
            .refused(401, "token_invalid");
    }
    origin.untouched();
}

#[test]
fn n10_n11_a_media_token_and_a_bearer_do_not_stand_for_each_other() {
    let (origin, gate) = start();
    let token = format!("Bearer {}", media_token(&gate));
    ask(&gate, "GET", MEDIA, &token).expect(401);
    ask(&gate, "POST", REFRESH, &token).expect(401);
    let bearer = Token::caller("42", "portal:customer").text();
    gate.get(&format!("/customers/42/invoice.pdf?t={bearer}"), &[])
        .refused(401, "token_invalid");
    origin.untouched();
}

#[test]
fn n16_too_often_is_409_with_a_second_to_wait_and_no_body() {
    let rule = format!("{RULE}per_minute = 2\n");
    let (_origin, setup_) = setup(&rule, "");
    let gate = setup_.start();
    for (method, path) in [("GET", MEDIA), ("POST", REFRESH)] {
        let bearer = customer(method);
        ask(&gate, method, path, &bearer).expect(200);
        ask(&gate, method, path, &bearer).expect(200);
        let answer = ask(&gate, method, path, &bearer).expect(409);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("content-length"), Some("0"));
        gate.advance(30);
        ask(&gate, method, path, &bearer).expect(200);
    }
}

#[test]
fn n16_without_the_profile_too_often_is_429() {
    let rule = format!("{RULE}per_minute = 1\n");
    let (_origin, setup_) = setup(&rule, "limit_status = 429\n");
    let gate = setup_.start();
    one_time_token(&gate);
    let answer = ask(&gate, "POST", REFRESH, &customer("42")).expect(429);
    assert_eq!(answer.header("retry-after"), Some("60"));
    assert_eq!(answer.json()["Status"], 429);
}

#[test]
fn o1_a_one_time_token_comes_in_the_services_own_envelope() {
    let (_origin, gate) = start();
    let answer = ask(&gate, "POST", REFRESH, &customer("42")).expect(200);
    let wanted =
        r#"^\{"WasSuccessful":true,"Value":"[0-9a-f]{32}","Status":200,"Message":null,"Errors":null\}$"#;
    assert!(Regex::new(wanted).unwrap().is_match(&answer.text()), "{answer:?}");
    assert_eq!(media_type(&answer), "application/json");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn o2_two_calls_give_two_tokens_and_each_works_once() {
    let (origin, gate) = start();
    let (one, other) = (one_time_token(&gate), one_time_token(&gate));
    assert_ne!(one, other);
    for token in [&one, &other] {
        let path = format!("/customers/42/invoice.pdf?t={token}");
        gate.get(&path, &[]).expect(200);
        gate.get(&path, &[]).refused(410, "token_spent");
    }
    assert_eq!(origin.seen().len(), 2);
    let third = one_time_token(&gate);
    gate.get(&format!("/customers/43/invoice.pdf?t={third}"), &[])
        .refused(403, "scope_denied");
    gate.advance(66);
    gate.get(&format!("/customers/42/invoice.pdf?t={third}"), &[])
        .refused(401, "token_expired");
}

#[test]
fn o14_on_a_file_a_one_time_token_is_one_download_and_its_client_may_go_on() {
    let (origin, gate) = start();
    gate.edit("single_use = { strict = true }\n", "").reload();
    let path = format!("/customers/42/invoice.pdf?t={}", one_time_token(&gate));
    let ask = |agent: &str, range: Option<&str>| {
        let mut headers = vec![("User-Agent", agent)];
        headers.extend(range.map(|range| ("Range", range)));
        gate.connect()
            .allow("set-cookie")
            .exchange("GET", &path, &headers)
    };
    assert_eq!(ask("anna", None).expect(200).text(), "0123456789");
    for (range, part) in [("bytes=2-5", "2345"), ("bytes=-3", "789"), ("bytes=0-0", "0")] {
        assert_eq!(ask("anna", Some(range)).expect(206).text(), part);
        ask("bert", Some(range)).refused(410, "token_spent");
    }
    ask("bert", None).refused(410, "token_spent");
    assert_eq!(origin.seen().len(), 4);
}

#[test]
fn o3_without_a_good_bearer_it_is_a_plain_401() {
    let (_origin, gate) = start();
    for bearer in bad_bearers() {
        let headers: Vec<(&str, &str)> = bearer.iter().map(|value| ("Authorization", &**value)).collect();
        let answer = gate.ask("POST", REFRESH, &headers, b"").expect(401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{bearer:?}");
        assert!(answer.text().is_empty(), "{answer:?}");
    }
}

#[test]
fn o4_a_full_store_hands_out_nothing() {
    let (_origin, setup_) = setup(RULE, "ttl = \"1h\"\n[store]\nmax_entries = 1000\n");
    let gate = setup_.start();
    let bearer = customer("42");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (gate, bearer) = (&gate, &bearer);
            let name = format!("support-filler-{number}");
            let filler = move || {
                let mut client = gate.connect_issuer();
                for _ in 0..50 {
                    let headers = [("Authorization", bearer.as_str()), ("Content-Length", "0")];
                    client.exchange("POST", REFRESH, &headers).expect(200);
                }
            };
            std::thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, filler)
                .unwrap();
        }
    });
    let answer = ask(&gate, "POST", REFRESH, &bearer).expect(500);
    let body = answer.json();
    assert_eq!(
        (&body["WasSuccessful"], &body["Value"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(body["Status"], 500);
    assert!(
        body["Message"]
            .as_str()
            .is_some_and(|message| !message.is_empty()),
        "{body}"
    );
}

#[test]
fn o5_a_body_says_nothing() {
    let (_origin, gate) = start();
    let bearer = customer("42");
    for body in [
        &b"{}"[..],
        b"[1",
        b"\xff\xfe",
        b"{\"sub\":\"43\",\"paths\":[\"/**\"]}",
        b"a=1&a=2",
    ] {
        for media_type in [
            "application/json",
            "application/x-www-form-urlencoded",
            "text/plain",
        ] {
            let headers = [("Authorization", bearer.as_str()), ("Content-Type", media_type)];
            let answer = gate.ask("POST", REFRESH, &headers, body).expect(200);
            let token = answer.json()["Value"].as_str().unwrap().to_owned();
            gate.get(&format!("/customers/43/invoice.pdf?t={token}"), &[])
                .refused(403, "scope_denied");
        }
    }
    let large = vec![b' '; 100 * 1024];
    let answer = gate
        .ask("POST", REFRESH, &[("Authorization", &bearer)], &large)
        .expect(413);
    assert_eq!(
        (&answer.json()["Status"], &answer.json()["Value"]),
        (&json!(413), &Value::Null)
    );
}

#[test]
fn o1_get_asks_for_a_token_only_where_that_is_configured() {
    let (_origin, gate) = start();
    let answer = ask(&gate, "GET", REFRESH, &customer("42")).expect(405);
    assert_eq!(answer.header("allow"), Some("POST"));
    assert_eq!(answer.json()["WasSuccessful"], false);
    let (_origin, setup_) = setup(RULE, "allow_get = true\n");
    let gate = setup_.start();
    assert_eq!(
        ask(&gate, "GET", REFRESH, &customer("42")).expect(200).json()["Status"],
        200
    );
    let mut client = gate.connect_issuer();
    client
        .exchange("HEAD", REFRESH, &[("Authorization", &customer("42"))])
        .expect(405);
}

#[test]
fn o16_the_callers_bearer_is_not_changed() {
    let (_origin, gate) = start();
    let bearer = customer("42");
    for _ in 0..3 {
        ask(&gate, "POST", REFRESH, &bearer).expect(200);
        ask(&gate, "GET", MEDIA, &bearer).expect(200);
    }
}

#[test]
fn a_caller_without_the_permission_gets_nothing_in_the_dialects_shape() {
    let (_origin, gate) = start();
    let poor = Token::caller("42", "other").bearer();
    let answer = ask(&gate, "POST", REFRESH, &poor).expect(403);
    assert_eq!(
        (&answer.json()["Status"], &answer.json()["Value"]),
        (&json!(403), &Value::Null)
    );
    assert_eq!(
        media_type(&ask(&gate, "GET", MEDIA, &poor).expect(403)),
        "text/plain"
    );
    // A subject that can't be a segment fills no template: there is nothing that its token could open.
    for subject in ["..", "a/b", "*", "a\u{0}b"] {
        let answer = ask(&gate, "POST", REFRESH, &customer(subject));
        assert_eq!(answer.status, 403, "{subject:?}: {answer:?}");
    }
}

#[test]
fn both_dialects_answer_browsers_and_stand_on_the_gates_listener() {
    let (_origin, gate) = start();
    let mut client = gate.connect();
    let origin = ("Origin", "https://portal.example.com");
    let bearer = customer("42");
    for (method, path, allow) in [("GET", MEDIA, "GET, HEAD"), ("POST", REFRESH, "POST")] {
        let headers = [
            origin,
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "authorization"),
        ];
        let preflight = client.exchange("OPTIONS", path, &headers).expect(204);
        assert_eq!(preflight.header("access-control-allow-origin"), Some(origin.1));
        assert_eq!(preflight.header("access-control-allow-methods"), Some(allow));
        let allowed = preflight
            .header("access-control-allow-headers")
            .unwrap_or_default();
        assert!(allowed.contains("Authorization"), "{allowed}");
        let headers = [origin, ("Authorization", &bearer), ("Content-Length", "0")];
        let answer = client.exchange(method, path, &headers).expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1));
        let refused = client
            .exchange(method, path, &[origin, ("Content-Length", "0")])
            .expect(401);
        assert_eq!(refused.header("access-control-allow-origin"), Some(origin.1));
        let other = [
            ("Origin", "https://evil.example"),
            ("Access-Control-Request-Method", method),
        ];
        let refused = client.exchange("OPTIONS", path, &other).expect(403);
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
}

#[test]
fn native_tokens_may_be_asked_for_once_and_a_rule_may_demand_it() {
    let rules = "[[issuer.rule]]\nrequires = \"once\"\npaths = [\"/**\"]\nmax_ttl = \"1h\"\nuses = 1\n\
        [[issuer.rule]]\nrequires = \"any\"\npaths = [\"/**\"]\nmax_ttl = \"1h\"\n";
    let native =
        format!("[issuer.native]\nkeys = \"nexudus\"\nissuer = \"{ISSUER}\"\naudience = \"media\"\n");
    let (_origin, setup_) = setup(rules, &native);
    let gate = setup_.start();
    for (scope, uses, once) in [("once", None, true), ("any", Some(1), true), ("any", None, false)] {
        let mut wish = json!({ "paths": ["/customers/42/invoice.pdf"] });
        if let Some(uses) = uses {
            wish["uses"] = json!(uses);
        }
        let bearer = Token::caller("b", scope).bearer();
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let answer = gate
            .ask("POST", "/v1/tokens", &headers, wish.to_string().as_bytes())
            .expect(201);
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(opened(&token).1.get("uses").is_some(), once);
        let path = format!("/customers/42/invoice.pdf?t={token}");
        gate.get(&path, &[]).expect(200);
        assert_eq!(gate.get(&path, &[]).status, if once { 410 } else { 200 });
    }
}
