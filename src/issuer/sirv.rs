//! What stands at Sirv's addresses: who asks is counted by the hour, asked well or not, and every answer says what is left.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Method, Request};

use super::accounts::Kind;
use super::caller::{self, Caller};
use super::dialect::{SirvDoor, sirv};
use super::refusal::IssueRefusal;
use super::{Answer, Issuer, MAX_BODY_BYTES, Memory, Sirv, SirvBearer, cannot_sign, headed, mint};
use crate::clock::UnixTime;
use crate::throttle::{self, Count};
use crate::token::{TokenError, TokenId};

/// How much a caller may ask in an hour where the configuration does not say.
const PER_HOUR: u32 = 7000;

/// What is handed out, and for whom.
struct Made {
    response: http::Response<Bytes>,
    token_id: TokenId,
}

impl Issuer {
    /// Answers one request for one of Sirv's addresses.
    pub(super) async fn at_sirvs(
        &self,
        door: SirvDoor<'_>,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Answer {
        let is_post = request.method() == Method::POST;
        let (subject, count, made) = match door {
            _ if !is_post => (
                None,
                self.count(None, client, now),
                Err(IssueRefusal::MethodNotAllowed("POST")),
            ),
            SirvDoor::Files(files) => {
                let caller = caller::prove(&self.settings.callers, client, request, now, memory);
                let subject = caller.as_ref().ok().map(|caller| caller.subject().to_owned());
                // Who may have nothing here takes no place among those who may.
                let has_rule = |caller: &Caller| mint::rule_for(&self.settings.rules, caller, &[]).is_ok();
                let counted = subject.as_deref().filter(|_| caller.as_ref().is_ok_and(has_rule));
                let count = self.count(counted, client, now);
                let made = caller.and_then(|caller| match count.is_over {
                    // Asked before anything is made and counted.
                    true => Err(over(&count, now)),
                    false => self.protected_url(files, &caller, request, now),
                });
                (subject, count, made)
            }
            SirvDoor::Bearer(bearer) => {
                let granted = self.sirv_sign_in(bearer, client, request, now).await;
                let (subject, made) = match granted {
                    Ok((subject, made)) => (Some(subject), Ok(made)),
                    Err(refusal) => (None, Err(refusal)),
                };
                (subject.clone(), self.count(subject.as_deref(), client, now), made)
            }
        };
        let made = match count.is_over {
            true => Err(over(&count, now)),
            false => made,
        };
        let mut answer = match made {
            Ok(made) => Answer {
                token_id: Some(made.token_id),
                ..Answer::new(made.response, "issued")
            },
            Err(refusal) => headed(sirv::refuse(&refusal, Some(now)), &refusal),
        };
        sirv::mark(&mut answer.response, &count);
        Answer {
            caller: subject,
            ..answer
        }
    }

    /// Counts a caller; who has not proven to be one, by the address.
    fn count(&self, subject: Option<&str>, client: IpAddr, now: UnixTime) -> Count {
        let per_hour = self.settings.sirv.as_ref().map_or(PER_HOUR, |sirv| sirv.per_hour);
        let hours = &self.lasting.hours;
        match subject {
            Some(subject) => hours.callers.take(subject, per_hour, now),
            None => hours.addresses.take(&throttle::site(client), per_hour, now),
        }
    }

    /// Rule, parse, judge, count, make.
    fn protected_url(
        &self,
        door: &Sirv,
        caller: &Caller,
        request: &Request<Bytes>,
        now: UnixTime,
    ) -> Result<Made, IssueRefusal> {
        let rule = mint::rule_for(&self.settings.rules, caller, &[])?;
        if request.body().len() > MAX_BODY_BYTES {
            return Err(IssueRefusal::TooLarge);
        }
        let (asked, wish) = sirv::parse(request)?;
        let account = match &wish.alias {
            None => &door.account,
            Some(name) => door
                .aliases
                .get(name)
                .ok_or(IssueRefusal::violation("alias", "There is no such alias."))?,
        };
        let foreign = IssueRefusal::NotAllowed("The key is not one of this account.");
        if wish.key.as_ref().is_some_and(|key| !account.minter.has(key)) {
            return Err(foreign);
        }
        mint::many_uses(rule)?;
        // Tried before it is counted.
        wish.url(&account.public_base, "")?;
        let claims = mint::judge(rule, caller, asked, mint::Offer::default(), now)?;
        mint::without_limits(&claims)?;
        self.count_token(rule, caller, now)?;
        let minted = account.minter.mint_with(wish.key.as_ref(), &claims, now);
        let minted = minted.map_err(|error| match error {
            TokenError::UnknownKey => foreign,
            error => cannot_sign(&error),
        })?;
        Ok(Made {
            response: sirv::render(&wish.url(&account.public_base, &minted.text)?),
            token_id: minted.id,
        })
    }

    /// A bearer for a client and its secret; the client's subject.
    async fn sirv_sign_in(
        &self,
        door: &SirvBearer,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
    ) -> Result<(String, Made), IssueRefusal> {
        if request.body().len() > MAX_BODY_BYTES {
            return Err(IssueRefusal::TooLarge);
        }
        let asked = sirv::sign_in(request)?;
        let tries = (door.tries_per_account, door.tries_per_address);
        let account = self.account(tries, client, &asked.id, &asked.secret, now).await?;
        if account.kind != Kind::Client {
            return Err(IssueRefusal::GrantInvalid);
        }
        let granted = self
            .bearer(&account.subject, &account.scope, Some(asked.lives), now)
            .await?;
        let made = Made {
            response: sirv::signed_in(&granted, &account.scope),
            token_id: granted.bearer.id,
        };
        Ok((account.subject.to_string(), made))
    }
}

/// Too much in an hour.
fn over(count: &Count, now: UnixTime) -> IssueRefusal {
    IssueRefusal::LimitReached(now.until(count.reset))
}
