//! Who asks the issuer: a bearer checked against the configured key sets. Says who it is and what it may ask for;
//! which tokens that is worth is the rules' business.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use smallvec::smallvec;

use super::Memory;
use super::refusal::IssueRefusal;
use crate::clock::UnixTime;
use crate::token::scheme::jwt::Jwt;
use crate::token::{Claims, Evidence, MAX_TOKEN_BYTES, Standing, TokenError, Uses, VerifyToken};

/// Forgiven difference between the caller's clock and ours.
pub(super) const LEEWAY: Duration = Duration::from_secs(5);

/// A caller that proved itself.
#[derive(Debug)]
pub struct Caller {
    /// Who it is; never empty.
    subject: Box<str>,
    /// What its bearer says; templates of rules are filled from it.
    claims: Claims,
}

impl Caller {
    /// A caller with these claims; `None` where they name no subject.
    pub fn new(claims: Claims) -> Option<Self> {
        let subject = claims.subject.clone().filter(|subject| !subject.is_empty())?;
        Some(Self { subject, claims })
    }

    /// Who it is.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What its bearer says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Whether its bearer carries `permission`: one of the words of the claim `scope` (RFC 8693 §4.2).
    pub fn may(&self, permission: &str) -> bool {
        self.claims.text("scope").is_some_and(|scope| {
            scope
                .split(' ')
                .any(|word| !word.is_empty() && word == permission)
        })
    }
}

/// Finds out who asks.
///
/// # Errors
/// `CallerMissing`, `CallerInvalid`, `CallerExpired`; `KeysUnavailable` where a key set was never loaded and no other
/// believes the bearer.
pub fn prove(
    verifiers: &[Jwt],
    client: IpAddr,
    request: &Request<Bytes>,
    now: UnixTime,
    memory: &Memory,
) -> Result<Caller, IssueRefusal> {
    let evidence = Evidence {
        method: request.method(),
        public: None,
        raw_path: request.uri().path(),
        raw_query: request.uri().query(),
        headers: request.headers(),
        client,
        proxied: false,
        parts: smallvec![bearer(request.headers())?.into()],
    };
    let mut unavailable = false;
    for verifier in verifiers {
        match verifier.verify(&evidence) {
            Ok(claims) => {
                let revoked = memory.store.as_ref().map(|store| store.revoked());
                return match claims.standing(now, LEEWAY) {
                    // A restriction that means nothing to the issuer is not skipped over.
                    Standing::InTime if !is_plain(&claims, client, request.method()) => {
                        Err(IssueRefusal::CallerInvalid)
                    }
                    Standing::InTime if revoked.is_some_and(|revoked| revoked.covers(&claims)) => {
                        Err(IssueRefusal::CallerInvalid)
                    }
                    Standing::InTime => Caller::new(claims).ok_or(IssueRefusal::CallerInvalid),
                    Standing::Expired => Err(IssueRefusal::CallerExpired),
                    Standing::NotYet => Err(IssueRefusal::CallerInvalid),
                };
            }
            Err(TokenError::KeysUnavailable) => unavailable = true,
            Err(_) => {}
        }
    }
    Err(if unavailable {
        IssueRefusal::KeysUnavailable
    } else {
        IssueRefusal::CallerInvalid
    })
}

/// Whether a bearer carries no restriction but the client's address, and that one is kept.
fn is_plain(claims: &Claims, client: IpAddr, method: &Method) -> bool {
    claims.allows_address(client)
        && claims.uses == Uses::UntilExpiry
        && claims.limits.is_empty()
        && claims.scope.is_none()
        && claims.methods.is_none_or(|methods| methods.contains(method))
}

/// The one bearer of a request (RFC 6750 §2.1): exactly one `Authorization`, `Bearer` in any case, one token68.
fn bearer(headers: &HeaderMap) -> Result<&str, IssueRefusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(IssueRefusal::CallerMissing)?;
    if values.next().is_some() {
        return Err(IssueRefusal::CallerInvalid);
    }
    let value = value.to_str().map_err(|_| IssueRefusal::CallerInvalid)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(IssueRefusal::CallerMissing);
    }
    let token = token.trim_start_matches(' ');
    let token68 = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES || !token.bytes().all(token68) {
        return Err(IssueRefusal::CallerInvalid);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::token::TokenId;

    fn bearer_of(values: &[&'static str]) -> Result<String, IssueRefusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn exactly_one_bearer_is_read() {
        assert_eq!(bearer_of(&["Bearer a.b-c_d.e"]).unwrap(), "a.b-c_d.e");
        assert_eq!(bearer_of(&["bearer  abc="]).unwrap(), "abc=");
        for missing in [&[][..], &["Basic dTpw"], &["Token abc"], &[""]] {
            assert_eq!(
                bearer_of(missing),
                Err(IssueRefusal::CallerMissing),
                "{missing:?}"
            );
        }
        for invalid in [
            &["Bearer a", "Bearer a"][..],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a b"],
            &["Bearer a,b"],
            &["Bearer \"a\""],
            &["Bearer a "],
            &["Bearer a\tb"],
        ] {
            assert_eq!(
                bearer_of(invalid),
                Err(IssueRefusal::CallerInvalid),
                "{invalid:?}"
            );
        }
    }

    #[test]
    fn permissions_are_whole_words_of_the_scope_claim() {
        let caller = |scope: Option<&str>| {
            let named = scope
                .map(|scope| ("scope".into(), scope.into()))
                .into_iter()
                .collect();
            Caller::new(Claims {
                subject: Some("42".into()),
                named,
                ..Claims::empty(TokenId([0; 16]))
            })
            .unwrap()
        };
        assert!(caller(Some("media:read invoice:read")).may("media:read"));
        assert!(!caller(Some("media:readonly")).may("media:read"));
        assert!(!caller(Some("MEDIA:READ")).may("media:read"));
        assert!(!caller(Some("")).may("media:read"));
        assert!(!caller(None).may("media:read"));
    }

    #[test]
    fn a_restricted_bearer_is_not_taken_for_a_free_one() {
        use crate::token::claims::Limits;
        use crate::token::{Methods, Scope};

        let free = || Claims::empty(TokenId([0; 16]));
        let here = [203, 0, 113, 7].into();
        let at = |net: &str| Claims {
            addresses: Some(Box::new([net.parse().unwrap()])),
            ..free()
        };
        let is_plain = |claims: &Claims, client| super::is_plain(claims, client, &Method::POST);
        assert!(is_plain(&free(), here) && is_plain(&at("203.0.113.0/24"), here));
        assert!(is_plain(
            &Claims {
                methods: Methods::parse(["POST"]).ok(),
                ..free()
            },
            here
        ));
        for restricted in [
            at("198.51.100.0/24"),
            Claims {
                uses: Uses::Once,
                ..free()
            },
            Claims {
                limits: Limits {
                    rate: Some(1),
                    streams: None,
                },
                ..free()
            },
            Claims {
                scope: Some(Scope::default()),
                ..free()
            },
            Claims {
                methods: Some(Methods::READ),
                ..free()
            },
        ] {
            assert!(!is_plain(&restricted, here), "{restricted:?}");
        }
    }

    #[test]
    fn a_bearer_without_a_subject_is_nobody() {
        let claims = Claims::empty(TokenId([0; 16]));
        assert!(
            Caller::new(Claims {
                subject: Some("".into()),
                ..claims.clone()
            })
            .is_none()
        );
        assert!(Caller::new(claims).is_none());
    }
}
