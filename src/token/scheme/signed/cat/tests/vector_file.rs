//! The published vectors.

use super::*;

const FILE: &str = include_str!("../../../../../../tests/vectors/cat.json");

fn file() -> Value {
    serde_json::from_str(FILE).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    matching::unhex(text).unwrap()
}

fn keys(keys: &Value) -> NamedKeys<CatKey> {
    let mut all = Vec::new();
    let kinds = [
        ("mac", Algorithm::Hmac256),
        ("es256_public_pem", Algorithm::Es256),
        ("ps256_public_pem", Algorithm::Ps256),
    ];
    for (kind, algorithm) in kinds {
        for (name, material) in keys[kind].as_object().unwrap() {
            let material = material.as_str().unwrap();
            let bytes = match algorithm {
                Algorithm::Hmac256 => unhex(material),
                _ => material.as_bytes().to_vec(),
            };
            let key = CatKey::build(algorithm, &Secret::new(bytes)).unwrap();
            all.push((name.as_str().into(), key, None));
        }
    }
    NamedKeys::new(all)
}

fn scheme(case: &Case<'_>) -> Cat {
    let in_path = case.profile.get("like").is_some();
    Cat::new(Rules {
        issuers: Box::new([ISSUER.into()]),
        audiences: Box::new(["media.example.com".into()]),
        path_segment: in_path,
        ..Rules::new(keys(case.keys), log_key())
    })
}

/// Calls `each` with the cases of the file.
fn cases(mut each: impl FnMut(&Case<'_>)) {
    let file = file();
    for json in file["cases"].as_array().unwrap() {
        each(&Case {
            json,
            profile: &file["profiles"][json["profile"].as_str().unwrap()],
            keys: &file["keys"],
        });
    }
}

/// The token as `take` finds it.
fn token_of(case: &Case<'_>) -> String {
    let request = case.request();
    let head = Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let taken = scheme(case).take(head).unwrap().unwrap();
    taken.parts[0].to_string()
}

#[test]
fn all_vectors_are_decided_as_the_file_says() {
    let count = vectors::run(FILE, &[], |case| {
        let alone = case.json.get("sequence").is_none();
        alone.then(|| (Box::new(scheme(case)) as Box<dyn SignedRequest>, Duration::ZERO))
    });
    let mut sequences = 0;
    let mut spent = HashSet::new();
    cases(|case| {
        let Some(sequence) = case.json.get("sequence") else {
            return;
        };
        sequences += 1;
        let judged = case.request().judge(&scheme(case), Duration::ZERO);
        let (claims, _) = judged.unwrap();
        assert!(claims.id.is_some());
        // As the store does: only what may be used once is kept.
        let first = !claims.uses.is_once() || spent.insert((sequence.to_string(), claims.token_id));
        assert_eq!(first, case.text("expect") == "allow", "{}", case.text("name"));
    });
    assert_eq!((count, sequences), (95, 4));
    assert_eq!(count + sequences, file()["cases"].as_array().unwrap().len());
}

#[test]
fn the_vectors_upstream_is_what_the_origin_is_asked() {
    let mut count = 0;
    cases(|case| {
        let Some(upstream) = case.json.get("upstream") else {
            return;
        };
        count += 1;
        let judged = case.request().judge(&scheme(case), Duration::ZERO);
        assert_eq!(judged.unwrap().1.as_str(), upstream.as_str().unwrap());
    });
    assert_eq!(count, 1);
}

#[test]
fn the_vectors_tokens_are_renewed_when_it_is_time() {
    let mut count = 0;
    cases(|case| {
        let Some(expected) = case.json.get("renew") else {
            return;
        };
        count += 1;
        let scheme = scheme(case);
        let judged = case.request().judge(&scheme, Duration::ZERO);
        let renewal = judged.unwrap().0.renewal;
        if expected.is_null() {
            assert_eq!(renewal, None);
            return;
        }
        let renewal = renewal.unwrap();
        let value = renewal.value.to_str().unwrap();
        let token = match expected["transport"].as_str().unwrap() {
            "header" => {
                assert_eq!(renewal.header, "cta-common-access-token");
                value
            }
            _ => {
                assert_eq!(renewal.header, "set-cookie");
                let (token, attributes) = value.split_once("; ").unwrap();
                assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=120");
                token.strip_prefix("CTA-Common-Access-Token=").unwrap()
            }
        };
        let (old, _) = case.request().judge(&scheme, Duration::ZERO).unwrap();
        let (claims, _) = with(token).judge(&scheme, Duration::ZERO).unwrap();
        let end = UnixTime::from_secs(expected["exp"].as_i64().unwrap());
        assert_eq!((claims.expires, claims.issued), (Some(end), old.issued));
        assert!(old.issued.is_some_and(|issued| issued < now()));
        // No sooner than it has to be.
        assert_eq!(claims.renewal, None);
    });
    assert_eq!(count, 3);
}

/// What `sign` makes of a wish is the token of the file.
#[test]
fn vectors_are_minted_back_from_wishes() {
    type Made = (&'static str, Place, bool, Option<Opens>);
    let show = || Some(Opens::Prefix("/videos/show1/".into()));
    let wanted: [Made; 9] = [
        ("header", Place::Header, true, show()),
        ("cookie", Place::Cookie, true, show()),
        ("query", Place::Url, true, show()),
        ("query_lower_name", Place::Url, true, show()),
        ("query_and_own", Place::Url, true, show()),
        ("path", Place::Url, true, show()),
        ("second_key", Place::Header, true, show()),
        ("catu_path_prefix", Place::Header, false, show()),
        ("catu_path_exact", Place::Header, false, None),
    ];
    let mut count = 0;
    cases(|case| {
        let name = case.text("name");
        let Some((_, place, hosted, opens)) = wanted.iter().find(|(wanted, ..)| *wanted == name) else {
            return;
        };
        count += 1;
        let mut scheme = scheme(case);
        if name == "second_key" {
            let material = case.keys["mac"]["cat-hs-2"].as_str().unwrap();
            let key = CatKey::build(Algorithm::Hmac256, &Secret::new(unhex(material))).unwrap();
            scheme.rules.keys = named([("cat-hs-2", key)]);
        }
        if name == "query_lower_name" {
            scheme.rules.queries = Box::new(["cat".into()]);
        }
        if name == "path" {
            scheme.rules.queries = Box::default();
        }
        let judged = case.request().judge(&self::scheme(case), Duration::ZERO);
        let (target, public) = (judged.unwrap().1, public());
        let wish = Wish {
            opens: opens.as_ref(),
            ..wish(&target, hosted.then_some(&public), *place)
        };
        let token = token_of(case);
        let (url, path) = (case.text("url"), target.encoded_path());
        match scheme.sign(&wish).unwrap() {
            Signed::Header(header, made) => {
                assert_eq!((&*header, made), ("cta-common-access-token", token), "{name}");
            }
            Signed::Cookies(made) => {
                assert_eq!(made, [(NAME.to_owned(), token)], "{name}");
            }
            Signed::Url(made) if name == "path" => {
                assert_eq!(url, format!("https://media.example.com{made}"));
                assert_eq!(made, format!("/{token}{path}"));
            }
            // Ours follows the client's own parameters.
            Signed::Url(made) if name == "query_and_own" => {
                assert_eq!(made, format!("{path}?v=2&CAT={token}"));
            }
            Signed::Url(made) => assert_eq!(url, format!("https://media.example.com{made}")),
        }
    });
    assert_eq!(count, wanted.len());
}

/// The claims of each allowed MAC token, encoded and sealed again, are the token of the file.
#[test]
fn vectors_are_sealed_back_byte_for_byte() {
    let others = [
        (
            "aud_ok",
            "aud stands behind exp, which is not the deterministic order",
        ),
        (
            "aud_list",
            "aud stands behind exp, which is not the deterministic order",
        ),
        ("no_cwt_tag", "has no tag 61, and ours has"),
        (
            "kid_protected",
            "its kid is in the protected header, and ours is not",
        ),
        ("no_kid", "has no kid, and ours has"),
    ];
    let (mut same, mut different) = (0, 0);
    cases(|case| {
        let name = case.text("name");
        if case.text("expect") != "allow" {
            return;
        }
        let bytes = cwt::decode(&token_of(case)).unwrap();
        let envelope = cwt::open(&bytes).unwrap();
        if envelope.algorithm != Algorithm::Hmac256 {
            // Their private keys are not in the file.
            assert!(matches!(name, "es256" | "ps256"));
            return;
        }
        let keys = keys(case.keys);
        let kid = envelope.kid.unwrap_or(b"cat-hs-1");
        let key = keys.named(std::str::from_utf8(kid).unwrap(), now()).unwrap();
        let claims = cbor::read(envelope.payload).unwrap();
        let sealed = cwt::seal(key, &claims.encode()).unwrap();
        let equal = cwt::decode(&sealed).unwrap() == bytes;
        let excused = others.iter().any(|(other, _)| *other == name);
        assert_ne!(equal, excused, "{name}");
        match equal {
            true => same += 1,
            false => different += 1,
        }
    });
    assert_eq!((same, different), (40, others.len()));
}
