//! Sirv's protected URLs: the endpoint that makes them (s1 – s9, s18, s20, s21), what their tokens open (s10 – s17, s19), and
//! the bearers of `POST /v2/token`.

use std::sync::OnceLock;

use mediagate::issuer::accounts::PasswordHash;
use regex::Regex;
use serde_json::{Value, json};

use crate::support::client::{HOST, media_type};
use crate::support::gate::ask_over;
use crate::support::mint::{self, CALLERS, CALLERS_AUDIENCE, opened, tampered};
use crate::support::{Gate, NOW, Origin, Response, Setup, Token, conf};

const FILES: &str = "/v2/files/jwt";
const BEARER: &str = "/v2/token";
pub(crate) const KEY: &str = "sirv-key-of-the-folder-sirv-key-001";
const SECOND: &str = "sirv-key-of-the-folder-sirv-key-002";
const DEMO: &str = "sirv-key-of-the-demo-account-key-003";
pub(crate) const SECRET: &str = "client secret &=%+ü";

const LEFT: [&str; 3] = [
    "x-global-ratelimit-limit",
    "x-global-ratelimit-remaining",
    "x-global-ratelimit-reset",
];

const RULES: &str = "[[issuer.rule]]\ncaller = \"narrow\"\nrequires = \"files:read\"\npaths = [\"/docs/\", \"/p/a.jpg\"]\n\
    max_ttl = \"1h\"\nper_minute = 2\n\
    [[issuer.rule]]\ncaller = \"once\"\nrequires = \"files:read\"\npaths = [\"/**\"]\nmax_ttl = \"1h\"\nuses = 1\n\
    [[issuer.rule]]\nrequires = \"files:read\"\npaths = [\"/**\"]\nmax_ttl = \"366d\"\n";

/// A hash takes a while: one for all.
fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let hash = PasswordHash::of(SECRET.as_bytes()).expect("a hash");
        hash.reveal().to_owned()
    })
}

/// A gate for images and its issuer, with further keys of the route, of `[issuer.sirv]`, and further tables.
pub(crate) fn toml(origin: &Origin, route: &str, dialect: &str, more: &str) -> String {
    conf::http(origin.address())
        + "[[keys.sirv.inline]]\nalg = \"HS256\"\nsecret = { file = \"{dir}/sirv.key\" }\n\
           [[keys.sirv.inline]]\nalg = \"HS256\"\nsecret = { file = \"{dir}/second.key\" }\n\
           [[keys.demo.inline]]\nalg = \"HS256\"\nsecret = { file = \"{dir}/demo.key\" }\n\
           [[route]]\nname = \"images\"\npath = \"/\"\norigin = \"files\"\ndialect = \"sirv\"\n\
           carriers = [{ query = \"jwt\" }, { bearer = {} }]\nmount = [\"sirv\", \"sirv_bearer\"]\n"
        + route
        + "[issuer]\nlisten = \"127.0.0.1:0\"\ncallers_file = \"callers.toml\"\n\
           cors_origins = [\"https://app.example.com\"]\n"
        + &format!(
            "[[issuer.callers]]\nkeys = \"callers\"\nissuer = \"{CALLERS}\"\naudience = \"{CALLERS_AUDIENCE}\"\n\
             [issuer.bearers]\nkeys = \"callers\"\nissuer = \"{CALLERS}\"\naudience = \"{CALLERS_AUDIENCE}\"\n"
        )
        + RULES
        + "[issuer.sirv_bearer]\n[issuer.sirv]\nkeys = \"sirv\"\n"
        + dialect
        + "[issuer.sirv.aliases.demo]\nurl = \"https://demo.sirv.example\"\nkeys = \"demo\"\n\
           [issuer.sirv.aliases.mirror]\nurl = \"https://mirror.example\"\n"
        + more
}

pub(crate) const SCHEME: &str = "[route.scheme.sirv]\nkeys = \"sirv\"\n";

pub(crate) fn secrets(setup: Setup) -> Setup {
    let entry = |kind: &str, name: &str, scope: &str| {
        format!(
            "[[{kind}]]\nname = \"{name}\"\nsubject = \"{name}-subject\"\nscope = \"{scope}\"\nhash = \"{}\"\n",
            hash()
        )
    };
    setup
        .file("sirv.key", KEY)
        .file("second.key", SECOND)
        .file("demo.key", DEMO)
        .file(
            "callers.toml",
            entry("client", "backend", "files:read other") + &entry("user", "person", "files:read"),
        )
}

fn setup_with(route: &str, dialect: &str) -> (Origin, Setup) {
    let origin = Origin::start();
    for path in [
        "/docs/a.pdf",
        "/docs/x/b.jpg",
        "/docs/report%201.pdf",
        "/docs2/a",
        "/path/to/a",
        "/path/t1/a",
        "/path/s",
        "/a.jpg",
    ] {
        origin.file(path, "0123456789");
    }
    let setup = secrets(Setup::new(toml(&origin, route, dialect, "")));
    (origin, setup)
}

fn start() -> (Origin, Gate) {
    let (origin, setup) = setup_with(SCHEME, "");
    (origin, setup.start())
}

fn bearer(subject: &str) -> String {
    Token::caller(subject, "files:read")
        .expires(NOW + 500 * 86_400)
        .bearer()
}

/// Asks one of Sirv's addresses.
fn post(gate: &Gate, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let client = gate.connect_issuer();
    let mut client = LEFT.iter().fold(client, |client, name| client.allow(name));
    let mut all = vec![("Content-Type", "application/json")];
    all.extend(headers);
    ask_over(&mut client, "POST", path, &all, body.as_bytes())
}

fn ask_as(gate: &Gate, subject: &str, body: &str) -> Response {
    post(gate, FILES, &[("Authorization", &bearer(subject))], body)
}

fn ask(gate: &Gate, body: &Value) -> Response {
    ask_as(gate, "svc", &body.to_string())
}

/// The URL that an answer holds, without scheme and host.
fn target(answer: &Response) -> String {
    let url = answer.json()["url"].as_str().expect("a url").to_owned();
    url.strip_prefix(&format!("http://{HOST}"))
        .unwrap_or_else(|| panic!("{url}"))
        .to_owned()
}

fn protected(gate: &Gate, body: &Value) -> String {
    target(&ask(gate, body).expect(200))
}

fn token(target: &str) -> &str {
    target.rsplit("jwt=").next().expect("a token")
}

/// A token that a customer signs by himself.
fn signed(payload: &str) -> String {
    mint::raw(r#"{"alg":"HS256","typ":"JWT"}"#, payload, KEY.as_bytes())
}

fn opening(aud: &str) -> String {
    signed(&json!({ "iat": NOW, "exp": NOW + 300, "aud": aud }).to_string())
}

/// A refusal in the endpoint's shape.
#[track_caller]
fn refused(answer: &Response, status: u16, error: &str) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(media_type(answer), "application/json");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(
        (&body["statusCode"], &body["error"]),
        (&json!(status), &json!(error)),
        "{body}"
    );
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty()),
        "{body}"
    );
    assert_eq!(body.get("validationErrors").is_some(), status == 400, "{body}");
    assert_eq!(
        body.as_object().unwrap().len(),
        if status == 400 { 4 } else { 3 },
        "{body}"
    );
    body
}

/// A refusal that does not say why.
#[track_caller]
fn forbidden(answer: Response) {
    let answer = answer.refused(403, "forbidden");
    let text = answer.text();
    for reason in [
        "expire",
        "signature",
        "scope",
        "invalid",
        "missing",
        "incomplete",
        "spent",
    ] {
        assert!(!text.contains(reason), "{text}");
    }
}

#[test]
fn s1_a_caller_gets_a_url_with_its_token() {
    let (_origin, gate) = start();
    let answer = ask(&gate, &json!({ "filename": "/docs/a.pdf", "expiresIn": 300 })).expect(200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let wanted =
        format!("^\\{{\n  \"url\": \"http://{HOST}/docs/a\\.pdf\\?jwt=[\\w-]+\\.[\\w-]+\\.[\\w-]+\"\n\\}}$");
    assert!(
        Regex::new(&wanted).unwrap().is_match(&answer.text()),
        "{}",
        answer.text()
    );
    assert_eq!(gate.get(&target(&answer), &[]).expect(200).text(), "0123456789");
}

#[test]
fn s2_trap_10_the_token_says_times_and_the_decoded_path_and_nothing_else() {
    let (_origin, gate) = start();
    let target = protected(
        &gate,
        &json!({ "filename": "/docs/report 1.pdf", "expiresIn": 300 }),
    );
    let (header, claims) = opened(token(&target));
    assert_eq!(header, json!({ "alg": "HS256", "typ": "JWT" }));
    assert_eq!(
        claims,
        json!({ "iat": NOW, "exp": NOW + 300, "aud": "/docs/report 1.pdf" })
    );
    let text = String::from_utf8(mint::unb64(token(&target).split('.').nth(1).unwrap())).unwrap();
    assert!(text.starts_with("{\"iat\":"), "{text}");
}

#[test]
fn s3_secure_parameters_are_in_the_token_with_their_types_and_not_in_the_url() {
    let (origin, gate) = start();
    let secure = r#"{"w":300,"h":300,"text":"a b","grayscale":true,"q":0.5}"#;
    let body = format!(r#"{{"filename":"/a.jpg","expiresIn":60,"secureParams":{secure}}}"#);
    let target = target(&ask_as(&gate, "svc", &body).expect(200));
    assert!(target.starts_with("/a.jpg?jwt="), "{target}");
    let text = String::from_utf8(mint::unb64(token(&target).split('.').nth(1).unwrap())).unwrap();
    assert!(
        text.starts_with(&format!("{{\"args\":{secure},\"iat\":")),
        "{text}"
    );
    gate.get(&target, &[]).expect(200);
    assert_eq!(
        origin.last().target,
        "/a.jpg?w=300&h=300&text=a%20b&grayscale=true&q=0%2E5"
    );
    let empty = json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": {} });
    assert!(opened(token(&protected(&gate, &empty))).1.get("args").is_none());
}

#[test]
fn s4_insecure_parameters_are_in_the_url_and_not_in_the_token() {
    let (origin, gate) = start();
    let body = json!({
        "filename": "/a.jpg", "expiresIn": 60, "secureParams": { "text": "Hello!" },
        "insecureParams": { "w": 500, "profile": "a&jwt=b#c" },
    });
    let target = protected(&gate, &body);
    assert!(
        target.contains("w=500&") && target.contains("profile=a%26jwt%3Db%23c&"),
        "{target}"
    );
    assert!(target.rfind("jwt=") > target.find("w=500"), "{target}");
    assert_eq!(opened(token(&target)).1["args"], json!({ "text": "Hello!" }));
    gate.get(&target, &[]).expect(200);
    let asked = origin.last().target;
    assert!(
        asked.contains("w=500") && asked.ends_with("&text=Hello%21"),
        "{asked}"
    );
    // They are the recipient's to change.
    gate.get(&target.replace("w=500", "w=1"), &[]).expect(200);
    assert!(origin.last().target.contains("w=1&"));
}

#[test]
fn s5_what_is_asked_wrongly_is_400_and_every_mistake_is_told() {
    let (_origin, gate) = start();
    let long = format!("/{}", "a".repeat(1024));
    for body in [
        json!({ "filename": "a.jpg", "expiresIn": 60 }),
        json!({ "filename": long, "expiresIn": 60 }),
        json!({ "expiresIn": 60 }),
        json!({ "filename": "/a.jpg" }),
        json!({ "filename": "/a.jpg", "expiresIn": "60" }),
        json!({ "filename": "/a.jpg", "expiresIn": null }),
        json!({ "filename": "/a.jpg", "expiresIn": 0 }),
        json!({ "filename": "/a.jpg", "expiresIn": -1 }),
        json!({ "filename": "/a.jpg", "expiresIn": 1.5 }),
        json!({ "filename": "/a.jpg", "expiresIn": u64::MAX }),
        json!({ "filename": "/a.jpg", "expiresIn": 400 * 86_400 }),
        json!({ "filename": "/a.jpg", "expiresIn": 60, "secureparams": {} }),
        json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": "w=1" }),
        json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": { "w": { "x": 1 } } }),
        json!({ "filename": "/a.jpg", "expiresIn": 60, "insecureParams": { "jwt": "x" } }),
        json!({ "filename": "/a.jpg\r\nX: y", "expiresIn": 60 }),
        json!({ "filename": "/a/../b", "expiresIn": 60 }),
        json!({ "filename": "/a%2fb", "expiresIn": 60 }),
    ] {
        let answer = ask(&gate, &body);
        let body = refused(&answer, 400, "Bad Request");
        assert_eq!(body["message"], "Supplied data is not valid");
        let errors = body["validationErrors"].as_array().unwrap();
        assert!(
            !errors.is_empty() && errors.iter().all(|error| error["message"].is_string()),
            "{body}"
        );
    }
    for text in [
        "",
        "[]",
        "x",
        "{\"filename\":NaN}",
        "{\"filename\":\"/a.jpg\",\"filename\":\"/b.jpg\",\"expiresIn\":60}",
        "{\"filename\":\"/a.jpg\",\"expiresIn\":60,\"secureParams\":{\"w\":1,\"w\":2}}",
        "{\"filename\":\"/a.jpg\",\"expiresIn\":NaN}",
    ] {
        refused(&ask_as(&gate, "svc", text), 400, "Bad Request");
    }
    let told = ask(
        &gate,
        &json!({ "filename": 1, "expiresIn": 0, "secureParams": [], "x": "secret-of-mine" }),
    );
    assert_eq!(told.json()["validationErrors"].as_array().unwrap().len(), 4);
    assert!(
        !told.text().contains("secret-of-mine"),
        "nothing of the request is repeated"
    );
}

#[test]
fn s6_the_empty_object_of_the_documentation_is_400() {
    let (_origin, gate) = start();
    let answer = ask(&gate, &json!({}));
    let body = refused(&answer, 400, "Bad Request");
    let expected = json!([{ "message": "filename: is required" }, { "message": "expiresIn: is required" }]);
    assert_eq!(body["validationErrors"], expected);
}

#[test]
fn s7_without_a_good_bearer_it_is_401() {
    let (_origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string();
    let caller = || Token::caller("svc", "files:read");
    for value in [
        None,
        Some("Basic dTpw".to_owned()),
        Some("Bearer".into()),
        Some(caller().expires(NOW - 60).bearer()),
        Some(caller().key(mint::STRANGER).bearer()),
        Some(format!("Bearer {}", tampered(&caller().text()))),
        // A token of a link is no bearer.
        Some(format!("Bearer {}", opening("/"))),
    ] {
        let headers: Vec<(&str, &str)> = value.iter().map(|value| ("Authorization", &**value)).collect();
        let answer = post(&gate, FILES, &headers, &body);
        refused(&answer, 401, "Unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let poor = Token::caller("svc", "other").bearer();
    refused(
        &post(&gate, FILES, &[("Authorization", &poor)], &body),
        403,
        "Forbidden",
    );
}

#[test]
fn s8_an_alias_has_its_own_host_and_keys_and_an_unknown_one_is_400() {
    let (_origin, gate) = start();
    let url = |alias: &str| {
        let body = json!({ "filename": "/a.jpg", "expiresIn": 60, "alias": alias });
        ask(&gate, &body).expect(200).json()["url"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let demo = url("demo");
    assert!(demo.starts_with("https://demo.sirv.example/a.jpg?jwt="), "{demo}");
    forbidden(gate.get(&format!("/a.jpg?jwt={}", token(&demo)), &[]));
    let mirror = url("mirror");
    assert!(
        mirror.starts_with("https://mirror.example/a.jpg?jwt="),
        "{mirror}"
    );
    gate.get(&format!("/a.jpg?jwt={}", token(&mirror)), &[])
        .expect(200);
    for alias in ["other", "Demo", "demo.", "../demo"] {
        let body = json!({ "filename": "/a.jpg", "expiresIn": 60, "alias": alias });
        refused(&ask(&gate, &body), 400, "Bad Request");
    }
}

#[test]
fn s9_a_key_of_the_account_signs_and_any_other_is_403() {
    let (_origin, gate) = start();
    let body = |key: &str| json!({ "filename": "/a.jpg", "expiresIn": 60, "key": key });
    let by = |key: &str| token(&protected(&gate, &body(key))).to_owned();
    let payload = json!({ "iat": NOW, "exp": NOW + 60, "aud": "/a.jpg" });
    for key in [KEY, SECOND] {
        let (header, claims) = opened(&by(key));
        assert_eq!(claims, payload);
        assert_eq!(header, json!({ "alg": "HS256", "typ": "JWT" }));
        let text = format!("{{\"iat\":{NOW},\"exp\":{},\"aud\":\"/a.jpg\"}}", NOW + 60);
        let expected = mint::raw(r#"{"alg":"HS256","typ":"JWT"}"#, &text, key.as_bytes());
        assert_eq!(by(key), expected, "trap 9: the key is the text itself");
        gate.get(&format!("/a.jpg?jwt={expected}"), &[]).expect(200);
    }
    let default = protected(&gate, &json!({ "filename": "/a.jpg", "expiresIn": 60 }));
    assert_eq!(token(&default), by(KEY));
    let near = format!("{}x", &KEY[..KEY.len() - 1]);
    for key in [DEMO, "x", &near, &KEY[1..], &"k".repeat(1000)] {
        let answer = ask(&gate, &body(key));
        refused(&answer, 403, "Forbidden");
        assert!(!answer.text().contains(key) || key == "x", "{answer:?}");
    }
    let of_demo = json!({ "filename": "/a.jpg", "expiresIn": 60, "alias": "demo", "key": DEMO });
    ask(&gate, &of_demo).expect(200);
    let of_other = json!({ "filename": "/a.jpg", "expiresIn": 60, "alias": "demo", "key": KEY });
    refused(&ask(&gate, &of_other), 403, "Forbidden");
}

#[test]
fn s10_the_token_stays_here_and_its_args_go_to_the_origin() {
    let (origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": { "w": 300 } });
    let target = protected(&gate, &body);
    gate.get(&target, &[]).expect(200);
    assert_eq!(origin.last().target, "/a.jpg?w=300");
    gate.get(&format!("{target}&x=1"), &[]).expect(200);
    assert_eq!(origin.last().target, "/a.jpg?x=1&w=300");
    assert!(!String::from_utf8_lossy(&origin.received().concat()).contains(token(&target)));
}

#[test]
fn s10_args_that_are_not_forwarded_take_the_clients_own_out_all_the_same() {
    let (origin, setup) = setup_with(&format!("{SCHEME}forward_args = false\n"), "");
    let gate = setup.start();
    let payload = json!({ "exp": NOW + 60, "aud": "/a.jpg", "args": { "w": 300 } }).to_string();
    let token = signed(&payload);
    for (query, asked) in [
        ("", "/a.jpg"),
        ("w=9999&", "/a.jpg"),
        ("h=1&w=9999&", "/a.jpg?h=1"),
    ] {
        gate.get(&format!("/a.jpg?{query}jwt={token}"), &[]).expect(200);
        assert_eq!(origin.last().target, asked);
    }
    // The same token, once the configuration says otherwise: nothing of the old verdict is left.
    gate.edit("forward_args = false\n", "").reload();
    gate.get(&format!("/a.jpg?jwt={token}"), &[]).expect(200);
    assert_eq!(origin.last().target, "/a.jpg?w=300");
}

#[test]
fn s11_whatever_is_wrong_with_a_token_is_403_without_a_reason() {
    let (origin, gate) = start();
    let payload = |more: Value| {
        let mut payload = json!({ "iat": NOW, "exp": NOW + 300, "aud": "/" });
        for (name, value) in more.as_object().unwrap() {
            payload[name] = value.clone();
        }
        payload
    };
    let by = |header: Value, key: &str| {
        mint::raw(
            &header.to_string(),
            &payload(json!({})).to_string(),
            key.as_bytes(),
        )
    };
    let hs256 = || json!({ "alg": "HS256", "typ": "JWT" });
    let mut bad = vec![
        opening("/docs/"),
        tampered(&opening("/")),
        by(hs256(), DEMO),
        by(json!({ "alg": "none", "typ": "JWT" }), KEY),
        by(json!({ "alg": "HS512", "typ": "JWT" }), KEY),
        by(json!({ "alg": "RS256", "typ": "JWT" }), KEY),
        by(json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), KEY),
        Token::whole().text(),
        Token::caller("svc", "files:read").text(),
        "x".into(),
        "a.b.c".into(),
        "x".repeat(9000),
        "0123456789abcdef0123456789abcdef".into(),
    ];
    for more in [
        json!({ "exp": NOW - 10 }),
        json!({ "exp": "never" }),
        json!({ "exp": null }),
        json!({ "nbf": NOW + 60 }),
        json!({ "aud": "/other.jpg" }),
        json!({ "aud": ["/"] }),
        json!({ "aud": "" }),
        json!({ "aud": "a.jpg" }),
        json!({ "aud": "//" }),
        json!({ "aud": "/x/../" }),
        json!({ "aud": "/**" }),
        json!({ "args": { "w": [1] } }),
        json!({ "uses": 1 }),
        json!({ "ips": ["192.0.2.1"] }),
    ] {
        bad.push(signed(&payload(more).to_string()));
    }
    let without = |name: &str| {
        let mut payload = payload(json!({}));
        payload.as_object_mut().unwrap().remove(name);
        signed(&payload.to_string())
    };
    bad.extend([without("exp"), without("aud")]);
    bad.push(signed(&format!(
        "{{\"aud\":\"/\",\"aud\":\"/\",\"exp\":{}}}",
        NOW + 300
    )));
    for token in &bad {
        forbidden(gate.get(&format!("/a.jpg?jwt={token}"), &[]));
    }
    forbidden(gate.get("/a.jpg", &[]));
    forbidden(gate.get("/nothing.jpg", &[]));
    forbidden(gate.get("/a.jpg?jwt=", &[]));
    gate.get(&format!("/a.jpg?jwt={0}&jwt={0}", opening("/")), &[])
        .expect(400);
    origin.untouched();
    // A person gets the same page for all of them.
    let page = |token: &str| {
        let headers = [
            ("Accept", "text/html"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ];
        gate.get(&format!("/a.jpg?jwt={token}"), &headers).expect(403)
    };
    let first = page(&bad[0]);
    assert_eq!(media_type(&first), "text/html");
    assert!(bad.iter().all(|token| page(token).text() == first.text()));
    // The log knows why.
    let codes: Vec<String> = gate
        .access(3)
        .iter()
        .map(|line| line["code"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(codes[..3], ["scope_denied", "token_invalid", "token_invalid"]);
}

#[test]
fn s11_a_token_ends_with_its_time() {
    let (_origin, gate) = start();
    let target = protected(&gate, &json!({ "filename": "/a.jpg", "expiresIn": 60 }));
    gate.advance(60 + 4);
    gate.get(&target, &[]).expect(200);
    gate.advance(1);
    forbidden(gate.get(&target, &[]));
}

#[test]
fn s12_a_folder_opens_what_is_below_it_and_a_start_all_that_goes_on_from_it() {
    let (origin, gate) = start();
    for (aud, opened, closed) in [
        (
            "/docs/",
            &["/docs/a.pdf", "/docs/x/b.jpg"][..],
            &["/docs2/a", "/path/s", "/docs"][..],
        ),
        ("/", &["/docs/a.pdf", "/docs2/a", "/path/s"], &[]),
        (
            "/path/t",
            &["/path/to/a", "/path/t1/a"],
            &["/path/s", "/docs/a.pdf"],
        ),
        ("/docs", &["/docs/a.pdf", "/docs2/a"], &["/path/s"]),
    ] {
        let by_us = protected(&gate, &json!({ "filename": aud, "expiresIn": 60 }));
        for token in [token(&by_us), &opening(aud)] {
            for path in opened {
                gate.get(&format!("{path}?jwt={token}"), &[]).expect(200);
            }
            for path in closed {
                let before = origin.seen().len();
                forbidden(gate.get(&format!("{path}?jwt={token}"), &[]));
                assert_eq!(origin.seen().len(), before);
            }
        }
    }
    // A star is a letter: no pattern.
    for aud in ["/docs/*", "/**", "/docs/*.pdf"] {
        forbidden(gate.get(&format!("/docs/a.pdf?jwt={}", opening(aud)), &[]));
    }
}

#[test]
fn s13_a_file_opens_itself_alone() {
    let (_origin, gate) = start();
    let token = opening("/docs/a.pdf");
    gate.get(&format!("/docs/a.pdf?jwt={token}"), &[]).expect(200);
    for path in [
        "/docs/a.pdf.bak",
        "/docs/a.pdf/b",
        "/docs/A.pdf",
        "/docs/",
        "/docs/a.pd",
        "/docs/x/b.jpg",
    ] {
        forbidden(gate.get(&format!("{path}?jwt={token}"), &[]));
    }
}

#[test]
fn s14_the_aud_is_decoded_and_no_spelling_of_a_path_gets_around_it() {
    let (origin, gate) = start();
    let token = opening("/docs/report 1.pdf");
    gate.get(&format!("/docs/report%201.pdf?jwt={token}"), &[])
        .expect(200);
    gate.get(&format!("/d%6Fcs/report%201.pdf?jwt={token}"), &[])
        .expect(200);
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| seen.target == "/docs/report%201.pdf")
    );
    let count = origin.seen().len();
    let folder = opening("/docs/");
    for path in [
        "/docs/%2e%2e/secret",
        "/docs/../secret",
        "/docs/..%2fsecret",
        "/docs%2f..%2fsecret",
        "/docs//a.pdf",
        "//docs/a.pdf",
        "/docs/a.pdf%00.jpg",
        "/docs/..;/secret",
        "/docs/%252e%252e/secret",
    ] {
        let answer = gate.get(&format!("{path}?jwt={folder}"), &[]);
        assert!(matches!(answer.status, 400 | 403), "{path}: {answer:?}");
    }
    assert_eq!(origin.seen().len(), count);
}

#[test]
fn s15_the_urls_own_value_of_a_secure_parameter_never_counts() {
    let (origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": { "w": 300 }, "insecureParams": { "w": 9999 } });
    let target = protected(&gate, &body);
    assert!(target.contains("w=9999"));
    for target in [
        target.clone(),
        target.replace("w=9999", "w=9999&%77=8888&w"),
        format!("{target}&w=1"),
    ] {
        gate.get(&target, &[]).expect(200);
        assert_eq!(origin.last().target, "/a.jpg?w=300", "{target}");
    }
}

#[test]
fn s16_one_token_serves_many_files_many_times() {
    let (origin, gate) = start();
    let token = opening("/docs/");
    for _ in 0..5 {
        for path in ["/docs/a.pdf", "/docs/x/b.jpg"] {
            gate.get(&format!("{path}?jwt={token}"), &[]).expect(200);
        }
    }
    let ranged = gate.get(&format!("/docs/a.pdf?jwt={token}"), &[("Range", "bytes=2-4")]);
    assert_eq!(ranged.expect(206).text(), "234");
    gate.exchange("HEAD", &format!("/docs/a.pdf?jwt={token}"), &[])
        .expect(200);
    assert_eq!(origin.seen().len(), 12);
    gate.exchange("DELETE", &format!("/docs/a.pdf?jwt={token}"), &[])
        .expect(405);
}

#[test]
fn s17_trap_9_tokens_that_a_customer_signs_with_the_shared_key_are_good() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/sirv.json")).unwrap();
    let (origin, setup) = setup_with(SCHEME, "");
    origin.file("/docs/a/b.jpg", "b");
    let key = vectors["key"].as_str().unwrap();
    let gate = setup.file("sirv.key", key).now(1_700_000_100).start();
    for vector in vectors["vectors"].as_array().unwrap() {
        let (token, payload) = (
            vector["token"].as_str().unwrap(),
            vector["payload"].as_str().unwrap(),
        );
        let same = mint::raw(r#"{"alg":"HS256","typ":"JWT"}"#, payload, key.as_bytes());
        assert_eq!(same, token, "the vector is what it says");
        for (path, asked) in vector["opens"].as_object().unwrap() {
            gate.get(&format!("{path}?jwt={token}"), &[]).expect(200);
            assert_eq!(origin.last().target, asked.as_str().unwrap());
        }
        for path in vector["refused"].as_array().unwrap() {
            forbidden(gate.get(&format!("{}?jwt={token}", path.as_str().unwrap()), &[]));
        }
    }
    gate.advance(206);
    for vector in vectors["vectors"].as_array().unwrap() {
        let path = vector["opens"].as_object().unwrap().keys().next().unwrap();
        forbidden(gate.get(&format!("{path}?jwt={}", vector["token"].as_str().unwrap()), &[]));
    }
}

#[test]
fn s18_a_year_is_fine_unless_the_rule_says_less() {
    let (_origin, gate) = start();
    let target = protected(&gate, &json!({ "filename": "/docs/", "expiresIn": 31_536_000 }));
    gate.advance(31_536_000);
    gate.get(&target.replace("/docs/?", "/docs/a.pdf?"), &[])
        .expect(200);
    gate.advance(5);
    forbidden(gate.get(&target.replace("/docs/?", "/docs/a.pdf?"), &[]));
    let (_origin, gate) = start();
    let year = json!({ "filename": "/docs/a.pdf", "expiresIn": 31_536_000 }).to_string();
    let body = refused(&ask_as(&gate, "narrow", &year), 400, "Bad Request");
    assert_eq!(
        body["validationErrors"],
        json!([{ "message": "expiresIn: At most 3600 seconds." }])
    );
}

#[test]
fn s19_the_token_may_ride_in_a_header() {
    let (origin, gate) = start();
    let bearer = format!("Bearer {}", opening("/a.jpg"));
    gate.get("/a.jpg", &[("Authorization", &bearer)]).expect(200);
    assert!(origin.only().header("authorization").is_none());
    forbidden(gate.get("/docs/a.pdf", &[("Authorization", &bearer)]));
}

#[track_caller]
fn left(answer: &Response) -> [i64; 3] {
    LEFT.map(|name| {
        let value = answer.header(name);
        let number = value.and_then(|value| value.parse().ok());
        number.unwrap_or_else(|| panic!("{name}: {answer:?}"))
    })
}

#[test]
fn s20_every_answer_says_what_is_left_in_the_hour_and_more_is_429() {
    let (_origin, setup) = setup_with(SCHEME, "per_hour = 3\n");
    let gate = setup.start();
    let good = json!({ "filename": "/a.jpg", "expiresIn": 60 });
    gate.advance(7);
    let end = NOW + 7 + 3600;
    assert_eq!(left(&ask(&gate, &good).expect(200)), [3, 2, end]);
    gate.advance(10);
    assert_eq!(left(&ask(&gate, &json!({})).expect(400)), [3, 1, end]);
    // Another caller has an hour of its own.
    assert_eq!(
        left(&ask_as(&gate, "other", &good.to_string()).expect(200)),
        [3, 2, end + 10]
    );
    assert_eq!(left(&ask(&gate, &good).expect(200)), [3, 0, end]);
    let answer = ask(&gate, &good);
    let body = refused(&answer, 429, "Too Many Requests");
    assert_eq!(
        body["message"],
        "Rate limit exceeded. Retry after 2026-01-01T01:00:07.000Z (UTC)"
    );
    assert_eq!(
        (answer.header("retry-after"), left(&answer)),
        (Some("3590"), [3, 0, end])
    );
    gate.advance(3590);
    assert_eq!(left(&ask(&gate, &good).expect(200)), [3, 2, end + 3600]);
    // Who does not say who it is, is counted by its address.
    for remaining in [2, 1, 0] {
        let answer = post(&gate, FILES, &[], "{}");
        refused(&answer, 401, "Unauthorized");
        assert_eq!(left(&answer)[1], remaining);
    }
    refused(&post(&gate, FILES, &[], "{}"), 429, "Too Many Requests");
    ask(&gate, &good).expect(200);
}

#[test]
fn s20_the_limit_of_the_rule_is_told_in_the_same_words() {
    let (_origin, gate) = start();
    let good = json!({ "filename": "/docs/a.pdf", "expiresIn": 60 }).to_string();
    for remaining in [6999, 6998] {
        assert_eq!(
            left(&ask_as(&gate, "narrow", &good).expect(200)),
            [7000, remaining, NOW + 3600]
        );
    }
    let answer = ask_as(&gate, "narrow", &good);
    let body = refused(&answer, 429, "Too Many Requests");
    assert_eq!(
        body["message"],
        "Rate limit exceeded. Retry after 2026-01-01T00:00:30.000Z (UTC)"
    );
    assert_eq!(answer.header("retry-after"), Some("30"));
}

#[test]
fn s20_a_reload_forgets_no_count() {
    let (_origin, setup) = setup_with(SCHEME, "per_hour = 3\n");
    let gate = setup.start();
    let good = json!({ "filename": "/a.jpg", "expiresIn": 60 });
    ask(&gate, &good).expect(200);
    gate.edit("per_hour = 3\n", "per_hour = 2\n").reload();
    assert_eq!(left(&ask(&gate, &good).expect(200)), [2, 0, NOW + 3600]);
    ask(&gate, &good).expect(429);
}

#[test]
fn s21_the_url_is_percent_encoded() {
    let (origin, gate) = start();
    origin.file("/REST%20API%20Examples/%C3%A4%20%26%20%25.jpg", "x");
    let target = protected(
        &gate,
        &json!({ "filename": "/REST API Examples/ä & %.jpg", "expiresIn": 60 }),
    );
    assert!(
        target.starts_with("/REST%20API%20Examples/%C3%A4%20&%20%25.jpg?jwt="),
        "{target}"
    );
    assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "{target}");
    assert_eq!(opened(token(&target)).1["aud"], "/REST API Examples/ä & %.jpg");
    gate.get(&target, &[]).expect(200);
}

#[test]
fn the_rule_says_which_paths_a_caller_may_hand_out() {
    let (_origin, gate) = start();
    let ask = |filename: &str| {
        gate.advance(60);
        ask_as(
            &gate,
            "narrow",
            &json!({ "filename": filename, "expiresIn": 60 }).to_string(),
        )
    };
    for filename in ["/docs/", "/docs/a.pdf", "/docs/x/", "/docs/x/b", "/p/a.jpg"] {
        ask(filename).expect(200);
    }
    for filename in [
        "/",
        "/docs",
        "/doc",
        "/docs2/",
        "/docs2/a",
        "/p/",
        "/p/a.jpg.bak",
        "/p/a",
    ] {
        refused(&ask(filename), 403, "Forbidden");
    }
    let once = ask_as(
        &gate,
        "once",
        &json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string(),
    );
    refused(&once, 403, "Forbidden");
}

#[test]
fn other_methods_types_and_sizes_are_refused_in_the_same_shape() {
    let (_origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string();
    for path in [FILES, BEARER] {
        for method in ["GET", "PUT", "DELETE"] {
            let client = gate.connect_issuer();
            let mut client = LEFT.iter().fold(client, |client, name| client.allow(name));
            let answer = ask_over(&mut client, method, path, &[], b"");
            refused(&answer, 405, "Method Not Allowed");
            assert_eq!(answer.header("allow"), Some("POST"));
            left(&answer);
        }
    }
    let bearer = bearer("svc");
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", media_type)];
        let client = gate.connect_issuer();
        let mut client = LEFT.iter().fold(client, |client, name| client.allow(name));
        let answer = ask_over(&mut client, "POST", FILES, &headers, body.as_bytes());
        refused(&answer, 415, "Unsupported Media Type");
    }
    let twice = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    refused(&post(&gate, FILES, &twice, &body), 415, "Unsupported Media Type");
    let large = format!(
        "{{\"filename\":\"/a.jpg\",\"expiresIn\":60,\"alias\":\"{}\"}}",
        "x".repeat(70_000)
    );
    refused(&ask_as(&gate, "svc", &large), 413, "Payload Too Large");
    let wide = json!({ "filename": "/a.jpg", "expiresIn": 60, "insecureParams": { "x": "x".repeat(9000) } });
    refused(&ask(&gate, &wide), 400, "Bad Request");
    let heavy = json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": { "x": "x".repeat(6000) } });
    refused(&ask(&gate, &heavy), 400, "Bad Request");
}

#[test]
fn the_addresses_answer_on_the_gates_listener_where_a_route_mounts_them() {
    let (origin, gate) = start();
    let client = gate.connect();
    let mut client = LEFT.iter().fold(client, |client, name| client.allow(name));
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", &bearer("svc")),
    ];
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string();
    let answer = ask_over(&mut client, "POST", FILES, &headers, body.as_bytes()).expect(200);
    gate.get(&target(&answer), &[]).expect(200);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_listed_origin_may_read_and_send_its_credentials_which_say_nothing() {
    let (_origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string();
    let bearer = bearer("svc");
    let ask = |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Authorization", &bearer),
            ("Cookie", "session=x"),
        ];
        post(&gate, FILES, &headers, &body).expect(200)
    };
    let answer = ask("https://app.example.com");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let exposed: Vec<&str> = answer.all("access-control-expose-headers").collect();
    assert!(
        LEFT.iter().all(|name| exposed.join(", ").contains(name)),
        "{exposed:?}"
    );
    let other = ask("https://evil.example");
    for name in ["access-control-allow-origin", "access-control-allow-credentials"] {
        assert_eq!(other.header(name), None);
    }
    let headers = [
        ("Origin", "https://app.example.com"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    let preflight = gate.ask("OPTIONS", FILES, &headers, b"").expect(204);
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("POST"));
}

fn sign_in(gate: &Gate, body: &Value) -> Response {
    post(gate, BEARER, &[], &body.to_string())
}

#[test]
fn bearer_a_client_and_its_secret_get_a_token_that_makes_urls() {
    let (_origin, gate) = start();
    let answer = sign_in(&gate, &json!({ "clientId": "backend", "clientSecret": SECRET })).expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(
        answer.text().starts_with("{\n  \"token\": \"ey"),
        "{}",
        answer.text()
    );
    let body = answer.json();
    assert_eq!(
        (&body["expiresIn"], &body["scope"]),
        (&json!(1200), &json!(["files:read", "other"]))
    );
    assert_eq!(body.as_object().unwrap().len(), 3);
    let (_, claims) = opened(body["token"].as_str().unwrap());
    assert_eq!(claims["sub"], "backend-subject");
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        1200
    );
    let bearer = format!("Bearer {}", body["token"].as_str().unwrap());
    let ask = || {
        let body = json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string();
        post(&gate, FILES, &[("Authorization", &bearer)], &body)
    };
    let made = ask().expect(200);
    // Both addresses count for one caller.
    assert_eq!(left(&made)[1], 6998);
    gate.get(&target(&made), &[]).expect(200);
    gate.advance(1200 + 5);
    refused(&ask(), 401, "Unauthorized");
}

#[test]
fn bearer_a_client_may_ask_for_its_life_within_what_is_allowed() {
    let (_origin, gate) = start();
    let lives = |seconds: Value| {
        let answer = sign_in(
            &gate,
            &json!({ "clientId": "backend", "clientSecret": SECRET, "expiresIn": seconds }),
        );
        (answer.status, answer.json()["expiresIn"].as_i64())
    };
    assert_eq!(lives(json!(5)), (200, Some(5)));
    // `issuer.bearers.ttl` is a day.
    assert_eq!(lives(json!(604_800)), (200, Some(86_400)));
    for bad in [
        json!(4),
        json!(604_801),
        json!("60"),
        json!(-1),
        json!(1.5),
        json!(null),
    ] {
        assert_eq!(lives(bad.clone()).0, 400, "{bad}");
    }
}

#[test]
fn bearer_wrong_secrets_persons_and_odd_bodies_get_none() {
    let (_origin, gate) = start();
    for (id, secret) in [
        ("backend", "wrong"),
        ("Backend", SECRET),
        ("nobody", SECRET),
        ("person", SECRET),
        ("backend\0", SECRET),
    ] {
        let answer = sign_in(&gate, &json!({ "clientId": id, "clientSecret": secret }));
        let body = refused(&answer, 401, "Unauthorized");
        assert_eq!(body["message"], "The client or its secret is not valid.");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        left(&answer);
    }
    for body in [
        json!({}),
        json!({ "clientId": "backend" }),
        json!({ "clientId": "backend", "clientSecret": 1 }),
        json!({ "clientId": "x".repeat(300), "clientSecret": "y" }),
        json!({ "clientId": "backend", "clientSecret": "y".repeat(2000) }),
        json!({ "clientId": "backend", "clientSecret": SECRET, "scope": "all" }),
    ] {
        refused(&sign_in(&gate, &body), 400, "Bad Request");
    }
    refused(&post(&gate, BEARER, &[], "clientId=backend"), 400, "Bad Request");
}

#[test]
fn bearer_too_many_tries_are_429() {
    let (_origin, setup) = setup_with(SCHEME, "");
    let gate = setup.start();
    gate.edit(
        "[issuer.sirv_bearer]\n",
        "[issuer.sirv_bearer]\ntries_per_account = 2\n",
    )
    .reload();
    let wrong = json!({ "clientId": "backend", "clientSecret": "wrong" });
    for _ in 0..2 {
        sign_in(&gate, &wrong).expect(401);
    }
    let answer = sign_in(&gate, &json!({ "clientId": "backend", "clientSecret": SECRET }));
    let body = refused(&answer, 429, "Too Many Requests");
    assert!(
        body["message"].as_str().unwrap().contains("Rate limit exceeded"),
        "{body}"
    );
    assert_eq!(answer.header("retry-after"), Some("30"));
    gate.advance(30);
    sign_in(&gate, &json!({ "clientId": "backend", "clientSecret": SECRET })).expect(200);
}

#[test]
fn nothing_secret_is_in_the_log_and_a_token_has_one_name() {
    let (_origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60, "key": KEY });
    let target = protected(&gate, &body);
    gate.get(&target, &[]).expect(200);
    sign_in(&gate, &json!({ "clientId": "backend", "clientSecret": SECRET })).expect(200);
    let lines = gate.access(3);
    let of = |door: &str| lines.iter().find(|line| line["door"] == door).expect(door);
    let made = lines.iter().find(|line| line["sub"] == "svc").expect("the maker");
    assert_eq!(made["token_id"], of("gate")["token_id"]);
    assert!(made["token_id"].is_string() && made["door"] == "issuer", "{made}");
    let text = gate.access_text() + &crate::support::gate::operational_log();
    for secret in [token(&target), KEY, SECRET] {
        assert!(!text.contains(secret));
    }
}

#[test]
fn a_token_can_be_withdrawn_by_its_name() {
    use mediagate::server::control::orders::Withdrawal;
    let (_origin, gate) = start();
    let (one, other) = (opening("/a.jpg"), opening("/"));
    gate.get(&format!("/a.jpg?jwt={one}"), &[]).expect(200);
    let id = gate.access(1)[0]["token_id"].as_str().unwrap().to_owned();
    gate.revoke(Withdrawal::Token { id, expires: None });
    forbidden(gate.get(&format!("/a.jpg?jwt={one}"), &[]));
    gate.get(&format!("/a.jpg?jwt={other}"), &[]).expect(200);
}

#[test]
fn configurations_that_would_open_too_much_are_refused() {
    let of = |route: &str, from: &str, to: &str| {
        let origin = Origin::start();
        let text = toml(&origin, route, "", "");
        assert!(text.contains(from), "{from}");
        secrets(Setup::new(text.replacen(from, to, 1))).refused()
    };
    let jwt = format!("{SCHEME}[route.scheme.jwt]\nkeys = \"media\"\nissuer = \"x\"\naudience = \"y\"\n");
    let same = "[[issuer.callers]]\nkeys = \"callers\"";
    for (route, from, to, told) in [
        (jwt.as_str(), "", "", "their tokens look alike"),
        (
            SCHEME,
            same,
            "[[issuer.callers]]\nkeys = \"sirv\"",
            "could make callers' bearers",
        ),
        (
            "[route.scheme.sirv]\nkeys = \"nothing\"\n",
            "",
            "",
            "there is no key set \"nothing\"",
        ),
        (
            "[route.scheme.sirv]\n",
            "",
            "",
            "route[0].scheme.sirv.keys: missing",
        ),
        (
            "[route.scheme.sirv]\nkeys = \"ed\"\n[keys.ed]\nfile = \"{dir}/ed.json\"\ngenerate = \"EdDSA\"\n",
            "",
            "",
            "no HS256 key",
        ),
        (
            SCHEME,
            "url = \"https://mirror.example\"",
            "url = \"https://mirror.example/x\"",
            "has a path or a query",
        ),
        (
            SCHEME,
            "[issuer.sirv]\nkeys = \"sirv\"\n",
            "[issuer.sirv]\nkeys = \"sirv\"\nper_hour = 0\n",
            "nobody may ask",
        ),
        (
            SCHEME,
            "callers_file = \"callers.toml\"\n",
            "",
            "needs `issuer.callers_file`",
        ),
        (
            SCHEME,
            "[issuer.sirv_bearer]\n",
            "[issuer.sirv_bearer]\ntries_per_account = 0\n",
            "nobody can sign in",
        ),
    ] {
        let errors = of(route, from, to);
        assert!(errors.contains(told), "{told}: {errors}");
    }
}
