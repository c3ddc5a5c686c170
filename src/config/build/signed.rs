//! `[route.scheme.…]` of schemes that judge whole requests: their keys, and one function for each that turns its table into
//! rules.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::carriers::is_cookie_name;
use super::routes::Parts;
use super::{in_range, raw, seconds};
use crate::config::problems::Problems;
use crate::config::raw_schemes as table;
use crate::config::read::At;
use crate::config::values::Texts;
use crate::origin::Origin;
use crate::server::settings::ClientAddressRule;
use crate::token::keys::LogKey;
use crate::token::scheme::signed::{Kind, NamedKeys, SignedScheme, bunny, cloud_cdn};

mod aws;
mod cat;
mod edge;
mod keys;
mod mac;
mod uri_signing;

/// The most keys of one scheme.
const MAX_KEYS: usize = 64;

/// What the tables are read with.
struct Reading<'r> {
    parts: &'r Parts<'r>,
    log_key: Arc<LogKey>,
}

/// The schemes of a route that judge whole requests; `None` only where a problem was reported.
pub(super) fn schemes(
    raw: &raw::Route,
    parts: &Parts<'_>,
    problems: &mut Problems,
) -> Option<Vec<SignedScheme>> {
    let Some(scheme) = &raw.scheme else {
        return Some(Vec::new());
    };
    let reading = Reading {
        parts,
        log_key: parts.keys.log_key.clone()?,
    };
    let mut all: Vec<Option<SignedScheme>> = Vec::new();
    let mut add = |at: &str, leeway: Duration, kind: Option<Kind>, problems: &mut Problems| {
        let leeway = in_range(format!("{at}.leeway"), leeway, seconds(0), seconds(300), problems);
        all.push(kind.map(|kind| SignedScheme::new(kind, leeway)));
    };
    if let Some(table) = &scheme.bunny {
        let kind = reading.bunny(table, problems).map(Kind::Bunny);
        add(&table.at, table.leeway, kind, problems);
    }
    if let Some(table) = &scheme.cloud_cdn {
        let kind = reading.cloud_cdn(table, problems).map(Kind::CloudCdn);
        add(&table.at, table.leeway, kind, problems);
    }
    if let Some(table) = &scheme.cat {
        let kind = reading.cat(table, problems).map(Kind::Cat);
        add(&table.at, table.leeway, kind, problems);
    }
    if let Some(table) = &scheme.cloudfront {
        let kind = reading.cloudfront(table, problems).map(Kind::CloudFront);
        add(&table.at, table.leeway, kind, problems);
    }
    if let Some(table) = &scheme.edge_auth {
        let kind = reading.edge_auth(table, problems).map(Kind::EdgeAuth);
        add(&table.at, table.leeway, kind, problems);
    }
    if let Some(table) = &scheme.media_cdn {
        let kind = reading.media_cdn(table, problems).map(Kind::MediaCdn);
        add(&table.at, table.leeway, kind, problems);
    }
    for table in scheme.mac.iter().flat_map(|several| &several.0) {
        let kind = reading.mac(table, raw, problems).map(Kind::Mac);
        add(&table.at, table.leeway, kind, problems);
    }
    if let Some(table) = &scheme.uri_signing {
        let kind = reading.uri_signing(table, raw, problems);
        let kind = kind.map(|kind| Kind::UriSigning(Box::new(kind)));
        add(&table.at, table.leeway, kind, problems);
    }
    if let Some(table) = &scheme.s3_presigned {
        let kind = reading.presigned(table, problems).map(Kind::Presigned);
        add(&table.at, table.leeway, kind, problems);
    }
    let all: Option<Vec<SignedScheme>> = all.into_iter().collect();
    apart(raw, all.as_deref().unwrap_or_default(), problems);
    all
}

/// Reports tokens that can't be told apart: two ways that both look at one parameter, or a path carrier that takes any path.
fn apart(raw: &raw::Route, schemes: &[SignedScheme], problems: &mut Problems) {
    let carried = raw
        .carriers
        .iter()
        .flatten()
        .filter_map(|carrier| match &carrier.value {
            raw::Carrier::Query(name) => Some((name.as_str(), "a carrier")),
            _ => None,
        });
    let mut known: Vec<(&str, &str)> = carried.collect();
    for scheme in schemes {
        for name in scheme.queries() {
            match known.iter().find(|(known, _)| *known == name) {
                Some((_, other)) => {
                    problems.error(
                        format!("{}.scheme", raw.at),
                        format!(
                            "{other} and {} both find their token in ?{name}=…, so that none of the two works",
                            scheme.name()
                        ),
                        "another name for one of them, or a route of its own",
                    );
                }
                None => known.push((name, scheme.name())),
            }
        }
    }
    let any_path = |carrier: &At<raw::Carrier>| matches!(&carrier.value, raw::Carrier::Path(text) if text == "/{token}/**");
    if let Some(carrier) = raw.carriers.iter().flatten().find(|carrier| any_path(carrier))
        && !schemes.is_empty()
    {
        problems.error(
            &carrier.at,
            "takes the first segment of every path for a token, also where another scheme has one",
            "a route of its own",
        );
    }
}

/// Whether the route's table names a scheme that judges whole requests.
pub(super) fn has_any(scheme: &raw::Scheme) -> bool {
    scheme.bunny.is_some()
        || scheme.cloud_cdn.is_some()
        || scheme.cat.is_some()
        || scheme.cloudfront.is_some()
        || scheme.s3_presigned.is_some()
        || scheme.uri_signing.is_some()
        || scheme.edge_auth.is_some()
        || scheme.media_cdn.is_some()
        || scheme.mac.is_some()
}

impl Reading<'_> {
    fn bunny(&self, table: &table::Bunny, problems: &mut Problems) -> Option<bunny::Bunny> {
        let at = |key: &str| format!("{}.{key}", table.at);
        let keys = self.secrets(&table.at, table.keys.as_deref(), problems);
        if table.generations.is_empty() && !problems.has_error_below(&at("generations")) {
            problems.error(at("generations"), "is empty", "write [\"hs256\", \"sha256\"]");
        }
        for (number, generation) in table.generations.iter().enumerate() {
            let twin = table.generations[..number]
                .iter()
                .any(|other| other.value == generation.value);
            if twin {
                problems.error(&generation.at, "is here twice", "take one of them out");
            }
        }
        let country = match &table.country_header {
            Some(name) => Some(self.country_header(&at("country_header"), name, problems)?),
            None => None,
        };
        let good = !problems.has_error_below(&table.at);
        Some(bunny::Bunny::new(bunny::Rules {
            generations: table.generations.iter().map(|one| one.value).collect(),
            addresses: match table.bound_to_address {
                true => bunny::Addresses::Bound,
                false => bunny::Addresses::Unbound,
            },
            spelling: table.spelling,
            folders: table.folders,
            form: table.form,
            country,
            ..bunny::Rules::new(keys.filter(|_| good)?, Arc::clone(&self.log_key))
        }))
    }

    /// A header that a proxy before us sets: worth something only where one is trusted.
    fn country_header(&self, at: &str, name: &str, problems: &mut Problems) -> Option<HeaderName> {
        let rule = &self.parts.served.client_address;
        if rule
            .as_ref()
            .is_none_or(|rule| !matches!(rule, ClientAddressRule::Header { .. }))
        {
            problems.error(
                at,
                "is believed from trusted proxies alone, and there are none",
                "set server.client_address to the proxy that sets it",
            );
            return None;
        }
        let header = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).ok();
        if header.is_none() {
            problems.error(at, "is no header's name", "write \"X-Country\"");
        }
        header
    }

    fn cloud_cdn(&self, table: &table::CloudCdn, problems: &mut Problems) -> Option<cloud_cdn::CloudCdn> {
        self.needs_public(&table.at, problems);
        let keys = self.texts(&table.at, table.keys.as_deref(), problems);
        let mut parsed = Vec::new();
        for (at, name, text, until) in keys? {
            let is_word = name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !is_word {
                problems.error(
                    format!("{at}.name"),
                    "is no name of a key of Cloud CDN",
                    "small letters, digits and -",
                );
            }
            match cloud_cdn::Key::parse(&text) {
                Ok(key) => parsed.push((name, key, until)),
                Err(what) => problems.error(format!("{at}.secret"), what, "as `gcloud` takes it: --key-file"),
            }
        }
        let cookie = self.cookie(&format!("{}.cookie", table.at), &table.cookie, problems);
        let good = !problems.has_error_below(&table.at);
        good.then(|| {
            cloud_cdn::CloudCdn::new(cloud_cdn::Rules {
                cookie,
                ..cloud_cdn::Rules::new(NamedKeys::new(parsed), Arc::clone(&self.log_key))
            })
        })
    }

    /// Reports a list of nothing, which would read as "anything".
    fn not_empty(&self, at: &str, texts: Option<&Texts>, problems: &mut Problems) {
        if texts.is_some_and(|texts| texts.0.is_empty() || texts.0.iter().any(String::is_empty)) {
            problems.error(at, "is empty", "name what tokens have to say, or leave it out");
        }
    }

    /// The names in a list, each of which `is_name`.
    fn names(
        &self,
        list: &[At<String>],
        is_name: impl Fn(&str) -> bool,
        what: &str,
        problems: &mut Problems,
    ) -> Box<[Box<str>]> {
        for name in list {
            if !is_name(&name.value) {
                problems.error(&name.at, format!("is no {what}"), "letters, digits and -");
            }
        }
        list.iter().map(|name| name.value.as_str().into()).collect()
    }

    /// A cookie's name; none where it is empty.
    fn cookie(&self, at: &str, name: &str, problems: &mut Problems) -> Option<Box<str>> {
        if !name.is_empty() && !is_cookie_name(name) {
            problems.error(
                at,
                "is no cookie name",
                "letters, digits, - and _; empty reads no cookies",
            );
        }
        (!name.is_empty()).then(|| name.into())
    }

    /// Whether the route's files are in a folder, where no path is resolved.
    fn is_over_a_folder(&self, route: &raw::Route) -> bool {
        let built = route
            .origin
            .as_ref()
            .and_then(|name| self.parts.origins.get(name)?.as_ref());
        built.is_some_and(|built| matches!(built.origin, Origin::Folder(_)))
    }

    /// Reports a scheme that signs scheme and host where those are not known.
    fn needs_public(&self, at: &str, problems: &mut Problems) {
        if self.parts.served.public.is_none() && !problems.has("server.public_url") {
            problems.error(
                at,
                "signs scheme and host, which are not known here",
                "set server.public_url to what links start with",
            );
        }
    }
}
