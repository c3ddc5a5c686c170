//! The issuer with the native dialect and Fynn's, as backends ask it.

use serde_json::Value;

use super::{Gate, Origin, Response, Setup, Token, conf};

/// An issuer with both dialects and these rules, a route for downloads by id and one for everything.
pub(crate) fn setup(origin: &Origin, rules: &str) -> Setup {
    Setup::new(conf::http(origin.address()) + &conf::fynn_route() + &conf::route() + &conf::issuer(rules))
}

/// The same with the usual rule and two files.
pub(crate) fn start() -> (Origin, Gate) {
    let origin = Origin::start();
    origin
        .file("/store/report.bin", "0123456789")
        .file("/store/other.bin", "other");
    let gate = setup(&origin, conf::RULE).start();
    (origin, gate)
}

/// A backend that may read media.
pub(crate) fn bearer() -> String {
    Token::caller("backend", "media:read other:thing").bearer()
}

/// `POST /media/{id}/download-token` at the issuer's listener.
pub(crate) fn download_token(gate: &Gate, id: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    gate.ask("POST", &format!("/media/{id}/download-token"), headers, body)
}

/// `POST /v1/tokens`.
pub(crate) fn ask_native(gate: &Gate, bearer: &str, body: &Value) -> Response {
    let headers = [("Authorization", bearer), ("Content-Type", "application/json")];
    gate.ask("POST", "/v1/tokens", &headers, body.to_string().as_bytes())
}

/// What a link names on the gate: path and query.
#[track_caller]
pub(crate) fn on_the_gate(url: &Value) -> String {
    let url = url.as_str().expect("a url");
    let path = url.strip_prefix("http://media.example.com");
    path.unwrap_or_else(|| panic!("another base: {url}")).to_owned()
}

/// Token and link of an answer.
#[track_caller]
pub(crate) fn issued(answer: Response, status: u16) -> (String, String) {
    let body = answer.expect(status).json();
    let token = body["token"].as_str().expect("a token").to_owned();
    (token, on_the_gate(&body["url"]))
}

/// Asserts that a request was refused in the dialect's own shape, and that nothing was made of it.
#[track_caller]
pub(crate) fn made_nothing(gate: &Gate, answer: &Response, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
    let body = answer.json();
    if answer.status == 401 && body["code"] == 401 {
        assert!(body["message"].is_string(), "{what}: {answer:?}");
    } else {
        assert_eq!(
            super::client::media_type(answer),
            "application/problem+json",
            "{what}"
        );
        assert_eq!(body["status"], answer.status, "{what}");
        assert!(body["code"].is_string() && body["detail"].is_string(), "{what}");
    }
    assert!(
        body.get("token").is_none() && !answer.text().contains("eyJ"),
        "{what}: {answer:?}"
    );
    assert_eq!(gate.metric("mediagate_store_entries", &[]), 0.0, "{what}");
}
