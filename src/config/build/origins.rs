//! `[origin.NAME]` and `[media.NAME]`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::{HeaderValue, Uri};

use super::{Digest, Place, in_range, raw, seconds};
use crate::config::problems::Problems;
use crate::media::{Media, MediaId, Medium};
use crate::origin::connect::Address;
use crate::origin::{
    Ejection, Folder, HealthCheck, HttpOrigin, HttpSettings, Origin, Protocol, Reach, Turns,
};
use crate::target::Target;

/// The shortest wait for an origin that makes sense.
const TENTH: std::time::Duration = std::time::Duration::from_millis(100);

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
    if let (Origin::Http(_), Some((same, origin))) = (&built.origin, before)
        && *same == identity
    {
        built.origin = origin.clone();
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
    let connect_timeout = in_range(
        at("connect_timeout"),
        http.connect_timeout,
        TENTH,
        seconds(300),
        problems,
    );
    let head_timeout = in_range(
        at("head_timeout"),
        http.head_timeout,
        TENTH,
        seconds(3600),
        problems,
    );
    let gap_timeout = in_range(
        at("gap_timeout"),
        http.gap_timeout,
        TENTH,
        seconds(3600),
        problems,
    );
    let idle_timeout = in_range(
        at("idle_timeout"),
        http.idle_timeout,
        seconds(0),
        seconds(3600),
        problems,
    );
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
        connect_timeout,
        head_timeout,
        gap_timeout,
        idle_timeout,
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
    let resolve_interval = in_range(
        at("resolve_interval"),
        http.resolve_interval,
        seconds(1),
        super::DAY,
        problems,
    );
    let queue_timeout = in_range(
        at("queue_timeout"),
        http.queue_timeout,
        TENTH,
        seconds(60),
        problems,
    );
    let eject_time = in_range(at("eject_time"), http.eject_time, TENTH, seconds(300), problems);
    if http.retry_percent > 100 {
        problems.error(at("retry_percent"), "is out of range", "0 to 100");
    }
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
    Reach {
        name: name.into(),
        addresses: http.addresses.iter().map(|address| address.value).collect(),
        resolve_interval,
        max_in_flight: http.max_in_flight.min(IN_FLIGHT_MAX),
        max_queue: http.max_queue,
        queue_timeout,
        ejection: Ejection {
            after: http.eject_after,
            time: eject_time,
            on_5xx: http.eject_on_5xx,
        },
        retry_percent: http.retry_percent,
        health: http
            .health
            .as_ref()
            .and_then(|health| self::health(health, problems)),
        protocol: http.protocol,
        max_streams: http.max_streams,
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

/// All media catalogues; `None` for one that is wrong and was reported.
pub(super) fn media(
    file: &raw::File,
    place: &Place,
    problems: &mut Problems,
) -> BTreeMap<String, Option<Arc<Media>>> {
    let mut one = |media: &raw::Media| match (&media.file, &media.template) {
        (Some(path), None) => catalogue(
            &format!("{}.file", media.at),
            &place.resolve(path),
            place,
            problems,
        ),
        (None, Some(template)) => template_media(&format!("{}.template", media.at), template, problems),
        (Some(_), Some(_)) => {
            problems.error(&media.at, "has both `file` and `template`", "keep one of them");
            None
        }
        (None, None) => {
            if !problems.has(&format!("{}.file", media.at))
                && !problems.has(&format!("{}.template", media.at))
            {
                problems.error(
                    &media.at,
                    "has neither `file` nor `template`",
                    "add `template = \"/files/{id}\"`, or a catalogue",
                );
            }
            None
        }
    };
    file.media
        .iter()
        .map(|(name, media)| (name.clone(), one(media).map(Arc::new)))
        .collect()
}

fn template_media(at: &str, template: &str, problems: &mut Problems) -> Option<Media> {
    let filled = template.replace("{id}", "0");
    if template.matches("{id}").count() != 1 || filled.contains(['{', '}', '?', '#']) {
        problems.error(
            at,
            "does not name `{id}` exactly once, or holds more than a path",
            "write \"/files/{id}\"",
        );
        return None;
    }
    if let Err(error) = Target::parse(&filled, None) {
        problems.error(at, error.to_string(), "write \"/files/{id}\"");
        return None;
    }
    Some(Media::Template(template.into()))
}

fn catalogue(at: &str, path: &std::path::Path, place: &Place, problems: &mut Problems) -> Option<Media> {
    place.note(path);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.error(
                at,
                format!("{} can't be read: {error}", path.display()),
                "relative paths count from the configuration file's folder",
            );
            return None;
        }
    };
    let json = path.extension().is_some_and(|ending| ending == "json");
    let parsed: Result<HashMap<Box<str>, Medium>, (Option<usize>, String)> = if json {
        serde_json::from_str(&text).map_err(|error| (Some(error.line()), error.to_string()))
    } else {
        toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start].matches('\n').count() + 1);
            (line, error.message().trim().replace('\n', ", "))
        })
    };
    let all = match parsed {
        Ok(all) => all,
        Err((line, what)) => {
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            problems.error(
                at,
                format!("{}{line}: {what}", path.display()),
                "each id is a table with file, name, folder, owner",
            );
            return None;
        }
    };
    let mut good = true;
    for (id, medium) in &all {
        let file = &*medium.file;
        let wrong = if MediaId::parse(id).is_err() {
            Some("is no media id: one path segment of at most 128 bytes".to_owned())
        } else if !file.starts_with('/') {
            Some(format!("file {file:?} does not start with a slash"))
        } else if file
            .split('/')
            .skip(1)
            .any(|segment| crate::target::encode_segment(segment).is_err())
        {
            Some(format!("file {file:?} is no path to a file"))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            good = false;
            problems.error(at, format!("{}: {id:?}: {wrong}", path.display()), "");
        }
    }
    good.then_some(Media::Catalogue(all))
}
