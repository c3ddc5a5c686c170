//! Renewal of a token (RFC 9246 §3): the same claims with a later end, in a cookie. Without a key that signs, or where no cookie
//! can say the path, there is none, and the old token lives out its time. What ends a token ends those that came of it: they are of
//! the same issuer and subject, of the same key where that can sign, and issued when the first one was. Their names in logs and
//! store are others, for these are made from the claims: `revoke --token` reaches the one token that it names.

use std::time::Duration;

use http::HeaderValue;
use http::header::SET_COOKIE;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::claims::Successor;
use super::{Rules, mint};
use crate::token::claims::Renewal;
use crate::token::json::{Json, Object};
use crate::token::keys::{KeySet, SigningKey, VerifyingKey};
use crate::token::scheme::signed::Asked;
use crate::token::{Claims, Standing};

/// Whether a cookie goes along with requests that pages of other sites make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SameSite {
    /// It stays at home: `SameSite=Lax`.
    #[default]
    Lax,
    /// It goes along: `SameSite=None`, which demands `Secure`.
    None,
}

/// The key that signs the successor of a token of this issuer, which `key` of these keys has signed: the same one, and where that
/// can't sign the one that the rules name. Never one of another issuer, whose keys have ends of their own.
pub(super) fn signer<'k>(
    rules: &Rules,
    issuer: Option<&str>,
    key: &VerifyingKey,
    keys: &'k KeySet,
) -> Option<&'k SigningKey> {
    let is_named = rules.signer.is_some() || rules.signing_kid.is_some();
    if is_named && rules.minter() != issuer {
        return None;
    }
    keys.signing_half_of(key)
        .or_else(|| keys.signing(Some(rules.signing_kid.as_deref()?)))
}

/// The next token, where there is to be one and this one is good here and now.
pub(super) fn renewal(
    rules: &Rules,
    renewing: Successor,
    members: &Object<'_>,
    signer: &SigningKey,
    claims: &Claims,
    asked: &Asked<'_, '_>,
) -> Option<Renewal> {
    let is_good = claims.standing(asked.now, Duration::ZERO) == Standing::InTime
        && claims.allows_address(asked.evidence.client);
    if !is_good {
        return None;
    }
    let path = cookie_path(asked.path, renewing.depth)?;
    let expires = asked.now.after(renewing.life).secs();
    let seconds = expires
        .checked_sub(asked.now.secs())
        .filter(|seconds| *seconds > 0)?;
    let token = mint::sign(signer, &Renewed { members, expires }).ok()?;
    let same_site = match (
        asked.evidence.public?.scheme.eq_ignore_ascii_case("https"),
        rules.same_site,
    ) {
        (true, SameSite::Lax) => "SameSite=Lax; Secure",
        (_, SameSite::None) => "SameSite=None; Secure",
        (false, SameSite::Lax) => "SameSite=Lax",
    };
    let cookie = format!(
        "{}={token}; Path={path}; Max-Age={seconds}; HttpOnly; {same_site}",
        rules.cookie.as_str()
    );
    Some(Renewal {
        header: SET_COOKIE,
        value: HeaderValue::from_str(&cookie).ok()?,
    })
}

/// The first segments of the path, as the client will send them again (§2.1.14); `None` where there are fewer, or where an
/// attribute of a cookie can't say them.
fn cookie_path(path: &str, depth: u64) -> Option<&str> {
    let Some(last) = depth.checked_sub(1) else {
        return Some("/");
    };
    let inner = path.strip_prefix('/')?;
    let ends = inner.match_indices('/').map(|(at, _)| at).chain([inner.len()]);
    let end = ends.into_iter().nth(usize::try_from(last).ok()?)?;
    let path = path.get(..=end)?;
    let is_sayable = |byte: u8| byte.is_ascii_graphic() && byte != b';';
    path.bytes().all(is_sayable).then_some(path)
}

/// The claims of a token, but for the end. An `iat` is the old one's: a revocation of what was issued before counts for both.
struct Renewed<'j, 'c> {
    members: &'j Object<'c>,
    expires: i64,
}

impl Serialize for Renewed<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.members.iter() {
            match name {
                "exp" => map.serialize_entry(name, &self.expires)?,
                _ => map.serialize_entry(name, &Same(value))?,
            }
        }
        if self.members.get("exp").is_none() {
            map.serialize_entry("exp", &self.expires)?;
        }
        map.end()
    }
}

/// A value as it was read.
struct Same<'j>(&'j Json<'j>);

impl Serialize for Same<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(truth) => serializer.serialize_bool(*truth),
            Json::Number(number) => number.serialize(serializer),
            Json::Text(text) => serializer.serialize_str(text),
            Json::Array(values) => serializer.collect_seq(values.iter().map(Same)),
            Json::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, Same(value))))
            }
        }
    }
}
