//! Who signs for a bucket: credentials by hand, or such as are loaded in the background and end by themselves.
//! In: credentials, the time. Out: a signer, or that there is none. Never: waits, or signs with what has ended.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::chain::Place;
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
    /// Where they came from at first. No other place is asked any more.
    place: OnceLock<Place>,
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
    /// Whether the origin has said that it does not take them.
    refused: AtomicBool,
}

/// What became of credentials that were loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// They sign from now on.
    Taken,
    /// Those that are held are as good: the same, or such as end later.
    Kept,
    /// They are those that the origin did not take.
    Refused,
    /// They have ended.
    Ended,
}

impl Held {
    fn is_good(&self, now: UnixTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
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
            place: OnceLock::new(),
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

    /// Takes over where others were loaded from, and for the same region what was loaded, where these are loaded as well
    /// and have not been yet.
    pub fn inherit(&self, others: &Self) {
        if (self.source, others.source) != (Source::Chain, Source::Chain) {
            return;
        }
        if let Some(place) = others.place.get() {
            let _ = self.place.set(*place);
        }
        if self.region == others.region {
            self.held.store(others.held.load_full());
        }
    }

    /// Where they are loaded from, once that is known.
    pub(super) fn place(&self) -> Option<Place> {
        self.place.get().copied()
    }

    /// They come from there from now on; says whether that was not known before.
    pub(super) fn pin(&self, place: Place) -> bool {
        self.place.set(place).is_ok()
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
    fn put(&self, credentials: Credentials, expires: Option<UnixTime>) {
        let held = Held {
            signer: Signer::new(credentials, &self.region, SERVICE),
            expires,
            refused: AtomicBool::new(false),
        };
        self.held.store(Some(held.into()));
    }

    /// Puts others in the place of the present ones, unless they are worse.
    pub(super) fn offer(&self, credentials: Credentials, expires: Option<UnixTime>, now: UnixTime) -> Offer {
        if expires.is_some_and(|expires| now >= expires) {
            return Offer::Ended;
        }
        let held = self.held.load_full();
        if let Some(held) = held.as_deref().filter(|held| held.is_good(now)) {
            let is_same = *held.signer.credentials() == credentials;
            if held.refused.load(Ordering::Relaxed) {
                if is_same {
                    // Until they are refused once more.
                    held.refused.store(false, Ordering::Relaxed);
                    return Offer::Refused;
                }
            } else if is_same && expires == held.expires || ends_before(expires, held.expires) {
                return Offer::Kept;
            }
        }
        self.put(credentials, expires);
        Offer::Taken
    }

    /// When the present ones end, where they do.
    pub(super) fn expires(&self) -> Option<UnixTime> {
        self.held.load().as_deref().and_then(|held| held.expires)
    }

    /// Whether there were some, and they have ended.
    pub(super) fn have_ended(&self, now: UnixTime) -> bool {
        self.held.load().as_deref().is_some_and(|held| !held.is_good(now))
    }

    /// Whether the origin has said of the present ones that it does not take them.
    pub(super) fn are_refused(&self) -> bool {
        let held = self.held.load();
        held.as_deref()
            .is_some_and(|held| held.refused.load(Ordering::Relaxed))
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
        if !held.is_good(now) {
            return Err(OriginError::NoCredentials("they have expired"));
        }
        Ok(sign(&held.signer))
    }

    /// The origin does not take them any more: they are loaded anew, where they are loaded at all.
    pub(super) fn refused(&self) {
        if let Some(held) = self.held.load().as_deref() {
            held.refused.store(true, Ordering::Relaxed);
        }
        self.refused.notify_one();
    }
}

/// Whether one end comes before another; none is the last.
fn ends_before(one: Option<UnixTime>, other: Option<UnixTime>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one < other,
        (one, None) => one.is_some(),
        (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn credentials(secret: &str) -> Credentials {
        Credentials {
            access_key_id: "hidden".into(),
            secret_access_key: Secret::new(secret.into()),
            session_token: None,
        }
    }

    fn at(second: i64) -> UnixTime {
        UnixTime::from_secs(second)
    }

    #[test]
    fn what_was_not_loaded_or_has_ended_signs_nothing() {
        let keys = Keys::awaited("files", "r");
        let signs = |second| keys.with(at(second), |_| ()).is_ok();
        assert!(!signs(0) && !keys.are_there() && !keys.have_ended(at(0)));
        keys.put(credentials("hidden"), Some(at(100)));
        assert!(signs(99) && !signs(100) && keys.are_there());
        assert!(!keys.have_ended(at(99)) && keys.have_ended(at(100)));
        keys.put(credentials("hidden"), None);
        assert!(signs(100));
        assert!(keys.pin(Place::Container) && !keys.pin(Place::Instance));
        for (others, taken) in [
            (Keys::awaited("other", "r"), true),
            (Keys::awaited("other", "s"), false),
        ] {
            others.inherit(&keys);
            assert_eq!(others.are_there(), taken, "{}", others.region());
            assert_eq!(others.place(), Some(Place::Container));
        }
        let by_hand = Keys::awaited("other", "r");
        by_hand.inherit(&Keys::fixed("files", "r", credentials("hidden")));
        assert!(!by_hand.are_there(), "keys by hand were meant for another table");
        assert!(!format!("{keys:?}").contains("hidden"));
    }

    #[test]
    fn only_better_ones_take_the_place_of_good_ones() {
        let now = at(100);
        for (offered, expires, offer) in [
            ("held", Some(200), Offer::Kept),
            ("held", Some(201), Offer::Taken),
            ("held", Some(199), Offer::Kept),
            ("other", Some(200), Offer::Taken),
            ("other", Some(199), Offer::Kept),
            ("other", Some(100), Offer::Ended),
            ("held", Some(99), Offer::Ended),
            ("other", None, Offer::Taken),
        ] {
            let keys = Keys::awaited("files", "r");
            keys.put(credentials("held"), Some(at(200)));
            assert_eq!(
                keys.offer(credentials(offered), expires.map(at), now),
                offer,
                "{offered} {expires:?}"
            );
            let ends = if offer == Offer::Taken { expires } else { Some(200) };
            assert_eq!(keys.expires(), ends.map(at), "{offered} {expires:?}");
        }
        let ended = Keys::awaited("files", "r");
        ended.put(credentials("held"), Some(at(50)));
        assert_eq!(ended.offer(credentials("held"), Some(at(101)), now), Offer::Taken);
        let lasting = Keys::awaited("files", "r");
        assert_eq!(lasting.offer(credentials("held"), None, now), Offer::Taken);
        assert_eq!(lasting.offer(credentials("held"), None, now), Offer::Kept);
        assert_eq!(
            lasting.offer(credentials("other"), Some(at(300)), now),
            Offer::Kept
        );
        assert_eq!(lasting.offer(credentials("other"), None, now), Offer::Taken);
    }

    #[test]
    fn refused_ones_make_way_for_any_others_and_not_for_themselves() {
        let now = at(100);
        let keys = Keys::awaited("files", "r");
        keys.refused();
        assert!(!keys.are_refused(), "there are none");
        keys.put(credentials("held"), Some(at(200)));
        keys.refused();
        assert!(keys.are_refused());
        assert_eq!(
            keys.offer(credentials("held"), Some(at(300)), now),
            Offer::Refused
        );
        assert!(!keys.are_refused(), "until they are refused once more");
        keys.refused();
        assert_eq!(keys.offer(credentials("other"), Some(at(150)), now), Offer::Taken);
        assert!(!keys.are_refused());
    }
}
