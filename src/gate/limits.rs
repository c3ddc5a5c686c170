//! What a token's `rate` and `streams` allow, counted over all connections of its subject and all workers. In: the claims of
//! a grant that is about to be forwarded. Out: a `Share`, which takes one of the streams, paces the body, and gives both back
//! when it is dropped. Tokens without limits never come here. Bounded: where there is no room, nobody is let through.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::digest::{Context as Digest, SHA256};
use bytes::Bytes;
use dashmap::{DashMap, Entry};
use http::Method;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Instant;

use super::refusal::{Code, Failure, Refusal, Stop};
use crate::alarm::Alarm;
use crate::body::{Body, BodyError};
use crate::token::{Claims, TokenId};

pub mod pace;

use pace::{Pace, Timeline, Turn};

/// Subjects that are counted at a time: who downloads under a limit now, or did so a moment ago.
const MAX_SUBJECTS: usize = 1 << 18;

/// Parts of the table, each with a lock of its own: a look through all of it holds up nobody for long.
const SHARDS: usize = 64;

/// What is read of an origin at once for a body that counts, in bytes: what it holds in memory, and what of its end may
/// still be on its way when its stream is given back.
pub(super) const READ: usize = 64 * 1024;

/// When somebody who is over a limit may come again. Nobody knows when a download ends.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// Whose limits they are: those of a subject of an issuer (SHA-256 of both, so that an entry has one size), or of a token
/// that names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Subject([u8; 32]),
    Token(TokenId),
}

impl Whose {
    fn of(claims: &Claims) -> Self {
        let Some(subject) = claims.subject.as_deref().filter(|subject| !subject.is_empty()) else {
            return Self::Token(claims.token_id);
        };
        let issuer = claims.issuer.as_deref().unwrap_or_default();
        let mut digest = Digest::new(&SHA256);
        digest.update(&(issuer.len() as u64).to_be_bytes());
        digest.update(issuer.as_bytes());
        digest.update(subject.as_bytes());
        let mut name = [0; 32];
        name.copy_from_slice(digest.finish().as_ref());
        Self::Subject(name)
    }
}

/// What one of them is at.
#[derive(Debug)]
struct Known {
    streams: u32,
    timeline: Arc<Mutex<Timeline>>,
}

impl Known {
    /// Whether to forget it changes nothing.
    fn is_idle(&self, now: Instant) -> bool {
        self.streams == 0 && lock(&self.timeline).is_idle(now)
    }
}

/// All of them. Outlives a reload of the configuration.
#[derive(Debug)]
pub struct Subjects {
    known: DashMap<Whose, Known>,
    capacity: usize,
}

impl Default for Subjects {
    fn default() -> Self {
        Self::with_capacity(MAX_SUBJECTS)
    }
}

impl Subjects {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            known: DashMap::with_shard_amount(SHARDS),
            capacity,
        }
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Forgets those of whom nothing is left to know. To be called now and then, where nobody waits for it.
    pub fn tend(&self) {
        if !self.known.is_empty() {
            let now = Instant::now();
            self.known.retain(|_, known| !known.is_idle(now));
        }
    }

    /// The share of a download that is about to begin; `None` where its token has no limits, or no body will come.
    ///
    /// # Errors
    /// `limit_reached` where the subject has as many downloads as this token allows; `overloaded` where no more subjects
    /// can be counted.
    pub(super) fn share(
        self: &Arc<Self>,
        claims: &Claims,
        method: &Method,
    ) -> Result<Option<Box<Share>>, Stop> {
        let limits = claims.limits;
        if limits.is_empty() || *method == Method::HEAD {
            return Ok(None);
        }
        let whose = Whose::of(claims);
        if self.known.len() >= self.capacity && !self.known.contains_key(&whose) {
            return Err(overloaded());
        }
        let timeline = match self.known.entry(whose) {
            Entry::Vacant(free) => {
                let timeline = Arc::default();
                free.insert(Known {
                    streams: 1,
                    timeline: Arc::clone(&timeline),
                });
                timeline
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if limits.streams.is_some_and(|most| known.streams >= most) {
                    return Err(too_many());
                }
                known.streams = known.streams.saturating_add(1);
                Arc::clone(&known.timeline)
            }
        };
        Ok(Some(Box::new(Share {
            subjects: Arc::clone(self),
            whose,
            timeline,
            pacing: limits.rate.map(|rate| Pacing {
                pace: Pace::new(rate),
                rest: Bytes::new(),
                turn: None,
                alarm: Alarm::default(),
            }),
        })))
    }

    fn give_back(&self, whose: Whose) {
        if let Entry::Occupied(mut known) = self.known.entry(whose) {
            known.get_mut().streams -= 1;
            if known.get().is_idle(Instant::now()) {
                known.remove();
            }
        }
    }
}

/// One download's share of what its subject may have. Dropped, it counts no more.
pub struct Share {
    subjects: Arc<Subjects>,
    whose: Whose,
    timeline: Arc<Mutex<Timeline>>,
    pacing: Option<Pacing>,
}

/// What is needed to hand a body out at a pace.
struct Pacing {
    pace: Pace,
    /// What was read and may not be handed out yet.
    rest: Bytes,
    /// When the next piece may be, once that was asked.
    turn: Option<Turn>,
    alarm: Alarm,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("whose", &self.whose)
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

impl Share {
    /// The next piece of a body, at its time. The waits are for nobody: neither for the origin nor for the client.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(pacing) = &mut self.pacing else {
            return Pin::new(body).poll_frame(cx);
        };
        while pacing.rest.is_empty() {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => pacing.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let size = pacing.rest.len().min(pacing.pace.piece());
        let now = Instant::now();
        // Asked once for each piece: so several bodies take turns, in the order in which they came.
        let turn = *pacing
            .turn
            .get_or_insert_with(|| lock(&self.timeline).turn(&pacing.pace, size as u64, now));
        if turn.at > now {
            ready!(pacing.alarm.poll(cx, turn.at));
        }
        pacing.turn = None;
        Poll::Ready(Some(Ok(Frame::data(pacing.rest.split_to(size)))))
    }

    /// Bytes that were read and are not handed out.
    pub(super) fn left(&self) -> u64 {
        self.pacing.as_ref().map_or(0, |pacing| pacing.rest.len() as u64)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(turn) = self.pacing.as_mut().and_then(|pacing| pacing.turn.take()) {
            lock(&self.timeline).give_back(turn);
        }
        self.subjects.give_back(self.whose);
    }
}

fn lock(timeline: &Mutex<Timeline>) -> MutexGuard<'_, Timeline> {
    timeline.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_many() -> Stop {
    Refusal {
        retry_after: Some(COME_AGAIN),
        ..Refusal::new(
            Code::LimitReached,
            "the token's subject has as many downloads at a time as it allows (`streams`)",
        )
    }
    .into()
}

fn overloaded() -> Stop {
    Stop::Failed(Failure {
        code: Code::Overloaded,
        detail: "more tokens with limits are in use than can be counted",
        source: None,
        retry_after: Some(COME_AGAIN),
    })
}

#[cfg(test)]
mod tests;
