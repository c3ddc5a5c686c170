//! Where a token rides, as one text: `?md5={mac}&expires={expires}`, `?auth_key={issued}-{id}-{subject}-{mac}`,
//! `/dl/{mac}/{issued}`, `/{mac},{expires}`. Before a question mark stand the first segments of the path, of which those with
//! a placeholder are the token's and are taken out; behind it the token's parameters. Judges nothing but the shape.

use std::borrow::Cow;
use std::ops::Range;

use super::{Arguments, Encoding, query};
use crate::token::carrier::LocateError;
use crate::token::{MAX_TOKEN_BYTES, Parts};

mod template;

use template::{FIELDS, Template, cut};
pub(super) use template::{Field, Fields};

/// The longest text of a place, in bytes.
pub const MAX_LAYOUT_BYTES: usize = 512;
/// The most segments, and the most parameters.
const MAX_TEMPLATES: usize = 8;

/// Why a place is refused. Safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLayout {
    /// Neither path nor query.
    #[error("a place starts with / or ?")]
    Start,
    /// Longer than `MAX_LAYOUT_BYTES`.
    #[error("a place has at most 512 bytes")]
    TooLong,
    /// More than eight segments or parameters.
    #[error("a place has at most 8 segments and 8 parameters")]
    TooMany,
    /// A brace without its other half.
    #[error("a placeholder is written {{name}}")]
    Brace,
    /// No such placeholder.
    #[error("a place has no placeholder {{{0}}}, but mac, expires or issued, lifetime, starts, id, subject")]
    Unknown(Box<str>),
    /// Twice the same.
    #[error("the placeholder {{{0}}} stands twice")]
    Twice(&'static str),
    /// No MAC.
    #[error("a place has {{mac}}")]
    NoMac,
    /// Two placeholders with nothing between.
    #[error("between two placeholders of a place stands something")]
    NoSeparator,
    /// A letter that a URL would write otherwise.
    #[error("a place has letters, digits and -._~!$'()*,;:@= beside its placeholders")]
    Letter,
    /// An empty or a dot segment, or a parameter without a name.
    #[error("a place has no empty segment, no dot segment and no parameter without a name")]
    Empty,
    /// A literal segment behind the token, or a parameter that says nothing.
    #[error("segments of the token stand together, and each parameter has a placeholder")]
    Literal,
}

/// Where a token rides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What stands before the token's segments: empty, or with a slash before each segment.
    prefix: Box<str>,
    segments: Box<[Template]>,
    parameters: Box<[(Box<str>, Template)]>,
    /// The word of the time, where it has one.
    time: Option<&'static str>,
}

impl Layout {
    /// Reads a place.
    ///
    /// # Errors
    /// `BadLayout`.
    pub fn parse(text: &str) -> Result<Self, BadLayout> {
        if text.len() > MAX_LAYOUT_BYTES {
            return Err(BadLayout::TooLong);
        }
        let (path, parameters) = match text.split_once('?') {
            Some((path, parameters)) => (path, Some(parameters)),
            None => (text, None),
        };
        let segments = match path.strip_prefix('/') {
            Some(segments) => segments.split('/').map(Template::parse).collect(),
            None if path.is_empty() && parameters.is_some() => Ok(Vec::new()),
            None => return Err(BadLayout::Start),
        };
        let mut segments: Vec<Template> = segments?;
        let literal = segments
            .iter()
            .take_while(|segment| segment.literal().is_some())
            .count();
        let mut prefix = String::new();
        for segment in segments.drain(..literal) {
            let segment = segment.literal().unwrap_or_default();
            if matches!(segment, "." | "..") || segment.starts_with(".;") || segment.starts_with("..;") {
                return Err(BadLayout::Empty);
            }
            prefix.push('/');
            prefix.push_str(segment);
        }
        let parameters = parameters
            .into_iter()
            .flat_map(|parameters| parameters.split('&'));
        let parameters = parameters
            .map(|parameter| {
                let (name, value) = parameter.split_once('=').ok_or(BadLayout::Literal)?;
                match Template::parse(name)?.literal() {
                    Some(name) => Ok((Box::from(name), Template::parse(value)?)),
                    None => Err(BadLayout::Empty),
                }
            })
            .collect::<Result<Vec<_>, BadLayout>>()?;
        if literal + segments.len() > MAX_TEMPLATES || parameters.len() > MAX_TEMPLATES {
            return Err(BadLayout::TooMany);
        }
        let place = Self {
            prefix: prefix.into(),
            segments: segments.into(),
            parameters: parameters.into(),
            time: ["expires", "issued"]
                .into_iter()
                .find(|word| text.contains(&format!("{{{word}}}"))),
        };
        place.check()?;
        Ok(place)
    }

    fn check(&self) -> Result<(), BadLayout> {
        if self.templates().any(|template| template.literal().is_some())
            || !self.prefix.is_empty() && self.segments.is_empty()
        {
            return Err(BadLayout::Literal);
        }
        for (word, field) in FIELDS {
            match self
                .templates()
                .flat_map(Template::fields)
                .filter(|known| *known == field)
                .count()
            {
                0 if field == Field::Mac => return Err(BadLayout::NoMac),
                0 | 1 => {}
                _ => return Err(BadLayout::Twice(word)),
            }
        }
        match self
            .names()
            .any(|name| self.names().filter(|known| *known == name).count() > 1)
        {
            true => Err(BadLayout::Twice("name of a parameter")),
            false => Ok(()),
        }
    }

    /// What stands in the path before the token.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The word of its time: `expires` or `issued`.
    pub(super) fn time(&self) -> Option<&'static str> {
        self.time
    }

    /// Whether something of the token is in the path.
    pub fn is_in_path(&self) -> bool {
        !self.segments.is_empty()
    }

    /// The names of its parameters.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|(name, _)| &**name)
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.segments
            .iter()
            .chain(self.parameters.iter().map(|(_, template)| template))
    }

    /// Whether it has this field.
    pub(super) fn has(&self, field: Field) -> bool {
        self.templates()
            .flat_map(Template::fields)
            .any(|known| known == field)
    }

    /// The name of the parameter that has this field.
    pub(super) fn name_of(&self, field: Field) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(_, template)| template.fields().any(|known| known == field))
            .map(|(name, _)| &**name)
    }

    /// What the first segment starts with where that is the token.
    pub fn marker(&self) -> Option<&str> {
        let first = self.segments.first().filter(|_| self.prefix.is_empty())?;
        first.start()
    }

    /// Whether a MAC can be told from what stands behind it.
    pub(super) fn separates(&self, encoding: Encoding) -> bool {
        self.templates().all(|template| template.separates(encoding))
    }
}

/// What `Layout::take` found.
pub(super) struct Found<'r> {
    pub(super) parts: Parts<'r>,
    /// The path without the token.
    pub(super) path: Cow<'r, str>,
    /// The token's segments, where they are the path's first.
    pub(super) prefix: Option<Cow<'r, str>>,
}

impl Layout {
    /// Finds the token, and takes its segments out of the path. `None` where the shape is another one.
    ///
    /// # Errors
    /// `LocateError` for parameters that stand twice or can't be read.
    pub(super) fn take<'r>(
        &self,
        path: Cow<'r, str>,
        query: Option<&'r str>,
        arguments: Arguments,
    ) -> Result<Option<Found<'r>>, LocateError> {
        let mut parts = vec![Cow::Borrowed(""); Field::Subject as usize + 1];
        for (name, template) in &self.parameters {
            let Some(raw) = arguments.find(query, name)? else {
                // Without its MAC nothing is a token; what else is missing is for `verify` to name.
                match template.fields().any(|field| field == Field::Mac) {
                    true => return Ok(None),
                    false => continue,
                }
            };
            if raw.len() > MAX_TOKEN_BYTES {
                return Err(LocateError::Malformed);
            }
            let value = query::decode(raw)?;
            let mut keep = |field: Field, range| {
                if let Some(part) = parts.get_mut(field as usize) {
                    *part = cut(&value, range);
                }
            };
            if !template.read(&value, &mut keep) {
                return Ok(None);
            }
            // Absent is one thing, and there and empty another.
            if value.is_empty() {
                return Err(LocateError::Malformed);
            }
        }
        let Some(found) = self.take_segments(path, &mut parts) else {
            return Ok(None);
        };
        let (path, prefix) = found;
        let used = parts
            .iter()
            .rposition(|part| !part.is_empty())
            .map_or(0, |last| last + 1);
        parts.truncate(used);
        Ok(Some(Found {
            parts: parts.into(),
            path,
            prefix,
        }))
    }

    fn take_segments<'r>(
        &self,
        path: Cow<'r, str>,
        parts: &mut [Cow<'r, str>],
    ) -> Option<(Cow<'r, str>, Option<Cow<'r, str>>)> {
        if self.segments.is_empty() {
            return Some((path, None));
        }
        let mut segments = Segments { path: &path, at: 1 };
        for literal in self.prefix.split('/').skip(1) {
            let segment = segments.next()?;
            if !query::is(path.get(segment)?, literal) {
                return None;
            }
        }
        let start = segments.at;
        for template in &self.segments {
            let segment = segments.next()?;
            let value = query::decode(path.get(segment)?).ok()?;
            let mut keep = |field: Field, range: Range<usize>| {
                // Borrowed of the path, which may itself be owned.
                let text = value.get(range).unwrap_or_default().to_owned();
                if let Some(part) = parts.get_mut(field as usize) {
                    *part = Cow::Owned(text);
                }
            };
            if !template.read(&value, &mut keep) {
                return None;
            }
        }
        let end = segments.at.checked_sub(1)?;
        let rest = cut(&path, end..path.len());
        Some(match self.prefix.is_empty() {
            true => (rest, Some(cut(&path, start..end))),
            false => (Cow::Owned(format!("{}{rest}", self.prefix)), None),
        })
    }

    /// The token's segments and its parameters, as a URL holds them.
    pub(super) fn write(&self, fields: &Fields<'_>) -> (String, String) {
        let mut path = String::new();
        for template in &self.segments {
            path.push('/');
            path.push_str(&template.write(fields));
        }
        let mut query = String::new();
        for (name, template) in &self.parameters {
            if template.is_without(fields) {
                continue;
            }
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            query.push_str(&template.write(fields));
        }
        (path, query)
    }
}

/// The segments of a path that others follow.
struct Segments<'p> {
    path: &'p str,
    /// Where the next starts.
    at: usize,
}

impl Segments<'_> {
    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let end = start + self.path.get(start..)?.find('/')?;
        self.at = end + 1;
        Some(start..end)
    }
}
