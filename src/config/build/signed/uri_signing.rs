//! `[route.scheme.uri_signing]`: RFC 9246.

use std::sync::Arc;

use super::{Reading, table};
use crate::config::build::carriers::is_cookie_name;
use crate::config::build::{DAY, in_range, raw, seconds};
use crate::config::problems::Problems;
use crate::token::keys::KeyRing;
use crate::token::scheme::signed::NamedKeys;
use crate::token::scheme::signed::cdni::{Cdni, ContentKey, Dots, Expiry, Issuer, Name, Renewing, Rules};

impl Reading<'_> {
    pub(super) fn uri_signing(
        &self,
        table: &table::UriSigning,
        route: &raw::Route,
        problems: &mut Problems,
    ) -> Option<Cdni> {
        let at = |key: &str| format!("{}.{key}", table.at);
        self.needs_public(&table.at, problems);
        let ring = |key: &str, name: &str, problems: &mut Problems| {
            let named = self.parts.keys.find(&at(key), name, problems)?;
            Some(Arc::clone(&named.ring))
        };
        let mut issuers = Vec::new();
        for (name, keys) in &table.issuers {
            let keys = ring(&format!("issuers.{name}"), keys, problems);
            issuers.extend(keys.map(|keys| Issuer {
                name: name.as_str().into(),
                keys,
            }));
        }
        let unnamed = table
            .unnamed_keys
            .as_deref()
            .and_then(|name| ring("unnamed_keys", name, problems));
        if table.issuers.is_empty() && table.unnamed_keys.is_none() && !problems.has_error_below(&table.at) {
            problems.error(
                &table.at,
                "has no keys",
                "issuers = { \"https://cdn.example.com\" = \"keys\" }, or unnamed_keys = \"keys\"",
            );
        }
        if !table.expiry_required {
            problems.warn(
                at("expiry_required"),
                "lets tokens without an end live for ever",
                "true",
            );
        }
        if table.resolve_dots && self.is_over_a_folder(route) {
            problems.error(at("resolve_dots"), "is never over a folder", "take it out");
        }
        let mut name = |key: &str, text: &str| {
            let name = Name::parse(text).filter(|_| is_cookie_name(text));
            if name.is_none() {
                problems.error(
                    at(key),
                    "is no such name",
                    "letters, digits, - . _ and ~, at most 64",
                );
            }
            name
        };
        let (attribute, cookie) = (name("attribute", &table.attribute), name("cookie", &table.cookie));
        self.mints(table, &issuers, unnamed.as_ref(), problems);
        let content_keys = self.content_keys(table, problems);
        let renewal = in_range(at("renewal"), table.renewal, seconds(0), 366 * DAY, problems);
        self.not_empty(&at("audience"), table.audience.as_ref(), problems);
        let audiences = table.audience.iter().flat_map(|texts| &texts.0);
        let good = !problems.has_error_below(&table.at);
        Some(Cdni::new(Rules {
            attribute: attribute?,
            cookie: cookie?,
            audiences: audiences.map(|text| text.as_str().into()).collect(),
            content_keys: content_keys.filter(|_| good)?,
            expiry: match table.expiry_required {
                true => Expiry::Required,
                false => Expiry::Optional,
            },
            dots: match table.resolve_dots {
                true => Dots::Resolved,
                false => Dots::Refused,
            },
            signer: table.mint_issuer.as_deref().map(Box::from),
            signing_kid: table.signing_kid.as_deref().map(Box::from),
            style: table.style,
            renewal: (!renewal.is_zero()).then(|| Renewing {
                seconds: u32::try_from(renewal.as_secs()).unwrap_or(u32::MAX),
                depth: table.renewal_depth,
            }),
            same_site: table.same_site,
            ..Rules::new(issuers.into(), unnamed, Arc::clone(&self.log_key))
        }))
    }

    /// Reports an issuer or a key that is to sign and is not there.
    fn mints(
        &self,
        table: &table::UriSigning,
        issuers: &[Issuer],
        unnamed: Option<&Arc<KeyRing>>,
        problems: &mut Problems,
    ) {
        let at = |key: &str| format!("{}.{key}", table.at);
        let ring = match &table.mint_issuer {
            None => unnamed.or(issuers.first().map(|issuer| &issuer.keys)),
            Some(name) => {
                let own = issuers.iter().find(|issuer| *issuer.name == **name);
                if own.is_none() {
                    problems.error(at("mint_issuer"), "is none of `issuers`", "name one of them");
                }
                own.map(|issuer| &issuer.keys)
            }
        };
        // A set from a URL may come later, and never signs.
        let Some(loaded) = ring.and_then(|ring| ring.load()) else {
            return;
        };
        if let Some(kid) = &table.signing_kid
            && loaded.keys.signing(Some(kid)).is_none()
        {
            problems.error(
                at("signing_kid"),
                "is no key that can sign",
                "the `kid` of a private or shared key",
            );
        }
        if !table.renewal.is_zero() && loaded.keys.signing(None).is_none() {
            problems.error(
                at("renewal"),
                "needs a key that can sign",
                "0s, or a private or shared key",
            );
        }
    }

    fn content_keys(
        &self,
        table: &table::UriSigning,
        problems: &mut Problems,
    ) -> Option<NamedKeys<ContentKey>> {
        if table.content_keys.is_empty() {
            return Some(NamedKeys::new([]));
        }
        let keys = self.named_in(
            &format!("{}.content_keys", table.at),
            &table.content_keys,
            problems,
        )?;
        let mut all = Vec::new();
        for key in keys {
            let Some((at, secret)) = self.secret(key, problems) else {
                continue;
            };
            match ContentKey::new(&secret) {
                Ok(built) => all.push((key.name.as_deref().unwrap_or_default().into(), built, key.until)),
                Err(what) => problems.error(
                    at,
                    what,
                    "16 or 32 bytes, with encoding = \"base64url\" or \"hex\"",
                ),
            }
        }
        (all.len() == keys.len()).then(|| NamedKeys::new(all))
    }
}
