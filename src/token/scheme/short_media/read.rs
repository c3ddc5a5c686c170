//! A short media token's text, read strictly: one signature, one signed element, each of its members once. Whatever else
//! could stand in XML (attributes, comments, CDATA, declarations) is no such token.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::xml::{escape, unescape};
use crate::clock::UnixTime;
use crate::token::MAX_TOKEN_BYTES;

const ROOT: &str = "shortAuthorizationToken";
/// The members, in the order in which they are written. The last may be absent.
const MEMBERS: [&str; 7] = [
    "sessionGUID",
    "requestorID",
    "resourceID",
    "ttl",
    "issueTime",
    "mvpdId",
    "proxyMvpdId",
];
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
/// The longest life that is believed, in milliseconds: a year.
pub(super) const MAX_TTL_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Digits of the longest decimal number: milliseconds for 30,000 years.
const MAX_DIGITS: usize = 15;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// `sessionGUID`: whom it is for, as a hash that stays the same.
    pub session: Box<str>,
    /// `requestorID`: the programmer's application.
    pub requestor: Box<str>,
    /// `resourceID`: what it is for.
    pub resource: Box<str>,
    /// `ttl`.
    pub ttl: Duration,
    /// `issueTime`.
    pub issued: UnixTime,
    /// `mvpdId`: the provider that vouches for the viewer.
    pub mvpd: Box<str>,
    /// `proxyMvpdId`, where it is not empty.
    pub proxy_mvpd: Option<Box<str>>,
}

impl Fields {
    /// The first moment at which it is dead.
    pub fn expires(&self) -> UnixTime {
        self.issued.after(self.ttl)
    }

    /// The element that is signed.
    pub(super) fn write(&self) -> String {
        let (ttl, issued) = (self.ttl.as_millis().to_string(), self.issued.millis().to_string());
        let texts = [
            &*self.session,
            &self.requestor,
            &self.resource,
            &ttl,
            &issued,
            &self.mvpd,
            self.proxy_mvpd.as_deref().unwrap_or_default(),
        ];
        let members: String = MEMBERS
            .iter()
            .zip(texts)
            .map(|(name, text)| format!("<{name}>{}</{name}>", escape(text)))
            .collect();
        format!("<{ROOT}>{members}</{ROOT}>")
    }
}

/// A token that was read, and is not believed yet.
pub struct Token {
    xml: String,
    /// Where the signed element starts; it goes to the end.
    signed: usize,
    signature: String,
    /// What it says.
    pub fields: Fields,
}

impl Token {
    /// Reads one. A space is a `+` that a reader of forms has turned into one. The closing tag of the signature may lack
    /// its slash, as the documents of the original print it.
    ///
    /// # Errors
    /// A sentence: what it is not.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err("longer than 8 KiB");
        }
        let text = if text.contains(' ') {
            Cow::Owned(text.replace(' ', "+"))
        } else {
            Cow::Borrowed(text)
        };
        // The engine demands padding and refuses unused bits that are set: one token has one Base64.
        let bytes = STANDARD.decode(&*text).map_err(|_| "not Base64")?;
        let xml = String::from_utf8(bytes).map_err(|_| "not UTF-8")?;
        let inside = xml.strip_prefix("<signatureInfo>").ok_or("no signature")?;
        let (signature, after) = inside.split_once('<').ok_or("no end of the signature")?;
        let signed = after
            .strip_prefix("/signatureInfo>")
            .or_else(|| after.strip_prefix("signatureInfo>"))
            .ok_or("no end of the signature")?;
        let signature = STANDARD
            .decode(signature)
            .map_err(|_| "the signature is not Base64")?;
        Ok(Self {
            fields: fields(signed)?,
            signature: URL_SAFE_NO_PAD.encode(signature),
            signed: xml.len() - signed.len(),
            xml,
        })
    }

    /// The bytes that are signed.
    pub(super) fn signed(&self) -> &str {
        &self.xml[self.signed..]
    }

    /// The signature in base64url, as `jsonwebtoken` takes it.
    pub(super) fn signature(&self) -> &str {
        &self.signature
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

fn fields(signed: &str) -> Result<Fields, &'static str> {
    let inside = signed
        .strip_prefix("<shortAuthorizationToken>")
        .and_then(|rest| rest.strip_suffix("</shortAuthorizationToken>"))
        .ok_or("no shortAuthorizationToken")?;
    let mut found: [Option<Cow<'_, str>>; MEMBERS.len()] = Default::default();
    let mut rest = inside.trim_start_matches(SPACE);
    while !rest.is_empty() {
        let (at, text, after) = member(rest).ok_or("a member is not one of its seven")?;
        if found[at].replace(text).is_some() {
            return Err("a member stands twice");
        }
        rest = after.trim_start_matches(SPACE);
    }
    let [session, requestor, resource, ttl, issued, mvpd, proxy_mvpd] = found;
    let needed = |text: Option<Cow<'_, str>>| {
        let text = text.filter(|text| !text.is_empty());
        text.map(|text| Box::from(&*text))
            .ok_or("a member is missing or empty")
    };
    let ttl = number(&needed(ttl)?)
        .filter(|ttl| (1..=MAX_TTL_MILLIS).contains(ttl))
        .ok_or("its life is no number of milliseconds up to a year")?;
    Ok(Fields {
        session: needed(session)?,
        requestor: needed(requestor)?,
        resource: needed(resource)?,
        ttl: Duration::from_millis(ttl.unsigned_abs()),
        issued: time(&needed(issued)?).ok_or("its time of issue is no time")?,
        mvpd: needed(mvpd)?,
        proxy_mvpd: needed(proxy_mvpd).ok(),
    })
}

/// The first member of the text: which, what it says, and what follows.
fn member(text: &str) -> Option<(usize, Cow<'_, str>, &str)> {
    let (name, rest) = text.strip_prefix('<')?.split_once('>')?;
    let which = |name: &str| MEMBERS.iter().position(|known| *known == name);
    if let Some(name) = name.strip_suffix('/') {
        return Some((which(name)?, Cow::Borrowed(""), rest));
    }
    let at = which(name)?;
    let (value, rest) = rest.split_at(rest.find('<')?);
    let rest = rest.strip_prefix("</")?.strip_prefix(name)?.strip_prefix('>')?;
    Some((at, unescape(value)?, rest))
}

fn number(text: &str) -> Option<i64> {
    let good = text.len() <= MAX_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| good)
}

/// Milliseconds since 1970, or RFC 3339.
fn time(text: &str) -> Option<UnixTime> {
    number(text)
        .map(UnixTime::from_millis)
        .or_else(|| UnixTime::parse_rfc3339(text))
}
