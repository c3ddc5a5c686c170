//! Sirv's interface: `POST /v2/files/jwt` for a protected URL, `POST /v2/token` for a bearer. JSON in, JSON in lines out;
//! refusals with `statusCode`, `error`, `message`, and `validationErrors` where the request is at fault.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{is_json, object, parameters, response};
use crate::clock::UnixTime;
use crate::issuer::accounts::{MAX_NAME_BYTES, MAX_PASSWORD_BYTES};
use crate::issuer::grant::Granted;
use crate::issuer::mint::{IssueRequest, Lifetime, Paths};
use crate::issuer::refusal::{IssueRefusal, Violation};
use crate::secret::Secret;
use crate::target::Target;
use crate::throttle::Count;
use crate::token::claims::Parameters;
use crate::token::json::Object;
use crate::token::scheme::sirv::opens;
use crate::token::{Methods, Opens};

/// Where protected URLs are.
pub(in crate::issuer) const FILES_PATH: &str = "/v2/files/jwt";
/// Where clients sign in.
pub(in crate::issuer) const BEARER_PATH: &str = "/v2/token";

/// The query parameter of tokens.
const PARAMETER: &str = "jwt";
/// The longest `filename`, in bytes.
const MAX_FILENAME_BYTES: usize = 1024;
/// The longest URL that is handed out, in bytes: what every program takes (RFC 9110 §4.1).
const MAX_URL_BYTES: usize = 8000;
/// How long a bearer lives where the client does not say.
const BEARER_TTL: Duration = Duration::from_secs(1200);

/// All that is percent-encoded in the name and value of a parameter: everything but RFC 3986 `unreserved`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a request for a protected URL says beside what its token shall.
pub(in crate::issuer) struct Wish {
    /// The account, where it is not the usual one.
    pub(in crate::issuer) alias: Option<Box<str>>,
    /// The secret that the token shall be signed with.
    pub(in crate::issuer) key: Option<Secret>,
    /// Path and query of the URL, up to the token.
    address: String,
}

/// Reads a request for a protected URL.
pub(in crate::issuer) fn parse(request: &Request<Bytes>) -> Result<(IssueRequest, Wish), IssueRefusal> {
    is_json(request.headers())?;
    let body = object(request.body())?;
    let mut reader = Reader::new(&body);
    let file = reader.file();
    let lifetime = reader.seconds("expiresIn", 1..=i64::MAX.unsigned_abs());
    let secure = reader.parameters("secureParams");
    let insecure = reader.parameters("insecureParams");
    let alias = reader.text("alias", 128);
    let key = reader.text("key", 1024);
    if lifetime.is_none() && body.get("expiresIn").is_none() {
        reader.refuse("expiresIn", "is required");
    }
    reader.no_others(&[
        "filename",
        "expiresIn",
        "secureParams",
        "insecureParams",
        "alias",
        "key",
    ]);
    let (Some((target, opens)), Some(lifetime)) = (file, lifetime) else {
        return Err(IssueRefusal::Unprocessable(reader.violations));
    };
    reader.end()?;
    let asked = IssueRequest {
        methods: Some(Methods::READ),
        parameters: secure,
        ..IssueRequest::new(Paths::Asked(vec![opens]), Lifetime::Asked(lifetime))
    };
    let wish = Wish {
        alias: alias.map(Box::from),
        key: key.map(|key| Secret::new(key.as_bytes().to_vec())),
        address: address(&target, &insecure),
    };
    Ok((asked, wish))
}

/// Path and query, up to the token.
fn address(target: &Target, insecure: &Parameters) -> String {
    let mut address = format!("{}?", target.encoded_path());
    for (name, value) in insecure {
        let encode = |text| utf8_percent_encode(text, QUERY).to_string();
        let value = value.text().unwrap_or_default();
        address.push_str(&format!("{}={}&", encode(name), encode(&value)));
    }
    address
}

impl Wish {
    /// The URL with its token.
    ///
    /// # Errors
    /// `Unprocessable` for one that is too long to be worth anything.
    pub(in crate::issuer) fn url(&self, public_base: &str, token: &str) -> Result<String, IssueRefusal> {
        let url = format!("{public_base}{}{PARAMETER}={token}", self.address);
        if url.len() > MAX_URL_BYTES {
            return Err(IssueRefusal::violation(
                "",
                "The URL would be longer than 8000 bytes.",
            ));
        }
        Ok(url)
    }
}

/// Who a client says it is.
pub(in crate::issuer) struct SignIn {
    pub(in crate::issuer) id: Box<str>,
    pub(in crate::issuer) secret: Zeroizing<String>,
    pub(in crate::issuer) lives: Duration,
}

/// Reads who signs in.
pub(in crate::issuer) fn sign_in(request: &Request<Bytes>) -> Result<SignIn, IssueRefusal> {
    is_json(request.headers())?;
    let body = object(request.body())?;
    let mut reader = Reader::new(&body);
    let id = reader.text("clientId", MAX_NAME_BYTES);
    let secret = reader.text("clientSecret", MAX_PASSWORD_BYTES);
    let lives = reader.seconds("expiresIn", 5..=604_800);
    for name in ["clientId", "clientSecret"] {
        if body.get(name).is_none() {
            reader.refuse(name, "is required");
        }
    }
    reader.no_others(&["clientId", "clientSecret", "expiresIn"]);
    let (Some(id), Some(secret)) = (id, secret) else {
        return Err(IssueRefusal::Unprocessable(reader.violations));
    };
    reader.end()?;
    Ok(SignIn {
        id: id.into(),
        secret: Zeroizing::new(secret.to_owned()),
        lives: lives.unwrap_or(BEARER_TTL),
    })
}

/// Reads the members and collects what is wrong with each.
struct Reader<'b> {
    body: &'b Object<'b>,
    violations: Vec<Violation>,
}

impl<'b> Reader<'b> {
    fn new(body: &'b Object<'b>) -> Self {
        Self {
            body,
            violations: Vec::new(),
        }
    }

    fn refuse(&mut self, property: &'static str, message: &'static str) {
        self.violations.push(Violation::new(property, message));
    }

    /// The path of the file or folder, and what a token for it opens.
    fn file(&mut self) -> Option<(Target, Opens)> {
        let Some(member) = self.body.get("filename") else {
            self.refuse("filename", "is required");
            return None;
        };
        let path = member.text().filter(|path| path.len() <= MAX_FILENAME_BYTES);
        let file = path.and_then(|path| Some((Target::from_decoded(path).ok()?, opens(path).ok()?)));
        // What the gate would understand as another path gets no token.
        let file = file.filter(|(target, _)| Some(target.path()) == path);
        if file.is_none() {
            self.refuse(
                "filename",
                "is a path, decoded, that starts with a slash: at most 1024 bytes, no empty or dot segment, backslash, \
                 encoded slash or control character",
            );
        }
        file
    }

    /// A positive whole number of seconds; `None` where it is absent or wrong.
    fn seconds(&mut self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<Duration> {
        let number = self
            .body
            .get(name)?
            .whole()
            .filter(|number| range.contains(number));
        if number.is_none() {
            self.refuse(name, "is a whole number of seconds, within its range");
        }
        number.map(Duration::from_secs)
    }

    fn text(&mut self, name: &'static str, most: usize) -> Option<&'b str> {
        let member = self.body.get(name)?;
        let text = member.text().filter(|text| (1..=most).contains(&text.len()));
        if text.is_none() {
            self.refuse(name, "is a text, neither empty nor too long");
        }
        text
    }

    fn parameters(&mut self, name: &'static str) -> Parameters {
        let Some(member) = self.body.get(name) else {
            return Box::default();
        };
        let parameters = parameters(member);
        // The token's own name: whoever reads the URL must not find two.
        let parameters = parameters.filter(|all| all.iter().all(|(name, _)| &**name != PARAMETER));
        parameters.unwrap_or_else(|| {
            self.refuse(
                name,
                "is an object of at most 32 texts, numbers and booleans, whose names are neither empty nor \"jwt\"; nothing \
                 has a control character",
            );
            Box::default()
        })
    }

    /// Refuses members that are not read: a restriction that was misspelt must not be lost.
    fn no_others(&mut self, known: &[&str]) {
        if self.body.iter().any(|(name, _)| !known.contains(&name)) {
            self.refuse("", "A member is unknown.");
        }
    }

    fn end(self) -> Result<(), IssueRefusal> {
        match self.violations.is_empty() {
            true => Ok(()),
            false => Err(IssueRefusal::Unprocessable(self.violations)),
        }
    }
}

/// The answer with a protected URL.
pub(in crate::issuer) fn render(url: &str) -> Response<Bytes> {
    #[derive(Serialize)]
    struct Body<'a> {
        url: &'a str,
    }
    pretty(StatusCode::OK, &Body { url })
}

/// The answer with a bearer.
pub(in crate::issuer) fn signed_in(granted: &Granted, scope: &str) -> Response<Bytes> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        token: &'a str,
        expires_in: u64,
        scope: Vec<&'a str>,
    }
    let body = Body {
        token: &granted.bearer.text,
        expires_in: granted.lives.as_secs(),
        scope: scope.split_whitespace().collect(),
    };
    pretty(StatusCode::OK, &body)
}

/// A refusal. Who is over a limit is told until when, where `now` is known.
pub(in crate::issuer) fn refuse(refusal: &IssueRefusal, now: Option<UnixTime>) -> Response<Bytes> {
    let status = match refusal {
        IssueRefusal::Unprocessable(_) => StatusCode::BAD_REQUEST,
        IssueRefusal::GrantInvalid => StatusCode::UNAUTHORIZED,
        _ => refusal.status(),
    };
    let message = match refusal {
        IssueRefusal::Unprocessable(_) | IssueRefusal::BadRequest(_) => "Supplied data is not valid".into(),
        IssueRefusal::GrantInvalid => "The client or its secret is not valid.".into(),
        IssueRefusal::LimitReached(wait) | IssueRefusal::TooManyTries(wait) => match now {
            Some(now) => format!(
                "Rate limit exceeded. Retry after {} (UTC)",
                now.after(*wait).rfc3339()
            ),
            None => "Rate limit exceeded.".to_owned(),
        },
        _ => refusal.detail().to_owned(),
    };
    let validation_errors = match refusal {
        IssueRefusal::Unprocessable(violations) => violations.iter().map(fault).collect(),
        _ if status == StatusCode::BAD_REQUEST => vec![Fault {
            message: refusal.detail().to_owned(),
        }],
        _ => Vec::new(),
    };
    let body = Refused {
        status_code: status.as_u16(),
        error: status.canonical_reason().unwrap_or("Error"),
        message,
        validation_errors,
    };
    pretty(status, &body)
}

/// A refusal, its members in the order in which the original writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    status_code: u16,
    error: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    validation_errors: Vec<Fault>,
}

#[derive(Serialize)]
struct Fault {
    message: String,
}

fn fault(violation: &Violation) -> Fault {
    let name = match &*violation.property {
        // What the rules call it.
        "expires_in" => "expiresIn",
        name => name,
    };
    let message = match name {
        "" => violation.message.to_string(),
        name => format!("{name}: {}", violation.message),
    };
    Fault { message }
}

/// How much is left to the caller.
pub(in crate::issuer) fn mark(response: &mut Response<Bytes>, count: &Count) {
    let headers = response.headers_mut();
    // Rounded up: who comes at that second has a new hour.
    let reset = count.reset.millis().div_euclid(1000) + i64::from(count.reset.millis().rem_euclid(1000) > 0);
    for (name, value) in [
        ("x-global-ratelimit-limit", i64::from(count.limit)),
        ("x-global-ratelimit-remaining", i64::from(count.remaining)),
        ("x-global-ratelimit-reset", reset),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

/// JSON as the original writes it: in lines, two spaces deep.
fn pretty(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_string_pretty(body).unwrap_or_default();
    response(status, "application/json; charset=utf-8", body)
}

#[cfg(test)]
mod tests;
