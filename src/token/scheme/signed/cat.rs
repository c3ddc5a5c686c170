//! Common Access Tokens (CTA-5007): CBOR Web Tokens (RFC 8392) in a header, a cookie, the query or the first segment of the
//! path. The signature is checked first; then every claim has to be one that is judged here, or the token is refused. The
//! document itself stands behind a form: labels are IANA's, the rest is what libraries and CDNs agree on, and the narrower
//! reading where they don't.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use smallvec::smallvec;

use super::{Asked, NamedKey, NamedKeys, Place, Signed, SignedRequest, Taken, Wish, query};
use crate::token::carrier::{Head, LocateError, MAX_COOKIES, cookies};
use crate::token::keys::LogKey;
use crate::token::scheme::jwt::payload::check_lifetime;
use crate::token::{Claims, MAX_TOKEN_BYTES, Parts, TokenError, TokenId, Uses};

mod cbor;
mod cwt;
mod keys;
mod labels;
mod matching;
mod mint;
mod network;
mod renew;
mod said;
mod uri;

use cwt::Envelope;
use said::Said;

pub use keys::{Algorithm, CatKey};
pub use labels::{BadLabel, Labels};
pub use renew::Renewals;

/// The header that is registered for it, and the cookie's name.
const NAME: &str = "CTA-Common-Access-Token";
/// The names of its parameter: in AWS's sample, and what `@eyevinn/cat` looks for.
const QUERIES: [&str; 2] = ["CAT", "cat"];
/// The keys that are tried for a token that names none.
const MAX_TRIALS: usize = 8;
/// The least length of a token in the path: below, not even a MAC and an end fit.
const MIN_SEGMENT_BYTES: usize = 64;
/// What the text of a token begins with: tags 61 and 17 or 18, or the latter alone, and a list of four that begins with bytes.
const MARKERS: [&str; 4] = ["2D3Rh", "2D3Sh", "0YR", "0oR"];

/// How Common Access Tokens are checked and made.
#[derive(Debug)]
pub struct Rules {
    /// The keys by their names (`kid`).
    pub keys: NamedKeys<CatKey>,
    /// Whose tokens count (`iss`); the first is ours. Where the list is empty anybody's do who has a key.
    pub issuers: Box<[Box<str>]>,
    /// Whom tokens may be for (`aud`); one that names others alone is refused.
    pub audiences: Box<[Box<str>]>,
    /// Whether a token has to name one of them.
    pub audience_required: bool,
    /// The longest `exp - iat`; demands `iat` where set.
    pub max_lifetime: Option<Duration>,
    /// The headers that it may ride in.
    pub headers: Box<[HeaderName]>,
    /// The cookies.
    pub cookies: Box<[Box<str>]>,
    /// The query parameters.
    pub queries: Box<[Box<str>]>,
    /// Whether it may be the first segment of the path.
    pub path_segment: bool,
    /// Other numbers of claims.
    pub labels: Labels,
    /// The numbers of claims that are not judged and stand in tokens all the same: the configuration vouches that they
    /// restrict nothing.
    pub ignored: Box<[i64]>,
    /// How tokens that ask for it are renewed; `None` lets them run out.
    pub renewals: Option<Renewals>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

impl Rules {
    /// The registered names and numbers, any issuer, no audience, tokens in headers, cookies and queries, renewal for a day.
    pub fn new(keys: NamedKeys<CatKey>, log_key: Arc<LogKey>) -> Self {
        Self {
            keys,
            issuers: Box::default(),
            audiences: Box::default(),
            audience_required: false,
            max_lifetime: None,
            headers: Box::new([HeaderName::from_static("cta-common-access-token")]),
            cookies: Box::new([NAME.into()]),
            queries: QUERIES.map(Box::from).into(),
            path_segment: false,
            labels: Labels::default(),
            ignored: Box::default(),
            renewals: Some(Renewals::default()),
            log_key,
        }
    }
}

/// The scheme.
#[derive(Debug)]
pub struct Cat {
    rules: Rules,
    markers: Box<[Box<str>]>,
}

impl Cat {
    /// With these rules.
    pub fn new(rules: Rules) -> Self {
        let markers = match rules.path_segment {
            true => MARKERS.map(Box::from).into(),
            false => Box::default(),
        };
        Self { rules, markers }
    }

    /// The key that made the token: of its name, where it has one, and never by another algorithm than its own.
    fn maker(&self, envelope: &Envelope<'_>, asked: &Asked<'_, '_>) -> Result<&NamedKey<CatKey>, TokenError> {
        let message = envelope.signed();
        asked.signatures.show(&message);
        let named = |key: &&NamedKey<CatKey>| envelope.kid.is_none_or(|kid| key.name.as_bytes() == kid);
        let mut keys = self.rules.keys.at(asked.now).filter(named).peekable();
        keys.peek().ok_or(TokenError::UnknownKey)?;
        keys.filter(|key| key.key.algorithm() == envelope.algorithm)
            .take(MAX_TRIALS)
            .find(|key| {
                key.key
                    .made(key.number, &message, envelope.signature, asked.signatures)
            })
            .ok_or(TokenError::Invalid("the signature is not of its key"))
    }

    /// The same when it is made, used and renewed: over issuer and `cti`. Without a `cti` over the claims, so that a renewed token
    /// has another one, and `revoke --token` reaches the one token that it names. Never over the signature, of which there are
    /// several good ones.
    fn token_id(&self, said: &Said<'_>, payload: &[u8]) -> TokenId {
        let issuer = said.issuer.unwrap_or_default().as_bytes();
        let bytes = match said.id {
            Some(id) => [b"cat\0cti\0", issuer, &[0xff], id].concat(),
            None => [b"cat\0claims\0", payload].concat(),
        };
        self.rules.log_key.name(&bytes)
    }
}

impl SignedRequest for Cat {
    fn queries(&self) -> Vec<&str> {
        self.rules.queries.iter().map(|name| &**name).collect()
    }

    fn name(&self) -> &'static str {
        "cat"
    }

    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        let rules = &self.rules;
        let segment = match rules.path_segment {
            true => first_segment(head.path),
            false => None,
        };
        let path = segment.map_or(head.path, |(_, rest)| rest);
        let queries: Vec<&str> = rules.queries.iter().map(|name| &**name).collect();
        let query = query::without_names(head.query, &queries);
        let mut in_url = segment.map(|(token, _)| Cow::Borrowed(token));
        for name in &queries {
            if let Some(raw) = query::one(head.query, name)? {
                let token = query::decode(raw)?;
                if in_url.is_some_and(|other| other != token) {
                    return Err(LocateError::Ambiguous);
                }
                in_url = Some(token);
            }
        }
        let (place, mut all) = match in_url {
            Some(token) => (Place::Url, vec![token]),
            None => match in_header(&rules.headers, head)? {
                Some(token) => (Place::Header, vec![token]),
                None => (Place::Cookie, in_cookies(&rules.cookies, head)),
            },
        };
        if all.is_empty() {
            return Ok(None);
        }
        all.retain(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES);
        let mut all = all.into_iter().map(|token| parts(token, place));
        Ok(Some(Taken {
            place,
            parts: all.next().ok_or(LocateError::Malformed)?,
            alternatives: all.collect(),
            path: path.into(),
            query,
            prefix: segment.map(|(token, _)| token.into()),
        }))
    }

    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let rules = &self.rules;
        let bytes = cwt::decode(asked.part(0))?;
        let envelope = cwt::open(&bytes)?;
        let key = self.maker(&envelope, asked)?;
        let said = Said::read(rules, envelope.payload)?;
        said.check_parties(rules)?;
        if let Some(longest) = rules.max_lifetime {
            check_lifetime(said.issued, said.expires, longest)?;
        }
        said.check_request(asked)?;
        // What may be used once would be used again by its successor.
        let terms = said.renewal.as_ref().filter(|_| said.uses == Uses::UntilExpiry);
        let renewal = terms.and_then(|terms| terms.renew(rules, &said, place(asked.part(1)), key, asked.now));
        Ok(Claims {
            subject: said.subject.map(Box::from),
            id: said.id.map(|id| hex(id).into()),
            issuer: said.issuer.map(Box::from),
            issued: said.issued,
            key: Some(key.name.clone()),
            not_before: said.not_before,
            expires: Some(said.expires),
            uses: said.uses,
            methods: Some(said.methods),
            renewal,
            addresses: said.networks.clone(),
            ..asked.opened(self.token_id(&said, envelope.payload))
        })
    }

    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)> {
        let mut told = Vec::new();
        let text = taken.parts.first().map_or("", |part| part);
        let Ok(bytes) = cwt::decode(text) else {
            return told;
        };
        let Ok(envelope) = cwt::open(&bytes) else {
            return told;
        };
        told.push(("algorithm".into(), format!("{:?}", envelope.algorithm)));
        if let Some(kid) = envelope.kid {
            told.push(("key".into(), kid.escape_ascii().to_string()));
        }
        if let Ok(cbor::Item::Map(claims)) = cbor::read(envelope.payload) {
            told.extend(claims.iter().map(|(label, item)| {
                let name = self.rules.labels.name(*label);
                let name = name.map_or_else(|| label.to_string().into(), Cow::Borrowed);
                (name, item.to_string())
            }));
        }
        told
    }

    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        self.link(wish)
    }

    fn headers(&self) -> &[HeaderName] {
        &self.rules.headers
    }

    fn cookies(&self) -> &[Box<str>] {
        &self.rules.cookies
    }

    fn markers(&self) -> &[Box<str>] {
        &self.markers
    }
}

/// The token and the place where it rode, which an automatic renewal goes by.
fn parts(token: Cow<'_, str>, place: Place) -> Parts<'_> {
    let place = match place {
        Place::Url => "url",
        Place::Header => "header",
        Place::Cookie => "cookie",
    };
    smallvec![token, Cow::Borrowed(place)]
}

fn place(word: &str) -> Place {
    match word {
        "header" => Place::Header,
        "cookie" => Place::Cookie,
        _ => Place::Url,
    }
}

/// A token that is the first segment, and the path behind it. It has no mark of its own, but its first bytes are always the
/// same, and it is longer than a folder's name.
fn first_segment(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix('/')?;
    let (segment, _) = rest.split_once('/')?;
    let is_token = segment.len() >= MIN_SEGMENT_BYTES
        && MARKERS.iter().any(|marker| segment.starts_with(marker))
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_token.then(|| rest.split_at(segment.len()))
}

/// The token in a header of these names; two headers are one too many.
fn in_header<'r>(names: &[HeaderName], head: Head<'r>) -> Result<Option<Cow<'r, str>>, LocateError> {
    let mut values = names.iter().flat_map(|name| head.headers.get_all(name));
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(LocateError::Ambiguous);
    }
    let text = value.to_str().map_err(|_| LocateError::Malformed)?;
    Ok(Some(text.into()))
}

fn in_cookies<'r>(names: &[Box<str>], head: Head<'r>) -> Vec<Cow<'r, str>> {
    let values = names.iter().flat_map(|name| cookies(head.headers, name));
    values.take(MAX_COOKIES).map(Cow::Borrowed).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
