//! `mediagate token mint` and `token caller`: links and bearers from the keys that the configuration names.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Method;
use ipnet::IpNet;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Failed, store};
use crate::clock::Clock;
use crate::config::{Loaded, Policy, parse_bytes, parse_duration};
use crate::gate::route::Mapping;
use crate::media::{Known, MediaId};
use crate::server::control::orders::{Order, Purpose};
use crate::server::control::wire::{Command, Message};
use crate::target::{Target, encode_segment};
use crate::token::carrier::Carrier;
use crate::token::claims::Limits;
use crate::token::scheme::signed::{Place, Signed, SignedScheme, Wish};
use crate::token::scheme::{Scheme, sirv};
use crate::token::{Claims, Methods, MintToken, Minted, Opens, Scope, TokenId, Uses};

#[derive(Args)]
pub(super) struct MintFlags {
    /// What the token opens, decoded: `/a/b.pdf`, `/a/` (everything below), `/a/*.ts`, `/a/**`. The link is for the first.
    #[arg(long = "path", value_name = "PATTERN", required_unless_present = "media")]
    paths: Vec<String>,
    /// A media id, for a route whose path carrier has {id}.
    #[arg(long, value_name = "ID", conflicts_with = "paths")]
    media: Option<String>,
    /// The path of the link, where the first pattern is not one: a playlist below `/hls/**`.
    #[arg(long, value_name = "PATH")]
    open: Option<String>,
    /// How long it works: 90s, 15m, 4h, 1d.
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Whom it is for.
    #[arg(long)]
    sub: Option<String>,
    /// A method it is good for; may be given several times. GET brings HEAD.
    #[arg(long = "method", value_name = "METHOD")]
    methods: Vec<String>,
    /// A client address or network it is good for; may be given several times.
    #[arg(long = "ip", value_name = "CIDR", value_parser = network)]
    ips: Vec<IpNet>,
    /// The name to save the file under.
    #[arg(long)]
    filename: Option<String>,
    /// Where the token rides; the route's first carrier where absent.
    #[arg(long)]
    carrier: Option<CarrierKind>,
    /// The route, by name, where several could serve the path.
    #[arg(long)]
    route: Option<String>,
    /// How often it may be used: 1 is the one number that there is. Without it, until it expires.
    #[arg(long, value_name = "1", value_parser = clap::value_parser!(u8).range(1..=1))]
    uses: Option<u8>,
    /// Bytes per second for all downloads of its subject together: 500KB, 2MiB. Without a subject, for those of the token.
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    rate: Option<u64>,
    /// Downloads of its subject at the same time, 1 to 1024.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1024))]
    streams: Option<u32>,
    /// How it is made: jwt, a signed token; opaque, 32 random digits for a route with [route.scheme.opaque], or for the
    /// landing. What those say is put into the store, by the running server where there is one. Or the name of another scheme
    /// of the route, such as cloudfront or mac. The route's first where absent.
    #[arg(long)]
    scheme: Option<SchemeKind>,
    /// The same as --scheme opaque.
    #[arg(long, conflicts_with = "scheme")]
    opaque: bool,
    /// What an opaque token is good for, file unless told otherwise; may be given several times, and any of them spends it.
    #[arg(long = "purpose", value_name = "PURPOSE")]
    purposes: Vec<PurposeName>,
    /// Print the token alone.
    #[arg(long)]
    raw: bool,
}

impl MintFlags {
    fn is_opaque(&self) -> bool {
        self.opaque || self.scheme == Some(SchemeKind::Opaque)
    }

    /// The scheme that signs whole requests, where one is meant.
    fn signed<'p>(&self, policy: &'p Policy) -> Result<Option<&'p SignedScheme>, Failed> {
        let schemes = &policy.route.schemes;
        let found = match &self.scheme {
            None if self.opaque || schemes.iter().next().is_some() => return Ok(None),
            Some(SchemeKind::Jwt | SchemeKind::Opaque) => return Ok(None),
            None => schemes.signed().first(),
            Some(SchemeKind::Signed(name)) => schemes.signed().iter().find(|scheme| {
                let own = scheme.name();
                own == name || own.split(':').next() == Some(name)
            }),
        };
        let unknown = || {
            let (route, names) = (&policy.route.name, schemes.names());
            Failed::Usage(format!("route {route:?} has no such scheme; it has {names}"))
        };
        found.map(Some).ok_or_else(unknown)
    }

    fn purposes(&self) -> &[PurposeName] {
        match &*self.purposes {
            [] => &[PurposeName::File],
            purposes => purposes,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SchemeKind {
    Jwt,
    Opaque,
    Signed(String),
}

impl FromStr for SchemeKind {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "jwt" => Self::Jwt,
            "opaque" => Self::Opaque,
            name => Self::Signed(name.to_owned()),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PurposeName {
    /// Opens files.
    File,
    /// Opens a session at the landing. Once.
    Login,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CarrierKind {
    Query,
    PathPrefix,
    Bearer,
    Cookie,
    /// A header of the scheme's own.
    Header,
}

#[derive(Args)]
pub(super) struct CallerFlags {
    /// Who asks.
    #[arg(long)]
    sub: String,
    /// What it may ask for, as the rules demand it; separated by spaces.
    #[arg(long, default_value = "media:read")]
    scope: String,
    /// How long it works.
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|(what, hint)| format!("{what} ({hint})"))
}

fn rate(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text).map_err(|(what, hint)| format!("{what} ({hint})"))?;
    let sound = Limits::RATES.contains(&bytes);
    sound
        .then_some(bytes)
        .ok_or_else(|| "a rate is from 1KiB to 1024GiB per second".to_owned())
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "not an address or network".to_owned())
}

pub(super) fn mint(loaded: &Loaded, flags: &MintFlags) -> Result<(), Failed> {
    let usage = |what: &dyn std::fmt::Display| Failed::Usage(what.to_string());
    if !flags.purposes.is_empty() && !flags.is_opaque() {
        return Err(usage(&"--purpose is for opaque tokens: add --scheme opaque"));
    }
    let (policy, mut claims, path) = match &flags.media {
        Some(id) => of_media(loaded, flags, id)?,
        None => of_paths(loaded, flags)?,
    };
    if !flags.methods.is_empty() {
        let methods = Methods::parse(flags.methods.iter().map(String::as_str));
        claims.methods =
            Some(methods.map_err(|method| usage(&format_args!("{method:?} is not a method for tokens")))?);
    }
    if !flags.ips.is_empty() {
        claims.addresses = Some(flags.ips.clone().into());
    }
    if flags.sub.is_some() && policy.sirv.is_some() && !flags.is_opaque() {
        return Err(usage(&"--sub does not go with a Sirv token, which names nobody"));
    }
    claims.subject = flags.sub.as_deref().map(Into::into);
    if let Some(name) = &flags.filename {
        claims.filename = Some(name.as_str().into());
    }
    if flags.uses.is_some() {
        claims.uses = Uses::Once;
    }
    claims.limits = Limits {
        rate: flags.rate,
        streams: flags.streams,
    };
    if let Some(scheme) = flags.signed(policy)? {
        return signed_link(scheme, policy, &claims, &path, flags);
    }
    let link: &dyn Fn(&str) -> Result<String, Failed> = match flags.purposes().first() {
        Some(PurposeName::Login) => &|token| login_link(loaded, policy, &path, token),
        Some(PurposeName::File) | None => &|token| link(policy, flags.carrier, &path, token),
    };
    // Tried before anything is made: what was issued can't be taken back.
    link("")?;
    let token = if flags.is_opaque() {
        opaque(loaded, policy, claims, flags)?
    } else {
        signed(loaded, policy, claims, flags.ttl)?.text
    };
    if flags.raw {
        say!("{token}");
    } else {
        say!("{}", link(&token)?);
    }
    Ok(())
}

/// Prints a link, cookies or a header of a scheme that judges whole requests.
fn signed_link(
    scheme: &SignedScheme,
    policy: &Policy,
    claims: &Claims,
    path: &str,
    flags: &MintFlags,
) -> Result<(), Failed> {
    let usage = |what: &str| Failed::Usage(format!("{what} with --scheme {}", scheme.name()));
    let unsayable = claims.uses.is_once() || claims.filename.is_some() || !claims.limits.is_empty();
    if unsayable || flags.media.is_some() {
        return Err(usage(
            "--uses, --filename, --rate, --streams and --media don't go",
        ));
    }
    let scope = claims.scope.as_ref().map_or(&[][..], |scope| &scope.0);
    let ([opens], [] | [_], [] | [_]) = (scope, &*flags.methods, &*flags.ips) else {
        return Err(usage("there is one --path, --method and --ip"));
    };
    let method = match flags.methods.first() {
        Some(method) => Method::from_str(method).map_err(Failed::other)?,
        None => Method::GET,
    };
    let target = Target::parse(path, None).map_err(Failed::other)?;
    let now = Clock::system().now();
    let place = match flags.carrier {
        Some(CarrierKind::Bearer | CarrierKind::Header) => Place::Header,
        Some(CarrierKind::Cookie) => Place::Cookie,
        Some(CarrierKind::Query | CarrierKind::PathPrefix) | None => Place::Url,
    };
    let link = scheme
        .sign(&Wish {
            public: policy.route.public.as_ref(),
            method: &method,
            target: &target,
            opens: (!matches!(opens, Opens::Exact(_))).then_some(opens),
            place,
            now,
            not_before: None,
            expires: now.after(flags.ttl),
            address: flags.ips.first().copied(),
            subject: flags.sub.as_deref(),
            id: None,
        })
        .map_err(|error| usage(&error.to_string()))?;
    match link {
        Signed::Url(link) => say!("{}{link}", base(policy)),
        Signed::Cookies(cookies) => {
            let pairs: Vec<String> = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            say!("Cookie: {}", pairs.join("; "));
        }
        Signed::Header(name, value) => say!("{name}: {value}"),
    }
    Ok(())
}

/// A link to the landing, which leads on to the path.
fn login_link(loaded: &Loaded, policy: &Policy, path: &str, token: &str) -> Result<String, Failed> {
    let landing = loaded.snapshot.landing.as_ref();
    let landing =
        landing.ok_or_else(|| Failed::Usage("there is no [landing] that login links lead to".into()))?;
    let place = landing
        .paths
        .first()
        .map_or_else(String::new, |place| place.path("en"));
    let after = utf8_percent_encode(path, NON_ALPHANUMERIC);
    let base = base(policy);
    let (query, redirect) = (&landing.query, &landing.redirect_query);
    Ok(format!("{base}{place}?{query}={token}&{redirect}={after}"))
}

/// An opaque token, which the store knows by now.
fn opaque(loaded: &Loaded, policy: &Policy, mut claims: Claims, flags: &MintFlags) -> Result<String, Failed> {
    let is_opaque = |scheme: &Scheme| matches!(scheme, Scheme::Opaque(_));
    let opens_files = flags.purposes().contains(&PurposeName::File);
    if opens_files && !policy.route.schemes.iter().any(is_opaque) {
        let name = &policy.route.name;
        return Err(Failed::Usage(format!(
            "route {name:?} takes no opaque tokens: it has no [route.scheme.opaque]"
        )));
    }
    let purposes: Vec<Purpose> = flags
        .purposes()
        .iter()
        .map(|purpose| match purpose {
            PurposeName::File => Purpose::File,
            PurposeName::Login => Purpose::Login,
        })
        .collect();
    if purposes.iter().any(|purpose| *purpose != Purpose::File) {
        claims.uses = Uses::Once;
    }
    claims.expires = Some(Clock::system().now().after(flags.ttl));
    let order = Order::of(&claims, &purposes).map_err(|what| Failed::Usage(what.into()))?;
    match store::ask(loaded, &Command::Issue(order))? {
        Message::Issued { token, .. } => Ok(token.0),
        _ => Err(Failed::Other("the server says something else".into())),
    }
}

/// A token for the route, from its own key set.
pub(super) fn signed(
    loaded: &Loaded,
    policy: &Policy,
    claims: Claims,
    ttl: Duration,
) -> Result<Minted, Failed> {
    let now = Clock::system().now();
    let claims = Claims {
        expires: Some(now.after(ttl)),
        ..claims
    };
    if let Some(keys) = &policy.sirv {
        let minter = sirv::Minter {
            keys: Arc::clone(keys),
            log_key: Arc::clone(&loaded.log_key),
        };
        return minter.mint(&claims, now).map_err(Failed::other);
    }
    let keys = policy.keys.as_ref();
    let minter = keys
        .and_then(|keys| keys.minter(&loaded.log_key))
        .ok_or_else(|| {
            let name = &policy.route.name;
            Failed::Other(match policy.route.schemes.short_media() {
                Some(_) if keys.is_none() => {
                    format!("route {name:?} takes short media tokens, which [issuer.adobe_media] makes")
                }
                _ => format!("the key set of route {name:?} holds no key that can sign"),
            })
        })?;
    minter.mint(&claims, now).map_err(Failed::other)
}

fn of_paths<'l>(loaded: &'l Loaded, flags: &MintFlags) -> Result<(&'l Policy, Claims, String), Failed> {
    let mut scope = Vec::new();
    for path in &flags.paths {
        scope.push(Opens::parse(path).map_err(|bad| Failed::Usage(format!("{path:?}: {bad}")))?);
    }
    let first = flags.paths.first().map_or("/", String::as_str);
    // What stands before the first star is the best guess at a path that the pattern is about.
    let path = flags
        .open
        .as_deref()
        .unwrap_or_else(|| first.split('*').next().unwrap_or(first));
    let target = Target::from_decoded(path).map_err(|bad| Failed::Usage(bad.to_string()))?;
    let scope = Scope(scope.into());
    if flags.open.is_some() && !scope.opens(&target, None) {
        return Err(Failed::Usage(
            "what --open names is not opened by any --path".into(),
        ));
    }
    let policy = find(loaded, flags, |policy| {
        let route = &policy.route;
        loaded
            .snapshot
            .router
            .find(route.host.as_deref(), target.encoded_path())
            .is_some_and(|found| found.number == route.number)
    })?;
    let claims = Claims {
        scope: Some(scope),
        ..Claims::empty(TokenId([0; 16]))
    };
    Ok((policy, claims, target.encoded_path().to_owned()))
}

fn of_media<'l>(
    loaded: &'l Loaded,
    flags: &MintFlags,
    id: &str,
) -> Result<(&'l Policy, Claims, String), Failed> {
    let media_id = MediaId::parse(id).map_err(|bad| Failed::Usage(format!("the media id: {bad}")))?;
    let policy = find(loaded, flags, |policy| {
        matches!(policy.route.mapping, Mapping::Media(_))
    })?;
    let mut claims = Claims {
        scope: Some(Scope(Box::new([Opens::MediaId(id.into())]))),
        ..Claims::empty(TokenId([0; 16]))
    };
    if let Mapping::Media(media) = &policy.route.mapping {
        match media.find(&media_id) {
            Known::Medium(medium) => claims.filename = Some(medium.file_name().into()),
            Known::Path(_) => {}
            Known::No => return Err(Failed::Other(format!("the catalogue has no medium {id:?}"))),
        }
    }
    let pattern = policy.path_carrier.as_deref().unwrap_or_default();
    let segment = encode_segment(id).map_err(Failed::other)?;
    Ok((policy, claims, pattern.replace("{id}", &segment)))
}

fn find<'l>(
    loaded: &'l Loaded,
    flags: &MintFlags,
    fits: impl Fn(&Policy) -> bool,
) -> Result<&'l Policy, Failed> {
    let found = loaded.policies.iter().find(|policy| match &flags.route {
        Some(name) => *policy.route.name == **name,
        None => fits(policy),
    });
    found.ok_or_else(|| match &flags.route {
        Some(name) => Failed::Usage(format!("there is no route {name:?}")),
        None => Failed::Usage("no route serves that".into()),
    })
}

/// Scheme and host of a link, where the configuration names them.
fn base(policy: &Policy) -> String {
    let public = policy.route.public.as_ref();
    public
        .map(|base| format!("{}://{}", base.scheme, base.authority))
        .unwrap_or_default()
}

/// The link, or for a header the line of it.
pub(super) fn link(
    policy: &Policy,
    kind: Option<CarrierKind>,
    path: &str,
    token: &str,
) -> Result<String, Failed> {
    let route = &policy.route;
    let base = base(policy);
    let is_kind = |carrier: &&Carrier| match kind {
        None => true,
        Some(CarrierKind::Query) => matches!(carrier, Carrier::Query { .. }),
        Some(CarrierKind::PathPrefix) => matches!(carrier, Carrier::PathPrefix { .. }),
        Some(CarrierKind::Bearer) => matches!(carrier, Carrier::Bearer),
        Some(CarrierKind::Cookie) => matches!(carrier, Carrier::Cookie { .. }),
        Some(CarrierKind::Header) => false,
    };
    let carrier = route
        .carriers
        .iter()
        .find(is_kind)
        .ok_or_else(|| Failed::Usage(format!("route {:?} has no such carrier", route.name)))?;
    Ok(match carrier {
        Carrier::Query { names } => {
            format!("{base}{path}?{}={token}", names.first().map_or("t", |name| name))
        }
        Carrier::PathPrefix { marker } => format!("{base}/{marker}{token}{path}"),
        Carrier::PathSegment(_) => format!("{base}{}", path.replace("{token}", token)),
        Carrier::Bearer => format!("Authorization: Bearer {token}"),
        Carrier::Cookie { names } => format!("Cookie: {}={token}", names.first().map_or("t", |name| name)),
    })
}

pub(super) fn caller(loaded: &Loaded, flags: &CallerFlags) -> Result<(), Failed> {
    let minter = loaded
        .callers
        .iter()
        .find_map(|keys| keys.minter(&loaded.log_key))
        .ok_or_else(|| {
            Failed::Other(
                "no key set of [[issuer.callers]] holds a key that can sign: ask your identity provider"
                    .into(),
            )
        })?;
    let now = Clock::system().now();
    let claims = Claims {
        subject: Some(flags.sub.as_str().into()),
        expires: Some(now.after(flags.ttl)),
        named: Box::new([("scope".into(), flags.scope.as_str().into())]),
        ..Claims::empty(TokenId([0; 16]))
    };
    say!("{}", minter.mint(&claims, now).map_err(Failed::other)?.text);
    Ok(())
}
