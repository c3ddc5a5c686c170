//! Login links: what spends them and what does not, where they lead, the session that they open, and its end. The numbers
//! in the names are those of the compatible one-time token (o6 …) and of the attacks (p41, p42).

use std::sync::Barrier;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::support::adapter::Known;
use crate::support::client::{HOST, Response};
use crate::support::gate::operational_log;
use crate::support::h2::H2;
use crate::support::mint::{self, Token};
use crate::support::{Gate, NOW, Origin, Setup, conf};

const CUSTOMER_42: Known<'static> = Known {
    subject: "42",
    paths: &["/customers/42/**", "/en/invoices/download/42"],
    life: 60,
    purposes: &["login"],
    address: None,
};

const PREFETCH: &[(&str, &str)] = &[
    ("Sec-Purpose", "prefetch"),
    ("Purpose", "prefetch"),
    ("X-Moz", "prefetch"),
    (
        "User-Agent",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    ),
];

fn configuration(origin: &Origin, landing: &str) -> String {
    conf::http(origin.address()) + &conf::session_route("") + &conf::landing(landing)
}

fn scene(landing: &str) -> (Origin, Gate) {
    let origin = Origin::start();
    origin
        .file("/customers/42/a.pdf", "file of 42")
        .file("/customers/43/a.pdf", "file of 43")
        .file("/en/invoices/download/42", "invoice 42");
    let gate = Gate::start(configuration(&origin, landing));
    (origin, gate)
}

fn link(gate: &Gate) -> String {
    gate.running().remember(&CUSTOMER_42)
}

fn visit(gate: &Gate, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
    gate.connect()
        .allow("set-cookie")
        .exchange(method, target, headers)
}

fn open(gate: &Gate, target: &str) -> Response {
    visit(gate, "GET", target, &[])
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Asserts that the visitor is led on with a session, and hands out its cookie.
#[track_caller]
fn landed(answer: &Response, location: &str) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.header("location"), Some(location), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert!(answer.body.is_empty());
    let set = answer.header("set-cookie").expect("a cookie");
    set.split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn o6_a_login_link_leads_on_with_a_session_that_opens_the_customers_own_files() {
    let (origin, gate) = scene("");
    let token = link(&gate);
    let target = format!("/en/user/login?server=true&t={token}&redirectUrl=%2Fen%2Finvoices%2Fdownload%2F42");
    let answer = open(&gate, &target);
    let cookie = landed(&answer, "/en/invoices/download/42");
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("session=ey") && !set.contains("Secure"), "{set}");
    assert!(
        set.contains("; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    // The session says whom the link was for, and what it opens, under an id of its own.
    let (_, claims) = mint::opened(cookie.strip_prefix("session=").unwrap());
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&"42".into(), &"session".into())
    );
    assert_eq!(claims["iat"], NOW);
    assert_eq!(claims["exp"], NOW + 8 * 3600);
    assert_eq!(claims["paths"].as_array().unwrap().len(), 2);
    assert!(
        claims["jti"]
            .as_str()
            .is_some_and(|id| id.len() > 15 && id != token)
    );
    assert!(claims.get("uses").is_none());

    let shown = [
        ("Cookie", cookie.as_str()),
        ("X-Media-Subject", "43"),
        ("X_Media_Subject", "43"),
        ("Connection", "X-Media-Subject"),
    ];
    let file = gate.get("/en/invoices/download/42", &shown).expect(200);
    assert_eq!(file.text(), "invoice 42");
    let seen = origin.only();
    assert_eq!(seen.header("x-media-subject"), Some("42"));
    assert!(seen.header("cookie").is_none() && seen.header("x_media_subject").is_none());
    assert_eq!(seen.target, "/en/invoices/download/42");
    // As often as wanted, and nothing of others.
    for _ in 0..3 {
        gate.get("/customers/42/a.pdf", &[("Cookie", &cookie)])
            .expect(200);
    }
    gate.get("/customers/43/a.pdf", &[("Cookie", &cookie)])
        .refused(403, "scope_denied");
    gate.get("/customers/42/a.pdf", &[]).refused(401, "token_missing");
    gate.advance(8 * 3600 + 5);
    gate.get("/customers/42/a.pdf", &[("Cookie", &cookie)])
        .refused(401, "token_expired");
}

#[test]
fn o1_o6_o16_the_issuers_one_time_token_opens_a_session_of_its_customer() {
    let origin = Origin::start();
    origin
        .file("/customers/42/a.pdf", "file of 42")
        .file("/customers/43/a.pdf", "file of 43");
    let issuer = format!(
        "[issuer]\nlisten = \"127.0.0.1:0\"\n[issuer.nexudus_token]\n\
         [[issuer.callers]]\nkeys = \"callers\"\nissuer = \"{}\"\naudience = \"{}\"\n\
         [[issuer.rule]]\nrequires = \"portal:customer\"\npaths = [\"/customers/{{sub}}/**\"]\nmax_ttl = \"1h\"\n",
        mint::CALLERS,
        mint::CALLERS_AUDIENCE
    );
    let gate = Gate::start(configuration(&origin, "") + &issuer);
    let bearer = Token::caller("42", "portal:customer").bearer();
    let refresh = || {
        let headers = [("Authorization", bearer.as_str())];
        let answer = gate.ask("POST", "/api/sys/users/token/refresh", &headers, b"");
        answer.expect(200).json()["Value"].as_str().unwrap().to_owned()
    };
    let (token, late) = (refresh(), refresh());
    let target = format!("/en/user/login?server=true&t={token}&redirectUrl=%2Fcustomers%2F42%2Fa.pdf");
    let cookie = landed(&open(&gate, &target), "/customers/42/a.pdf");
    open(&gate, &target).refused(410, "token_spent");
    let shown = [("Cookie", cookie.as_str())];
    gate.get("/customers/42/a.pdf", &shown).expect(200);
    assert_eq!(origin.last().header("x-media-subject"), Some("42"));
    gate.get("/customers/43/a.pdf", &shown)
        .refused(403, "scope_denied");
    // The session makes no links.
    let session = format!("Bearer {}", cookie.strip_prefix("session=").unwrap());
    gate.ask(
        "POST",
        "/api/sys/users/token/refresh",
        &[("Authorization", &session)],
        b"",
    )
    .expect(401);
    gate.advance(65);
    open(&gate, &format!("/login?t={late}")).refused(410, "token_spent");
    // The bearer is as good as before.
    landed(&open(&gate, &format!("/login?t={}", refresh())), "/");
}

#[test]
fn o7_a_link_that_does_not_work_is_told_in_one_way_whatever_the_reason() {
    let (origin, gate) = scene("");
    let used = link(&gate);
    landed(&open(&gate, &format!("/login?t={used}")), "/");
    let withdrawn = link(&gate);
    gate.running().revoke_handle(&withdrawn);
    let for_files = gate.running().remember(&Known {
        purposes: &["file", "exchange"],
        ..CUSTOMER_42
    });
    let unknown = "0".repeat(32);
    let expired = link(&gate);
    gate.advance(65);
    let gone = [
        ("used", &*used),
        ("expired", &expired),
        ("withdrawn", &withdrawn),
        ("for files", &for_files),
        ("unknown", &unknown),
        ("upper case", &unknown.replace('0', "A")),
        ("too short", "abc"),
        ("a JWT", &Token::whole().text()),
        ("no UTF-8", "%ff"),
    ];
    for reader in ["application/json", "text/html"] {
        let answers: Vec<Response> = gone
            .iter()
            .map(|(_, token)| visit(&gate, "GET", &format!("/login?t={token}"), &[("Accept", reader)]))
            .collect();
        for (answer, (what, _)) in answers.iter().zip(gone) {
            assert_eq!(answer.status, 410, "{what}: {answer:?}");
            assert!(answer.header("set-cookie").is_none(), "{what}");
            assert_eq!(answer.body, answers[0].body, "{what}");
            let names = |answer: &Response| -> Vec<String> {
                answer.headers.iter().map(|(name, _)| name.clone()).collect()
            };
            assert_eq!(names(answer), names(&answers[0]), "{what}");
        }
        assert!(answers[0].text().contains("This link no longer works"));
    }
    assert!(origin.seen().is_empty());
    // The operator sees which.
    let lines = gate.access(1 + gone.len());
    let codes: Vec<&str> = lines[1..]
        .iter()
        .filter_map(|line| line["code"].as_str())
        .take(9)
        .collect();
    let expected = ["token_spent", "token_expired", "token_revoked", "token_invalid"];
    assert_eq!(codes[..4], expected, "{codes:?}");
}

#[test]
fn o8_without_a_redirect_a_link_leads_home() {
    let (_origin, gate) = scene("home = \"/account?from=link\"");
    for (target, location) in [
        ("/login?t={}", "/account?from=link"),
        ("/user/login?t={}&redirectUrl=", "/account?from=link"),
        ("/login?t={}&redirectUrl=%2Fx%2Fdashboard", "/x/dashboard"),
        ("/login?redirectUrl=/x/dashboard&t={}", "/x/dashboard"),
        ("/pt-BR/user/login?%74={}&redirect%55rl=%2Fa%2Bb+c", "/a+b%20c"),
    ] {
        landed(&open(&gate, &target.replace("{}", &link(&gate))), location);
    }
    // Neither a longer path nor another spelling is the landing.
    for path in [
        "/login/",
        "/Login",
        "/login/x",
        "/x/y/user/login",
        "/%6cogin",
        "/en/login",
    ] {
        let token = link(&gate);
        let answer = open(&gate, &format!("{path}?t={token}"));
        assert!(answer.status != 303, "{path}: {answer:?}");
        landed(&open(&gate, &format!("/login?t={token}")), "/account?from=link");
    }
}

#[test]
fn o9_p41_trap_12_no_redirect_leads_off_the_site_and_a_refused_one_spends_nothing() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/redirects.json")).unwrap();
    let base = vectors["base"].as_str().unwrap();
    let origin = Origin::start();
    let toml = configuration(&origin, &format!("allowed_origins = {}", vectors["allowed"]));
    let gate = Setup::new(toml)
        .tables(&format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\npublic_url = \"{base}\"\n"
        ))
        .start();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 60);
    let mut fresh = link(&gate);
    for case in cases {
        let redirect = case["redirect"].as_str().unwrap();
        let target = format!("/login?t={fresh}&redirectUrl={}", encoded(redirect));
        let answer = open(&gate, &target);
        match case["location"].as_str() {
            Some(location) => {
                landed(&answer, location);
                fresh = link(&gate);
            }
            None => {
                answer.refused(400, "bad_path");
            }
        }
    }
    // The last of them was refused many times over, and still works.
    let long = "a".repeat(2048);
    for raw in ["%", "%zz", "%ff", "%e0%a4", &format!("/{long}")] {
        open(&gate, &format!("/login?t={fresh}&redirectUrl={raw}")).refused(400, "bad_path");
    }
    // Nor does the link's own token go on in it.
    for with in [
        fresh.clone(),
        fresh.to_uppercase(),
        format!("%25{:02x}{}", fresh.as_bytes()[0], &fresh[1..]),
    ] {
        open(
            &gate,
            &format!("/login?t={fresh}&redirectUrl=%2Fx%3Ftoken={with}"),
        )
        .refused(400, "bad_path");
    }
    landed(
        &open(&gate, &format!("/login?t={fresh}&redirectUrl=/end")),
        "/end",
    );
}

#[test]
fn what_cannot_be_read_in_one_way_spends_nothing() {
    let (_origin, gate) = scene("");
    let token = link(&gate);
    for (target, status, code) in [
        (format!("/login?t={token}&t={token}"), 400, "bad_request"),
        (format!("/login?t={token}&%74="), 400, "bad_request"),
        (
            format!("/login?t={token}&redirectUrl=/a&redirectUrl=/a"),
            400,
            "bad_request",
        ),
        (format!("/login?T={token}"), 401, "token_missing"),
        ("/login".to_owned(), 401, "token_missing"),
        ("/login?t=".to_owned(), 401, "token_missing"),
        (
            "/login?redirectUrl=//evil.example".to_owned(),
            401,
            "token_missing",
        ),
    ] {
        open(&gate, &target).refused(status, code);
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer =
            visit(&gate, method, &format!("/login?t={token}"), &[]).refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method}");
    }
    let mut two = gate.connect();
    two.send(format!(
        "GET /login?t={token} HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n\r\n"
    ));
    assert_eq!(two.read().status, 400);
    landed(&open(&gate, &format!("/login?t={token}")), "/");
}

#[test]
fn o10_o11_trap_13_who_only_looks_spends_nothing() {
    let (_origin, gate) = scene("");
    let target = format!("/en/user/login?server=true&t={}&redirectUrl=%2Fa", link(&gate));
    for _ in 0..2 {
        let head = visit(&gate, "HEAD", &target, &[]);
        assert_eq!(head.status, 204, "{head:?}");
        assert!(head.header("set-cookie").is_none() && head.header("location").is_none());
        assert_eq!(head.header("cache-control"), Some("no-store"));
    }
    for header in PREFETCH {
        visit(&gate, "GET", &target, &[*header]).refused(425, "prefetch");
        assert_eq!(visit(&gate, "HEAD", &target, &[*header]).status, 425);
    }
    landed(&open(&gate, &target), "/a");
}

#[test]
fn o12_a_link_dies_with_its_time() {
    let (_origin, gate) = scene("");
    let links = [link(&gate), link(&gate)];
    gate.advance(64);
    landed(&open(&gate, &format!("/login?t={}", links[0])), "/");
    gate.advance(1);
    let answer = open(&gate, &format!("/login?t={}", links[1])).refused(410, "token_spent");
    assert!(answer.header("set-cookie").is_none());
    assert_eq!(gate.access(2)[1]["code"], "token_expired");
}

#[test]
fn o13_of_a_hundred_connections_one_gets_the_session() {
    let (_origin, gate) = scene("");
    let target = format!("/login?t={}", link(&gate));
    let start = Barrier::new(100);
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = gate.connect().allow("set-cookie");
                    start.wait();
                    client.get(&target, &[])
                })
            })
            .collect();
        visitors
            .into_iter()
            .map(|visitor| visitor.join().unwrap())
            .collect()
    });
    let won = answers.iter().filter(|answer| answer.status == 303).count();
    assert_eq!(won, 1);
    for answer in answers.iter().filter(|answer| answer.status != 303) {
        assert_eq!(answer.status, 410, "{answer:?}");
        assert!(answer.header("set-cookie").is_none());
    }
}

#[test]
fn o13_of_a_hundred_streams_of_one_connection_one_gets_the_session() {
    let (_origin, gate) = scene("");
    let target = format!("/login?t={}", link(&gate));
    let mut client = H2::clear(gate.address());
    let streams: Vec<u32> = (0..100).map(|_| client.start(&target, &[])).collect();
    let answers: Vec<_> = streams.into_iter().map(|stream| client.answer(stream)).collect();
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 303).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(won[0].header("location"), Some("/"));
    assert!(won[0].header("set-cookie").is_some());
    for answer in answers.iter().filter(|answer| answer.status != 303) {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (410, "token_spent"),
            "{answer:?}"
        );
    }
}

#[test]
fn any_purpose_spends_a_token() {
    let (_origin, gate) = scene("");
    let both = Known {
        purposes: &["login", "file"],
        ..CUSTOMER_42
    };
    let token = gate.running().remember(&both);
    open(&gate, &format!("/customers/42/a.pdf?t={token}")).expect(200);
    open(&gate, &format!("/login?t={token}")).refused(410, "token_spent");
    let token = gate.running().remember(&both);
    landed(&open(&gate, &format!("/login?t={token}")), "/");
    open(&gate, &format!("/customers/42/a.pdf?t={token}")).refused(410, "token_spent");
    // And a token is good for its purposes alone.
    let token = link(&gate);
    open(&gate, &format!("/customers/42/a.pdf?t={token}")).refused(401, "token_invalid");
    landed(&open(&gate, &format!("/login?t={token}")), "/");
}

#[test]
fn a_spent_link_stays_spent_and_a_session_goes_on_after_a_restart() {
    let (_origin, gate) = scene("");
    let used = link(&gate);
    let unused = link(&gate);
    let cookie = landed(&open(&gate, &format!("/login?t={used}")), "/");
    let gate = gate.restart(NOW + 1);
    open(&gate, &format!("/login?t={used}")).refused(410, "token_spent");
    gate.get("/customers/42/a.pdf", &[("Cookie", &cookie)])
        .expect(200);
    landed(&open(&gate, &format!("/login?t={unused}")), "/");
}

#[test]
fn a_store_that_is_away_spends_nothing_and_says_so() {
    let (_origin, gate) = scene("");
    let token = link(&gate);
    let cookie = landed(&open(&gate, &format!("/login?t={}", link(&gate))), "/");
    gate.running().close_store();
    let answer = open(&gate, &format!("/login?t={token}")).refused(503, "store_unavailable");
    assert!(answer.header("retry-after").is_some() && answer.header("set-cookie").is_none());
    // A session that can't be withdrawn keeps its cookie, so that it can be tried again.
    let answer = visit(&gate, "GET", "/logout", &[("Cookie", &cookie)]).refused(503, "store_unavailable");
    assert!(answer.header("set-cookie").is_none());
    let gate = gate.restart(NOW + 1);
    landed(&open(&gate, &format!("/login?t={token}")), "/");
}

#[test]
fn restrictions_of_the_link_hold_for_it_and_for_its_session() {
    let (_origin, gate) = scene("");
    let elsewhere = gate.running().remember(&Known {
        address: Some("192.0.2.7/32"),
        ..CUSTOMER_42
    });
    open(&gate, &format!("/login?t={elsewhere}")).refused(403, "address_denied");
    let here = gate.running().remember(&Known {
        address: Some("127.0.0.1/32"),
        ..CUSTOMER_42
    });
    let cookie = landed(&open(&gate, &format!("/login?t={here}")), "/");
    gate.get("/customers/42/a.pdf", &[("Cookie", &cookie)])
        .expect(200);
    let mut other = crate::support::Client::connect_from("127.0.0.9", gate.address());
    other
        .get("/customers/42/a.pdf", &[("Cookie", &cookie)])
        .refused(403, "address_denied");
}

#[test]
fn who_guesses_is_no_longer_looked_for() {
    let (_origin, gate) = scene("");
    let token = link(&gate);
    let mut client = gate.connect();
    for number in 0..60 {
        client
            .get(&format!("/login?t={number:032x}"), &[])
            .refused(410, "token_spent");
    }
    client
        .get(&format!("/login?t={:032x}", 60), &[])
        .refused(429, "limit_reached");
    open(&gate, &format!("/login?t={token}")).refused(429, "limit_reached");
    let mut other = crate::support::Client::connect_from("127.0.0.9", gate.address()).allow("set-cookie");
    landed(&other.get(&format!("/login?t={token}"), &[]), "/");
}

#[test]
fn p42_the_page_says_whose_session_it_is_and_its_button_opens_it() {
    let (_origin, gate) = scene("interstitial = true\nallowed_origins = [\"https://app.example.com\"]");
    let token = gate.running().remember(&Known {
        subject: "<b>42</b>",
        ..CUSTOMER_42
    });
    let target = format!("/login?t={token}&redirectUrl=%2Fa");
    for _ in 0..3 {
        let page = visit(&gate, "GET", &target, &[("Accept", "text/html")]).expect(200);
        assert!(page.header("set-cookie").is_none() && page.header("location").is_none());
        assert_eq!(page.header("cache-control"), Some("no-store"));
        // The origin without the path: no token, and the button can say where it was pressed.
        assert_eq!(page.header("referrer-policy"), Some("strict-origin"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'")
                && policy.contains("form-action 'self' https://app.example.com"),
            "{policy}"
        );
        let text = page.text();
        assert!(
            text.contains("42") && !text.contains("<b>") && !text.contains(&token),
            "{text}"
        );
        assert!(text.contains("<form method=\"post\">"), "{text}");
    }
    assert_eq!(visit(&gate, "HEAD", &target, &[]).status, 204);
    // Another site that presses the button would sign its visitor in as somebody else.
    let own = format!("http://{HOST}");
    for headers in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "none")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", &own)],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Origin", "https://media.example.com.evil.example")],
    ] {
        let answer = visit(&gate, "POST", &target, headers).refused(403, "binding_denied");
        assert!(answer.header("set-cookie").is_none());
    }
    for header in PREFETCH {
        visit(&gate, "POST", &target, &[*header]).refused(425, "prefetch");
    }
    visit(&gate, "POST", &target.replace("%2Fa", "//evil.example"), &[]).refused(400, "bad_path");
    let pressed = [
        ("Origin", own.as_str()),
        ("Sec-Fetch-Site", "same-origin"),
        ("Content-Length", "0"),
    ];
    landed(&visit(&gate, "POST", &target, &pressed), "/a");
    visit(&gate, "POST", &target, &pressed).refused(410, "token_spent");
    // The page is not shown for a link that would not work.
    visit(&gate, "GET", &target, &[]).refused(410, "token_spent");
    let answer = visit(&gate, "PUT", &target, &[]).refused(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
}

#[test]
fn p42_a_session_is_always_a_new_one() {
    let (_origin, gate) = scene("");
    let first = landed(&open(&gate, &format!("/login?t={}", link(&gate))), "/");
    let shown = [("Cookie", first.as_str())];
    let second = landed(
        &visit(&gate, "GET", &format!("/login?t={}", link(&gate)), &shown),
        "/",
    );
    assert_ne!(first, second);
    // Over https the cookie is bound to the host, and the route's carrier follows.
    let origin = Origin::start();
    origin.file("/customers/42/a.pdf", "file of 42");
    let gate = Setup::new(configuration(&origin, ""))
        .tables(&format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\npublic_url = \"https://{HOST}\"\n"
        ))
        .start();
    let answer = open(&gate, &format!("/login?t={}", link(&gate)));
    let cookie = landed(&answer, "/");
    let set = answer.header("set-cookie").unwrap();
    assert!(
        set.starts_with("__Host-session=ey") && set.ends_with("; Secure") && !set.contains("Domain"),
        "{set}"
    );
    gate.get("/customers/42/a.pdf", &[("Cookie", &cookie)])
        .expect(200);
    let without_prefix = cookie.replace("__Host-", "");
    gate.get("/customers/42/a.pdf", &[("Cookie", &without_prefix)])
        .refused(401, "token_missing");
    let cleared = visit(&gate, "POST", "/logout", &[("Cookie", &cookie)]).expect(303);
    let set = cleared.header("set-cookie").unwrap();
    assert!(
        set.starts_with("__Host-session=; ") && set.contains("Max-Age=0") && set.ends_with("; Secure"),
        "{set}"
    );
}

#[test]
fn logout_ends_the_session_at_once_and_for_good() {
    let (_origin, gate) = scene("home = \"/bye\"");
    let cookie = landed(&open(&gate, &format!("/login?t={}", link(&gate))), "/bye");
    let other = landed(&open(&gate, &format!("/login?t={}", link(&gate))), "/bye");
    let shown = [("Cookie", cookie.as_str())];
    let mut client = gate.connect().allow("set-cookie");
    // Verified, and remembered as such.
    client.get("/customers/42/a.pdf", &shown).expect(200);
    for header in PREFETCH {
        visit(&gate, "GET", "/logout", &[*header, shown[0]]).refused(425, "prefetch");
    }
    assert_eq!(visit(&gate, "HEAD", "/logout", &shown).status, 204);
    visit(&gate, "PUT", "/logout", &shown).refused(405, "method_not_allowed");
    client.get("/customers/42/a.pdf", &shown).expect(200);

    let answer = client.get("/logout?t=x", &shown).expect(303);
    assert_eq!(answer.header("location"), Some("/bye"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("session=; Path=/; Max-Age=0; HttpOnly"), "{set}");
    client
        .get("/customers/42/a.pdf", &shown)
        .refused(410, "token_revoked");
    client
        .get("/customers/42/a.pdf", &[("Cookie", &other)])
        .expect(200);
    // Again, by nobody, and by a forger: the way home, and nothing ends.
    let forged = mint::tampered(&other);
    let stranger = Token::whole().claim("aud", "session").key(mint::STRANGER).text();
    let media = Token::whole().text();
    for cookie in [
        cookie.clone(),
        String::new(),
        "session=".into(),
        forged,
        format!("session={stranger}"),
        format!("session={media}"),
    ] {
        visit(
            &gate,
            "POST",
            "/logout",
            &[("Cookie", &cookie), ("Content-Length", "0")],
        )
        .expect(303);
    }
    let gate = gate.restart(NOW + 1);
    gate.get("/customers/42/a.pdf", &shown)
        .refused(410, "token_revoked");
    gate.get("/customers/42/a.pdf", &[("Cookie", &other)]).expect(200);
    gate.get(&Token::whole().at("/customers/42/a.pdf"), &[])
        .expect(200);
    // Several sessions in one request end together.
    let both = format!("{cookie}; {other}");
    visit(&gate, "GET", "/logout", &[("Cookie", &both)]).expect(303);
    gate.get("/customers/42/a.pdf", &[("Cookie", &other)])
        .refused(410, "token_revoked");
}

#[test]
fn whoever_is_withdrawn_is_so_in_the_session_too() {
    let (_origin, gate) = scene("");
    let unused = link(&gate);
    let cookie = landed(&open(&gate, &format!("/login?t={}", link(&gate))), "/");
    gate.get("/customers/42/a.pdf", &[("Cookie", &cookie)])
        .expect(200);
    gate.running().revoke_subject("42");
    gate.get("/customers/42/a.pdf", &[("Cookie", &cookie)])
        .refused(410, "token_revoked");
    open(&gate, &format!("/login?t={unused}")).refused(410, "token_spent");
    gate.advance(2);
    landed(&open(&gate, &format!("/login?t={}", link(&gate))), "/");
}

#[test]
fn the_sessions_cookie_reaches_no_origin() {
    let origin = Origin::start();
    origin.file("/customers/42/a.pdf", "x").file("/free/a", "y");
    let gate = Gate::start(
        conf::http(origin.address())
            + &conf::session_route("forward_cookies = true")
            + &conf::route_with("free", "/free", "forward_cookies = true")
            + &conf::landing(""),
    );
    let cookie = landed(&open(&gate, &format!("/login?t={}", link(&gate))), "/");
    let both = format!("a=b; {cookie}; c=d");
    gate.get("/customers/42/a.pdf", &[("Cookie", &both)]).expect(200);
    // Not even where it is no carrier.
    gate.get(&Token::whole().at("/free/a"), &[("Cookie", &both)])
        .expect(200);
    for seen in origin.seen() {
        assert_eq!(seen.header("cookie"), Some("a=b; c=d"), "{seen:?}");
    }
}

#[test]
fn o17_neither_link_nor_session_nor_redirect_is_in_any_log() {
    for text_log in [false, true] {
        let origin = Origin::start();
        let mut setup = Setup::new(configuration(&origin, "interstitial = true"));
        if text_log {
            setup = setup.text_log();
        }
        let gate = setup.start();
        let token = link(&gate);
        let target = format!("/login?t={token}&redirectUrl=%2Fsecret-redirect-place");
        visit(&gate, "GET", &target, &[]).expect(200);
        visit(&gate, "GET", &target, &PREFETCH[..1]).expect(425);
        visit(&gate, "GET", &format!("{target}%0d"), &[]).expect(400);
        let cookie = landed(&visit(&gate, "POST", &target, &[]), "/secret-redirect-place");
        visit(&gate, "POST", &target, &[]).expect(410);
        visit(&gate, "GET", "/a", &[("Cookie", &cookie)]);
        visit(&gate, "GET", "/logout", &[("Cookie", &cookie)]).expect(303);
        gate.access_lines(7);
        let sinks = [gate.access_text(), gate.metrics(), operational_log()];
        let session = cookie.rsplit('.').next().unwrap().to_owned();
        for (name, secret) in [
            ("the link", &token),
            ("the session", &session),
            ("the redirect", &"secret-redirect".to_owned()),
        ] {
            for (at, sink) in sinks.iter().enumerate() {
                assert!(!sink.contains(secret.as_str()), "{name} is in sink {at}");
            }
        }
    }
}

#[test]
fn a_line_and_a_count_for_each_visit() {
    let (_origin, gate) = scene("");
    let token = link(&gate);
    let cookie = landed(&open(&gate, &format!("/en/user/login?t={token}")), "/");
    open(&gate, &format!("/login?t={token}")).expect(410);
    open(&gate, "/login").expect(401);
    visit(&gate, "GET", "/logout", &[("Cookie", &cookie)]).expect(303);
    let lines = gate.access(4);
    for (line, (path, status, code, subject)) in lines.iter().zip([
        ("/en/user/login", 303, "ok", Some("42")),
        ("/login", 410, "token_spent", Some("42")),
        ("/login", 401, "token_missing", None),
        ("/logout", 303, "ok", Some("42")),
    ]) {
        assert_eq!(line["door"], "landing", "{line}");
        assert_eq!(
            (&line["path"], &line["status"], &line["code"]),
            (&path.into(), &status.into(), &code.into()),
            "{line}"
        );
        assert_eq!(line["sub"].as_str(), subject, "{line}");
        assert!(line.get("route").is_none(), "{line}");
    }
    // The link's name is the same in both of its lines, and not the session's.
    assert_eq!(lines[0]["token_id"], lines[1]["token_id"]);
    assert_ne!(lines[0]["token_id"], lines[3]["token_id"]);
    assert_eq!(
        gate.metric("mediagate_requests_total", &["code=\"token_spent\""]),
        1.0
    );
}

#[test]
fn a_reload_takes_the_landing_along() {
    let (_origin, gate) = scene("");
    let token = link(&gate);
    gate.edit(
        "[landing]\n",
        "[landing]\npaths = [\"/enter\"]\nlogout = \"/leave\"\n",
    )
    .reload();
    assert_ne!(open(&gate, &format!("/login?t={token}")).status, 303);
    let cookie = landed(&open(&gate, &format!("/enter?t={token}")), "/");
    gate.get("/customers/42/a.pdf", &[("Cookie", &cookie)])
        .expect(200);
    open(&gate, "/leave").expect(303);
    let errors = gate
        .edit("paths = [\"/enter\"]", "paths = [\"/leave\"]")
        .try_reload()
        .unwrap_err();
    assert!(errors.contains("landing.logout"), "{errors}");
    open(&gate, &format!("/enter?t={}", link(&gate))).expect(303);
}

#[test]
fn a_landing_for_one_host_leaves_the_others_to_their_routes() {
    let (_origin, gate) = scene("host = \"login.example.com\"");
    let target = format!("/login?t={}", link(&gate));
    open(&gate, &target).refused(401, "token_invalid");
    let mut client = gate.connect().allow("set-cookie");
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: LOGIN.example.com:8080\r\n\r\n"
    ));
    landed(&client.read(), "/");
}

#[test]
fn a_landing_that_makes_no_sense_is_named() {
    let origin = Origin::start();
    for (from, to, expected) in [
        (
            "keys = \"media\"\nissuer",
            "keys = \"medai\"\nissuer",
            "landing.keys",
        ),
        ("[landing]\n", "[landing]\npaths = []\n", "landing.paths"),
        (
            "[landing]\n",
            "[landing]\npaths = [\"/{sub}/login\"]\n",
            "landing.paths[0]",
        ),
        (
            "[landing]\n",
            "[landing]\npaths = [\"/login\", \"/login\"]\n",
            "landing.paths[1]",
        ),
        (
            "[landing]\n",
            "[landing]\nlogout = \"/user/login\"\n",
            "landing.logout",
        ),
        (
            "[landing]\n",
            "[landing]\nlogout = \"/{lang}/logout\"\n",
            "landing.logout",
        ),
        (
            "[landing]\n",
            "[landing]\nhome = \"https://evil.example\"\n",
            "landing.home",
        ),
        ("[landing]\n", "[landing]\nquery = \"a&b\"\n", "landing.query"),
        (
            "[landing]\n",
            "[landing]\nredirect_query = \"t\"\n",
            "landing.redirect_query",
        ),
        (
            "[landing]\n",
            "[landing]\ncookie = \"__Host-session\"\n",
            "landing.cookie",
        ),
        ("[landing]\n", "[landing]\ncookie = \"a b\"\n", "landing.cookie"),
        (
            "[landing]\n",
            "[landing]\nsession_ttl = \"1s\"\n",
            "landing.session_ttl",
        ),
        (
            "[landing]\n",
            "[landing]\nallowed_origins = [\"https://*.example.com\"]\n",
            "landing.allowed_origins[0]",
        ),
        ("[landing]\n", "[landing]\nhost = \"https://a\"\n", "landing.host"),
        ("[landing]\n", "[landing]\nttl = \"8h\"\n", "landing.ttl"),
        ("issuer = \"https://issuer.test\"\n\n", "\n", "landing.issuer"),
    ] {
        let toml = configuration(&origin, "");
        let (before, landing) = toml.split_at(toml.find("[landing]").unwrap());
        assert!(landing.contains(from), "{from} in {landing}");
        let errors = Setup::new(format!("{before}{}", landing.replacen(from, to, 1))).refused();
        assert!(
            errors.contains(&format!(" {expected}: ")),
            "{expected} in {errors}"
        );
    }
    // A session must not make links.
    let issuer = conf::issuer(conf::RULE)
        .replace("keys = \"callers\"", "keys = \"media\"")
        .replace("https://callers.test", "https://issuer.test")
        .replace("audience = \"issuer\"", "audience = [\"session\"]");
    let errors = Setup::new(configuration(&origin, "") + &conf::fynn_route() + &issuer).refused();
    assert!(errors.contains("would pass as callers' bearers"), "{errors}");
}
