//! URI signing for CDN interconnection (RFC 9246): a signed JWT in the query, the path or a cookie, whose `cdniuc` is a hash of
//! the whole URI or a pattern over it. Takes the token out as §2.1.15 has it, believes its issuer's keys alone, and judges the
//! URI; hands on times, addresses, single use and the renewed token. Never looks at a pattern whose signature is not good, and
//! refuses what it can't enforce.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use jsonwebtoken::AlgorithmFamily;

use super::{Asked, NamedKeys, Place, Signed, SignedRequest, Taken, Wish};
use crate::token::carrier::{Head, LocateError};
use crate::token::json::Object;
use crate::token::keys::{Generation, KeyRing, LogKey, MAX_KEYS, VerifyingKey};
use crate::token::scheme::jwt::{Compact, Header, check_signature};
use crate::token::{Claims, TokenError, Uses};

mod carry;
mod claims;
mod code;
mod container;
mod jwe;
mod mint;
mod pattern;
mod renew;
mod tell;
mod uri;

pub use carry::Name;
pub use code::Code;
pub use jwe::ContentKey;
pub use renew::SameSite;

/// The scheme's name in the configuration, in logs and metrics.
pub const NAME: &str = "uri_signing";

use pattern::Patterns;

/// The name of the attribute, the claims' package, where nothing else is configured (§4.4).
pub const ATTRIBUTE: &str = "URISigningPackage";

/// Distinguishes the numbers of a ring's keys from those of `NamedKey`s, which count from one.
const OF_A_RING: u64 = 1 << 63;

/// URI signing.
#[derive(Debug)]
pub struct Cdni {
    rules: Rules,
    cookies: [Box<str>; 1],
    markers: [Box<str>; 1],
    patterns: Patterns,
}

/// Whose tokens are believed, and how ours are made.
#[derive(Debug)]
pub struct Rules {
    /// The attribute that holds the token in query and path. `URISigningPackage` unless configured.
    pub attribute: Name,
    /// The cookie that holds it. The attribute's name unless configured (§3.3).
    pub cookie: Name,
    /// Issuers, each with its own keys: what `iss` names.
    pub issuers: Box<[Issuer]>,
    /// The keys of tokens that name no issuer. `None` refuses those.
    pub unnamed: Option<Arc<KeyRing>>,
    /// What we are called: an `aud` names one of them. Where there is none, a token with an `aud` is for others.
    pub audiences: Box<[Box<str>]>,
    /// The keys of `sub` and `cdniip` by their `kid`; the first encrypts ours.
    pub content_keys: NamedKeys<ContentKey>,
    /// Whether a token needs an `exp`. RFC 9246 does not demand one.
    pub expiry: Expiry,
    /// What becomes of dot segments. Refused unless configured.
    pub dots: Dots,
    /// The issuer in whose name links are signed. `None`: in no name, where there are keys for that, else in the first issuer's.
    /// Where this or `signing_kid` is named, tokens of that issuer alone are renewed.
    pub signer: Option<Box<str>>,
    /// Which key of that issuer signs links; the first that can, where none is named. It renews, too, where the key of the token
    /// can't sign.
    pub signing_kid: Option<Box<str>>,
    /// Where the links that we sign have their token.
    pub style: Style,
    /// What the links that we sign say of renewal.
    pub renewal: Option<Renewing>,
    /// Whether pages of other sites may play with the cookies of renewal.
    pub same_site: SameSite,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

/// An issuer and its keys.
#[derive(Debug)]
pub struct Issuer {
    /// What `iss` says.
    pub name: Box<str>,
    /// Its keys.
    pub keys: Arc<KeyRing>,
}

/// Whether a token needs an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Expiry {
    /// It may be good for ever (§2.1.4).
    #[default]
    Optional,
    /// A token without `exp` is refused.
    Required,
}

/// What becomes of dot segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Dots {
    /// No target has them.
    #[default]
    Refused,
    /// Resolved before anything is judged or fetched (RFC 3986 §5.2.4): `%2e` is a dot. Never over a folder.
    Resolved,
}

/// Where a link has its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Style {
    /// `/a/b?URISigningPackage=…` (RFC 6570 §3.2.8).
    #[default]
    Query,
    /// `/a/URISigningPackage=…/b`: what is relative to the link inherits the token.
    Segment,
    /// `/a/b;URISigningPackage=…` (RFC 6570 §3.2.7).
    Parameter,
}

/// What a link says of renewal by cookie (§2.1.12 to §2.1.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewing {
    /// How many seconds each next token is good for: `cdniets`.
    pub seconds: u32,
    /// How many segments of the path the cookie is for: `cdnistd`.
    pub depth: u32,
}

impl Rules {
    /// Rules with these keys, and the RFC's own names and defaults for everything else.
    pub fn new(issuers: Box<[Issuer]>, unnamed: Option<Arc<KeyRing>>, log_key: Arc<LogKey>) -> Self {
        Self {
            attribute: Name::default(),
            cookie: Name::default(),
            issuers,
            unnamed,
            audiences: Box::default(),
            content_keys: NamedKeys::new([]),
            expiry: Expiry::default(),
            dots: Dots::default(),
            signer: None,
            signing_kid: None,
            style: Style::default(),
            renewal: None,
            same_site: SameSite::default(),
            log_key,
        }
    }

    /// In whose name links are signed; in nobody's, where it is `None`.
    fn minter(&self) -> Option<&str> {
        let first = self.issuers.first().filter(|_| self.unnamed.is_none());
        self.signer
            .as_deref()
            .or_else(|| first.map(|issuer| &*issuer.name))
    }

    /// The keys of an issuer; of tokens that name none, where it is `None`.
    fn ring(&self, issuer: Option<&str>) -> Option<&KeyRing> {
        let Some(name) = issuer else {
            return self.unnamed.as_deref();
        };
        self.issuers
            .iter()
            .find(|issuer| *issuer.name == *name)
            .map(|issuer| &*issuer.keys)
    }
}

impl Cdni {
    /// With these rules.
    pub fn new(rules: Rules) -> Self {
        Self {
            cookies: [rules.cookie.as_str().into()],
            markers: [format!("{}=", rules.attribute.as_str()).into()],
            patterns: Patterns::default(),
            rules,
        }
    }
}

impl SignedRequest for Cdni {
    fn queries(&self) -> Vec<&str> {
        vec![self.rules.attribute.as_str()]
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        let taken = carry::take(head, self.rules.attribute.as_str(), self.rules.cookie.as_str())?;
        Ok(taken.map(|taken| match self.rules.dots {
            Dots::Refused => taken,
            Dots::Resolved => Taken {
                path: uri::resolve_dots(taken.path),
                ..taken
            },
        }))
    }

    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let rules = &self.rules;
        let [text] = asked.evidence.parts.as_slice() else {
            return Err(TokenError::Malformed("500 a JWT is one text"));
        };
        // `alg: none` looks like this; whatever the header says, nobody has signed it.
        if text.ends_with('.') {
            return Err(TokenError::Invalid("400 there is no signature"));
        }
        let token = Compact::parse(text)?;
        let header = Header::parse(&token.header, None)?;
        let members = Object::parse(&token.payload).map_err(TokenError::Malformed)?;
        // The issuer is believed once one of its own keys has signed.
        let issuer = claims::issuer(&members)?;
        let ring = rules
            .ring(issuer)
            .ok_or(TokenError::Invalid("401 issued by somebody else"))?;
        let generation = ring.load().ok_or(TokenError::KeysUnavailable)?;
        let key = check_signature(&header, &generation.keys, ring, |key| {
            is_signed(&token, key, &generation, asked)
        })?;
        let said = claims::read(&members, rules, asked.now)?;
        let uri = uri::normalized(asked.public()?, asked.path, asked.query);
        asked.signatures.show(uri.as_bytes());
        container::check(said.container, &uri, &self.patterns)?;
        let mut claims = said.claims(issuer, &token.payload, asked, &rules.log_key);
        claims.key = key.kid.clone();
        // What may be used once would be used again by its successor.
        if let Some(renewing) = said.renewing.filter(|_| claims.uses == Uses::UntilExpiry) {
            let signer = renew::signer(rules, issuer, key, &generation.keys);
            claims.renewal =
                signer.and_then(|signer| renew::renewal(rules, renewing, &members, signer, &claims, asked));
        }
        Ok(claims)
    }

    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)> {
        taken
            .parts
            .first()
            .map(|token| tell::tell(token))
            .unwrap_or_default()
    }

    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        let rules = &self.rules;
        if !matches!(*wish.method, Method::GET | Method::HEAD) {
            return Err(TokenError::Invalid("URI signing is for reading"));
        }
        let token = mint::token(rules, wish)?;
        match wish.place {
            Place::Url => carry::put(wish.target, rules, &token).map(Signed::Url),
            Place::Cookie => Ok(Signed::Cookies(vec![(rules.cookie.as_str().to_owned(), token)])),
            Place::Header => Err(TokenError::Invalid("URI signing has no header")),
        }
    }

    fn cookies(&self) -> &[Box<str>] {
        &self.cookies
    }

    fn markers(&self) -> &[Box<str>] {
        &self.markers
    }
}

/// Whether this key of the ring has signed.
fn is_signed(
    token: &Compact<'_>,
    key: &VerifyingKey,
    generation: &Generation,
    asked: &Asked<'_, '_>,
) -> Result<bool, TokenError> {
    let at = generation
        .keys
        .verifying()
        .iter()
        .position(|known| std::ptr::eq(known, key));
    // A shared secret is quicker than any memory.
    let (AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed, Some(at)) =
        (key.algorithm.family(), at)
    else {
        return token.is_signed_by(key);
    };
    let number = OF_A_RING | (generation.number * MAX_KEYS as u64 + at as u64);
    let check = || token.is_signed_by(key).unwrap_or(false);
    Ok(asked.signatures.holds(
        number,
        token.signed.as_bytes(),
        token.signature.as_bytes(),
        &check,
    ))
}

#[cfg(test)]
mod tests;
