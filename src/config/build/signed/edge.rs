//! `[route.scheme.edge_auth]` and `[route.scheme.media_cdn]`, and the exchange of their short tokens for long ones.

use std::sync::Arc;

use http::HeaderName;

use super::{Reading, table};
use crate::config::build::carriers::{is_cookie_name, is_parameter_name};
use crate::config::build::inline::read_secret;
use crate::config::build::raw::SecretRef;
use crate::config::build::{DAY, in_range, seconds};
use crate::config::problems::Problems;
use crate::config::read::At;
use crate::config::values::{MacName, SealName};
use crate::secret::Secret;
use crate::token::scheme::signed::NamedKeys;
use crate::token::scheme::signed::edge_auth::{self, EdgeAuth, Escape, Query};
use crate::token::scheme::signed::exchange::{SameSite, Session};
use crate::token::scheme::signed::fields::Algorithm;
use crate::token::scheme::signed::media_cdn::{self, Key, MediaCdn, Signatures};

impl Reading<'_> {
    pub(super) fn edge_auth(&self, table: &table::EdgeAuth, problems: &mut Problems) -> Option<EdgeAuth> {
        let at = |key: &str| format!("{}.{key}", table.at);
        let mut keys = Vec::new();
        for (at, name, text, until) in self.texts(&table.at, table.keys.as_deref(), problems)? {
            match edge_auth::key(&text) {
                Ok(key) => keys.push((name, key, until)),
                Err(what) => problems.error(
                    format!("{at}.secret"),
                    what,
                    "as in the property: an even number of digits",
                ),
            }
        }
        let salt = table
            .salt
            .as_ref()
            .and_then(|salt| read_secret(&at("salt"), salt, self.parts.place, problems));
        let names = self.token_names(&at("names"), &table.names, problems);
        let headers: Box<[HeaderName]> = names
            .iter()
            .filter_map(|name| HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).ok())
            .collect();
        let session = self.session(table.session.as_ref(), table.keys.as_deref(), &names, problems);
        let good = !problems.has_error_below(&table.at);
        let session = session?;
        good.then(|| {
            EdgeAuth::new(edge_auth::Rules {
                queries: names.clone(),
                cookies: names,
                headers,
                algorithm: match table.algorithm {
                    SealName::Sha256 => Algorithm::Sha256,
                    SealName::Sha1 => Algorithm::Sha1,
                    SealName::Md5 => Algorithm::Md5,
                },
                salt,
                escape: match table.escape_early {
                    true => Escape::Early,
                    false => Escape::Never,
                },
                query: match table.sign_query {
                    true => Query::Signed,
                    false => Query::Ignored,
                },
                session,
                ..edge_auth::Rules::new(NamedKeys::new(keys), Arc::clone(&self.log_key))
            })
        })
    }

    pub(super) fn media_cdn(&self, table: &table::MediaCdn, problems: &mut Problems) -> Option<MediaCdn> {
        let at = |key: &str| format!("{}.{key}", table.at);
        self.needs_public(&table.at, problems);
        let keys = self.named(&table.at, table.keys.as_deref()?, problems)?;
        let mut all = Vec::new();
        for key in keys {
            let (material, built) = match &key.secret {
                Some(_) => {
                    let Some((at, secret)) = self.secret(key, problems) else {
                        continue;
                    };
                    let built = match key.mac {
                        MacName::Sha256 => Key::sha256(&secret),
                        MacName::Sha1 => Key::sha1(&secret),
                    };
                    (at, built)
                }
                None => {
                    let Some((at, text)) = self.pair(key, problems) else {
                        continue;
                    };
                    (at, pair(key.private_key.is_some(), &text))
                }
            };
            match built {
                Ok(built) => all.push((key.name.as_deref().unwrap_or_default().into(), built, key.until)),
                Err(what) => problems.error(material, what, "base64url, as in the keyset"),
            }
        }
        let names = self.token_names(&at("names"), &table.names, problems);
        if !is_cookie_name(&table.cookie) {
            problems.error(at("cookie"), "is no cookie name", "\"Edge-Cache-Cookie\"");
        }
        let session = self.session(table.session.as_ref(), table.keys.as_deref(), &names, problems);
        let good = !problems.has_error_below(&table.at) && all.len() == keys.len();
        let session = session?;
        good.then(|| {
            MediaCdn::new(media_cdn::Rules {
                names,
                cookie: table.cookie.as_str().into(),
                signatures: match table.signatures {
                    true => Signatures::Accepted,
                    false => Signatures::Ignored,
                },
                form: table.form,
                session,
                ..media_cdn::Rules::new(NamedKeys::new(all), Arc::clone(&self.log_key))
            })
        })
    }

    /// Names that are a query parameter's and a cookie's; at least one.
    fn token_names(&self, at: &str, names: &[At<String>], problems: &mut Problems) -> Box<[Box<str>]> {
        if names.is_empty() && !problems.has_error_below(at) {
            problems.error(at, "is empty, so that no token can be found", "write [\"hdnts\"]");
        }
        self.names(
            names,
            |name| is_cookie_name(name) && is_parameter_name(name),
            "name for tokens",
            problems,
        )
    }

    /// Secrets of our own have no past that would excuse a short one.
    fn long_enough(&self, at: &str, keys: Option<&NamedKeys<Secret>>, problems: &mut Problems) {
        let is_short = |secret: &Secret| secret.reveal().len() < 32;
        if keys.is_some_and(|keys| keys.all().any(|key| is_short(&key.key))) {
            problems.error(
                at,
                "holds a secret of less than 32 bytes",
                "`openssl rand -hex 32` makes one",
            );
        }
    }

    /// The exchange of a scheme; `None` only where a problem was reported.
    fn session(
        &self,
        table: Option<&table::LongTokens>,
        short: Option<&[table::SchemeKey]>,
        names: &[Box<str>],
        problems: &mut Problems,
    ) -> Option<Option<Session>> {
        let Some(table) = table else {
            return Some(None);
        };
        let at = |key: &str| format!("{}.{key}", table.at);
        let keys = self.secrets(&table.at, table.keys.as_deref(), problems);
        self.long_enough(&at("keys"), keys.as_ref(), problems);
        let is_same = |one: &SecretRef, other: &SecretRef| match (one, other) {
            (SecretRef::Env(one), SecretRef::Env(other)) => one == other,
            (SecretRef::File(one), SecretRef::File(other)) => one == other,
            _ => false,
        };
        for key in table.keys.iter().flatten() {
            let mut secrets = short
                .into_iter()
                .flatten()
                .filter_map(|short| short.secret.as_ref());
            if key
                .secret
                .as_ref()
                .is_some_and(|secret| secrets.any(|short| is_same(secret, short)))
            {
                problems.error(
                    format!("{}.secret", key.at),
                    "seals short tokens, too",
                    "long tokens have secrets of their own",
                );
            }
        }
        if !is_cookie_name(&table.cookie) || names.iter().any(|name| **name == *table.cookie) {
            problems.error(
                at("cookie"),
                "is no cookie name, or that of a short token",
                "\"hdntl\"",
            );
        }
        let ttl = in_range(at("ttl"), table.ttl, seconds(1), 366 * DAY, problems);
        let secure = self
            .parts
            .served
            .public
            .as_ref()
            .is_none_or(|public| &*public.scheme == "https");
        if table.same_site == SameSite::None && !secure {
            problems.error(at("same_site"), "needs https", "\"lax\"");
        }
        Some(Some(Session {
            name: table.cookie.as_str().into(),
            ttl,
            secure,
            same_site: table.same_site,
            ..Session::new(keys?)
        }))
    }
}

/// An Ed25519 key.
fn pair(private: bool, text: &Secret) -> Result<Key, &'static str> {
    match private {
        true => Key::private(text),
        false => std::str::from_utf8(text.reveal())
            .map_err(|_| "the key is not text")
            .and_then(Key::public),
    }
}
