//! `[origin.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};

use super::{Digest, Place, in_range, raw, s3, seconds};
use crate::config::problems::Problems;
use crate::origin::connect::Address;
use crate::origin::{
    Ejection, Folder, HealthCheck, HttpOrigin, HttpSettings, Origin, Protocol, Reach, Turns,
};
use crate::target::Target;

/// The shortest wait for an origin that makes sense.
const TENTH: Duration = Duration::from_millis(100);

/// How long an origin is waited for.
pub(super) struct Waits {
    pub(super) connect: Duration,
    pub(super) head: Duration,
    pub(super) gap: Duration,
    pub(super) idle: Duration,
}

impl Waits {
    /// Reports those that are out of range.
    pub(super) fn check(&self, table: &str, problems: &mut Problems) {
        for (key, wait, least, most) in [
            ("connect_timeout", self.connect, TENTH, 300),
            ("head_timeout", self.head, TENTH, 3600),
            ("gap_timeout", self.gap, TENTH, 3600),
            ("idle_timeout", self.idle, Duration::ZERO, 3600),
        ] {
            in_range(format!("{table}.{key}"), wait, least, seconds(most), problems);
        }
    }
}

/// Addresses of one origin.
const ADDRESSES_MAX: usize = 64;

/// More requests at a time to one address than there can be sockets.
const IN_FLIGHT_MAX: u32 = 1_000_000;

/// An origin and what routes need to know of it.
pub(super) struct Built {
    pub(super) origin: Origin,
    /// Its own host names, lower case.
    pub(super) hosts: Vec<Box<str>>,
    /// For people.
    pub(super) place: String,
}

/// All origins; `None` for one that is wrong and was reported.
pub(super) fn origins(
    file: &raw::File,
    place: &Place,
    problems: &mut Problems,
) -> BTreeMap<String, Option<Built>> {
    let one = |(name, origin): (&String, &raw::Origin)| {
        let (mut built, identity) = place.part(origin, || match origin {
            raw::Origin::Folder(folder) => self::folder(folder, place, problems),
            raw::Origin::Http(http) => self::http(name, http, place, problems),
            raw::Origin::S3(bucket) => s3::s3(name, bucket, place, problems),
        });
        if let Some(built) = &mut built {
            take_over(name, identity, built, place);
        }
        (name.clone(), built)
    };
    file.origin.iter().map(one).collect()
}

/// An origin that is made of the same things as before is the origin from before, with its connections. A changed one is
/// another, and is never given them. A folder is opened anew: its name may lead elsewhere by now.
fn take_over(name: &str, identity: Digest, built: &mut Built, place: &Place) {
    let before = place.kept.as_ref().and_then(|kept| kept.origins.get(name));
    if let (Origin::Http(_) | Origin::S3(_), Some((same, origin))) = (&built.origin, before) {
        match (&built.origin, origin) {
            _ if *same == identity => built.origin = origin.clone(),
            // No request shall wait for credentials that are there.
            (Origin::S3(new), Origin::S3(old)) => new.keys().inherit(old.keys()),
            _ => {}
        }
    }
    let made = (identity, built.origin.clone());
    place.notes.borrow_mut().origins.insert(name.to_owned(), made);
}

fn folder(folder: &raw::Folder, place: &Place, problems: &mut Problems) -> Option<Built> {
    let root = place.resolve(folder.root.as_ref()?);
    match Folder::open(&root) {
        Ok(folder) => Some(Built {
            origin: Origin::Folder(Arc::new(folder)),
            hosts: Vec::new(),
            place: format!("folder {}", root.display()),
        }),
        Err(error) => {
            let hint = "relative paths count from the configuration file's folder";
            problems.error(
                format!("{}.root", folder.at),
                format!("{} can't be opened: {error}", root.display()),
                hint,
            );
            None
        }
    }
}

fn http(name: &str, http: &raw::Http, place: &Place, problems: &mut Problems) -> Option<Built> {
    let at = |key: &str| format!("{}.{key}", http.at);
    let waits = Waits {
        connect: http.connect_timeout,
        head: http.head_timeout,
        gap: http.gap_timeout,
        idle: http.idle_timeout,
    };
    waits.check(&http.at, problems);
    let host = http.host.as_deref().map(|host| {
        let value = HeaderValue::from_str(host)
            .ok()
            .filter(|_| host.parse::<http::uri::Authority>().is_ok());
        if value.is_none() {
            problems.error(at("host"), "is no host", "write \"files.example.com\"");
        }
        value
    });
    let reach = reach(name, http, problems);
    let url = http.url.as_deref()?;
    let mut wrong = |what: &str| {
        problems.error(
            at("url"),
            what,
            "write \"http://127.0.0.1:9000\" or \"https://files.example.com/base\"",
        );
        None
    };
    let Ok(uri) = url.parse::<Uri>() else {
        return wrong("is no URL");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return wrong("is no http or https URL");
    }
    let authority = uri.authority()?.as_str().to_ascii_lowercase();
    if authority.contains('@') {
        return wrong("holds a user name or password, which would be a secret in the configuration");
    }
    if uri.query().is_some() {
        return wrong("has a query");
    }
    let base_path = match Target::parse(uri.path(), None) {
        Ok(target) => target.encoded_path().trim_end_matches('/').to_owned(),
        Err(error) => return wrong(&error.to_string()),
    };
    let ca_file = http.ca_file.as_deref().map(|path| place.resolve(path));
    if let Some(path) = &ca_file {
        place.note(path);
    }
    if ca_file.is_some() && uri.scheme_str() == Some("http") {
        problems.warn(
            at("ca_file"),
            "means nothing for an http URL",
            "write https, or take it out",
        );
    }
    let address = match Address::parse(&uri, ca_file.as_deref()) {
        Ok(address) => address,
        Err(what) => {
            let key = if ca_file.is_some() { "ca_file" } else { "url" };
            problems.error(at(key), what, "");
            return None;
        }
    };
    let host = match host {
        Some(host) => host?,
        None => HeaderValue::from_str(&authority).ok()?,
    };
    let mut hosts: Vec<Box<str>> = vec![authority.as_str().into()];
    for name in [
        uri.host().map(str::to_ascii_lowercase),
        host.to_str().ok().map(str::to_ascii_lowercase),
    ]
    .into_iter()
    .flatten()
    {
        if !hosts.iter().any(|known| **known == *name) {
            hosts.push(name.into());
        }
    }
    let place = format!("{}://{authority}{base_path}", uri.scheme_str()?);
    let settings = HttpSettings {
        address,
        host,
        base_path,
        connect_timeout: waits.connect,
        head_timeout: waits.head,
        gap_timeout: waits.gap,
        idle_timeout: waits.idle,
        max_idle: http.max_idle,
        allow_close_delimited: http.allow_close_delimited,
    };
    Some(Built {
        origin: Origin::Http(Arc::new(HttpOrigin::with_reach(settings, reach))),
        hosts,
        place,
    })
}

/// How an HTTP origin is reached.
fn reach(name: &str, http: &raw::Http, problems: &mut Problems) -> Reach {
    let at = |key: &str| format!("{}.{key}", http.at);
    if !(1..=1000).contains(&http.max_streams) {
        problems.error(at("max_streams"), "is out of range", "1 to 1000");
    }
    if http.addresses.len() > ADDRESSES_MAX {
        problems.error(at("addresses"), "holds too many", "64 at most");
    }
    let secure = http.url.as_deref().is_some_and(|url| url.starts_with("https"));
    if http.protocol == Protocol::Auto && !secure {
        problems.warn(
            at("protocol"),
            "means HTTP/1.1 for an http URL: there is no ALPN in clear",
            "write \"http2\" where the origin speaks it in clear, or take it out",
        );
    }
    let reach = Reach {
        name: name.into(),
        addresses: http.addresses.iter().map(|address| address.value).collect(),
        resolve_interval: http.resolve_interval,
        max_in_flight: http.max_in_flight,
        max_queue: http.max_queue,
        queue_timeout: http.queue_timeout,
        ejection: Ejection {
            after: http.eject_after,
            time: http.eject_time,
            on_5xx: http.eject_on_5xx,
        },
        retry_percent: http.retry_percent,
        health: http
            .health
            .as_ref()
            .and_then(|health| self::health(health, problems)),
        protocol: http.protocol,
        max_streams: http.max_streams,
    };
    within_bounds(&http.at, reach, problems)
}

/// Reports what of the addresses' settings is out of range.
pub(super) fn within_bounds(table: &str, reach: Reach, problems: &mut Problems) -> Reach {
    for (key, time, least, most) in [
        ("resolve_interval", reach.resolve_interval, seconds(1), super::DAY),
        ("queue_timeout", reach.queue_timeout, TENTH, seconds(60)),
        ("eject_time", reach.ejection.time, TENTH, seconds(300)),
    ] {
        in_range(format!("{table}.{key}"), time, least, most, problems);
    }
    if reach.retry_percent > 100 {
        problems.error(format!("{table}.retry_percent"), "is out of range", "0 to 100");
    }
    Reach {
        max_in_flight: reach.max_in_flight.min(IN_FLIGHT_MAX),
        ..reach
    }
}

fn health(health: &raw::OriginHealth, problems: &mut Problems) -> Option<HealthCheck> {
    let at = |key: &str| format!("{}.{key}", health.at);
    let interval = in_range(at("interval"), health.interval, TENTH, seconds(3600), problems);
    let timeout = in_range(at("timeout"), health.timeout, TENTH, seconds(60), problems);
    for (key, count) in [("healthy", health.healthy), ("unhealthy", health.unhealthy)] {
        if !(1..=100).contains(&count) {
            problems.error(at(key), "is out of range", "1 to 100");
        }
    }
    let path = health.path.as_deref()?;
    let is_path = path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok();
    if !is_path {
        problems.error(at("path"), "is no path", "write \"/healthz\"");
        return None;
    }
    Some(HealthCheck {
        path: path.into(),
        interval,
        timeout,
        turns: Turns {
            healthy: health.healthy,
            unhealthy: health.unhealthy,
        },
    })
}
