//! `[media.NAME]`: what media ids mean, and which origins are asked whether they mean anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Place, links, origins, raw};
use crate::config::problems::Problems;
use crate::media::{Entries, Media, MediaId};
use crate::origin::Origin;
use crate::target::Target;

/// All media catalogues; `None` for one that is wrong and was reported.
pub(super) fn catalogues(
    file: &raw::File,
    place: &Place,
    problems: &mut Problems,
) -> BTreeMap<String, Option<Arc<Media>>> {
    let mut one = |media: &raw::Media| match (&media.file, &media.template, media.exists) {
        (Some(_), None, raw::Exists::Origin) => {
            problems.error(
                format!("{}.exists", media.at),
                "does not go with `file`: the catalogue knows which media there are",
                "take it out, or write a `template`",
            );
            None
        }
        (Some(path), None, _) => catalogue(
            &format!("{}.file", media.at),
            &place.resolve(path),
            place,
            problems,
        ),
        (None, Some(template), _) => template_media(&format!("{}.template", media.at), template, problems),
        (Some(_), Some(_), _) => {
            problems.error(&media.at, "has both `file` and `template`", "keep one of them");
            None
        }
        (None, None, _) => {
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

/// The origins that are asked whether a medium is there, by the names of the catalogues.
pub(super) fn asked(
    file: &raw::File,
    origins: &BTreeMap<String, Option<origins::Built>>,
    problems: &mut Problems,
) -> BTreeMap<String, Origin> {
    let mut all = BTreeMap::new();
    for (name, media) in &file.media {
        let at = format!("{}.origin", media.at);
        match (media.exists, &media.origin) {
            (raw::Exists::Any, None) => {}
            (raw::Exists::Any, Some(_)) => problems.error(
                at,
                "means nothing: no origin is asked",
                "add `exists = \"origin\"`, or take it out",
            ),
            (raw::Exists::Origin, None) => {
                if !problems.has(&at) {
                    problems.error(at, "is missing: nobody knows whom to ask", "name an origin");
                }
            }
            (raw::Exists::Origin, Some(origin)) => {
                if !origins.contains_key(origin) && !problems.has(&format!("origin.{origin}")) {
                    links::unknown(&at, "origin", "origin", origin, problems);
                }
                if let Some(Some(built)) = origins.get(origin) {
                    all.insert(name.clone(), built.origin.clone());
                }
            }
        }
    }
    all
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
    let parsed: Result<Entries, (Option<usize>, String)> = if json {
        serde_json::from_str(&text).map_err(|error| (Some(error.line()), error.to_string()))
    } else {
        toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start].matches('\n').count() + 1);
            (line, error.message().trim().replace('\n', ", "))
        })
    };
    let Entries(all) = match parsed {
        Ok(all) => all,
        Err((line, what)) => {
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            problems.error(
                at,
                format!("{}{line}: {what}", path.display()),
                "each id is a table with file, name, type, folder, owner",
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
