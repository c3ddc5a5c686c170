//! The schemes that judge whole requests, with the keys of their vector files and with keys of their own, which sign. No two
//! schemes of a family share a key, unless they read a token alike: a token of one is none of the other's.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use jsonwebtoken::Algorithm;
use mediagate::secret::Secret;
use mediagate::sigv4::{Credentials, Signer};
use mediagate::token::keys::{KeyRing, KeySet, LogKey, SetSource};
use mediagate::token::scheme::signed::bunny::{self, Bunny};
use mediagate::token::scheme::signed::cat::{self, Cat, CatKey};
use mediagate::token::scheme::signed::cdni::{self, Cdni, ContentKey};
use mediagate::token::scheme::signed::cloud_cdn::{self, CloudCdn};
use mediagate::token::scheme::signed::cloudfront::{self, CloudFront};
use mediagate::token::scheme::signed::edge_auth::{self, EdgeAuth};
use mediagate::token::scheme::signed::exchange::Session;
use mediagate::token::scheme::signed::mac::presets::{PRESETS, Preset};
use mediagate::token::scheme::signed::mac::{Mac, Time};
use mediagate::token::scheme::signed::media_cdn::{self, MediaCdn};
use mediagate::token::scheme::signed::presigned::{self, PresignedUrls};
use mediagate::token::scheme::signed::private_key::PrivateKey;
use mediagate::token::scheme::signed::public_key::PublicKey;
use mediagate::token::scheme::signed::{NamedKeys, SignedRequest};
use serde_json::Value;

/// An RSA key for these tests and nothing else.
pub(crate) const RSA: &str = include_str!("rsa.pem");

/// The host of most files.
const HOST: &str = "media.example.com";

/// The schemes of a family.
pub(crate) struct Schemes {
    /// The host of the cases.
    pub(crate) host: &'static str,
    /// Those that judge.
    pub(crate) judging: Vec<Box<dyn SignedRequest>>,
    /// Further ones, whose links those above read: they make other forms of link.
    pub(crate) signing: Vec<Box<dyn SignedRequest>>,
    /// The cases whose keys the schemes have.
    pub(crate) cases: Vec<Value>,
}

fn vectors(text: &str, profiles: &[&str]) -> (Value, Vec<Value>) {
    let mut file: Value = serde_json::from_str(text).expect("JSON");
    let cases = file["cases"].take();
    let of_profiles = cases
        .as_array()
        .expect("cases")
        .iter()
        .filter(|case| profiles.iter().any(|profile| case["profile"] == *profile));
    let own = of_profiles.filter(|case| case["expect"] == "allow" && case["key_override"].is_null());
    let cases = own.cloned().collect();
    (file["keys"].take(), cases)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&Secret::new(vec![7; 32])))
}

fn named<K>(keys: impl IntoIterator<Item = (String, K)>) -> NamedKeys<K> {
    NamedKeys::new(keys.into_iter().map(|(name, key)| (name.into(), key, None)))
}

fn one<K>(key: K) -> NamedKeys<K> {
    named([("own".to_owned(), key)])
}

/// Names and texts of an object.
fn texts(object: &Value) -> impl Iterator<Item = (String, &str)> {
    let members = object.as_object().expect("an object").iter();
    members.map(|(name, text)| (name.clone(), text.as_str().expect("a text")))
}

fn boxed(scheme: impl SignedRequest + 'static) -> Box<dyn SignedRequest> {
    Box::new(scheme)
}

fn ring(name: &str, jwks: &Value) -> Arc<KeyRing> {
    let set = KeySet::from_jwks(jwks.to_string().as_bytes(), SetSource::Local).expect("a set");
    Arc::new(KeyRing::fixed(name, set))
}

fn own_ring(byte: u8) -> Arc<KeyRing> {
    let secret = Secret::new(vec![byte; 32]);
    let set = KeySet::from_hmac(Some("hs"), Algorithm::HS256, &secret).expect("a set");
    Arc::new(KeyRing::fixed("own", set))
}

pub(crate) fn bunny() -> Schemes {
    let (keys, cases) = vectors(include_str!("../../tests/vectors/bunny.json"), &["default"]);
    let key = |text: &str| one(secret(text));
    let zone = || key(keys["security_key"].as_str().expect("a key"));
    let all = [
        bunny::Generation::Hs256,
        bunny::Generation::Sha256,
        bunny::Generation::Md5,
    ];
    let rules = |keys, generations: &[bunny::Generation]| bunny::Rules {
        generations: generations.into(),
        country: Some(HeaderName::from_static("x-country")),
        ..bunny::Rules::new(keys, log_key())
    };
    let bound = bunny::Rules {
        addresses: bunny::Addresses::Bound,
        ..rules(key("another-key-for-addresses"), &all)
    };
    let decoded = bunny::Rules {
        spelling: bunny::Spelling::Decoded,
        folders: bunny::Folders::Text,
        form: bunny::Form::Query,
        ..rules(key("another-key-for-spellings"), &all)
    };
    Schemes {
        host: HOST,
        judging: [rules(zone(), &all), bound, decoded]
            .map(|rules| boxed(Bunny::new(rules)))
            .into(),
        signing: all[1..]
            .iter()
            .map(|generation| boxed(Bunny::new(rules(zone(), &[*generation]))))
            .collect(),
        cases,
    }
}

pub(crate) fn cat() -> Schemes {
    let (keys, cases) = vectors(include_str!("../../tests/vectors/cat.json"), &["default", "path"]);
    let build = |kind: &str, algorithm| {
        let keys = texts(&keys[kind]).map(move |(name, text)| {
            let material = match algorithm {
                cat::Algorithm::Hmac256 => edge_auth::key(&secret(text)).expect("digits"),
                _ => secret(text),
            };
            (name, CatKey::build(algorithm, &material).expect("a key"))
        });
        keys.collect::<Vec<_>>()
    };
    let rules = || cat::Rules {
        issuers: Box::new(["https://cat.media.example.com".into()]),
        audiences: Box::new(["media.example.com".into()]),
        path_segment: true,
        ..cat::Rules::new(
            named(
                [
                    build("mac", cat::Algorithm::Hmac256),
                    build("es256_public_pem", cat::Algorithm::Es256),
                    build("ps256_public_pem", cat::Algorithm::Ps256),
                ]
                .into_iter()
                .flatten(),
            ),
            log_key(),
        )
    };
    let in_path = cat::Rules {
        queries: Box::default(),
        ..rules()
    };
    Schemes {
        host: HOST,
        judging: vec![boxed(Cat::new(rules()))],
        signing: vec![boxed(Cat::new(in_path))],
        cases,
    }
}

pub(crate) fn cloud_cdn() -> Schemes {
    let (keys, cases) = vectors(
        include_str!("../../tests/vectors/google_cloud_cdn.json"),
        &["default"],
    );
    let keys = texts(&keys["keys"]).map(|(name, key)| {
        let key = cloud_cdn::Key::parse(&secret(key)).expect("a key");
        (name, key)
    });
    Schemes {
        host: HOST,
        judging: vec![boxed(CloudCdn::new(cloud_cdn::Rules::new(
            named(keys),
            log_key(),
        )))],
        signing: Vec::new(),
        cases,
    }
}

pub(crate) fn cloudfront() -> Schemes {
    let (keys, cases) = vectors(include_str!("../../tests/vectors/cloudfront.json"), &["default"]);
    let key = PrivateKey::from_pem("own", &secret(RSA)).expect("a key");
    let published = texts(&keys["public_keys"]).map(|(name, pem)| {
        let key = PublicKey::from_pem(&name, pem.as_bytes()).expect("a key");
        (name, key)
    });
    let own = ("own".to_owned(), key.public().clone());
    let rules = cloudfront::Rules::new(named(published.chain([own])), log_key());
    let signer = cloudfront::Signer {
        key_pair_id: "own".into(),
        key,
    };
    Schemes {
        host: HOST,
        judging: vec![boxed(CloudFront::new(cloudfront::Rules {
            signer: Some(signer),
            ..rules
        }))],
        signing: Vec::new(),
        cases,
    }
}

fn session() -> Option<Session> {
    Some(Session::new(one(Secret::new(vec![0x5e; 32]))))
}

pub(crate) fn edge_auth() -> Schemes {
    let (keys, cases) = vectors(
        include_str!("../../tests/vectors/akamai_edgeauth.json"),
        &["default"],
    );
    let key = |digits: &str| edge_auth::key(&secret(digits)).expect("a key");
    let published = ["primary_hex", "transition_hex"].map(|name| {
        let digits = keys[name].as_str().expect("a key");
        (name.to_owned(), key(digits))
    });
    let usual = edge_auth::Rules {
        session: session(),
        ..edge_auth::Rules::new(named(published), log_key())
    };
    let other = edge_auth::Rules {
        salt: Some(secret("salt")),
        escape: edge_auth::Escape::Early,
        query: edge_auth::Query::Signed,
        ..edge_auth::Rules::new(one(key("00112233445566778899aabbccddeeff")), log_key())
    };
    Schemes {
        host: HOST,
        judging: [usual, other].map(|rules| boxed(EdgeAuth::new(rules))).into(),
        signing: Vec::new(),
        cases,
    }
}

pub(crate) fn media_cdn() -> Schemes {
    use media_cdn::{Form, Key};

    /// The secret key of the first test of RFC 8032 §7.1.
    const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

    let (keys, cases) = vectors(
        include_str!("../../tests/vectors/google_media_cdn.json"),
        &["token", "signature"],
    );
    let rules = |form, first: Key| {
        let shared = || secret(keys["shared_hmac"].as_str().expect("a key"));
        let public = keys["ed25519_public"]["media-key"].as_str().expect("a key");
        let all = [
            ("first", first),
            ("media-key", Key::public(public).expect("a key")),
            ("own", Key::private(&secret(SEED)).expect("a key")),
            ("sha256", Key::sha256(&shared()).expect("a key")),
            ("sha1", Key::sha1(&shared()).expect("a key")),
        ];
        let keys = named(all.map(|(name, key)| (name.to_owned(), key)));
        boxed(MediaCdn::new(media_cdn::Rules {
            form,
            session: session(),
            ..media_cdn::Rules::new(keys, log_key())
        }))
    };
    let private = || Key::private(&secret(SEED)).expect("a key");
    let shared = || {
        let shared = keys["shared_hmac"].as_str().expect("a key");
        Key::sha256(&secret(shared)).expect("a key")
    };
    Schemes {
        host: HOST,
        judging: vec![rules(Form::PathToken, private())],
        signing: vec![
            rules(Form::PathToken, shared()),
            rules(Form::UrlToken, shared()),
            rules(Form::UrlToken, private()),
            rules(Form::Signature, private()),
            rules(Form::PathComponent, private()),
        ],
        cases,
    }
}

pub(crate) fn presigned() -> Schemes {
    let (keys, cases) = vectors(include_str!("../../tests/vectors/s3_sigv4.json"), &["default"]);
    let keys = texts(&keys["credentials"]).map(|(id, key)| {
        let credentials = Credentials {
            access_key_id: id.into(),
            secret_access_key: secret(key),
            session_token: None,
        };
        let signer = Signer::new(credentials, "us-east-1", "s3");
        (presigned::Key { signer, opens: None }, None)
    });
    Schemes {
        host: "s3.media.example.com",
        judging: vec![boxed(PresignedUrls::new(presigned::Rules {
            keys: presigned::Key::named(keys),
            log_key: log_key(),
        }))],
        signing: Vec::new(),
        cases,
    }
}

pub(crate) fn uri_signing() -> Schemes {
    let (keys, cases) = vectors(include_str!("../../tests/vectors/rfc9246.json"), &["default"]);
    let published = || {
        let issuers = keys["issuers"].as_object().expect("issuers").iter();
        let issuers = issuers.map(|(name, keys)| cdni::Issuer {
            name: name.as_str().into(),
            keys: ring(name, keys),
        });
        let own = cdni::Issuer {
            name: "own".into(),
            keys: own_ring(3),
        };
        issuers.chain([own]).collect()
    };
    let rules = |style| {
        let sealing = &keys["encryption"][0];
        let bytes = URL_SAFE_NO_PAD.decode(sealing["k"].as_str().expect("a key"));
        let content = [
            ("own", vec![5; 16]),
            (sealing["kid"].as_str().expect("its name"), bytes.expect("Base64")),
        ];
        let content = content.map(|(name, bytes)| {
            let key = ContentKey::new(&Secret::new(bytes)).expect("a key");
            (name.to_owned(), key)
        });
        let unnamed = ring("unnamed", &keys["issuer_less_tokens"]);
        cdni::Rules {
            audiences: Box::new(["media.example.com".into()]),
            content_keys: named(content),
            dots: cdni::Dots::Resolved,
            signer: Some("own".into()),
            style,
            ..cdni::Rules::new(published(), Some(unnamed), log_key())
        }
    };
    let name = || cdni::Name::parse("usp").expect("a name");
    let other = cdni::Rules {
        attribute: name(),
        cookie: name(),
        renewal: Some(cdni::Renewing {
            seconds: 60,
            depth: 1,
        }),
        ..cdni::Rules::new(Box::default(), Some(own_ring(4)), log_key())
    };
    let forms = [cdni::Style::Segment, cdni::Style::Parameter];
    Schemes {
        host: HOST,
        judging: [rules(cdni::Style::Query), other]
            .map(|rules| boxed(Cdni::new(rules)))
            .into(),
        signing: forms.map(|style| boxed(Cdni::new(rules(style)))).into(),
        cases,
    }
}

/// Every preset, each with a secret of its own.
pub(crate) fn mac() -> Schemes {
    let built = |preset: &Preset| {
        let key = format!("the secret of {}", preset.name);
        let mut rules = preset.rules(one(secret(&key)), log_key()).expect("rules");
        rules.time = rules.time.lasting(Duration::from_secs(7200));
        rules.without_expiry = rules.time == Time::Absent;
        boxed(Mac::build(rules).expect("sound rules"))
    };
    Schemes {
        host: HOST,
        judging: PRESETS.iter().map(built).collect(),
        signing: Vec::new(),
        cases: Vec::new(),
    }
}
