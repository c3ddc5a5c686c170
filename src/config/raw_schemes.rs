//! The mirror of `[route.scheme.…]` for schemes that judge whole requests: CDNs and standards.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::raw::SecretRef;
use super::read::{At, table};
use super::values::{
    Encoding, MacArguments, MacName, MacOver, MacReading, MacText, SealName, Texts, TimeForm, TimeMeaning,
};
use crate::clock::UnixTime;
use crate::token::scheme::signed::bunny::{Folders, Form, Generation, Spelling};
use crate::token::scheme::signed::cdni::{SameSite, Style};
use crate::token::scheme::signed::exchange;
use crate::token::scheme::signed::media_cdn;

table! {
    /// A key of a scheme that judges whole requests.
    pub struct SchemeKey {
        /// Its name: what a token calls it where the format has names for keys, else for people alone.
        required name: String,
        /// The secret, for schemes with a shared one.
        optional secret: SecretRef,
        /// How the secret is written: `text`, `base64url`, `base64` or `hex`.
        default("'text'") encoding: Encoding,
        /// A file with the public key in PEM, for schemes with those.
        optional public_key: PathBuf,
        /// The private key in PEM, which minting needs.
        optional private_key: SecretRef,
        /// The one algorithm that it is for, where the scheme has several.
        optional alg: Algorithm,
        /// What a shared secret makes, where the scheme leaves that open: `sha256` or `sha1`.
        default("'sha256'") mac: MacName,
        /// The first moment at which it counts no more.
        optional until: UnixTime,
    }
}

table! {
    /// Bunny's token authentication.
    pub struct Bunny {
        /// The keys, as texts; the first mints.
        required keys: Vec<SchemeKey>,
        /// Forgiven clock skew.
        default("'0s'") leeway: Duration,
        /// The generations that are accepted; the first mints.
        default("['hs256', 'sha256']") generations: Vec<At<Generation>>,
        /// All tokens are bound to addresses, or none is.
        default("false") bound_to_address: bool,
        /// How the path is written in what is signed.
        default("'as_sent'") spelling: Spelling,
        /// What a `token_path` opens that does not end with a slash.
        default("'segments'") folders: Folders,
        /// Where minted links to folders have their token.
        default("'path'") form: Form,
        /// The header in which a trusted proxy says the client's country.
        optional country_header: String,
    }
}

table! {
    /// Signed URLs and cookies of Google Cloud CDN.
    pub struct CloudCdn {
        /// The keys, by their names; the first mints.
        required keys: Vec<SchemeKey>,
        /// Forgiven clock skew.
        default("'0s'") leeway: Duration,
        /// The cookie's name; empty reads no cookies.
        default("'Cloud-CDN-Cookie'") cookie: String,
    }
}

table! {
    /// Common Access Tokens (CTA-5007).
    pub struct Cat {
        /// The keys, by their names (`kid`); the first mints.
        required keys: Vec<SchemeKey>,
        /// Forgiven clock skew.
        default("'0s'") leeway: Duration,
        /// Accepted issuers; anybody who has a key where absent.
        optional issuer: Texts,
        /// Accepted audiences; a token that names one is refused where absent.
        optional audience: Texts,
        /// A token has to name one of the audiences.
        default("false") audience_required: bool,
        /// The longest `exp - iat`.
        optional max_lifetime: Duration,
        /// The headers that it may ride in.
        default("['CTA-Common-Access-Token']") headers: Vec<At<String>>,
        /// The cookies.
        default("['CTA-Common-Access-Token']") cookies: Vec<At<String>>,
        /// The query parameters.
        default("['CAT', 'cat']") queries: Vec<At<String>>,
        /// It may be the first segment of the path.
        default("false") path_segment: bool,
        /// Other numbers of claims.
        default("{}") labels: BTreeMap<String, i64>,
        /// Numbers of claims that restrict nothing.
        default("[]") ignored: Vec<i64>,
        /// The longest life of a renewed token; `0s` renews none.
        default("'1d'") renewal: Duration,
        /// The attributes of a renewed cookie.
        default("'Path=/; Secure; HttpOnly; SameSite=Lax'") renewal_cookie: String,
    }
}

table! {
    /// Signed URLs and cookies of CloudFront.
    pub struct CloudFront {
        /// The keys, by their key pair ids; the first private one mints.
        required keys: Vec<SchemeKey>,
        /// Forgiven clock skew.
        default("'0s'") leeway: Duration,
        /// Signatures over SHA-1 count, as with CloudFront.
        default("true") allow_sha1: bool,
    }
}

table! {
    /// S3 URLs that an application signed in advance.
    pub struct Presigned {
        /// The keys, by their access key ids; the first mints.
        required keys: Vec<AccessKey>,
        /// Forgiven clock skew.
        default("'0s'") leeway: Duration,
    }
}

table! {
    /// A key of S3.
    pub struct AccessKey {
        /// The access key id.
        required name: String,
        /// The secret access key.
        required secret: SecretRef,
        /// The region that it signs for.
        required region: String,
        /// The service.
        default("'s3'") service: String,
        /// The paths that it may sign for; all where absent.
        optional paths: Vec<At<String>>,
        /// The first moment at which it counts no more.
        optional until: UnixTime,
    }
}

table! {
    /// URI signing (RFC 9246).
    pub struct UriSigning {
        /// Issuers (`iss`), each with the name of its key set.
        default("{}") issuers: BTreeMap<String, String>,
        /// The name of the key set of tokens that name no issuer.
        optional unnamed_keys: String,
        /// Forgiven clock skew.
        default("'0s'") leeway: Duration,
        /// The attribute that holds the token in query and path.
        default("'URISigningPackage'") attribute: String,
        /// The cookie that holds it.
        default("'URISigningPackage'") cookie: String,
        /// What we are called; a token with an `aud` is for others where absent.
        optional audience: Texts,
        /// The keys of encrypted claims, by their names (`kid`).
        default("[]") content_keys: Vec<SchemeKey>,
        /// A token needs an `exp`.
        default("true") expiry_required: bool,
        /// Dot segments are resolved instead of refused; never over a folder.
        default("false") resolve_dots: bool,
        /// The issuer that mints, the first where absent. Named, its tokens alone are renewed.
        optional mint_issuer: String,
        /// The key that does.
        optional signing_kid: String,
        /// Where minted links have their token.
        default("'query'") style: Style,
        /// Minted links are renewed by cookie for as long, with each request; `0s` are not.
        default("'0s'") renewal: Duration,
        /// The depth of that cookie's path.
        default("0") renewal_depth: u32,
        /// Whether pages of other sites may play with the cookies of renewal.
        default("'lax'") same_site: SameSite,
    }
}

table! {
    /// Akamai's EdgeAuth tokens 2.0.
    pub struct EdgeAuth {
        /// The keys, as hexadecimal digits; the first mints.
        required keys: Vec<SchemeKey>,
        /// Forgiven clock skew.
        default("'0s'") leeway: Duration,
        /// The query parameters, cookies and headers that a token may ride in; the first is minted.
        default("['hdnts', 'hdnea', '__token__']") names: Vec<At<String>>,
        /// What seals tokens: `sha256`, `sha1` or `md5`.
        default("'sha256'") algorithm: SealName,
        /// What is signed with every token, and in none.
        optional salt: SecretRef,
        /// Values are escaped before they are signed.
        default("false") escape_early: bool,
        /// The query belongs to the path of a token for one path.
        default("false") sign_query: bool,
        /// Long tokens for those who come with a short one.
        optional session: LongTokens,
    }
}

table! {
    /// Signatures and tokens of Google Media CDN.
    pub struct MediaCdn {
        /// The keys, by their names; the first mints.
        required keys: Vec<SchemeKey>,
        /// Forgiven clock skew.
        default("'0s'") leeway: Duration,
        /// The query parameters and cookies that a token may ride in; the first is minted.
        default("['edge-cache-token', 'hdnts']") names: Vec<At<String>>,
        /// The cookie that a signature may ride in.
        default("'Edge-Cache-Cookie'") cookie: String,
        /// Signatures count, and not tokens alone.
        default("true") signatures: bool,
        /// What is minted.
        default("'path_token'") form: media_cdn::Form,
        /// Long tokens for those who come with a short one.
        optional session: LongTokens,
    }
}

table! {
    /// The exchange of short tokens for long ones.
    pub struct LongTokens {
        /// The keys that seal long tokens, none of which seals short ones; the first makes them.
        required keys: Vec<SchemeKey>,
        /// The name of the cookie.
        default("'hdntl'") cookie: String,
        /// How long one lives.
        default("'1d'") ttl: Duration,
        /// Whether pages of other sites may play with the cookie.
        default("'lax'") same_site: exchange::SameSite,
    }
}

table! {
    /// Links with a MAC over a written pattern: of a known product, or an operator's own.
    pub struct MacScheme {
        /// Whose links: a product's settings, which the keys below change.
        optional preset: String,
        /// The keys; the first mints.
        required keys: Vec<SchemeKey>,
        /// Forgiven clock skew.
        default("'0s'") leeway: Duration,
        /// How the MAC is computed: `md5`, `hmac-sha256` …
        optional algorithm: String,
        /// What it is computed over.
        optional pattern: String,
        /// Where it rides, and the time.
        optional place: String,
        /// How it is written.
        optional encoding: MacText,
        /// What the time means.
        optional time: TimeMeaning,
        /// How it is written.
        optional time_text: TimeForm,
        /// The clock that `minutes` go by, in minutes ahead of UTC.
        default("0") ahead_of_utc: i64,
        /// How long a link is good, where it says when it was issued.
        optional ttl: Duration,
        /// A link may be used before it was issued.
        optional early: bool,
        /// The second in which a link ends still counts.
        optional equal_is_valid: bool,
        /// Links may have no time at all.
        default("false") without_expiry: bool,
        /// Pieces of the pattern may touch between which a client can move text.
        default("false") touching: bool,
        /// How the path is read: `strict`, or `nginx`.
        optional reading: MacReading,
        /// How parameters are looked up: `once`, or as `nginx` does.
        optional arguments: MacArguments,
        /// The token's parameter is the last of the query.
        optional last: bool,
        /// Whether a link whose time is over is 403 (`forbidden`) or 410 (`gone`).
        optional over: MacOver,
    }
}
