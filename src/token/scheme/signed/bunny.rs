//! Bunny's token authentication, in its three generations: MD5 ("basic"), SHA-256 ("advanced") and HMAC-SHA-256 (`HS256-…`).
//! The token rides in the query, `?token=…&expires=…`, or is the first segment of the path, `/bcdn_token=…&expires=…/a/b`,
//! where a player's relative links inherit it. From docs.bunny.net/cdn/security/token-authentication and the signers in
//! github.com/BunnyWay/BunnyCDN.TokenAuthentication. The originals concatenate what they sign without separators, so that one
//! text can have several readings; those that a signer never writes are refused here. Never asks who the client is: a
//! country is read from the one header that the configuration names.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderName;

use super::query::{decode_token, one, without_names};
use super::{Asked, NamedKeys, Place, Signed, SignedRequest, Taken, Wish, same};
use crate::secret::Secret;
use crate::token::carrier::{Head, LocateError};
use crate::token::keys::LogKey;
use crate::token::{Claims, Methods, Parts, TokenError};

mod conditions;
mod mint;
mod parameters;
mod token;

use conditions::Conditions;
use parameters::Parameters;
use token::{Message, Token};

/// What the first segment of the path starts with where it is the token.
const MARKER: &str = "bcdn_token=";
/// The names in the order of the parts; the first is another one in the path.
const NAMES: [&str; 7] = ["token", EXPIRES, PATH, COUNTRIES, BLOCKED, LIMIT, IGNORE];
const EXPIRES: &str = "expires";
const PATH: &str = "token_path";
const COUNTRIES: &str = "token_countries";
const BLOCKED: &str = "token_countries_blocked";
const LIMIT: &str = "limit";
const IGNORE: &str = "token_ignore_params";

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// `HMAC-SHA256(key, path + expires + address + parameters)`, since April 2026.
    Hs256,
    /// `SHA256(key + path + expires + address + parameters)`.
    Sha256,
    /// `MD5(key + path + expires + address)`: signs no parameter and has no condition. Deprecated by Bunny.
    Md5,
}

/// Whether tokens are bound to addresses. Bunny's "Token IP Validation": once it is on, a token that is bound to none is not
/// good, and while it is off, one that is bound is not. Both together would be unsafe: no generation signs whether there is
/// an address in what it signs, and the bytes of some are the name of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Addresses {
    /// No token is.
    #[default]
    Unbound,
    /// All are: to one address, and with `HS256` to the /64 of an IPv6 address.
    Bound,
}

/// How the path is written in what is signed. Bunny's own signers differ: those in C#, JavaScript, PHP, Python and Rust sign
/// it as it is in the link, those in Go and Java decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Spelling {
    /// As the client sends it. `token_path` is compared with the same.
    #[default]
    AsSent,
    /// Decoded once. `token_path` is compared with the same.
    Decoded,
}

/// What a `token_path` opens that does not end with a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Folders {
    /// `/a/b` opens itself and what is below it.
    #[default]
    Segments,
    /// `/a/b` opens whatever starts with it, `/a/bc` too: Bunny's documents speak of a "path prefix".
    Text,
}

/// Where a link that opens more than one file has its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// In the first segment of the path: relative links in a playlist inherit it.
    #[default]
    Path,
    /// In the query.
    Query,
}

/// What a verifier demands.
#[derive(Debug)]
pub struct Rules {
    /// The keys, as texts; the first signs.
    pub keys: NamedKeys<Secret>,
    /// The generations that are accepted; at least one, the first signs.
    pub generations: Box<[Generation]>,
    /// Whether tokens are bound to addresses.
    pub addresses: Addresses,
    /// How the path is written in what is signed.
    pub spelling: Spelling,
    /// What a `token_path` without a last slash opens.
    pub folders: Folders,
    /// Where links to folders have their token.
    pub form: Form,
    /// The header in which a trusted proxy before us says the client's country; from others it is worth nothing. Without one,
    /// a token that is for some countries is refused.
    pub country: Option<HeaderName>,
    /// Names tokens for the logs.
    pub log_key: Arc<LogKey>,
}

impl Rules {
    /// The usual ones.
    pub fn new(keys: NamedKeys<Secret>, log_key: Arc<LogKey>) -> Self {
        Self {
            keys,
            generations: Box::new([Generation::Hs256, Generation::Sha256]),
            addresses: Addresses::default(),
            spelling: Spelling::default(),
            folders: Folders::default(),
            form: Form::default(),
            country: None,
            log_key,
        }
    }
}

/// How Bunny's tokens are checked and made.
#[derive(Debug)]
pub struct Bunny {
    rules: Rules,
    markers: [Box<str>; 1],
}

impl Bunny {
    /// With these rules.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            markers: [MARKER.into()],
        }
    }
}

impl SignedRequest for Bunny {
    fn queries(&self) -> Vec<&str> {
        vec![NAMES[0]]
    }

    fn name(&self) -> &'static str {
        "bunny"
    }

    fn take<'r>(&self, head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
        match marked(head.path) {
            Some((segment, rest)) => in_path(head.query, segment, rest).map(Some),
            None => in_query(head),
        }
    }

    fn verify(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let rules = &self.rules;
        let said = Conditions::of(&asked.evidence.parts);
        let token = Token::parse(said.token)?;
        if !rules.generations.contains(&token.generation) {
            return Err(TokenError::Invalid("tokens of this generation are not accepted"));
        }
        let binds = rules.addresses == Addresses::Bound;
        if token.generation == Generation::Hs256 && token.bound != binds {
            return Err(TokenError::Invalid(match token.bound {
                true => "it is bound to an address, and addresses are not checked here",
                false => "it is bound to no address",
            }));
        }
        let expires = token::seconds(said.expires)?;
        token::check_end(expires, asked.now)?;
        let in_path = asked.path != asked.evidence.raw_path;
        if token.generation == Generation::Md5 && (in_path || said.named().next().is_some()) {
            return Err(TokenError::Invalid("this generation signs no condition"));
        }
        let path = match rules.spelling {
            Spelling::AsSent => asked.path,
            Spelling::Decoded => asked.target.path(),
        };
        let client = asked.evidence.client;
        let parameters = Parameters::of(asked.query, &said, token.generation)?;
        parameters.check_start()?;
        let message = Message {
            path: said.folder.unwrap_or(path),
            expires: said.expires,
            address: binds.then_some(client),
            parameters: &parameters.joined(),
        }
        .bytes(token.generation);
        asked.signatures.show(&token::shown(token.generation, &message));
        let mut keys = rules.keys.at(asked.now);
        let key = keys
            .find(|key| same(&token::mac(token.generation, &key.key, &message), &token.mac))
            .ok_or(TokenError::Invalid("the signature is of no key"))?;

        if let Some(folder) = said.folder {
            conditions::check_folder(folder, path, rules.folders)?;
        }
        let header = rules.country.as_ref().filter(|_| asked.evidence.proxied);
        let country = header.and_then(|name| asked.evidence.header(name));
        conditions::check_country(said.countries, said.blocked, country)?;
        let addresses = binds.then(|| token::bound_to(token.generation, client));
        Ok(Claims {
            key: Some(key.name.clone()),
            expires: Some(expires),
            methods: Some(Methods::READ),
            addresses: addresses.map(|net| Box::from([net])),
            limits: conditions::limits(said.limit)?,
            ..asked.opened(token.id(&rules.log_key))
        })
    }

    fn tell(&self, taken: &Taken<'_>) -> Vec<(Cow<'static, str>, String)> {
        let said = Conditions::of(&taken.parts);
        let mut told = Vec::new();
        let mut tell = |word: &'static str, text: String| told.push((Cow::Borrowed(word), text));
        match Token::parse(said.token) {
            Err(error) => tell("token", error.to_string()),
            Ok(token) => {
                tell("generation", token.generation.name().into());
                if token.bound {
                    tell("bound to", "an address".into());
                }
            }
        }
        match token::seconds(said.expires) {
            Ok(expires) => tell(EXPIRES, expires.rfc3339().to_string()),
            Err(error) => tell(EXPIRES, error.to_string()),
        }
        for (name, text) in said.named() {
            tell(name, text.into());
        }
        told
    }

    fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        mint::sign(&self.rules, wish)
    }

    fn markers(&self) -> &[Box<str>] {
        &self.markers
    }
}

/// The first segment, where it is a token, and what follows it.
fn marked(path: &str) -> Option<(&str, &str)> {
    let after = path.strip_prefix('/')?;
    if !after.starts_with(MARKER) {
        return None;
    }
    Some(match after.find('/') {
        Some(end) => after.split_at(end),
        None => (after, "/"),
    })
}

fn in_query<'r>(head: Head<'r>) -> Result<Option<Taken<'r>>, LocateError> {
    let [token, ..] = NAMES;
    let Some(token) = one(head.query, token)? else {
        return Ok(None);
    };
    Ok(Some(Taken {
        place: Place::Url,
        parts: parts(head.query, token)?,
        alternatives: Vec::new(),
        path: Cow::Borrowed(head.path),
        query: without_names(head.query, &NAMES),
        prefix: None,
    }))
}

/// The parameters in the segment are those of the query, and are put where the origin looks for them.
fn in_path<'r>(query: Option<&'r str>, segment: &'r str, rest: &'r str) -> Result<Taken<'r>, LocateError> {
    let [of_query, others @ ..] = NAMES;
    // A token in both, or a condition in the place where the token is not.
    let twice = |name: &&str| one(query, name).map_or(true, |value| value.is_some());
    if NAMES.iter().any(twice) || one(Some(segment), of_query)?.is_some() {
        return Err(LocateError::Ambiguous);
    }
    let name = MARKER.trim_end_matches('=');
    let token = one(Some(segment), name)?.ok_or(LocateError::Malformed)?;
    let own = without_names(Some(segment), &[&[name], &others[..]].concat());
    let query = match (own, query.filter(|query| !query.is_empty())) {
        (Some(own), Some(query)) => Some(Cow::Owned(format!("{own}&{query}"))),
        (own, query) => own.or(query.map(Cow::Borrowed)),
    };
    Ok(Taken {
        place: Place::Url,
        parts: parts(Some(segment), token)?,
        alternatives: Vec::new(),
        path: Cow::Borrowed(rest),
        query,
        prefix: Some(Cow::Borrowed(segment)),
    })
}

/// All parts. One that is there is not empty: no signer writes that, and an absent one would look the same.
fn parts<'r>(from: Option<&'r str>, token: &'r str) -> Result<Parts<'r>, LocateError> {
    let [_, expires, others @ ..] = NAMES;
    let expires = one(from, expires)?.ok_or(LocateError::Malformed)?;
    let mut parts = Parts::with_capacity(NAMES.len());
    parts.push(decode_token(token)?);
    parts.push(decode_token(expires)?);
    for name in others {
        parts.push(match one(from, name)? {
            Some(value) => parameters::decode(value)?,
            None => Cow::Borrowed(""),
        });
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
