//! What is withdrawn: tokens by their id, all tokens of a subject from before a moment, all tokens of a key.
//! An exact set in memory, 16 bytes for a token. A look takes no lock; a change makes one small part of it anew.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;

use crate::clock::UnixTime;
use crate::token::{Claims, TokenId};

/// The bits of a token's name that tell its bucket: ten million names are 610 to a bucket.
const TOKEN_BITS: u32 = 14;
/// Of a subject's hash.
const SUBJECT_BITS: u32 = 12;

/// What shall not work any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// One token, until it would have expired anyway.
    Token {
        /// Which.
        id: TokenId,
        /// Its end, as far as it is known; it is remembered for good otherwise.
        expires: Option<UnixTime>,
    },
    /// All tokens of a subject that were issued before a moment, and those that don't say when they were.
    Subject {
        /// Whose.
        subject: Box<str>,
        /// Issued before this.
        before: UnixTime,
    },
    /// All tokens that a key signed.
    Key {
        /// Its name (`kid`).
        kid: Box<str>,
    },
}

/// The set of them. A look takes no lock that another look holds.
#[derive(Debug, Default)]
pub struct Revoked {
    generation: AtomicU64,
    tokens: Buckets<TokenId, TOKEN_BITS>,
    subjects: Buckets<(Arc<str>, UnixTime), SUBJECT_BITS>,
    hasher: RandomState,
    keys: ArcSwapOption<Vec<Box<str>>>,
    /// Held by whoever changes the set; nobody who looks waits for it.
    changing: Mutex<()>,
}

impl Revoked {
    /// Whether the token is withdrawn.
    pub fn covers(&self, claims: &Claims) -> bool {
        self.generation() != 0
            && (self.has_token(claims.token_id)
                || claims
                    .subject
                    .as_deref()
                    .is_some_and(|subject| self.covers_subject(subject, claims.issued))
                || claims.key.as_deref().is_some_and(|key| self.has_key(key)))
    }

    /// A number that grows with every revocation: what was not covered is not covered as long as it stays the same.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tokens, subjects and keys together. Walks over the whole set.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.subjects.len() + self.keys.load().as_ref().map_or(0, |keys| keys.len())
    }

    /// Whether nothing is withdrawn.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that the names of tokens take, in bytes, without what the allocator rounds up.
    pub fn token_bytes(&self) -> usize {
        self.tokens.bytes()
    }

    fn has_token(&self, id: TokenId) -> bool {
        self.tokens.look(token_bucket(id), |ids| is_among(ids, id))
    }

    fn covers_subject(&self, subject: &str, issued: Option<UnixTime>) -> bool {
        self.subjects.look(self.subject_bucket(subject), |subjects| {
            find_subject(subjects, subject)
                .is_ok_and(|at| issued.is_none_or(|issued| issued < subjects[at].1))
        })
    }

    fn has_key(&self, key: &str) -> bool {
        self.keys
            .load()
            .as_ref()
            .is_some_and(|keys| keys.iter().any(|known| **known == *key))
    }

    /// Takes a revocation in: in force when this returns.
    pub fn insert(&self, revocation: &Revocation) {
        match revocation {
            Revocation::Token { id, .. } => self.insert_tokens([*id]),
            Revocation::Subject { subject, before } => self.insert_subject(subject, *before),
            Revocation::Key { kid } => self.insert_key(kid),
        }
    }

    /// Takes some in, those of tokens as one.
    pub fn insert_all<'r>(&self, revocations: impl IntoIterator<Item = &'r Revocation>) {
        let mut ids = Vec::new();
        for revocation in revocations {
            match revocation {
                Revocation::Token { id, .. } => ids.push(*id),
                other => self.insert(other),
            }
        }
        if !ids.is_empty() {
            ids.sort_unstable();
            self.insert_tokens(ids);
        }
    }

    /// Takes many tokens in. Those of a bucket are copied once where they come one after the other, as sorted ones do.
    pub fn insert_tokens(&self, ids: impl IntoIterator<Item = TokenId>) {
        let _changing = self.change();
        let mut ids = ids.into_iter().peekable();
        let any = ids.peek().is_some();
        let mut new = Vec::new();
        while let Some(id) = ids.next() {
            new.push(id);
            let bucket = token_bucket(id);
            if ids.peek().is_none_or(|next| token_bucket(*next) != bucket) {
                self.tokens.change(bucket, |known| {
                    new.extend_from_slice(known);
                    // Quick where they come sorted and the bucket was empty.
                    new.sort_unstable();
                    new.dedup();
                    new.as_slice().into()
                });
                new.clear();
            }
        }
        if any {
            self.grow();
        }
    }

    fn insert_subject(&self, subject: &str, before: UnixTime) {
        let _changing = self.change();
        self.subjects.change(self.subject_bucket(subject), |known| {
            let mut subjects = known.to_vec();
            match find_subject(&subjects, subject) {
                Ok(at) => subjects[at].1 = subjects[at].1.max(before),
                Err(at) => subjects.insert(at, (subject.into(), before)),
            }
            subjects.into()
        });
        self.grow();
    }

    fn insert_key(&self, kid: &str) {
        let _changing = self.change();
        if !self.has_key(kid) {
            let known = self.keys.load_full();
            let mut keys = known.map_or_else(Vec::new, |keys| keys.to_vec());
            keys.push(kid.into());
            self.keys.store(Some(Arc::new(keys)));
        }
        self.grow();
    }

    /// Forgets tokens that are long past.
    pub fn forget(&self, ids: &mut [TokenId]) {
        let _changing = self.change();
        ids.sort_unstable();
        for same in ids.chunk_by(|one, other| token_bucket(*one) == token_bucket(*other)) {
            self.tokens.change(token_bucket(same[0]), |known| {
                known
                    .iter()
                    .filter(|id| same.binary_search(id).is_err())
                    .copied()
                    .collect()
            });
        }
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        // There is nothing in it that a panic could have left half done: each part is swapped as a whole.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes after the change, so that who sees the number sees the change.
    fn grow(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn subject_bucket(&self, subject: &str) -> usize {
        leading(self.hasher.hash_one(subject), SUBJECT_BITS)
    }
}

fn token_bucket(id: TokenId) -> usize {
    let [a, b, ..] = id.0;
    leading(u64::from_be_bytes([a, b, 0, 0, 0, 0, 0, 0]), TOKEN_BITS)
}

/// Whether it is among sorted ones of its bucket. Names are evenly spread, so it stands near its share of the bucket: the
/// search begins there and widens, and touches two or three lines of memory of a hundred and fifty. However they are
/// spread, it ends after a few dozen steps.
fn is_among(ids: &[TokenId], id: TokenId) -> bool {
    let within = u128::from_be_bytes(id.0) << TOKEN_BITS >> 64;
    let length = ids.len();
    #[allow(clippy::cast_possible_truncation, reason = "it is less than the length")]
    let near = ((within * length as u128) >> 64) as usize;
    let Some(there) = ids.get(near) else {
        return false;
    };
    let (mut first, mut end, mut step) = (near, near, 8);
    if *there < id {
        while end < length && ids[end] < id {
            (first, end, step) = (end, (end + step).min(length), step * 2);
        }
    } else {
        while first > 0 && ids[first] > id {
            (end, first, step) = (first, first.saturating_sub(step), step * 2);
        }
    }
    ids[first..length.min(end + 1)].binary_search(&id).is_ok()
}

/// The leading bits, as a place.
#[allow(clippy::cast_possible_truncation, reason = "few bits are left")]
fn leading(number: u64, bits: u32) -> usize {
    (number >> (u64::BITS - bits)) as usize
}

fn find_subject(subjects: &[(Arc<str>, UnixTime)], subject: &str) -> Result<usize, usize> {
    subjects.binary_search_by(|(known, _)| (**known).cmp(subject))
}

/// Sorted values, looked at while they are swapped.
type Bucket<T> = ArcSwapOption<Box<[T]>>;

/// Sorted values in two to the power of `BITS` buckets, each swapped as a whole. There are none until the first is filled.
#[derive(Debug)]
struct Buckets<T, const BITS: u32>(OnceLock<Box<[Bucket<T>]>>);

impl<T, const BITS: u32> Default for Buckets<T, BITS> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T, const BITS: u32> Buckets<T, BITS> {
    fn look(&self, bucket: usize, is_in: impl FnOnce(&[T]) -> bool) -> bool {
        self.0.get().is_some_and(|buckets| {
            buckets[bucket]
                .load()
                .as_ref()
                .is_some_and(|values| is_in(values))
        })
    }

    fn change(&self, bucket: usize, make: impl FnOnce(&[T]) -> Box<[T]>) {
        let buckets = self
            .0
            .get_or_init(|| (0..1 << BITS).map(|_| ArcSwapOption::empty()).collect());
        let former = buckets[bucket].load_full();
        let values = make(former.as_ref().map_or(&[], |values| values));
        buckets[bucket].store((!values.is_empty()).then(|| Arc::new(values)));
    }

    fn all(&self) -> impl Iterator<Item = Arc<Box<[T]>>> {
        self.0
            .get()
            .into_iter()
            .flatten()
            .filter_map(ArcSwapOption::load_full)
    }

    fn len(&self) -> usize {
        self.all().map(|values| values.len()).sum()
    }

    fn bytes(&self) -> usize {
        let table = self
            .0
            .get()
            .map_or(0, |buckets| size_of_val::<[Bucket<T>]>(buckets));
        // Two counters and the slice's place and length stand before each bucket.
        let buckets: usize = self
            .all()
            .map(|values| size_of_val::<[T]>(&values) + 4 * size_of::<usize>())
            .sum();
        table + buckets
    }
}

#[cfg(test)]
mod tests;
