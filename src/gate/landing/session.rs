//! The session that a login link opens: a signed token in a cookie, which routes accept as any other token. It says whom
//! the link was for and what that opens; it has an id of its own, by which it can be withdrawn.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderMap;
use smallvec::smallvec;

use crate::clock::UnixTime;
use crate::gate::refusal::{Code, Failure, Stop};
use crate::pool::{Pool, PoolError};
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
    pub minter: Arc<Minter>,
    /// Where they are signed where that takes long.
    pub signing: Arc<Pool>,
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
    /// `keys_unavailable`, `overloaded`, or `token_invalid` where the session can't be said in a cookie.
    pub(super) async fn open(&self, link: &Claims, now: UnixTime) -> Result<HeaderValue, Stop> {
        let claims = Claims {
            subject: link.subject.clone(),
            expires: Some(now.after(self.ttl)),
            uses: Uses::UntilExpiry,
            scope: link.scope.clone(),
            methods: link.methods,
            addresses: link.addresses.clone(),
            limits: link.limits,
            parameters: link.parameters.clone(),
            named: link.named.clone(),
            ..Claims::empty(TokenId([0; 16]))
        };
        let minted = self.sign(claims, now).await?;
        let kept = self.cookie.len() + minted.text.len();
        if kept > MAX_COOKIE_BYTES {
            return Err(Stop::refused(
                Code::TokenInvalid,
                "the session does not fit into a cookie",
            ));
        }
        Ok(self.set(&minted.text, self.ttl))
    }

    /// Signs on this thread, or elsewhere where the key takes a millisecond for it.
    async fn sign(&self, claims: Claims, now: UnixTime) -> Result<Minted, Stop> {
        if !self.minter.is_slow() {
            return Ok(self.minter.mint(&claims, now)?);
        }
        let minter = Arc::clone(&self.minter);
        let signed = self.signing.run(move || minter.mint(&claims, now)).await;
        match signed {
            Ok(signed) => Ok(signed?),
            Err(PoolError::Full) => Err(overloaded()),
            Err(PoolError::CutOff) => Err(TokenError::Invalid("signing was cut off").into()),
        }
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
                    proxied: false,
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

fn overloaded() -> Stop {
    Stop::Failed(Failure {
        code: Code::Overloaded,
        detail: "too many sessions wait to be signed",
        source: None,
        retry_after: Some(Duration::from_secs(1)),
    })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;

    use super::*;
    use crate::secret::Secret;
    use crate::token::keys::{KeyRing, KeySet, LogKey, SetSource};
    use crate::token::scheme::jwt::{KidHeader, Profile, Rules};

    fn sessions(algorithm: Algorithm, signing: Pool) -> Sessions {
        let json = KeySet::generate(algorithm).unwrap();
        let set = KeySet::from_jwks(json.as_bytes(), SetSource::Local).unwrap();
        let keys = Arc::new(KeyRing::fixed("landing", set));
        let log_key = Arc::new(LogKey::new(&Secret::new(vec![7; 32])));
        Sessions {
            verifier: Jwt::new(Rules {
                keys: Arc::clone(&keys),
                issuers: Box::new(["landing".into()]),
                audiences: Box::new([AUDIENCE.into()]),
                typ: None,
                profile: Profile::Native,
                require: Box::default(),
                max_lifetime: None,
                named: Box::default(),
                log_key: Arc::clone(&log_key),
            }),
            minter: Arc::new(Minter {
                keys,
                issuer: "landing".into(),
                audience: AUDIENCE.into(),
                kid: KidHeader::Named,
                log_key,
            }),
            signing: Arc::new(signing),
            cookie: "session".into(),
            secure: true,
            ttl: Duration::from_secs(60),
        }
    }

    #[tokio::test]
    async fn slow_keys_sign_when_there_is_a_place_and_fast_ones_at_once() {
        let now = UnixTime::from_secs(1000);
        let link = Claims::empty(TokenId([7; 16]));
        for (algorithm, places, opens) in [
            (Algorithm::RS256, 1, true),
            (Algorithm::RS256, 0, false),
            (Algorithm::EdDSA, 0, true),
        ] {
            match sessions(algorithm, Pool::new(places, 0)).open(&link, now).await {
                Ok(cookie) => assert!(opens && cookie.to_str().unwrap().starts_with("session=ey")),
                Err(Stop::Failed(failure)) => {
                    assert!(!opens && failure.retry_after.is_some());
                    assert_eq!(failure.code.as_str(), "overloaded");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}
