//! What a portal does with Nexudus' media token: a customer's own invoices, by links of the service's own shape, with and
//! without a language in front (n5 – n9, n12 – n15, n17).

use jsonwebtoken::Algorithm;
use mediagate::token::keys::KeySet;

use crate::support::client::{End, Response};
use crate::support::mint::{self, CALLERS, CALLERS_AUDIENCE, ISSUER, raw, tampered, unb64};
use crate::support::origin::{Script, Signal};
use crate::support::{Gate, Origin, Setup, Token, conf};

const PDF: &str = "/api/public/billing/invoices/42/pdf";

struct Scene {
    origin: Origin,
    gate: Gate,
    /// The media token of customer 42.
    jwt: String,
}

impl Scene {
    fn start() -> Self {
        let origin = Origin::start();
        let headers = [("Content-Type", "application/pdf"), ("ETag", "\"1\"")];
        origin.file_with("/customers/42/invoices/42.pdf", "%PDF-1.7 of 42", &headers);
        origin.file_with("/customers/43/invoices/43.pdf", "%PDF-1.7 of 43", &headers);
        origin.on(
            "/customers/42/invoices/44.pdf",
            Script::answer("404 Not Found", &[], ""),
        );
        let toml = conf::http(origin.address())
            + "[keys.portal]\nfile = \"{dir}/portal.jwks.json\"\n\
               [[route]]\nname = \"invoices\"\npath = \"/[{lang}/]api/public/billing/invoices/{id}/pdf\"\norigin = \"files\"\n\
               carriers = [{ query = \"t\" }]\nto = \"/customers/{sub}/invoices/{id}.pdf\"\n"
            + &format!(
                "[route.scheme.jwt]\nkeys = \"portal\"\nissuer = \"{ISSUER}\"\naudience = \"media\"\n\
                 [issuer]\nlisten = \"127.0.0.1:0\"\n\
                 [[issuer.callers]]\nkeys = \"callers\"\nissuer = \"{CALLERS}\"\naudience = \"{CALLERS_AUDIENCE}\"\n\
                 [[issuer.rule]]\nrequires = \"portal:customer\"\nmax_ttl = \"1h\"\n\
                 paths = [\"/api/public/**\", \"/*/api/public/**\"]\n\
                 [issuer.nexudus_media]\nkeys = \"portal\"\nissuer = \"{ISSUER}\"\naudience = \"media\"\n"
            );
        let key = KeySet::generate(Algorithm::RS256).expect("a key");
        let gate = Setup::new(toml).file("portal.jwks.json", key).start();
        let bearer = Token::caller("42", "portal:customer").bearer();
        let answer = gate.ask(
            "GET",
            "/api/auth/media/customer",
            &[("Authorization", &bearer)],
            b"",
        );
        let jwt = answer.expect(200).json()["jwt"].as_str().expect("jwt").to_owned();
        Self { origin, gate, jwt }
    }

    /// The file at a path, with the customer's token and nothing else.
    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.gate.get(&format!("{path}?t={}", self.jwt), headers)
    }
}

#[test]
fn n5_n6_n14_trap_14_the_invoice_comes_as_often_as_it_is_asked_for_and_the_origin_sees_no_token() {
    let scene = Scene::start();
    for _ in 0..10 {
        let answer = scene.get(PDF, &[]).expect(200);
        assert_eq!(answer.text(), "%PDF-1.7 of 42");
        assert_eq!(answer.header("content-type"), Some("application/pdf"));
    }
    let target = format!("{PDF}?b=2&t={}&a=%41+x&b=1", scene.jwt);
    scene.gate.get(&target, &[]).expect(200);
    let seen = scene.origin.last();
    // Other parameters stay in their order and as they were written.
    assert_eq!(seen.target, "/customers/42/invoices/42.pdf?b=2&a=%41+x&b=1");
    assert!(seen.header("authorization").is_none() && seen.header("cookie").is_none());
}

#[test]
fn n5_another_customers_invoice_is_out_of_reach() {
    let scene = Scene::start();
    // Customer 43's invoice 43 is asked for among those of customer 42, who has none of that number.
    let answer = scene.get("/api/public/billing/invoices/43/pdf", &[]);
    assert!(!answer.text().contains("of 43"), "{answer:?}");
    assert_eq!(scene.origin.last().target, "/customers/42/invoices/43.pdf");
    for path in [
        "/api/public/billing/invoices/..%2f..%2f43%2finvoices%2f43/pdf",
        "/api/public/billing/invoices/../43/pdf",
        "/api/public/billing/invoices/%2e%2e/pdf",
        "/api/public/billing/invoices//pdf",
    ] {
        let before = scene.origin.seen().len();
        let answer = scene.get(path, &[]);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
        assert_eq!(scene.origin.seen().len(), before, "{path}");
    }
    for path in [
        "/api/public/billing/invoices/42/pdf/more",
        "/api/public/billing/invoices/42",
        "/a/b/api/public/billing/invoices/42/pdf",
        "/customers/42/invoices/42.pdf",
    ] {
        scene.get(path, &[]).refused(404, "not_found");
    }
}

#[test]
fn n7_after_its_minute_and_the_leeway_it_is_401() {
    let scene = Scene::start();
    scene.gate.advance(64);
    scene.get(PDF, &[]).expect(200);
    scene.gate.advance(2);
    scene.get(PDF, &[]).refused(401, "token_expired");
}

#[test]
fn n8_without_a_good_token_it_is_401_and_the_origin_is_not_asked() {
    let scene = Scene::start();
    scene.gate.get(PDF, &[]).refused(401, "token_missing");
    let payload = String::from_utf8(unb64(scene.jwt.split('.').nth(1).unwrap())).unwrap();
    let keys = scene
        .gate
        .ask("GET", "/.well-known/jwks.json", &[], b"")
        .expect(200)
        .text();
    for token in [
        tampered(&scene.jwt),
        raw(r#"{"alg":"none","typ":"JWT"}"#, &payload, b"")
            .rsplit_once('.')
            .map(|(signed, _)| format!("{signed}."))
            .unwrap(),
        raw(r#"{"alg":"HS256","typ":"JWT"}"#, &payload, keys.as_bytes()),
        Token::whole().key(mint::STRANGER).text(),
        Token::whole().text(),
    ] {
        let answer = scene.gate.get(&format!("{PDF}?t={token}"), &[]);
        assert_eq!(answer.status, 401, "{token}: {answer:?}");
    }
    scene.origin.untouched();
}

#[test]
fn n9_a_range_of_the_invoice_is_206() {
    let scene = Scene::start();
    let answer = scene.get(PDF, &[("Range", "bytes=0-9")]).expect(206);
    assert_eq!(answer.text(), "%PDF-1.7 o");
}

#[test]
fn n12_trap_6_a_language_may_stand_in_front() {
    let scene = Scene::start();
    for language in ["/en", "/de", "/pt-BR"] {
        let answer = scene.get(&format!("{language}{PDF}"), &[]).expect(200);
        assert_eq!(answer.text(), "%PDF-1.7 of 42");
    }
}

#[test]
fn n13_what_is_not_there_is_404_for_a_good_token_alone() {
    let scene = Scene::start();
    let gone = "/api/public/billing/invoices/44/pdf";
    scene.get(gone, &[]).refused(404, "not_found");
    scene.gate.get(gone, &[]).refused(401, "token_missing");
    assert_eq!(scene.origin.seen().len(), 1);
}

#[test]
fn n15_trap_17_what_has_begun_in_time_ends_whole() {
    let scene = Scene::start();
    let more = Signal::default();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab";
    scene.origin.on(
        "/customers/42/invoices/45.pdf",
        Script::new().send(head).wait(&more).send("cd"),
    );
    let mut client = scene.gate.connect();
    client.request(
        "GET",
        &format!("/api/public/billing/invoices/45/pdf?t={}", scene.jwt),
        &[],
    );
    client.read_only_head().expect(200);
    assert_eq!(client.read_bytes(2), b"ab");
    scene.gate.advance(3600);
    more.raise();
    assert_eq!(client.read_bytes(2), b"cd");
    scene.get(PDF, &[]).refused(401, "token_expired");
}

#[test]
fn n17_two_tokens_are_no_token() {
    let scene = Scene::start();
    for second in [scene.jwt.clone(), tampered(&scene.jwt), String::new()] {
        let answer = scene.gate.get(&format!("{PDF}?t={}&t={second}", scene.jwt), &[]);
        assert!([400, 401].contains(&answer.status), "{answer:?}");
        assert_eq!(answer.end, End::Complete);
    }
    scene.origin.untouched();
}

#[test]
fn trap_7_the_link_alone_opens_it_and_a_bearer_beside_it_changes_nothing() {
    let scene = Scene::start();
    scene
        .get(PDF, &[("Authorization", "Bearer something-else")])
        .expect(200);
    assert!(scene.origin.last().header("authorization").is_none());
}
