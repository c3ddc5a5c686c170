//! The issuer: dialect → caller → rule → mint → dialect. The cold door; a dialect holds no policy, a rule no wire shape.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};

use self::caller::Caller;
use self::dialect::adobe::Shape;
use self::dialect::{Dialect, GrantDialect, Maker, SirvDoor};
use self::mint::{Issued, Rule};
use self::refusal::IssueRefusal;
use crate::clock::UnixTime;
use crate::store::{self, Purposes};
use crate::token::scheme::opaque::Handle;
use crate::token::{Claims, MintToken, Minted, TokenError};

mod about;
pub mod accounts;
pub mod adobe;
pub mod caller;
mod cors;
pub mod dialect;
mod entitlement;
mod form;
mod grant;
mod inventory;
mod lasting;
pub mod mint;
pub mod refusal;
mod settings;
mod sirv;

pub use dialect::DialectName;
pub use dialect::adobe::Format;
pub use entitlement::Entitlement;
pub use grant::Bearers;
pub use inventory::Inventory;
pub use lasting::{Lasting, Memory};
pub use settings::{
    AdobeBearer, AdobeMedia, Fynn, FynnInvoice, Mrss, Native, NativeScheme, NexudusBearer, NexudusExchange,
    NexudusMedia, NexudusToken, OverLimit, Settings, Sirv, SirvAccount, SirvBearer,
};

/// The largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The code of an answer to HEAD where GET would have made a token, whose length nobody knows.
const LOOKED: &str = "looked";

/// Where our public keys stand (RFC 8615).
const KEYS_PATH: &str = "/.well-known/jwks.json";

/// The issuer.
pub struct Issuer {
    settings: Settings,
    lasting: Arc<Lasting>,
    document: Bytes,
    page: Bytes,
}

/// What stands at a path.
#[derive(Clone, Copy)]
enum Door<'i> {
    /// A dialect that makes tokens for callers.
    Dialect(DialectName, Dialect<'i>),
    /// A dialect that makes bearers.
    Grant(DialectName, GrantDialect<'i>),
    /// Sirv's, whose callers are told how much is left to them.
    Sirv(DialectName, SirvDoor<'i>),
    /// Adobe's short media tokens, and how the answer is written.
    ShortMedia(&'i AdobeMedia, Shape<'i>),
    /// What everybody may read.
    Public(Public),
}

/// What everybody may read.
#[derive(Clone, Copy)]
enum Public {
    /// The public keys.
    Keys,
    /// The interface.
    Document,
    /// The page for people.
    Page,
}

impl Door<'_> {
    /// Where nothing else is to say how it refuses.
    const PLAIN: Self = Self::Public(Public::Keys);

    /// Whether it has the method.
    fn has(self, method: &Method) -> bool {
        self.methods().split(", ").any(|name| name == method.as_str())
    }

    /// Its methods, for `Allow`.
    fn methods(self) -> &'static str {
        match self {
            Self::Dialect(_, dialect) => dialect.methods(),
            Self::Grant(_, grant) => grant.methods(),
            Self::Sirv(..) => "POST",
            Self::ShortMedia(..) | Self::Public(_) => "GET, HEAD",
        }
    }

    /// Whether it is one of those where devices are held to a pace.
    fn is_paced(self) -> bool {
        matches!(
            self,
            Self::ShortMedia(..) | Self::Grant(DialectName::AdobeBearer, _)
        )
    }

    /// Refuses in its shape.
    fn refuse(self, refusal: &IssueRefusal) -> Answer {
        match self {
            Self::Dialect(name, dialect) => refused(refusal, name, dialect.over_limit()),
            Self::Grant(name, grant) => refused(refusal, name, grant.over_limit()),
            Self::Sirv(name, _) => refused(refusal, name, OverLimit::TooMany),
            Self::ShortMedia(_, shape) => {
                headed(dialect::adobe::refuse(&refusal.clone().into(), shape), refusal)
            }
            Self::Public(_) => refused(refusal, DialectName::Native, OverLimit::TooMany),
        }
    }
}

impl Issuer {
    /// An issuer with these settings.
    pub fn new(settings: Settings) -> Self {
        let mut issuer = Self {
            settings,
            lasting: Arc::default(),
            document: Bytes::new(),
            page: Bytes::new(),
        };
        issuer.document = about::document(|path| issuer.has_path(path));
        let all = DialectName::ALL.iter().copied();
        let mounted = all.filter(|name| issuer.mounted(*name, || Shape::PLAIN).is_some());
        issuer.page = about::page(&issuer.settings.address, mounted);
        issuer
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
        self.mounted(name, || Shape::PLAIN).map(|_| name)
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
        if request.method() == Method::HEAD && answer.code != LOOKED {
            let body = std::mem::take(answer.response.body_mut());
            let headers = answer.response.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        self.dress(answer, request.uri().path(), request.headers())
    }

    /// What stands on every answer.
    fn dress(&self, mut answer: Answer, path: &str, asked: &HeaderMap) -> Answer {
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
        if matches!(
            self.claims_path(path),
            Some(DialectName::Sirv | DialectName::SirvBearer)
        ) {
            cors::mark_sirv(&mut answer.response);
        }
        answer
    }

    /// Refuses a request whose body could not be read, in the shape of the dialect that it is for.
    pub fn refuse(&self, head: &Parts, refusal: &IssueRefusal) -> Answer {
        let door = self.door(&head.uri, &head.headers).unwrap_or(Door::PLAIN);
        self.dress(door.refuse(refusal), head.uri.path(), &head.headers)
    }

    async fn decide(
        &self,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Answer {
        let Some(door) = self.door(request.uri(), request.headers()) else {
            return Door::PLAIN.refuse(&IssueRefusal::NotFound("There is nothing here."));
        };
        if cors::is_preflight(request) {
            return match cors::preflight(request.headers(), &self.settings.cors_origins, door.methods()) {
                Ok(response) => Answer::new(response, "preflight"),
                Err(refusal) => door.refuse(&refusal),
            };
        }
        if let Door::Sirv(_, sirv) = door {
            return self.at_sirvs(sirv, client, request, now, memory).await;
        }
        if door.is_paced()
            && let Err(refusal) = self.throttle_device(client, now)
        {
            return door.refuse(&refusal);
        }
        if !door.has(request.method()) {
            return door.refuse(&IssueRefusal::MethodNotAllowed(door.methods()));
        }
        let dialect = match door {
            Door::Dialect(_, dialect) => dialect,
            Door::Grant(_, grant) => {
                let granted = match grant {
                    GrantDialect::NexudusBearer(bearer) => {
                        self.sign_in(bearer, client, request, now, memory).await
                    }
                    GrantDialect::NexudusExchange(_) => self.exchange(client, request, now, memory).await,
                    GrantDialect::AdobeBearer(bearer) => {
                        self.client_credentials(bearer, client, request, now).await
                    }
                };
                return match granted {
                    Ok(granted) => Answer {
                        token_id: Some(granted.bearer.id),
                        caller: Some(granted.subject.to_string()),
                        ..Answer::new(grant.render(&granted), "issued")
                    },
                    Err(refusal) => door.refuse(&refusal),
                };
            }
            // It was answered above.
            Door::Sirv(..) => return door.refuse(&IssueRefusal::MethodNotAllowed("POST")),
            Door::ShortMedia(media, shape) => {
                return self
                    .short_media((media, shape), client, request, now, memory)
                    .await;
            }
            Door::Public(public) => return self.show(public),
        };
        let caller = match caller::prove(&self.settings.callers, client, request, now, memory) {
            Ok(caller) => caller,
            Err(refusal) => return door.refuse(&refusal),
        };
        let answer = if request.method() == Method::HEAD {
            match mint::rule_for(&self.settings.rules, &caller, dialect.demands()) {
                Ok(_) => Answer::new(dialect.look(), LOOKED),
                Err(refusal) => door.refuse(&refusal),
            }
        } else {
            self.make(door, dialect, &caller, request, now, memory).await
        };
        Answer {
            caller: Some(caller.subject().to_owned()),
            ..answer
        }
    }

    /// The answer with a token, or without.
    async fn make(
        &self,
        door: Door<'_>,
        dialect: Dialect<'_>,
        caller: &Caller,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Answer {
        match self.issue(dialect, caller, request, now, memory).await {
            Ok(issued) => Answer {
                token_id: Some(issued.token.id),
                ..Answer::new(
                    dialect.render(&issued, &self.settings, request.headers()),
                    "issued",
                )
            },
            Err(refusal) => door.refuse(&refusal),
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
        let mut wish = dialect.parse(request)?;
        let bound = &caller.claims().addresses;
        if dialect.is_callers_own() {
            wish.addresses.clone_from(bound);
        }
        let maker = dialect.maker(rule, caller, &wish)?;
        let (scheme, medium) = (wish.scheme, wish.media.clone());
        if let (Maker::ShortMedia(_), Some(media)) = (&maker, &self.settings.adobe_media) {
            wish.lifetime = wish.lifetime.within(media.ttl)?;
        }
        let inventory = dialect.inventory(&self.settings);
        let claims = mint::judge(rule, caller, wish, dialect.offer(inventory, caller), now)?;
        let claims = match &maker {
            Maker::Signed(_) | Maker::Remembered(_) => claims,
            Maker::Sirv(_) => mint::without_limits(&claims).map(|()| claims)?,
            Maker::ShortMedia(resource) => self.short_media_claims(claims, resource, caller, now)?,
        };
        self.count_token(rule, caller, now)?;
        if let Some((inventory, id)) = inventory.zip(medium.as_ref()) {
            inventory.demand(id, &memory.pools, now).await?;
        }
        let claims = Arc::new(claims);
        let token = match maker {
            Maker::Signed(minter) => self.sign(minter, minter.is_slow(), &claims, now).await?,
            Maker::Remembered(purposes) => self.remember(rule, purposes, &claims, memory).await?,
            Maker::Sirv(minter) => self.sign(minter, false, &claims, now).await?,
            Maker::ShortMedia(_) => {
                let media = self.settings.adobe_media.as_ref();
                let media = media.ok_or(IssueRefusal::SigningFailed)?;
                self.sign(&media.minter, true, &claims, now).await?
            }
        };
        Ok(Issued {
            scheme,
            token,
            scope: claims.scope.clone().unwrap_or_default(),
            expires: claims.expires.unwrap_or(now),
        })
    }

    /// Counts a token against what the rule allows in a minute.
    fn count_token(&self, rule: &Rule, caller: &Caller, now: UnixTime) -> Result<(), IssueRefusal> {
        let Some(per_minute) = rule.per_minute else {
            return Ok(());
        };
        let counted = self.lasting.tokens.take(caller.subject(), per_minute, now);
        counted.map_err(IssueRefusal::LimitReached)
    }

    /// Signs; what takes long (RSA) on another thread.
    async fn sign<M: MintToken + Send + Sync + 'static>(
        &self,
        minter: &Arc<M>,
        is_slow: bool,
        claims: &Arc<Claims>,
        now: UnixTime,
    ) -> Result<Minted, IssueRefusal> {
        let signed = if is_slow {
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
    async fn remember(
        &self,
        rule: &Rule,
        purposes: Purposes,
        claims: &Claims,
        memory: &Memory,
    ) -> Result<Minted, IssueRefusal> {
        let handle = Handle::random().map_err(|error| cannot_sign(&error))?;
        let id = handle.id(&self.settings.log_key);
        // What a bearer that it is exchanged for, or a session, may do: what got it, and nothing else that its caller may.
        let named = match purposes {
            Purposes::FILE => Box::default(),
            _ => Box::from([("scope".into(), rule.requires.clone())]),
        };
        let claims = Claims {
            token_id: id,
            named,
            ..claims.clone()
        };
        let issued = store::Issued {
            claims: Arc::new(claims),
            purposes,
            exchange_secs: rule.exchange_secs,
        };
        memory.store()?.remember(id, issued).await?;
        Ok(Minted {
            text: handle.reveal().to_owned(),
            id,
        })
    }

    /// Whether something stands at a path.
    pub fn has_path(&self, path: &str) -> bool {
        matches!(path, KEYS_PATH | about::DOCUMENT_PATH | about::PAGE_PATH)
            || self.claims_path(path).is_some()
    }

    fn door(&self, uri: &Uri, headers: &HeaderMap) -> Option<Door<'_>> {
        match uri.path() {
            KEYS_PATH => Some(Door::Public(Public::Keys)),
            about::DOCUMENT_PATH => Some(Door::Public(Public::Document)),
            about::PAGE_PATH => Some(Door::Public(Public::Page)),
            path => {
                let media = self.settings.adobe_media.as_ref();
                let shape = || media.map_or(Shape::PLAIN, |media| dialect::adobe::shape(media, uri, headers));
                self.mounted(DialectName::of_path(path)?, shape)
            }
        }
    }

    fn mounted<'i>(&'i self, name: DialectName, shape: impl FnOnce() -> Shape<'i>) -> Option<Door<'i>> {
        let settings = &self.settings;
        let dialect = match name {
            DialectName::Native => settings.native.as_ref().map(Dialect::Native),
            DialectName::Fynn => settings.fynn.as_ref().map(Dialect::Fynn),
            DialectName::FynnInvoice => settings.fynn_invoice.as_ref().map(Dialect::FynnInvoice),
            DialectName::NexudusMedia => settings.nexudus_media.as_ref().map(Dialect::NexudusMedia),
            DialectName::NexudusToken => settings.nexudus_token.as_ref().map(Dialect::NexudusToken),
            DialectName::NexudusBearer => {
                let bearer = settings.nexudus_bearer.as_ref().map(GrantDialect::NexudusBearer);
                return bearer.map(|bearer| Door::Grant(name, bearer));
            }
            DialectName::NexudusExchange => {
                let exchange = settings.nexudus_exchange.as_ref();
                let exchange = exchange.map(GrantDialect::NexudusExchange);
                return exchange.map(|exchange| Door::Grant(name, exchange));
            }
            DialectName::Sirv => {
                let sirv = settings.sirv.as_ref().map(SirvDoor::Files);
                return sirv.map(|sirv| Door::Sirv(name, sirv));
            }
            DialectName::SirvBearer => {
                let bearer = settings.sirv_bearer.as_ref().map(SirvDoor::Bearer);
                return bearer.map(|bearer| Door::Sirv(name, bearer));
            }
            DialectName::AdobeMedia => {
                let media = settings.adobe_media.as_ref();
                return media.map(|media| Door::ShortMedia(media, shape()));
            }
            DialectName::AdobeBearer => {
                let bearer = settings.adobe_bearer.as_ref().map(GrantDialect::AdobeBearer);
                return bearer.map(|bearer| Door::Grant(name, bearer));
            }
        };
        dialect.map(|dialect| Door::Dialect(name, dialect))
    }

    fn show(&self, public: Public) -> Answer {
        match public {
            Public::Keys => self.public_keys(),
            Public::Document => Answer::new(about::document_answer(&self.document), "document"),
            Public::Page => Answer::new(about::page_answer(&self.page), "page"),
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

/// A refusal as an answer.
fn refused(refusal: &IssueRefusal, shape: DialectName, over_limit: OverLimit) -> Answer {
    headed(shape.refuse(refusal, over_limit), refusal)
}

/// The headers that go with a refusal, whatever its shape.
fn headed(mut response: Response<Bytes>, refusal: &IssueRefusal) -> Answer {
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
