//! The issuer: dialect → caller → rule → mint → dialect. The cold door; a dialect holds no policy, a rule no wire shape.
//! Synchronous, and pure but for the count of the throttle.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::clock::UnixTime;
use crate::media::Media;
use crate::token::keys::KeyRing;
use crate::token::scheme::jwt::{Jwt, Minter};
use crate::token::{Claims, MintToken, Minted, TokenId};

pub mod caller;
pub mod dialect;
pub mod mint;
pub mod refusal;
pub mod throttle;

use caller::Caller;
use dialect::Dialect;
pub use dialect::DialectName;
use mint::Rule;
use refusal::IssueRefusal;
use throttle::Throttle;

/// The largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Where our public keys stand (OpenID Connect Discovery uses the same place).
const JWKS_PATH: &str = "/.well-known/jwks.json";

/// How the issuer is set up. Everything is checked by the configuration.
pub struct Settings {
    /// How callers' bearers are checked.
    pub callers: Vec<Jwt>,
    /// What callers may have; the first rule that is for the caller decides.
    pub rules: Vec<Rule>,
    /// `https://media.example.com`: what links start with. Never read from a request.
    pub public_base: Box<str>,
    /// `POST /v1/tokens`, where mounted.
    pub native: Option<Minter>,
    /// `POST /media/{id}/download-token`, where mounted.
    pub fynn: Option<Fynn>,
    /// The sets whose public halves stand at `/.well-known/jwks.json`.
    pub published: Vec<Arc<KeyRing>>,
    /// Origins that browser code may call from, exact.
    pub cors_origins: Box<[Box<str>]>,
}

/// The download tokens of `POST /media/{id}/download-token`.
pub struct Fynn {
    /// Makes them.
    pub minter: Minter,
    /// Which ids there are.
    pub media: Arc<Media>,
    /// How long they live; 60 s in the original.
    pub ttl: Duration,
}

/// The issuer.
pub struct Issuer {
    settings: Settings,
    throttle: Throttle,
}

/// An answer and what the log says of it.
pub struct Answer {
    /// What goes to the caller.
    pub response: Response<Bytes>,
    /// A stable word for the log and the metrics: `issued`, `keys`, `preflight`, or a refusal's code.
    pub code: &'static str,
    /// The caller's subject, where it was proven.
    pub caller: Option<String>,
    /// The issued token's name in logs.
    pub token_id: Option<TokenId>,
}

/// A token that was made for a caller, for a dialect to render.
pub(crate) struct Issued {
    pub(crate) minted: Minted,
    pub(crate) claims: Claims,
}

/// What the log says of a request, gathered on the way.
#[derive(Default)]
struct Noted {
    caller: Option<String>,
    token_id: Option<TokenId>,
}

impl Issuer {
    /// An issuer with these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            throttle: Throttle::new(),
        }
    }

    /// Which dialect a request is for, by its path alone (`/v1/tokens`, `/media/{id}/download-token`): what a route that
    /// mounts dialects on the gate's listener asks.
    pub fn claims_path(&self, path: &str) -> Option<DialectName> {
        Some(Dialect::of(&self.settings, path)?.name())
    }

    /// Answers one request, whatever it is. The body was read by the server, at most `MAX_BODY_BYTES`.
    pub fn answer(&self, client: IpAddr, request: &Request<Bytes>, now: UnixTime) -> Answer {
        let mut noted = Noted::default();
        let path = request.uri().path();
        let dialect = Dialect::of(&self.settings, path);
        let (mut response, code) = match &dialect {
            _ if path == JWKS_PATH => self.keys(request.method()),
            Some(dialect) if is_preflight(request) => {
                (self.preflight(dialect, request.headers()), "preflight")
            }
            Some(dialect) => match self.issue(dialect, client, request, now, &mut noted) {
                Ok(response) => (response, "issued"),
                Err(refusal) => (dialect.refuse(&refusal), refusal.code()),
            },
            None => {
                let refusal = IssueRefusal::NotFound("There is nothing here.");
                (dialect::problem(&refusal), refusal.code())
            }
        };
        let headers = response.headers_mut();
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        self.cross_origin(request.headers(), headers);
        if request.method() == Method::HEAD {
            let length = response.body().len();
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length.into());
            *response.body_mut() = Bytes::new();
        }
        Answer {
            response,
            code,
            caller: noted.caller,
            token_id: noted.token_id,
        }
    }

    fn issue(
        &self,
        dialect: &Dialect<'_>,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
        noted: &mut Noted,
    ) -> Result<Response<Bytes>, IssueRefusal> {
        if request.method() != Method::POST {
            return Err(IssueRefusal::MethodNotAllowed("POST, OPTIONS"));
        }
        let caller = caller::prove(&self.settings.callers, client, request, now)?;
        noted.caller = Some(caller.subject().to_owned());
        let rule = mint::rule(&self.settings.rules, &caller)?;
        let claims = dialect.claims(&caller, rule, request, now)?;
        // Counted last: a request that is refused costs the caller none of its tokens.
        self.take(&caller, rule, now)?;
        let minted = dialect.minter().mint(&claims, now).map_err(|error| {
            tracing::error!(%error, dialect = dialect.name().as_str(), "no token could be made");
            IssueRefusal::SigningFailed
        })?;
        noted.token_id = Some(minted.id);
        Ok(dialect.render(&self.settings, request.headers(), &Issued { minted, claims }))
    }

    fn take(&self, caller: &Caller, rule: &Rule, now: UnixTime) -> Result<(), IssueRefusal> {
        match rule.per_minute {
            Some(limit) => self
                .throttle
                .take(caller.subject(), limit, now)
                .map_err(IssueRefusal::LimitReached),
            None => Ok(()),
        }
    }

    /// The public halves of the keys that sign.
    fn keys(&self, method: &Method) -> (Response<Bytes>, &'static str) {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let refusal = IssueRefusal::MethodNotAllowed("GET, HEAD");
            return (dialect::problem(&refusal), refusal.code());
        }
        let mut keys: Vec<serde_json::Value> = Vec::new();
        for generation in self.settings.published.iter().filter_map(|ring| ring.load()) {
            if let serde_json::Value::Array(public) = &mut generation.keys.public_jwks()["keys"] {
                keys.append(public);
            }
        }
        let mut response = dialect::json(
            StatusCode::OK,
            "application/jwk-set+json",
            &serde_json::json!({ "keys": keys }),
        );
        response.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        );
        (response, "keys")
    }

    fn preflight(&self, dialect: &Dialect<'_>, asked: &HeaderMap) -> Response<Bytes> {
        if self.allowed_origin(asked).is_none() {
            return dialect.refuse(&IssueRefusal::OriginNotAllowed);
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("POST"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, Content-Type"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        response
    }

    fn allowed_origin<'h>(&self, asked: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let mut origins = asked.get_all(header::ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none())?;
        self.settings
            .cors_origins
            .iter()
            .any(|known| known.as_bytes() == origin.as_bytes())
            .then_some(origin)
    }

    fn cross_origin(&self, asked: &HeaderMap, headers: &mut HeaderMap) {
        if self.settings.cors_origins.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.allowed_origin(asked) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("Retry-After"),
            );
        }
    }
}

fn is_preflight(request: &Request<Bytes>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests;
