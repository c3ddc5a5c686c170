//! The vectors, and what is read in which way.

use std::cell::RefCell;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::*;
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::target::Target;
use crate::token::PublicBase;
use crate::token::scheme::signed::fields::tests::{cookie, get, head};
use crate::token::scheme::signed::vectors::{self, Case};
use crate::token::scheme::signed::{Place, Signatures as Memory};

const FILE: &str = include_str!("../../../../../tests/vectors/google_media_cdn.json");
const NOW: i64 = 1_767_225_600;
/// The secret key of the first test of RFC 8032 §7.1.
const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const SHARED: &str = "ERERERERERERERERERERERERERERERERERERERERERE=";
const PUBLIC: &str = "https://media.example.com";

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

fn rules(keys: Vec<(&str, Key)>) -> Rules {
    let keys = keys.into_iter().map(|(name, key)| (name.into(), key, None));
    Rules::new(
        NamedKeys::new(keys),
        Arc::new(LogKey::new(&secret(&"l".repeat(32)))),
    )
}

fn private() -> Rules {
    rules(vec![("media-key", Key::private(&secret(SEED)).unwrap())])
}

fn shared() -> Rules {
    rules(vec![("shared", Key::sha256(&secret(SHARED)).unwrap())])
}

fn vector_keys<'k>(case: &Case<'_>) -> Vec<(&'k str, Key)> {
    let public = case.keys["ed25519_public"]["media-key"].as_str().unwrap();
    let shared = secret(case.keys["shared_hmac"].as_str().unwrap());
    vec![
        ("media-key", Key::public(public).unwrap()),
        ("sha256", Key::sha256(&shared).unwrap()),
        ("sha1", Key::sha1(&shared).unwrap()),
    ]
}

fn scheme(case: &Case<'_>) -> MediaCdn {
    MediaCdn::new(Rules {
        names: Box::new([case.profile["param"].as_str().unwrap_or("hdnts").into()]),
        ..rules(vector_keys(case))
    })
}

fn cases(file: &Value) -> impl Iterator<Item = Case<'_>> {
    file["cases"].as_array().unwrap().iter().map(|json| Case {
        json,
        profile: &file["profiles"][json["profile"].as_str().unwrap()],
        keys: &file["keys"],
    })
}

#[test]
fn all_vectors_are_decided_as_they_say() {
    let count = vectors::run(FILE, &[], |case| Some((Box::new(scheme(case)), Duration::ZERO)));
    assert_eq!(count, 91);
}

#[test]
fn eight_keys_that_can_have_sealed_a_token_are_tried_and_no_more() {
    let number = |number: u8| BASE64.encode([number; 32]);
    let shared = |at: u8| Key::sha256(&secret(&number(at))).unwrap();
    let private = |at: u8| Key::private(&secret(&number(at))).unwrap();
    let names: Vec<String> = (1..=9).map(|at| format!("key-{at}")).collect();
    let named = |key: &dyn Fn(u8) -> Key| {
        names
            .iter()
            .zip(1..)
            .map(|(name, at)| (&**name, key(at)))
            .collect::<Vec<_>>()
    };
    // Nine of each kind: those of the other one are not counted.
    let all = || {
        let (mut all, more) = (named(&shared), named(&private));
        all.extend(more);
        MediaCdn::new(rules(all))
    };
    let text = "PathGlobs=/*~Expires=1767229200";
    for key in [&shared as &dyn Fn(u8) -> Key, &private] {
        for (at, allowed) in [(1, true), (8, true), (9, false)] {
            let token = seal(&MediaCdn::new(rules(vec![("one", key(at))])), text, text);
            let url = format!("/a?edge-cache-token={token}");
            assert_eq!(allows(&all(), &url), allowed, "{at} {token}");
        }
    }
}

#[test]
fn what_the_vectors_say_the_origin_sees_is_what_it_is_asked_for() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let mut count = 0;
    for case in cases(&file).filter(|case| case.json["upstream"].is_string()) {
        let judged = case.request().judge(&scheme(&case), Duration::ZERO);
        assert_eq!(judged.unwrap().1.as_str(), case.text("upstream"));
        count += 1;
    }
    assert_eq!(count, 1);
}

fn judge(scheme: &MediaCdn, url: &str, headers: HeaderMap, now: i64) -> Result<Claims, String> {
    get(url, headers, now)
        .judge(scheme, Duration::ZERO)
        .map(|(claims, _)| claims)
}

fn allows(scheme: &MediaCdn, url: &str) -> bool {
    judge(scheme, url, HeaderMap::new(), NOW).is_ok()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )
    };
    pairs.iter().map(pair).collect()
}

/// A token whose seal is over `signed`, by the first key.
fn seal(scheme: &MediaCdn, token: &str, signed: &str) -> String {
    let key = scheme.rules.keys.at(UnixTime::from_secs(NOW)).next().unwrap();
    match key.key.mac(signed.as_bytes()) {
        Some(mac) => format!("{token}~hmac={}", fields::hex(&mac)),
        None => format!("{token}~Signature={}", signature(scheme, signed)),
    }
}

fn signature(scheme: &MediaCdn, signed: &str) -> String {
    let key = scheme.rules.keys.at(UnixTime::from_secs(NOW)).next().unwrap();
    BASE64.encode(key.key.sign(signed.as_bytes()).unwrap())
}

#[test]
fn a_signed_token_with_a_restriction_that_is_not_known_is_refused() {
    let scheme = MediaCdn::new(shared());
    let token = |text: &str| format!("/a?hdnts={}", seal(&scheme, text, text));
    for text in [
        "PathGlobs=/*~Expires=1767229200",
        "Expires=1767229200~Data=d~SessionID=s~PathGlobs=/*~Starts=1",
        "PathGlobs=/x,/a~Expires=1767229200",
        "PathGlobs=/x!/a~Expires=1767229200",
    ] {
        assert!(allows(&scheme, &token(text)), "{text}");
    }
    for text in [
        "PathGlobs=/*~Expires=1767229200~Geo=DE",
        "PathGlobs=/*~Expires=1767229200~exp=1767229200",
        "PathGlobs=/*~Expires=1767229200~IPRanges=!",
        "PathGlobs=/*~Expires=1767229200~IPRanges=eA",
        "PathGlobs=/*~Expires=1767229200~Headers=a b",
        "PathGlobs=/*~Expires=1767229200~Data=",
        "PathGlobs=/*~Starts=x~Expires=1767229200",
        "PathGlobs=/*~Expires=1767225600",
        "PathGlobs=/x,/a!/b~Expires=1767229200",
        "PathGlobs=~Expires=1767229200",
        "FullPath=/a~Expires=1767229200",
        "URLPrefix=x~Expires=1767229200",
    ] {
        assert!(!allows(&scheme, &token(text)), "{text}");
    }
    let many = vec!["10.0.0.0/8"; 65].join(",");
    let many = format!("PathGlobs=/*~Expires=1767229200~IPRanges={}", BASE64.encode(many));
    assert!(judge(&scheme, &token(&many), HeaderMap::new(), NOW).is_err_and(|why| why.contains("ranges")));
}

#[test]
fn bound_headers_have_one_reading() {
    let scheme = MediaCdn::new(shared());
    let signed = "PathGlobs=/*~Expires=1767229200~Headers=X-App=tv,X-Country=DE~IPRanges=MTAuMC4wLjAvOA";
    let url = |token: &str| format!("/a?hdnts={}", seal(&scheme, token, signed));
    let honest = url("PathGlobs=/*~Expires=1767229200~Headers=X-App,X-Country~IPRanges=MTAuMC4wLjAvOA");
    let mut request = get(&honest, headers(&[("x-app", "tv"), ("x-country", "DE")]), NOW);
    assert_eq!(request.judge(&scheme, Duration::ZERO).unwrap_err(), "address");
    request.client = "10.1.2.3".parse().unwrap();
    assert!(request.judge(&scheme, Duration::ZERO).is_ok());
    for (token, sent) in [
        // What is left out of the token is said by a header that the client chooses.
        (
            "PathGlobs=/*~Expires=1767229200~Headers=X-App,X-Country",
            vec![("x-app", "tv"), ("x-country", "DE~IPRanges=MTAuMC4wLjAvOA")],
        ),
        (
            "PathGlobs=/*~Expires=1767229200~Headers=X-App~IPRanges=MTAuMC4wLjAvOA",
            vec![("x-app", "tv,X-Country=DE")],
        ),
    ] {
        let mut request = get(&url(token), headers(&sent), NOW);
        request.client = "10.1.2.3".parse().unwrap();
        let why = request.judge(&scheme, Duration::ZERO).unwrap_err();
        assert!(why.contains("two readings"), "{why}");
    }
    // A comma alone is no harm: user agents have some.
    let signed = "PathGlobs=/*~Expires=1767229200~Headers=User-Agent=Mozilla (KHTML, like Gecko)";
    let token = seal(
        &scheme,
        "PathGlobs=/*~Expires=1767229200~Headers=User-Agent",
        signed,
    );
    let agent = headers(&[("user-agent", "Mozilla (KHTML, like Gecko)")]);
    assert!(judge(&scheme, &format!("/a?hdnts={token}"), agent, NOW).is_ok());
    let why = judge(
        &scheme,
        &format!("/a?hdnts={token}"),
        headers(&[("user-agent", "x")]),
        NOW,
    );
    assert!(why.is_err_and(|why| why.contains("token refused here")));
    let many = format!("PathGlobs=/*~Expires=1~Headers={}", vec!["X"; 17].join(","));
    let why = judge(
        &scheme,
        &format!("/a?hdnts={}", seal(&scheme, &many, &many)),
        HeaderMap::new(),
        NOW,
    );
    assert!(why.is_err_and(|why| why.contains("more headers")));
}

#[test]
fn a_path_with_fields_in_it_is_not_read_as_fields() {
    let scheme = MediaCdn::new(shared());
    // Signed for `/a` from a time on that has not come; asked for as a file of that name.
    let signed = "FullPath=/a~Starts=1767225601~Expires=1767229200";
    let token = seal(&scheme, "FullPath~Expires=1767229200", signed);
    assert!(!allows(&scheme, &format!("/a~Starts=1767225601?hdnts={token}")));
    let signed = "FullPath=/~user/a~b~Expires=1767229200";
    let token = seal(&scheme, "FullPath~Expires=1767229200", signed);
    assert!(allows(&scheme, &format!("/~user/a~b?hdnts={token}")));
    for path in ["/a%2Db%20c", "/a-b%20c", "/a-b c"] {
        let signed = format!("FullPath={path}~Expires=1767229200");
        let token = seal(&scheme, "FullPath~Expires=1767229200", &signed);
        assert!(allows(&scheme, &format!("/a%2Db%20c?hdnts={token}")), "{path}");
    }
}

#[test]
fn a_prefix_names_our_own_scheme_and_host_whole() {
    let scheme = MediaCdn::new(shared());
    for (prefix, url, allowed) in [
        ("https://media.example.com/v/", "/v/a", true),
        ("https://media.example.com/v", "/vv/a", true),
        ("https://media.example.com", "/v/a", true),
        ("HTTPS://Media.Example.com/", "/v/a", true),
        ("https://media.example.com/a%20b/", "/a%20b/c", true),
        ("https://media.example.com/v/a?x=1", "/v/a?x=1&y=2", true),
        ("https://media.example.com/v/a?x=1", "/v/ab?x=1", false),
        ("https://media.example.com/v/a?x=1", "/v/a?y=2&x=1", false),
        ("https://media.example.com/v/a?x=1", "/v/a", false),
        ("https://media.example.com/v/", "/w/a", false),
        ("https://media.example.com/V/", "/v/a", false),
        ("https://media.example.co", "/v/a", false),
        ("https://media.example.com.evil/", "/v/a", false),
        ("https://media.example.com@evil/", "/v/a", false),
        ("http://media.example.com/", "/v/a", false),
        ("https://media.example.com/v/../", "/v/a", false),
        ("https://media.example.com/#", "/v/a", false),
        ("//media.example.com/", "/v/a", false),
        ("/v/", "/v/a", false),
        ("", "/v/a", false),
    ] {
        let text = format!("URLPrefix={}~Expires=1767229200", BASE64.encode(prefix));
        let joint = if url.contains('?') { '&' } else { '?' };
        let asked = format!("{url}{joint}hdnts={}", seal(&scheme, &text, &text));
        assert_eq!(allows(&scheme, &asked), allowed, "{prefix} {url}");
    }
}

#[test]
fn keys_are_read_in_base64url_and_weak_ones_are_refused() {
    let public = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    assert!(Key::public(public).is_ok() && Key::public(&format!("{public}=")).is_ok());
    let both = [BASE64.decode(SEED).unwrap(), BASE64.decode(public).unwrap()].concat();
    assert!(Key::private(&secret(&BASE64.encode(&both))).is_ok());
    let other = [&both[..32], &[1; 32]].concat();
    for text in [
        "",
        "AAAA",
        &BASE64.encode(&other),
        &BASE64.encode(&both[..40]),
        "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
    ] {
        assert!(Key::private(&secret(text)).is_err(), "{text}");
    }
    for text in ["", "AAAA", &BASE64.encode([1; 33])] {
        assert!(Key::public(text).is_err(), "{text}");
    }
    assert!(Key::sha1(&secret(&BASE64.encode([1; 15]))).is_err());
    assert_eq!(
        format!("{:?}", Key::private(&secret(SEED)).unwrap()),
        "Key(Ed25519, private)"
    );
}

/// Counts, and keeps what it is shown.
#[derive(Default)]
struct Counting {
    asked: RefCell<Vec<u64>>,
    shown: RefCell<Vec<String>>,
}

impl Memory for Counting {
    fn holds(&self, key: u64, _: &[u8], _: &[u8], check: &dyn Fn() -> bool) -> bool {
        self.asked.borrow_mut().push(key);
        check()
    }

    fn show(&self, signed: &[u8]) {
        self.shown
            .borrow_mut()
            .push(String::from_utf8(signed.to_vec()).unwrap());
    }
}

#[test]
fn a_signature_is_asked_of_the_memory_and_what_is_signed_is_shown() {
    let scheme = MediaCdn::new(private());
    let token = seal(
        &scheme,
        "FullPath~Expires=1767229200",
        "FullPath=/a~Expires=1767229200",
    );
    let request = get(&format!("/a?hdnts={token}"), HeaderMap::new(), NOW);
    let taken = scheme.take(head(&request)).unwrap().unwrap();
    let told = scheme.tell(&taken);
    assert_eq!(
        told,
        [
            ("FullPath".into(), String::new()),
            ("Expires".into(), "1767229200".into())
        ]
    );
    let memory = Counting::default();
    let claims = request.verify(&scheme, &taken, &memory);
    assert_eq!(claims.unwrap().key.as_deref(), Some("media-key"));
    let number = scheme.rules.keys.at(request.now).next().unwrap().number;
    assert_eq!(*memory.asked.borrow(), [number]);
    assert_eq!(*memory.shown.borrow(), ["FullPath=/a~Expires=1767229200"]);
}

mod exchanging;
mod minting;
mod signatures;
