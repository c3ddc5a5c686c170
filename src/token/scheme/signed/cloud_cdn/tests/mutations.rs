//! A hundred thousand random changes of valid links and cookies: none is allowed that means anything else.

use super::*;

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    /// A byte of a URL or a cookie, often one that means something.
    fn byte(&mut self) -> u8 {
        match self.below(3) {
            0 => *b"&=/%?:_-.10".get(self.below(11)).unwrap(),
            _ => u8::try_from(0x21 + self.below(0x5e)).unwrap(),
        }
    }

    /// One or two changes.
    fn change(&mut self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(2) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = self.byte(),
                1 => bytes.insert(at, self.byte()),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, bytes[at]),
                _ => {
                    let other = self.below(bytes.len());
                    bytes.swap(at, other);
                }
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}

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
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
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
            let changed = random.change(text);
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
