//! What Sirv's tokens open, whoever signed them (s10 – s17, s19).

use serde_json::{Value, json};

use crate::support::client::media_type;
use crate::support::mint::{self, tampered};
use crate::support::sirv::{
    DEMO, KEY, SCHEME, forbidden, opening, protected, setup_with, signed, start, token,
};
use crate::support::{NOW, Token};

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
fn s19_the_token_may_ride_in_a_header() {
    let (origin, gate) = start();
    let bearer = format!("Bearer {}", opening("/a.jpg"));
    gate.get("/a.jpg", &[("Authorization", &bearer)]).expect(200);
    assert!(origin.only().header("authorization").is_none());
    forbidden(gate.get("/docs/a.pdf", &[("Authorization", &bearer)]));
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
