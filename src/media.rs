//! The catalogue of media ids: which file an id means, its name, folder and owner. Or a template, where every id is a file.

use std::collections::HashMap;

use serde::Deserialize;

use crate::target::{BadTarget, encode_segment};

/// The longest media id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

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
