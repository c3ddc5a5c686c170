//! Where a login link leads. In: what its redirect says, decoded once. Out: a `Location` that every browser reads as a
//! path of our own origin, or as an address of a listed one. It is read as browsers read it (WHATWG URL), and what is sent
//! is written anew from what was read. Whatever has two readings is refused.

use std::fmt;

use url::Url;

use crate::target::{BadTarget, Target};
use crate::token::PublicBase;

/// The longest redirect, in bytes.
pub const MAX_REDIRECT_BYTES: usize = 2048;

/// Why a redirect is refused. The text holds nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum BadRedirect {
    /// More than `MAX_REDIRECT_BYTES`.
    TooLong,
    /// A control character, a backslash, or a space at an end: browsers drop or change them.
    Forbidden,
    /// No URL, or one of another scheme.
    NotUrl,
    /// A user name or password.
    Userinfo,
    /// An origin that is not ours and not listed.
    Foreign,
    /// Its path has two readings.
    Target(BadTarget),
}

impl BadRedirect {
    /// The sentence of `Display`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "the redirect is longer than 2 KiB",
            Self::Forbidden => "the redirect has a control character, a backslash or a space at an end",
            Self::NotUrl => "the redirect is neither a path nor an http URL",
            Self::Userinfo => "the redirect names a user",
            Self::Foreign => "the redirect leads to another site",
            Self::Target(bad) => bad.reason(),
        }
    }
}

/// Our own origin, and others that a redirect may name.
pub struct Site {
    base: Url,
    /// Exact origins, as `Url::origin` writes them.
    allowed: Box<[Box<str>]>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("base", &self.base.as_str())
            .field("allowed", &self.allowed)
            .finish()
    }
}

/// A redirect that was found good: an origin in front where it is not ours, then path, query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    origin: Option<Box<str>>,
    target: Target,
    fragment: Option<Box<str>>,
}

impl Site {
    /// The public reaches us here. `None` where that is no base of a URL.
    pub fn new(public: &PublicBase, allowed: Box<[Box<str>]>) -> Option<Self> {
        let base = Url::parse(&format!("{}://{}/", public.scheme, public.authority)).ok()?;
        base.has_host().then_some(Self { base, allowed })
    }

    /// Our own origin, as browsers write it.
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// The origins that a redirect may name besides.
    pub fn allowed(&self) -> &[Box<str>] {
        &self.allowed
    }

    /// Reads a redirect.
    ///
    /// # Errors
    /// `BadRedirect`.
    pub fn destination(&self, text: &str) -> Result<Destination, BadRedirect> {
        if text.len() > MAX_REDIRECT_BYTES {
            return Err(BadRedirect::TooLong);
        }
        if text.chars().any(|letter| letter.is_control() || letter == '\\')
            || text.starts_with(char::is_whitespace)
            || text.ends_with(char::is_whitespace)
        {
            return Err(BadRedirect::Forbidden);
        }
        check_start(text)?;
        let url = self.base.join(text).map_err(|_| BadRedirect::NotUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadRedirect::NotUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadRedirect::Userinfo);
        }
        let origin = if url.origin() == self.base.origin() {
            None
        } else {
            let origin = url.origin().ascii_serialization();
            if !self.allowed.iter().any(|allowed| **allowed == *origin) {
                return Err(BadRedirect::Foreign);
            }
            Some(origin.into())
        };
        let target = Target::parse(url.path(), url.query()).map_err(BadRedirect::Target)?;
        Ok(Destination {
            origin,
            target,
            fragment: url.fragment().filter(|text| !text.is_empty()).map(Box::from),
        })
    }
}

/// A path, a query or a fragment; or `http://` or `https://` and a host. `https:evil` and `https:///evil` are read in as
/// many ways as there are bases.
fn check_start(text: &str) -> Result<(), BadRedirect> {
    if text.starts_with("//") {
        return Err(BadRedirect::Foreign);
    }
    let Some((at, ':')) = text
        .char_indices()
        .find(|(_, letter)| matches!(letter, ':' | '/' | '?' | '#'))
    else {
        return Ok(());
    };
    let (scheme, rest) = text.split_at(at);
    let host = rest.strip_prefix("://").ok_or(BadRedirect::NotUrl)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(BadRedirect::NotUrl);
    }
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        return Err(BadRedirect::NotUrl);
    }
    // Also an empty name, which the parser drops.
    if host.contains('@') {
        return Err(BadRedirect::Userinfo);
    }
    Ok(())
}

impl Destination {
    /// Whether it lies on our own origin.
    pub fn is_ours(&self) -> bool {
        self.origin.is_none()
    }

    /// Its path, in its one encoding.
    pub fn path(&self) -> &str {
        self.target.encoded_path()
    }

    /// The same without the query parameters that `drop` says, by their raw names.
    ///
    /// # Errors
    /// `BadRedirect`; what was read once is read again.
    pub fn without(self, drop: impl Fn(&str) -> bool) -> Result<Self, BadRedirect> {
        let Some(query) = self.target.query() else {
            return Ok(self);
        };
        let kept: Vec<&str> = query
            .split('&')
            .filter(|pair| !drop(pair.split('=').next().unwrap_or_default()))
            .collect();
        let target = self
            .target
            .with_query(Some(&kept.join("&")))
            .map_err(BadRedirect::Target)?;
        Ok(Self { target, ..self })
    }

    /// The value of `Location`: ASCII, and on our own origin a path that starts with one slash.
    pub fn location(&self) -> String {
        let mut text = String::from(self.origin.as_deref().unwrap_or_default());
        text.push_str(self.target.as_str());
        if let Some(fragment) = &self.fragment {
            text.push('#');
            text.push_str(fragment);
        }
        text
    }
}

#[cfg(test)]
mod tests;
