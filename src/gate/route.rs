//! Which route a request takes: host and longest path prefix. Looks at the raw path segment by segment, each decoded
//! once; whether the path has one reading at all is judged later, by `Target::parse`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use percent_encoding::percent_decode_str;

use super::refusal::Code;
use crate::media::Media;
use crate::origin::Origin;
use crate::token::carrier::{Carrier, Carriers, Variables};
use crate::token::scheme::Schemes;
use crate::token::scope::ScopeTemplate;
use crate::token::{Methods, PublicBase};

mod template;

pub use template::RouteTemplate;

/// What a route demands of a token's scope.
#[derive(Clone, Debug)]
pub enum ScopeRule {
    /// The token's own scope opens the target; without one it opens nothing.
    Claims,
    /// The template, filled from the claims, opens the target. A scope in the token must open it too.
    Template(ScopeTemplate),
    /// Any true token opens the whole route. A scope in the token must still open the target.
    Whole,
}

/// The name in braces that stands for the whole target in a `Mapping::Template`.
pub const TARGET: &str = "target";

/// How a target becomes the origin's.
#[derive(Clone, Debug)]
pub enum Mapping {
    /// As it is.
    Same,
    /// Without the route's prefix.
    StripPrefix,
    /// `/files/{id}`: path variables and text claims, each as one segment; `{target}` is the whole target.
    Template(Box<str>),
    /// By the media id in the path variable `id`.
    Media(Arc<Media>),
}

/// What browsers may do with answers that can hold script (HTML, SVG, XML).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveContent {
    /// `Content-Security-Policy: sandbox`.
    Sandbox,
    /// `Content-Disposition: attachment`.
    Attachment,
    /// As the origin says.
    Allow,
}

/// How a file is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// As the origin says; `attachment` where the token names a file.
    Origin,
    /// In the browser, under the token's file name.
    Inline,
    /// Saved.
    Attachment,
}

/// Cross-origin rules of a route. Origins are compared exactly, byte for byte.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Allowed origins, `https://app.example.com`; never `*` with credentials, never `null`.
    pub origins: Box<[Box<str>]>,
    /// Whether any origin may read (`*`), without credentials.
    pub any: bool,
    /// Whether cookies may come along.
    pub credentials: bool,
}

/// Which wire dialect's statuses a route answers with. A route's own `status` map comes first, the common table last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialectStatus {
    /// The common table.
    Native,
    /// Fynn: every refused token is 403.
    Fynn,
    /// Sirv: every refused token is 403, and why is not told.
    Sirv,
    /// Adobe: every refused token is 403, and problem details say the word of Adobe's verifier.
    Adobe,
}

/// One `[[route]]`.
pub struct Route {
    /// Its name, for logs and metrics.
    pub name: Box<str>,
    /// Its number, in the order of the configuration: the index of its counters.
    pub number: usize,
    /// The host it is for, lower case, without port; `None` is any.
    pub host: Option<Box<str>>,
    /// The decoded path prefix, on a segment boundary, without a slash at its end; empty for `/`. Of a path with variables,
    /// what stands before the first.
    pub prefix: Box<str>,
    /// The paths with variables, where it has those; its targets are or lie below one of them.
    pub templates: Box<[RouteTemplate]>,
    /// Where tokens may ride.
    pub carriers: Carriers,
    /// How they are checked.
    pub schemes: Schemes,
    /// Where the files are.
    pub origin: Origin,
    /// What a token must open.
    pub scope: ScopeRule,
    /// Clock skew that is forgiven at both ends of a token's life.
    pub leeway: Duration,
    /// What becomes of tokens that may be used once.
    pub single_use: super::session::Rules,
    /// Whether bodies are cut when their token is withdrawn.
    pub cut_revoked: bool,
    /// Methods that the route serves.
    pub methods: Methods,
    /// The largest upload, in bytes.
    pub max_upload: u64,
    /// How the target becomes the origin's.
    pub mapping: Mapping,
    /// Statuses that differ from the table.
    pub status: HashMap<Code, StatusCode>,
    /// The dialect whose statuses apply.
    pub dialect: DialectStatus,
    /// Cross-origin rules; `None` says nothing to browsers of other origins.
    pub cors: Option<Cors>,
    /// What scripts in answers may do.
    pub active_content: ActiveContent,
    /// How files are shown.
    pub disposition: Disposition,
    /// Whether the client's cookies (without the token) go to the origin.
    pub forward_cookies: bool,
    /// Whether the client's `Authorization` (unless it is the carrier) goes to the origin.
    pub forward_authorization: bool,
    /// Headers that tell the origin who it is: name and claim.
    pub identity_headers: Box<[(HeaderName, Box<str>)]>,
    /// Origin response headers that pass beyond the usual ones.
    pub response_headers: Box<[HeaderName]>,
    /// The origin's own host names, whose `Location` becomes path-only.
    pub origin_hosts: Box<[Box<str>]>,
    /// Hosts that a `Location` may name besides; else 502.
    pub redirect_hosts: Box<[Box<str>]>,
    /// The cookie of sessions, which no origin gets, also where it is no carrier.
    pub session_cookie: Option<Box<str>>,
    /// Public scheme and host, for schemes that sign them and for forwarded headers.
    pub public: Option<PublicBase>,
}

impl Route {
    /// Whether a decoded target lies within the route; the values of its variables where it does.
    pub fn variables(&self, path: &str) -> Option<Variables> {
        if self.templates.is_empty() {
            return super::locate::below(path, &self.prefix).then(Variables::new);
        }
        let template = self
            .templates
            .iter()
            .filter(|template| template.covers(path) && self.takes(template, path))
            .max_by_key(|template| template.depth())?;
        Some(template.variables(path))
    }

    /// What the first segment of a path starts with where that is the token.
    pub fn markers(&self) -> impl Iterator<Item = &str> {
        let carried = self.carriers.iter().filter_map(|carrier| match carrier {
            Carrier::PathPrefix { marker } => Some(&**marker),
            _ => None,
        });
        let signed = self.schemes.signed().iter().flat_map(|scheme| scheme.markers());
        carried.chain(signed.map(|marker| &**marker))
    }

    /// Where the whole path is made anew, nothing lies below it.
    fn takes(&self, template: &RouteTemplate, path: &str) -> bool {
        !matches!(self.mapping, Mapping::Template(_)) || template.is(path)
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All routes, by host and prefix.
#[derive(Debug, Default)]
pub struct Router {
    hosts: HashMap<Box<str>, Prefixes>,
    any: Prefixes,
}

#[derive(Debug, Default)]
struct Prefixes {
    routes: HashMap<Box<str>, Arc<Route>>,
    /// Segments of the longest prefix.
    depth: usize,
    /// Markers of path-prefix carriers, without duplicates.
    markers: Vec<Box<str>>,
    /// Routes whose paths have variables.
    templates: Vec<(RouteTemplate, Arc<Route>)>,
}

/// Two routes for one host and prefix.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("routes {0:?} and {1:?} have the same host and path")]
pub struct SameRoute(pub Box<str>, pub Box<str>);

impl Router {
    /// All routes together.
    ///
    /// # Errors
    /// `SameRoute` where two can't be told apart.
    pub fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Result<Self, SameRoute> {
        let mut router = Self::default();
        for route in routes {
            let prefixes = match &route.host {
                Some(host) => router.hosts.entry(host.clone()).or_default(),
                None => &mut router.any,
            };
            prefixes.depth = prefixes.depth.max(route.prefix.matches('/').count());
            for marker in route.markers() {
                if !prefixes.markers.iter().any(|known| **known == *marker) {
                    prefixes.markers.push(marker.into());
                }
            }
            if !route.templates.is_empty() {
                prefixes.add_templates(&route)?;
                continue;
            }
            if let Some(old) = prefixes.routes.insert(route.prefix.clone(), Arc::clone(&route)) {
                return Err(SameRoute(old.name.clone(), route.name.clone()));
            }
        }
        Ok(router)
    }

    /// The route of a request, by its host (lower case, without port) and raw path. A host's own routes hide those for
    /// any host only where they match.
    pub fn find(&self, host: Option<&str>, raw_path: &str) -> Option<&Arc<Route>> {
        host.and_then(|host| self.hosts.get(host))
            .and_then(|prefixes| prefixes.find(raw_path))
            .or_else(|| self.any.find(raw_path))
    }
}

impl Prefixes {
    fn find(&self, raw_path: &str) -> Option<&Arc<Route>> {
        // `/~{token}/rest`: the rest decides, among the routes that have this carrier.
        // Decoded once, as the carrier reads it: `%7E` is how some players write `~`.
        let first = raw_path
            .get(1..)
            .and_then(|path| path.split('/').next())
            .unwrap_or_default();
        let first: Cow<'_, str> = match self.markers.is_empty() {
            true => Cow::Borrowed(""),
            false => percent_decode_str(first).decode_utf8_lossy(),
        };
        if let Some(marker) = self.markers.iter().find(|marker| first.starts_with(&***marker)) {
            let rest = raw_path[1..].find('/').map_or("", |at| &raw_path[1 + at..]);
            let carried = self
                .best(rest)
                .filter(|route| route.markers().any(|ours| *ours == **marker));
            if carried.is_some() {
                return carried;
            }
        }
        self.best(raw_path)
    }

    fn add_templates(&mut self, route: &Arc<Route>) -> Result<(), SameRoute> {
        for template in &route.templates {
            let twin = self.templates.iter().find(|(other, _)| other.is_alike(template));
            if let Some((_, twin)) = twin {
                return Err(SameRoute(twin.name.clone(), route.name.clone()));
            }
            self.templates.push((template.clone(), Arc::clone(route)));
        }
        Ok(())
    }

    /// The route with the most segments; of two with as many, the one without variables.
    fn best(&self, raw_path: &str) -> Option<&Arc<Route>> {
        let plain = self.longest(raw_path);
        if self.templates.is_empty() {
            return plain;
        }
        let path = percent_decode_str(raw_path).decode_utf8().ok()?;
        let found = self
            .templates
            .iter()
            .filter(|(template, route)| template.covers(&path) && route.takes(template, &path))
            .max_by_key(|(template, _)| template.depth());
        match (plain, found) {
            (Some(plain), Some((template, _))) if plain.prefix.matches('/').count() >= template.depth() => {
                Some(plain)
            }
            (_, Some((_, route))) => Some(route),
            (plain, None) => plain,
        }
    }

    /// The longest prefix on a segment boundary: tries the first `depth` segments, then fewer.
    fn longest(&self, raw_path: &str) -> Option<&Arc<Route>> {
        let end = raw_path
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'/')
            .nth(self.depth)
            .map_or(raw_path.len(), |(at, _)| at);
        let raw = raw_path[..end].trim_end_matches('/');
        let decoded: Cow<'_, str> = if raw.contains('%') {
            percent_decode_str(raw).decode_utf8().ok()?
        } else {
            Cow::Borrowed(raw)
        };
        let mut candidate: &str = &decoded;
        loop {
            if let Some(route) = self.routes.get(candidate) {
                return Some(route);
            }
            candidate = &candidate[..candidate.rfind('/')?];
        }
    }
}

#[cfg(test)]
mod tests;
