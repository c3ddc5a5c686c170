//! Single use that survives real clients: the state machine of a token that may be used once. Pure: `enter` and `settle`
//! say what a use becomes; `redeem.rs` asks them, one atomic step of the store at a time. Nothing else decides.
//!
//! | the use is | event | becomes | answer |
//! |---|---|---|---|
//! | Fresh | HEAD, in time | Fresh | passes: headers alone |
//! | Fresh | GET, in time | Reserved by it | asks the origin |
//! | Fresh | any, not in time | Fresh | `token_expired`, `token_not_yet_valid` |
//! | Reserved | HEAD, in time | Reserved | passes |
//! | Reserved | GET, in time | Reserved | waits for the next change |
//! | Reserved, lease over | GET, in time | Reserved by it | asks the origin |
//! | Reserved | any, not in time | Reserved | `token_expired`, `token_not_yet_valid` |
//! | Open, alive | HEAD or GET of its client for its target | Open | joins, also when the token has expired |
//! | Open | anybody or anything else | Open | `token_spent` |
//! | Open, over | HEAD or GET of its client for its target | Spent | `token_spent` |
//! | Spent | any | Spent | `token_spent` |
//! | Reserved by it | the origin answered 200 or 206, and the journal has it | Open; Spent where strict | the file |
//! | Reserved by it | anything else: refused by the journal, failed, client or task gone | Fresh | whatever it was |
//! | Reserved by another, Open, Spent | its owner's end | stays | – |
//! | any but Open and Spent | the journal has the use of who lost its lease | Open; Spent where strict | the file |
//!
//! A session is over at its end in any case (`session_max`), a while after the last byte that was handed to one of its
//! sockets (`session_ttl`), a while after every byte was (`after_complete`), or when four times its size was.

use std::borrow::Cow;
use std::time::Duration;

use super::refusal::Code;
use crate::clock::UnixTime;
use crate::store::uses::{Reservation, Session, Use};
use crate::token::{Standing, Uses};

/// Of a file whose size is known, so many times its bytes are handed out at most.
pub const MOST_TIMES: u64 = 4;

/// What a route says of single use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether the first client may go on.
    pub mode: Mode,
    /// How long a session lives after the last byte that was handed out.
    pub session_ttl: Duration,
    /// How long it lives at most.
    pub session_max: Duration,
    /// How long it lives after every byte was handed out.
    pub after_complete: Duration,
    /// Whether a person has to press a button first.
    pub interstitial: bool,
}

impl Default for Rules {
    /// Sessions for the file, as long as the configuration's defaults say.
    fn default() -> Self {
        Self {
            mode: Mode::File,
            session_ttl: Duration::from_secs(10 * 60),
            session_max: Duration::from_secs(6 * 60 * 60),
            after_complete: Duration::from_secs(60),
            interstitial: false,
        }
    }
}

/// What may come after the only use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Strict,
    /// Ranges and resumed downloads of the same file.
    File,
    /// Whatever the token's scope opens, for as long as the session lives.
    Playback,
}

/// Who asks, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// A hash of its address and user agent.
    pub client: [u8; 16],
    /// A hash of the session's cookie that it shows.
    pub cookie: Option<[u8; 16]>,
    /// A hash of the route and of what it asks for; of the route alone where a session covers all that the token opens.
    pub target: [u8; 16],
    /// Whether it wants headers alone.
    pub asks: Asks,
}

/// What a visitor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// The headers.
    Head,
    /// The file.
    Body,
}

/// What a visitor may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// Ask the origin; the use is reserved.
    Reserved,
    /// Have the headers.
    Passes,
    /// Go on in the session.
    Joins,
    /// Wait for the next change.
    Waits,
    /// Nothing.
    Refused(Code),
}

/// A visitor comes. `owner` is who it would be as the owner of a reservation, and `lease` how long that would hold.
pub fn enter(
    state: &Use,
    visitor: &Visitor,
    standing: Standing,
    rules: &Rules,
    (owner, lease): (u64, Duration),
    now: UnixTime,
) -> (Option<Use>, Entered) {
    let in_time = match standing {
        Standing::InTime => Ok(()),
        Standing::Expired => Err(Code::TokenExpired),
        Standing::NotYet => Err(Code::TokenNotYetValid),
    };
    let reserved = || {
        let reservation = Reservation {
            owner,
            lease: now.after(lease),
        };
        (Some(Use::Reserved(reservation)), Entered::Reserved)
    };
    match state {
        Use::Spent => (None, Entered::Refused(Code::TokenSpent)),
        Use::Open(session) if !belongs(session, visitor) => (None, Entered::Refused(Code::TokenSpent)),
        Use::Open(session) if is_over(session, rules, now) => {
            (Some(Use::Spent), Entered::Refused(Code::TokenSpent))
        }
        Use::Open(session) => {
            let shown = visitor.cookie == Some(session.cookie) && !session.cookie_shown;
            let next = shown.then(|| {
                Use::Open(Session {
                    cookie_shown: true,
                    ..session.clone()
                })
            });
            (next, Entered::Joins)
        }
        Use::Fresh | Use::Reserved(_) if in_time.is_err() => {
            let code = in_time.err().unwrap_or(Code::TokenExpired);
            (None, Entered::Refused(code))
        }
        Use::Fresh | Use::Reserved(_) if visitor.asks == Asks::Head => (None, Entered::Passes),
        Use::Fresh => reserved(),
        Use::Reserved(reservation) if now >= reservation.lease => reserved(),
        Use::Reserved(_) => (None, Entered::Waits),
    }
}

/// What became of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The journal has this as its use.
    Committed(Use),
    /// It is let go.
    Released,
}

/// The owner of a reservation is done. `None` changes nothing.
pub fn settle(state: &Use, owner: u64, settled: Settled) -> Option<Use> {
    match (state, settled) {
        (Use::Open(_) | Use::Spent, _) => None,
        (Use::Fresh | Use::Reserved(_), Settled::Committed(spent)) => Some(spent),
        (Use::Reserved(reservation), Settled::Released) if reservation.owner == owner => Some(Use::Fresh),
        (Use::Fresh | Use::Reserved(_), Settled::Released) => None,
    }
}

impl Rules {
    /// Those of a token: some are strict by themselves.
    pub fn of(&self, uses: Uses) -> Cow<'_, Self> {
        match uses {
            Uses::Strict if self.mode != Mode::Strict => Cow::Owned(Self {
                mode: Mode::Strict,
                ..self.clone()
            }),
            _ => Cow::Borrowed(self),
        }
    }
}

/// Whether a session has ended.
pub fn is_over(session: &Session, rules: &Rules, now: UnixTime) -> bool {
    let complete = session
        .completed
        .is_some_and(|completed| now >= completed.after(rules.after_complete));
    let used_up = session
        .size
        .is_some_and(|size| size > 0 && session.handed >= size.saturating_mul(MOST_TIMES));
    rules.mode == Mode::Strict
        || now >= session.ends
        || now >= session.last_byte.after(rules.session_ttl)
        || (rules.mode == Mode::File && (complete || used_up))
}

/// Whether it is the session's own client, asking for what the session is bound to.
fn belongs(session: &Session, visitor: &Visitor) -> bool {
    let proven = !session.cookie_shown || visitor.cookie == Some(session.cookie);
    proven && session.target == visitor.target && session.client == visitor.client
}

#[cfg(test)]
mod tests;
