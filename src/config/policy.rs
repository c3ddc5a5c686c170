//! What a route really does, in words, so that no part of a policy is lost unseen; and with which keys its tokens are
//! made, which verifiers don't tell.

use std::fmt;
use std::sync::Arc;

use super::values::{show_duration, show_size};
use crate::gate::route::{Mapping, Route, ScopeRule};
use crate::gate::session::{Mode, Rules};
use crate::token::Uses;
use crate::token::carrier::Carrier;
use crate::token::keys::{KeyRing, LogKey};
use crate::token::scheme::jwt::{KidHeader, Minter, Profile};

/// The keys of a verifier and what it demands.
#[derive(Clone, Debug)]
pub struct RouteKeys {
    /// The keys.
    pub keys: Arc<KeyRing>,
    /// Who makes the tokens.
    pub profile: Profile,
    /// Whether tokens need claims that we don't write.
    pub requires_more: bool,
    /// Accepted issuers.
    pub issuers: Vec<String>,
    /// Accepted audiences.
    pub audiences: Vec<String>,
    /// The `typ` that is demanded.
    pub typ: Option<String>,
    /// The longest life.
    pub max_lifetime: Option<std::time::Duration>,
}

impl RouteKeys {
    /// Whether tokens of this issuer pass.
    pub fn takes_issuer(&self, issuer: &str) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|known| known == issuer)
    }

    /// A minter whose tokens these rules accept; `None` where no key at hand can sign, or a `typ` or claim is demanded that
    /// we don't write.
    pub fn minter(&self, log_key: &Arc<LogKey>) -> Option<Minter> {
        let can_sign = self
            .keys
            .load()
            .is_some_and(|set| set.keys.signing(None).is_some());
        let plain = self
            .typ
            .as_deref()
            .is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
        (can_sign && plain && !self.requires_more).then(|| Minter {
            keys: Arc::clone(&self.keys),
            issuer: self.issuers.first().map_or("", |text| text).into(),
            audience: self.audiences.first().map_or("", |text| text).into(),
            kid: KidHeader::Named,
            log_key: Arc::clone(log_key),
        })
    }
}

/// One route in words.
pub struct Policy {
    /// The route.
    pub route: Arc<Route>,
    /// Its keys, where tokens are signed.
    pub keys: Option<RouteKeys>,
    /// The keys of Sirv's tokens, where it takes those.
    pub sirv: Option<Arc<KeyRing>>,
    /// Its scope template, as it was written.
    pub template: Option<String>,
    /// Its origin: name, and where it is.
    pub origin: String,
    /// The dialects mounted below it.
    pub mounts: Vec<&'static str>,
    /// Its path carrier as it was written, for making links.
    pub path_carrier: Option<String>,
}

/// A carrier as a person writes it.
fn carrier_text(carrier: &Carrier, path_carrier: Option<&str>) -> String {
    match carrier {
        Carrier::Query { names } => names
            .iter()
            .map(|name| format!("?{name}=…"))
            .collect::<Vec<_>>()
            .join(" and "),
        Carrier::PathSegment(_) => format!("path {}", path_carrier.unwrap_or("pattern")),
        Carrier::PathPrefix { marker } => format!("path prefix /{marker}…/"),
        Carrier::Cookie { names } => format!("cookie {}", names.join(" and ")),
        Carrier::Bearer => "Authorization: Bearer".to_owned(),
    }
}

fn or_any(texts: &[String], none: &str) -> String {
    match texts {
        [] => none.to_owned(),
        texts => texts.join(" or "),
    }
}

/// What becomes of tokens that may be used once.
fn single_use(rules: &Rules) -> String {
    let after = show_duration(rules.session_ttl);
    let most = show_duration(rules.session_max);
    let mut text = match rules.mode {
        Mode::Strict => "one answer, no session".to_owned(),
        Mode::File => {
            let whole = show_duration(rules.after_complete);
            format!(
                "a session for the file: {after} after the last byte, {whole} after all of them, at most {most}"
            )
        }
        Mode::Playback => {
            format!("a session for all that the token opens: {after} after the last byte, at most {most}")
        }
    };
    if rules.interstitial {
        text.push_str("; a page with a button first");
    }
    text
}

impl fmt::Display for Policy {
    /// Several lines, each `name: what`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = &self.route;
        let host = route.host.as_deref().unwrap_or("any host");
        let paths: Vec<String> = match (&*route.templates, &*route.prefix) {
            ([], "") => vec!["/".to_owned()],
            ([], prefix) => vec![prefix.to_owned()],
            (templates, _) => templates.iter().map(ToString::to_string).collect(),
        };
        let prefix = paths.join(" or ");
        writeln!(f, "route {}: {host}, {prefix}", route.name)?;
        let carriers: Vec<String> = route
            .carriers
            .iter()
            .map(|carrier| carrier_text(carrier, self.path_carrier.as_deref()))
            .collect();
        let own = match route.schemes.signed() {
            [] => "",
            _ if carriers.is_empty() => "the schemes' own",
            _ => ", and the schemes' own",
        };
        writeln!(f, "  carriers   {}{own}", carriers.join(", "))?;
        write!(
            f,
            "  scheme     {}, leeway {}",
            route.schemes.names(),
            show_duration(route.leeway)
        )?;
        for scheme in route.schemes.signed() {
            write!(f, "; {} leeway {}", scheme.name(), show_duration(scheme.leeway))?;
        }
        if let Some(keys) = &self.keys {
            write!(
                f,
                ", keys {:?}, issuer {}, audience {}",
                keys.keys.name(),
                or_any(&keys.issuers, "any"),
                or_any(&keys.audiences, "none"),
            )?;
            if keys.profile != Profile::Native {
                write!(f, ", profile {}", keys.profile.name())?;
            }
            if let Some(typ) = &keys.typ {
                write!(f, ", typ {typ}")?;
            }
            if let Some(life) = keys.max_lifetime {
                write!(f, ", at most {} long", show_duration(life))?;
            }
        }
        if let Some(keys) = &self.sirv {
            write!(f, ", keys {:?}", keys.name())?;
        }
        if let Some(short) = route.schemes.short_media() {
            let rules = short.rules();
            write!(
                f,
                ", short media tokens by {:?} for requestor {}, {}",
                rules.keys.name(),
                rules.requestors.join(" or "),
                match rules.uses {
                    Uses::Once | Uses::Strict => "once",
                    Uses::UntilExpiry => "any number of times",
                }
            )?;
            for (requestor, own) in rules.resources.iter().flatten() {
                for (resource, scope) in own {
                    let opens: Vec<String> = scope.0.iter().map(ToString::to_string).collect();
                    write!(
                        f,
                        "\n  resource   {requestor} {resource} opens {}",
                        opens.join(", ")
                    )?;
                }
            }
        }
        writeln!(f)?;
        if self.sirv.is_some() {
            let what = "\"/a/b\" in a Sirv token opens all that starts so, \"/a/bc\" too; \"/a/b/\" and \"/a/b.jpg\" do not";
            writeln!(f, "  take care  {what}")?;
        }
        match &route.scope {
            ScopeRule::Claims => writeln!(f, "  scope      what the token says; without it nothing opens")?,
            ScopeRule::Whole => writeln!(f, "  scope      ANY true token opens the whole route")?,
            ScopeRule::Template(_) => {
                let template = self.template.as_deref().unwrap_or_default();
                writeln!(
                    f,
                    "  scope      {template}, filled from the token, and what the token says"
                )?;
            }
        }
        writeln!(f, "  once       {}", single_use(&route.single_use))?;
        if route.cut_revoked {
            writeln!(f, "  withdrawn  running bodies are cut")?;
        }
        let methods: Vec<&str> = route.methods.names().collect();
        write!(f, "  methods    {}", methods.join(", "))?;
        if methods.iter().any(|method| !matches!(*method, "GET" | "HEAD")) {
            write!(f, ", uploads to {}", show_size(route.max_upload))?;
        }
        writeln!(f)?;
        let mapping = match &route.mapping {
            Mapping::Same => "the same path".to_owned(),
            Mapping::StripPrefix => "the path without the route's".to_owned(),
            Mapping::Template(template) => (**template).to_owned(),
            Mapping::Media(_) => "by media id".to_owned(),
        };
        writeln!(f, "  origin     {}, {mapping}", self.origin)?;
        writeln!(
            f,
            "  answers    active content: {:?}, disposition: {:?}",
            route.active_content, route.disposition
        )?;
        let cors = match &route.cors {
            None => "none".to_owned(),
            Some(cors) if cors.any => "any origin".to_owned(),
            Some(cors) => {
                let with = if cors.credentials { ", with cookies" } else { "" };
                format!("{}{with}", cors.origins.join(", "))
            }
        };
        writeln!(f, "  cors       {cors}")?;
        let mut sends = Vec::new();
        if route.forward_cookies {
            sends.push("cookies".to_owned());
        }
        if route.forward_authorization {
            sends.push("Authorization".to_owned());
        }
        sends.extend(
            route
                .identity_headers
                .iter()
                .map(|(name, claim)| format!("{name} = {claim}")),
        );
        if !sends.is_empty() {
            writeln!(f, "  passes on  {}", sends.join(", "))?;
        }
        if !route.status.is_empty() {
            let mut statuses: Vec<String> = route
                .status
                .iter()
                .map(|(code, status)| format!("{} = {}", code.as_str(), status.as_u16()))
                .collect();
            statuses.sort();
            writeln!(f, "  status     {}", statuses.join(", "))?;
        }
        if !route.response_headers.is_empty() {
            let names: Vec<&str> = route.response_headers.iter().map(|name| name.as_str()).collect();
            writeln!(f, "  lets pass  {}", names.join(", "))?;
        }
        if !route.redirect_hosts.is_empty() {
            writeln!(f, "  redirects  to {}", route.redirect_hosts.join(", "))?;
        }
        if !self.mounts.is_empty() {
            writeln!(f, "  mounts     {}", self.mounts.join(", "))?;
        }
        Ok(())
    }
}
