//! Links that were changed: by rule, and at random.

use proptest::prelude::*;

use super::*;
use crate::token::scheme::signed::dice::Dice;
use crate::token::scheme::signed::mac::pattern::{Form, Piece};

/// Every preset, and an operator's own pattern.
fn engines() -> Vec<Mac> {
    let presets = PRESETS.iter().map(|preset| Rules {
        without_expiry: preset.time == Time::Absent,
        ..rules(preset.short(), SECRET)
    });
    let own = Rules {
        name: "mac",
        algorithm: Algorithm::Hmac(Hash::Sha256),
        ..altered(
            "keycdn",
            SECRET,
            "{ip}|{segments:2}|{expires_hex}|{sorted_query}|{subject}",
            "/dl/{mac}/{expires}.{subject}",
        )
    };
    let engines = presets.chain([own]);
    engines.map(built).collect()
}

/// A link of this engine.
fn minted(mac: &Mac, target: &Target, lasts: u64) -> String {
    let expires = match mac.rules.time {
        Time::Absent => NEVER,
        // In whole minutes, and a second more for those whose last second counts.
        _ => now()
            .after(Duration::from_secs(lasts))
            .after(mac.grace(TimeText::Seconds)),
    };
    let folder = folder(mac, target);
    url(mac.sign(&Wish {
        opens: folder.as_ref(),
        expires,
        address: mac
            .binds_address()
            .then(|| "203.0.113.7/32".parse().expect("an address")),
        subject: mac.rules.place.has(Field::Subject).then_some("me"),
        ..wish(target)
    }))
}

/// All that is signed of a target.
fn signed_of(mac: &Mac, target: &Target) -> Vec<String> {
    let rest = |path| mac.rest(path).unwrap_or_default();
    let query = target.query().unwrap_or_default();
    let mut pieces: Vec<&str> = query.split('&').filter(|piece| !piece.is_empty()).collect();
    pieces.sort_unstable();
    let of_piece = |piece: &Piece| match piece {
        // The raw one is a spelling of the decoded one.
        Piece::Path {
            part,
            form: Form::Decoded | Form::Raw,
        } => Some(part.of(rest(target.path())).to_owned()),
        Piece::AndQuery => Some(query.to_owned()),
        Piece::SortedQuery => Some(pieces.join("&")),
        _ => None,
    };
    mac.rules.pattern.pieces.iter().filter_map(of_piece).collect()
}

/// Whether a link says all that another says.
fn says_the_same(mac: &Mac, (one, target): &(Claims, Target), (other, to): &(Claims, Target)) -> bool {
    signed_of(mac, target) == signed_of(mac, to)
        && one.token_id == other.token_id
        && (one.expires, one.not_before, one.issued) == (other.expires, other.not_before, other.issued)
        && (&one.id, &one.subject) == (&other.id, &other.subject)
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof!["[a-z0-9]{1,8}", "[a-z0-9 %?#+&=;,_~-]{1,6}", "[äöü漢]{1,3}"];
    let clean = segment.prop_filter("one segment", |segment| {
        !segment.contains("..") && !segment.starts_with('.')
    });
    prop::collection::vec(clean, 2..5).prop_map(|segments| segments.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_minted_is_good_and_its_mac_is_of_no_other_link(
        one in path(),
        other in path(),
        minutes in 2_u64..60,
        ahead in 1_u64..60,
    ) {
        for mac in engines() {
            let below = |path: &str| Target::from_decoded(&format!("{}/{path}", mac.rules.place.prefix()));
            // Not every text is a path, and a question mark in one is not signed beside a query.
            let (Ok(target), Ok(elsewhere)) = (below(&one), below(&other)) else { continue };
            if target.path().contains('?') || elsewhere.path().contains('?') {
                continue;
            }
            let (minutes, ahead) = match mac.rules.time {
                Time::Window { .. } => (2, 1),
                _ => (minutes, minutes.min(ahead) - u64::from(minutes <= ahead)),
            };
            let link = minted(&mac, &target, minutes * 60);
            let good = judge(&mac, &link).map_err(|error| TestCaseError::fail(format!("{link}: {error}")))?;
            prop_assert_eq!(&good.1, &target);

            let longer = add(&link, "utm=1");
            let signs_query = |piece: &Piece| matches!(piece, Piece::AndQuery | Piece::SortedQuery);
            match judge(&mac, &longer) {
                Ok(more) => prop_assert!(says_the_same(&mac, &good, &more) && more.1.query() == Some("utm=1")),
                Err(error) => prop_assert!(mac.rules.pattern.any(signs_query), "{longer}: {error}"),
            }

            let another = Mac::build(Rules { keys: keys(b"another"), ..again(&mac) }).expect("sound rules");
            prop_assert!(judge(&another, &link).is_err());

            // Its MAC in links for another path, and for another time.
            let others = [
                (signed_of(&mac, &elsewhere) != signed_of(&mac, &target)).then(|| minted(&mac, &elsewhere, minutes * 60)),
                (ahead > 0 && !matches!(mac.rules.time, Time::Absent)).then(|| minted(&mac, &target, ahead * 60)),
            ];
            for theirs in others.into_iter().flatten() {
                prop_assert!(judge(&mac, &theirs).is_ok(), "{}", theirs);
                let mixed = theirs.replace(&written_mac(&mac, &theirs), &written_mac(&mac, &link));
                prop_assert!(judge(&mac, &mixed).is_err(), "{}", mixed);
            }

            let client = "198.51.100.9".parse().expect("an address");
            let url = format!("https://media.example.com{link}");
            let elsewhere = Request::new("GET", &url, HeaderMap::new(), client, now());
            prop_assert_eq!(elsewhere.judge(&mac, Duration::ZERO).is_err(), mac.binds_address());
        }
    }
}

/// The MAC of a link, as it stands there.
fn written_mac(mac: &Mac, link: &str) -> String {
    let headers = HeaderMap::new();
    let (path, query) = match link.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (link, None),
    };
    let head = Head {
        path,
        query,
        headers: &headers,
    };
    let taken = mac.take(head).expect("readable").expect("a token");
    let text = taken.parts.first().expect("a MAC").to_string();
    match mac.rules.encoding {
        Encoding::Base64(_) => text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
        _ => text,
    }
}

fn add(link: &str, parameter: &str) -> String {
    let with = if link.contains('?') { '&' } else { '?' };
    format!("{link}{with}{parameter}")
}

/// The same rules again.
fn again(mac: &Mac) -> Rules {
    let own = &mac.rules;
    Rules {
        name: own.name,
        keys: keys(SECRET),
        algorithm: own.algorithm,
        pattern: own.pattern.clone(),
        encoding: own.encoding,
        place: own.place.clone(),
        time: own.time,
        equal_is_valid: own.equal_is_valid,
        without_expiry: own.without_expiry,
        touching: own.touching,
        reading: own.reading,
        arguments: own.arguments,
        last: own.last,
        statuses: own.statuses,
        log_key: own.log_key.clone(),
    }
}

/// What the formats leave open: the spelling of the path and of the token in percent-encoding, the case of hexadecimal
/// digits and of nginx's names, padding, the order of parameters, parameters that nobody signs, files beside the one that was
/// meant where a folder is signed. Whatever is let through says the same as the link that was minted.
#[test]
fn a_hundred_thousand_mutations_open_nothing_else() {
    const LETTERS: &[u8] = b"abcdefABCDEF0123456789-_,=%&?/.+~ ;mexpirs\x00\x7f";
    const ROUNDS: usize = 100_000;
    let mut random = Dice(0x9e37_79b9_7f4a_7c15);
    let links: Vec<(Mac, String, (Claims, Target))> = engines()
        .into_iter()
        .map(|mac| {
            let target = format!("{}/videos1/show%202/seg3.ts", mac.rules.place.prefix());
            let link = minted(&mac, &super::target(&target), 60);
            let good = judge(&mac, &link).expect("a good link");
            (mac, link, good)
        })
        .collect();
    let mut allowed = 0;
    for round in 0..ROUNDS {
        let (mac, link, good) = &links[round % links.len()];
        let mut bytes = link.clone().into_bytes();
        for _ in 0..=random.below(2) {
            let (at, letter) = (random.below(bytes.len()), LETTERS[random.below(LETTERS.len())]);
            match random.below(5) {
                0 => bytes[at] = letter,
                1 => bytes.insert(at, letter),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                3 => {
                    let end = (at + 1 + random.below(8)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let other = random.below(bytes.len());
                    bytes.swap(at, other);
                }
            }
        }
        let changed = String::from_utf8(bytes).expect("ASCII");
        if !changed.starts_with('/') || changed == *link {
            continue;
        }
        if let Ok(other) = judge(mac, &changed) {
            allowed += 1;
            assert!(
                says_the_same(mac, good, &other),
                "{}: {link} became {changed}",
                mac.rules.name
            );
        }
    }
    // Some change nothing; far the most do.
    assert!((1..ROUNDS / 10).contains(&allowed), "{allowed}");
}
