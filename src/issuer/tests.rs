//! The promises of the door as a whole: Fynn's download tokens (f1 – f9, f17, f18), callers, cross-origin calls, the public keys.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::media::{Media, Medium};
use crate::secret::Secret;
use crate::store::Purposes;
use crate::token::claims::Limits;
use crate::token::keys::{KeyRing, KeySet, LogKey, SetSource};
use crate::token::scheme::jwt::{Jwt, KidHeader, Minter, Profile, Rules};
use crate::token::scope::ScopeTemplate;
use crate::token::{Claims, Methods, MintToken, Scope, Uses};

pub(super) const NOW: UnixTime = UnixTime::from_millis(1_767_225_600_250);
const BASE: &str = "https://media.example.com";
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

fn ring(name: &str, algorithm: Algorithm) -> Arc<KeyRing> {
    let json = KeySet::generate(algorithm).unwrap();
    Arc::new(KeyRing::fixed(
        name,
        KeySet::from_jwks(json.as_bytes(), SetSource::Local).unwrap(),
    ))
}

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&Secret::new(vec![7; 32])))
}

fn minter(keys: &Arc<KeyRing>, issuer: &str, audience: &str, kid: KidHeader) -> Arc<Minter> {
    Arc::new(Minter {
        keys: Arc::clone(keys),
        issuer: issuer.into(),
        audience: audience.into(),
        kid,
        log_key: log_key(),
    })
}

pub(super) fn any_rule() -> mint::Rule {
    mint::Rule {
        caller: None,
        requires: "media:read".into(),
        paths: vec![ScopeTemplate::parse("/customers/{sub}/**").unwrap()],
        methods: Methods::READ,
        max_ttl: Duration::from_secs(3600),
        default_ttl: Duration::from_secs(300),
        per_minute: None,
        folders: None,
        own_media_only: false,
        any_subject: false,
        uses: Uses::UntilExpiry,
        limits: Limits::default(),
        purposes: Purposes::FILE,
        exchange_secs: 3600,
    }
}

/// Media, of which no origin is asked.
pub(super) fn known(media: Media) -> Inventory {
    Inventory::new(Arc::new(media), None)
}

fn medium(name: &str, folder: &str, owner: &str) -> Medium {
    Medium {
        file: format!("/store/{name}").into(),
        name: Some(name.into()),
        folder: Some(folder.into()),
        owner: Some(owner.into()),
        media_type: None,
    }
}

/// An issuer with all its doors, and the keys of its callers.
pub(super) struct Bench {
    pub(super) settings: Settings,
    callers: Arc<Minter>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let callers = ring("callers", Algorithm::EdDSA);
        let (media, download) = (
            ring("media", Algorithm::EdDSA),
            ring("download", Algorithm::HS256),
        );
        let catalogue = HashMap::from([
            ("01F9".into(), medium("Report 2026.pdf", "invoice", "42")),
            ("o'neil".into(), medium("Clip.mp4", "product", "43")),
        ]);
        let verifier = Jwt::new(Rules {
            keys: Arc::clone(&callers),
            issuers: Box::new(["idp".into()]),
            audiences: Box::new(["issuer".into()]),
            typ: None,
            profile: Profile::Native,
            require: Box::default(),
            max_lifetime: None,
            named: Box::new(["scope".into()]),
            log_key: log_key(),
        });
        let settings = Settings {
            callers: vec![verifier],
            rules: vec![any_rule()],
            public_base: BASE.into(),
            address: "http://127.0.0.1:8081".into(),
            native: Some(Native {
                schemes: Box::new([NativeScheme::Jwt {
                    minter: minter(&media, "mediagate", "media", KidHeader::Named),
                    link: Some("t".into()),
                }]),
            }),
            fynn: Some(Fynn {
                minter: minter(&download, "mediagate", "download", KidHeader::Unnamed),
                media: known(Media::Catalogue(catalogue)),
                ttl: Duration::from_secs(60),
            }),
            fynn_invoice: None,
            nexudus_media: None,
            nexudus_token: None,
            nexudus_bearer: None,
            nexudus_exchange: None,
            sirv: None,
            sirv_bearer: None,
            adobe_media: None,
            adobe_bearer: None,
            bearers: None,
            accounts: Arc::default(),
            published: vec![Arc::clone(&media), download, media],
            cors_origins: Box::new(["https://portal.example.com".into(), "null".into()]),
            log_key: log_key(),
        };
        Self {
            settings,
            callers: minter(&callers, "idp", "issuer", KidHeader::Named),
        }
    }

    /// `Authorization` of caller 42.
    pub(super) fn bearer(&self, scope: &str) -> String {
        self.bearer_with(scope, NOW.after(Duration::from_secs(60)), Some("42"))
    }

    fn bearer_with(&self, scope: &str, expires: UnixTime, subject: Option<&str>) -> String {
        let claims = Claims {
            subject: subject.map(Box::from),
            expires: Some(expires),
            named: if scope.is_empty() {
                Box::default()
            } else {
                Box::new([("scope".into(), scope.into())])
            },
            ..Claims::empty(TokenId([0; 16]))
        };
        format!("Bearer {}", self.callers.mint(&claims, NOW).unwrap().text)
    }

    pub(super) fn ask(self, request: &Request<Bytes>) -> Answer {
        answer(&Issuer::new(self.settings), request)
    }

    /// `POST` by caller 42 with the permission.
    pub(super) fn post(self, path: &str, body: &str) -> Answer {
        let bearer = self.bearer("media:read");
        self.ask(&request("POST", path, &[("authorization", &bearer)], body))
    }
}

use crate::token::TokenId;

/// What an issuer answers without a store.
fn answer(issuer: &Issuer, request: &Request<Bytes>) -> Answer {
    answer_at(issuer, request, NOW)
}

fn answer_at(issuer: &Issuer, request: &Request<Bytes>, now: UnixTime) -> Answer {
    let memory = Memory {
        store: None,
        unknown: Arc::default(),
        pools: crate::origin::Pools::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(issuer.answer(CLIENT, request, now, &memory))
}

pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.to_owned().into()).unwrap()
}

pub(super) fn body(answer: &Answer) -> Value {
    serde_json::from_slice(answer.response.body()).unwrap()
}

pub(super) fn status(answer: &Answer) -> u16 {
    answer.response.status().as_u16()
}

fn header_of<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// A part of a JWT.
pub(super) fn part(token: &str, at: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn is_problem(answer: &Answer, expected: u16) {
    assert_eq!(status(answer), expected);
    assert!(header_of(answer, "content-type").starts_with("application/problem+json"));
    let body = body(answer);
    assert_eq!(body["status"], expected);
    for member in ["type", "title", "detail", "code"] {
        assert!(body[member].is_string(), "{member}");
    }
}

const TOKEN_OF_01F9: &str = "/media/01F9/download-token";

#[test]
fn f1_a_caller_with_the_permission_gets_a_token_and_its_url() {
    let answer = Bench::new().post(TOKEN_OF_01F9, "");
    assert_eq!(status(&answer), 201);
    let body = body(&answer);
    assert_eq!(body.as_object().unwrap().len(), 2);
    let token = body["token"].as_str().unwrap();
    assert_eq!(body["url"], format!("{BASE}/media/01F9/download/{token}"));
    assert_eq!((answer.code, answer.caller.as_deref()), ("issued", Some("42")));
    let payload = part(token, 1);
    assert_eq!(
        (&payload["media"], &payload["sub"]),
        (&json!("01F9"), &json!("42"))
    );
    assert_eq!(payload["filename"], "Report 2026.pdf");
    assert_eq!(payload["methods"], json!(["GET", "HEAD"]));
    assert_eq!(payload.get("paths"), None);
}

#[test]
fn f2_an_empty_body_and_an_empty_object_are_alike() {
    for (media_type, body) in [
        ("application/json", ""),
        ("application/json", "{}"),
        ("text/plain", ""),
    ] {
        let bench = Bench::new();
        let bearer = bench.bearer("media:read");
        let headers = [("authorization", &*bearer), ("content-type", media_type)];
        assert_eq!(
            status(&bench.ask(&request("POST", TOKEN_OF_01F9, &headers, body))),
            201
        );
    }
}

#[test]
fn f3_a_browser_gets_a_page_that_is_escaped() {
    let bench = Bench::new();
    let bearer = bench.bearer("media:read");
    let headers = [("authorization", &*bearer), ("accept", "text/html")];
    let answer = bench.ask(&request("POST", "/media/o'neil/download-token", &headers, ""));
    assert_eq!(status(&answer), 201);
    assert_eq!(header_of(&answer, "content-type"), "text/html; charset=utf-8");
    assert!(header_of(&answer, "content-security-policy").starts_with("default-src 'none'"));
    let page = std::str::from_utf8(answer.response.body()).unwrap();
    assert!(
        page.contains(&format!("{BASE}/media/o&#39;neil/download/ey")),
        "{page}"
    );
    assert!(!page.contains("o'neil"));
    assert!(page.contains("<code>ey"));
}

#[test]
fn f4_everybody_else_gets_json() {
    for accept in [
        None,
        Some("*/*"),
        Some("application/json"),
        Some("text/html, application/json"),
        Some("image/png"),
    ] {
        let bench = Bench::new();
        let bearer = bench.bearer("media:read");
        let mut headers = vec![("authorization", &*bearer)];
        headers.extend(accept.map(|accept| ("accept", accept)));
        let answer = bench.ask(&request("POST", TOKEN_OF_01F9, &headers, ""));
        assert_eq!(
            header_of(&answer, "content-type"),
            "application/json",
            "{accept:?}"
        );
    }
}

#[test]
fn f5_without_a_good_bearer_there_is_a_401_that_says_which_fault() {
    let bench = Bench::new;
    let expired = bench();
    let old = expired.bearer_with("media:read", NOW, Some("42"));
    let late = NOW.after(Duration::from_secs(6));
    let expired = answer_at(
        &Issuer::new(expired.settings),
        &request("POST", TOKEN_OF_01F9, &[("authorization", &old)], ""),
        late,
    );
    let nobody = bench();
    let nameless = nobody.bearer_with("media:read", late, None);
    let stranger = bench().bearer("media:read");
    for (answer, message, code) in [
        (
            bench().ask(&request("POST", TOKEN_OF_01F9, &[], "")),
            "JWT Token not found",
            "caller_missing",
        ),
        (
            bench().ask(&request(
                "POST",
                TOKEN_OF_01F9,
                &[("authorization", "Bearer x")],
                "",
            )),
            "Invalid JWT Token",
            "caller_invalid",
        ),
        (
            bench().ask(&request(
                "POST",
                TOKEN_OF_01F9,
                &[("authorization", &stranger)],
                "",
            )),
            "Invalid JWT Token",
            "caller_invalid",
        ),
        (
            nobody.ask(&request(
                "POST",
                TOKEN_OF_01F9,
                &[("authorization", &nameless)],
                "",
            )),
            "Invalid JWT Token",
            "caller_invalid",
        ),
        (expired, "Expired JWT Token", "caller_expired"),
    ] {
        assert_eq!(status(&answer), 401, "{message}");
        assert_eq!(body(&answer), json!({ "code": 401, "message": message }));
        assert_eq!(header_of(&answer, "www-authenticate"), "Bearer");
        assert_eq!((answer.code, answer.caller), (code, None));
    }
}

#[test]
fn f6_a_bearer_without_the_permission_is_refused() {
    for scope in ["", "invoice:read", "media:readonly media:write"] {
        let bench = Bench::new();
        let bearer = bench.bearer(scope);
        is_problem(
            &bench.ask(&request("POST", TOKEN_OF_01F9, &[("authorization", &bearer)], "")),
            403,
        );
    }
}

#[test]
fn f6_the_permission_of_the_interface_is_needed_whatever_the_rule_requires() {
    let mut bench = Bench::new();
    bench.settings.rules[0].requires = "other".into();
    let bearer = bench.bearer("other");
    is_problem(
        &bench.ask(&request("POST", TOKEN_OF_01F9, &[("authorization", &bearer)], "")),
        403,
    );
}

#[test]
fn f7_an_unknown_id_is_not_found() {
    is_problem(&Bench::new().post("/media/02F9/download-token", ""), 404);
}

#[test]
fn f7_where_ids_are_a_template_there_is_no_check() {
    let mut bench = Bench::new();
    bench.settings.fynn.as_mut().unwrap().media = known(Media::Template("/files/{id}".into()));
    let answer = bench.post("/media/%C3%BC%20x/download-token", "");
    assert_eq!(status(&answer), 201);
    let body = body(&answer);
    assert!(
        body["url"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{BASE}/media/%C3%BC%20x/download/"))
    );
    assert_eq!(part(body["token"].as_str().unwrap(), 1)["media"], "ü x");
}

#[test]
fn f8_a_malformed_id_is_a_bad_request() {
    let long = format!("/media/{}/download-token", "a".repeat(129));
    for path in [
        "/media//download-token",
        "/media/../download-token",
        "/media/%2e%2e/download-token",
        "/media/a%2Fb/download-token",
        "/media/a%252Fb/download-token",
        "/media/a%5cb/download-token",
        "/media/a%00b/download-token",
        "/media/a%0d%0ab/download-token",
        "/media/%ff/download-token",
        "/media/a%/download-token",
        &long,
    ] {
        is_problem(&Bench::new().post(path, ""), 400);
    }
}

#[test]
fn f8_a_forbidden_folder_is_unprocessable_with_violations() {
    let mut bench = Bench::new();
    bench.settings.rules[0].folders = Some(Box::new(["product".into()]));
    let answer = bench.post(TOKEN_OF_01F9, "");
    is_problem(&answer, 422);
    let violations = &body(&answer)["violations"];
    assert_eq!(violations[0]["propertyPath"], "media");
    assert!(violations[0]["message"].is_string());
}

#[test]
fn f9_a_malformed_body_is_a_bad_request() {
    for body in ["{", "[]", "null", "{}{}", "{\"a\":1,\"a\":1}", "x=1"] {
        is_problem(&Bench::new().post(TOKEN_OF_01F9, body), 400);
    }
}

#[test]
fn f17_the_link_starts_with_the_configured_base_whatever_the_request_says() {
    let bench = Bench::new();
    let bearer = bench.bearer("media:read");
    let headers = [
        ("authorization", &*bearer),
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "host=evil.example"),
    ];
    let answer = bench.ask(&request("POST", TOKEN_OF_01F9, &headers, ""));
    assert!(
        body(&answer)["url"]
            .as_str()
            .unwrap()
            .starts_with("https://media.example.com/media/01F9/")
    );
}

#[test]
fn f18_the_token_is_hs256_without_a_kid_and_lives_for_a_minute() {
    let token = body(&Bench::new().post(TOKEN_OF_01F9, ""))["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(part(&token, 0), json!({ "typ": "JWT", "alg": "HS256" }));
    let payload = part(&token, 1);
    assert_eq!(
        payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap(),
        60
    );
    assert_eq!(payload["aud"], "download");
}

#[test]
fn a_rule_that_allows_less_than_a_minute_is_kept() {
    let mut bench = Bench::new();
    bench.settings.rules[0].max_ttl = Duration::from_secs(10);
    let token = body(&bench.post(TOKEN_OF_01F9, ""))["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(part(&token, 1)["exp"], NOW.secs() + 10);
}

#[test]
fn a_media_token_is_no_callers_bearer() {
    // Same key, same issuer: the audience alone tells them apart.
    let mut bench = Bench::new();
    let media = minter(&bench.callers.keys, "idp", "media", KidHeader::Named);
    let claims = Claims {
        subject: Some("42".into()),
        expires: Some(NOW.after(Duration::from_secs(60))),
        scope: Some(Scope::default()),
        named: Box::new([("scope".into(), "media:read".into())]),
        ..Claims::empty(TokenId([0; 16]))
    };
    let bearer = format!("Bearer {}", media.mint(&claims, NOW).unwrap().text);
    bench.settings.native = None;
    let answer = bench.ask(&request("POST", TOKEN_OF_01F9, &[("authorization", &bearer)], ""));
    assert_eq!((status(&answer), answer.code), (401, "caller_invalid"));
}

#[test]
fn callers_wait_while_their_keys_were_never_loaded() {
    let mut bench = Bench::new();
    let bearer = bench.bearer("media:read");
    bench.settings.callers = vec![Jwt::new(Rules {
        keys: Arc::new(KeyRing::pending("idp")),
        issuers: Box::new(["idp".into()]),
        audiences: Box::new(["issuer".into()]),
        typ: None,
        profile: Profile::Native,
        require: Box::default(),
        max_lifetime: None,
        named: Box::default(),
        log_key: log_key(),
    })];
    let answer = bench.ask(&request(
        "POST",
        "/v1/tokens",
        &[("authorization", &bearer)],
        "{}",
    ));
    is_problem(&answer, 503);
    assert_eq!(header_of(&answer, "retry-after"), "5");
}

#[test]
fn what_is_unknown_or_not_mounted_is_not_found_and_other_methods_are_named() {
    for path in [
        "/v1/tokens/",
        "/v1",
        "/media/01F9",
        "/media/a/b/download-token",
        "/media/download-token",
        "//v1/tokens",
    ] {
        is_problem(&Bench::new().post(path, "{}"), 404);
    }
    let mut bench = Bench::new();
    bench.settings.native = None;
    is_problem(&bench.post("/v1/tokens", "{}"), 404);
    for (method, path, allow) in [
        ("GET", "/v1/tokens", "POST"),
        ("OPTIONS", "/v1/tokens", "POST"),
        ("PUT", TOKEN_OF_01F9, "POST"),
        ("POST", "/.well-known/jwks.json", "GET, HEAD"),
    ] {
        let answer = Bench::new().ask(&request(method, path, &[], ""));
        is_problem(&answer, 405);
        assert_eq!(header_of(&answer, "allow"), allow);
    }
}

#[test]
fn only_mounted_dialects_claim_a_path() {
    let mut bench = Bench::new();
    bench.settings.native = None;
    let issuer = Issuer::new(bench.settings);
    assert_eq!(issuer.claims_path(TOKEN_OF_01F9), Some(DialectName::Fynn));
    for path in ["/v1/tokens", "/.well-known/jwks.json", "/media/01F9/download/x"] {
        assert_eq!(issuer.claims_path(path), None);
    }
}

#[test]
fn o4_without_a_store_a_one_time_token_is_the_confirmation_of_a_failure() {
    let mut bench = Bench::new();
    bench.settings.nexudus_token = Some(NexudusToken {
        ttl: Duration::from_secs(60),
        allow_get: false,
        over_limit: OverLimit::Conflict,
    });
    let answer = bench.post("/api/sys/users/token/refresh", "");
    assert_eq!(status(&answer), 500);
    let text = std::str::from_utf8(answer.response.body()).unwrap();
    let start = r#"{"WasSuccessful":false,"Value":null,"Status":500,"Message":""#;
    assert!(
        text.starts_with(start) && text.ends_with(r#","Errors":null}"#),
        "{text}"
    );
    assert_eq!(answer.code, "store_unavailable");
}

#[test]
fn a_fourth_token_in_a_minute_of_three_has_to_wait() {
    let mut bench = Bench::new();
    bench.settings.rules[0].per_minute = Some(3);
    let bearer = bench.bearer("media:read");
    let issuer = Issuer::new(bench.settings);
    let ask = |path, body| {
        answer(
            &issuer,
            &request("POST", path, &[("authorization", &bearer)], body),
        )
    };
    assert_eq!(status(&ask("/v1/tokens", "{}")), 422);
    for _ in 0..3 {
        assert_eq!(
            status(&ask(TOKEN_OF_01F9, "")),
            201,
            "a refused request was counted"
        );
    }
    let answer = ask(TOKEN_OF_01F9, "");
    is_problem(&answer, 429);
    assert_eq!(header_of(&answer, "retry-after"), "20");
}

#[test]
fn a_preflight_is_answered_without_a_bearer_for_listed_origins_alone() {
    let preflight = |origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        Bench::new().ask(&request("OPTIONS", TOKEN_OF_01F9, &headers, ""))
    };
    let answer = preflight("https://portal.example.com");
    assert_eq!(status(&answer), 204);
    assert_eq!(
        header_of(&answer, "access-control-allow-origin"),
        "https://portal.example.com"
    );
    assert_eq!(header_of(&answer, "access-control-allow-methods"), "POST");
    assert!(header_of(&answer, "access-control-allow-headers").contains("Authorization"));
    assert_eq!(header_of(&answer, "access-control-allow-credentials"), "");
    for origin in [
        "https://evil.example",
        "https://portal.example.com.evil.example",
        "http://portal.example.com",
        "null",
        "*",
    ] {
        let answer = preflight(origin);
        assert_eq!(status(&answer), 403, "{origin}");
        assert_eq!(header_of(&answer, "access-control-allow-origin"), "", "{origin}");
        assert_eq!(header_of(&answer, "vary"), "Origin");
    }
}

#[test]
fn every_answer_has_the_same_guards_and_a_listed_origin_may_read_it() {
    for (method, path) in [
        ("POST", TOKEN_OF_01F9),
        ("POST", "/nothing"),
        ("GET", "/v1/tokens"),
        ("GET", KEYS_PATH),
    ] {
        let answer = Bench::new().ask(&request(
            method,
            path,
            &[("origin", "https://portal.example.com")],
            "",
        ));
        assert_eq!(header_of(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header_of(&answer, "referrer-policy"), "no-referrer");
        let caching = if path == KEYS_PATH {
            "public, max-age=300"
        } else {
            "no-store"
        };
        assert_eq!(header_of(&answer, "cache-control"), caching);
        assert_eq!(
            header_of(&answer, "access-control-allow-origin"),
            "https://portal.example.com"
        );
        assert_eq!(header_of(&answer, "vary"), "Origin");
    }
}

#[test]
fn public_keys_are_published_once_each_without_anything_secret() {
    let answer = Bench::new().ask(&request("GET", KEYS_PATH, &[], ""));
    assert_eq!(status(&answer), 200);
    let keys = body(&answer)["keys"].as_array().unwrap().clone();
    assert_eq!(
        keys.len(),
        1,
        "the HS256 set has no public half, and a set that stands twice counts once"
    );
    assert_eq!(keys[0]["kty"], "OKP");
    assert!(keys[0].get("d").is_none() && keys[0].get("k").is_none());
    let head = Bench::new().ask(&request("HEAD", KEYS_PATH, &[], ""));
    assert!(head.response.body().is_empty());
    let length = answer.response.body().len().to_string();
    assert_eq!(header_of(&head, "content-length"), length);
}

#[test]
fn a_body_past_the_limit_is_too_large() {
    let body = format!("{{\"paths\":[\"/customers/42/{}\"]}}", "a".repeat(MAX_BODY_BYTES));
    is_problem(&Bench::new().post("/v1/tokens", &body), 413);
}
