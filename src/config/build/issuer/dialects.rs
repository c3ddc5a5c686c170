//! The issuer's dialects: what they sign with, for how long, and whether what they sign opens anything.

use std::sync::Arc;

use super::Inventories;
use crate::config::build::keys::Keys;
use crate::config::build::routes::{Built as RouteBuilt, Routes};
use crate::config::build::{DAY, in_range, raw, seconds};
use crate::config::policy::RouteKeys;
use crate::config::problems::Problems;
use crate::issuer::mint::SchemeName;
use crate::issuer::{
    Bearers, Native, NativeScheme, NexudusBearer, NexudusExchange, NexudusMedia, NexudusToken, OverLimit,
    Sirv,
};
use crate::store::Purposes;
use crate::token::carrier::Carrier;
use crate::token::keys::KeyRing;
use crate::token::scheme::Scheme;
use crate::token::scheme::jwt::{Jwt, KidHeader, Minter};

/// What the dialects refer to.
pub(super) struct Parts<'b> {
    pub(super) keys: &'b Keys,
    pub(super) media: Inventories<'b>,
    pub(super) routes: &'b Routes,
}

/// A dialect that is not configured, is wrong (and was reported), or stands.
pub(super) type Built<T> = Option<Option<T>>;

impl Parts<'_> {
    pub(super) fn native(
        &self,
        raw: &raw::Issuer,
        sirv: Option<&Sirv>,
        problems: &mut Problems,
    ) -> Built<Native> {
        let native = raw.native.as_ref()?;
        let named = (&native.keys, &native.issuer, &native.audience);
        let minter = self
            .minter(&native.at, named, KidHeader::Named, problems)
            .map(Arc::new);
        let chosen = self.schemes(raw, native, problems);
        Some(minter.map(|minter| {
            let made = chosen.into_iter().filter_map(|name| match name {
                SchemeName::Jwt => Some(NativeScheme::Jwt {
                    minter: Arc::clone(&minter),
                    link: self.query_parameter(|built| believes(built, &minter)),
                }),
                SchemeName::Opaque => Some(NativeScheme::Opaque {
                    link: self.query_parameter(takes_opaque),
                }),
                SchemeName::Sirv => sirv.map(|sirv| NativeScheme::Sirv {
                    minter: Arc::clone(&sirv.account.minter),
                    link: self.query_parameter(|built| built.route.schemes.sirv().is_some()),
                }),
                SchemeName::ShortMedia => Some(NativeScheme::ShortMedia),
            });
            Native {
                schemes: made.collect(),
            }
        }))
    }

    /// The schemes of `[issuer.native]`, each once.
    fn schemes(
        &self,
        raw: &raw::Issuer,
        native: &raw::NativeDialect,
        problems: &mut Problems,
    ) -> Vec<SchemeName> {
        let at = format!("{}.schemes", native.at);
        let opaque = self.routes.built.iter().any(takes_opaque);
        let Some(list) = &native.schemes else {
            let usual = [(SchemeName::Jwt, true), (SchemeName::Opaque, opaque)];
            return usual
                .iter()
                .filter(|(_, there)| *there)
                .map(|(name, _)| *name)
                .collect();
        };
        if list.is_empty() && !problems.has(&format!("{at}[0]")) {
            problems.error(&at, "is empty, so that no token can be made", "write [\"jwt\"]");
        }
        let mut all = Vec::new();
        for scheme in list {
            if all.contains(&scheme.value) {
                problems.error(&scheme.at, "is here twice", "take one of them out");
            } else if scheme.value == SchemeName::Opaque && !opaque {
                warn_of_opaque(&scheme.at, problems);
            }
            let needed = match scheme.value {
                SchemeName::Sirv if raw.sirv.is_none() => "issuer.sirv",
                SchemeName::ShortMedia if raw.adobe_media.is_none() => "issuer.adobe_media",
                _ => "",
            };
            if !needed.is_empty() && !problems.has(needed) {
                problems.error(
                    &scheme.at,
                    format!("needs [{needed}], which says how they are made"),
                    format!("add [{needed}], or take the scheme out"),
                );
            }
            all.push(scheme.value);
        }
        all
    }

    /// The query parameter in which the first of these routes that has one finds its tokens.
    fn query_parameter(&self, is_one: impl Fn(&RouteBuilt) -> bool) -> Option<Box<str>> {
        let routes = self.routes.built.iter().filter(|built| is_one(built));
        routes
            .flat_map(|built| built.route.carriers.iter())
            .find_map(|carrier| match carrier {
                Carrier::Query { names } => names.first().cloned(),
                _ => None,
            })
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
        if !self.routes.built.iter().any(takes_opaque) {
            warn_of_opaque(&token.at, problems);
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
        let tries = (bearer.tries_per_account, bearer.tries_per_address);
        sign_in(at, raw, tries, problems);
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
        if !self.routes.built.iter().any(|built| believes(built, &minter)) {
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
pub(super) type Named<'r> = (&'r Option<String>, &'r Option<String>, &'r Option<String>);

/// Whoever hands out bearers for passwords needs to know how, whose, and how many tries there are for one account and from
/// one address.
pub(super) fn sign_in(
    at: &str,
    raw: &raw::Issuer,
    (per_account, per_address): (u32, u32),
    problems: &mut Problems,
) {
    needs_bearers(at, raw, problems);
    if !problems.has("issuer.callers_file") {
        problems.error(
            at,
            "needs `issuer.callers_file`: nobody has a password",
            "add `callers_file = \"state/callers.toml\"` to [issuer], and see `mediagate callers add`",
        );
    }
    for (key, tries) in [
        ("tries_per_account", per_account),
        ("tries_per_address", per_address),
    ] {
        if tries == 0 {
            problems.error(
                format!("{at}.{key}"),
                "is 0, so that nobody can sign in",
                "1 or more",
            );
        } else if tries > 600 {
            problems.warn(
                format!("{at}.{key}"),
                "is so much that passwords can be guessed",
                "10",
            );
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
        && verifier.takes_issuer(&minter.issuer)
        && verifier.audiences.iter().any(|text| **text == *minter.audience)
}

/// Whether a route believes what is signed so.
pub(super) fn believes(built: &RouteBuilt, minter: &Minter) -> bool {
    let keys = built.policy.keys.as_ref();
    keys.is_some_and(|keys| accepts(keys, minter))
}

/// Whether a route asks the store.
pub(super) fn takes_opaque(built: &RouteBuilt) -> bool {
    let mut schemes = built.route.schemes.iter();
    schemes.any(|scheme| matches!(scheme, Scheme::Opaque(_)))
}

/// Tokens in the store that open no file.
fn warn_of_opaque(at: &str, problems: &mut Problems) {
    problems.warn(
        at,
        "no route accepts its tokens as links to files",
        "add [route.scheme.opaque] to a route",
    );
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
