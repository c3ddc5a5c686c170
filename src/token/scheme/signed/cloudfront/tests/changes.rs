//! Whatever is changed.

use proptest::prelude::*;

use super::*;
use crate::token::scheme::signed::dice::Dice;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_is_taken_and_nothing_else(
        segments in prop::collection::vec("[a-z0-9*'()+,=:@ \u{e4}.-]{1,8}x", 2..5),
        query in prop::option::of("[a-z0-9=%&/?]{1,20}"),
        life in 1..100_000u64, start in prop::option::of(0..1000i64), at in 0..100_000i64,
        address in prop::option::of((any::<u32>(), 8..=32u8)),
        folder: bool, cookie: bool, other in "[A-Z]{1,6}",
    ) {
        let (scheme, public) = (issuer_for_properties(), public());
        let path = format!("/{}", segments.join("/"));
        let target = Target::from_decoded(&path).unwrap().with_query(query.as_deref()).unwrap();
        let opens = Opens::literal(&path[..=path.rfind('/').unwrap()]).unwrap();
        let net = address.map(|(bits, length)| ipnet::Ipv4Net::new(bits.into(), length).unwrap());
        let wish = Wish {
            opens: folder.then_some(&opens),
            place: if cookie { Place::Cookie } else { Place::Url },
            not_before: start.map(|seconds| NOW.after(Duration::from_secs(seconds.unsigned_abs()))),
            expires: NOW.after(Duration::from_secs(life)),
            address: net.map(Into::into),
            ..wish(&public, &target)
        };
        // As it is written in a link.
        let own = target.as_str().replace('*', "%2A");
        let (link, cookies) = match scheme.sign(&wish).unwrap() {
            Signed::Url(link) => (link, Vec::new()),
            Signed::Cookies(cookies) => (own.clone(), cookies),
            Signed::Header(..) => unreachable!(),
        };
        prop_assert!(link.starts_with(&own), "{} {}", link, own);
        let now = UnixTime::from_secs(NOW.secs() + at);
        let client = net.map_or("198.51.100.1".parse().unwrap(), |net| net.network());
        let judge = |link: &str, client: std::net::Ipv4Addr| {
            request(link, &cookies, &client.to_string(), now).judge(&scheme, Duration::ZERO)
        };
        let in_time = at < life as i64 && start.is_none_or(|start| at >= start);
        match judge(&link, client) {
            Ok((claims, judged)) => {
                prop_assert!(in_time);
                prop_assert_eq!(claims.expires, Some(wish.expires));
                prop_assert_eq!(claims.not_before, wish.not_before);
                prop_assert_eq!(judged.path(), target.path());
                prop_assert_eq!(judged.query(), target.query());
            }
            Err(what) => prop_assert!(!in_time && ["Expired", "NotYet"].contains(&&*what), "{}", what),
        }
        if in_time {
            if let Some(net) = net.filter(|net| net.prefix_len() > 0) {
                let outside = std::net::Ipv4Addr::from(u32::from(net.network()) ^ (1 << 31));
                prop_assert_eq!(judge(&link, outside).unwrap_err(), "address");
            }
            let end = own.find('?').unwrap_or(own.len());
            let sibling = format!("{}{other}{}", &link[..end], &link[end..]);
            prop_assert_eq!(judge(&sibling, client).is_ok(), folder, "{}", sibling);
            let elsewhere = format!("/{other}{link}");
            prop_assert!(judge(&elsewhere, client).is_err());
            let separator = if link.contains('?') { '&' } else { '?' };
            let more = format!("{link}{separator}{other}");
            prop_assert_eq!(judge(&more, client).is_ok(), folder, "{}", more);
        }
    }
}

fn issuer_for_properties() -> CloudFront {
    static KEY: std::sync::OnceLock<Secret> = std::sync::OnceLock::new();
    issuer(KEY.get_or_init(p256_key))
}

/// What the format leaves open: how a parameter is percent-encoded, where it stands, and what cookies stand around it. All of that
/// is gone when a token has been taken, so that what is allowed has to have the same parts and the same target.
#[test]
fn of_a_hundred_thousand_changed_tokens_none_is_allowed_that_says_something_else() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let cases = [
        ("canned_valid_query", 25_000),
        ("custom_started", 25_000),
        ("canned_sha256", 20_000),
        ("cookie_custom_sha256", 20_000),
        ("canned_ecdsa_sha256", 5_000),
        ("canned_ecdsa_sha1", 5_000),
    ];
    let (mut same, mut tried) = (0, 0);
    for (name, count) in cases {
        let (scheme, original) = published_case(name);
        let parts = |request: &Request| {
            let taken = scheme.take(head(request)).unwrap().unwrap();
            let query = taken.query.map(Cow::into_owned);
            let parts = taken
                .parts
                .into_iter()
                .map(Cow::into_owned)
                .collect::<Vec<String>>();
            (parts, taken.path.into_owned(), query)
        };
        let before = parts(&original);
        for _ in 0..count {
            tried += 1;
            let (mut query, mut headers) = (original.query.clone(), original.headers.clone());
            match headers.get(COOKIE) {
                Some(cookie) => {
                    let changed = dice.changed(cookie.to_str().unwrap());
                    headers.insert(COOKIE, HeaderValue::from_str(&changed).unwrap());
                }
                None => query = Some(dice.changed(&query.unwrap())),
            }
            let request = Request {
                query,
                headers,
                method: Method::GET,
                public: original.public.clone(),
                path: original.path.clone(),
                ..original
            };
            if request.judge(&scheme, Duration::ZERO).is_ok() {
                same += 1;
                assert_eq!(parts(&request), before, "{name}: {:?}", request.query);
            }
        }
    }
    assert_eq!(tried, 100_000);
    // Some are the same token: the test looks at what it means to.
    assert!(same > 50, "{same}");
}
