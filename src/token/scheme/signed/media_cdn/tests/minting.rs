//! What is minted, and that nothing else is believed.

use http::Method;
use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::exchanging::with_session;
use super::*;
use crate::token::Opens;
use crate::token::scheme::signed::Wish;
use crate::token::scheme::signed::fields::tests::Random;

/// Why allowed cases are not minted back, by what is in their names.
const NOT_MINTED: [(&str, &str); 5] = [
    ("ed25519_", "the private key is not in the file"),
    ("sig_", "the private key is not in the file"),
    ("_globs_list_", "two patterns, and a wish opens one thing"),
    ("_headers_", "a wish binds no headers"),
    ("_ip", "two ranges, and a wish is for one"),
];

#[test]
fn the_allowed_vectors_are_minted_back() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let (mut minted, mut others) = (0, 0);
    for case in cases(&file).filter(|case| case.text("expect") == "allow") {
        let name = case.text("name");
        if NOT_MINTED.iter().any(|(part, _)| name.contains(part)) {
            others += 1;
            continue;
        }
        let request = case.request();
        let taken = scheme(&case).take(head(&request)).unwrap().unwrap();
        let fields = Fields::parse(&taken.parts[SHORT], &token::GRAMMAR).unwrap();
        let mut keys = vector_keys(&case);
        keys.retain(|(key, _)| name.starts_with(key));
        let prefix = fields
            .get("URLPrefix")
            .map(|prefix| BASE64.decode(prefix).unwrap());
        let prefix = prefix.map(|prefix| String::from_utf8(prefix).unwrap().replace(PUBLIC, ""));
        let globs = fields
            .get("PathGlobs")
            .map(|globs| globs.strip_suffix('*').unwrap().to_owned());
        let scheme = MediaCdn::new(Rules {
            names: Box::new(["hdnts".into()]),
            form: if prefix.is_some() {
                Form::UrlToken
            } else {
                Form::PathToken
            },
            ..rules(keys)
        });
        let opens = prefix.or(globs).map(|start| Opens::parse(&start).unwrap());
        let target = Target::parse(&taken.path, taken.query.as_deref()).unwrap();
        let signed = scheme.sign(&Wish {
            opens: opens.as_ref(),
            not_before: fields.time("Starts").unwrap(),
            expires: fields.time("Expires").unwrap().unwrap(),
            subject: fields.get("Data"),
            id: fields.get("SessionID"),
            ..wish(&target, taken.place, &request.public)
        });
        let wanted = match taken.place {
            Place::Url => Signed::Url(case.text("url").replace(PUBLIC, "")),
            _ => {
                let cookie = request.headers["cookie"].to_str().unwrap();
                let (name, value) = cookie.split_once('=').unwrap();
                Signed::Cookies(vec![(name.into(), value.into())])
            }
        };
        assert_eq!(signed.as_ref(), Ok(&wanted), "{name}");
        minted += 1;
    }
    assert_eq!((minted, others), (12, 26));
}

fn public() -> PublicBase {
    PublicBase {
        scheme: "https".into(),
        authority: "media.example.com".into(),
    }
}

fn wish<'w>(target: &'w Target, place: Place, public: &'w PublicBase) -> Wish<'w> {
    Wish {
        public: Some(public),
        method: &Method::GET,
        target,
        opens: None,
        place,
        now: UnixTime::from_secs(NOW),
        not_before: None,
        expires: UnixTime::from_secs(NOW + 60),
        address: None,
        subject: None,
        id: None,
    }
}

#[test]
fn what_the_format_can_t_say_is_not_signed() {
    let (target, public) = (Target::parse("/a/b", Some("x=1")).unwrap(), public());
    let base = || wish(&target, Place::Url, &public);
    let taken = Target::parse("/a/b", Some("hdnts=1&KeyName=1")).unwrap();
    let (folder, other) = (Opens::Prefix("/a/".into()), Opens::Prefix("/b/".into()));
    let exact = Opens::Exact("/a/b".into());
    let fields = Target::parse("/a~Starts=1", None).unwrap();
    let sign = |form, wish: &Wish<'_>| {
        let rules = Rules { form, ..private() };
        with_session(rules).sign(wish)
    };
    use Form::{PathComponent, PathToken, Signature, UrlToken};
    let opening = |opens| Wish {
        opens: Some(opens),
        ..base()
    };
    for (form, wish) in [
        (PathToken, base()),
        (PathToken, opening(&folder)),
        (PathToken, opening(&exact)),
        (UrlToken, opening(&folder)),
        (UrlToken, base()),
        (Signature, base()),
        (Signature, opening(&folder)),
        (PathComponent, opening(&folder)),
    ] {
        assert!(sign(form, &wish).is_ok(), "{form:?} {:?}", wish.opens);
    }
    let net = Some("10.0.0.0/8".parse().unwrap());
    for (form, wish) in [
        (
            PathToken,
            Wish {
                place: Place::Header,
                ..base()
            },
        ),
        (
            PathToken,
            Wish {
                subject: Some("a~Expires=9"),
                ..base()
            },
        ),
        (
            PathToken,
            Wish {
                subject: Some("hdntl"),
                ..base()
            },
        ),
        (
            PathToken,
            Wish {
                id: Some(""),
                ..base()
            },
        ),
        (
            PathToken,
            Wish {
                method: &Method::PUT,
                ..base()
            },
        ),
        (
            PathToken,
            Wish {
                expires: UnixTime::from_secs(0),
                ..base()
            },
        ),
        (
            PathToken,
            Wish {
                subject: Some(&"x".repeat(9000)),
                ..base()
            },
        ),
        (
            PathToken,
            Wish {
                target: &taken,
                ..base()
            },
        ),
        (
            PathToken,
            Wish {
                target: &fields,
                ..base()
            },
        ),
        (UrlToken, opening(&exact)),
        (
            UrlToken,
            Wish {
                public: None,
                ..opening(&folder)
            },
        ),
        (Signature, opening(&exact)),
        (
            Signature,
            Wish {
                public: None,
                ..base()
            },
        ),
        (
            Signature,
            Wish {
                id: Some("1"),
                ..base()
            },
        ),
        (
            Signature,
            Wish {
                address: net,
                ..base()
            },
        ),
        (
            Signature,
            Wish {
                place: Place::Cookie,
                ..base()
            },
        ),
        (
            Signature,
            Wish {
                target: &taken,
                ..base()
            },
        ),
        (PathComponent, base()),
        (PathComponent, opening(&other)),
        (
            PathComponent,
            Wish {
                place: Place::Cookie,
                ..opening(&folder)
            },
        ),
    ] {
        assert!(
            matches!(sign(form, &wish), Err(TokenError::Invalid(_))),
            "{form:?} {:?}",
            wish.opens
        );
    }
    let public_only = rules(vec![(
        "media-key",
        Key::public("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap(),
    )]);
    assert!(MediaCdn::new(public_only).sign(&base()).is_err());
    let odd = rules(vec![("a&b", Key::private(&secret(SEED)).unwrap())]);
    assert!(
        MediaCdn::new(Rules {
            form: Signature,
            ..odd
        })
        .sign(&base())
        .is_err()
    );
}

fn presented(signed: &Signed, path: &str) -> (String, HeaderMap) {
    match signed {
        Signed::Url(url) => (url.clone(), HeaderMap::new()),
        Signed::Cookies(cookies) => (
            path.to_owned(),
            cookie(&format!("{}={}", cookies[0].0, cookies[0].1)),
        ),
        Signed::Header(..) => panic!("a header"),
    }
}

fn forms() -> impl Strategy<Value = (Form, Place)> {
    prop_oneof![
        Just((Form::PathToken, Place::Url)),
        Just((Form::PathToken, Place::Cookie)),
        Just((Form::UrlToken, Place::Url)),
        Just((Form::UrlToken, Place::Cookie)),
        Just((Form::Signature, Place::Url)),
        Just((Form::Signature, Place::Cookie)),
        Just((Form::PathComponent, Place::Url)),
    ]
}

proptest! {
    #[test]
    fn what_is_minted_is_verified_and_no_signed_part_can_be_changed(
        (form, place) in forms(),
        folder in "/[a-z0-9é %+&;=]{1,12}",
        file in "[a-z0-9é %+&;=]{1,12}",
        opened in 0..3_u8,
        said in proptest::option::of(("[ -}é]{1,20}", "[ -}é]{1,20}")),
        bound in any::<bool>(),
        hmac in any::<bool>(),
        at in any::<prop::sample::Index>(),
        letter in "[a-zA-Z0-9*/]",
    ) {
        let is_token = matches!(form, Form::PathToken | Form::UrlToken);
        let keys = if hmac && is_token { shared() } else { private() };
        let scheme = MediaCdn::new(Rules { form, ..keys });
        let Ok(target) = Target::from_decoded(&format!("{folder}/{file}")) else { return Ok(()) };
        let target = target.with_query(Some("x=1")).unwrap();
        let opens = match opened {
            0 if form == Form::PathToken || (form, place) == (Form::Signature, Place::Url) => None,
            1 if form != Form::PathComponent => Some(Opens::StartsWith(folder.as_str().into())),
            _ => Some(Opens::Prefix(format!("{folder}/").into())),
        };
        let (public, bound) = (public(), bound && is_token);
        let said = said.filter(|_| is_token);
        let wish = Wish {
            opens: opens.as_ref(),
            address: bound.then(|| "203.0.113.0/24".parse().unwrap()),
            not_before: bound.then(|| UnixTime::from_secs(NOW)),
            subject: said.as_ref().map(|said| &*said.0),
            id: said.as_ref().map(|said| &*said.1),
            ..wish(&target, place, &public)
        };
        let signed = match scheme.sign(&wish) {
            Ok(signed) => signed,
            Err(TokenError::Invalid(_)) => {
                let unsayable = target.path().contains('%') && form == Form::PathToken && opens.is_some();
                prop_assert!(unsayable || Target::from_decoded(&folder).is_err());
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let (url, headers) = presented(&signed, target.as_str());
        let claims = judge(&scheme, &url, headers.clone(), NOW).map_err(TestCaseError::fail)?;
        prop_assert_eq!(claims.subject.as_deref(), wish.subject);
        prop_assert_eq!(claims.id.as_deref(), wish.id);
        prop_assert_eq!(claims.expires, Some(wish.expires));
        prop_assert_eq!((claims.not_before.is_some(), claims.addresses.is_some()), (bound, bound));

        let more = judge(&scheme, &format!("{url}&more=1"), headers.clone(), NOW);
        prop_assert_eq!(more.is_ok(), form != Form::Signature || opens.is_some());
        prop_assert!(judge(&scheme, &url.replacen('/', "/Z", 1), headers.clone(), NOW).is_err());

        // One byte of the token or the signature, whatever its form.
        let request = get(&url, headers, NOW);
        let taken = scheme.take(head(&request)).unwrap().unwrap();
        let token = taken.parts.iter().find(|part| !part.is_empty()).unwrap().clone().into_owned();
        let at = at.index(token.len());
        prop_assume!(token.is_char_boundary(at) && token.is_char_boundary(at + 1));
        let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
        let alike = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        prop_assume!(alike(&changed) != alike(&token) && token.as_bytes()[at] != b'=');
        let (url, headers) = match place {
            Place::Cookie => {
                let name = if form == Form::Signature { "Edge-Cache-Cookie" } else { "hdnts" };
                (url, cookie(&format!("{name}={changed}")))
            }
            _ => (url.replacen(&token, &changed, 1), HeaderMap::new()),
        };
        prop_assert!(judge(&scheme, &url, headers, NOW).is_err(), "{}", changed);
    }
}

/// What is left of a mutated token when everything is taken off that a format leaves open: percent-encodings, the padding of the
/// signature, and what follows the token.
fn essence(form: Form, place: Place, text: &str) -> String {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let unpadded = |text: &str| decode(text).trim_end_matches('=').to_owned();
    let text = text.split('#').next().unwrap_or_default();
    match (form, place) {
        (_, Place::Cookie) => {
            let text = text
                .split(';')
                .next()
                .unwrap_or_default()
                .trim_matches([' ', '\t']);
            let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            unpadded(quoted.unwrap_or(text))
        }
        (Form::PathComponent, _) => unpadded(text.split(['/', '?']).next().unwrap_or_default()),
        (Form::Signature, _) => {
            let pairs = text
                .split('&')
                .map(|piece| piece.split_once('=').unwrap_or((piece, "")));
            let ours = pairs.map(|(name, value)| format!("{}={}", decode(name), unpadded(value)));
            let names = ["URLPrefix=", "Expires=", "KeyName=", "Signature="];
            let mut ours: Vec<_> = ours
                .filter(|pair| names.iter().any(|name| pair.starts_with(name)))
                .collect();
            ours.sort();
            ours.join("&")
        }
        _ => unpadded(text.split('&').next().unwrap_or_default()),
    }
}

#[test]
fn no_mutation_of_a_token_is_believed() {
    let (public, target) = (public(), Target::parse("/v/a.ts", None).unwrap());
    let folder = Opens::Prefix("/v/".into());
    let mut random = Random::new(0x9e37_79b9);
    let (mut believed, mut tried) = (0, 0);
    for (form, place, opens, keys, count) in [
        (Form::PathToken, Place::Url, None, shared(), 20_000),
        (Form::PathToken, Place::Cookie, Some(&folder), shared(), 25_000),
        (Form::UrlToken, Place::Url, Some(&folder), shared(), 25_000),
        (Form::PathToken, Place::Url, Some(&folder), private(), 6_000),
        (Form::Signature, Place::Url, None, private(), 6_000),
        (Form::Signature, Place::Url, Some(&folder), private(), 6_000),
        (Form::Signature, Place::Cookie, Some(&folder), private(), 6_000),
        (Form::PathComponent, Place::Url, Some(&folder), private(), 6_000),
    ] {
        let scheme = with_session(Rules { form, ..keys });
        let is_token = matches!(form, Form::PathToken | Form::UrlToken);
        let wish = Wish {
            opens,
            subject: is_token.then_some("u=1"),
            address: is_token.then(|| "203.0.113.7/32".parse().unwrap()),
            ..wish(&target, place, &public)
        };
        let (url, headers) = presented(&scheme.sign(&wish).unwrap(), "/v/a.ts");
        let carried = match place {
            Place::Cookie => headers["cookie"].to_str().unwrap().to_owned(),
            _ => url.clone(),
        };
        // Where the token starts and ends in what carries it.
        let start = match (form, place) {
            (Form::PathComponent, _) => carried.find(MARKER).unwrap() + MARKER.len(),
            (Form::Signature, Place::Url) => carried.find('?').unwrap() + 1,
            _ => carried.find('=').unwrap() + 1,
        };
        let end = carried
            .rfind("/a.ts")
            .filter(|end| *end > start)
            .unwrap_or(carried.len());
        let (before, token, after) = (&carried[..start], &carried[start..end], &carried[end..]);
        for _ in 0..count {
            let mutated = random.mutate(token);
            let carried = format!("{before}{mutated}{after}");
            let judged = match place {
                Place::Cookie => judge(&scheme, "/v/a.ts", cookie(&carried), NOW),
                _ => judge(&scheme, &carried, HeaderMap::new(), NOW),
            };
            tried += 1;
            if judged.is_ok() {
                assert_eq!(
                    essence(form, place, &mutated),
                    essence(form, place, token),
                    "{mutated}"
                );
                believed += 1;
            }
        }
    }
    assert!(tried >= 100_000 && believed < tried / 20, "{believed} of {tried}");
}
