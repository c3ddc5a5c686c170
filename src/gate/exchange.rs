//! What the log will say of a request, and what the answer needs of its head. Phases write it; none decides by it
//! whether a request passes.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, header};

use super::route::{Cors, Route};
use crate::clock::{Stopwatch, UnixTime};
use crate::token::Claims;
use crate::token::scheme::signed::Statuses;

static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Who reads a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A person who navigates: a page.
    Person,
    /// A program: `application/problem+json`.
    Program,
    /// A media element: nothing.
    Media,
}

impl Reader {
    /// By `Sec-Fetch-Dest` (Fetch Metadata §2.1) where a browser sends it, else by `Accept`.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        match text(&SEC_FETCH_DEST) {
            "document" | "iframe" | "frame" | "embed" | "object" => return Self::Person,
            "video" | "audio" | "image" | "track" | "font" | "style" | "script" => return Self::Media,
            "empty" => return Self::Program,
            _ => {}
        }
        let accept = text(&header::ACCEPT);
        if accept.contains("text/html") {
            Self::Person
        } else if ["image/", "video/", "audio/"]
            .iter()
            .any(|kind| accept.starts_with(kind))
        {
            Self::Media
        } else {
            Self::Program
        }
    }
}

/// Which cross-origin reader asks, by the route's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrossOrigin {
    /// The route has rules, and nobody or nobody allowed asks: only `Vary: Origin` is due.
    NotAllowed,
    /// Any origin may read.
    Any,
    /// The route's allowed origin of this number.
    Allowed(usize),
}

impl CrossOrigin {
    /// Holds the request's `Origin` against the rules.
    pub fn of(cors: &Cors, headers: &HeaderMap) -> Self {
        if cors.any {
            return Self::Any;
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return Self::NotAllowed;
        };
        let allowed = cors
            .origins
            .iter()
            .position(|allowed| allowed.as_bytes() == origin.as_bytes());
        allowed.map_or(Self::NotAllowed, Self::Allowed)
    }
}

/// Which of the gate's doors a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The routes.
    Gate,
    /// The landing.
    Landing,
}

impl Door {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Landing => "landing",
        }
    }
}

/// The record of one request while it runs.
#[derive(Debug)]
pub struct Exchange {
    /// When its head had been read.
    pub time: UnixTime,
    /// Since when it is measured.
    pub watch: Stopwatch,
    /// Its method.
    pub method: Method,
    /// The client's address, as far as it is known.
    pub client: IpAddr,
    /// Which door it came to.
    pub door: Door,
    /// Its route, once found.
    pub route: Option<Arc<Route>>,
    /// Its path without the token, decoded, once parsed.
    pub path: Option<Box<str>>,
    /// The scheme that its token is of, once it was looked at.
    pub scheme: Option<&'static str>,
    /// How refusals are answered, by the scheme of its token.
    pub statuses: Statuses,
    /// What its token says, once believed.
    pub claims: Option<Arc<Claims>>,
    /// Who reads a refusal.
    pub reader: Reader,
    /// Which cross-origin reader asks; `None` where the route has no rules.
    pub cross_origin: Option<CrossOrigin>,
}

impl Exchange {
    /// The record of a request that came at `time`.
    pub fn start(time: UnixTime, client: IpAddr, method: &Method, headers: &HeaderMap) -> Self {
        Self {
            time,
            watch: Stopwatch::start(),
            method: method.clone(),
            client,
            door: Door::Gate,
            route: None,
            path: None,
            statuses: Statuses::Common,
            scheme: None,
            claims: None,
            reader: Reader::of(headers),
            cross_origin: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn people_programs_and_media_elements_are_told_apart() {
        for (pairs, reader) in [
            (&[][..], Reader::Program),
            (&[("accept", "*/*")], Reader::Program),
            (
                &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")],
                Reader::Person,
            ),
            (&[("accept", "*/*"), ("sec-fetch-dest", "video")], Reader::Media),
            (
                &[("accept", "text/html"), ("sec-fetch-dest", "empty")],
                Reader::Program,
            ),
            (&[("accept", "image/avif,image/webp")], Reader::Media),
            (&[("accept", "application/json")], Reader::Program),
            (
                &[("accept", "*/*"), ("sec-fetch-dest", "document")],
                Reader::Person,
            ),
        ] {
            assert_eq!(Reader::of(&headers(pairs)), reader, "{pairs:?}");
        }
    }

    #[test]
    fn origins_are_compared_exactly() {
        let cors = Cors {
            origins: Box::new(["https://app.example.com".into()]),
            ..Cors::default()
        };
        for (origin, result) in [
            ("https://app.example.com", CrossOrigin::Allowed(0)),
            ("https://app.example.com.evil.example", CrossOrigin::NotAllowed),
            ("https://APP.example.com", CrossOrigin::NotAllowed),
            ("http://app.example.com", CrossOrigin::NotAllowed),
            ("null", CrossOrigin::NotAllowed),
        ] {
            assert_eq!(
                CrossOrigin::of(&cors, &headers(&[("origin", origin)])),
                result,
                "{origin}"
            );
        }
    }
}
