//! Making short media tokens. They have no id of their own, so two of one session for one resource differ by their time of
//! issue, down to the millisecond: else the second would be as spent as the first.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::crypto;

use super::read::{Fields, MAX_TTL_MILLIS};
use super::xml::is_sayable;
use super::{ALGORITHM, CLAIMS, id_of};
use crate::clock::UnixTime;
use crate::token::keys::{KeyRing, LogKey};
use crate::token::{Claims, MAX_TOKEN_BYTES, MintToken, Minted, TokenError};

/// When the last token of each slot was issued, in milliseconds since 1970. Of the whole process, so that a reload repeats
/// none.
static ISSUED: [AtomicI64; 1024] = [const { AtomicI64::new(i64::MIN) }; 1024];

/// How far times of issue may run ahead. Further, and the clock was set back: tokens are not dated by its old time for ever.
const MAX_LEAD_MILLIS: i64 = 60_000;

/// Makes short media tokens.
#[derive(Debug)]
pub struct Minter {
    /// The keys; the first for RS256 that can sign does.
    pub keys: Arc<KeyRing>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

impl MintToken for Minter {
    /// `claims` name a subject, an end, and what `CLAIMS` lists, the last of them where there is one. The end is exact:
    /// where the time of issue had to be moved, the life is shorter by that.
    fn mint(&self, claims: &Claims, now: UnixTime) -> Result<Minted, TokenError> {
        let generation = self.keys.load().ok_or(TokenError::KeysUnavailable)?;
        let key = generation
            .keys
            .signing_by(ALGORITHM)
            .ok_or(TokenError::Invalid("no RS256 key of the set can sign"))?;
        let signed = fields(claims, now)?.write();
        let signature = crypto::sign(signed.as_bytes(), &key.key, ALGORITHM)
            .ok()
            .and_then(|signature| URL_SAFE_NO_PAD.decode(signature).ok())
            .ok_or(TokenError::Invalid("the key does not sign"))?;
        let signature = STANDARD.encode(signature);
        let text = STANDARD.encode(format!("<signatureInfo>{signature}</signatureInfo>{signed}"));
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid("the token would be longer than 8 KiB"));
        }
        Ok(Minted {
            id: id_of(&self.log_key, &signed),
            text,
        })
    }
}

fn fields(claims: &Claims, now: UnixTime) -> Result<Fields, TokenError> {
    let text = |name: &str| -> Result<Box<str>, TokenError> {
        claims
            .text(name)
            .filter(|text| !text.is_empty() && is_sayable(text))
            .map(Box::from)
            .ok_or(TokenError::Invalid(
                "a claim of the token is missing or can't be said",
            ))
    };
    let [resource, requestor, mvpd, proxy_mvpd] = CLAIMS;
    let (session, requestor, resource) = (text("sub")?, text(requestor)?, text(resource)?);
    let issued = issue_time([&session, &requestor, &resource], now);
    let ttl = claims.expires.map_or(Duration::ZERO, |end| issued.until(end));
    if ttl.is_zero() || ttl > Duration::from_millis(MAX_TTL_MILLIS.unsigned_abs()) {
        return Err(TokenError::Invalid("a life of nothing, or of more than a year"));
    }
    Ok(Fields {
        session,
        requestor,
        resource,
        ttl,
        issued,
        mvpd: text(mvpd)?,
        proxy_mvpd: claims.text(proxy_mvpd).map(|_| text(proxy_mvpd)).transpose()?,
    })
}

/// The time of issue: now, or a little later where a token of the slot has that time already.
fn issue_time(names: [&str; 3], now: UnixTime) -> UnixTime {
    let mut hasher = DefaultHasher::new();
    names.hash(&mut hasher);
    let slot = &ISSUED[hasher.finish() as usize % ISSUED.len()];
    let now = now.millis();
    let next = |last: i64| match last {
        last if (now..now.saturating_add(MAX_LEAD_MILLIS)).contains(&last) => last + 1,
        _ => now,
    };
    let last = slot.update(Ordering::Relaxed, Ordering::Relaxed, next);
    UnixTime::from_millis(next(last))
}
