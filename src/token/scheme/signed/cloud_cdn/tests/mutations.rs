//! A hundred thousand random changes of valid links and cookies: none is allowed that means anything else.

use super::*;
use crate::token::scheme::signed::dice::Dice;

/// Bytes that mean something there.
const LETTERS: &[u8] = b"&=/%?:_-.10";

/// The parts of the token, decoded: where they stand in the query of a link with a prefix, how they are encoded, and the
/// other parameters are all that the format leaves open.
fn meaning(request: &Request) -> Option<Vec<String>> {
    let scheme = CloudCdn::new(rules());
    let head = Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let taken = scheme.take(head).ok()??;
    Some(taken.parts.iter().map(|part| part.clone().into_owned()).collect())
}

#[test]
fn no_changed_link_or_cookie_means_something_else() {
    let mut random = Dice(0x9e37_79b9_7f4a_7c15);
    let mut allowed = 0;
    let scheme = CloudCdn::new(rules());
    let exact = Link::to("/videos/15/20?a=1").url();
    let prefix = Link::below("/videos/15/20?a=1", "/videos/15/").url();
    let cookie = Link::below("/videos/15/20", "/videos/15/").cookie();
    for (text, place, rounds) in [
        (&exact, Place::Url, 30_000),
        (&prefix, Place::Url, 40_000),
        (&cookie, Place::Cookie, 30_000),
    ] {
        let of = |text: &str| match place {
            Place::Cookie => request("/videos/15/20", &[text]),
            _ => request(&format!("/{}", text.trim_start_matches('/')), &[]),
        };
        let original = of(text);
        let meant = meaning(&original).unwrap();
        assert!(original.judge(&scheme, Duration::ZERO).is_ok());
        for _ in 0..rounds {
            let changed = random.touched(text, LETTERS);
            let changed = of(&changed);
            if let Ok((claims, target)) = changed.judge(&scheme, Duration::ZERO) {
                allowed += 1;
                let what = format!("{}?{:?} {:?}", changed.path, changed.query, changed.headers);
                assert_eq!(meaning(&changed).unwrap(), meant, "{what}");
                assert_eq!(claims.expires, Some(UnixTime::from_secs(EXPIRY)), "{what}");
                assert!(target.path().starts_with("/videos/15/"), "{what}");
                if text == &exact {
                    assert_eq!(target.as_str(), "/videos/15/20?a=1", "{what}");
                }
            }
        }
    }
    assert!(allowed > 500, "{allowed} were allowed: nothing was tried");
}
