//! The session that a login link opens: a signed token in a cookie, which routes accept as any other token. It says whom
//! the link was for and what that opens; it has an id of its own, by which it can be withdrawn.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderMap;
use jsonwebtoken::Algorithm;
use smallvec::smallvec;

use super::Landing;
use crate::clock::UnixTime;
use crate::gate::refusal::{Code, Stop};
use crate::token::carrier::{MAX_COOKIES, cookies};
use crate::token::scheme::jwt::{Jwt, Minter};
use crate::token::{Claims, Evidence, MintToken, Minted, Standing, TokenError, TokenId, Uses, VerifyToken};

/// `aud` of every session.
pub const AUDIENCE: &str = "session";
/// What browsers keep of a cookie at most, its name and value together (RFC 6265bis §5.6).
const MAX_COOKIE_BYTES: usize = 4096;

/// How sessions are made and checked.
pub struct Sessions {
    /// Signs them.
    pub minter: Minter,
    /// Checks them.
    pub verifier: Jwt,
    /// The cookie, with its prefix where it has one.
    pub cookie: Box<str>,
    /// Whether the cookie is for https alone.
    pub secure: bool,
    /// How long they live.
    pub ttl: Duration,
}

impl Sessions {
    /// The `Set-Cookie` of a new session for whom these claims name.
    ///
    /// # Errors
    /// `keys_unavailable`, or `token_invalid` where the session can't be said in a cookie.
    pub(super) async fn open(
        landing: &Arc<Landing>,
        link: &Claims,
        now: UnixTime,
    ) -> Result<HeaderValue, Stop> {
        let sessions = &landing.sessions;
        let claims = Claims {
            subject: link.subject.clone(),
            expires: Some(now.after(sessions.ttl)),
            uses: Uses::UntilExpiry,
            scope: link.scope.clone(),
            methods: link.methods,
            addresses: link.addresses.clone(),
            limits: link.limits,
            parameters: link.parameters.clone(),
            named: link.named.clone(),
            ..Claims::empty(TokenId([0; 16]))
        };
        let minted = sign(landing, claims, now).await?;
        let kept = sessions.cookie.len() + minted.text.len();
        if kept > MAX_COOKIE_BYTES {
            return Err(Stop::refused(
                Code::TokenInvalid,
                "the session does not fit into a cookie",
            ));
        }
        Ok(sessions.set(&minted.text, sessions.ttl))
    }

    /// The `Set-Cookie` that takes the cookie away.
    pub(super) fn clear(&self) -> HeaderValue {
        self.set("", Duration::ZERO)
    }

    fn set(&self, value: &str, life: Duration) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
            self.cookie,
            life.as_secs()
        );
        // A token of base64url and dots, and a name that the configuration was checked for.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The true sessions that a request shows.
    pub(super) fn shown(&self, evidence: &Shown<'_>, now: UnixTime) -> Vec<Claims> {
        cookies(evidence.headers, &self.cookie)
            .take(MAX_COOKIES)
            .filter_map(|token| {
                let evidence = Evidence {
                    method: evidence.method,
                    public: None,
                    raw_path: evidence.path,
                    raw_query: None,
                    headers: evidence.headers,
                    client: evidence.client,
                    parts: smallvec![token.into()],
                };
                self.verifier.verify(&evidence).ok()
            })
            .filter(|claims| claims.standing(now, super::LEEWAY) != Standing::Expired)
            .collect()
    }
}

/// A request that may show sessions.
pub(super) struct Shown<'r> {
    pub(super) method: &'r http::Method,
    pub(super) path: &'r str,
    pub(super) headers: &'r HeaderMap,
    pub(super) client: std::net::IpAddr,
}

/// Signs on this thread, or elsewhere where the key takes a millisecond for it.
async fn sign(landing: &Arc<Landing>, claims: Claims, now: UnixTime) -> Result<Minted, TokenError> {
    let slow = landing.sessions.minter.keys.load().is_some_and(|set| {
        let algorithm = set.keys.signing(None).map(|key| key.algorithm);
        algorithm.is_some_and(is_rsa)
    });
    if !slow {
        return landing.sessions.minter.mint(&claims, now);
    }
    let landing = Arc::clone(landing);
    tokio::task::spawn_blocking(move || landing.sessions.minter.mint(&claims, now))
        .await
        .unwrap_or(Err(TokenError::Invalid("signing was cut off")))
}

fn is_rsa(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512
    )
}
