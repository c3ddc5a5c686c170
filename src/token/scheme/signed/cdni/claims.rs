//! The claims of a token whose signature is good (RFC 9246 §2.1): each has its one type, and one that restricts and can't be
//! enforced refuses the token. Times are left to `Claims::standing`, and the URI to `container`.

use std::time::Duration;

use ipnet::IpNet;

use super::{Expiry, Rules, jwe};
use crate::clock::UnixTime;
use crate::token::json::{Json, Object};
use crate::token::keys::LogKey;
use crate::token::scheme::jwt::{network, payload};
use crate::token::scheme::signed::Asked;
use crate::token::{Claims, Methods, TokenError, TokenId, Uses};

/// The longest that a renewed token may be good for, in seconds: 136 years. More is a mistake.
const MAX_RENEWAL_SECONDS: f64 = u32::MAX as f64;

/// What a token says.
pub(super) struct Said<'j> {
    /// `cdniuc`, which is still to be judged.
    pub(super) container: &'j str,
    /// What it says of its successor.
    pub(super) renewing: Option<Successor>,
    subject: Option<Box<str>>,
    id: Option<&'j str>,
    expires: Option<UnixTime>,
    not_before: Option<UnixTime>,
    issued: Option<UnixTime>,
    address: Option<IpNet>,
}

/// That there is to be a next token, in a cookie.
#[derive(Clone, Copy)]
pub(super) struct Successor {
    /// How long it is good for.
    pub(super) life: Duration,
    /// How many segments of the path the cookie is for.
    pub(super) depth: u64,
}

fn text<'j>(members: &'j Object<'_>, name: &str, wrong: &'static str) -> Result<Option<&'j str>, TokenError> {
    members
        .get(name)
        .map(|value| value.text().ok_or(TokenError::Invalid(wrong)))
        .transpose()
}

/// `iss` (§2.1.1).
pub(super) fn issuer<'j>(members: &'j Object<'_>) -> Result<Option<&'j str>, TokenError> {
    text(members, "iss", "401 iss is not a text")
}

/// Reads and judges the claims.
pub(super) fn read<'j>(
    members: &'j Object<'_>,
    rules: &Rules,
    now: UnixTime,
) -> Result<Said<'j>, TokenError> {
    let refuse = |what| Err(TokenError::Invalid(what));
    if members
        .get("cdniv")
        .is_some_and(|version| version.whole() != Some(1))
    {
        return refuse("408 the claims are of another version");
    }
    // It lists extensions, none of which we have, and never a claim of the RFC's own (§2.1.9).
    if members.get("cdnicrit").is_some() {
        return refuse("409 an extension is critical");
    }
    check_audience(members, &rules.audiences)?;
    let time = |name, wrong| payload::time(members, name).map_err(|_| TokenError::Invalid(wrong));
    let expires = time("exp", "404 exp is not a time")?;
    let not_before = time("nbf", "405 nbf is not a time")?;
    let issued = time("iat", "500 iat is not a time")?;
    if expires.is_none() && rules.expiry == Expiry::Required {
        return refuse("404 it has no exp");
    }
    let id = text(members, "jti", "407 jti is not a text")?;
    // An id is remembered until its token's end, and nothing is remembered for ever (§2.1.7).
    if id.is_some() && expires.is_none() {
        return refuse("407 it has a jti and no exp");
    }
    let encrypted = |name, wrong| {
        let sealed = text(members, name, wrong)?;
        let open = |sealed| jwe::open(sealed, &rules.content_keys, now).ok_or(TokenError::Invalid(wrong));
        sealed.map(open).transpose()
    };
    let subject = encrypted("sub", "402 sub is not encrypted by one of our keys")?;
    let address = encrypted("cdniip", "410 cdniip is not encrypted by one of our keys")?;
    let address = address
        .map(|text| prefix(&text).ok_or(TokenError::Invalid("410 cdniip is not an address")))
        .transpose()?;
    let renewing = renewing(members)?;
    let Some(Json::Text(container)) = members.get("cdniuc") else {
        return refuse("411 cdniuc is not a text");
    };
    Ok(Said {
        container,
        renewing,
        subject: subject.map(String::into),
        id,
        expires,
        not_before,
        issued,
        address,
    })
}

/// `aud` (§2.1.3): where there is one, we are in it.
fn check_audience(members: &Object<'_>, ours: &[Box<str>]) -> Result<(), TokenError> {
    let is_ours = |audience: &str| ours.iter().any(|known| **known == *audience);
    let found = match members.get("aud") {
        None => true,
        Some(Json::Text(audience)) => is_ours(audience),
        Some(list) => list.texts().is_some_and(|list| list.into_iter().any(is_ours)),
    };
    match found {
        true => Ok(()),
        false => Err(TokenError::Invalid("403 for another audience")),
    }
}

/// `cdniip` (§2.1.10): an address, or one with a prefix length. The RFC's own example puts it in brackets and sets bits of
/// the host (A.2).
fn prefix(text: &str) -> Option<IpNet> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    network(bare.unwrap_or(text))
}

/// `cdniets`, `cdnistt` and `cdnistd` (§2.1.12 to §2.1.14, §3.2.1): the first two stand together. A successor goes by cookie
/// alone: by query (`cdnistt` 2) it would ride in a redirect of ours, and we make none.
fn renewing(members: &Object<'_>) -> Result<Option<Successor>, TokenError> {
    let wrong = |what| TokenError::Invalid(what);
    let depth = match members.get("cdnistd") {
        None => 0,
        Some(depth) => depth.whole().ok_or(wrong("406 cdnistd is not a whole number"))?,
    };
    let (seconds, transport) = match (members.get("cdniets"), members.get("cdnistt")) {
        (None, None) => return Ok(None),
        (Some(Json::Number(seconds)), Some(transport)) => (seconds.as_f64(), transport.whole()),
        _ => return Err(wrong("406 cdniets and cdnistt do not stand together")),
    };
    let is_cookie = match transport {
        Some(0) => return Ok(None),
        Some(1) => true,
        Some(2) => false,
        _ => return Err(wrong("406 cdnistt is not 0, 1 or 2")),
    };
    let life = seconds
        .filter(|seconds| *seconds > 0.0 && *seconds <= MAX_RENEWAL_SECONDS)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or(wrong("406 cdniets is not a time to live"))?;
    Ok(is_cookie.then_some(Successor { life, depth }))
}

impl Said<'_> {
    /// As everybody reads them.
    pub(super) fn claims(
        &self,
        issuer: Option<&str>,
        json: &[u8],
        asked: &Asked<'_, '_>,
        log_key: &LogKey,
    ) -> Claims {
        let path = asked.target.path();
        let token_id = match self.id {
            Some(id) => name_of_id(log_key, issuer, id, path),
            None => log_key.name(&[b"cdni\0\xff", json].concat()),
        };
        Claims {
            subject: self.subject.clone(),
            id: self.id.map(Box::from),
            issuer: issuer.map(Box::from),
            issued: self.issued,
            not_before: self.not_before,
            expires: self.expires,
            // "Previously seen … for the same content": no second answer, whoever asks (§2.1.7).
            uses: if self.id.is_some() {
                Uses::Strict
            } else {
                Uses::UntilExpiry
            },
            methods: Some(Methods::READ),
            addresses: self.address.map(|address| Box::from([address])),
            ..asked.opened(token_id)
        }
    }
}

/// What logs and store call a token with a `jti`: its issuer, its id and the content. The content is the path alone: under
/// another host or query the same file would be fetched once more. No text holds the byte 0xff, so that no two parts meet.
fn name_of_id(log_key: &LogKey, issuer: Option<&str>, id: &str, path: &str) -> TokenId {
    let mut name = b"cdni\0".to_vec();
    match issuer {
        Some(issuer) => name.extend_from_slice(issuer.as_bytes()),
        None => name.push(0xfe),
    }
    for part in [id, path] {
        name.push(0xff);
        name.extend_from_slice(part.as_bytes());
    }
    log_key.name(&name)
}
