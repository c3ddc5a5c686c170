//! `[route.scheme.cat]`: Common Access Tokens.

use std::sync::Arc;

use http::HeaderName;

use super::{Reading, table};
use crate::config::algorithm_name;
use crate::config::build::carriers::{is_cookie_name, is_parameter_name};
use crate::config::build::{DAY, in_range, seconds};
use crate::config::problems::Problems;
use crate::config::values::Texts;
use crate::token::scheme::signed::NamedKeys;
use crate::token::scheme::signed::cat::{Algorithm, Cat, CatKey, Labels, Renewals, Rules};

impl Reading<'_> {
    pub(super) fn cat(&self, table: &table::Cat, problems: &mut Problems) -> Option<Cat> {
        let at = |key: &str| format!("{}.{key}", table.at);
        let keys = self.cat_keys(table, problems);
        let texts = |texts: &Option<Texts>| -> Box<[Box<str>]> {
            let all = texts.iter().flat_map(|texts| &texts.0);
            all.map(|text| text.as_str().into()).collect()
        };
        for (key, texts) in [("issuer", &table.issuer), ("audience", &table.audience)] {
            self.not_empty(&at(key), texts.as_ref(), problems);
        }
        if table.audience_required && table.audience.is_none() && !problems.has(&at("audience")) {
            problems.error(at("audience_required"), "needs audiences", "add audience = \"…\"");
        }
        let mut headers = Vec::new();
        for name in &table.headers {
            match HeaderName::from_bytes(name.value.to_ascii_lowercase().as_bytes()) {
                Ok(header) => headers.push(header),
                Err(_) => problems.error(&name.at, "is no header's name", "letters, digits and -"),
            }
        }
        let cookies = self.names(&table.cookies, is_cookie_name, "cookie name", problems);
        let queries = self.names(&table.queries, is_parameter_name, "parameter name", problems);
        if headers.is_empty() && cookies.is_empty() && queries.is_empty() && !table.path_segment {
            problems.error(
                &table.at,
                "has no place for its token",
                "headers, cookies, queries or path_segment",
            );
        }
        let mut labels = Labels::default();
        for (name, number) in &table.labels {
            match labels.clone().with(name, *number) {
                Ok(more) => labels = more,
                Err(bad) => problems.error(
                    at(&format!("labels.{name}")),
                    bad.to_string(),
                    "such as { catu = 401 }",
                ),
            }
        }
        let renewal = in_range(at("renewal"), table.renewal, seconds(0), 366 * DAY, problems);
        let is_value = |letter: u8| letter == b' ' || letter.is_ascii_graphic();
        if !table.renewal_cookie.bytes().all(is_value) {
            problems.error(
                at("renewal_cookie"),
                "can't be in a header",
                "\"Path=/; Secure; HttpOnly\"",
            );
        }
        let max_lifetime = table
            .max_lifetime
            .map(|life| in_range(at("max_lifetime"), life, seconds(1), 3660 * DAY, problems));
        let good = !problems.has_error_below(&table.at);
        Some(Cat::new(Rules {
            issuers: texts(&table.issuer),
            audiences: texts(&table.audience),
            audience_required: table.audience_required,
            max_lifetime,
            headers: headers.into(),
            cookies,
            queries,
            path_segment: table.path_segment,
            labels,
            ignored: table.ignored.clone().into(),
            renewals: (!renewal.is_zero()).then(|| Renewals {
                longest: renewal,
                cookie: table.renewal_cookie.as_str().into(),
            }),
            ..Rules::new(keys.filter(|_| good)?, Arc::clone(&self.log_key))
        }))
    }

    fn cat_keys(&self, table: &table::Cat, problems: &mut Problems) -> Option<NamedKeys<CatKey>> {
        let keys = self.named(&table.at, table.keys.as_deref()?, problems)?;
        let mut all = Vec::new();
        for key in keys {
            let at = format!("{}.alg", key.at);
            let known = key.alg.map(|alg| Algorithm::parse(algorithm_name(alg)));
            let Some(Some(algorithm)) = known else {
                if known.is_some() || !problems.has(&at) {
                    let what = if known.is_some() {
                        "is none of these tokens"
                    } else {
                        "missing"
                    };
                    problems.error(at, what, "HS256, ES256, ES384 or PS256");
                }
                continue;
            };
            let material = match algorithm {
                Algorithm::Hmac256 => self.secret(key, problems),
                _ => self.pair(key, problems),
            };
            let Some((at, material)) = material else { continue };
            match CatKey::build(algorithm, &material) {
                Ok(built) => all.push((key.name.as_deref().unwrap_or_default().into(), built, key.until)),
                Err(error) => problems.error(at, error.to_string(), ""),
            }
        }
        (all.len() == keys.len()).then(|| NamedKeys::new(all))
    }
}
