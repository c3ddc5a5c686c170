//! What a token opens: exact paths, prefixes on a segment boundary, globs, media ids, and templates that a claim fills.
//! Judges decoded canonical paths (`Target::path`) only. Linear time, whatever the pattern.

use std::fmt;

use super::claims::Claims;
use crate::target::Target;

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
        todo!("{text}")
    }

    /// Whether this opens `target`; `media` is the media id that the request names, if it does.
    pub fn opens(&self, target: &Target, media: Option<&str>) -> bool {
        todo!("{target:?}{media:?}")
    }

    /// Whether this opens all that `other` opens. Says no when it can't tell.
    pub fn covers(&self, other: &Self) -> bool {
        todo!("{other:?}")
    }
}

impl fmt::Display for Opens {
    /// The pattern as `parse` reads it; a media id as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("")
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
        todo!("{text}")
    }

    /// The names in braces.
    pub fn names(&self) -> Vec<&str> {
        todo!()
    }

    /// Whether the template, filled from `claims`, opens `target`. A claim's value stands for exactly one segment or a
    /// part of one: `*`, `/`, `.`, `..` and the empty text in it never widen the pattern.
    ///
    /// # Errors
    /// `MissingClaim` when a claim is absent or can't be a segment.
    pub fn opens(&self, claims: &Claims, target: &Target) -> Result<bool, BadScope> {
        todo!("{claims:?}{target:?}")
    }

    /// The patterns it stands for with these claims, for issuing rules.
    ///
    /// # Errors
    /// `MissingClaim` as above, also when a value holds `*`.
    pub fn fill(&self, claims: &Claims) -> Result<Opens, BadScope> {
        todo!("{claims:?}")
    }
}
