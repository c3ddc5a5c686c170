//! `POST /v2/token`: bearers for clients, as Sirv hands them out.

use serde_json::{Value, json};

use crate::support::mint::opened;
use crate::support::sirv::{
    BEARER, FILES, SCHEME, SECRET, left, post, refused, setup_with, sign_in, start, target,
};

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
fn bearer_s20_clients_that_sign_in_too_often_are_429_and_so_is_an_address_that_fails() {
    let (_origin, setup) = setup_with(SCHEME, "per_hour = 2\n");
    let gate = setup.start();
    let right = json!({ "clientId": "backend", "clientSecret": SECRET });
    let wrong = json!({ "clientId": "backend", "clientSecret": "wrong" });
    for remaining in [1, 0] {
        assert_eq!(left(&sign_in(&gate, &right).expect(200))[1], remaining);
        assert_eq!(left(&sign_in(&gate, &wrong).expect(401))[1], remaining);
    }
    for body in [&right, &wrong] {
        let answer = sign_in(&gate, body);
        let told = refused(&answer, 429, "Too Many Requests");
        assert!(told.get("token").is_none(), "{told}");
        assert_eq!(answer.header("retry-after"), Some("3600"));
    }
}

#[test]
fn bearer_what_is_not_mounted_is_not_there() {
    let (_origin, setup) = setup_with(SCHEME, "");
    let gate = setup.start();
    gate.edit(", \"sirv_bearer\"]", "]")
        .edit("[issuer.sirv_bearer]\n", "")
        .reload();
    gate.ask("POST", BEARER, &[], b"{}").expect(404);
    post(&gate, FILES, &[], "{}").expect(401);
}
