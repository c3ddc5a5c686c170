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
use crate::token::scheme::signed::{Asked, Shown, Signatures};
use crate::token::{Claims, Standing, TokenError, TokenId};

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

/// Tokens that were true, and signatures that were good, of one worker.
pub struct TokenCache(Option<Mutex<Cache<[u8; 32], Good>>>);

/// What is remembered under a hash.
#[derive(Clone)]
enum Good {
    /// What the token said.
    Token(Arc<Claims>),
    /// A public-key signature; what it signed was hashed with it.
    Signature,
}

impl TokenCache {
    /// For at most `tokens` tokens; 0 remembers none.
    pub fn new(tokens: usize) -> Self {
        Self((tokens > 0).then(|| Mutex::new(Cache::new(tokens))))
    }

    /// What the token said, unless its time is over; then the entry is gone too.
    fn recall(&self, key: &[u8; 32], route: &Route, now: UnixTime) -> Option<Verified> {
        let mut cache = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let Good::Token(claims) = cache.get(key)? else {
            return None;
        };
        let claims = Arc::clone(claims);
        let standing = claims.standing(now, route.leeway);
        if standing == Standing::Expired {
            cache.remove(key);
        }
        Some(Verified { claims, standing })
    }

    fn remember(&self, key: [u8; 32], good: Good) {
        if let Some(cache) = &self.0 {
            cache
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, good);
        }
    }

    fn has_signature(&self, key: &[u8; 32]) -> bool {
        let Some(cache) = &self.0 else { return false };
        let cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(cache.get(key), Some(Good::Signature))
    }
}

/// The memory of a worker, as schemes that judge whole requests see it, and who looks on.
pub struct Remembering<'c> {
    /// The memory.
    pub cache: &'c TokenCache,
    /// Keeps what is shown.
    pub shown: Option<&'c Shown>,
}

impl Signatures for Remembering<'_> {
    fn holds(&self, key: u64, message: &[u8], signature: &[u8], check: &dyn Fn() -> bool) -> bool {
        if self.cache.0.is_none() {
            return check();
        }
        // No verifier of tokens has the stamp 0, so that neither is ever taken for the other.
        let parts = [message, signature];
        let name = cache_key(parts.into_iter(), [0, key]);
        if self.cache.has_signature(&name) {
            return true;
        }
        let good = check();
        if good {
            self.cache.remember(name, Good::Signature);
        }
        good
    }

    fn show(&self, signed: &[u8]) {
        if let Some(shown) = self.shown {
            shown.show(signed);
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
    memory: &Remembering<'_>,
    now: UnixTime,
) -> Result<Checked, Stop> {
    let first = verify_one(route, located, memory, now);
    if located.alternatives.is_empty() || matches!(&first, Ok(checked) if checked.is_in_time()) {
        return Ok(first?);
    }
    let mut best = first;
    for parts in std::mem::take(&mut located.alternatives) {
        located.evidence.parts = parts;
        let next = verify_one(route, located, memory, now);
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
    located: &Located<'_>,
    memory: &Remembering<'_>,
    now: UnixTime,
) -> Result<Checked, TokenError> {
    let (evidence, cache) = (&located.evidence, memory.cache);
    if let Some(signed) = &located.signed {
        let claims = signed.scheme.verify(&Asked {
            evidence,
            path: &signed.path,
            query: signed.query.as_deref(),
            target: &located.target,
            now,
            signatures: memory,
        })?;
        let standing = claims.standing(now, signed.scheme.leeway);
        let claims = Arc::new(claims);
        return Ok(Checked::True(Verified { claims, standing }));
    }
    let scheme = route
        .schemes
        .of(evidence)
        .ok_or(TokenError::Malformed("the route has no scheme for it"))?;
    let key = scheme
        .cache_stamp()
        .map(|stamp| cache_key(evidence.parts.iter().map(|part| part.as_bytes()), stamp));
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
        cache.remember(key, Good::Token(Arc::clone(&claims)));
    }
    Ok(Checked::True(Verified { claims, standing }))
}

/// SHA-256 over the stamp and the whole token: a shorter hash could be made to collide, and a collision is a forgery.
fn cache_key<'p>(parts: impl Iterator<Item = &'p [u8]>, stamp: [u64; 2]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for number in stamp {
        context.update(&number.to_be_bytes());
    }
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
