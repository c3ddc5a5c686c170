//! The catalogue of media ids: which file an id means, its name, folder and owner. Or a template, where every id is a file.

use std::collections::HashMap;
use std::fmt;

use http::HeaderValue;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::target::{BadTarget, encode_segment};

/// The longest media id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// The longest media type, in bytes.
const MAX_TYPE_BYTES: usize = 128;

/// A media id: one path segment of at most `MAX_ID_BYTES`, no control bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaId(Box<str>);

impl MediaId {
    /// Checks an id (decoded).
    ///
    /// # Errors
    /// `BadTarget` when it can't be exactly one segment of a path, or is too long.
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        if text.len() > MAX_ID_BYTES {
            return Err(BadTarget::Forbidden);
        }
        encode_segment(text)?;
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A media type (RFC 9110 §8.3.1), as it stands in `Content-Type`: `application/pdf`, `text/plain; charset=utf-8`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Box<str>")]
pub struct MediaType(HeaderValue);

impl MediaType {
    /// Checks a media type. Parameters are tokens or quoted texts without escapes; wildcards are none.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "is no media type, such as \"application/pdf\"";
        let mut parts = text.split(';');
        let (kind, subtype) = parts
            .next()
            .and_then(|essence| essence.split_once('/'))
            .ok_or(WRONG)?;
        let named = is_token(kind) && is_token(subtype.trim_end_matches(' ')) && !text.contains('*');
        let parameters = parts.all(|parameter| {
            let pair = parameter.trim_matches(' ').split_once('=');
            pair.is_some_and(|(name, value)| is_token(name) && (is_token(value) || is_quoted(value)))
        });
        // What it is made of is visible ASCII and spaces, so that it can't be anything but one header's value.
        let value = HeaderValue::from_str(text).map_err(|_| WRONG)?;
        if named && parameters && text.len() <= MAX_TYPE_BYTES {
            Ok(Self(value))
        } else {
            Err(WRONG)
        }
    }

    /// The value of a `Content-Type`.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl TryFrom<Box<str>> for MediaType {
    type Error = &'static str;

    fn try_from(text: Box<str>) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

/// A token (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

fn is_quoted(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.is_some_and(|inner| {
        inner
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
    })
}

/// One catalogued file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Medium {
    /// Where it is at the origin: an absolute path, decoded.
    pub file: Box<str>,
    /// The name to save it under; the last segment of `file` where absent.
    #[serde(default)]
    pub name: Option<Box<str>>,
    /// The folder it counts to (`invoice`, `contract` …), for issuing rules.
    #[serde(default)]
    pub folder: Option<Box<str>>,
    /// Whose it is: compared with the caller's or token's subject where a rule says so.
    #[serde(default)]
    pub owner: Option<Box<str>>,
    /// What it is, in the place of what the origin says.
    #[serde(default, rename = "type")]
    pub media_type: Option<MediaType>,
}

impl Medium {
    /// The name to save it under.
    pub fn file_name(&self) -> &str {
        self.name
            .as_deref()
            .or_else(|| self.file.rsplit('/').next())
            .unwrap_or_default()
    }
}

/// The media of a catalogue by their ids, each id once: of two files under one id nobody knows which is meant.
#[derive(Clone, Debug, Default)]
pub struct Entries(pub HashMap<Box<str>, Medium>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;

        impl<'de> Visitor<'de> for Once {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("media by their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut all = HashMap::new();
                while let Some((id, medium)) = map.next_entry::<Box<str>, Medium>()? {
                    if all.insert(id, medium).is_some() {
                        return Err(A::Error::custom("an id stands twice"));
                    }
                }
                Ok(Entries(all))
            }
        }

        deserializer.deserialize_map(Once)
    }
}

/// Which file an id means.
#[derive(Clone, Debug)]
pub enum Media {
    /// Every id there is, by name.
    Catalogue(HashMap<Box<str>, Medium>),
    /// Every id is a file: `/files/{id}`. Nothing is known of it.
    Template(Box<str>),
}

/// What is known of an id.
#[derive(Clone, Debug)]
pub enum Known<'m> {
    /// It is in the catalogue.
    Medium(&'m Medium),
    /// By template: its path, encoded.
    Path(String),
    /// It is not in the catalogue.
    No,
}

impl Media {
    /// What is known of `id`.
    pub fn find(&self, id: &MediaId) -> Known<'_> {
        match self {
            Self::Catalogue(all) => all.get(id.as_str()).map_or(Known::No, Known::Medium),
            Self::Template(template) => match encode_segment(id.as_str()) {
                Ok(segment) => Known::Path(template.replace("{id}", &segment)),
                Err(_) => Known::No,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_one_header_value_and_nothing_more() {
        for good in [
            "application/pdf",
            "text/plain; charset=utf-8",
            "text/plain;charset=\"utf-8\"",
            "application/vnd.api+json; a=b; c=d",
        ] {
            assert_eq!(MediaType::parse(good).unwrap().header(), good, "{good}");
        }
        let long = format!("application/{}", "x".repeat(MAX_TYPE_BYTES));
        for bad in [
            "",
            "pdf",
            "application/",
            "/pdf",
            "*/*",
            "text/*",
            "text/html, text/plain",
            "text/plain;",
            "text/plain; charset",
            "text/plain; charset=\"a\"b\"",
            "text/plain\r\nX-Evil: 1",
            "text/plain; a=\"b\nc\"",
            "text/plain; a=\u{e4}",
            "text /plain",
            "a/b/c",
            &long,
        ] {
            assert!(MediaType::parse(bad).is_err(), "{bad:?}");
        }
    }
}
