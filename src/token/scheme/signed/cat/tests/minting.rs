//! Keys, and what is made with them.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

/// A pair in PEM.
pub(super) struct Pem {
    algorithm: Algorithm,
    public: String,
    private: String,
}

impl Pem {
    fn new(algorithm: Algorithm, public: &[u8], private: &[u8]) -> Self {
        let pem = |label, der: &[u8]| {
            let body = STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        Self {
            algorithm,
            public: pem("PUBLIC KEY", public),
            private: pem("PRIVATE KEY", private),
        }
    }

    pub(super) fn public(&self) -> CatKey {
        CatKey::build(self.algorithm, &Secret::new(self.public.clone().into())).unwrap()
    }

    pub(super) fn private(&self) -> CatKey {
        CatKey::build(self.algorithm, &Secret::new(self.private.clone().into())).unwrap()
    }
}

fn ec(algorithm: Algorithm) -> Pem {
    let signing = match algorithm {
        Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
    };
    let pair = EcdsaKeyPair::generate(signing).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    Pem::new(algorithm, public.as_ref(), pair.to_pkcs8v1().unwrap().as_ref())
}

pub(super) fn ec_pair() -> Pem {
    ec(Algorithm::Es256)
}

fn rsa() -> Pem {
    let pair = RsaPair::generate(KeySize::Rsa2048).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    Pem::new(Algorithm::Ps256, public.as_ref(), private.as_ref())
}

#[test]
fn a_private_key_signs_what_its_public_half_holds_and_no_other() {
    let pairs = [
        ec(Algorithm::Es256),
        ec(Algorithm::Es384),
        rsa(),
        ec(Algorithm::Es256),
    ];
    let target = Target::parse("/a", None).unwrap();
    let tokens = pairs.each_ref().map(|pair| {
        let rules = Rules {
            keys: named([("k", pair.private())]),
            ..rules()
        };
        match Cat::new(rules).sign(&wish(&target, None, Place::Header)).unwrap() {
            Signed::Header(_, token) => token,
            other => panic!("{other:?}"),
        }
    });
    for (made, token) in tokens.iter().enumerate() {
        for (held, pair) in pairs.iter().enumerate() {
            let rules = Rules {
                keys: named([("k", pair.public())]),
                ..rules()
            };
            assert!(!rules.keys.named("k", now()).unwrap().key.signs());
            let request = request(
                "https://media.example.com/a",
                &[("cta-common-access-token", token)],
            );
            assert_eq!(judge(rules, &request).is_ok(), made == held, "{made} {held}");
        }
    }
}

#[test]
fn weak_keys_and_keys_of_another_kind_are_refused() {
    let build = |algorithm, bytes: &[u8]| CatKey::build(algorithm, &Secret::new(bytes.to_vec()));
    assert!(build(Algorithm::Hmac256, &[1; 31]).is_err());
    assert!(build(Algorithm::Hmac256, &[1; 32]).is_ok());
    let (one, other) = (ec(Algorithm::Es256), ec(Algorithm::Es384));
    assert!(build(Algorithm::Es384, one.public.as_bytes()).is_err());
    assert!(build(Algorithm::Es256, other.public.as_bytes()).is_err());
    assert!(build(Algorithm::Ps256, one.public.as_bytes()).is_err());
    assert!(build(Algorithm::Es256, &[1; 64]).is_err());
    assert_eq!(format!("{:?}", mac(1)), "CatKey { algorithm: Hmac256, .. }");
    assert_eq!(Algorithm::parse("ES256"), Some(Algorithm::Es256));
    assert_eq!(Algorithm::parse("HS512"), None);
}

/// A token whose parts are chosen freely, and whose MAC is of the first key.
fn forged(tag: u64, signed: Map<'static>, unsigned: Map<'static>) -> String {
    let payload = Item::Map(vec![
        (Label::Int(1), text(ISSUER)),
        (Label::Int(4), Item::Int(NOW + 9)),
    ])
    .encode();
    let protected = Item::Map(signed).encode();
    let context = [
        text("MAC0"),
        Item::Bytes(&protected),
        Item::Bytes(&[]),
        Item::Bytes(&payload),
    ];
    let mac = mac(1).sign(&Item::List(context.into()).encode()).unwrap();
    let parts = [
        Item::Bytes(&protected),
        Item::Map(unsigned),
        Item::Bytes(&payload),
        Item::Bytes(&mac),
    ];
    let bytes = Item::Tag(tag, Box::new(Item::List(parts.into()))).encode();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn the_signed_header_says_the_algorithm_and_nothing_that_we_do_not_take() {
    let int = |label, number| (Label::Int(label), Item::Int(number));
    let kid = || (Label::Int(4), Item::Bytes(b"one"));
    let judged = |tag, signed, unsigned| judge(rules(), &with(&forged(tag, signed, unsigned))).is_ok();
    assert!(judged(17, vec![int(1, 5)], vec![kid()]));
    assert!(judged(17, vec![int(1, 5)], vec![(Label::Int(4), text("one"))]));
    assert!(judged(17, vec![int(1, 5), kid(), int(3, 60)], vec![]));
    assert!(judged(17, vec![int(1, 5)], vec![]));
    assert!(judged(17, vec![int(1, 5)], vec![kid(), int(99, 0)]));
    let refused: [(u64, Map<'_>, Map<'_>); 14] = [
        (18, vec![int(1, 5)], vec![kid()]),
        (16, vec![int(1, 5)], vec![kid()]),
        (17, vec![int(1, -7)], vec![kid()]),
        (17, vec![int(1, 4)], vec![kid()]),
        (17, vec![int(1, 6)], vec![kid()]),
        (17, vec![(Label::Int(1), text("HS256"))], vec![kid()]),
        (17, vec![], vec![kid(), int(1, 5)]),
        (17, vec![int(1, 5)], vec![kid(), int(1, 5)]),
        (17, vec![int(1, 5), kid()], vec![kid()]),
        (17, vec![int(1, 5), (Label::Int(2), list([]))], vec![kid()]),
        (17, vec![int(1, 5), int(15, 0)], vec![kid()]),
        (17, vec![int(1, 5)], vec![kid(), int(15, 0)]),
        (17, vec![int(1, 5)], vec![(Label::Int(4), Item::Bytes(b"two"))]),
        (17, vec![int(1, 5)], vec![int(4, 1)]),
    ];
    for (at, (tag, signed, unsigned)) in refused.into_iter().enumerate() {
        assert!(!judged(tag, signed, unsigned), "{at}");
    }
}

#[test]
fn a_key_that_has_ended_holds_and_signs_no_more() {
    let rules = |until: i64| Rules {
        keys: NamedKeys::new([("one".into(), mac(1), Some(UnixTime::from_secs(until)))]),
        ..rules()
    };
    assert!(judge(rules(NOW + 1), &with(&token([]))).is_ok());
    assert!(judge(rules(NOW), &with(&token([]))).is_err());
    let target = Target::parse("/a", None).unwrap();
    assert!(
        Cat::new(rules(NOW))
            .sign(&wish(&target, None, Place::Url))
            .is_err()
    );
}

#[test]
fn all_of_a_wish_is_said_and_judged_again() {
    let rules = || Rules {
        audiences: Box::new(["media".into()]),
        audience_required: true,
        labels: Labels::default().with("catu", 401).unwrap(),
        ..rules()
    };
    let target = Target::parse("/a b/c.ts".replace(' ', "%20").as_str(), Some("v=1")).unwrap();
    let public = public();
    let wish = Wish {
        method: &Method::PUT,
        not_before: Some(UnixTime::from_millis(NOW * 1000 - 1500)),
        address: Some("203.0.112.0/23".parse().unwrap()),
        subject: Some("me"),
        id: Some("00ff"),
        ..wish(&target, Some(&public), Place::Url)
    };
    let Signed::Url(url) = Cat::new(rules()).sign(&wish).unwrap() else {
        panic!("no URL");
    };
    assert!(url.starts_with("/a%20b/c.ts?v=1&CAT=2D3R"), "{url}");
    let asked = |method, host: &str, client: &str| {
        let url = format!("https://{host}{url}");
        let request = Request::new(method, &url, HeaderMap::new(), client.parse().unwrap(), now());
        judge(rules(), &request)
    };
    let claims = asked("PUT", "media.example.com", "203.0.113.255").unwrap();
    assert_eq!(
        (claims.subject.as_deref(), claims.id.as_deref()),
        (Some("me"), Some("00ff"))
    );
    assert_eq!(claims.not_before, Some(UnixTime::from_secs(NOW - 1)));
    assert!(asked("PUT", "media.example.com", "203.0.114.0").is_err());
    assert!(asked("PUT", "other.example.com", "203.0.113.255").is_err());
    assert!(asked("GET", "media.example.com", "203.0.113.255").is_err());
}

#[test]
fn what_the_format_or_the_rules_can_not_say_is_not_signed() {
    let target = Target::parse("/a", None).unwrap();
    let cases = [Opens::parse("/a/*").unwrap(), Opens::MediaId("x".into())];
    for opens in &cases {
        let wish = Wish {
            opens: Some(opens),
            ..wish(&target, None, Place::Url)
        };
        assert!(Cat::new(rules()).sign(&wish).is_err());
    }
    let bare = || Rules {
        headers: Box::default(),
        cookies: Box::default(),
        queries: Box::default(),
        ..rules()
    };
    for place in [Place::Url, Place::Header, Place::Cookie] {
        assert!(Cat::new(bare()).sign(&wish(&target, None, place)).is_err());
    }
    let long = "x".repeat(MAX_TOKEN_BYTES);
    let wish = Wish {
        subject: Some(&long),
        ..wish(&target, None, Place::Url)
    };
    assert!(Cat::new(rules()).sign(&wish).is_err());
    // After the year 9999: a token with such an end is refused.
    let wish = Wish {
        expires: UnixTime::from_secs(253_402_300_800),
        ..self::wish(&target, None, Place::Url)
    };
    assert!(Cat::new(rules()).sign(&wish).is_err());
}

proptest! {
    #[test]
    fn what_is_minted_opens_what_was_wished_and_nothing_beside(
        segments in prop::collection::vec("[a-zA-Z0-9 _~+@%:=,-]{1,8}", 1..5),
        other in "[g-z]{1,6}",
        folder in any::<bool>(),
        subject in prop::option::of(".{0,20}"),
        id in prop::option::of("[0-9a-f]{2}{1,8}"),
        place in prop::sample::select(vec![Place::Url, Place::Header, Place::Cookie]),
        life in 1_i64..100_000,
    ) {
        let path = format!("/{}", segments.join("/"));
        let Ok(target) = Target::from_decoded(&path) else {
            return Ok(());
        };
        let parent = path.rsplit_once('/').map_or("/".to_owned(), |(parent, _)| format!("{parent}/"));
        let opens = folder.then(|| Opens::Prefix(parent.into()));
        let public = public();
        let wish = Wish {
            opens: opens.as_ref(),
            subject: subject.as_deref(),
            id: id.as_deref(),
            expires: UnixTime::from_secs(NOW + life),
            ..wish(&target, Some(&public), place)
        };
        let (query, all) = match Cat::new(rules()).sign(&wish).unwrap() {
            Signed::Url(url) => (url.split_once('?').map(|(_, query)| query.to_owned()), HeaderMap::new()),
            Signed::Header(_, token) => (None, headers(&[("cta-common-access-token", &token)])),
            Signed::Cookies(mut all) => {
                let (name, token) = all.remove(0);
                (None, headers(&[("cookie", &format!("{name}={token}"))]))
            }
        };
        let asked = |path: &str, seconds: i64| {
            let query = query.as_ref().map_or(String::new(), |query| format!("?{query}"));
            let url = format!("https://media.example.com{path}{query}");
            let client = IpAddr::from([192, 0, 2, 1]);
            judge(rules(), &Request::new("GET", &url, all.clone(), client, UnixTime::from_secs(NOW + seconds)))
        };
        let path = target.encoded_path();
        let claims = asked(path, 0).unwrap();
        prop_assert_eq!(claims.subject.as_deref(), subject.as_deref());
        prop_assert_eq!(claims.id.as_deref(), id.as_deref());
        prop_assert!(asked(path, life - 1).is_ok() && asked(path, life).is_err());
        prop_assert_eq!(asked(&format!("{path}{other}"), 0).is_ok(), folder);
        let deeper = asked(&format!("/{other}/x{path}"), 0);
        // The folder of all is open.
        prop_assert!(deeper.is_err() || folder && segments.len() == 1);
    }
}

#[test]
fn a_token_is_the_same_to_the_logs_however_it_is_written() {
    let token = token([]);
    let id = |token: &str| judge(rules(), &with(token)).unwrap().token_id;
    let bytes = cwt::decode(&token).unwrap();
    let untagged = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes[2..]);
    let old = STANDARD.encode(&bytes);
    assert_eq!((id(&untagged), id(&old)), (id(&token), id(&token)));
    let other = super::token([(2, text("x"))]);
    assert_ne!(id(&other), id(&token));
    // By the id of its issuer where it has one, whatever else it says.
    let with_id = |claims: Vec<(i64, Item<'static>)>| {
        let id = (7, Item::Bytes(b"id"));
        super::token(claims.into_iter().chain([id]))
    };
    assert_eq!(id(&with_id(vec![])), id(&with_id(vec![(2, text("x"))])));
    // A token of two good signatures is one token.
    let pair = ec_pair();
    let private = named([("k", pair.private())]);
    let rules = || Rules {
        keys: named([("k", pair.public())]),
        ..rules()
    };
    let claims = Item::Map(vec![
        (Label::Int(1), text(ISSUER)),
        (Label::Int(4), Item::Int(NOW + 9)),
    ]);
    let signed = || cwt::seal(private.named("k", now()).unwrap(), &claims.encode()).unwrap();
    let (one, two) = (signed(), signed());
    assert_ne!(one, two);
    let id = |token: &str| judge(rules(), &with(token)).unwrap().token_id;
    assert_eq!(id(&one), id(&two));
}

#[test]
fn what_is_told_is_for_people_and_holds_no_signature() {
    let token = token([
        (2, text("me\n")),
        (7, Item::Bytes(&[1])),
        (316, list([text("SE")])),
    ]);
    let scheme = Cat::new(rules());
    let request = with(&token);
    let head = Head {
        path: &request.path,
        query: None,
        headers: &request.headers,
    };
    let taken = scheme.take(head).unwrap().unwrap();
    let told = scheme.tell(&taken);
    let told: Vec<String> = told
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let expected = [
        "algorithm=Hmac256",
        "key=one",
        r#"iss="https://cat.media.example.com""#,
        r#"sub="me\n""#,
        "exp=1767229200",
        "cti=h'01'",
        r#"catgeoiso3166=["SE"]"#,
    ];
    assert_eq!(told, expected);
    let bytes = cwt::decode(&token).unwrap();
    let mac = hex(cwt::open(&bytes).unwrap().signature);
    assert!(!told.concat().contains(&mac));
}
