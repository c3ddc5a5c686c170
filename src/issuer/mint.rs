//! Rules and minting: which caller may have which scope, for how long, how often; never more than its own right.
//! In: what a dialect parsed. Out: claims that a rule allows. Knows no wire shape.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::caller::Caller;
use super::refusal::{IssueRefusal, Violation};
use crate::clock::UnixTime;
use crate::media::Medium;
use crate::token::scope::{MAX_PATTERNS, ScopeTemplate};
use crate::token::{Claims, Methods, Opens, Scope, TokenId};

/// The longest file name, in bytes: what file systems take.
const MAX_FILENAME_BYTES: usize = 255;
/// The most parameters, networks and their longest texts that one token carries.
const MAX_ITEMS: usize = 32;
const MAX_TEXT_BYTES: usize = 1024;

/// What a caller may have.
#[derive(Debug)]
pub struct Rule {
    /// The caller's subject; `None` is any.
    pub caller: Option<Box<str>>,
    /// The scope value that the caller's bearer must carry (`scope`, space-separated), as `media:read`.
    pub requires: Box<str>,
    /// What its tokens may open; `{sub}` is the caller's subject.
    pub paths: Vec<ScopeTemplate>,
    /// The methods its tokens may be good for.
    pub methods: Methods,
    /// The longest life of a token.
    pub max_ttl: Duration,
    /// The life of a token where the caller names none.
    pub default_ttl: Duration,
    /// Tokens per minute and caller; `None` is no limit.
    pub per_minute: Option<u32>,
    /// Folders of the catalogue whose media it may hand out; `None` is all.
    pub folders: Option<Box<[Box<str>]>>,
    /// Whether only media that the caller owns (`owner` = its subject) may be handed out.
    pub own_media_only: bool,
    /// Whether a token may name another subject than the caller's own.
    pub any_subject: bool,
}

/// What a caller asks for, as a dialect read it.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Path patterns.
    pub paths: Vec<String>,
    /// Its life; the rule's usual one where absent.
    pub ttl: Option<Duration>,
    /// The first moment at which it is valid.
    pub not_before: Option<UnixTime>,
    /// Whom it is for; the caller itself where absent.
    pub subject: Option<String>,
    /// The methods; the route's where absent.
    pub methods: Option<Vec<String>>,
    /// Client addresses and networks.
    pub addresses: Vec<String>,
    /// The name to save the file under.
    pub filename: Option<String>,
    /// Forced parameters.
    pub parameters: Vec<(String, String)>,
}

/// The rule that decides for a caller: the first that is for it and whose scope its bearer carries.
///
/// # Errors
/// `NotAllowed` where there is none.
pub fn rule<'r>(rules: &'r [Rule], caller: &Caller) -> Result<&'r Rule, IssueRefusal> {
    rules
        .iter()
        .find(|rule| {
            rule.caller
                .as_deref()
                .is_none_or(|subject| subject == caller.subject())
                && caller.may(&rule.requires)
        })
        .ok_or(IssueRefusal::NotAllowed("No rule allows this caller any token."))
}

/// The claims of a token for paths.
///
/// # Errors
/// `Unprocessable` with all that the rule does not allow or no token can say.
pub fn for_paths(
    rule: &Rule,
    caller: &Caller,
    wanted: &Wanted,
    now: UnixTime,
) -> Result<Claims, IssueRefusal> {
    let mut violations = Vec::new();
    let scope = scope(rule, caller, &wanted.paths, &mut violations);
    let claims = Claims {
        subject: Some(subject(rule, caller, wanted, &mut violations).into()),
        not_before: wanted.not_before,
        expires: Some(expires(rule, wanted, now, &mut violations)),
        scope: Some(Scope(scope.into())),
        methods: methods(rule, wanted, &mut violations),
        addresses: addresses(wanted, &mut violations),
        filename: wanted
            .filename
            .as_deref()
            .and_then(|name| filename(name, &mut violations)),
        parameters: parameters(wanted, &mut violations),
        ..Claims::empty(TokenId([0; 8]))
    };
    if violations.is_empty() {
        Ok(claims)
    } else {
        Err(IssueRefusal::Unprocessable(violations))
    }
}

/// The claims of a token for one medium. `medium` is what the catalogue knows of it.
///
/// # Errors
/// `Unprocessable` for a folder that the rule does not name; `NotFound` for a medium of somebody else, which looks like
/// none.
pub fn for_media(
    rule: &Rule,
    caller: &Caller,
    id: &str,
    medium: Option<&Medium>,
    ttl: Duration,
    now: UnixTime,
) -> Result<Claims, IssueRefusal> {
    let owner = medium.and_then(|medium| medium.owner.as_deref());
    if rule.own_media_only && owner != Some(caller.subject()) {
        return Err(IssueRefusal::NotFound("There is no such medium."));
    }
    if let Some(folders) = &rule.folders {
        let folder = medium.and_then(|medium| medium.folder.as_deref());
        if !folder.is_some_and(|folder| folders.iter().any(|allowed| **allowed == *folder)) {
            return Err(IssueRefusal::violation(
                "id",
                "The medium is in a folder that this caller may not hand out.",
            ));
        }
    }
    Ok(Claims {
        subject: Some(caller.subject().into()),
        expires: Some(now.after(ttl.min(rule.max_ttl))),
        scope: Some(Scope(Box::new([Opens::MediaId(id.into())]))),
        filename: medium.and_then(|medium| filename(medium.file_name(), &mut Vec::new())),
        ..Claims::empty(TokenId([0; 8]))
    })
}

fn scope(rule: &Rule, caller: &Caller, paths: &[String], violations: &mut Vec<Violation>) -> Vec<Opens> {
    // A template whose claim the caller lacks allows nothing.
    let allowed: Vec<Opens> = rule
        .paths
        .iter()
        .filter_map(|template| template.fill(caller.claims()).ok())
        .collect();
    if paths.is_empty() || paths.len() > MAX_PATTERNS {
        violations.push(Violation::new(
            "paths",
            "Between 1 and 64 path patterns are needed.",
        ));
        return Vec::new();
    }
    let mut scope = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        match Opens::parse(path) {
            Err(bad) => violations.push(Violation::of_item("paths", at, bad.to_string())),
            Ok(opens) if !allowed.iter().any(|allowed| allowed.covers(&opens)) => {
                violations.push(Violation::of_item(
                    "paths",
                    at,
                    "This is more than the caller may have.",
                ));
            }
            Ok(opens) => scope.push(opens),
        }
    }
    scope
}

fn subject<'w>(
    rule: &Rule,
    caller: &'w Caller,
    wanted: &'w Wanted,
    violations: &mut Vec<Violation>,
) -> &'w str {
    let subject = wanted.subject.as_deref().unwrap_or_else(|| caller.subject());
    if subject != caller.subject() && !rule.any_subject {
        violations.push(Violation::new("sub", "This caller may ask for itself only."));
    }
    if subject.is_empty() || subject.len() > MAX_TEXT_BYTES || subject.chars().any(char::is_control) {
        violations.push(Violation::new(
            "sub",
            "A subject has 1 to 1024 bytes and no control characters.",
        ));
    }
    subject
}

fn expires(rule: &Rule, wanted: &Wanted, now: UnixTime, violations: &mut Vec<Violation>) -> UnixTime {
    let ttl = wanted.ttl.unwrap_or(rule.default_ttl);
    if ttl > rule.max_ttl || ttl.is_zero() {
        let message = format!("Between 1 and {} seconds are allowed.", rule.max_ttl.as_secs());
        violations.push(Violation {
            property: "expires_in".into(),
            message: message.into(),
        });
    }
    let expires = now.after(ttl);
    if wanted.not_before.is_some_and(|start| start >= expires) {
        violations.push(Violation::new("not_before", "The token would never be valid."));
    }
    expires
}

fn methods(rule: &Rule, wanted: &Wanted, violations: &mut Vec<Violation>) -> Option<Methods> {
    let Some(names) = &wanted.methods else {
        // A token that names none is good for all that its route serves: say what the rule means.
        return Some(rule.methods);
    };
    match Methods::parse(names.iter().map(String::as_str)) {
        Ok(methods) if !names.is_empty() && rule.methods.covers(methods) => return Some(methods),
        Ok(_) => violations.push(Violation::new(
            "methods",
            "None, or more than the caller may have.",
        )),
        Err(_) => violations.push(Violation::new(
            "methods",
            "GET, HEAD, PUT, POST, DELETE or PATCH.",
        )),
    }
    None
}

fn addresses(wanted: &Wanted, violations: &mut Vec<Violation>) -> Option<Box<[IpNet]>> {
    if wanted.addresses.len() > MAX_ITEMS {
        violations.push(Violation::new("ips", "At most 32 addresses or networks."));
    }
    let mut all = Vec::new();
    for (at, text) in wanted.addresses.iter().take(MAX_ITEMS).enumerate() {
        let parsed = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match parsed {
            Ok(net) => all.push(net),
            Err(_) => violations.push(Violation::of_item("ips", at, "Not an address or network.")),
        }
    }
    (!all.is_empty()).then(|| all.into())
}

/// A name that can be saved under, and that fits into a header.
fn filename(name: &str, violations: &mut Vec<Violation>) -> Option<Box<str>> {
    let bad = name.is_empty()
        || name.len() > MAX_FILENAME_BYTES
        || matches!(name, "." | "..")
        || name.contains(['/', '\\'])
        || name.chars().any(char::is_control);
    if bad {
        let message = "A file name has 1 to 255 bytes, no slashes and no control characters.";
        violations.push(Violation::new("filename", message));
        return None;
    }
    Some(name.into())
}

fn parameters(wanted: &Wanted, violations: &mut Vec<Violation>) -> Box<[(Box<str>, Box<str>)]> {
    let too_long = |text: &String| text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control);
    if wanted.parameters.len() > MAX_ITEMS
        || wanted
            .parameters
            .iter()
            .any(|(name, value)| name.is_empty() || too_long(name) || too_long(value))
    {
        violations.push(Violation::new(
            "args",
            "At most 32 parameters of 1024 bytes each, without control characters.",
        ));
        return Box::default();
    }
    wanted
        .parameters
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
        .collect()
}

#[cfg(test)]
mod tests;
