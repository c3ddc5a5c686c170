//! Tokens that may be used once: their grants come out of an atomic step of the store, which reserves the use, finds it in
//! a session of the same client, or refuses. What a step decides is `session::enter`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;

use super::Grant;
use crate::clock::UnixTime;
use crate::gate::refusal::{Code, Stop};
use crate::gate::session::{self, Entered, Rules, Settled, Visitor};
use crate::store::uses::{Durable, Kept};
use crate::store::{Use, Uses};
use crate::token::{Claims, Standing, TokenId};

/// A grant that the store has not agreed to yet.
#[derive(Debug)]
pub struct Once {
    grant: Grant,
    standing: Standing,
}

/// What came of a try.
#[derive(Debug)]
pub enum Tried<D: Durable> {
    /// The file, once: the use is reserved, and commits with the origin's answer.
    Reserved(Grant, Lease<D>),
    /// The headers alone.
    Passes(Grant),
    /// The file, in the session of this client.
    Joins(Grant),
    /// Somebody else is at it; the next change is worth another try.
    Waits(Once, OwnedNotified),
}

impl Once {
    pub(super) fn new(grant: Grant, standing: Standing) -> Self {
        Self { grant, standing }
    }

    /// What the origin would be asked for.
    pub fn origin_target(&self) -> &str {
        &self.grant.origin_target
    }

    /// The token.
    pub fn claims(&self) -> &Arc<Claims> {
        &self.grant.claims
    }

    /// Whether the token itself is in time; a session of it may be all the same.
    ///
    /// # Errors
    /// `token_expired`, `token_not_yet_valid`.
    pub fn in_time(&self) -> Result<(), Stop> {
        super::in_time(self.standing)
    }

    /// One try to use the token; a reservation holds for `lease`.
    ///
    /// # Errors
    /// `token_spent`, `token_expired`, `token_not_yet_valid`; `store_unavailable`.
    pub fn enter<D: Durable>(
        self,
        uses: &Uses<D>,
        visitor: &Visitor,
        rules: &Rules,
        lease: Duration,
        now: UnixTime,
    ) -> Result<Tried<D>, Stop> {
        static OWNERS: AtomicU64 = AtomicU64::new(1);
        let id = self.grant.claims.token_id;
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        let (entered, changed) = uses.step(id, |entry| {
            let (next, entered) =
                session::enter(entry.state(), visitor, self.standing, rules, (owner, lease), now);
            if let Some(next) = next {
                entry.set(next);
            }
            (entered, (entered == Entered::Waits).then(|| entry.changed()))
        })?;
        match (entered, changed) {
            (Entered::Reserved, _) => {
                let lease = Lease {
                    uses: uses.clone(),
                    id,
                    owner,
                    open: true,
                };
                Ok(Tried::Reserved(self.grant, lease))
            }
            (Entered::Passes, _) => Ok(Tried::Passes(self.grant)),
            (Entered::Joins, _) => Ok(Tried::Joins(self.grant)),
            (Entered::Waits, Some(changed)) => Ok(Tried::Waits(self, changed)),
            (Entered::Refused(code), _) => Err(Stop::refused(code, sentence(code))),
            (Entered::Waits, None) => Err(Stop::refused(Code::TokenSpent, sentence(Code::TokenSpent))),
        }
    }
}

fn sentence(code: Code) -> &'static str {
    match code {
        Code::TokenExpired => "the token has expired",
        Code::TokenNotYetValid => "the token is not valid yet",
        _ => "the token was used",
    }
}

/// A reservation. Dropped, it is released.
#[derive(Debug)]
pub struct Lease<D: Durable> {
    uses: Uses<D>,
    id: TokenId,
    owner: u64,
    open: bool,
}

impl<D: Durable> Lease<D> {
    /// Spends the token durably. `false` where somebody else did: who lost its lease finds the use as they left it.
    ///
    /// # Errors
    /// `store_unavailable`; the reservation is released, and nothing was answered.
    pub async fn commit(mut self, spent: Use, kept: Kept) -> Result<bool, Stop> {
        let won = self.uses.spend(self.id, spent.clone(), kept).await?;
        if won {
            self.open = false;
            self.settle(Settled::Committed(spent));
        }
        Ok(won)
    }

    fn settle(&self, settled: Settled) {
        // In memory: it was read when the reservation was made. A store that was closed meanwhile has no waiters.
        let _ = self.uses.step(self.id, |entry| {
            if let Some(next) = session::settle(entry.state(), self.owner, settled) {
                entry.set(next);
            }
        });
    }
}

impl<D: Durable> Drop for Lease<D> {
    fn drop(&mut self) {
        if self.open {
            self.settle(Settled::Released);
        }
    }
}

/// Time by which a reservation outlives the waits for its origin.
pub const LEASE_SLACK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
