//! Tokens of Cloud CDN against the published vectors, against their own mint, and against whoever changes a byte.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::target::Target;
use crate::token::scheme::signed::Shown;
use crate::token::scheme::signed::vectors::{self, Case, Request};
use crate::token::{Opens, PublicBase};

mod links;
mod mutations;

const VECTORS: &str = include_str!("../../../../../tests/vectors/google_cloud_cdn.json");
const KEY: &str = "JgJnM3Dk9wR889CnwgQTYg==";
const NOW: i64 = 1_767_225_600;
const EXPIRY: i64 = 1_767_229_200;
const COOKIE_NAME: &str = "Cloud-CDN-Cookie";

fn keys(keys: &[(&str, &str, Option<i64>)]) -> NamedKeys<Key> {
    NamedKeys::new(keys.iter().map(|(name, key, until)| {
        let key = Key::parse(&Secret::new(key.as_bytes().to_vec())).unwrap();
        (Box::from(*name), key, until.map(UnixTime::from_secs))
    }))
}

fn rules() -> Rules {
    let log_key = Arc::new(LogKey::new(&Secret::new(vec![7; 32])));
    Rules::new(keys(&[("my-key", KEY, None)]), log_key)
}

fn public() -> PublicBase {
    PublicBase {
        scheme: "https".into(),
        authority: "media.example.com".into(),
    }
}

fn request(url: &str, cookies: &[&str]) -> Request {
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        let cookie = format!("{COOKIE_NAME}={cookie}");
        headers.append(COOKIE, HeaderValue::from_str(&cookie).unwrap());
    }
    let url = format!("https://media.example.com{url}");
    let client = IpAddr::from([203, 0, 113, 7]);
    Request::new("GET", &url, headers, client, UnixTime::from_secs(NOW))
}

fn judge(url: &str) -> Result<(Claims, Target), String> {
    request(url, &[]).judge(&CloudCdn::new(rules()), Duration::ZERO)
}

fn judge_cookies(url: &str, cookies: &[&str]) -> Result<(Claims, Target), String> {
    request(url, cookies).judge(&CloudCdn::new(rules()), Duration::ZERO)
}

/// A wish for a link to this path and query.
struct Link {
    public: PublicBase,
    target: Target,
    opens: Option<Opens>,
    place: Place,
    expires: i64,
}

impl Link {
    fn to(url: &str) -> Self {
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (url, None),
        };
        Self {
            public: public(),
            target: Target::parse(path, query).unwrap(),
            opens: None,
            place: Place::Url,
            expires: EXPIRY,
        }
    }

    fn below(url: &str, prefix: &str) -> Self {
        Self {
            opens: Some(Opens::StartsWith(prefix.into())),
            ..Self::to(url)
        }
    }

    fn wish(&self) -> Wish<'_> {
        Wish {
            public: Some(&self.public),
            method: &Method::GET,
            target: &self.target,
            opens: self.opens.as_ref(),
            place: self.place,
            now: UnixTime::from_secs(NOW),
            not_before: None,
            expires: UnixTime::from_secs(self.expires),
            address: None,
            subject: None,
            id: None,
        }
    }

    fn url(&self) -> String {
        match CloudCdn::new(rules()).sign(&self.wish()) {
            Ok(Signed::Url(url)) => url,
            other => panic!("{other:?}"),
        }
    }

    fn cookie(mut self) -> String {
        self.place = Place::Cookie;
        match CloudCdn::new(rules()).sign(&self.wish()) {
            Ok(Signed::Cookies(cookies)) => match &cookies[..] {
                [(name, value)] if name == COOKIE_NAME => value.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// With the case's keys, the named one first.
fn of_case(case: &Case<'_>, first: &str) -> Rules {
    let all = case.keys["keys"].as_object().unwrap();
    let mut named: Vec<_> = all
        .iter()
        .map(|(name, key)| (&**name, key.as_str().unwrap(), None))
        .collect();
    named.sort_by_key(|(name, ..)| *name != first);
    Rules {
        keys: keys(&named),
        cookie: Some(case.profile["cookie"].as_str().unwrap().into()),
        ..rules()
    }
}

#[test]
fn all_vectors_are_decided_as_published() {
    let file: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let ran = vectors::run(VECTORS, &[], |case| {
        Some((Box::new(CloudCdn::new(of_case(case, "my-key"))), Duration::ZERO))
    });
    assert_eq!(ran, file["cases"].as_array().unwrap().len());
    assert_eq!(ran, 45);
}

#[test]
fn the_links_and_cookies_of_the_vectors_are_minted_byte_for_byte() {
    let minted = Cell::new(0);
    vectors::run(VECTORS, &[], |case| {
        if case.text("expect") == "allow" {
            mint_again(case);
            minted.set(minted.get() + 1);
        }
        None
    });
    assert_eq!(minted.get(), 13);
}

fn mint_again(case: &Case<'_>) {
    let request = case.request();
    let scheme = CloudCdn::new(of_case(case, "my-key"));
    let head = Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let taken = scheme.take(head).unwrap().unwrap();
    let fields = Fields::read(&taken.parts).unwrap();
    let opens = match fields.form {
        Form::Exact => None,
        Form::Prefix(prefix) | Form::Cookie(prefix, _) => {
            let prefix = prefix::decode(prefix).unwrap();
            let path = prefix.strip_prefix("https://media.example.com").unwrap();
            Some(Opens::StartsWith(path.into()))
        }
    };
    let link = Link {
        opens,
        place: taken.place,
        expires: fields.expires.parse().unwrap(),
        target: Target::parse(&taken.path, taken.query.as_deref()).unwrap(),
        public: public(),
    };
    let scheme = CloudCdn::new(of_case(case, fields.key));
    let name = case.text("name");
    match scheme.sign(&link.wish()).unwrap() {
        Signed::Url(url) => {
            assert_eq!(
                format!("https://media.example.com{url}"),
                case.text("url"),
                "{name}"
            );
        }
        Signed::Cookies(cookies) => {
            let (key, value) = &cookies[0];
            let header = case.json["headers"]["Cookie"].as_str().unwrap();
            assert!(header.contains(&format!("{key}={value}")), "{name}: {value}");
        }
        Signed::Header(..) => panic!("{name}"),
    }
}

#[test]
fn a_token_has_one_name_when_it_is_minted_and_whenever_it_is_used() {
    let url = Link::below("/a/1.m3u8?x=1", "/a/").url();
    let (first, target) = judge(&url).unwrap();
    assert_eq!(target.as_str(), "/a/1.m3u8?x=1");
    // What is not signed may change, behind the token too, where players put their own.
    let other = format!("{}&_HLS_msn=4", url.replace("1.m3u8?x=1", "b/2.ts?y=2"));
    let (second, target) = judge(&other).unwrap();
    assert_eq!(target.as_str(), "/a/b/2.ts?y=2&_HLS_msn=4");
    assert_eq!(first.token_id, second.token_id);
    assert_eq!(
        judge(&url.replace("=&", "%3D&")).unwrap().0.token_id,
        first.token_id
    );
    assert_eq!(first.key.as_deref(), Some("my-key"));
    assert_eq!(first.expires, Some(UnixTime::from_secs(EXPIRY)));
    let scope = first.scope.unwrap();
    assert_eq!(*scope.0, [Opens::Exact("/a/1.m3u8".into())]);
}

#[test]
fn a_prefix_is_a_text_behind_a_whole_host() {
    let sign = |prefix: &str| {
        let prefix = URL_SAFE.encode(prefix);
        let signed = prefix_text(&prefix, "1767229200", "my-key", '&');
        let key = Key::parse(&Secret::new(KEY.into())).unwrap();
        let mac = URL_SAFE.encode(hmac::sign(&key.0, signed.as_bytes()));
        format!("{signed}&Signature={mac}")
    };
    for (prefix, opens) in [
        ("https://media.example.com/data", true),
        ("https://media.example.com/da", true),
        ("https://media.example.com/data%62ase/", true),
        ("https://media.example.com/", true),
        ("https://media.example.com", true),
        ("https://media.example.com/database/a.mp4", true),
        ("https://media.example.com/database/a.mp4/", false),
        ("https://media.example.co", false),
        ("https://", false),
        ("https:", false),
        ("", false),
        ("/", false),
        ("//media.example.com/", false),
        ("http://media.example.com/", false),
        ("https://media.example.com:443/", false),
        ("https://user@media.example.com/", false),
        ("https://media.example.com?", false),
        ("https://media.example.com/data?x=1", false),
        ("https://media.example.com/#", false),
        ("https://media.example.com/x/../data", false),
        ("https://media.example.com//", false),
        ("https://media.example.com/%", false),
        ("https://media.example.com/%2fdata", false),
        ("\u{0}", false),
    ] {
        let url = format!("/database/a.mp4?{}", sign(prefix));
        assert_eq!(judge(&url).is_ok(), opens, "{prefix}");
    }
    let unpadded = sign("https://media.example.com/").replacen("=&", "&", 1);
    assert!(
        judge(&format!("/a?{unpadded}")).is_err(),
        "another text is signed"
    );
}

#[test]
fn a_link_of_cloudfront_is_none_of_ours_and_has_no_token_in_a_cookie() {
    let scheme = CloudCdn::new(rules());
    let take = |url: &str| {
        let request = request(url, &["URLPrefix=a:Expires=1:KeyName=my-key:Signature=b"]);
        let head = Head {
            path: &request.path,
            query: request.query.as_deref(),
            headers: &request.headers,
        };
        scheme.take(head).map(|taken| taken.map(|taken| taken.place))
    };
    assert_eq!(take("/a?Expires=1&Signature=a&Key-Pair-Id=b"), Ok(None));
    assert_eq!(take("/a?Policy=c&Signature=a&Key-Pair%2DId=b"), Ok(None));
    // Whoever names a key of ours is ours, and a file may have a parameter of that name.
    let ours = "/a?Key-Pair-Id=b&Expires=1&KeyName=my-key&Signature=aaaa";
    assert_eq!(take(ours), Ok(Some(Place::Url)));
    assert_eq!(take("/a?Expires=1&Signature=a"), Err(LocateError::Malformed));
    assert_eq!(take("/a?Key-Pair-Id=b"), Ok(Some(Place::Cookie)));
}

#[test]
fn keys_are_named_and_take_turns() {
    let url = Link::to("/a").url();
    let with = |all: &[(&str, &str, Option<i64>)]| {
        let rules = Rules {
            keys: keys(all),
            ..rules()
        };
        request(&url, &[]).judge(&CloudCdn::new(rules), Duration::ZERO)
    };
    let other = "ZIbaVr03uKAUPLMrMUs1WQ==";
    assert!(with(&[("new", other, None), ("my-key", KEY, Some(NOW + 1))]).is_ok());
    assert!(with(&[("new", other, None), ("my-key", KEY, Some(NOW))]).is_err());
    assert!(with(&[("new", KEY, None), ("my-key", other, None)]).is_err());
    assert!(with(&[("new", KEY, None)]).is_err());
    for bad in [
        "",
        "JgJnM3Dk9wR889CnwgQT",
        "JgJnM3Dk9wR889CnwgQTYgAA",
        "JgJnM3Dk9wR889CnwgQTYh==",
        "my secret key 16",
    ] {
        assert!(Key::parse(&Secret::new(bad.into())).is_err(), "{bad}");
    }
    assert!(Key::parse(&Secret::new(KEY.trim_end_matches('=').into())).is_ok());
}

#[test]
fn people_are_told_what_it_says_and_shown_what_is_signed() {
    let cookie = Link::below("/a/1.mp4", "/a/").cookie();
    let prefix = Link::below("/a/1.mp4", "/a/").url();
    let exact = Link::to("/a/1.mp4").url();
    for (url, cookies, signed) in [
        (
            "/a/1.mp4",
            &[&*cookie][..],
            "URLPrefix=aHR0cHM6Ly9tZWRpYS5leGFtcGxlLmNvbS9hLw==:Expires=1767229200:KeyName=my-key",
        ),
        (
            &prefix,
            &[],
            "URLPrefix=aHR0cHM6Ly9tZWRpYS5leGFtcGxlLmNvbS9hLw==&Expires=1767229200&KeyName=my-key",
        ),
        (
            &exact,
            &[],
            "https://media.example.com/a/1.mp4?Expires=1767229200&KeyName=my-key",
        ),
    ] {
        let request = request(url, cookies);
        let head = Head {
            path: &request.path,
            query: request.query.as_deref(),
            headers: &request.headers,
        };
        let scheme = CloudCdn::new(rules());
        let taken = scheme.take(head).unwrap().unwrap();
        let told = scheme.tell(&taken);
        assert_eq!(told[0], ("KeyName".into(), "my-key".to_owned()));
        assert_eq!(told[1], ("Expires".into(), "2026-01-01T01:00:00.000Z".to_owned()));
        match told.get(2) {
            None => assert_eq!(url, exact),
            Some(told) => assert_eq!(
                *told,
                ("URLPrefix".into(), "https://media.example.com/a/".to_owned())
            ),
        }
        let shown = Shown::default();
        request.verify(&scheme, &taken, &shown).unwrap();
        assert_eq!(shown.into_texts(), [signed.as_bytes()]);
        assert!(format!("{scheme:?}").contains("Key(…)"));
    }
}
