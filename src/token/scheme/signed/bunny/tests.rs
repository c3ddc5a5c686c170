//! Bunny's tokens against the published vectors, against their own mint, and against whoever changes a byte.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::clock::UnixTime;
use crate::target::Target;
use crate::token::Opens;
use crate::token::scheme::signed::Shown;
use crate::token::scheme::signed::vectors::{self, Case, Request};

mod links;
mod mutations;
mod readings;

const VECTORS: &str = include_str!("../../../../../tests/vectors/bunny.json");
const ALL: [Generation; 3] = [Generation::Hs256, Generation::Sha256, Generation::Md5];
const KEY: &str = "Fxx8bRcLXjfZjWCDo7yyxPktef1xnZMy";
const NOW: i64 = 1_767_225_600;
const EXPIRY: i64 = 1_767_229_200;
const CLIENT: &str = "203.0.113.7";

fn rules(generations: &[Generation]) -> Rules {
    let log_key = Arc::new(LogKey::new(&Secret::new(vec![7; 32])));
    Rules {
        generations: generations.into(),
        ..Rules::new(keys(&[("first", KEY, None)]), log_key)
    }
}

fn keys(keys: &[(&str, &str, Option<i64>)]) -> NamedKeys<Secret> {
    NamedKeys::new(keys.iter().map(|(name, key, until)| {
        let key = Secret::new(key.as_bytes().to_vec());
        (Box::from(*name), key, until.map(UnixTime::from_secs))
    }))
}

fn request(url: &str) -> Request {
    request_from(url, CLIENT)
}

fn request_from(url: &str, client: &str) -> Request {
    let url = format!("https://media.example.com{url}");
    let client = client.parse().unwrap();
    Request::new("GET", &url, HeaderMap::new(), client, UnixTime::from_secs(NOW))
}

fn judge(rules: Rules, url: &str) -> Result<(Claims, Target), String> {
    request(url).judge(&Bunny::new(rules), Duration::ZERO)
}

/// A wish for a link to this path and query.
struct Link {
    target: Target,
    opens: Option<Opens>,
    address: Option<IpNet>,
    expires: i64,
}

impl Link {
    fn to(url: &str) -> Self {
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (url, None),
        };
        Self {
            target: Target::parse(path, query).unwrap(),
            opens: None,
            address: None,
            expires: EXPIRY,
        }
    }

    fn wish(&self) -> Wish<'_> {
        Wish {
            public: None,
            method: &Method::GET,
            target: &self.target,
            opens: self.opens.as_ref(),
            place: Place::Url,
            now: UnixTime::from_secs(NOW),
            not_before: None,
            expires: UnixTime::from_secs(self.expires),
            address: self.address,
            subject: None,
            id: None,
        }
    }

    fn sign(&self, rules: Rules) -> Result<String, TokenError> {
        match Bunny::new(rules).sign(&self.wish())? {
            Signed::Url(url) => Ok(url),
            other => panic!("{other:?}"),
        }
    }
}

fn of_case(case: &Case<'_>) -> Rules {
    Rules {
        keys: keys(&[("first", case.keys["security_key"].as_str().unwrap(), None)]),
        addresses: match case.profile["ip_validation"].as_bool().unwrap() {
            true => Addresses::Bound,
            false => Addresses::Unbound,
        },
        country: Some(case.profile["country_header"].as_str().unwrap().parse().unwrap()),
        ..rules(&ALL)
    }
}

#[test]
fn all_vectors_are_decided_as_published() {
    let file: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let ran = vectors::run(VECTORS, &[], |case| {
        Some((Box::new(Bunny::new(of_case(case))), Duration::ZERO))
    });
    assert_eq!(ran, file["cases"].as_array().unwrap().len());
    assert_eq!(ran, 69);
}

/// The vectors that no wish can ask for, for it has no word for countries, rates and parameters that are not signed.
const NOT_MINTED: [&str; 6] = [
    "hs256_country_ok",
    "hs256_not_blocked",
    "sha256_country_ok",
    "sha256_not_blocked",
    "hs256_ignore_params",
    "hs256_limit",
];

#[test]
fn the_links_of_the_vectors_are_minted_byte_for_byte() {
    let minted = Cell::new(0);
    let left_out = Cell::new(0);
    vectors::run(VECTORS, &[], |case| {
        if case.text("expect") == "allow" {
            match NOT_MINTED.contains(&case.text("name")) {
                true => left_out.set(left_out.get() + 1),
                false => {
                    mint_again(case);
                    minted.set(minted.get() + 1);
                }
            }
        }
        None
    });
    assert_eq!((minted.get(), left_out.get()), (18, NOT_MINTED.len()));
}

fn mint_again(case: &Case<'_>) {
    let request = case.request();
    let bunny = Bunny::new(of_case(case));
    let head = Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let taken = bunny.take(head).unwrap().unwrap();
    let said = Conditions::of(&taken.parts);
    let token = Token::parse(said.token).unwrap();
    let rules = Rules {
        generations: Box::new([token.generation]),
        form: match taken.prefix {
            Some(_) => Form::Path,
            None => Form::Query,
        },
        ..of_case(case)
    };
    let link = Link {
        target: Target::parse(&taken.path, taken.query.as_deref()).unwrap(),
        opens: said.folder.map(|folder| Opens::literal(folder).unwrap()),
        address: (rules.addresses == Addresses::Bound).then(|| request.client.into()),
        expires: said.expires.parse().unwrap(),
    };
    let url = format!("https://media.example.com{}", link.sign(rules).unwrap());
    assert_eq!(url, case.text("url"), "{}", case.text("name"));
}

#[test]
fn a_token_has_one_name_when_it_is_minted_and_whenever_it_is_used() {
    let mut link = Link::to("/videos/show1/master.m3u8");
    link.opens = Some(Opens::Prefix("/videos/show1/".into()));
    let url = link.sign(rules(&ALL)).unwrap();
    let (first, target) = judge(rules(&ALL), &url).unwrap();
    assert_eq!(target.as_str(), "/videos/show1/master.m3u8");
    let (other, target) = judge(rules(&ALL), &url.replace("master.m3u8", "720p/1.ts")).unwrap();
    assert_eq!(target.as_str(), "/videos/show1/720p/1.ts");
    assert_eq!(first.token_id, other.token_id);
    assert_eq!(first.key.as_deref(), Some("first"));
    assert_eq!(first.expires, Some(UnixTime::from_secs(EXPIRY)));
    let again = url.replace("bcdn_token=HS256-", "bcdn_token=HS%32%356-");
    assert_eq!(judge(rules(&ALL), &again).unwrap().0.token_id, first.token_id);
}

#[test]
fn the_segment_is_put_back_and_its_parameters_go_to_the_origin() {
    let mut link = Link::to("/v/1.m3u8?width=640&a=b%2Fc");
    link.opens = Some(Opens::Prefix("/v/".into()));
    let url = link.sign(rules(&ALL)).unwrap();
    let (segment, rest) = marked(&url).unwrap();
    assert!(
        segment.contains("&a=b%2Fc&token_path=%2Fv%2F&width=640&expires="),
        "{segment}"
    );
    assert_eq!(rest, "/v/1.m3u8");
    let request = request(&url);
    let head = Head {
        path: &request.path,
        query: None,
        headers: &request.headers,
    };
    let bunny = Bunny::new(rules(&ALL));
    let taken = bunny.take(head).unwrap().unwrap();
    assert_eq!(taken.prefix.as_deref(), Some(segment));
    assert_eq!(
        (&*taken.path, taken.query.as_deref()),
        ("/v/1.m3u8", Some("a=b%2Fc&width=640"))
    );
    assert!(segment.starts_with(&*bunny.markers()[0]));
    // A parameter of the query is one of the link, as one of the segment is.
    let (_, target) = judge(
        rules(&ALL),
        &url.replace("&width=640", "").replace(rest, "/v/2.ts?width=640"),
    )
    .unwrap();
    assert_eq!(target.as_str(), "/v/2.ts?a=b%2Fc&width=640");
    assert!(judge(rules(&ALL), &format!("{url}?x=1")).is_err());
}

#[test]
fn keys_take_turns() {
    let old = "an-older-key-of-this-zone";
    let url = Link::to("/a.mp4")
        .sign(Rules {
            keys: keys(&[("old", old, None)]),
            ..rules(&ALL)
        })
        .unwrap();
    let with = |until| Rules {
        keys: keys(&[("new", KEY, None), ("old", old, until)]),
        ..rules(&ALL)
    };
    assert_eq!(judge(with(None), &url).unwrap().0.key.as_deref(), Some("old"));
    assert!(judge(with(Some(NOW + 1)), &url).is_ok());
    assert!(judge(with(Some(NOW)), &url).is_err());
    assert!(judge(rules(&ALL), &url).is_err());
}

#[test]
fn a_generation_that_is_not_listed_is_refused() {
    for generation in ALL {
        let url = Link::to("/a.mp4").sign(rules(&[generation])).unwrap();
        for listed in ALL {
            assert_eq!(judge(rules(&[listed]), &url).is_ok(), listed == generation);
        }
    }
    assert!(!rules(&[]).generations.contains(&Generation::Md5));
    assert!(Link::to("/a.mp4").sign(rules(&[])).is_err());
    let usual = Rules::new(keys(&[]), rules(&[]).log_key);
    assert_eq!(*usual.generations, [Generation::Hs256, Generation::Sha256]);
}

#[test]
fn what_is_no_token_is_none_and_half_a_token_is_malformed() {
    let bunny = Bunny::new(rules(&ALL));
    let headers = HeaderMap::new();
    let take = |path, query| {
        let taken = bunny.take(Head {
            path,
            query,
            headers: &headers,
        });
        taken.map(|taken| taken.is_some())
    };
    assert_eq!(take("/a", None), Ok(false));
    assert_eq!(take("/a", Some("limit=5&expires=1&token_path=/")), Ok(false));
    assert_eq!(take("/a/bcdn_token=1", None), Ok(false));
    assert_eq!(take("/a", Some("token=1&expires=2")), Ok(true));
    assert_eq!(take("/bcdn_token=1&expires=2/a", None), Ok(true));
    assert_eq!(take("/bcdn_token=1&expires=2", Some("x")), Ok(true));
    let malformed = Err(LocateError::Malformed);
    for query in [
        "token=1",
        "token=&expires=1",
        "token=1&expires=",
        "token=1&expires=2&limit=",
        "token=%&expires=1",
    ] {
        assert_eq!(take("/a", Some(query)), malformed, "{query}");
    }
    assert_eq!(take("/bcdn_token=/a", None), malformed);
    assert_eq!(take("/bcdn_token=1/a", None), malformed);
    assert_eq!(take("/a", Some("token=1&expires=2&token_path=/a+b/")), malformed);
    let twice = Err(LocateError::Ambiguous);
    for query in [
        "token=1&token=1&expires=2",
        "token=1&expires=2&expires=2",
        "token=1&t%6Fken=1&expires=1",
    ] {
        assert_eq!(take("/a", Some(query)), twice, "{query}");
    }
    for query in [
        "token=1",
        "expires=2",
        "token_path=/",
        "limit=5",
        "token_ignore_params=true",
    ] {
        assert_eq!(take("/bcdn_token=1&expires=2/a", Some(query)), twice, "{query}");
    }
    assert_eq!(take("/bcdn_token=1&token=1&expires=2/a", None), twice);
    let long = format!("token={}&expires=1", "a".repeat(9000));
    assert_eq!(take("/a", Some(&long)), malformed);
}

#[test]
fn people_are_shown_what_is_signed_and_never_a_secret() {
    for generation in ALL {
        let url = Link::to("/a.mp4?x=1").sign(rules(&[generation])).unwrap();
        let request = request(&url);
        let head = Head {
            path: &request.path,
            query: request.query.as_deref(),
            headers: &request.headers,
        };
        let bunny = Bunny::new(rules(&ALL));
        let taken = bunny.take(head).unwrap().unwrap();
        let told = bunny.tell(&taken);
        assert_eq!(told[0], ("generation".into(), generation.name().to_owned()));
        assert_eq!(told[1], ("expires".into(), "2026-01-01T01:00:00.000Z".to_owned()));
        let shown = Shown::default();
        request.verify(&bunny, &taken, &shown).unwrap();
        let expected: &[u8] = match generation {
            Generation::Hs256 => b"/a.mp41767229200x=1",
            Generation::Sha256 => b"{secret}/a.mp41767229200x=1",
            Generation::Md5 => b"{secret}/a.mp41767229200",
        };
        assert_eq!(shown.into_texts(), [expected]);
        assert!(!format!("{bunny:?}").contains(KEY));
    }
}
