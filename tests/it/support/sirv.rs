//! What Sirv's tests share: a gate for images with its issuer, and how both are asked.

use std::sync::OnceLock;

use mediagate::issuer::accounts::PasswordHash;
use serde_json::{Value, json};

use super::client::{HOST, media_type};
use super::gate::ask_over;
use super::mint::{self, CALLERS, CALLERS_AUDIENCE};
use super::{Client, Gate, NOW, Origin, Response, Setup, Token, conf};

pub(crate) const FILES: &str = "/v2/files/jwt";
pub(crate) const BEARER: &str = "/v2/token";
pub(crate) const KEY: &str = "sirv-key-of-the-folder-sirv-key-001";
pub(crate) const SECOND: &str = "sirv-key-of-the-folder-sirv-key-002";
pub(crate) const DEMO: &str = "sirv-key-of-the-demo-account-key-003";
pub(crate) const SECRET: &str = "client secret &=%+ü";

pub(crate) const LEFT: [&str; 3] = [
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

pub(crate) fn setup_with(route: &str, dialect: &str) -> (Origin, Setup) {
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

pub(crate) fn start() -> (Origin, Gate) {
    let (origin, setup) = setup_with(SCHEME, "");
    (origin, setup.start())
}

pub(crate) fn bearer(subject: &str) -> String {
    Token::caller(subject, "files:read")
        .expires(NOW + 500 * 86_400)
        .bearer()
}

/// A client that is told what is left.
pub(crate) fn told(client: Client) -> Client {
    LEFT.iter().fold(client, |client, name| client.allow(name))
}

/// Asks one of Sirv's addresses.
pub(crate) fn post(gate: &Gate, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut client = told(gate.connect_issuer());
    let mut all = vec![("Content-Type", "application/json")];
    all.extend(headers);
    ask_over(&mut client, "POST", path, &all, body.as_bytes())
}

pub(crate) fn ask_as(gate: &Gate, subject: &str, body: &str) -> Response {
    post(gate, FILES, &[("Authorization", &bearer(subject))], body)
}

pub(crate) fn ask(gate: &Gate, body: &Value) -> Response {
    ask_as(gate, "svc", &body.to_string())
}

/// Signs a client in.
pub(crate) fn sign_in(gate: &Gate, body: &Value) -> Response {
    post(gate, BEARER, &[], &body.to_string())
}

/// The URL that an answer holds, without scheme and host.
pub(crate) fn target(answer: &Response) -> String {
    let url = answer.json()["url"].as_str().expect("a url").to_owned();
    url.strip_prefix(&format!("http://{HOST}"))
        .unwrap_or_else(|| panic!("{url}"))
        .to_owned()
}

pub(crate) fn protected(gate: &Gate, body: &Value) -> String {
    target(&ask(gate, body).expect(200))
}

pub(crate) fn token(target: &str) -> &str {
    target.rsplit("jwt=").next().expect("a token")
}

/// A token that a customer signs by himself.
pub(crate) fn signed(payload: &str) -> String {
    mint::raw(r#"{"alg":"HS256","typ":"JWT"}"#, payload, KEY.as_bytes())
}

pub(crate) fn opening(aud: &str) -> String {
    signed(&json!({ "iat": NOW, "exp": NOW + 300, "aud": aud }).to_string())
}

/// A refusal in the endpoint's shape.
#[track_caller]
pub(crate) fn refused(answer: &Response, status: u16, error: &str) -> Value {
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
pub(crate) fn forbidden(answer: Response) {
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

#[track_caller]
pub(crate) fn left(answer: &Response) -> [i64; 3] {
    LEFT.map(|name| {
        let value = answer.header(name);
        let number = value.and_then(|value| value.parse().ok());
        number.unwrap_or_else(|| panic!("{name}: {answer:?}"))
    })
}
