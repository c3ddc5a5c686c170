//! Attacks on tokens: algorithms, types, keys, audiences, spellings, caches, comparisons, oracles.

use std::path::Path;

use aws_lc_rs::digest;
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
use regex::Regex;
use serde_json::{Value, json};

use crate::support::mint::{self, Ed25519, MEDIA, b64, hs256, jwks, raw};
use crate::support::{Gate, NOW, Origin, Setup, Token, conf};

fn gate() -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    (origin, gate)
}

fn refused(gate: &Gate, what: &str, token: &str) {
    for target in [
        format!("/a?t={}", token.replace('+', "%2B").replace('=', "%3D")),
        format!("/~{token}/a"),
    ] {
        let answer = gate.get(&target, &[]);
        assert!(answer.status == 401, "{what}: {answer:?}");
    }
}

#[test]
fn p13_unsecured_tokens_are_refused_however_they_are_spelled() {
    let (origin, gate) = gate();
    let claims = Token::whole().claims().to_string();
    for alg in ["none", "None", "NONE", "nOnE", "", " none", "none ", "null"] {
        let header = json!({ "typ": "JWT", "alg": alg, "kid": MEDIA.kid }).to_string();
        let unsigned = format!("{}.{}.", b64(&header), b64(&claims));
        refused(&gate, alg, &unsigned);
        refused(&gate, alg, &raw(&header, &claims, MEDIA.secret));
        refused(&gate, alg, &raw(&header, &claims, b""));
    }
    for header in [
        json!({ "typ": "JWT", "kid": MEDIA.kid }),
        json!({ "alg": null, "kid": MEDIA.kid }),
        json!({ "alg": ["HS256"], "kid": MEDIA.kid }),
        json!({ "alg": 256, "kid": MEDIA.kid }),
        json!({ "alg": "hs256", "kid": MEDIA.kid }),
        json!({ "alg": "HS384", "kid": MEDIA.kid }),
        json!({ "alg": "HS256 ", "kid": MEDIA.kid }),
    ] {
        refused(
            &gate,
            &header.to_string(),
            &hs256(&header, Token::whole().claims(), MEDIA.secret),
        );
    }
    origin.untouched();
}

#[test]
fn p13_a_public_key_is_no_hmac_secret() {
    let origin = Origin::start();
    let ed = Ed25519::from_seed("ed-1", 1);
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let pem = rsa.public_key_pem();
    let rsa_route = conf::route_with("rsa", "/rsa", "").replace("keys = \"media\"", "keys = \"rsa\"");
    let toml = conf::http(origin.address())
        + "[keys.rsa]\nfile = \"{dir}/rsa.pem\"\nalg = \"RS256\"\nkid = \"rsa-1\"\n"
        + &conf::route()
        + &rsa_route;
    let gate = Setup::new(toml)
        .file("media.jwks.json", jwks(&[ed.jwk()]))
        .file("rsa.pem", &pem)
        .start();
    let claims = Token::whole().claims().clone();
    gate.get(&format!("/a?t={}", ed.sign(&claims)), &[]).expect(200);
    let secrets: Vec<(&str, &str, Vec<u8>)> = vec![
        ("/a", "ed-1", ed.public().to_vec()),
        ("/a", "ed-1", b64(ed.public()).into_bytes()),
        ("/a", "ed-1", ed.jwk().to_string().into_bytes()),
        ("/rsa/a", "rsa-1", pem.clone().into_bytes()),
        ("/rsa/a", "rsa-1", pem.trim_end().as_bytes().to_vec()),
        ("/rsa/a", "rsa-1", pem.replace('\n', "\r\n").into_bytes()),
        ("/rsa/a", "rsa-1", rsa.der_bytes().to_vec()),
        ("/rsa/a", "rsa-1", rsa.subject_public_key_info()),
    ];
    for (path, kid, secret) in secrets {
        for header in [
            json!({ "typ": "JWT", "alg": "HS256", "kid": kid }),
            json!({ "typ": "JWT", "alg": "HS256" }),
        ] {
            let forged = hs256(&header, &claims, &secret);
            let answer = gate.get(&format!("{path}?t={forged}"), &[]);
            answer.refused(401, "token_invalid");
        }
    }
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn p13_every_forgery_gets_the_same_answer() {
    let (_origin, gate) = gate();
    let whole = Token::whole();
    let forged = [
        whole.clone().key(mint::STRANGER).text(),
        whole.clone().header("alg", "none").text(),
        whole.clone().header("kid", "nobody").text(),
        whole.clone().claim("aud", "other").text(),
        whole.clone().claim("iss", "https://evil.test").text(),
        mint::tampered(&whole.text()),
    ];
    let answers: Vec<_> = forged
        .iter()
        .map(|token| {
            let answer = gate.get(&format!("/a?t={token}"), &[]);
            let headers: Vec<_> = answer
                .headers
                .iter()
                .filter(|(name, _)| name != "date")
                .cloned()
                .collect();
            (answer.status, headers, answer.text())
        })
        .collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}

#[test]
fn p14_times_of_another_type_refuse_the_token() {
    let (origin, gate) = gate();
    let with = |name: &str, value: &str| {
        let mut claims = Token::whole().claims().clone();
        claims.as_object_mut().unwrap().remove(name);
        let text = claims.to_string();
        raw(
            &MEDIA.header().to_string(),
            &format!("{{\"{name}\":{value},{}", &text[1..]),
            MEDIA.secret,
        )
    };
    let future = NOW + 100;
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "\"9999999999\"",
            "\"never\"",
            "null",
            "true",
            "[1]",
            "{}",
            "1e400",
            "\"\"",
            &format!("\"{future}\""),
        ] {
            refused(&gate, &format!("{name}={value}"), &with(name, value));
        }
    }
    for value in [
        "-1",
        "0",
        "1e1",
        "-1e300",
        "1e308",
        "99999999999999999999999999",
        "9223372036854775808",
    ] {
        let token = with("exp", value);
        let answer = gate.get(&format!("/a?t={token}"), &[]);
        assert_eq!(answer.status, 401, "exp={value}: {answer:?}");
    }
    for value in [
        "1e308",
        "9999999999999",
        "9223372036854775807",
        "18446744073709551616",
    ] {
        refused(&gate, &format!("nbf={value}"), &with("nbf", value));
    }
    origin.untouched();
}

#[test]
fn p14_other_claims_of_another_type_refuse_the_token() {
    let (origin, gate) = gate();
    for (name, value) in [
        ("iss", json!(["https://issuer.test"])),
        ("iss", json!(1)),
        ("iss", Value::Null),
        ("aud", json!({ "media": true })),
        ("aud", json!([["media"]])),
        ("aud", json!(["media", 1])),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("sub", json!(42)),
        ("sub", json!(["customer-42"])),
        ("jti", json!(1)),
        ("methods", json!("GET")),
        ("methods", json!([1])),
        ("methods", json!(["BREW"])),
        ("ips", json!("127.0.0.1/33")),
        ("ips", json!(["not an address"])),
        ("ips", json!([1])),
        ("filename", json!(1)),
        ("filename", json!(["a"])),
        ("args", json!("w=1")),
        ("args", json!([1])),
        ("args", json!({ "w": { "x": 1 } })),
        ("args", json!({ "w": [1, 2] })),
        ("uses", json!("1")),
        ("rate", json!("fast")),
        ("streams", json!(-1)),
    ] {
        refused(
            &gate,
            &format!("{name}={value}"),
            &Token::whole().claim(name, value).text(),
        );
    }
    origin.untouched();
}

#[test]
fn p14_a_name_that_stands_twice_refuses_the_token() {
    let (origin, gate) = gate();
    let claims = Token::whole().claims().to_string();
    let header = MEDIA.header().to_string();
    let (past, future) = (NOW - 1000, NOW + 1000);
    for addition in [
        format!("\"exp\":{past}"),
        format!("\"exp\":{future}"),
        format!("\"\\u0065xp\":{future}"),
        "\"sub\":\"customer-43\"".into(),
        "\"paths\":[\"/other\"]".into(),
        "\"aud\":\"other\"".into(),
        "\"x\":1,\"x\":2".into(),
        "\"x\":{\"y\":1,\"y\":2}".into(),
    ] {
        refused(
            &gate,
            &addition,
            &raw(&header, &format!("{{{addition},{}", &claims[1..]), MEDIA.secret),
        );
        let end = format!("{},{addition}}}", &claims[..claims.len() - 1]);
        refused(&gate, &addition, &raw(&header, &end, MEDIA.secret));
    }
    for addition in [
        "\"alg\":\"none\"",
        "\"alg\":\"HS256\"",
        "\"kid\":\"other\"",
        "\"x\":1,\"x\":2",
    ] {
        let twice = format!("{{{addition},{}", &header[1..]);
        refused(&gate, addition, &raw(&twice, &claims, MEDIA.secret));
    }
    origin.untouched();
}

#[test]
fn p14_payloads_that_are_no_object_are_refused() {
    let (origin, gate) = gate();
    let header = MEDIA.header().to_string();
    let claims = Token::whole().claims().to_string();
    for payload in [
        "",
        "null",
        "[]",
        "\"x\"",
        "1",
        "{",
        "{}",
        "{}{}",
        "\u{feff}{}",
        &format!("{claims} x"),
        &format!("[{claims}]"),
    ] {
        refused(&gate, payload, &raw(&header, payload, MEDIA.secret));
    }
    for bad in ["[]", "null", "\"HS256\"", "{", ""] {
        refused(&gate, bad, &raw(bad, &claims, MEDIA.secret));
    }
    let deep = format!(
        "{{\"x\":{}{},{}",
        "[".repeat(1500),
        "]".repeat(1500),
        &claims[1..]
    );
    let answer = gate.get(&format!("/a?t={}", raw(&header, &deep, MEDIA.secret)), &[]);
    assert_eq!(answer.status, 401, "{answer:?}");
    origin.untouched();
}

#[test]
fn p15_key_names_are_compared_and_nothing_else() {
    let (origin, gate) = gate();
    for kid in [
        "../../../dev/null",
        "/dev/null",
        "media-1' OR '1'='1",
        "media-1\0",
        "media-1 ",
        "MEDIA-1",
        "",
        "*",
        "http://127.0.0.1/jwks.json",
        &"k".repeat(4000),
    ] {
        for secret in [MEDIA.secret, b""] {
            let header = json!({ "typ": "JWT", "alg": "HS256", "kid": kid });
            refused(&gate, kid, &hs256(&header, Token::whole().claims(), secret));
        }
    }
    for kid in [json!(1), json!(null), json!(["media-1"]), json!({})] {
        let header = json!({ "typ": "JWT", "alg": "HS256", "kid": kid });
        refused(
            &gate,
            &kid.to_string(),
            &hs256(&header, Token::whole().claims(), MEDIA.secret),
        );
    }
    origin.untouched();
}

#[test]
fn p15_keys_that_a_token_brings_along_are_never_followed() {
    let origin = Origin::start();
    let keys = Origin::start();
    let own = Ed25519::from_seed("attacker", 9);
    keys.on("/jwks.json", crate::support::Script::ok(&[], jwks(&[own.jwk()])));
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    let url = format!("http://{}/jwks.json", keys.address());
    for (name, value) in [
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("jwk", own.jwk()),
        ("jwk", mint::STRANGER.jwk()),
        ("x5c", json!([b64(own.public())])),
        (
            "x5t",
            json!(b64(digest::digest(&digest::SHA256, own.public()).as_ref())),
        ),
    ] {
        let forged = Token::whole().header(name, value).key(mint::STRANGER).text();
        refused(&gate, name, &forged);
        let claims = b64(Token::whole().claims().to_string());
        let (_, rest) = own
            .sign(Token::whole().claims())
            .split_once('.')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        assert!(rest.starts_with(&claims));
        refused(&gate, name, &own.sign(Token::whole().claims()));
    }
    // A good signature beside such a header still causes no fetch.
    gate.get(&Token::whole().header("jku", url.as_str()).at("/a"), &[]);
    keys.untouched();
    assert!(origin.seen().len() <= 1);
}

#[test]
fn p16_tokens_of_another_service_or_kind_open_nothing() {
    let origin = Origin::start();
    let catalogue = "[media.store]\nfile = \"{dir}/catalogue.toml\"\n";
    let gate = Gate::start(
        conf::http(origin.address())
            + catalogue
            + &conf::route()
            + &conf::route_with("typed", "/typed", "").replace(
                "audience = \"media\"",
                "audience = \"media\"\ntyp = \"media+jwt\"",
            )
            + &conf::issuer(conf::RULE),
    );
    for (what, token) in [
        ("a caller's bearer", Token::caller("backend", "media:read")),
        (
            "a caller's bearer by our key",
            Token::caller("backend", "media:read")
                .key(MEDIA)
                .header("kid", MEDIA.kid),
        ),
        ("no audience", Token::whole().without("aud")),
        ("no issuer", Token::whole().without("iss")),
        ("another audience", Token::whole().claim("aud", "media2")),
        ("a shorter audience", Token::whole().claim("aud", "med")),
        ("another case", Token::whole().claim("aud", "Media")),
        ("an access token", Token::whole().header("typ", "at+jwt")),
        ("a logout token", Token::whole().header("typ", "logout+jwt")),
        ("a typ of another type", Token::whole().header("typ", 1)),
    ] {
        refused(&gate, what, &token.text());
    }
    origin.untouched();
    gate.get(
        &Token::whole().claim("aud", json!(["other", "media"])).at("/a"),
        &[],
    )
    .expect(200);
    gate.get(&Token::whole().header("typ", "media+jwt").at("/typed/a"), &[])
        .expect(200);
    gate.get(&Token::whole().at("/typed/a"), &[])
        .refused(401, "token_invalid");
    let answer = gate.ask(
        "POST",
        "/v1/tokens",
        &[("Authorization", &Token::whole().bearer())],
        b"{\"paths\":[\"/a\"]}",
    );
    assert_eq!(
        answer.status, 401,
        "a media token is no caller's bearer: {answer:?}"
    );
}

#[test]
fn p16_critical_headers_are_refused() {
    let (origin, gate) = gate();
    for crit in [
        json!(["exp"]),
        json!([]),
        json!(["b64"]),
        json!("exp"),
        json!(null),
    ] {
        refused(
            &gate,
            &crit.to_string(),
            &Token::whole()
                .header("crit", crit.clone())
                .header("b64", true)
                .text(),
        );
    }
    refused(
        &gate,
        "b64",
        &Token::whole()
            .header("crit", json!(["b64"]))
            .header("b64", false)
            .text(),
    );
    origin.untouched();
}

#[test]
fn p17_a_token_has_exactly_one_spelling() {
    let (origin, gate) = gate();
    let good = Token::whole().text();
    let (head, signature) = good.rsplit_once('.').unwrap();
    // The last letter of 32 bytes in base64url carries two unused bits.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sibling = alphabet.chars().nth(alphabet.find(last).unwrap() ^ 1).unwrap();
    let sloppy = format!("{head}.{}{sibling}", &signature[..signature.len() - 1]);
    for (what, token) in [
        ("unused bits", sloppy.as_str()),
        ("padding", &format!("{good}%3D")),
        ("double padding", &format!("{good}%3D%3D")),
        ("a dot behind", &format!("{good}.")),
        ("a part behind", &format!("{good}.junk")),
        ("a dot in front", &format!(".{good}")),
        ("a line feed behind", &format!("{good}%0a")),
        ("a line break behind", &format!("{good}%0d%0a")),
        ("a space behind", &format!("{good}%20")),
        ("a plus behind", &format!("{good}+")),
        ("a space in front", &format!("%20{good}")),
        ("a tab within", &good.replace('.', ".%09")),
        ("a null behind", &format!("{good}%00")),
        ("a word in front", &format!("Bearer%20{good}")),
        ("quotes", &format!("%22{good}%22")),
        ("two parts", head),
        ("no signature", &format!("{head}.")),
        ("a truncated signature", &good[..good.len() - 2]),
        ("a longer signature", &format!("{good}AAAA")),
        ("standard letters", &good.replace(['-', '_'], "%2B")),
        ("five parts", &format!("{good}.x.y")),
    ] {
        if token != good {
            let answer = gate.get(&format!("/a?t={token}"), &[]);
            assert_eq!(answer.status, 401, "{what}: {answer:?}");
        }
    }
    origin.untouched();
    for value in [format!("media={good}"), format!("media=\"{good}\"")] {
        gate.get("/a", &[("Cookie", &value)]).expect(200);
    }
}

#[test]
fn p18_a_verdict_from_the_cache_is_judged_by_the_clock_again() {
    let (origin, gate) = gate();
    let token = Token::whole().expires(NOW + 60).at("/a");
    let mut client = gate.connect();
    for _ in 0..50 {
        client.get(&token, &[]).expect(200);
    }
    gate.advance(65);
    client.get(&token, &[]).refused(401, "token_expired");
    assert_eq!(origin.seen().len(), 50);
}

#[test]
fn p18_a_verdict_from_the_cache_is_judged_by_scope_method_and_address_again() {
    let origin = Origin::start();
    let gate = Setup::new(conf::http(origin.address()) + &conf::route())
        .behind_a_proxy()
        .start();
    let token = Token::opening(&["/a"])
        .claim("ips", json!(["192.0.2.1"]))
        .claim("methods", json!(["GET"]));
    let mut client = gate.connect();
    let from = [("X-Forwarded-For", "192.0.2.1")];
    for _ in 0..3 {
        client.get(&token.at("/a"), &from).expect(200);
        client.get(&token.at("/b"), &from).refused(403, "scope_denied");
        client
            .get(&token.at("/a"), &[("X-Forwarded-For", "192.0.2.2")])
            .refused(403, "address_denied");
    }
    assert_eq!(origin.seen().len(), 3);
}

#[test]
fn p18_a_cached_verdict_of_one_route_does_not_count_on_another() {
    let origin = Origin::start();
    let gate = Gate::start(
        conf::http(origin.address())
            + &conf::route_with("one", "/one", "")
            + &conf::route_with("two", "/two", "").replace("audience = \"media\"", "audience = \"other\"")
            + &conf::route_with("three", "/three", "").replace("keys = \"media\"", "keys = \"download\""),
    );
    let token = Token::whole();
    let mut client = gate.connect();
    for _ in 0..3 {
        client.get(&token.at("/one/a"), &[]).expect(200);
        client.get(&token.at("/two/a"), &[]).refused(401, "token_invalid");
        client
            .get(&token.at("/three/a"), &[])
            .refused(401, "token_invalid");
    }
}

#[test]
fn p18_tokens_that_share_all_but_their_claims_have_verdicts_of_their_own() {
    let (_origin, gate) = gate();
    let mut client = gate.connect();
    let tokens: Vec<_> = (0..200)
        .map(|number| Token::opening(&[&format!("/file-{number}")]))
        .collect();
    for _ in 0..2 {
        for (number, token) in tokens.iter().enumerate() {
            client.get(&token.at(&format!("/file-{number}")), &[]).expect(200);
            client
                .get(&token.at(&format!("/file-{}", number + 1)), &[])
                .refused(403, "scope_denied");
        }
    }
}

#[test]
fn p21_secrets_are_never_compared_with_an_ordinary_comparison() {
    let secret = Regex::new(r"(?i-u)(\breveal\(\)|\b(secret|mac|tag|signature|password|presented)\w*(\.\w+(\(\))?)*)\s*(==|!=)|(==|!=)\s*&?(\w+\.)*(reveal\(\)|(secret|mac|tag|signature|password|presented)\b)").unwrap();
    for bad in [
        "if tag == expected {",
        "self.secret != other",
        "a == key.reveal()",
        "mac.as_ref() == b",
    ] {
        assert!(secret.is_match(bad), "{bad}");
    }
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 30, "the sources are there");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in product.lines().enumerate() {
            // Validators of files are no secrets.
            let code = line.split("//").next().unwrap().replace("tag == etag", "");
            assert!(
                !secret.is_match(&code),
                "{}:{}: {line}",
                file.display(),
                number + 1
            );
        }
    }
}

fn sources(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

#[test]
fn p23_a_refusal_never_tells_whether_the_file_exists() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    std::fs::write(folder.path().join("b/secret"), "x").unwrap();
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    let narrow = Token::opening(&["/a/**"]);
    for (what, token) in [
        ("a wrong scope", narrow.text()),
        ("an expired token", Token::whole().expires(NOW - 60).text()),
        ("a forged token", mint::tampered(&Token::whole().text())),
        ("no token", String::new()),
    ] {
        for headers in [
            &[][..],
            &[("Range", "bytes=0-0")],
            &[("If-None-Match", "*")],
            &[("If-Match", "\"x\"")],
        ] {
            let answers = ["/b/secret", "/b/absent", "/b", "/nowhere/at/all"].map(|path| {
                let target = if token.is_empty() {
                    path.to_owned()
                } else {
                    format!("{path}?t={token}")
                };
                let answer = gate.get(&target, headers);
                let headers: Vec<_> = answer
                    .headers
                    .iter()
                    .filter(|(name, _)| name != "date")
                    .cloned()
                    .collect();
                (answer.status, headers, answer.text())
            });
            assert!(answers[0].0 >= 400, "{what}: {answers:?}");
            assert!(
                answers.windows(2).all(|pair| pair[0] == pair[1]),
                "{what}: {answers:#?}"
            );
        }
    }
    gate.get(&Token::whole().at("/b/absent"), &[])
        .refused(404, "not_found");
    gate.get(&Token::whole().at("/b/secret"), &[]).expect(200);
}
