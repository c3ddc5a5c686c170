//! Our own shape: `POST /v1/tokens`, a strict JSON object in, `{"token","token_id","expires_at","url"}` out.
//! Unknown and repeated members are refused: a restriction that was misspelt must not be lost.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use ipnet::IpNet;
use serde_json::json;

use super::{is_json, object, parameters, problem, response};
use crate::clock::UnixTime;
use crate::issuer::Native;
use crate::issuer::mint::{IssueRequest, Issued, Lifetime, Paths, Resource, SchemeName};
use crate::issuer::refusal::{IssueRefusal, Violation};
use crate::media::MediaId;
use crate::target::{Target, encode_segment};
use crate::token::claims::{Limits, Parameters};
use crate::token::json::{Json, Object};
use crate::token::scheme::jwt::network;
use crate::token::scheme::sirv;
use crate::token::scope::MAX_PATTERNS;
use crate::token::{Methods, Opens, Uses};

/// The longest name of a requestor or a resource, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// The most networks in one token.
const MAX_ADDRESSES: usize = 64;

const UNKNOWN: &str = "A member is unknown; known are scheme, paths, media, expires_in, not_before, sub, methods, ips, filename, args, uses, rate, streams, requestor, resource.";

/// The member that names the scheme.
const SCHEME: &str = "scheme";
const NO_SUCH_SCHEME: &str = "No tokens of this scheme are made here.";

/// The members that a scheme has no words for.
const fn unsayable(scheme: SchemeName) -> &'static [&'static str] {
    match scheme {
        SchemeName::Jwt | SchemeName::Opaque => &["requestor", "resource"],
        SchemeName::Sirv => &[
            "media",
            "not_before",
            "sub",
            "methods",
            "ips",
            "filename",
            "uses",
            "rate",
            "streams",
            "requestor",
            "resource",
        ],
        SchemeName::ShortMedia => &[
            "paths",
            "media",
            "not_before",
            "sub",
            "methods",
            "ips",
            "filename",
            "args",
            "uses",
            "rate",
            "streams",
        ],
    }
}

/// What a request for tokens that are not made here is told.
pub(super) fn no_such_scheme() -> IssueRefusal {
    IssueRefusal::violation(SCHEME, NO_SUCH_SCHEME)
}

/// Whether a path is this dialect's.
pub(super) fn is_path(path: &str) -> bool {
    path == "/v1/tokens"
}

/// Reads a request.
pub(super) fn parse(request: &Request<Bytes>, native: &Native) -> Result<IssueRequest, IssueRefusal> {
    is_json(request.headers())?;
    let body = object(request.body())?;
    let mut reader = Reader {
        body: &body,
        violations: Vec::new(),
    };
    let scheme = reader.scheme(native);
    let read = IssueRequest {
        scheme,
        paths: reader.opens(scheme),
        media: reader.media(),
        lifetime: reader.lifetime(),
        not_before: reader.not_before(),
        subject: reader.text("sub"),
        methods: match scheme {
            SchemeName::Jwt | SchemeName::Opaque => reader.methods(),
            // They read, and the rule has to allow that.
            SchemeName::Sirv | SchemeName::ShortMedia => Some(Methods::READ),
        },
        addresses: reader.addresses(),
        filename: reader.text("filename"),
        parameters: reader.parameters(),
        uses: reader.uses(),
        limits: reader.limits(),
        resource: reader.resource(scheme),
    };
    reader.others(scheme);
    if reader.violations.is_empty() {
        Ok(read)
    } else {
        Err(IssueRefusal::Unprocessable(reader.violations))
    }
}

/// Reads the members and collects what is wrong with each.
struct Reader<'b> {
    body: &'b Object<'b>,
    violations: Vec<Violation>,
}

impl Reader<'_> {
    fn refuse(&mut self, property: &'static str, message: &'static str) {
        self.violations.push(Violation::new(property, message));
    }

    fn scheme(&mut self, native: &Native) -> SchemeName {
        let name = match self.body.get("scheme") {
            None => Some(SchemeName::Jwt),
            Some(member) => member.text().and_then(SchemeName::parse),
        };
        let name = name.filter(|name| native.scheme(*name).is_some());
        name.unwrap_or_else(|| {
            self.refuse(SCHEME, NO_SUCH_SCHEME);
            SchemeName::Jwt
        })
    }

    /// What to open, as the scheme has words for it.
    fn opens(&mut self, scheme: SchemeName) -> Paths {
        let paths = match scheme {
            SchemeName::ShortMedia => return Paths::Elsewhere,
            SchemeName::Jwt | SchemeName::Opaque => return Paths::Asked(self.paths()),
            SchemeName::Sirv => self.paths(),
        };
        let is_said = |path: &Opens| sirv::opens(&path.to_string()).as_ref() == Ok(path);
        if !matches!(&*paths, [only] if is_said(only)) {
            self.refuse(
                "paths",
                "A Sirv token opens one file whose name has a dot, or one folder.",
            );
        }
        Paths::Asked(paths)
    }

    fn resource(&mut self, scheme: SchemeName) -> Option<Resource> {
        if scheme != SchemeName::ShortMedia {
            return None;
        }
        let mut named = |name: &'static str| {
            let text = self.body.get(name).and_then(Json::text);
            let text = text.filter(|text| !text.is_empty() && text.len() <= MAX_NAME_BYTES);
            if text.is_none() {
                self.refuse(name, "A text of 1 to 512 bytes.");
            }
            text.map(Box::from)
        };
        let (requestor, id) = (named("requestor"), named("resource"));
        Some(Resource {
            requestor: requestor?,
            id: id?,
        })
    }

    fn paths(&mut self) -> Vec<Opens> {
        let Some(member) = self.body.get("paths") else {
            return Vec::new();
        };
        let Some(texts) = member.texts().filter(|texts| !texts.is_empty()) else {
            self.refuse("paths", "A list of one or more texts.");
            return Vec::new();
        };
        if texts.len() > MAX_PATTERNS {
            self.refuse("paths", "At most 64 things in one token.");
            return Vec::new();
        }
        let mut paths = Vec::new();
        for (at, text) in texts.into_iter().enumerate() {
            match Opens::parse(text) {
                Ok(path) => paths.push(path),
                Err(bad) => self
                    .violations
                    .push(Violation::of_item("paths", at, bad.to_string())),
            }
        }
        paths
    }

    fn media(&mut self) -> Option<MediaId> {
        let id = self.text("media")?;
        MediaId::parse(&id)
            .map_err(|_| {
                self.refuse(
                    "media",
                    "A media id has 1 to 128 bytes and can be one segment of a path.",
                )
            })
            .ok()
    }

    fn lifetime(&mut self) -> Lifetime {
        let Some(member) = self.body.get("expires_in") else {
            return Lifetime::Usual;
        };
        match member.whole().filter(|seconds| *seconds > 0) {
            Some(seconds) => Lifetime::Asked(std::time::Duration::from_secs(seconds)),
            None => {
                self.refuse("expires_in", "A whole number of seconds, at least 1.");
                Lifetime::Usual
            }
        }
    }

    fn not_before(&mut self) -> Option<UnixTime> {
        let member = self.body.get("not_before")?;
        let seconds = member.whole().and_then(|seconds| i64::try_from(seconds).ok());
        if seconds.is_none() {
            self.refuse("not_before", "A whole number of seconds since 1970.");
        }
        seconds.map(UnixTime::from_secs)
    }

    fn text(&mut self, name: &'static str) -> Option<Box<str>> {
        let text = self.body.get(name)?.text();
        if text.is_none() {
            self.refuse(name, "A text.");
        }
        text.map(Box::from)
    }

    fn methods(&mut self) -> Option<Methods> {
        let texts = self
            .body
            .get("methods")?
            .texts()
            .filter(|texts| !texts.is_empty());
        let methods = texts.and_then(|texts| Methods::parse(texts).ok());
        if methods.is_none() {
            self.refuse(
                "methods",
                "A list of one or more of GET, HEAD, PUT, POST, DELETE, PATCH.",
            );
        }
        methods
    }

    fn addresses(&mut self) -> Option<Box<[IpNet]>> {
        let Some(texts) = self
            .body
            .get("ips")?
            .texts()
            .filter(|texts| (1..=MAX_ADDRESSES).contains(&texts.len()))
        else {
            self.refuse("ips", "A list of 1 to 64 addresses or networks.");
            return None;
        };
        let mut nets = Vec::new();
        for (at, text) in texts.into_iter().enumerate() {
            match network(text) {
                Some(net) => nets.push(net),
                None => self.violations.push(Violation::of_item(
                    "ips",
                    at,
                    "An address or a network, as 192.0.2.0/24.",
                )),
            }
        }
        Some(nets.into())
    }

    fn parameters(&mut self) -> Parameters {
        let Some(member) = self.body.get("args") else {
            return Box::default();
        };
        parameters(member).unwrap_or_else(|| {
            self.refuse(
                "args",
                "An object of at most 32 texts, numbers and booleans; names are not empty, nothing has a control character.",
            );
            Box::default()
        })
    }

    fn uses(&mut self) -> Uses {
        match self.body.get("uses").map(Json::whole) {
            None => Uses::UntilExpiry,
            Some(Some(1)) => Uses::Once,
            Some(_) => {
                self.refuse("uses", "1, or absent for any number.");
                Uses::Once
            }
        }
    }

    fn limits(&mut self) -> Limits {
        let rate = self.body.get("rate").map(Json::whole);
        let rate = rate.map(|rate| rate.filter(|rate| Limits::RATES.contains(rate)));
        if rate == Some(None) {
            self.refuse("rate", "Bytes per second: a whole number from 1024 to 1 TiB.");
        }
        let streams = self.body.get("streams").map(Json::whole);
        let streams = streams.map(|streams| {
            let streams = u32::try_from(streams?).ok()?;
            Limits::STREAMS.contains(&streams).then_some(streams)
        });
        if streams == Some(None) {
            self.refuse("streams", "A whole number from 1 to 1024.");
        }
        Limits {
            rate: rate.flatten(),
            streams: streams.flatten(),
        }
    }

    /// Members that are not read: what the scheme has no words for, and what is unknown.
    fn others(&mut self, scheme: SchemeName) {
        const READ: [&str; 15] = [
            "requestor",
            "resource",
            "scheme",
            "paths",
            "media",
            "expires_in",
            "not_before",
            "sub",
            "methods",
            "ips",
            "filename",
            "args",
            "uses",
            "rate",
            "streams",
        ];
        for name in unsayable(scheme) {
            if self.body.get(name).is_some() {
                self.refuse(name, "Tokens of this scheme can't say it.");
            }
        }
        if self.body.iter().any(|(name, _)| !READ.contains(&name)) {
            self.refuse("", UNKNOWN);
        }
    }
}

/// Writes the answer.
pub(super) fn render(issued: &Issued, native: &Native, public_base: &str) -> Response<Bytes> {
    let mut body = json!({
        "token": issued.token.text,
        "token_id": issued.token.id.to_string(),
        "expires_at": issued.expires.rfc3339().to_string(),
    });
    let scheme = native.scheme(issued.scheme);
    if let Some(parameter) = scheme.and_then(|scheme| scheme.link())
        && let [Opens::Exact(path)] = &*issued.scope.0
        && let Some(path) = encoded(path)
    {
        body["url"] = format!("{public_base}{path}?{parameter}={}", issued.token.text).into();
    }
    response(StatusCode::CREATED, "application/json", body.to_string())
}

/// A decoded path as a URL writes it; `None` where the gate would refuse it.
fn encoded(path: &str) -> Option<String> {
    let segments: Option<Vec<_>> = path
        .strip_prefix('/')?
        .split('/')
        .map(|segment| {
            if segment.is_empty() {
                Some("".into())
            } else {
                encode_segment(segment).ok()
            }
        })
        .collect();
    let target = Target::parse(&format!("/{}", segments?.join("/")), None).ok()?;
    (target.path() == path).then(|| target.encoded_path().to_owned())
}

/// Writes a refusal.
pub(super) fn refuse(refusal: &IssueRefusal) -> Response<Bytes> {
    let title = refusal.status().canonical_reason().unwrap_or("Error");
    problem(refusal, "about:blank", title)
}

#[cfg(test)]
mod tests;
