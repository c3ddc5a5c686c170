//! What must hold of every scheme that judges whole requests, whatever a client sends: nothing is believed that nobody signed,
//! and what is believed means what its signer meant.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use mediagate::clock::UnixTime;
use mediagate::target::Target;
use mediagate::token::carrier::Head;
use mediagate::token::scheme::signed::mac::NEVER;
use mediagate::token::scheme::signed::{Asked, NoMemory, Place, Signed, SignedRequest, Taken, Wish};
use mediagate::token::{Claims, Evidence, Opens, Parts, PublicBase, Standing, TokenId};
use serde_json::Value;

use super::families::{self, Schemes};

const NOW: UnixTime = UnixTime::from_secs(1_767_225_600);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
/// The most lines of a head.
const MAX_LINES: usize = 24;

/// What of its path a link opens at least, where the format can't say less: all files of the folder, or all that begins with the
/// same two segments.
fn part<'p>(scheme: &str, path: &'p str) -> &'p str {
    match scheme {
        "mac:cdn77_path" | "mac:vcdn" => path.rsplit_once('/').map_or(path, |(folder, _)| folder),
        "mac:wowza" => path
            .match_indices('/')
            .nth(2)
            .map_or(path, |(end, _)| &path[..end]),
        _ => path,
    }
}

/// The schemes of a family, the links that they signed, and what is known of every token that was ever signed.
struct Family {
    schemes: Schemes,
    public: PublicBase,
    links: Vec<String>,
    known: HashMap<Name, Vec<Known>>,
}

/// What a token is known by. An id of URI signing is one for each path that the token opens, so that those are known by what
/// the token says.
#[derive(PartialEq, Eq, Hash)]
enum Name {
    Token(TokenId),
    Id(Option<Box<str>>, Box<str>),
}

/// What a token means.
struct Known {
    claims: Claims,
    /// What it was signed for, where we signed it.
    wished: Option<(Target, Option<Opens>)>,
}

/// A request, and when and from where it comes.
struct Request {
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    method: Method,
    client: IpAddr,
    now: UnixTime,
}

macro_rules! targets {
    ($($name:ident),*) => {$(
        pub(crate) fn $name(data: &[u8]) {
            thread_local!(static FAMILY: Family = Family::new(families::$name()));
            FAMILY.with(|family| family.holds(data));
        }
    )*};
}

targets!(
    bunny,
    cat,
    cloud_cdn,
    cloudfront,
    edge_auth,
    media_cdn,
    presigned,
    uri_signing,
    mac
);

impl Request {
    /// From a head as text: path and query, then a header on each line. What no client could have sent is none.
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.split('\n').take(MAX_LINES);
        let target = lines.next().filter(|target| target.starts_with('/'))?;
        let clean = |byte: u8| byte.is_ascii_graphic() || byte >= 0x80;
        if !target.bytes().all(clean) || target.contains('#') {
            return None;
        }
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.trim())) {
                headers.append(name, value);
            }
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Some(Self {
            path: path.to_owned(),
            query,
            headers,
            method: Method::GET,
            client: CLIENT,
            now: NOW,
        })
    }

    /// From a case of a vector file; `None` for those of other hosts.
    fn of_case(case: &Value, host: &str) -> Option<Self> {
        let target = case["url"]
            .as_str()?
            .strip_prefix("https://")?
            .strip_prefix(host)?;
        let headers = case["headers"].as_object()?.iter();
        let lines = headers.flat_map(|(name, value)| {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            let line = move |value: &Value| format!("\n{name}: {}", value.as_str().unwrap_or_default());
            values.iter().map(line).collect::<Vec<_>>()
        });
        let target = target.split('#').next().unwrap_or_default();
        Some(Self {
            method: case["method"].as_str()?.parse().ok()?,
            client: case["client_ip"].as_str()?.parse().ok()?,
            now: UnixTime::from_secs(case["now"].as_i64()?),
            ..Self::read(&(target.to_owned() + &lines.collect::<String>()))?
        })
    }

    fn head(&self) -> Head<'_> {
        Head {
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
        }
    }
}

impl Family {
    fn new(mut schemes: Schemes) -> Self {
        let cases = std::mem::take(&mut schemes.cases);
        let mut family = Self {
            public: PublicBase {
                scheme: "https".into(),
                authority: schemes.host.into(),
            },
            schemes,
            links: Vec::new(),
            known: HashMap::new(),
        };
        for case in &cases {
            if let Some(request) = Request::of_case(case, family.schemes.host) {
                assert!(family.learn(&request, None), "refused: {}", case["name"]);
            }
        }
        for (link, wished) in family.signed() {
            let request = Request::read(&link).expect("a head");
            assert!(family.learn(&request, Some(wished)), "signed and refused: {link}");
            family.links.push(link);
        }
        assert!(family.links.len() > 2, "there are no links");
        family
    }

    /// Links for all wishes that the schemes can say.
    fn signed(&self) -> Vec<(String, (Target, Option<Opens>))> {
        let schemes = || self.schemes.judging.iter().chain(&self.schemes.signing);
        let mut links = Vec::new();
        let mut ids = (0_u32..).map(|number| format!("{number:06x}"));
        for (target, opens) in wishes() {
            for number in 0..3 * 32 {
                let bit = |at: usize| number >> at & 1 == 1;
                let id = ids.next();
                let places = [Place::Url, Place::Header, Place::Cookie];
                let wish = Wish {
                    public: Some(&self.public),
                    method: &Method::GET,
                    target: &target,
                    opens: opens.as_ref(),
                    place: places[number / 32],
                    now: NOW,
                    not_before: bit(0).then(|| NOW.before(Duration::from_secs(60))),
                    expires: match bit(1) {
                        true => NEVER,
                        false => NOW.after(Duration::from_secs(3600)),
                    },
                    address: bit(2).then(|| CLIENT.into()),
                    subject: bit(3).then_some("alice"),
                    id: id.as_deref().filter(|_| bit(4)),
                };
                for scheme in schemes() {
                    if let Ok(signed) = scheme.sign(&wish) {
                        links.push((text(&target, signed), (target.clone(), opens.clone())));
                    }
                }
            }
        }
        links
    }

    /// Whether a scheme believes it; what it says is known from then on.
    fn learn(&mut self, request: &Request, wished: Option<(Target, Option<Opens>)>) -> bool {
        let mut all = Vec::new();
        for scheme in &self.schemes.judging {
            let name = |claims: &Claims| Name::of(&**scheme, claims);
            self.judge(&**scheme, request, |claims, _| all.push((name(&claims), claims)));
        }
        let believed = !all.is_empty();
        for (name, claims) in all {
            self.known.entry(name).or_default().push(Known {
                claims,
                wished: wished.clone(),
            });
        }
        believed
    }

    /// The property.
    fn holds(&self, data: &[u8]) {
        let text = match data.first() {
            Some(b'/') => String::from_utf8(data.to_vec()).ok(),
            Some(_) => self.changed(data),
            None => None,
        };
        let Some(request) = text.as_deref().and_then(Request::read) else {
            return;
        };
        for scheme in &self.schemes.judging {
            self.judge(&**scheme, &request, |claims, target| {
                let known = self
                    .known
                    .get(&Name::of(&**scheme, &claims))
                    .map_or(&[][..], Vec::as_slice);
                assert!(
                    !known.is_empty(),
                    "nobody has signed what {} believes: {text:?}",
                    scheme.name()
                );
                assert!(
                    known.iter().any(|known| known.is(scheme.name(), &claims, target)),
                    "{} was signed to say something else: {text:?}",
                    scheme.name()
                );
            });
        }
    }

    /// One of the links, as the bytes change it: the first two name it, each four behind them are a change.
    fn changed(&self, data: &[u8]) -> Option<String> {
        let (which, changes) = data.split_at_checked(2)?;
        let which = usize::from(which[0]) << 8 | usize::from(which[1]);
        let mut text = self.links[which % self.links.len()].clone().into_bytes();
        for change in changes.as_chunks::<4>().0 {
            let [what, high, low, byte] = *change;
            let at = (usize::from(high) << 8 | usize::from(low)) % text.len().max(1);
            let end = (at + usize::from(byte)).min(text.len());
            match what % 6 {
                0 if at < text.len() => text[at] = byte,
                1 => text.insert(at, byte),
                2 => drop(text.drain(at..end)),
                3 => {
                    let piece = text[at..end].to_vec();
                    text.splice(at..at, piece);
                }
                4 => {
                    let piece: Vec<u8> = text.drain(at..end).collect();
                    text.extend(piece);
                }
                _ if at < text.len() => {
                    let encoded = format!("%{:02x}", text[at]);
                    text.splice(at..=at, encoded.into_bytes());
                }
                _ => {}
            }
            text.truncate(16 * 1024);
        }
        String::from_utf8(text).ok()
    }

    /// Takes the token out, tells of it, and says what each is believed to say that would be let through.
    fn judge(
        &self,
        scheme: &dyn SignedRequest,
        request: &Request,
        mut believed: impl FnMut(Claims, &Target),
    ) {
        let Ok(Some(taken)) = scheme.take(request.head()) else {
            return;
        };
        scheme.tell(&taken);
        let Ok(target) = Target::parse(&taken.path, taken.query.as_deref()) else {
            return;
        };
        gone(scheme, &taken, &target);
        let Taken {
            place,
            parts,
            alternatives,
            path,
            query,
            ..
        } = taken;
        assert!(place == Place::Cookie || alternatives.is_empty());
        for parts in std::iter::once(parts).chain(alternatives) {
            let left = (&*path, query.as_deref());
            if let Some(claims) = self.believed(scheme, request, parts, left, &target) {
                believed(claims, &target);
            }
        }
    }

    fn believed<'r>(
        &'r self,
        scheme: &dyn SignedRequest,
        request: &'r Request,
        parts: Parts<'r>,
        (path, query): (&str, Option<&str>),
        target: &Target,
    ) -> Option<Claims> {
        let evidence = Evidence {
            method: &request.method,
            public: Some(&self.public),
            raw_path: &request.path,
            raw_query: request.query.as_deref(),
            headers: &request.headers,
            client: request.client,
            proxied: true,
            parts,
        };
        let asked = Asked {
            evidence: &evidence,
            path,
            query,
            target,
            now: request.now,
            signatures: &NoMemory,
        };
        let claims = scheme.verify(&asked).ok()?;
        let scope = claims.scope.as_ref().expect("it says what it opens");
        assert!(
            scope.opens(target, None),
            "it opens something else than it judged"
        );
        let methods = claims.methods.expect("it says for which methods it is");
        let good = claims.standing(request.now, Duration::ZERO) == Standing::InTime
            && claims.allows_address(request.client)
            && methods.contains(&request.method);
        good.then_some(claims)
    }
}

/// What was taken is gone. Behind a token in the first segment there may be another one, which the gate refuses.
fn gone(scheme: &dyn SignedRequest, taken: &Taken<'_>, target: &Target) {
    let headers = HeaderMap::new();
    let again = scheme.take(Head {
        path: &taken.path,
        query: taken.query.as_deref(),
        headers: &headers,
    });
    let first = target.path().get(1..).unwrap_or_default();
    let marked = scheme.markers().iter().any(|marker| first.starts_with(&**marker));
    // A MAC in a segment has no mark: what looks like one is one, and the path behind the first is signed.
    let unmarked = scheme.name().starts_with("mac") && scheme.markers().is_empty() && taken.prefix.is_some();
    if !(unmarked || taken.prefix.is_some() && marked) {
        assert!(matches!(again, Ok(None)), "a token is left: {again:?}");
    }
}

impl Name {
    fn of(scheme: &dyn SignedRequest, claims: &Claims) -> Self {
        match &claims.id {
            Some(id) if scheme.name() == "uri_signing" => Self::Id(claims.issuer.clone(), id.clone()),
            _ => Self::Token(claims.token_id),
        }
    }
}

impl Known {
    fn is(&self, scheme: &str, claims: &Claims, target: &Target) -> bool {
        let said = |claims: &Claims| {
            (
                (claims.expires, claims.not_before, claims.issued),
                (claims.subject.clone(), claims.id.clone(), claims.issuer.clone()),
                (claims.uses, claims.methods, claims.limits, claims.key.clone()),
                claims.addresses.clone(),
            )
        };
        let opens = self.wished.as_ref().is_none_or(|(wished, opens)| {
            let whole = part(scheme, target.path()) == part(scheme, wished.path());
            whole || opens.as_ref().is_some_and(|opens| opens.opens(target, None))
        });
        said(&self.claims) == said(claims) && opens
    }
}

/// What links are for, and what they open.
fn wishes() -> Vec<(Target, Option<Opens>)> {
    let target = |path: &str, query: Option<&str>| Target::parse(path, query).expect("a target");
    let opens = |pattern: &str| Some(Opens::parse(pattern).expect("a pattern"));
    vec![
        (target("/videos/show1/master.m3u8", None), None),
        (target("/a%20b/caf%C3%A9.mp4", Some("w=640&a=b%2Fc")), None),
        (target("/videos/show1/master.m3u8", None), opens("/videos/show1/")),
        (target("/videos/show1/1.ts", Some("b=2&a=1")), opens("/videos/")),
        (
            target("/videos/show1/master.m3u8", None),
            opens("/videos/show1/*"),
        ),
        (
            target("/videos/show1/master.m3u8", None),
            opens("/videos/*/*.m3u8"),
        ),
        (target("/v/a/b.mp4", None), Some(Opens::StartsWith("/v/a".into()))),
    ]
}

/// A head with the link.
fn text(target: &Target, signed: Signed) -> String {
    match signed {
        Signed::Url(url) => url,
        Signed::Header(name, value) => format!("{}\n{name}: {value}", target.as_str()),
        Signed::Cookies(cookies) => {
            let pairs: Vec<String> = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("{}\nCookie: {}", target.as_str(), pairs.join("; "))
        }
    }
}
