//! The claims of a JWT whose signature is good: every known one has its one type, anything else refuses the token.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Number;

use super::{Profile, Required, Rules, token_id};
use crate::clock::UnixTime;
use crate::token::claims::{Limits, Parameters};
use crate::token::json::{Json, Object};
use crate::token::scope::{MAX_PATTERN_BYTES, MAX_PATTERNS};
use crate::token::{Claims, Methods, Opens, Parameter, Scope, TokenError, Uses};

/// The longest file name, in bytes, as in most file systems.
const MAX_FILENAME_BYTES: usize = 255;

/// The claims that have a meaning here, so that no other claim takes their name.
pub(super) const KNOWN: [&str; 16] = [
    "aud", "iss", "sub", "jti", "iat", "nbf", "exp", "paths", "media", "methods", "ips", "uses", "filename",
    "args", "rate", "streams",
];

/// Reads the claims and judges issuer, audience and lifetime. Times are left to `Claims::standing`.
pub(super) fn read(json: &[u8], rules: &Rules) -> Result<Claims, TokenError> {
    let members = Payload(Object::parse(json).map_err(TokenError::Invalid)?);
    let id = members.text("jti")?;
    let issuer = members.text("iss")?;
    let is_known = |issuer: &str| rules.issuers.iter().any(|known| **known == *issuer);
    if !rules.issuers.is_empty() && !issuer.is_some_and(is_known) {
        return Err(TokenError::Invalid("issued by somebody else"));
    }
    members.check_audience(&rules.audiences)?;
    rules.profile.check(&members.0)?;
    members.check_required(&rules.require)?;
    let expires = members.time("exp")?.ok_or(TokenError::Invalid("it has no exp"))?;
    let issued = members.time("iat")?;
    if let Some(longest) = rules.max_lifetime {
        check_lifetime(issued, expires, longest)?;
    }
    let named = members
        .0
        .iter()
        .filter(|(name, _)| rules.named.iter().any(|wanted| **wanted == **name));
    Ok(Claims {
        subject: members.text("sub")?.map(Box::from),
        id: id.map(Box::from),
        issuer: issuer.map(Box::from),
        issued,
        not_before: members.time("nbf")?,
        expires: Some(expires),
        uses: members.uses()?,
        scope: members.scope(rules.profile)?,
        methods: members.methods()?,
        addresses: members.addresses()?,
        limits: members.limits()?,
        filename: members.filename()?,
        parameters: parameters(&members.0)?,
        named: named
            .filter_map(|(name, value)| Some((name.into(), value.text()?.into())))
            .collect(),
        ..Claims::empty(token_id(&rules.log_key, issuer.unwrap_or(""), id, json))
    })
}

/// A name that a browser can save under: one path segment without control characters.
pub fn is_filename(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= MAX_FILENAME_BYTES
        && !name.contains(|letter: char| letter.is_control() || matches!(letter, '/' | '\\'))
}

pub(in crate::token::scheme) fn check_lifetime(
    issued: Option<UnixTime>,
    expires: UnixTime,
    longest: Duration,
) -> Result<(), TokenError> {
    let issued = issued.ok_or(TokenError::Invalid("it has no iat"))?;
    if issued.until(expires) > longest {
        return Err(TokenError::Invalid("it lives too long"));
    }
    Ok(())
}

fn wrong(claim: &'static str) -> TokenError {
    TokenError::Invalid(match claim {
        "aud" => "aud is not a text or an array of texts",
        "iss" => "iss is not a text",
        "sub" => "sub is not a text",
        "jti" => "jti is not a text",
        "exp" => "exp is not a time",
        "nbf" => "nbf is not a time",
        "iat" => "iat is not a time",
        "paths" => "paths is not an array of path patterns",
        "media" => "media is not a media id",
        "methods" => "methods is not an array of methods",
        "ips" => "ips is not an array of addresses",
        "uses" => "uses is not 1",
        "filename" => "filename is not a file name",
        "args" => "args is not an object of texts, numbers and truth values",
        "rate" => "rate is not a whole number from 1024 to 1 TiB",
        _ => "streams is not a whole number from 1 to 1024",
    })
}

struct Payload<'j>(Object<'j>);

impl Payload<'_> {
    fn text(&self, name: &'static str) -> Result<Option<&str>, TokenError> {
        self.0
            .get(name)
            .map(|value| value.text().ok_or(wrong(name)))
            .transpose()
    }

    fn texts(&self, name: &'static str) -> Result<Option<Vec<&str>>, TokenError> {
        self.0
            .get(name)
            .map(|value| value.texts().ok_or(wrong(name)))
            .transpose()
    }

    fn time(&self, name: &'static str) -> Result<Option<UnixTime>, TokenError> {
        time(&self.0, name)
    }

    fn positive(&self, name: &'static str) -> Result<Option<u64>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Json::Number(number)) => number
                .as_u64()
                .filter(|number| *number > 0)
                .map(Some)
                .ok_or(wrong(name)),
            Some(_) => Err(wrong(name)),
        }
    }

    fn check_audience(&self, accepted: &[Box<str>]) -> Result<(), TokenError> {
        let ours = |audience: &str| accepted.iter().any(|known| **known == *audience);
        let found = match self.0.get("aud") {
            None => accepted.is_empty(),
            Some(Json::Text(audience)) => ours(audience),
            Some(list) => list.texts().ok_or(wrong("aud"))?.into_iter().any(ours),
        };
        if found {
            Ok(())
        } else {
            Err(TokenError::Invalid("for another audience"))
        }
    }

    fn check_required(&self, required: &[Required]) -> Result<(), TokenError> {
        for (name, values) in required {
            let found = self.0.get(name).and_then(Json::text);
            let good =
                found.is_some_and(|found| values.is_empty() || values.iter().any(|value| **value == *found));
            if !good {
                return Err(TokenError::Invalid("a required claim is missing or another"));
            }
        }
        Ok(())
    }

    fn uses(&self) -> Result<Uses, TokenError> {
        Ok(match self.positive("uses").map_err(|_| wrong("uses"))? {
            None => Uses::UntilExpiry,
            Some(1) => Uses::Once,
            Some(_) => return Err(wrong("uses")),
        })
    }

    fn limits(&self) -> Result<Limits, TokenError> {
        let streams = self.positive("streams")?.map(u32::try_from).transpose();
        let limits = Limits {
            rate: self.positive("rate")?,
            streams: streams.map_err(|_| wrong("streams"))?,
        };
        if limits.rate.is_some_and(|rate| !Limits::RATES.contains(&rate)) {
            return Err(wrong("rate"));
        }
        limits.are_sound().then_some(limits).ok_or(wrong("streams"))
    }

    fn scope(&self, profile: Profile) -> Result<Option<Scope>, TokenError> {
        if let Some(name) = profile.path_claim() {
            let path = self.0.get(name).and_then(Json::text);
            let path = path.and_then(|path| Opens::literal(path).ok());
            let path = path.ok_or(TokenError::Invalid(
                "the claim that names the path is missing or none",
            ))?;
            return Ok(Some(Scope(Box::new([path]))));
        }
        let paths = self.texts("paths")?;
        let media = self.text("media")?;
        if paths.is_none() && media.is_none() {
            return Ok(None);
        }
        let paths = paths.unwrap_or_default();
        if paths.len() + usize::from(media.is_some()) > MAX_PATTERNS {
            return Err(wrong("paths"));
        }
        let mut opens = Vec::with_capacity(paths.len() + 1);
        for path in paths {
            opens.push(Opens::parse(path).map_err(|_| wrong("paths"))?);
        }
        if let Some(id) = media {
            if id.is_empty() || id.len() > MAX_PATTERN_BYTES {
                return Err(wrong("media"));
            }
            opens.push(Opens::MediaId(id.into()));
        }
        Ok(Some(Scope(opens.into())))
    }

    fn methods(&self) -> Result<Option<Methods>, TokenError> {
        let Some(names) = self.texts("methods")? else {
            return Ok(None);
        };
        Methods::parse(names).map(Some).map_err(|_| wrong("methods"))
    }

    fn addresses(&self) -> Result<Option<Box<[IpNet]>>, TokenError> {
        let Some(list) = self.texts("ips")? else {
            return Ok(None);
        };
        list.into_iter()
            .map(network)
            .collect::<Option<Box<[_]>>>()
            .map(Some)
            .ok_or(wrong("ips"))
    }

    fn filename(&self) -> Result<Option<Box<str>>, TokenError> {
        let name = self.text("filename")?;
        if name.is_some_and(|name| !is_filename(name)) {
            return Err(wrong("filename"));
        }
        Ok(name.map(Box::from))
    }
}

/// The claim `args`: parameters that are forced on the origin's query.
pub(in crate::token::scheme) fn parameters(members: &Object<'_>) -> Result<Parameters, TokenError> {
    let parameters = match members.get("args") {
        None => return Ok(Box::default()),
        Some(Json::Object(parameters)) => parameters,
        Some(_) => return Err(wrong("args")),
    };
    let parameter = |(name, value): (&str, &Json<'_>)| {
        let value = Parameter::read(value).ok_or(wrong("args"))?;
        Ok((name.into(), value))
    };
    parameters.iter().map(parameter).collect()
}

/// NumericDate (RFC 7519 §2): a number, maybe with a fraction, kept to the millisecond.
pub(in crate::token::scheme) fn time(
    members: &Object<'_>,
    name: &'static str,
) -> Result<Option<UnixTime>, TokenError> {
    match members.get(name) {
        None => Ok(None),
        Some(Json::Number(number)) => millis(number)
            .map(UnixTime::from_millis)
            .map(Some)
            .ok_or(wrong(name)),
        Some(_) => Err(wrong(name)),
    }
}

/// Milliseconds, where 64 bits hold them.
fn millis(seconds: &Number) -> Option<i64> {
    if let Some(seconds) = seconds.as_i64() {
        return seconds.checked_mul(1000);
    }
    const END: f64 = 9_223_372_036_854_775_808.0;
    let millis = (seconds.as_f64()? * 1000.0).round();
    // In range, so the cast does not saturate.
    (-END..END).contains(&millis).then_some(millis as i64)
}

/// An address or a network. IPv4 inside IPv6 is IPv4, as client addresses are folded too.
pub fn network(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let net: IpNet = text.parse().ok()?;
    match net.addr().to_canonical() {
        IpAddr::V4(folded) if net.addr().is_ipv6() => {
            IpNet::new(folded.into(), net.prefix_len().checked_sub(96)?).ok()
        }
        _ => Some(net),
    }
}
