//! Forgetting: what is past goes, the oldest first, and only so much in one commit. Nothing goes before its time.

use std::time::Duration;

use redb::ReadableTable;

use super::record;
use super::tables::{Fault, Tables};
use crate::clock::UnixTime;
use crate::token::TokenId;

/// The largest leeway that a route may be given.
const MAX_LEEWAY: Duration = Duration::from_secs(5 * 60);
/// How long something is remembered beyond the moment at which it could last count.
const MARGIN: Duration = Duration::from_secs(60);

/// The entries that one commit forgets where it adds little itself.
pub(super) const LEAST_FORGOTTEN: usize = 256;

/// The tables whose entries end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ending {
    Issued = 1,
    Use = 2,
    Refresh = 3,
    Revoked = 4,
}

/// A key of the index: when, since when it is known, in which table, which. In the order of time.
pub(super) type Key = [u8; 33];
/// Uses end in steps of this, so that those of one commit stand beside each other and few pages are written.
const STEP_MILLIS: i64 = 64 * 1000;

/// The key of an entry that may be moved or taken out: made of what its record says.
pub(super) fn key(until: UnixTime, ending: Ending, id: TokenId) -> Key {
    key_since(until, UnixTime::from_millis(i64::MIN), ending, id)
}

/// The key of a use, which stays where it is until it is past: rounded up, behind those that were spent before.
pub(super) fn key_of_use(until: UnixTime, now: UnixTime, id: TokenId) -> Key {
    let step = until.millis().div_euclid(STEP_MILLIS).saturating_add(1);
    let until = UnixTime::from_millis(step.saturating_mul(STEP_MILLIS));
    key_since(until, now, Ending::Use, id)
}

fn key_since(until: UnixTime, since: UnixTime, ending: Ending, id: TokenId) -> Key {
    let mut key = [0; 33];
    key[..8].copy_from_slice(&sortable(until));
    key[8..16].copy_from_slice(&sortable(since));
    key[16] = ending as u8;
    key[17..].copy_from_slice(&id.0);
    key
}

/// Whether it is the key of a use.
fn is_of_use(key: &Key) -> bool {
    key[16] == Ending::Use as u8
}

/// Bytes that sort as the times do, those before 1970 included.
fn sortable(until: UnixTime) -> [u8; 8] {
    (until.millis() ^ i64::MIN).to_be_bytes()
}

/// The parts of a key; `None` where it names no table.
fn read(key: Key) -> Option<(Ending, TokenId)> {
    let ending = match key[16] {
        1 => Ending::Issued,
        2 => Ending::Use,
        3 => Ending::Refresh,
        4 => Ending::Revoked,
        _ => return None,
    };
    let mut id = [0; 16];
    id.copy_from_slice(&key[17..]);
    Some((ending, TokenId(id)))
}

/// Whether the entry with this key is to be forgotten.
pub(super) fn is_past(key: Key, now: UnixTime) -> bool {
    key[..8] <= sortable(now)[..]
}

/// How long a token's record or revocation is kept: whatever the route's leeway is, and a minute more.
pub(super) fn until_dead(expires: UnixTime) -> UnixTime {
    expires.after(MAX_LEEWAY).after(MARGIN)
}

impl Tables<'_> {
    /// Forgets at most `limit` entries that are past, in the order of time; says how many it has dealt with.
    ///
    /// # Errors
    /// `Fault`.
    pub(super) fn forget(&mut self, limit: usize) -> Result<usize, Fault> {
        let mut due: Vec<Key> = Vec::new();
        let mut end = [u8::MAX; 33];
        end[..8].copy_from_slice(&sortable(self.now));
        for entry in self.expiry.range::<&Key>(..=&end)?.take(limit) {
            due.push(*entry?.0.value());
        }
        if due.iter().any(is_of_use) {
            self.mark_forgotten()?;
        }
        for key in &due {
            self.expiry.remove(key)?;
            if let Some((ending, id)) = read(*key) {
                self.forget_one(ending, id)?;
            }
        }
        self.changed |= !due.is_empty();
        Ok(due.len())
    }

    fn forget_one(&mut self, ending: Ending, id: TokenId) -> Result<(), Fault> {
        let now = self.now;
        // What the record itself says counts: an entry of the index alone makes nobody forget. A record that can't be
        // read stays, since it may be one of a spent token.
        let past = |record: &[u8]| record::until(record).is_ok_and(|until| until <= now);
        let gone = match ending {
            Ending::Issued => remove_if(&mut self.issued, id, past)?,
            Ending::Use => remove_if(&mut self.uses, id, past)?,
            Ending::Refresh => return self.forget_refresh(id, past),
            Ending::Revoked => {
                let until = self.revoked_tokens.get(&id.0)?.map(|until| until.value());
                let gone = until.is_some_and(|until| until <= now.millis());
                if gone {
                    self.revoked_tokens.remove(&id.0)?;
                    self.forgotten.push(id);
                }
                gone
            }
        };
        self.entries -= u64::from(gone);
        Ok(())
    }

    fn forget_refresh(&mut self, id: TokenId, past: impl Fn(&[u8]) -> bool) -> Result<(), Fault> {
        let Some(record) = self.refresh.get(&id.0)?.map(|record| record.value().to_vec()) else {
            return Ok(());
        };
        if past(&record) {
            self.drop_refresh(id, &record)?;
        }
        Ok(())
    }
}

/// Takes a record out if it is so; says whether it has.
fn remove_if(
    table: &mut super::tables::Records<'_>,
    id: TokenId,
    is_so: impl Fn(&[u8]) -> bool,
) -> Result<bool, Fault> {
    let gone = table.get(&id.0)?.is_some_and(|record| is_so(record.value()));
    if gone {
        table.remove(&id.0)?;
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_time_and_tell_what_they_were_made_of() {
        let times = [i64::MIN, -1, 0, 1, 1_800_000_000_000, i64::MAX];
        let keys: Vec<Key> = times
            .iter()
            .map(|millis| key(UnixTime::from_millis(*millis), Ending::Use, TokenId([9; 16])))
            .collect();
        assert!(keys.is_sorted());
        assert!(
            keys.iter()
                .all(|key| read(*key) == Some((Ending::Use, TokenId([9; 16]))))
        );
        assert_eq!(read([0; 33]), None);
    }

    #[test]
    fn uses_end_no_earlier_than_they_may_and_stand_in_the_order_in_which_they_came() {
        let at = |millis| UnixTime::from_millis(millis);
        let until = at(1_767_225_600_123);
        let keys: Vec<Key> = (0..4)
            .map(|number: u8| key_of_use(until, at(1000 + i64::from(number)), TokenId([9 - number; 16])))
            .collect();
        assert!(keys.is_sorted());
        for key in keys {
            assert!(!is_past(key, until) && is_past(key, at(until.millis() + STEP_MILLIS)));
            assert_eq!(read(key).map(|(ending, _)| ending), Some(Ending::Use));
        }
        assert!(!is_past(
            key_of_use(at(i64::MAX), at(0), TokenId([1; 16])),
            at(i64::MAX - 1)
        ));
    }

    #[test]
    fn a_token_is_remembered_beyond_the_largest_leeway() {
        let end = until_dead(UnixTime::from_secs(1000));
        assert_eq!(end, UnixTime::from_secs(1000 + 300 + 60));
    }
}
