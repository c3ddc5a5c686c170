//! Tokens that somebody changed. What the format leaves open: how the bytes are written in base64, tag 61, longer heads of the
//! structure around, and the unprotected header as long as the key stays the same. None of that is signed, and none of it
//! changes what the token says or what it is to the store.

use super::*;
use crate::token::scheme::signed::dice::Dice;

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=%&;. \"";

/// Substitutes, inserts, deletes, doubles or swaps, once to three times.
fn mutate(bytes: &mut Vec<u8>, letters: Option<&[u8]>, random: &mut Dice) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let byte = match letters {
            Some(letters) => letters[random.below(letters.len())],
            None => random.below(256) as u8,
        };
        match random.below(6) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            3 => {
                let end = (at + 1 + random.below(8)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let other = random.below(bytes.len());
                bytes.swap(at, other);
            }
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
}

fn tokens() -> Vec<String> {
    vec![
        token([(312, map([(3, map([(1, text("/videos/"))]))]))]),
        token([
            (2, text("someone")),
            (7, Item::Bytes(&[1, 2, 3, 4])),
            (
                311,
                list([Item::Tag(52, Box::new(Item::Bytes(&[203, 0, 113, 7])))]),
            ),
            (313, list([text("GET")])),
        ]),
    ]
}

/// What is signed, and the signature.
fn core(token: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let bytes = cwt::decode(token).ok()?;
    let envelope = cwt::open(&bytes).ok()?;
    Some((envelope.signed(), envelope.signature.to_vec()))
}

fn run(count: usize, mut change: impl FnMut(&str, &mut Dice) -> Option<Request>) -> usize {
    let scheme = Cat::new(Rules {
        path_segment: true,
        ..rules()
    });
    let originals: Vec<_> = tokens()
        .into_iter()
        .map(|token| (core(&token).unwrap(), token))
        .collect();
    let mut random = Dice(0x9e37_79b9_7f4a_7c15);
    let mut allowed = 0;
    for at in 0..count {
        let (known, token) = &originals[at % originals.len()];
        let Some(request) = change(token, &mut random) else {
            continue;
        };
        let Ok((claims, _)) = request.judge(&scheme, Duration::ZERO) else {
            continue;
        };
        allowed += 1;
        let head = Head {
            path: &request.path,
            query: request.query.as_deref(),
            headers: &request.headers,
        };
        let taken = scheme.take(head).unwrap().unwrap();
        let all = std::iter::once(&taken.parts).chain(&taken.alternatives);
        let same = all.filter_map(|parts| core(&parts[0])).any(|core| core == *known);
        assert!(same, "{}", taken.parts[0]);
        let original = with(token).judge(&scheme, Duration::ZERO).unwrap().0;
        assert_eq!(claims.token_id, original.token_id);
    }
    allowed
}

#[test]
fn no_change_of_the_text_makes_another_token() {
    let allowed = run(50_000, |token, random| {
        let mut bytes = token.as_bytes().to_vec();
        mutate(&mut bytes, Some(LETTERS), random);
        let text = String::from_utf8_lossy(&bytes);
        let value = HeaderValue::from_str(&text).ok()?;
        let mut request = with("");
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        match random.below(4) {
            0 if plain => request = self::request(&format!("{URL}?CAT={text}"), &[]),
            1 if plain => {
                let url = format!("https://media.example.com/{text}/videos/show1/master.m3u8");
                request = self::request(&url, &[]);
            }
            2 => {
                let cookie = format!("a=1; CTA-Common-Access-Token={text}");
                request = self::request(URL, &[("cookie", &*cookie)]);
            }
            _ => {
                request.headers.insert("cta-common-access-token", value);
            }
        }
        Some(request)
    });
    // Padding and swaps of equal letters; that the loop reaches the end of `verify` at all.
    assert!((1..3000).contains(&allowed), "{allowed}");
}

#[test]
fn no_change_of_the_bytes_makes_another_token() {
    use base64::Engine;
    let allowed = run(50_000, |token, random| {
        let mut bytes = cwt::decode(token).unwrap();
        mutate(&mut bytes, None, random);
        Some(with(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes),
        ))
    });
    assert!((1..3000).contains(&allowed), "{allowed}");
}
