//! Finds tokens and signatures in the query, the path and the cookies, and takes them out.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use smallvec::smallvec;

use super::{COOKIE, FOLDER, LONG, MARKER, MediaCdn, SHORT, Signatures};
use crate::token::Parts;
use crate::token::carrier::{Head, LocateError};
use crate::token::scheme::signed::query::{decode, is, one, pieces, split, values, without};
use crate::token::scheme::signed::{Place, Taken, fields};

/// The parameters of a signature, in the order of their parts.
const PARAMETERS: [&str; 4] = ["URLPrefix", "Expires", "KeyName", "Signature"];

impl MediaCdn {
    pub(super) fn find<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        let names = &self.rules.names;
        let is_token = |key: &str| names.iter().any(|name| is(key, name));
        let pairs = head.query.into_iter().flat_map(pieces).map(split);
        let token = fields::only(pairs.filter(|(key, _)| is_token(key)).map(|(_, value)| value))?;
        let looked = matches!(self.rules.signatures, Signatures::Accepted);
        let signature = if looked { in_query(head.query)? } else { None };
        let component = if looked { in_path(head.path)? } else { None };

        let query = head.query.map(|query| {
            without(query, |key| {
                is_token(key) || signature.is_some() && PARAMETERS.iter().any(|name| is(key, name))
            })
        });
        let mut path = Cow::Borrowed(head.path);
        let mut prefix = None;
        let mut found: Vec<Parts<'r>> = token
            .map(|token| fields::part(token, SHORT))
            .into_iter()
            .chain(signature)
            .collect();
        if let Some(component) = component {
            path = Cow::Owned(format!("{}{}", component.folder, component.rest));
            prefix = (component.folder == "/").then_some(Cow::Borrowed(component.segment));
            let mut parts: Parts<'r> = smallvec![Cow::Borrowed(""); FOLDER + 1];
            for (part, text) in parts
                .iter_mut()
                .rev()
                .zip([Cow::Borrowed(component.folder), component.policy])
            {
                *part = text;
            }
            found.push(parts);
        }
        let place = match found.len() {
            0 => Place::Cookie,
            1 => Place::Url,
            _ => return Err(LocateError::Ambiguous),
        };
        if found.is_empty() {
            found = self.in_cookies(head);
        }
        if found.is_empty() {
            return Ok(None);
        }
        Ok(Some(Taken {
            place,
            parts: found.remove(0),
            alternatives: found,
            path,
            query: query.filter(|query| !query.is_empty()),
            prefix,
        }))
    }

    /// The long token first: whoever has one has been let in.
    fn in_cookies<'r>(&self, head: Head<'r>) -> Vec<Parts<'r>> {
        let rules = &self.rules;
        let session = rules.session.iter();
        let long = session.flat_map(|session| fields::in_cookies(head.headers, &session.name, LONG));
        let names = rules.names.iter();
        let short = names.flat_map(|name| fields::in_cookies(head.headers, name, SHORT));
        let signed = matches!(rules.signatures, Signatures::Accepted)
            .then(|| fields::in_cookies(head.headers, &rules.cookie, COOKIE));
        long.chain(short).chain(signed.into_iter().flatten()).collect()
    }
}

/// The parameters of a signature. Their names are common ones, so that it takes two to be one.
fn in_query(query: Option<&str>) -> Result<Option<Parts<'_>>, LocateError> {
    let is_there = |name: &str| values(query, name).next().is_some();
    if !is_there("KeyName") || !is_there("Signature") {
        return Ok(None);
    }
    let mut parts: Parts<'_> = smallvec![Cow::Borrowed(""); super::PREFIX];
    for name in PARAMETERS {
        parts.push(match one(query, name)? {
            Some(value) if fields::is_readable(value) => Cow::Borrowed(value),
            None if name == "URLPrefix" => Cow::Borrowed(""),
            _ => return Err(LocateError::Malformed),
        });
    }
    Ok(Some(parts))
}

/// A segment of the path that is a signature.
struct Component<'r> {
    /// What is before it; ends with a slash.
    folder: &'r str,
    /// The segment, raw.
    segment: &'r str,
    /// What is behind its marker, decoded.
    policy: Cow<'r, str>,
    /// What is behind it, without the slash.
    rest: &'r str,
}

fn in_path(path: &str) -> Result<Option<Component<'_>>, LocateError> {
    let mut found = None;
    let mut start = 0;
    for segment in path.split('/') {
        let end = start + segment.len();
        if let Some(policy) = policy(segment)? {
            let component = Component {
                folder: path.get(..start).unwrap_or_default(),
                segment,
                policy,
                rest: path.get(end + 1..).unwrap_or_default(),
            };
            if found.replace(component).is_some() {
                return Err(LocateError::Ambiguous);
            }
        }
        start = end + 1;
    }
    Ok(found)
}

fn policy(segment: &str) -> Result<Option<Cow<'_, str>>, LocateError> {
    let starts = percent_decode_str(segment).take(MARKER.len()).eq(MARKER.bytes());
    if !starts {
        return Ok(None);
    }
    let policy = match decode(segment)? {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(MARKER.len()..).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(MARKER.len()..).unwrap_or_default().to_owned()),
    };
    match fields::is_readable(&policy) {
        true => Ok(Some(policy)),
        false => Err(LocateError::Malformed),
    }
}
