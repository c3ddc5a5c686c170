//! Authorize: may this token have this target, now, for this client? In: the verified token and the target.
//! Out: a `Grant`, which owns the target that the origin will be asked for. Nobody else can make one. A token that may be
//! used once gives its grant only through a step of the store (`once`).

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::refusal::{Code, Stop};
use super::route::{Mapping, Route, ScopeRule, TARGET};
use super::verify::Verified;
use crate::media::{Known, MediaId, Medium};
use crate::store::Revoked;
use crate::target::{Target, encode_segment};
use crate::token::carrier::Variables;
use crate::token::claims::Renewal;
use crate::token::{Claims, Parameter, Standing};

pub mod once;

use once::Once;

/// Proof that this request may have this origin target. Its fields are private and this file alone makes it:
///
/// ```compile_fail,E0451
/// fn forge(claims: std::sync::Arc<mediagate::token::Claims>) -> mediagate::gate::authorize::Grant {
///     mediagate::gate::authorize::Grant { origin_target: String::new(), identity: Vec::new(), filename: None, media_type: None, claims, once: false }
/// }
/// ```
#[derive(Debug)]
pub struct Grant {
    origin_target: String,
    identity: Vec<(HeaderName, HeaderValue)>,
    filename: Option<Box<str>>,
    media_type: Option<HeaderValue>,
    claims: Arc<Claims>,
    once: bool,
}

/// What a true token that opens the target is worth.
#[derive(Debug)]
pub enum Authorized {
    /// The target, as often as it is asked for.
    Granted(Grant),
    /// The target once, if the store agrees.
    Once(Once),
}

impl Grant {
    /// What the origin is asked for, byte for byte: path and query.
    pub fn origin_target(&self) -> &str {
        &self.origin_target
    }

    /// Takes the origin target and the identity headers out, to be sent.
    pub fn into_request(self) -> (String, Vec<(HeaderName, HeaderValue)>) {
        (self.origin_target, self.identity)
    }

    /// The name to save the file under.
    pub fn filename(&self) -> Option<&str> {
        self.filename.as_deref()
    }

    /// What a catalogue says that the file is.
    pub fn media_type(&self) -> Option<&HeaderValue> {
        self.media_type.as_ref()
    }

    /// The token.
    pub fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// Whether its token may be used once.
    pub fn is_once(&self) -> bool {
        self.once
    }

    /// A renewed token for the client.
    pub fn renewal(&self) -> Option<&Renewal> {
        self.claims.renewal.as_ref()
    }
}

/// What is asked, without the token.
pub struct Asked<'r> {
    /// The method.
    pub method: &'r Method,
    /// The target, canonical.
    pub target: &'r Target,
    /// The variables of a path carrier.
    pub variables: &'r Variables,
    /// The client's address.
    pub client: IpAddr,
}

/// Judges a true token against what is asked. Pure: `revoked` is the exact set of this process, `None` where there is no
/// store. The time of a token that may be used once is judged with its use: a session outlives its token.
///
/// # Errors
/// `token_revoked`, `token_expired`, `token_not_yet_valid`, `token_invalid` for claims that can't be a header,
/// `method_denied`, `address_denied`, `scope_denied`, `not_found` for a media id that is not there.
pub fn authorize(
    route: &Route,
    verified: Verified,
    asked: &Asked<'_>,
    revoked: Option<&Revoked>,
) -> Result<Authorized, Stop> {
    let claims = verified.claims;
    let once = claims.uses.is_once();
    not_withdrawn(&claims, revoked)?;
    if !once {
        in_time(verified.standing)?;
    } else if !matches!(*asked.method, Method::GET | Method::HEAD) {
        return Err(Stop::refused(
            Code::MethodDenied,
            "a token that may be used once reads",
        ));
    }
    let is_lost =
        |(name, value): &(Box<str>, Parameter)| value.text().is_some() && !route.origin.takes_parameter(name);
    if claims.parameters.iter().any(is_lost) {
        return Err(Stop::refused(
            Code::TokenInvalid,
            "the token forces a parameter (`args`) that the origin does not take",
        ));
    }
    if claims
        .methods
        .is_some_and(|methods| !methods.contains(asked.method))
    {
        return Err(Stop::refused(
            Code::MethodDenied,
            "the token is for other methods",
        ));
    }
    from_here(&claims, asked.client)?;
    check_scope(route, &claims, asked)?;
    let (path, medium) = map(route, &claims, asked)?;
    let identity = route
        .identity_headers
        .iter()
        .filter_map(|(name, claim)| claims.text(claim).map(|value| (name, value)))
        .map(|(name, value)| match HeaderValue::from_bytes(value.as_bytes()) {
            Ok(value) => Ok((name.clone(), value)),
            Err(_) => Err(Stop::refused(
                Code::TokenInvalid,
                "a claim can't be a header's value",
            )),
        })
        .collect::<Result<_, _>>()?;
    let filename = claims
        .filename
        .clone()
        .or_else(|| medium.map(|medium| medium.file_name().into()));
    let media_type = medium
        .and_then(|medium| medium.media_type.as_ref())
        .map(|media_type| media_type.header().clone());
    let grant = Grant {
        origin_target: with_query(path, asked.target.query(), &claims),
        identity,
        filename,
        media_type,
        claims,
        once,
    };
    Ok(if once {
        Authorized::Once(Once::new(grant, verified.standing))
    } else {
        Authorized::Granted(grant)
    })
}

/// Refuses a token that was withdrawn.
pub(super) fn not_withdrawn(claims: &Claims, revoked: Option<&Revoked>) -> Result<(), Stop> {
    match revoked.is_some_and(|revoked| revoked.covers(claims)) {
        true => Err(Stop::refused(Code::TokenRevoked, "the token was withdrawn")),
        false => Ok(()),
    }
}

/// Refuses a client at another address than the token's.
pub(super) fn from_here(claims: &Claims, client: IpAddr) -> Result<(), Stop> {
    match claims.allows_address(client) {
        true => Ok(()),
        false => Err(Stop::refused(
            Code::AddressDenied,
            "the token is for other addresses",
        )),
    }
}

/// Refuses a token before and after its time.
pub(super) fn in_time(standing: Standing) -> Result<(), Stop> {
    match standing {
        Standing::InTime => Ok(()),
        Standing::Expired => Err(Stop::refused(Code::TokenExpired, "the token has expired")),
        Standing::NotYet => Err(Stop::refused(
            Code::TokenNotYetValid,
            "the token is not valid yet",
        )),
    }
}

fn check_scope(route: &Route, claims: &Claims, asked: &Asked<'_>) -> Result<(), Stop> {
    let denied = |detail| Err(Stop::refused(Code::ScopeDenied, detail));
    // A variable of the route's own path is no media id, whatever it is called.
    let media = asked
        .variables
        .iter()
        .find(|(name, _)| &**name == "id" && route.templates.is_empty())
        .map(|(_, value)| &**value);
    let own = claims
        .scope
        .as_ref()
        .map(|scope| scope.opens(asked.target, media));
    match &route.scope {
        _ if own == Some(false) => denied("the token's scope does not open this target"),
        ScopeRule::Claims if own.is_none() => denied("the token has no scope, so it opens nothing here"),
        ScopeRule::Claims | ScopeRule::Whole => Ok(()),
        ScopeRule::Template(template) => match template.opens(claims, asked.target) {
            Ok(true) => Ok(()),
            Ok(false) => denied("the route's template, filled from the token, does not open this target"),
            Err(_) => denied("a claim of the route's template is missing or can't be a path segment"),
        },
    }
}

/// The origin's path, encoded, and what a catalogue knows of the file.
fn map<'r>(
    route: &'r Route,
    claims: &Claims,
    asked: &Asked<'_>,
) -> Result<(String, Option<&'r Medium>), Stop> {
    let path = asked.target.encoded_path();
    match &route.mapping {
        Mapping::Same => Ok((path.to_owned(), None)),
        Mapping::StripPrefix => {
            // The prefix is decoded, the path canonical: taken off segment by segment, both have as many slashes.
            let rest = path
                .match_indices('/')
                .nth(route.prefix.matches('/').count())
                .map_or("", |(at, _)| &path[at..]);
            Ok((
                if rest.is_empty() {
                    "/".to_owned()
                } else {
                    rest.to_owned()
                },
                None,
            ))
        }
        Mapping::Template(template) => Ok((fill(template, claims, asked)?, None)),
        Mapping::Media(media) => {
            let missing = || Stop::refused(Code::NotFound, "the catalogue has no such medium");
            let id = asked
                .variables
                .iter()
                .find(|(name, _)| &**name == "id")
                .ok_or_else(missing)?;
            let id = MediaId::parse(&id.1).map_err(|bad| Stop::refused(Code::BadPath, bad.reason()))?;
            match media.find(&id) {
                Known::Medium(medium) => {
                    let target = Target::from_decoded(&medium.file).map_err(|_| missing())?;
                    Ok((target.encoded_path().to_owned(), Some(medium)))
                }
                Known::Path(path) => Ok((path, None)),
                Known::No => Err(missing()),
            }
        }
    }
}

/// Fills `{name}` with path variables and text claims, each as exactly one segment, and `{target}` with all of it.
fn fill(template: &str, claims: &Claims, asked: &Asked<'_>) -> Result<String, Stop> {
    let missing = || {
        Stop::refused(
            Code::ScopeDenied,
            "a value of the route's path is missing or can't be a segment",
        )
    };
    let mut path = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').ok_or_else(missing)?;
        path.push_str(before);
        rest = behind;
        if name == TARGET {
            path.push_str(asked.target.encoded_path());
            continue;
        }
        let variable = asked
            .variables
            .iter()
            .find(|(known, _)| &**known == name)
            .map(|(_, value)| &**value);
        let value = variable.or_else(|| claims.text(name)).ok_or_else(missing)?;
        path.push_str(&encode_segment(value).map_err(|_| missing())?);
    }
    path.push_str(rest);
    Ok(path)
}

/// A parameter's name as an origin may take it that is less strict than others: decoded, as far as the first NUL or `[`,
/// without case and without space around it.
fn read_loosely(name: &str) -> Vec<u8> {
    let name = name.replace('+', " ");
    let name: Cow<'_, [u8]> = percent_decode_str(&name).into();
    let end = name.iter().position(|byte| matches!(byte, 0 | b'['));
    let name = &name[..end.unwrap_or(name.len())];
    name.trim_ascii().to_ascii_lowercase()
}

/// The client's query, then the token's forced parameters, which replace the client's of the same names.
fn with_query(mut path: String, query: Option<&str>, claims: &Claims) -> String {
    // Some origins part parameters at `;`, too.
    let forced = |piece: &&str| {
        piece.split(';').any(|parameter| {
            let name = read_loosely(parameter.split('=').next().unwrap_or_default());
            claims
                .parameters
                .iter()
                .any(|(known, _)| *read_loosely(known) == *name)
        })
    };
    let mut mark = '?';
    let mut add = |piece: &str| {
        path.push(mark);
        path.push_str(piece);
        mark = '&';
    };
    if let Some(query) = query {
        if claims.parameters.is_empty() {
            add(query);
        } else {
            query
                .split('&')
                .filter(|parameter| !forced(parameter))
                .for_each(&mut add);
        }
    }
    for (name, value) in &claims.parameters {
        let Some(value) = value.text() else { continue };
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        add(&format!("{}={}", encode(name), encode(&value)));
    }
    path
}

#[cfg(test)]
mod tests;
