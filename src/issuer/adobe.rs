//! How Adobe's short media tokens are issued: throttle, caller or listed device, rule, entitlement, token.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};

use super::caller::{self, Caller};
use super::dialect::adobe::{self, Asked, Denied, Play, Shape};
use super::entitlement::{Entitled, Entitlement, entitled};
use super::mint::{self, IssueRequest, Lifetime, Paths, Resource};
use super::refusal::IssueRefusal;
use super::{Answer, Issuer, LOOKED, Memory, headed};
use crate::clock::UnixTime;
use crate::issuer::settings::AdobeMedia;
use crate::throttle::{self, Pace};
use crate::token::keys::LogKey;
use crate::token::{Claims, Methods, TokenId, Uses};

/// What a device may do: one request a second. A burst of ten beside the one that is due is eleven at once.
const PACE: Pace = Pace::per_second(11);

/// Such a token can't say from where it may be used, and would be more than its bearer.
const FOR_ADDRESSES: &str = "The bearer is for some addresses alone.";

/// What lets a request pass.
struct Right<'e> {
    rule: &'e mint::Rule,
    entitlement: &'e Entitlement,
}

/// The name of a listed device.
pub fn device_name(log_key: &LogKey, device: &str) -> TokenId {
    log_key.name(&[b"adobe device ", device.as_bytes()].concat())
}

impl Issuer {
    /// Holds a device to its pace, at all of Adobe's doors together.
    pub(super) fn throttle_device(&self, client: IpAddr, now: UnixTime) -> Result<(), IssueRefusal> {
        let counted = self.lasting.devices.take_at(&throttle::site(client), PACE, now);
        counted.map_err(IssueRefusal::LimitReached)
    }

    /// Answers a request for a short media token.
    pub(super) async fn short_media(
        &self,
        (media, shape): (&AdobeMedia, Shape<'_>),
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Answer {
        let refused = |denied: Denied| headed(adobe::refuse(&denied, shape), &denied.common());
        let (asked, caller, subject) = match self.who(media, client, request, now, memory) {
            Ok(who) => who,
            Err(denied) => return refused(denied),
        };
        let answer = match self.right(media, &asked, &caller, subject.as_deref(), now) {
            Ok(_) if request.method() == Method::HEAD => Ok(Answer::new(adobe::look(shape), LOOKED)),
            Ok(right) => self.play((media, shape), &asked, &caller, &right, now).await,
            Err(denied) => Err(denied),
        };
        Answer {
            caller: Some(caller.subject().to_owned()),
            ..answer.unwrap_or_else(refused)
        }
    }

    /// Who asks for what; and the bearer's subject, where there is one.
    fn who(
        &self,
        media: &AdobeMedia,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Result<(Asked, Caller, Option<Box<str>>), Denied> {
        let bearer = match caller::prove(&self.settings.callers, client, request, now, memory) {
            Ok(caller) => Some(caller),
            Err(IssueRefusal::CallerMissing) => None,
            Err(refusal) => return Err(refusal.into()),
        };
        let asked = adobe::parse(media, request)?;
        let subject = bearer.as_ref().map(|caller| caller.subject().into());
        let caller = match bearer {
            Some(caller) => caller,
            None => self
                .listed(media, &asked.device)
                .ok_or(Denied::NotAuthenticated)?,
        };
        Ok((asked, caller, subject))
    }

    /// What lets the request pass.
    fn right<'e>(
        &'e self,
        media: &'e AdobeMedia,
        asked: &Asked,
        caller: &Caller,
        subject: Option<&str>,
        now: UnixTime,
    ) -> Result<Right<'e>, Denied> {
        if caller.claims().addresses.is_some() {
            return Err(Denied::NotAuthorized(Some(FOR_ADDRESSES.into())));
        }
        let rule = mint::rule_for(&self.settings.rules, caller, &[])?;
        match entitled(
            &media.entitlements,
            &asked.requestor,
            &asked.resource,
            subject,
            now,
        ) {
            Entitled::Yes(entitlement) => Ok(Right { rule, entitlement }),
            Entitled::Denied(details) => Err(Denied::NotAuthorized(details.map(Box::from))),
            Entitled::Ended => Err(Denied::Ended),
            Entitled::Unknown => Err(Denied::NotFound),
        }
    }

    /// A device that needs no bearer. Its id is all that it proves itself by, and so is in no log.
    fn listed(&self, media: &AdobeMedia, device: &str) -> Option<Caller> {
        let name = device_name(&self.settings.log_key, device);
        let is_listed = media.devices.contains(&name);
        let caller = || {
            Caller::new(Claims {
                subject: Some(format!("device:{name}").into()),
                named: Box::new([("scope".into(), media.devices_scope.clone())]),
                ..Claims::empty(name)
            })
        };
        is_listed.then(caller).flatten()
    }

    /// What a short media token of `POST /v1/tokens` says, where an entitlement is for its caller.
    pub(super) fn short_media_claims(
        &self,
        judged: Claims,
        resource: &Resource,
        caller: &Caller,
        now: UnixTime,
    ) -> Result<Claims, IssueRefusal> {
        mint::without_limits(&judged)?;
        if caller.claims().addresses.is_some() {
            return Err(IssueRefusal::NotAllowed(FOR_ADDRESSES));
        }
        let media = self.settings.adobe_media.as_ref();
        let entitlements = media.map_or(&[][..], |media| &media.entitlements);
        let subject = Some(caller.subject());
        match entitled(entitlements, &resource.requestor, &resource.id, subject, now) {
            Entitled::Yes(entitlement) => {
                let asked = (&*resource.requestor, &*resource.id);
                Ok(self.says(judged, asked, entitlement, caller, now))
            }
            Entitled::Denied(_) | Entitled::Ended | Entitled::Unknown => Err(IssueRefusal::NotAllowed(
                "No entitlement gives this caller the resource.",
            )),
        }
    }

    /// What the token says beyond its life.
    fn says(
        &self,
        judged: Claims,
        (requestor, resource): (&str, &str),
        entitlement: &Entitlement,
        caller: &Caller,
        now: UnixTime,
    ) -> Claims {
        let mut named: Vec<(Box<str>, Box<str>)> = vec![
            ("resource".into(), resource.into()),
            ("requestor".into(), requestor.into()),
            ("mvpd".into(), entitlement.mvpd.clone()),
        ];
        let proxy = entitlement.proxy_mvpd.clone();
        named.extend(proxy.map(|proxy| ("proxy_mvpd".into(), proxy)));
        // To the millisecond, as this token counts; others count seconds.
        let end = judged.expires.unwrap_or(now).millis() + now.millis().rem_euclid(1000);
        Claims {
            subject: Some(self.hashed("adobe session ", caller).into()),
            expires: Some(UnixTime::from_millis(end)),
            named: named.into(),
            ..judged
        }
    }

    /// A name of the caller that says nothing of it.
    fn hashed(&self, what: &str, caller: &Caller) -> String {
        let who = [what.as_bytes(), caller.subject().as_bytes()].concat();
        self.settings.log_key.name(&who).to_string()
    }

    async fn play(
        &self,
        (media, shape): (&AdobeMedia, Shape<'_>),
        asked: &Asked,
        caller: &Caller,
        Right { rule, entitlement }: &Right<'_>,
        now: UnixTime,
    ) -> Result<Answer, Denied> {
        let judged = mint::judge(rule, caller, wish(media), mint::Offer::default(), now)?;
        mint::without_limits(&judged)?;
        self.count_token(rule, caller, now)?;
        let claims = self.says(
            judged,
            (&asked.requestor, &asked.resource),
            entitlement,
            caller,
            now,
        );
        let end = claims.expires.unwrap_or(now).millis();
        let token = self.sign(&media.minter, true, &Arc::new(claims), now).await?;
        let play = Play {
            resource: &asked.resource,
            requestor: &asked.requestor,
            expires: end.to_string(),
            serialized_token: &token.text,
            user_id: &self.hashed("adobe user ", caller),
            mvpd_id: &entitlement.mvpd,
        };
        Ok(Answer {
            token_id: Some(token.id),
            ..Answer::new(adobe::render(&play, shape), "issued")
        })
    }
}

/// What is asked of the rule: a life. Which resource is for the entitlements to say, and what that opens for the gate.
fn wish(media: &AdobeMedia) -> IssueRequest {
    IssueRequest {
        methods: Some(Methods::READ),
        uses: Uses::Once,
        ..IssueRequest::new(Paths::Elsewhere, Lifetime::AtMost(media.ttl))
    }
}
