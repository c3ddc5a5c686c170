//! Attacks on what surrounds a request: redirects that carry a token away, cross-origin rules, a policy that falls away
//! unseen, doors that should not be reachable.

use std::process::Command;

use crate::support::client::head;
use crate::support::mint::AUDIENCE;
use crate::support::{Client, Gate, Origin, Script, Setup, Token, conf};

#[test]
fn p42_a_redirect_takes_no_token_along() {
    let origin = Origin::start();
    let host = origin.address();
    let own = format!("http://{host}/next?x=1");
    for (path, location) in [
        ("/relative", "/next?x=1"),
        ("/absolute", own.as_str()),
        ("/listed", "https://cdn.example.com/next"),
        ("/foreign", "https://evil.example/next"),
        ("/scheme", "//evil.example/next"),
    ] {
        origin.on(path, Script::answer("302 Found", &[("Location", location)], ""));
    }
    let more = "redirect_hosts = [\"cdn.example.com\"]";
    let gate = Gate::start(conf::http(host) + &conf::route_with("files", "/", more));
    let token = Token::whole();
    let text = token.text();
    let cookie = format!("media={text}");
    let bearer = token.bearer();
    for (path, status, wanted) in [
        ("/relative", 302, Some("/next?x=1")),
        ("/absolute", 302, Some("/next?x=1")),
        ("/listed", 302, Some("https://cdn.example.com/next")),
        ("/foreign", 502, None),
        ("/scheme", 502, None),
    ] {
        for (target, headers) in [
            (token.at(path), &[][..]),
            (path.to_owned(), &[("Authorization", bearer.as_str())]),
            (path.to_owned(), &[("Cookie", cookie.as_str())]),
        ] {
            let answer = gate.get(&target, headers).expect(status);
            assert_eq!(answer.header("location"), wanted, "{path}");
            assert!(
                !String::from_utf8_lossy(&answer.raw).contains(&text),
                "{path}: {answer:?}"
            );
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
            let directive = answer.header("cache-control").unwrap_or_default();
            assert!(
                directive.starts_with("private") || directive == "no-store",
                "{path}: {directive}"
            );
        }
        // The one that stays in the path goes back into a path of ours, and nowhere else.
        let answer = gate.get(&token.before(path), &[]).expect(status);
        let location = answer.header("location").unwrap_or_default();
        assert_eq!(
            location.contains(&text),
            location.starts_with('/'),
            "{path}: {location}"
        );
    }
}

#[test]
fn p44_credentials_and_everybody_never_go_together() {
    let origin = Origin::start();
    for (what, rules) in [
        (
            "everybody with credentials",
            "origins = [\"*\"], credentials = true",
        ),
        (
            "everybody among others",
            "origins = [\"*\", \"https://app.example.com\"]",
        ),
        ("null", "origins = [\"null\"]"),
        ("a pattern", "origins = [\"https://*.example.com\"]"),
        ("a path", "origins = [\"https://app.example.com/x\"]"),
        ("no scheme", "origins = [\"app.example.com\"]"),
    ] {
        let more = format!("cors = {{ {rules} }}");
        let toml = conf::http(origin.address()) + &conf::route_with("files", "/", &more);
        let error = Setup::new(toml).refused();
        assert!(error.contains("cors"), "{what}: {error}");
    }
    // A star without credentials says `*` and no more, whoever asks and with whatever cookie.
    let more = "cors = { origins = [\"*\"] }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    for from in ["https://evil.example", "null"] {
        for target in [Token::whole().at("/a"), "/a".to_owned()] {
            let answer = gate.get(&target, &[("Origin", from), ("Cookie", "media=x")]);
            assert_eq!(
                answer.header("access-control-allow-origin"),
                Some("*"),
                "{answer:?}"
            );
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
    }
}

#[test]
fn p44_an_origin_that_only_resembles_the_app_reads_nothing() {
    let origin = Origin::start();
    let more = "cors = { origins = [\"https://app.example.com\"], credentials = true }";
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", more));
    for from in [
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        "https://app.example.com:8443",
        "http://app.example.com",
        "https://app.example.com@evil.example",
        "https://APP.example.com.",
        "https://evil.example#https://app.example.com",
        "https://app.example.com, https://evil.example",
    ] {
        for target in [Token::whole().at("/a"), "/a".to_owned()] {
            let answer = gate.get(&target, &[("Origin", from)]);
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{from}: {answer:?}"
            );
            let varies = answer.all("vary").any(|vary| vary.contains("Origin"));
            assert!(varies, "{from}: {answer:?}");
        }
        let asked = [("Origin", from), ("Access-Control-Request-Method", "GET")];
        let answer = gate.exchange("OPTIONS", "/a", &asked);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{from}: {answer:?}"
        );
        assert_eq!(
            answer.header("access-control-allow-methods"),
            None,
            "{from}: {answer:?}"
        );
    }
}

#[test]
fn p45_a_route_never_inherits_the_leave_of_another() {
    let origin = Origin::start();
    // A narrow route below a wide one: its own rules count, whole, and none of the wide one's.
    let wide = conf::route_with("wide", "/", "methods = [\"GET\", \"POST\"]\nscope = \"whole\"");
    let narrow = conf::route_carried("narrow", "/narrow", "{ bearer = {} }", "")
        .replace(&format!("audience = \"{AUDIENCE}\""), "audience = \"narrow\"");
    let gate = Gate::start(conf::http(origin.address()) + &wide + &narrow);
    let token = Token::whole();
    gate.get(&token.at("/a"), &[]).expect(200);
    gate.get(&token.at("/narrow/a"), &[])
        .refused(401, "token_missing");
    let bearer = token.bearer();
    gate.get("/narrow/a", &[("Authorization", &bearer)])
        .refused(401, "token_invalid");
    let right = token.clone().claim("aud", "narrow");
    let bearer = right.bearer();
    gate.get("/narrow/a", &[("Authorization", &bearer)]).expect(200);
    let posted = gate.exchange(
        "POST",
        "/narrow/a",
        &[("Authorization", &bearer), ("Content-Length", "0")],
    );
    posted.refused(405, "method_not_allowed");
    let unscoped = right.clone().without("paths").bearer();
    gate.get("/narrow/a", &[("Authorization", &unscoped)])
        .refused(403, "scope_denied");
    gate.get(&right.at("/a"), &[]).refused(401, "token_invalid");
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn p45_a_route_whose_keys_were_never_loaded_opens_nothing_and_others_do() {
    let origin = Origin::start();
    let keys = Origin::start();
    keys.on("/jwks", Script::answer("500 Internal Server Error", &[], ""));
    let away = conf::route_with("away", "/away", "").replace("keys = \"media\"", "keys = \"away\"");
    let set = format!("[keys.away]\njwks = \"http://{}/jwks\"\n", keys.address());
    let gate = Gate::start(conf::http(origin.address()) + &set + &conf::route() + &away);
    for target in [
        Token::whole().at("/away/a"),
        "/away/a?t=x.y.z".to_owned(),
        "/away/a".to_owned(),
    ] {
        let answer = gate.get(&target, &[]);
        assert!([401, 503].contains(&answer.status), "{target}: {answer:?}");
    }
    gate.get(&Token::whole().at("/away/a"), &[])
        .refused(503, "keys_unavailable");
    origin.untouched();
    gate.get(&Token::whole().at("/a"), &[]).expect(200);
}

#[test]
fn p45_check_shows_the_policy_of_every_route() {
    let origin = Origin::start();
    let narrow = conf::route_carried("narrow", "/narrow", "{ bearer = {} }", "scope = \"whole\"");
    let setup = Setup::new(conf::http(origin.address()) + &conf::route() + &narrow);
    let output = Command::new(env!("CARGO_BIN_EXE_mediagate"))
        .args(["check", "--config"])
        .arg(setup.write())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for shown in [
        "route files: any host, /\n",
        "route narrow: any host, /narrow\n",
        "carriers   Authorization: Bearer\n",
        "what the token says; without it nothing opens",
        "ANY true token opens the whole route",
        "client address: the peer",
        "route[1].scope: any true token",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
}

#[test]
fn p46_no_way_of_writing_a_path_leads_to_another_door() {
    let origin = Origin::start();
    let gate = Gate::start(
        conf::http(origin.address())
            + "[media.store]\nfile = \"{dir}/catalogue.toml\"\n"
            + &conf::route_with("files", "/files", "")
            + &conf::issuer(conf::RULE),
    );
    let admin = gate.admin();
    let issuer = gate.issuer();
    let token = Token::opening(&["/files/**"]);
    for path in [
        "metrics",
        "healthz",
        "readyz",
        "v1/tokens",
        ".well-known/jwks.json",
    ] {
        for spelling in [
            format!("/{path}"),
            format!("/files/../{path}"),
            format!("/files/%2e%2e/{path}"),
            format!("/files/..;/{path}"),
            format!("/files/..%2f{path}"),
            format!("/files/%252e%252e/{path}"),
            format!("/files/.%2e/{path}"),
            format!("/files/..%5c{path}"),
            format!("//{path}"),
            format!("/./{path}"),
            format!("/{}", path.to_uppercase()),
            format!("/{path}%00"),
            format!("/{path};x=1"),
            format!("/{path}/"),
            format!("/~{}/../{path}", token.text()),
            format!("http://{admin}/{path}"),
            format!("http://{issuer}/{path}"),
        ] {
            for host in [
                crate::support::client::HOST.to_owned(),
                admin.to_string(),
                issuer.to_string(),
            ] {
                let target = token.at(&spelling);
                let mut client = gate.connect();
                client.send(head("GET", &target, &[("Host", &host), ("Connection", "close")]));
                let answer = client.read();
                assert!(
                    [400, 401, 403, 404].contains(&answer.status),
                    "{spelling}: {answer:?}"
                );
                assert!(!answer.text().contains("mediagate_") && !answer.text().contains("\"keys\""));
            }
        }
    }
    origin.untouched();
}

#[test]
fn p46_the_doors_do_not_answer_for_each_other() {
    let origin = Origin::start();
    let gate = Gate::start(
        conf::http(origin.address())
            + "[media.store]\nfile = \"{dir}/catalogue.toml\"\n"
            + &conf::route()
            + &conf::issuer(conf::RULE),
    );
    let token = Token::whole().at("/a");
    for (door, target) in [
        (gate.issuer(), token.as_str()),
        (gate.issuer(), "/metrics"),
        (gate.issuer(), "/healthz"),
        (gate.admin(), token.as_str()),
        (gate.admin(), "/v1/tokens"),
        (gate.admin(), "/.well-known/jwks.json"),
    ] {
        let answer = Client::connect(door).any_header().get(target, &[]);
        assert!([401, 404, 405].contains(&answer.status), "{target}: {answer:?}");
    }
    origin.untouched();
}
