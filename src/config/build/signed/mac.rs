//! `[route.scheme.mac]`: a product's settings, or an operator's own, changed by what the table says.

use std::sync::Arc;
use std::time::Duration;

use super::{Reading, table};
use crate::config::build::{DAY, in_range, raw, seconds};
use crate::config::problems::{Problems, nearest};
use crate::config::values::{TimeForm, TimeMeaning};
use crate::token::scheme::signed::mac::presets::{PRESETS, Preset, SecretText};
use crate::token::scheme::signed::mac::{
    self, Algorithm, Early, Layout, Mac, Pattern, Rules, Time, TimeText,
};

/// How long a link is good that says when it was issued, where nobody says it.
const TTL: Duration = Duration::from_secs(300);

impl Reading<'_> {
    pub(super) fn mac(
        &self,
        table: &table::MacScheme,
        route: &raw::Route,
        problems: &mut Problems,
    ) -> Option<Mac> {
        let at = |key: &str| format!("{}.{key}", table.at);
        let preset = match &table.preset {
            Some(name) => Some(preset(&at("preset"), name, problems)?),
            None => None,
        };
        let mut keys = Vec::new();
        for (at, name, secret, until) in self.texts(&table.at, table.keys.as_deref(), problems)? {
            let bare = table
                .keys
                .iter()
                .flatten()
                .any(|key| key.at == at && !problems.has(&format!("{at}.encoding")));
            let base64 = preset.is_some_and(|preset| matches!(preset.secret, SecretText::Base64));
            match base64 && bare {
                true => problems.error(
                    format!("{at}.encoding"),
                    "missing: this product hands its keys out in Base64",
                    "encoding = \"base64\", or \"text\" where it is the text itself",
                ),
                false => keys.push((name, secret, until)),
            }
        }
        let keys = super::NamedKeys::new(keys);
        let algorithm = match &table.algorithm {
            Some(name) => {
                let known = Algorithm::parse(name);
                if known.is_none() {
                    problems.error(
                        at("algorithm"),
                        "is none that is known",
                        "md5, sha1, sha256, hmac-sha256 …",
                    );
                }
                Some(known?)
            }
            None => None,
        };
        let pattern = match &table.pattern {
            Some(text) => match Pattern::parse(text) {
                Ok(pattern) => Some(pattern),
                Err(bad) => {
                    problems.error(
                        at("pattern"),
                        bad.to_string(),
                        "such as \"{expires}{path}{ip} {secret}\"",
                    );
                    return None;
                }
            },
            None => None,
        };
        let place = match &table.place {
            Some(text) => match Layout::parse(text) {
                Ok(place) => Some(place),
                Err(bad) => {
                    problems.error(
                        at("place"),
                        bad.to_string(),
                        "such as \"?md5={mac}&expires={expires}\"",
                    );
                    return None;
                }
            },
            None => None,
        };
        let base = match preset {
            Some(preset) => {
                let base = preset.rules(keys, Arc::clone(&self.log_key));
                Rules {
                    algorithm: algorithm.unwrap_or(preset.algorithm),
                    ..base
                        .map_err(|bad| problems.error(at("preset"), bad.to_string(), ""))
                        .ok()?
                }
            }
            None => {
                for (key, there) in [
                    ("algorithm", table.algorithm.is_some()),
                    ("pattern", table.pattern.is_some()),
                    ("place", table.place.is_some()),
                    ("encoding", table.encoding.is_some()),
                ] {
                    if !there && !problems.has(&at(key)) {
                        problems.error(at(key), "missing, and there is no `preset`", "see docs/CONFIG.md");
                    }
                }
                let (pattern, place) = (pattern.clone()?, place.clone()?);
                Rules::new(
                    algorithm?,
                    pattern,
                    table.encoding?.0,
                    place,
                    keys,
                    Arc::clone(&self.log_key),
                )
            }
        };
        let time = self.time(table, base.time, preset, problems);
        let over_a_folder = self.is_over_a_folder(route);
        if over_a_folder
            && table
                .reading
                .is_some_and(|reading| matches!(reading.0, mac::Reading::Resolved))
        {
            problems.error(
                at("reading"),
                "resolves dot segments, which is never over a folder",
                "take it out",
            );
        }
        let reading = match table.reading {
            Some(reading) => reading.0,
            None if over_a_folder => mac::Reading::Strict,
            None => base.reading,
        };
        let place = place.unwrap_or(base.place);
        let place = self.below_route(table, place, route, problems)?;
        let rules = Rules {
            pattern: pattern.unwrap_or(base.pattern),
            place,
            encoding: table.encoding.map_or(base.encoding, |text| text.0),
            time: time?,
            equal_is_valid: table.equal_is_valid.unwrap_or(base.equal_is_valid),
            without_expiry: table.without_expiry,
            touching: table.touching,
            reading,
            arguments: table.arguments.map_or(base.arguments, |arguments| arguments.0),
            last: table.last.unwrap_or(base.last),
            statuses: table.over.map_or(base.statuses, |over| over.0),
            ..base
        };
        if rules.without_expiry && rules.time == Time::Absent {
            problems.warn(
                at("without_expiry"),
                "lets links live until their key is gone",
                "only where they always did",
            );
        }
        let built =
            Mac::build(rules).map_err(|bad| problems.error(&table.at, bad.to_string(), "see docs/CONFIG.md"));
        built.ok().filter(|_| !problems.has_error_below(&table.at))
    }

    /// The place of a token in the path lies below the route's; a preset's is put there.
    fn below_route(
        &self,
        table: &table::MacScheme,
        place: Layout,
        route: &raw::Route,
        problems: &mut Problems,
    ) -> Option<Layout> {
        let path = route.path.as_deref().unwrap_or("/").trim_end_matches('/');
        if !place.is_in_path() || place.marker().is_some() || path.is_empty() {
            return Some(place);
        }
        let at = format!("{}.place", table.at);
        if let Some(text) = &table.place {
            let below = text.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
            if !below {
                problems.error(
                    at,
                    "does not lie below the route's path, so that no request matches it",
                    format!("it has to begin with {path}"),
                );
            }
            return below.then_some(place);
        }
        let own = table
            .preset
            .as_deref()
            .and_then(Preset::named)
            .map_or("", |preset| preset.place);
        Layout::parse(&format!("{path}{own}"))
            .map_err(|bad| problems.error(at, bad.to_string(), "a `place` below the route's path"))
            .ok()
    }

    fn time(
        &self,
        table: &table::MacScheme,
        base: Time,
        preset: Option<&Preset>,
        problems: &mut Problems,
    ) -> Option<Time> {
        let at = |key: &str| format!("{}.{key}", table.at);
        let ahead = i16::try_from(table.ahead_of_utc)
            .ok()
            .filter(|ahead| ahead.abs() <= 24 * 60);
        if ahead.is_none() {
            problems.error(at("ahead_of_utc"), "is no clock's", "minutes: 480 for China");
        }
        let text = match table.time_text {
            None => base.text().unwrap_or(TimeText::Seconds),
            Some(TimeForm::Seconds) => TimeText::Seconds,
            Some(TimeForm::Hex) => TimeText::Hex,
            Some(TimeForm::Millis) => TimeText::Millis,
            Some(TimeForm::Minutes) => TimeText::Minutes { ahead_of_utc: ahead? },
            Some(TimeForm::Rfc3339) => TimeText::Rfc3339,
        };
        let ttl = table
            .ttl
            .map(|ttl| in_range(at("ttl"), ttl, seconds(1), 3660 * DAY, problems));
        let early = match table.early {
            Some(true) => Early::Allowed,
            Some(false) => Early::Refused,
            None => match base {
                Time::Issued { early, .. } => early,
                _ => Early::Refused,
            },
        };
        let own = ttl.unwrap_or(TTL);
        let time = match (table.time, base) {
            (None, Time::Absent) => Time::Absent,
            (None, Time::Expires(_)) | (Some(TimeMeaning::Expires), _) => Time::Expires(text),
            (None, Time::Issued { ttl: usual, .. }) => Time::Issued {
                text,
                ttl: ttl.unwrap_or(usual),
                early,
            },
            (None, Time::Window { timeout, .. }) => Time::Window {
                text,
                timeout: ttl.unwrap_or(timeout),
            },
            (None, Time::Lifetime(_)) | (Some(TimeMeaning::Lifetime), _) => Time::Lifetime(text),
            (Some(TimeMeaning::Issued), _) => Time::Issued {
                text,
                ttl: own,
                early,
            },
            (Some(TimeMeaning::Window), _) => Time::Window { text, timeout: own },
            (Some(TimeMeaning::Absent), _) => Time::Absent,
        };
        let lasts = matches!(time, Time::Issued { .. } | Time::Window { .. });
        let asks = preset.is_some_and(|preset| preset.lasts_as_configured) || table.time.is_some();
        if lasts && asks && ttl.is_none() && !problems.has(&at("ttl")) {
            problems.error(
                at("ttl"),
                "missing: links say when they were issued, not how long they are good",
                "ttl = \"30m\"",
            );
        }
        if !lasts && ttl.is_some() {
            problems.error(
                at("ttl"),
                "means nothing here: links say themselves when they end",
                "take it out",
            );
        }
        Some(time)
    }
}

fn preset(at: &str, name: &str, problems: &mut Problems) -> Option<&'static Preset> {
    let found = Preset::named(name);
    if found.is_none() {
        let names: Vec<&str> = PRESETS.iter().map(Preset::short).collect();
        let hint = match nearest(name, &names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("one of: {}", names.join(", ")),
        };
        problems.error(at, format!("there is no preset {name:?}"), hint);
    }
    found
}
