//! The exchange of short tokens for long ones.

use super::*;
use crate::token::scheme::signed::exchange::SameSite;

pub(super) fn with_session() -> EdgeAuth {
    let session = Session {
        ttl: Duration::from_secs(7200),
        ..Session::new(keys(&[("long", &"22".repeat(32))]))
    };
    EdgeAuth::new(Rules {
        session: Some(session),
        ..plain()
    })
}

fn renewal(claims: &Claims) -> Option<&str> {
    claims
        .renewal
        .as_ref()
        .map(|renewal| renewal.value.to_str().unwrap())
}

#[test]
fn a_short_token_is_exchanged_for_a_long_one_that_says_the_same() {
    let scheme = with_session();
    let text = "ip=203.0.113.7~exp=1767225610~acl=/v/a b/*!/v/c/*~id=s;1~data=u=4 2";
    let url = format!(
        "/v/c/master.m3u8?hdnts={}",
        fields::riding(&seal(&scheme, text, None))
    );
    let short = judge(&scheme, &url, HeaderMap::new(), NOW).unwrap();
    let set = renewal(&short).unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "Path=/v/; Max-Age=7200; Secure; HttpOnly; SameSite=Lax"
    );
    let said = "hdntl=ip=203.0.113.7~exp=1767232800~acl=/v/a%20b/*!/v/c/*~id=s%3B1~data=hdntl,u=4%202~hmac=";
    assert!(pair.starts_with(said), "{pair}");

    let later = NOW + 7199;
    let long = judge(&scheme, "/v/a%20b/seg.ts", cookie(pair), later).unwrap();
    assert_eq!(long.subject.as_deref(), Some("u=4 2"));
    assert_eq!(long.id.as_deref(), Some("s;1"));
    assert_eq!(long.key.as_deref(), Some("long"));
    assert_eq!(renewal(&long), None);
    assert!(judge(&scheme, "/v/c/seg.ts", cookie(pair), later + 1).is_err());
    assert!(judge(&scheme, "/w/seg.ts", cookie(pair), later).is_err());
    let mut elsewhere = get("/v/c/seg.ts", cookie(pair), later);
    elsewhere.client = "198.51.100.9".parse().unwrap();
    assert!(elsewhere.judge(&scheme, Duration::ZERO).is_err());
}

#[test]
fn eight_keys_of_sessions_are_tried_and_no_more() {
    let numbered = |number: u8| (number.to_string().into(), Secret::new(vec![number; 32]), None);
    let with = |keys| {
        let mut rules = with_session().rules;
        rules.session = Some(Session::new(keys));
        EdgeAuth::new(rules)
    };
    let text = "exp=1767229200~acl=/*~data=hdntl";
    let nine = with(NamedKeys::new((1..=9).map(numbered)));
    for (number, allowed) in [(1, true), (8, true), (9, false)] {
        let session = Session::new(NamedKeys::new([numbered(number)]));
        let seal = session.seal(text, UnixTime::from_secs(NOW)).unwrap();
        let judged = judge(&nine, "/a", cookie(&format!("hdntl={text}~hmac={seal}")), NOW);
        assert_eq!(judged.is_ok(), allowed, "{number}");
    }
}

#[test]
fn a_long_token_is_accepted_in_its_cookie_alone_and_a_short_one_never_there() {
    // The same secret for both, which no rule forbids.
    let mut rules = with_session().rules;
    rules.keys = keys(&[("one", &"22".repeat(32))]);
    let scheme = EdgeAuth::new(rules);
    let short = seal(&scheme, "exp=1767229200~acl=/*", None);
    let claims = judge(&scheme, &format!("/a?hdnts={short}"), HeaderMap::new(), NOW).unwrap();
    let set = renewal(&claims).unwrap();
    let long = set.split_once("; ").unwrap().0.split_once('=').unwrap().1;
    assert!(judge(&scheme, "/a", cookie(&format!("hdntl={long}")), NOW).is_ok());
    assert!(judge(&scheme, "/a", cookie(&format!("hdnts={long}")), NOW).is_err());
    assert!(!allows(&scheme, &format!("/a?hdnts={long}")));
    assert!(!allows(&scheme, &format!("/a?hdntl={long}")));
    assert!(judge(&scheme, "/a", cookie(&format!("hdntl={short}")), NOW).is_err());
    // An old long one does not hide a short one.
    let both = cookie(&format!("hdnts={short}; hdntl=junk"));
    assert!(judge(&scheme, "/a", both, NOW).is_ok());
    assert_eq!(
        SignedRequest::cookies(&scheme).first().map(|name| &**name),
        Some("hdntl")
    );
}

#[test]
fn nothing_is_exchanged_that_is_late_early_for_one_path_or_too_long() {
    let scheme = with_session();
    let exchanged = |url: &str, text: &str, path: Option<&str>| {
        let token = seal(&scheme, text, path);
        let request = get(&format!("{url}?hdnts={token}"), HeaderMap::new(), NOW);
        let leeway = Duration::from_secs(60);
        let (claims, _) = request.judge(&scheme, leeway).unwrap();
        renewal(&claims).map(str::to_owned)
    };
    assert!(exchanged("/a", "exp=1767229200~acl=/*", None).is_some());
    assert_eq!(exchanged("/a", "exp=1767225600~acl=/*", None), None);
    assert_eq!(exchanged("/a", "st=1767225601~exp=1767229200~acl=/*", None), None);
    assert_eq!(exchanged("/a", EXP, Some("/a")), None);
    let data = "d".repeat(4000);
    assert_eq!(
        exchanged("/a", &format!("exp=1767229200~acl=/*~data={data}"), None),
        None
    );
    let off = EdgeAuth::new(plain());
    let token = seal(&off, "exp=1767229200~acl=/*~data=hdntl", None);
    let claims = judge(&off, &format!("/a?hdnts={token}"), HeaderMap::new(), NOW).unwrap();
    assert_eq!(renewal(&claims), None);
}

#[test]
fn the_cookies_attributes_are_those_of_the_rules() {
    let mut rules = with_session().rules;
    let session = rules.session.as_mut().unwrap();
    (session.secure, session.same_site) = (false, SameSite::Strict);
    session.name = "media".into();
    let scheme = EdgeAuth::new(rules);
    let token = seal(&scheme, "exp=1767229200~acl=*/x/*", None);
    let claims = judge(&scheme, &format!("/x/a?hdnts={token}"), HeaderMap::new(), NOW).unwrap();
    let set = renewal(&claims).unwrap();
    assert!(
        set.starts_with("media=exp=1767232800~acl=*/x/*~data=hdntl~hmac="),
        "{set}"
    );
    assert!(
        set.ends_with("; Path=/; Max-Age=7200; HttpOnly; SameSite=Strict"),
        "{set}"
    );
}
