//! Signed requests: schemes of other products that say themselves where their token rides, and whose token is judged
//! together with the whole request: signed URLs and cookies of CDNs, URI signing, Common Access Tokens. One file each.
//! `take` finds the token and takes it out; `verify` judges what is left with it, and says `Claims` as every scheme does.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use super::next_number;
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::target::Target;
pub use crate::token::carrier::Place;
use crate::token::carrier::{Head, LocateError};
use crate::token::keys::LogKey;
use crate::token::{Claims, Evidence, Opens, Parts, PublicBase, Scope, TokenError, TokenId};

pub mod bunny;
pub mod cat;
pub mod cdni;
pub mod cloud_cdn;
pub mod cloudfront;
pub mod edge_auth;
pub mod exchange;
pub mod fields;
pub mod mac;
pub mod media_cdn;
pub mod presigned;
pub mod private_key;
pub mod public_key;
pub mod query;

/// One of them, as a route has it.
#[derive(Debug)]
pub struct SignedScheme {
    kind: Kind,
    /// Clock skew that is forgiven at both ends of a token's life.
    pub leeway: Duration,
}

/// The closed set. A new one is a file, a variant here and an arm below.
#[derive(Debug)]
pub enum Kind {
    /// Bunny's token authentication.
    Bunny(bunny::Bunny),
    /// Signed URLs and cookies of Google Cloud CDN.
    CloudCdn(cloud_cdn::CloudCdn),
    /// Common Access Tokens.
    Cat(cat::Cat),
    /// Signed URLs and cookies of CloudFront.
    CloudFront(cloudfront::CloudFront),
    /// Akamai's EdgeAuth tokens.
    EdgeAuth(edge_auth::EdgeAuth),
    /// Signatures and tokens of Google Media CDN.
    MediaCdn(media_cdn::MediaCdn),
    /// Links with a MAC over a written pattern.
    Mac(mac::Mac),
    /// URI signing.
    UriSigning(Box<cdni::Cdni>),
    /// S3 URLs that an application signed in advance.
    Presigned(presigned::PresignedUrls),
}

/// One of each, with the usual names and no keys: they tell what a token says, and believe none.
pub fn without_keys() -> Vec<SignedScheme> {
    let log_key = || Arc::new(LogKey::new(&Secret::new(vec![0; 16])));
    let edge = edge_auth::Rules::new(NamedKeys::new([]), log_key());
    let media = media_cdn::Rules::new(NamedKeys::new([]), log_key());
    let cat = cat::Rules {
        path_segment: true,
        ..cat::Rules::new(NamedKeys::new([]), log_key())
    };
    let mut kinds = vec![
        Kind::CloudFront(cloudfront::CloudFront::new(cloudfront::Rules::new(
            NamedKeys::new([]),
            log_key(),
        ))),
        Kind::Presigned(presigned::PresignedUrls::new(presigned::Rules {
            keys: NamedKeys::new([]),
            log_key: log_key(),
        })),
        Kind::Bunny(bunny::Bunny::new(bunny::Rules::new(
            NamedKeys::new([]),
            log_key(),
        ))),
        Kind::EdgeAuth(edge_auth::EdgeAuth::new(edge)),
        Kind::MediaCdn(media_cdn::MediaCdn::new(media)),
        Kind::CloudCdn(cloud_cdn::CloudCdn::new(cloud_cdn::Rules::new(
            NamedKeys::new([]),
            log_key(),
        ))),
        Kind::UriSigning(Box::new(cdni::Cdni::new(cdni::Rules::new(
            Box::default(),
            None,
            log_key(),
        )))),
        Kind::Cat(cat::Cat::new(cat)),
    ];
    for preset in mac::presets::PRESETS {
        let rules = preset.rules(NamedKeys::new([]), log_key());
        let rules = rules.map(|rules| mac::Rules {
            without_expiry: true,
            ..rules
        });
        kinds.extend(
            rules
                .ok()
                .and_then(|rules| mac::Mac::build(rules).ok())
                .map(Kind::Mac),
        );
    }
    kinds
        .into_iter()
        .map(|kind| SignedScheme::new(kind, Duration::ZERO))
        .collect()
}

impl SignedScheme {
    /// With this leeway.
    pub fn new(kind: Kind, leeway: Duration) -> Self {
        Self { kind, leeway }
    }
}

impl Deref for SignedScheme {
    type Target = dyn SignedRequest;

    fn deref(&self) -> &(dyn SignedRequest + 'static) {
        match &self.kind {
            Kind::Bunny(bunny) => bunny,
            Kind::CloudCdn(cloud_cdn) => cloud_cdn,
            Kind::Cat(cat) => cat,
            Kind::CloudFront(cloudfront) => cloudfront,
            Kind::EdgeAuth(edge_auth) => edge_auth,
            Kind::MediaCdn(media_cdn) => media_cdn,
            Kind::Mac(mac) => mac,
            Kind::UriSigning(uri_signing) => &**uri_signing,
            Kind::Presigned(presigned) => presigned,
        }
    }
}

/// A scheme that judges whole requests. Synchronous and pure, as all schemes are.
pub trait SignedRequest {
    /// The scheme's name in logs, metrics and the configuration.
    fn name(&self) -> &'static str;

    /// The token of this scheme, taken out of the request; `None` where the request has nothing of its shape. Judges
    /// nothing but the shape.
    ///
    /// # Errors
    /// `LocateError` for what has the shape and can't be read: two of one parameter, a broken encoding.
    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError>;

    /// What the token says, when it is true for this request. Restrictions of the scheme's own are judged here, on the
    /// evidence; what is left for others to judge (times, addresses, methods) is in the claims, and their scope is the target.
    ///
    /// # Errors
    /// `TokenError`; nothing of the token is in it.
    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError>;

    /// What the token says, for people, nothing of it believed: pairs of a word and a text. Nothing secret, and no signature.
    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)>;

    /// Signs a link.
    ///
    /// # Errors
    /// `Invalid` for what the format can't say or where no key can sign.
    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError>;

    /// The names of the cookies that its token may ride in: no origin gets them.
    fn cookies(&self) -> &[Box<str>] {
        &[]
    }

    /// The headers that its token may ride in: no origin gets them, and pages of other origins may send them.
    fn headers(&self) -> &[HeaderName] {
        &[]
    }

    /// The query parameters by which it knows a token of its own; none where a shape tells it.
    fn queries(&self) -> Vec<&str> {
        Vec::new()
    }

    /// What the first segment of the path starts with where that is the token, so that the route is found by what follows.
    fn markers(&self) -> &[Box<str>] {
        &[]
    }

    /// The statuses of its refusals.
    fn statuses(&self) -> Statuses {
        Statuses::Forbidden
    }
}

/// How the refusals of a scheme's tokens are answered, unless the route or its dialect says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Statuses {
    /// By the common table.
    #[default]
    Common,
    /// 403, as the originals do.
    Forbidden,
    /// 403; 410 where the time is over, or has not come.
    ForbiddenOrGone,
}

/// A token that was taken out of a request, and what is left.
#[derive(Debug)]
pub struct Taken<'r> {
    /// Where it was.
    pub place: Place,
    /// Its parts in the scheme's own order; one that is absent is empty.
    pub parts: Parts<'r>,
    /// Further cookies of the same name, to be tried in turn.
    pub alternatives: Vec<Parts<'r>>,
    /// The path without it, raw: what becomes the target.
    pub path: Cow<'r, str>,
    /// The query without it, raw, everything else byte for byte.
    pub query: Option<Cow<'r, str>>,
    /// The first segment of the path, raw, where that was the token: put back into a `Location`.
    pub prefix: Option<Cow<'r, str>>,
}

/// A request whose token was taken out, to be judged.
pub struct Asked<'a, 'r> {
    /// The request as it came, and the parts of the token.
    pub evidence: &'a Evidence<'r>,
    /// The path that `take` left, raw.
    pub path: &'a str,
    /// The query that `take` left, raw.
    pub query: Option<&'a str>,
    /// Both, parsed: what the origin would be asked for.
    pub target: &'a Target,
    /// The time.
    pub now: UnixTime,
    /// The memory of signatures that were good.
    pub signatures: &'a dyn Signatures,
}

impl Asked<'_, '_> {
    /// A part of the token; empty where it is absent.
    pub fn part(&self, at: usize) -> &str {
        self.evidence.parts.get(at).map_or("", |part| part)
    }

    /// Public scheme and host.
    ///
    /// # Errors
    /// `Invalid` where the configuration does not name them.
    pub fn public(&self) -> Result<&PublicBase, TokenError> {
        self.evidence
            .public
            .ok_or(TokenError::Invalid("public scheme and host are not configured"))
    }

    /// Claims that open exactly what is asked for.
    pub fn opened(&self, token_id: TokenId) -> Claims {
        Claims {
            scope: Some(Scope(Box::new([Opens::Exact(self.target.path().into())]))),
            ..Claims::empty(token_id)
        }
    }
}

/// Who checks public-key signatures, which take long: a memory of those that were good may stand before it.
pub trait Signatures {
    /// Whether `signature` over `message` is of the key with this number; `check` finds out.
    fn holds(&self, key: u64, message: &[u8], signature: &[u8], check: &dyn Fn() -> bool) -> bool;

    /// Is shown what a signature is compared with, secrets left out, for people who ask why theirs is another.
    fn show(&self, signed: &[u8]);
}

/// Remembers nothing.
#[derive(Debug)]
pub struct NoMemory;

impl Signatures for NoMemory {
    fn holds(&self, _: u64, _: &[u8], _: &[u8], check: &dyn Fn() -> bool) -> bool {
        check()
    }

    fn show(&self, _: &[u8]) {}
}

/// Remembers nothing, and keeps what it is shown.
#[derive(Debug, Default)]
pub struct Shown(RefCell<Vec<Vec<u8>>>);

impl Shown {
    /// What was signed, in the order in which it was compared.
    pub fn into_texts(self) -> Vec<Vec<u8>> {
        self.0.into_inner()
    }
}

impl Signatures for Shown {
    fn holds(&self, _: u64, _: &[u8], _: &[u8], check: &dyn Fn() -> bool) -> bool {
        check()
    }

    fn show(&self, signed: &[u8]) {
        let mut shown = self.0.borrow_mut();
        if !shown.iter().any(|known| known == signed) {
            shown.push(signed.to_vec());
        }
    }
}

/// A key of a scheme: its name, and until when it counts.
#[derive(Debug)]
pub struct NamedKey<K> {
    /// Its name: what a token names it by where the format has names, else for people alone.
    pub name: Box<str>,
    /// The key.
    pub key: K,
    /// The first second in which it counts no more.
    pub until: Option<UnixTime>,
    /// Unique in the process: what a remembered signature is bound to.
    pub number: u64,
}

/// The keys of a scheme, in their order; the first signs.
#[derive(Debug)]
pub struct NamedKeys<K>(Box<[NamedKey<K>]>);

impl<K> NamedKeys<K> {
    /// From names, keys and end dates.
    pub fn new(keys: impl IntoIterator<Item = (Box<str>, K, Option<UnixTime>)>) -> Self {
        let keys = keys.into_iter().map(|(name, key, until)| NamedKey {
            name,
            key,
            until,
            number: next_number(),
        });
        Self(keys.collect())
    }

    /// All of them, whatever their ends.
    pub fn all(&self) -> impl Iterator<Item = &NamedKey<K>> {
        self.0.iter()
    }

    /// Those that count now.
    pub fn at(&self, now: UnixTime) -> impl Iterator<Item = &NamedKey<K>> {
        let counts = move |key: &&NamedKey<K>| key.until.is_none_or(|until| now < until);
        self.0.iter().filter(counts)
    }

    /// The one of this name, while it counts.
    pub fn named(&self, name: &str, now: UnixTime) -> Option<&NamedKey<K>> {
        self.at(now).find(|key| *key.name == *name)
    }
}

/// What a link is to be good for.
pub struct Wish<'w> {
    /// Public scheme and host, where the configuration names them.
    pub public: Option<&'w PublicBase>,
    /// The method.
    pub method: &'w Method,
    /// What the link is for.
    pub target: &'w Target,
    /// What it is to open, where that is more than the target.
    pub opens: Option<&'w Opens>,
    /// Where the token is to ride.
    pub place: Place,
    /// The time.
    pub now: UnixTime,
    /// From when it is to work.
    pub not_before: Option<UnixTime>,
    /// The first second in which it is not to work.
    pub expires: UnixTime,
    /// Whose address it is for.
    pub address: Option<ipnet::IpNet>,
    /// Whom it is for.
    pub subject: Option<&'w str>,
    /// Its own id.
    pub id: Option<&'w str>,
}

/// A signed link.
#[derive(Debug, PartialEq, Eq)]
pub enum Signed {
    /// Path and query.
    Url(String),
    /// Names and values of cookies.
    Cookies(Vec<(String, String)>),
    /// Name and value of a header.
    Header(String, String),
}

/// Compares two texts or signatures without telling by the time where they differ.
pub fn same(ours: &[u8], theirs: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(ours, theirs).is_ok()
}

/// How far ahead of now a time may lie that nothing separates from what stands beside it in a signed text. A digit that is
/// moved through a time changes all of its places: until late in 2028, what becomes of a time of ours is over, or more than
/// this away. Two digits can still make a near one: 1767229213 behind `18` is 1817672292 before `13`.
pub const FURTHEST: Duration = Duration::from_secs(3660 * 24 * 60 * 60);

#[cfg(test)]
pub(crate) mod dice;
#[cfg(test)]
pub(crate) mod vectors;
