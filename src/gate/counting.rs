//! What is handed out of a session's file: which bytes, and when. A piece counts as handed to the socket once the next one
//! is asked for, or the body has ended whole.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{Response, StatusCode};
use hyper::body::Body;

use super::refusal::{Code, Stop};
use crate::clock::{Clock, UnixTime};
use crate::origin::OriginBody;
use crate::store::Uses;
use crate::store::uses::Sending;
use crate::token::TokenId;

/// So many bytes, or one second, may be behind what the session knows.
const LAG_BYTES: u64 = 8 * 1024 * 1024;
const LAG_MILLIS: i64 = 1000;

/// Counts one body.
pub struct Counting {
    sending: Sending,
    clock: Clock,
    /// Where what the session does not know of yet begins in the file.
    from: u64,
    /// Handed to the socket since then.
    handed: u64,
    /// The last piece, of which that is not known.
    piece: u64,
    told: UnixTime,
}

impl Counting {
    /// For this answer's body; `None` where it has none. `times` is how often the file may be handed out.
    ///
    /// # Errors
    /// `token_spent` where that was more often; `store_unavailable`.
    pub(super) fn start(
        uses: &Uses,
        id: TokenId,
        answer: &Response<OriginBody>,
        times: Option<u64>,
        clock: Clock,
    ) -> Result<Option<Self>, Stop> {
        if answer.body().is_end_stream() {
            return Ok(None);
        }
        let length = answer.body().size_hint().exact().unwrap_or(0);
        let told = clock.now();
        let sending = uses
            .body(id, length, times)?
            .ok_or_else(|| Stop::refused(Code::TokenSpent, "the file was handed out often enough"))?;
        Ok(Some(Self {
            sending,
            clock,
            from: first(answer),
            handed: 0,
            piece: 0,
            told,
        }))
    }

    /// Another piece was asked for: the last one is with the socket.
    pub(super) fn next(&mut self) {
        self.handed += std::mem::take(&mut self.piece);
        if self.handed == 0 {
            return;
        }
        let now = self.clock.now();
        if self.handed >= LAG_BYTES || now.millis() - self.told.millis() >= LAG_MILLIS {
            self.tell(now);
        }
    }

    /// A piece is handed on.
    pub(super) fn piece(&mut self, length: u64) {
        self.piece += length;
    }

    /// The body has ended whole.
    pub(super) fn whole(&mut self) {
        self.handed += std::mem::take(&mut self.piece);
    }

    fn tell(&mut self, now: UnixTime) {
        self.sending.hand(self.from, self.handed, now);
        self.from += std::mem::take(&mut self.handed);
        self.told = now;
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.tell(self.clock.now());
    }
}

/// Where a body begins in its file.
fn first(answer: &Response<OriginBody>) -> u64 {
    range(answer).map_or(0, |(first, _)| first)
}

/// The size of the file, where the answer says it.
pub(super) fn size(answer: &Response<OriginBody>) -> Option<u64> {
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => range(answer)?.1,
        _ => {
            let length = answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?;
            length.parse().ok()
        }
    }
}

/// First byte and complete length of `Content-Range: bytes 0-9/100` (RFC 9110 §14.4).
fn range(answer: &Response<OriginBody>) -> Option<(u64, Option<u64>)> {
    let text = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-')?.0.parse().ok()?;
    Some((first, size.parse().ok()))
}
