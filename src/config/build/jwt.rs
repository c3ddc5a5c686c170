//! `[route.scheme.jwt]` and `[[issuer.callers]]`: whose JWTs are believed, and what they have to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::keys::Keys;
use super::{in_range, raw, seconds};
use crate::config::policy::RouteKeys;
use crate::config::problems::Problems;
use crate::config::values::Texts;
use crate::token::keys::LogKey;
use crate::token::scheme::jwt::{Profile, Required, Rules};

/// What a table says of JWTs.
pub(super) struct JwtTable<'r> {
    pub(super) at: &'r str,
    pub(super) keys: Option<&'r str>,
    pub(super) profile: Profile,
    pub(super) issuer: Option<&'r Texts>,
    pub(super) audience: Option<&'r Texts>,
    pub(super) require: &'r BTreeMap<String, Texts>,
    pub(super) typ: Option<&'r str>,
    pub(super) max_lifetime: Option<Duration>,
}

impl<'r> From<&'r raw::Jwt> for JwtTable<'r> {
    fn from(jwt: &'r raw::Jwt) -> Self {
        Self {
            at: &jwt.at,
            keys: jwt.keys.as_deref(),
            profile: jwt.profile,
            issuer: jwt.issuer.as_ref(),
            audience: jwt.audience.as_ref(),
            require: &jwt.require,
            typ: jwt.typ.as_deref(),
            max_lifetime: jwt.max_lifetime,
        }
    }
}

/// Reads a verifier; `named` are the text claims that it keeps.
pub(super) fn jwt_rules(
    jwt: &JwtTable<'_>,
    keys: &Keys,
    mut named: Vec<String>,
    problems: &mut Problems,
) -> Option<(RouteKeys, Rules)> {
    let at = |key: &str| format!("{}.{key}", jwt.at);
    let ring = jwt
        .keys
        .and_then(|name| keys.find(&at("keys"), name, problems))
        .map(|named| &named.ring);
    let mut texts = |key: &str, texts: Option<&Texts>, usual: Option<&str>| {
        let Some(texts) = texts else {
            // Missing or unreadable was reported where it is required.
            if problems.has(&at(key)) || problems.has_error_below(&at(key)) {
                return None;
            }
            if jwt.profile == Profile::Native {
                problems.error(
                    at(key),
                    "missing",
                    format!("add `{key} = …`, a text or list of texts"),
                );
                return None;
            }
            return Some(usual.map(str::to_owned).into_iter().collect());
        };
        if texts.0.is_empty() || texts.0.iter().any(String::is_empty) {
            problems.error(
                at(key),
                "is empty",
                format!("name the {key} that tokens have to carry"),
            );
            return None;
        }
        Some(texts.0.clone())
    };
    let issuers = texts("issuer", jwt.issuer, None);
    let audiences = texts("audience", jwt.audience, jwt.profile.audience());
    let require = required_claims(jwt, problems);
    if jwt.profile == Profile::AwsIvs
        && jwt
            .require
            .get("aws:channel-arn")
            .is_none_or(|arns| arns.0.is_empty())
    {
        problems.error(
            at("require"),
            "does not name the channel, so that a token of any channel would pass",
            "require = { \"aws:channel-arn\" = \"arn:aws:ivs:…:channel/…\" }",
        );
    }
    let max_lifetime = jwt
        .max_lifetime
        .map(|life| in_range(at("max_lifetime"), life, seconds(1), 3660 * super::DAY, problems));
    named.retain(|name| name != "sub" && name != "iss");
    named.sort();
    named.dedup();
    let log_key: Arc<LogKey> = keys.log_key.clone()?;
    let (ring, issuers, audiences, require) = (ring?, issuers?, audiences?, require?);
    let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
    let rules = Rules {
        keys: Arc::clone(ring),
        profile: jwt.profile,
        issuers: boxed(&issuers),
        audiences: boxed(&audiences),
        require,
        typ: jwt.typ.map(Box::from),
        max_lifetime,
        named: boxed(&named),
        log_key,
    };
    Some((
        RouteKeys {
            keys: Arc::clone(ring),
            profile: jwt.profile,
            requires_more: !jwt.require.is_empty() || jwt.profile == Profile::JwPlayer,
            issuers,
            audiences,
            typ: jwt.typ.map(str::to_owned),
            max_lifetime,
        },
        rules,
    ))
}

/// The claims that tokens need beside those that have a meaning of their own.
fn required_claims(jwt: &JwtTable<'_>, problems: &mut Problems) -> Option<Box<[Required]>> {
    let mut good = true;
    let mut all = Vec::new();
    for (name, values) in jwt.require {
        let at = format!("{}.require.{name}", jwt.at);
        if matches!(name.as_str(), "iss" | "aud" | "exp" | "nbf" | "iat") {
            problems.error(
                at,
                "has a key of its own",
                "`issuer`, `audience`; times are always judged",
            );
            good = false;
        } else if values.0.iter().any(String::is_empty) {
            problems.error(
                at,
                "holds an empty text",
                "name what the claim may be, or [] for any text",
            );
            good = false;
        }
        let values = values.0.iter().map(|value| Box::from(value.as_str())).collect();
        all.push((name.as_str().into(), values));
    }
    good.then(|| all.into())
}
