//! Who signs for a bucket: credentials by hand, or such as are loaded in the background and end by themselves.
//! In: credentials, the time. Out: a signer, or that there is none. Never: waits, or signs with what has ended.

use std::fmt;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::clock::UnixTime;
use crate::origin::OriginError;
use crate::sigv4::{Credentials, Signer};

/// The service that is signed for.
const SERVICE: &str = "s3";

/// The present credentials of a bucket.
pub struct Keys {
    origin: Box<str>,
    region: Box<str>,
    held: ArcSwapOption<Held>,
    source: Source,
    pub(super) refused: Notify,
}

/// Where credentials come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The configuration.
    Hand,
    /// The surroundings, in the background.
    Chain,
}

/// A signer and how long it may be used.
struct Held {
    signer: Signer,
    expires: Option<UnixTime>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.origin)
    }
}

impl Keys {
    /// None yet: they are loaded in the background, for the origin of this name.
    pub fn awaited(origin: &str, region: &str) -> Self {
        Self::empty(origin, region, Source::Chain)
    }

    fn empty(origin: &str, region: &str, source: Source) -> Self {
        Self {
            origin: origin.into(),
            region: region.into(),
            held: ArcSwapOption::empty(),
            source,
            refused: Notify::new(),
        }
    }

    /// Credentials by hand, which do not end.
    pub fn fixed(origin: &str, region: &str, credentials: Credentials) -> Self {
        let keys = Self::empty(origin, region, Source::Hand);
        keys.put(credentials, None);
        keys
    }

    /// The name of the origin that they are for.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The region that is signed for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Takes over what others have loaded for the same region, where these are loaded as well and have not been yet.
    pub fn inherit(&self, others: &Self) {
        if (self.source, others.source) == (Source::Chain, Source::Chain) && self.region == others.region {
            self.held.store(others.held.load_full());
        }
    }

    /// Where they come from.
    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// Whether there were ever any.
    pub fn are_there(&self) -> bool {
        self.held.load().is_some()
    }

    /// Puts others in the place of the present ones.
    pub(super) fn put(&self, credentials: Credentials, expires: Option<UnixTime>) {
        let signer = Signer::new(credentials, &self.region, SERVICE);
        self.held.store(Some(Held { signer, expires }.into()));
    }

    /// What `sign` makes of the present signer.
    ///
    /// # Errors
    /// `NoCredentials`, where none were loaded yet, or they have ended.
    pub(super) fn with<T>(&self, now: UnixTime, sign: impl FnOnce(&Signer) -> T) -> Result<T, OriginError> {
        let held = self.held.load();
        let held = held
            .as_deref()
            .ok_or(OriginError::NoCredentials("they have not been loaded yet"))?;
        if held.expires.is_some_and(|expires| now >= expires) {
            return Err(OriginError::NoCredentials("they have expired"));
        }
        Ok(sign(&held.signer))
    }

    /// The origin does not take them any more: they are loaded anew, where they are loaded at all.
    pub(super) fn refused(&self) {
        self.refused.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn what_was_not_loaded_or_has_ended_signs_nothing() {
        let keys = Keys::awaited("files", "r");
        let at = |second| keys.with(UnixTime::from_secs(second), |_| ()).is_ok();
        assert!(!at(0) && !keys.are_there());
        let credentials = Credentials {
            access_key_id: "hidden".into(),
            secret_access_key: Secret::new(b"hidden".to_vec()),
            session_token: None,
        };
        keys.put(credentials.clone(), Some(UnixTime::from_secs(100)));
        assert!(at(99) && !at(100) && keys.are_there());
        keys.put(credentials.clone(), None);
        assert!(at(100));
        for (others, taken) in [
            (Keys::awaited("other", "r"), true),
            (Keys::awaited("other", "s"), false),
        ] {
            others.inherit(&keys);
            assert_eq!(others.are_there(), taken, "{}", others.region());
        }
        let by_hand = Keys::awaited("other", "r");
        by_hand.inherit(&Keys::fixed("files", "r", credentials));
        assert!(!by_hand.are_there(), "keys by hand were meant for another table");
        assert!(!format!("{keys:?}").contains("hidden"));
    }
}
