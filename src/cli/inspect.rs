//! `mediagate token inspect`: what a token says, without believing it: nothing is verified, and the signature is not shown.
//! With `--verify`: the one word that the routes' verifiers have for it.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::Failed;
use super::found::{Found, alone, find, read_argument};
use crate::clock::{Clock, UnixTime};
use crate::config::Loaded;
use crate::token::carrier::Head;
use crate::token::scheme::Believed;
use crate::token::scheme::short_media::Token;
use crate::token::scheme::signed::without_keys;
use crate::token::{Claims, Standing, TokenError};

const NOT_VERIFIED: &str =
    "NOT VERIFIED: anybody can write such a token. `mediagate explain` says what the gate makes of it.\n";

pub(super) fn inspect(argument: &str) -> Result<(), Failed> {
    let text = read_argument(argument)?;
    if whole_request(&text) {
        return Ok(());
    }
    let token = match find(&text)? {
        Found::Jwt(token) => token,
        Found::Handle(_) => {
            say!(
                "opaque: 32 random digits; the store knows what it says, and nothing of it is in its text.\n\
                 The access log names it by a keyed hash; `mediagate revoke --token` withdraws it."
            );
            return Ok(());
        }
        Found::ShortMedia(token) => return short_media(&token),
    };
    let parts: Vec<&str> = token.split('.').collect();
    let read =
        |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (Some(header), Some(claims)) = (read(parts[0]), read(parts[1])) else {
        return Err(Failed::Other("header or claims are not base64url of JSON".into()));
    };
    say!("{NOT_VERIFIED}");
    say!("header  {}", show(&header));
    say!("claims  {}", show(&claims));
    let now = Clock::system().now();
    for (name, what) in [("iat", "issued"), ("nbf", "valid from"), ("exp", "expires")] {
        if let Some(seconds) = claims.get(name).and_then(Value::as_f64) {
            // A time that no calendar holds is shown as it stands above.
            #[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
            if seconds.abs() < 1e11 {
                let time = UnixTime::from_millis((seconds * 1000.0) as i64);
                say!("{what:<11}{}, {}", time.rfc3339(), relative(now, time));
            }
        }
    }
    Ok(())
}

/// Pairs of a word and a text.
type Told = Vec<(Cow<'static, str>, String)>;

/// What tokens of schemes that judge whole requests say, where the text holds any: a link, a line of a header, or a value.
fn whole_request(text: &str) -> bool {
    let mut headers = HeaderMap::new();
    let line = text
        .split_once(':')
        .filter(|(_, value)| !value.starts_with("//"))
        .and_then(|(name, value)| {
            let name = name.trim().parse::<HeaderName>().ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
    let (mut targets, mut bare) = (Vec::new(), false);
    if let Some((name, value)) = line {
        headers.insert(name, value);
        targets.push("/".to_owned());
    } else if let Some((_, rest)) = text.split_once("://") {
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        targets.push(rest[at..].to_owned());
    } else if text.starts_with(['/', '?']) {
        targets.push(text.to_owned());
    } else {
        // A value alone, as parameters hold it.
        bare = true;
        targets.extend(["hdnts", "CAT"].map(|name| format!("/?{name}={text}")));
        headers.extend(HeaderValue::from_str(text).ok().map(|value| (COOKIE, value)));
    }
    // What several schemes would read alike is said once.
    let mut found: Vec<(Vec<&'static str>, Told)> = Vec::new();
    for target in targets {
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let head = Head {
            path: if path.is_empty() { "/" } else { path },
            query,
            headers: &headers,
        };
        for scheme in without_keys() {
            let Ok(Some(taken)) = scheme.take(head) else {
                continue;
            };
            let told = scheme.tell(&taken);
            match found.iter_mut().find(|(_, known)| *known == told) {
                Some((names, _)) => names.push(scheme.name()),
                None => found.push((vec![scheme.name()], told)),
            }
        }
    }
    // A value alone is read under names that it may never have had.
    if bare || found.iter().any(|(_, told)| !told.is_empty()) {
        found.retain(|(_, told)| !told.is_empty());
    }
    // A name that many have, and nothing behind it: somebody else's token says more.
    if found.is_empty() || found.iter().all(|(_, told)| told.is_empty()) && find(text).is_ok() {
        return false;
    }
    say!("{NOT_VERIFIED}");
    for (number, (names, told)) in found.iter().enumerate() {
        if number > 0 {
            say!("");
        }
        let width = told.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(6) + 2;
        say!("{:<width$}{}", "scheme", names.join(" or "));
        for (name, text) in told {
            say!("{name:<width$}{text}");
        }
    }
    true
}

fn short_media(text: &str) -> Result<(), Failed> {
    let wrong = |what| Failed::Other(format!("no short media token: {what}"));
    let fields = Token::parse(text).map_err(wrong)?.fields;
    say!("{NOT_VERIFIED}");
    let millis = fields.ttl.as_millis();
    for (name, text) in [
        ("session", &*fields.session),
        ("requestor", &fields.requestor),
        ("resource", &fields.resource),
        ("mvpd", &fields.mvpd),
        ("proxy", fields.proxy_mvpd.as_deref().unwrap_or("–")),
        ("lives", &format!("{millis} ms")),
    ] {
        say!("{name:<11}{text}");
    }
    let now = Clock::system().now();
    for (what, time) in [("issued", fields.issued), ("expires", fields.expires())] {
        say!("{what:<11}{}, {}", time.rfc3339(), relative(now, time));
    }
    Ok(())
}

/// What verifiers say of a token, the better first. The words are those of Adobe's verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Valid,
    OtherResource,
    Expired,
    Unknown,
    Signature,
    Format,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Valid => "VALID_TOKEN",
            Self::OtherResource => "INVALID_RESOURCE_ID",
            Self::Expired => "TOKEN_EXPIRED",
            Self::Unknown => "ERROR_UNKNOWN",
            Self::Signature => "INVALID_SIGNATURE",
            Self::Format => "INVALID_TOKEN_FORMAT",
        }
    }
}

/// Prints the best word that the verifiers of all routes have for a token. Without a resource, that is not looked at.
pub(super) fn verify(loaded: &Loaded, argument: &str, resource: Option<&str>) -> Result<(), Failed> {
    let text = read_argument(argument)?;
    let (scheme, token) = match find(&text) {
        Ok(Found::Jwt(token)) if resource.is_none() => ("jwt", token.to_owned()),
        Ok(Found::Jwt(_)) => return Err(Failed::Usage("--resource is for short media tokens".into())),
        Ok(Found::ShortMedia(token)) => ("short_media", token),
        Ok(Found::Handle(_)) => return Err(Failed::Usage("the store alone knows what that is".into())),
        Err(_) => ("short_media", text.clone()),
    };
    for source in &loaded.key_sources {
        source.load_copy();
    }
    let (now, headers) = (Clock::system().now(), HeaderMap::new());
    let evidence = alone(&token, &headers);
    let routes = loaded.policies.iter().map(|policy| &policy.route);
    let verdicts = routes.flat_map(|route| {
        let ours = route.schemes.iter().filter(|known| known.name() == scheme);
        ours.map(|known| match known.verify(&evidence) {
            Ok(Believed::Claims(claims)) => verdict(&claims, claims.standing(now, route.leeway), resource),
            Ok(Believed::Handle(_)) | Err(TokenError::KeysUnavailable) => Verdict::Unknown,
            Err(TokenError::Malformed(_)) => Verdict::Format,
            Err(TokenError::Elsewhere(_)) => Verdict::OtherResource,
            Err(TokenError::Invalid(_) | TokenError::UnknownKey) => Verdict::Signature,
        })
    });
    let best = verdicts
        .min()
        .ok_or_else(|| Failed::Usage("no route takes such tokens".into()))?;
    say!("{}", best.word());
    if best == Verdict::Valid {
        say!("not looked at: whether it was used or withdrawn");
    }
    match best {
        Verdict::Valid => Ok(()),
        _ => Err(Failed::Other("the token is not valid".into())),
    }
}

fn verdict(claims: &Claims, standing: Standing, resource: Option<&str>) -> Verdict {
    match standing {
        Standing::Expired => Verdict::Expired,
        Standing::NotYet => Verdict::Unknown,
        Standing::InTime if resource.is_some() && claims.text("resource") != resource => {
            Verdict::OtherResource
        }
        Standing::InTime => Verdict::Valid,
    }
}

fn show(value: &Value) -> String {
    serde_json::to_string_pretty(value)
        .unwrap_or_default()
        .replace('\n', "\n        ")
}

fn relative(now: UnixTime, time: UnixTime) -> String {
    let seconds = now.secs().abs_diff(time.secs());
    let amount = match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    if time > now {
        format!("in {amount}")
    } else {
        format!("{amount} ago")
    }
}
