//! The published vectors against the pure part of a scheme: what the gate does with a request, without a gate. The same
//! files pass through the gate itself in `tests/it`.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{Asked, NoMemory, Place, Signatures, SignedRequest, Taken};
use crate::clock::UnixTime;
use crate::target::Target;
use crate::token::carrier::Head;
use crate::token::{Claims, Evidence, Parts, PublicBase, Standing, TokenError};

/// A case of a file.
pub(crate) struct Case<'v> {
    /// All of it.
    pub(crate) json: &'v Value,
    /// Its profile.
    pub(crate) profile: &'v Value,
    /// The keys of the file.
    pub(crate) keys: &'v Value,
}

/// A request that is judged.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) public: PublicBase,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) client: IpAddr,
    pub(crate) now: UnixTime,
}

impl Case<'_> {
    /// A text of the case.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// The request of the case.
    pub(crate) fn request(&self) -> Request {
        let mut headers = HeaderMap::new();
        for (name, value) in self.json["headers"].as_object().expect("headers") {
            let values = match value {
                Value::Array(values) => values.iter().collect(),
                one => vec![one],
            };
            for value in values {
                let value = value.as_str().expect("a header's value");
                headers.append(
                    name.parse::<HeaderName>().expect("a header's name"),
                    HeaderValue::from_str(value).expect("a header's value"),
                );
            }
        }
        Request::new(
            self.text("method"),
            self.text("url"),
            headers,
            self.text("client_ip").parse().expect("an address"),
            UnixTime::from_secs(self.json["now"].as_i64().expect("now")),
        )
    }
}

impl Request {
    /// For a whole URL.
    pub(crate) fn new(method: &str, url: &str, headers: HeaderMap, client: IpAddr, now: UnixTime) -> Self {
        let (scheme, rest) = url.split_once("://").expect("a whole URL");
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Self {
            method: method.parse().expect("a method"),
            public: PublicBase {
                scheme: scheme.into(),
                authority: authority.into(),
            },
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            },
            query,
            headers,
            client: client.to_canonical(),
            now,
        }
    }

    /// What the gate would say, short of statuses and the store: the claims and what the origin would be asked for.
    pub(crate) fn judge(
        &self,
        scheme: &dyn SignedRequest,
        leeway: std::time::Duration,
    ) -> Result<(Claims, Target), String> {
        let head = Head {
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
        };
        let taken = scheme
            .take(head)
            .map_err(|error| format!("take: {error}"))?
            .ok_or("no token")?;
        let target = Target::parse(&taken.path, taken.query.as_deref()).map_err(|bad| bad.to_string())?;
        let mut last = Err("no parts".to_owned());
        for parts in std::iter::once(taken.parts).chain(taken.alternatives) {
            last = self.judge_one(
                scheme,
                parts,
                (&taken.path, taken.query.as_deref()),
                &target,
                leeway,
            );
            if last.is_ok() || taken.place != Place::Cookie {
                break;
            }
        }
        last.map(|claims| (claims, target))
    }

    /// What the scheme says of a token that it took out of this request; `signatures` is asked, and shown what is compared.
    pub(crate) fn verify<'r>(
        &'r self,
        scheme: &dyn SignedRequest,
        taken: &Taken<'r>,
        signatures: &dyn Signatures,
    ) -> Result<Claims, TokenError> {
        let (path, query) = (&*taken.path, taken.query.as_deref());
        let target = Target::parse(path, query).expect("a target");
        self.verify_parts(scheme, taken.parts.clone(), (path, query), &target, signatures)
    }

    fn verify_parts<'r>(
        &'r self,
        scheme: &dyn SignedRequest,
        parts: Parts<'r>,
        (path, query): (&str, Option<&str>),
        target: &Target,
        signatures: &dyn Signatures,
    ) -> Result<Claims, TokenError> {
        let evidence = Evidence {
            method: &self.method,
            public: Some(&self.public),
            raw_path: &self.path,
            raw_query: self.query.as_deref(),
            headers: &self.headers,
            client: self.client,
            // What a vector has in a header comes from there.
            proxied: true,
            parts,
        };
        scheme.verify(&Asked {
            evidence: &evidence,
            path,
            query,
            target,
            now: self.now,
            signatures,
        })
    }

    fn judge_one<'r>(
        &'r self,
        scheme: &dyn SignedRequest,
        parts: Parts<'r>,
        (path, query): (&str, Option<&str>),
        target: &Target,
        leeway: std::time::Duration,
    ) -> Result<Claims, String> {
        let claims = self
            .verify_parts(scheme, parts, (path, query), target, &NoMemory)
            .map_err(|error| format!("verify: {error}"))?;
        match claims.standing(self.now, leeway) {
            Standing::InTime => {}
            standing => return Err(format!("{standing:?}")),
        }
        if !claims.allows_address(self.client) {
            return Err("address".into());
        }
        let reads = matches!(self.method, Method::GET | Method::HEAD);
        if !claims
            .methods
            .map_or(reads, |methods| methods.contains(&self.method))
        {
            return Err("method".into());
        }
        match claims.scope.as_ref().map(|scope| scope.opens(target, None)) {
            Some(true) => Ok(claims),
            Some(false) => Err("scope".into()),
            None => Err("no scope".into()),
        }
    }
}

/// Runs all cases of a file; `build` gives the scheme of a case and its leeway, and is `None` for cases that are not the
/// scheme's. `excused` are `should` cases that are decided otherwise, each with its reason. Answers the number of cases that ran.
pub(crate) fn run(
    file: &str,
    excused: &[(&str, &str)],
    build: impl Fn(&Case<'_>) -> Option<(Box<dyn SignedRequest>, std::time::Duration)>,
) -> usize {
    let file: Value = serde_json::from_str(file).expect("JSON");
    let mut faults = Vec::new();
    let mut count = 0;
    for json in file["cases"].as_array().expect("cases") {
        let case = Case {
            json,
            profile: &file["profiles"][json["profile"].as_str().expect("a profile")],
            keys: &file["keys"],
        };
        let Some((scheme, leeway)) = build(&case) else {
            continue;
        };
        count += 1;
        let judged = case.request().judge(&*scheme, leeway);
        let name = case.text("name");
        let excuse = excused.iter().find(|(excused, _)| *excused == name);
        let agrees = judged.is_ok() == (case.text("expect") == "allow");
        match excuse {
            Some(_) if agrees => faults.push(format!("{name}: is excused and agrees")),
            Some(_) if case.text("level") == "must" => faults.push(format!("{name}: a must has no excuse")),
            None if !agrees => faults.push(format!(
                "{name} ({}): {}, and was to {}: {}",
                case.text("level"),
                judged.map_or_else(|what| what, |_| "allowed".into()),
                case.text("expect"),
                case.text("reason"),
            )),
            _ => {}
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {count}:\n{}",
        faults.len(),
        faults.join("\n")
    );
    count
}
