use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::*;
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::keys::{KeySet, SetSource};
use crate::token::{MintToken, Minted, Opens, Standing};

fn now() -> UnixTime {
    UnixTime::from_millis(1_767_225_600_123)
}

fn log_key() -> Arc<LogKey> {
    static KEY: OnceLock<Arc<LogKey>> = OnceLock::new();
    Arc::clone(KEY.get_or_init(|| Arc::new(LogKey::new(&Secret::new(vec![7; 32])))))
}

fn made(algorithm: Algorithm) -> Arc<KeyRing> {
    let json = KeySet::generate(algorithm).unwrap();
    let keys = KeySet::from_jwks(json.as_bytes(), SetSource::Local).unwrap();
    Arc::new(KeyRing::fixed("adobe", keys))
}

/// One key for all tests: to make one takes a while.
fn ring() -> Arc<KeyRing> {
    static RING: OnceLock<Arc<KeyRing>> = OnceLock::new();
    Arc::clone(RING.get_or_init(|| made(ALGORITHM)))
}

fn verifier_with(keys: Arc<KeyRing>, uses: Uses) -> ShortMedia {
    let scope = Scope(Box::new([Opens::parse("/news/**").unwrap()]));
    let rules = Rules {
        keys,
        requestors: Box::new(["SPORT".into()]),
        resources: Some(BTreeMap::from([(
            "SPORT".into(),
            BTreeMap::from([("news".into(), scope)]),
        )])),
        uses,
        log_key: log_key(),
    };
    ShortMedia::succeeding(rules, [])
}

fn verifier() -> ShortMedia {
    verifier_with(ring(), Uses::Once)
}

fn verify_by(verifier: &ShortMedia, text: &str) -> Result<Claims, TokenError> {
    let headers = HeaderMap::new();
    verifier.verify(&Evidence {
        method: &Method::GET,
        public: None,
        raw_path: "/",
        raw_query: None,
        headers: &headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        proxied: false,
        parts: [text.into()].into_iter().collect(),
    })
}

fn verify(text: &str) -> Result<Claims, TokenError> {
    verify_by(&verifier(), text)
}

fn claims() -> Claims {
    Claims {
        subject: Some("session-1".into()),
        expires: Some(now().after(Duration::from_secs(420))),
        named: Box::new([
            ("resource".into(), "news".into()),
            ("requestor".into(), "SPORT".into()),
            ("mvpd".into(), "A & B <tv>".into()),
            ("proxy_mvpd".into(), "proxy".into()),
        ]),
        ..Claims::empty(TokenId([0; 16]))
    }
}

fn minter() -> Minter {
    Minter {
        keys: ring(),
        log_key: log_key(),
    }
}

fn mint() -> Minted {
    minter().mint(&claims(), now()).unwrap()
}

fn xml_of(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

/// A true token whose element is this text.
fn signed(element: &str) -> String {
    let ring = ring().load().unwrap();
    let key = ring.keys.signing_by(ALGORITHM).unwrap();
    let signature = crypto::sign(element.as_bytes(), &key.key, ALGORITHM).unwrap();
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(signature)
        .unwrap();
    let signature = STANDARD.encode(signature);
    STANDARD.encode(format!("<signatureInfo>{signature}</signatureInfo>{element}"))
}

const ELEMENT: &str = "<shortAuthorizationToken><sessionGUID>s</sessionGUID><requestorID>SPORT</requestorID>\
    <resourceID>news</resourceID><ttl>420000</ttl><issueTime>1767225600123</issueTime><mvpdId>m</mvpdId>\
    </shortAuthorizationToken>";

#[test]
fn what_is_made_is_believed_and_says_the_same() {
    let minted = mint();
    let read = verify(&minted.text).unwrap();
    assert_eq!(read.subject.as_deref(), Some("session-1"));
    assert_eq!(read.expires, claims().expires);
    assert_eq!(read.named, claims().named);
    assert_eq!((read.uses, read.token_id), (Uses::Once, minted.id));
    assert!(read.key.is_some() && looks_like_one(&minted.text));
    assert_eq!(read.scope, verifier().rules.scope("SPORT", "news"));
    let many = verifier_with(ring(), Uses::UntilExpiry);
    assert_eq!(verify_by(&many, &minted.text).unwrap().uses, Uses::UntilExpiry);
    let plain = verify(&signed(ELEMENT)).unwrap();
    assert_eq!(plain.text("proxy_mvpd"), None);
}

#[test]
fn a_resource_that_is_not_in_the_table_opens_nothing() {
    let other = verify(&signed(&ELEMENT.replace(">news<", ">sport<"))).unwrap();
    assert_eq!(other.scope, Some(Scope::default()));
}

#[test]
fn two_tokens_of_one_millisecond_are_two_and_end_together() {
    let tokens: Vec<Minted> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..5).map(|_| mint()).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut ids: Vec<TokenId> = tokens.iter().map(|token| token.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    for token in tokens {
        assert_eq!(verify(&token.text).unwrap().expires, claims().expires);
    }
}

#[test]
fn a_clock_that_was_set_back_does_not_date_tokens_by_its_old_time() {
    let named = |name: &str| {
        let mut claims = claims();
        claims.subject = Some(name.into());
        claims
    };
    let late = now().after(Duration::from_secs(7200));
    let claims = Claims {
        expires: Some(late.after(Duration::from_secs(60))),
        ..named("set-back")
    };
    minter().mint(&claims, late).unwrap();
    let claims = Claims {
        expires: Some(now().after(Duration::from_secs(60))),
        ..named("set-back")
    };
    let token = minter().mint(&claims, now()).unwrap();
    assert_eq!(verify(&token.text).unwrap().issued, Some(now()));
}

#[test]
fn times_are_exact_and_an_issuer_may_be_ahead_by_an_hour() {
    let claims = verify(&signed(ELEMENT)).unwrap();
    let end = now().after(Duration::from_millis(420_000));
    let at = |time: UnixTime| claims.standing(time, Duration::ZERO);
    assert_eq!(at(UnixTime::from_millis(end.millis() - 1)), Standing::InTime);
    assert_eq!(at(end), Standing::Expired);
    assert_eq!(at(now().before(Duration::from_secs(3600))), Standing::InTime);
    assert_eq!(at(now().before(Duration::from_secs(3601))), Standing::NotYet);
    let dated = ELEMENT.replace("1767225600123", "2026-01-01T01:00:00.123+01:00");
    assert_eq!(verify(&signed(&dated)).unwrap().expires, Some(end));
}

#[test]
fn spaces_for_pluses_and_the_closing_tag_without_its_slash_are_the_same_token() {
    let minted = mint();
    let xml = xml_of(&minted.text);
    let odd = STANDARD.encode(xml.replace("</signatureInfo>", "<signatureInfo>"));
    for text in [minted.text.replace('+', " "), odd] {
        assert_ne!(text, minted.text);
        assert_eq!(verify(&text).unwrap().token_id, minted.id);
    }
}

#[test]
fn other_elements_are_no_token_however_truly_they_are_signed() {
    assert!(verify(&signed(ELEMENT)).is_ok());
    let spaced = ELEMENT.replace("><", ">\r\n  <").replace(">\r\n  </r", "></r");
    assert!(verify(&signed(&spaced)).is_ok(), "{spaced}");
    for (from, to) in [
        ("<ttl>420000</ttl>", ""),
        ("<ttl>420000</ttl>", "<ttl>420000</ttl><ttl>1</ttl>"),
        ("<ttl>", "<ttl x=\"1\">"),
        ("<ttl>", "<ttl >"),
        ("420000", "-420000"),
        ("420000", "+420000"),
        ("420000", "0"),
        ("420000", ""),
        ("420000", "4e5"),
        ("420000", "99999999999999999999"),
        ("420000", "31622400001"),
        ("1767225600123", "yesterday"),
        ("1767225600123", "9999999999999999"),
        ("<mvpdId>m</mvpdId>", "<mvpdId/>"),
        ("<mvpdId>m</mvpdId>", "<other>m</other>"),
        ("<mvpdId>m</mvpdId>", "<mvpdId><b>m</b></mvpdId>"),
        ("<mvpdId>m</mvpdId>", "<mvpdId><![CDATA[m]]></mvpdId>"),
        ("<mvpdId>m</mvpdId>", "<mvpdId>m</mvpdId><!-- x -->"),
        ("<mvpdId>m</mvpdId>", "<mvpdId>m</ttl>"),
        ("<mvpdId>m</mvpdId>", "<mvpdId>m"),
        (">m<", ">&xxe;<"),
        (">m<", ">&#10;<"),
        (">m<", ">\u{0}<"),
        (
            "<shortAuthorizationToken>",
            "<?xml version=\"1.0\"?><shortAuthorizationToken>",
        ),
        (
            "<shortAuthorizationToken>",
            "<!DOCTYPE x []><shortAuthorizationToken>",
        ),
        ("<shortAuthorizationToken>", " <shortAuthorizationToken>"),
        ("</shortAuthorizationToken>", "</shortAuthorizationToken> "),
        ("</shortAuthorizationToken>", "x</shortAuthorizationToken>"),
        ("</shortAuthorizationToken>", ""),
    ] {
        let element = ELEMENT.replace(from, to);
        assert_ne!(element, ELEMENT);
        let refused = verify(&signed(&element));
        assert!(
            matches!(refused, Err(TokenError::Malformed(_))),
            "{to}: {refused:?}"
        );
    }
    let other = verify(&signed(&ELEMENT.replace("SPORT", "sport")));
    assert!(matches!(other, Err(TokenError::Invalid("for another requestor"))));
}

#[test]
fn text_that_is_no_token_is_malformed() {
    let good = mint().text;
    let wrap = |xml: &str| STANDARD.encode(xml);
    for bad in [
        String::new(),
        "x".into(),
        "eyJ.e30.c2ln".into(),
        good.trim_end_matches('=').to_owned() + "====",
        good.clone() + " ",
        format!("{good}\n"),
        good.replace('+', "-"),
        "A".repeat(MAX_LENGTH + 4),
        wrap("<signatureInfo></signatureInfo>"),
        wrap("<signatureInfo>"),
        wrap(ELEMENT),
        wrap(&format!("<signatureInfo>!</signatureInfo>{ELEMENT}")),
        wrap(&format!("<signatureInfo>YQ</signatureInfo>{ELEMENT}")),
        wrap(&format!(" <signatureInfo>YQ==</signatureInfo>{ELEMENT}")),
        wrap(&format!("<signatureInfo>YQ==</signatureInfo>\n{ELEMENT}")),
        STANDARD.encode([b"<signatureInfo>\xff</signatureInfo>", ELEMENT.as_bytes()].concat()),
    ] {
        let refused = verify(&bad);
        assert!(
            matches!(refused, Err(TokenError::Malformed(_))),
            "{bad:?}: {refused:?}"
        );
    }
}

const MAX_LENGTH: usize = crate::token::MAX_TOKEN_BYTES;

#[test]
fn other_keys_algorithms_and_no_keys_refuse() {
    let minted = mint();
    let by = |ring| verify_by(&verifier_with(ring, Uses::Once), &minted.text).unwrap_err();
    assert_eq!(
        by(made(ALGORITHM)),
        TokenError::Invalid("the signature is not of any key")
    );
    assert_eq!(by(made(Algorithm::ES256)), TokenError::UnknownKey);
    assert_eq!(
        by(Arc::new(KeyRing::pending("adobe"))),
        TokenError::KeysUnavailable
    );
    let es256 = Minter {
        keys: made(Algorithm::ES256),
        log_key: log_key(),
    };
    assert!(es256.mint(&claims(), now()).is_err());
}

#[test]
fn what_a_token_cannot_say_is_not_made() {
    let named = |name: &str, text: &str| {
        let mut claims = claims();
        for (known, value) in &mut claims.named {
            if **known == *name {
                *value = text.into();
            }
        }
        claims
    };
    for bad in [
        Claims {
            subject: None,
            ..claims()
        },
        Claims {
            expires: None,
            ..claims()
        },
        Claims {
            expires: Some(now().before(Duration::from_secs(1))),
            ..claims()
        },
        Claims {
            named: Box::default(),
            ..claims()
        },
        named("resource", ""),
        named("mvpd", "a\nb"),
        named("proxy_mvpd", "\u{ffff}"),
        named("resource", &"&".repeat(2000)),
    ] {
        assert!(minter().mint(&bad, now()).is_err(), "{bad:?}");
    }
}

#[test]
fn a_verifier_with_other_rules_shares_no_verdicts() {
    let one = verifier();
    let rules = |uses| verifier_with(ring(), uses).rules;
    let same = ShortMedia::succeeding(rules(Uses::Once), [&one]);
    let other = ShortMedia::succeeding(rules(Uses::UntilExpiry), [&one]);
    assert_eq!(one.cache_stamp(), same.cache_stamp());
    assert_ne!(one.cache_stamp(), other.cache_stamp());
}

proptest! {
    #[test]
    fn the_reader_never_panics(text in r#"[<>/&;#="'x0-9a-zA-Z \n-]{0,200}"#, raw in any::<Vec<u8>>()) {
        let _ = Token::parse(&text);
        let _ = Token::parse(&STANDARD.encode(&raw));
        let _ = Token::parse(&STANDARD.encode(format!("<signatureInfo>YQ==</signatureInfo>{text}")));
        let inside = format!("<shortAuthorizationToken>{text}</shortAuthorizationToken>");
        let _ = Token::parse(&STANDARD.encode(format!("<signatureInfo>YQ==<signatureInfo>{inside}")));
    }

    #[test]
    fn a_token_that_was_touched_is_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3u8) {
        let text = signed(ELEMENT);
        let mut bytes = STANDARD.decode(&text).unwrap();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => { bytes.remove(at); }
        }
        let touched = STANDARD.encode(&bytes);
        let odd = xml_of(&text).replace("</signatureInfo>", "<signatureInfo>");
        prop_assume!(touched != text && bytes != odd.as_bytes());
        prop_assert!(verify(&touched).is_err());
    }

    #[test]
    fn a_text_that_was_touched_is_refused(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9+/= _-]") {
        let text = signed(ELEMENT);
        let at = at.index(text.len());
        let mut touched = text.clone();
        touched.replace_range(at..=at, &letter);
        prop_assume!(touched.replace(' ', "+") != text);
        prop_assert!(verify(&touched).is_err());
    }

    #[test]
    fn texts_of_any_kind_come_back(resource in "\\PC{1,40}", mvpd in "\\PC{1,40}") {
        prop_assume!(xml::is_sayable(&resource) && xml::is_sayable(&mvpd));
        let mut claims = claims();
        claims.named[0].1 = resource.as_str().into();
        claims.named[2].1 = mvpd.as_str().into();
        let read = verify(&minter().mint(&claims, now()).unwrap().text).unwrap();
        prop_assert_eq!(read.text("resource"), Some(&*resource));
        prop_assert_eq!(read.text("mvpd"), Some(&*mvpd));
    }
}
