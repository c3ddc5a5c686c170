//! What a token opens: exact paths, prefixes on a segment boundary, globs, media ids, the start of a path, and templates that a
//! claim fills.
//! Judges decoded canonical paths (`Target::path`) only. Linear time, whatever the pattern.

use std::fmt;

use super::claims::Claims;
use crate::target::{Target, encode_segment};

pub(in crate::token) mod glob;

use glob::{Pieces, matches, pieces};

/// The longest pattern that is accepted, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;
/// The most patterns that one scope may hold.
pub const MAX_PATTERNS: usize = 64;

/// One thing that is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opens {
    /// This path and nothing else.
    Exact(Box<str>),
    /// Everything below a folder: written with a slash at its end, `/a/` opens `/a/b` and not `/ab` nor `/a`.
    Prefix(Box<str>),
    /// A pattern: `*` within a segment, `**` across segments. Matches the whole path.
    Glob(Glob),
    /// A media id, whatever path it has.
    MediaId(Box<str>),
    /// Everything whose path starts with this text, wherever a segment ends: `/a/b` opens `/a/b`, `/a/bc` and `/a/bc/d`. What
    /// a Sirv `aud` means that neither ends with a slash nor names a file; no pattern is read as one.
    StartsWith(Box<str>),
}

/// A glob over decoded paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pattern: Box<str>,
}

/// Why a pattern is refused. Safe to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScope {
    /// Does not start with `/`.
    #[error("a path pattern starts with a slash")]
    Relative,
    /// Longer than `MAX_PATTERN_BYTES`.
    #[error("a path pattern has at most 1024 bytes")]
    TooLong,
    /// Dot segments, `//`, backslashes or control bytes: it could never match a canonical path.
    #[error("a path pattern has no dot segment, empty segment, backslash or control byte")]
    NeverMatches,
    /// A `{name}` that is not closed or empty.
    #[error("a placeholder is written {{name}}")]
    BadPlaceholder,
    /// The claim that a placeholder names is absent or can't be one segment.
    #[error("the claim of a placeholder is missing or can't be a path segment")]
    MissingClaim,
}

impl Opens {
    /// Reads a path pattern: with `*` it is a glob, with a slash at its end a prefix, else exact.
    ///
    /// # Errors
    /// `BadScope` for patterns that could never match or are too long.
    pub fn parse(text: &str) -> Result<Self, BadScope> {
        check(text)?;
        Ok(if text.contains('*') {
            Self::Glob(Glob { pattern: text.into() })
        } else if text.ends_with('/') {
            Self::Prefix(text.into())
        } else {
            Self::Exact(text.into())
        })
    }

    /// Reads a path in which `*` is a letter like any other: with a slash at its end a prefix, else exact.
    ///
    /// # Errors
    /// `BadScope` for paths that could never match or are too long.
    pub fn literal(text: &str) -> Result<Self, BadScope> {
        check(text)?;
        Ok(if text.ends_with('/') {
            Self::Prefix(text.into())
        } else {
            Self::Exact(text.into())
        })
    }

    /// Whether this opens `target`; `media` is the media id that the request names, if it does.
    pub fn opens(&self, target: &Target, media: Option<&str>) -> bool {
        match self {
            Self::MediaId(id) => media == Some(id),
            _ => self.opens_path(target.path()),
        }
    }

    /// Whether this opens all that `other` opens. Says no when it can't tell.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::MediaId(ours), Self::MediaId(theirs)) => ours == theirs,
            (Self::MediaId(_), _) | (_, Self::MediaId(_)) => false,
            (_, Self::Exact(path)) => self.opens_path(path),
            (Self::Prefix(_) | Self::StartsWith(_), Self::Prefix(start) | Self::StartsWith(start)) => {
                self.opens_path(start)
            }
            (Self::Prefix(_) | Self::StartsWith(_), Self::Glob(glob)) => {
                self.opens_path(glob.literal_start())
            }
            // What ends with `**` and matches a text also matches whatever that text is continued with.
            (Self::Glob(ours), Self::Prefix(start) | Self::StartsWith(start)) => {
                ours.is_open_ended() && ours.matches(start)
            }
            (Self::Glob(ours), Self::Glob(theirs)) => {
                ours == theirs || ours.is_open_ended() && ours.matches(theirs.literal_start())
            }
            (Self::Exact(_), _) => false,
        }
    }

    fn opens_path(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(start) | Self::StartsWith(start) => path.starts_with(&**start),
            Self::Glob(glob) => glob.matches(path),
            Self::MediaId(_) => false,
        }
    }
}

impl Glob {
    fn matches(&self, path: &str) -> bool {
        matches(&pieces(&self.pattern), path)
    }

    fn literal_start(&self) -> &str {
        self.pattern.split('*').next().unwrap_or("")
    }

    fn is_open_ended(&self) -> bool {
        self.pattern.ends_with("**")
    }
}

/// Refuses what no canonical path could match; placeholders were filled before.
fn check(pattern: &str) -> Result<(), BadScope> {
    if !pattern.starts_with('/') {
        return Err(BadScope::Relative);
    }
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(BadScope::TooLong);
    }
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    let forbidden = |byte: u8| byte.is_ascii_control() || byte == b'\\';
    if pattern.contains("//") || pattern.bytes().any(forbidden) || pattern.split('/').any(dots) {
        return Err(BadScope::NeverMatches);
    }
    Ok(())
}

impl fmt::Display for Opens {
    /// The pattern as `parse` reads it; a media id and the start of a path as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact(text) | Self::Prefix(text) | Self::MediaId(text) | Self::StartsWith(text) => text,
            Self::Glob(glob) => &glob.pattern,
        })
    }
}

/// All that a token opens. An empty one opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scope(pub Box<[Opens]>);

impl Scope {
    /// Whether any member opens `target`.
    pub fn opens(&self, target: &Target, media: Option<&str>) -> bool {
        self.0.iter().any(|opens| opens.opens(target, media))
    }

    /// Whether this opens all that `other` opens.
    pub fn covers(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|theirs| self.0.iter().any(|ours| ours.covers(theirs)))
    }
}

/// A pattern with claims in it: `/customers/{sub}/**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeTemplate {
    text: Box<str>,
}

impl ScopeTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// `BadScope` when the pattern could never match whatever the claims are.
    pub fn parse(text: &str) -> Result<Self, BadScope> {
        let template = Self { text: text.into() };
        let mut sample = String::new();
        for part in template.parts() {
            match part? {
                Part::Text(text) => sample.push_str(text),
                Part::Name(_) => sample.push('x'),
            }
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(BadScope::TooLong);
        }
        check(&sample)?;
        Ok(template)
    }

    /// The names in braces.
    pub fn names(&self) -> Vec<&str> {
        self.parts()
            .filter_map(|part| match part {
                Ok(Part::Name(name)) => Some(name),
                _ => None,
            })
            .collect()
    }

    /// Whether the template, filled from `claims`, opens `target`. A claim's value stands for exactly one segment or a
    /// part of one: `*`, `/`, `.`, `..` and the empty text in it never widen the pattern.
    ///
    /// # Errors
    /// `MissingClaim` when a claim is absent or can't be a segment.
    pub fn opens(&self, claims: &Claims, target: &Target) -> Result<bool, BadScope> {
        let mut filled = Pieces::new();
        for part in self.parts() {
            match part? {
                Part::Text(text) => filled.extend(pieces(text)),
                Part::Name(name) => filled.push(glob::Piece::Literal(value(claims, name)?)),
            }
        }
        if self.text.ends_with('/') && !self.text.contains('*') {
            filled.push(glob::Piece::Anything);
        }
        Ok(matches(&filled, target.path()))
    }

    /// The patterns it stands for with these claims, for issuing rules.
    ///
    /// # Errors
    /// `MissingClaim` as above, also when a value holds `*`.
    pub fn fill(&self, claims: &Claims) -> Result<Opens, BadScope> {
        let mut filled = String::with_capacity(self.text.len());
        for part in self.parts() {
            filled.push_str(match part? {
                Part::Text(text) => text,
                Part::Name(name) => {
                    let value = value(claims, name)?;
                    if value.contains('*') {
                        return Err(BadScope::MissingClaim);
                    }
                    value
                }
            });
        }
        Opens::parse(&filled)
    }

    fn parts(&self) -> Parts<'_> {
        Parts(&self.text)
    }
}

/// A claim's value that can stand in a segment.
fn value<'c>(claims: &'c Claims, name: &str) -> Result<&'c str, BadScope> {
    let value = claims.text(name).ok_or(BadScope::MissingClaim)?;
    encode_segment(value).map_err(|_| BadScope::MissingClaim)?;
    Ok(value)
}

enum Part<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// Walks over a template's texts and placeholders; ends after the first bad placeholder.
struct Parts<'t>(&'t str);

impl<'t> Iterator for Parts<'t> {
    type Item = Result<Part<'t>, BadScope>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.0);
        if rest.is_empty() {
            return None;
        }
        let at = rest.find(['{', '}']).unwrap_or(rest.len());
        if at > 0 {
            let (text, rest) = rest.split_at(at);
            self.0 = rest;
            return Some(Ok(Part::Text(text)));
        }
        let placeholder = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        Some(match placeholder {
            Some((name, rest)) if !name.is_empty() && !name.contains(['{', '/', '*']) => {
                self.0 = rest;
                Ok(Part::Name(name))
            }
            _ => Err(BadScope::BadPlaceholder),
        })
    }
}

#[cfg(test)]
mod tests;
