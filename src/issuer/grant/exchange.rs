//! A one-time token for a bearer: parameters, then the token and what it is for, then its only use, durably.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::bound::{Bound, Source};
use super::{Granted, client_id};
use crate::clock::UnixTime;
use crate::issuer::caller::LEEWAY;
use crate::issuer::form::Parameters;
use crate::issuer::refusal::IssueRefusal;
use crate::issuer::{Issuer, Memory};
use crate::store::uses::Kept;
use crate::store::{Purposes, Use};
use crate::token::Standing;
use crate::token::scheme::opaque::Handle;

/// The longest life that is asked for, in minutes: 366 days.
const MAX_MINUTES: u64 = 366 * 24 * 60;

impl Issuer {
    /// Exchanges. Nobody learns whether a token was used, has expired, is for something else, or was never issued.
    pub(in crate::issuer) async fn exchange(
        &self,
        client: IpAddr,
        request: &Request<Bytes>,
        now: UnixTime,
        memory: &Memory,
    ) -> Result<Granted, IssueRefusal> {
        let query = Parameters::parse(request.uri().query().unwrap_or_default().as_bytes());
        let query = query.map_err(IssueRefusal::BadRequest)?;
        let text = query.get("token");
        let text = text.ok_or(IssueRefusal::BadRequest("The parameter token is missing."))?;
        let minutes = query.get("validForInMinutes").and_then(minutes);
        let asked = minutes.ok_or(IssueRefusal::BadRequest(
            "The parameter validForInMinutes is a whole number from 1 to 527040.",
        ))?;
        let client_id = client_id(request.headers())?;
        let Some(handle) = Handle::parse(text) else {
            return Err(IssueRefusal::TokenGone);
        };
        let store = memory.store()?;
        if !memory.unknown.may_look(client, now) {
            return Err(IssueRefusal::TooManyTries(Duration::from_secs(1)));
        }
        let id = handle.id(&self.settings.log_key);
        let Some(issued) = store.recall(id).await? else {
            memory.unknown.was_unknown(client, now);
            return Err(IssueRefusal::TokenGone);
        };
        let claims = &issued.claims;
        let (Some(subject), Some(expires)) = (&claims.subject, claims.expires) else {
            return Err(IssueRefusal::TokenGone);
        };
        let in_time = claims.standing(now, LEEWAY) == Standing::InTime;
        if !in_time || !claims.allows_address(client) || store.revoked().covers(claims) {
            return Err(IssueRefusal::TokenGone);
        }
        // Known at once for most: whoever comes late costs no signature.
        if store.uses().is_spent(id)? {
            return Err(IssueRefusal::TokenGone);
        }
        // A bearer that may do nothing is worth no token.
        let scope = claims.text("scope").filter(|scope| !scope.is_empty());
        let Some(scope) = scope.filter(|_| issued.purposes.has(Purposes::EXCHANGE)) else {
            return Err(IssueRefusal::TokenGone);
        };
        let longest = Duration::from_secs(issued.exchange_secs.into());
        // Signed before the token is spent: nothing is used up where that fails.
        let mut granted = self.bearer(subject, scope, Some(asked.min(longest)), now).await?;
        let bound = Bound {
            source: Source::Exchange(longest),
            client: client_id.unwrap_or(subject).into(),
        };
        let refresh = self.first_refresh(subject, scope, &bound, now)?;
        let kept = Kept::new(expires, now);
        if !store.uses().spend(id, Use::Spent, kept).await? || store.revoked().covers(claims) {
            return Err(IssueRefusal::TokenGone);
        }
        // The token is spent for a bearer by now, which is worth handing out without its successor.
        granted.refresh = self.refresh(refresh, memory).await.ok();
        Ok(granted)
    }
}

/// A number of minutes, in digits alone.
fn minutes(text: &str) -> Option<Duration> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let minutes = text
        .parse()
        .ok()
        .filter(|minutes| (1..=MAX_MINUTES).contains(minutes));
    minutes
        .filter(|_| digits)
        .map(|minutes| Duration::from_secs(minutes * 60))
}
