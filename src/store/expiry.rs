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

/// A key of the index: when, in which table, which. In the order of time.
pub(super) type Key = [u8; 25];

/// The key of an entry in the index.
pub(super) fn key(until: UnixTime, ending: Ending, id: TokenId) -> Key {
    let mut key = [0; 25];
    key[..8].copy_from_slice(&sortable(until));
    key[8] = ending as u8;
    key[9..].copy_from_slice(&id.0);
    key
}

/// Bytes that sort as the times do, those before 1970 included.
fn sortable(until: UnixTime) -> [u8; 8] {
    (until.millis() ^ i64::MIN).to_be_bytes()
}

/// The parts of a key; `None` where it names no table.
fn read(key: Key) -> Option<(Ending, TokenId)> {
    let ending = match key[8] {
        1 => Ending::Issued,
        2 => Ending::Use,
        3 => Ending::Refresh,
        4 => Ending::Revoked,
        _ => return None,
    };
    let mut id = [0; 16];
    id.copy_from_slice(&key[9..]);
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
        let mut end = [u8::MAX; 25];
        end[..8].copy_from_slice(&sortable(self.now));
        for entry in self.expiry.range::<&Key>(..=&end)?.take(limit) {
            due.push(*entry?.0.value());
        }
        if due.iter().any(|key| key[8] == Ending::Use as u8) {
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
        assert_eq!(read([0; 25]), None);
    }

    #[test]
    fn a_token_is_remembered_beyond_the_largest_leeway() {
        let end = until_dead(UnixTime::from_secs(1000));
        assert_eq!(end, UnixTime::from_secs(1000 + 300 + 60));
    }
}
