//! Fynn's download tokens, from the issuer to the bytes at the gate (f1 – f18), and the traps that concern them.

use regex::Regex;
use serde_json::json;

use crate::support::client::media_type;
use crate::support::gate::ask_over;
use crate::support::issuer::{bearer, download_token, issued, setup, start};
use crate::support::mint::{self, CALLERS, DOWNLOAD, ISSUER, opened, tampered};
use crate::support::origin::Signal;
use crate::support::{Gate, NOW, Origin, Script, Token, conf};

/// A download token for `id`, and its link.
fn link(gate: &Gate, id: &str) -> (String, String) {
    issued(
        download_token(gate, id, &[("Authorization", &bearer())], b""),
        201,
    )
}

#[test]
fn f1_a_caller_gets_a_token_and_a_url() {
    let (_origin, gate) = start();
    let headers = [("Authorization", bearer()), ("Accept", "application/json".into())];
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = download_token(&gate, "01F9", &headers, b"").expect(201);
    assert_eq!(media_type(&answer), "application/json");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let token = body["token"].as_str().expect("token");
    assert_eq!(
        body["url"],
        format!("http://media.example.com/media/01F9/download/{token}")
    );
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
}

#[test]
fn f2_the_body_may_be_empty_or_an_empty_object() {
    let (_origin, gate) = start();
    for body in [&b""[..], b"{}", b" { } \n"] {
        let headers = [
            ("Authorization", bearer()),
            ("Content-Type", "application/json".into()),
        ];
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        download_token(&gate, "01F9", &headers, body).expect(201);
    }
}

#[test]
fn f3_a_browser_gets_a_page_with_the_link() {
    let (_origin, gate) = start();
    let answer = download_token(
        &gate,
        "01F9",
        &[("Authorization", &bearer()), ("Accept", "text/html")],
        b"",
    )
    .expect(201);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let page = answer.text();
    let url = Regex::new(r"http://media\.example\.com/media/01F9/download/[A-Za-z0-9_.-]+").unwrap();
    assert!(url.is_match(&page), "{page}");
    assert!(!page.to_lowercase().contains("<script"), "{page}");
}

#[test]
fn f3_what_stands_on_the_page_is_escaped() {
    let origin = Origin::start();
    let template = "[media.any]\ntemplate = \"/store/{id}\"\n";
    let toml = conf::http(origin.address())
        + template
        + &conf::route()
        + &conf::issuer("[[issuer.rule]]\nrequires = \"media:read\"\npaths = [\"/**\"]\nmax_ttl = \"1h\"\n")
            .replace("media = \"store\"", "media = \"any\"");
    let gate = Gate::start(toml);
    let answer = download_token(
        &gate,
        "%3Cscript%3E&%22'",
        &[("Authorization", &bearer()), ("Accept", "text/html")],
        b"",
    );
    let page = answer.text();
    assert!(!page.contains("<script>") && !page.contains("\"'"), "{page}");
}

#[test]
fn f4_without_a_wish_the_answer_is_json() {
    let (_origin, gate) = start();
    for accept in [
        None,
        Some("*/*"),
        Some("application/json, text/plain, */*"),
        Some("text/html;q=0.1, application/json"),
    ] {
        let bearer = bearer();
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(accept.map(|accept| ("Accept", accept)));
        assert_eq!(
            media_type(&download_token(&gate, "01F9", &headers, b"").expect(201)),
            "application/json",
            "{accept:?}"
        );
    }
}

#[test]
fn f5_without_a_bearer_it_is_401_in_the_services_own_shape() {
    let (_origin, gate) = start();
    let expired = Token::caller("backend", "media:read").expires(NOW - 60).bearer();
    let strange = Token::caller("backend", "media:read")
        .key(mint::STRANGER)
        .bearer();
    let unsigned = Token::caller("backend", "media:read")
        .header("alg", "none")
        .bearer();
    let media = Token::whole().bearer();
    let bent = format!(
        "Bearer {}",
        tampered(&Token::caller("backend", "media:read").text())
    );
    for authorization in [
        None,
        Some("Basic dTpw"),
        Some("Bearer"),
        Some("Bearer x"),
        Some(expired.as_str()),
        Some(&strange),
        Some(&unsigned),
        Some(&media),
        Some(&bent),
    ] {
        let headers: Vec<(&str, &str)> = authorization
            .iter()
            .map(|value| ("Authorization", *value))
            .collect();
        let answer = download_token(&gate, "01F9", &headers, b"").expect(401);
        let body = answer.json();
        assert_eq!(body["code"], 401, "{authorization:?}: {body}");
        assert!(
            body["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{body}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(
            answer
                .header("www-authenticate")
                .is_none_or(|challenge| challenge.starts_with("Bearer"))
        );
    }
}

#[test]
fn f6_without_the_permission_it_is_403() {
    let (_origin, gate) = start();
    for scope in ["", "media:readonly", "MEDIA:READ", "xmedia:read", "media:write"] {
        let answer = download_token(
            &gate,
            "01F9",
            &[("Authorization", &Token::caller("b", scope).bearer())],
            b"",
        )
        .expect(403);
        assert_eq!(media_type(&answer), "application/problem+json", "{scope}");
        assert_eq!(answer.json()["status"], 403);
    }
    let none = Token::caller("b", "").without("scope").bearer();
    download_token(&gate, "01F9", &[("Authorization", &none)], b"").expect(403);
}

#[test]
fn f7_an_unknown_id_is_404() {
    let (_origin, gate) = start();
    let answer = download_token(&gate, "01ZZ", &[("Authorization", &bearer())], b"").expect(404);
    assert_eq!(media_type(&answer), "application/problem+json");
}

#[test]
fn f7_without_a_bearer_nobody_learns_which_ids_there_are() {
    let (_origin, gate) = start();
    let known = download_token(&gate, "01F9", &[], b"").expect(401);
    let unknown = download_token(&gate, "01ZZ", &[], b"").expect(401);
    assert_eq!(known.text(), unknown.text());
}

#[test]
fn f8_a_malformed_id_is_400_and_a_forbidden_folder_422() {
    let (_origin, gate) = start();
    let long = "x".repeat(200);
    for id in [
        "",
        "..",
        "%2e%2e",
        ".",
        "a%2Fb",
        "a%5cb",
        "a%00b",
        "a%0d%0ab",
        "%ff",
        "%zz",
        long.as_str(),
    ] {
        let answer = download_token(&gate, id, &[("Authorization", &bearer())], b"");
        assert_eq!(answer.status, 400, "{id}: {answer:?}");
        assert_eq!(media_type(&answer), "application/problem+json", "{id}");
    }
    let answer = download_token(&gate, "01FB", &[("Authorization", &bearer())], b"").expect(422);
    assert_eq!(media_type(&answer), "application/problem+json");
    assert!(
        answer.json()["violations"]
            .as_array()
            .is_some_and(|list| !list.is_empty()),
        "{answer:?}"
    );
}

#[test]
fn f9_a_malformed_body_is_400() {
    let (_origin, gate) = start();
    let bearer = bearer();
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    for body in [&b"{"[..], b"nonsense", b"{}}", b"[1", b"\xff\xfe"] {
        let answer = download_token(&gate, "01F9", &headers, body).expect(400);
        assert_eq!(media_type(&answer), "application/problem+json");
    }
    let large = vec![b' '; 100 * 1024];
    assert_eq!(download_token(&gate, "01F9", &headers, &large).status, 413);
}

#[test]
fn f10_the_link_opens_the_file_under_its_name_for_a_minute() {
    let (origin, gate) = start();
    let (_, path) = link(&gate, "01F9");
    for seconds in [0, 59] {
        gate.advance(seconds);
        let answer = gate.get(&path, &[]).expect(200);
        assert_eq!(answer.text(), "0123456789");
        let disposition = answer.header("content-disposition").expect("a name");
        assert!(
            disposition.contains("filename*=UTF-8''Rechnung%20%E2%80%93%20M%C3%A4rz%20%E2%82%AC.pdf"),
            "{disposition}"
        );
    }
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| seen.target == "/store/report.bin")
    );
}

#[test]
fn f11_the_link_dies_after_a_minute_and_the_leeway_with_403() {
    let (origin, gate) = start();
    let (_, path) = link(&gate, "01F9");
    gate.advance(64);
    gate.get(&path, &[]).expect(200);
    gate.advance(1);
    let answer = gate.get(&path, &[]).expect(403);
    assert_eq!(answer.code(), "token_expired");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn f12_a_token_of_one_id_opens_no_other() {
    let (origin, gate) = start();
    let (token, _) = link(&gate, "01F9");
    gate.get(&format!("/media/01FA/download/{token}"), &[])
        .expect(403);
    gate.get(&format!("/media/01f9/download/{token}"), &[])
        .expect(403);
    let unknown = gate.get(&format!("/media/01ZZ/download/{token}"), &[]);
    assert_eq!(
        unknown.status, 403,
        "nobody learns which ids there are: {unknown:?}"
    );
    gate.get(&format!("/store/report.bin?t={token}"), &[])
        .refused(401, "token_invalid");
    origin.untouched();
}

#[test]
fn f13_forged_tokens_are_403_and_oversized_ones_at_most_414() {
    let (origin, gate) = start();
    let (token, _) = link(&gate, "01F9");
    let (_, claims) = opened(&token);
    let unsigned = mint::raw("{\"typ\":\"JWT\",\"alg\":\"none\"}", &claims.to_string(), b"");
    let strange = mint::hs256(
        &json!({ "typ": "JWT", "alg": "HS256" }),
        &claims,
        mint::STRANGER.secret,
    );
    let media = mint::hs256(
        &json!({ "typ": "JWT", "alg": "HS256" }),
        &claims,
        mint::MEDIA.secret,
    );
    for bad in [
        tampered(&token),
        unsigned,
        strange,
        media,
        "nodots".into(),
        "a.b".into(),
        "a.b.c.d".into(),
        "x".repeat(10_000),
    ] {
        let answer = gate.get(&format!("/media/01F9/download/{bad}"), &[]);
        assert!(
            answer.status == 403 || (bad.len() == 10_000 && [414, 431].contains(&answer.status)),
            "{bad:.40}: {answer:?}"
        );
    }
    origin.untouched();
    // The same claims by the true key do open: what failed above were the signatures.
    let good = mint::hs256(&json!({ "typ": "JWT", "alg": "HS256" }), &claims, DOWNLOAD.secret);
    gate.get(&format!("/media/01F9/download/{good}"), &[]).expect(200);
}

#[test]
fn f14_the_link_may_be_used_twice_and_in_ranges() {
    let (_origin, gate) = start();
    let (_, path) = link(&gate, "01F9");
    gate.get(&path, &[]).expect(200);
    gate.get(&path, &[]).expect(200);
    let part = gate.get(&path, &[("Range", "bytes=2-4")]).expect(206);
    assert_eq!(
        (part.text().as_str(), part.header("content-range")),
        ("234", Some("bytes 2-4/10"))
    );
    assert_eq!(
        gate.get(&path, &[("Range", "bytes=5-")]).expect(206).text(),
        "56789"
    );
}

#[test]
fn f15_head_has_the_length_and_no_body() {
    let (_origin, gate) = start();
    let (_, path) = link(&gate, "01F9");
    let mut client = gate.connect();
    let answer = client.exchange("HEAD", &path, &[]).expect(200);
    assert_eq!(answer.header("content-length"), Some("10"));
    assert_eq!(client.get(&path, &[]).expect(200).text(), "0123456789");
}

#[test]
fn f16_the_token_is_not_in_the_origins_request() {
    let (origin, gate) = start();
    let (token, path) = link(&gate, "01F9");
    gate.get(&path, &[("Referer", &format!("http://media.example.com{path}"))])
        .expect(200);
    for bytes in origin.received() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains(&token) && !text.contains("01F9"), "{text}");
    }
}

#[test]
fn f17_the_base_url_is_configured_and_never_read_from_a_request() {
    let (_origin, gate) = start();
    let bearer = bearer();
    let answer = download_token(
        &gate,
        "01F9",
        &[
            ("Host", "evil.example"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "gopher"),
            ("X-Forwarded-Prefix", "/evil"),
            ("Forwarded", "host=evil.example;proto=gopher"),
            ("Origin", "https://evil.example"),
            ("Authorization", &bearer),
        ],
        b"",
    );
    assert!(
        !String::from_utf8_lossy(&answer.raw).contains("evil"),
        "{answer:?}"
    );
    assert!(
        answer.json()["url"]
            .as_str()
            .unwrap()
            .starts_with("http://media.example.com/media/01F9/download/")
    );
    let gate = {
        let origin = Origin::start();
        let toml = conf::issuer(conf::RULE).replace(
            "[issuer]\n",
            "[issuer]\npublic_url = \"https://files.example.org\"\n",
        );
        Gate::start(conf::http(origin.address()) + &conf::fynn_route() + &conf::route() + &toml)
    };
    let answer = download_token(&gate, "01F9", &[("Authorization", &bearer)], b"").expect(201);
    assert!(
        answer.json()["url"]
            .as_str()
            .unwrap()
            .starts_with("https://files.example.org/media/01F9/download/")
    );
}

#[test]
fn f18_the_token_is_an_hs256_jwt_for_sixty_seconds() {
    let (_origin, gate) = start();
    let (token, _) = link(&gate, "01F9");
    let (header, claims) = opened(&token);
    assert_eq!(header, json!({ "typ": "JWT", "alg": "HS256" }));
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        60
    );
    assert_eq!(claims["iat"], NOW);
    assert!(
        claims["jti"].as_str().is_some_and(|id| id.len() >= 16),
        "{claims}"
    );
    let (another, _) = link(&gate, "01F9");
    assert_ne!(token, another, "each has an id of its own");
}

#[test]
fn f1_f10_issue_and_download_may_be_on_one_host() {
    let (_origin, gate) = start();
    let mut client = gate.connect();
    let answer = ask_over(
        &mut client,
        "POST",
        "/media/01F9/download-token",
        &[("Authorization", &bearer())],
        b"",
    );
    let (_, path) = issued(answer, 201);
    assert_eq!(client.get(&path, &[]).expect(200).text(), "0123456789");
    // The native dialect is not mounted there.
    let answer = ask_over(
        &mut client,
        "POST",
        "/v1/tokens",
        &[("Authorization", &bearer())],
        b"{}",
    );
    assert!([401, 405].contains(&answer.status), "{answer:?}");
}

#[test]
fn f6_another_permission_is_no_substitute_even_where_a_rule_asks_for_it() {
    let origin = Origin::start();
    let rule = conf::RULE.replace("media:read", "files:all");
    let gate = setup(&origin, &rule).start();
    let ask = |scope: &str| {
        let bearer = Token::caller("backend", scope).bearer();
        download_token(&gate, "01F9", &[("Authorization", &bearer)], b"").status
    };
    assert_eq!(
        (ask("files:all"), ask("media:read"), ask("files:all media:read")),
        (403, 403, 201)
    );
}

#[test]
fn trap_14_the_token_is_in_no_log_and_in_no_referrer() {
    let (_origin, gate) = start();
    let (token, path) = link(&gate, "01F9");
    let answer = gate.get(&path, &[]).expect(200);
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let lines = gate.access(2);
    assert_ne!(lines[0]["door"], lines[1]["door"]);
    // Under one name, when it was made and when it was used.
    assert_eq!(lines[0]["token_id"], lines[1]["token_id"]);
    assert!(lines[0]["token_id"].is_string());
    let signature = token.rsplit('.').next().unwrap();
    assert!(!gate.access_text().contains(signature));
}

#[test]
fn trap_15_what_a_token_opened_is_not_kept_beyond_its_life() {
    let (origin, gate) = start();
    origin.file_with(
        "/store/report.bin",
        "0123456789",
        &[("Cache-Control", "public, max-age=86400, s-maxage=86400")],
    );
    let (_, path) = link(&gate, "01F9");
    gate.advance(20);
    let answer = gate.get(&path, &[]).expect(200);
    let kept = answer.header("cache-control").expect("cache-control");
    let age = Regex::new(r"max-age=(\d+)").unwrap();
    let age: u32 = age.captures(kept).expect(kept)[1].parse().unwrap();
    assert!(
        kept.contains("private") && !kept.contains("public") && !kept.contains("s-maxage") && age <= 40,
        "{kept}"
    );
    gate.advance(60);
    let refused = gate.get(&path, &[]).refused(403, "token_expired");
    assert!(refused.header("etag").is_none());
}

#[test]
fn trap_16_an_address_is_believed_from_trusted_peers_alone() {
    let bound = |ip: &str| {
        let claims = json!({
            "iss": ISSUER, "aud": "download", "sub": "b", "iat": NOW, "exp": NOW + 60, "media": "01F9", "ips": [ip],
        });
        let token = mint::hs256(&json!({ "typ": "JWT", "alg": "HS256" }), &claims, DOWNLOAD.secret);
        format!("/media/01F9/download/{token}")
    };
    let behind = [("X-Forwarded-For", "203.0.113.9")];
    let (_origin, gate) = start();
    gate.get(&bound("203.0.113.9"), &behind)
        .refused(403, "address_denied");
    gate.get(&bound("127.0.0.1"), &behind).expect(200);
    let origin = Origin::start();
    origin.file("/store/report.bin", "0123456789");
    let gate = setup(&origin, conf::RULE).behind_a_proxy().start();
    gate.get(&bound("203.0.113.9"), &behind).expect(200);
    gate.get(&bound("127.0.0.1"), &behind)
        .refused(403, "address_denied");
}

#[test]
fn trap_17_a_download_that_began_in_time_ends_whole() {
    let (origin, gate) = start();
    let more = Signal::default();
    origin.on(
        "/store/report.bin",
        Script::new()
            .head("200 OK", &[("Content-Length", "10")])
            .send("01234")
            .wait(&more)
            .send("56789"),
    );
    let (_, path) = link(&gate, "01F9");
    gate.advance(59);
    let mut client = gate.connect();
    client.request("GET", &path, &[]);
    client.read_only_head().expect(200);
    assert_eq!(client.read_bytes(5), b"01234");
    gate.advance(3600);
    more.raise();
    assert_eq!(client.read_bytes(5), b"56789");
    gate.get(&path, &[]).refused(403, "token_expired");
}

#[test]
fn f5_bearers_whose_times_leave_every_scale_are_refused() {
    let (_origin, gate) = start();
    let caller = |exp: &str| {
        let payload = format!(
            "{{\"iss\":\"{CALLERS}\",\"aud\":\"issuer\",\"sub\":\"b\",\"scope\":\"media:read\",\"iat\":{NOW},\"exp\":{exp}}}"
        );
        let header = mint::CALLER.header().to_string();
        format!("Bearer {}", mint::raw(&header, &payload, mint::CALLER.secret))
    };
    let ask = |bearer: &str| download_token(&gate, "01F9", &[("Authorization", bearer)], b"");
    ask(&caller(&(NOW + 60).to_string())).expect(201);
    for exp in [
        "1e308",
        "1e400",
        "-1e308",
        "18446744073709551616",
        "\"never\"",
        "null",
    ] {
        let answer = ask(&caller(exp)).expect(401);
        assert_eq!(answer.json()["message"], "Invalid JWT Token", "{exp}");
    }
    // A bearer without end in sight is good, but what it gets is not longer for it.
    for exp in ["9223372036854775807", "4102444800"] {
        let answer = ask(&caller(exp));
        if answer.status == 201 {
            let (_, claims) = opened(answer.json()["token"].as_str().unwrap());
            assert_eq!(claims["exp"], NOW + 60, "{exp}");
        } else {
            assert_eq!(answer.status, 401, "{exp}: {answer:?}");
        }
    }
}
