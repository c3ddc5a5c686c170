//! CORS: true preflights need no token and reach no origin; exact origins alone may read.

use crate::support::{Gate, Origin, Response, Setup, Token, conf};

const APP: &str = "https://app.example.com";

fn gate(cors: &str) -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", cors));
    (origin, gate)
}

fn preflight(gate: &Gate, from: &str, method: &str, headers: &str) -> Response {
    let mut all = vec![("Origin", from), ("Access-Control-Request-Method", method)];
    if !headers.is_empty() {
        all.push(("Access-Control-Request-Headers", headers));
    }
    gate.exchange("OPTIONS", "/hls/a.ts", &all)
}

fn lists(answer: &Response, name: &str) -> Vec<String> {
    answer
        .all(name)
        .flat_map(|value| value.split(','))
        .map(|word| word.trim().to_lowercase())
        .collect()
}

#[test]
fn a_preflight_of_the_app_is_answered_without_token_and_origin() {
    let (origin, gate) = gate("cors = { origins = [\"https://app.example.com\"] }");
    let answer = preflight(&gate, APP, "GET", "range, authorization");
    assert!([200, 204].contains(&answer.status), "{answer:?}");
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let methods = lists(&answer, "access-control-allow-methods");
    assert!(
        methods.contains(&"get".to_owned()) && !methods.contains(&"delete".to_owned()),
        "{methods:?}"
    );
    let headers = lists(&answer, "access-control-allow-headers");
    assert!(
        headers.contains(&"range".to_owned()) && headers.contains(&"authorization".to_owned()),
        "{headers:?}"
    );
    assert!(
        lists(&answer, "vary").contains(&"origin".to_owned()),
        "{answer:?}"
    );
    origin.untouched();
}

#[test]
fn a_preflight_of_a_stranger_allows_nothing() {
    let (origin, gate) = gate("cors = { origins = [\"https://app.example.com\"], credentials = true }");
    for stranger in [
        "https://evil.example",
        "null",
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "HTTPS://APP.EXAMPLE.COM",
        "https://app.example.com/",
        "*",
    ] {
        let answer = preflight(&gate, stranger, "GET", "range");
        for name in ["origin", "methods", "headers", "credentials"] {
            assert_eq!(
                answer.header(&format!("access-control-allow-{name}")),
                None,
                "{stranger}: {answer:?}"
            );
        }
        let answer = gate
            .get(&Token::whole().at("/a"), &[("Origin", stranger)])
            .expect(200);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{stranger}: {answer:?}"
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            None,
            "{stranger}: {answer:?}"
        );
        assert!(
            lists(&answer, "vary").contains(&"origin".to_owned()),
            "{stranger}: {answer:?}"
        );
    }
    assert!(origin.seen().iter().all(|seen| seen.method == "GET"));
}

#[test]
fn credentials_are_allowed_only_where_the_route_says_so() {
    let (_origin, gate) = gate("cors = { origins = [\"https://app.example.com\"], credentials = true }");
    let answer = preflight(&gate, APP, "GET", "range");
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let answer = gate.get(&Token::whole().at("/a"), &[("Origin", APP)]).expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
}

#[test]
fn any_origin_may_read_without_credentials() {
    let (_origin, gate) = gate("cors = { origins = [\"*\"] }");
    for from in ["https://evil.example", "null"] {
        let answer = gate
            .get(&Token::whole().at("/a"), &[("Origin", from)])
            .expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{from}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{from}");
    }
}

#[test]
fn a_star_with_credentials_is_a_configuration_error() {
    let origin = Origin::start();
    let more = "cors = { origins = [\"*\"], credentials = true }";
    let error = Setup::new(conf::http(origin.address()) + &conf::route_with("files", "/", more)).refused();
    assert!(error.contains("cors"), "{error}");
}

#[test]
fn a_route_without_rules_says_nothing_to_other_origins() {
    let (origin, gate) = gate("");
    let answer = preflight(&gate, APP, "GET", "range");
    assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
    origin.untouched();
    let answer = gate.get(&Token::whole().at("/a"), &[("Origin", APP)]).expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
}

#[test]
fn an_options_request_that_is_no_preflight_opens_nothing() {
    let (origin, gate) = gate("cors = { origins = [\"https://app.example.com\"] }");
    for headers in [
        &[][..],
        &[("Origin", APP)],
        &[("Access-Control-Request-Method", "GET")],
    ] {
        let answer = gate.exchange("OPTIONS", &Token::whole().at("/a"), headers);
        assert!(answer.status == 204 || answer.status >= 400, "{answer:?}");
        assert!(
            lists(&answer, "access-control-allow-methods").is_empty(),
            "{answer:?}"
        );
    }
    origin.untouched();
}

#[test]
fn what_players_need_may_be_read() {
    let (_origin, gate) = gate("cors = { origins = [\"https://app.example.com\"] }");
    let answer = gate.get(&Token::whole().at("/a"), &[("Origin", APP)]).expect(200);
    let exposed = lists(&answer, "access-control-expose-headers");
    for name in ["content-range", "content-length", "accept-ranges"] {
        assert!(exposed.contains(&name.to_owned()), "{name} is not in {exposed:?}");
    }
}
