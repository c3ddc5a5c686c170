//! Bearers as Adobe's dynamic client registration hands them out: `POST /o/client/token`.

use std::sync::OnceLock;

use mediagate::issuer::accounts::PasswordHash;
use serde_json::json;

use crate::support::adobe::{self, ASK, INFO, RESOURCES, RULE, issuer, row, setup};
use crate::support::client::media_type;
use crate::support::gate::operational_log;
use crate::support::mint::{CALLERS, CALLERS_AUDIENCE, opened};
use crate::support::{Gate, NOW, Origin, Response};

const PATH: &str = "/o/client/token";
const FORM: &str = "application/x-www-form-urlencoded";
const SECRET: &str = "a-secret-of-the-app";

/// A hash takes a while: one for all.
fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        PasswordHash::of(SECRET.as_bytes())
            .expect("a hash")
            .reveal()
            .to_owned()
    })
}

fn start(bearer: &str) -> (Origin, Gate) {
    let own = format!(
        "[issuer.bearers]\nkeys = \"callers\"\nissuer = \"{CALLERS}\"\naudience = \"{CALLERS_AUDIENCE}\"\n\
         [issuer.adobe_bearer]\n{bearer}"
    );
    let tables = adobe::route("", RESOURCES) + &issuer(RULE, "", &row("SPORT", "\"news\"", "")) + &own;
    let tables = tables.replace("[issuer]\n", "[issuer]\ncallers_file = \"callers.toml\"\n");
    let entry = |kind: &str, name: &str| {
        format!(
            "[[{kind}]]\nname = \"{name}\"\nsubject = \"app-7\"\nscope = \"tv:watch\"\nhash = \"{}\"\n",
            hash()
        )
    };
    let callers = entry("client", "app") + &entry("user", "anna");
    let (origin, setup) = setup(&tables);
    (origin, setup.file("callers.toml", callers).start())
}

fn post(gate: &Gate, form: &str) -> Response {
    gate.ask("POST", PATH, &[("Content-Type", FORM)], form.as_bytes())
}

fn credentials(id: &str, secret: &str) -> String {
    format!("client_id={id}&client_secret={secret}&grant_type=client_credentials")
}

#[test]
fn a_client_gets_a_bearer_that_the_issuer_believes() {
    let (_origin, gate) = start("");
    let answer = post(&gate, &credentials("app", SECRET)).expect(201);
    assert_eq!(media_type(&answer), "application/json");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let text = answer.text();
    let at = |name: &str| {
        text.find(&format!("\"{name}\":"))
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let order = ["id", "access_token", "created_at", "expires_in", "token_type"].map(at);
    assert!(order.is_sorted(), "{text}");
    assert_eq!(body.as_object().unwrap().len(), 5);
    assert_eq!(
        (&body["created_at"], &body["expires_in"], &body["token_type"]),
        (&json!(NOW * 1000), &json!(21_600), &json!("bearer"))
    );
    let token = body["access_token"].as_str().expect("a token");
    let (_, claims) = opened(token);
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&json!("app-7"), &json!("tv:watch"))
    );
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", &*bearer), ("X-Device-Info", INFO)];
    gate.ask("GET", ASK, &headers, b"").expect(200);
    let line = &gate.access(2)[0];
    assert_eq!((&line["token_id"], &line["sub"]), (&body["id"], &json!("app-7")));
    for log in [gate.access_text(), operational_log()] {
        assert!(!log.contains(SECRET) && !log.contains(token));
    }
    gate.advance(21_606);
    gate.ask("GET", ASK, &headers, b"").expect(401);
}

#[test]
fn each_fault_has_its_word_and_400() {
    let (_origin, gate) = start("");
    for (form, error) in [
        (credentials("app", "wrong"), "invalid_client"),
        (credentials("nobody", SECRET), "invalid_client"),
        (credentials("anna", "wrong"), "invalid_client"),
        (credentials("anna", SECRET), "invalid_client"),
        (
            credentials("app", SECRET).replace("client_credentials", "password"),
            "unsupported_grant_type",
        ),
        (
            credentials("app", SECRET).replace("&grant_type=client_credentials", ""),
            "invalid_request",
        ),
        (credentials("app", ""), "invalid_request"),
        (credentials("", SECRET), "invalid_request"),
        (credentials("app", SECRET) + "&client_id=app", "invalid_request"),
        (String::new(), "invalid_request"),
    ] {
        gate.advance(60);
        let answer = post(&gate, &form).expect(400);
        assert_eq!(answer.json(), json!({ "error": error }), "{form}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let body = format!(
        "{{\"client_id\":\"app\",\"client_secret\":\"{SECRET}\",\"grant_type\":\"client_credentials\"}}"
    );
    let answer = gate.ask(
        "POST",
        PATH,
        &[("Content-Type", "application/json")],
        body.as_bytes(),
    );
    assert_eq!(answer.expect(400).json(), json!({ "error": "invalid_request" }));
    // What stands in the query is in logs, and is not read.
    let answer = gate.ask(
        "POST",
        &format!("{PATH}?{}", credentials("app", SECRET)),
        &[("Content-Type", FORM)],
        b"",
    );
    assert_eq!(answer.expect(400).json(), json!({ "error": "invalid_request" }));
    let answer = gate.ask("GET", PATH, &[], b"").expect(405);
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[test]
fn a20_it_shares_the_pace_of_the_device_and_tries_are_few() {
    let (_origin, gate) = start("tries_per_account = 2\n");
    for _ in 0..2 {
        post(&gate, &credentials("app", "wrong")).expect(400);
    }
    let limited = post(&gate, &credentials("app", SECRET)).expect(429);
    assert_eq!(
        (media_type(&limited).as_str(), limited.header("retry-after")),
        ("text/html", Some("30"))
    );
    // Three of eleven are gone.
    for _ in 0..8 {
        gate.ask("GET", ASK, &[], b"").expect(400);
    }
    gate.ask("GET", ASK, &[], b"").expect(429);
    let limited = post(&gate, "").expect(429);
    assert_eq!(
        (media_type(&limited).as_str(), limited.header("retry-after")),
        ("text/html", Some("1"))
    );
    gate.advance(1);
    post(&gate, "").expect(400);
}
