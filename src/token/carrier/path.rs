//! Tokens in the path: a whole path by template, and a first segment behind a marker. Works on raw paths.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{LocateError, Variables, decode, is_well_encoded};
use crate::target::BadTarget;

/// A path of literal segments, `{name}` variables and one `{token}`; `**` at its end is any number of further segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Box<[Segment]>,
    /// Whether more may follow.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Variable(Box<str>),
    Token,
}

impl PathPattern {
    /// Reads `/media/{id}/download/{token}` or `/{token}/**`; `{token}` stands exactly once, variables have distinct names.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text
            .strip_prefix('/')
            .ok_or("a path pattern starts with a slash")?;
        let (rest, open) = match rest.strip_suffix("/**") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let segments = rest.split('/').map(segment).collect::<Result<Box<[_]>, _>>()?;
        let pattern = Self { segments, open };
        if pattern
            .segments
            .iter()
            .filter(|segment| **segment == Segment::Token)
            .count()
            != 1
        {
            return Err("a path pattern has exactly one segment {token}");
        }
        let mut names: Vec<&str> = pattern.variables().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a path pattern names each variable once");
        }
        Ok(pattern)
    }

    /// The names of the variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(name) => Some(&**name),
            _ => None,
        })
    }

    /// The token, the variables and the path without the token; `None` when the path is not of this pattern or the
    /// token's segment is empty.
    pub(super) fn take(&self, path: &str) -> Result<Option<TakenSegment>, LocateError> {
        let Some(segments) = path.strip_prefix('/') else {
            return Ok(None);
        };
        let count = segments.split('/').count();
        if count < self.segments.len() || count > self.segments.len() && !self.open {
            return Ok(None);
        }
        let pairs = || self.segments.iter().zip(segments.split('/'));
        let fits = pairs().all(|(segment, raw)| match segment {
            Segment::Literal(literal) => percent_decode_str(raw).eq(literal.bytes()),
            Segment::Variable(_) | Segment::Token => !raw.is_empty(),
        });
        if !fits {
            return Ok(None);
        }
        let mut token = String::new();
        let mut variables = Variables::new();
        let mut rest = String::with_capacity(path.len());
        for (segment, raw) in pairs() {
            match segment {
                Segment::Token => {
                    token = decode(raw)?.into_owned();
                    continue;
                }
                Segment::Variable(name) => variables.push((name.clone(), variable(raw)?)),
                Segment::Literal(_) => {}
            }
            rest.push('/');
            rest.push_str(raw);
        }
        for raw in segments.split('/').skip(self.segments.len()) {
            rest.push('/');
            rest.push_str(raw);
        }
        if rest.is_empty() {
            rest.push('/');
        }
        Ok(Some(TakenSegment {
            token,
            variables,
            rest,
        }))
    }
}

/// What a `PathPattern` found.
pub(super) struct TakenSegment {
    pub(super) token: String,
    pub(super) variables: Variables,
    pub(super) rest: String,
}

fn segment(text: &str) -> Result<Segment, &'static str> {
    match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some("") => Err("a variable is written {name}"),
        Some(name) if name.contains(['{', '}']) => Err("a variable is written {name}"),
        Some("token") => Ok(Segment::Token),
        Some(name) => Ok(Segment::Variable(name.into())),
        None if text.contains(['{', '}']) => Err("a variable fills its whole segment"),
        None if matches!(text, "" | "." | "..") => {
            Err("a path pattern has no empty segment and no dot segment")
        }
        None => Ok(Segment::Literal(text.into())),
    }
}

/// A variable stays in the path, so whatever has two readings is refused with the target; here it is only decoded.
fn variable(raw: &str) -> Result<Box<str>, BadTarget> {
    if !is_well_encoded(raw) {
        return Err(BadTarget::BrokenEncoding);
    }
    let text = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| BadTarget::NotUtf8)?;
    Ok(text.into())
}

/// A marked first segment that was taken out.
pub(super) struct TakenPrefix<'r> {
    pub(super) token: Cow<'r, str>,
    pub(super) segment: Cow<'r, str>,
    pub(super) rest: &'r str,
}

/// The token behind `marker` in the first segment.
pub(super) fn take_prefix<'r>(path: &'r str, marker: &str) -> Result<Option<TakenPrefix<'r>>, LocateError> {
    let Some(after) = path.strip_prefix('/') else {
        return Ok(None);
    };
    let end = after.find('/').unwrap_or(after.len());
    let segment = &after[..end];
    let rest = if end == after.len() { "/" } else { &after[end..] };
    let token = if let Some(token) = segment.strip_prefix(marker) {
        if token.is_empty() {
            return Ok(None);
        }
        decode(token)?
    } else {
        // Players write `~` as `%7E`.
        if !segment.contains('%') || !percent_decode_str(segment).take(marker.len()).eq(marker.bytes()) {
            return Ok(None);
        }
        let text = decode(segment)?;
        match text.strip_prefix(marker) {
            None | Some("") => return Ok(None),
            Some(token) => Cow::Owned(token.to_owned()),
        }
    };
    Ok(Some(TakenPrefix {
        token,
        segment: Cow::Borrowed(segment),
        rest,
    }))
}
