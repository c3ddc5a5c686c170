//! Verify: is the token true? In: the evidence. Out: its claims, and whether they are in time, as a fact that
//! `authorize` judges; or the name under which the store knows what it says. A bounded cache per worker remembers what was
//! true; it never remembers a refusal.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use quick_cache::unsync::Cache;

use super::locate::Located;
use super::refusal::Stop;
use super::route::Route;
use crate::clock::UnixTime;
use crate::token::scheme::Believed;
use crate::token::{Claims, Evidence, Parts, Standing, TokenError, TokenId};

/// A true token.
pub struct Verified {
    /// What it says.
    pub claims: Arc<Claims>,
    /// Whether it is in time.
    pub standing: Standing,
}

/// What is known of a token without the store.
pub enum Checked {
    /// It is true.
    True(Verified),
    /// The store knows.
    Handle(TokenId),
}

impl Checked {
    fn is_in_time(&self) -> bool {
        match self {
            Self::True(verified) => verified.standing == Standing::InTime,
            // Nobody knows yet: a token that is true without asking goes first.
            Self::Handle(_) => false,
        }
    }
}

/// Tokens that were true, of one worker.
pub struct TokenCache(Option<Mutex<Cache<[u8; 32], Arc<Claims>>>>);

impl TokenCache {
    /// For at most `tokens` tokens; 0 remembers none.
    pub fn new(tokens: usize) -> Self {
        Self((tokens > 0).then(|| Mutex::new(Cache::new(tokens))))
    }

    /// What the token said, unless its time is over; then the entry is gone too.
    fn recall(&self, key: &[u8; 32], route: &Route, now: UnixTime) -> Option<Verified> {
        let mut cache = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = Arc::clone(cache.get(key)?);
        let standing = claims.standing(now, route.leeway);
        if standing == Standing::Expired {
            cache.remove(key);
        }
        Some(Verified { claims, standing })
    }

    fn remember(&self, key: [u8; 32], claims: &Arc<Claims>) {
        if let Some(cache) = &self.0 {
            cache
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, Arc::clone(claims));
        }
    }
}

/// Checks the token, and further cookies of its name in turn: the first that is true and in time counts.
///
/// # Errors
/// `token_malformed`, `token_invalid`, `keys_unavailable`.
pub fn verify(
    route: &Route,
    located: &mut Located<'_>,
    cache: &TokenCache,
    now: UnixTime,
) -> Result<Checked, Stop> {
    let first = verify_one(route, &located.evidence, cache, now);
    if located.alternatives.is_empty() || matches!(&first, Ok(checked) if checked.is_in_time()) {
        return Ok(first?);
    }
    let mut best = first;
    for parts in std::mem::take(&mut located.alternatives) {
        located.evidence.parts = parts;
        let next = verify_one(route, &located.evidence, cache, now);
        match &next {
            Ok(checked) if checked.is_in_time() => return Ok(next?),
            Ok(_) if best.is_err() => best = next,
            _ => {}
        }
    }
    Ok(best?)
}

fn verify_one(
    route: &Route,
    evidence: &Evidence<'_>,
    cache: &TokenCache,
    now: UnixTime,
) -> Result<Checked, TokenError> {
    let scheme = route.schemes.of(evidence);
    let key = scheme
        .cache_stamp()
        .map(|stamp| cache_key(&evidence.parts, stamp));
    if let Some(verified) = key.and_then(|key| cache.recall(&key, route, now)) {
        return Ok(Checked::True(verified));
    }
    let claims = match scheme.verify(evidence)? {
        Believed::Claims(claims) => Arc::new(claims),
        Believed::Handle(id) => return Ok(Checked::Handle(id)),
    };
    let standing = claims.standing(now, route.leeway);
    if let Some(key) = key
        && standing != Standing::Expired
    {
        cache.remember(key, &claims);
    }
    Ok(Checked::True(Verified { claims, standing }))
}

/// SHA-256 over the stamp and the whole token: a shorter hash could be made to collide, and a collision is a forgery.
fn cache_key(parts: &Parts<'_>, stamp: [u64; 2]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for number in stamp {
        context.update(&number.to_be_bytes());
    }
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
