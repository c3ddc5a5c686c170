//! The issuer: dialect → caller → rule → mint → dialect. The cold door; a dialect holds no policy, a rule no wire shape.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use self::caller::Caller;
use self::dialect::Dialect;
use self::mint::Issued;
use self::refusal::IssueRefusal;
use crate::clock::UnixTime;
use crate::media::Media;
use crate::throttle::Throttle;
use crate::token::keys::KeyRing;
use crate::token::scheme::jwt::{Jwt, Minter};

pub mod caller;
mod cors;
pub mod dialect;
pub mod mint;
pub mod refusal;

pub use dialect::DialectName;

/// The largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Where our public keys stand (RFC 8615).
const KEYS_PATH: &str = "/.well-known/jwks.json";

/// How the issuer is set up. Everything is checked by the configuration.
pub struct Settings {
    /// How callers' bearers are checked.
    pub callers: Vec<Jwt>,
    /// What callers may have; the first rule that is for the caller decides.
    pub rules: Vec<mint::Rule>,
    /// `https://media.example.com`: what links start with. Never read from a request.
    pub public_base: Box<str>,
    /// The query parameter of the links in answers; `None` where no route takes such tokens from a query.
    pub link_parameter: Option<Box<str>>,
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
    pub ttl: std::time::Duration,
}

/// The issuer.
pub struct Issuer {
    settings: Settings,
    throttle: Arc<Throttle>,
}

/// What stands at a path.
enum Door<'i> {
    /// A mounted dialect.
    Dialect(DialectName, Dialect<'i>),
    /// The public keys.
    Keys,
}

impl Door<'_> {
    /// Whether it has the method.
    fn has(&self, method: &Method) -> bool {
        match self {
            Self::Dialect(..) => method == Method::POST,
            Self::Keys => method == Method::GET || method == Method::HEAD,
        }
    }

    /// Its methods, for `Allow`.
    const fn methods(&self) -> &'static str {
        match self {
            Self::Dialect(..) => "POST",
            Self::Keys => "GET, HEAD",
        }
    }

    /// Whose shape its refusals have.
    const fn shape(&self) -> DialectName {
        match self {
            Self::Dialect(name, _) => *name,
            Self::Keys => DialectName::Native,
        }
    }
}

impl Issuer {
    /// An issuer with these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            throttle: Arc::default(),
        }
    }

    /// The same, with what an earlier issuer counted of its callers.
    #[must_use]
    pub fn counting_on(mut self, throttle: Arc<Throttle>) -> Self {
        self.throttle = throttle;
        self
    }

    /// Which dialect a request is for, by its path alone (`/v1/tokens`, `/media/{id}/download-token`): what a route that
    /// mounts dialects on the gate's listener asks.
    pub fn claims_path(&self, path: &str) -> Option<DialectName> {
        let name = DialectName::of_path(path)?;
        self.dialect(name).map(|_| name)
    }

    /// Answers one request, whatever it is. The body was read by the server, at most `MAX_BODY_BYTES`.
    pub fn answer(&self, client: IpAddr, request: &Request<Bytes>, now: UnixTime) -> Answer {
        self.dress(self.decide(client, request, now), request.headers())
    }

    /// What stands on every answer.
    fn dress(&self, mut answer: Answer, asked: &HeaderMap) -> Answer {
        let headers = answer.response.headers_mut();
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        cors::mark(&mut answer.response, asked, &self.settings.cors_origins);
        answer
    }

    /// Refuses a request whose body could not be read, in the shape of the dialect that it is for.
    pub fn refuse(&self, head: &Parts, refusal: &IssueRefusal) -> Answer {
        let shape = self
            .door(head.uri.path())
            .map_or(DialectName::Native, |door| door.shape());
        self.dress(refused(refusal, shape), &head.headers)
    }

    fn decide(&self, client: IpAddr, request: &Request<Bytes>, now: UnixTime) -> Answer {
        let Some(door) = self.door(request.uri().path()) else {
            return refused(
                &IssueRefusal::NotFound("There is nothing here."),
                DialectName::Native,
            );
        };
        if cors::is_preflight(request) {
            return match cors::preflight(request.headers(), &self.settings.cors_origins, door.methods()) {
                Ok(response) => Answer {
                    response,
                    code: "preflight",
                    caller: None,
                    token_id: None,
                },
                Err(refusal) => refused(&refusal, door.shape()),
            };
        }
        if !door.has(request.method()) {
            return refused(&IssueRefusal::MethodNotAllowed(door.methods()), door.shape());
        }
        let (name, dialect) = match door {
            Door::Dialect(name, dialect) => (name, dialect),
            Door::Keys => return self.public_keys(request.method()),
        };
        let caller = match caller::prove(&self.settings.callers, client, request, now) {
            Ok(caller) => caller,
            Err(refusal) => return refused(&refusal, name),
        };
        let answer = match self.issue(dialect, &caller, request, now) {
            Ok(issued) => Answer {
                response: dialect.render(&issued, &self.settings, request.headers()),
                code: "issued",
                caller: None,
                token_id: Some(issued.token.id),
            },
            Err(refusal) => refused(&refusal, name),
        };
        Answer {
            caller: Some(caller.subject().to_owned()),
            ..answer
        }
    }

    /// Rule, parse, mint.
    fn issue(
        &self,
        dialect: Dialect<'_>,
        caller: &Caller,
        request: &Request<Bytes>,
        now: UnixTime,
    ) -> Result<Issued, IssueRefusal> {
        let rule = mint::rule_for(&self.settings.rules, caller, dialect.demands())?;
        if request.body().len() > MAX_BODY_BYTES {
            return Err(IssueRefusal::TooLarge);
        }
        let wish = dialect.parse(request)?;
        let media = dialect
            .media()
            .or(self.settings.fynn.as_ref().map(|fynn| &*fynn.media));
        mint::issue(rule, caller, wish, media, (dialect.minter(), &self.throttle), now)
    }

    fn door(&self, path: &str) -> Option<Door<'_>> {
        if path == KEYS_PATH {
            return Some(Door::Keys);
        }
        let name = DialectName::of_path(path)?;
        Some(Door::Dialect(name, self.dialect(name)?))
    }

    fn dialect(&self, name: DialectName) -> Option<Dialect<'_>> {
        match name {
            DialectName::Native => self.settings.native.as_ref().map(Dialect::Native),
            DialectName::Fynn => self.settings.fynn.as_ref().map(Dialect::Fynn),
        }
    }

    fn public_keys(&self, method: &Method) -> Answer {
        let mut keys: Vec<serde_json::Value> = Vec::new();
        for generation in self.settings.published.iter().filter_map(|ring| ring.load()) {
            let mut set = generation.keys.public_jwks();
            let members = set["keys"].as_array_mut().map(std::mem::take).unwrap_or_default();
            // One set may be published under two names.
            for key in members {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        let body = serde_json::json!({ "keys": keys }).to_string();
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(if method == Method::HEAD {
            Bytes::new()
        } else {
            body.into()
        });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/jwk-set+json"),
        );
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        );
        Answer {
            response,
            code: "keys",
            caller: None,
            token_id: None,
        }
    }
}

/// A refusal as an answer, with the headers that every dialect has.
fn refused(refusal: &IssueRefusal, shape: DialectName) -> Answer {
    let mut response = shape.refuse(refusal);
    let headers = response.headers_mut();
    if refusal.status() == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let IssueRefusal::MethodNotAllowed(allow) = refusal {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(seconds) = refusal.retry_after_secs() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Answer {
        response,
        code: refusal.code(),
        caller: None,
        token_id: None,
    }
}

/// An answer and what the log says of it.
pub struct Answer {
    /// What goes to the caller.
    pub response: Response<Bytes>,
    /// A stable word for the log and the metrics: `issued`, `caller_missing`, `caller_invalid`, `not_allowed`, `bad_request` …
    pub code: &'static str,
    /// The caller's subject, where it was proven.
    pub caller: Option<String>,
    /// The issued token's name in logs.
    pub token_id: Option<crate::token::TokenId>,
}

#[cfg(test)]
mod tests;
