//! `catu`: what a token demands of the URI, part by part. The URI is the public one without the token, its path in the one
//! canonical encoding (RFC 3986 §6.2.2), as the origin is asked.

use super::cbor::{Item, Label};
use super::matching::{Budget, Matches};
use crate::token::scheme::signed::Asked;
use crate::token::{PublicBase, TokenError};

/// A part of the URI.
#[derive(Clone, Copy, Debug)]
enum Part {
    Scheme,
    Host,
    Port,
    Path,
    Query,
    ParentPath,
    Filename,
    Stem,
    Extension,
}

/// In the order of their numbers.
const PARTS: [Part; 9] = [
    Part::Scheme,
    Part::Host,
    Part::Port,
    Part::Path,
    Part::Query,
    Part::ParentPath,
    Part::Filename,
    Part::Stem,
    Part::Extension,
];

/// The number of the host, for who writes a token.
pub(super) const HOST: i64 = Part::Host as i64;
/// The number of the path.
pub(super) const PATH: i64 = Part::Path as i64;

/// All that is demanded; nothing where the claim is empty.
#[derive(Debug, Default)]
pub(super) struct Demands<'p>(Vec<(Part, Matches<'p>)>);

impl<'p> Demands<'p> {
    /// Reads the claim.
    ///
    /// # Errors
    /// `Invalid`, also for parts that are not known.
    pub(super) fn read(item: &Item<'p>, budget: &mut Budget) -> Result<Self, TokenError> {
        let Item::Map(map) = item else {
            return Err(TokenError::Invalid("catu is not a map"));
        };
        let demands = map.iter().map(|(label, value)| {
            let number = match label {
                Label::Int(number) => usize::try_from(*number).ok(),
                Label::Text(_) => None,
            };
            let part = number
                .and_then(|number| PARTS.get(number))
                .ok_or(TokenError::Invalid("catu names a part that is not known"))?;
            Ok((*part, Matches::read(value, budget)?))
        });
        demands.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the request is for such a URI.
    ///
    /// # Errors
    /// `Elsewhere` where not; `Invalid` where the configuration does not name the public scheme and host.
    pub(super) fn check(&self, asked: &Asked<'_, '_>) -> Result<(), TokenError> {
        for (part, matches) in &self.0 {
            if !holds(*part, matches, asked)? {
                return Err(TokenError::Elsewhere("catu is for another URI"));
            }
        }
        Ok(())
    }
}

fn holds(part: Part, matches: &Matches<'_>, asked: &Asked<'_, '_>) -> Result<bool, TokenError> {
    let path = asked.target.encoded_path();
    let (parent, filename) = path.rsplit_once('/').unwrap_or(("", path));
    Ok(match part {
        Part::Scheme => matches.hold(&asked.public()?.scheme.to_ascii_lowercase()),
        Part::Host => matches.hold(&host(asked.public()?)),
        Part::Port => {
            let public = asked.public()?;
            let (_, port) = host_and_port(&public.authority);
            // Libraries read no number where it is the scheme's own, which people write all the same.
            match port {
                Some(port) => matches.hold(port),
                None if &*public.scheme == "https" => matches.hold("") || matches.hold("443"),
                None if &*public.scheme == "http" => matches.hold("") || matches.hold("80"),
                None => matches.hold(""),
            }
        }
        Part::Path => matches.hold(path),
        Part::Query => matches.hold(asked.query.unwrap_or_default()),
        // Of what lies at the top, libraries make either.
        Part::ParentPath if parent.is_empty() => matches.hold("") && matches.hold("/"),
        Part::ParentPath => matches.hold(parent),
        Part::Filename => matches.hold(filename),
        Part::Stem => stems(filename).into_iter().all(|(stem, _)| matches.hold(stem)),
        Part::Extension => stems(filename)
            .into_iter()
            .all(|(_, extension)| matches.hold(extension)),
    })
}

/// The stem and the extension of a name: up to its first dot, and up to its last one. Libraries differ in which they mean, and
/// in whether what only starts with a dot has an extension, so that a demand has to hold of both.
fn stems(filename: &str) -> [(&str, &str); 2] {
    let first = filename.find('.').unwrap_or(filename.len());
    let last = match filename.rfind('.') {
        Some(0) | None => filename.len(),
        Some(at) => at,
    };
    [filename.split_at(first), filename.split_at(last)]
}

/// The public host, lower case, without a port.
pub(super) fn host(public: &PublicBase) -> String {
    host_and_port(&public.authority).0.to_ascii_lowercase()
}

fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // Not within the brackets of an IPv6 address.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}
