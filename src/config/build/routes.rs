//! `[[route]]`: host, path, carriers, scheme, scope, mapping, and what answers may do.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::StatusCode;

use super::jwt::jwt_rules;
use super::keys::Keys;
use super::server::Served;
use super::{Numbers, Place, carriers, cors, in_range, links, mapping, origins, raw, seconds, signed, sirv};
use crate::app::Mount;
use crate::config::policy::Policy;
use crate::config::problems::Problems;
use crate::config::read::At;
use crate::gate::refusal::Code;
use crate::gate::route::{ActiveContent, Route, RouteTemplate, ScopeRule};
use crate::issuer::DialectName;
use crate::media::Media;
use crate::origin::Origin;
use crate::token::carrier::{Carrier, Carriers};
use crate::token::scheme::jwt::Jwt;
use crate::token::scheme::opaque::Opaque;
use crate::token::scheme::short_media::ShortMedia;
use crate::token::scheme::sirv::Sirv;
use crate::token::scheme::{Scheme, Schemes};
use crate::token::scope::ScopeTemplate;
use crate::token::{Methods, PublicBase};

/// What this file builds.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) built: Vec<Built>,
    pub(super) mounts: Vec<Mount>,
}

/// One route.
pub(super) struct Built {
    pub(super) at: String,
    pub(super) route: Arc<Route>,
    pub(super) policy: Policy,
}

impl Routes {
    /// The key path of the route called `name`.
    pub(super) fn path_of(&self, name: &str) -> String {
        let found = self.built.iter().rfind(|built| &*built.route.name == name);
        found.map_or_else(|| "route".to_owned(), |built| format!("{}.path", built.at))
    }
}

/// What routes refer to.
pub(super) struct Parts<'b> {
    pub(super) served: &'b Served,
    pub(super) place: &'b Place,
    pub(super) keys: &'b Keys,
    pub(super) origins: &'b BTreeMap<String, Option<origins::Built>>,
    pub(super) media: &'b BTreeMap<String, Option<Arc<Media>>>,
    pub(super) issuer: Option<&'b raw::Issuer>,
    /// The cookie of sessions: as it is written, and as browsers have it.
    pub(super) session: Option<(&'b str, &'b str)>,
    /// The routes of the configuration before.
    pub(super) before: &'b [Arc<Route>],
}

#[allow(clippy::too_many_arguments, reason = "a route names all other parts")]
pub(super) fn build(
    file: &raw::File,
    served: &Served,
    keys: &Keys,
    origins: &BTreeMap<String, Option<origins::Built>>,
    media: &BTreeMap<String, Option<Arc<Media>>>,
    place: &Place,
    numbers: &mut Numbers,
    problems: &mut Problems,
) -> Routes {
    let session = file
        .landing
        .as_ref()
        .map(|landing| (&*landing.cookie, super::landing::cookie_name(landing, served)));
    let parts = Parts {
        session: session.as_ref().map(|(written, real)| (*written, &**real)),
        before: place.kept.as_ref().map_or(&[], |kept| &kept.routes),
        served,
        place,
        keys,
        origins,
        media,
        issuer: file.issuer.as_ref(),
    };
    if file.route.is_empty() && !problems.has("route") {
        problems.error(
            "route",
            "there is none",
            "add a [[route]] with name, path, origin, carriers and scheme",
        );
    }
    let mut routes = Routes::default();
    for (at, raw) in file.route.iter().enumerate() {
        let twin = raw.name.as_ref().and_then(|name| {
            file.route[..at]
                .iter()
                .find(|other| other.name.as_ref() == Some(name))
        });
        if let Some(twin) = twin {
            problems.error(
                format!("{}.name", raw.at),
                format!("{} has the same name", twin.at),
                "names are labels in logs and metrics: each route needs its own",
            );
        }
        let number = numbers.of(raw.name.as_deref().unwrap_or_default());
        if let Some((built, mounts)) = one(number, raw, &parts, problems) {
            routes.built.push(built);
            routes.mounts.extend(mounts);
        }
    }
    routes
}

fn one(
    number: usize,
    raw: &raw::Route,
    parts: &Parts<'_>,
    problems: &mut Problems,
) -> Option<(Built, Vec<Mount>)> {
    let at = |key: &str| format!("{}.{key}", raw.at);
    let name = raw.name.as_deref();
    if name.is_some_and(|name| {
        name.is_empty()
            || name.len() > 64
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    }) {
        problems.error(
            at("name"),
            "is no name",
            "letters, digits, -, _ and ., at most 64",
        );
    }
    let host = match &raw.host {
        Some(host) => carriers::host(&at("host"), host, problems).map(Some),
        None => Some(None),
    };
    let prefix = raw
        .path
        .as_deref()
        .and_then(|path| carriers::path(&at("path"), path, problems));
    let (prefix, templates) = prefix.unzip();
    let origin = raw.origin.as_deref().and_then(|name| {
        if !parts.origins.contains_key(name) && !problems.has(&format!("origin.{name}")) {
            links::unknown(&at("origin"), "origin", "origin", name, problems);
        }
        parts.origins.get(name)?.as_ref()
    });
    let carriers = carriers::carriers(raw, prefix.as_deref(), parts.session, problems);
    let in_path = templates
        .iter()
        .flatten()
        .flat_map(RouteTemplate::names)
        .map(str::to_owned);
    let variables: Vec<String> = carriers
        .iter()
        .flatten()
        .flat_map(|carrier| match carrier {
            Carrier::PathSegment(pattern) => pattern.variables().map(str::to_owned).collect(),
            _ => Vec::new(),
        })
        .chain(in_path)
        .collect();
    let has_path_carrier = carriers
        .iter()
        .flatten()
        .any(|carrier| matches!(carrier, Carrier::PathSegment(_)));
    let leeway = in_range(at("leeway"), raw.leeway, seconds(0), seconds(300), problems);
    if raw.leeway > seconds(60) {
        problems.warn(
            at("leeway"),
            "is long",
            "tokens live that much longer than they say",
        );
    }
    let methods = methods(&at("methods"), &raw.methods, problems);
    if origin.is_some_and(|built| matches!(built.origin, Origin::S3(_)))
        && methods.is_some_and(|methods| methods.names().any(|name| !matches!(name, "GET" | "HEAD")))
    {
        problems.error(
            at("methods"),
            "has more than a bucket is asked for",
            "buckets are only read: write [\"GET\", \"HEAD\"]",
        );
    }
    let mut named = Vec::new();
    let scope = scope(raw, &mut named, problems);
    let mapping = mapping::mapping(
        raw,
        parts,
        &variables,
        has_path_carrier,
        prefix.as_deref(),
        &mut named,
        problems,
    );
    let identity_headers = cors::identity_headers(&at("identity_headers"), &raw.identity_headers, problems);
    named.extend(
        identity_headers
            .iter()
            .flat_map(|headers| headers.iter().map(|(_, claim)| claim.to_string())),
    );
    let status = status(raw, problems);
    let cors = match &raw.cors {
        Some(cors) => cors::cors(cors, problems).map(Some),
        None => Some(None),
    };
    let response_headers = cors::response_headers(&raw.response_headers, problems);
    let redirect_hosts = redirect_hosts(&raw.redirect_hosts, problems);
    let mounts = mounts(raw, parts, problems);
    let single_use = super::single_use::single_use(raw, parts.served.tells_clients_apart, problems);
    if raw.active_content == ActiveContent::Allow {
        problems.warn(
            at("active_content"),
            "lets scripts in HTML and SVG run on this host",
            "only where every file is trusted",
        );
    }
    if raw.forward_authorization
        && carriers
            .iter()
            .flatten()
            .any(|carrier| matches!(carrier, Carrier::Bearer))
    {
        problems.warn(
            at("forward_authorization"),
            "a bearer that carries the token is never passed on",
            "only other credentials are",
        );
    }
    let jwt = raw.scheme.as_ref()?.jwt.as_ref();
    let is_opaque = raw.scheme.as_ref()?.opaque.is_some();
    let sirv_table = raw.scheme.as_ref()?.sirv.as_ref();
    let short_media = raw.scheme.as_ref()?.short_media.as_ref();
    let is_empty = raw
        .scheme
        .as_ref()
        .is_some_and(|scheme| !scheme.is_carried() && !signed::has_any(scheme));
    if is_empty && !problems.has_error_below(&at("scheme")) {
        problems.error(
            at("scheme"),
            "is empty",
            "add [route.scheme.jwt], or another of those in docs/CONFIG.md",
        );
    }
    let short_media =
        short_media.map(|short| super::short_media::rules(raw, short, &named, parts.keys, problems));
    let rules = jwt.map(|jwt| jwt_rules(&jwt.into(), parts.keys, named, problems));
    let sirv = sirv_table.map(|sirv| sirv::rules(sirv, raw, parts, problems));

    let (name, host, prefix, templates, origin) = (name?, host?, prefix?, templates?, origin?);
    let (route_keys, rules) = match rules {
        Some(built) => built.map(|(keys, rules)| (Some(keys), Some(rules)))?,
        None => (None, None),
    };
    let sirv = match sirv {
        Some(built) => Some(built?),
        None => None,
    };
    let sirv_keys = sirv.as_ref().map(|rules| Arc::clone(&rules.keys));
    let signed = signed::schemes(raw, parts, problems);
    let carriers = carriers?;
    let path_carrier = raw
        .carriers
        .iter()
        .flatten()
        .find_map(|carrier| match &carrier.value {
            raw::Carrier::Path(text) => Some(text.clone()),
            _ => None,
        });
    let before = parts.before.iter().filter_map(|route| route.schemes.jwt());
    let jwt = rules.map(|rules| Scheme::Jwt(Jwt::succeeding(rules, before)));
    let before = parts.before.iter().filter_map(|route| route.schemes.sirv());
    let sirv = sirv.map(|rules| Scheme::Sirv(Sirv::succeeding(rules, before)));
    let opaque = match is_opaque {
        true => Some(Scheme::Opaque(Opaque::new(parts.keys.log_key.clone()?))),
        false => None,
    };
    let short_media = match short_media {
        Some(rules) => {
            let before = parts
                .before
                .iter()
                .filter_map(|route| route.schemes.short_media());
            Some(Scheme::ShortMedia(ShortMedia::succeeding(rules?, before)))
        }
        None => None,
    };
    let route = Arc::new(Route {
        name: name.into(),
        number,
        host: host.clone(),
        prefix: prefix.clone(),
        templates,
        carriers: Carriers::new(carriers),
        schemes: Schemes::new(
            jwt.into_iter().chain(sirv).chain(opaque).chain(short_media),
            signed?,
        )?,
        origin: origin.origin.clone(),
        scope: scope?,
        leeway,
        single_use,
        cut_revoked: raw.cut_revoked,
        methods: methods?,
        max_upload: raw.max_upload.0,
        mapping: mapping?,
        status: status?,
        dialect: raw.dialect,
        cors: cors?,
        active_content: raw.active_content,
        disposition: raw.disposition,
        forward_cookies: raw.forward_cookies,
        forward_authorization: raw.forward_authorization,
        identity_headers: identity_headers?,
        response_headers: response_headers?,
        origin_hosts: origin.hosts.clone().into(),
        redirect_hosts: redirect_hosts?,
        session_cookie: parts.session.map(|(_, real)| real.into()),
        public: public(parts.served.public.as_ref(), host.as_deref()),
    });
    let policy = Policy {
        route: Arc::clone(&route),
        keys: route_keys,
        sirv: sirv_keys,
        origin: format!("{} ({})", raw.origin.as_deref()?, origin.place),
        mounts: mounts.iter().map(|dialect| dialect.as_str()).collect(),
        path_carrier,
        template: match &raw.scope {
            raw::Scope::Template(scope) => scope.template.clone(),
            raw::Scope::Claims | raw::Scope::Whole => None,
        },
    };
    let mounts = mounts
        .into_iter()
        .map(|dialect| Mount {
            route: number,
            dialect,
        })
        .collect();
    Some((
        Built {
            at: raw.at.clone(),
            route,
            policy,
        },
        mounts,
    ))
}

/// The public scheme and host of a route: those of the server, under the route's own host where it has one.
fn public(base: Option<&PublicBase>, host: Option<&str>) -> Option<PublicBase> {
    let base = base?;
    let (name, port) = match base
        .authority
        .rfind(':')
        .filter(|colon| !base.authority[*colon..].contains(']'))
    {
        Some(colon) => base.authority.split_at(colon),
        None => (&*base.authority, ""),
    };
    match host.filter(|host| *host != name) {
        Some(host) => Some(PublicBase {
            scheme: base.scheme.clone(),
            authority: format!("{host}{port}").into(),
        }),
        None => Some(base.clone()),
    }
}

pub(super) fn methods(at: &str, names: &[At<String>], problems: &mut Problems) -> Option<Methods> {
    let mut good = !names.is_empty();
    if !good && !problems.has(&format!("{at}[0]")) {
        problems.error(at, "is empty", "write [\"GET\"]");
    }
    for name in names {
        if Methods::parse([name.value.as_str()]).is_err() {
            good = false;
            let what = format!("{:?} is no method that can be served", name.value);
            problems.error(
                &name.at,
                what,
                "GET (with HEAD), PUT, POST, DELETE, PATCH; OPTIONS is answered without",
            );
        }
    }
    Methods::parse(names.iter().map(|name| name.value.as_str()))
        .ok()
        .filter(|_| good)
}

fn scope(raw: &raw::Route, named: &mut Vec<String>, problems: &mut Problems) -> Option<ScopeRule> {
    let at = format!("{}.scope", raw.at);
    match &raw.scope {
        raw::Scope::Claims => Some(ScopeRule::Claims),
        raw::Scope::Whole => {
            problems.warn(
                at,
                "any true token opens every file of this route",
                "\"claims\", unless every holder may see everything",
            );
            Some(ScopeRule::Whole)
        }
        raw::Scope::Template(raw) => {
            let at = format!("{at}.template");
            template(&at, raw.template.as_deref()?, named, problems).map(ScopeRule::Template)
        }
    }
}

/// Reads a template and notes the claims that it needs.
pub(super) fn template(
    at: &str,
    text: &str,
    named: &mut Vec<String>,
    problems: &mut Problems,
) -> Option<ScopeTemplate> {
    match ScopeTemplate::parse(text) {
        Ok(template) => {
            let names: Vec<String> = template.names().into_iter().map(str::to_owned).collect();
            let good = names.iter().all(|name| links::claim_name(at, name, problems));
            named.extend(names);
            good.then_some(template)
        }
        Err(error) => {
            problems.error(at, error.to_string(), "write \"/customers/{sub}/**\"");
            None
        }
    }
}

fn status(raw: &raw::Route, problems: &mut Problems) -> Option<HashMap<Code, StatusCode>> {
    let mut map = HashMap::new();
    let mut good = true;
    for (name, number) in &raw.status {
        let at = format!("{}.status.{name}", raw.at);
        let code = Code::parse(name);
        if code.is_none() {
            let names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
            let hint = match crate::config::problems::nearest(name, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of: {}", names.join(", ")),
            };
            problems.error(&at, format!("there is no code {name:?}"), hint);
        }
        let status = StatusCode::from_u16(*number)
            .ok()
            .filter(|_| (400..600).contains(number));
        if status.is_none() {
            problems.error(&at, format!("{number} is no status of a refusal"), "400 to 599");
        }
        match code.zip(status) {
            Some((code, status)) => {
                map.insert(code, status);
            }
            None => good = false,
        }
    }
    good.then_some(map)
}

fn redirect_hosts(hosts: &[At<String>], problems: &mut Problems) -> Option<Box<[Box<str>]>> {
    let mut one = |host: &At<String>| {
        let lower = host.value.to_ascii_lowercase();
        let good = lower.parse::<http::uri::Authority>().is_ok() && !lower.contains(['@', '*']);
        if !good {
            problems.error(
                &host.at,
                "is no host",
                "write \"cdn.example.com\", with a port where it has one",
            );
        }
        good.then(|| Box::from(lower))
    };
    let all: Vec<Option<Box<str>>> = hosts.iter().map(&mut one).collect();
    all.into_iter().collect()
}

fn mounts(raw: &raw::Route, parts: &Parts<'_>, problems: &mut Problems) -> Vec<DialectName> {
    for mount in &raw.mount {
        let there = parts.issuer.is_some_and(|issuer| match mount.value {
            DialectName::Native => issuer.native.is_some(),
            DialectName::Fynn => issuer.fynn.is_some(),
            DialectName::FynnInvoice => issuer.fynn_invoice.is_some(),
            DialectName::NexudusMedia => issuer.nexudus_media.is_some(),
            DialectName::NexudusToken => issuer.nexudus_token.is_some(),
            DialectName::NexudusBearer => issuer.nexudus_bearer.is_some(),
            DialectName::NexudusExchange => issuer.nexudus_exchange.is_some(),
            DialectName::Sirv => issuer.sirv.is_some(),
            DialectName::SirvBearer => issuer.sirv_bearer.is_some(),
            DialectName::AdobeMedia => issuer.adobe_media.is_some(),
            DialectName::AdobeBearer => issuer.adobe_bearer.is_some(),
        });
        let name = mount.value.as_str();
        if !there && !problems.has(&format!("issuer.{name}")) {
            problems.error(
                &mount.at,
                format!("the issuer has no dialect {name:?}"),
                format!("add [issuer.{name}]"),
            );
        }
    }
    raw.mount.iter().map(|mount| mount.value).collect()
}
