//! A hundred thousand random changes of good tokens.

use super::*;

/// Xorshift: the same changes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap()
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() % end
    }

    /// A byte of those that a URL may have, rather often one that means something in it.
    fn byte(&mut self) -> u8 {
        const MEANING: &[u8] = b".&;=/?,-_%!$'()*+:@~AQ01";
        match self.below(3) {
            0 => MEANING[self.below(MEANING.len())],
            _ => b'!' + u8::try_from(self.below(94)).unwrap(),
        }
    }

    /// Changes `text` in one to three places.
    fn mutate(&mut self, text: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(text.len());
            match self.below(5) {
                0 => text[at] = self.byte(),
                1 => {
                    let byte = self.byte();
                    text.insert(at, byte);
                }
                2 if text.len() > 1 => drop(text.remove(at)),
                3 => {
                    let end = (at + 1 + self.below(20)).min(text.len());
                    let copy = text[at..end].to_vec();
                    text.splice(at..at, copy);
                }
                _ => {
                    let other = self.below(text.len());
                    text.swap(at, other);
                }
            }
        }
    }
}

/// Changes the token and its name in a link `count` times; none is taken unless it is the same token for the same URI: behind a
/// `;` or `/` instead of the `?`, or percent-encoded in its name.
fn mutations(scheme: &Cdni, link: &str, count: usize, random: &mut Random) -> usize {
    let start = link.find(ATTRIBUTE).unwrap();
    let (before, token) = link.split_at(start);
    let text = token.split_once('=').unwrap().1;
    let mut same = 0;
    for _ in 0..count {
        let mut touched = token.as_bytes().to_vec();
        random.mutate(&mut touched);
        let touched = String::from_utf8(touched).unwrap();
        if touched == token {
            continue;
        }
        let url = format!("{before}{touched}");
        if judge(scheme, &url).is_ok() {
            let request = request(&url, None);
            let head = Head {
                path: &request.path,
                query: request.query.as_deref(),
                headers: &request.headers,
            };
            let taken = scheme.take(head).unwrap().unwrap();
            assert_eq!(taken.parts[0], text, "{url}");
            let uri = uri::normalized(&request.public, &taken.path, taken.query.as_deref());
            assert_eq!(uri, "https://media.example.com/a/b.mp4", "{url}");
            same += 1;
        }
    }
    same
}

#[test]
fn no_change_of_a_token_is_taken() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (public, target) = (public(), Target::parse("/a/b.mp4", None).unwrap());
    let fast = Cdni::new(plain());
    let jwks = serde_json::from_str(&KeySet::generate(Algorithm::ES256).unwrap()).unwrap();
    let slow = Cdni::new(Rules::new(Box::default(), Some(ring("es", &jwks)), log_key()));
    let mut same = 0;
    for (scheme, count) in [(&fast, 98_000), (&slow, 2000)] {
        let link = url_of(scheme.sign(&wish(&target, &public)).unwrap());
        assert!(judge(scheme, &link).is_ok());
        same += mutations(scheme, &link, count, &mut random);
    }
    // The format leaves next to nothing open.
    assert!(same < 100, "{same}");
}

#[test]
fn no_change_of_a_cookie_is_taken() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let scheme = Cdni::new(plain());
    let (public, target) = (public(), Target::parse("/a/b.mp4", None).unwrap());
    let signed = scheme.sign(&Wish {
        place: Place::Cookie,
        ..wish(&target, &public)
    });
    let Ok(Signed::Cookies(cookies)) = signed else {
        panic!("no cookies")
    };
    let (name, token) = &cookies[0];
    for _ in 0..10_000 {
        let mut touched = token.as_bytes().to_vec();
        random.mutate(&mut touched);
        let touched = String::from_utf8(touched).unwrap();
        let request = request(
            "https://media.example.com/a/b.mp4",
            Some(&format!("{name}={touched}")),
        );
        if request.judge(&scheme, Duration::ZERO).is_ok() {
            // Whatever stands behind a `;` is another cookie, and whatever is quoted is the same.
            assert_eq!(touched.split(';').next().unwrap().trim_matches('"'), token);
        }
    }
}
