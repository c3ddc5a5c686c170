//! How a route's targets become the origin's: `strip_prefix`, `to`, `media`.

use super::routes::Parts;
use super::{links, raw};
use crate::config::problems::Problems;
use crate::gate::route::{Mapping, RouteTemplate, TARGET};
use crate::target::Target;

pub(super) fn mapping(
    raw: &raw::Route,
    parts: &Parts<'_>,
    variables: &[String],
    has_path_carrier: bool,
    prefix: Option<&str>,
    named: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<Mapping> {
    let at = |key: &str| format!("{}.{key}", raw.at);
    let chosen: Vec<&str> = [
        ("strip_prefix", raw.strip_prefix),
        ("to", raw.to.is_some()),
        ("media", raw.media.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, there)| there.then_some(key))
    .collect();
    if chosen.len() > 1 {
        problems.error(
            at(chosen[1]),
            format!("does not go with `{}`", chosen[0]),
            "one of strip_prefix, to and media says how paths are mapped",
        );
    }
    let templated = raw.path.as_deref().is_some_and(RouteTemplate::is_one);
    if templated && (raw.strip_prefix || raw.media.is_some()) {
        let key = if raw.strip_prefix { "strip_prefix" } else { "media" };
        problems.error(
            at(key),
            "does not go with a path that has variables",
            "say with `to` where its files are",
        );
    }
    if let Some(name) = &raw.media {
        if !parts.media.contains_key(name) && !problems.has(&format!("media.{name}")) {
            links::unknown(&at("media"), "media catalogue", "media", name, problems);
        }
        if raw.carriers.is_some()
            && (!has_path_carrier || !variables.iter().any(|variable| variable == "id"))
            && !problems.has_error_below(&at("carriers"))
        {
            problems.error(
                at("media"),
                "needs a path carrier with {id}",
                "add { path = \"/media/{id}/download/{token}\" } to carriers",
            );
        }
        return parts.media.get(name)?.clone().map(Mapping::Media);
    }
    if let Some(to) = &raw.to {
        let hint = "write \"/files/{id}\": path variables and text claims in braces, each a segment or a part of one";
        let mut sample = String::new();
        let mut rest = to.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            sample.push_str(before);
            sample.push('x');
            let Some((name, behind)) = after.split_once('}') else {
                problems.error(at("to"), "has a brace that is not closed", hint);
                return None;
            };
            if name == TARGET && variables.iter().any(|variable| variable == TARGET) {
                problems.error(
                    at("to"),
                    "names {target}, which is the whole path and a variable of it",
                    "call the variable something else",
                );
                return None;
            }
            if name == TARGET {
                // The whole target, slashes and all, instead of a segment.
                sample.truncate(sample.len() - 1);
                if sample.ends_with('/') {
                    problems.error(
                        at("to"),
                        "has a slash before {target}, which begins with one",
                        "write \"/{sub}{target}\"",
                    );
                    return None;
                }
                sample.push_str("/x");
            } else if !variables.iter().any(|variable| variable == name) {
                if name == "id" {
                    problems.error(
                        at("to"),
                        "names {id}, which neither the route's path nor a path carrier of it has",
                        "add { path = \"/…/{id}/…/{token}\" } to carriers",
                    );
                    return None;
                }
                if !links::claim_name(&at("to"), name, problems) {
                    return None;
                }
                if has_path_carrier {
                    problems.warn(
                        at("to"),
                        format!("{{{name}}} is no variable of a path carrier, so it is the token's claim"),
                        "",
                    );
                }
                named.push(name.to_owned());
            }
            rest = behind;
        }
        sample.push_str(rest);
        if sample.contains(['}', '?', '#', '*']) {
            problems.error(at("to"), "holds more than a path", hint);
            return None;
        }
        if let Err(error) = Target::parse(&sample, None) {
            problems.error(at("to"), error.to_string(), hint);
            return None;
        }
        return Some(Mapping::Template(to.as_str().into()));
    }
    if raw.strip_prefix && prefix == Some("") {
        problems.warn(
            at("strip_prefix"),
            "does nothing: the route's path is /",
            "take it out",
        );
    }
    Some(if raw.strip_prefix {
        Mapping::StripPrefix
    } else {
        Mapping::Same
    })
}
