//! Fynn's links to invoices (f19), and hostile requests for them and for download tokens.

use serde_json::json;

use crate::support::client::media_type;
use crate::support::document::block_of;
use crate::support::gate::ask_over;
use crate::support::issuer::{issued, made_nothing, on_the_gate};
use crate::support::mint::{ISSUER, opened, tampered};
use crate::support::{Gate, NOW, Origin, Response, Setup, Token, conf};

/// The invoices of two customers under links of their own; `more` are further keys of the dialect.
fn invoices(rules: &str, more: &str) -> (Origin, Gate) {
    let origin = Origin::start();
    origin
        .file("/store/report.bin", "0123456789")
        .file("/store/other.bin", "other");
    let route = format!(
        "[[route]]\nname = \"invoices\"\npath = \"/invoices\"\norigin = \"files\"\n\
         carriers = [{{ path = \"/invoices/{{id}}/download/{{token}}\" }}]\nmedia = \"store\"\n\
         dialect = \"fynn\"\nmount = [\"fynn_invoice\"]\n\
         [route.scheme.jwt]\nkeys = \"download\"\nissuer = \"{ISSUER}\"\naudience = \"invoice\"\n"
    );
    let dialect = format!(
        "[issuer.fynn_invoice]\nkeys = \"download\"\nissuer = \"{ISSUER}\"\naudience = \"invoice\"\n\
         media = \"store\"\nfolder = \"invoice\"\npath = \"/invoices/{{id}}/download/{{token}}\"\n{more}\n"
    );
    let toml = conf::http(origin.address())
        + &conf::fynn_route()
        + &route
        + &conf::route()
        + &conf::issuer(rules)
        + &dialect;
    let catalogue = conf::CATALOGUE.to_owned()
        + "[01FC]\nfile = \"/store/other.bin\"\nname = \"Other.pdf\"\nfolder = \"invoice\"\nowner = \"customer-43\"\n";
    (origin, Setup::new(toml).file("catalogue.toml", catalogue).start())
}

/// Backends with `invoice:read` and customers with their own permission.
const INVOICE_RULES: &str = "[[issuer.rule]]\nrequires = \"invoice:read\"\nmax_ttl = \"7d\"\n\
     [[issuer.rule]]\nrequires = \"customer:invoice:read\"\nmax_ttl = \"7d\"\n";

/// `PUT /invoices/{id}/download-link` by somebody with this permission; `what` is the id and the query.
fn ask_link(gate: &Gate, subject: &str, scope: &str, id: &str, query: &str) -> Response {
    let bearer = Token::caller(subject, scope).bearer();
    let target = format!("/invoices/{id}/download-link{query}");
    gate.ask("PUT", &target, &[("Authorization", &bearer)], b"")
}

fn ask_invoice(gate: &Gate, id: &str, query: &str) -> Response {
    ask_link(gate, "backend", "invoice:read", id, query)
}

#[test]
fn f19_a_link_to_an_invoice_opens_it_for_the_seconds_that_were_asked_for() {
    let (origin, gate) = invoices(INVOICE_RULES, "");
    let answer = ask_invoice(&gate, "01F9", "?secondsValid=5").expect(200);
    assert_eq!(media_type(&answer), "application/json");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    assert_eq!(body["validUntil"], "2026-01-01T00:00:05.000Z");
    let token = body["token"].as_str().unwrap();
    assert_eq!(
        body["url"],
        format!("http://media.example.com/invoices/01F9/download/{token}")
    );
    let (header, claims) = opened(token);
    assert_eq!(header, json!({ "typ": "JWT", "alg": "HS256" }));
    assert_eq!(
        (&claims["aud"], &claims["exp"]),
        (&json!("invoice"), &json!(NOW + 5))
    );
    let path = on_the_gate(&body["url"]);
    for _ in 0..2 {
        let file = gate.get(&path, &[]).expect(200);
        assert_eq!(file.text(), "0123456789");
        assert!(
            file.header("content-disposition")
                .is_some_and(|name| name.contains("Rechnung"))
        );
    }
    assert_eq!(origin.last().target, "/store/report.bin");
    gate.advance(10);
    gate.get(&path, &[]).refused(403, "token_expired");
}

#[test]
fn f19_the_usual_link_lives_for_a_day_and_no_longer_than_is_allowed() {
    for (max_ttl, more, lives) in [
        ("7d", "", 86_400),
        ("1h", "", 3600),
        ("7d", "max_seconds = 600", 600),
    ] {
        let (_origin, gate) = invoices(&INVOICE_RULES.replace("7d", max_ttl), more);
        let answer = ask_invoice(&gate, "01F9", "").expect(200).json();
        let (_, claims) = opened(answer["token"].as_str().unwrap());
        assert_eq!(claims["exp"].as_i64().unwrap() - NOW, lives, "{max_ttl} {more}");
        // What was asked for is never cut.
        let asked = ask_invoice(&gate, "01F9", &format!("?secondsValid={}", lives + 1));
        assert_eq!(
            asked.status,
            if lives == 86_400 { 200 } else { 422 },
            "{max_ttl} {more}"
        );
    }
}

#[test]
fn f19_four_seconds_are_422_and_what_is_no_number_is_400() {
    let (_origin, gate) = invoices(INVOICE_RULES, "");
    ask_invoice(&gate, "01F9", "?secondsValid=5").expect(200);
    for (query, status) in [
        ("?secondsValid=4", 422),
        ("?secondsValid=0", 422),
        ("?secondsValid=-1", 422),
        ("?secondsValid=604801", 422),
        ("?secondsValid=18446744073709551615", 422),
        ("?secondsValid=999999999999999999999999", 422),
        ("?secondsValid=1e308", 400),
        ("?secondsValid=5.5", 400),
        ("?secondsValid=", 400),
        ("?secondsValid", 400),
        ("?secondsValid=five", 400),
        ("?secondsValid=5&secondsValid=5", 400),
        ("?secondsValid=5&other=1", 400),
        ("?SecondsValid=5", 400),
        ("?secondsValid=%zz", 400),
    ] {
        let answer = ask_invoice(&gate, "01F9", query);
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        made_nothing(&gate, &answer, query);
        if status == 422 {
            assert_eq!(answer.json()["violations"][0]["propertyPath"], "secondsValid");
        }
    }
}

#[test]
fn f19_a_customer_gets_its_own_invoices_whatever_the_rule_says() {
    let (_origin, gate) = invoices(INVOICE_RULES, "");
    let ask = |who: &str, scope: &str, id: &str| ask_link(&gate, who, scope, id, "").status;
    let own = "customer:invoice:read";
    assert_eq!(ask("customer-42", own, "01F9"), 200);
    assert_eq!(ask("customer-43", own, "01FC"), 200);
    // Another's looks like none.
    assert_eq!(ask("customer-43", own, "01F9"), 404);
    assert_eq!(ask("customer-42", own, "01FC"), 404);
    let (others, none) = (
        ask_link(&gate, "customer-43", own, "01F9", ""),
        ask_link(&gate, "customer-43", own, "01ZZ", ""),
    );
    assert_eq!(others.text(), none.text());
    // Who may see all may see all.
    assert_eq!(ask("backend", "invoice:read", "01F9"), 200);
    assert_eq!(
        ask("customer-43", "customer:invoice:read invoice:read", "01F9"),
        200
    );
    for scope in ["", "media:read", "invoice:write", "customer:invoice:reader"] {
        assert_eq!(ask("customer-42", scope, "01F9"), 403, "{scope}");
    }
}

#[test]
fn f19_a_customer_gets_nothing_of_media_whose_owner_nobody_knows() {
    let origin = Origin::start();
    let toml = conf::http(origin.address())
        + "[media.any]\ntemplate = \"/store/{id}\"\n"
        + &conf::route()
        + &conf::issuer(INVOICE_RULES).replace("media = \"store\"", "media = \"any\"")
        + &format!(
            "[issuer.fynn_invoice]\nkeys = \"download\"\nissuer = \"{ISSUER}\"\naudience = \"invoice\"\nmedia = \"any\"\n"
        );
    let gate = Gate::start(toml);
    ask_link(&gate, "customer-42", "customer:invoice:read", "1", "").expect(403);
    ask_invoice(&gate, "1", "").expect(200);
}

#[test]
fn f19_folders_owners_and_longest_lives_of_the_rule_count() {
    let (_origin, gate) = invoices(INVOICE_RULES, "");
    // A product and a contract are no invoices.
    for id in ["01FA", "01FB", "01ZZ"] {
        let answer = ask_invoice(&gate, id, "").expect(404);
        assert_eq!(media_type(&answer), "application/problem+json");
    }
    let rule =
        |more: &str| format!("[[issuer.rule]]\nrequires = \"invoice:read\"\nmax_ttl = \"60s\"\n{more}\n");
    let (_origin, gate) = invoices(&rule("folders = [\"contract\"]"), "");
    let answer = ask_invoice(&gate, "01F9", "").expect(422);
    assert_eq!(answer.json()["violations"][0]["propertyPath"], "id");
    let (_origin, gate) = invoices(&rule("own_media_only = true"), "");
    ask_invoice(&gate, "01F9", "").expect(404);
    ask_link(&gate, "customer-42", "invoice:read", "01F9", "").expect(200);
    let answer = ask_link(&gate, "customer-42", "invoice:read", "01F9", "?secondsValid=61").expect(422);
    assert_eq!(answer.json()["violations"][0]["propertyPath"], "secondsValid");
}

#[test]
fn f19_the_link_is_asked_for_on_the_gates_host_too_and_no_other_route_takes_its_token() {
    let (origin, gate) = invoices(INVOICE_RULES, "");
    let mut client = gate.connect();
    let bearer = Token::caller("backend", "invoice:read").bearer();
    let headers = [("Authorization", bearer.as_str())];
    let answer = ask_over(
        &mut client,
        "PUT",
        "/invoices/01F9/download-link?secondsValid=60",
        &headers,
        b"{}",
    );
    let (token, path) = issued(answer, 200);
    client.get(&path, &[]).expect(200);
    let head = client.exchange("HEAD", &path, &[]).expect(200);
    assert_eq!(head.header("content-length"), Some("10"));
    let before = origin.seen().len();
    for path in [
        format!("/invoices/01FC/download/{token}"),
        format!("/media/01F9/download/{token}"),
        format!("/store/report.bin?t={token}"),
        format!("/invoices/01F9/download/{}", tampered(&token)),
    ] {
        let answer = gate.get(&path, &[]);
        assert!([401, 403].contains(&answer.status), "{path}: {answer:?}");
    }
    assert_eq!(origin.seen().len(), before);
}

#[test]
fn f19_callers_methods_and_bodies_are_judged_as_for_download_tokens() {
    let (_origin, gate) = invoices(INVOICE_RULES, "");
    let path = "/invoices/01F9/download-link";
    let answer = gate.ask("PUT", path, &[], b"").expect(401);
    assert_eq!(answer.json()["message"], "JWT Token not found");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    for method in ["POST", "GET", "DELETE"] {
        let answer = gate.ask(method, path, &[], b"").expect(405);
        assert_eq!(answer.header("allow"), Some("PUT"), "{method}");
    }
    let bearer = Token::caller("backend", "invoice:read").bearer();
    let headers = [("Authorization", bearer.as_str())];
    for body in [&b"{"[..], b"[]", b"{\"a\":1,\"a\":2}", b"\xff"] {
        let answer = gate.ask("PUT", path, &headers, body).expect(400);
        made_nothing(&gate, &answer, "a body");
    }
    let preflight = [
        ("Origin", "https://app.example.com"),
        ("Access-Control-Request-Method", "PUT"),
    ];
    let answer = gate.ask("OPTIONS", path, &preflight, b"").expect(204);
    assert_eq!(answer.header("access-control-allow-methods"), Some("PUT"));
}

#[test]
fn f19_the_configuration_in_the_guide_hands_out_links_that_open() {
    let origin = Origin::start();
    origin.file("/2026/17.pdf", "%PDF-1.7");
    let shown = block_of("docs/ISSUER.md", "`PUT /invoices/{id}/download-link`", "toml");
    let (route, dialect) = shown.split_once("\n[issuer.fynn_invoice]").expect("both tables");
    let issuer = conf::issuer(INVOICE_RULES);
    let issuer = issuer.split_once("[issuer.native]").expect("the dialects").0;
    let toml = format!(
        "{}[media.documents]\nfile = \"{{dir}}/catalogue.toml\"\n{route}\n{issuer}\n[issuer.fynn_invoice]{dialect}",
        conf::http(origin.address())
    );
    let catalogue = "[17]\nfile = \"/2026/17.pdf\"\nfolder = \"invoice\"\ntype = \"application/pdf\"\n";
    let gate = Setup::new(toml).file("catalogue.toml", catalogue).start();
    let (_, path) = issued(ask_invoice(&gate, "17", "?secondsValid=3600"), 200);
    let answer = gate.get(&path, &[]).expect(200);
    assert_eq!(
        (media_type(&answer).as_str(), answer.text().as_str()),
        ("application/pdf", "%PDF-1.7")
    );
}

/// Ids that are none, as they would stand in a path.
fn hostile_ids() -> Vec<String> {
    let ids = [
        "",
        ".",
        "..",
        "%2e%2e",
        "%2E%2E%2f",
        "a%2fb",
        "a%252fb",
        "a%5cb",
        "a%00b",
        "a%0d%0aSet-Cookie:x=1",
        "%ff",
        "%zz",
        "%",
        "%c0%ae",
        "a%7fb",
    ];
    let mut all: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    all.push("x".repeat(129));
    all.push("%20".repeat(129));
    all
}

#[test]
fn f8_hostile_ids_and_bodies_make_nothing() {
    let (_origin, gate) = invoices(&(conf::RULE.to_owned() + INVOICE_RULES), "");
    let bearer = Token::caller("backend", "media:read invoice:read").bearer();
    let ask = |method: &str, path: &str, kind: &str, body: &[u8]| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        gate.ask(method, path, &headers, body)
    };
    for id in hostile_ids() {
        for (method, path) in [
            ("POST", format!("/media/{id}/download-token")),
            ("PUT", format!("/invoices/{id}/download-link")),
        ] {
            let answer = ask(method, &path, "application/json", b"{}");
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            made_nothing(&gate, &answer, &path);
        }
    }
    let deep = "[".repeat(10_000);
    let deep = format!("{{\"a\":{deep}");
    for (method, path) in [
        ("POST", "/media/01F9/download-token"),
        ("PUT", "/invoices/01F9/download-link"),
    ] {
        for body in [
            &b"{"[..],
            b"[]",
            b"null",
            b"{}{}",
            b"{\"a\":1,\"a\":1}",
            b"{\"a\":1,\"\\u0061\":1}",
            b"\x00",
            b"\xef\xbb\xbf{}",
            b"id=1",
            deep.as_bytes(),
        ] {
            let answer = ask(method, path, "application/x-www-form-urlencoded", body);
            assert_eq!(
                answer.status,
                400,
                "{path} {:.40}: {answer:?}",
                String::from_utf8_lossy(body)
            );
            made_nothing(&gate, &answer, path);
        }
        let answer = ask(method, path, "application/json", &vec![b' '; 70_000]);
        assert_eq!(answer.status, 413, "{answer:?}");
        made_nothing(&gate, &answer, path);
        // Two bearers are none, and neither is looked at.
        let twice = [
            ("Authorization", bearer.as_str()),
            ("Authorization", bearer.as_str()),
        ];
        let answer = gate.ask(method, path, &twice, b"").expect(401);
        made_nothing(&gate, &answer, path);
        // Nothing else was wrong.
        assert!(ask(method, path, "text/plain", b"{}").status < 300);
    }
}
