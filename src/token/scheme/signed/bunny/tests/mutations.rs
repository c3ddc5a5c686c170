//! A hundred thousand random changes of valid links: none is allowed that means anything else.

use std::collections::BTreeMap;

use super::*;
use crate::token::scheme::signed::dice::Dice;

/// Bytes that mean something there.
const LETTERS: &[u8] = b"&=/%?+_-.10";

/// What a link means: the token's parts and the parameters, all decoded. A parameter's spelling and the order of parameters
/// are all that the format leaves open; the oldest generation leaves the parameters open, too.
fn meaning(request: &Request, generation: Generation) -> Option<(Vec<String>, BTreeMap<String, String>)> {
    let bunny = Bunny::new(rules(&ALL));
    let head = Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let taken = bunny.take(head).ok()??;
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let own = taken.query.as_deref().unwrap_or_default();
    let own = own.split('&').filter(|piece| !piece.is_empty()).map(|piece| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        (decode(name), decode(value))
    });
    let parts = taken.parts.iter().map(|part| part.clone().into_owned());
    Some((
        parts.collect(),
        match generation {
            Generation::Md5 => BTreeMap::new(),
            _ => own.collect(),
        },
    ))
}

#[test]
fn no_changed_link_means_something_else() {
    let mut random = Dice(0x9e37_79b9_7f4a_7c15);
    let mut allowed = 0;
    let bases = [
        (Generation::Hs256, None, Form::Query),
        (Generation::Hs256, Some("/videos/15/"), Form::Path),
        (Generation::Sha256, Some("/videos/15/"), Form::Query),
        (Generation::Md5, None, Form::Query),
    ];
    for (generation, folder, form) in bases {
        let make = || Rules {
            form,
            ..rules(&[generation])
        };
        let mut link = Link::to("/videos/15/20?a=1&width=640");
        link.opens = folder.map(|folder| Opens::Prefix(folder.into()));
        let url = link.sign(make()).unwrap();
        let original = request(&url);
        let meant = meaning(&original, generation).unwrap();
        let bunny = Bunny::new(make());
        assert!(original.judge(&bunny, Duration::ZERO).is_ok());
        for _ in 0..25_000 {
            let changed = random.touched(&url, LETTERS);
            let changed = request(&format!("/{}", changed.trim_start_matches('/')));
            if let Ok((claims, target)) = changed.judge(&bunny, Duration::ZERO) {
                allowed += 1;
                let what = format!("{}?{:?}", changed.path, changed.query);
                assert_eq!(meaning(&changed, generation).unwrap(), meant, "{what}");
                assert_eq!(claims.expires, Some(UnixTime::from_secs(EXPIRY)), "{what}");
                match folder {
                    Some(folder) => assert!(target.path().starts_with(folder), "{what}"),
                    None => assert_eq!(target.path(), link.target.path(), "{what}"),
                }
            }
        }
    }
    assert!(allowed > 500, "{allowed} were allowed: nothing was tried");
}
