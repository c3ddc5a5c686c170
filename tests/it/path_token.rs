//! A token in the path: `/~{token}/…`, which survives relative addresses in playlists, and `/media/{id}/download/{token}`.

use crate::support::mint::tampered;
use crate::support::{Gate, Origin, Script, Token, conf};

fn gate() -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    (origin, gate)
}

#[test]
fn the_prefix_is_taken_out_and_the_rest_is_fetched() {
    let (origin, gate) = gate();
    let token = Token::opening(&["/hls/**"]);
    gate.get(&token.before("/hls/master.m3u8"), &[]).expect(200);
    gate.get(&token.before("/hls/low/segment%201.ts?x=1"), &[])
        .expect(200);
    let targets: Vec<String> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/hls/master.m3u8", "/hls/low/segment%201.ts?x=1"]);
    for bytes in origin.received() {
        assert!(!String::from_utf8_lossy(&bytes).contains(&token.text()));
    }
    gate.get(&token.before("/other/master.m3u8"), &[])
        .refused(403, "scope_denied");
}

#[test]
fn a_prefix_without_a_token_or_with_a_false_one_opens_nothing() {
    let (origin, gate) = gate();
    let good = Token::whole().text();
    for path in [
        "/~/a".to_owned(),
        format!("/~{}/a", tampered(&good)),
        "/~abc/a".into(),
        format!("/x/~{good}/a"),
    ] {
        let answer = gate.get(&path, &[]);
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
    }
    origin.untouched();
}

#[test]
fn the_token_alone_is_the_root() {
    let (origin, gate) = gate();
    gate.get(&Token::whole().before("/"), &[]).expect(200);
    assert_eq!(origin.only().target, "/");
}

#[test]
fn a_query_and_a_path_token_that_differ_are_refused() {
    let (origin, gate) = gate();
    let (one, two) = (Token::whole(), Token::whole().claim("jti", "another"));
    gate.get(&two.at(&one.before("/a")), &[])
        .refused(400, "bad_request");
    origin.untouched();
    gate.get(&one.at(&one.before("/a")), &[]).expect(200);
    assert_eq!(origin.only().target, "/a");
}

#[test]
fn a_bad_bearer_beside_a_good_prefix_is_dropped() {
    let (origin, gate) = gate();
    gate.get(&Token::whole().before("/a"), &[("Authorization", "Bearer x.y.z")])
        .expect(200);
    assert_eq!(origin.only().header("authorization"), None);
}

#[test]
fn a_redirect_on_the_origins_own_host_keeps_the_prefix_and_loses_the_host() {
    let (origin, gate) = gate();
    let own = origin.address();
    for (number, location) in [format!("http://{own}/new/place?x=1"), "/new/place?x=1".to_owned()]
        .into_iter()
        .enumerate()
    {
        origin.on(
            &format!("/old{number}"),
            Script::answer("302 Found", &[("Location", &location)], ""),
        );
        let token = Token::whole();
        let answer = gate.get(&token.before(&format!("/old{number}")), &[]).expect(302);
        assert_eq!(
            answer.header("location"),
            Some(token.before("/new/place?x=1").as_str()),
            "{location}"
        );
        let answer = gate.get(&token.at(&format!("/old{number}")), &[]).expect(302);
        assert_eq!(answer.header("location"), Some("/new/place?x=1"), "{location}");
    }
}

#[test]
fn the_page_that_an_origin_sends_with_a_redirect_does_not_tell_its_host() {
    let (origin, gate) = gate();
    let there = format!("http://{}/new", origin.address());
    let page = format!(
        "<p>The document has moved <a href=\"{there}\">here</a>. Apache at {}</p>",
        origin.address()
    );
    origin.on(
        "/old",
        Script::answer(
            "302 Found",
            &[("Location", &there), ("Content-Type", "text/html")],
            page,
        ),
    );
    let answer = gate.get(&Token::whole().at("/old"), &[]).expect(302);
    let raw = String::from_utf8_lossy(&answer.raw).into_owned();
    assert!(!raw.contains(&origin.address().to_string()), "{raw}");
}

#[test]
fn a_redirect_to_another_host_needs_the_routes_leave() {
    let origin = Origin::start();
    let other = "https://cdn.example.net/x";
    for (path, location) in [
        ("/a", other),
        ("/b", "//cdn.example.net/x"),
        ("/c", "https://evil.example/x"),
        ("/d", "javascript:alert(1)"),
        ("/e", "/\\evil.example/x"),
        ("/f", "https://cdn.example.net@evil.example/x"),
        ("/g", "https://cdn.example.net.evil.example/x"),
        ("/h", "ftp://cdn.example.net/x"),
    ] {
        origin.on(path, Script::answer("302 Found", &[("Location", location)], ""));
    }
    origin.on("/none", Script::answer("302 Found", &[], ""));
    origin.on(
        "/two",
        Script::answer("302 Found", &[("Location", "/x"), ("Location", "/y")], ""),
    );
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    for path in ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/none", "/two"] {
        gate.get(&Token::whole().at(path), &[])
            .refused(502, "origin_invalid");
    }
    let allowing = Gate::start(
        conf::http(origin.address())
            + &conf::route_with("files", "/", "redirect_hosts = [\"cdn.example.net\"]"),
    );
    let answer = allowing.get(&Token::whole().before("/a"), &[]).expect(302);
    assert_eq!(
        answer.header("location"),
        Some(other),
        "another host never gets the token"
    );
    for path in ["/c", "/d", "/e", "/f", "/g", "/h"] {
        allowing
            .get(&Token::whole().at(path), &[])
            .refused(502, "origin_invalid");
    }
}

#[test]
fn the_template_carrier_takes_the_token_from_its_place() {
    let origin = Origin::start();
    let more = "scope = \"whole\"\nto = \"/store/{id}\"";
    let carriers = "{ path = \"/media/{id}/download/{token}\" }";
    let gate =
        Gate::start(conf::http(origin.address()) + &conf::route_carried("media", "/media", carriers, more));
    let token = Token::whole().without("paths").text();
    gate.get(&format!("/media/01F9/download/{token}"), &[])
        .expect(200);
    gate.get(&format!("/media/a%20b%25/download/{token}"), &[])
        .expect(200);
    let targets: Vec<String> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/store/01F9", "/store/a%20b%25"]);
    for path in [
        format!("/media/%2e%2e/download/{token}"),
        format!("/media/../download/{token}"),
        format!("/media/a%2fb/download/{token}"),
        format!("/media//download/{token}"),
        format!("/media/01F9/download/{token}/more"),
        format!("/media/01F9/upload/{token}"),
        "/media/01F9/download/".to_owned(),
        "/media/01F9/download".to_owned(),
    ] {
        let answer = gate.get(&path, &[]);
        assert!(
            [400, 401, 403, 404].contains(&answer.status),
            "{path}: {answer:?}"
        );
    }
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn an_answer_under_a_path_token_refers_nowhere() {
    let (_origin, gate) = gate();
    let answer = gate.get(&Token::whole().before("/a"), &[]).expect(200);
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let answer = gate.get("/~abc/a", &[]).expect(401);
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
}
