//! `POST /v2/files/jwt`: Sirv's protected URLs, who gets which (s1 – s9, s18), how much is left (s20), how they are written (s21).

use regex::Regex;
use serde_json::json;

use crate::support::client::HOST;
use crate::support::gate::ask_over;
use crate::support::mint::{self, opened, tampered};
use crate::support::sirv::{
    BEARER, DEMO, FILES, KEY, LEFT, SCHEME, SECOND, SECRET, ask, ask_as, bearer, forbidden, left, opening,
    post, protected, refused, secrets, setup_with, sign_in, start, target, token, told, toml,
};
use crate::support::{NOW, Origin, Setup, Token};

#[test]
fn s1_a_caller_gets_a_url_with_its_token() {
    let (_origin, gate) = start();
    let answer = ask(&gate, &json!({ "filename": "/docs/a.pdf", "expiresIn": 300 })).expect(200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let wanted =
        format!("^\\{{\n  \"url\": \"http://{HOST}/docs/a\\.pdf\\?jwt=[\\w-]+\\.[\\w-]+\\.[\\w-]+\"\n\\}}$");
    assert!(
        Regex::new(&wanted).unwrap().is_match(&answer.text()),
        "{}",
        answer.text()
    );
    assert_eq!(gate.get(&target(&answer), &[]).expect(200).text(), "0123456789");
}

#[test]
fn s2_trap_10_the_token_says_times_and_the_decoded_path_and_nothing_else() {
    let (_origin, gate) = start();
    let target = protected(
        &gate,
        &json!({ "filename": "/docs/report 1.pdf", "expiresIn": 300 }),
    );
    let (header, claims) = opened(token(&target));
    assert_eq!(header, json!({ "alg": "HS256", "typ": "JWT" }));
    assert_eq!(
        claims,
        json!({ "iat": NOW, "exp": NOW + 300, "aud": "/docs/report 1.pdf" })
    );
    let text = String::from_utf8(mint::unb64(token(&target).split('.').nth(1).unwrap())).unwrap();
    assert!(text.starts_with("{\"iat\":"), "{text}");
}

#[test]
fn s3_secure_parameters_are_in_the_token_with_their_types_and_not_in_the_url() {
    let (origin, gate) = start();
    let secure = r#"{"w":300,"h":300,"text":"a b","grayscale":true,"q":0.5}"#;
    let body = format!(r#"{{"filename":"/a.jpg","expiresIn":60,"secureParams":{secure}}}"#);
    let target = target(&ask_as(&gate, "svc", &body).expect(200));
    assert!(target.starts_with("/a.jpg?jwt="), "{target}");
    let text = String::from_utf8(mint::unb64(token(&target).split('.').nth(1).unwrap())).unwrap();
    assert!(
        text.starts_with(&format!("{{\"args\":{secure},\"iat\":")),
        "{text}"
    );
    gate.get(&target, &[]).expect(200);
    assert_eq!(
        origin.last().target,
        "/a.jpg?w=300&h=300&text=a%20b&grayscale=true&q=0%2E5"
    );
    let empty = json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": {} });
    assert!(opened(token(&protected(&gate, &empty))).1.get("args").is_none());
}

#[test]
fn s4_insecure_parameters_are_in_the_url_and_not_in_the_token() {
    let (origin, gate) = start();
    let body = json!({
        "filename": "/a.jpg", "expiresIn": 60, "secureParams": { "text": "Hello!" },
        "insecureParams": { "w": 500, "profile": "a&jwt=b#c" },
    });
    let target = protected(&gate, &body);
    assert!(
        target.contains("w=500&") && target.contains("profile=a%26jwt%3Db%23c&"),
        "{target}"
    );
    assert!(target.rfind("jwt=") > target.find("w=500"), "{target}");
    assert_eq!(opened(token(&target)).1["args"], json!({ "text": "Hello!" }));
    gate.get(&target, &[]).expect(200);
    let asked = origin.last().target;
    assert!(
        asked.contains("w=500") && asked.ends_with("&text=Hello%21"),
        "{asked}"
    );
    // They are the recipient's to change.
    gate.get(&target.replace("w=500", "w=1"), &[]).expect(200);
    assert!(origin.last().target.contains("w=1&"));
}

#[test]
fn s5_what_is_asked_wrongly_is_400_and_every_mistake_is_told() {
    let (_origin, gate) = start();
    let long = format!("/{}", "a".repeat(1024));
    for body in [
        json!({ "filename": "a.jpg", "expiresIn": 60 }),
        json!({ "filename": long, "expiresIn": 60 }),
        json!({ "expiresIn": 60 }),
        json!({ "filename": "/a.jpg" }),
        json!({ "filename": "/a.jpg", "expiresIn": "60" }),
        json!({ "filename": "/a.jpg", "expiresIn": null }),
        json!({ "filename": "/a.jpg", "expiresIn": 0 }),
        json!({ "filename": "/a.jpg", "expiresIn": -1 }),
        json!({ "filename": "/a.jpg", "expiresIn": 1.5 }),
        json!({ "filename": "/a.jpg", "expiresIn": u64::MAX }),
        json!({ "filename": "/a.jpg", "expiresIn": 400 * 86_400 }),
        json!({ "filename": "/a.jpg", "expiresIn": 60, "secureparams": {} }),
        json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": "w=1" }),
        json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": { "w": { "x": 1 } } }),
        json!({ "filename": "/a.jpg", "expiresIn": 60, "insecureParams": { "jwt": "x" } }),
        json!({ "filename": "/a.jpg\r\nX: y", "expiresIn": 60 }),
        json!({ "filename": "/a/../b", "expiresIn": 60 }),
        json!({ "filename": "/a%2fb", "expiresIn": 60 }),
    ] {
        let answer = ask(&gate, &body);
        let body = refused(&answer, 400, "Bad Request");
        assert_eq!(body["message"], "Supplied data is not valid");
        let errors = body["validationErrors"].as_array().unwrap();
        assert!(
            !errors.is_empty() && errors.iter().all(|error| error["message"].is_string()),
            "{body}"
        );
    }
    for text in [
        "",
        "[]",
        "x",
        "{\"filename\":NaN}",
        "{\"filename\":\"/a.jpg\",\"filename\":\"/b.jpg\",\"expiresIn\":60}",
        "{\"filename\":\"/a.jpg\",\"expiresIn\":60,\"secureParams\":{\"w\":1,\"w\":2}}",
        "{\"filename\":\"/a.jpg\",\"expiresIn\":NaN}",
    ] {
        refused(&ask_as(&gate, "svc", text), 400, "Bad Request");
    }
    let told = ask(
        &gate,
        &json!({ "filename": 1, "expiresIn": 0, "secureParams": [], "x": "secret-of-mine" }),
    );
    assert_eq!(told.json()["validationErrors"].as_array().unwrap().len(), 4);
    assert!(
        !told.text().contains("secret-of-mine"),
        "nothing of the request is repeated"
    );
}

#[test]
fn s6_the_empty_object_of_the_documentation_is_400() {
    let (_origin, gate) = start();
    let answer = ask(&gate, &json!({}));
    let body = refused(&answer, 400, "Bad Request");
    let expected = json!([{ "message": "filename: is required" }, { "message": "expiresIn: is required" }]);
    assert_eq!(body["validationErrors"], expected);
}

#[test]
fn s7_without_a_good_bearer_it_is_401() {
    let (_origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string();
    let caller = || Token::caller("svc", "files:read");
    for value in [
        None,
        Some("Basic dTpw".to_owned()),
        Some("Bearer".into()),
        Some(caller().expires(NOW - 60).bearer()),
        Some(caller().key(mint::STRANGER).bearer()),
        Some(format!("Bearer {}", tampered(&caller().text()))),
        // A token of a link is no bearer.
        Some(format!("Bearer {}", opening("/"))),
    ] {
        let headers: Vec<(&str, &str)> = value.iter().map(|value| ("Authorization", &**value)).collect();
        let answer = post(&gate, FILES, &headers, &body);
        refused(&answer, 401, "Unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let poor = Token::caller("svc", "other").bearer();
    refused(
        &post(&gate, FILES, &[("Authorization", &poor)], &body),
        403,
        "Forbidden",
    );
}

#[test]
fn s8_an_alias_has_its_own_host_and_keys_and_an_unknown_one_is_400() {
    let (_origin, gate) = start();
    let url = |alias: &str| {
        let body = json!({ "filename": "/a.jpg", "expiresIn": 60, "alias": alias });
        ask(&gate, &body).expect(200).json()["url"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let demo = url("demo");
    assert!(demo.starts_with("https://demo.sirv.example/a.jpg?jwt="), "{demo}");
    forbidden(gate.get(&format!("/a.jpg?jwt={}", token(&demo)), &[]));
    let mirror = url("mirror");
    assert!(
        mirror.starts_with("https://mirror.example/a.jpg?jwt="),
        "{mirror}"
    );
    gate.get(&format!("/a.jpg?jwt={}", token(&mirror)), &[])
        .expect(200);
    for alias in ["other", "Demo", "demo.", "../demo"] {
        let body = json!({ "filename": "/a.jpg", "expiresIn": 60, "alias": alias });
        refused(&ask(&gate, &body), 400, "Bad Request");
    }
}

#[test]
fn s9_a_key_of_the_account_signs_and_any_other_is_403() {
    let (_origin, gate) = start();
    let body = |key: &str| json!({ "filename": "/a.jpg", "expiresIn": 60, "key": key });
    let by = |key: &str| token(&protected(&gate, &body(key))).to_owned();
    let payload = json!({ "iat": NOW, "exp": NOW + 60, "aud": "/a.jpg" });
    for key in [KEY, SECOND] {
        let (header, claims) = opened(&by(key));
        assert_eq!(claims, payload);
        assert_eq!(header, json!({ "alg": "HS256", "typ": "JWT" }));
        let text = format!("{{\"iat\":{NOW},\"exp\":{},\"aud\":\"/a.jpg\"}}", NOW + 60);
        let expected = mint::raw(r#"{"alg":"HS256","typ":"JWT"}"#, &text, key.as_bytes());
        assert_eq!(by(key), expected, "trap 9: the key is the text itself");
        gate.get(&format!("/a.jpg?jwt={expected}"), &[]).expect(200);
    }
    let default = protected(&gate, &json!({ "filename": "/a.jpg", "expiresIn": 60 }));
    assert_eq!(token(&default), by(KEY));
    let near = format!("{}x", &KEY[..KEY.len() - 1]);
    for key in [DEMO, "x", &near, &KEY[1..], &"k".repeat(1000)] {
        let answer = ask(&gate, &body(key));
        refused(&answer, 403, "Forbidden");
        assert!(!answer.text().contains(key) || key == "x", "{answer:?}");
    }
    let of_demo = json!({ "filename": "/a.jpg", "expiresIn": 60, "alias": "demo", "key": DEMO });
    ask(&gate, &of_demo).expect(200);
    let of_other = json!({ "filename": "/a.jpg", "expiresIn": 60, "alias": "demo", "key": KEY });
    refused(&ask(&gate, &of_other), 403, "Forbidden");
}

#[test]
fn s18_a_year_is_fine_unless_the_rule_says_less() {
    let (_origin, gate) = start();
    let target = protected(&gate, &json!({ "filename": "/docs/", "expiresIn": 31_536_000 }));
    gate.advance(31_536_000);
    gate.get(&target.replace("/docs/?", "/docs/a.pdf?"), &[])
        .expect(200);
    gate.advance(5);
    forbidden(gate.get(&target.replace("/docs/?", "/docs/a.pdf?"), &[]));
    let (_origin, gate) = start();
    let year = json!({ "filename": "/docs/a.pdf", "expiresIn": 31_536_000 }).to_string();
    let body = refused(&ask_as(&gate, "narrow", &year), 400, "Bad Request");
    assert_eq!(
        body["validationErrors"],
        json!([{ "message": "expiresIn: At most 3600 seconds." }])
    );
}

#[test]
fn s20_every_answer_says_what_is_left_in_the_hour_and_more_is_429() {
    let (_origin, setup) = setup_with(SCHEME, "per_hour = 3\n");
    let gate = setup.start();
    let good = json!({ "filename": "/a.jpg", "expiresIn": 60 });
    gate.advance(7);
    let end = NOW + 7 + 3600;
    assert_eq!(left(&ask(&gate, &good).expect(200)), [3, 2, end]);
    gate.advance(10);
    assert_eq!(left(&ask(&gate, &json!({})).expect(400)), [3, 1, end]);
    // Another caller has an hour of its own.
    assert_eq!(
        left(&ask_as(&gate, "other", &good.to_string()).expect(200)),
        [3, 2, end + 10]
    );
    assert_eq!(left(&ask(&gate, &good).expect(200)), [3, 0, end]);
    let answer = ask(&gate, &good);
    let body = refused(&answer, 429, "Too Many Requests");
    assert_eq!(
        body["message"],
        "Rate limit exceeded. Retry after 2026-01-01T01:00:07.000Z (UTC)"
    );
    assert_eq!(
        (answer.header("retry-after"), left(&answer)),
        (Some("3590"), [3, 0, end])
    );
    gate.advance(3590);
    assert_eq!(left(&ask(&gate, &good).expect(200)), [3, 2, end + 3600]);
    // Who does not say who it is, is counted by its address.
    for remaining in [2, 1, 0] {
        let answer = post(&gate, FILES, &[], "{}");
        refused(&answer, 401, "Unauthorized");
        assert_eq!(left(&answer)[1], remaining);
    }
    refused(&post(&gate, FILES, &[], "{}"), 429, "Too Many Requests");
    ask(&gate, &good).expect(200);
}

#[test]
fn s20_the_limit_of_the_rule_is_told_in_the_same_words() {
    let (_origin, gate) = start();
    let good = json!({ "filename": "/docs/a.pdf", "expiresIn": 60 }).to_string();
    for remaining in [6999, 6998] {
        assert_eq!(
            left(&ask_as(&gate, "narrow", &good).expect(200)),
            [7000, remaining, NOW + 3600]
        );
    }
    let answer = ask_as(&gate, "narrow", &good);
    let body = refused(&answer, 429, "Too Many Requests");
    assert_eq!(
        body["message"],
        "Rate limit exceeded. Retry after 2026-01-01T00:00:30.000Z (UTC)"
    );
    assert_eq!(answer.header("retry-after"), Some("30"));
}

#[test]
fn s20_a_reload_forgets_no_count() {
    let (_origin, setup) = setup_with(SCHEME, "per_hour = 3\n");
    let gate = setup.start();
    let good = json!({ "filename": "/a.jpg", "expiresIn": 60 });
    ask(&gate, &good).expect(200);
    gate.edit("per_hour = 3\n", "per_hour = 2\n").reload();
    assert_eq!(left(&ask(&gate, &good).expect(200)), [2, 0, NOW + 3600]);
    ask(&gate, &good).expect(429);
}

#[test]
fn s21_the_url_is_percent_encoded() {
    let (origin, gate) = start();
    origin.file("/REST%20API%20Examples/%C3%A4%20%26%20%25.jpg", "x");
    let target = protected(
        &gate,
        &json!({ "filename": "/REST API Examples/ä & %.jpg", "expiresIn": 60 }),
    );
    assert!(
        target.starts_with("/REST%20API%20Examples/%C3%A4%20&%20%25.jpg?jwt="),
        "{target}"
    );
    assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "{target}");
    assert_eq!(opened(token(&target)).1["aud"], "/REST API Examples/ä & %.jpg");
    gate.get(&target, &[]).expect(200);
}

#[test]
fn the_rule_says_which_paths_a_caller_may_hand_out() {
    let (_origin, gate) = start();
    let ask = |filename: &str| {
        gate.advance(60);
        ask_as(
            &gate,
            "narrow",
            &json!({ "filename": filename, "expiresIn": 60 }).to_string(),
        )
    };
    for filename in ["/docs/", "/docs/a.pdf", "/docs/x/", "/docs/x/b", "/p/a.jpg"] {
        ask(filename).expect(200);
    }
    for filename in [
        "/",
        "/docs",
        "/doc",
        "/docs2/",
        "/docs2/a",
        "/p/",
        "/p/a.jpg.bak",
        "/p/a",
    ] {
        refused(&ask(filename), 403, "Forbidden");
    }
    let once = ask_as(
        &gate,
        "once",
        &json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string(),
    );
    refused(&once, 403, "Forbidden");
}

#[test]
fn other_methods_types_and_sizes_are_refused_in_the_same_shape() {
    let (_origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string();
    for path in [FILES, BEARER] {
        for method in ["GET", "PUT", "DELETE"] {
            let mut client = told(gate.connect_issuer());
            let answer = ask_over(&mut client, method, path, &[], b"");
            refused(&answer, 405, "Method Not Allowed");
            assert_eq!(answer.header("allow"), Some("POST"));
            left(&answer);
        }
    }
    let bearer = bearer("svc");
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", media_type)];
        let mut client = told(gate.connect_issuer());
        let answer = ask_over(&mut client, "POST", FILES, &headers, body.as_bytes());
        refused(&answer, 415, "Unsupported Media Type");
    }
    let twice = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    refused(&post(&gate, FILES, &twice, &body), 415, "Unsupported Media Type");
    let large = format!(
        "{{\"filename\":\"/a.jpg\",\"expiresIn\":60,\"alias\":\"{}\"}}",
        "x".repeat(70_000)
    );
    refused(&ask_as(&gate, "svc", &large), 413, "Payload Too Large");
    let wide = json!({ "filename": "/a.jpg", "expiresIn": 60, "insecureParams": { "x": "x".repeat(9000) } });
    refused(&ask(&gate, &wide), 400, "Bad Request");
    let heavy = json!({ "filename": "/a.jpg", "expiresIn": 60, "secureParams": { "x": "x".repeat(6000) } });
    refused(&ask(&gate, &heavy), 400, "Bad Request");
}

#[test]
fn the_addresses_answer_on_the_gates_listener_where_a_route_mounts_them() {
    let (origin, gate) = start();
    let mut client = told(gate.connect());
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", &bearer("svc")),
    ];
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string();
    let answer = ask_over(&mut client, "POST", FILES, &headers, body.as_bytes()).expect(200);
    gate.get(&target(&answer), &[]).expect(200);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_listed_origin_may_read_and_send_its_credentials_which_say_nothing() {
    let (_origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60 }).to_string();
    let bearer = bearer("svc");
    let ask = |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Authorization", &bearer),
            ("Cookie", "session=x"),
        ];
        post(&gate, FILES, &headers, &body).expect(200)
    };
    let answer = ask("https://app.example.com");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let exposed: Vec<&str> = answer.all("access-control-expose-headers").collect();
    assert!(
        LEFT.iter().all(|name| exposed.join(", ").contains(name)),
        "{exposed:?}"
    );
    let other = ask("https://evil.example");
    for name in ["access-control-allow-origin", "access-control-allow-credentials"] {
        assert_eq!(other.header(name), None);
    }
    let headers = [
        ("Origin", "https://app.example.com"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    let preflight = gate.ask("OPTIONS", FILES, &headers, b"").expect(204);
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("POST"));
}

#[test]
fn nothing_secret_is_in_the_log_and_a_token_has_one_name() {
    let (_origin, gate) = start();
    let body = json!({ "filename": "/a.jpg", "expiresIn": 60, "key": KEY });
    let target = protected(&gate, &body);
    gate.get(&target, &[]).expect(200);
    sign_in(&gate, &json!({ "clientId": "backend", "clientSecret": SECRET })).expect(200);
    let lines = gate.access(3);
    let of = |door: &str| lines.iter().find(|line| line["door"] == door).expect(door);
    let made = lines.iter().find(|line| line["sub"] == "svc").expect("the maker");
    assert_eq!(made["token_id"], of("gate")["token_id"]);
    assert!(made["token_id"].is_string() && made["door"] == "issuer", "{made}");
    let text = gate.access_text() + &crate::support::gate::operational_log();
    for secret in [token(&target), KEY, SECRET] {
        assert!(!text.contains(secret));
    }
}

#[test]
fn configurations_that_would_open_too_much_are_refused() {
    let of = |route: &str, from: &str, to: &str| {
        let origin = Origin::start();
        let text = toml(&origin, route, "", "");
        assert!(text.contains(from), "{from}");
        secrets(Setup::new(text.replacen(from, to, 1))).refused()
    };
    let jwt = format!("{SCHEME}[route.scheme.jwt]\nkeys = \"media\"\nissuer = \"x\"\naudience = \"y\"\n");
    let same = "[[issuer.callers]]\nkeys = \"callers\"";
    for (route, from, to, told) in [
        (jwt.as_str(), "", "", "their tokens look alike"),
        (
            SCHEME,
            same,
            "[[issuer.callers]]\nkeys = \"sirv\"",
            "issuer.callers[0].keys: are for Sirv tokens too",
        ),
        // Under another name it is the same secret.
        (
            SCHEME,
            same,
            "[[keys.alias.inline]]\nalg = \"HS256\"\nsecret = { file = \"{dir}/sirv.key\" }\n\
             [[issuer.callers]]\nkeys = \"alias\"",
            "issuer.callers[0].keys: are for Sirv tokens too",
        ),
        (
            SCHEME,
            "[issuer]\n",
            "[landing]\nkeys = \"demo\"\nissuer = \"x\"\n[issuer]\n",
            "landing.keys: are for Sirv tokens too",
        ),
        (
            "[route.scheme.sirv]\nkeys = \"nothing\"\n",
            "",
            "",
            "there is no key set \"nothing\"",
        ),
        (
            "[route.scheme.sirv]\n",
            "",
            "",
            "route[0].scheme.sirv.keys: missing",
        ),
        (
            "[route.scheme.sirv]\nkeys = \"ed\"\n[keys.ed]\nfile = \"{dir}/ed.json\"\ngenerate = \"EdDSA\"\n",
            "",
            "",
            "no HS256 key",
        ),
        (
            SCHEME,
            "url = \"https://mirror.example\"",
            "url = \"https://mirror.example/x\"",
            "has a path or a query",
        ),
        (
            SCHEME,
            "[issuer.sirv]\nkeys = \"sirv\"\n",
            "[issuer.sirv]\nkeys = \"sirv\"\nper_hour = 0\n",
            "nobody may ask",
        ),
        (
            SCHEME,
            "callers_file = \"callers.toml\"\n",
            "",
            "needs `issuer.callers_file`",
        ),
        (
            SCHEME,
            "[issuer.sirv_bearer]\n",
            "[issuer.sirv_bearer]\ntries_per_account = 0\n",
            "nobody can sign in",
        ),
    ] {
        let errors = of(route, from, to);
        assert!(errors.contains(told), "{told}: {errors}");
    }
}
