//! Bearers that the issuer makes itself as Nexudus does: `POST /api/token`, and `POST /api/sys/users/exchange` (o15). What is
//! asked wrongly uses nothing up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use mediagate::issuer::accounts::PasswordHash;
use serde_json::{Value, json};

use crate::support::adapter::Known;
use crate::support::gate::operational_log;
use crate::support::mint::{CALLERS, CALLERS_AUDIENCE, ISSUER, opened};
use crate::support::{Gate, Origin, Response, Setup, Token, conf};

const TOKEN: &str = "/api/token";
const EXCHANGE: &str = "/api/sys/users/exchange";
const ONE_TIME: &str = "/api/sys/users/token/refresh";
const FORM: &str = "application/x-www-form-urlencoded";
const PASSWORD: &str = "pässword+with &=%";
const ENCODED: &str = "p%C3%A4ssword%2Bwith+%26%3D%25";

const RULES: &str = "[[issuer.rule]]\nrequires = \"portal:customer\"\npaths = [\"/customers/{sub}/**\"]\nmax_ttl = \"1h\"\n\
    purposes = [\"file\", \"exchange\"]\n\
    [[issuer.rule]]\nrequires = \"portal:short\"\npaths = [\"/customers/{sub}/**\"]\nmax_ttl = \"1h\"\n\
    purposes = [\"exchange\"]\nmax_exchange = \"10m\"\n\
    [[issuer.rule]]\nrequires = \"portal:closed\"\npaths = [\"/customers/{sub}/**\"]\nmax_ttl = \"1h\"\n";

/// A hash takes a while: one for all.
fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let hash = PasswordHash::of(PASSWORD.as_bytes()).expect("a hash");
        hash.reveal().to_owned()
    })
}

fn callers() -> String {
    let entry = |kind: &str, name: &str, subject: &str, scope: &str| {
        format!(
            "[[{kind}]]\nname = \"{name}\"\nsubject = \"{subject}\"\nscope = \"{scope}\"\nhash = \"{}\"\n",
            hash()
        )
    };
    entry("user", "a@example.com", "42", "portal:customer")
        + &entry("user", "b@example.com", "43", "portal:customer")
        + &entry("client", "backend", "svc", "portal:closed")
}

fn setup(more: &str) -> (Origin, Setup) {
    let origin = Origin::start();
    origin.file("/customers/42/invoice.pdf", "0123456789");
    let toml = conf::http(origin.address())
        + &conf::route_with(
            "files",
            "/",
            "single_use = { strict = true }\nmount = [\"nexudus_bearer\", \"nexudus_exchange\", \"nexudus_media\", \"nexudus_token\"]",
        )
        + "[route.scheme.opaque]\n"
        + "[issuer]\nlisten = \"127.0.0.1:0\"\ncallers_file = \"callers.toml\"\n\
           cors_origins = [\"https://portal.example.com\"]\n"
        + &format!(
            "[[issuer.callers]]\nkeys = \"callers\"\nissuer = \"{CALLERS}\"\naudience = \"{CALLERS_AUDIENCE}\"\n"
        )
        + RULES
        + &format!(
            "[issuer.bearers]\nkeys = \"callers\"\nissuer = \"{CALLERS}\"\naudience = \"{CALLERS_AUDIENCE}\"\n"
        )
        + &format!("[issuer.nexudus_media]\nkeys = \"media\"\nissuer = \"{ISSUER}\"\naudience = \"media\"\n")
        + "[issuer.nexudus_token]\n[issuer.nexudus_exchange]\n[issuer.nexudus_bearer]\n"
        + more;
    let setup = Setup::new(toml).file("callers.toml", callers());
    (origin, setup)
}

fn start() -> (Origin, Gate) {
    let (origin, setup) = setup("");
    (origin, setup.start())
}

fn post(gate: &Gate, headers: &[(&str, &str)], form: &str) -> Response {
    let mut all = vec![("Content-Type", FORM)];
    all.extend(headers);
    gate.ask("POST", TOKEN, &all, form.as_bytes())
}

fn sign_in(gate: &Gate, name: &str, headers: &[(&str, &str)]) -> Value {
    let form = format!(
        "grant_type=password&username={}&password={ENCODED}",
        name.replace('@', "%40")
    );
    post(gate, headers, &form).expect(200).json()
}

fn refresh(gate: &Gate, token: &Value, headers: &[(&str, &str)]) -> Response {
    let token = token.as_str().expect("a refresh token");
    post(
        gate,
        headers,
        &format!("grant_type=refresh_token&refresh_token={token}"),
    )
}

#[track_caller]
fn refused(answer: &Response, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["error"], error, "{answer:?}");
    assert!(body["error_description"].is_string(), "{body}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

/// Whether the issuer believes a bearer, and for whom.
fn media_token(gate: &Gate, bearer: &Value) -> Response {
    let bearer = format!("Bearer {}", bearer.as_str().expect("a bearer"));
    gate.ask(
        "GET",
        "/api/auth/media/customer",
        &[("Authorization", &bearer)],
        b"",
    )
}

fn one_time(gate: &Gate, subject: &str, scope: &str) -> String {
    let bearer = Token::caller(subject, scope).bearer();
    let answer = gate
        .ask("POST", ONE_TIME, &[("Authorization", &bearer)], b"")
        .expect(200);
    answer.json()["Value"].as_str().expect("Value").to_owned()
}

fn exchange(gate: &Gate, token: &str, minutes: &str) -> Response {
    gate.ask(
        "POST",
        &format!("{EXCHANGE}?token={token}&validForInMinutes={minutes}"),
        &[],
        b"",
    )
}

#[test]
fn token_trap_4_a_name_and_its_password_get_an_access_token_that_the_issuer_believes() {
    let (_origin, gate) = start();
    let form = format!("grant_type=password&username=a%40example.com&password={ENCODED}");
    let answer = post(&gate, &[], &form).expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["access_token", "expires_in", "refresh_token", "token_type"]
    );
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("bearer"), &json!(86_400))
    );
    let (_, claims) = opened(body["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&json!("42"), &json!("portal:customer"))
    );
    let jwt = media_token(&gate, &body["access_token"]).expect(200).json();
    let (_, claims) = opened(jwt["jwt"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["paths"]),
        (&json!("42"), &json!(["/customers/42/**"]))
    );
    // It is a caller's bearer and no link.
    gate.get(
        &format!(
            "/customers/42/invoice.pdf?t={}",
            body["access_token"].as_str().unwrap()
        ),
        &[],
    )
    .refused(401, "token_invalid");
    gate.advance(86_400 + 5);
    media_token(&gate, &body["access_token"]).expect(401);
}

#[test]
fn token_a_client_gets_a_bearer_without_a_refresh_token() {
    let (_origin, gate) = start();
    let body = sign_in(&gate, "backend", &[]);
    assert!(body.get("refresh_token").is_none(), "{body}");
    let (_, claims) = opened(body["access_token"].as_str().unwrap());
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&json!("svc"), &json!("portal:closed"))
    );
}

#[test]
fn token_trap_5_what_is_no_form_is_an_unsupported_grant_type() {
    let (_origin, gate) = start();
    let json =
        json!({ "grant_type": "password", "username": "a@example.com", "password": PASSWORD }).to_string();
    let form = format!("grant_type=password&username=a%40example.com&password={ENCODED}");
    for (media_type, body) in [
        ("application/json", json.as_str()),
        ("application/json; charset=utf-8", json.as_str()),
        ("text/plain", form.as_str()),
        ("multipart/form-data; boundary=x", form.as_str()),
        ("", form.as_str()),
    ] {
        let answer = gate.ask("POST", TOKEN, &[("Content-Type", media_type)], body.as_bytes());
        refused(&answer, 400, "unsupported_grant_type");
    }
    refused(
        &gate.ask("POST", TOKEN, &[], form.as_bytes()),
        400,
        "unsupported_grant_type",
    );
    let twice = [("Content-Type", FORM), ("Content-Type", FORM)];
    refused(
        &gate.ask("POST", TOKEN, &twice, form.as_bytes()),
        400,
        "unsupported_grant_type",
    );
    let charset = [("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")];
    gate.ask("POST", TOKEN, &charset, form.as_bytes()).expect(200);
}

#[test]
fn token_what_is_asked_wrongly_is_refused_in_the_services_own_shape() {
    let (_origin, gate) = start();
    let good = format!("grant_type=password&username=a%40example.com&password={ENCODED}");
    let long = "x".repeat(2000);
    for (form, error) in [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=client_credentials", "unsupported_grant_type"),
        ("grant_type=PASSWORD", "unsupported_grant_type"),
        ("grant_type=password", "invalid_request"),
        ("grant_type=password&username=a%40example.com", "invalid_request"),
        (
            "grant_type=password&username=a%40example.com&password=",
            "invalid_request",
        ),
        (&format!("{good}&grant_type=password"), "invalid_request"),
        (&format!("{good}&password=x"), "invalid_request"),
        (&format!("{good}&p%61ssword=x"), "invalid_request"),
        (&format!("{good}&x=%zz"), "invalid_request"),
        (&format!("{good}&x=%ff"), "invalid_request"),
        (
            &format!("grant_type=password&username={long}&password=x"),
            "invalid_request",
        ),
        (
            &format!("grant_type=password&username=a&password={long}"),
            "invalid_request",
        ),
        ("grant_type=refresh_token", "invalid_request"),
        ("grant_type=refresh_token&refresh_token=x", "invalid_grant"),
        (
            "grant_type=refresh_token&refresh_token=00000000000000000000000000000000",
            "invalid_grant",
        ),
        (
            "grant_type=password&username=a%40example.com&password=wrong",
            "invalid_grant",
        ),
        (
            "grant_type=password&username=A%40example.com&password=wrong",
            "invalid_grant",
        ),
        (
            "grant_type=password&username=a%00b&password=wrong",
            "invalid_grant",
        ),
    ] {
        refused(&post(&gate, &[], form), 400, error);
    }
    for client in ["", &long] {
        refused(
            &post(&gate, &[("client_id", client)], &good),
            400,
            "invalid_request",
        );
    }
    refused(
        &post(&gate, &[("client_id", "a"), ("client_id", "a")], &good),
        400,
        "invalid_request",
    );
    let large = format!("{good}&x={}", "x".repeat(100 * 1024));
    assert_eq!(post(&gate, &[], &large).status, 413);
    let answer = gate.ask("GET", TOKEN, &[], b"").expect(405);
    assert_eq!(answer.header("allow"), Some("POST"));
    // Nothing of all that was a try too many.
    sign_in(&gate, "a@example.com", &[]);
}

#[test]
fn token_a_refresh_token_gets_a_new_pair_once_and_from_its_client_alone() {
    let (_origin, gate) = start();
    let client = [("client_id", "portal")];
    let first = sign_in(&gate, "a@example.com", &client);
    for wrong in [
        &[("client_id", "other")][..],
        &[("client_id", "a@example.com")],
        &[],
    ] {
        refused(
            &refresh(&gate, &first["refresh_token"], wrong),
            400,
            "invalid_grant",
        );
    }
    // Nobody else's try has used it up.
    let second = refresh(&gate, &first["refresh_token"], &client)
        .expect(200)
        .json();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    media_token(&gate, &second["access_token"]).expect(200);
    media_token(&gate, &first["access_token"]).expect(200);
    refused(
        &refresh(&gate, &first["refresh_token"], &client),
        400,
        "invalid_grant",
    );
    refresh(&gate, &second["refresh_token"], &client).expect(200);
}

#[test]
fn token_without_a_name_of_its_own_a_client_is_called_as_its_user() {
    let (_origin, gate) = start();
    let user = [("client_id", "a@example.com")];
    let first = sign_in(&gate, "a@example.com", &[]);
    let second = refresh(&gate, &first["refresh_token"], &user).expect(200).json();
    let third = refresh(&gate, &second["refresh_token"], &[]).expect(200).json();
    refused(
        &refresh(&gate, &third["refresh_token"], &[("client_id", "x")]),
        400,
        "invalid_grant",
    );
}

#[test]
fn token_a_later_refresh_token_of_the_same_client_takes_the_place_of_the_last() {
    let (_origin, gate) = start();
    let client = [("client_id", "portal")];
    let old = sign_in(&gate, "a@example.com", &client);
    let other_client = sign_in(&gate, "a@example.com", &[("client_id", "phone")]);
    let other_user = sign_in(&gate, "b@example.com", &client);
    let new = sign_in(&gate, "a@example.com", &client);
    refused(
        &refresh(&gate, &old["refresh_token"], &client),
        400,
        "invalid_grant",
    );
    media_token(&gate, &old["access_token"]).expect(200);
    refresh(&gate, &new["refresh_token"], &client).expect(200);
    refresh(&gate, &other_client["refresh_token"], &[("client_id", "phone")]).expect(200);
    refresh(&gate, &other_user["refresh_token"], &client).expect(200);
}

#[test]
fn token_a_refresh_token_lives_fifteen_days() {
    let (_origin, gate) = start();
    let day = 24 * 60 * 60;
    let first = sign_in(&gate, "a@example.com", &[]);
    gate.advance(15 * day - 1);
    let second = refresh(&gate, &first["refresh_token"], &[]).expect(200).json();
    gate.advance(15 * day);
    refused(
        &refresh(&gate, &second["refresh_token"], &[]),
        400,
        "invalid_grant",
    );
}

#[test]
fn token_of_fifty_who_show_a_refresh_token_at_once_one_is_given_a_bearer() {
    let (_origin, gate) = start();
    let first = sign_in(&gate, "a@example.com", &[]);
    let won = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..50 {
            let (gate, first, won) = (&gate, &first, &won);
            let racer = move || {
                let answer = refresh(gate, &first["refresh_token"], &[]);
                match answer.status {
                    200 => {
                        won.fetch_add(1, Ordering::SeqCst);
                    }
                    _ => refused(&answer, 400, "invalid_grant"),
                }
            };
            let name = format!("support-racer-{number}");
            std::thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, racer)
                .unwrap();
        }
    });
    assert_eq!(won.load(Ordering::SeqCst), 1);
}

#[test]
fn token_who_was_removed_or_narrowed_is_so_with_the_next_refresh() {
    let (_origin, gate) = start();
    let (gone, narrowed) = (
        sign_in(&gate, "a@example.com", &[]),
        sign_in(&gate, "b@example.com", &[]),
    );
    let text = callers().replace("a@example.com", "c@example.com");
    let text = text.replace(
        "subject = \"43\"\nscope = \"portal:customer\"",
        "subject = \"43\"\nscope = \"other\"",
    );
    gate.file("callers.toml", text);
    gate.reload();
    refused(&refresh(&gate, &gone["refresh_token"], &[]), 400, "invalid_grant");
    let bearer = refresh(&gate, &narrowed["refresh_token"], &[]).expect(200).json();
    media_token(&gate, &bearer["access_token"]).expect(403);
    refused(
        &post(
            &gate,
            &[],
            &format!("grant_type=password&username=a%40example.com&password={ENCODED}"),
        ),
        400,
        "invalid_grant",
    );
}

#[test]
fn token_a_change_of_the_password_ends_the_refresh_tokens_of_that_account_alone() {
    let (_origin, gate) = start();
    let (one, other) = (
        sign_in(&gate, "a@example.com", &[]),
        sign_in(&gate, "b@example.com", &[]),
    );
    // The same password with another salt is another one, too: whoever sets it anew means it.
    let new = PasswordHash::of(PASSWORD.as_bytes()).expect("a hash");
    let before = callers();
    gate.file("callers.toml", before.replacen(hash(), new.reveal(), 1));
    gate.reload();
    refused(&refresh(&gate, &one["refresh_token"], &[]), 400, "invalid_grant");
    refresh(&gate, &other["refresh_token"], &[]).expect(200);
    let again = sign_in(&gate, "a@example.com", &[]);
    refresh(&gate, &again["refresh_token"], &[]).expect(200);
}

#[test]
fn token_a_refresh_token_that_was_withdrawn_gets_nothing() {
    let (_origin, gate) = start();
    let (one, other) = (
        sign_in(&gate, "a@example.com", &[]),
        sign_in(&gate, "b@example.com", &[]),
    );
    let exchanged = exchange(&gate, &one_time(&gate, "42", "portal:customer"), "5")
        .expect(200)
        .json();
    for withdrawn in [&one, &exchanged] {
        let token = &withdrawn["refresh_token"];
        gate.running().revoke_handle(token.as_str().unwrap());
        refused(&refresh(&gate, token, &[]), 400, "invalid_grant");
    }
    refresh(&gate, &other["refresh_token"], &[]).expect(200);
}

#[test]
fn token_passwords_are_tried_ten_times_a_minute_for_an_account_known_or_not() {
    let (_origin, setup) = setup("tries_per_account = 3\nlimit_status = 429\n");
    let gate = setup.start();
    for name in ["a%40example.com", "nobody"] {
        let form = |password: &str| format!("grant_type=password&username={name}&password={password}");
        for _ in 0..3 {
            refused(&post(&gate, &[], &form("wrong")), 400, "invalid_grant");
        }
        // The right one is not looked at either.
        let answer = post(&gate, &[], &form(ENCODED));
        refused(&answer, 429, "slow_down");
        assert_eq!(answer.header("retry-after"), Some("20"));
    }
    sign_in(&gate, "b@example.com", &[]);
    gate.advance(20);
    sign_in(&gate, "a@example.com", &[]);
}

#[test]
fn token_passwords_are_tried_so_often_from_one_address() {
    let (_origin, setup) = setup("tries_per_address = 4\n");
    let gate = setup.behind_a_proxy().start();
    let mut client = gate.connect();
    let mut attempt = |name: &str, address: &str| {
        let form = format!("grant_type=password&username={name}&password=wrong");
        let length = form.len().to_string();
        let headers = [
            ("Content-Type", FORM),
            ("X-Forwarded-For", address),
            ("Content-Length", &length),
        ];
        client.request("POST", TOKEN, &headers);
        client.send(&form);
        client.read()
    };
    for number in 0..4 {
        let address = format!("2001:db8:0:1::{number}");
        refused(&attempt(&format!("user{number}"), &address), 400, "invalid_grant");
    }
    let answer = attempt("user5", "2001:db8:0:1:ffff::1").expect(409);
    assert_eq!(
        (answer.header("retry-after"), answer.header("content-length")),
        (Some("1"), Some("0"))
    );
    refused(&attempt("user5", "2001:db8:0:2::1"), 400, "invalid_grant");
    refused(&attempt("user5", "192.0.2.7"), 400, "invalid_grant");
}

#[test]
fn o15_a_one_time_token_is_exchanged_for_a_bearer_once() {
    let (_origin, gate) = start();
    let token = one_time(&gate, "42", "portal:customer other:thing");
    let answer = exchange(&gate, &token, "1440").expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["expires_in", "refresh_token", "token", "token_type"],
        "trap 4"
    );
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("bearer"), &json!(86_400))
    );
    let (_, claims) = opened(body["token"].as_str().unwrap());
    // What got the token, and nothing else that its caller may do.
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&json!("42"), &json!("portal:customer"))
    );
    media_token(&gate, &body["token"]).expect(200);
    let again = refresh(&gate, &body["refresh_token"], &[]).expect(200).json();
    media_token(&gate, &again["access_token"]).expect(200);
    refused(&exchange(&gate, &token, "1440"), 410, "invalid_grant");
    gate.get(&format!("/customers/42/invoice.pdf?t={token}"), &[])
        .refused(410, "token_spent");
}

#[test]
fn o15_whatever_is_asked_wrongly_uses_nothing_up() {
    let (_origin, gate) = start();
    let token = one_time(&gate, "42", "portal:customer");
    for query in [
        String::new(),
        "?".into(),
        format!("?token={token}"),
        format!("?token={token}&validForInMinutes="),
        format!("?token={token}&validForInMinutes=0"),
        format!("?token={token}&validForInMinutes=-1"),
        format!("?token={token}&validForInMinutes=%2B5"),
        format!("?token={token}&validForInMinutes=1.5"),
        format!("?token={token}&validForInMinutes=1e3"),
        format!("?token={token}&validForInMinutes=abc"),
        format!("?token={token}&validForInMinutes=99999999999999999999"),
        format!("?token={token}&validForInMinutes=527041"),
        format!("?token={token}&validForInMinutes=5&validForInMinutes=5"),
        format!("?token={token}&token={token}&validForInMinutes=5"),
        format!("?token={token}&%74oken={token}&validForInMinutes=5"),
        format!("?token={token}&validForInMinutes=5&x=%zz"),
        "?token=&validForInMinutes=5".into(),
        "?validForInMinutes=5".into(),
    ] {
        let answer = gate.ask("POST", &format!("{EXCHANGE}{query}"), &[], b"");
        refused(&answer, 400, "invalid_request");
    }
    let get = gate
        .ask(
            "GET",
            &format!("{EXCHANGE}?token={token}&validForInMinutes=5"),
            &[],
            b"",
        )
        .expect(405);
    assert_eq!(get.header("allow"), Some("POST"));
    // In the body they are no parameters.
    let form = format!("token={token}&validForInMinutes=5");
    refused(
        &gate.ask("POST", EXCHANGE, &[("Content-Type", FORM)], form.as_bytes()),
        400,
        "invalid_request",
    );
    exchange(&gate, &token, "5").expect(200);
}

#[test]
fn o15_nobody_learns_whether_a_token_was_used_has_expired_is_for_files_or_never_was() {
    let (_origin, gate) = start();
    let spent = one_time(&gate, "42", "portal:customer");
    exchange(&gate, &spent, "5").expect(200);
    let file = one_time(&gate, "42", "portal:customer");
    gate.get(&format!("/customers/42/invoice.pdf?t={file}"), &[])
        .expect(200);
    let old = one_time(&gate, "42", "portal:customer");
    let closed = one_time(&gate, "42", "portal:closed");
    let mut answers = vec![
        exchange(&gate, &spent, "5"),
        exchange(&gate, &file, "5"),
        exchange(&gate, &closed, "5"),
    ];
    for unknown in [
        "0".repeat(32),
        old.to_uppercase(),
        "x".into(),
        "a%2Fb".into(),
        "..".into(),
        format!("{old}0"),
    ] {
        answers.push(exchange(&gate, &unknown, "5"));
    }
    gate.advance(66);
    answers.push(exchange(&gate, &old, "5"));
    answers.push(exchange(&gate, &closed, "5"));
    for answer in &answers {
        refused(answer, 410, "invalid_grant");
        assert_eq!(answer.text(), answers[0].text());
    }
}

#[test]
fn o15_a_bearer_for_some_addresses_is_exchanged_for_no_bearer_for_all() {
    let (_origin, setup) = setup("");
    let gate = setup.behind_a_proxy().start();
    let mut client = gate.connect();
    let mut ask = |method: &str, target: &str, bearer: &str, address: &str| {
        let headers = [
            ("Authorization", bearer),
            ("X-Forwarded-For", address),
            ("Content-Length", "0"),
        ];
        client.exchange(method, target, &headers)
    };
    let bound = |scope: &str| {
        let token = Token::caller("42", scope).claim("ips", json!(["192.0.2.0/24"]));
        token.bearer()
    };
    let (here, elsewhere) = ("192.0.2.7", "198.51.100.7");
    let bearer = bound("portal:customer");
    ask("POST", ONE_TIME, &bearer, elsewhere).expect(401);
    let answer = ask("POST", ONE_TIME, &bearer, here).expect(200).json();
    let token = answer["Value"].as_str().unwrap();
    let exchanged = ask(
        "POST",
        &format!("{EXCHANGE}?token={token}&validForInMinutes=5"),
        "",
        here,
    );
    refused(&exchanged, 410, "invalid_grant");
    let path = format!("/customers/42/invoice.pdf?t={token}");
    ask("GET", &path, "", elsewhere).refused(403, "address_denied");
    ask("GET", &path, "", here).expect(200);
    let answer = ask("GET", "/api/auth/media/customer", &bearer, here)
        .expect(200)
        .json();
    let (_, claims) = opened(answer["jwt"].as_str().unwrap());
    assert_eq!(claims["ips"], json!(["192.0.2.0/24"]));
    // Good for exchange alone: there is nothing left of it.
    ask("POST", ONE_TIME, &bound("portal:short"), here).expect(403);
}

#[test]
fn o15_a_token_without_a_permission_gets_no_bearer_and_is_not_used_up() {
    let (_origin, gate) = start();
    let token = gate.running().remember(&Known {
        subject: "42",
        paths: &["/customers/42/**"],
        life: 60,
        purposes: &["file", "exchange"],
        address: None,
    });
    refused(&exchange(&gate, &token, "5"), 410, "invalid_grant");
    gate.get(&format!("/customers/42/invoice.pdf?t={token}"), &[])
        .expect(200);
}

#[test]
fn o15_it_is_off_unless_the_rule_allows_it_and_its_life_is_capped() {
    let (_origin, gate) = start();
    let closed = one_time(&gate, "42", "portal:closed");
    refused(&exchange(&gate, &closed, "5"), 410, "invalid_grant");
    gate.get(&format!("/customers/42/invoice.pdf?t={closed}"), &[])
        .expect(200);
    for (scope, minutes, expected) in [
        ("portal:customer", "1", 60),
        ("portal:customer", "527040", 86_400),
        ("portal:short", "1440", 600),
        ("portal:short", "2", 120),
    ] {
        let body = exchange(&gate, &one_time(&gate, "42", scope), minutes)
            .expect(200)
            .json();
        assert_eq!(body["expires_in"], expected, "{scope} {minutes}");
        let (_, claims) = opened(body["token"].as_str().unwrap());
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            expected
        );
        // Its successors live as long as the rule allows, and no longer.
        let next = refresh(&gate, &body["refresh_token"], &[]).expect(200).json();
        assert_eq!(
            next["expires_in"],
            if scope == "portal:short" { 600 } else { 86_400 }
        );
    }
}

#[test]
fn o15_what_an_exchange_is_good_for_ends_however_often_it_is_made_anew() {
    let (_origin, gate) = start();
    let day = 24 * 60 * 60;
    let signed_in = sign_in(&gate, "a@example.com", &[]);
    let mut last = exchange(&gate, &one_time(&gate, "42", "portal:customer"), "5")
        .expect(200)
        .json();
    for _ in 0..2 {
        gate.advance(7 * day);
        last = refresh(&gate, &last["refresh_token"], &[]).expect(200).json();
    }
    // Who has a password stays signed in for as long as it comes back in time.
    let signed_in = refresh(&gate, &signed_in["refresh_token"], &[])
        .expect(200)
        .json();
    gate.advance(day);
    refused(&refresh(&gate, &last["refresh_token"], &[]), 400, "invalid_grant");
    refresh(&gate, &signed_in["refresh_token"], &[]).expect(200);
}

#[test]
fn o15_a_refresh_token_of_an_exchange_follows_the_configuration() {
    let (_origin, setup) = setup("");
    let gate = setup.start();
    let exchanged = |scope: &str| {
        exchange(&gate, &one_time(&gate, "42", scope), "5")
            .expect(200)
            .json()
    };
    let (long, short) = (exchanged("portal:customer"), exchanged("portal:short"));
    let file = gate.dir().join("proxy.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let with = |what: &str, other: &str| {
        assert!(before.contains(what), "{before}");
        gate.file("proxy.toml", before.replacen(what, other, 1));
        gate.reload();
    };
    let cannot = |token: &Value| refused(&refresh(&gate, token, &[]), 400, "invalid_grant");
    // The rule is for somebody else, exchanges no more, is gone; nothing is exchanged at all.
    with(
        "requires = \"portal:customer\"",
        "requires = \"portal:customer\"\ncaller = \"43\"",
    );
    cannot(&long["refresh_token"]);
    with("purposes = [\"file\", \"exchange\"]", "purposes = [\"file\"]");
    cannot(&long["refresh_token"]);
    with("requires = \"portal:customer\"", "requires = \"portal:other\"");
    cannot(&long["refresh_token"]);
    with("\"nexudus_exchange\", ", "");
    let without = std::fs::read_to_string(&file).unwrap();
    gate.file(
        "proxy.toml",
        without.replacen("[issuer.nexudus_exchange]\n", "", 1),
    );
    gate.reload();
    cannot(&long["refresh_token"]);
    // The smaller of the two limits counts.
    let mut last = short;
    for (limit, lives) in [("5m", 300), ("1h", 600)] {
        with("max_exchange = \"10m\"", &format!("max_exchange = \"{limit}\""));
        last = refresh(&gate, &last["refresh_token"], &[]).expect(200).json();
        assert_eq!(last["expires_in"], lives, "{limit}");
    }
    gate.file("proxy.toml", &before);
    gate.reload();
    refresh(&gate, &long["refresh_token"], &[]).expect(200);
}

#[test]
fn o15_of_fifty_who_exchange_one_token_at_once_one_is_given_a_bearer() {
    let (_origin, gate) = start();
    let token = one_time(&gate, "42", "portal:customer");
    let won = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..50 {
            let (gate, token, won) = (&gate, &token, &won);
            let racer = move || {
                let answer = exchange(gate, token, "5");
                match answer.status {
                    200 => {
                        won.fetch_add(1, Ordering::SeqCst);
                    }
                    _ => refused(&answer, 410, "invalid_grant"),
                }
            };
            let name = format!("support-racer-{number}");
            std::thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, racer)
                .unwrap();
        }
    });
    assert_eq!(won.load(Ordering::SeqCst), 1);
}

#[test]
fn o15_unknown_tokens_are_limited_per_address_before_the_store_is_asked() {
    let (_origin, gate) = start();
    let token = one_time(&gate, "42", "portal:customer");
    for number in 0..60 {
        refused(
            &exchange(&gate, &format!("{number:032x}"), "5"),
            410,
            "invalid_grant",
        );
    }
    let answer = exchange(&gate, &token, "5").expect(409);
    assert_eq!(answer.header("retry-after"), Some("1"));
    // At the gate it is the same count.
    gate.get(&format!("/customers/42/invoice.pdf?t={token}"), &[])
        .refused(429, "limit_reached");
    gate.advance(1);
    exchange(&gate, &token, "5").expect(200);
}

#[test]
fn o15_an_exchange_outlives_a_restart_spent() {
    let (_origin, gate) = start();
    let token = one_time(&gate, "42", "portal:customer");
    let body = exchange(&gate, &token, "5").expect(200).json();
    let gate = gate.restart(crate::support::NOW);
    refused(&exchange(&gate, &token, "5"), 410, "invalid_grant");
    refresh(&gate, &body["refresh_token"], &[]).expect(200);
}

#[test]
fn both_doors_answer_browsers_and_stand_on_the_gates_listener() {
    let (_origin, gate) = start();
    let mut client = gate.connect();
    for path in [TOKEN, EXCHANGE] {
        let headers = [
            ("Origin", "https://portal.example.com"),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "client_id,content-type"),
        ];
        let preflight = client.exchange("OPTIONS", path, &headers).expect(204);
        let allowed = preflight
            .header("access-control-allow-headers")
            .unwrap_or_default();
        assert!(allowed.contains("client_id"), "{allowed}");
        let headers = [("Origin", "https://portal.example.com"), ("Content-Length", "0")];
        let answer = client.exchange("POST", path, &headers).expect(400);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://portal.example.com")
        );
    }
}

#[test]
fn a_callers_file_that_is_wrong_or_open_to_others_starts_nothing_and_changes_nothing() {
    let (_origin, setup_) = setup("");
    let error = setup_
        .file("callers.toml", "[[user]]\nname = \"a\"\n")
        .try_start()
        .err()
        .expect("an error");
    assert!(
        error.contains("issuer.callers_file") && error.contains("user[0].hash"),
        "{error}"
    );
    let (_origin, setup_) = setup("");
    let path = setup_.dir().join("callers.toml");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let error = setup_.try_start().err().expect("an error");
    assert!(error.contains("0640"), "{error}");
    let (_origin, gate) = start();
    gate.file("callers.toml", "nonsense");
    let error = gate.try_reload().unwrap_err();
    assert!(error.contains("is not TOML"), "{error}");
    sign_in(&gate, "a@example.com", &[]);
}

#[test]
fn o17_no_bearer_password_or_token_is_in_any_sink() {
    let (origin, gate) = start();
    let mut secrets: Vec<String> = vec![PASSWORD.into(), ENCODED.into(), hash().into()];
    let mut answers: Vec<u8> = Vec::new();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let first = sign_in(&gate, "a@example.com", &[("client_id", "portal")]);
    let second = refresh(&gate, &first["refresh_token"], &[("client_id", "portal")])
        .expect(200)
        .json();
    let token = one_time(&gate, "42", "portal:customer");
    let exchanged = exchange(&gate, &token, "5").expect(200).json();
    let (file, unused) = (
        one_time(&gate, "42", "portal:customer"),
        one_time(&gate, "42", "portal:closed"),
    );
    gate.get(&format!("/customers/42/invoice.pdf?t={file}"), &[])
        .expect(200);
    let jwt = text(&media_token(&gate, &exchanged["token"]).expect(200).json()["jwt"]);
    let wrong = "wr0ng-password-of-nobody";
    for (value, label) in [
        (&first, "access_token"),
        (&second, "access_token"),
        (&exchanged, "token"),
    ] {
        secrets.extend(text(&value[label]).split('.').skip(1).map(str::to_owned));
        secrets.push(text(&value["refresh_token"]));
    }
    secrets.extend([token.clone(), file.clone(), unused.clone(), wrong.into()]);
    secrets.extend(jwt.split('.').skip(1).map(str::to_owned));
    // Refused, in every place where something secret may stand by mistake.
    for secret in secrets.clone() {
        let coded: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for form in [
            format!("grant_type={coded}"),
            format!("grant_type=password&username={coded}&password={wrong}"),
            format!("grant_type=refresh_token&refresh_token={coded}&refresh_token={coded}"),
            format!("{coded}=1"),
        ] {
            answers.extend(post(&gate, &[("client_id", "other")], &form).raw);
        }
        let header = if secret.is_ascii() { secret.as_str() } else { "x" };
        answers.extend(
            post(
                &gate,
                &[("client_id", header), ("Authorization", header)],
                "grant_type=x",
            )
            .raw,
        );
        for query in [
            format!("token={coded}"),
            format!("token={coded}&validForInMinutes={coded}"),
            coded.clone(),
        ] {
            answers.extend(gate.ask("POST", &format!("{EXCHANGE}?{query}"), &[], b"").raw);
        }
        let bearer = format!("Bearer {header}");
        answers.extend(
            gate.ask("POST", ONE_TIME, &[("Authorization", &bearer)], secret.as_bytes())
                .raw,
        );
        gate.advance(61);
    }
    gate.access_lines(100);
    let log = gate.access_text();
    let metrics = gate.metrics();
    let received = origin.received().concat();
    let mut state = Vec::new();
    for file in std::fs::read_dir(gate.dir().join("state")).unwrap().flatten() {
        state.extend(std::fs::read(file.path()).unwrap_or_default());
    }
    for (sink, bytes) in [
        ("access log", log.as_bytes()),
        ("operational log", operational_log().as_bytes()),
        ("metrics", metrics.as_bytes()),
        ("answers", &answers),
        ("origin's bytes", &received),
        ("state folder", &state),
    ] {
        for secret in &secrets {
            let at = bytes
                .windows(secret.len())
                .position(|window| window == secret.as_bytes());
            assert!(
                at.is_none(),
                "{secret} is in the {sink}: {}",
                String::from_utf8_lossy(&bytes[at.unwrap().saturating_sub(200)..][..300.min(bytes.len())])
            );
        }
    }
    assert!(
        log.contains("\"code\":\"issued\"") && log.contains("\"sub\":\"42\""),
        "{log}"
    );
}
