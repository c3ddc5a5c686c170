//! Bodies whose token is withdrawn while they run, on routes with `cut_revoked`: a look at one number with every piece, and
//! twice a second while the origin is waited for. Routes without it have none of this.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::store::Store;
use crate::token::Claims;

/// Between two looks while nothing moves.
const LOOK: Duration = Duration::from_millis(500);

/// Looks after one body.
pub(super) struct Watch {
    /// The store may be another one tomorrow.
    stores: Arc<ArcSwapOption<Store>>,
    /// Which set it was, and its generation, when the token was found not to be in it.
    seen: Option<(usize, u64)>,
    /// Wakes the body's task; there once the body was waited for.
    ticks: Option<Interval>,
}

impl Watch {
    pub(super) fn new(stores: &Arc<ArcSwapOption<Store>>) -> Self {
        Self {
            stores: Arc::clone(stores),
            seen: None,
            ticks: None,
        }
    }

    /// Whether the token is withdrawn. While no store is open, what was known last counts.
    pub(super) fn finds(&mut self, claims: &Claims) -> bool {
        let store = self.stores.load();
        let Some(revoked) = store.as_ref().map(|store| store.revoked()) else {
            return false;
        };
        // Read before the set is looked at: what comes in between is seen the next time.
        let now = (Arc::as_ptr(revoked) as usize, revoked.generation());
        if self.seen == Some(now) {
            return false;
        }
        self.seen = Some(now);
        revoked.covers(claims)
    }

    /// The body is waited for: its task is woken for the next look.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>) {
        let ticks = self.ticks.get_or_insert_with(|| {
            let mut ticks = interval(LOOK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        while ticks.poll_tick(cx).is_ready() {}
    }
}
