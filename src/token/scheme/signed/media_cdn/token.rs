//! Tokens of fields. What is signed is the token without its seal, but for two fields: the path that `FullPath` stands for and
//! the values of the headers that `Headers` names are the request's.

use std::borrow::Cow;
use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;
use smallvec::{SmallVec, smallvec};

use super::prefix::UrlPrefix;
use super::signature::verifies;
use super::{Key, MediaCdn, base64};
use crate::clock::UnixTime;
use crate::token::claims::Renewal;
use crate::token::scheme::signed::exchange::{self, Session};
use crate::token::scheme::signed::fields::patterns::{Encodings, Patterns};
use crate::token::scheme::signed::fields::{self, Fields, Grammar, MAX_TRIALS, Order};
use crate::token::scheme::signed::{Asked, NamedKey, same};
use crate::token::{Claims, Methods, TokenError};

/// The fields. Google's page gives them no order.
pub(super) const GRAMMAR: Grammar = Grammar {
    names: &[
        "FullPath",
        "PathGlobs",
        "URLPrefix",
        "Starts",
        "Expires",
        "SessionID",
        "Data",
        "Headers",
        "IPRanges",
    ],
    bare: Some("FullPath"),
    order: Order::Any,
    seals: &["Signature", "hmac"],
};

/// The fields of which a token has exactly one.
const SCOPES: [&str; 3] = ["FullPath", "PathGlobs", "URLPrefix"];

/// The most headers that a token may bind, and the most ranges of addresses.
const MAX_HEADERS: usize = 16;
const MAX_RANGES: usize = 64;

/// What is signed with a token, in the spellings that the request allows.
type Texts<'t> = SmallVec<[Cow<'t, str>; 1]>;

impl MediaCdn {
    /// Judges a short token.
    pub(super) fn short(&self, text: &str, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let fields = Fields::parse(text, &GRAMMAR)?;
        let texts = signed_texts(&fields, asked)?;
        let (key, signed) = self.sealed(&fields, &texts, asked)?;
        let session = self.rules.session.as_ref();
        let data = fields.get("Data");
        if session.is_some() && exchange::unmarked(data).is_some() {
            // Else a long token under a key that both share would be exchanged for ever.
            return Err(TokenError::Invalid(
                "it is a long token, and was to be a short one",
            ));
        }
        let mut claims = self.claims(&fields, signed, asked)?;
        claims.key = Some(key.name.clone());
        claims.id = fields.get("SessionID").map(Box::from);
        claims.subject = data.map(Box::from);
        if let Some(session) = session {
            claims.renewal = renewal(session, &fields, &claims, asked)?;
        }
        Ok(claims)
    }

    /// Judges a long token.
    pub(super) fn long(
        &self,
        session: &Session,
        text: &str,
        asked: &Asked<'_, '_>,
    ) -> Result<Claims, TokenError> {
        let fields = Fields::parse(text, &GRAMMAR)?;
        let texts = signed_texts(&fields, asked)?;
        let ([signed], "hmac", None) = (&texts[..], fields.seal, fields.get("FullPath")) else {
            return Err(TokenError::Malformed("it is no long token"));
        };
        let mac = fields::unhex(fields.mac).ok_or(TokenError::Malformed("its hmac is not in digits"))?;
        asked.signatures.show(signed.as_bytes());
        let key = session
            .key(signed, &mac, asked.now)
            .map_err(|error| elsewhere_if_bound(&fields, error))?;
        let data = exchange::unmarked(fields.get("Data")).ok_or(TokenError::Invalid(
            "it is a short token, and was to be a long one",
        ))?;
        let decoded = |value: Option<&str>| -> Result<_, TokenError> {
            value
                .map(|value| exchange::decoded(value).map(Box::from))
                .transpose()
        };
        Ok(Claims {
            key: Some(key.name.clone()),
            id: decoded(fields.get("SessionID"))?,
            subject: decoded(data)?,
            ..self.claims(&fields, signed, asked)?
        })
    }

    /// The key that sealed a short token, and the text that it sealed.
    fn sealed<'t>(
        &self,
        fields: &Fields<'_>,
        texts: &'t Texts<'_>,
        asked: &Asked<'_, '_>,
    ) -> Result<(&NamedKey<Key>, &'t str), TokenError> {
        let mac = || fields::unhex(fields.mac).ok_or(TokenError::Malformed("its hmac is not in digits"));
        let seal = match fields.seal {
            "hmac" => Seal::Mac(mac()?),
            _ => Seal::Signature(base64(fields.mac)?),
        };
        let can = |key: &&NamedKey<Key>| match &seal {
            Seal::Mac(_) => key.key.verifier().is_none(),
            Seal::Signature(_) => key.key.verifier().is_some(),
        };
        for text in texts {
            let message = text.as_bytes();
            asked.signatures.show(message);
            let sealed = |key: &&NamedKey<Key>| match &seal {
                Seal::Mac(mac) => key.key.mac(message).is_some_and(|own| same(&own, mac)),
                Seal::Signature(signature) => verifies(key, message, signature, asked),
            };
            let mut keys = self.rules.keys.at(asked.now).filter(can).take(MAX_TRIALS);
            if let Some(key) = keys.find(sealed) {
                return Ok((key, text));
            }
        }
        Err(elsewhere_if_bound(
            fields,
            TokenError::Invalid("no key sealed it"),
        ))
    }

    /// What every token says. What it opens is judged here.
    fn claims(&self, fields: &Fields<'_>, signed: &str, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let expires = fields
            .time("Expires")?
            .ok_or(TokenError::Malformed("it says no end"))?;
        let opened = match scope(fields)? {
            Opened::Path => true,
            Opened::Globs(globs) => patterns(globs)?.match_path(asked.target.path()),
            Opened::Prefix(prefix) => UrlPrefix::parse(prefix, asked.public()?)?.starts(asked),
        };
        if !opened {
            return Err(TokenError::Elsewhere("it is for other paths"));
        }
        let id = [b"media_cdn\0", signed.as_bytes()].concat();
        Ok(Claims {
            not_before: fields.time("Starts")?,
            expires: Some(expires),
            methods: Some(Methods::READ),
            addresses: fields.get("IPRanges").map(ranges).transpose()?,
            ..asked.opened(self.rules.log_key.name(&id))
        })
    }
}

enum Seal {
    Mac(fields::Mac),
    Signature(Vec<u8>),
}

/// What a token opens.
enum Opened<'t> {
    Path,
    Globs(&'t str),
    Prefix(&'t str),
}

fn scope<'t>(fields: &Fields<'t>) -> Result<Opened<'t>, TokenError> {
    match SCOPES.map(|name| fields.get(name)) {
        [Some(_), None, None] => Ok(Opened::Path),
        [None, Some(globs), None] => Ok(Opened::Globs(globs)),
        [None, None, Some(prefix)] => Ok(Opened::Prefix(prefix)),
        _ => Err(TokenError::Malformed("it opens nothing, or in two ways")),
    }
}

/// Patterns are joined by commas or by exclamation marks. With both, a pattern with the one letter in it can't be told from two.
fn patterns(globs: &str) -> Result<Patterns<'_>, TokenError> {
    let separator = match (globs.contains(','), globs.contains('!')) {
        (true, true) => return Err(TokenError::Malformed("its list of paths is joined in two ways")),
        (true, false) => ',',
        _ => '!',
    };
    Patterns::parse(globs, separator, Encodings::Letters)
}

fn ranges(encoded: &str) -> Result<Box<[IpNet]>, TokenError> {
    let malformed = TokenError::Malformed("its ranges are no addresses");
    let bytes = base64(encoded)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed)?;
    if text.split(',').count() > MAX_RANGES {
        return Err(malformed);
    }
    let range = |text: &str| match text.parse::<IpNet>() {
        Ok(net) => Ok(net),
        Err(_) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| malformed),
    };
    text.split(',').map(range).collect()
}

/// Where headers are bound, a seal that does not hold may be true for others.
fn elsewhere_if_bound(fields: &Fields<'_>, error: TokenError) -> TokenError {
    match fields.get("Headers") {
        Some(_) => TokenError::Elsewhere("it does not go with the request's headers"),
        None => error,
    }
}

/// What was signed, as far as the token and the request tell.
fn signed_texts<'t>(fields: &Fields<'t>, asked: &Asked<'_, '_>) -> Result<Texts<'t>, TokenError> {
    let full = fields.get("FullPath").is_some();
    let headers = fields
        .get("Headers")
        .map(|names| bound(names, asked))
        .transpose()?;
    if !full && headers.is_none() {
        return Ok(smallvec![Cow::Borrowed(fields.text)]);
    }
    let paths = match full {
        true => fields::spellings(asked),
        false => smallvec![""],
    };
    // What of the path looks like fields can't be told from fields: `/a~Starts=1` and `/a` with a start.
    if paths.iter().any(|path| has_fields(path)) {
        return Err(TokenError::Elsewhere("no token is for a path with fields in it"));
    }
    let text = |path: &str| {
        let pieces = fields.iter().map(|(name, value)| match (name, &headers) {
            ("FullPath", _) => format!("{name}={path}"),
            ("Headers", Some(headers)) => format!("{name}={headers}"),
            _ => format!("{name}={value}"),
        });
        pieces.collect::<Vec<_>>().join("~").into()
    };
    Ok(paths.into_iter().map(text).collect())
}

/// Whether what is behind a `~` looks like a field.
pub(super) fn has_fields(text: &str) -> bool {
    let name = |piece: &str| {
        piece
            .split_once('=')
            .is_some_and(|(name, _)| GRAMMAR.names.contains(&name))
    };
    text.split(fields::JOINT).skip(1).any(name)
}

/// The bound headers with the request's values: `X-App=tv,X-Ver=3`.
///
/// A client chooses what his headers say, and names in the token are not signed by themselves. So a value that would read as
/// the next field or as the next header is refused: with `X-App: tv~IPRanges=…` the field could be left out of the token,
/// with `X-App: tv,X-Country=DE` a header that the client does not choose.
fn bound(names: &str, asked: &Asked<'_, '_>) -> Result<String, TokenError> {
    if names.split(',').count() > MAX_HEADERS {
        return Err(TokenError::Malformed("it binds more headers than are read"));
    }
    let mut pairs = Vec::new();
    for name in names.split(',') {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| TokenError::Malformed("it binds what is no header"))?;
        let value = asked.evidence.header(&header);
        let value = value.ok_or(TokenError::Elsewhere("a header that it binds is missing"))?;
        let is_name = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
        let mut later = value.split(',').skip(1).filter_map(|piece| piece.split_once('='));
        if value.contains(fields::JOINT) || later.any(|(name, _)| is_name(name)) {
            return Err(TokenError::Elsewhere("a header that it binds has two readings"));
        }
        pairs.push(format!("{name}={value}"));
    }
    Ok(pairs.join(","))
}

/// The long token for a short one that is in time and opens patterns or a prefix: it says the same, for longer. `FullPath` is
/// not exchanged; neither does Google.
fn renewal(
    session: &Session,
    short: &Fields<'_>,
    claims: &Claims,
    asked: &Asked<'_, '_>,
) -> Result<Option<Renewal>, TokenError> {
    let now: UnixTime = asked.now;
    let early = claims.not_before.is_some_and(|start| now < start);
    let late = claims.expires.is_none_or(|end| now >= end);
    if early || late {
        return Ok(None);
    }
    let (scope, folder) = match scope(short)? {
        Opened::Path => return Ok(None),
        Opened::Globs(globs) => {
            let field = format!("PathGlobs={}", fields::in_cookie(globs));
            (field, patterns(globs)?.folder().to_owned())
        }
        Opened::Prefix(prefix) => {
            let parsed = UrlPrefix::parse(prefix, asked.public()?)?;
            (format!("URLPrefix={prefix}"), parsed.folder().to_owned())
        }
    };
    let mut token = vec![scope, format!("Expires={}", session.expires(now))];
    if let Some(id) = short.get("SessionID") {
        token.push(format!("SessionID={}", fields::encoded_value(id)));
    }
    let data = short.get("Data").map(fields::encoded_value);
    token.push(format!("Data={}", exchange::marked(data.as_deref())));
    for name in ["Headers", "IPRanges"] {
        if let Some(value) = short.get(name) {
            token.push(format!("{name}={}", fields::in_cookie(value)));
        }
    }
    let token = token.join("~");
    let unsealed = format!("{token}~hmac=");
    let long = Fields::parse(&unsealed, &GRAMMAR)?;
    let signed = signed_texts(&long, asked)?;
    let seal = signed.first().and_then(|signed| session.seal(signed, now));
    Ok(seal.and_then(|mac| session.cookie(&format!("{unsealed}{mac}"), &folder)))
}
