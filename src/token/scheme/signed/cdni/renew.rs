//! Renewal of a token (RFC 9246 §3): the same claims with a later end, in a cookie. Without a key that signs, or where no cookie
//! can say the path, there is none, and the old token lives out its time.

use std::time::Duration;

use http::HeaderValue;
use http::header::SET_COOKIE;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::claims::Successor;
use super::{Rules, mint};
use crate::token::claims::Renewal;
use crate::token::json::{Json, Object};
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

/// The next token, where there is to be one and this one is good here and now.
pub(super) fn renewal(
    rules: &Rules,
    renewing: Successor,
    members: &Object<'_>,
    issuer: Option<&str>,
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
    // Another's name would be signed by keys that are not its own.
    let signer = rules.signer.as_deref().or(issuer);
    let renewed = Renewed {
        members,
        issuer: signer,
        issued: asked.now.secs(),
        expires,
    };
    let token = mint::sign(rules, signer, &renewed).ok()?;
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

/// The claims of a token, with those that its successor says otherwise. An `nbf`, a `jti` and an address are the old one's.
struct Renewed<'j, 'c> {
    members: &'j Object<'c>,
    issuer: Option<&'j str>,
    issued: i64,
    expires: i64,
}

impl Serialize for Renewed<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.members.iter() {
            match (name, self.issuer) {
                ("exp", _) => map.serialize_entry(name, &self.expires)?,
                ("iat", _) => map.serialize_entry(name, &self.issued)?,
                ("iss", Some(issuer)) => map.serialize_entry(name, issuer)?,
                _ => map.serialize_entry(name, &Same(value))?,
            }
        }
        if self.members.get("exp").is_none() {
            map.serialize_entry("exp", &self.expires)?;
        }
        if let (Some(issuer), None) = (self.issuer, self.members.get("iss")) {
            map.serialize_entry("iss", issuer)?;
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
