//! Tokens: where they ride (`carrier`), how they are made and checked (`scheme`), what they say (`claims`),
//! what they open (`scope`), and the keys (`keys`). Pure: no input or output, nothing asynchronous, no clock of its own.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method};
use smallvec::SmallVec;

pub mod carrier;
pub mod claims;
pub(crate) mod json;
pub mod keys;
pub mod scheme;
pub mod scope;

pub use claims::{Claims, Methods, Parameter, Standing, TokenId, Uses};
pub use scope::{Opens, Scope};

/// The longest token that is looked at, in bytes; longer ones are malformed. RFC 9110 §4.1 recommends 8,000 octets for a whole
/// URI, and the gate's own cap on URIs is 16 KiB.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The parts of one presented token, in the order in which its carrier names them: one for a JWT, three for
/// CloudFront's. Percent-decoded where the carrier is a URL.
pub type Parts<'r> = SmallVec<[Cow<'r, str>; 1]>;

/// Scheme and authority under which the public reaches us. Configuration, never read from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicBase {
    /// `https` or `http`.
    pub scheme: Box<str>,
    /// Host, with the port where it is not the scheme's own.
    pub authority: Box<str>,
}

/// All that a scheme may look at.
pub struct Evidence<'r> {
    /// The request's method.
    pub method: &'r Method,
    /// Public scheme and host, where the configuration names them.
    pub public: Option<&'r PublicBase>,
    /// The path as the client sent it, token included.
    pub raw_path: &'r str,
    /// The query as the client sent it, token included.
    pub raw_query: Option<&'r str>,
    /// The client's headers; read through `header` and `cookies`.
    pub headers: &'r HeaderMap,
    /// The client's address, IPv4-mapped IPv6 folded to IPv4.
    pub client: IpAddr,
    /// Whether a trusted proxy sent the request: only then is a header that such a proxy sets worth anything.
    pub proxied: bool,
    /// The token.
    pub parts: Parts<'r>,
}

impl<'r> Evidence<'r> {
    /// The presented token where it has one part; the first part otherwise. The name can be searched for.
    pub fn reveal(&self) -> &str {
        self.parts.first().map_or("", |part| part)
    }

    /// A header's value, where it is there once and is visible ASCII.
    pub fn header(&self, name: &HeaderName) -> Option<&'r str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The values of the cookies called `name`, in order.
    pub fn cookies(&self, name: &str) -> impl Iterator<Item = &'r str> {
        carrier::cookies(self.headers, name)
    }
}

impl fmt::Debug for Evidence<'_> {
    /// Lengths only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("method", self.method)
            .field("raw_path_len", &self.raw_path.len())
            .field("raw_query_len", &self.raw_query.map(str::len))
            .field(
                "part_lens",
                &self.parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

/// Why a token is not believed. The texts name the fact and hold nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not in the grammar of its scheme.
    #[error("not a token of this scheme: {0}")]
    Malformed(&'static str),
    /// Signature, key, algorithm, issuer, audience or a claim's type.
    #[error("token refused: {0}")]
    Invalid(&'static str),
    /// True, but for other requests: its own restriction does not hold for this one.
    #[error("token refused here: {0}")]
    Elsewhere(&'static str),
    /// No key of the set goes with it.
    #[error("no key of the set goes with the token")]
    UnknownKey,
    /// The key set was never loaded.
    #[error("the key set has not been loaded yet")]
    KeysUnavailable,
}

/// Checks tokens of one scheme. Synchronous and pure: the time is a value, and there is no input or output.
pub trait VerifyToken {
    /// What the token says, when it is true. Times are not judged here: `Claims::standing` is.
    ///
    /// # Errors
    /// `TokenError`; nothing of the token is in it.
    fn verify(&self, evidence: &Evidence<'_>) -> Result<Claims, TokenError>;
}

/// Makes tokens of one scheme.
pub trait MintToken {
    /// A token that says `claims`, issued at `now`.
    ///
    /// # Errors
    /// `Invalid` for claims that the scheme can't say, or when signing fails.
    fn mint(&self, claims: &Claims, now: crate::clock::UnixTime) -> Result<Minted, TokenError>;
}

/// A token that was made.
pub struct Minted {
    /// The token as it goes to the client.
    pub text: String,
    /// What the logs call it.
    pub id: TokenId,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
