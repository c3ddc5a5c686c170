//! The issuer: dialect → caller → rule → mint → dialect. The cold door; a dialect holds no policy, a rule no wire shape.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use self::caller::Caller;
use self::dialect::{Dialect, Maker};
use self::mint::{Issued, Rule};
use self::pool::Pool;
use self::refusal::IssueRefusal;
use crate::clock::UnixTime;
use crate::media::Media;
use crate::store::{self, Store, StoreError};
use crate::throttle::Throttle;
use crate::token::keys::{KeyRing, LogKey};
use crate::token::scheme::jwt::{Jwt, Minter};
use crate::token::scheme::opaque::Handle;
use crate::token::{Claims, MintToken, Minted, TokenError};

pub mod caller;
mod cors;
pub mod dialect;
pub mod mint;
mod pool;
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
    pub native: Option<Arc<Minter>>,
    /// `POST /media/{id}/download-token`, where mounted.
    pub fynn: Option<Fynn>,
    /// `GET /api/auth/media/customer`, where mounted.
    pub nexudus_media: Option<NexudusMedia>,
    /// `POST /api/sys/users/token/refresh`, where mounted.
    pub nexudus_token: Option<NexudusToken>,
    /// The sets whose public halves stand at `/.well-known/jwks.json`.
    pub published: Vec<Arc<KeyRing>>,
    /// Origins that browser code may call from, exact.
    pub cors_origins: Box<[Box<str>]>,
    /// Names tokens for the logs and the store.
    pub log_key: Arc<LogKey>,
}

/// The download tokens of `POST /media/{id}/download-token`.
pub struct Fynn {
    /// Makes them.
    pub minter: Arc<Minter>,
    /// Which ids there are.
    pub media: Arc<Media>,
    /// How long they live; 60 s in the original.
    pub ttl: Duration,
}

/// The media tokens of `GET /api/auth/media/customer`.
pub struct NexudusMedia {
    /// Makes them.
    pub minter: Arc<Minter>,
    /// How long they live; 60 s in the original.
    pub ttl: Duration,
    /// How a caller who asks too often is answered.
    pub over_limit: OverLimit,
}

/// The one-time tokens of `POST /api/sys/users/token/refresh`.
pub struct NexudusToken {
    /// How long they may wait for their use.
    pub ttl: Duration,
    /// Whether GET asks for one, too.
    pub allow_get: bool,
    /// How a caller who asks too often is answered.
    pub over_limit: OverLimit,
}

/// How who is over a limit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// 409 without a body and `Retry-After: 1`, as Nexudus does.
    Conflict,
    /// 429, as RFC 6585 says.
    TooMany,
}

/// What outlives an issuer and its configuration: what was counted of its callers, and the places where it works.
pub struct Lasting {
    tokens: Throttle,
    signing: Pool,
}

impl Default for Lasting {
    fn default() -> Self {
        Self {
            tokens: Throttle::new(),
            signing: Pool::new(2, 64),
        }
    }
}

/// What an issuer shares with the gate.
pub struct Memory {
    /// The memory of tokens; none while another process has it.
    pub store: Option<Arc<Store>>,
    /// Who showed how many unknown tokens.
    pub unknown: Arc<Throttle>,
}

impl Memory {
    fn store(&self) -> Result<&Store, StoreError> {
        self.store.as_deref().ok_or(StoreError::Closed)
    }
}

/// The issuer.
pub struct Issuer {
    settings: Settings,
    lasting: Arc<Lasting>,
}

/// What stands at a path.
#[derive(Clone, Copy)]
enum Door<'i> {
    /// A mounted dialect.
    Dialect(DialectName, Dialect<'i>),
    /// The public keys.
    Keys,
}

impl Door<'_> {
    /// Whether it has the method.
    fn has(self, method: &Method) -> bool {
        self.methods().split(", ").any(|name| name == method.as_str())
    }

    /// Its methods, for `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Self::Dialect(_, dialect) => dialect.methods(),
            Self::Keys => "GET, HEAD",
        }
    }

    /// Refuses in its shape.
    fn refuse(self, refusal: &IssueRefusal) -> Answer {
        match self {
            Self::Dialect(name, dialect) => refused(refusal, name, dialect.over_limit()),
            Self::Keys => refused(refusal, DialectName::Native, OverLimit::TooMany),
        }
    }
}

impl Issuer {
    /// An issuer with these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            lasting: Arc::default(),
        }
    }

    /// The same, with what an earlier issuer counted of its callers.
    #[must_use]
    pub fn counting_on(mut self, lasting: Arc<Lasting>) -> Self {
        self.lasting = lasting;
        self
    }

    /// Which dialect a request is for, by its path alone (`/v1/tokens`, `/media/{id}/download-token`): what a route that
    /// mounts dialects on the gate's listener asks.
    pub fn claims_path(&self, path: &str) -> Option<DialectName> {
        let name = DialectName::of_path(path)?;
        self.dialect(name).map(|_| name)
    }

    /// Answers one request, whatever it is. The body was read by the server, at most `MAX_BODY_BYTES`.
    pub async fn answer(
        &self,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Answer {
        let mut answer = self.decide(client, request, now, memory).await;
        if request.method() == Method::HEAD {
            let body = std::mem::take(answer.response.body_mut());
            let headers = answer.response.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        self.dress(answer, request.headers())
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
        let door = self.door(head.uri.path()).unwrap_or(Door::Keys);
        self.dress(door.refuse(refusal), &head.headers)
    }

    async fn decide(
        &self,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Answer {
        let Some(door) = self.door(request.uri().path()) else {
            return Door::Keys.refuse(&IssueRefusal::NotFound("There is nothing here."));
        };
        if cors::is_preflight(request) {
            return match cors::preflight(request.headers(), &self.settings.cors_origins, door.methods()) {
                Ok(response) => Answer::new(response, "preflight"),
                Err(refusal) => door.refuse(&refusal),
            };
        }
        if !door.has(request.method()) {
            return door.refuse(&IssueRefusal::MethodNotAllowed(door.methods()));
        }
        let Door::Dialect(_, dialect) = door else {
            return self.public_keys();
        };
        let caller = match caller::prove(&self.settings.callers, client, request, now, memory) {
            Ok(caller) => caller,
            Err(refusal) => return door.refuse(&refusal),
        };
        let answer = match self.issue(dialect, &caller, request, now, memory).await {
            Ok(issued) => Answer {
                token_id: Some(issued.token.id),
                ..Answer::new(
                    dialect.render(&issued, &self.settings, request.headers()),
                    "issued",
                )
            },
            Err(refusal) => door.refuse(&refusal),
        };
        Answer {
            caller: Some(caller.subject().to_owned()),
            ..answer
        }
    }

    /// Rule, parse, judge, count, make.
    async fn issue(
        &self,
        dialect: Dialect<'_>,
        caller: &Caller,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Result<Issued, IssueRefusal> {
        let rule = mint::rule_for(&self.settings.rules, caller, dialect.demands())?;
        if request.body().len() > MAX_BODY_BYTES {
            return Err(IssueRefusal::TooLarge);
        }
        let wish = dialect.parse(request)?;
        let media = dialect
            .media()
            .or(self.settings.fynn.as_ref().map(|fynn| &*fynn.media));
        let claims = mint::judge(rule, caller, wish, media, now)?;
        if let Some(per_minute) = rule.per_minute {
            let counted = self.lasting.tokens.take(caller.subject(), per_minute, now);
            counted.map_err(IssueRefusal::LimitReached)?;
        }
        let claims = Arc::new(claims);
        let token = match dialect.maker() {
            Maker::Signed(minter) => self.sign(minter, &claims, now).await?,
            Maker::Remembered => self.remember(rule, &claims, memory).await?,
        };
        Ok(Issued {
            token,
            scope: claims.scope.clone().unwrap_or_default(),
            expires: claims.expires.unwrap_or(now),
        })
    }

    /// Signs; what takes long on another thread.
    async fn sign(
        &self,
        minter: &Arc<Minter>,
        claims: &Arc<Claims>,
        now: UnixTime,
    ) -> Result<Minted, IssueRefusal> {
        let signed = if minter.is_slow() {
            let (minter, claims) = (Arc::clone(minter), Arc::clone(claims));
            self.lasting
                .signing
                .run(move || minter.mint(&claims, now))
                .await?
        } else {
            minter.mint(claims, now)
        };
        signed.map_err(|error| cannot_sign(&error))
    }

    /// Makes a token that says nothing, and has the store remember what it stands for.
    async fn remember(&self, rule: &Rule, claims: &Claims, memory: &Memory) -> Result<Minted, IssueRefusal> {
        let handle = Handle::random().map_err(|error| cannot_sign(&error))?;
        let id = handle.id(&self.settings.log_key);
        let claims = Claims {
            token_id: id,
            // What a bearer that it is exchanged for may do: what got it, and nothing else that its caller may.
            named: Box::new([("scope".into(), rule.requires.clone())]),
            ..claims.clone()
        };
        let issued = store::Issued {
            claims: Arc::new(claims),
            purposes: rule.purposes,
            exchange_secs: rule.exchange_secs,
        };
        memory.store()?.remember(id, issued).await?;
        Ok(Minted {
            text: handle.reveal().to_owned(),
            id,
        })
    }

    fn door(&self, path: &str) -> Option<Door<'_>> {
        if path == KEYS_PATH {
            return Some(Door::Keys);
        }
        let name = DialectName::of_path(path)?;
        Some(Door::Dialect(name, self.dialect(name)?))
    }

    fn dialect(&self, name: DialectName) -> Option<Dialect<'_>> {
        let settings = &self.settings;
        match name {
            DialectName::Native => settings.native.as_ref().map(Dialect::Native),
            DialectName::Fynn => settings.fynn.as_ref().map(Dialect::Fynn),
            DialectName::NexudusMedia => settings.nexudus_media.as_ref().map(Dialect::NexudusMedia),
            DialectName::NexudusToken => settings.nexudus_token.as_ref().map(Dialect::NexudusToken),
        }
    }

    fn public_keys(&self) -> Answer {
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
        let mut response = Response::new(serde_json::json!({ "keys": keys }).to_string().into());
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/jwk-set+json"),
        );
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        );
        Answer::new(response, "keys")
    }
}

fn cannot_sign(error: &TokenError) -> IssueRefusal {
    tracing::error!(%error, "a token can't be made");
    IssueRefusal::SigningFailed
}

/// A refusal as an answer, with the headers that every dialect has.
fn refused(refusal: &IssueRefusal, shape: DialectName, over_limit: OverLimit) -> Answer {
    let mut response = shape.refuse(refusal, over_limit);
    let challenged = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    if challenged {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let IssueRefusal::MethodNotAllowed(allow) = refusal {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(seconds) = refusal.retry_after_secs() {
        headers
            .entry(header::RETRY_AFTER)
            .or_insert(HeaderValue::from(seconds));
    }
    Answer::new(response, refusal.code())
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

impl Answer {
    fn new(response: Response<Bytes>, code: &'static str) -> Self {
        Self {
            response,
            code,
            caller: None,
            token_id: None,
        }
    }
}

#[cfg(test)]
mod tests;
