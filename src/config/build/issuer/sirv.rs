//! `[issuer.sirv]` and `[issuer.sirv_bearer]`: accounts with their keys, and whether what they sign opens anything.

use std::sync::Arc;

use super::dialects::{Built, Parts, sign_in};
use crate::config::build::server::public_base;
use crate::config::build::{raw, sirv};
use crate::config::problems::Problems;
use crate::issuer::{Sirv, SirvAccount, SirvBearer};
use crate::token::PublicBase;
use crate::token::carrier::Carrier;
use crate::token::keys::KeyRing;
use crate::token::scheme::sirv::{Minter, opens};

impl Parts<'_> {
    pub(super) fn sirv(
        &self,
        raw: &raw::Issuer,
        public: Option<&PublicBase>,
        problems: &mut Problems,
    ) -> Built<Sirv> {
        let table = raw.sirv.as_ref()?;
        if table.per_hour == 0 {
            problems.error(
                format!("{}.per_hour", table.at),
                "is 0, so that nobody may ask",
                "1 or more; the original allows 7000",
            );
        }
        for path in raw.rule.iter().flat_map(|rule| &rule.paths) {
            let text = &path.value;
            let is_start = !text.contains(['*', '{']) && !text.ends_with('/');
            if is_start && opens(text).is_ok_and(|opens| Some(opens) != crate::token::Opens::parse(text).ok())
            {
                problems.warn(
                    &path.at,
                    "gets no Sirv token: as a Sirv path it means all that starts so, which is more than the rule allows",
                    format!("write \"{text}/\" for what is below it, or \"{text}**\" for all that starts so"),
                );
            }
        }
        let account = public.and_then(|public| self.account(&table.at, public, &table.keys, problems));
        let aliases = table.aliases.iter().map(|(name, alias)| {
            let at = format!("{}.url", alias.at);
            let public = alias
                .url
                .as_deref()
                .and_then(|url| public_base(&at, url, problems));
            let keys = if alias.keys.is_some() {
                &alias.keys
            } else {
                &table.keys
            };
            let account = self.account(&alias.at, &public?, keys, problems)?;
            Some((Box::from(name.as_str()), account))
        });
        // All are looked at, so that all mistakes are told.
        let aliases: Vec<_> = aliases.collect();
        let build = || {
            Some(Sirv {
                account: account?,
                aliases: aliases.into_iter().collect::<Option<_>>()?,
                per_hour: table.per_hour,
            })
        };
        Some(build())
    }

    fn account(
        &self,
        at: &str,
        public: &PublicBase,
        keys: &Option<String>,
        problems: &mut Problems,
    ) -> Option<SirvAccount> {
        let in_keys = format!("{at}.keys");
        let ring = self.keys.find(&in_keys, keys.as_deref()?, problems)?;
        let ring = &ring.ring;
        sirv::has_hs256(&in_keys, ring, problems);
        self.check_routes(at, ring, problems);
        Some(SirvAccount {
            public_base: format!("{}://{}", public.scheme, public.authority).into(),
            minter: Arc::new(Minter {
                keys: Arc::clone(ring),
                log_key: self.keys.log_key.clone()?,
            }),
        })
    }

    /// Whether a route takes what these keys sign, from where the links have it.
    fn check_routes(&self, at: &str, ring: &Arc<KeyRing>, problems: &mut Problems) {
        let believes = |keys: &&Arc<KeyRing>| Arc::ptr_eq(keys, ring);
        let mut routes = self
            .routes
            .built
            .iter()
            .filter(|built| built.policy.sirv.as_ref().filter(believes).is_some())
            .peekable();
        if routes.peek().is_none() {
            problems.warn(
                at,
                "no route accepts its tokens",
                "add [route.scheme.sirv] with the same keys to a route",
            );
            return;
        }
        let looks = |carrier: &Carrier| match carrier {
            Carrier::Query { names } => names.iter().any(|name| &**name == "jwt"),
            _ => false,
        };
        if !routes.any(|built| built.route.carriers.iter().any(looks)) {
            problems.warn(
                at,
                "no route that accepts its tokens looks for them in `?jwt=`, where its links have them",
                "add { query = \"jwt\" } to the route's carriers",
            );
        }
    }

    pub(super) fn sirv_bearer(&self, raw: &raw::Issuer, problems: &mut Problems) -> Option<SirvBearer> {
        let bearer = raw.sirv_bearer.as_ref()?;
        let tries = (bearer.tries_per_account, bearer.tries_per_address);
        sign_in(&bearer.at, raw, tries, problems);
        Some(SirvBearer {
            tries_per_account: bearer.tries_per_account,
            tries_per_address: bearer.tries_per_address,
        })
    }
}
