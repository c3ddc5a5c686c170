//! Bearers that the issuer makes itself: for a name and its password, for a refresh token, for a one-time token. Whatever is
//! given for one is checked as far as that goes before it is used up.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, header};
use zeroize::Zeroizing;

use self::bound::{Bound, Source};
use super::accounts::{Account, Kind, MAX_NAME_BYTES, MAX_PASSWORD_BYTES};
use super::dialect::single;
use super::form::Parameters;
use super::refusal::IssueRefusal;
use super::{AdobeBearer, Issuer, MAX_BODY_BYTES, Memory, NexudusBearer, cannot_sign, mint};
use crate::clock::UnixTime;
use crate::store::{Purposes, Refresh, Store};
use crate::throttle;
use crate::token::scheme::jwt::Minter;
use crate::token::scheme::opaque::Handle;
use crate::token::{Claims, Minted, TokenId};

mod bound;
mod exchange;

/// The header in which clients say who they are.
const CLIENT_ID: HeaderName = HeaderName::from_static("client_id");

/// What the configuration rules out.
const NO_BEARERS: IssueRefusal = IssueRefusal::NotAllowed("No bearers are made here.");

/// How the issuer's own bearers are made.
pub struct Bearers {
    /// Signs them.
    pub minter: Arc<Minter>,
    /// How long they live.
    pub ttl: Duration,
    /// How long a refresh token may wait for its use.
    pub refresh_ttl: Duration,
}

/// A bearer, and what is good for the next one.
pub(super) struct Granted {
    pub(super) bearer: Minted,
    pub(super) lives: Duration,
    pub(super) refresh: Option<Handle>,
    pub(super) subject: Box<str>,
    pub(super) made: UnixTime,
}

impl Issuer {
    /// Signs in, or stays so.
    pub(super) async fn sign_in(
        &self,
        door: &NexudusBearer,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Result<Granted, IssueRefusal> {
        let form = form(request)?;
        match form.get("grant_type") {
            Some("password") => {
                self.by_password(door, client, &form, request.headers(), now, memory)
                    .await
            }
            Some("refresh_token") => {
                self.by_refresh(client, &form, request.headers(), now, memory)
                    .await
            }
            Some(_) => Err(IssueRefusal::GrantUnsupported),
            None => Err(IssueRefusal::BadRequest("The parameter grant_type is missing.")),
        }
    }

    async fn by_password(
        &self,
        door: &NexudusBearer,
        client: IpAddr,
        form: &Parameters,
        headers: &HeaderMap,
        now: UnixTime,
        memory: &Memory,
    ) -> Result<Granted, IssueRefusal> {
        let name = form.get("username").filter(|name| name.len() <= MAX_NAME_BYTES);
        let name = name.ok_or(IssueRefusal::BadRequest(
            "The parameter username has 1 to 256 bytes.",
        ))?;
        let password = form
            .get("password")
            .filter(|password| password.len() <= MAX_PASSWORD_BYTES);
        let password = password.ok_or(IssueRefusal::BadRequest(
            "The parameter password has 1 to 1024 bytes.",
        ))?;
        let client_id = client_id(headers)?;
        let tries = (door.tries_per_account, door.tries_per_address);
        let account = self.account(tries, client, name, password, now).await?;
        let bound = (account.kind == Kind::User).then(|| Bound {
            source: Source::Password {
                account: account.name.clone(),
                mark: self.mark(&account),
            },
            client: client_id.unwrap_or(name).into(),
        });
        self.grant(&account.subject, &account.scope, bound, now, memory)
            .await
    }

    /// The account whose name and password these are. `tries` for one account and from one address are allowed in a minute.
    pub(super) async fn account(
        &self,
        (per_account, per_address): (u32, u32),
        client: IpAddr,
        name: &str,
        password: &str,
        now: UnixTime,
    ) -> Result<Arc<Account>, IssueRefusal> {
        // Before the work, so that a try costs the same whatever comes of it.
        let tries = &self.lasting.tries;
        tries
            .addresses
            .take(&throttle::site(client), per_address, now)
            .map_err(IssueRefusal::TooManyTries)?;
        tries
            .accounts
            .take(&self.bucket(name), per_account, now)
            .map_err(IssueRefusal::TooManyTries)?;
        let accounts = Arc::clone(&self.settings.accounts);
        let (owned, password) = (name.to_owned(), Zeroizing::new(password.to_owned()));
        let checked = self
            .lasting
            .hashing
            .run(move || accounts.check(&owned, password.as_bytes()));
        checked.await?.ok_or(IssueRefusal::GrantInvalid)
    }

    /// Signs a client in (RFC 6749 §4.4), as Adobe's clients ask for it.
    pub(super) async fn client_credentials(
        &self,
        door: &AdobeBearer,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
    ) -> Result<Granted, IssueRefusal> {
        let form = form(request).map_err(|refusal| match refusal {
            IssueRefusal::GrantUnsupported => IssueRefusal::BadRequest("The body is a form."),
            other => other,
        })?;
        match form.get("grant_type") {
            Some("client_credentials") => {}
            Some(_) => return Err(IssueRefusal::GrantUnsupported),
            None => return Err(IssueRefusal::BadRequest("The parameter grant_type is missing.")),
        }
        let text = |name: &str, longest: usize| {
            let text = form.get(name).filter(|text| text.len() <= longest);
            text.ok_or(IssueRefusal::BadRequest("A parameter is missing or too long."))
        };
        let id = text("client_id", MAX_NAME_BYTES)?;
        let secret = text("client_secret", MAX_PASSWORD_BYTES)?;
        let tries = (door.tries_per_account, door.tries_per_address);
        let account = self.account(tries, client, id, secret, now).await?;
        if account.kind != Kind::Client {
            // As for a wrong secret: nobody learns here whether a person's password was right.
            return Err(IssueRefusal::GrantInvalid);
        }
        self.bearer(&account.subject, &account.scope, Some(door.ttl), now)
            .await
    }

    async fn by_refresh(
        &self,
        client: IpAddr,
        form: &Parameters,
        headers: &HeaderMap,
        now: UnixTime,
        memory: &Memory,
    ) -> Result<Granted, IssueRefusal> {
        let text = form.get("refresh_token");
        let text = text.ok_or(IssueRefusal::BadRequest(
            "The parameter refresh_token is missing.",
        ))?;
        let client_id = client_id(headers)?;
        let handle = Handle::parse(text).ok_or(IssueRefusal::GrantInvalid)?;
        let store = memory.store()?;
        if !memory.unknown.may_look(client, now) {
            return Err(IssueRefusal::TooManyTries(Duration::from_secs(1)));
        }
        let id = handle.id(&self.settings.log_key);
        let Some(taken) = store.take_refresh(id).await? else {
            memory.unknown.was_unknown(client, now);
            return Err(IssueRefusal::GrantInvalid);
        };
        let renewed = self.renew(id, &taken, client_id, store, now, memory).await;
        if renewed.is_err() && taken.expires > now {
            // Neither another client's try nor our failure uses it up.
            store.remember_refresh(id, taken).await?;
        }
        renewed
    }

    /// The bearer for a refresh token that was taken out.
    async fn renew(
        &self,
        id: TokenId,
        taken: &Refresh,
        client_id: Option<&str>,
        store: &Store,
        now: UnixTime,
        memory: &Memory,
    ) -> Result<Granted, IssueRefusal> {
        let bound = Bound::parse(&taken.client).ok_or(IssueRefusal::GrantInvalid)?;
        let claims = Claims {
            subject: Some(taken.subject.clone()),
            issued: Some(taken.issued),
            ..Claims::empty(id)
        };
        let is_its = match client_id {
            Some(client_id) => client_id == &*bound.client,
            None => bound.is_default(&taken.subject),
        };
        if !is_its || taken.expires <= now || store.revoked().covers(&claims) {
            return Err(IssueRefusal::GrantInvalid);
        }
        match &bound.source {
            // What the account may do now, and nothing where it is gone or has another password.
            Source::Password { account, mark } => {
                let account = self.settings.accounts.find(account);
                let account =
                    account.filter(|account| account.subject == taken.subject && self.mark(account) == *mark);
                let account = account.ok_or(IssueRefusal::GrantInvalid)?;
                self.grant(&taken.subject, &account.scope, Some(bound), now, memory)
                    .await
            }
            Source::Exchange(longest) => {
                let allowed = self.exchange_allows(taken).ok_or(IssueRefusal::GrantInvalid)?;
                let longest = allowed.min(*longest);
                let mut granted = self
                    .bearer(&taken.subject, &taken.scope, Some(longest), now)
                    .await?;
                let next = Refresh {
                    issued: now,
                    // One exchange is good for so long, however often its bearer is made anew.
                    ..taken.clone()
                };
                granted.refresh = Some(self.refresh(next, memory).await?);
                Ok(granted)
            }
        }
    }

    /// How long the bearers of an exchange may live by the rule that allows it now; `None` where none does.
    fn exchange_allows(&self, taken: &Refresh) -> Option<Duration> {
        self.settings.nexudus_exchange.as_ref()?;
        let is_its = |rule: &&mint::Rule| {
            rule.requires == taken.scope
                && rule
                    .caller
                    .as_deref()
                    .is_none_or(|caller| caller == &*taken.subject)
        };
        let rule = self.settings.rules.iter().find(is_its)?;
        rule.purposes
            .has(Purposes::EXCHANGE)
            .then(|| Duration::from_secs(rule.exchange_secs.into()))
    }

    /// Makes a bearer, and a refresh token that is bound to what it was given for.
    async fn grant(
        &self,
        subject: &str,
        scope: &str,
        bound: Option<Bound>,
        now: UnixTime,
        memory: &Memory,
    ) -> Result<Granted, IssueRefusal> {
        let mut granted = self.bearer(subject, scope, None, now).await?;
        if let Some(bound) = bound {
            let refresh = self.first_refresh(subject, scope, &bound, now)?;
            granted.refresh = Some(self.refresh(refresh, memory).await?);
        }
        Ok(granted)
    }

    /// Makes a bearer.
    pub(super) async fn bearer(
        &self,
        subject: &str,
        scope: &str,
        longest: Option<Duration>,
        now: UnixTime,
    ) -> Result<Granted, IssueRefusal> {
        let bearers = self.settings.bearers.as_ref().ok_or(NO_BEARERS)?;
        let lives = longest.map_or(bearers.ttl, |longest| longest.min(bearers.ttl));
        let claims = Claims {
            subject: Some(subject.into()),
            expires: Some(now.after(lives)),
            named: Box::new([("scope".into(), scope.into())]),
            ..Claims::empty(TokenId([0; 16]))
        };
        Ok(Granted {
            bearer: self
                .sign(&bearers.minter, bearers.minter.is_slow(), &Arc::new(claims), now)
                .await?,
            lives,
            refresh: None,
            subject: subject.into(),
            made: now,
        })
    }

    /// What a refresh token says that lives from now on.
    fn first_refresh(
        &self,
        subject: &str,
        scope: &str,
        bound: &Bound,
        now: UnixTime,
    ) -> Result<Refresh, IssueRefusal> {
        let bearers = self.settings.bearers.as_ref().ok_or(NO_BEARERS)?;
        Ok(Refresh {
            subject: subject.into(),
            scope: scope.into(),
            client: bound.to_string().into(),
            issued: now,
            expires: now.after(bearers.refresh_ttl),
        })
    }

    /// Makes a refresh token that says this.
    async fn refresh(&self, refresh: Refresh, memory: &Memory) -> Result<Handle, IssueRefusal> {
        let handle = Handle::random().map_err(|error| cannot_sign(&error))?;
        let id = handle.id(&self.settings.log_key);
        memory.store()?.remember_refresh(id, refresh).await?;
        Ok(handle)
    }

    /// Tells an account's password from another, and nothing else of it.
    fn mark(&self, account: &Account) -> Box<str> {
        let hash = account.hash.reveal().as_bytes();
        let name = self.settings.log_key.name(&[b"password ", hash].concat());
        name.to_string().get(..16).unwrap_or_default().into()
    }

    /// Where the tries for a name are counted: one of 65,536 places, so that no number of names fills the counts, and no
    /// count tells whether the name is somebody's.
    fn bucket(&self, name: &str) -> String {
        let hash = self
            .settings
            .log_key
            .name(&[b"account ", name.as_bytes()].concat());
        format!("{:02x}{:02x}", hash.0[0], hash.0[1])
    }
}

/// The form of a request; whatever is no form asks for a grant in a language that is not spoken here.
fn form(request: &Request<Bytes>) -> Result<Parameters, IssueRefusal> {
    if request.body().len() > MAX_BODY_BYTES {
        return Err(IssueRefusal::TooLarge);
    }
    let media_type = single(request.headers(), &header::CONTENT_TYPE);
    let media_type = media_type.ok().flatten().unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(IssueRefusal::GrantUnsupported);
    }
    Parameters::parse(request.body()).map_err(IssueRefusal::BadRequest)
}

/// Who the client says it is.
fn client_id(headers: &HeaderMap) -> Result<Option<&str>, IssueRefusal> {
    let bad =
        IssueRefusal::BadRequest("The header client_id stands once and has 1 to 256 visible characters.");
    let Ok(client) = single(headers, &CLIENT_ID) else {
        return Err(bad);
    };
    match client {
        Some(client) if client.is_empty() || client.len() > MAX_NAME_BYTES => Err(bad),
        client => Ok(client),
    }
}
