//! What is withdrawn does not work from the next request on, cached as true or not; running bodies end with it where the
//! route says so. And the store behind that: what is spent is spent under every spelling of a token, and who needs a store
//! that is closed is told to come again.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use mediagate::server::control::orders::{Order, Purpose, Withdrawal};
use serde_json::json;

use crate::support::client::{Client, End};
use crate::support::gate::{Gate, NOW, operational_log};
use crate::support::h2::{Ended, H2};
use crate::support::mint::{CALLER, MEDIA, Token, b64, jwks, unb64};
use crate::support::origin::{Origin, Script, Signal, pattern};
use crate::support::{conf, wait};

fn scene(more: &str) -> (Origin, Gate) {
    let origin = Origin::start();
    origin.file("/a", "content");
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    (origin, gate)
}

/// The name of the token in the last line of the access log.
fn name_in_log(gate: &Gate, lines: usize) -> String {
    gate.access(lines).last().unwrap()["token_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Asked for so often that every worker has the token in its cache.
fn warm(client: &mut Client, target: &str) {
    for _ in 0..3 {
        client.get(target, &[]).expect(200);
    }
}

// === P18: what is cached as true ===

#[test]
fn p18_a_cached_token_is_refused_at_once_when_it_is_withdrawn_by_its_name() {
    let (_origin, gate) = scene("");
    let mut client = gate.connect();
    let (one, other) = (
        Token::whole().claim("jti", "one").at("/a"),
        Token::whole().claim("jti", "other").at("/a"),
    );
    warm(&mut client, &one);
    let id = name_in_log(&gate, 3);
    warm(&mut client, &other);
    for expires in [None, Some((NOW + 300) * 1000)] {
        gate.revoke(Withdrawal::Token {
            id: id.clone(),
            expires,
        });
        client.get(&one, &[]).refused(410, "token_revoked");
        client.get(&other, &[]).expect(200);
    }
    // Also without a `jti`: the name is that of all it says.
    let unnamed = Token::whole().without("jti").at("/a");
    warm(&mut client, &unnamed);
    let id = name_in_log(&gate, 13);
    gate.revoke(Withdrawal::Token { id, expires: None });
    client.get(&unnamed, &[]).refused(410, "token_revoked");
}

#[test]
fn p18_a_cached_token_is_refused_at_once_when_its_subject_is_withdrawn() {
    let (_origin, gate) = scene("");
    let mut client = gate.connect();
    let before = Token::whole().claim("jti", "before").at("/a");
    let timeless = Token::whole().claim("jti", "timeless").without("iat").at("/a");
    let after = Token::whole()
        .claim("jti", "after")
        .claim("iat", NOW + 1)
        .at("/a");
    let stranger = Token::whole()
        .claim("jti", "stranger")
        .claim("sub", "customer-43")
        .at("/a");
    for target in [&before, &timeless, &after, &stranger] {
        warm(&mut client, target);
    }
    gate.revoke(Withdrawal::Subject {
        subject: "customer-42".into(),
        before: (NOW + 1) * 1000,
    });
    client.get(&before, &[]).refused(410, "token_revoked");
    client.get(&timeless, &[]).refused(410, "token_revoked");
    client.get(&after, &[]).expect(200);
    client.get(&stranger, &[]).expect(200);
    // An earlier moment takes nothing back.
    gate.revoke(Withdrawal::Subject {
        subject: "customer-42".into(),
        before: NOW * 1000,
    });
    client.get(&before, &[]).refused(410, "token_revoked");
}

#[test]
fn p18_a_cached_token_is_refused_at_once_when_its_key_is_withdrawn_or_removed() {
    let (_origin, gate) = scene("");
    gate.file("media.jwks.json", jwks(&[MEDIA.jwk(), CALLER.jwk()]));
    gate.reload();
    let mut client = gate.connect();
    let ours = Token::whole().claim("jti", "ours").at("/a");
    let other = Token::whole()
        .claim("jti", "other")
        .header("kid", CALLER.kid)
        .key(CALLER)
        .at("/a");
    warm(&mut client, &ours);
    warm(&mut client, &other);
    gate.revoke(Withdrawal::Key {
        kid: CALLER.kid.into(),
    });
    client.get(&other, &[]).refused(410, "token_revoked");
    client.get(&ours, &[]).expect(200);
    gate.file("media.jwks.json", jwks(&[CALLER.jwk()]));
    gate.reload();
    client.get(&ours, &[]).refused(401, "token_invalid");
}

// === P17: one use, however it is spelled ===

struct P256(EcdsaKeyPair);

impl P256 {
    fn new() -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).unwrap())
    }

    fn jwk(&self) -> serde_json::Value {
        let point = self.0.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "p256",
            "x": b64(&point[1..33]), "y": b64(&point[33..65]),
        })
    }

    fn sign(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", b64(signature.as_ref()))
    }
}

/// The other signature that is as good: (r, n - s).
fn mirrored(token: &str) -> String {
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = unb64(signature);
    let mut borrow = 0;
    for at in (0..32).rev() {
        let digit = i32::from(u8::from_str_radix(&ORDER[2 * at..2 * at + 2], 16).unwrap());
        let rest = digit - i32::from(signature[32 + at]) - borrow;
        borrow = i32::from(rest < 0);
        signature[32 + at] = u8::try_from(rest.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", b64(signature))
}

#[test]
fn p17_every_spelling_of_a_token_spends_the_same_use() {
    let (origin, gate) = scene("single_use = { strict = true }");
    let key = P256::new();
    gate.file("media.jwks.json", jwks(&[key.jwk()]));
    gate.reload();
    let get = |token: &str| gate.get(&format!("/a?t={token}"), &[]);
    let headers = [
        r#"{"typ":"JWT","alg":"ES256","kid":"p256"}"#,
        r#"{"kid":"p256","alg":"ES256","typ":"JWT"}"#,
        r#"{ "alg" : "ES256" , "kid" : "p256" }"#,
    ];
    for named in [true, false] {
        let token = Token::whole().claim("uses", 1);
        let token = if named {
            token.claim("jti", "named")
        } else {
            token.without("jti")
        };
        let payload = token.claims().to_string();
        let first = key.sign(headers[0], &payload);
        assert_eq!(mirrored(&mirrored(&first)), first);
        get(&first).expect(200);
        get(&mirrored(&first)).refused(410, "token_spent");
        for header in headers {
            get(&key.sign(header, &payload)).refused(410, "token_spent");
        }
        for suffix in ["=", "%3D", ".", "%20", "%0A"] {
            get(&format!("{first}{suffix}")).refused(401, "token_malformed");
        }
        get(&format!("{first}A")).expect(401);
        // And the other way round: a mirrored one is as good as the first.
        let payload = payload
            .replace("customer-42", "customer-44")
            .replace("named", "mirrored");
        let next = key.sign(headers[0], &payload);
        get(&mirrored(&next)).expect(200);
        get(&next).refused(410, "token_spent");
    }
    assert_eq!(origin.seen().len(), 4);
}

// === running bodies ===

const PART: usize = 100_000;

/// An origin whose file stops in the middle until it is told to go on.
fn halting(more: &str) -> (Origin, Gate, Signal) {
    let (origin, gate) = scene(more);
    let go_on = Signal::default();
    let length = (2 * PART).to_string();
    origin.on(
        "/half",
        Script::new()
            .head("200 OK", &[("Content-Length", &length)])
            .send(pattern(PART))
            .wait(&go_on)
            .send(pattern(PART)),
    );
    origin.on(
        "/stalled",
        Script::new()
            .head("200 OK", &[("Content-Length", &length)])
            .send(pattern(PART))
            .stall(),
    );
    (origin, gate, go_on)
}

fn withdraw_customer(gate: &Gate) {
    gate.revoke(Withdrawal::Subject {
        subject: "customer-42".into(),
        before: (NOW + 1) * 1000,
    });
}

#[test]
fn a_body_is_cut_within_a_second_also_while_its_origin_says_nothing() {
    let (origin, gate, _) = halting("cut_revoked = true");
    let target = Token::whole().at("/stalled");
    let mut one = gate.connect();
    one.request("GET", &target, &[]);
    one.read_only_head();
    let mut two = H2::clear(gate.address());
    let stream = two.start(&target, &[]);
    two.until(|client| client.stream(stream).body.len() == PART);
    assert_eq!(one.read_bytes(PART).len(), PART);
    // Somebody else's tokens are no reason.
    gate.revoke(Withdrawal::Key { kid: "other".into() });
    let (took, ()) = wait::timed(|| {
        withdraw_customer(&gate);
        let (rest, end) = one.read_to_end();
        assert!(rest.is_empty() && matches!(end, End::Cut | End::Reset), "{end:?}");
        let answer = two.answer(stream);
        assert!(matches!(answer.ended, Some(Ended::Reset(_))), "{answer:?}");
    });
    // A second, and what a busy machine needs.
    assert!(took.as_secs() < 5, "{took:?}");
    assert!(!two.closed, "the others of the connection go on");
    assert_eq!(two.get(&target, &[]).status, 410);
    for line in &gate.access(3)[..2] {
        assert_eq!(line["end"], "cut_by_gate", "{line}");
        assert_eq!(line["detail"], "the token was withdrawn", "{line}");
        assert_eq!(line["bytes"], PART, "{line}");
    }
    assert_eq!(
        gate.metric("mediagate_downloads_cut_total", &["by=\"gate\""]),
        2.0
    );
    // The origin is let go of.
    origin.wait_closed(2);
}

#[test]
fn a_body_is_cut_with_its_next_piece() {
    let (_origin, gate, go_on) = halting("cut_revoked = true");
    let mut client = gate.connect();
    client.request("GET", &Token::whole().at("/half"), &[]);
    client.read_only_head();
    assert_eq!(client.read_bytes(PART).len(), PART);
    withdraw_customer(&gate);
    go_on.raise();
    let (rest, end) = client.read_to_end();
    assert!(rest.is_empty() && matches!(end, End::Cut | End::Reset), "{end:?}");
}

#[test]
fn a_route_that_does_not_say_so_lets_bodies_end() {
    let (_origin, gate, go_on) = halting("");
    let target = Token::whole().at("/half");
    let mut one = gate.connect();
    one.request("GET", &target, &[]);
    one.read_only_head();
    let mut two = H2::clear(gate.address());
    let stream = two.start(&target, &[]);
    two.until(|client| client.stream(stream).body.len() == PART);
    withdraw_customer(&gate);
    go_on.raise();
    assert_eq!(one.read_bytes(2 * PART).len(), 2 * PART);
    assert_eq!(two.answer(stream).ended, Some(Ended::Complete));
    one.get(&target, &[]).refused(410, "token_revoked");
}

#[test]
fn a_session_ends_with_its_token_and_so_do_its_bodies() {
    let (_origin, gate, _go_on) = halting("cut_revoked = true");
    let target = Token::whole().claim("uses", 1).at("/half");
    let mut client = gate.connect().allow("set-cookie");
    client.request("GET", &target, &[]);
    client.read_only_head();
    assert_eq!(client.read_bytes(PART).len(), PART);
    withdraw_customer(&gate);
    let (rest, end) = client.read_to_end();
    assert!(rest.is_empty() && matches!(end, End::Cut | End::Reset), "{end:?}");
    gate.get(&target, &[]).refused(410, "token_revoked");
}

// === opaque tokens, and a store that is closed ===

const OPAQUE: &str = "[[route]]\nname = \"links\"\npath = \"/links\"\norigin = \"files\"\ncarriers = [{ query = \"t\" }]\n\
     strip_prefix = true\n[route.scheme.opaque]\n";

fn order() -> Order {
    Order {
        purposes: vec![Purpose::File],
        expires: (NOW + 60) * 1000,
        once: true,
        subject: Some("customer-42".into()),
        paths: vec!["/links/**".into()],
        media: None,
        methods: None,
        addresses: None,
        filename: None,
        rate: None,
        streams: None,
    }
}

#[test]
fn an_opaque_token_that_was_issued_works_until_it_is_withdrawn() {
    let origin = Origin::start();
    origin.file("/a", "content");
    let gate = Gate::start(conf::http(origin.address()) + &conf::route() + OPAQUE);
    let link = |order: Order| format!("/links/a?t={}", gate.issue(order));
    let get = |link: &str| gate.connect().allow("set-cookie").get(link, &[]);
    let once = link(order());
    get(&once).expect(200);
    Client::connect_from("127.0.0.2", gate.address())
        .get(&once, &[])
        .refused(410, "token_spent");
    let often = link(Order {
        once: false,
        ..order()
    });
    for _ in 0..3 {
        get(&often).expect(200);
    }
    let id = gate.access(5)[4]["token_id"].as_str().unwrap().to_owned();
    gate.revoke(Withdrawal::Token { id, expires: None });
    get(&often).refused(410, "token_revoked");
    // Neither what it is nor where it came from betrays it.
    let handle = often.rsplit("t=").next().unwrap();
    for text in [operational_log(), gate.access_text(), gate.metrics()] {
        assert!(!text.contains(handle));
    }
    assert!(operational_log().contains("a token was issued"));
    let for_login = link(Order {
        purposes: vec![Purpose::Login],
        ..order()
    });
    get(&for_login).refused(401, "token_invalid");
}

#[test]
fn while_the_store_is_closed_who_needs_it_is_sent_to_another_connection_and_readyz_says_so() {
    let (_origin, gate) = scene("single_use = { strict = true }");
    let spent = Token::whole().claim("uses", 1).at("/a");
    let fresh = Token::whole().claim("uses", 1).claim("jti", "fresh").at("/a");
    let plain = Token::whole().claim("jti", "plain").at("/a");
    gate.get(&spent, &[]).expect(200);
    assert_eq!(gate.admin_get("/readyz").status, 200);
    let commits = gate.metric("mediagate_store_commits_total", &[]);
    assert!(commits >= 1.0, "{commits}");
    assert!(gate.metric("mediagate_store_entries", &[]) >= 1.0);
    gate.close_store();
    let why = gate.admin_get("/readyz").expect(503).text();
    assert_eq!(why, "not ready: the store can't be used\n");
    for target in [&spent, &fresh] {
        let mut client = gate.connect();
        let answer = client.get(target, &[]).refused(503, "store_unavailable");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed());
    }
    let mut client = gate.connect();
    warm(&mut client, &plain);
    gate.open_store();
    assert_eq!(gate.admin_get("/readyz").status, 200);
    gate.get(&spent, &[]).refused(410, "token_spent");
    gate.get(&fresh, &[]).expect(200);
    gate.get(&fresh, &[]).refused(410, "token_spent");
}

#[test]
fn readyz_does_not_wait_for_a_store_that_no_route_needs() {
    let (_origin, gate) = scene("");
    gate.close_store();
    assert_eq!(gate.admin_get("/readyz").status, 200);
    gate.edit(
        "name = \"files\"",
        "name = \"files\"\nsingle_use = { strict = true }",
    );
    gate.reload();
    assert_eq!(gate.admin_get("/readyz").status, 503);
}

#[test]
fn a_body_that_began_before_the_store_was_another_is_still_cut() {
    let (_origin, gate, _go_on) = halting("cut_revoked = true");
    let mut client = gate.connect();
    client.request("GET", &Token::whole().at("/half"), &[]);
    client.read_only_head();
    assert_eq!(client.read_bytes(PART).len(), PART);
    gate.close_store();
    gate.open_store();
    withdraw_customer(&gate);
    let (rest, end) = client.read_to_end();
    assert!(rest.is_empty() && matches!(end, End::Cut | End::Reset), "{end:?}");
}
