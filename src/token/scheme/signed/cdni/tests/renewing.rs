//! Renewed tokens: what the vectors say of them, and a chain of them.

use serde_json::json;

use super::*;
use crate::token::claims::Renewal;

/// A cookie's value and attributes.
fn cookie(renewal: &Renewal) -> (String, String, Vec<String>) {
    assert_eq!(renewal.header, "set-cookie");
    let mut parts = renewal.value.to_str().unwrap().split("; ").map(str::to_owned);
    let (name, value) = parts
        .next()
        .unwrap()
        .split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .unwrap();
    (name, value, parts.collect())
}

/// The profile's rules; where the file holds no private half of the key, with the issuer's other key.
fn signing(case: &Case<'_>) -> Rules {
    let mut rules = rules_of(case);
    if case.text("profile") != "official" {
        rules.signer = Some("CSP Example".into());
        rules.signing_kid = Some("legacy-hs".into());
    }
    rules
}

#[test]
fn tokens_of_the_vectors_are_renewed_as_published() {
    let (mut renewed, mut not) = (0, 0);
    let file = file();
    each_case(&file, |case| {
        let Some(wanted) = case.json.get("renew") else {
            return;
        };
        let name = case.text("name");
        let scheme = Cdni::new(signing(&case));
        let (claims, _) = case.request().judge(&scheme, Duration::ZERO).unwrap();
        if wanted.is_null() {
            assert_eq!(claims.renewal, None, "{name}");
            not += 1;
            return;
        }
        renewed += 1;
        assert_eq!(wanted["transport"], "cookie");
        let (cookie, token, attributes) = cookie(&claims.renewal.unwrap());
        assert_eq!(
            cookie,
            case.profile["cookie"].as_str().unwrap_or(ATTRIBUTE),
            "{name}"
        );
        let path = format!("Path={}", wanted["path"].as_str().unwrap());
        assert!(attributes.contains(&path), "{name}: {attributes:?}");
        // All of the old one but its end.
        let mut claims = payload(case.text("url").split_once(&format!("{ATTRIBUTE}=")).unwrap().1);
        claims["exp"] = wanted["exp"].clone();
        assert_eq!(payload(&token), claims, "{name}");
        // And it is good for the next request.
        let url = case.text("url").split(['?', '/']).collect::<Vec<_>>();
        let next = request(
            &format!("{}//{}/foo/bar/007.ts", url[0], url[2]),
            Some(&format!("{cookie}={token}")),
        );
        let next = Request {
            now: UnixTime::from_secs(case.json["now"].as_i64().unwrap() + 29),
            ..next
        };
        assert!(next.judge(&scheme, Duration::ZERO).is_ok(), "{name}");
    });
    assert_eq!((renewed, not), (3, 2));
}

#[test]
fn the_second_token_of_appendix_a_3_has_the_claims_that_ours_has() {
    let file = file();
    let mut published = None;
    let mut ours = None;
    each_case(&file, |case| match case.text("name") {
        "official_a3" => {
            // The appendix counts from the end of the first token.
            let request = Request {
                now: UnixTime::from_secs(1_646_867_369 - 1),
                ..case.request()
            };
            let (claims, _) = request.judge(&Cdni::new(signing(&case)), Duration::ZERO).unwrap();
            ours = Some(cookie(&claims.renewal.unwrap()).1);
        }
        "official_a3_next" => {
            let cookie = case.json["headers"]["Cookie"].as_str().unwrap();
            published = Some(cookie.split_once('=').unwrap().1.to_owned());
        }
        _ => {}
    });
    let text = |token: Option<String>| {
        let token = token.unwrap();
        let payload = token.split('.').nth(1).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    };
    // Byte for byte, order included, but for the second that passed.
    assert_eq!(text(ours), text(published).replace("1646867399", "1646867398"));
}

const URL: &str = "https://media.example.com/a/b/c.ts";

fn renewing(url: &str, more: Value) -> Option<Renewal> {
    let mut claims = json!({ "cdniets": 30, "cdnistt": 1, "exp": NOW.secs() + 5, "cdniuc": "regex:.*" });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    opens(url, &claims).unwrap().renewal
}

#[test]
fn a_cookie_is_for_as_many_segments_as_the_token_says() {
    for (depth, path) in [
        (0, Some("/")),
        (1, Some("/a")),
        (2, Some("/a/b")),
        (3, Some("/a/b/c.ts")),
        (4, None),
        (u64::MAX, None),
    ] {
        let renewal = renewing(URL, json!({ "cdnistd": depth }));
        let attributes = renewal.map(|renewal| cookie(&renewal).2);
        let found = attributes.as_ref().and_then(|attributes| attributes.first());
        assert_eq!(
            found.map(|found| &**found),
            path.map(|path| format!("Path={path}")).as_deref()
        );
    }
    // A path that would end the attribute.
    assert!(renewing("https://media.example.com/a;Domain=x/b", json!({ "cdnistd": 1 })).is_none());
    assert!(renewing("https://media.example.com/a;Domain=x/b", json!({})).is_some());
}

#[test]
fn nothing_is_renewed_by_query_or_when_the_token_is_not_good() {
    assert_eq!(renewing(URL, json!({ "cdnistt": 2 })), None);
    assert_eq!(renewing(URL, json!({ "cdnistt": 0 })), None);
    // Less than a second is no time.
    assert_eq!(renewing(URL, json!({ "cdniets": 0.5 })), None);
    assert!(renewing(URL, json!({ "cdniets": 1.5 })).is_some());
    let claims = json!({ "cdniets": 30, "cdnistt": 1, "exp": NOW.secs(), "cdniuc": "regex:.*" });
    let url = format!("{URL}?{ATTRIBUTE}={}", signed(&claims));
    assert_eq!(judge(&Cdni::new(plain()), &url).unwrap_err(), "Expired");
}

#[test]
fn a_renewed_token_keeps_what_it_does_not_say_otherwise() {
    let more = json!({ "iat": 1, "nbf": 2, "x": [1, 2.5, null, true, { "y": "\u{e9}\"" }] });
    let token = cookie(&renewing(URL, more.clone()).unwrap()).1;
    let claims = payload(&token);
    assert_eq!(claims["exp"], NOW.secs() + 30);
    for name in ["iat", "nbf", "x"] {
        assert_eq!(claims[name], more[name]);
    }
    // A token without an end gets one, and none gets an `iat`.
    let mut claims = json!({ "cdniets": 30, "cdnistt": 1, "cdniuc": "regex:.*" });
    let renewal = opens(URL, &claims).unwrap().renewal.unwrap();
    claims["exp"] = (NOW.secs() + 30).into();
    assert_eq!(payload(&cookie(&renewal).1), claims);
}

#[test]
fn what_may_be_used_once_has_no_successor() {
    assert_eq!(renewing(URL, json!({ "jti": "J" })), None);
    assert!(renewing(URL, json!({})).is_some());
}

#[test]
fn a_successor_is_of_the_same_issuer_and_where_it_can_be_of_the_same_key() {
    let private = |kid: &str| -> Value {
        let mut set: Value = serde_json::from_str(&KeySet::generate(Algorithm::ES256).unwrap()).unwrap();
        set["keys"][0]["kid"] = kid.into();
        set["keys"][0].clone()
    };
    let public = |mut key: Value| {
        key.as_object_mut().unwrap().remove("d");
        key
    };
    let (one, two, three) = (private("one"), private("two"), private("three"));
    // The issuer A with these keys of one and two, and B with three.
    let rules = |keys: [&Value; 2], signer: Option<&str>, kid: Option<&str>| {
        let issuers = [("A", json!({ "keys": keys })), ("B", json!({ "keys": [three] }))];
        let issuers = issuers.map(|(name, keys)| Issuer {
            name: name.into(),
            keys: ring(name, &keys),
        });
        Rules {
            signer: signer.map(Box::from),
            signing_kid: kid.map(Box::from),
            ..Rules::new(issuers.into(), None, log_key())
        }
    };
    let claims =
        json!({ "iss": "A", "exp": NOW.secs() + 5, "cdniets": 30, "cdnistt": 1, "cdniuc": "regex:.*" });
    let signers = ring("A", &json!({ "keys": [two] })).load().unwrap();
    let token = mint::sign(signers.keys.signing(None).unwrap(), &claims).unwrap();
    let kid = |rules: Rules| {
        let scheme = Cdni::new(rules);
        let renewal = judge(&scheme, &format!("{URL}?{ATTRIBUTE}={token}"))
            .unwrap()
            .renewal?;
        let (name, token, _) = cookie(&renewal);
        let again = request(URL, Some(&format!("{name}={token}")));
        let (claims, _) = again.judge(&scheme, Duration::ZERO).unwrap();
        assert_eq!(claims.issuer.as_deref(), Some("A"));
        claims.key.map(String::from)
    };
    let mute = public(two.clone());
    for (second, signer, named, successor) in [
        // Not the first that can, nor the one that is named.
        (&two, None, None, Some("two")),
        (&two, Some("A"), None, Some("two")),
        (&two, Some("A"), Some("one"), Some("two")),
        (&mute, None, None, None),
        (&mute, Some("A"), None, None),
        (&mute, Some("A"), Some("one"), Some("one")),
        // A is the first issuer, in whose name links are signed.
        (&mute, None, Some("one"), Some("one")),
        (&mute, Some("A"), Some("three"), None),
        (&two, Some("B"), None, None),
        (&mute, Some("B"), Some("three"), None),
    ] {
        let found = kid(rules([&one, second], signer, named));
        assert_eq!(found.as_deref(), successor, "{signer:?} {named:?}");
    }
    // Keys without names are told apart by what they sign.
    let nameless = |mut key: Value| {
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let keys = json!({ "keys": [nameless(one), nameless(two)] });
    let set = ring("A", &keys).load().unwrap();
    for at in [0, 1] {
        let half = set.keys.signing_half_of(&set.keys.verifying()[at]).unwrap();
        let token = mint::sign(half, &claims).unwrap();
        let token = Compact::parse(&token).unwrap();
        assert!(token.is_signed_by(&set.keys.verifying()[at]).unwrap());
    }
}

#[test]
fn cookies_are_as_wide_as_configured() {
    let attributes = |same_site, url: &str| {
        let rules = Rules {
            same_site,
            cookie: Name::parse("usp").unwrap(),
            ..plain()
        };
        let claims = json!({ "cdniets": 30, "cdnistt": 1, "cdniuc": "regex:.*" });
        let url = format!("{url}?{ATTRIBUTE}={}", signed(&claims));
        let renewal = judge(&Cdni::new(rules), &url).unwrap().renewal.unwrap();
        let (name, _, attributes) = cookie(&renewal);
        assert_eq!(name, "usp");
        attributes.join("; ")
    };
    assert_eq!(
        attributes(SameSite::Lax, URL),
        "Path=/; Max-Age=30; HttpOnly; SameSite=Lax; Secure"
    );
    assert_eq!(
        attributes(SameSite::None, URL),
        "Path=/; Max-Age=30; HttpOnly; SameSite=None; Secure"
    );
    assert_eq!(
        attributes(SameSite::Lax, "http://localhost/a"),
        "Path=/; Max-Age=30; HttpOnly; SameSite=Lax"
    );
}

#[test]
fn without_a_key_that_signs_the_token_is_good_and_has_no_successor() {
    let file = file();
    each_case(&file, |case| {
        if case.text("name") == "renew_cookie" {
            for signer in ["uCDN One", "nobody"] {
                let rules = Rules {
                    signer: Some(signer.into()),
                    ..rules_of(&case)
                };
                let (claims, _) = case.request().judge(&Cdni::new(rules), Duration::ZERO).unwrap();
                assert_eq!(claims.renewal, None);
            }
        }
    });
}
