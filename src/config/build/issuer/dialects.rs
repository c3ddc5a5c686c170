//! The issuer's dialects: what they sign with, for how long, and whether what they sign opens anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::build::keys::Keys;
use crate::config::build::routes::Routes;
use crate::config::build::{DAY, in_range, links, raw, seconds};
use crate::config::policy::RouteKeys;
use crate::config::problems::Problems;
use crate::issuer::{Bearers, Fynn, NexudusBearer, NexudusExchange, NexudusMedia, NexudusToken, OverLimit};
use crate::media::Media;
use crate::store::Purposes;
use crate::token::carrier::Carrier;
use crate::token::keys::KeyRing;
use crate::token::scheme::Scheme;
use crate::token::scheme::jwt::{Jwt, KidHeader, Minter};

/// What the dialects refer to.
pub(super) struct Parts<'b> {
    pub(super) keys: &'b Keys,
    pub(super) media: &'b BTreeMap<String, Option<Arc<Media>>>,
    pub(super) routes: &'b Routes,
}

/// A dialect that is not configured, is wrong (and was reported), or stands.
pub(super) type Built<T> = Option<Option<T>>;

impl Parts<'_> {
    pub(super) fn native(&self, raw: &raw::Issuer, problems: &mut Problems) -> Built<Arc<Minter>> {
        let native = raw.native.as_ref()?;
        let named = (&native.keys, &native.issuer, &native.audience);
        Some(
            self.minter(&native.at, named, KidHeader::Named, problems)
                .map(Arc::new),
        )
    }

    pub(super) fn fynn(&self, raw: &raw::Issuer, problems: &mut Problems) -> Built<Fynn> {
        let fynn = raw.fynn.as_ref()?;
        let at = format!("{}.media", fynn.at);
        let catalogue = fynn.media.as_ref().and_then(|name| {
            if !self.media.contains_key(name) && !problems.has(&format!("media.{name}")) {
                links::unknown(&at, "media catalogue", "media", name, problems);
            }
            self.media.get(name)?.clone()
        });
        let ttl = in_range(format!("{}.ttl", fynn.at), fynn.ttl, seconds(1), DAY, problems);
        let named = (&fynn.keys, &fynn.issuer, &fynn.audience);
        let minter = self
            .minter(&fynn.at, named, KidHeader::Unnamed, problems)
            .map(Arc::new);
        Some(
            minter
                .zip(catalogue)
                .map(|(minter, media)| Fynn { minter, media, ttl }),
        )
    }

    pub(super) fn nexudus_media(&self, raw: &raw::Issuer, problems: &mut Problems) -> Built<NexudusMedia> {
        let media = raw.nexudus_media.as_ref()?;
        let ttl = in_range(format!("{}.ttl", media.at), media.ttl, seconds(1), DAY, problems);
        let over_limit = over_limit(&media.at, media.limit_status, problems);
        let named = (&media.keys, &media.issuer, &media.audience);
        let minter = self
            .minter(&media.at, named, KidHeader::Named, problems)
            .map(Arc::new);
        Some(minter.map(|minter| NexudusMedia {
            minter,
            ttl,
            over_limit,
        }))
    }

    pub(super) fn nexudus_token(&self, raw: &raw::Issuer, problems: &mut Problems) -> Option<NexudusToken> {
        let token = raw.nexudus_token.as_ref()?;
        let mut schemes = self
            .routes
            .built
            .iter()
            .flat_map(|built| built.route.schemes.iter());
        if !schemes.any(|scheme| matches!(scheme, Scheme::Opaque(_))) {
            problems.warn(
                &token.at,
                "no route accepts its tokens as links to files",
                "add [route.scheme.opaque] to a route",
            );
        }
        Some(NexudusToken {
            ttl: in_range(format!("{}.ttl", token.at), token.ttl, seconds(1), DAY, problems),
            allow_get: token.allow_get,
            over_limit: over_limit(&token.at, token.limit_status, problems),
        })
    }

    /// The issuer's own bearers, which its own callers' verifiers have to believe.
    pub(super) fn bearers(
        &self,
        raw: &raw::Issuer,
        callers: &[(RouteKeys, Jwt)],
        problems: &mut Problems,
    ) -> Built<Bearers> {
        let bearers = raw.bearers.as_ref()?;
        let at = &bearers.at;
        let ttl = in_range(format!("{at}.ttl"), bearers.ttl, seconds(60), 31 * DAY, problems);
        let refresh_ttl = in_range(
            format!("{at}.refresh_ttl"),
            bearers.refresh_ttl,
            seconds(60),
            366 * DAY,
            problems,
        );
        let named = (&bearers.keys, &bearers.issuer, &bearers.audience);
        let minter = self.signer(at, named, KidHeader::Named, problems).map(Arc::new);
        if let Some(minter) = &minter
            && !callers
                .iter()
                .any(|(keys, _)| accepts(keys, minter) && keys.typ.is_none())
            && !problems.has_error_below("issuer.callers")
        {
            problems.error(
                at,
                "no [[issuer.callers]] believes its bearers",
                "add one with the same keys, issuer and audience",
            );
        }
        Some(minter.map(|minter| Bearers {
            minter,
            ttl,
            refresh_ttl,
        }))
    }

    pub(super) fn nexudus_bearer(&self, raw: &raw::Issuer, problems: &mut Problems) -> Option<NexudusBearer> {
        let bearer = raw.nexudus_bearer.as_ref()?;
        let at = &bearer.at;
        signs_in(
            at,
            raw,
            [bearer.tries_per_account, bearer.tries_per_address],
            problems,
        );
        Some(NexudusBearer {
            tries_per_account: bearer.tries_per_account,
            tries_per_address: bearer.tries_per_address,
            over_limit: over_limit(at, bearer.limit_status, problems),
        })
    }

    pub(super) fn nexudus_exchange(
        &self,
        raw: &raw::Issuer,
        problems: &mut Problems,
    ) -> Option<NexudusExchange> {
        let exchange = raw.nexudus_exchange.as_ref()?;
        let at = &exchange.at;
        needs_bearers(at, raw, problems);
        let allowed = |rule: &raw::Rule| rule.purposes.iter().any(|one| one.value == Purposes::EXCHANGE);
        if !raw.rule.iter().any(allowed) {
            problems.warn(
                at,
                "no rule allows an exchange",
                "add \"exchange\" to the `purposes` of an [[issuer.rule]]",
            );
        }
        Some(NexudusExchange {
            allow_get: exchange.allow_get,
            over_limit: over_limit(at, exchange.limit_status, problems),
        })
    }

    /// Signs with the named set.
    pub(super) fn signer(
        &self,
        at: &str,
        (set, issuer, audience): Named<'_>,
        kid: KidHeader,
        problems: &mut Problems,
    ) -> Option<Minter> {
        let in_keys = format!("{at}.keys");
        let ring = set
            .as_deref()
            .and_then(|name| self.keys.find(&in_keys, name, problems))
            .map(|named| &named.ring);
        if let Some(ring) = ring
            && ring.load().is_none_or(|set| set.keys.signing(None).is_none())
        {
            problems.error(
                in_keys,
                format!("the key set {:?} has no key that can sign", ring.name()),
                "name a set with a private key, or one with `generate`",
            );
        }
        Some(Minter {
            keys: Arc::clone(ring?),
            issuer: issuer.as_deref()?.into(),
            audience: audience.as_deref()?.into(),
            kid,
            log_key: self.keys.log_key.clone()?,
        })
    }

    /// Signs with the named set what routes accept.
    pub(super) fn minter(
        &self,
        at: &str,
        named: Named<'_>,
        kid: KidHeader,
        problems: &mut Problems,
    ) -> Option<Minter> {
        let minter = self.signer(at, named, kid, problems)?;
        let mut verifiers = self
            .routes
            .built
            .iter()
            .filter_map(|built| built.policy.keys.as_ref());
        if !verifiers.any(|keys| accepts(keys, &minter)) {
            problems.warn(
                at,
                "no route accepts its tokens",
                "a route's scheme needs the same keys, issuer and audience",
            );
        }
        Some(minter)
    }
}

/// Key set, issuer and audience, as they stand in a table.
type Named<'r> = (&'r Option<String>, &'r Option<String>, &'r Option<String>);

/// What a dialect needs where users or clients sign in: how bearers are made, somebody with a password, and some tries.
pub(super) fn signs_in(at: &str, raw: &raw::Issuer, tries: [u32; 2], problems: &mut Problems) {
    needs_bearers(at, raw, problems);
    if !problems.has("issuer.callers_file") {
        problems.error(
            at,
            "needs `issuer.callers_file`: nobody has a password",
            "add `callers_file = \"state/callers.toml\"` to [issuer], and see `mediagate callers add`",
        );
    }
    for (key, tries) in ["tries_per_account", "tries_per_address"].into_iter().zip(tries) {
        let at = format!("{at}.{key}");
        if tries == 0 {
            problems.error(at, "is 0, so that nobody can sign in", "1 or more");
        } else if tries > 600 {
            problems.warn(at, "is so much that passwords can be guessed", "10");
        }
    }
}

/// Whoever hands out bearers needs to know how.
fn needs_bearers(at: &str, raw: &raw::Issuer, problems: &mut Problems) {
    if raw.bearers.is_none() && !problems.has("issuer.bearers") {
        problems.error(
            at,
            "needs [issuer.bearers]: how bearers are made",
            "add it, with keys, issuer and audience",
        );
    }
}

/// How who is over a limit is answered.
fn over_limit(at: &str, status: u16, problems: &mut Problems) -> OverLimit {
    match status {
        409 => OverLimit::Conflict,
        429 => OverLimit::TooMany,
        _ => {
            problems.error(
                format!("{at}.limit_status"),
                format!("{status} is not a status for limits"),
                "409 or 429",
            );
            OverLimit::TooMany
        }
    }
}

/// Whether a verifier believes what is signed so.
pub(super) fn accepts(verifier: &RouteKeys, minter: &Minter) -> bool {
    Arc::ptr_eq(&verifier.keys, &minter.keys)
        && verifier.issuers.iter().any(|text| **text == *minter.issuer)
        && verifier.audiences.iter().any(|text| **text == *minter.audience)
}

/// Where a link carries the minter's tokens: the query parameter of the first route that believes them and has one.
pub(super) fn query_parameter(minter: &Minter, routes: &Routes) -> Option<Box<str>> {
    routes
        .built
        .iter()
        .filter(|built| {
            let keys = built.policy.keys.as_ref();
            keys.is_some_and(|keys| accepts(keys, minter))
        })
        .flat_map(|built| built.route.carriers.iter())
        .find_map(|carrier| match carrier {
            Carrier::Query { names } => names.first().cloned(),
            _ => None,
        })
}

/// The key sets that sign, each once.
pub(super) fn published<'m>(signing: impl IntoIterator<Item = &'m Arc<KeyRing>>) -> Vec<Arc<KeyRing>> {
    let mut rings: Vec<Arc<KeyRing>> = Vec::new();
    for keys in signing {
        if !rings.iter().any(|ring| Arc::ptr_eq(ring, keys)) {
            rings.push(Arc::clone(keys));
        }
    }
    rings
}
