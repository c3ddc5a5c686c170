//! Rules and minting: which caller may have which scope, for how long, how often; never more than its own right.
//! Takes what a dialect read and gives what it writes; knows no wire shape.

use std::time::Duration;

use ipnet::IpNet;

use super::caller::Caller;
use super::refusal::{IssueRefusal, Violation};
use crate::clock::UnixTime;
use crate::media::MediaId;
use crate::store::Purposes;
use crate::token::claims::{Limits, Parameters};
use crate::token::scope::{MAX_PATTERNS, ScopeTemplate};
use crate::token::{Claims, Methods, Minted, Opens, Scope, TokenId, Uses};

mod offer;

pub use offer::Offer;

/// The longest file name, in bytes: what file systems take.
const MAX_FILENAME_BYTES: usize = 255;
/// The longest subject that a caller may name, in bytes.
const MAX_SUBJECT_BYTES: usize = 256;
/// The most texts that one token may hold, in bytes of JSON. A third more in base64 leaves room below `MAX_TOKEN_BYTES`
/// for the other claims and the longest signature.
const MAX_TEXT_BYTES: usize = 5000;

/// What a caller may have.
#[derive(Debug)]
pub struct Rule {
    /// The caller's subject; `None` is any.
    pub caller: Option<Box<str>>,
    /// The scope value that the caller's bearer must carry (`scope`, space-separated), as `media:read`.
    pub requires: Box<str>,
    /// What its tokens may open; `{sub}` is the caller's subject.
    pub paths: Vec<ScopeTemplate>,
    /// The methods its tokens may be good for.
    pub methods: Methods,
    /// The longest life of a token.
    pub max_ttl: Duration,
    /// The life of a token where the caller names none.
    pub default_ttl: Duration,
    /// Tokens per minute and caller; `None` is no limit.
    pub per_minute: Option<u32>,
    /// Folders of the catalogue whose media it may hand out; `None` is all.
    pub folders: Option<Box<[Box<str>]>>,
    /// Whether only media that the caller owns (`owner` = its subject) may be handed out.
    pub own_media_only: bool,
    /// Whether a token may name another subject than the caller's own.
    pub any_subject: bool,
    /// How often its tokens may be used at most.
    pub uses: Uses,
    /// What is put on each of its tokens; a caller may ask for less.
    pub limits: Limits,
    /// What its tokens that are looked up are good for.
    pub purposes: Purposes,
    /// The longest life of a bearer that one of them is exchanged for, in seconds.
    pub exchange_secs: u32,
}

/// How long a token shall live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// As the rule says.
    Usual,
    /// So long; refused where the rule does not allow it.
    Asked(Duration),
    /// So long where the rule allows it, else as long as it allows: the dialect has one lifetime and nobody asked for it.
    AtMost(Duration),
}

impl Lifetime {
    /// The same, where the dialect has a longest life of its own.
    ///
    /// # Errors
    /// `Unprocessable` where more was asked for.
    pub fn within(self, longest: Duration) -> Result<Self, IssueRefusal> {
        match self {
            Self::Usual => Ok(Self::AtMost(longest)),
            Self::AtMost(ttl) => Ok(Self::AtMost(ttl.min(longest))),
            Self::Asked(ttl) if ttl <= longest => Ok(self),
            Self::Asked(_) => Err(too_long(longest)),
        }
    }
}

fn too_long(longest: Duration) -> IssueRefusal {
    IssueRefusal::Unprocessable(vec![Violation {
        property: "expires_in".into(),
        message: format!("At most {} seconds.", longest.as_secs()).into(),
    }])
}

/// The paths that a token shall open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paths {
    /// These.
    Asked(Vec<Opens>),
    /// All that the rule allows this caller: the dialect has no word for paths.
    OfRule,
    /// None: the token names a resource, and which paths that opens is for the gate's routes to say.
    Elsewhere,
}

/// How tokens are made, by the names that requests and the configuration use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemeName {
    /// Signed JWTs.
    Jwt,
    /// Random digits, which the store knows.
    Opaque,
    /// Sirv's JWTs.
    Sirv,
    /// Adobe's short media tokens.
    ShortMedia,
}

/// A resource, as the entitlements of `[issuer.adobe_media]` name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The programmer's application.
    pub requestor: Box<str>,
    /// What it asks for.
    pub id: Box<str>,
}

impl SchemeName {
    /// All names.
    pub const ALL: &[Self] = &[Self::Jwt, Self::Opaque, Self::Sirv, Self::ShortMedia];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
            Self::Sirv => "sirv",
            Self::ShortMedia => "short_media",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.as_str() == text)
    }
}

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRequest {
    /// How the token is made.
    pub scheme: SchemeName,
    /// The paths to open.
    pub paths: Paths,
    /// The medium to open.
    pub media: Option<MediaId>,
    /// How long.
    pub lifetime: Lifetime,
    /// From when on.
    pub not_before: Option<UnixTime>,
    /// For whom; the caller where absent.
    pub subject: Option<Box<str>>,
    /// For which methods; all of the rule's where absent.
    pub methods: Option<Methods>,
    /// For which addresses.
    pub addresses: Option<Box<[IpNet]>>,
    /// Under which name to save it; the medium's where absent.
    pub filename: Option<Box<str>>,
    /// Parameters that are forced on the origin's query.
    pub parameters: Parameters,
    /// How often it may be used.
    pub uses: Uses,
    /// Its limits; the rule's where absent.
    pub limits: Limits,
    /// The resource to open, where the scheme knows resources and no paths.
    pub resource: Option<Resource>,
}

impl IssueRequest {
    /// A signed token for these paths and so long; the rest is the rule's to say.
    pub fn new(paths: Paths, lifetime: Lifetime) -> Self {
        Self {
            scheme: SchemeName::Jwt,
            paths,
            media: None,
            lifetime,
            not_before: None,
            subject: None,
            methods: None,
            addresses: None,
            filename: None,
            parameters: Box::default(),
            uses: Uses::UntilExpiry,
            limits: Limits::default(),
            resource: None,
        }
    }
}

/// A token that was made, and what it grants.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: Minted,
    /// How it was made.
    pub scheme: SchemeName,
    /// What it opens.
    pub scope: Scope,
    /// Its first dead second.
    pub expires: UnixTime,
}

/// The rule for a caller: the first that is for it and whose permission its bearer carries.
///
/// # Errors
/// `NotAllowed` when there is none, or the bearer carries none of the permissions that the dialect itself demands (no list
/// demands nothing).
pub fn rule_for<'r>(rules: &'r [Rule], caller: &Caller, demanded: &[&str]) -> Result<&'r Rule, IssueRefusal> {
    let none = IssueRefusal::NotAllowed("No rule allows this caller any token.");
    if !demanded.is_empty() && !demanded.iter().any(|permission| caller.may(permission)) {
        return Err(none);
    }
    let is_for = |rule: &&Rule| {
        rule.caller
            .as_deref()
            .is_none_or(|subject| subject == caller.subject())
            && caller.may(&rule.requires)
    };
    rules.iter().find(is_for).ok_or(none)
}

/// What a one-time token of this caller is good for. A bearer that is for some addresses is exchanged for no other: that one
/// would be for all.
///
/// # Errors
/// `NotAllowed` where nothing is left.
pub fn one_time_purposes(rule: &Rule, caller: &Caller) -> Result<Purposes, IssueRefusal> {
    let bound = caller.claims().addresses.is_some();
    let kept = if bound {
        !Purposes::EXCHANGE.bits()
    } else {
        u8::MAX
    };
    let left = Purposes::from_bits(rule.purposes.bits() & kept).unwrap_or_default();
    if left == Purposes::default() {
        return Err(IssueRefusal::NotAllowed(
            "The bearer is for some addresses alone, and no bearer for others is made of it.",
        ));
    }
    Ok(left)
}

/// What an opaque token that stands in the place of a signed one is good for: files, and nothing else.
///
/// # Errors
/// `NotAllowed` where the rule's tokens in the store are for other things.
pub fn file_purpose(rule: &Rule) -> Result<Purposes, IssueRefusal> {
    if rule.purposes.has(Purposes::FILE) {
        Ok(Purposes::FILE)
    } else {
        Err(IssueRefusal::NotAllowed(
            "Opaque tokens of this caller's rule are not for files.",
        ))
    }
}

/// What the token that `request` asks for says, where `rule` allows every part of it.
///
/// # Errors
/// `IssueRefusal`; nothing is ever cut to what would be allowed.
pub fn judge(
    rule: &Rule,
    caller: &Caller,
    request: IssueRequest,
    offer: Offer<'_>,
    now: UnixTime,
) -> Result<Claims, IssueRefusal> {
    let whole = request.paths == Paths::OfRule;
    let mut opens = match &request.paths {
        Paths::Asked(paths) => paths.clone(),
        Paths::OfRule => allowed(rule, caller),
        Paths::Elsewhere => Vec::new(),
    };
    if whole && opens.is_empty() {
        return Err(IssueRefusal::NotAllowed(
            "The rule opens nothing for this caller.",
        ));
    }
    check(&request, &opens)?;
    let limits = limits(rule.limits, request.limits)?;
    let ttl = lifetime(rule, request.lifetime)?;
    let expires = UnixTime::from_secs(now.secs().saturating_add(ttl));
    if request.not_before.is_some_and(|start| start >= expires) {
        return Err(IssueRefusal::violation(
            "not_before",
            "The token would be over before it starts.",
        ));
    }
    if request
        .subject
        .as_deref()
        .is_some_and(|subject| subject != caller.subject())
        && !rule.any_subject
    {
        return Err(IssueRefusal::NotAllowed(
            "This caller's tokens are for itself only.",
        ));
    }
    let methods = request.methods.unwrap_or(rule.methods);
    if !rule.methods.covers(methods) {
        return Err(IssueRefusal::NotAllowed(
            "A method is not among those that this caller's rule allows.",
        ));
    }
    check_paths(rule, caller, &opens)?;
    let medium_name = match &request.media {
        Some(id) => offer.file_name(rule, caller, id)?,
        None => None,
    };
    opens.extend(request.media.map(|id| Opens::MediaId(id.as_str().into())));
    let once = rule.uses.is_once() || request.uses.is_once();
    Ok(Claims {
        subject: request.subject.or_else(|| Some(caller.subject().into())),
        issued: Some(now),
        not_before: request.not_before,
        expires: Some(expires),
        scope: (request.paths != Paths::Elsewhere).then(|| Scope(opens.into())),
        methods: Some(methods),
        addresses: request.addresses,
        filename: request.filename.or(medium_name),
        parameters: request.parameters,
        limits,
        uses: if once { Uses::Once } else { Uses::UntilExpiry },
        ..Claims::empty(TokenId([0; 16]))
    })
}

/// For tokens that can't say that they work once.
///
/// # Errors
/// `NotAllowed` where the rule says so.
pub fn many_uses(rule: &Rule) -> Result<(), IssueRefusal> {
    match rule.uses {
        Uses::UntilExpiry => Ok(()),
        Uses::Once | Uses::Strict => Err(IssueRefusal::NotAllowed(
            "This caller's tokens work once, and a Sirv token can't say that.",
        )),
    }
}

/// For tokens that can't carry limits: a limit that got lost would be none.
///
/// # Errors
/// `NotAllowed` where the rule limits the caller's tokens.
pub fn without_limits(claims: &Claims) -> Result<(), IssueRefusal> {
    if claims.limits.is_empty() {
        return Ok(());
    }
    Err(IssueRefusal::NotAllowed(
        "This caller's rule limits its tokens, and tokens of this kind can't carry limits.",
    ))
}

/// The life in seconds.
fn lifetime(rule: &Rule, asked: Lifetime) -> Result<i64, IssueRefusal> {
    let ttl = match asked {
        Lifetime::Usual => rule.default_ttl.min(rule.max_ttl),
        Lifetime::AtMost(ttl) => ttl.min(rule.max_ttl),
        Lifetime::Asked(ttl) if ttl <= rule.max_ttl => ttl,
        Lifetime::Asked(_) => return Err(too_long(rule.max_ttl)),
    };
    Ok(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX))
}

/// The limits of a token: those that were asked for, which may be stricter than the rule's and no looser.
fn limits(most: Limits, asked: Limits) -> Result<Limits, IssueRefusal> {
    let mut violations = Vec::new();
    let mut stricter = |property: &'static str, most: Option<u64>, asked: Option<u64>| {
        if let (Some(most), Some(asked)) = (most, asked)
            && asked > most
        {
            violations.push(Violation {
                property: property.into(),
                message: format!("At most {most}.").into(),
            });
        }
        asked.or(most)
    };
    let rate = stricter("rate", most.rate, asked.rate);
    let streams = stricter(
        "streams",
        most.streams.map(u64::from),
        asked.streams.map(u64::from),
    );
    if !violations.is_empty() {
        return Err(IssueRefusal::Unprocessable(violations));
    }
    Ok(Limits {
        rate,
        streams: streams.and_then(|streams| u32::try_from(streams).ok()),
    })
}

/// What no rule can allow.
fn check(request: &IssueRequest, paths: &[Opens]) -> Result<(), IssueRefusal> {
    let mut violations = Vec::new();
    if paths.is_empty() && request.media.is_none() && request.paths != Paths::Elsewhere {
        violations.push(Violation::new("paths", "At least one path, or a medium."));
    }
    if paths.len() + usize::from(request.media.is_some()) > MAX_PATTERNS {
        violations.push(Violation::new("paths", "At most 64 things in one token."));
    }
    if request
        .filename
        .as_deref()
        .is_some_and(|name| !is_file_name(name))
    {
        violations.push(Violation::new(
            "filename",
            "A file name has 1 to 255 bytes, no slash, no backslash, no control character.",
        ));
    }
    if request
        .subject
        .as_deref()
        .is_some_and(|subject| !is_subject(subject))
    {
        violations.push(Violation::new(
            "sub",
            "A subject has 1 to 256 bytes and no control character.",
        ));
    }
    if text_bytes(request, paths) > MAX_TEXT_BYTES {
        violations.push(Violation::new("", "The token would be too long for a URL."));
    }
    if violations.is_empty() {
        Ok(())
    } else {
        Err(IssueRefusal::Unprocessable(violations))
    }
}

/// A name that can be one file, and looks like the one it is: no control characters, none that turn the writing round.
fn is_file_name(name: &str) -> bool {
    let forbidden = |c: char| {
        c.is_control() || matches!(c, '/' | '\\' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !matches!(name, "" | "." | "..") && name.len() <= MAX_FILENAME_BYTES && !name.contains(forbidden)
}

fn is_subject(subject: &str) -> bool {
    !subject.is_empty() && subject.len() <= MAX_SUBJECT_BYTES && !subject.contains(char::is_control)
}

/// The length of all texts as JSON writes them, escapes, quotes and separators included.
fn text_bytes(request: &IssueRequest, paths: &[Opens]) -> usize {
    let json = |text: &str| serde_json::Value::from(text).to_string().len() + 1;
    paths.iter().map(|path| json(&path.to_string())).sum::<usize>()
        + request.subject.as_deref().map_or(0, json)
        + request.filename.as_deref().map_or(0, json)
        + request
            .addresses
            .iter()
            .flatten()
            .map(|net| json(&net.to_string()))
            .sum::<usize>()
        + request
            .parameters
            .iter()
            .map(|(name, value)| json(name) + json(&value.text().unwrap_or_default()))
            .sum::<usize>()
}

/// What the rule's templates open for this caller. One whose claim is missing opens nothing.
fn allowed(rule: &Rule, caller: &Caller) -> Vec<Opens> {
    let filled = rule.paths.iter().map(|template| template.fill(caller.claims()));
    filled.filter_map(Result::ok).collect()
}

fn check_paths(rule: &Rule, caller: &Caller, paths: &[Opens]) -> Result<(), IssueRefusal> {
    let allowed = allowed(rule, caller);
    if paths
        .iter()
        .all(|path| allowed.iter().any(|ours| ours.covers(path)))
    {
        Ok(())
    } else {
        Err(IssueRefusal::NotAllowed(
            "A path is not within what this caller's rule allows.",
        ))
    }
}

#[cfg(test)]
mod tests;
