//! Tokens as Sirv makes them: HS256 JWTs that say `args`, `iat`, `exp` and `aud`, and no more. `aud` is what they open: a
//! path, decoded. Whoever has the key makes them; an issuer need not be asked.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::jwt::{self, mint, payload};
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::json::{Json, Object};
use crate::token::keys::{KeyRing, LogKey, SigningKey};
use crate::token::scope::BadScope;
use crate::token::{
    Claims, Evidence, Methods, MintToken, Minted, Opens, Parameter, Scope, TokenError, VerifyToken,
};

/// The one algorithm.
const ALGORITHM: Algorithm = Algorithm::HS256;

/// The header, as the original writes it.
const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;

/// Claims that restrict a native token. Here they have no meaning, and whoever wrote one meant less than would be opened.
const RESTRICTIONS: [&str; 7] = ["paths", "media", "methods", "ips", "uses", "rate", "streams"];

/// How Sirv's tokens are checked.
#[derive(Debug)]
pub struct Sirv {
    rules: Rules,
    number: u64,
}

/// What a verifier demands.
#[derive(Debug)]
pub struct Rules {
    /// The keys; those of other algorithms than HS256 stand apart.
    pub keys: Arc<KeyRing>,
    /// Whether `args` go to the origin. Where they don't, the client's parameters of their names don't either.
    pub forward_args: bool,
    /// The longest `exp - iat`; demands `iat` where set.
    pub max_lifetime: Option<Duration>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

impl Sirv {
    /// A verifier with these rules.
    pub fn new(rules: Rules) -> Self {
        Self::succeeding(rules, [])
    }

    /// The same as `new`, where none of `others` has the very same rules: what was cached for that one stays good.
    pub fn succeeding<'o>(rules: Rules, others: impl IntoIterator<Item = &'o Self>) -> Self {
        let same = others.into_iter().find(|other| other.rules.are(&rules));
        let number = same.map_or_else(super::next_number, |other| other.number);
        Self { rules, number }
    }

    /// See `Scheme::cache_stamp`; `None` while there are no keys.
    pub fn cache_stamp(&self) -> Option<[u64; 2]> {
        Some([self.number, self.rules.keys.load()?.number])
    }
}

impl Rules {
    /// Whether both demand the same, of the same keys, and name tokens the same.
    fn are(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
            && Arc::ptr_eq(&self.log_key, &other.log_key)
            && self.forward_args == other.forward_args
            && self.max_lifetime == other.max_lifetime
    }
}

impl VerifyToken for Sirv {
    fn verify(&self, evidence: &Evidence<'_>) -> Result<Claims, TokenError> {
        let signed = jwt::open(evidence, None, Some(ALGORITHM), &self.rules.keys)?;
        let claims = self.rules.read(&signed.payload)?;
        Ok(Claims {
            key: signed.key,
            ..claims
        })
    }
}

impl Rules {
    fn read(&self, json: &[u8]) -> Result<Claims, TokenError> {
        let members = Object::parse(json).map_err(TokenError::Invalid)?;
        if RESTRICTIONS.iter().any(|name| members.get(name).is_some()) {
            return Err(TokenError::Invalid(
                "it has a restriction that means nothing here",
            ));
        }
        let text = |name, wrong| match members.get(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(&**text)),
            Some(_) => Err(TokenError::Invalid(wrong)),
        };
        let audience = text("aud", "aud is not a text")?.ok_or(TokenError::Invalid("it has no aud"))?;
        let opens = opens(audience).map_err(|_| TokenError::Invalid("aud is not a path"))?;
        let expires = payload::time(&members, "exp")?.ok_or(TokenError::Invalid("it has no exp"))?;
        let issued = payload::time(&members, "iat")?;
        if let Some(longest) = self.max_lifetime {
            payload::check_lifetime(issued, expires, longest)?;
        }
        let mut parameters = payload::parameters(&members)?;
        if !self.forward_args {
            parameters
                .iter_mut()
                .for_each(|(_, value)| *value = Parameter::Withheld);
        }
        // The original has neither, but a library may write them. Whoever has the key writes what he likes, so that the
        // token is never named by them: a native one may bear the same.
        let issuer = text("iss", "iss is not a text")?;
        let id = text("jti", "jti is not a text")?;
        Ok(Claims {
            subject: text("sub", "sub is not a text")?.map(Box::from),
            id: id.map(Box::from),
            issuer: issuer.map(Box::from),
            issued,
            not_before: payload::time(&members, "nbf")?,
            expires: Some(expires),
            scope: Some(Scope(Box::new([opens]))),
            methods: Some(Methods::READ),
            parameters,
            ..Claims::empty(jwt::token_id(&self.log_key, "", None, json))
        })
    }
}

/// What an `aud` opens: everything below it, where it ends with a slash; the one file, where its last segment has an
/// extension; else all whose path starts with it. `*` is a letter like any other.
///
/// # Errors
/// `BadScope` for what no canonical path could match.
pub fn opens(audience: &str) -> Result<Opens, BadScope> {
    let opens = Opens::literal(audience)?;
    let last = audience.rsplit('/').next().unwrap_or_default();
    Ok(match opens {
        // In doubt the narrower one: any dot begins an extension.
        Opens::Exact(text) if !last.contains('.') => Opens::StartsWith(text),
        opens => opens,
    })
}

/// Makes Sirv's tokens.
#[derive(Debug)]
pub struct Minter {
    /// The keys; the first HS256 key signs.
    pub keys: Arc<KeyRing>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

impl MintToken for Minter {
    /// Opens one thing, and reads it. Whom it is for is not said: the token has no word for that.
    fn mint(&self, claims: &Claims, now: UnixTime) -> Result<Minted, TokenError> {
        self.mint_with(None, claims, now)
    }
}

impl Minter {
    /// Whether the secret is that of one of the keys.
    pub fn has(&self, secret: &Secret) -> bool {
        let generation = self.keys.load();
        generation.is_some_and(|generation| generation.keys.signing_with(secret).is_some())
    }

    /// As `mint`, with the key that has this secret.
    ///
    /// # Errors
    /// As `mint`; and `UnknownKey`.
    pub fn mint_with(
        &self,
        secret: Option<&Secret>,
        claims: &Claims,
        now: UnixTime,
    ) -> Result<Minted, TokenError> {
        let generation = self.keys.load().ok_or(TokenError::KeysUnavailable)?;
        let key: &SigningKey = match secret {
            Some(secret) => generation
                .keys
                .signing_with(secret)
                .ok_or(TokenError::UnknownKey)?,
            None => generation
                .keys
                .signing_by(ALGORITHM)
                .ok_or(TokenError::Invalid("no key of the set signs by HS256"))?,
        };
        let payload = Payload::new(claims, now)?;
        let payload =
            serde_json::to_vec(&payload).map_err(|_| TokenError::Invalid("the claims are not JSON"))?;
        Ok(Minted {
            text: mint::sign(HEADER, &payload, key)?,
            id: jwt::token_id(&self.log_key, "", None, &payload),
        })
    }
}

/// Claims that were found sayable.
struct Payload<'c> {
    parameters: &'c [(Box<str>, Parameter)],
    issued: i64,
    expires: i64,
    audience: String,
}

impl<'c> Payload<'c> {
    fn new(claims: &'c Claims, now: UnixTime) -> Result<Self, TokenError> {
        let refuse = |what| Err(TokenError::Invalid(what));
        let Some(expires) = claims.expires else {
            return refuse("a JWT needs an end");
        };
        let reads = claims.methods.is_none_or(|methods| methods.covers(Methods::READ));
        let restricted = claims.uses.is_once()
            || !reads
            || claims.addresses.is_some()
            || !claims.limits.is_empty()
            || claims.not_before.is_some()
            || claims.filename.is_some();
        if restricted {
            return refuse("a Sirv token can't say that");
        }
        let unsayable = |(_, value): &(Box<str>, Parameter)| *value == Parameter::Withheld;
        let names = claims.parameters.iter().map(|(name, _)| &**name);
        if claims.parameters.iter().any(unsayable) || !mint::is_distinct(names) {
            return refuse("a parameter stands twice or has no value");
        }
        let [only] = claims.scope.as_ref().map_or(&[][..], |scope| &scope.0) else {
            return refuse("a Sirv token opens one thing");
        };
        let audience = only.to_string();
        // What is read back as something else opens something else.
        if opens(&audience).as_ref() != Ok(only) {
            return refuse("a Sirv token can't say this path");
        }
        Ok(Self {
            parameters: &claims.parameters,
            issued: now.secs(),
            expires: expires.secs(),
            audience,
        })
    }
}

impl Serialize for Payload<'_> {
    /// In the order of the original.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.parameters.is_empty() {
            map.serialize_entry("args", &mint::Pairs(self.parameters))?;
        }
        map.serialize_entry("iat", &self.issued)?;
        map.serialize_entry("exp", &self.expires)?;
        map.serialize_entry("aud", &self.audience)?;
        map.end()
    }
}

#[cfg(test)]
mod tests;
